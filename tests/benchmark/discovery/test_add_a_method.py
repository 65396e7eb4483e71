"""What docs/add-a-method.md says, done: its method, its commands, and what new-method writes."""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import msgspec
import pytest

from benchmark.boards.board import ABSENT, build_board
from benchmark.checking.contract import check_file, failures
from benchmark.checking.verify import verify
from benchmark.cli import main
from benchmark.contracts import Access
from benchmark.running.records import RecordStore
from benchmark.suites.choosing import methods_of, name_files
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS
from benchmark.tuning.spaces import spaces

DOCS = Path(__file__).parents[3] / "docs" / "add-a-method.md"
NAME, METHOD = "push-away", "push_away.py:push-away"
LookAgain = Callable[[], None]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, outsiders: LookAgain, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the file that is in the text."""
    (tmp_path / "push_away.py").write_text(blocks("python")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the command line in this process."""
    with pytest.raises(SystemExit) as ended, redirect_stdout(io.StringIO()) as said:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.getvalue()


def test_the_method_has_at_most_40_lines() -> None:
    assert 20 < len(blocks("python")[0].splitlines()) <= 40


def test_the_method_keeps_its_contract(folder: Path) -> None:
    code, said = call("test-method", METHOD)
    assert code == 0, said
    assert "every promise is kept" in said
    table = DOCS.read_text("utf-8").split("## The contract")[1]
    for finding in check_file(folder / "push_away.py"):
        assert f"| {finding.promise} |" in table


def test_it_is_on_the_board_here_and_marked_elsewhere(folder: Path, outsiders: LookAgain) -> None:
    bench = next(line for line in blocks("sh")[0].splitlines() if "--suite smoke" in line).split()
    assert bench.pop(0) == "amendbench"
    code, said = call(*bench, "--jobs", "1", "--results", "results", "--reports", "reports")
    assert code == 0, said
    (line,) = [line for line in said.splitlines() if NAME in line]
    assert "from outside" in line
    assert "push-away" in (folder / "reports" / "class-forget.md").read_text()
    store, suite = RecordStore(folder / "results"), load_suite("smoke")
    records = list(store.all())
    assert {r.cell.method: (r.status, r.cell.external, r.cell.kind) for r in records} == {
        "original": ("ok", False, "reference"),
        "retrain": ("ok", False, "reference"),
        NAME: ("ok", True, "baseline"),
    }
    assert not [path for path in folder.rglob("*.json") if str(folder).encode() in path.read_bytes()]
    (here,) = [row for row in build_board(records, suite) if row.method == NAME]
    assert (here.status, here.code, here.rank, here.reasons) == ("ok", "current", 1, [])
    assert verify(folder / "results").exit_code == 0

    del_variable(outsiders)  # as another process, to which nobody has named the file
    (gone,) = [row for row in build_board(records, suite) if row.method == NAME]
    assert (gone.status, gone.code, gone.rank, gone.reasons) == ("ok", "absent", 1, [ABSENT])
    assert gone.metrics == here.metrics
    for arguments in (["leaderboard", "--suite", "smoke"], ["report", "--reports", "reports"], ["verify"]):
        code, said = call(*arguments, "--results", "results")
        assert code == 0, said
    assert "1 records: their method is from outside and not installed here" in said
    page = (folder / "reports" / "class-forget.md").read_text()
    assert "from outside, not installed here" in page
    assert f"METHODS=FILE.py:{NAME} " in "".join(p.read_text() for p in (folder / "reports").rglob("digits.json"))
    (record,) = (record for record in records if record.cell.external)
    assert call("reproduce", f"results/{record.cell.file}")[0] == 2
    ours = msgspec.structs.replace(record.cell, external=False)
    hidden = msgspec.structs.replace(record, cell=ours, hash=ours.hash)
    (folder / "results" / record.cell.file).write_bytes(msgspec.json.encode(hidden))
    assert "unknown method 'push-away'" in verify(folder / "results").wrong[0][1]


def del_variable(look_again: LookAgain) -> None:
    import os

    from benchmark.discovery import outside

    os.environ[outside.VARIABLE] = ""
    look_again()


def test_the_other_blocks_are_right(folder: Path) -> None:
    """The suite's table and the search space fit the method, the test is what new-method writes."""
    name_files([folder / "push_away.py"])
    (info,) = methods_of(METHOD)
    assert info.access == Access(retain="xy", forget="x", max_samples={"retain": 1000})
    suite, space, package = blocks("toml")
    assert set(tomllib.loads(suite)["hyperparameters"]["digits"][NAME]["parameters"]) <= set(info.defaults())
    (folder / "spaces.toml").write_text(space)
    assert set(spaces("class-forget", folder / "spaces.toml")[NAME]) == {"lr", "epochs"}
    assert NAME not in spaces("bias-correction", folder / "spaces.toml")
    assert tomllib.loads(package) == {"project": {"entry-points": {"amendbench.methods": {"ideas": "mylab.ideas"}}}}
    assert blocks("python")[1].count("push_away") == 1
    call("new-method", "pushed")
    assert blocks("python")[1].replace("push_away", "pushed") in (folder / "test_pushed.py").read_text()


@pytest.mark.parametrize("task", list(TASKS))
def test_what_is_written_for_a_task_works_as_it_is(task: str, folder: Path) -> None:
    code, said = call("new-method", "my-idea", "--task", task, "--folder", "ideas")
    assert code == 0
    assert "amendbench test-method ideas/my_idea.py:my-idea" in said
    found = check_file(folder / "ideas" / "my_idea.py")
    assert failures(found) == []
    assert {(each.method, each.task) for each in found} == {("my-idea", task)}
    test = (folder / "ideas" / "test_my_idea.py").read_text()
    assert '"my_idea.py"' in test
    compile(test, "test", "exec")
    before = (folder / "ideas" / "my_idea.py").read_text()
    assert call("new-method", "my-idea", "--folder", "ideas")[0] == 2
    assert (folder / "ideas" / "my_idea.py").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["No Name"], "'No Name' is no name"),
        (["a+b"], "'a+b' is no name"),
        (["../x"], "is no name"),
        (["scrub"], "task class-forget has a method 'scrub' already"),
        (["fine", "--task", "class-forgot"], "unknown task 'class-forgot'; did you mean class-forget"),
    ],
)
def test_names_that_cannot_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert call("new-method", *arguments)[0] == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["push_away.py"]


def test_names_that_are_no_names_of_functions(folder: Path) -> None:
    assert call("new-method", "2-steps")[0] == 0
    assert (folder / "method_2_steps.py").exists()
    assert call("new-method", "pass", "--task", "debias-known")[0] == 0
    assert (folder / "test_method_pass.py").exists()


def test_a_broken_promise_is_exit_code_1(folder: Path) -> None:
    text = (folder / "push_away.py").read_text().replace('forget="x"', 'forget="y"')
    (folder / "broken.py").write_text(text)
    code, said = call("test-method", "broken.py")
    assert code == 1
    assert "images of the forget view were asked for but not declared" in said
    assert call("test-method", "broken.py", "--task", "debias-known")[0] == 2
