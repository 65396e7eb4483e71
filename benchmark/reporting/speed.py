"""How fast hot paths are, as a table on a terminal and as the page ``speed.md``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from benchmark.files import write_atomically
from benchmark.reporting.text import escape
from benchmark.speed.measured import Limited, Pair, Speeds, read_all

PAGE = "speed.md"
Safe = Callable[[str], str]
HEADING = "# Speed"
_ABOUT = """\
Hot paths beside the plain way of writing them, in turns in one run, with one thread and the same inputs, and with the
same results, which the tests in `tests/speed/pairs` assert within the tolerances that they state; LAF, RR-ClArC, GERNE
and Adapt then Unlearn are compared after a few steps or epochs only, since differences in rounding grow. Times are
medians over rounds; *times as fast* is the median of the rounds' ratios, with their range. What other processes took of
the machine is left out of the times where the system tells, but not of those of works that run in processes of their
own: commands, plans and reports. `docs/performance.md` says where the time goes, and why some paths are not
faster."""
#: Ratios and rates above these are told with an exponent.
LONG_RATIO, LONG_RATE = 1e6, 1e12
_PAIRS = "| hot path | beside the plain way | ours | plain | times as fast | at least |\n|---|---|---:|---:|---:|---|"
_LIMITS = "| work | takes | at most |\n|---|---:|---|"


def page_of(measured: list[Speeds]) -> str:
    """The page as Markdown, one section a kind of machine; empty where nothing was measured."""
    return "\n\n".join([HEADING, _ABOUT, *(_section(speeds) for speeds in measured)]) + "\n" if measured else ""


def write_page(results: Path, reports: Path) -> Path | None:
    """Write the page from the results; None, with no page left behind, where nothing was measured."""
    path, text = reports / PAGE, page_of(list(read_all(results)))
    if text:
        write_atomically(path, text.encode())
        return path
    if path.is_file() and path.read_text("utf-8", "replace").startswith(f"{HEADING}\n"):
        path.unlink()
    return None


def _section(speeds: Speeds) -> str:
    packages = ", ".join(f"{escape(name)} {escape(version)}" for name, version in speeds.packages.items())
    device = "" if speeds.hardware.device == "cpu" else " DEVICE=cuda"
    made = (
        f"{escape(speeds.hardware.platform)}; {packages}; {escape(speeds.created[:10])}; made by `make speed{device}`"
    )
    parts = [f"## {escape(speeds.device)}", made]
    if speeds.pairs:
        parts.append("\n".join([_PAIRS, *(_row(_pair(pair, escape)) for pair in speeds.pairs)]))
    if speeds.limits:
        parts.append("\n".join([_LIMITS, *(_row(_limited(one, escape)) for one in speeds.limits)]))
    return "\n\n".join(parts)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _pair(pair: Pair, safe: Safe) -> list[str]:
    ours = seconds_text(median(pair.ours))
    if pair.amount is not None:
        ours += f" ({_rate(pair.amount / median(pair.ours))} {safe(pair.unit)})"
    ratio = f"{_times(pair.ratio)} ({_times(min(pair.ratios))} to {_times(max(pair.ratios))})"
    bar = "" if pair.bar is None else f"{_times(pair.bar)}{', NOT REACHED' if pair.missed else ''}"
    return [safe(pair.title), safe(pair.way), ours, seconds_text(median(pair.plain)), ratio, bar]


def _limited(one: Limited, safe: Safe) -> list[str]:
    limit = "" if one.limit is None else f"{seconds_text(one.limit)}{', NOT REACHED' if one.missed else ''}"
    return [safe(one.title), seconds_text(median(one.seconds)), limit]


def _rate(rate: float) -> str:
    return f"{rate:.3g}" if rate > LONG_RATE else f"{rate:,.0f}"


def _times(ratio: float) -> str:
    if ratio > LONG_RATIO:
        return f"{ratio:.3g}x"
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.2g}x"


def seconds_text(seconds: float) -> str:
    """Seconds with three digits, in the unit that suits them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{float(f'{seconds / size:.3g}'):g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def print_speeds(speeds: Speeds, console: Console) -> None:
    """The same tables on a terminal."""
    console.print(f"[bold]{escape_markup(speeds.device)}[/]")
    for columns, rows in (
        (
            ("hot path", "the plain way", "ours", "plain", "times as fast", "at least"),
            [_pair(pair, escape_markup) for pair in speeds.pairs],
        ),
        (("work", "takes", "at most"), [_limited(one, escape_markup) for one in speeds.limits]),
    ):
        table = Table(box=None, pad_edge=False)
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*row)
        if rows:
            console.print(table)
