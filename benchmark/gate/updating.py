"""Make what this machine finds the committed baseline: records of the declared cells, and times of hot paths."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark import environment
from benchmark.files import check_writable, write_atomically
from benchmark.gate import cells, speed
from benchmark.gate.check import FINE, NOTHING, REGRESSED, announce, prepared
from benchmark.gate.declaration import DECLARED
from benchmark.hardware import hardware, read_made, write_made
from benchmark.running import session
from benchmark.running.records import Record, RecordStore
from benchmark.speed.timed import Times, Unmeasured, measure, pooled
from benchmark.visible import visible

#: Runs of the benchmarks that a baseline is pooled from.
BASELINE_RUNS = 3


def update(
    results: Path, console: Console, *, jobs: int | None = None, device: str = "cpu", declaration: Path = DECLARED
) -> int:
    """Run the declared cells and make their records the committed ones; 1, and nothing is written, if one fails.

    Records there of this device that the gate does not declare any more are removed; those of others stay.
    """
    gate = prepared(results, console, jobs, device, declaration)
    gate.store.check_writable()
    read_made(gate.store.root)  # a damaged one is told before anything runs
    plan = cells.plan_of(gate.declared, gate.suite, device, gate.store)
    announce(gate, plan, None)
    session.check_data(plan)
    with tempfile.TemporaryDirectory(prefix="amendbench-") as place:
        records = cells.run(plan, gate.suite, Path(place), device, gate.jobs, console)
        failed = [record.cell for record in records.values() if record.status != "ok"]
        if failed or len(records) < len(plan.cells):
            console.print(f"[red]{len(failed)} of {len(plan.cells)} cells have no result[/]; nothing was written")
            return REGRESSED
        made = RecordStore(Path(place, "results"))
        written = replace_records(gate.store, gate.suite.name, device, made, records.values())
    write_made(gate.store.root, device)
    console.print(f"wrote {written} records below {escape(str(gate.store.root))}")
    return FINE


def update_speed(
    results: Path, console: Console, *, device: str = "cpu", declaration: Path = DECLARED, runs: int = BASELINE_RUNS
) -> int:
    """Take this machine's times of the hot paths and commit them below ``results``; 3 where there are none."""
    gate = prepared(results, console, 1, device, declaration)
    check_writable(results)
    own, here = gate.declared.speed, hardware(device)
    taken: list[dict[str, Times]] = []
    try:
        for number in range(runs):
            console.print(f"benchmarks of hot paths in {escape(own.benchmarks)}, run {number + 1} of {runs}")
            taken.append(measure(own.benchmarks, device, own.only))
    except Unmeasured as error:
        console.print(f"[red]no times[/]: {escape(visible(str(error)))}")
        return NOTHING
    created = datetime.now(UTC).isoformat(timespec="seconds")
    baseline = speed.Baseline(speed.SCHEMA, here, created, environment.versions(), pooled(taken))
    speed.write_baseline(speed.file_of(results, here), baseline)
    console.print(f"wrote {escape(str(speed.file_of(results, here)))}")
    return FINE


def replace_records(into: RecordStore, suite: str, device: str, made: RecordStore, records: Iterable[Record]) -> int:
    """Copy records of a suite as they are, without their arrays, and remove the device's other ones; how many."""
    contents = {record.cell.file: (made.root / record.cell.file).read_bytes() for record in records}
    for path in sorted((into.root / suite).rglob(f"*-{device}.json")):
        if path.relative_to(into.root).as_posix() not in contents:
            path.unlink()
    for file, content in contents.items():
        write_atomically(into.root / file, content)
    for folder in sorted((into.root / suite).rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            shutil.rmtree(folder)
    return len(contents)
