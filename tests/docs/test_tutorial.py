"""docs/tutorial.md: what it shows is what there is, and its commands do what it says."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from reading import blocks, page

from benchmark.cli import main
from benchmark.discovery import outside
from benchmark.metrics.catalogue import metric
from benchmark.running.records import RecordStore

TEXT = page("tutorial.md")
COMMANDS = [line.split("  #")[0] for block in blocks(TEXT, "sh") for line in block.replace("\\\n", " ").splitlines()]
OURS = [line.split()[1:] for line in COMMANDS if line.startswith("amendbench ")]
LookAgain = Callable[[], None]


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the command line in this process."""
    with pytest.raises(SystemExit) as ended, redirect_stdout(io.StringIO()) as said:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.getvalue()


@pytest.fixture
def folder(tmp_path: Path, outsiders: LookAgain, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with a data root of its own."""
    before = torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.use_deterministic_algorithms(before)


def test_the_method_is_what_new_method_writes(folder: Path) -> None:
    shown, pictures = blocks(TEXT, "python")
    assert call(*next(words for words in OURS if words[0] == "new-method"))[0] == 0
    written = (folder / "my_method.py").read_text()
    assert shown in written
    compile(pictures, "pictures.py", "exec")


def test_columns_of_the_board_are_those_of_metrics() -> None:
    head = blocks(TEXT, "text")[0].splitlines()[0]
    for name in ("accuracy.test.retain", "accuracy.test.forget", "tow", "relearn.steps.gap"):
        assert metric(name).label in head


def test_commands_that_cost_nothing(folder: Path) -> None:
    for words in OURS:
        if words[0] == "list":
            assert call(*words)[0] == 0
        elif words[0] == "bench" and "--method" not in words:
            code, said = call(*words, "--dry-run")
            assert code == 0
            assert "class-forget / digits: 15 cells" in said


@pytest.mark.long
def test_every_command_works(folder: Path, outsiders: LookAgain) -> None:
    for words in OURS:
        if words[0] == "amend":
            exec(compile(blocks(TEXT, "python")[1], "pictures.py", "exec"), {})
            words = [*words, "--threads", "1"]  # more of them wait for each other where the machine is busy
        code, said = call(*words)
        assert code == 0, said
        if "--method" in words and words[0] == "bench":
            assert "my-method" in said
            assert "from outside" in said
    os.environ[outside.VARIABLE] = ""
    outsiders()
    records = [record for record in RecordStore(folder / "mine/results").all() if record.status == "ok"]
    assert len(records) == 18
    assert (folder / "mine/reports/site/index.html").exists()
    told = json.loads((folder / "amended/amendment.json").read_text())
    card = (folder / "amended/MODEL_CARD.md").read_text()
    assert told["amended_weights_sha256"] in card
    for label in re.findall(r"^\| (.+?) \|", blocks(TEXT, "text")[-1], re.MULTILINE)[1:]:
        assert f"| {label.strip()} (`" in card
