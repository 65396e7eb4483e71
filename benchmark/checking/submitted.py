"""Scoring a submission again: what its predictions give by today's metrics, beside what it reports.

Only a scenario that is today's is scored, with the labels, forget sets and groups that the benchmark draws itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.contracts import Measured
from benchmark.data.looking import only_looking
from benchmark.errors import InputError
from benchmark.metrics.catalogue import metric
from benchmark.rescoring import rescore as rescoring
from benchmark.rescoring.reported import Claim
from benchmark.running.arrays import ArraysError
from benchmark.submissions.accepted import Judged, Verdict, Verified
from benchmark.submissions.archive import Archive
from benchmark.submissions.current import changed_since
from benchmark.submissions.expected import check_predictions, checksum, expected
from benchmark.submissions.submission import Part, Submission
from benchmark.suites.definition import Suite

#: Points by which a share of samples may differ at most, however many samples lie on the border between two classes.
MOST_ROUNDING = 0.5
#: Points of area under a curve that rounding of the logits may move: see docs/submissions.md.
AREA = 0.1

#: Called with how many cells are done, and how many there are.
Progress = Callable[[int, int], None]


@dataclass
class Outcome:
    """What was found. ``changed``: scenarios that are others today, and in what; ``unseen``: those without data here.

    Neither was scored.
    """

    verified: Verified
    changed: dict[str, str] = field(default_factory=dict)
    unseen: dict[str, str] = field(default_factory=dict)

    def count(self, verdict: Verdict) -> int:
        cells = self.verified.metrics.values()
        return sum(judged.verdict == verdict for own in cells for judged in own.values())

    @property
    def exit_code(self) -> int:
        """0: all that can be verified is as reported; 1: something differs or has changed; 3: nothing was scored."""
        if self.changed or self.count("differs"):
            return 1
        return 0 if any(judged.n for own in self.verified.metrics.values() for judged in own.values()) else 3


def score(archive: Archive, suite: Suite | None, report: Progress | None = None) -> Outcome:
    """Score every cell of a scenario that is today's and whose data are here; nothing is downloaded for it.

    InputError for predictions that cannot be what they should.
    """
    submission = archive.submission
    outcome = Outcome(Verified.of(archive))
    with only_looking():
        for scenario in submission.settings:
            _look_at(scenario, submission, suite, outcome)
    for done, part in enumerate(submission.cells):
        if report is not None:
            report(done, len(submission.cells))
        found: dict[str, Measured] = {}
        arrays: dict[str, np.ndarray] = {}
        if suite is not None and part.scenario not in {**outcome.changed, **outcome.unseen}:
            arrays, found = _scored(archive, part, suite.scenarios[part.scenario].settings)
        outcome.verified.metrics[part.name] = _judged(part, found, arrays)
    return outcome


def _look_at(name: str, submission: Submission, suite: Suite | None, outcome: Outcome) -> None:
    """Note why a scenario cannot be scored, if it cannot."""
    changed = "" if suite is None else changed_since(submission, name, suite)
    if suite is None:
        outcome.unseen[name] = f"suite {submission.suite} is none of ours: name its file with --suite"
    elif changed:
        outcome.changed[name] = changed
    else:
        try:
            today = checksum(suite.scenarios[name].settings)
        except InputError as error:
            outcome.unseen[name] = str(error)
            return
        if today != submission.data[name]:
            outcome.changed[name] = f"its data are {submission.data[name]}, and are {today} today"


def _scored(archive: Archive, part: Part, scenario: Any) -> tuple[dict[str, np.ndarray], dict[str, Measured]]:
    arrays, needed = archive.predictions(part), expected(scenario, part.seed)
    check_predictions(arrays, needed, part.name)
    wide = [name for name, array in arrays.items() if array.dtype.kind == "f" and array.dtype != np.float16]
    if wide:
        raise InputError(f"{part.name}: array {wide[0]} is {arrays[wide[0]].dtype}; amendbench submit packs float16")
    arrays = {name: _finite(array) for name, array in arrays.items()}
    numbers = all(bool(np.isfinite(array).all()) for array in arrays.values())
    claim = Claim(part.seed, {}, None, () if numbers else ("the outputs are not finite",))
    try:
        return arrays, rescoring.rescore_claim(scenario, claim, {**arrays, **needed.truth})
    except ArraysError as error:
        raise InputError(f"{part.name}: {error}") from error


def _finite(array: np.ndarray) -> np.ndarray:
    """Infinite outputs are no numbers, as in evaluation."""
    return np.where(np.isfinite(array), array, np.float16(np.nan)) if array.dtype.kind == "f" else array


def _judged(part: Part, found: Mapping[str, Measured], arrays: Mapping[str, np.ndarray]) -> dict[str, Judged]:
    """Every metric that is reported or was found, reported ones first."""
    unsure = sum(on_border(array) for array in arrays.values() if array.ndim == 2)
    judged = {}
    for name in dict.fromkeys((*part.reported, *found)):
        again = found.get(name)
        if again is None:
            judged[name] = Judged(None, 0, "not verifiable")
        elif name not in part.reported:
            judged[name] = Judged(again.value, again.n, "not reported")
        else:
            agrees = _agrees(name, part.reported[name], again, unsure)
            judged[name] = Judged(again.value, again.n, "agrees" if agrees else "differs")
    return judged


def _agrees(name: str, reported: float | None, found: Measured, unsure: int) -> bool:
    if reported is None or found.value is None:
        return reported is None and found.value is None
    return abs(reported - found.value) <= allowed(name, found, unsure)


def allowed(name: str, found: Measured, unsure: int) -> float:
    """By how much a reported value may differ where it was computed before logits were rounded to float16.

    A share of samples moves with those ``unsure`` ones whose two largest logits rounding may have exchanged.
    """
    least = max(rescoring.allowed(name, found), AREA if name == "mia.loss.auc" else 0.0)
    unit = metric(name).unit
    if unit not in ("%", "points") or name in rescoring.TREES:
        return least
    sample = 100.0 / max(found.n, 1)
    share = min(unsure * sample, max(MOST_ROUNDING, sample))
    return max(least, 2 * share if unit == "points" else share)


def on_border(logits: np.ndarray) -> int:
    """Rows of (N, C) float16 logits whose two largest are no more than a step of float16 apart; C of at least 2."""
    largest = np.sort(logits.astype(np.float32), axis=1)[:, -2:]
    step = np.abs(largest).max(1) * np.finfo(np.float16).eps
    return int((largest[:, 1] - largest[:, 0] <= step).sum())
