"""A run as its user sees it: the plan, progress with time left, and what happened."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmark.data import DATA, OWN, named
from benchmark.errors import InputError
from benchmark.running import pool
from benchmark.running.plan import Plan
from benchmark.running.records import Cell, Record
from benchmark.running.turns import Turns
from benchmark.tasks import TASKS


def check_device_name(device: str) -> None:
    """InputError unless ``device`` is cpu, cuda or cuda:N."""
    if device not in ("cpu", "cuda") and not (
        device.startswith("cuda:") and device[5:].isascii() and device[5:].isdecimal()
    ):
        raise InputError(f"unknown device {device!r}; known: cpu, cuda, cuda:N")


def check_device(device: str) -> str:
    """``cpu``, or ``cuda`` where there is one; InputError otherwise."""
    check_device_name(device)
    if device == "cpu":
        return device
    import torch

    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or int(device[5:] or 0) >= count:
        raise InputError(f"device {device!r} was asked for, but torch sees {count} CUDA devices; use DEVICE=cpu")
    return device


def check_data(plan: Plan) -> None:
    """Fetch what is about to be used and does not come with packages: one clear InputError, not one a cell."""
    names = sorted({str(cell.settings["data"]) for cell in plan.todo if not _is_own(cell)})
    for cell in {(c.task, str(c.settings["data"])): c for c in plan.todo if _is_own(c)}.values():
        task = TASKS.get(cell.task)
        task.load().data_checksum(msgspec.convert(cell.settings, task.scenario))
    for name in (name for name in names if not DATA.get(name).loader.startswith("packaged.")):
        source = DATA.get(name)
        if source.artefact:
            named(source.artefact)()
        elif source.attributes:
            from benchmark.data.bias import Bias
            from benchmark.data.biased import load_biased

            load_biased(name, Bias())
        else:
            from benchmark.data.packaged import load

            load(name)


def _is_own(cell: Cell) -> bool:
    return str(cell.settings["data"]).startswith(OWN)


def now() -> str:
    """This moment as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds > 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 120 else f"{seconds:.0f} s"


def tidy_cache(root: Path) -> None:
    """Remove what killed processes left half written in the cache, a day later: nobody is at it any more."""
    for path in (root / "artifacts").glob("*/.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 86_400:
                path.unlink()


def describe(plan: Plan, jobs: int | None, device: str, console: Console) -> None:
    """Print what is about to run; without ``jobs`` somebody else says how many cells run at once."""
    todo = plan.todo
    blocks = Counter(f"{cell.task} / {cell.scenario}" for cell in plan.cells)
    for block, total in blocks.items():
        left = sum(f"{cell.task} / {cell.scenario}" == block for cell in todo)
        console.print(f"  {escape(block)}: {total} cells, {total - left} cached, {left} to run")
    if todo:
        time = duration(plan.estimate(jobs or 1))
        pace = f", {jobs} at a time; about {time}" if jobs else f"; about {time} of one worker"
        console.print(f"[bold]{len(todo)} of {len(plan.cells)} cells to run[/] on {device}{pace}")
        if plan.elsewhere:
            console.print(
                f"{plan.elsewhere} of them have results of another machine or of other code, which are replaced"
            )
    else:
        console.print(f"[bold]all {len(plan.cells)} cells are cached; nothing to run[/]")


def execute(
    plan: Plan,
    setting: pool.Setting,
    jobs: int,
    console: Console,
    early: Callable[[list[Record]], None] = lambda records: None,
) -> list[Record]:
    """Run what is left of a plan; returns the records of all its cells that have one.

    ``early`` is told of all records of the first seed once they are there, where other seeds follow. Raises
    KeyboardInterrupt after stopping the workers; what was finished stays.
    """
    records = dict(plan.cached)
    todo = plan.todo
    first = min(cell.seed for cell in plan.cells)
    awaited = {cell.hash for cell in todo if cell.seed == first} if todo and todo[-1].seed != first else set()
    if not todo:
        Turns(setting.results).tidy()  # of a run that was killed when all was done
        return list(records.values())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]}/{task.fields[cells]} cells"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    room = max(12, min(48, console.width - 60))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=sum(plan.seconds[c.hash] for c in todo), done=0, cells=len(todo))

        def starts(cell: Cell) -> None:
            name = f"{cell.scenario} {cell.method} seed {cell.seed}"
            progress.update(bar, description=escape(name)[-room:].ljust(room))

        shared: list[Record] = []
        ended = pool.run(todo, plan.needs, plan.provenance, setting, jobs, starts, shared.append)
        for done, record in enumerate(ended, start=1):
            records[record.hash] = record
            if record.hash in awaited:
                awaited.remove(record.hash)
                if not awaited:
                    early([r for r in records.values() if r.cell.seed == first])
            progress.update(bar, advance=plan.seconds[record.hash], done=done)
            if record.failure is not None:
                what = f"{record.cell.scenario} {record.cell.method} seed {record.cell.seed}: {record.status}"
                progress.console.print(
                    f"[red]{escape(what)}[/]: {escape(f'{record.failure.error}: {record.failure.message[:200]}')}"
                )
    if shared:
        console.print(f"{len(shared)} of {len(todo)} cells were run by another run at the same time")
    return list(records.values())
