"""The committed records that the gate compares with: those of the declared rows, and what each cell has there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.checking.agreement import different_fields
from benchmark.gate.declaration import Declaration
from benchmark.running.records import Cell, Record, RecordStore

#: Records by (scenario, method) and seed.
Table = dict[tuple[str, str], dict[int, Record]]


@dataclass
class Kept:
    """What is committed of some cells.

    ``records`` can be compared with; ``absent`` cells have no result there; ``moved`` have one of another declared
    version, of other settings or hyper-parameters: another experiment, with the reason.
    """

    records: dict[str, Record] = field(default_factory=dict)
    absent: list[Cell] = field(default_factory=list)
    moved: dict[str, list[Cell]] = field(default_factory=dict)


def folder(declared: Declaration, results: Path) -> Path:
    """Where the committed records lie below the results folder."""
    return results / declared.records


def find_kept(cells: Sequence[Cell], store: RecordStore) -> Kept:
    """The records of ``cells`` in a store, by the hash of the cell that is to be compared with each."""
    kept = Kept()
    for cell in cells:
        record = store.read(cell.file)
        if record is None or record.status != "ok":
            kept.absent.append(cell)
            continue
        apart = different_fields(cell, record.cell)
        if apart:
            why = "another declared version" if "versions" in apart else f"other {' and '.join(apart)}"
            kept.moved.setdefault(why, []).append(cell)
        else:
            kept.records[cell.hash] = record
    return kept


def table(records: Iterable[Record]) -> Table:
    """Records by row and seed."""
    rows: Table = {}
    for record in records:
        rows.setdefault((record.cell.scenario, record.cell.method), {})[record.cell.seed] = record
    return rows


def stored(declared: Declaration, results: Path, device: str = "cpu") -> Table:
    """The committed records of the declared rows and of a device, of the seeds that the gate runs."""
    wanted = declared.rows()
    return table(
        record
        for record in RecordStore(folder(declared, results)).all(declared.suite)
        if record.cell.device == device and record.cell.seed < wanted.get((record.cell.scenario, record.cell.method), 0)
    )
