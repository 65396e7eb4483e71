"""Ensembles: which members there are, what comparing them finds, and how that is kept and shown."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmark import environment
from benchmark.boards import board
from benchmark.boards.board import Row
from benchmark.checking.other_files import check_other, comparison_file
from benchmark.cli import main
from benchmark.discovery.source import digest
from benchmark.errors import InputError
from benchmark.metrics.ensembles import largest_epsilon
from benchmark.reporting.ensembles import METRICS, ensemble_tables
from benchmark.reporting.report import render
from benchmark.running import ensembles, pool
from benchmark.running.ensembles import FIRST, EnsembleRecord, compare, plan_members, read_all, write
from benchmark.running.plan import UNKNOWN_SECONDS, Plan, make_plan
from benchmark.running.records import Cell, Record, RecordStore
from benchmark.suites.definition import Suite, load_suite, select

Make = Callable[..., Record]
N, EXAMPLES, CLASSES = 16, 40, 10
HOSTILE = "a|b<img src=x onerror=alert(1)>[c](javascript:d)`e`*f*\n# g"


def chosen(*methods: str, scenario: str = "digits-class-removal") -> Suite:
    return select(load_suite("smoke"), None, [scenario], methods)


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "members")


def planned(suite: Suite, n: int, store: RecordStore, **options: bool) -> Plan:
    """Members' plan where no cell of the suite was ever run."""
    return plan_members(suite, n, "cpu", store, RecordStore(store.root / "nothing"), **options)


def test_members_are_n_of_each_method_and_twice_as_many_retrained(store: RecordStore) -> None:
    plan = planned(chosen("finetune", "laf"), 5, store)
    assert Counter(c.method for c in plan.cells) == {"original": 5, "retrain": 10, "laf": 5, "finetune": 5}
    seeds = {name: [c.seed for c in plan.cells if c.method == name] for name in ("retrain", "laf")}
    assert seeds == {"retrain": list(range(FIRST, FIRST + 10)), "laf": list(range(FIRST, FIRST + 5))}
    assert [c.seed for c in plan.cells] == sorted(c.seed for c in plan.cells)  # all methods grow together
    assert {(c.settings["forget_seed"], c.unit, c.keeps) for c in plan.cells} == {(0, "class-0", "forget-set outputs")}
    assert len({c.hash for c in plan.cells}) == len({c.file for c in plan.cells}) == 25
    assert plan.needs.keys() == plan.provenance.keys() == plan.seconds.keys() == {c.hash for c in plan.cells}


def test_a_scenario_that_fixes_its_forget_set_keeps_it(store: RecordStore) -> None:
    suite = chosen("finetune")
    (name, scenario), *_ = suite.scenarios.items()
    settings = msgspec.structs.replace(scenario.settings, forget_seed=4)
    scenarios = {name: msgspec.structs.replace(scenario, settings=settings)}
    plan = planned(msgspec.structs.replace(suite, scenarios=scenarios), 3, store)
    assert {c.unit for c in plan.cells} == {"class-4"}


def test_members_are_no_cells_of_the_board(store: RecordStore) -> None:
    """A suite's own cells have other seeds and other hashes; nothing of one is cached for the other."""
    suite = chosen("finetune")
    members = planned(suite, 3, store)
    assert not {c.hash for c in make_plan(suite, range(3), "cpu", store).cells} & {c.hash for c in members.cells}


def test_class_forget_has_ensembles_too(store: RecordStore) -> None:
    plan = planned(chosen("finetune", scenario="digits"), 3, store)
    assert Counter(c.method for c in plan.cells) == {"original": 3, "retrain": 6, "finetune": 3}


def test_an_ensemble_needs_its_reference(store: RecordStore) -> None:
    suite = chosen("finetune")
    (name, scenario), *_ = suite.scenarios.items()
    alone = msgspec.structs.replace(scenario, methods={"finetune": scenario.methods["finetune"]})
    with pytest.raises(InputError, match="scenario digits-class-removal has no method retrain"):
        planned(msgspec.structs.replace(suite, scenarios={name: alone}), 3, store)


def logits(seed: int, shift: float) -> np.ndarray:
    """Of one model, whose confidences spread about each example's own mean, ``shift`` higher than others'."""
    hard = np.random.default_rng(0).normal(size=(EXAMPLES, 1))
    found = np.random.default_rng(seed).normal(size=(EXAMPLES, CLASSES))
    found[:, :1] += hard + shift
    return found.astype(np.float16)


SHIFTS = {"retrain": 0.0, "original": 12.0, "finetune": 0.0}
LABELS = np.zeros(EXAMPLES, dtype=np.int16)


@pytest.fixture
def grown(store: RecordStore, make_record: Make) -> tuple[Plan, list[Record]]:
    """Members of three methods, of which one forgets like retraining and one not at all; nothing was run."""
    plan = planned(chosen("finetune"), N, store)
    for number, cell in enumerate(plan.cells):
        record = make_record("", cell=cell, cost=(float(cell.seed - FIRST), 1.0))
        store.write(record, {"logits": logits(number, SHIFTS[cell.method]), "labels": LABELS})
    return plan, list(store.all())


def compared(plan: Plan, records: list[Record], store: RecordStore, n: int = N) -> dict[str, EnsembleRecord]:
    return {record.method: record for record in compare(plan, records, store, n)}


def test_equal_distributions_are_not_told_apart_and_distant_ones_are(
    grown: tuple[Plan, list[Record]], store: RecordStore
) -> None:
    found = compared(*grown, store)
    cells = {cell.method: cell for cell in grown[0].cells}
    assert found.keys() == SHIFTS.keys()
    auc = {name: record.metrics["u-lira.auc"] for name, record in found.items()}
    assert 44 < auc["retrain"] < 56  # type: ignore[operator]
    assert 44 < auc["finetune"] < 56  # type: ignore[operator]
    assert auc["original"] > 95  # type: ignore[operator]
    for name in ("klom", "epsilon"):
        low, high = found["finetune"].metrics[name], found["original"].metrics[name]
        assert 0 < low < high  # type: ignore[operator]
    assert found["original"].metrics["forgetting.quality"] == 0.0
    for name, record in found.items():
        cell = cells[name]
        assert (record.n, record.examples, record.unit) == (N, EXAMPLES, "class-0")
        assert (record.suite, record.task, record.scenario) == ("smoke", "label-free-forget", "digits-class-removal")
        assert record.largest_epsilon == pytest.approx(largest_epsilon(N))
        assert record.settings["forget_seed"] == 0
        assert record.digests == {**cell.digests, "comparison": digest("benchmark.metrics.ensembles")}
        assert (record.flags, record.exclusive) == ([], True)
    assert len({record.members for record in found.values()}) == 3
    assert len({record.reference for record in found.values()}) == 1  # the same retrained models
    assert found["retrain"].members != found["retrain"].reference


def test_chance_tells_what_a_difference_is_worth(grown: tuple[Plan, list[Record]], store: RecordStore) -> None:
    found = compared(*grown, store)
    for name in ("retrain", "finetune"):
        low, high = found[name].chance  # type: ignore[misc]
        assert 40 < low < 50 < high < 60
        assert low <= found[name].metrics["u-lira.auc"] <= high  # type: ignore[operator]
        assert found[name].p > 0.05  # type: ignore[operator]
    low, high = found["original"].chance  # type: ignore[misc]
    assert low < 50 < high < found["original"].metrics["u-lira.auc"]  # type: ignore[operator]
    assert found["original"].p == 1 / (1 + ensembles.SWAPS) == 1 / 200
    assert compared(*grown, store)["finetune"].chance == found["finetune"].chance  # the swaps are seeded


@pytest.mark.parametrize("distance", [3.0, 20.0])
def test_the_most_distant_models_are_told_apart_the_best(
    store: RecordStore, make_record: Make, distance: float
) -> None:
    plan = planned(chosen("finetune"), 8, store)
    for number, cell in enumerate(plan.cells):
        kept = logits(number, distance if cell.method == "finetune" else 0.0)
        store.write(make_record("", cell=cell), {"logits": kept, "labels": LABELS})
    found = compared(plan, list(store.all()), store, 8)
    assert found["finetune"].metrics["u-lira.auc"] > 90  # type: ignore[operator]
    assert found["finetune"].p < 0.04 < found["retrain"].p  # type: ignore[operator]


def test_means_over_examples_have_intervals_that_are_kept_and_shown(
    grown: tuple[Plan, list[Record]], store: RecordStore, tmp_path: Path
) -> None:
    found = compared(*grown, store)["finetune"]
    assert found.intervals.keys() == {"klom", "epsilon"}
    for name, (low, high) in found.intervals.items():
        value = found.metrics[name]
        assert value is not None
        assert 0 < value - low < 0.5
        assert 0 < high - value < 0.5
    write(found, tmp_path)
    (again,) = read_all(tmp_path)
    assert again == found
    value, (low, high) = found.metrics["klom"], found.intervals["klom"]
    lines = ensemble_tables([found], None)
    assert f"| {value:.2f} [{low:.2f}, {high:.2f}] |" in lines[-2]
    assert lines[0].endswith(" In brackets: the 95 % interval over examples, with these models.")


def test_older_comparisons_have_no_intervals(
    grown: tuple[Plan, list[Record]], store: RecordStore, tmp_path: Path
) -> None:
    path = write(compared(*grown, store)["finetune"], tmp_path)
    written = msgspec.json.decode(path.read_bytes())
    del written["intervals"]
    path.write_bytes(msgspec.json.encode(written))
    (older,) = read_all(tmp_path)
    assert older.intervals == {}
    lines = ensemble_tables([older], None)
    assert "[" not in lines[-2]
    assert "brackets" not in lines[0]


def test_an_interval_that_is_not_around_its_value_is_found(
    grown: tuple[Plan, list[Record]], store: RecordStore
) -> None:
    record = compared(*grown, store)["finetune"]

    def wrong(intervals: dict[str, tuple[float, float]]) -> list[str]:
        changed = msgspec.structs.replace(record, intervals=intervals)
        return check_other(msgspec.json.encode(changed), comparison_file(changed))

    assert wrong(record.intervals) == []
    assert wrong({"klom": (1e3, 2e3)}) == [
        f"the interval of klom, 1000 to 2000, is not around {record.metrics['klom']:g}"
    ]
    assert wrong({"odd": (0.0, 1.0)}) == ["there is an interval of 'odd', but no value"]


def test_every_method_is_compared_with_retrained_models_of_other_seeds(
    grown: tuple[Plan, list[Record]], store: RecordStore
) -> None:
    """Members 0 to n - 1 against n to 2n - 1 of the reference, its own row too; against themselves: 50, 0 and 0."""
    found = compared(*grown, store)
    assert {record.seconds for record in found.values()} == {np.mean(range(N))}
    assert found["retrain"].metrics["klom"] > 0  # type: ignore[operator]
    assert found["retrain"].kind == "reference"


def test_what_members_were_marked_with_marks_the_comparison(
    grown: tuple[Plan, list[Record]], store: RecordStore
) -> None:
    plan, records = grown

    def changed(record: Record) -> Record:
        number = record.cell.seed - FIRST
        if record.cell.method == "finetune" and number in (3, 4):
            return msgspec.structs.replace(record, flags=["odd", "a flag"])
        if record.cell.method == "original" and number == 5:
            return msgspec.structs.replace(record, cost=msgspec.structs.replace(record.cost, exclusive=False))
        return record

    found = compared(plan, [changed(record) for record in records], store)
    assert {name: (record.flags, record.exclusive) for name, record in found.items()} == {
        "retrain": ([], True), "finetune": (["a flag", "odd"], True), "original": ([], False),
    }  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_have_no_value(
    grown: tuple[Plan, list[Record]], store: RecordStore, value: float
) -> None:
    plan, records = grown
    broken = logits(5, 0.0)
    broken[3, 4] = value
    (record,) = [r for r in records if (r.cell.method, r.cell.seed) == ("finetune", FIRST + 1)]
    store.write(record, {"logits": broken, "labels": LABELS})
    found = compared(plan, list(store.all()), store)
    assert found["finetune"].metrics == dict.fromkeys(METRICS)
    assert found["finetune"].intervals == {}
    assert (found["finetune"].chance, found["finetune"].p) == (None, None)
    assert all(isinstance(value, float) for value in found["original"].metrics.values())


@pytest.mark.parametrize(
    ("method", "number", "left"),
    [
        ("finetune", 0, {"retrain", "original"}),
        ("finetune", N - 1, {"retrain", "original"}),
        ("retrain", 0, {"original", "finetune"}),  # only its own row needs it
        ("retrain", N - 1, {"original", "finetune"}),
        ("retrain", N, set()),
        ("retrain", 2 * N - 1, set()),
    ],
)
def test_there_is_no_comparison_without_all_members(
    grown: tuple[Plan, list[Record]],
    store: RecordStore,
    caplog: pytest.LogCaptureFixture,
    method: str,
    number: int,
    left: set[str],
) -> None:
    plan, records = grown
    kept = [r for r in records if (r.cell.method, r.cell.seed) != (method, FIRST + number)]
    with caplog.at_level(logging.WARNING, "amendbench"):
        assert compared(plan, kept, store).keys() == left
    assert len(caplog.records) == 3 - len(left)
    own, others = (N - 1, N) if left else (N, N - 1)
    there = f"only {own} of {N} members and {others} of {N} retrained models have a result, or their outputs are lost"
    assert {r.getMessage() for r in caplog.records} == {
        f"digits-class-removal {name}: {there}" for name in SHIFTS.keys() - left
    }


def test_a_failed_member_is_a_missing_one(grown: tuple[Plan, list[Record]], store: RecordStore) -> None:
    plan, records = grown
    changed = [
        msgspec.structs.replace(r, status="failed") if (r.cell.method, r.cell.seed) == ("finetune", FIRST) else r
        for r in records
    ]
    assert compared(plan, changed, store).keys() == {"retrain", "original"}


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_member_without_its_outputs_is_a_missing_one_and_is_made_again(
    grown: tuple[Plan, list[Record]],
    store: RecordStore,
    caplog: pytest.LogCaptureFixture,
    content: bytes | None,
) -> None:
    plan, records = grown
    (cell,) = [c for c in plan.cells if (c.method, c.seed) == ("finetune", FIRST + 3)]
    path = (store.root / cell.file).with_suffix(".npz")
    path.unlink() if content is None else path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "amendbench"):
        assert compared(plan, records, store).keys() == {"retrain", "original"}
    assert "digits-class-removal finetune: only " in caplog.text
    assert ("finetune/class-0-seed10003-cpu.npz is left out" in caplog.text) == (content is not None)
    again = planned(chosen("finetune"), N, store)
    assert [c.hash for c in again.todo] == [cell.hash]
    assert len(again.cached) == 4 * N - 1


def test_members_that_are_there_are_not_made_again(grown: tuple[Plan, list[Record]], store: RecordStore) -> None:
    suite = chosen("finetune")
    assert planned(suite, N, store).todo == []
    assert planned(suite, N, store, fresh=True).cached == {}
    fewer = planned(suite, N // 2, store)  # of what is there, others are the retrained models that count
    assert fewer.todo == []
    more = planned(suite, N + 1, store)
    assert Counter(c.method for c in more.todo) == {"original": 1, "retrain": 2, "finetune": 1}


def test_a_member_that_failed_is_made_again(grown: tuple[Plan, list[Record]], store: RecordStore) -> None:
    (record,) = [r for r in grown[1] if (r.cell.method, r.cell.seed) == ("retrain", FIRST + N)]
    store.write(msgspec.structs.replace(record, status="failed", arrays=None), {})
    assert [c.hash for c in planned(chosen("finetune"), N, store).todo] == [record.hash]


def test_how_long_members_take_is_known_from_the_suites_own_cells(
    grown: tuple[Plan, list[Record]], store: RecordStore, make_record: Make, tmp_path: Path
) -> None:
    """Not from members: those of a scenario are the suite's cells, but for the seed."""
    history = RecordStore(tmp_path / "results")
    for seed, seconds in enumerate((3.0, 40.0, 5.0)):
        record = make_record("finetune", seed=seed, scenario="digits-class-removal")
        cost = msgspec.structs.replace(record.cost, cell_seconds=seconds)
        history.write(msgspec.structs.replace(record, cost=cost), {})
    plan = plan_members(chosen("finetune"), 3, "cpu", store, history, fresh=True)
    assert {(c.method, plan.seconds[c.hash]) for c in plan.cells} == {
        ("finetune", 5.0), ("original", UNKNOWN_SECONDS), ("retrain", UNKNOWN_SECONDS),
    }  # fmt: skip
    assert plan.estimate(1) == 3 * 5.0 + 9 * UNKNOWN_SECONDS


def test_other_outputs_are_other_members(grown: tuple[Plan, list[Record]], store: RecordStore) -> None:
    plan, records = grown
    before = compared(plan, records, store)["finetune"].members
    assert compared(plan, records, store)["finetune"].members == before
    (record,) = [r for r in records if (r.cell.method, r.cell.seed) == ("finetune", FIRST)]
    store.write(record, {"logits": logits(999, 0.0), "labels": LABELS})
    assert compared(plan, list(store.all()), store)["finetune"].members != before


@pytest.fixture
def kept(grown: tuple[Plan, list[Record]], store: RecordStore, tmp_path: Path) -> Path:
    """A results folder with three comparisons."""
    for record in compared(*grown, store).values():
        write(record, tmp_path / "results")
    return tmp_path / "results"


def test_what_is_written_is_read(grown: tuple[Plan, list[Record]], store: RecordStore, kept: Path) -> None:
    made = compared(*grown, store)
    found = {record.method: record for record in read_all(kept)}
    assert list(found) == ["finetune", "original", "retrain"]
    for name, record in found.items():
        assert msgspec.structs.replace(record, created="") == msgspec.structs.replace(made[name], created="")
    folder = kept / "ensembles" / "smoke" / "label-free-forget" / "digits-class-removal"
    assert sorted(p.name for p in folder.iterdir()) == ["finetune-cpu.json", "original-cpu.json", "retrain-cpu.json"]
    again = write(msgspec.structs.replace(made["finetune"], device="cuda:1"), kept)
    assert again == folder / "finetune-cuda-1.json"
    assert [record.device for record in read_all(kept)] == ["cpu", "cuda:1", "cpu", "cpu"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b"\xff", b"[" * 100_000, b'{"suite": 3}'])
def test_a_file_that_cannot_be_read_is_left_out(kept: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    (path,) = kept.rglob("original-cpu.json")
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "amendbench"):
        assert [record.method for record in read_all(kept)] == ["finetune", "retrain"]
    assert f"{path} is left out" in caplog.text
    assert list(read_all(kept / "nothing")) == []


@pytest.mark.parametrize(
    "place",
    [
        "smoke/label-free-forget/digits-class-removal/laf-cpu.json",
        "smoke/label-free-forget/digits-class-removal/finetune-cuda.json",
        "smoke/label-free-forget/digits-data-removal/finetune-cpu.json",
        "standard/label-free-forget/digits-class-removal/finetune-cpu.json",
        "finetune-cpu.json",
    ],
)
def test_a_file_in_anothers_place_is_left_out(kept: Path, caplog: pytest.LogCaptureFixture, place: str) -> None:
    (path,) = kept.rglob("finetune-cpu.json")
    moved = kept / "ensembles" / place
    moved.parent.mkdir(parents=True, exist_ok=True)
    path.rename(moved)
    with caplog.at_level(logging.WARNING, "amendbench"):
        assert [record.method for record in read_all(kept)] == ["original", "retrain"]
    assert f"{moved} is left out: its path does not match" in caplog.text


def test_comparisons_are_no_records(kept: Path) -> None:
    assert list(RecordStore(kept).all()) == []


def task_page_of(written: list[Path]) -> Path:
    """Of a report's files the page of its one task, which stands behind the front page."""
    return written[1]


@pytest.fixture
def page(kept: Path, make_record: Make, tmp_path: Path) -> Callable[[], str]:
    """The task's page of the comparisons and one record of the same scenario, as it is rendered."""
    RecordStore(kept).write(make_record("retrain", {"accuracy.test.all": 90.0}, scenario="digits-class-removal"), {})

    def text() -> str:
        path = task_page_of(render(kept, tmp_path / "reports"))
        return path.read_text()

    return text


Table = list[list[str]]


def tables(text: str) -> list[Table]:
    """Cells of the rows of each comparison's table on a page."""
    found = []
    for part in text.split("against an ensemble")[1:]:
        lines = part[part.index("\n| ") + 1 :].split("\n\n")[0].splitlines()
        found.append([[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines])
    return found


def rewrite(kept: Path, which: str, **changes: Any) -> None:
    """Change a comparison that is kept; it lies where the changed one belongs."""
    (path,) = kept.rglob(f"ensembles/**/{which}-cpu.json")
    record = msgspec.json.decode(path.read_bytes(), type=EnsembleRecord)
    path.unlink()
    write(msgspec.structs.replace(record, **changes), kept)


def notes(text: str) -> dict[str, str]:
    (table,) = tables(text)
    return {row[0].split(" ")[0]: row[-1] for row in table[2:]}


MAKE = "make bench TASK=label-free-forget SUITE=smoke SCENARIOS=digits-class-removal METHODS="


def test_the_leaderboard_shows_them_from_the_least_detectable_on(page: Callable[[], str]) -> None:
    text = page()
    said = f"against an ensemble** on a processor: {N} unlearned and {N} retrained models, {EXAMPLES} forget-set"
    assert said in text
    assert f"The row *retrain* is made of {N} other retrained models" in text
    assert f"The largest ε that {N} models can resolve is {largest_epsilon(N):.2f}." in text
    assert f"Made by `{MAKE}finetune ENSEMBLE={N}`." in text
    (rows,) = tables(text)
    assert [row[0] for row in rows] == ["method", "---", "retrain *(reference)*", "original *(reference)*", "finetune"]
    columns = ["U-LiRA AUC (%)", "by chance (95 %)", "p", "KLoM (nats) ↓", "ε ↓", "forgetting quality ↑", "seconds"]
    assert rows[0][1:] == [*columns, "note"]
    assert all(len(row) == 9 for row in rows)
    assert float(rows[3][1]) > 95
    low, high = (float(value) for value in rows[4][2].split(" to "))
    assert low < 50 < high
    assert rows[3][3] == "0.005"
    assert rows[4][7] == "7.50"
    assert [row[8] for row in rows[2:]] == ["", "", ""]
    assert text.index("### label-free-forget / digits-class-removal") < text.index("against an ensemble")
    assert page() == text


def test_class_forgets_ensembles_are_current_too(make_record: Make, tmp_path: Path, store: RecordStore) -> None:
    plan = planned(chosen("finetune", scenario="digits"), 8, store)
    for number, cell in enumerate(plan.cells):
        store.write(make_record("", cell=cell), {"logits": logits(number, 0.0), "labels": LABELS})
    kept = tmp_path / "results"
    for record in compare(plan, list(store.all()), store, 8):
        write(record, kept)
    RecordStore(kept).write(make_record("retrain", {"accuracy.test.all": 90.0}), {})
    path = task_page_of(render(kept, tmp_path / "reports"))
    assert notes(path.read_text()) == {"retrain": "", "original": "", "finetune": ""}


def test_devices_have_tables_of_their_own(page: Callable[[], str], kept: Path) -> None:
    for record in list(read_all(kept)):
        there = {"device": "a graphics card"}
        write(msgspec.structs.replace(record, device="cuda:1", n=9, reference="other", environment=there), kept)
    text = page()
    assert f"Made by `{MAKE}finetune ENSEMBLE={N}`." in text
    assert f"Made by `{MAKE}finetune ENSEMBLE=9 DEVICE=cuda:1`." in text
    assert "**digits-class-removal against an ensemble** on a graphics card: 9 unlearned and 9 retrained" in text
    one, two = tables(text)
    assert len(one) == len(two) == 5
    assert {row[-1] for row in one[2:] + two[2:]} == {""}  # nothing is compared across devices


def test_the_command_names_the_reference_where_it_is_all_there_is(page: Callable[[], str], kept: Path) -> None:
    (path,) = kept.rglob("ensembles/**/finetune-cpu.json")
    path.unlink()
    assert f"Made by `{MAKE}retrain ENSEMBLE={N}`." in page()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flags": ["odd", "a_b"]}, "odd, a\\_b"),
        ({"versions": {"task": 1, "method": 99}}, "outdated"),
        ({"versions": {"task": 0, "method": 1}}, "outdated"),
        ({"settings": {"data": "digits"}}, "outdated"),
        ({"parameters": {"lr": 1.0}}, "outdated"),
        ({"method": "withdrawn"}, "outdated"),
        ({"digests": {"task": "older"}}, "code moved"),
        ({"n": 8}, f"8 models, {EXAMPLES} examples"),
        ({"examples": 7}, f"{N} models, 7 examples"),
        ({"reference": "other"}, "other retrained models"),
        (
            {"flags": ["odd"], "parameters": {}, "digests": {}, "n": 8, "reference": ""},
            f"odd, outdated, code moved, 8 models, {EXAMPLES} examples, other retrained models",
        ),
    ],
)
def test_a_row_says_what_must_be_known_of_it(
    page: Callable[[], str], kept: Path, changes: dict[str, Any], said: str
) -> None:
    rewrite(kept, "finetune", **changes)
    name = changes.get("method", "finetune")
    assert notes(page()) == {"retrain": "", "original": "", name: said}


def test_the_comparison_is_code_too(page: Callable[[], str], kept: Path) -> None:
    (path,) = kept.rglob("ensembles/**/original-cpu.json")
    record = msgspec.json.decode(path.read_bytes(), type=EnsembleRecord)
    rewrite(kept, "original", digests={**record.digests, "comparison": "older"})
    assert notes(page())["original"] == "code moved"


def test_seconds_beside_others_are_in_brackets(page: Callable[[], str], kept: Path) -> None:
    rewrite(kept, "finetune", exclusive=False)
    (rows,) = tables(page())
    assert [row[7] for row in rows[2:]] == ["7.50", "7.50", "(7.50)"]


def test_blank_values_are_dashes(page: Callable[[], str], kept: Path) -> None:
    rewrite(kept, "finetune", metrics=dict.fromkeys(METRICS), chance=None, p=None)
    (rows,) = tables(page())
    assert rows[4][:7] == ["finetune", *["-"] * 6]


@pytest.mark.parametrize(
    ("method", "field"),
    [
        ("retrain", "unit"),
        ("retrain", "environment"),
        ("finetune", "flags"),
        ("finetune", "method"),
        ("finetune", "device"),
        ("finetune", "scenario"),
    ],
)
def test_foreign_text_is_text(page: Callable[[], str], kept: Path, make_record: Make, method: str, field: str) -> None:
    if field == "scenario":  # a comparison is shown where the board has its scenario
        cell = make_record("finetune", scenario="digits-class-removal").cell
        RecordStore(kept).write(make_record("", cell=msgspec.structs.replace(cell, scenario=HOSTILE)), {})
    value = {"environment": {"device": HOSTILE}, "flags": [HOSTILE]}.get(field, HOSTILE)
    rewrite(kept, method, **{field: value})
    text = page()
    assert "onerror" in text, "the hostile text is nowhere"
    assert "<img" not in text
    assert "](javascript" not in text
    assert "\n# g" not in text
    made = [line for line in text.splitlines() if "ENSEMBLE=" in line]
    assert len(made) == len(tables(text)) == 1 + (field in ("device", "scenario"))
    assert all(re.fullmatch(r"Made by `[-+=.,:_/? A-Za-z0-9]*`\.", line) for line in made)


#: A model an epoch: what members are like does not matter here.
GROWN = """
name = "grown"
summary = "For a test."
threads = 1
timeout = 60.0
tuning = { seeds = [102], configurations = 1 }
[scenarios.digits-class-removal]
task = "label-free-forget"
data = "digits"
model = "laf-cnn"
kind = "class-removal"
training = { epochs = 1, batch_size = 256, lr = 1e-3, optimiser = "adam", schedule = "constant", weight_decay = 1e-4 }
methods = ["original", "retrain", "finetune"]
[hyperparameters.digits-class-removal]
finetune = { parameters = { epochs = 1 }, provenance = "for a test" }
"""
BENCH = ["bench", "--suite", "grown.toml", "--methods", "original,finetune", "--seeds", "1", "--jobs", "1"]


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to be in, with a cache of its own and a suite."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    Path("grown.toml").write_text(GROWN)
    environment.machine.cache_clear()  # its identity lies in the cache
    yield tmp_path
    environment.machine.cache_clear()


def test_from_end_to_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BENCH, "--ensemble", "8") == 0
    said = capsys.readouterr().out
    assert "3 of 3 cells to run" in said
    assert "32 of 32 cells to run" in said
    found = list(read_all(Path("results")))
    assert [(r.method, r.n, r.examples) for r in found] == [(m, 8, 108) for m in ("finetune", "original", "retrain")]
    assert all(isinstance(v, float) for r in found for v in r.metrics.values())
    assert len(list(RecordStore(Path("results")).all())) == 3
    assert len(list(RecordStore(ensembles.members_folder()).all())) == 32
    assert Path("reports/label-free-forget.md").read_text().count("against an ensemble") == 1
    again = call(*BENCH, "--ensemble", "8")
    said = capsys.readouterr().out
    assert again == 0
    assert "all 3 cells are cached; nothing to run" in said
    assert "all 32 cells are cached; nothing to run" in said
    assert said.count("wrote results/ensembles/") == said.count("U-LiRA AUC") == 3
    untouched = [(r.method, r.members, r.metrics) for r in found]
    assert [(r.method, r.members, r.metrics) for r in read_all(Path("results"))] == untouched


@pytest.mark.parametrize("wrong", ["3", "7", "-1", "513"])
def test_too_few_models_and_too_many_are_bad_input(
    folder: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    assert call(*BENCH, "--ensemble", wrong) == 2
    told = capsys.readouterr().err.splitlines()
    assert told == [f"amendbench: ensemble must be 8 to 512, not {wrong}"]
    assert not Path("results").exists() or not any(Path("results").rglob("*.json"))


def test_a_dry_run_counts_members_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BENCH, "--ensemble", "8", "--dry-run") == 0
    assert "32 of 32 cells to run" in capsys.readouterr().out
    assert not Path("results").exists()


Pretended = list[tuple[str, int]]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, make_record: Make) -> Callable[..., Pretended]:
    """``pretended(failing)`` has cells end at once, those that ``failing`` says without a result; returns what ran."""

    def prepare(failing: Callable[[Cell], bool]) -> Pretended:
        ran: Pretended = []

        def run(cells: list[Cell], needs: Any, provenance: Any, setting: pool.Setting, *rest: Any) -> Iterator[Record]:
            store = RecordStore(setting.results)
            for cell in cells:
                ran.append((cell.method, cell.seed))
                status = "failed" if failing(cell) else "ok"
                outputs = {"logits": logits(len(ran), 0.0), "labels": LABELS}
                kept = outputs if cell.seed >= FIRST and status == "ok" else {}
                yield store.write(make_record("", {"accuracy.test.all": 90.0}, cell=cell, status=status), kept)

        monkeypatch.setattr(pool, "run", run)
        return ran

    return prepare


def test_fresh_makes_members_anew(
    folder: Path, pretended: Callable[..., Pretended], capsys: pytest.CaptureFixture[str]
) -> None:
    ran = pretended(lambda cell: False)
    for options, expected in (((), 35), ((), 35), (("--fresh",), 70)):
        assert call(*BENCH, "--ensemble", "8", *options) == 0
        assert len(ran) == expected
    said = capsys.readouterr().out
    assert said.count("32 of 32 cells to run") == 2
    assert said.count("wrote results/ensembles/") == 9


def test_members_that_fail_are_told_of_and_are_not_on_the_board(
    folder: Path,
    pretended: Callable[..., Pretended],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    boards: list[set[tuple[int, str]]] = []

    def build(records: list[Record], suite: Suite) -> list[Row]:
        boards.append({(record.cell.seed, record.status) for record in records})
        return real(records, suite)

    real = board.build_board
    monkeypatch.setattr("benchmark.commands.bench.build_board", build)
    pretended(lambda cell: (cell.method, cell.seed) == ("finetune", FIRST + 2))
    assert call(*BENCH, "--ensemble", "8") == 1
    assert boards == [{(0, "ok")}]
    captured = capsys.readouterr()
    said = " ".join(captured.out.split())
    assert "digits-class-removal finetune seed 10002: failed: Error: it was failed" in said
    assert "1 of 35 cells have no result; they run again next time" in said
    assert sorted(record.method for record in read_all(Path("results"))) == ["original", "retrain"]


def test_that_nothing_has_a_result_counts_members(
    folder: Path, pretended: Callable[..., Pretended], capsys: pytest.CaptureFixture[str]
) -> None:
    pretended(lambda cell: cell.seed < FIRST)
    assert call(*BENCH, "--ensemble", "8") == 1
    assert "3 of 35 cells have no result" in capsys.readouterr().out
    pretended(lambda cell: True)
    assert call(*BENCH, "--ensemble", "8", "--fresh") == 3
