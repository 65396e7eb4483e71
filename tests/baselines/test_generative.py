"""Baselines of generator unlearning: what each reads, what each changes, and what cannot be had for nothing."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from baselines import generative
from baselines.generative import (
    cf_k,
    eu_k,
    ewc,
    finetune,
    gradient_ascent,
    l1_sparse,
    last_tensors,
    retrain,
    trained_on,
    view_images,
)
from baselines.rejection import Rejecting, rejection
from benchmark.contracts import Access, GanProblem, GanRecipe, Ledger
from benchmark.discovery.methods import METHODS, load
from benchmark.errors import AccessViolation, DivergenceError, InputError
from benchmark.metrics.change import parameter_change
from benchmark.models.gan import Generator
from benchmark.models.surgery import state_hash, underlying
from benchmark.suites.definition import methods_of
from benchmark.training.adversarial import train_gan
from benchmark.training.consolidation import consolidated
from benchmark.training.screening import positives

TASK = "gan-feature-removal"
ENTRIES = methods_of(TASK)
QUICK: dict[str, Any] = {"steps": 4, "images": 60}
#: Little of everything that any method of the task does.
LITTLE = {"steps": 3, "images": 60, "models": 2, "adapt_images": 60, "adapt_steps": 3, "tries": 3}
EVERY_KIND = pytest.mark.parametrize("kind", ["ring", "images"])
Make = Callable[..., GanProblem]


def parameters(network: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> list[str]:
    """Names of the parameters that are not bit for bit what they were."""
    return [name for name, p in network.named_parameters() if not torch.equal(p, before[name])]


def latents_of(generator: nn.Module, n: int) -> Tensor:
    assert isinstance(generator, Generator)
    return generator.latents(n, torch.Generator().manual_seed(3))


def drawn(generator: nn.Module, n: int = 400) -> Tensor:
    with torch.no_grad():
        images: Tensor = generator(latents_of(generator, n))
    return images


def judge_of(problem: GanProblem) -> nn.Module:
    return copy.deepcopy(problem.feedback._judge)


# Every method.


def test_the_task_has_its_references_and_a_cheat() -> None:
    kinds = {name: METHODS.get(name, TASK).kind for name in ENTRIES}
    assert {name for name, kind in kinds.items() if kind == "reference"} == {"original", "retrain"}
    assert {name for name, kind in kinds.items() if kind == "paper"} == {"atu-il2", "atu-nl2", "atu-el2"}
    assert {name for name, kind in kinds.items() if kind == "cheat"} == {"rejection"}
    assert {"finetune", "ewc", "l1-sparse", "cf-k", "eu-k", "gradient-ascent", "extrapolation"} <= set(kinds)


@EVERY_KIND
@pytest.mark.parametrize("name", ENTRIES)
def test_every_method_reads_what_it_declares_and_gives_a_generator(
    name: str, kind: str, make_gan_problem: Make
) -> None:
    info, ledger = METHODS.get(name, TASK), Ledger()
    problem = make_gan_problem(kind, info.access, ledger=ledger)
    if name == "retrain":
        problem.recipe = small(problem)
    given = {p.name: LITTLE[p.name] for p in info.parameters if p.name in LITTLE}
    result = load(info)(problem, **given)
    assert ledger.violations == []
    assert bool(problem.real.counts()["passes"]) == (name == "retrain")
    assert bool(problem.feedback.counts()) == (name not in ("original", "retrain"))
    result.eval()
    images, again = drawn(result), drawn(result)
    assert images.shape == (400, *((2,) if kind == "ring" else (1, 8, 8)))
    assert bool(images.isfinite().all())
    assert torch.equal(images, again)
    alone = torch.cat([result(z[None]).detach() for z in latents_of(result, 400)[395:]])
    torch.testing.assert_close(alone, images[395:], rtol=1e-4, atol=1e-5)


def small(problem: GanProblem, steps: int = 5) -> GanRecipe:
    return msgspec.structs.replace(problem.recipe, steps=steps)


@EVERY_KIND
@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in ("original", "rejection", "extrapolation")])
def test_every_training_is_the_same_every_time(name: str, kind: str, make_gan_problem: Make) -> None:
    info = METHODS.get(name, TASK)
    given = {p.name: LITTLE[p.name] for p in info.parameters if p.name in LITTLE}
    hashes = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        problem = make_gan_problem(kind, info.access)
        problem.recipe = small(problem)
        hashes.append(state_hash(load(info)(problem, **given)))
    assert hashes[0] == hashes[1]
    assert hashes[0] != state_hash(make_gan_problem(kind).model)


# References.


def test_retraining_reads_real_images_and_nothing_else(make_gan_problem: Make) -> None:
    ledger = Ledger()
    problem = make_gan_problem(access=Access(real="x"), ledger=ledger)
    problem.recipe = small(problem, 7)
    before = state_hash(problem.gan)
    result = retrain(problem)
    assert problem.real.counts()["passes"] == 7 * problem.recipe.batch_size
    assert set(problem.real.counts()) == {"samples", "passes"}
    assert problem.feedback.counts() == {}
    assert ledger.violations == []
    assert state_hash(problem.gan) == before  # it starts from nothing
    fresh = problem.initialised("retrain", problem.build_gan)
    train_gan(fresh, view_images(problem), problem.recipe, 7, problem.generator("retrain"))
    assert state_hash(fresh.average) == state_hash(result)
    assert not result.training


def test_a_retrained_generator_has_not_learnt_what_it_never_saw(make_gan_problem: Make) -> None:
    problem = make_gan_problem(access=Access(real="x"))
    problem.recipe = small(problem, 700)
    shown = judge_of(problem)(drawn(retrain(problem), 2000)) > 0
    assert float(shown.float().mean()) < 0.12  # 0.25 where all is learnt


def test_real_images_are_drawn_at_random_with_replacement(make_gan_problem: Make) -> None:
    problem = make_gan_problem(access=Access(real="x"))
    real = view_images(problem)(500, torch.Generator().manual_seed(0))
    index = torch.randint(len(problem.real), (500,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(real, problem.real.batch(index).x)
    with pytest.raises(AccessViolation, match="images of the real view were asked for but not declared"):
        view_images(make_gan_problem(access=Access(feedback="y")))(5, torch.Generator())


# Fine-tuning.


def test_fine_tuning_starts_from_the_last_weights_on_positives_alone(
    make_gan_problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def spy(gan: Any, real: Any, recipe: Any, steps: int, rng: Any, **options: Any) -> None:
        seen.update(start=parameters(gan.generator), images=real(200, torch.Generator().manual_seed(0)), steps=steps)
        train_gan(gan, real, recipe, steps, rng, **options)

    monkeypatch.setattr(generative, "train_gan", spy)
    problem = make_gan_problem()
    last = parameters(problem.gan.generator)
    result = finetune(problem, **QUICK)
    assert seen["steps"] == 4
    assert all(torch.equal(seen["start"][name], last[name]) for name in last)
    assert not (judge_of(problem)(seen["images"]) > 0).any()
    assert len(seen["images"].unique(dim=0)) > 30
    assert result is problem.gan.average
    assert problem.feedback.counts()["samples"] == 60


def test_fine_tuning_without_steps_is_the_original(make_gan_problem: Make) -> None:
    original = state_hash(make_gan_problem().model)
    assert state_hash(finetune(make_gan_problem(), steps=0, images=60)) == original


@EVERY_KIND
def test_consolidation_of_no_weight_is_fine_tuning(kind: str, make_gan_problem: Make) -> None:
    plain = state_hash(finetune(make_gan_problem(kind), **QUICK))
    assert state_hash(ewc(make_gan_problem(kind), lam=0.0, **QUICK)) == plain
    assert state_hash(ewc(make_gan_problem(kind), lam=1e3, **QUICK)) != plain
    assert state_hash(l1_sparse(make_gan_problem(kind), lam=0.0, **QUICK)) == plain


def test_consolidation_is_to_the_weights_that_training_starts_from(make_gan_problem: Make) -> None:
    problem = make_gan_problem()
    gan = problem.gan
    penalty = consolidated(gan.generator, gan.discriminator, 3.0, problem.generator("fisher"))
    other = trained_on(problem, positives(problem, 60), 4, penalty=penalty)
    assert state_hash(other) == state_hash(ewc(make_gan_problem(), lam=3.0, **QUICK))


def test_the_l1_penalty_is_the_sum_of_absolute_values(make_gan_problem: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []

    def spy(gan: Any, *arguments: Any, penalty: Callable[[Generator], Tensor], **options: Any) -> None:
        total = sum(float(p.detach().abs().sum()) for p in gan.generator.parameters())
        seen.append((float(penalty(gan.generator).detach()), total))
        train_gan(gan, *arguments, penalty=penalty, **options)

    monkeypatch.setattr(generative, "train_gan", spy)
    l1_sparse(make_gan_problem("images"), lam=0.25, **QUICK)
    ((found, total),) = seen
    assert found == pytest.approx(0.25 * total, rel=1e-5)


def test_a_heavy_l1_penalty_makes_weights_smaller(make_gan_problem: Make) -> None:
    def size(lam: float) -> float:
        problem = make_gan_problem()
        l1_sparse(problem, lam=lam, steps=30, images=60)
        return sum(float(p.detach().abs().sum()) for p in problem.gan.generator.parameters())

    assert size(1.0) < 0.95 * size(0.0)


# The last k tensors.


@EVERY_KIND
@pytest.mark.parametrize("k", [1, 2, 3])
def test_only_the_last_tensors_are_trained(kind: str, k: int, make_gan_problem: Make) -> None:
    for method in (cf_k, eu_k):
        problem = make_gan_problem(kind)
        names, in_use = last_tensors(problem.model, k), parameters(problem.model)
        assert names == [name for name, _ in problem.model.named_parameters()][-k:]
        critic = state_hash(problem.gan.discriminator)
        result = method(problem, k=k, **QUICK)
        assert changed(result, in_use) == names
        assert changed(problem.gan.generator, in_use) == names
        assert state_hash(problem.gan.discriminator) != critic


@EVERY_KIND
def test_forgetting_again_starts_from_new_values_and_fine_tuning_from_the_old(
    kind: str, make_gan_problem: Make
) -> None:
    old = parameters(make_gan_problem(kind).model)
    kept, new = (parameters(method(make_gan_problem(kind), k=2, steps=0, images=60)) for method in (cf_k, eu_k))
    assert all(torch.equal(kept[name], old[name]) for name in old)
    problem = make_gan_problem(kind)
    fresh = parameters(problem.initialised("last tensors", problem.build_gan).generator)
    for name in old:
        assert torch.equal(new[name], fresh[name] if name in [*old][-2:] else old[name]), name
    assert not torch.equal(new[[*old][-2]], old[[*old][-2]])


@EVERY_KIND
def test_forgetting_again_learns_from_what_the_original_makes(
    kind: str, make_gan_problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positives are images of the generator in use, not of one whose last layers are noise."""
    seen: list[Tensor] = []

    def spy(gan: Any, real: Any, recipe: Any, steps: int, rng: Any, **options: Any) -> None:
        seen.append(real(50, torch.Generator().manual_seed(0)))

    monkeypatch.setattr(generative, "train_gan", spy)
    for method in (finetune, cf_k, eu_k):
        method(make_gan_problem(kind), **QUICK)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


def test_new_values_have_no_moments_of_old_ones(make_gan_problem: Make) -> None:
    problem = make_gan_problem()
    names, steps = last_tensors(problem.model, 2), problem.recipe.steps
    eu_k(problem, k=2, **QUICK)
    for name, _ in problem.gan.generator.named_parameters():
        expected = 4 if name in names else steps
        assert float(problem.gan.moments[f"generator.{name}.step"]) == expected
    other = make_gan_problem()
    cf_k(other, k=2, **QUICK)
    assert float(other.gan.moments[f"generator.{names[0]}.step"]) == steps + 4


def test_more_tensors_than_there_are_is_all_of_them(make_gan_problem: Make) -> None:
    model = make_gan_problem().model
    assert last_tensors(model, 1000) == [name for name, _ in model.named_parameters()]


# Gradient ascent and rejection.


@EVERY_KIND
def test_ascent_pleases_the_feedback(kind: str, make_gan_problem: Make) -> None:
    problem = make_gan_problem(kind, Access(feedback="w"))
    judge, before = judge_of(problem), drawn(problem.model, 1000)
    result = gradient_ascent(problem, lr=1e-3, steps=40)
    after = drawn(result, 1000)
    assert float(judge(after).mean()) < float(judge(before).mean())
    assert float((judge(after) > 0).float().mean()) < 0.7 * float((judge(before) > 0).float().mean())
    assert result is problem.model
    assert not any(p.requires_grad for p in result.parameters())
    judged = 40 * problem.recipe.batch_size
    assert problem.feedback.counts() == {"samples": judged, "labels": judged, "passes": judged, "networks": 1}
    assert state_hash(judge_of(problem)) == state_hash(judge)


def test_ascent_that_leaves_the_numbers_is_said(make_gan_problem: Make) -> None:
    with pytest.raises(DivergenceError, match="not finite"):
        gradient_ascent(make_gan_problem(), lr=1e38, steps=3)


@EVERY_KIND
def test_rejection_changes_no_parameter_and_shows_nothing_undesired(kind: str, make_gan_problem: Make) -> None:
    problem = make_gan_problem(kind, Access(feedback="w"))
    original = copy.deepcopy(problem.model)
    result = rejection(problem, tries=40)
    images, before = drawn(result), drawn(original)
    judge = judge_of(problem)
    undesired = judge(before) > 0
    assert 20 < int(undesired.sum()) < 380
    assert not (judge(images) > 0).any()
    assert torch.equal(images[~undesired], before[~undesired])
    assert parameter_change(underlying(result, original), original).value == 0
    assert torch.equal(images, drawn(result))


def test_what_is_drawn_again_is_as_varied_as_what_is_not(make_gan_problem: Make) -> None:
    """Images that take the place of others are new ones: no two are the same, and every mode that stays gets some."""
    problem = make_gan_problem()
    undesired = judge_of(problem)(drawn(problem.model, 2000)) > 0
    again = drawn(rejection(problem, tries=40), 2000)[undesired]
    assert len(again.unique(dim=0)) == len(again) > 400
    angles = torch.arange(8) * (torch.pi / 4)
    centres = 2 * torch.stack([angles.cos(), angles.sin()], 1)
    shares = torch.cdist(again, centres).argmin(1).bincount(minlength=8) / len(again)
    assert float(shares[2:].min()) > 0.02


def test_tries_run_out(make_gan_problem: Make) -> None:
    problem = make_gan_problem()
    judge = judge_of(problem)

    def left(tries: int) -> int:
        return int((judge(drawn(Rejecting(problem.model, judge, tries))) > 0).sum())

    assert left(0) == int((judge(drawn(problem.model)) > 0).sum())
    assert left(0) > left(1) > left(2) > left(40) == 0


# Bad values.


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("ewc", {"lam": -1.0, **QUICK}, "lam must be at least 0, not -1.0"),
        ("l1-sparse", {"lam": -1.0, **QUICK}, "lam must be at least 0, not -1.0"),
        ("cf-k", {"k": 0, **QUICK}, "k must be at least 1, not 0"),
        ("eu-k", {"k": -2, **QUICK}, "k must be at least 1, not -2"),
        ("finetune", {"steps": 1, "images": 0}, "images to be screened must be at least 1, not 0"),
        ("finetune", {"steps": -1, "images": 60}, "steps must be at least 0, not -1"),
    ],
)
def test_bad_values_are_named(name: str, given: dict[str, Any], message: str, make_gan_problem: Make) -> None:
    info = METHODS.get(name, TASK)
    module = importlib.import_module(info.module)
    assert module is generative
    with pytest.raises(InputError, match=message):
        load(info)(make_gan_problem("images"), **given)
