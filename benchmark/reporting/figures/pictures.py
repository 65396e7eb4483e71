"""A figure as PNG and as SVG: small, and the same bytes each time, whatever the user's own settings of matplotlib are.

Neither a day nor a release of matplotlib is written into them; letters are outlines, so that an SVG looks the same
where a font is missing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.reporting.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

#: Dots an inch of a PNG, and of what has to be pixels in an SVG.
DPI = 200
#: Images stay apart in an SVG, each with the pixels that it has. Titles stand on their axes, which takes no measuring.
SETTINGS: Any = {
    **style.SETTINGS, "figure.dpi": DPI, "savefig.dpi": "figure", "svg.fonttype": "path", "svg.hashsalt": "amendbench",
    "image.composite_image": False, "axes.titley": 1.0,
}  # fmt: skip
#: Colours of a palette, and the bits of red, green and blue by which colours are told apart at all.
COLOURS, BITS = 256, 5
#: The most frequent colours are taken where at most one pixel in so many is off by more than so much of 255: that
#: leaves edges of letters, which nobody sees. With too many colours it is not tried.
ONE_IN, OFF, MANY = 1000, 16, 2000
#: Of zlib; the two above take six times as long to save a twentieth.
LEVEL = 7


def pictures(draw: Callable[[], Figure], mark: str) -> tuple[bytes, bytes]:
    """What ``draw`` returns as PNG and as SVG, laid out once for both, with ``mark`` near the beginning of each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _settings():
        figure = draw()
        canvas = FigureCanvasAgg(figure)
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")
        return _png(canvas, mark), _svg(figure, mark)


@contextmanager
def _settings() -> Iterator[None]:
    """Nothing of the user's own."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        with matplotlib.rc_context(SETTINGS):
            yield


def _png(canvas: Any, mark: str) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    canvas.draw()
    told = PngInfo()
    told.add_text("Source", mark)
    buffer = io.BytesIO()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    smaller(pixels).save(buffer, "PNG", compress_level=LEVEL, pnginfo=told, dpi=(DPI, DPI))
    return buffer.getvalue()


def _svg(figure: Figure, mark: str) -> bytes:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None, "Source": mark})
    return buffer.getvalue().encode()


def smaller(pixels: np.ndarray) -> Image:
    """Pixels (H, W, 3), uint8, as grey where all of them are, in a palette where nobody sees it, or as they are."""
    from PIL import Image

    if (pixels == pixels[..., :1]).all():
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
    cells, counts, means = _cells(pixels)
    nearest = _nearest(counts, means)
    if nearest is None:
        return Image.fromarray(np.ascontiguousarray(pixels))
    kept, numbers = np.unique(nearest, return_inverse=True)
    image = Image.fromarray(numbers.astype(np.uint8)[cells])
    image.putpalette(means[kept].round().astype(np.uint8).tobytes())
    return image


def _cells(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours that agree in their first BITS are one: its number (H, W), how many of each, and their means (n, 3)."""
    red, green, blue = (pixels[..., i].astype(np.uint16) >> (8 - BITS) for i in range(3))
    codes = red << (2 * BITS) | green << BITS | blue
    totals = np.bincount(codes.ravel(), minlength=1 << (3 * BITS))
    used = np.flatnonzero(totals)
    numbers = np.zeros(len(totals), np.uint16)
    numbers[used] = np.arange(len(used))
    cells = numbers[codes]
    sums = [np.bincount(cells.ravel(), pixels[..., i].ravel()) for i in range(3)]
    return cells, totals[used], np.stack(sums, 1) / totals[used, None]


def _nearest(counts: np.ndarray, means: np.ndarray) -> np.ndarray | None:
    """For each colour the nearest of the most frequent ones, (n,); None where that is seen."""
    if len(counts) > MANY:
        return None
    frequent = np.argsort(-counts, kind="stable")[:COLOURS]
    nearest = np.arange(len(counts))
    rare = np.setdiff1d(nearest, frequent)
    off = np.abs(means[rare, None] - means[frequent]).max(-1)
    nearest[rare] = frequent[off.argmin(1)]
    seen = counts[rare[off.min(1) > OFF]].sum()
    return nearest if seen * ONE_IN <= counts.sum() else None
