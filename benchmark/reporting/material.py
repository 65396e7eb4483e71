"""What all reports are written from: read once from the results folder, the same for every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from benchmark.boards.board import Row, build_board
from benchmark.errors import InputError
from benchmark.reporting.beside import Beside, beside
from benchmark.reporting.figures.board_drawings import board_drawings
from benchmark.reporting.figures.drawings import Drawing, distinct, drawings
from benchmark.reporting.legitimate import legitimate_tables
from benchmark.reporting.measured import TASK as GENERATED
from benchmark.reporting.measured import setting_of, settings_of
from benchmark.reporting.overview import Scored, overview
from benchmark.reporting.ranking import Ranking, rankings
from benchmark.reporting.sheet import Sheet, sheets
from benchmark.reporting.submitted import with_submissions
from benchmark.running.ensembles import EnsembleRecord, read_all
from benchmark.running.records import OTHERS, RecordStore
from benchmark.submissions.accepted import accepted
from benchmark.suites.definition import Suite, load_suite, suite_names
from benchmark.tasks import TASKS
from benchmark.tasks.gan_feature_removal import GanFeatureRemoval

#: Suites that stand for nothing but that the code works: neither overview nor figures of their boards.
TOYS = ("smoke",)


@dataclass(frozen=True)
class Material:
    """One suite's part: its ``sheets``, what is made of them, and what else is known of its scenarios.

    ``suite`` is None for a suite whose file is not there. ``tuned``: tables made of what tuning tried, by scenario;
    ``generated``: the settings of scenarios in which images are generated.
    """

    name: str
    suite: Suite | None
    sheets: Sequence[Sheet]
    scored: Sequence[Scored]
    rankings: Sequence[Ranking]
    drawings: Sequence[Drawing]
    ensembles: Sequence[EnsembleRecord]
    tuned: Mapping[str, list[str]]
    generated: Mapping[str, GanFeatureRemoval]

    @property
    def rows(self) -> list[Row]:
        return [row for sheet in self.sheets for row in sheet.rows]

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(sheet.task.name for sheet in self.sheets))

    def sheets_of(self, task: str) -> list[Sheet]:
        return [sheet for sheet in self.sheets if sheet.task.name == task]

    def settings(self, sheet: Sheet) -> GanFeatureRemoval | None:
        """The settings of a sheet whose scenario has generated images."""
        return self.generated.get(sheet.scenario) if sheet.task.name == GENERATED else None

    def beside(self, sheet: Sheet) -> list[Beside]:
        """What papers published beside one of the sheets."""
        settings = self.settings(sheet)
        setting = None if settings is None else setting_of(settings)
        return beside(self.name, sheet.task.name, sheet.scenario, sheet.rows, setting)

    def drawings_of(self, task: str, scenario: str | None) -> list[Drawing]:
        """The task's drawings of one scenario; of several, where ``scenario`` is None."""
        return [drawing for drawing in self.drawings if (drawing.task, drawing.scenario) == (task, scenario)]


def collect(results: Path) -> list[Material]:
    """One a suite that has records, ``embedded`` first; InputError where there are none."""
    store = RecordStore(results)
    known: dict[str, Suite] = {name: load_suite(name) for name in suite_names()}
    folders = sorted({path.name for path in results.glob("*") if path.is_dir()} - set(OTHERS))
    compared = [record for record in read_all(results) if record.task in TASKS]
    found = []
    for name in sorted(folders, key=lambda name: (name != "embedded", name in TOYS, name)):
        material = _suite(name, known.get(name), store, [record for record in compared if record.suite == name])
        if material.sheets:
            found.append(material)
    if not found:
        raise InputError(f"there are no records in {results}; run: make bench TASK=class-forget")
    return _drawn_apart(found)


def _drawn_apart(materials: Sequence[Material]) -> list[Material]:
    """The same, with no two drawings of one file name in any of them."""
    every = iter(distinct(drawing for material in materials for drawing in material.drawings))
    return [replace(material, drawings=list(islice(every, len(material.drawings)))) for material in materials]


def _suite(name: str, suite: Suite | None, store: RecordStore, compared: Sequence[EnsembleRecord]) -> Material:
    records = list(store.all(name))
    rows = sorted(build_board(records, suite), key=lambda row: list(TASKS).index(row.task))
    own = with_submissions(sheets(name, rows), accepted(store.root, name), records, suite)
    scored, ranked = overview(rows), rankings(rows)
    drawn = [] if name in TOYS else board_drawings(name, own, scored, ranked)
    return Material(
        name=name,
        suite=suite,
        sheets=own,
        scored=scored,
        rankings=ranked,
        drawings=[*drawn, *drawings(name, records, own, store)],
        ensembles=compared,
        tuned=legitimate_tables(store.root, name),
        generated=settings_of(records),
    )
