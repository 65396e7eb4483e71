"""What an analysis of a study adds to its page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Section:
    """A part of a page that an analysis makes.

    ``text`` is Markdown; ``headers`` and ``rows`` make a table, whose cells are plain text; ``figure`` draws on axes
    (a function of a module, or a ``functools.partial`` of one with values that can be pickled), of ``size`` inches.
    """

    title: str
    text: str = ""
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    figure: Callable[[Axes], None] | None = None
    size: tuple[float, float] = (7.0, 2.6)
