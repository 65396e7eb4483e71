"""How the states of networks were chosen, and what another rule would have chosen in the same runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmark.boards.aggregates import Choice
from benchmark.boards.board import Row
from benchmark.metrics.catalogue import METRICS, metric
from benchmark.reporting import cells
from benchmark.reporting.tables import method, table
from benchmark.tasks import Task

#: The rule that nobody may choose by.
ORACLE = "oracle"
ERROR = "selection.standard-error"


def ranked_by(rows: Sequence[Row]) -> str:
    """The metric that most rows of a scenario are ranked by: all of them, but for those of another time."""
    return Counter(row.rank_by for row in rows).most_common(1)[0][0]


def how_ranked(task: Task, rows: Sequence[Row]) -> list[str]:
    """By what the rows of a scenario are ranked, and how states were chosen; nothing where the task always says it."""
    parts = []
    if task.ranked_by or task.track:
        among = " among the rows that used the same attributes" if task.track else ""
        parts.append(f"Ranked by {metric(ranked_by(rows)).label}{among}.")
    parts += _chosen(rows)
    return [" ".join(parts), ""] if parts else []


def _chosen(rows: Sequence[Row]) -> list[str]:
    choices = [row.choice for row in rows if row.choice is not None]
    if not choices:
        return []
    rules = " or ".join(f"*{rule}*" for rule in dict.fromkeys(choice.rule for choice in choices))
    counted = [choice for choice in choices if choice.fewest > 0]
    if not counted:
        return [f"The state of each network was chosen by the rule {rules}."]
    samples = _span(min(c.fewest for c in counted), max(c.most for c in counted), "d")
    return [
        f"The state of each network was chosen by the rule {rules} on held-out samples: "
        f"the score of the chosen one rests on {samples} of them.{_sure(rows, choices)}"
    ]


def _sure(rows: Sequence[Row], choices: Sequence[Choice]) -> str:
    """How much the held-out samples that conflict with the bias can tell: their number and standard error."""
    found = (row.metrics[ERROR].mean for row in rows if ERROR in row.metrics)
    errors = [error for error in found if error is not None]
    if not errors:
        return ""
    n = max(choice.conflicting for choice in choices)
    return (
        f" At most {n} of these are bias-conflicting: accuracy pooled over them has a standard error of "
        f"{_span(min(errors), max(errors), '.1f')} points."
    )


def _span(low: float, high: float, how: str) -> str:
    """``low to high``, or the one number where they are written alike."""
    ends = dict.fromkeys((format(low, how), format(high, how)))
    return " to ".join(ends)


def selection_table(rows: Sequence[Row]) -> list[str]:
    """Rows are methods, columns rules, cells what the scenario is ranked by; nothing where no rule was compared."""
    if not rows:
        return []
    name = ranked_by(rows)
    columns = {key.removeprefix(f"{name}@"): key for key in METRICS if key.startswith(f"{name}@")}
    shown = [row for row in rows if any(cells.has(row, key) for key in columns.values())]
    rules = [rule for rule, key in columns.items() if any(cells.has(row, key) for row in shown)]
    if not shown:
        return []
    own = {row.choice.rule for row in shown if row.choice is not None}
    body = [[method(row), *(cells.interval(row.metrics.get(columns[rule])) for rule in rules)] for row in shown]
    return [
        "#### By selection rule",
        "",
        f"{cells.heading(name)} of the same runs, had another rule chosen the state: mean ± half-width over seeds.",
        "",
        *table(["method", *(_heading(rule, own) for rule in rules)], body),
    ]


def _heading(rule: str, own: set[str]) -> str:
    if rule == ORACLE:
        return f"{rule} (study only: chooses on test data)"
    return f"{rule} (this scenario's)" if rule in own else rule
