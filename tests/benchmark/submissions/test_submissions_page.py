"""docs/submissions.md: what it says how to do works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.checking.submitted import AREA, MOST_ROUNDING
from benchmark.running.arrays import read_arrays
from benchmark.submissions import archive
from benchmark.submissions.expected import check_predictions, expected
from benchmark.submissions.folder import Metadata
from benchmark.submissions.packing import PREDICTIONS
from benchmark.submissions.submission import MOST_CELLS
from benchmark.suites.definition import load_suite

PAGE = (Path(__file__).parents[3] / "docs/submissions.md").read_text()


def test_the_python_on_the_page_writes_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    needed = expected(load_suite("smoke").scenarios["digits"].settings, 0)
    check_predictions(read_arrays((tmp_path / "digits-seed0.npz").read_bytes()), needed, "the page")


def test_every_field_and_array_is_on_the_page() -> None:
    for name in (*Metadata.__struct_fields__, *(name for names in PREDICTIONS.values() for name in names)):
        assert f"`{name}`" in PAGE, name


def test_numbers_on_the_page() -> None:
    assert (archive.MOST_BYTES, archive.MOST_UNPACKED, MOST_CELLS) == (256 * 2**20, 2**30, 500)
    assert (MOST_ROUNDING, AREA) == (0.5, 0.1)
    assert "At most 256 MiB, 1 GiB unpacked and 500 cells" in PAGE
    assert "half a point or one sample" in PAGE
    assert "by 0.1 points" in PAGE
