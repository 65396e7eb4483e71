"""Listing, planning and reporting start fast: they import no torch."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.commands.listing import SECTIONS, print_listing
from benchmark.errors import InputError

WITHOUT_TORCH = {
    "listing": "import benchmark.commands.listing; benchmark.commands.listing.print_listing('all')",
    "plan": (
        "from pathlib import Path\n"
        "from benchmark.suites.definition import load_suite\n"
        "from benchmark.running.plan import make_plan\n"
        "from benchmark.running.records import RecordStore\n"
        "plan = make_plan(load_suite('embedded'), range(3), 'cpu', RecordStore(Path('none')))\n"
        "assert len(plan.cells) > 30 and plan.todo == plan.cells\n"
    ),
    "board": (
        "from pathlib import Path\n"
        "from benchmark.boards.board import build_board\n"
        "from benchmark.reporting import markdown, report, terminal\n"
        "from benchmark.running.records import RecordStore\n"
        "from benchmark.suites.definition import load_suite\n"
        "build_board(RecordStore(Path('none')).all(), load_suite('embedded'))\n"
    ),
    "pool": "import benchmark.running.pool, benchmark.running.session",
    "tuning": "import benchmark.tuning.search",
    "cli": "import benchmark.cli; benchmark.cli.typer.main.get_command(benchmark.cli.app)",
}


@pytest.mark.parametrize("what", WITHOUT_TORCH)
def test_no_torch(what: str, tmp_path: Path) -> None:
    code = f"{WITHOUT_TORCH[what]}\nimport sys\nassert 'torch' not in sys.modules\nprint('done')"
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.endswith("done\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--help"], "Usage: amendbench"), (["list"], "svd-forgetting"), (["bench", "--help"], "Examples: amendbench")],
)
def test_help_and_lists_are_quick(arguments: list[str], said: str) -> None:
    """Processor time, because others may use this machine; 2 s is generous, torch alone takes more than one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(
        [sys.executable, "-m", "benchmark", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert told.returncode == 0, told.stderr
    assert said in told.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_every_section_lists_something(capsys: pytest.CaptureFixture[str]) -> None:
    for section in SECTIONS:
        print_listing(section)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == section
        assert len(lines) > 1
    print_listing("all")
    text = capsys.readouterr().out
    for name in ("class-forget", "svd-forgetting+search", "alpha_r=100.0", "smoke", "mnist-5k", "resnet-small", "tow"):
        assert name in text


def test_an_unknown_section_is_named() -> None:
    with pytest.raises(InputError, match="unknown section 'method'; did you mean methods"):
        print_listing("method")
