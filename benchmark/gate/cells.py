"""The declared cells, planned and run in folders that go when the gate is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmark.gate.declaration import Declaration
from benchmark.running import pool, session
from benchmark.running.plan import Plan, make_plan
from benchmark.running.records import Cell, Record, RecordStore
from benchmark.suites.definition import Suite


def plan_of(declared: Declaration, suite: Suite, device: str, committed: RecordStore) -> Plan:
    """Every declared cell, nothing cached; how long each takes is known from the committed records."""
    rows = declared.rows()
    whole = make_plan(suite, range(max(rows.values())), device, committed, fresh=True)
    return part(whole, lambda cell: cell.seed < rows[cell.scenario, cell.method])


def part(plan: Plan, chosen: Callable[[Cell], bool]) -> Plan:
    """The plan's cells that are chosen."""
    return dataclasses.replace(plan, cells=[cell for cell in plan.cells if chosen(cell)], elsewhere=0)


def watched_by_quality(plan: Plan, declared: Declaration) -> Plan:
    """The cells that are compared over seeds."""
    return part(plan, lambda cell: cell.scenario in declared.cells and _listed(cell, declared))


def _listed(cell: Cell, declared: Declaration) -> bool:
    return cell.method in declared.cells[cell.scenario].methods


def run_twice(plan: Plan, declared: Declaration) -> Plan:
    """The cells that run a second time: the first seeds of every row, in the opposite order."""
    first = part(plan, lambda cell: cell.seed < declared.determinism.seeds)
    return dataclasses.replace(first, cells=first.cells[::-1])


def run(plan: Plan, suite: Suite, folder: Path, device: str, jobs: int, console: Console) -> dict[str, Record]:
    """Records of the plan's cells by hash; results and cache below ``folder``, which nobody else uses."""
    if not plan.cells:
        return {}
    setting = pool.Setting(folder / "results", folder / "cache", device, suite.threads, suite.timeout)
    return {record.hash: record for record in session.execute(plan, setting, jobs, console)}
