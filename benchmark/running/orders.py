"""Orders: what running a cell needs, and the file in which a submission keeps them.

A submission is ``<results>/.run/<id>/orders.json``. Whoever sees the results folder can run its cells by their hashes,
and say from files alone what became of them.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from benchmark.errors import InputError, unknown
from benchmark.files import read_regular, write_atomically
from benchmark.running.plan import Plan
from benchmark.running.records import RUN, Cell, Seconds, check_inside
from benchmark.suites.definition import Suite

log = logging.getLogger("amendbench")
FILE = "orders.json"
#: Bytes of 100,000 orders and more.
LARGEST = 2**30


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cell to run. ``needs`` are what it builds unless another has; ``seconds`` is an estimate."""

    cell: Cell
    provenance: str
    needs: tuple[str, ...]
    seconds: Seconds


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Orders that were submitted together. ``suite`` is the suite's file, ``timeout`` a cell's limit in seconds.

    ``started`` is when they were ordered: a failure since then stays one; ``fresh``: results of before do not count.
    """

    id: str
    engine: str
    started: str
    suite: str
    device: str
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    timeout: Annotated[float, msgspec.Meta(gt=0, le=10**7)]
    fresh: bool
    orders: list[Order]

    def folder(self, results: Path) -> Path:
        """Where the submission is kept."""
        return results / RUN / self.id

    def named(self, hashes: Sequence[str]) -> list[Order]:
        """The orders with these hashes; InputError for one that is not among them."""
        known = {order.cell.hash: order for order in self.orders}
        for name in hashes:
            if name not in known:
                raise unknown("cell", name, known)
        return [known[name] for name in dict.fromkeys(hashes)]


def submission(plan: Plan, suite: Suite, engine: str, device: str, *, fresh: bool) -> Submission:
    """What is left to do of a plan, as orders."""
    now = datetime.now(UTC)
    orders = [
        Order(cell, plan.provenance[cell.hash], plan.needs[cell.hash], plan.seconds[cell.hash]) for cell in plan.todo
    ]
    return Submission(
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        engine=engine,
        started=now.isoformat(timespec="seconds"),
        suite=str(Path(suite.path).absolute()),
        device=device,
        threads=suite.threads,
        timeout=suite.timeout,
        fresh=fresh,
        orders=orders,
    )


def keep(submitted: Submission, results: Path) -> Path:
    """Write a submission; returns the file. NotKept where a link leads it outside of the results."""
    path = submitted.folder(results) / FILE
    check_inside(path, results)
    write_atomically(path, msgspec.json.encode(submitted))
    return path


def read(results: Path, name: str) -> Submission:
    """The submission called ``name``; InputError if there is none or it cannot be read."""
    known = [path.parent.name for path in (results / RUN).glob(f"*/{FILE}")]
    if name not in known:
        raise unknown(f"submission in {results}", name, known)
    path = results / RUN / name / FILE
    try:
        found = msgspec.json.decode(read_regular(path, LARGEST), type=Submission)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from error
    if found.id != name:
        raise InputError(f"{path}: id: it says {found.id!r}")
    for order in found.orders:
        if not order.cell.has_plain_names():
            raise InputError(f"{path}: orders: {order.cell.file!r} is no path of a record")
    return found


def read_all(results: Path) -> list[Submission]:
    """Every readable submission, the newest first."""
    found = []
    for path in sorted((results / RUN).glob(f"*/{FILE}"), reverse=True):
        try:
            found.append(read(results, path.parent.name))
        except InputError as error:
            log.warning("%s", error)
    return found
