"""The three parts of the gate, each with a verdict and what there is to say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from rich.table import Table

from benchmark.gate.declaration import Declaration
from benchmark.gate.determinism import Differing, Strict
from benchmark.gate.kept import Kept, table
from benchmark.gate.quality import Verdict, judge
from benchmark.gate.speed import Compared
from benchmark.metrics.catalogue import metric
from benchmark.running.records import Cell, Record
from benchmark.visible import visible

Outcome = Literal["fine", "regressed", "nothing"]
#: Cells that are named one by one; the rest are counted.
NAMED = 8


class Section(msgspec.Struct, frozen=True):
    """A part's outcome in one ``line``; ``table`` and ``remarks`` say more, unescaped."""

    name: str
    outcome: Outcome
    line: str
    remarks: list[str] = []
    head: list[str] = []
    rows: list[list[str]] = []

    def table(self) -> Table | None:
        """What there is to see in columns; None where there is nothing."""
        from rich.markup import escape

        if not self.rows:
            return None
        drawn = Table(*self.head)
        for row in self.rows:
            drawn.add_row(*(escape(visible(text)) for text in row))
        return drawn


def quality(declared: Declaration, kept: Kept, found: Mapping[str, Record]) -> Section:
    """Watched metrics over seeds, and cells that have no result any more."""
    old = table(kept.records.values())
    new = table(record for name, record in found.items() if name in kept.records)
    verdicts = [judge(watched, declared.level, old, new) for watched in declared.watched]
    lost = [found[n].cell for n in kept.records if n in found and found[n].status != "ok"]
    worse = [v for v in verdicts if v.change == "worse"]
    measured = [v for v in verdicts if v.change != "unmeasured"]
    remarks = _left_out(kept)
    if lost:
        remarks.append(f"{len(lost)} cells that had a result have none: {_named(lost)}")
    if any(v.change == "better" for v in verdicts):
        remarks.append("what became better is no failure; amendbench check --update keeps it as the new baseline")
    outcome: Outcome = "regressed" if worse or lost else "fine" if measured else "nothing"
    line = f"{len(measured)} of {len(verdicts)} watched metrics compared, {len(worse)} worse"
    head = ["watched", "metric", "seeds", "kept", "found", "loss", "interval", "tolerance", ""]
    return Section("quality", outcome, line, remarks, head, [_row(v) for v in verdicts])


def _row(v: Verdict) -> list[str]:
    known = metric(v.watched.metric)
    named = [f"{v.watched.scenario} {v.watched.method}", known.label, str(v.n)]
    if v.values is None or v.mean is None:
        return [*named, "", "", "", "", "", v.change]
    numbers = [f"{v.values[0]:.2f}", f"{v.values[1]:.2f}", f"{v.mean:+.2f}", f"{v.low:+.2f} to {v.high:+.2f}"]
    return [*named, *numbers, f"{v.watched.tolerance:g} {known.unit}".strip(), v.change]


def _left_out(kept: Kept) -> list[str]:
    said = [f"{len(cells)} cells are not compared: {why} ({_named(cells)})" for why, cells in kept.moved.items()]
    if kept.absent:
        said.append(f"{len(kept.absent)} cells have no committed result ({_named(kept.absent)})")
    return said


def determinism(again: Strict, committed: Strict) -> Section:
    """Two runs here, and the committed records where they come from the same kind of machine."""
    unstable = bool(again.differing)
    changed = committed.source_moved
    # Code, packages and the processor's name are the record's, and yet not one cell is: the machine is another one.
    elsewhere = committed.source_same if not committed.equal else []
    drifted = committed.source_same if committed.equal else []
    remarks = _unstable(again) + _changed(changed) + _drifted(drifted)
    if elsewhere:
        remarks.append(
            f"advice: none of {committed.compared} committed records is met bit for bit, although source, packages and "
            "the processor's name are theirs: this machine computes otherwise"
        )
    for why, count in committed.apart.items():
        remarks.append(f"advice: {count} committed records are not compared bit for bit: other {why}")
    bad = [*again.differing, *changed, *drifted]
    outcome: Outcome = "regressed" if bad else "fine" if again.compared or committed.compared else "nothing"
    line = f"{again.equal} of {again.compared} cells the same when run twice"
    line += f", {committed.equal} of {committed.compared} the same as committed"
    rows = [_difference(d, "run twice" if unstable and d in again.differing else "as committed") for d in bad[:NAMED]]
    return Section("determinism", outcome, line, remarks, ["cell", "seed", "compared", "what differs"], rows)


def _unstable(again: Strict) -> list[str]:
    if not again.differing:
        return []
    return ["the same code gave two results here: a clock, a process, an order or a seed of the system decides them"]


def _changed(cells: Sequence[Differing]) -> list[str]:
    if not cells:
        return []
    counted = Counter(" and ".join(d.moved) for d in cells)
    which = "; ".join(f"source of {what}: {n} cells" for what, n in counted.items())
    return [
        f"results changed under unchanged declared versions ({which}). If the change is meant, raise the version of "
        "the method (@method(..., version=...)) or of the task, and amendbench check --update; if not, find its cause"
    ]


def _drifted(cells: Sequence[Differing]) -> list[str]:
    if not cells:
        return []
    return [f"{len(cells)} results changed although their source, packages and processor are those of the records"]


def _difference(d: Differing, against: str) -> list[str]:
    what = [f"{c.what} {_short(c.kept)} -> {_short(c.found)}" for c in d.differences[:3]]
    more = len(d.differences) - len(what)
    told = ", ".join(what) + (f" and {more} more" if more else "")
    return [f"{d.cell.scenario} {d.cell.method}", str(d.cell.seed), against, told]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(msgspec.to_builtins(value))[:24]


def speed(compared: Sequence[Compared], same_hardware: bool, factor: float, remarks: Sequence[str]) -> Section:
    """Hot paths beside their baseline; of another kind of machine, advice only."""
    known = [c for c in compared if c.pace != "new"]
    slower = [c for c in compared if c.pace == "slower"]
    outcome: Outcome = "regressed" if slower and same_hardware else "fine" if known and same_hardware else "nothing"
    line = f"{len(known)} of {len(compared)} hot paths compared, {len(slower)} slower by more than {factor:g} times"
    line += "" if same_hardware or not known else "; the baseline is of other hardware: advice only"
    head = ["hot path", "seconds", "times the baseline", "p", ""]
    rows = [
        [
            c.name,
            f"{c.seconds:.4f}",
            "" if c.ratio is None else f"{c.ratio:.2f}",
            "" if c.p is None else f"{c.p:.2g}",
            c.pace,
        ]
        for c in compared
    ]
    return Section("time", outcome, line, list(remarks), head, rows)


def _named(cells: Sequence[Cell]) -> str:
    rows = Counter(f"{cell.scenario} {cell.method}" for cell in cells)
    shown = ", ".join(f"{name} x {n}" for name, n in rows.most_common(NAMED))
    return shown + (f" and {len(rows) - NAMED} rows more" if len(rows) > NAMED else "")
