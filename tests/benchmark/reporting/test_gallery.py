"""Drawings as files: small, the same each time, drawn only where needed, and never stale."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from benchmark.discovery import source
from benchmark.reporting.figures import fingerprint as fingerprints
from benchmark.reporting.figures import gallery
from benchmark.reporting.figures.drawings import Drawing, distinct, one_line, stem
from benchmark.reporting.figures.fingerprint import fingerprint
from benchmark.reporting.figures.gallery import KNOWN, save_all
from benchmark.reporting.figures.pictures import pictures, smaller
from benchmark.reporting.figures.plots import decision_regions, loss_curves
from benchmark.reporting.generated import Grid, Images

PNG = b"\x89PNG\r\n\x1a\n"


def drawing(name: str = "a", forgotten: int = 1, **changes: Any) -> Drawing:
    """A figure of four squares."""
    regions = {"original": np.arange(4, dtype=np.uint8).reshape(2, 2)}
    given: dict[str, Any] = {
        "stem": name, "suite": "smoke", "task": "class-forget", "scenario": None, "kind": "regions", "caption": "",
        "alt": "", "figure": partial(decision_regions, regions, forgotten),
    }  # fmt: skip
    return Drawing(**{**given, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    """Of the figures alone."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != KNOWN}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written anew, even with the same content."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_drawing_is_a_png_and_an_svg_and_both_are_the_same_twice(tmp_path: Path) -> None:
    first = save_all([drawing()], tmp_path / "one")
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none", "savefig.facecolor": "red", "figure.dpi": 20}):
        second = save_all([drawing()], tmp_path / "two")
    assert [path.name for path in first] == ["a.png", "a.svg"]
    png, svg = (path.read_bytes() for path in first)
    assert [png, svg] == [path.read_bytes() for path in second]
    with Image.open(io.BytesIO(png)) as image:
        assert image.size[0] == 680
        assert image.mode == "P"
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert b"<text" not in svg
    for content in (png, svg):
        assert matplotlib.__version__.encode() not in content
        assert not re.search(rb"20\d\d-\d\d-\d\d", content)


def test_processes_draw_what_one_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [drawing(f"figure-{i}", i) for i in range(3)]
    save_all(several, tmp_path / "here", jobs=1)
    monkeypatch.setattr(gallery, "WORTH", 1)
    monkeypatch.setattr(gallery, "_draw", partial(_elsewhere, os.getpid()))
    written = save_all(several, tmp_path / "pool", jobs=2)
    assert [path.name for path in written][:3] == ["figure-0.png", "figure-0.svg", "figure-1.png"]
    assert contents(tmp_path / "pool") == contents(tmp_path / "here")
    assert len(written) == 6


def _elsewhere(pid: int, *what: Any) -> dict[str, str]:
    """Draw as the gallery does, in another process than ``pid``."""
    assert os.getpid() != pid
    return gallery._draw(*what)


@pytest.mark.parametrize("error", [OSError("no semaphores"), BrokenProcessPool()])
def test_without_processes_it_is_drawn_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(gallery, "ProcessPoolExecutor", refuse)
    monkeypatch.setattr(gallery, "WORTH", 1)
    assert all(path.is_file() for path in save_all([drawing("a"), drawing("b")], tmp_path, jobs=2))


def test_what_has_not_changed_is_not_drawn_again(tmp_path: Path) -> None:
    save_all([drawing("a"), drawing("b")], tmp_path)
    before = stamps(tmp_path)
    save_all([drawing("a"), drawing("b", caption="another", alt="text")], tmp_path)
    assert stamps(tmp_path) == before
    save_all([drawing("a"), drawing("b", forgotten=2)], tmp_path)
    changed = {name for name, stamp in stamps(tmp_path).items() if stamp != before[name]}
    assert changed == {"b.png", "b.svg", KNOWN}


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def swap(path: Path) -> None:
    """The other figure's file in this one's place."""
    path.write_bytes(path.with_name(f"b{path.suffix}").read_bytes())


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
@pytest.mark.parametrize("damage", [append, swap, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_picture_is_drawn_again(tmp_path: Path, damage: Callable[[Path], Any], name: str) -> None:
    both = [drawing("a"), drawing("b", forgotten=2)]
    save_all(both, tmp_path)
    whole, before = contents(tmp_path), stamps(tmp_path)
    damage(tmp_path / name)
    save_all(both, tmp_path)
    assert contents(tmp_path) == whole
    assert stamps(tmp_path)["b.png"] == before["b.png"]


def test_changed_source_or_packages_draw_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_all([drawing()], tmp_path)
    before = stamps(tmp_path)
    asked: list[str] = []
    monkeypatch.setattr(source, "digest", lambda module: asked.append(module) or "changed")
    save_all([drawing()], tmp_path)
    between = stamps(tmp_path)
    monkeypatch.setattr(fingerprints, "_packages", lambda: "matplotlib 0.1")
    save_all([drawing()], tmp_path)
    after = stamps(tmp_path)
    assert {"benchmark.reporting.figures.plots", "benchmark.reporting.figures.pictures"} <= set(asked)
    assert len({every["a.png"] for every in (before, between, after)}) == 3


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b'{"a": 1}', b'{"a": {"source": "", "files": {}}}'])
def test_what_is_known_may_be_damaged(tmp_path: Path, text: bytes) -> None:
    save_all([drawing()], tmp_path)
    whole = contents(tmp_path)
    (tmp_path / "a.png").write_bytes(b"stale")
    (tmp_path / KNOWN).write_bytes(text)
    save_all([drawing()], tmp_path)
    assert contents(tmp_path) == whole


def test_figures_of_ours_that_are_drawn_no_more_are_removed(tmp_path: Path) -> None:
    """Not those under another name, nor what others put there; with or without what is known of them."""
    save_all([drawing("old"), drawing("older"), drawing("kept")], tmp_path)
    for name in ("copy.png", "copy.svg"):
        (tmp_path / name).write_bytes((tmp_path / name.replace("copy", "old")).read_bytes())
    (tmp_path / "foreign.png").write_bytes(PNG)
    (tmp_path / "old.txt").write_text("figure old of AmendBench")
    (tmp_path / "link.png").symlink_to("old.png")
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / KNOWN).unlink()
    save_all([drawing("kept")], tmp_path)
    left = {path.name for path in tmp_path.iterdir()} - {KNOWN}
    assert left == {
        "kept.png", "kept.svg", "copy.png", "copy.svg", "foreign.png", "old.txt", "link.png", "folder.svg",
    }  # fmt: skip
    assert save_all([], tmp_path) == []
    assert not (tmp_path / "kept.png").exists()


def test_no_figures_no_folder(tmp_path: Path) -> None:
    assert save_all([], tmp_path / "figures") == []
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("names", [("a", "a"), ("a", "A"), ("",), ("../a",), ("a b",), ("ä",)])
def test_names_must_be_distinct_and_tame(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"cannot be called|two figures"):
        save_all([drawing(name) for name in names], tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_names_are_made_distinct() -> None:
    names = ("a", "b", "A", "a-2", "a")
    assert [one.stem for one in distinct(map(drawing, names))] == ["a", "b", "A-2", "a-2-2", "a-3"]
    assert stem("smoke", "a/b" * 100, "grid").endswith("a-b-grid")
    assert len(stem("smoke", "a/b" * 100, "grid")) == 150
    assert one_line("a\nb" + "x" * 90) == "a?b" + "x" * 76 + "…"


def test_equal_values_have_one_fingerprint() -> None:
    """Whether they are one object or several, and in which order a set has them."""
    shown = np.zeros((2, 3, 3), np.uint8)
    grids = [
        Grid("a", 0, "red", (Images("m", value, shown, one), Images("m", value, shown, other)))
        for value, one, other in ((1.5, shown, shown), (float("1.5"), shown.copy(), shown.copy()))
    ]
    assert len({fingerprint(partial(loss_curves, grid)) for grid in grids}) == 1
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    assert fingerprint(partial(loss_curves, one)) == fingerprint(partial(loss_curves, other))


def test_other_values_have_another_fingerprint() -> None:
    shown = np.zeros((2, 3), np.uint8)
    values: list[Any] = [
        0, False, None, "", "0", 0.0, b"", (), [], {}, ("a", "b"), ("ab",), (("a",), "b"), {"a": 1}, {"a": "1"},
        {"a": 1, "b": 2}, {"b": 2, "a": 1}, {1}, frozenset({1}), {1, 2}, shown, shown.T, shown + 1,
        shown.astype(np.int8), Images("m", None, shown, shown), Images("m", 0.0, shown, shown), Path("a"), Path("b"),
        np.float32(1), loss_curves, decision_regions, partial(loss_curves, x=1), Images, float("nan"),
    ]  # fmt: skip
    figures = [partial(loss_curves, value) for value in values]
    assert len({fingerprint(figure) for figure in [*figures, loss_curves, decision_regions]}) == len(values) + 2


def test_only_functions_of_modules_draw() -> None:
    def local() -> None: ...

    for figure in (lambda: None, local, partial(loss_curves, lambda: None)):
        with pytest.raises(TypeError, match="no function of a module"):
            fingerprint(figure)


def test_pixels_are_written_small_where_nobody_sees_it() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    grey = noise[..., :1].repeat(3, -1)
    few = np.array([[0, 114, 178], [255, 255, 255], [230, 159, 0]], np.uint8)[rng.integers(0, 3, (64, 64))]
    assert [smaller(pixels).mode for pixels in (noise, grey, few)] == ["RGB", "L", "P"]
    for pixels in (noise, grey, few):
        assert np.array_equal(np.asarray(smaller(pixels).convert("RGB")), pixels)


def test_a_layout_engine_lays_out_both_pictures(tmp_path: Path) -> None:
    png, svg = pictures(_constrained, "mark")
    assert (png, svg) == pictures(_constrained, "mark")
    assert b"mark" in png[:200]
    assert b"mark" in svg[:1000]


def _constrained() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 2), layout="constrained")
    figure.subplots(2, 2)
    return figure
