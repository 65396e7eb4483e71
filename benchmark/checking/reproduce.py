"""Run one committed record's cell again, and say at which level the result agrees with it.

Nothing of the first run is used: results and cache are temporary folders, so that the base model and the stages that
methods share are made again, too. A record may come from anybody; it is checked before anything is run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark import environment
from benchmark.checking.agreement import Agreement, agreement, is_timing
from benchmark.discovery.methods import METHODS, check_parameters
from benchmark.errors import InputError, unknown
from benchmark.running import pool, session
from benchmark.running.plan import Plan, digests, with_defaults
from benchmark.running.records import SCHEMA, Cell, Record, RecordStore
from benchmark.running.run_cells import method_of
from benchmark.suites.definition import NAME, RESERVED
from benchmark.tasks import TASKS
from benchmark.visible import visible

#: Exit codes: agrees at some level; does not; nothing could be measured.
AGREES, DISAGREES, NOTHING = 0, 1, 3
#: A record is some kilobytes; what is larger than that many bytes is none.
LARGEST = 16 * 2**20
#: Least limit of the cell in seconds, and how many times what the first run took, which may have found its base model.
LEAST_SECONDS, SLOWER = 3600.0, 50.0

_SAID = {
    "strict": "everything is the same bit for bit, timing aside",
    "close": "every metric lies within the tolerance of its unit",
    "statistical": "every metric lies where a further seed of this row is expected (95 %, corrected for their number)",
    "none": "the result is another one",
}


def reproduce(path: Path, console: Console, *, timeout: float | None = None) -> int:
    """Run the cell of the record at ``path`` again, print how it compares, and return the exit code.

    0 where it agrees at some level, a failure that fails in the same way included; 1 where it does not; 3 where there
    is nothing to compare: the device is not here, versions have moved on, or the cell gives no result. InputError for
    what is no record of this benchmark's methods.
    """
    kept = read_record(path)
    check_cell(kept.cell, path.name)
    _introduce(path, kept, console)
    refused = _refusal(kept.cell)
    if refused:
        console.print(f"not run: {escape(visible(refused))}")
        return NOTHING
    cell = msgspec.structs.replace(kept.cell, digests=_digests(kept.cell), packages=environment.versions())
    found = _run(cell, kept, console, timeout)
    if found is None or (found.status != "ok" and kept.status == "ok"):
        console.print("[red]the cell gives no result here[/]: there is nothing to compare")
        return NOTHING
    compared = agreement(found, kept, others_of(path, kept))
    _print_changes(kept, found, console)
    _print_agreement(compared, kept, found, console)
    return DISAGREES if compared.level == "none" else AGREES


def read_record(path: Path) -> Record:
    """The record in a file; InputError, which names what is near, where there is none or it is not whole."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path.name} is no record: it is larger than {LARGEST >> 20} MiB")
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is no record: {visible(str(error))}") from error
    wrong = [
        what
        for what, own, expected in (
            ("schema", record.schema, SCHEMA),
            ("hash", record.hash, record.cell.hash),
        )
        if own != expected
    ]
    if wrong:
        raise InputError(f"{path.name} is no record of this version: its {' and '.join(wrong)} does not match")
    return record


def _missing(path: Path) -> InputError:
    """What is beside the first part of ``path`` that is not there."""
    absolute = path.absolute()
    first = next(part for part in (*reversed(absolute.parents), absolute) if not part.exists())
    beside = os.listdir(first.parent) if first.parent.is_dir() else []
    names = [name for name in beside if not name.startswith(".") and not name.endswith(".npz")]
    return unknown(f"file or folder in {first.parent}:", first.name, names)


def check_cell(cell: Cell, where: str) -> None:
    """InputError unless this benchmark could have made the cell: its names become paths, its values arguments."""
    for what, name in (("suite", cell.suite), ("scenario", cell.scenario)):
        if not NAME.fullmatch(name) or name in RESERVED:
            raise InputError(f"{where}: {what}: {name!r} is no name")
    task = TASKS.get(cell.task)
    check_parameters(method_of(cell), cell.parameters, where)
    try:
        settings = msgspec.convert(cell.settings, task.scenario)
        task.check(settings)
        unit = task.unit(settings, cell.seed)
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"{where}: settings: {visible(str(error))}") from error
    if cell.unit != unit:
        raise InputError(f"{where}: unit: seed {cell.seed} amends {unit}, not {visible(cell.unit)!r}")
    if not 1 <= cell.threads <= 1024:
        raise InputError(f"{where}: threads must be 1 to 1024, not {cell.threads}")
    session.check_device_name(cell.device)


def _digests(cell: Cell) -> dict[str, str]:
    return digests(TASKS.get(cell.task).implementation, METHODS.get(cell.method, cell.task).module)


def _refusal(cell: Cell) -> str:
    """Why the cell cannot be run here as what it was; empty if it can."""
    now = {"task": TASKS.get(cell.task).version, "method": METHODS.get(cell.method, cell.task).version}
    if cell.versions != now:
        return f"the record is of declared versions {cell.versions}; here they are {now}, which is another experiment"
    try:
        session.check_device(cell.device)
    except InputError as error:
        return str(error)
    return ""


def _run(cell: Cell, kept: Record, console: Console, timeout: float | None) -> Record | None:
    """The cell's record, made anew from nothing; None where not even a failure was recorded."""
    limit = timeout or max(LEAST_SECONDS, SLOWER * kept.cost.cell_seconds)
    seconds = max(kept.cost.cell_seconds, 0.1)
    plan = Plan([cell], {}, {cell.hash: seconds}, {cell.hash: ()}, {cell.hash: kept.provenance})
    session.check_data(plan)
    with tempfile.TemporaryDirectory(prefix="amendbench-") as folder:
        setting = pool.Setting(Path(folder, "results"), Path(folder, "cache"), cell.device, cell.threads, limit)
        records = session.execute(plan, setting, 1, console)
    return records[0] if records else None


def others_of(path: Path, kept: Record) -> list[Record]:
    """Records of the same row, of other seeds, from the results folder that ``path`` lies in; none outside one."""
    parts = Path(kept.cell.file).parts
    place = path.absolute()
    if place.parts[-len(parts) :] != parts:
        return []
    store = RecordStore(place.parents[len(parts) - 1])
    beside = (store.read(os.fspath(Path(*parts[:-1], name.name))) for name in sorted(place.parent.glob("[!.]*.json")))
    return [r for r in beside if r is not None and r.status == "ok" and _same_row(r.cell, kept.cell)]


def _same_row(one: Cell, other: Cell) -> bool:
    names = ("settings", "parameters", "device", "threads", "versions", "keeps")
    one, other = with_defaults(one), with_defaults(other)
    return one.seed != other.seed and all(getattr(one, name) == getattr(other, name) for name in names)


def _introduce(path: Path, kept: Record, console: Console) -> None:
    cell = kept.cell
    what = (
        f"{cell.suite} / {cell.task} / {cell.scenario}: {cell.method}, {cell.unit}, seed {cell.seed} on {cell.device}"
    )
    console.print(f"[bold]{escape(visible(path.name))}[/]: {escape(visible(what))}")
    if kept.failure is not None:
        said = f"{kept.status}, {kept.failure.error}: {kept.failure.message[:200]}"
        console.print(f"it has no result ({escape(visible(said))}); is it the same today?")


def _print_changes(kept: Record, found: Record, console: Console) -> None:
    """What is different here from where the record was made."""
    moved = _moved(kept.cell.digests, found.cell.digests)
    lines = [f"source of {', '.join(moved)}: changed since"] if moved else []
    for what, old, new in (
        *_changed(kept.cell.packages, found.cell.packages),
        *_changed(*({k: r.environment.get(k, "") for k in ("python", "platform", "device")} for r in (kept, found))),
    ):
        lines.append(f"{what}: {old or 'none'} then, {new or 'none'} now")
    for line in lines:
        console.print(f"  different here: {escape(visible(line))}")
    if not lines:
        console.print("  source, packages and processor are those of the record")


def _moved(kept: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return [what for what in found if kept.get(what) != found[what]]


def _changed(kept: Mapping[str, str], found: Mapping[str, str]) -> list[tuple[str, str, str]]:
    names = sorted({**kept, **found})
    return [(n, kept.get(n, ""), found.get(n, "")) for n in names if kept.get(n, "") != found.get(n, "")]


def _print_agreement(compared: Agreement, kept: Record, found: Record, console: Console) -> None:
    colour = "red" if compared.level == "none" else "green"
    said = _SAID[compared.level] if kept.status == "ok" else _said_of_failures(compared, found)
    console.print(f"agreement: [bold {colour}]{compared.level}[/]: {said}")
    if compared.undecided:
        console.print(f"  it could not be told whether they agree statistically: {compared.undecided}")
    if compared.differences:
        console.print(_table(compared))
    same = sum(name in found.metrics and found.metrics[name] == kept.metrics[name] for name in kept.metrics)
    timings = sum(map(is_timing, kept.metrics))
    if compared.added:
        console.print(f"  not compared, because the record does not have them: {', '.join(compared.added)}")
    if kept.metrics:
        console.print(f"  {same} of {len(kept.metrics) - timings} metrics are equal")
    console.print(f"  seconds of the method's calls: {kept.cost.seconds:.3g} then, {found.cost.seconds:.3g} now")


def _said_of_failures(compared: Agreement, found: Record) -> str:
    if found.status == "ok":
        return "there is a result today"
    return "it fails in the same way" if compared.level != "none" else "it fails in another way"


def _table(compared: Agreement) -> Table:
    table = Table("what differs", "kept", "found", "difference", "close up to", "agrees")
    for d in compared.differences:
        gap = d.found - d.kept if d.allowed is not None and None not in (d.found, d.kept) else None
        allowed = "" if d.allowed is None else f"{d.allowed:.3g}"
        cells = [d.what, _short(d.kept), _short(d.found), "" if gap is None else f"{gap:+.3g}", allowed, d.within]
        table.add_row(*(escape(visible(text)) for text in cells))
    return table


def _short(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(msgspec.to_builtins(value))[:60]
