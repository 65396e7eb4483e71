"""What methods cost, a table a task: seconds by device, memory, the ratio to the reference, and what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmark.boards.aggregates import CostCell
from benchmark.boards.board import KIND_ORDER, Row
from benchmark.reporting import cells
from benchmark.reporting.sheet import Sheet
from benchmark.reporting.tables import bare_method, table
from benchmark.reporting.text import escape

MEBIBYTE = 2**20
#: Statuses that say nothing about the cost.
QUIET = ("ok", "unreliable", "outdated")
#: What is counted of what a method read, in the order of the columns.
COUNTS = ("samples", "labels", "attributes", "masks", "passes")


@dataclass(frozen=True)
class Runtime:
    """A method in a scenario, with its cost by device, and the counts of what it read summed over views."""

    scenario: str
    method: str
    kind: str
    status: str
    costs: Mapping[str, CostCell]
    read: Mapping[str, float]


def runtimes(sheets: Sequence[Sheet]) -> list[Runtime]:
    """Every method that has a result, in the order of the sheets: CPU and GPU side by side where both were run."""
    found = []
    for sheet in sheets:
        rows = [row for row in sheet.rows if row.cost.seconds is not None]
        ordered = sorted(rows, key=_order)
        for method in dict.fromkeys(row.method for row in ordered):
            own = [row for row in ordered if row.method == method]
            costs = {row.device: row.cost for row in own}
            found.append(Runtime(sheet.scenario, method, own[0].kind, own[0].status, costs, counts(own[0])))
    return found


def _order(row: Row) -> tuple[int, bool, float, str]:
    return KIND_ORDER.get(row.kind, 1), not row.cost.exclusive, row.cost.device_seconds or 0.0, row.method


def counts(row: Row) -> dict[str, float]:
    """How many distinct samples, labels and so on a row's cells read on average, all views together."""
    return {what: sum(view.get(what, 0.0) for view in row.access.values()) for what in COUNTS}


def device_names(sheets: Sequence[Sheet]) -> dict[str, str]:
    """What each kind of device is called, all of those that rows were made on."""
    rows = sorted((row for sheet in sheets for row in sheet.rows), key=lambda row: row.device)
    return {
        device: ", ".join(sorted({name for row in own for name in row.devices if name}))
        for device, own in ((device, list(block)) for device, block in groupby(rows, key=lambda row: row.device))
    }


def runtime_table(sheets: Sequence[Sheet]) -> list[str]:
    """The task's table in one suite; nothing without results."""
    found = runtimes(sheets)
    if not found:
        return []
    devices = device_names(sheets)
    read = [what for what in COUNTS if any(one.read[what] for one in found)]
    reference = cells.ratio_heading(sheets[0].task)
    heads = ["scenario", "method"]
    for device in devices:
        unit = "CPU" if device == "cpu" else "GPU"
        where = "" if len(devices) == 1 else f" ({escape(device)})"
        heads += [f"seconds{where}", f"{unit} seconds{where}", f"peak MiB{where}", f"{reference}{where}"]
    body = [
        [
            escape(one.scenario),
            bare_method(one.method, one.kind) + (f" ({one.status})" if one.status not in QUIET else ""),
            *(cell for device in devices for cell in _cost(one.costs.get(device))),
            *(f"{one.read[what]:,.0f}" for what in read),
        ]
        for one in found
    ]
    named = "; ".join(f"{escape(device)}: {escape(name)}" for device, name in devices.items())
    return [
        "#### Runtime",
        "",
        f"Means over seeds (of memory the median) of the method's call alone, on {named}; from the cheapest on in each "
        "scenario. CPU seconds are those of all threads, GPU seconds are taken by events. Peak memory is what the call "
        "added, as far as it could be told. What shared its cores with something else of the run has its ratio in "
        "brackets, and stands behind what did not.",
        "",
        *table([*heads, *read], body, left=(0, 1)),
    ]


def _cost(cost: CostCell | None) -> list[str]:
    if cost is None:
        return ["-"] * 4
    peak = "-" if cost.peak_bytes is None else f"{cost.peak_bytes / MEBIBYTE:,.0f}"
    return [cells.seconds(cost.seconds), cells.seconds(cost.device_seconds), peak, cells.cost_ratio(cost)]
