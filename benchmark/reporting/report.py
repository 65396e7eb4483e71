"""Render the reports folder from the results folder."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from benchmark.errors import InputError
from benchmark.reporting import markdown
from benchmark.reporting.board import Row, build_board
from benchmark.reporting.groups import group_maps
from benchmark.reporting.text import escape, file_name
from benchmark.running.ensembles import FOLDER as ENSEMBLES
from benchmark.running.ensembles import read_all
from benchmark.running.files import write_atomically
from benchmark.running.records import Record, RecordStore
from benchmark.suite import Suite, load_suite, suite_names
from benchmark.tasks import TASKS

#: Methods whose decision regions are drawn, where they were kept.
DRAWN = ("original", "retrain", "svd-forgetting", "svd-forgetting+search", "logit-mask")


#: Methods that keep the curves of their losses.
CURVES = ("laf",)


def render(results: Path, reports: Path) -> list[Path]:
    """Write every report; returns the files. The same records give the same bytes."""
    store = RecordStore(results)
    suites: dict[str, Suite] = {name: load_suite(name) for name in suite_names()}
    boards: dict[str, list[Row]] = {}
    figures: list[tuple[str, str]] = []
    written = []
    for name in sorted({path.name for path in results.glob("*") if path.is_dir()} - {"tuning", ENSEMBLES}):
        records = list(store.all(name))
        rows = build_board(records, suites.get(name))
        if rows:
            boards[name] = rows
            written += _figures(name, records, store, reports, figures)
            written += _curves(name, records, store, reports, figures)
            written += _group_maps(name, rows, reports, figures)
    if not boards:
        raise InputError(f"there are no records in {results}; run: make bench TASK=class-forget")
    path = reports / "leaderboard.md"
    compared = [record for record in read_all(results) if record.task in TASKS]
    write_atomically(path, markdown.leaderboard(boards, suites, figures, compared).encode())
    return [path, *written]


def _figures(
    suite: str, records: list[Record], store: RecordStore, reports: Path, figures: list[tuple[str, str]]
) -> list[Path]:
    """Decision regions of the first seed of every scenario that kept them."""
    written = []
    drawable = [r for r in records if r.status == "ok" and r.cell.settings.get("draw_regions")]
    for scenario in sorted({record.cell.scenario for record in drawable}):
        block = [record for record in drawable if record.cell.scenario == scenario]
        seed = min(record.cell.seed for record in block)
        kept = {r.cell.method: store.arrays(r) for r in block if r.cell.seed == seed and r.cell.method in DRAWN}
        regions = {name: kept[name]["regions"] for name in DRAWN if "regions" in kept.get(name, {})}
        if regions:
            from benchmark.reporting.figures import decision_regions

            path = reports / "figures" / file_name(f"{suite}-{scenario}-regions.png")
            forgotten = int(kept[next(iter(regions))]["forgotten"][0])
            decision_regions(regions, forgotten, path)
            caption = f"Decision regions of {escape(scenario)} (suite {suite}, seed {seed})"
            figures.append((f"figures/{path.name}", f"{caption}; the cross marks the forgotten class"))
            written.append(path)
    return written


def _curves(
    suite: str, records: list[Record], store: RecordStore, reports: Path, figures: list[tuple[str, str]]
) -> list[Path]:
    """Loss curves of the first seed of every scenario in which a method kept them, a figure a method."""
    written = []
    for method in CURVES:
        own = [record for record in records if record.status == "ok" and record.cell.method == method]
        first = {r.cell.scenario: r for r in sorted(own, key=lambda r: -r.cell.seed)}
        kept = {scenario: store.arrays(record) for scenario, record in sorted(first.items())}
        curves = {
            scenario: (arrays["curve.unlearn"], arrays["curve.align"])
            for scenario, arrays in kept.items()
            if len(arrays.get("curve.unlearn", ()))
        }
        if curves:
            from benchmark.reporting.figures import loss_curves

            path = reports / "figures" / f"{suite}-{method}-losses.png"
            loss_curves(curves, path)
            figures.append(
                (f"figures/{path.name}", f"Losses of {method} in suite {suite}, mean over each epoch, first seed")
            )
            written.append(path)
    return written


def _group_maps(suite: str, rows: list[Row], reports: Path, figures: list[tuple[str, str]]) -> list[Path]:
    """Accuracy by group of every scenario that has more groups than a table has columns for."""
    written = []
    for (_, scenario), block in groupby(rows, key=lambda row: (row.task, row.scenario)):
        maps = group_maps(list(block))
        if maps is not None:
            from benchmark.reporting.figures import group_maps as draw

            path = reports / "figures" / file_name(f"{suite}-{scenario}-groups.png")
            draw(maps.classes, maps.attributes, maps.panels, path)
            caption = f"Accuracy by class (rows) and attribute (columns) of {escape(scenario)} (suite {suite})"
            figures.append((f"figures/{path.name}", f"{caption}, mean over seeds"))
            written.append(path)
    return written
