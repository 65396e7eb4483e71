"""Whether a scenario still is what it was when predictions for it were packed. Needs no torch."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmark.errors import InputError, unknown
from benchmark.submissions.submission import Submission
from benchmark.suites.definition import Suite, load_suite, suite_names
from benchmark.tasks import TASKS


def suite_of(submission: Submission, given: str | None = None) -> Suite | None:
    """The suite that a submission names: one of ours, or that in the TOML file ``given``; None where it is neither."""
    if given is None and submission.suite not in suite_names():
        return None
    found = load_suite(given or submission.suite)
    if found.name != submission.suite:
        raise InputError(f"suite: {given} is suite {found.name}, but the submission is for {submission.suite}")
    return found


def changed_since(submission: Submission, name: str, suite: Suite) -> str:
    """What of a scenario is not as it was when its predictions were packed, data aside; empty where nothing is."""
    if name not in suite.scenarios:
        return str(unknown(f"scenario of suite {suite.name}", name, suite.scenarios))
    scenario, task = suite.scenarios[name], TASKS.get(submission.task)
    if scenario.task != submission.task:
        return f"it is of task {scenario.task}, not {submission.task}"
    if submission.version != task.version:
        return f"it was packed for version {submission.version} of the task, now {task.version}"
    try:
        told: Any = msgspec.convert(submission.settings[name], task.scenario)
    except (ValueError, TypeError, ArithmeticError) as error:
        return f"its settings are none of today's: {error}"
    fields = [one for one in told.__struct_fields__ if getattr(told, one) != getattr(scenario.settings, one)]
    if fields:
        return f"its {' and '.join(fields)} {'is another' if len(fields) == 1 else 'are others'} now"
    tuned = sorted({part.seed for part in submission.of(name)} & set(suite.tuning.seeds))
    if tuned:
        return f"seed {tuned[0]} is for tuning and is never reported"
    units = {part.name: (part.unit, task.unit(told, part.seed)) for part in submission.of(name)}
    wrong = [f"{one}: unit is {own!r}, but it amends {unit}" for one, (own, unit) in units.items() if own != unit]
    return wrong[0] if wrong else ""
