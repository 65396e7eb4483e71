"""Mean ranks over the scenarios of a task: with their intervals, and which of them differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.reporting.figures.ladder import draw_bar, ladder, most_ticks
from benchmark.reporting.figures.marks import Who
from benchmark.reporting.figures.scales import Bar, Scale, set_axis
from benchmark.reporting.figures.style import (
    BLACK,
    COLUMN,
    GREY,
    LINE,
    LOOKS,
    PAGE,
    SMALL,
    frame,
    marker,
    new_figure,
    plain,
    styled,
    text_width,
)
from benchmark.reporting.ranking import Ranking, differences
from benchmark.stats import ALPHA, ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

#: Space between the outermost methods and their labels, as a share of what lies between them.
_MARGIN = 0.02


class RankPlot(NamedTuple):
    """A ranking, with each of its methods' kind."""

    ranking: Ranking
    kinds: Mapping[str, str]

    def who(self, method: str) -> Who:
        """The row of a method."""
        return Who(method, "paper" if self.kinds.get(method) == "paper" else "baseline")


@styled
def rank_figure(shown: RankPlot) -> Figure:
    """A row a method, the best at the top: its mean rank and the 95 % interval over seeds."""
    ranking = shown.ranking
    rows = [shown.who(method) for method in ranking.means]
    bars = [Bar(*interval[:3]) for interval in ranking.means.values()]
    scenarios, seeds = len(ranking.scenarios), len(ranking.blocks)
    over = f" over {scenarios} scenarios" if scenarios > 1 else ""
    label = f"mean rank{over}, {seeds} seeds; 1 is best"
    drawn = ladder(rows, Scale(bounds=(1.0, float(len(rows)))), bars, label)
    for height, (row, bar) in enumerate(zip(rows, bars, strict=True)):
        draw_bar(drawn.axes, drawn.scale, height, row, bar)
    return drawn.figure


def average_ranks(blocks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean over blocks of each method's rank within the block: what the differences are tested by."""
    methods = list(blocks[0])
    ranked = [ranks([block[method] for method in methods]) for block in blocks]
    return {method: sum(own[i] for own in ranked) / len(ranked) for i, method in enumerate(methods)}


@styled
def difference_figure(shown: RankPlot) -> Figure:
    """A critical-difference diagram: methods by mean rank, bars join those that Nemenyi's test does not tell apart."""
    import pandas as pd
    import scikit_posthocs

    average = average_ranks(list(shown.ranking.blocks.values()))
    methods = sorted(average, key=lambda method: (average[method], method))
    # By number: a set of names, which the bars are drawn from, has another order in each process.
    values = differences(shown.ranking).loc[methods, methods].to_numpy()
    p_values = pd.DataFrame(values, index=range(len(methods)), columns=range(len(methods)))
    sides = [max(_wide(method, shown) for method in side) for side in _sides(methods)]
    width = COLUMN if sum(sides) + 1.3 < COLUMN else PAGE
    figure = new_figure(width, 1.0)
    axes = frame(figure, sides[0] + 0.05, 0.3, width - sum(sides) - 0.1, 0.6)
    drawn = scikit_posthocs.critical_difference_diagram(
        {i: average[method] for i, method in enumerate(methods)},
        p_values,
        alpha=ALPHA,
        ax=axes,
        label_fmt_left="{label}",
        label_fmt_right="{label}",
        elbow_props={"color": GREY, "linewidth": 0.6},
        crossbar_props={"color": BLACK, "linewidth": 2.2, "solid_capstyle": "butt"},
        text_h_margin=_MARGIN * (average[methods[-1]] - average[methods[0]]),
    )
    _names(drawn["labels"], methods, average, shown)
    for method, points in zip([*_sides(methods)[0], *_sides(methods)[1]], drawn["markers"], strict=True):
        points.set_visible(False)
        axes.plot(average[method], 0, **marker(shown.who(method).look), zorder=5, clip_on=False)
    _finish(figure, axes, len({float(bar.get_ydata()[0]) for bars in drawn["crossbars"] for bar in bars}), average)
    return figure


def _sides(methods: Sequence[str]) -> tuple[list[str], list[str]]:
    """The better half, which stands on the left, and the other one; each from above."""
    half = (len(methods) + 1) // 2
    return list(methods[:half]), list(reversed(methods[half:]))


def _wide(method: str, shown: RankPlot) -> float:
    """Inches that a method's label takes beside the diagram."""
    return text_width(f"{plain(method)}  00.0", bold=LOOKS[shown.who(method).look].bold) + 0.05


def _names(labels: Sequence[Text], methods: Sequence[str], average: Mapping[str, float], shown: RankPlot) -> None:
    left, right = _sides(methods)
    for i, (label, method) in enumerate(zip(labels, [*left, *right], strict=True)):
        parts = [plain(method), f"{average[method]:.1f}"]
        bold = LOOKS[shown.who(method).look].bold
        text = "  ".join(parts) + " " if i < len(left) else " " + "  ".join(reversed(parts))
        label.set(text=text, fontsize=SMALL, color=BLACK, fontweight="bold" if bold else "normal", va="center_baseline")


def _finish(figure: Figure, axes: Axes, bars: int, average: Mapping[str, float]) -> None:
    """The scale of ranks, and as much height as bars and labels take."""
    width, rows = figure.get_size_inches()[0], (len(average) + 1) // 2
    low, high = min(average.values()), max(average.values())
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    lines = bars + rows + 1
    above, below = 0.4, 0.02
    figure.set_size_inches(width, above + LINE * lines + below)
    left, _, wide, _ = axes.get_position().bounds
    total = above + LINE * lines + below
    axes.set_position((left, below / total, wide, LINE * lines / total))
    space = _MARGIN * (high - low)
    set_axis(axes.xaxis, Scale(), (low, high), most_ticks(wide * width))
    axes.set(xlim=(low - space, high + space), ylim=(-lines + 0.5, 0.5), xlabel="mean of the seeds' ranks, 1 is best")
    axes.xaxis.set_label_position("top")
    axes.grid(False)
