"""The figures of the board, of rows that nothing was run for."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from benchmark.boards.board import Row, build_board
from benchmark.reporting.figures.board_drawings import board_drawings
from benchmark.reporting.figures.costs import CostPlot, cost_figure, cost_plot
from benchmark.reporting.figures.dot_key import Dot
from benchmark.reporting.figures.dots import DotPlot, dot_figure, unit_plot
from benchmark.reporting.figures.drawings import Drawing
from benchmark.reporting.figures.forests import Forest, forest_figure
from benchmark.reporting.figures.marks import Who
from benchmark.reporting.figures.overview import Entry, Panel, Track, cost_text, letters, overview_figure
from benchmark.reporting.figures.ranks import RankPlot, average_ranks, difference_figure, rank_figure
from benchmark.reporting.figures.scales import Bar
from benchmark.reporting.figures.trade_offs import Axes2, TradeOff, trade_off, trade_off_figure
from benchmark.reporting.overview import overview
from benchmark.reporting.ranking import Ranking, rankings
from benchmark.reporting.sheet import Sheet, sheets
from benchmark.running.records import Record
from benchmark.stats import t_interval

Make = Callable[..., Record]
HOSTILE = ("$x_{1}$", "<b>&amp;</b>", "\U0001f9a0 \u202e{0}", "a\nb", "%s_$", "w" * 80)
METHODS = ("svd-forgetting", "eu-k", "cf-k", "scrub", "salun", "ssd")
SHARES = Axes2("accuracy.test.forget", "accuracy.test.retain")


def crowd(names: int, spread: float = 0.0) -> tuple[Dot, ...]:
    """Methods at nearly one place, every third one a paper's, two references and a cheat among them."""
    dots = []
    for i in range(names):
        x, y = 0.5 + spread * i, 97.0 - spread * (i * 7 % names)
        who = Who(HOSTILE[i % 6] if i % 4 == 0 else f"method-{i}+variant", "paper" if i % 3 == 0 else "baseline", "a")
        dots.append(Dot(who, Bar(x, x - 1, x + 2), Bar(y, y - 1, y + 0.5), hollow=i % 5 == 0))
    others = (("original", "start", 97.5), ("retrain", "aim", 0.5), ("mask$", "cheat", 0.4))
    return (*dots, *(Dot(Who(name, look), Bar(x), Bar(97.1)) for name, look, x in others))


def rows(names: int) -> list[Who]:
    return [dot.who for dot in crowd(names)]


def texts(figure: Figure) -> list[tuple[str, Any]]:
    """Every text with its box in pixels, once the figure is drawn, without the room above and below its digits."""
    figure.canvas.draw()
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [(text, text.get_window_extent()) for text in found]
    return [(text.get_text(), _ink(text, box)) for text, box in boxes]


def _ink(text: Text, box: Bbox) -> Bbox:
    upright = text.get_rotation() == 0
    return box.padded(0, -0.18 * box.height) if upright else box.padded(-0.18 * box.width, 0)


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Texts that share more than a pixel with one another, and those that leave the figure."""
    shown = texts(figure)
    found = []
    for (one, a), (other, b) in combinations(shown, 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > 1 and high > 1:
            found.append((one, other))
    width, height = figure.canvas.get_width_height()
    out = [text for text, box in shown if box.x0 < -1 or box.x1 > width + 1 or box.y0 < -1 or box.y1 > height + 1]
    return [*found, *((text, "outside") for text in out)]


def the_ranking(methods: int, seeds: int = 8) -> RankPlot:
    names = [f"method-{i}+variant" if i % 4 else HOSTILE[i % 6] + str(i) for i in range(methods)]
    blocks = {s: {name: float((i * 3 + s * i) % 7 + i) for i, name in enumerate(names)} for s in range(seeds)}
    means = {name: t_interval([blocks[s][name] for s in blocks]) for name in names}
    return RankPlot(Ranking("class-forget", "", "cpu", ("one", "two"), means, blocks, {}), {names[1]: "paper"})


def the_panels() -> tuple[Panel, ...]:
    scores = (Bar(0.9, 0.8, 1.0), Bar(-3.0, -4.0, -2.0), Bar(0.1), None, Bar(2.5))
    entries = tuple(
        Entry(who._replace(failed="" if score else "failed$"), score, "xya", 0.05, i == 2)
        for i, (who, score) in enumerate(zip(rows(5), scores, strict=False))
    )
    return (
        Panel("class-forget", (Track("", 4, entries),)),
        Panel("debias-known", (Track("yes/no", 1, entries), Track("<x>", 2, entries))),
    )


def every_kind(names: int) -> dict[str, partial[Figure]]:
    dots, gone = crowd(names), (Who("gone$_", "baseline", "a", "timeout"),)
    whole = [(dot.who, dot.x) for dot in dots]
    by_unit = tuple((who, (("class-0", 0.5), ("class-1", bar.mean), ("class-$", 0.2))) for who, bar in whole)
    by_group = tuple((who, (("a / $b$", 50.0), ("<c> / d", bar.mean))) for who, bar in whole)
    return {
        "trade-off": partial(trade_off_figure, TradeOff(SHARES, dots, gone)),
        "cost": partial(cost_figure, CostPlot("tow", dots, len(dots) - 2, gone, 0.0)),
        "differences": partial(forest_figure, Forest("tow", "retr$ain", tuple((w, b, "<0.001") for w, b in whole))),
        "units": partial(dot_figure, DotPlot("tow", False, (*by_unit, (gone[0], ())))),
        "groups": partial(dot_figure, DotPlot("accuracy.mean", True, by_group)),
        "ranks": partial(rank_figure, the_ranking(names)),
        "rank-differences": partial(difference_figure, the_ranking(min(names, 14))),
        "overview": partial(overview_figure, the_panels()),
    }


KINDS = sorted(every_kind(5))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
def test_no_text_covers_another_whatever_methods_are_called(kind: str) -> None:
    assert overlapping(every_kind(18)[kind]()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_figure_gives_the_same_bytes_after_a_pickle(kind: str) -> None:
    build = every_kind(5)[kind]
    written = []
    for one in (build, pickle.loads(pickle.dumps(build))):
        buffer = io.BytesIO()
        one().savefig(buffer, format="png", dpi=50, metadata={"Software": None})
        written.append(buffer.getvalue())
    assert written[0] == written[1]


def test_what_is_far_from_the_methods_stands_at_the_rim_with_its_value() -> None:
    dots = (*crowd(4, 0.1)[:4], Dot(Who("original", "start"), Bar(97.5), Bar(97.0)))
    figure = trade_off_figure(TradeOff(SHARES, dots, ()))
    assert "original (97.5)" in [text for text, _ in texts(figure)]
    markers = [line.get_marker() for line in figure.axes[0].lines]
    assert "<" in markers
    assert "s" not in markers
    left, right = figure.axes[0].get_xlim()
    assert all(left <= dot.get_xdata()[0] <= right for dot in figure.axes[0].lines if dot.get_marker() == "<")


def test_what_is_near_the_methods_is_where_it_is() -> None:
    dots = (*crowd(4, 0.5)[:4], Dot(Who("original", "start"), Bar(2.5), Bar(97.0)))
    assert "original" in [text for text, _ in texts(trade_off_figure(TradeOff(SHARES, dots, ())))]


def test_letters_say_what_is_read() -> None:
    assert letters("retain: images + labels (at most 1,000); forget: images (at most 900)") == "xy"
    assert letters("train: images + labels + masks; concept: images + attributes") == "xyam"
    assert letters("feedback: labels") == "f"
    assert letters("feedback: network") == "w"
    assert letters("the model only") == ""


def test_costs_are_written_with_digits_that_count() -> None:
    assert [cost_text(cost) for cost in (None, 0.048, 0.5, 8.29, 12.4)] == [
        "-", "0.048\u00d7", "0.50\u00d7", "8.29\u00d7", "12\u00d7",
    ]  # fmt: skip


def test_ranks_of_a_diagram_are_ranked_once_more() -> None:
    assert average_ranks([{"a": 1.0, "b": 9.0}, {"a": 2.0, "b": 2.0}]) == {"a": 1.25, "b": 1.75}


@pytest.fixture
def board(make_record: Make) -> list[Row]:
    """Six methods and both references on four classes; what is better has the lower number of its method."""
    records = []
    for i, method in enumerate((*METHODS, "original", "retrain")):
        for seed in range(4):
            kept = 98.0 - 3 * i - 0.1 * seed * i if i < 6 else 98.0
            left = {"original": 98.0, "retrain": 0.0}.get(method, 2.0 * i + 0.2 * seed)
            values: dict[str, float | None] = {
                "accuracy.test.forget": left, "accuracy.test.retain": kept, "accuracy.train.retain": kept,
                "accuracy.train.forget": left, "accuracy.test.all": kept,
            }  # fmt: skip
            seconds = {"original": 0.0, "retrain": 9.0}.get(method, 1.0 + i)
            records.append(make_record(method, values, seed=seed, scenario="four-gaussians", cost=(seconds, seconds)))
    return build_board(records)


def the_sheet(board: list[Row]) -> Sheet:
    return sheets("smoke", board)[0]


def test_points_of_a_sheet_are_its_rows(board: list[Row]) -> None:
    shown = trade_off(the_sheet(board))
    assert shown is not None
    assert [dot.who.look for dot in shown.dots] == ["start", "aim", "paper", *["baseline"] * 5]
    assert shown.dots[2].x.mean == pytest.approx(0.3)
    costs = cost_plot(the_sheet(board))
    assert costs is not None
    assert costs.reference == 1
    assert costs.nothing == 0
    assert "0" in [text for text, _ in texts(cost_figure(costs))]


def test_what_costs_next_to_nothing_lies_at_the_rim() -> None:
    dots = tuple(dot._replace(x=Bar(1.0 + i)) for i, dot in enumerate(crowd(4, 0.5)))
    cheap = dots[-1]._replace(x=Bar(0.003))
    figure = cost_figure(CostPlot("tow", (*dots[:-1], cheap), None, (), 0.1))
    assert "<0.1" in [text for text, _ in texts(figure)]
    place = next(line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "X")
    assert figure.axes[0].get_xlim()[0] < place < 0


def test_units_that_are_amended_twice_are_averaged(board: list[Row]) -> None:
    shown = unit_plot(the_sheet(board))
    assert shown is not None
    assert shown.names == ["class-0", "class-1", "class-2", "class-3"]
    assert len(dict(shown.rows[2][1])) == 4


def drawn(board: list[Row]) -> list[Drawing]:
    return board_drawings("smoke", sheets("smoke", board), overview(board), rankings(board))


def test_a_suite_has_its_kinds_of_figures(board: list[Row]) -> None:
    found = drawn(board)
    assert [drawing.kind for drawing in found] == ["overview", "trade-off", "cost", "differences", "units", "ranks"]
    assert len({drawing.stem for drawing in found}) == len(found)
    assert [drawing.scenario for drawing in found] == [None, *["four-gaussians"] * 4, None]
    for drawing in found:
        assert overlapping(pickle.loads(pickle.dumps(drawing.figure))()) == []


def test_two_methods_have_no_trade_off(board: list[Row]) -> None:
    few = [row for row in board if row.kind == "reference" or row.method in METHODS[:2]]
    assert not {"trade-off", "cost", "differences", "ranks"} & {drawing.kind for drawing in drawn(few)}
