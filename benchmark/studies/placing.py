"""Where axes of an analysis lie in their figure: names of methods take more room than numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches for the longest name of a method, and for a row.
NAMES, ROW = 1.55, 0.22


def rows(axes: Axes, names: Sequence[str], *, above: float, below: float) -> None:
    """A row for each name from above on, with room for the names, and so many inches above and below the axes."""
    width, height = axes.get_figure(root=True).get_size_inches()  # type: ignore[union-attr]
    tall = max(height - above - below, ROW)
    axes.set_position((NAMES / width, below / height, (width - NAMES - 0.1) / width, tall / height))
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
