"""Notes stand beside the numbers that they were written about, and beside no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.boards.board import build_board
from benchmark.reporting import findings
from benchmark.reporting.findings import FOLDER, about, note
from benchmark.reporting.front import front_page
from benchmark.reporting.material import Material
from benchmark.reporting.sheet import sheets
from benchmark.running.records import Record, RecordStore
from benchmark.suites.definition import load_suite

Make = Callable[..., Record]
RESULTS = Path(__file__).parents[3] / "results"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_notes_are_about_the_committed_records(path: Path) -> None:
    """Where this fails records have changed: read the note beside the new tables, mend it, renew its first line."""
    suite, _, task = path.stem.partition(".")
    records = RecordStore(RESULTS).all(suite)
    own = sheets(suite, build_board(records, load_suite(suite), None if task == "overview" else task))
    assert path.read_text("utf-8").splitlines()[0] == f"<!-- about: {about(own)} -->"
    assert len(note(path.stem, own)) > 100


def test_other_numbers_have_no_note(
    make_debias: Make, make_material: Callable[..., Material], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def board(gerne: float) -> list[Record]:
        return [make_debias(m, v) for m, v in {"erm": 30.0, "unbiased": 90.0, "gerne": gerne}.items()]

    monkeypatch.setattr(findings, "FOLDER", tmp_path)
    own = sheets("embedded", build_board(board(60.0)))
    (tmp_path / "embedded.overview.md").write_text(f"<!-- about: {about(own)} -->\n## What stands out\n\nGerne.\n")
    assert note("embedded.overview", own) == "## What stands out\n\nGerne."
    assert note("embedded.overview", sheets("embedded", build_board(board(61.0)))) == ""
    assert note("embedded.overview", []) == note("embedded.else", own) == ""
    assert "What stands out" in front_page([make_material(build_board(board(60.0)), "embedded")])
    assert "What stands out" not in front_page([make_material(build_board(board(59.0)), "embedded")])
