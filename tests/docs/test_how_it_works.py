"""What the page says on the way of a number: a hyper-parameter and a metric are followed through a run."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import msgspec
import pytest
from reading import ROOT, page

from benchmark.artifacts.context import Context
from benchmark.boards.board import build_board
from benchmark.running.plan import Plan, make_plan
from benchmark.running.records import RecordStore
from benchmark.running.worker import Setting, run_in_turn
from benchmark.suites.definition import Suite, load_suite

TEXT = page("how-it-works.md")
DOWN, UP, ROOMS = TEXT.split("\n## ")[1:4]
RATE = 0.0314159
#: Nested no deeper than this is what carries a number from one function to the next.
DEEPEST = 6
SUITE = f"""
name = "followed"
summary = "For a test."
threads = 1
timeout = 60.0
tuning = {{ seeds = [102], configurations = 1 }}
[scenarios.digits]
task = "class-forget"
data = "digits"
model = "resnet-small"
training = {{ epochs = 1, lr = 0.1, batch_size = 64, momentum = 0.9, weight_decay = 5e-4, schedule = "one-cycle" }}
methods = ["original", "retrain", "finetune"]
[hyperparameters.digits]
finetune = {{ parameters = {{ epochs = 1, lr = {RATE} }}, provenance = "for a test" }}
"""


def files_of(section: str) -> list[str]:
    return re.findall(r"^\| `([\w/]+\.py)` \|", section, re.MULTILINE)


def carries(value: Any, number: float, depth: int = 0) -> bool:
    """Whether a number is in something, in text as its digits."""
    if isinstance(value, float):
        return value == number
    if isinstance(value, str):
        return str(number) in value
    if depth > DEEPEST or isinstance(value, type):
        return False
    if isinstance(value, Mapping):
        inside = list(value.values())
    elif isinstance(value, (list, tuple)):
        inside = list(value)
    elif isinstance(value, msgspec.Struct):
        inside = [getattr(value, name) for name in value.__struct_fields__]
    elif dataclasses.is_dataclass(value):
        inside = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    else:
        return False
    return any(carries(each, number, depth + 1) for each in inside)


@contextmanager
def followed(number: float) -> Iterator[list[str]]:
    """The files whose functions are given the number, or give it, in the order in which they first are."""
    passed: list[str] = []
    known: dict[CodeType, str] = {}

    def look(frame: FrameType, event: str, given: object) -> None:
        if frame.f_code not in known:
            path = Path(frame.f_code.co_filename)
            ours = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in (
                "benchmark",
                "methods",
                "baselines",
            )
            known[frame.f_code] = path.relative_to(ROOT).as_posix() if ours else ""
        file = known[frame.f_code]
        if not file or file in passed or event not in ("call", "return"):
            return
        sys.setprofile(None)
        if carries(list(frame.f_locals.values()) if event == "call" else given, number):
            passed.append(file)
        sys.setprofile(look)

    sys.setprofile(look)
    try:
        yield passed
    finally:
        sys.setprofile(None)


@pytest.fixture
def run(tmp_path: Path, context: Context) -> Callable[[str], tuple[Suite, RecordStore]]:
    """``run(name)`` reads the suite, plans it and runs it in this process, into results of that name."""
    (tmp_path / "followed.toml").write_text(SUITE)

    def go(name: str) -> tuple[Suite, RecordStore]:
        suite, store = load_suite(str(tmp_path / "followed.toml")), RecordStore(tmp_path / name)
        plan: Plan = make_plan(suite, [0], "cpu", store)
        setting = Setting(tmp_path / name, tmp_path / "cache", "cpu", 1, 60.0)
        for cell in plan.cells:
            reply = run_in_turn(cell, plan.provenance[cell.hash], setting, context, exclusive=True)
            assert reply.record is not None
            assert reply.record.status == "ok", reply
        return suite, store

    return go


def test_a_hyper_parameter_takes_the_way_that_is_described(run: Callable[[str], Any]) -> None:
    with followed(RATE) as passed:
        run("results")
    assert passed == files_of(DOWN)


def test_a_metric_takes_the_way_that_is_described(run: Callable[[str], Any]) -> None:
    _, store = run("before")
    (record,) = [record for record in store.all() if record.cell.method == "finetune"]
    value = record.metrics["accuracy.test.retain"].value
    assert isinstance(value, float)
    assert value != round(value)  # no number that other things have, too
    with followed(value) as passed:
        suite, store = run("after")
        build_board(list(store.all()), suite)
    assert passed == files_of(UP)


def test_every_room_is_on_the_page() -> None:
    packages = {path.parent.name for path in (ROOT / "benchmark").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)` \|", ROOMS, re.MULTILINE)) == packages
