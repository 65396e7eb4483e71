"""Class forgetting with a few samples of each class: how many, which, and who still sees all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch

from benchmark.artifacts.context import Context
from benchmark.contracts import Access, ForgetProblem, Ledger
from benchmark.data.packaged import load
from benchmark.discovery.methods import METHODS
from benchmark.models.classifiers import build_classifier
from benchmark.running.amending import amend
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS, forgetting
from benchmark.tasks.class_forget import ClassForget
from benchmark.tasks.forgetting import few_of_each
from benchmark.timing import Stopwatch

TASK = TASKS.get("class-forget")
EVERYTHING = Access(retain="xy", forget="xy", selection="xy")


def scenario(**changes: Any) -> ClassForget:
    settings: ClassForget = load_suite("smoke").scenarios["digits"].settings
    return msgspec.structs.replace(settings, **changes)


def problem(settings: ClassForget, context: Context, seed: int = 3, request: int = 0) -> ForgetProblem:
    model = build_classifier(settings.model, 10, (1, 8, 8))
    found: ForgetProblem = forgetting.build(settings, seed, request, model, EVERYTHING, Ledger(), context).problem
    return found


def contents(problem: ForgetProblem, view: str) -> list[bytes]:
    return [row.numpy().tobytes() for row in getattr(problem, view).everything().x.contiguous()]


def test_so_many_of_each_class_are_in_the_views(context: Context) -> None:
    for n in (1, 7):
        found = problem(scenario(samples_per_class=n), context)
        assert found.retain.everything().y.bincount(minlength=10).tolist() == [n, n, n, 0, *[n] * 6]
        assert found.forget.everything().y.tolist() == [3] * n
        assert len(found.selection) == len(load("digits").selection)
    everything = problem(scenario(samples_per_class=100_000), context)
    plain = problem(scenario(), context)
    for view in ("retain", "forget"):
        assert contents(everything, view) == contents(plain, view)


def test_few_are_a_part_of_more_and_a_seed_has_its_own(context: Context) -> None:
    few, more = (problem(scenario(samples_per_class=n), context) for n in (5, 20))
    again, other = (problem(scenario(samples_per_class=5), context, seed=s) for s in (3, 13))  # both forget class 3
    for view in ("retain", "forget"):
        assert set(contents(few, view)) < set(contents(more, view))
        assert contents(few, view) == contents(again, view)
        assert contents(few, view) != contents(other, view)


def test_requests_in_sequence_share_the_draw(context: Context) -> None:
    settings = scenario(samples_per_class=4, classes=3, requests="in-sequence")
    first, last = (problem(settings, context, request=request) for request in (0, 2))
    assert set(last.retain.everything().y.tolist()) == set(range(10)) - {3, 4, 5}
    assert set(contents(last, "retain")) < set(contents(first, "retain"))
    assert set(contents(last, "forget")) < set(contents(first, "retain"))


def test_every_sample_of_a_class_is_as_likely() -> None:
    labels = torch.tensor([0] * 4 + [1] * 2)
    total = torch.zeros(6)
    for seed in range(400):
        chosen = few_of_each(labels, 2, torch.Generator().manual_seed(seed))
        assert chosen.sum() == 4
        total += chosen
    assert total[4:].tolist() == [400, 400]
    assert (total[:4] / 400 - 0.5).abs().max() < 0.1  # four standard deviations


@pytest.mark.parametrize(("method", "least", "most"), [("finetune", 18, 18), ("retrain", 900, 1000)])
def test_all_methods_but_references_see_few(method: str, least: int, most: int, context: Context) -> None:
    settings = scenario(samples_per_class=2, training=msgspec.structs.replace(scenario().training, epochs=1))
    info, ledgers = METHODS.get(method, "class-forget"), list[Ledger]()
    base = build_classifier(settings.model, 10, (1, 8, 8))
    amend((info, info.defaults()), TASK, settings, 0, base, context, Stopwatch(context.device), ledgers)
    assert least <= ledgers[0].reads["retain"]["samples"] <= most  # of 989; an epoch leaves a short last batch out


def test_the_setting_is_checked_and_leaves_the_base_model_alone() -> None:
    with pytest.raises(ValueError, match="samples_per_class must be at least 0, not -1"):
        TASK.check(scenario(samples_per_class=-1))
    TASK.check(scenario(samples_per_class=3))
    assert scenario().samples_per_class == 0
    assert TASK.base(scenario(samples_per_class=3), 1) == TASK.base(scenario(), 1)
