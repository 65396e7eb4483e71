"""The promises of docs/regression-gate.md, simulated in little from the committed records, and what breaks them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmark.gate.declaration import Watched, load_declaration
from benchmark.gate.kept import stored
from benchmark.gate.power import LEAST_POWER, MOST_ALARMS, main, simulate
from benchmark.metrics.catalogue import metric
from benchmark.running.records import Record

ROOT = Path(__file__).parents[3]
ROW = Watched("digits", "svd-forgetting", "accuracy.test.retain", 0.5, "")
Table = dict[tuple[str, str], dict[int, Record]]


@pytest.fixture
def row(make_record: Callable[..., Record]) -> Callable[[float, int], Table]:
    """``row(spread, n)``: n seeds of the watched row, normal with that standard deviation."""

    def make(spread: float, n: int) -> Table:
        values = np.random.default_rng(1).normal(80.0, spread, n)
        return {ROW.row: {i: make_record("svd-forgetting", {ROW.metric: v}, seed=i) for i, v in enumerate(values)}}

    return make


def test_the_gate_keeps_its_promises() -> None:
    declared, _ = load_declaration()
    alarms, rows = simulate(declared, stored(declared, ROOT / "results"), draws=2_000)
    assert len(rows) == len(declared.watched)
    assert alarms <= MOST_ALARMS
    assert [r.watched for r in rows if r.power < LEAST_POWER] == []


def test_the_docs_have_every_watched_row() -> None:
    declared, _ = load_declaration()
    docs = (ROOT / "docs" / "regression-gate.md").read_text()
    told = re.findall(r"^\| ([a-z-]+) ([a-z0-9+-]+) \| ([^|]+) \| (\d+) \|", docs, re.MULTILINE)
    rows = [(w.scenario, w.method, metric(w.metric).label, str(declared.rows()[w.row])) for w in declared.watched]
    assert told == rows


def test_power_falls_with_the_spread_and_rises_with_seeds(row: Callable[[float, int], Table]) -> None:
    declared = msgspec.structs.replace(load_declaration()[0], watched=[ROW])
    power = {key: simulate(declared, row(*key), draws=2_000)[1][0].power for key in ((0.5, 10), (4.0, 10), (4.0, 60))}
    assert power[0.5, 10] > 0.99
    assert power[4.0, 10] < 0.5
    assert power[4.0, 60] > power[4.0, 10] + 0.3


def test_twice_the_variance_costs_power(row: Callable[[float, int], Table]) -> None:
    declared = msgspec.structs.replace(load_declaration()[0], watched=[ROW])
    seeds = row(4.0, 20)
    (once,), (twice,) = (simulate(declared, seeds, draws=2_000, noise=noise)[1] for noise in (1.0, 2**0.5))
    assert once.spread == twice.spread
    assert twice.power < once.power - 0.1


def test_a_level_without_correction_alarms_too_often(row: Callable[[float, int], Table]) -> None:
    """Forty rows at a level of a twentieth each: more than half of the checks of unchanged code would fail."""
    declared, _ = load_declaration()
    seeds = row(3.0, 12)[ROW.row]
    rows = {(f"s{i}", ROW.method): seeds for i in range(40)}
    watched = [msgspec.structs.replace(ROW, scenario=f"s{i}") for i in range(40)]
    own = msgspec.structs.replace(declared, watched=watched)
    assert simulate(own, rows, draws=1_000)[0] <= MOST_ALARMS
    careless = msgspec.structs.replace(own, quality=msgspec.structs.replace(own.quality, false_alarms=2.0))
    assert simulate(careless, rows, draws=1_000)[0] > 0.3


def test_without_records_the_promise_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "rows have no records" in capsys.readouterr().out
