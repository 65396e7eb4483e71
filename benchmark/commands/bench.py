"""What ``bench`` does: check, plan, say, run or submit, and show the board."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark import environment
from benchmark.boards.board import build_board
from benchmark.commands.options import within
from benchmark.commands.running import exit_code
from benchmark.errors import InputError
from benchmark.files import check_writable
from benchmark.reporting.ensembles import summary
from benchmark.reporting.terminal import print_board, publish
from benchmark.running import ensembles, orders, pool, session
from benchmark.running.locks import remove_if_empty
from benchmark.running.orders import Submission
from benchmark.running.plan import Plan, machine, make_plan
from benchmark.running.records import RUN, Record, RecordStore
from benchmark.suites.definition import Suite


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    suite: Suite
    suite_name: str
    seeds: int
    jobs: int
    device: str
    results: Path
    reports: Path
    fresh: bool = False
    dry_run: bool = False
    ensemble: int = 0
    engine: str = "local"
    cluster: Path | None = None


def run_bench(request: Request, console: Console) -> int:
    """Do it; the exit code."""
    _check(request)
    store = RecordStore(request.results)
    plan = make_plan(request.suite, range(request.seeds), request.device, store, fresh=request.fresh)
    console.print(
        f"[bold]suite {request.suite.name}[/], seeds 0 to {request.seeds - 1}: {len(request.suite.scenarios)} scenarios"
    )
    where = request.device if request.engine == "local" else f"{request.device} through {request.engine}"
    session.describe(plan, request.jobs if request.engine == "local" else None, where, console)
    grown = _plan_members(request, store, console)
    if request.dry_run:
        return 0
    for each in (plan, grown) if grown is not None else (plan,):
        session.check_data(each)
    if request.engine == "slurm" and plan.todo:
        return _submit(request, plan, console)
    try:
        records = _run(request, plan, grown, console)
    except KeyboardInterrupt:
        console.print("interrupted; what was finished is kept, and the same command does the rest")
        return 130
    own = {cell.hash for cell in plan.cells}
    show([record for record in records if record.hash in own], request.suite, request.results, request.reports, console)
    failed = [record for record in records if record.status != "ok"]
    if failed:
        console.print(f"[red]{len(failed)} of {len(records)} cells have no result[/]; they run again next time")
    return exit_code(records)


def show(records: Sequence[Record], suite: Suite, results: Path, reports: Path, console: Console) -> None:
    """Print the board of ``records`` and render the reports of all that is there."""
    print_board(build_board(records, suite), console)
    publish(results, reports, console)


def _check(request: Request) -> None:
    if request.engine == "slurm":
        from benchmark.running import slurm
        from benchmark.running.cluster import load_cluster

        load_cluster(request.cluster)
        if not request.dry_run:
            slurm.check_available()
    elif request.cluster is not None:
        raise InputError("--cluster has no effect without --engine slurm")
    if request.ensemble:
        within(request.ensemble, ensembles.FEWEST, ensembles.MOST, "ensemble")
        if request.engine != "local":
            raise InputError(f"ensembles are grown by the engine local, not by {request.engine}")
    if not request.dry_run:
        machine()
        RecordStore(request.results).check_writable()
        check_writable(request.reports)


def _plan_members(request: Request, store: RecordStore, console: Console) -> Plan | None:
    if not request.ensemble:
        return None
    members = ensembles.members_folder()
    kept = RecordStore(members)
    plan = ensembles.plan_members(request.suite, request.ensemble, request.device, kept, store, fresh=request.fresh)
    console.print(f"[bold]ensembles[/] of {request.ensemble} models, kept in {members}:")
    session.describe(plan, request.jobs, request.device, console)
    return plan


def _run(request: Request, plan: Plan, grown: Plan | None, console: Console) -> list[Record]:
    """Records of the plan's cells, and of the members of ensembles, which are compared."""

    def first_board(found: list[Record]) -> None:
        console.print("[bold]the first seed is done[/]; the others follow")
        print_board(build_board(found, request.suite), console)

    session.tidy_cache(environment.cache_root())
    setting = pool.Setting(
        request.results,
        environment.cache_root(),
        request.device,
        request.suite.threads,
        request.suite.timeout,
        session.now(),
        request.fresh,
    )
    records = session.execute(plan, setting, request.jobs, console, early=first_board)
    if grown is None:
        return records
    members = ensembles.members_folder()
    apart = dataclasses.replace(setting, results=members)
    grown_records = session.execute(grown, apart, request.jobs, console)
    for compared in ensembles.compare(grown, grown_records, RecordStore(members), request.ensemble):
        console.print(f"wrote {ensembles.write(compared, request.results)}: {summary(compared)}")
    return [*records, *grown_records]


def _submit(request: Request, plan: Plan, console: Console) -> int:
    """Order what is left of a plan, hand it to the scheduler, and leave."""
    from benchmark.running import slurm
    from benchmark.running.cluster import load_cluster

    cluster = load_cluster(request.cluster)
    ordered = orders.submission(plan, request.suite, request.engine, request.device, fresh=request.fresh)
    _keep(ordered, request.results)
    try:
        submitted = slurm.submit(ordered, request.results, cluster, console, request.suite.resources)
    except InputError:
        shutil.rmtree(ordered.folder(request.results))  # nobody has these orders
        remove_if_empty(request.results / RUN)
        raise
    console.print(f"submitted as [bold]{ordered.id}[/]: {submitted}")
    where = f"--results {shlex.quote(str(request.results))}"
    what = f"--suite {shlex.quote(request.suite_name)} --seeds {request.seeds} --device {request.device}"
    reports = f"--reports {shlex.quote(str(request.reports))}"
    console.print("how far it is, and its board:")
    for told in (f"amendbench status {what} {where}", f"amendbench collect {ordered.id} {where} {reports}"):
        console.print(f"  {escape(told)}", soft_wrap=True)
    return 0


def _keep(ordered: Submission, results: Path) -> None:
    try:
        orders.keep(ordered, results)
    except OSError as error:
        raise InputError(f"the orders cannot be written to {results}: {error.strerror}") from error
