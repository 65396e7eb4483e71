"""How far a run is, from files alone: what is done, running, failed and left, whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.running.orders import Submission
from benchmark.running.plan import Plan, is_of_here
from benchmark.running.records import Record, RecordStore
from benchmark.running.run_cells import setting
from benchmark.running.turns import Turn, Turns
from benchmark.running.worker import result_of


@dataclass
class Count:
    """Cells of a scenario. ``elsewhere``: with a result of another machine or of other code; ``left``: with none."""

    scenario: str
    done: int = 0
    running: int = 0
    failed: int = 0
    elsewhere: int = 0
    left: int = 0
    seconds: float = 0.0


def counts(plan: Plan, running: list[Turn]) -> list[Count]:
    """How far each scenario of a plan is; ``seconds`` estimates what is left of it for one worker."""
    at = {turn.hash for turn in running}
    found: dict[str, Count] = {}
    for cell in plan.cells:
        count = found.setdefault(cell.scenario, Count(cell.scenario))
        record = plan.found.get(cell.file)
        if cell.hash in at:
            count.running += 1
        elif cell.hash in plan.cached:
            count.done += 1
        elif record is not None and record.status == "ok":
            count.elsewhere += 1
        elif record is not None and is_of_here(record, cell):
            count.failed += 1
        else:
            count.left += 1
        count.seconds += 0.0 if cell.hash in plan.cached and cell.hash not in at else plan.seconds[cell.hash]
    return list(found.values())


#: What is counted.
COLUMNS = ("done", "running", "failed", "elsewhere", "left", "seconds")


@dataclass(frozen=True)
class Outcome:
    """What has become of a submission: records of cells that ended, cells that somebody is at, cells that are left."""

    submission: Submission
    done: list[Record]
    failed: list[Record]
    running: int
    left: int


def outcome(submitted: Submission, results: Path) -> Outcome:
    """Read what has become of a submission; the scheduler is not asked."""
    store = RecordStore(results)
    at = {turn.hash for turn in Turns(results).running()}
    how = setting(submitted, results)
    known = {order.cell.hash: result_of(order.cell, how, store) for order in submitted.orders}
    ended = [record for name, record in known.items() if record is not None and name not in at]
    running = len(at & known.keys())
    return Outcome(
        submission=submitted,
        done=[record for record in ended if record.status == "ok"],
        failed=[record for record in ended if record.status != "ok"],
        running=running,
        left=len(known) - len(ended) - running,
    )
