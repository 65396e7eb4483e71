"""Commands that run cells, and those that say how far a run is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import (
    DeviceOption,
    JobsOption,
    MethodOption,
    MethodsOption,
    ReportsOption,
    ResultsOption,
    ScenariosOption,
    SeedsOption,
    SuiteOption,
    TaskOption,
    app,
    exit_with,
    make_console,
    names,
    whole,
    within,
)
from benchmark.commands.own import OwnOptions, added, brings_own, brought
from benchmark.errors import InputError, unknown
from benchmark.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from benchmark.running.progress import Outcome
    from benchmark.running.records import Record

ENGINES = ("local", "slurm")


@app.command(
    epilog="Examples: amendbench bench --task class-forget | "
    "amendbench bench --task class-forget --methods svd-forgetting,scrub --seeds 10 --jobs 2 | "
    "amendbench bench --task label-free-forget --scenarios mnist5k-class-removal --methods laf --ensemble 32 | "
    "amendbench bench --suite standard --device cuda --engine slurm --cluster cluster.toml | "
    "amendbench bench --task class-forget --method mine.py:my-method | "
    "amendbench bench --data images/ --attributes attributes.csv --model resnet18 --weights mine.safetensors "
    "--task class-forget --forget-class tench"
)
@brings_own
def bench(
    own: OwnOptions,
    task: TaskOption = None,
    suite: SuiteOption = "embedded",
    scenarios: ScenariosOption = None,
    methods: MethodsOption = None,
    method: MethodOption = None,
    seeds: SeedsOption = 3,
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    results: ResultsOption = Path("results"),
    reports: ReportsOption = Path("reports"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Run cells again that are cached.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    ensemble: Annotated[
        int,
        typer.Option(
            parser=whole, metavar="N", help="Compare N unlearned with N retrained models of one forget set, too."
        ),
    ] = 0,
    engine: Annotated[str, typer.Option(help="local, or slurm: submit and leave.")] = "local",
    cluster: Annotated[
        Path | None, typer.Option(help="A TOML file about the cluster; AMENDBENCH_CLUSTER if left out.")
    ] = None,
) -> None:
    """Run a suite's cells that are not cached, then print and render the board.

    With --data the methods run on your own pictures and model; what was brought becomes a scenario of the suite own.
    """
    from benchmark.commands.bench import Request, run_bench
    from benchmark.running import pool, session
    from benchmark.suites.choosing import choose, invited, left_out
    from benchmark.suites.definition import OWN, load_suite

    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    mine = brought(own, task)
    only, more = invited(names(methods), method)
    console = make_console()
    if mine is None:
        whole = load_suite(suite)
        chosen = choose(whole, task, names(scenarios), only, more)
        say(left_out(whole, task, names(scenarios), set(only or ()) - set(more)), console)
    else:
        chosen, suite = choose(added(mine, suite, scenarios, keep=not dry_run), None, None, only, more), OWN
    within(seeds, 1, 100_000, "seeds")
    if engine != "local" and jobs is not None:
        raise InputError(
            f"--jobs has no effect with --engine {engine}: the cluster's file says how many tasks run at once"
        )
    if engine == "local":
        session.check_device(device)
    else:
        session.check_device_name(device)  # where it is submitted there need be no GPU
        if ":" in device:
            raise InputError(f"device {device!r}: which GPU a task has is Slurm's to say; use cuda")
    many = 1 if engine != "local" else pool.default_jobs(chosen.threads, device) if jobs is None else jobs
    request = Request(
        suite=chosen,
        suite_name=suite,
        seeds=seeds,
        jobs=within(many, 1, 1024, "jobs"),
        device=device,
        results=results,
        reports=reports,
        fresh=fresh,
        dry_run=dry_run,
        ensemble=ensemble,
        engine=engine,
        cluster=cluster,
    )
    exit_with(run_bench(request, console))


@app.command(
    "run-cell", epilog="Example: amendbench run-cell 4f1c0d5e9a7b42c68e3f5a1b9d07c2e4 --results /scratch/me/results"
)
def run_cell(
    hashes: Annotated[
        list[str], typer.Argument(metavar="HASH...", help="Hashes of submitted cells; a wrong one lists what is known.")
    ],
    results: ResultsOption = Path("results"),
    submission: Annotated[str | None, typer.Option(help="Their submission; the newest if left out.")] = None,
) -> None:
    """Run submitted cells here; one that has a result is left alone."""
    from benchmark.running.run_cells import find, run_cells

    records = run_cells(results, submission or find(results, hashes[0]).id, hashes)
    for record in records:
        why = f": {record.failure.error}: {record.failure.message[:200]}" if record.failure else ""
        print(visible(f"{record.hash} {record.status}{why}"))
    exit_with(exit_code(records))


@app.command(epilog="Examples: amendbench collect | amendbench collect 20260301-101500-3fa9c1")
def collect(
    submission: Annotated[str | None, typer.Argument(help="A submission; the newest if left out.")] = None,
    results: ResultsOption = Path("results"),
    reports: ReportsOption = Path("reports"),
) -> None:
    """Print the board of what was submitted and render the reports; says what failed and what is left."""
    from benchmark.commands.bench import show
    from benchmark.files import check_writable
    from benchmark.running import orders
    from benchmark.running.progress import outcome
    from benchmark.running.records import RecordStore
    from benchmark.suites.definition import load_suite

    check_writable(reports)
    known = [orders.read(results, submission)] if submission else orders.read_all(results)
    if not known:
        raise InputError(f"nothing has been submitted in {results}; amendbench bench --engine slurm submits")
    console = make_console()
    found = outcome(known[0], results)
    suite = load_suite(known[0].suite)
    if found.done or found.failed:
        show(list(RecordStore(results).all(suite.name)), suite, results, reports, console)
    _say_outcome(found, console)
    if found.left or found.running:
        exit_with(1 if found.done or found.failed else 3)
    exit_with(exit_code([*found.done, *found.failed]))


@app.command(
    epilog="Examples: amendbench status --suite embedded --seeds 10 | "
    "amendbench status --suite smoke --scenarios digits --methods svd-forgetting"
)
def status(
    suite: SuiteOption = "embedded",
    task: TaskOption = None,
    scenarios: ScenariosOption = None,
    methods: MethodsOption = None,
    method: MethodOption = None,
    seeds: SeedsOption = 3,
    device: DeviceOption = "cpu",
    results: ResultsOption = Path("results"),
) -> None:
    """Say what is done, running, failed and left, from files alone, also while a run goes on."""
    from benchmark.running import orders
    from benchmark.running.plan import make_plan
    from benchmark.running.progress import COLUMNS, Count, counts, outcome
    from benchmark.running.records import RecordStore
    from benchmark.running.session import check_device_name, duration
    from benchmark.running.turns import Turns
    from benchmark.suites.choosing import choose, invited
    from benchmark.suites.definition import load_suite

    store = RecordStore(results)
    only, more = invited(names(methods), method)
    chosen = choose(load_suite(suite), task, names(scenarios), only, more)
    check_device_name(device)
    plan = make_plan(chosen, range(within(seeds, 1, 100_000, "seeds")), device, store)
    running = Turns(results).running()
    found = counts(plan, running)
    print(f"{'scenario':28} {'done':>6} {'running':>8} {'failed':>7} {'elsewhere':>10} {'left':>6}")
    total = Count("all", *(sum(getattr(row, name) for row in found) for name in COLUMNS))
    for row in [*found, total]:
        print(f"{row.scenario:28} {row.done:6} {row.running:8} {row.failed:7} {row.elsewhere:10} {row.left:6}")
    if total.elsewhere:
        print("elsewhere: a result is there, of another machine or of other code; bench runs the cell again")
    if total.seconds:
        print(f"all that is not done takes one worker about {duration(total.seconds)}")
    for turn in running:
        print(f"running for {duration(turn.seconds)}: {turn.file!a} on {turn.host!a}, process {turn.pid}")
    for submitted in orders.read_all(results):
        _say_outcome(outcome(submitted, results), make_console())


@app.command(epilog="Example: amendbench tune --task class-forget --methods scrub,ssd --jobs 2")
def tune(
    task: TaskOption = None,
    suite: SuiteOption = "embedded",
    scenarios: ScenariosOption = None,
    methods: MethodsOption = None,
    method: MethodOption = None,
    spaces: Annotated[Path | None, typer.Option(help="A TOML file with search spaces of methods of your own.")] = None,
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    results: ResultsOption = Path("results"),
) -> None:
    """Choose hyper-parameters on the selection split and on seeds that are never reported; write them to the suite."""
    from benchmark.running import pool, session
    from benchmark.running.plan import machine
    from benchmark.running.records import RecordStore
    from benchmark.suites.choosing import choose, foreign, invited, left_out
    from benchmark.suites.definition import load_suite
    from benchmark.tuning import search as tuning

    console = make_console()
    only, more = invited(names(methods), method)
    whole = load_suite(suite)
    chosen = choose(whole, task, names(scenarios), None, [*foreign(only or ()), *more])
    say(left_out(whole, task, names(scenarios), set(only or ()) - set(more)), console)
    session.check_device(device)
    workers = within(pool.default_jobs(chosen.threads, device) if jobs is None else jobs, 1, 1024, "jobs")
    machine()
    wanted = tuning.wanted(chosen, None if only is None else [*only, *more], spaces)
    RecordStore(results).check_writable()
    try:
        tuning.tune(chosen, wanted, workers, device, results, console, spaces)
    except KeyboardInterrupt:
        console.print("interrupted; what was tuned is written, the rest is not")
        raise typer.Exit(130) from None


def exit_code(records: Sequence[Record]) -> int:
    """0 where all cells have a result, 1 where some have none, 3 where none has."""
    failed = sum(record.status != "ok" for record in records)
    return 0 if not failed else 3 if failed == len(records) else 1


def say(lines: Sequence[str], console: Console) -> None:
    """Print lines that have names from outside in them."""
    from rich.markup import escape

    for line in lines:
        console.print(escape(line))


def _say_outcome(found: Outcome, console: Console) -> None:
    from rich.markup import escape

    total = len(found.submission.orders)
    console.print(
        f"[bold]{escape(found.submission.id)}[/] ({escape(found.submission.engine)}): {total} cells, "
        f"{len(found.done)} done, {found.running} running, {len(found.failed)} failed, {found.left} left"
    )
