"""Which figures are drawn from the sheets of a suite, and what is said of each.

Every scenario in which three methods or more compete has its trade-off and its costs, and its differences to the
reference where these have intervals; classes and groups are shown where there are any. A task has its mean ranks from
three seeds on, and the suite one overview.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from benchmark.reporting.figures.costs import cost_figure, cost_plot
from benchmark.reporting.figures.dots import DotPlot, dot_figure, group_plot, unit_plot
from benchmark.reporting.figures.drawings import Drawing, one_line, stem
from benchmark.reporting.figures.forests import forest, forest_figure
from benchmark.reporting.figures.marks import competitors
from benchmark.reporting.figures.overview import overview_figure, panels
from benchmark.reporting.figures.ranks import RankPlot, difference_figure, rank_figure
from benchmark.reporting.figures.scales import axis_label, axis_text
from benchmark.reporting.figures.style import LEGEND
from benchmark.reporting.figures.trade_offs import trade_off, trade_off_figure
from benchmark.reporting.overview import Scored
from benchmark.reporting.ranking import FEWEST_BLOCKS, Ranking
from benchmark.reporting.sheet import Sheet
from benchmark.reporting.text import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Fewer methods, and for ranks fewer seeds, are told better in a table.
FEWEST = 3
_SEEDS = "Means with 95 % intervals over seeds"


def board_drawings(
    suite: str, sheets: Sequence[Sheet], scored: Sequence[Scored], rankings: Sequence[Ranking]
) -> list[Drawing]:
    """The overview of a suite, then figures of its scenarios in the order of ``sheets``, then those of ranks."""
    kinds = {row.method: row.kind for sheet in sheets for row in sheet.rows}
    found = list(_overview(suite, scored))
    for sheet in sheets:
        if len(competitors(sheet)) >= FEWEST:
            found += [*_trade_off(sheet), *_cost(sheet), *_forest(sheet)]
        found += [*_units(sheet), *_groups(sheet)]
    for ranking in rankings:
        own = {method: kinds.get(method, "") for method in ranking.means}
        found += _ranks(suite, RankPlot(ranking, own))
    return found


def _overview(suite: str, scored: Sequence[Scored]) -> Iterator[Drawing]:
    """How far methods come in all tasks; its task is the empty text."""
    shown = panels(scored)
    if shown:
        yield Drawing(
            stem(suite, "overview"), suite, "", None, "overview",
            f"The tasks of suite {escape(suite)}: how far each method comes in what its scenarios are ranked by, from "
            "the original model (0) to what can be hoped for (1: retraining, or training on unbiased data), mean over "
            "scenarios, with 95 % intervals where there are several seeds. Tasks in which nothing has a scale are left "
            "out. Arrows stand for scores beyond the axis, hollow marks for methods without a result in some scenario. "
            "Beside them, what methods declare to read, and device seconds "
            "over the reference's. Scores of different tasks do not compare",
            f"Panels of {one_line(', '.join(panel.task for panel in shown))}: a dot a method for its score, with an "
            "interval.",
            partial(overview_figure, shown),
        )  # fmt: skip


def _of(sheet: Sheet) -> str:
    return f"{escape(sheet.scenario)} (suite {escape(sheet.suite)})"


def _drawing(sheet: Sheet, kind: str, caption: str, alt: str, figure: Callable[[], Figure]) -> Drawing:
    name = stem(sheet.suite, sheet.task.name, sheet.scenario, kind)
    return Drawing(name, sheet.suite, sheet.task.name, sheet.scenario, kind, caption, alt, figure)


def _trade_off(sheet: Sheet) -> Iterator[Drawing]:
    shown = trade_off(sheet)
    if shown is not None:
        across, up = (axis_text(name) for name in shown.axes)
        yield _drawing(
            sheet, "trade-off",
            f"What the amendment of {_of(sheet)} does and what it leaves: {escape(across)} against {escape(up)}; "
            f"the upper right is best. {_SEEDS}; the grey line is the Pareto front of the methods' means, "
            "among those that compete. Axes may be stretched towards the best value; references and cheats far from "
            f"the methods are arrows at the rim, with their value. {LEGEND}",
            f"Points of the methods of {one_line(sheet.scenario)}: {across} against {up}.",
            partial(trade_off_figure, shown),
        )  # fmt: skip


def _cost(sheet: Sheet) -> Iterator[Drawing]:
    shown = cost_plot(sheet)
    if shown is not None:
        what = axis_text(shown.metric)
        yield _drawing(
            sheet, "cost",
            f"Device seconds against {escape(what)} in {_of(sheet)}; the upper left is best. {_SEEDS}; dashed lines "
            f"are those of {escape(sheet.task.reference)}. What costs next to nothing lies at the left rim, and hollow "
            f"marks shared the cores with something else of the run. {LEGEND}",
            f"Points of the methods of {one_line(sheet.scenario)}: device seconds against {what}.",
            partial(cost_figure, shown),
        )  # fmt: skip


def _forest(sheet: Sheet) -> Iterator[Drawing]:
    shown = forest(sheet)
    if shown is not None:
        least = next((one.least for one in (line.difference for line in sheet.lines) if one and one.comparisons), 1.0)
        tested = f"p: exact, by sign flips, corrected by Holm's procedure; none can be below {least:.3f}"
        tested = tested if sheet.testable else "Too few seeds to test"
        yield _drawing(
            sheet, "differences",
            f"Differences to {escape(sheet.compared_with)} in {escape(axis_text(shown.metric))}, paired by seed, in "
            f"{_of(sheet)}: mean and 95 % interval; the right is better. {tested}. {LEGEND}",
            f"A row a method of {one_line(sheet.scenario)} with its difference to {one_line(sheet.compared_with)}.",
            partial(forest_figure, shown),
        )  # fmt: skip


def _units(sheet: Sheet) -> Iterator[Drawing]:
    shown = unit_plot(sheet)
    if shown is not None:
        yield _dots(
            sheet, shown, "units",
            f"Each class or value that was amended in {_of(sheet)}, one dot each: {escape(axis_label(shown.metric))}; "
            f"the upright line is their mean, and the worst one stands on the right. {LEGEND}",
        )  # fmt: skip


def _groups(sheet: Sheet) -> Iterator[Drawing]:
    shown = group_plot(sheet)
    if shown is not None:
        yield _dots(
            sheet, shown, "group-dots",
            f"Accuracy by group (label / attribute) in {_of(sheet)}, mean over seeds; the upright line is the mean of "
            "the groups",
        )  # fmt: skip


def _dots(sheet: Sheet, shown: DotPlot, kind: str, caption: str) -> Drawing:
    alt = f"A row a method of {one_line(sheet.scenario)} with a dot for each of {one_line(', '.join(shown.names))}."
    return _drawing(sheet, kind, caption, alt, partial(dot_figure, shown))


def _ranks(suite: str, shown: RankPlot) -> Iterator[Drawing]:
    ranking = shown.ranking
    if len(ranking.means) < FEWEST or len(ranking.blocks) < FEWEST:
        return
    track = f", attributes (train/held out) {escape(ranking.track)}" if ranking.track else ""
    what = f"{escape(ranking.task)} (suite {escape(suite)}, {escape(ranking.device)}{track})"
    name = (suite, ranking.task, *(part for part in (ranking.track.replace("/", "-"), ranking.device) if part))
    many = f"{len(ranking.scenarios)} scenario{'s' if len(ranking.scenarios) > 1 else ''}"
    yield Drawing(
        stem(*name, "ranks"), suite, ranking.task, None, "ranks",
        f"Mean ranks in {what} over {many}, with 95 % intervals over {len(ranking.blocks)} seeds; 1 is best. Diamonds "
        "with bold names are methods of papers",
        f"A row a method of {one_line(ranking.task)} with its mean rank.",
        partial(rank_figure, shown),
    )  # fmt: skip
    if ranking.drawable:
        yield Drawing(
            stem(*name, "rank-differences"), suite, ranking.task, None, "rank-differences",
            f"Critical differences in {what}: each of the {len(ranking.blocks)} seeds ranks the methods by their mean "
            f"rank over {many}, and these ranks are averaged: other numbers than the mean ranks. A bar joins those "
            "that Nemenyi's test of all pairs does not tell apart at 0.05; what is bold in the table is compared with "
            f"the best alone. Drawn from {FEWEST_BLOCKS} seeds on",
            f"Mean ranks of the methods of {one_line(ranking.task)} on a line, with bars over those alike.",
            partial(difference_figure, shown),
        )  # fmt: skip
