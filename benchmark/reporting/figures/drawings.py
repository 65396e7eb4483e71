"""Which figures a suite has: what each is drawn from, what it is called, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from benchmark.boards.board import Row
from benchmark.reporting import generated
from benchmark.reporting.examples import TASK as CORRECTED
from benchmark.reporting.examples import examples
from benchmark.reporting.figures import correction as correction_figures
from benchmark.reporting.figures import generators as generated_figures
from benchmark.reporting.figures import plots as figures
from benchmark.reporting.groups import group_maps
from benchmark.reporting.sheet import Sheet
from benchmark.reporting.sweeps import sweeps
from benchmark.reporting.text import escape, file_name
from benchmark.running.records import Record, RecordStore

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

#: Methods whose decision regions are drawn, where they were kept.
DRAWN = ("original", "retrain", "svd-forgetting", "svd-forgetting+search", "logit-mask")
#: Methods that keep the curves of their losses.
CURVES = ("laf",)
#: Numbers that are drawn in one panel, at most: more take minutes, and nobody keeps so many.
DOTS = 10**6
#: Characters of a figure's name, at most.
LONGEST = 150


@dataclass(frozen=True)
class Drawing:
    """A figure that is not drawn yet.

    ``stem`` names its files, without their ending; ``scenario`` is None where it shows several. ``kind`` is a word for
    what it shows, ``caption`` Markdown, ``alt`` a sentence of plain text for who cannot see it (text from records, not
    escaped). ``figure`` makes it: a function of a module, or a ``functools.partial`` of one, of values that can be
    pickled; it reads no files, so that the same values and source give the same figure.
    """

    stem: str
    suite: str
    task: str
    scenario: str | None
    kind: str
    caption: str
    alt: str
    figure: Callable[[], Figure]


def drawings(suite: str, records: Sequence[Record], sheets: Sequence[Sheet], store: RecordStore) -> Iterator[Drawing]:
    """Every figure of a suite that is drawn from what is kept beside its records, or by group."""
    rows = [row for sheet in sheets for row in sheet.rows]
    yield from _regions(suite, records, store)
    yield from _curves(suite, records, store)
    yield from _group_maps(suite, sheets)
    yield from _sweeps(suite, store)
    yield from _examples(suite, records, store)
    yield from _grids(suite, records, rows, store)
    yield from _points(suite, records, rows, store)
    yield from _premise(suite, records, store)


def distinct(drawn: Iterable[Drawing]) -> list[Drawing]:
    """The same with a number behind names that were there before; names that differ in case alone are the same."""
    found: list[Drawing] = []
    taken: set[str] = set()
    for drawing in drawn:
        stem, number = drawing.stem, 2
        while stem.casefold() in taken:
            stem, number = f"{drawing.stem}-{number}", number + 1
        taken.add(stem.casefold())
        found.append(replace(drawing, stem=stem))
    return found


def stem(*parts: str) -> str:
    """The name of a figure's files: tame, and not longer than file systems take."""
    return file_name("-".join(parts))[-LONGEST:]


def one_line(text: str, most: int = 80) -> str:
    """Text from outside for a sentence: short, and on one line."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _regions(suite: str, records: Sequence[Record], store: RecordStore) -> Iterator[Drawing]:
    """Decision regions of the first seed of every scenario that kept them."""
    drawable = [r for r in records if r.status == "ok" and r.cell.settings.get("draw_regions")]
    for task, scenario in sorted({(record.cell.task, record.cell.scenario) for record in drawable}):
        block = [record for record in drawable if (record.cell.task, record.cell.scenario) == (task, scenario)]
        seed = min(record.cell.seed for record in block)
        kept = {r.cell.method: store.arrays(r) for r in block if r.cell.seed == seed and r.cell.method in DRAWN}
        regions = {name: kept[name]["regions"] for name in DRAWN if _have_regions(kept.get(name, {}))}
        if regions:
            forgotten = int(kept[next(iter(regions))]["forgotten"][0])
            caption = f"Decision regions of {escape(scenario)} (suite {escape(suite)}, seed {seed})"
            yield Drawing(
                stem(suite, scenario, "regions"), suite, task, scenario, "regions",
                f"{caption}; the cross marks the forgotten class",
                f"Maps of the plane in the colours of the classes that {', '.join(regions)} predict in "
                f"{one_line(scenario)}; class {forgotten} was to be forgotten.",
                partial(figures.decision_regions, regions, forgotten),
            )  # fmt: skip


def _have_regions(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether there is a map of the plane, and which class was to go."""
    regions, forgotten = arrays.get("regions"), arrays.get("forgotten")
    if regions is None or forgotten is None:
        return False
    shaped = regions.ndim == 2 and forgotten.ndim == 1 and 0 < regions.size <= DOTS and len(forgotten) > 0
    return shaped and all(array.dtype.kind in "iu" for array in (regions, forgotten))


def _curves(suite: str, records: Sequence[Record], store: RecordStore) -> Iterator[Drawing]:
    """Loss curves of the first seed of every scenario in which a method kept them, a figure a method and task."""
    own = [record for record in records if record.status == "ok" and record.cell.method in CURVES]
    for method, task in sorted({(record.cell.method, record.cell.task) for record in own}):
        block = [record for record in own if (record.cell.method, record.cell.task) == (method, task)]
        first = {r.cell.scenario: r for r in sorted(block, key=lambda r: -r.cell.seed)}
        kept = {scenario: store.arrays(record) for scenario, record in sorted(first.items())}
        curves = {
            scenario: (arrays["curve.unlearn"], arrays["curve.align"])
            for scenario, arrays in kept.items()
            if all(_is_curve(arrays.get(name)) for name in ("curve.unlearn", "curve.align"))
        }
        if curves:
            yield Drawing(
                stem(suite, method, "losses"), suite, task, None, "losses",
                f"Losses of {method} in suite {escape(suite)}, mean over each epoch, first seed",
                f"Lines of both losses of {method} by epoch, for {one_line(', '.join(curves))}.",
                partial(figures.loss_curves, curves),
            )  # fmt: skip


def _is_curve(array: np.ndarray | None) -> bool:
    return array is not None and array.ndim == 1 and 0 < len(array) <= DOTS and array.dtype.kind == "f"


def _group_maps(suite: str, sheets: Sequence[Sheet]) -> Iterator[Drawing]:
    """Accuracy by group of every scenario that has more groups than a table has columns for."""
    for sheet in sheets:
        maps = group_maps(sheet.rows)
        if maps is not None:
            what = f"{escape(sheet.scenario)} (suite {escape(suite)})"
            caption = f"Accuracy by class (rows) and attribute (columns) of {what}"
            yield Drawing(
                stem(suite, sheet.scenario, "groups"), suite, sheet.task.name, sheet.scenario, "groups",
                f"{caption}, mean over seeds",
                f"Tables of accuracy in {one_line(sheet.scenario)}, classes by attributes, shaded by its height, for "
                f"{one_line(', '.join(maps.panels))}.",
                partial(figures.group_maps, maps.classes, maps.attributes, maps.panels),
            )  # fmt: skip


def _sweeps(suite: str, store: RecordStore) -> Iterator[Drawing]:
    """What lambda does in every scenario in which RR-ClArC was tuned."""
    found = sweeps(store.root, suite)
    if found:
        seeds = " or ".join(", ".join(map(str, seeds)) for seeds in dict.fromkeys(sweep.seeds for sweep in found))
        yield Drawing(
            stem(suite, "lambda"), suite, CORRECTED, None, "sweep",
            f"RR-ClArC at every value of λ above 0 that was tried (suite {escape(suite)}), on the selection split, "
            f"tuning seeds {seeds}: mean over seeds, and a band from the lowest to the highest. The dashed line is "
            "the λ that tuning chose, by accuracy on attacked samples. Markers are hollow where clean accuracy, mean "
            "over seeds, was below the scenario's floor, which rules a value out, or where a seed failed. TCAV is to "
            "be 0.5 (dotted line); it is blank where no derivative differs from 0",
            "Lines of accuracy on clean and attacked samples, TCAV and TCAVsens against λ, for "
            f"{one_line(', '.join(sweep.scenario for sweep in found))}.",
            partial(correction_figures.lambda_sweeps, found),
        )  # fmt: skip


def _examples(suite: str, records: Sequence[Record], store: RecordStore) -> Iterator[Drawing]:
    """Pictures and what was seen in them, a figure a scenario that kept them."""
    for shown in examples(records, store):
        yield Drawing(
            stem(suite, shown.scenario, "examples"), suite, CORRECTED, shown.scenario, "examples",
            f"Test samples of {escape(shown.scenario)} (suite {escape(suite)}, seed {shown.seed}), clean and with the "
            "artefact; below the latter, what the network predicts before RR-ClArC (the original) and after. Below: "
            "relevance (LRP) of the attacked picture's pixels for the largest logit, and for the artefact's direction "
            "h in the layer's activations a; red and brown speak for it, blue against it, each map scaled to its "
            "largest absolute value. The last two rows are the same where the method leaves the layers below alone",
            f"{len(shown.labels)} test samples of {one_line(shown.scenario)}, clean and with the artefact, and maps of "
            "the pixels that output and concept go by, before and after RR-ClArC.",
            partial(correction_figures.example_pictures, shown),
        )  # fmt: skip


def _grids(suite: str, records: Sequence[Record], rows: Sequence[Row], store: RecordStore) -> Iterator[Drawing]:
    """What generators make of fixed latents, a figure a scenario that kept it."""
    for grid in generated.image_grids(records, rows, store):
        yield Drawing(
            stem(suite, grid.scenario, "grid"), suite, generated.TASK, grid.scenario, "grid",
            f"Images of {escape(grid.scenario)} (suite {escape(suite)}, seed {grid.seed}), from which "
            f"{escape(grid.removed)} is to go: a row a generator, references first, cheats last, the others by rank. "
            f"Left: the same {len(grid.methods[0].any)} latents at random. Right: the first latents whose original "
            "image the judge calls undesired. To a retrained generator these latents mean something else. PUL, the "
            "percentage of undesired images removed, is that of this seed",
            f"Images that {len(grid.methods)} generators of {one_line(grid.scenario)} make of the same latents; "
            f"{one_line(grid.removed)} was to go.",
            partial(generated_figures.image_grid, grid),
        )  # fmt: skip


def _points(suite: str, records: Sequence[Record], rows: Sequence[Row], store: RecordStore) -> Iterator[Drawing]:
    """What generators of points make, a figure a scenario."""
    for clouds in generated.point_clouds(records, rows, store):
        yield Drawing(
            stem(suite, clouds.scenario, "points"), suite, generated.TASK, clouds.scenario, "points",
            f"Points of {escape(clouds.scenario)} (suite {escape(suite)}, seed {clouds.seed}), from which "
            f"{escape(clouds.removed)} are to go: a panel a generator, references first, cheats last, the others by "
            "rank. Grey lie real points that are to be kept, pale orange those that the original made where nothing is "
            "to be any more, and over them what the generator makes of the same latents: blue dots, and orange "
            "crosses where the judge calls it undesired. What lies outside the frame is not shown. PUL, the "
            "percentage of undesired points removed, is that of this seed",
            f"Points in the plane that {len(clouds.methods)} generators of {one_line(clouds.scenario)} make of the "
            f"same latents, over the real ones; {one_line(clouds.removed)} were to go.",
            partial(generated_figures.point_panels, clouds),
        )  # fmt: skip


def _premise(suite: str, records: Sequence[Record], store: RecordStore) -> Iterator[Drawing]:
    """How much is undesired on both sides of the original, a panel a scenario."""
    found = generated.premises(records, store)
    if found:
        seeds = "; ".join(f"{escape(one.scenario)} {', '.join(map(str, one.seeds))}" for one in found)
        yield Drawing(
            stem(suite, "premise"), suite, generated.TASK, None, "premise",
            "The premise of Adapt then Unlearn: percent of undesired images of generators with the parameters "
            "θ\\_G + s (mean θ\\_N - θ\\_G), where θ\\_G are the original's and θ\\_N those of generators adapted to "
            "what is undesired. On the side away from those, at s < 0, there is to be less of it. "
            f"Suite {escape(suite)}, from the records of extrapolation; seeds: {seeds}",
            "Lines of the percentage of undesired images against s, from beyond the original generator (s = 0) to "
            f"the adapted ones (s = 1), for {one_line(', '.join(one.scenario for one in found))}.",
            partial(generated_figures.premise_curves, found),
        )  # fmt: skip
