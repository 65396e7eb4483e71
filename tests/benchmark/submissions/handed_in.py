"""Predictions that nobody's network made, and what becomes of them."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from benchmark.checking.submitted import Outcome, score
from benchmark.submissions.archive import Archive
from benchmark.submissions.current import suite_of
from benchmark.submissions.expected import expected
from benchmark.submissions.submission import Submission
from benchmark.suites.definition import load_suite

SCENARIO = "digits-coloured"
METADATA = """
method = "their-method"
authors = ["Zoë Ångström", "B"]
licence = "CC0-1.0"
suite = "smoke"
task = "debias-known"
link = "https://example.org/paper_(1)"
hardware = "a laptop"
access = { train = "xya" }
date = 2026-01-31

[parameters.digits-coloured]
lr = 0.1
"""


def logits(seed: int = 0, wrong: int = 20) -> np.ndarray:
    """Of the test samples of SCENARIO, in float32: ``wrong`` of them are for another class."""
    needed = expected(load_suite("smoke").scenarios[SCENARIO].settings, seed)
    (shape,) = (told.shape for told in needed.predictions.values())
    rng = np.random.default_rng(seed)
    found = rng.normal(size=shape).astype(np.float32)
    chosen = needed.truth["test.labels"].copy()
    chosen[:wrong] = (chosen[:wrong] + 1) % shape[1]
    found[np.arange(len(chosen)), chosen] += 9.0
    return found


def scored(archive: Archive) -> Outcome:
    return score(archive, suite_of(archive.submission))


def with_field(submission: Submission, **fields: Any) -> bytes:
    """``submission.json`` with other fields, whatever they are."""
    return msgspec.json.encode({**msgspec.to_builtins(submission), **fields})
