"""How figures of the board look: sizes, fonts, colours, and a marker for each kind of method.

Figures are built for a column of a paper and sized in inches. Nothing is told by colour alone: every look has a shape
of its own, and its shade differs from its neighbours' in a grey print as well.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

#: Widths in inches: a column, and a page of two.
COLUMN, PAGE = 3.4, 7.0
#: Sizes of text in points.
TEXT, SMALL = 7.5, 7.0
#: The height of a line of text in inches, with the space around it.
LINE = 0.135
#: Okabe and Ito's colours, which a colour-blind reader can tell apart.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILLION, YELLOW = "#56B4E9", "#D55E00", "#F0E442"
BLACK, GREY, PALE = "#000000", "#666666", "#CCCCCC"
#: The most characters of a name.
LONGEST = 26

#: Matplotlib's settings that the figures are built with; the names of methods are no formulae.
SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],  # it comes with matplotlib: the same everywhere
    "font.size": TEXT,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.linewidth": 0.6,
    "axes.edgecolor": GREY,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "axes.labelpad": 2.5,
    "lines.linewidth": 1.0,
    "legend.fontsize": SMALL,
}


class Look(NamedTuple):
    """A marker with its colour and size in points; ``bold`` names stand out."""

    marker: str
    colour: str
    size: float
    bold: bool = False
    edge: str = BLACK


#: What each kind of row looks like.
LOOKS = {
    "paper": Look("D", VERMILLION, 4.6, bold=True),
    "baseline": Look("o", SKY, 4.2, edge=BLUE),
    "start": Look("s", PALE, 4.6),
    "aim": Look("*", BLACK, 7.5),
    "reference": Look("P", PALE, 5.6),
    "cheat": Look("X", GREY, 5.2, edge=GREY),
}
#: What the looks mean, in the words of captions.
LEGEND = (
    "Diamonds with bold names are methods of papers, circles baselines; of the references, the square is where methods "
    "start and the star what can be hoped for; the cross is a cheat"
)


def marker(look: str, *, hollow: bool = False, **changes: Any) -> dict[str, Any]:
    """Keywords of ``plot`` for one marker without a line; a hollow one is white inside."""
    own = LOOKS[look]
    given = {
        "marker": own.marker,
        "markersize": own.size,
        "markerfacecolor": "white" if hollow else own.colour,
        "markeredgecolor": own.edge,
        "markeredgewidth": 0.6,
        "linestyle": "none",
    }
    return {**given, **changes}


def styled(build: Callable[P, T]) -> Callable[P, T]:
    """Run ``build`` with the figures' settings, and leave matplotlib's own as they were."""

    @functools.wraps(build)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib

        with matplotlib.rc_context(SETTINGS):
            return build(*args, **kwargs)

    return run


def new_figure(width: float, height: float) -> Figure:
    """A figure of that many inches that belongs to no window, with a canvas that can measure text."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=200)
    FigureCanvasAgg(figure)
    return figure


def frame(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes whose upper left corner is so many inches from that of the figure."""
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))


def write(figure: Figure, left: float, top: float, text: str, **how: Any) -> None:
    """Text at so many inches from the figure's upper left corner, centred on that height unless told otherwise."""
    wide, high = figure.get_size_inches()
    figure.text(left / wide, 1 - top / high, text, **{"fontsize": SMALL, "va": "center", **how})


def text_width(text: str, *, size: float = SMALL, bold: bool = False) -> float:
    """Inches that a line of text takes."""
    return _width(text, bold) * size / 100 / 72


@functools.lru_cache(maxsize=4096)
def _width(text: str, bold: bool) -> float:
    """At 100 points a pixel's rounding does not matter."""
    font = _font(bold)
    font.set_size(100, 72)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64


@functools.cache
def _font(bold: bool) -> Any:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties(family=["DejaVu Sans"], weight="bold" if bold else "normal")))


@functools.cache
def _drawable() -> frozenset[int]:
    return frozenset(_font(False).get_charmap()) & frozenset(_font(True).get_charmap())


def plain(name: str, most: int = LONGEST) -> str:
    """A name from outside as a label: on one line, short, a question mark for what the font cannot draw."""
    text = "".join(c if c.isprintable() and ord(c) in _drawable() else "?" for c in name)
    return text if len(text) <= most else f"{text[: most - 1]}…"
