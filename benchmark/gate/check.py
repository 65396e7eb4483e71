"""The regression gate as its user sees it: a plan, progress, three sections, one line, an exit code.

Cells run in temporary folders, and nothing is written to the results: see benchmark.gate.updating.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark import environment
from benchmark.errors import unknown
from benchmark.gate import cells, determinism, sections, speed
from benchmark.gate.declaration import DECLARED, Declaration, load_declaration
from benchmark.gate.kept import Kept, find_kept, folder
from benchmark.gate.sections import Section
from benchmark.hardware import computer, hardware, read_made, unlike_hardware
from benchmark.running import pool, session
from benchmark.running.plan import Plan
from benchmark.running.records import Record, RecordStore
from benchmark.speed.timed import Broken, Unmeasured, measure
from benchmark.suites.definition import Suite
from benchmark.visible import visible

PARTS = ("quality", "determinism", "time")
#: Exit codes.
FINE, REGRESSED, NOTHING = 0, 1, 3


@dataclass(frozen=True)
class Gate:
    """What every part needs to know. ``results`` is the folder of the committed records."""

    declared: Declaration
    suite: Suite
    results: Path
    device: str
    jobs: int
    console: Console

    @property
    def store(self) -> RecordStore:
        return RecordStore(folder(self.declared, self.results))


def check(
    results: Path,
    console: Console,
    *,
    jobs: int | None = None,
    only: Sequence[str] = PARTS,
    device: str = "cpu",
    declaration: Path = DECLARED,
) -> int:
    """Run the declared cells and hot paths, compare with what is committed in ``results``, and print the verdicts.

    Returns 0 where nothing regressed, 1 where something did, 3 where the cells could not all be compared, or nothing
    could. InputError for a wrong declaration, part, device or baseline, before anything runs.
    """
    gate = prepared(results, console, jobs, device, declaration)
    for part in only:
        if part not in PARTS:
            raise unknown("part of the gate", part, PARTS)
    whole = cells.plan_of(gate.declared, gate.suite, device, gate.store)
    kept = find_kept(whole.cells, gate.store)
    unlike = unlike_hardware(computer(device), read_made(gate.store.root).get(device))
    baseline = _baseline(gate) if "time" in only else None
    found: list[Section] = []
    if set(only) & {"quality", "determinism"}:
        if kept.records:
            found += _of_cells(gate, whole, kept, only, unlike)
        else:
            found += [Section(part, "nothing", _no_records(gate, kept)) for part in PARTS[:2] if part in only]
    if "time" in only:
        found.append(_of_times(gate, baseline))
    for section in found:
        _print(section, console)
    return _concluded(found, console)


def prepared(results: Path, console: Console, jobs: int | None, device: str, declaration: Path) -> Gate:
    """The gate of a declaration; InputError for a wrong one, or for a device that is not here."""
    declared, suite = load_declaration(declaration)
    session.check_device(device)
    environment.machine()
    workers = pool.default_jobs(suite.threads, device) if jobs is None else jobs
    return Gate(declared, suite, results, device, workers, console)


def _no_records(gate: Gate, kept: Kept) -> str:
    moved = sum(map(len, kept.moved.values()))
    what = f"{moved} records of other versions or settings" if moved else "no record of the declared cells"
    return f"{gate.store.root} has {what}; amendbench check --update makes them"


def _of_cells(gate: Gate, whole: Plan, kept: Kept, only: Sequence[str], unlike: Sequence[str]) -> list[Section]:
    """Quality and determinism: the cells are run, and some of them a second time.

    ``unlike``: what this machine does not share with the one that made the committed records.
    """
    again = cells.run_twice(whole, gate.declared)
    twice = {cell.hash for cell in again.cells}
    over_seeds = {cell.hash for cell in cells.watched_by_quality(whole, gate.declared).cells}
    wanted = (over_seeds if "quality" in only else set()) | (twice if "determinism" in only else set())
    first = cells.part(whole, lambda cell: cell.hash in wanted)
    announce(gate, first, again if "determinism" in only else None)
    session.check_data(first)
    second: dict[str, Record] = {}
    with tempfile.TemporaryDirectory(prefix="amendbench-") as place:
        records = cells.run(first, gate.suite, Path(place, "first"), gate.device, gate.jobs, gate.console)
        if "determinism" in only:
            second = cells.run(
                again, gate.suite, Path(place, "second"), gate.device, other_jobs(gate.jobs), gate.console
            )
    found = []
    if "quality" in only:
        found.append(sections.quality(gate.declared, kept, {n: r for n, r in records.items() if n in over_seeds}))
    if "determinism" in only:
        committed = determinism.against_committed(records, kept.records, unlike)
        found.append(sections.determinism(determinism.twice(records, second), committed, kept, second))
    return found


def other_jobs(jobs: int) -> int:
    """Another number of processes than the first time."""
    return 2 if jobs == 1 else 1


def announce(gate: Gate, first: Plan, again: Plan | None) -> None:
    """Say what is about to run, and about how long it takes."""
    seconds = first.estimate(gate.jobs)
    told = f"[bold]check[/]: {len(first.cells)} cells of suite {gate.suite.name}, {gate.jobs} at a time"
    if again is not None:
        seconds += again.estimate(other_jobs(gate.jobs))
        told += f"; {len(again.cells)} of them twice"
    gate.console.print(f"{told}; about {max(seconds, 1):.0f} s on {escape(environment.processor())}")


def _baseline(gate: Gate) -> speed.Baseline | None:
    """The committed times of this kind of machine, or of another, or none; InputError for damaged ones."""
    path = speed.file_of(gate.results, hardware(gate.device))
    nearest = path if path.exists() else speed.nearest(gate.results)
    return speed.read_baseline(nearest) if nearest is not None else None


def _of_times(gate: Gate, baseline: speed.Baseline | None) -> Section:
    """Hot paths beside the committed times of this kind of machine, or of another, as advice."""
    here = hardware(gate.device)
    if baseline is None:
        line = f"there are no times of this hardware ({here.fingerprint}); amendbench check --update-speed takes them"
        return Section("time", "nothing", line)
    same = baseline.hardware == here
    remarks = []
    if not same:
        remarks.append(f"the baseline is of {baseline.hardware.processor}; --update-speed takes one of this machine")
    torch = environment.versions()["torch"]
    if baseline.packages.get("torch") != torch:
        remarks.append(f"torch was {baseline.packages.get('torch')} then, it is {torch} now")
    try:
        compared = _compared(gate, baseline, confirm=same)
    except Broken as error:
        return Section("time", "regressed" if same else "nothing", str(error), remarks)
    except Unmeasured as error:
        return Section("time", "nothing", str(error))
    return sections.speed(compared, same, gate.declared.speed.factor, remarks)


def _compared(gate: Gate, baseline: speed.Baseline, *, confirm: bool) -> list[speed.Compared]:
    """Benchmarks beside the baseline; with ``confirm`` those that look slower are run again."""
    own = gate.declared.speed
    gate.console.print(f"[bold]check[/]: benchmarks of hot paths in {escape(own.benchmarks)}, about half a minute")

    def once() -> list[speed.Compared]:
        found = measure(own.benchmarks, gate.device, own.only)
        return speed.compare_all(baseline.benchmarks, found, own.false_alarms, own.factor, own.only)

    first = once()
    if confirm and any(c.pace == "slower" for c in first):
        gate.console.print("[bold]check[/]: something looks slower; the benchmarks run a second time")
        return speed.confirmed(first, once())
    return first


def _print(section: Section, console: Console) -> None:
    colour = {"fine": "green", "regressed": "red", "nothing": "yellow"}[section.outcome]
    said = {"fine": "fine", "regressed": "regressed", "nothing": "not compared"}[section.outcome]
    console.print(f"\n[bold]{section.name}[/]: [{colour}]{said}[/]; {escape(visible(section.line))}", soft_wrap=True)
    table = section.table()
    if table is not None:
        console.print(table)
    for remark in section.remarks:
        console.print(f"  {escape(visible(remark))}", soft_wrap=True)


def _concluded(found: Sequence[Section], console: Console) -> int:
    regressed = [s.name for s in found if s.outcome == "regressed"]
    if regressed:
        console.print(f"\n[bold red]check: regressed[/] ({', '.join(regressed)})")
        return REGRESSED
    left = [s.name for s in found if s.outcome == "nothing"]
    if len(left) == len(found):
        console.print("\n[bold yellow]check: nothing could be measured[/]")
        return NOTHING
    if set(left) & set(PARTS[:2]):  # what the cells have not shown, times do not make up for
        console.print(f"\n[bold yellow]check: not all could be compared[/] ({', '.join(left)})")
        return NOTHING
    rest = f", but for {' and '.join(left)}" if left else ""
    console.print(f"\n[bold green]check: fine[/]{rest}")
    return FINE
