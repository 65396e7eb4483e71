"""Who pays for forgetting: what each class that stays loses, and what groups of them do where data has an attribute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from benchmark.reporting.figures.style import BLACK, BLUE, PALE, VERMILLION
from benchmark.reporting.studies.section import Section
from benchmark.stats import t_interval
from benchmark.studies.found import CellResult, Found
from benchmark.studies.placing import ROW, rows
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Right and all test samples of a group, by its name: ``class`` or ``class / attribute``.
Groups = Mapping[str, tuple[int, int]]


class Paid(NamedTuple):
    """A cell beside the original of its seed: points that each retained class loses, and the nearest of them."""

    drops: tuple[float, ...]
    nearest: float | None

    @property
    def mean(self) -> float:
        return sum(self.drops) / len(self.drops)

    @property
    def worst(self) -> float:
        return max(self.drops)


#: A kind of group of the classes that stay: its class, its attribute, and the classes that go.
Kind = Callable[[int, int, tuple[int, ...]], bool]
KINDS: dict[str, Kind] = {
    "in its own class's colour": lambda c, a, gone: a == c,
    "in another retained class's": lambda c, a, gone: a != c and a not in gone,
    "in the forgotten class's": lambda c, a, gone: a in gone,
}


def sections(found: Found) -> list[Section]:
    """By class for every sweep; by group for those whose data has an attribute."""
    made = []
    for sweep, told in found.study.file.sweeps.items():
        cells, title = [*found.references(sweep), *found.cells(sweep)], told.title or sweep
        if any(" / " in name for cell in cells for name in cell.groups):
            made += by_group(cells, title)
        elif any(cell.groups for cell in cells):
            made += by_class(cells, title)
    return made


def by_class(cells: Sequence[CellResult], title: str) -> list[Section]:
    """What retained classes lose against the original of the same seed; a row a method, the hardest on one first."""
    paid = {method: own for method, own in paid_of(cells).items() if own}
    if not paid:
        return []
    ordered = dict(sorted(paid.items(), key=lambda item: -_mean([cell.worst for cell in item[1]])))
    body = tuple((method, *_row(own)) for method, own in ordered.items())
    headers = ("method", "mean of the classes", "class that loses most", "nearest class", "nearest loses most")
    text = (
        "Points of test accuracy that the classes that stay lose against the original, with 95 % t intervals over "
        "seeds. The nearest class is the one whose mean feature in the original is the nearest to the forgotten "
        "class's; the last column counts the seeds in which no class loses more."
    )
    size = (5.0, 0.7 + ROW * len(ordered))
    figure = partial(_strips, tuple((method, tuple(own)) for method, own in ordered.items()))
    return [Section(f"Who pays: {title}", text, headers, body, figure, size)]


def paid_of(cells: Sequence[CellResult]) -> dict[str, list[Paid]]:
    """Every cell but the originals beside that of its seed, by method."""
    originals = _originals(cells)
    paid: dict[str, list[Paid]] = defaultdict(list)
    for cell in cells:
        before = originals.get(cell.seed)
        if before is None or cell.record is before.record or not cell.groups:
            continue
        gone = _gone(cell)
        lost = [
            _accuracy(before.groups, (name,)) - _accuracy(cell.groups, (name,))
            for name in cell.groups
            if int(name) not in gone
        ]
        paid[cell.method].append(Paid(tuple(lost), cell.values.get("drop.nearest-class")))
    return paid


def by_group(cells: Sequence[CellResult], title: str) -> list[Section]:
    """Accuracy by kind of group, and its change from the original of the same seed; a row a method."""
    found = accuracies_of(cells)
    if not found:
        return []
    originals = _originals(cells)
    original = next(iter(originals.values())).method if originals else ""
    before = found.get(original, {})
    changed = {method: _changes(own, before) for method, own in found.items() if method != original}
    body = []
    for method, own in found.items():
        changes = changed.get(method, {})
        shown = [_said([by_kind[kind] for by_kind in own.values()]) for kind in KINDS]
        body.append((method, *shown, *(_said(changes.get(kind, ())) for kind in KINDS)))
    headers = ("method", *KINDS, *(f"change {kind}" for kind in KINDS))
    text = (
        "Test accuracy on the classes that stay, by the colour that their digits are in, and its change from the "
        "original of the same seed in points; means with 95 % t intervals over seeds."
    )
    dots = tuple((m, tuple(_mean(own[kind]) for kind in KINDS)) for m, own in changed.items() if all(own.values()))
    size = (5.0, 1.0 + ROW * len(dots))
    return [Section(f"Groups: {title}", text, headers, tuple(body), partial(_dots, dots) if dots else None, size)]


def accuracies_of(cells: Sequence[CellResult]) -> dict[str, dict[int, dict[str, float]]]:
    """Method -> seed -> kind -> accuracy in percent, over all samples of the kind's groups."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for cell in cells:
        gone = _gone(cell)
        pairs = {name: (int(name.partition(" / ")[0]), int(name.partition(" / ")[2])) for name in cell.groups}
        stays = {name: pair for name, pair in pairs.items() if pair[0] not in gone}
        if stays:
            found.setdefault(cell.method, {})[cell.seed] = {
                kind: _accuracy(cell.groups, [name for name, (c, a) in stays.items() if belongs(c, a, gone)])
                for kind, belongs in KINDS.items()
            }
    return found


def _originals(cells: Sequence[CellResult]) -> dict[int, CellResult]:
    own = TASKS.get(cells[0].record.cell.task).original if cells else ""
    return {cell.seed: cell for cell in cells if cell.method == own}


def _gone(cell: CellResult) -> tuple[int, ...]:
    """The classes that a cell forgets, which its unit is called by."""
    return tuple(int(word) for word in cell.record.cell.unit.split("-")[1:])


def _accuracy(groups: Groups, names: Sequence[str]) -> float:
    return 100.0 * sum(groups[name][0] for name in names) / sum(groups[name][1] for name in names)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _row(own: Sequence[Paid]) -> tuple[str, ...]:
    nearest = [cell.nearest for cell in own if cell.nearest is not None]
    first = sum(cell.nearest is not None and cell.nearest >= cell.worst - 1e-9 for cell in own)
    means = [cell.mean for cell in own], [cell.worst for cell in own], nearest
    return (*(_said(values) for values in means), f"{first} of {len(own)}")


def _changes(
    own: Mapping[int, Mapping[str, float]], before: Mapping[int, Mapping[str, float]]
) -> dict[str, list[float]]:
    """Points that each kind of group gains, a value a seed."""
    seeds = sorted(own.keys() & before.keys())
    return {kind: [own[seed][kind] - before[seed][kind] for seed in seeds] for kind in KINDS}


def _said(values: Sequence[float]) -> str:
    if not values:
        return "-"
    found = t_interval(values)
    width = "" if found.low is None or found.high is None else f" ± {(found.high - found.low) / 2:.1f}"
    return f"{found.mean:.1f}{width}"


def _dots(changes: Sequence[tuple[str, Sequence[float]]], axes: Axes) -> None:
    """The mean change of each kind of group, a shape and a colour each; methods from above."""
    axes.axvline(0, color=PALE, linewidth=0.8)
    looks = (("o", BLUE), ("s", VERMILLION), ("^", BLACK))
    for i, (kind, (marker, color)) in enumerate(zip(KINDS, looks, strict=True)):
        axes.scatter([own[i] for _, own in changes], range(len(changes)), s=16, marker=marker, color=color, label=kind)
    rows(axes, [method for method, _ in changes], above=0.6, below=0.4)
    axes.set_xlabel("points of accuracy gained by the classes that stay")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)


def _strips(paid: Sequence[tuple[str, Sequence[Paid]]], axes: Axes) -> None:
    """A dot for each class and seed, the nearest class in colour, a line at the mean of all; methods from above."""
    axes.axvline(0, color=PALE, linewidth=0.8)
    for y, (_, own) in enumerate(paid):
        dots = [drop for cell in own for drop in cell.drops]
        axes.scatter(dots, [y] * len(dots), s=14, color=PALE, edgecolor="none", label="class" if not y else None)
        near = [cell.nearest for cell in own if cell.nearest is not None]
        axes.scatter(near, [y] * len(near), s=14, marker="D", color=VERMILLION, label="nearest" if not y else None)
        axes.scatter([_mean(dots)], [y], s=70, marker="|", color=BLACK, label="mean" if not y else None)
    rows(axes, [method for method, _ in paid], above=0.3, below=0.4)
    axes.set_xlabel("points of accuracy lost by a class that stays")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
