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
    """Watched metrics over seeds, and cells that have no result any more.

    It is ``nothing`` where a cell of ``found`` has no committed record: fine would be said of less than is declared.
    """
    old = table(kept.records.values())
    new = table(record for name, record in found.items() if name in kept.records)
    verdicts = [judge(watched, declared.level, old, new) for watched in declared.watched]
    lost = [found[n].cell for n in kept.records if n in found and found[n].status != "ok"]
    worse = [v for v in verdicts if v.change == "worse"]
    measured = [v for v in verdicts if v.change != "unmeasured"]
    remarks = _left_out(kept, found) + _blank(verdicts)
    if lost:
        remarks.append(f"{len(lost)} cells that had a result have none: {_named(lost)}")
    if any(v.change == "better" for v in verdicts):
        remarks.append("what became better is no failure; amendbench check --update keeps it as the new baseline")
    whole = len(measured) == len(verdicts) and bool(found) and not _unkept(kept, found)
    outcome: Outcome = "regressed" if worse or lost else "fine" if whole else "nothing"
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


def _unkept(kept: Kept, found: Mapping[str, Record]) -> list[str]:
    """Cells of ``found`` that there is nothing to compare with."""
    return [name for name in found if name not in kept.records]


def _left_out(kept: Kept, found: Mapping[str, Record]) -> list[str]:
    """Why cells of ``found`` have nothing to be compared with, and what helps."""
    said = []
    reasons = [*((f"committed is {why}", cells) for why, cells in kept.moved.items()), ("none committed", kept.absent)]
    for why, cells in reasons:
        own = [cell for cell in cells if cell.hash in found]
        if own:
            said.append(f"{len(own)} cells are not compared: {why} ({_named(own)})")
    if said:
        said.append("amendbench check --update makes today's records the committed ones; commit them")
    return said


def _blank(verdicts: Sequence[Verdict]) -> list[str]:
    """Watched metrics that had a value and are blank now."""
    return [
        f"{metric(v.watched.metric).label} of {v.watched.scenario} {v.watched.method} is blank where it had a value: "
        f"{len(v.lost)} seeds ({', '.join(map(str, v.lost[:NAMED]))}{', ...' if v.lost[NAMED:] else ''})"
        for v in verdicts
        if v.lost
    ]


def determinism(again: Strict, committed: Strict, kept: Kept, found: Mapping[str, Record]) -> Section:
    """Two runs here, and the committed records where they come from the same kind of machine.

    ``found``: the cells that run twice. It is ``nothing`` where one of them has no committed record.
    """
    unstable = bool(again.differing)
    changed, drifted = committed.source_moved, committed.source_same
    remarks = _unstable(again) + _changed(changed) + _drifted(drifted) + _left_out(kept, found)
    if committed.lost:
        remarks.append(f"{len(committed.lost)} cells that had a result have none: {_named(committed.lost)}")
    for why, count in committed.apart.items():
        remarks.append(f"advice: {count} committed records are not compared bit for bit: other {why}")
    bad = [*again.differing, *changed, *drifted]
    whole = bool(again.compared) and not _unkept(kept, found)
    outcome: Outcome = "regressed" if bad or committed.lost else "fine" if whole else "nothing"
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
    return [f"{len(cells)} results changed although their source, packages and hardware are those of the records"]


def _difference(d: Differing, against: str) -> list[str]:
    what = [f"{c.what} {_short(c.kept)} -> {_short(c.found)}" for c in d.differences[:3]]
    more = len(d.differences) - len(what)
    told = ", ".join(what) + (f" and {more} more" if more else "")
    return [f"{d.cell.scenario} {d.cell.method}", str(d.cell.seed), against, told]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(msgspec.to_builtins(value))[:24]


def speed(compared: Sequence[Compared], same_hardware: bool, factor: float, remarks: Sequence[str]) -> Section:
    """Hot paths beside their baseline; of another kind of machine, advice only."""
    known = [c for c in compared if c.pace not in ("new", "missing")]
    slower = [c for c in compared if c.pace == "slower"]
    missing = [c for c in compared if c.pace == "missing"]
    bad = bool(slower or missing)
    outcome: Outcome = "nothing" if not same_hardware else "regressed" if bad else "fine" if known else "nothing"
    line = f"{len(known)} of {len(compared)} hot paths compared, {len(slower)} slower by more than {factor:g} times"
    line += f", {len(missing)} in the baseline did not run" if missing else ""
    line += "" if same_hardware or not known else "; the baseline is of other hardware: advice only"
    head = ["hot path", "seconds", "times the baseline", "p", ""]
    rows = [
        [
            c.name,
            "" if c.seconds is None else f"{c.seconds:.4f}",
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
