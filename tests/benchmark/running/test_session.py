"""A run as its user meets it: when the first board comes, what is fetched before, and names of devices."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console

from benchmark.data import lesions, packaged
from benchmark.errors import InputError
from benchmark.running import pool, session
from benchmark.running.plan import Plan, make_plan
from benchmark.running.records import Cell, Record, RecordStore
from benchmark.suites.definition import load_suite, select

Make = Callable[..., Record]
SUITE = select(load_suite("smoke"), "class-forget", ["digits"], ["finetune"])
OF_ONE_SEED = 3


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, make_record: Make, tmp_path: Path) -> Callable[..., list[list[Record]]]:
    """``told(seeds, done, order)``: what ``early`` was called with in a run of which cells end in that order."""

    def execute(
        seeds: int,
        done: Callable[[Cell], bool] = lambda cell: False,
        order: Callable[[list[Cell]], list[Cell]] = lambda cells: cells,
        failed: tuple[str, ...] = (),
    ) -> list[list[Record]]:
        def run(cells: list[Cell], *rest: Any) -> Iterator[Record]:
            for cell in order(cells):
                yield make_record("", cell=cell, status="failed" if cell.method in failed else "ok")

        store = RecordStore(tmp_path / "results")
        plan = make_plan(SUITE, range(seeds), "cpu", store)
        for cell in filter(done, plan.cells):
            store.write(make_record("", cell=cell), {})
        plan = make_plan(SUITE, range(seeds), "cpu", store)
        monkeypatch.setattr(pool, "run", run)
        setting = pool.Setting(tmp_path / "results", tmp_path / "cache", "cpu", 1, 60.0)
        calls: list[list[Record]] = []
        found = session.execute(plan, setting, 1, Console(file=io.StringIO()), early=calls.append)
        assert {record.hash for record in found} == {cell.hash for cell in plan.cells}
        return calls

    return execute


def seeds_of(records: list[Record]) -> list[int]:
    return [record.cell.seed for record in records]


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_first_seed_has_a_board_of_its_own(told: Callable[..., list[list[Record]]], seeds: int) -> None:
    (records,) = told(seeds)
    assert seeds_of(records) == [0] * OF_ONE_SEED


def test_one_seed_has_one_board(told: Callable[..., list[list[Record]]]) -> None:
    assert told(1) == []


def test_the_first_board_has_no_record_of_seeds_that_were_faster(told: Callable[..., list[list[Record]]]) -> None:
    (records,) = told(3, order=lambda cells: cells[::-1])
    assert seeds_of(records) == [0] * OF_ONE_SEED


def test_what_was_cached_is_on_the_first_board(told: Callable[..., list[list[Record]]]) -> None:
    (records,) = told(2, done=lambda cell: cell.method == "original")
    assert seeds_of(records) == [0] * OF_ONE_SEED


def test_what_failed_is_on_the_first_board(told: Callable[..., list[list[Record]]]) -> None:
    (records,) = told(2, failed=("finetune",))
    assert sorted(record.status for record in records) == ["failed", "ok", "ok"]


@pytest.mark.parametrize("seed", [0, 1])
def test_there_is_no_first_board_where_only_one_seed_is_left(
    told: Callable[..., list[list[Record]]], seed: int
) -> None:
    """The whole board comes as soon."""
    assert told(2, done=lambda cell: cell.seed != seed) == []


def test_nothing_to_run_is_no_run(told: Callable[..., list[list[Record]]]) -> None:
    assert told(2, done=lambda cell: True) == []


@pytest.fixture
def plan(make_cell: Callable[..., Cell], make_record: Make) -> Plan:
    """Cells of data that come with a package and of the Hub's; what needs Fashion-MNIST is done."""
    names = ["digits", "mnist", "cifar-10", "mnist", "fashion-mnist"]
    cell = make_cell("finetune")
    cells = [
        msgspec.structs.replace(cell, settings={**cell.settings, "data": name}, seed=seed)
        for seed, name in enumerate(names)
    ]
    cached = {cells[-1].hash: make_record("", cell=cells[-1])}
    return Plan(cells, cached, {}, {}, {})


def test_only_what_is_to_be_used_is_fetched_and_once(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(packaged, "load", fetched.append)
    session.check_data(plan)
    assert fetched == ["cifar-10", "mnist"]


def test_a_set_that_cannot_be_had_is_one_error(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything runs, and once for all of its cells."""
    fetched: list[str] = []
    real = packaged.load

    def load(name: str) -> object:
        fetched.append(name)
        return real(name)

    (tmp_path / "uoft-cs" / "cifar10" / "plain_text").mkdir(parents=True)
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(packaged, "load", load)
    packaged._load.cache_clear()
    with pytest.raises(InputError, match="plain_text has no split 'train'"):
        session.check_data(plan)
    assert fetched == ["cifar-10"]


def test_a_set_that_brings_its_artefact_is_fetched_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(lesions, "isic_2017_patches", lambda: fetched.append("patches"))
    monkeypatch.setattr(packaged, "load", fetched.append)
    cells = [SimpleNamespace(settings={"data": name}) for name in ("isic-2017-patches", "isic-2017-official")]
    session.check_data(cast("Plan", SimpleNamespace(todo=cells)))
    assert fetched == ["isic-2017-official", "patches"]


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:12"])
def test_names_of_devices(name: str) -> None:
    session.check_device_name(name)


@pytest.mark.parametrize(
    "name", ["", "cpu:0", "gpu", "CPU", "cuda:", "cuda: 1", "cuda:-1", "cuda:1.0", "cuda:²", "cuda:\u0661", "cuda:1\n"]
)
def test_what_is_no_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 64)
    for check in (session.check_device_name, session.check_device):
        with pytest.raises(InputError, match=r"unknown device .*; known: cpu, cuda, cuda:N"):
            check(name)
