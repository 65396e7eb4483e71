"""``--method`` and ``--methods`` with files of one's own: what joins which scenarios, and every way to ask wrongly."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from benchmark.artifacts.context import Context
from benchmark.discovery import outside
from benchmark.discovery.methods import METHODS, package_folder
from benchmark.errors import InputError
from benchmark.running.cell import run_cell
from benchmark.running.plan import make_plan
from benchmark.running.records import Cell, RecordStore
from benchmark.running.run_cells import method_of
from benchmark.suites.choosing import choose, invited, left_out, methods_of
from benchmark.suites.definition import Suite, load_suite
from benchmark.tuning.search import wanted
from benchmark.tuning.spaces import spaces

LookAgain = Callable[[], None]

TWO = """
from torch import nn
from benchmark.contracts import Access, method

@method("one", tasks=("class-forget", "label-free-forget"), paper="", access=Access(retain="x"))
def one(problem, *, lr: float = 0.5) -> nn.Module:
    return problem.model

@method("other", tasks="class-forget", paper="", access=Access())
def other(problem) -> nn.Module:
    return problem.model
"""


@pytest.fixture
def mine(tmp_path: Path, outsiders: LookAgain, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with two methods, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TWO)
    return tmp_path / "mine.py"


def smoke(only: list[str] | None = None, added: list[str] | None = None, task: str | None = "class-forget") -> Suite:
    chosen, more = invited(only, added)
    return choose(load_suite("smoke"), task, None, chosen, more)


def test_a_method_that_is_added_joins_the_suites_own(mine: Path) -> None:
    before = {name: list(s.methods) for name, s in smoke().scenarios.items()}
    after = smoke(added=["mine.py:one"]).scenarios
    assert {name: list(s.methods) for name, s in after.items()} == {name: [*m, "one"] for name, m in before.items()}
    assert all((s.methods["one"], s.provenance["one"]) == ({"lr": 0.5}, "defaults") for s in after.values())
    assert os.environ[outside.VARIABLE] == str(mine)


def test_a_method_that_is_chosen_runs_beside_the_references_alone(mine: Path) -> None:
    for scenario in smoke(["mine.py:other"]).scenarios.values():
        assert set(scenario.methods) == {"original", "retrain", "other"}
    both = smoke(["svd-forgetting", "mine.py:one"], ["scrub"]).scenarios["digits"]
    assert set(both.methods) == {"original", "retrain", "svd-forgetting", "one", "scrub"}


def test_a_file_stands_for_all_that_it_declares(mine: Path) -> None:
    assert invited(None, ["mine.py"]) == invited(None, ["mine.py:"]) == (None, ["one", "other"])
    assert invited(["mine.py", "scrub"], ["mine.py:one,ssd", "mine.py:other"]) == (
        ["one", "other", "scrub"],
        ["one", "ssd", "other"],
    )


def test_it_joins_the_scenarios_of_its_tasks(mine: Path) -> None:
    whole = smoke(added=["mine.py"], task=None).scenarios
    having = {name for name, s in whole.items() if "one" in s.methods}
    assert having == {name for name, s in whole.items() if s.task in ("class-forget", "label-free-forget")}
    assert {s.task for s in whole.values() if "other" in s.methods} == {"class-forget"}


def test_what_is_known_is_in_no_suite_unless_it_is_named(mine: Path, tmp_path: Path) -> None:
    invited(None, ["mine.py"])
    assert METHODS.has("one", "class-forget")
    assert all("one" not in s.methods for s in load_suite("smoke").scenarios.values())
    own = Path(load_suite("smoke").path).read_text().replace('name = "smoke"', 'name = "own-smoke"')
    named = own.replace('"logit-mask"]\n\n# The three', '"logit-mask", "one"]\n\n# The three')
    assert named != own
    (tmp_path / "named.toml").write_text(named)
    assert load_suite("named.toml").scenarios["digits"].methods["one"] == {"lr": 0.5}
    tuned = 'one = {parameters = {lr = 0.25}, provenance = "by hand"}\n'
    (tmp_path / "tuned.toml").write_text(
        own.replace("[hyperparameters.digits]\n", f"[hyperparameters.digits]\n{tuned}")
    )
    chosen = choose(load_suite("tuned.toml"), "class-forget", None, None, ["one"]).scenarios
    assert (chosen["digits"].methods["one"], chosen["digits"].provenance["one"]) == ({"lr": 0.25}, "by hand")
    assert chosen["four-gaussians"].methods["one"] == {"lr": 0.5}


def test_one_of_ours_joins_a_scenario_that_does_not_list_it_where_it_is_added() -> None:
    """``digits`` lists its methods, ``four-gaussians`` has all of its task."""
    smoke_suite = load_suite("smoke")
    both = choose(smoke_suite, "class-forget", None, ["scrub", "finetune"], []).scenarios
    assert ["scrub" in both[name].methods for name in ("four-gaussians", "digits")] == [True, False]
    said = left_out(smoke_suite, "class-forget", None, ["scrub", "finetune"])
    assert said == ["digits: scrub is not listed; --method scrub adds it"]
    assert left_out(smoke_suite, None, ["digits"], []) == []
    with pytest.raises(InputError, match="method 'scrub' is not listed in digits: add it there with --method scrub"):
        choose(smoke_suite, None, ["digits"], ["scrub"], [])
    with pytest.raises(InputError, match="unknown method 'scrubb'; did you mean"):
        choose(smoke_suite, None, ["digits"], ["scrubb"], [])
    added = choose(smoke_suite, None, ["digits"], None, ["scrub"]).scenarios["digits"]
    assert added.methods["scrub"] == METHODS.get("scrub", "class-forget").defaults()


def test_a_file_of_the_repository_stands_for_its_methods() -> None:
    path = package_folder("baselines") / "scrub.py"
    assert invited([f"{path}:scrub"], None)[0] == ["scrub"]
    assert [info.module for info in methods_of(str(path))] == ["baselines.scrub"] * len(methods_of(str(path)))
    assert os.environ.get(outside.VARIABLE, "") == ""


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("mine.py:onne", "unknown method of mine.py 'onne'; did you mean one"),
        ("mien.py:one", "unknown file in .:? 'mien.py'; did you mean mine.py"),
        ("nowhere/mine.py:one", "unknown file in nowhere"),
        ("mine.txt:one", "'mine.txt' is no method's name and no .py file"),
        ("../", "is no method's name and no .py file"),
        ("Mine", "is no method's name and no .py file"),
        ("onne", "unknown method 'onne'"),
        (" , ", "one was asked for, but none was named"),
        ("bad name.py:one", "'bad name.py' is no name of a module"),
        ("alien.py", "tasks: unknown task 'class-forgot'; did you mean class-forget"),
        ("reader.py", "access: unknown view of class-forget 'retian'; did you mean retain"),
        ("greedy.py", "access: class-forget offers 'xy' of its view retain, not 'xya'"),
        ("limited.py", "access: max_samples limits the view forget, which it does not read"),
        ("typed.py", "lr must be float, not 'fast'"),
    ],
)
def test_what_cannot_be_asked_for_is_said(mine: Path, item: str, said: str) -> None:
    for name, old, new in (
        ("bad name", "one", "one"),
        ("alien", '"label-free-forget"', '"class-forgot"'),
        ("reader", "retain=", "retian="),
        ("greedy", 'retain="x"', 'retain="xya"'),
        ("limited", 'retain="x"', 'retain="x", max_samples={"forget": 5}'),
        ("typed", "lr: float = 0.5", 'lr: float = "fast"'),
    ):
        text = TWO.replace(old, new).replace('"one"', '"first"').replace('"other"', '"second"')
        mine.with_name(f"{name}.py").write_text(text)
    with pytest.raises(InputError, match=said):
        invited(None, [item])
    assert not os.environ.get(outside.VARIABLE) or item.startswith("mine.py")
    assert METHODS.has("scrub", "class-forget")  # what was refused is forgotten


def test_a_method_that_no_scenario_can_have_is_refused(mine: Path) -> None:
    with pytest.raises(InputError, match="unknown method of bias-correction 'one'"):
        smoke(added=["mine.py:one"], task="bias-correction")


def test_a_method_that_is_not_here_is_said_to_be_from_outside(
    outsiders: LookAgain, make_cell: Callable[..., Cell]
) -> None:
    cell = make_cell("finetune")
    assert method_of(cell).name == "finetune"
    gone = msgspec.structs.replace(cell, method="gone", external=True)
    with pytest.raises(InputError, match="'gone' is not installed here: it came from outside"):
        method_of(gone)


FAILING = """
from benchmark.contracts import Access, method

@method("failing", tasks="class-forget", paper="", access=Access())
def failing(problem):
    raise ValueError(f"it is in {__file__}")
"""


def cell_of(name: str, scenario: str = "digits") -> Cell:
    """The cell of a method of a file, as a run plans it."""
    only, more = invited([name], None)
    suite = choose(load_suite("smoke"), None, [scenario], only, more)
    plan = make_plan(suite, [0], "cpu", RecordStore(Path("no-results")))
    return next(cell for cell in plan.cells if cell.external)


def test_what_fails_says_nothing_of_folders(mine: Path, context: Context) -> None:
    mine.write_text(FAILING)
    cell = cell_of("mine.py")
    assert str(mine.parent) not in msgspec.json.encode(cell).decode()
    record, _ = run_cell(cell, context, exclusive=True, provenance="")
    assert record.failure is not None
    assert (record.status, record.failure.error) == ("failed", "ValueError")
    assert record.failure.message.startswith("it is in mine.py")
    assert 'File "mine.py", line 6, in failing' in record.failure.traceback


def test_a_file_that_changes_while_it_runs_gives_no_result(mine: Path, context: Context, outsiders: LookAgain) -> None:
    """What a worker reads must be what the cell was planned with."""
    cell = cell_of("mine.py:other")
    assert run_cell(cell, context, exclusive=True, provenance="")[0].status == "ok"
    mine.write_text(TWO.replace("return problem.model", "return problem.model.eval()"))
    outsiders()  # another worker
    record, _ = run_cell(cell, context, exclusive=True, provenance="")
    assert record.failure is not None
    assert "the source of other has changed since the run began" in record.failure.message


# Tuning.

SPACES = "[one]\nlr = { low = 0.1, high = 1.0 }\n"


def test_a_method_from_outside_is_tuned_in_a_suite_of_ones_own(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "spaces.toml").write_text(SPACES)
    text = Path(load_suite("smoke").path).read_text().replace('name = "smoke"', 'name = "own-smoke"')
    (tmp_path / "own.toml").write_text(text)
    only, more = invited(None, ["mine.py:one"])
    suites = [choose(load_suite(name), "class-forget", None, only, more) for name in ("smoke", "own.toml")]
    with pytest.raises(InputError, match=r"'one' is from outside: .* --suite mine.toml"):
        wanted(suites[0], ["one"], tmp_path / "spaces.toml")
    found = wanted(suites[1], ["one"], tmp_path / "spaces.toml")
    assert [(scenario.name, method) for scenario, method in found] == [("four-gaussians", "one"), ("digits", "one")]
    with pytest.raises(InputError, match="method 'one' has no search space: write one"):
        wanted(suites[1], ["one"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SPACES.replace("one", "onne"), "spaces.toml: unknown method 'onne'; did you mean one"),
        (SPACES.replace("lr", "rl"), "spaces.toml: one: unknown hyper-parameter 'rl'"),
        ('[one]\nlr = { choices = ["fast"] }\n', "lr must be float, not 'fast'"),
    ],
)
def test_search_spaces_are_checked(mine: Path, tmp_path: Path, text: str, said: str) -> None:
    invited(None, ["mine.py"])
    (tmp_path / "spaces.toml").write_text(text)
    with pytest.raises(InputError, match=said):
        spaces("class-forget", tmp_path / "spaces.toml")
