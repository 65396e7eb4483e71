"""Render the reports folder from the results folder."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import InputError
from benchmark.reporting import markdown
from benchmark.reporting.board import Row, build_board
from benchmark.reporting.drawings import draw
from benchmark.reporting.legitimate import legitimate_tables
from benchmark.reporting.measured import settings_of
from benchmark.running.ensembles import FOLDER as ENSEMBLES
from benchmark.running.ensembles import read_all
from benchmark.running.files import write_atomically
from benchmark.running.records import RecordStore
from benchmark.suite import Suite, load_suite, suite_names
from benchmark.tasks import TASKS
from benchmark.tasks.gan_feature_removal import GanFeatureRemoval


def render(results: Path, reports: Path) -> list[Path]:
    """Write every report; returns the files. The same records give the same bytes."""
    store = RecordStore(results)
    suites: dict[str, Suite] = {name: load_suite(name) for name in suite_names()}
    boards: dict[str, list[Row]] = {}
    generated: dict[str, dict[str, GanFeatureRemoval]] = {}
    figures: list[tuple[str, str]] = []
    written = []
    for name in sorted({path.name for path in results.glob("*") if path.is_dir()} - {"tuning", ENSEMBLES}):
        records = list(store.all(name))
        rows = build_board(records, suites.get(name))
        if rows:
            boards[name] = rows
            generated[name] = settings_of(records)
            for path, caption in draw(name, records, rows, store, reports / "figures"):
                figures.append((f"figures/{path.name}", caption))
                written.append(path)
    if not boards:
        raise InputError(f"there are no records in {results}; run: make bench TASK=class-forget")
    path = reports / "leaderboard.md"
    compared = [record for record in read_all(results) if record.task in TASKS]
    tuned = {name: legitimate_tables(results, name) for name in boards}
    text = markdown.leaderboard(boards, suites, figures, compared, tuned, generated)
    write_atomically(path, text.encode())
    return [path, *written]
