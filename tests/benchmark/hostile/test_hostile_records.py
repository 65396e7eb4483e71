"""Records from strangers: each is read or left out with one line; what is read goes into tables and pages."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hostile_values import NAMES, campaign, damaged, json_values, mutated, paths_of
from hypothesis import given
from hypothesis import strategies as st

from benchmark.boards.board import Row, build_board
from benchmark.commands.console import VisibleConsole
from benchmark.reporting.exports import write_tables
from benchmark.reporting.figures.board_drawings import board_drawings
from benchmark.reporting.figures.drawings import drawings
from benchmark.reporting.front import front_page
from benchmark.reporting.markdown import task_page
from benchmark.reporting.material import Material
from benchmark.reporting.measured import settings_of
from benchmark.reporting.overview import overview
from benchmark.reporting.ranking import rankings
from benchmark.reporting.sheet import sheets
from benchmark.reporting.site.write import write_site
from benchmark.reporting.terminal import print_board
from benchmark.running.records import Cell, Record, RecordStore
from benchmark.suites.definition import load_suite

RESULTS = Path(__file__).parents[3] / "results"
SUITES = {name: load_suite(name) for name in ("smoke", "embedded")}
#: Of each task a scenario and some of its methods; their first seeds are a block of a board.
BLOCKS = {
    "smoke/class-forget/four-gaussians": ("original", "retrain", "svd-forgetting", "finetune"),
    "embedded/label-free-forget/mnist5k-class-removal": ("original", "retrain", "laf", "finetune"),
    "embedded/debias-known/cmnist5k": ("erm", "unbiased", "gerne", "lisa"),
    "embedded/bias-correction/mnist5k-stamp-plain": ("original", "retrain", "rr-clarc", "finetune"),
    "embedded/gan-feature-removal/mnist5k-class": ("original", "retrain", "extrapolation", "finetune"),
}


def read_block(folder: str, methods: tuple[str, ...]) -> list[Any]:
    found = []
    for method in methods:
        paths = sorted((RESULTS / folder / method).glob("*-seed[0-4]-cpu.json"))
        assert len(paths) > 2
        found += [json.loads(path.read_bytes()) for path in paths]
    return found


ALL = [read_block(folder, methods) for folder, methods in BLOCKS.items()]
#: Numbers that a record may have at most, and ones so small that their squares are 0.
TINY, LARGE = (0.0, -0.0, 5e-324, -5e-324, 1e-320, 1e-200, 2e-200, 1e-162), (1e30, -1e30, 9.9e29, 1e29, 1e10)
EXTREME = (*TINY, *LARGE, 1.0, 50.0)
FRAGMENTS = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 30, b"1" * 5_000,
    b"\\ud800", b"\\u0000", b"\0", b"\xff", b"\xed\xa0\x80", b"[" * 3_000, b'{"a":' * 3_000, b"//", b"true", b"../",
)  # fmt: skip


def signed(told: Any) -> Any:
    """With the hash that its cell has, as a stranger would write it; as it is where there is no such cell."""
    try:
        cell = msgspec.convert(told["cell"], Cell)
        return {**told, "hash": cell.hash}
    except (msgspec.ValidationError, TypeError, KeyError, ValueError, RecursionError):
        return told


def place(told: Any, otherwise: str) -> str:
    """Where it says that it belongs, if that is a path below the results."""
    try:
        file = os.path.normpath(msgspec.convert(told["cell"], Cell).file)
    except (msgspec.ValidationError, TypeError, KeyError):
        return otherwise
    fits = not file.startswith((".", "/")) and "\0" not in file and all(len(p.encode()) < 250 for p in Path(file).parts)
    return file if fits else otherwise


class Folder:
    """A results folder for one example."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def filled(self, contents: dict[str, bytes]) -> RecordStore:
        shutil.rmtree(self.root, ignore_errors=True)
        for file, content in contents.items():
            path = self.root / file
            if all(parent.is_dir() or not parent.exists() for parent in path.parents) and not path.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return RecordStore(self.root)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("hostile") / "results")


def read_all(store: RecordStore) -> list[Record]:
    found = list(store.all())
    for record in found:
        assert record.cell.has_plain_names()
        assert record.cell.hash == record.hash
        assert (store.root / record.cell.file).is_file()
        assert store.arrays(record) == {}
    return found


@given(damaged(st.sampled_from([json.dumps(r, indent=1).encode() for b in ALL for r in b]),
               st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=6))))  # fmt: skip
@campaign()
def test_records_of_damaged_bytes(folder: Folder, content: bytes) -> None:
    read_all(folder.filled({"embedded/class-forget/x/y/z.json": content}))


@given(mutated(st.sampled_from([r for b in ALL for r in b]), json_values()), st.booleans())
@campaign()
def test_records_with_odd_values(folder: Folder, told: Any, resigned: bool) -> None:
    content = json.dumps(signed(told) if resigned else told).encode("utf-8", "surrogatepass")
    read_all(folder.filled({place(told, "embedded/x.json"): content}))


def tables(records: list[Record], store: RecordStore) -> tuple[list[Row], list[Material]]:
    """All that is made of records before anything is written."""
    rows: list[Row] = []
    found = []
    for name in dict.fromkeys(record.cell.suite for record in records):
        own = [record for record in records if record.cell.suite == name]
        suite = SUITES.get(name)
        board = build_board(own, suite)
        rows += board
        made = sheets(name, board)
        scored, ranked = overview(board), rankings(board)
        drawn = [*board_drawings(name, made, scored, ranked), *drawings(name, own, made, store)]
        found.append(Material(name, suite, made, scored, ranked, drawn, [], {}, settings_of(own)))
    return rows, found


def _extreme(told: Any, chance: Random, numbers: tuple[float, ...], share: float, settings: bool) -> Any:
    """The record with a share of its metrics and some other numbers and texts changed, ``settings``: in those, too."""
    for *way, last in paths_of(told):
        parent = told
        for step in way:
            parent = parent[step]
        inside = way and (way[0] != "cell" or (settings and way[1:2] in (["settings"], ["parameters"], ["packages"])))
        if not inside or chance.random() > (share if way[0] == "metrics" else 0.1):
            continue
        if isinstance(parent[last], float):
            parent[last] = chance.choice(numbers)
        elif isinstance(parent[last], int) and not isinstance(parent[last], bool):
            parent[last] = chance.choice((0, 1, 2, 10**9, 2**53))
        elif isinstance(parent[last], str):
            parent[last] = chance.choice(NAMES)
    if chance.random() < 0.2:
        told["flags"] = [chance.choice(NAMES) for _ in range(3)]
        told["groups"] = {chance.choice(NAMES): [chance.choice((0, 1, 2**53)), 1] for _ in range(chance.choice((1, 9)))}
    return told


@st.composite
def blocks(draw: st.DrawFn) -> list[Any]:
    """Records of a block, of which some have odd values but are whole."""
    block = copy.deepcopy(draw(st.sampled_from(ALL)))
    if draw(st.booleans()):
        chance = draw(st.randoms(use_true_random=False))
        numbers, share = chance.choice((TINY, LARGE, EXTREME)), chance.choice((0.1, 1.0))
        settings, references = chance.random() < 0.3, chance.random() < 0.5
        chosen = [told for told in block if references or told["cell"]["kind"] != "reference"]
        for told in chosen:
            told.update(signed(_extreme(told, chance, numbers, share, settings)))
        return block
    block = [told for told in block if told["cell"]["seed"] < 2]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(block) - 1))
        block[at] = signed(draw(mutated(st.just(block[at]), json_values(), 3)))
    return block


def kept(block: list[Any], folder: Folder) -> RecordStore:
    contents = {place(told, f"embedded/{i}.json"): json.dumps(told).encode() for i, told in enumerate(block)}
    return folder.filled(contents)


@given(blocks())
@campaign(0.7)
def test_boards_and_pages(folder: Folder, block: list[Any]) -> None:
    store = kept(block, folder)
    rows, materials = tables(read_all(store), store)
    for task in dict.fromkeys(row.task for row in rows):
        page = task_page(task, materials)
        assert all(c.isprintable() or c == "\n" for c in page)
        assert "<img" not in page
    if rows:
        front_page([material for material in materials if material.sheets])


@given(blocks())
@campaign(0.15)
def test_files_and_terminals(folder: Folder, block: list[Any]) -> None:
    store = kept(block, folder)
    rows, materials = tables(read_all(store), store)
    shown = io.StringIO()
    print_board(rows, VisibleConsole(file=shown, width=230, force_terminal=False))
    assert all(c.isprintable() or c == "\n" for c in shown.getvalue())
    reports = folder.root.parent / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    made = {material.name: material.sheets for material in materials if material.sheets}
    written = write_tables(made, reports / "tables") if made else []
    if made:
        chosen = [material for material in materials if material.sheets]
        written += write_site(
            made,
            {m.name: m.scored for m in chosen},
            {m.name: m.rankings for m in chosen},
            [],
            reports / "figures",
            {},
            reports / "site",
            "../..",
        )
    assert all(path.resolve().is_relative_to(reports) for path in written)
    assert sorted(p.name for p in folder.root.parent.iterdir() if p.name not in ("results", "reports")) == []
