"""Figures of generators from which something was to go: from arrays beside records, whatever lies there."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from benchmark.boards.board import build_board
from benchmark.data import hues
from benchmark.reporting.figures.drawings import drawings
from benchmark.reporting.figures.gallery import save_all
from benchmark.reporting.figures.generators import image_grid, point_panels, premise_curves
from benchmark.reporting.figures.pictures import pictures
from benchmark.reporting.generated import (
    HUES,
    Clouds,
    Grid,
    Images,
    Premise,
    image_grids,
    point_clouds,
    premises,
    removed,
)
from benchmark.reporting.report import render
from benchmark.reporting.sheet import sheets
from benchmark.running.records import Record, RecordStore

Make = Callable[..., Record]
Arrays = dict[str, np.ndarray]
HOSTILE = "a|b<img src=x onerror=alert(1)>[c](javascript-d)`e`*f*\n# g $\\x^{"
PNG = b"\x89PNG\r\n\x1a\n"
S = np.array([-1.0, 0.0, 1.0])


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "results")


@pytest.fixture
def make(make_record: Make) -> Make:
    """A record of a scenario with images or, where ``modes``, points: ``make(method, pul, seed=..., settings={...})``.

    ``unit`` and ``scenario`` are the cell's, ``s`` its hyper-parameter.
    """

    def made(method: str, pul: float | None = 50.0, *, seed: int = 0, modes: bool = False, **changes: Any) -> Record:
        values = {"pul": pul, "pul.at-quality": pul, "judge.error": 1.25}
        record = make_record(method, values, scenario="ring", seed=seed, status=changes.pop("status", "ok"))
        own = {} if modes else {"examples": True, "feature": "class"}
        settings = {**record.cell.settings, **own, **changes.pop("settings", {})}
        parameters = {**record.cell.parameters, **changes.pop("parameters", {})}
        named = {"scenario": "ring" if modes else "digits-class", "unit": f"class-{seed}", **changes}
        cell = msgspec.structs.replace(record.cell, settings=settings, parameters=parameters, **named)
        return msgspec.structs.replace(record, cell=cell, hash=cell.hash)

    return made


def images(n: int = 12, channels: int = 1, size: tuple[int, int] = (6, 6), undesired: int = 12) -> Arrays:
    rng = np.random.default_rng(0)
    return {
        f"example.{name}": rng.integers(0, 256, (many, channels, *size), dtype=np.uint8)
        for name, many in (("any", n), ("undesired", undesired))
    }


def points(n: int = 40, shift: float = 0.0) -> Arrays:
    """Points of which the first half is undesired, and more scores than points."""
    rng = np.random.default_rng(0)
    made, real = rng.normal(size=(2, n, 2)).astype(np.float16)
    return {
        "points": made + np.float16(shift),
        "real": real,
        "scores": np.arange(n // 2, -2 * n, -1).astype(np.float16),
    }


def line(share: float = 10.0, s: np.ndarray = S) -> Arrays:
    return {"line.s": s, "line.undesired": S * share + share}


def grids(records: list[Record], store: RecordStore) -> list[Grid]:
    return list(image_grids(records, build_board(records), store))


def clouds(records: list[Record], store: RecordStore) -> list[Clouds]:
    return list(point_clouds(records, build_board(records), store))


def twice(figure: partial[Any]) -> bytes:
    """The PNG, after seeing that it is one, and that it and the SVG are the same again."""
    both = pictures(figure, "mark")
    assert both[0].startswith(PNG)
    assert both == pictures(figure, "mark")
    return both[0]


def test_images_are_those_of_the_first_seed_that_has_them_in_the_boards_order(make: Make, store: RecordStore) -> None:
    puls = {"rejection": 99.0, "finetune": 20.0, "atu-el2": 93.4, "retrain": 97.0, "original": 0.0}
    records = [store.write(make(method, pul, seed=2), images()) for method, pul in puls.items()]
    records += [store.write(make(method, pul, seed=1), images()) for method, pul in puls.items()]
    records += [store.write(make(method, 1.0, seed=0), {}) for method in puls]
    (grid,) = grids(records, store)
    assert (grid.scenario, grid.seed, grid.removed) == ("digits-class", 1, "class 1")
    assert [own.method for own in grid.methods] == ["original", "retrain", "atu-el2", "finetune", "rejection"]
    assert [own.pul for own in grid.methods] == [0.0, 97.0, 93.4, 20.0, 99.0]
    assert grid.methods[0].any.shape == grid.methods[0].undesired.shape == (12, 6, 6)


def test_at_most_twelve_images_and_colours_last(make: Make, store: RecordStore) -> None:
    kept = images(20, 3, (4, 5), undesired=3)
    (grid,) = grids([store.write(make("original"), kept)], store)
    assert grid.methods[0].any.shape == (12, 4, 5, 3)
    assert np.array_equal(grid.methods[0].undesired[..., 0], kept["example.undesired"][:, 0])


@pytest.mark.parametrize(
    "change",
    [
        {"example.any": None}, {"example.undesired": None}, {"example.any": np.zeros((12, 6, 6), np.uint8)},
        {"example.any": np.zeros((12, 1, 6, 6), np.float32)}, {"example.any": np.zeros((0, 1, 6, 6), np.uint8)},
        {"example.undesired": np.zeros((12, 1, 6, 7), np.uint8)}, {"example.any": np.array(["$x^{"] * 5)},
        {"example.any": np.zeros((2, 2, 6, 6), np.uint8), "example.undesired": np.zeros((2, 2, 6, 6), np.uint8)},
    ],
)  # fmt: skip
def test_images_that_are_none_are_not_drawn(make: Make, store: RecordStore, change: dict[str, Any]) -> None:
    kept = {name: array for name, array in {**images(), **change}.items() if array is not None}
    odd = store.write(make("finetune"), kept)
    assert grids([odd], store) == []
    (grid,) = grids([odd, store.write(make("original"), images())], store)
    assert [own.method for own in grid.methods] == ["original"]


def test_what_has_no_place_beside_the_others_is_left_out(make: Make, store: RecordStore) -> None:
    """Images of another size, of other settings (which have other latents), and of cells without a result."""
    records = [store.write(make(method), images()) for method in ("original", "ewc")]
    records.append(store.write(make("cf-k"), images(size=(8, 8))))
    records.append(store.write(make("finetune", settings={"samples": 7}), images()))
    records.append(store.write(make("eu-k", status="failed"), images()))
    (grid,) = grids(records, store)
    assert [own.method for own in grid.methods] == ["original", "ewc"]
    without = store.write(make("original", settings={"examples": False}, scenario="other"), images())
    assert grids([without], store) == []


def read(content: bytes) -> np.ndarray:
    """The picture as uint8 (H, W, 3)."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_of_an_image_is_drawn_as_it_is(channels: int) -> None:
    """Six pixels are seven dots wide each: 42 in all. The last image of the first line is looked for."""
    own = images(channels=channels)["example.any"]
    shown = own[:, 0] if channels == 1 else own.transpose(0, 2, 3, 1)
    grid = Grid("a", 0, "class 0", (Images("original", 0.0, shown, shown[:0]),))
    picture = read(twice(partial(image_grid, grid)))
    wanted = shown[5].repeat(7, 0).repeat(7, 1)
    wanted = wanted if channels == 3 else wanted[..., None].repeat(3, -1)
    right = picture.shape[1] - 8
    block = picture[:, right - 42 : right]
    assert any(np.array_equal(block[top : top + 42], wanted) for top in range(len(block) - 42))


def test_a_grid_grows_with_methods_and_shrinks_large_images() -> None:
    def size(methods: int, side: int) -> tuple[int, ...]:
        shown = np.zeros((12, side, side), np.uint8)
        own = tuple(Images(f"m{i}", None, shown, shown[:2]) for i in range(methods))
        return read(pictures(partial(image_grid, Grid("a", 0, HOSTILE, own)), "mark")[0]).shape[:2]

    one, three, large = size(1, 20), size(3, 20), size(1, 500)
    assert three[1] == one[1]
    assert three[0] == one[0] + 2 * (2 * 40 + 2 + 12)
    assert one[1] < large[1] < 12 * 96 + 250


def test_points_are_undesired_by_their_scores(make: Make, store: RecordStore) -> None:
    records = [store.write(make("atu-el2", 30.0, modes=True, unit="mode-0-1"), points(shift=1.0))]
    records.append(store.write(make("original", 0.0, modes=True, unit="mode-0-1"), points()))
    (found,) = clouds(records, store)
    assert (found.scenario, found.seed, found.removed) == ("ring", 0, "modes 0 and 1")
    assert [own.method for own in found.methods] == ["original", "atu-el2"]
    assert [int(own.undesired.sum()) for own in found.methods] == [20, 20]
    assert np.array_equal(found.gone, points()["points"][:20].astype(float))
    (alone,) = clouds(records[:1], store)
    assert alone.gone.shape == (0, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"points": None}, {"real": None}, {"scores": None}, {"scores": np.zeros(39, np.float16)},
        {"scores": np.zeros((40, 1), np.float16)}, {"points": np.zeros((40, 3), np.float16)},
        {"points": np.zeros((40, 2), np.int8)}, {"real": np.zeros((0, 2), np.float16)}, {"real": np.zeros(4)},
        {"points": np.array([["$x^{"] * 2] * 40)},
    ],
)  # fmt: skip
def test_points_that_are_none_are_not_drawn(make: Make, store: RecordStore, change: dict[str, Any]) -> None:
    kept = {name: array for name, array in {**points(), **change}.items() if array is not None}
    assert clouds([store.write(make("original", modes=True), kept)], store) == []


def test_panels_of_points_are_the_same_twice(make: Make, store: RecordStore) -> None:
    odd = points(shift=50.0)
    odd["points"][:3] = [[np.inf, 0], [np.nan, 1], [6e4, -6e4]]
    kept = {"original": points(), "retrain": points(), "ewc": points(), "atu-el2": odd, "rejection": points()}
    records = [store.write(make(name, None, modes=True), arrays) for name, arrays in kept.items()]
    (found,) = clouds(records, store)
    several = read(twice(partial(point_panels, found)))
    alone = read(twice(partial(point_panels, clouds(records[3:4], store)[0])))
    assert several.shape[1] > alone.shape[1]


def test_a_premise_has_every_seed_and_the_chosen_s(make: Make, store: RecordStore) -> None:
    records = [store.write(make("extrapolation", seed=s), line(10.0 + s)) for s in (4, 1)]
    records.append(store.write(make("extrapolation", seed=2), line(s=S / 2)))
    records.append(store.write(make("ewc", seed=3), line()))
    (found,) = premises(records, store)
    assert (found.scenario, found.seeds, found.chosen) == ("digits-class", (1, 4), -0.5)
    assert found.undesired.tolist() == [[0.0, 11.0, 22.0], [0.0, 14.0, 28.0]]
    records.append(store.write(make("extrapolation", seed=5, parameters={"s": -2.0}), line()))
    assert premises(records, store)[0].chosen is None
    odd = store.write(make("extrapolation", seed=1, parameters={"s": "$x^{"}, scenario="odd"), line())
    assert premises([odd], store)[0].chosen is None


@pytest.mark.parametrize(
    "change",
    [
        {"line.s": np.zeros(2)}, {"line.s": np.array([0.0, np.inf, 1.0])}, {"line.s": np.zeros((3, 1))},
        {"line.undesired": np.zeros(3, np.int64)}, {"line.undesired": np.array(["a", "b", "c"])},
        {"line.s": np.zeros(0), "line.undesired": np.zeros(0)},
    ],
)  # fmt: skip
def test_lines_that_are_none_are_not_drawn(make: Make, store: RecordStore, change: dict[str, Any]) -> None:
    assert premises([store.write(make("extrapolation"), {**line(), **change})], store) == []
    assert premises([store.write(make("extrapolation"), {"scores": np.zeros(3)})], store) == []


def test_curves_of_all_scenarios_are_seen_whole() -> None:
    low, high = np.array([[0.0, 1.0, 2.0]]), np.array([[0.0, 50.0, 95.0], [0.0, np.nan, 90.0]])
    found = [Premise("low", (0,), S, low, -0.5), Premise(HOSTILE, (0, 1), S, high, None), Premise("c", (0,), S, low, 0)]
    twice(partial(premise_curves, [*found, *found[:1]]))
    seen = {axis.get_ylim() for axis in premise_curves(found).axes}
    assert len(seen) == 1
    low_end, high_end = seen.pop()
    assert low_end == 0
    assert high_end > 95


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("class-7", "class 7"), ("hue-0", "red"), ("hue-2", "blue"), ("hue-9", "hue 9"), ("hue-x", "hue x"),
        ("mode-0-1", "modes 0 and 1"), ("odd", "odd"), ("", ""), ("hue", "hue"),
    ],
)  # fmt: skip
def test_what_is_removed_in_words(unit: str, text: str) -> None:
    assert removed(unit) == text
    assert HUES == hues.NAMES


def keep_all(make: Make, store: RecordStore, names: tuple[str, str], unit: str) -> list[Record]:
    """Records of a scenario with images and of one with points, so named."""
    records = []
    for modes, arrays, scenario in zip((False, True), (images(), points()), names, strict=True):
        for method in ("original", "atu-nl2", "extrapolation"):
            beside = {**arrays, **(line() if method == "extrapolation" else {})}
            records.append(store.write(make(method, modes=modes, scenario=scenario, unit=unit), beside))
    return records


def test_the_report_has_all_figures_and_is_the_same_twice(make: Make, store: RecordStore, tmp_path: Path) -> None:
    keep_all(make, store, ("digits-class", "ring"), "class-0")
    contents = []
    for name in ("one", "two"):
        render(store.root, tmp_path / name)
        found = sorted(path for path in (tmp_path / name).rglob("smoke-*") if path.suffix in (".png", ".svg"))
        names = {path.name for path in found}
        assert {"smoke-digits-class-grid.png", "smoke-ring-points.svg", "smoke-premise.png"} <= names
        contents.append([path.read_bytes() for path in found])
    assert contents[0] == contents[1]
    text = "".join(path.read_text("utf-8") for path in (tmp_path / "one").rglob("*.md"))
    assert "Images of digits-class (suite smoke, seed 0), from which class 0 is to go" in text
    assert "from the records of extrapolation; seeds: digits-class 0; ring 0" in text
    for path in store.root.rglob("*.npz"):
        path.unlink()
    assert list(drawings("smoke", list(store.all("smoke")), [], store)) == []


def test_names_in_captions_are_text(make: Make, store: RecordStore, tmp_path: Path) -> None:
    records = keep_all(make, store, (HOSTILE, f"{HOSTILE}2"), HOSTILE)
    found = list(drawings("smoke", records, sheets("smoke", build_board(records)), store))
    assert [one.kind for one in found] == ["grid", "points", "premise"]
    written = save_all(found, tmp_path / "figures")
    assert all(path.is_file() and re.fullmatch(r"[\w.+-]+", path.name) for path in written)
    for one in found:
        assert not any(part in one.caption for part in ("<img", "](", "\n"))
        assert one.alt.isprintable()
