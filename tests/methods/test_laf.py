"""The losses against golden numbers, what the method reads and changes, and a small run that forgets a class."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from baselines.references import LogitMask
from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.packaged import load
from benchmark.data.views import Samples, View
from benchmark.discovery.methods import METHODS
from benchmark.errors import AccessViolation, DivergenceError, InputError
from benchmark.models.classifiers import build_classifier
from benchmark.models.surgery import SplitClassifier, head, state_hash
from benchmark.seeding import generator
from benchmark.training import train_classifier
from methods import laf as module
from methods.laf import alignment_loss, cosine_distance, extractor_loss, phi
from methods.laf_autoencoders import VAE, reconstruction_error
from methods.laf_variants import laf, laf_r, laf_r_few_labels

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "laf.json").read_text())
ENTRIES: dict[str, Callable[..., nn.Module]] = {"laf": laf, "laf-r": laf_r, "laf-r+few-labels": laf_r_few_labels}
EVERYTHING = Access(retain="xy", forget="xy", labelled="xy")
RECIPE = Recipe(epochs=10, lr=1e-3, batch_size=32, weight_decay=1e-4, schedule="constant", optimiser="adam")
QUICK: dict[str, Any] = {"epochs": 2, "vae_epochs": 2, "batch_size": 16, "lr_unlearn": 1e-3, "lr_align": 1e-3}
CLASSES = 10


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def golden(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs, tensors in double precision, and expected values."""
    given = {key: double(value) if isinstance(value, list) else value for key, value in GOLDEN[name]["inputs"].items()}
    return given, GOLDEN[name]["expected"]


def agree(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found, double(expected), rtol=1e-9, atol=1e-15)


def split_net() -> nn.Module:
    """A SplitClassifier with batch norm and dropout in its extractor, for digits."""
    layers = [nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 12)]
    return SplitClassifier(nn.Sequential(*layers), nn.Sequential(nn.Linear(12, 8), nn.Linear(8, CLASSES)))


def whole_net() -> nn.Module:
    return build_classifier("resnet-small", CLASSES, (1, 8, 8))


def initialised(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network with statistics of batch norm that are not the initial ones, in evaluation mode."""
    torch.manual_seed(seed)
    model = build().train()
    with torch.no_grad():
        model(torch.randn(64, 1, 8, 8))
    return model.eval()


@pytest.fixture(scope="module")
def digits() -> Samples:
    return load("digits").train


@pytest.fixture(scope="module")
def few(digits: Samples) -> Samples:
    """150 digits."""
    return digits.subset(torch.arange(150))


def forgetting(
    model: nn.Module, samples: Samples, gone: int | Tensor = 3, access: Access = EVERYTHING, seed: int = 0
) -> tuple[ForgetProblem, Ledger]:
    """The problem of forgetting a class, or the samples of a mask; a tenth of the others is labelled."""
    ledger = Ledger()
    mask = samples.labels == gone if isinstance(gone, int) else gone
    retain = (~mask).nonzero()[:, 0]
    parts = {"retain": retain, "forget": mask.nonzero()[:, 0], "labelled": retain[::10], "selection": retain[:0]}
    views = {name: View(name, samples.subset(index), access, ledger) for name, index in parts.items()}
    own = copy.deepcopy(model)
    problem = ForgetProblem(
        model=own,
        **views,
        forget_classes=(),
        num_classes=CLASSES,
        recipe=RECIPE,
        device=torch.device("cpu"),
        seed=seed,
        build_model=lambda: copy.deepcopy(model),
    )
    return problem, ledger


def access_of(name: str) -> Access:
    found: Access = ENTRIES[name].amendbench_methods[name]  # type: ignore[attr-defined]
    return found


def run(name: str, model: nn.Module, samples: Samples, gone: int | Tensor = 3, **parameters: Any) -> nn.Module:
    problem, ledger = forgetting(model, samples, gone, access_of(name))
    found = ENTRIES[name](problem, **{**QUICK, **parameters})
    assert ledger.violations == []
    return found


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """Names of the state's tensors that are not bit-identical."""
    new = after.state_dict()
    return {name for name, old in before.state_dict().items() if not torch.equal(old, new[name])}


def head_names(model: nn.Module) -> set[str]:
    of_head = {id(p) for p in head(model).parameters()}
    return {name for name, p in model.named_parameters() if id(p) in of_head}


# The losses


def test_golden_alignment() -> None:
    given, expected = golden("laf-1")
    d_r, d_f = cosine_distance(given["s"], given["s_teacher"]), cosine_distance(given["u"], given["u_teacher"])
    agree(d_r, expected["d_r"])
    agree(d_f, expected["d_f"])
    agree(alignment_loss(d_r, d_f, given["tau"]), expected["L_RA"])
    start = [cosine_distance(given[key], given[key]) for key in ("s_teacher", "u_teacher")]
    agree(alignment_loss(*start, given["tau"]), expected["L_RA_at_start"])


def test_golden_extractor_loss() -> None:
    given, expected = golden("laf-2")
    m = {letter: reconstruction_error(given[f"e_{letter}"], given[f"rec_{letter}"]) for letter in "rf"}
    for letter in "rf":
        agree(m[letter], expected[f"m_{letter}"])
        agree(phi(m[letter]), expected[f"phi_{letter}"])
    agree(extractor_loss(m["r"], m["f"]), expected["L_UE"])


def test_phi_grows_from_one_to_below_e() -> None:
    m = torch.cat([torch.zeros(1, dtype=torch.float64), torch.logspace(-9, 6, 200, dtype=torch.float64)])
    values = phi(m)
    assert values[0] == 1
    assert (values.diff() > 0).all()
    assert values[-1] < math.e
    assert phi(torch.tensor(3e38)) <= math.e


@pytest.mark.parametrize(("n_r", "n_f"), [(1, 1), (2, 3), (32, 32), (32, 8), (8, 32)])
def test_alignment_starts_at_minus_b_r_log_b_f(n_r: int, n_f: int) -> None:
    e = torch.randn(n_r + n_f, 16, dtype=torch.float64)
    d_r, d_f = cosine_distance(e, e).split([n_r, n_f])
    assert float(alignment_loss(d_r, d_f, 20.0)) == pytest.approx(-n_r * math.log(n_f), abs=1e-9)


@pytest.mark.parametrize("tau", [0.5, 5.0, 20.0])
def test_both_forms_of_the_alignment_loss_agree(tau: float) -> None:
    d_r, d_f = 2 * torch.rand(32, dtype=torch.float64), 2 * torch.rand(8, dtype=torch.float64)
    first_form = torch.log(torch.exp(d_r) / torch.exp(d_f / tau).sum()).sum()
    torch.testing.assert_close(alignment_loss(d_r, d_f, tau), first_form)


def test_a_tiny_temperature_does_not_overflow() -> None:
    d_r, d_f = torch.tensor([0.5]), torch.tensor([1.0, 2.0])
    assert float(alignment_loss(d_r, d_f, 1e-4)) == pytest.approx(0.5 - 2e4)


def test_l_ue_changes_sign_when_the_sets_and_their_auto_encoders_are_swapped() -> None:
    torch.manual_seed(0)
    h, h_f = VAE(6, 2), VAE(6, 3)
    e_r, e_f = torch.randn(5, 6), torch.randn(7, 6)

    def error(vae: VAE, e: Tensor) -> Tensor:
        return reconstruction_error(e, vae(e, generator(0, "eps"))[0])

    L_UE = extractor_loss(error(h, e_r), error(h_f, e_f))
    assert L_UE != 0
    assert torch.equal(extractor_loss(error(h_f, e_f), error(h, e_r)), -L_UE)


# Step 2 as it runs


@pytest.mark.parametrize(("n_r", "n_f", "size"), [(60, 8, 8), (60, 20, 8), (60, 17, 16), (10, 50, 8), (40, 32, 32)])
def test_alignment_starts_there_in_the_loop_which_drops_no_short_batch(n_r: int, n_f: int, size: int) -> None:
    samples = Samples(
        torch.randint(256, (n_r + n_f, 1, 8, 8), dtype=torch.uint8), torch.zeros(n_r + n_f).long(), (0.5,), (0.5,)
    )
    problem, _ = forgetting(initialised(split_net), samples, torch.arange(n_r + n_f) >= n_r, access_of("laf"))
    still = {"lr_unlearn": 0.0, "lr_align": 0.0, "batch_size": size, "vae_epochs": 0}
    found = laf(problem, epochs=1, **still)
    sizes = zip(*([min(size, n - i) for i in range(0, n, size)] for n in (n_r, n_f)), strict=False)
    starts = [-b_r * math.log(b_f) for b_r, b_f in sizes]
    assert found.curves["align"] == [pytest.approx(sum(starts) / len(starts), abs=1e-3)]
    seen = sum(min(size, n_f - i * size) for i in range(len(starts)))
    assert problem.forget.counts() == {"samples": n_f, "passes": n_f + seen}


@pytest.mark.parametrize("build", [split_net, whole_net, lambda: LogitMask(split_net(), (2,))])
def test_laf_moves_the_extractor_and_neither_head_nor_statistics(build: Callable[[], nn.Module], few: Samples) -> None:
    base = initialised(build)
    names = [name for name, _ in base.named_parameters()]
    found = run("laf", base, few)
    assert changed(base, found) == set(names) - head_names(base)  # buffers are no parameters
    assert not any(part.training for part in found.modules())


def test_gradient_flags_stay_and_no_gradient_is_left(few: Samples) -> None:
    base = initialised(split_net)
    frozen = next(iter(base.parameters())).requires_grad_(False)
    for name in ENTRIES:
        found = run(name, base, few)
        assert [p.requires_grad for p in found.parameters()] == [p is not frozen for p in base.parameters()]
        assert all(p.grad is None for p in found.parameters())


def test_a_pair_of_steps_by_hand(few: Samples) -> None:
    """One pair: a step of A1 on L_UE, then one of A2 on L_RA, which is what Adam's first step makes of its gradient."""
    base = initialised(split_net)
    parameters = {"epochs": 1, "batch_size": 1000, "vae_epochs": 1, "lr_unlearn": 1e-3, "lr_align": 3e-3}
    found = run("laf", base, few, **parameters)
    problem, _ = forgetting(base, few)
    model, theta = problem.model, list(problem.model.extractor.parameters())
    x_r, x_f = problem.retain.everything().x, problem.forget.everything().x
    s = module.Settings(1, 1e-3, 3e-3, 20.0, 8, 1, 1e-3, 1000, 32)
    e_r, e_f = model.extractor(x_r).detach(), model.extractor(x_f).detach()
    h, _ = module.autoencoder(problem, "h", torch.cat([e_r, e_f]), s)
    h_f, _ = module.autoencoder(problem, "h_f", e_f, s)
    g = problem.generator("laf")
    order_r, order_f = (torch.randperm(len(x), generator=g) for x in (x_r, x_f))
    x_r, x_f, e_r, e_f = x_r[order_r], x_f[order_f], e_r[order_r], e_f[order_f]

    def first_step_of_adam(loss: Tensor, lr: float) -> None:
        with torch.no_grad():
            for p, grad in zip(theta, torch.autograd.grad(loss, theta), strict=True):
                p -= lr * grad / (grad.abs() + 1e-8)

    u_r, u_f = model.extractor(x_r), model.extractor(x_f)
    m_r, m_f = ((vae(u, g)[0] - u).square().sum(1) for vae, u in ((h, u_r), (h_f, u_f)))
    L_UE = torch.exp(m_r / (m_r + 1)).sum() - torch.exp(m_f / (m_f + 1)).sum()
    first_step_of_adam(L_UE, 1e-3)
    cos = nn.CosineEmbeddingLoss(reduction="none")
    d_r, d_f = (
        cos(model.extractor(x_r), e_r, torch.ones(len(x_r))),
        cos(model.extractor(x_f), e_f, torch.ones(len(x_f))),
    )
    L_RA = d_r.sum() - len(d_r) * (d_f / 20).exp().sum().log()
    first_step_of_adam(L_RA, 3e-3)
    assert found.curves["unlearn"] == [pytest.approx(L_UE.item(), rel=1e-4)]
    assert found.curves["align"] == [pytest.approx(L_RA.item(), rel=1e-5)]
    for p, q in zip(found.extractor.parameters(), theta, strict=True):
        moved = (p - q).abs() > 1e-4  # the sign of a gradient near zero is a matter of rounding
        assert moved.double().mean() < 0.02


def test_two_runs_are_bit_identical_and_the_seed_matters(few: Samples) -> None:
    base = initialised(split_net)
    for name, entry in ENTRIES.items():
        found = []
        for seed in (0, 0, 1):
            torch.manual_seed(torch.seed())  # the global generator decides nothing
            found.append(entry(forgetting(base, few, 3, access_of(name), seed)[0], **QUICK))
        assert state_hash(found[0]) == state_hash(found[1]) != state_hash(found[2])
        assert found[0].curves == found[1].curves


def test_one_number_a_loss_and_epoch(few: Samples) -> None:
    found = run("laf", initialised(split_net), few, epochs=3, vae_epochs=4)
    lengths = {name: len(curve) for name, curve in found.curves.items()}
    assert lengths == {"unlearn": 3, "align": 3, "vae": 4, "vae.forget": 4}
    assert all(isinstance(value, float) and math.isfinite(value) for curve in found.curves.values() for value in curve)
    assert found.curves["vae"][-1] < found.curves["vae"][0]
    assert "curves" not in found.state_dict()
    assert copy.deepcopy(found).curves == found.curves


# What is read


def test_no_label_is_read(few: Samples) -> None:
    base = initialised(split_net)
    wrong = Samples(few.images, torch.zeros_like(few.labels), few.mean, few.std)
    mask = few.labels == 3
    assert state_hash(run("laf", base, few, mask)) == state_hash(run("laf", base, wrong, mask))
    problem, ledger = forgetting(base, few, 3, access_of("laf"))
    laf(problem, **QUICK)
    n_r, n_f = len(problem.retain), len(problem.forget)
    assert "labels" not in problem.retain.counts()
    assert problem.forget.counts() == {"samples": n_f, "passes": 3 * n_f}  # representations and two epochs
    assert problem.retain.counts()["samples"] == n_r
    assert problem.labelled.counts() == {"passes": 0}
    assert ledger.violations == []


def test_reading_a_label_all_the_same_is_a_violation(few: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = module.representations

    def nosy(model: nn.Module, view: View) -> Tensor:
        found: Tensor = plain(model, view)
        return found + 0 * view.everything().y[:, None]

    monkeypatch.setattr(module, "representations", nosy)
    problem, ledger = forgetting(initialised(split_net), few, 3, access_of("laf"))
    with pytest.raises(AccessViolation, match="labels of the retain view"):
        laf(problem, **QUICK)
    assert len(ledger.violations) == 1
    with pytest.raises(AccessViolation):
        laf_r(forgetting(initialised(split_net), few, 3, access_of("laf"))[0], **QUICK)


@pytest.mark.parametrize("build", [split_net, whole_net])
def test_the_repair_moves_the_head_alone(build: Callable[[], nn.Module], few: Samples) -> None:
    base = initialised(build)
    plain = run("laf", base, few)
    for name in ("laf-r", "laf-r+few-labels"):
        found = run(name, base, few, repair_epochs=2)
        assert changed(plain, found) == head_names(base)
        assert found.curves == plain.curves
        assert changed(plain, run(name, base, few, repair_epochs=0)) == set()


def test_whose_labels_the_repair_reads(few: Samples) -> None:
    base = initialised(split_net)
    problem, _ = forgetting(base, few, 3, access_of("laf-r"))
    laf_r(problem, **{**QUICK, "batch_size": 8}, repair_epochs=1)
    assert 0 < problem.retain.counts()["labels"] <= -(-len(problem.forget) // 8) * 8
    assert "labels" not in problem.forget.counts()
    problem, _ = forgetting(base, few, 3, access_of("laf-r+few-labels"))
    laf_r_few_labels(problem, **QUICK)
    n = len(problem.labelled)
    assert n < len(problem.forget)  # an epoch of the repair ends with the shorter one
    assert problem.labelled.counts() == {"samples": n, "labels": n, "passes": n}
    assert "labels" not in problem.retain.counts()
    assert "labels" not in problem.forget.counts()


# What is shared, and what is refused


class Kept:
    """Stages in memory."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, Tensor]] = {}

    def get(
        self, name: str, build: Callable[[], dict[str, Tensor]], depends: Mapping[str, object]
    ) -> dict[str, Tensor]:
        key = json.dumps([name, dict(depends)], sort_keys=True)
        if key not in self.stages:
            self.stages[key] = build()
        return self.stages[key]


def test_the_three_variants_share_one_stage(few: Samples) -> None:
    base, kept, found = initialised(split_net), Kept(), {}
    contents = []
    for name, entry in ENTRIES.items():
        problem, _ = forgetting(base, few, 3, access_of(name))
        problem.stages = kept
        found[name] = entry(problem, **QUICK)
        assert len(kept.stages) == 1
        contents.append({key: tensor.clone() for key, tensor in next(iter(kept.stages.values())).items()})
        if name != "laf":
            assert problem.forget.counts() == {"passes": 0}
        assert changed(found["laf"], found[name]) == (set() if name == "laf" else head_names(base))
        assert found[name].curves == found["laf"].curves
    for later in contents[1:]:  # a repair leaves what is kept alone
        assert all(torch.equal(tensor, later[key]) for key, tensor in contents[0].items())
    for key, length in {"unlearn": 2, "align": 2, "vae": 2, "vae.forget": 2}.items():
        curve = contents[0][f"curve.{key}"]
        assert curve.dtype == torch.float64
        assert curve.shape == (length,)
    assert {key.removeprefix("model.") for key in contents[0] if key.startswith("model.")} == set(base.state_dict())
    assert save(next(iter(kept.stages.values())))  # tensors that share memory cannot be stored
    problem, _ = forgetting(base, few, 3, access_of("laf"))
    problem.stages = kept
    laf(problem, **{**QUICK, "lr_align": 2e-3})
    assert len(kept.stages) == 2


def test_what_discovery_finds() -> None:
    infos = {name: METHODS.get(name) for name in ENTRIES}
    assert {(i.kind, i.tasks, i.shares, i.paper) for i in infos.values()} == {
        ("paper", ("label-free-forget",), "laf", "arXiv:2404.00506")
    }
    shared = infos["laf"].defaults()
    assert shared.keys() == set(module.Settings._fields)
    for name in ("laf-r", "laf-r+few-labels"):
        assert infos[name].defaults() == {**shared, "repair_epochs": 1, "repair_lr": 1e-4}
    assert infos["laf"].access.label_free


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("laf", {"vae_lr": 1e30}, "VAE h, epoch 1: the loss is not finite"),
        ("laf", {"lr_unlearn": 1e30}, "L_RA is not finite in epoch 1, step 1"),
        ("laf", {"lr_align": 1e30, "lr_unlearn": 0.0, "batch_size": 8}, "L_UE is not finite in epoch 1, step 2"),
        ("laf-r", {"repair_lr": 1e30, "batch_size": 4}, "repair: the loss is not finite"),
    ],
)
def test_divergence_names_the_loss(name: str, parameters: dict[str, float], message: str, few: Samples) -> None:
    base = initialised(split_net)
    problem, _ = forgetting(base, few, 3, access_of(name))
    with pytest.raises(DivergenceError, match=message):
        ENTRIES[name](problem, **{**QUICK, **parameters})
    assert all(p.requires_grad and p.grad is None for p in problem.model.parameters())


def test_inputs_that_are_not_finite_diverge() -> None:
    x = torch.randn(40, 64)
    x[39] = torch.nan
    net = SplitClassifier(nn.Linear(64, 12), nn.Linear(12, CLASSES))
    problem, _ = forgetting(net, Samples(x, torch.arange(40) % CLASSES), torch.arange(40) >= 30)
    with pytest.raises(DivergenceError, match="VAE h, epoch 1"):
        laf(problem, **QUICK)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"epochs": -1}, {"temperature": 0.0}, {"latent_dim": 0}])
def test_settings_that_cannot_be_are_refused_before_anything_is_read(wrong: dict[str, Any], few: Samples) -> None:
    problem, _ = forgetting(initialised(split_net), few)
    with pytest.raises(InputError, match="laf: "):
        laf(problem, **{**QUICK, **wrong})
    assert problem.retain.counts() == {"passes": 0}


# A small run


@torch.no_grad()
def accuracy(model: nn.Module, samples: Samples) -> float:
    return float((model(samples.inputs()).argmax(1) == samples.labels).double().mean())


@pytest.fixture(scope="module")
def learnt(digits: Samples) -> nn.Module:
    """The paper's CNN, trained on the digits."""
    torch.manual_seed(0)
    model = build_classifier("laf-cnn", CLASSES, (1, 8, 8))
    train_classifier(model, View("retain", digits, EVERYTHING, Ledger()), RECIPE, generator(0, "base"))
    return model


@pytest.mark.parametrize("gone", [0, 3])
def test_the_class_is_forgotten_and_the_rest_kept(gone: int, digits: Samples, learnt: nn.Module) -> None:
    """Rates, tau and epochs of the VAEs fit for a hundred images a class; the defaults are tuned on thousands."""
    is_gone = digits.labels == gone
    kept, forgotten = (digits.subset(mask.nonzero()[:, 0]) for mask in (~is_gone, is_gone))
    assert accuracy(learnt, kept) > 0.98
    assert accuracy(learnt, forgotten) > 0.98
    stages = Kept()
    for name, entry in ENTRIES.items():
        problem, _ = forgetting(learnt, digits, gone, access_of(name))
        problem.stages = stages
        model = entry(problem, epochs=20, vae_epochs=40, batch_size=8, lr_unlearn=1e-3, lr_align=1e-3, temperature=5.0)
        assert accuracy(model, forgotten) < 0.1
        assert accuracy(model, kept) > 0.9
        assert model.curves["unlearn"][-1] < model.curves["unlearn"][0] - 1
        assert model.curves["align"][0] > model.curves["align"][-1]
