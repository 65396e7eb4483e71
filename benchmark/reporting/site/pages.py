"""The pages of the site as text: one a task, and the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.findings import note
from benchmark.reporting.material import TOYS
from benchmark.reporting.overview import Scored
from benchmark.reporting.ranking import Ranking
from benchmark.reporting.sheet import Sheet
from benchmark.reporting.site.figures import OVERVIEW, Drawn, Picture, albums
from benchmark.reporting.site.overview import Card, card, overview_table
from benchmark.reporting.site.published import published_blocks
from benchmark.reporting.site.rows import task_table
from benchmark.reporting.site.table import BoardTable
from benchmark.reporting.site.text import inline, json_text, markdown
from benchmark.reporting.submitted import by_metric, explained
from benchmark.reporting.text import file_name
from benchmark.tasks import TASKS

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"


@cache
def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    found.filters |= {"markdown": markdown, "inline": inline, "json": json_text, "file_name": file_name}
    found.filters |= {"seconds": cells.seconds, "interval": cells.interval, "heading": cells.heading}
    found.filters |= {"by_metric": by_metric}
    return found


@dataclass(frozen=True)
class Pages:
    """What the pages are written from: see ``site.write.write_site``. ``site`` is the folder that they will be in,
    ``results`` the address of the records from there, or empty."""

    boards: Mapping[str, Sequence[Sheet]]
    scored: Mapping[str, Sequence[Scored]]
    rankings: Mapping[str, Sequence[Ranking]]
    figures: Sequence[Drawn]
    pictures: Path
    published: Mapping[str, list[dict[str, Any]]]
    site: Path
    results: str

    def render(self, kept: Sequence[Picture]) -> dict[str, str]:
        """The text of each page by its file's name, with the pictures ``kept`` on it."""
        return {**{f"{task}.html": self._task(task, kept) for task in self.sheets}, "index.html": self._index(kept)}

    @cached_property
    def sheets(self) -> dict[str, list[Sheet]]:
        """The sheets of each task that has some: toys come last."""
        suites = sorted(self.boards, key=lambda name: (name in TOYS, name))
        everything = [sheet for name in suites for sheet in self.boards[name]]
        found = {task: [sheet for sheet in everything if sheet.task.name == task] for task in TASKS}
        return {task: own for task, own in found.items() if own}

    @cached_property
    def _tables(self) -> dict[str, BoardTable]:
        return {task: task_table(own) for task, own in self.sheets.items()}

    @cached_property
    def _real(self) -> list[str]:
        """Suites that are no toys, if there are others than those."""
        return [name for name in self.boards if name not in TOYS] or list(self.boards)

    def _task(self, task: str, kept: Sequence[Picture]) -> str:
        own = self.sheets[task]
        names = [name for name in own[0].task.headline if any(name in sheet.columns for sheet in own)]
        drawn = [drawn for drawn in self.figures if drawn.task == task and drawn.kind != OVERVIEW]
        page = _templates().get_template("task.html")
        return page.render(
            page=task,
            results=self.results,
            tasks=list(self.sheets),
            task=own[0].task,
            table=self._tables[task],
            albums=albums(drawn, kept, self.pictures, self.site),
            published=published_blocks(self.published.get(task, [])),
            submitted=[sheet for sheet in own if sheet.submitted],
            submissions_explained=explained(own[0].task),
            notes=_notes(own),
            glossary=[metric(name) for name in names],
        )

    def _index(self, kept: Sequence[Picture]) -> str:
        rankings = {name: self.rankings.get(name, ()) for name in self._real}
        cards: list[Card] = [card(task, own, rankings) for task, own in self.sheets.items()]
        page = _templates().get_template("index.html")
        return page.render(
            page="index",
            results=self.results,
            tasks=list(self.sheets),
            table=overview_table({name: self.scored.get(name, ()) for name in self._real}, rankings),
            cards=cards,
            figures=[picture for picture in kept if picture.drawn.kind == OVERVIEW],
            totals=self._totals(),
            notes=[found for name in self._real if (found := note(f"{name}.overview", self.boards[name]))],
        )

    def _totals(self) -> dict[str, int]:
        """How much there is of what."""
        everything = [row for own in self.sheets.values() for sheet in own for row in sheet.rows]
        return {
            "tasks": len(self.sheets),
            "scenarios": sum(map(len, self.sheets.values())),
            "methods": len({row.method for row in everything}),
            "rows": len(everything),
            "runs": sum(row.cells for row in everything),
        }


def _notes(sheets: Sequence[Sheet]) -> list[tuple[str, str]]:
    """Suites with what was written of the task in them, in Markdown."""
    suites = {
        name: [sheet for sheet in sheets if sheet.suite == name] for name in dict.fromkeys(s.suite for s in sheets)
    }
    found = {name: note(f"{name}.{own[0].task.name}", own) for name, own in suites.items()}
    return [(name, text) for name, text in found.items() if text]
