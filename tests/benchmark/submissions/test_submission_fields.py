"""What a submission says of itself: each field that is not as it must be is named with its value."""

from __future__ import annotations

from typing import Any

import pytest
from handed_in import with_field
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import InputError
from benchmark.submissions.archive import Archive
from benchmark.submissions.submission import Missing, check_link, left_out, read

CELL = {"scenario": "digits-coloured", "seed": 0, "unit": "colour", "sha256": "0" * 64}


def test_what_is_packed_is_read(archive: Archive) -> None:
    assert read(with_field(archive.submission)) == archive.submission
    assert archive.submission.folder == "submissions/smoke/debias-known/their-method"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"schema": 2}, "schema is 2"),
        ({"method": "../x"}, "method is '../x'"),
        ({"method": "Größe"}, "method is"),
        ({"method": "a" * 81}, "method is"),
        ({"authors": []}, "authors are 0"),
        ({"authors": ["a\u202eb"]}, "authors is"),
        ({"authors": ["x" * 201]}, "authors has 201"),
        ({"licence": " "}, "licence is missing"),
        ({"date": "2026-02-30"}, "date is '2026-02-30'"),
        ({"date": "20260130"}, "date is"),
        ({"task": "debias-knwon"}, "did you mean debias-known"),
        ({"suite": "../smoke"}, "suite is '../smoke'"),
        ({"link": "javascript:alert(1)"}, "link is 'javascript:alert(1)'"),
        ({"hardware": "\x1b[2J"}, "hardware is"),
        ({"access": {"trian": "x"}}, "did you mean train"),
        ({"access": {"train": "w"}}, "train is 'w'"),
        ({"cells": []}, "cells are 0"),
        ({"cells": [CELL, CELL]}, "two of one scenario"),
        ({"cells": [{**CELL, "sha256": "../x"}]}, "sha256 is"),
        ({"cells": [{**CELL, "scenario": "a/b"}]}, "scenario is 'a/b'"),
        ({"cells": [{**CELL, "reported": {"accuracy.maen": 1}}]}, "did you mean accuracy.mean"),
        ({"cells": [{**CELL, "reported": {"accuracy.mean": 101}}]}, "accuracy.mean is 101"),
        ({"cells": [{**CELL, "reported": {"accuracy.mean": 1e300}}]}, "reported"),
        ({"cells": [{**CELL, "seed": -1}]}, "seed"),
        ({"data": {}}, "data are of"),
        ({"parameters": {"digits": {}}}, "parameters: unknown scenario 'digits'"),
        ({"parameters": {"digits-coloured": {"lr": [1]}}}, "parameters"),
        ({"missing": [{"scenario": "a b", "seed": 1, "why": "x"}]}, "missing: scenario is"),
        ({"notes": "a\nb"}, "notes is"),
        ({"rank": 1}, "rank"),
    ],
)
def test_a_wrong_field_is_named(archive: Archive, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        read(with_field(archive.submission, **fields))
    assert said in str(error.value)


@pytest.mark.parametrize("good", ["", "https://arxiv.org/abs/2312.00761", "http://x.org/a_(b)?c=d&e=%7C#f"])
def test_addresses(good: str) -> None:
    check_link(good)


@pytest.mark.parametrize(
    "bad",
    ["ftp://x.org", "https://", "//x.org", "https:x", "https://x.org/ a", 'https://x.org/"><b>', "https://x.org/|",
     "https://x.org/\n", "https://[x", "https://u@x.org", "data:text/html,x", "https://x.org/" + "a" * 300],
)  # fmt: skip
def test_addresses_that_are_none(bad: str) -> None:
    with pytest.raises(InputError, match="link is"):
        check_link(bad)


@given(content=st.binary(max_size=200) | st.text(max_size=50).map(lambda text: b"{" + text.encode() + b"}"))
@settings(max_examples=50)
def test_noise_is_bad_input(content: bytes) -> None:
    with pytest.raises(InputError):
        read(content)


def test_what_is_missing_is_said_by_scenario() -> None:
    cells = [Missing("a", seed, "failed") for seed in range(12)] + [Missing("b", 3, "failed")]
    assert left_out(cells) == ["a: failed (seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more)", "b: failed (seed 3)"]
