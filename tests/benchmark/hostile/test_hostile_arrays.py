"""What strangers keep beside records: figures are made of arrays that are as they should be, and of no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hostile_values import campaign
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchmark.boards.board import build_board
from benchmark.reporting.figures.drawings import drawings
from benchmark.reporting.sheet import sheets
from benchmark.running.arrays import TYPES, read_arrays
from benchmark.running.records import Record, RecordStore

RESULTS = Path(__file__).parents[3] / "results"
#: Of each kind of figure a scenario whose arrays are kept with the source, and methods.
BLOCKS = {
    "smoke/class-forget/four-gaussians": ("original", "retrain", "svd-forgetting"),
    "smoke/label-free-forget/digits-class-removal": ("original", "laf"),
    "embedded/bias-correction/mnist5k-stamp-plain": ("original", "rr-clarc"),
    "embedded/gan-feature-removal/mnist5k-colour": ("original", "retrain", "extrapolation"),
    "smoke/gan-feature-removal/ring": ("original", "retrain", "extrapolation"),
}
#: What figures are drawn from.
USED = ("regions", "forgotten", "curve.unlearn", "curve.align", "points", "real", "scores", "line.s", "line.undesired")

Arrays = dict[str, np.ndarray]


def read_block(folder: str, methods: tuple[str, ...]) -> list[tuple[Record, Arrays]]:
    found = []
    for method in methods:
        path = next(iter(sorted((RESULTS / folder / method).glob("*-seed0-cpu.json"))))
        record = msgspec.json.decode(path.read_bytes(), type=Record)
        kept = path.with_suffix(".npz")
        arrays = read_arrays(kept.read_bytes()) if kept.exists() and record.arrays else {}
        used = {name: a[:40] if a.ndim else a for name, a in arrays.items() if name in USED or name[:7] == "example"}
        found.append((record, used))
    assert any(arrays for _, arrays in found)
    return found


ALL = [read_block(folder, methods) for folder, methods in BLOCKS.items()]
ODD = (0.0, -1.0, 1.0, 255.0, 1e30, -1e300, 1e308, float("nan"), float("inf"), float("-inf"), 5e-324)


class Kept:
    """A store of arrays that are in memory."""

    root = Path("/nowhere")

    def __init__(self, block: list[tuple[Record, Arrays]]) -> None:
        self.kept = {record.hash: arrays for record, arrays in block}

    def arrays(self, record: Record) -> Arrays:
        return dict(self.kept[record.hash])


def drawn(block: list[tuple[Record, Arrays]]) -> list[Any]:
    records = [record for record, _ in block]
    name = records[0].cell.suite
    return list(drawings(name, records, sheets(name, build_board(records)), cast(RecordStore, Kept(block))))


@st.composite
def odd_arrays(draw: st.DrawFn, like: np.ndarray) -> np.ndarray:
    """Another array, that has something of the one that should be there."""
    dtype = np.dtype(draw(st.sampled_from([*TYPES, like.dtype.str])))
    sizes = st.one_of(st.sampled_from([0, 1, 2, 3, 5, 12]), st.sampled_from([0, *like.shape]))
    shape = tuple(draw(st.one_of(st.lists(sizes, max_size=4), st.just(like.shape))))
    with np.errstate(all="ignore"):
        values = np.array(draw(st.lists(st.sampled_from(ODD), min_size=1, max_size=5))).astype(dtype)
        if shape == like.shape and draw(st.booleans()):
            found = like.astype(dtype)
            found.flat[:: draw(st.sampled_from([1, 2, 7]))] = values[0]
            return found
    return np.resize(values, shape)


@st.composite
def blocks(draw: st.DrawFn) -> list[tuple[Record, Arrays]]:
    block = []
    same = draw(st.booleans())
    made: Arrays = {}
    for record, arrays in draw(st.sampled_from(ALL)):
        own: Mapping[str, np.ndarray] = arrays
        for name in arrays:
            what = draw(st.sampled_from(["leave", "leave", "leave", "replace", "remove"]))
            if same and name in made:
                own = {**own, name: made[name]}
            elif what == "replace":
                own = {**own, name: draw(odd_arrays(arrays[name]))}
            elif what == "remove":
                own = {key: value for key, value in own.items() if key != name}
            made.update({name: own[name]} if name in own else {})
        if "s" in record.cell.parameters and draw(st.booleans()):
            parameters = {
                **record.cell.parameters,
                "s": draw(st.sampled_from([*ODD[:-3], 10**400, True, "1", [], None])),
            }
            cell = msgspec.structs.replace(record.cell, parameters=parameters)
            record = msgspec.structs.replace(record, cell=cell, hash=cell.hash)
        block.append((record, dict(own)))
    return block


@pytest.mark.parametrize("at", range(len(ALL)), ids=list(BLOCKS))
def test_whole_arrays_are_drawn(at: int) -> None:
    assert drawn(ALL[at])


@given(blocks())
@campaign()
def test_odd_arrays_are_drawn_or_left_out(block: list[tuple[Record, Arrays]]) -> None:
    for drawing in drawn(block):
        assert drawing.caption.replace("\n", "").isprintable()
        json.dumps(drawing.alt)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
@given(blocks())
@campaign(0.1)
def test_figures_of_odd_arrays(block: list[tuple[Record, Arrays]]) -> None:
    for drawing in drawn(block):
        figure = drawing.figure()
        FigureCanvasAgg(figure).draw()
        assert max(figure.get_size_inches()) < 100
        pyplot.close(figure)
