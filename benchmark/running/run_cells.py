"""Run cells by their hashes: what every engine but the local one does, in processes of its own, as often as it likes.

``amendbench run-cell <hash>`` is this. It is idempotent: what is done stays as it is, what is left is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark import environment
from benchmark.contracts import MethodInfo
from benchmark.discovery import outside
from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError, unknown
from benchmark.running import orders, pool, session
from benchmark.running.orders import Order, Submission
from benchmark.running.plan import digests
from benchmark.running.records import Cell, Record
from benchmark.tasks import TASKS


def run_cells(results: Path, name: str, hashes: Sequence[str]) -> list[Record]:
    """Run cells of the submission ``name`` one after the other in a worker; their records, in the order of ending.

    A cell past its limit or whose worker dies is recorded as such. Raises InputError for what is not known, and where
    the code or its packages are no longer those that the cells were ordered with.
    """
    submitted = orders.read(results, name)
    session.check_device(submitted.device)
    wanted = submitted.named(hashes)
    for order in wanted:
        _check_source(order)
    cells = [order.cell for order in wanted]
    needs = {order.cell.hash: order.needs for order in wanted}
    provenance = {order.cell.hash: order.provenance for order in wanted}
    return list(pool.run(cells, needs, provenance, setting(submitted, results), 1))


def setting(submitted: Submission, results: Path) -> pool.Setting:
    """What the workers of a submission need to know."""
    return pool.Setting(
        results,
        environment.cache_root(),
        submitted.device,
        submitted.threads,
        submitted.timeout,
        submitted.started,
        submitted.fresh,
    )


def find(results: Path, hash: str) -> Submission:
    """The newest submission that has ordered a cell; InputError that names the near misses."""
    known: list[str] = []
    for submitted in orders.read_all(results):
        hashes = [order.cell.hash for order in submitted.orders]
        if hash in hashes:
            return submitted
        known += hashes
    if not known:
        raise InputError(f"nothing has been submitted in {results}; amendbench bench --engine slurm submits")
    raise unknown("cell", hash, known)


def _check_source(order: Order) -> None:
    cell = order.cell
    task = TASKS.get(cell.task)
    info = method_of(cell)
    now = {"digests": digests(task.implementation, info.module), "packages": environment.versions()}
    for what, found in now.items():
        ordered = getattr(cell, what)
        moved = sorted(name for name in found.keys() | ordered.keys() if found.get(name) != ordered.get(name))
        if moved:
            raise InputError(
                f"cell {cell.hash} ({cell.method}, {cell.scenario}, seed {cell.seed}) was ordered with other "
                f"{what} ({', '.join(moved)}); order it again"
            )


def method_of(cell: Cell) -> MethodInfo:
    """The method that a cell names; InputError, which says how to bring it, where it is from outside and not here."""
    if cell.external and not METHODS.has(cell.method, cell.task):
        raise InputError(
            f"method {cell.method!r} is not installed here: it came from outside; name its file in {outside.VARIABLE}, "
            "or install the package that offers it"
        )
    return METHODS.get(cell.method, cell.task)
