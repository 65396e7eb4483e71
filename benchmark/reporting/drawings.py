"""Which figures a suite has: what each is drawn from, its file, and its caption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from benchmark.reporting.board import Row
from benchmark.reporting.examples import examples
from benchmark.reporting.generated import image_grids, point_clouds, premises
from benchmark.reporting.groups import group_maps
from benchmark.reporting.sweeps import sweeps
from benchmark.reporting.text import escape, file_name
from benchmark.running.records import Record, RecordStore

#: Methods whose decision regions are drawn, where they were kept.
DRAWN = ("original", "retrain", "svd-forgetting", "svd-forgetting+search", "logit-mask")
#: Methods that keep the curves of their losses.
CURVES = ("laf",)


class Drawing(NamedTuple):
    """A figure's file and its caption, which is Markdown."""

    path: Path
    caption: str


def draw(
    suite: str, records: Sequence[Record], rows: Sequence[Row], store: RecordStore, folder: Path
) -> Iterator[Drawing]:
    """Draw every figure of a suite into ``folder``."""
    yield from _regions(suite, records, store, folder)
    yield from _curves(suite, records, store, folder)
    yield from _group_maps(suite, rows, folder)
    yield from _sweeps(suite, store, folder)
    yield from _examples(suite, records, store, folder)
    yield from _grids(suite, records, rows, store, folder)
    yield from _points(suite, records, rows, store, folder)
    yield from _premise(suite, records, store, folder)


def _regions(suite: str, records: Sequence[Record], store: RecordStore, folder: Path) -> Iterator[Drawing]:
    """Decision regions of the first seed of every scenario that kept them."""
    drawable = [r for r in records if r.status == "ok" and r.cell.settings.get("draw_regions")]
    for scenario in sorted({record.cell.scenario for record in drawable}):
        block = [record for record in drawable if record.cell.scenario == scenario]
        seed = min(record.cell.seed for record in block)
        kept = {r.cell.method: store.arrays(r) for r in block if r.cell.seed == seed and r.cell.method in DRAWN}
        regions = {name: kept[name]["regions"] for name in DRAWN if "regions" in kept.get(name, {})}
        if regions:
            from benchmark.reporting.figures import decision_regions

            path = folder / file_name(f"{suite}-{scenario}-regions.png")
            forgotten = int(kept[next(iter(regions))]["forgotten"][0])
            decision_regions(regions, forgotten, path)
            caption = f"Decision regions of {escape(scenario)} (suite {suite}, seed {seed})"
            yield Drawing(path, f"{caption}; the cross marks the forgotten class")


def _curves(suite: str, records: Sequence[Record], store: RecordStore, folder: Path) -> Iterator[Drawing]:
    """Loss curves of the first seed of every scenario in which a method kept them, a figure a method."""
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

            path = folder / f"{suite}-{method}-losses.png"
            loss_curves(curves, path)
            yield Drawing(path, f"Losses of {method} in suite {suite}, mean over each epoch, first seed")


def _group_maps(suite: str, rows: Sequence[Row], folder: Path) -> Iterator[Drawing]:
    """Accuracy by group of every scenario that has more groups than a table has columns for."""
    for (_, scenario), block in groupby(rows, key=lambda row: (row.task, row.scenario)):
        maps = group_maps(list(block))
        if maps is not None:
            from benchmark.reporting.figures import group_maps as draw_maps

            path = folder / file_name(f"{suite}-{scenario}-groups.png")
            draw_maps(maps.classes, maps.attributes, maps.panels, path)
            caption = f"Accuracy by class (rows) and attribute (columns) of {escape(scenario)} (suite {suite})"
            yield Drawing(path, f"{caption}, mean over seeds")


def _sweeps(suite: str, store: RecordStore, folder: Path) -> Iterator[Drawing]:
    """What lambda does in every scenario in which RR-ClArC was tuned."""
    found = sweeps(store.root, suite)
    if found:
        from benchmark.reporting.correction_figures import lambda_sweeps

        path = folder / file_name(f"{suite}-lambda.png")
        lambda_sweeps(found, path)
        seeds = " or ".join(", ".join(map(str, seeds)) for seeds in dict.fromkeys(sweep.seeds for sweep in found))
        yield Drawing(
            path,
            f"RR-ClArC at every value of λ above 0 that was tried (suite {escape(suite)}), on the selection split, "
            f"tuning seeds {seeds}: mean over seeds, and a band from the lowest to the highest. The dashed line is "
            "the λ that tuning chose, by accuracy on attacked samples. Markers are hollow where clean accuracy, mean "
            "over seeds, was below the scenario's floor, which rules a value out, or where a seed failed. TCAV is to "
            "be 0.5 (dotted line); it is blank where no derivative differs from 0",
        )


def _examples(suite: str, records: Sequence[Record], store: RecordStore, folder: Path) -> Iterator[Drawing]:
    """Pictures and what was seen in them, a figure a scenario that kept them."""
    for shown in examples(records, store):
        from benchmark.reporting.correction_figures import example_pictures

        path = folder / file_name(f"{suite}-{shown.scenario}-examples.png")
        example_pictures(shown, path)
        yield Drawing(
            path,
            f"Test samples of {escape(shown.scenario)} (suite {escape(suite)}, seed {shown.seed}), clean and with the "
            "artefact; below the latter, what the network predicts before RR-ClArC (the original) and after. Below: "
            "relevance (LRP) of the attacked picture's pixels for the largest logit, and for the artefact's direction "
            "h in the layer's activations a; red and brown speak for it, blue against it, each map scaled to its "
            "largest absolute value. The last two rows are the same where the method leaves the layers below alone",
        )


def _grids(
    suite: str, records: Sequence[Record], rows: Sequence[Row], store: RecordStore, folder: Path
) -> Iterator[Drawing]:
    """What generators make of fixed latents, a figure a scenario that kept it."""
    for grid in image_grids(records, rows, store):
        from benchmark.reporting.generated_figures import image_grid

        path = folder / file_name(f"{suite}-{grid.scenario}-grid.png")
        image_grid(grid, path)
        yield Drawing(
            path,
            f"Images of {escape(grid.scenario)} (suite {escape(suite)}, seed {grid.seed}), from which "
            f"{escape(grid.removed)} is to go: a row a generator, references first, cheats last, the others by rank. "
            f"Left: the same {len(grid.methods[0].any)} latents at random. Right: the first latents whose original "
            "image the judge calls undesired. To a retrained generator these latents mean something else. PUL, the "
            "percentage of undesired images removed, is that of this seed",
        )


def _points(
    suite: str, records: Sequence[Record], rows: Sequence[Row], store: RecordStore, folder: Path
) -> Iterator[Drawing]:
    """What generators of points make, a figure a scenario."""
    for clouds in point_clouds(records, rows, store):
        from benchmark.reporting.generated_figures import point_panels

        path = folder / file_name(f"{suite}-{clouds.scenario}-points.png")
        point_panels(clouds, path)
        yield Drawing(
            path,
            f"Points of {escape(clouds.scenario)} (suite {escape(suite)}, seed {clouds.seed}), from which "
            f"{escape(clouds.removed)} are to go: a panel a generator, references first, cheats last, the others by "
            "rank. Grey lie real points that are to be kept, pale orange those that the original made where nothing is "
            "to be any more, and over them what the generator makes of the same latents: blue dots, and orange "
            "crosses where the judge calls it undesired. What lies outside the frame is not shown. PUL, the "
            "percentage of undesired points removed, is that of this seed",
        )


def _premise(suite: str, records: Sequence[Record], store: RecordStore, folder: Path) -> Iterator[Drawing]:
    """How much is undesired on both sides of the original, a panel a scenario."""
    found = premises(records, store)
    if found:
        from benchmark.reporting.generated_figures import premise_curves

        path = folder / file_name(f"{suite}-premise.png")
        premise_curves(found, path)
        seeds = "; ".join(f"{escape(one.scenario)} {', '.join(map(str, one.seeds))}" for one in found)
        yield Drawing(
            path,
            "The premise of Adapt then Unlearn: percent of undesired images of generators with the parameters "
            "θ\\_G + s (mean θ\\_N - θ\\_G), where θ\\_G are the original's and θ\\_N those of generators adapted to "
            "what is undesired. On the side away from those, at s < 0, there is to be less of it. "
            f"Suite {escape(suite)}, from the records of extrapolation; seeds: {seeds}",
        )
