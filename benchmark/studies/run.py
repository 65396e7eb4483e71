"""Run a study: its cells by the ordinary runner, its measurements one after another, then its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmark import environment
from benchmark.files import check_writable
from benchmark.running import pool, session
from benchmark.running.plan import Plan, is_of_here, machine, make_plan
from benchmark.running.records import STUDIES, Record, RecordStore
from benchmark.studies.definition import Study
from benchmark.studies.expansion import expanded
from benchmark.studies.found import diverged
from benchmark.studies.measured import measure, missing
from benchmark.suites.definition import Suite

#: Threads that measurements use.
THREADS = 1


@dataclass(frozen=True)
class Request:
    """What was asked for; ``jobs`` is None for as many as there are cores."""

    study: Study
    jobs: int | None
    device: str
    results: Path
    reports: Path
    fresh: bool = False
    dry_run: bool = False


def run_study(request: Request, console: Console) -> list[Record]:
    """The records of its cells, after its measurements are there and its page is written; nothing of a dry run.

    Raises KeyboardInterrupt after stopping the workers: what was finished stays, and the same command does the rest.
    """
    study, suite = request.study, expanded(request.study).suite
    console.print(f"[bold]study {study.name}[/]: {escape(study.file.title)}")
    left = missing(study, request.results, fresh=request.fresh)
    plan = None if suite is None else _plan(request, suite, console)
    if study.file.measurements:
        console.print(f"{len(left)} measurements to take")
    if request.dry_run:
        return []
    machine()
    store = RecordStore(request.results / STUDIES)
    store.check_writable()
    check_writable(request.reports)
    records = [] if plan is None or suite is None else _cells(request, suite, plan, console)
    _measure(request, left, console)
    return records


def _plan(request: Request, suite: Suite, console: Console) -> Plan:
    store = RecordStore(request.results / STUDIES)
    plan = make_plan(suite, range(request.study.file.seeds), request.device, store, fresh=request.fresh)
    if not request.fresh:
        plan.cached.update(_diverged(plan))
    session.describe(plan, _jobs(request, suite), request.device, console)
    return plan


def _diverged(plan: Plan) -> dict[str, Record]:
    """Cells whose training diverged here: the next time it would again, and where something breaks is what is asked."""
    there = ((cell, plan.found.get(cell.file)) for cell in plan.cells)
    return {cell.hash: record for cell, record in there if record and diverged(record) and is_of_here(record, cell)}


def _jobs(request: Request, suite: Suite) -> int:
    return pool.default_jobs(suite.threads, request.device) if request.jobs is None else request.jobs


def _cells(request: Request, suite: Suite, plan: Plan, console: Console) -> list[Record]:
    session.check_data(plan)
    session.tidy_cache(environment.cache_root())
    setting = pool.Setting(
        request.results / STUDIES,
        environment.cache_root(),
        request.device,
        suite.threads,
        suite.timeout,
        session.now(),
        request.fresh,
    )
    return session.execute(plan, setting, _jobs(request, suite), console)


def _measure(request: Request, left: list[tuple[str, dict[str, object], int]], console: Console) -> None:
    if not left:
        return
    from benchmark.determinism import make_deterministic

    make_deterministic(THREADS)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("measuring", total=len(left))
        for name, point, seed in left:
            progress.update(bar, description=escape(f"{name} {point} seed {seed}"[:60]))
            measure(request.study, name, point, seed, request.results)
            progress.advance(bar)
