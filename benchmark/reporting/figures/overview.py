"""All tasks of a suite on a page: how far each method comes from doing nothing to what can be hoped for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.reporting.figures.ladder import name, set_rows, write_name
from benchmark.reporting.figures.marks import Who
from benchmark.reporting.figures.scales import Bar, Scale, set_axis
from benchmark.reporting.figures.style import (
    GREY,
    LOOKS,
    PAGE,
    SMALL,
    TEXT,
    VERMILLION,
    frame,
    marker,
    new_figure,
    plain,
    styled,
    text_width,
    write,
)
from benchmark.reporting.overview import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Scores that the axes show; what lies further out is at the rim with its number.
LOW, HIGH = -0.62, 1.18
#: Letters for what is read, by the words in which access is told; of who gives feedback, answers and the network.
LETTERS = {"images": "x", "labels": "y", "attributes": "a", "masks": "m"}
FEEDBACK = {"labels": "f", "network": "w"}
#: What the letters say.
WORDS = {
    "x": "images", "y": "labels", "a": "attributes", "m": "masks", "f": "answers of a judge", "w": "the judge itself",
}  # fmt: skip
#: Inches: a row, a panel's heading and its axis, between panels, and columns of text on the right.
_ROW, _HEAD, _FOOT, _APART, _READS, _COST = 0.13, 0.2, 0.2, 0.1, 0.3, 0.36
_GAP, _BETWEEN = 0.06, 0.16


class Entry(NamedTuple):
    """A method: its score, letters for what it reads, its cost as a ratio, and whether it lacks scenarios."""

    who: Who
    score: Bar | None
    reads: str
    cost: float | None
    partial: bool


class Track(NamedTuple):
    """Methods of one track, with the number of scenarios; without a name where the task has no tracks."""

    name: str
    scenarios: int
    entries: tuple[Entry, ...]


class Panel(NamedTuple):
    """A task with its methods by track."""

    task: str
    tracks: tuple[Track, ...]

    @property
    def lines(self) -> list[tuple[str, Entry | None]]:
        """What stands on its rows: a track's name, or a method."""
        found: list[tuple[str, Entry | None]] = []
        for track in self.tracks:
            found += [(track_text(track), None)] if track.name else []
            found += [("", entry) for entry in track.entries]
        return found

    @property
    def height(self) -> float:
        """In inches."""
        return _HEAD + _ROW * len(self.lines) + _FOOT + _APART


def panels(scored: Sequence[Scored]) -> tuple[Panel, ...]:
    """The tasks in which any method has a score, with every method of the tracks in which one has."""
    found = []
    for task in dict.fromkeys(one.task for one in scored):
        own = [one for one in scored if one.task == task]
        several = len({one.device for one in own}) > 1
        tracks = []
        for track in dict.fromkeys(one.track for one in own):
            entries = [one for one in own if one.track == track]
            if any(one.score is not None for one in entries):
                most = max(one.of for one in entries)
                tracks.append(Track(track, most, tuple(_entry(one, several) for one in entries)))
        if tracks:
            found.append(Panel(task, tuple(tracks)))
    return tuple(found)


def _entry(one: Scored, devices: bool) -> Entry:
    called = f"{one.method} ({one.device})" if devices else one.method
    failed = "" if one.score is not None else next(iter(one.left_out.values()), "no score")
    row = Who(called, one.kind if one.kind in ("paper", "cheat") else "baseline", one.track, failed)
    score = None if one.score is None else Bar(*one.score[:3])
    return Entry(row, score, letters(one.reads), one.cost, len(one.by_scenario) < one.of)


def letters(reads: str) -> str:
    """One letter a kind of what is read, from the words in which access is told: ``retain: images + labels; ...``."""
    found = set()
    for part in reads.split("; "):
        view, _, what = part.partition(": ")
        known = FEEDBACK if view == "feedback" else LETTERS
        found |= {letter for word, letter in known.items() if word in what.partition(" (")[0].split(" + ")}
    return "".join(letter for letter in WORDS if letter in found)


@styled
def overview_figure(shown: Sequence[Panel]) -> Figure:
    """Two columns of panels of about the same height; rows by score within a track, dashed lines at 0 and 1."""
    columns = _columns(shown)
    notes = _notes(shown)
    high = max(sum(panel.height for panel in column) for column in columns)
    figure = new_figure(PAGE, high + 0.14 * (len(notes) + 1) + 0.08)
    wide = (PAGE - _BETWEEN) / 2
    for i, column in enumerate(columns):
        entries = [entry for panel in column for _, entry in panel.lines if entry is not None]
        names = max([text_width(name(one.who), bold=LOOKS[one.who.look].bold) for one in entries], default=0.5)
        top = 0.0
        for panel in column:
            _panel(figure, panel, i * (wide + _BETWEEN), top, wide, names + 2 * _GAP)
            top += panel.height
    _legend(figure, high + 0.12)
    for i, note in enumerate(notes):
        write(figure, 0.06, high + 0.12 + 0.14 * (i + 1), note)
    return figure


def _columns(shown: Sequence[Panel]) -> list[list[Panel]]:
    """The highest panel first into the column that is lower; then each column in the order of ``shown``."""
    columns: list[list[Panel]] = [[], []]
    for panel in sorted(shown, key=lambda panel: -panel.height):
        min(columns, key=lambda column: sum(one.height for one in column)).append(panel)
    return [sorted(column, key=list(shown).index) for column in columns]


def _panel(figure: Figure, panel: Panel, left: float, top: float, wide: float, names: float) -> None:
    lines = panel.lines
    start, end = left + names, left + wide - _READS - _COST
    axes = frame(figure, start, top + _HEAD, end - start, _ROW * len(lines))
    set_rows(axes, len(lines))
    set_axis(axes.xaxis, Scale(), (LOW, HIGH), 4)
    for value in (0.0, 1.0):
        axes.axvline(value, color=GREY, linewidth=0.7, linestyle="--", zorder=1)
    write(figure, left + _GAP, top + 0.11, plain(panel.task), fontsize=TEXT, fontweight="bold")
    if not panel.tracks[0].name:
        write(figure, (start + end) / 2, top + 0.11, _count(panel.tracks[0]), ha="center", color=GREY)
    write(figure, end + _GAP, top + 0.11, "reads", color=GREY)
    write(figure, left + wide - 0.02, top + 0.11, "cost", ha="right", color=GREY)
    for i, (track, entry) in enumerate(lines):
        at = top + _HEAD + (i + 0.5) * _ROW
        if entry is None:
            blank = {"facecolor": "white", "edgecolor": "none", "pad": 0.2}
            write(figure, left + _GAP, at, track, color=GREY, va="center_baseline", bbox=blank)
            continue
        write_name(figure, start - _GAP, at, entry.who)
        write(figure, end + _GAP, at, entry.reads, va="center_baseline")
        write(figure, left + wide - 0.02, at, cost_text(entry.cost), ha="right", va="center_baseline")
        _score(axes, i, entry)


def track_text(track: Track) -> str:
    """A track in words: whether attributes of the training set and of held-out data were used."""
    train, _, held_out = plain(track.name).partition("/")
    return f"attributes: training {train}, held out {held_out or '?'}; {_count(track)}"


def _count(track: Track) -> str:
    return f"{track.scenarios} scenario{'s' if track.scenarios != 1 else ''}"


def cost_text(cost: float | None) -> str:
    """A ratio as tables print it."""
    if cost is None:
        return "-"
    return f"{cost:.3f}\u00d7" if cost < 0.1 else f"{cost:.2f}\u00d7" if cost < 10 else f"{cost:.0f}\u00d7"


def _score(axes: Axes, height: int, entry: Entry) -> None:
    """A score with its interval; what lies outside is an arrow at the rim and a number."""
    if entry.score is None:
        axes.text(
            LOW + 0.03, height, plain(entry.who.failed), fontsize=SMALL, color=GREY, fontstyle="italic",
            va="center_baseline",
        )  # fmt: skip
        return
    mean, low, high = entry.score
    colour = VERMILLION if entry.who.look == "paper" else GREY
    if LOW <= mean <= HIGH:
        if low is not None and high is not None:
            axes.hlines(height, max(low, LOW), min(high, HIGH), color=colour, linewidth=1.0, zorder=2)
        axes.plot(mean, height, **marker(entry.who.look, hollow=entry.partial), zorder=4)
        return
    below = mean < LOW
    arrow = marker(entry.who.look, hollow=entry.partial, marker="<" if below else ">")
    axes.plot(LOW + 0.04 if below else HIGH - 0.04, height, **arrow, zorder=4)
    axes.text(
        LOW + 0.13 if below else HIGH - 0.13, height, f"{mean:.1f}".replace("-", "\u2212"), fontsize=SMALL,
        ha="left" if below else "right", va="center_baseline",
    )  # fmt: skip


def _legend(figure: Figure, top: float) -> None:
    from matplotlib.lines import Line2D

    wide, high = figure.get_size_inches()
    left = 0.11
    marks = (
        ("paper", False, "a paper's method"),
        ("baseline", False, "baseline"),
        ("cheat", False, "cheat"),
        ("baseline", True, "hollow: not in every scenario"),
    )
    for look, hollow, text in marks:
        figure.add_artist(Line2D([left / wide], [1 - top / high], **marker(look, hollow=hollow)))
        write(figure, left + 0.08, top, text)
        left += text_width(text) + 0.3
    write(figure, left - 0.08, top, "lines: 95 % intervals; arrows: beyond the axis")


def _notes(shown: Sequence[Panel]) -> list[str]:
    seen = {letter for panel in shown for _, entry in panel.lines if entry is not None for letter in entry.reads}
    read = ", ".join(f"{letter} {word}" for letter, word in WORDS.items() if letter in seen)
    return [
        "score: 0 is the original model, 1 what can be hoped for (retraining, or training on unbiased data)",
        f"reads: {read or 'nothing'}; cost: device seconds over the reference's",
    ]
