"""What a submission says of itself: who made which predictions how, and which metrics they are said to have.

All of it comes from outside: ``check`` refuses what is not as described here, before anything else looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmark.contracts.access import FIELDS
from benchmark.errors import InputError, unknown
from benchmark.running.records import SUBMISSIONS, Real, Seconds, Value, Whole
from benchmark.suites.definition import NAME
from benchmark.tasks import TASKS, Task

#: Counts up when a field of ``submission.json`` gets another meaning.
SCHEMA = 1
#: What a method may be called: it becomes the name of a folder.
METHOD = re.compile(r"[a-z0-9]+(?:[-+._][a-z0-9]+)*")
#: What an address is made of. None of it ends a link in HTML, Markdown or LaTeX.
ADDRESS = re.compile(r"[A-Za-z0-9\-._~:/?#!&()*+,;=%]+")
SHA256 = re.compile(r"[0-9a-f]{64}")
#: Characters of a line, of notes, of a method's name, and of an address.
MOST_LINE, MOST_NOTES, MOST_NAME, MOST_ADDRESS = 200, 2_000, 80, 300
MOST_CELLS, MOST_AUTHORS, MOST_ENTRIES = 500, 100, 200
#: Seeds that are named in a line.
MOST_SEEDS = 10

Settings = dict[str, Any]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell: the predictions of one amended model, and what is reported of them.

    ``reported``: metrics by name, None where one is blank; ``seconds`` that the amendment took.
    """

    scenario: str
    seed: Whole
    unit: str
    sha256: str
    reported: dict[str, Real | None] = {}
    seconds: Seconds | None = None

    @property
    def file(self) -> str:
        """Its predictions in the archive."""
        return f"{self.scenario}/seed{self.seed}.npz"

    @property
    def name(self) -> str:
        return f"{self.scenario}, seed {self.seed}"


class Missing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cell that was run or tried and has no predictions here, and why."""

    scenario: str
    seed: Whole
    why: str


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``submission.json``.

    ``settings`` and ``data`` (checksum) are those of the benchmark by scenario when it was packed, ``version`` the
    task's. ``access``: fields read by view, as methods declare them. ``parameters``: by scenario. ``missing``: cells
    without predictions, as far as they are known. ``date``: YYYY-MM-DD.
    """

    schema: int
    method: str
    authors: list[str]
    licence: str
    date: str
    suite: str
    task: str
    version: Whole
    settings: dict[str, Settings]
    data: dict[str, str]
    cells: list[Part]
    access: dict[str, str] = {}
    few_labels: bool = False
    parameters: dict[str, dict[str, bool | int | float | str | None]] = {}
    link: str = ""
    contact: str = ""
    hardware: str = ""
    notes: str = ""
    missing: list[Missing] = []

    @property
    def folder(self) -> str:
        """Where it lies below the results once it is accepted: a folder a submission, whatever its scenarios are."""
        return f"{SUBMISSIONS}/{self.suite}/{self.task}/{self.method}"

    def of(self, scenario: str) -> list[Part]:
        """The cells of one scenario."""
        return [part for part in self.cells if part.scenario == scenario]


def left_out(missing: Iterable[Missing]) -> list[str]:
    """A line a scenario and reason: cells of which there are no predictions."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for cell in missing:
        seeds.setdefault((cell.scenario, cell.why), []).append(cell.seed)
    return [
        f"{scenario}: {why} (seed{'s' if own[1:] else ''} {', '.join(map(str, own[:MOST_SEEDS]))}"
        f"{f' and {len(own) - MOST_SEEDS} more' if own[MOST_SEEDS:] else ''})"
        for (scenario, why), own in seeds.items()
    ]


def read(content: bytes) -> Submission:
    """The submission in a ``submission.json``; InputError unless every field is as it must be."""
    try:
        found = msgspec.json.decode(content, type=Submission)
    except (ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"submission.json: {error}") from error
    check(found)
    return found


def check(found: Submission) -> None:
    """InputError that names the field and the value which is not as it must be."""
    if found.schema != SCHEMA:
        raise InputError(f"schema is {found.schema}, and this version reads {SCHEMA}")
    check_method(found.method)
    task = TASKS.get(found.task)
    if not NAME.fullmatch(found.suite):
        raise InputError(f"suite is {found.suite!r}, which is no name of a suite")
    _check_lines(found)
    check_access(found.access, task)
    _check_cells(found, task)
    _check_scenarios(found)


def check_method(name: str) -> None:
    if len(name) > MOST_NAME or not METHOD.fullmatch(name):
        raise InputError(
            f"method is {name[:MOST_NAME]!r}, which is no name; use at most {MOST_NAME} lower-case letters and digits, "
            "with -, +, . or _ between"
        )


def _check_lines(found: Submission) -> None:
    if not 1 <= len(found.authors) <= MOST_AUTHORS:
        raise InputError(f"authors are {len(found.authors)}, not 1 to {MOST_AUTHORS}")
    for author in found.authors:
        _line("authors", author, needed=True)
    _line("licence", found.licence, needed=True)
    for name in ("contact", "hardware"):
        _line(name, getattr(found, name))
    _line("notes", found.notes, MOST_NOTES)
    _check_date(found.date)
    check_link(found.link)
    if len(found.missing) > MOST_CELLS:
        raise InputError(f"missing has {len(found.missing):,} entries, more than {MOST_CELLS}")
    for cell in found.missing:
        _check_scenario("missing", cell.scenario)
        _line(f"missing, {cell.scenario}", cell.why, needed=True)


def _line(field: str, text: str, most: int = MOST_LINE, *, needed: bool = False) -> None:
    """InputError unless ``text`` is a line of printable characters, which can be shown anywhere once it is escaped."""
    if needed and not text.strip():
        raise InputError(f"{field} is missing")
    if len(text) > most:
        raise InputError(f"{field} has {len(text):,} characters, more than {most:,}: {text[:40]!r}...")
    if not text.isprintable():
        raise InputError(f"{field} is {text!r}, which is not one line of printable characters")


def _check_date(text: str) -> None:
    try:
        right = date.fromisoformat(text).isoformat() == text
    except ValueError:
        right = False
    if not right:
        raise InputError(f"date is {text[:40]!r}, not a day such as 2026-01-31")


def check_link(text: str) -> None:
    """InputError unless ``text`` is empty or an address on the web that can be shown as a link."""
    if not text:
        return
    try:
        found = urlsplit(text)
    except ValueError:
        found = urlsplit("")
    if len(text) > MOST_ADDRESS or not ADDRESS.fullmatch(text) or found.scheme not in ("http", "https") or not found[1]:
        raise InputError(
            f"link is {text[:MOST_ADDRESS]!r}, not an address that begins with https:// or http:// and has at most "
            f"{MOST_ADDRESS} plain characters (others as %XX)"
        )


def check_access(access: Mapping[str, str], task: Task) -> None:
    """InputError for a view that the task has not, or a field that the view has not."""
    for view, fields in access.items():
        if view not in task.views:
            raise InputError(f"access: {unknown(f'view of {task.name}', view, task.views)}")
        offered = task.views[view]
        if not fields or set(fields) - set(offered):
            known = ", ".join(f"{field} ({FIELDS[field]})" for field in offered)
            raise InputError(f"access: {view} is {fields!r}, but its fields are {known}")


def _check_cells(found: Submission, task: Task) -> None:
    if not 1 <= len(found.cells) <= MOST_CELLS:
        raise InputError(f"cells are {len(found.cells):,}, not 1 to {MOST_CELLS}")
    if len({(part.scenario, part.seed) for part in found.cells}) < len(found.cells):
        raise InputError("cells: there are two of one scenario and seed")
    for part in found.cells:
        _check_scenario("cells", part.scenario)
        _line(f"{part.name}: unit", part.unit, needed=True)
        if not SHA256.fullmatch(part.sha256):
            raise InputError(f"{part.name}: sha256 is {part.sha256[:MOST_LINE]!r}, which is no SHA-256")
        check_reported(part.reported, task, part.name)


def _check_scenario(where: str, name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > MOST_LINE:
        raise InputError(f"{where}: scenario is {name[:MOST_LINE]!r}, which is no name of a scenario")


def check_reported(reported: Mapping[str, float | None], task: Task, where: str) -> None:
    """InputError for a metric that evaluation of the task does not measure, and for a value that it cannot have."""
    from benchmark.rescoring.ranges import impossible, recorded

    for name in reported:
        if name not in recorded(task.name):
            raise InputError(f"{where}: reported: {unknown(f'metric of {task.name}', name, recorded(task.name))}")
    wrong = impossible({name: Value(value, 1) for name, value in reported.items()}, task.name)
    if wrong:
        raise InputError(f"{where}: reported: {wrong[0]}")


def _check_scenarios(found: Submission) -> None:
    scenarios = {part.scenario for part in found.cells}
    for field in ("settings", "data"):
        if set(getattr(found, field)) != scenarios:
            raise InputError(f"{field} are of {sorted(getattr(found, field))}, but predictions of {sorted(scenarios)}")
    for scenario, checksum in found.data.items():
        _line(f"data, {scenario}", checksum, needed=True)
    for scenario, parameters in found.parameters.items():
        if scenario not in scenarios:
            raise InputError(f"parameters: {unknown('scenario', scenario, scenarios)}")
        if len(parameters) > MOST_ENTRIES:
            raise InputError(f"parameters of {scenario} are {len(parameters):,}, more than {MOST_ENTRIES}")
        for name, value in parameters.items():
            _line(f"parameters of {scenario}", name, needed=True)
            _line(f"parameters of {scenario}, {name}", str(value))
