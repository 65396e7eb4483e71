"""Which exit code what ends with: the gate in this process, with cells and times that nothing was run for."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from benchmark.checking.folder import files_below
from benchmark.errors import InputError
from benchmark.gate import cells, speed
from benchmark.gate import check as checking
from benchmark.gate.declaration import load_declaration
from benchmark.gate.speed import Baseline
from benchmark.gate.updating import replace_records
from benchmark.hardware import FILE, SCHEMA, Hardware, Made, cpu_info, hardware, read_made, write_made
from benchmark.running.plan import Plan
from benchmark.running.records import Record, RecordStore
from benchmark.speed.timed import Broken, Times, Unmeasured

SMALL = """
suite = "smoke"
records = "gate"
quality = { false_alarms = 0.005 }
speed = { benchmarks = "tests/speed", false_alarms = 0.005, factor = 1.5 }
determinism = { seeds = 1, also = { digits = ["finetune"] } }

[cells.digits]
seeds = 3
methods = ["svd-forgetting"]

[[watched]]
scenario = "digits"
method = "svd-forgetting"
metric = "accuracy.test.retain"
tolerance = 0.5
why = "a test"
"""
CELLS = ("quality", "determinism")
TIMES = {name: Times([1.0 + i / 100 for i in range(25)], 0.01) for name in ("test_a", "test_b")}
SLOW = {name: Times([3 * r for r in times.relative], 0.03) for name, times in TIMES.items()}


class World:
    """A committed gate, and what cells and hot paths give today: ``change`` is done to every record that is made."""

    def __init__(self, folder: Path, make_record: Callable[..., Record]) -> None:
        self.results, self.declaration = folder / "results", folder / "small.toml"
        self.store = RecordStore(self.results / "gate")
        self.declaration.write_text(SMALL)
        self.make_record = make_record
        self.change: Callable[[Record], Record] = lambda record: record
        self.times: dict[str, Times] | Exception = TIMES
        self.ran = 0

    def commit(self) -> None:
        declared, suite = load_declaration(self.declaration)
        for record in self.made(cells.plan_of(declared, suite, "cpu", self.store)).values():
            self.store.write(record, {})
        write_made(self.store.root, "cpu")

    def made(self, plan: Plan) -> dict[str, Record]:
        values = {"accuracy.test.retain": 90.0, "accuracy.test.forget": 0.0}
        return {cell.hash: self.make_record("", values, cell=cell) for cell in plan.cells}

    def run(self, plan: Plan, *_: object) -> dict[str, Record]:
        self.ran += 1
        return {name: self.change(record) for name, record in self.made(plan).items()}

    def measure(self, *_: object) -> dict[str, Times]:
        self.ran += 1
        if isinstance(self.times, Exception):
            raise self.times
        return self.times

    def check(self, only: tuple[str, ...] = checking.PARTS) -> tuple[int, str]:
        console = Console(file=io.StringIO(), width=200)
        code = checking.check(self.results, console, only=only, declaration=self.declaration, jobs=1)
        return code, console.file.getvalue()  # type: ignore[attr-defined]

    def elsewhere(self) -> None:
        """The records were made by a processor of this one's name with other instructions."""
        made = msgspec.structs.replace(read_made(self.store.root)["cpu"], capability="another")
        (self.store.root / FILE).write_bytes(msgspec.json.encode(Made(SCHEMA, {"cpu": made})))

    def baseline(self, here: Hardware) -> Path:
        path = speed.file_of(self.results, here)
        speed.write_baseline(path, Baseline(speed.SCHEMA, here, "", {}, TIMES))
        return path


@pytest.fixture
def world(tmp_path: Path, make_record: Callable[..., Record], monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, make_record)
    monkeypatch.setattr(cells, "run", made.run)
    monkeypatch.setattr(checking, "measure", made.measure)
    made.commit()
    return made


def of(method: str, **changes: Any) -> Callable[[Record], Record]:
    """Change the records of a method."""
    return lambda r: msgspec.structs.replace(r, **changes) if r.cell.method == method else r


def valued(value: float | None) -> Callable[[Record], Record]:
    """Every record with another value of the watched metric."""

    def change(record: Record) -> Record:
        own = msgspec.structs.replace(record.metrics["accuracy.test.retain"], value=value)
        return msgspec.structs.replace(record, metrics={**record.metrics, "accuracy.test.retain": own})

    return change


def test_nothing_changed_is_fine_but_for_times_that_there_are_none_of(world: World) -> None:
    assert world.check(CELLS)[0] == 0
    code, said = world.check()
    assert (code, "check: fine, but for time" in said) == (0, True)
    assert world.check(("time",))[0] == 3


def test_other_bits_regress_on_this_hardware_alone(world: World) -> None:
    world.change = valued(90.0 + 1e-12)
    code, said = world.check(CELLS)
    assert (code, "check: regressed (determinism)" in said) == (1, True)
    world.elsewhere()
    code, said = world.check(CELLS)
    assert (code, "advice: 4 committed records" in said, "other capability" in said) == (0, True, True)
    (world.store.root / FILE).unlink()
    code, said = world.check(CELLS)
    assert (code, "not compared bit for bit: other hardware" in said) == (0, True)


def test_worse_and_blank_regress_on_any_hardware(world: World) -> None:
    world.elsewhere()
    world.change = valued(88.0)
    assert world.check(("quality",))[0] == 1
    world.change = valued(None)
    code, said = world.check(("quality",))
    assert (code, "is blank where it had a value: 3 seeds (0, 1, 2)" in said) == (1, True)


@pytest.mark.parametrize("status", ["failed", "timeout", "out-of-memory", "disqualified"])
def test_a_method_watched_by_determinism_alone_must_not_fail_anywhere(world: World, status: str) -> None:
    world.elsewhere()
    world.change = of("finetune", status=status, metrics={})
    code, said = world.check(CELLS)
    assert (code, "1 cells that had a result have none: digits finetune x 1" in said) == (1, True)


@pytest.mark.parametrize(
    ("method", "end"),
    [("svd-forgetting", "nothing could be measured"), ("finetune", "not all could be compared (determinism, time)")],
)
def test_a_version_that_went_up_is_not_fine(world: World, method: str, end: str) -> None:
    for record in list(world.store.all("smoke")):
        if record.cell.method == method:
            older = msgspec.structs.replace(record.cell, versions={"task": 99})
            world.store.write(world.make_record("", record.values(), cell=older), {})
    code, said = world.check()
    assert (code, f"check: {end}" in said) == (3, True)
    assert f"committed is another declared version (digits {method} x" in said
    assert "amendbench check --update makes today's records" in said
    world.change = of("finetune", status="failed", metrics={})
    assert world.check()[0] == (3 if method == "finetune" else 1)


def test_fewer_records_than_declared_seeds_are_not_fine(world: World) -> None:
    (gone,) = (r for r in world.store.all("smoke") if (r.cell.method, r.cell.seed) == ("svd-forgetting", 2))
    (world.store.root / gone.cell.file).unlink()
    code, said = world.check(CELLS)
    assert (code, "check: not all could be compared (quality)" in said) == (3, True)
    assert "1 cells are not compared: none committed (digits svd-forgetting x 1)" in said
    world.change = valued(80.0)
    assert world.check(("quality",))[0] == 1


def test_nothing_to_compare_with_is_no_verdict_and_runs_nothing(world: World, tmp_path: Path) -> None:
    world.results = tmp_path / "none"
    code, said = world.check()
    assert (code, world.ran, world.results.exists()) == (3, 0, False)
    assert "check: nothing could be measured" in said
    assert said.count(": not compared;") == 3


@pytest.mark.parametrize(
    ("times", "here", "away"),
    [
        (TIMES, 0, 0),
        ({"test_a": TIMES["test_a"]}, 1, 0),
        (SLOW, 1, 0),
        (Broken("the benchmarks failed: E  RuntimeError"), 1, 0),
        (Unmeasured("pytest-benchmark is not installed"), 0, 0),
    ],
    ids=["same", "did not run", "slower", "crashed", "not installed"],
)
def test_hot_paths_regress_on_the_hardware_of_the_baseline(world: World, times: Any, here: int, away: int) -> None:
    world.times = times
    path = world.baseline(hardware("cpu"))
    code, said = world.check()
    assert (code, "the benchmarks run a second time" in said) == (here, times is SLOW)
    path.unlink()
    world.baseline(msgspec.structs.replace(hardware("cpu"), flags="others"))
    code, said = world.check()
    assert (code, "check: fine, but for time" in said) == (away, True)


@pytest.mark.parametrize("file", ["speed", FILE])
def test_damaged_files_are_told_before_anything_runs(world: World, file: str) -> None:
    path = world.baseline(hardware("cpu")) if file == "speed" else world.store.root / file
    path.write_text('{"schema": 99, "devices": {}}')
    with pytest.raises(InputError, match=path.name):
        world.check()
    assert world.ran == 0


def test_a_part_that_is_none_is_bad_input(world: World) -> None:
    with pytest.raises(InputError, match="did you mean quality"):
        world.check(("qualities",))


def test_what_made_the_records_is_no_record(world: World, caplog: pytest.LogCaptureFixture) -> None:
    assert len(list(world.store.all("smoke"))) == 4
    assert not caplog.records
    assert {found.kind for found in files_below(world.store.root)} == {"record"}
    assert files_below(world.results) == []


def test_updating_removes_what_is_no_longer_declared_of_its_device_alone(world: World, tmp_path: Path) -> None:
    records = list(world.store.all("smoke"))
    other = msgspec.structs.replace(records[0].cell, device="cuda")
    made = RecordStore(tmp_path / "made")
    for record in (*records, world.make_record("", {}, cell=other)):
        made.write(record, {})
        world.store.write(record, {})
    assert replace_records(world.store, "smoke", "cpu", made, records[:2]) == 2
    assert sorted(r.hash for r in world.store.all("smoke")) == sorted([other.hash, *(r.hash for r in records[:2])])
    assert replace_records(world.store, "smoke", "cuda", made, []) == 0
    assert len(list(world.store.all("smoke"))) == 2
    assert replace_records(world.store, "smoke", "cpu", made, []) == 0
    assert not any((world.store.root / "smoke").iterdir())


def test_other_devices_keep_what_made_them(world: World) -> None:
    own = read_made(world.store.root)["cpu"]
    of_gpu = msgspec.structs.replace(own, device="a GPU")
    (world.store.root / FILE).write_bytes(msgspec.json.encode(Made(SCHEMA, {"cuda": of_gpu})))
    write_made(world.store.root, "cpu")
    assert read_made(world.store.root) == {"cpu": own, "cuda": of_gpu}


def test_what_linux_says_of_the_first_processor(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("model name\t: A\nstepping\t: 1\nflags\t: fpu sse\n\nmodel name\t: B\n")
    assert cpu_info(told) == {"model name": "A", "stepping": "1", "flags": "fpu sse"}
    assert cpu_info(tmp_path / "none") == {}
