"""What enters a network for samples to retain and to forget: whose inputs they are, how many, and how precise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.views import Samples, View
from benchmark.errors import InputError
from benchmark.models import sampled_inputs as module
from benchmark.models.sampled_inputs import Inputs, Sampling, retain_and_forget_inputs

MOST = (1000, 900)
#: Of each class, so many samples.
SIZES = {0: 30, 1: 25, 2: 8}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def problem(forgotten: tuple[int, ...] = (1,)) -> ForgetProblem:
    """Inputs (3) that say their class and nothing else, before a network that drops half of them while it trains."""
    y = torch.tensor([label for label, n in SIZES.items() for _ in range(n)])
    everything = Samples(nn.functional.one_hot(y, 3).float(), y)
    gone = torch.isin(y, torch.tensor(forgotten))
    parts = {"retain": ~gone, "labelled": ~gone, "forget": gone, "selection": gone}
    views: dict[str, Any] = {
        name: View(name, everything.subset(kept.nonzero()[:, 0]), Access(retain="xy", forget="x"), Ledger())
        for name, kept in parts.items()
    }
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 3)).train()
    return ForgetProblem(
        model=model, **views, forget_classes=forgotten, num_classes=3, recipe=Recipe(epochs=1, lr=0.1, batch_size=1),
        device=torch.device("cpu"), seed=0, build_model=lambda: model,
    )  # fmt: skip


def shown(inputs: Inputs) -> list[float]:
    """How many rows of each class entered the first layer."""
    gram: Tensor = inputs["1.weight"].gram
    assert torch.equal(gram[0], gram[0].diagonal().diag())
    return gram[0].diagonal().tolist()


def test_they_are_of_samples_by_class_and_of_samples_to_forget() -> None:
    own = problem()
    A_r, A_f = retain_and_forget_inputs(own, Sampling(10, 20), MOST, generator())
    assert list(A_r) == list(A_f) == ["1.weight", "3.weight"]
    assert shown(A_r) == [10, 0, 8]  # of class 2 there are no more
    assert shown(A_f) == [0, 20, 0]
    assert own.retain.counts() == {"samples": 18, "labels": 18, "passes": 18}
    assert own.forget.counts() == {"samples": 20, "passes": 20}
    assert not own.model.training


def test_several_classes_are_forgotten_together() -> None:
    A_r, A_f = retain_and_forget_inputs(problem((0, 1)), Sampling(10, 900), MOST, generator())
    assert shown(A_r) == [0, 0, 8]
    assert shown(A_f) == [30, 25, 0]


def test_patches_bound_what_is_kept_of_either_kind() -> None:
    for found in retain_and_forget_inputs(problem(), Sampling(20, 20, max_patches=12), MOST, generator()):
        assert {A.n for A in found.values()} == {12}


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    own = problem()
    whole = retain_and_forget_inputs(own, Sampling(20, 20), MOST, generator(), torch.float64)
    monkeypatch.setattr(module, "BATCH", 7)
    parts = retain_and_forget_inputs(own, Sampling(20, 20), MOST, generator(), torch.float64)
    for one, other in zip(whole, parts, strict=True):
        for name, A in one.items():
            assert A.dtype == other[name].dtype == torch.float64
            torch.testing.assert_close(A.gram, other[name].gram)


def test_the_generator_decides_which_samples() -> None:
    def first_rows(seed: int) -> list[Tensor]:
        own = problem()
        for view in (own.retain, own.forget):
            view._samples.images.copy_(torch.randn(view._samples.images.shape, generator=generator(9)))
        found = retain_and_forget_inputs(own, Sampling(5, 5), MOST, generator(seed))
        return [A["1.weight"].gram for A in found]

    again = zip(first_rows(0), first_rows(0), strict=True)
    assert all(torch.equal(one, other) for one, other in again)
    others = zip(first_rows(0), first_rows(1), strict=True)
    assert not any(torch.equal(one, other) for one, other in others)


@pytest.mark.parametrize(
    ("sampling", "most", "message"),
    [
        (Sampling(0, 20), MOST, "retain_per_class, forget_samples and max_patches must be at least 1"),
        (Sampling(20, 0), MOST, "must be at least 1"),
        (Sampling(20, 20, 0), MOST, "must be at least 1"),
        (Sampling(20, 20, 10, -1), MOST, "window at least 0"),
        (Sampling(21, 20), (40, 20), "at most 40 retain samples, not 42"),
        (Sampling(20, 21), (40, 20), "at most 20 forget samples, not 21"),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_read(
    sampling: Sampling, most: tuple[float, float], message: str
) -> None:
    own = problem()
    with pytest.raises(InputError, match=message):
        retain_and_forget_inputs(own, sampling, most, generator())
    assert own.retain.counts() == own.forget.counts() == {"passes": 0}


def test_just_as_many_as_may_be_are_read() -> None:
    retain_and_forget_inputs(problem(), Sampling(20, 20), (40, 20), generator())
