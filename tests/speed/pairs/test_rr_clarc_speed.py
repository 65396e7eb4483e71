"""RR-ClArC: a head that trains on activations which are computed once, beside the whole network in every step."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, BiasProblem, Ledger, Recipe
from benchmark.data.packaged import load
from benchmark.data.views import Samples, View
from benchmark.models.classifiers import build_classifier
from benchmark.models.split import rectify_again
from benchmark.training.loop import epochs as batches_of
from benchmark.training.loop import train_classifier
from methods.rr_clarc import rr_clarc

BIASED = 1
RECIPE = Recipe(epochs=2, lr=0.1, batch_size=64)
LAM, LR, BATCH = 10.0, 1e-3, 64


@dataclass(frozen=True)
class Network:
    """A network of the embedded suite and the layer that its head begins behind."""

    name: str
    layer: str
    rectified: bool


RESIDUAL, PLAIN = Network("resnet-small", "5", True), Network("vgg-small", "8", False)


@functools.cache
def attacked(data: str) -> Samples:
    """The training set with a bright corner on every second image of class 1."""
    train = load(data).train
    attributes = torch.zeros(len(train), dtype=torch.int64)
    attributes[(train.labels == BIASED).nonzero()[::2, 0]] = 1
    images = train.images.clone()
    corner = train.images.shape[-1] // 4
    images[attributes == 1, :, :corner, :corner] = 255
    return replace(train, images=images, attributes=attributes)


@functools.cache
def trained(network: Network, data: str, device: str) -> nn.Module:
    """What learnt from the corners."""
    samples = attacked(data).to(torch.device(device))
    torch.manual_seed(0)
    model = build_classifier(network.name, 10, load(data).shape)
    if network.rectified:
        rectify_again(model, network.layer)
    view = View("train", samples, Access(train="xy"), Ledger())
    train_classifier(model.to(device), view, RECIPE, torch.Generator().manual_seed(0))
    return model


def problem_of(network: Network, data: str, device: str) -> BiasProblem:
    """A problem on a copy of the trained network."""
    samples, access, ledger = attacked(data).to(torch.device(device)), Access(train="xy", concept="xa"), Ledger()
    told = samples.subset((samples.labels == BIASED).nonzero().squeeze(1))
    parts = {"train": samples, "concept": told, "clean": samples}
    model = trained(network, data, device)
    return BiasProblem(
        model=copy.deepcopy(model),
        **{name: View(name, part, access, ledger) for name, part in parts.items()},
        num_classes=10,
        device=torch.device(device),
        seed=0,
        build_model=lambda: copy.deepcopy(model),
        biased_class=BIASED,
        layer=f"{network.layer}.layer" if network.rectified else network.layer,
        recipe=RECIPE,
    )


# The plain way.


class Activations:
    """What comes out of the layer in the last forward pass; ``cut``: as a leaf, so that nothing below has a graph."""

    def __init__(self, layer: nn.Module, cut: bool) -> None:
        layer.register_forward_hook(self.keep)
        self.cut = cut

    def keep(self, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        self.a = output.detach().requires_grad_() if self.cut else output
        return self.a


def signal_vector(model: nn.Module, seen: Activations, view: View) -> Tensor:
    """h (C,): the difference of mean pooled activations with and without the artefact."""
    found = []
    with torch.no_grad():
        for part in view.everything().split(500):
            model(part.x)
            found.append(seen.a.amax((2, 3)))
    a, t = torch.cat(found).double(), view.everything().a
    h = a[t == 1].mean(0) - a[t == 0].mean(0)
    return (h / h.norm()).float()


def finetuned(problem: BiasProblem, epochs: int, cut: bool) -> nn.Module:
    """CE + lam L_RR, every batch through the whole network; ``cut``: no graph below the layer."""
    model = problem.model.eval()
    seen = Activations(model.get_submodule(problem.layer), cut)
    h = signal_vector(model, seen, problem.concept)
    for module in model.modules():
        module.train(isinstance(module, nn.Dropout))
    if cut:
        model.requires_grad_(False)
    head = [p for layer in model.modules() if isinstance(layer, nn.Linear) for p in layer.requires_grad_().parameters()]
    optimiser = torch.optim.SGD(head, lr=LR, momentum=0.9)
    counts = problem.train.everything().y.bincount(minlength=10)
    weights, generator = counts.max() / counts, problem.generator("annotation")
    for batch in batches_of(problem.train, BATCH, epochs, problem.generator("batches")):
        logits = model(batch.x)
        m = (torch.randint(2, logits.shape, generator=generator) * 2 - 1).to(logits)
        (gradient,) = torch.autograd.grad((m * logits).sum(), seen.a, create_graph=True)
        penalty = (gradient.mean((2, 3)) @ h).square().mean()
        loss = F.cross_entropy(logits, batch.y, weights) + LAM * penalty
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head, 100.0)
        optimiser.step()
    return model.eval()


def assert_close(found: nn.Module, expected: nn.Module, before: nn.Module) -> None:
    """Every tensor within 1 % of the largest step that training made with it, and what is frozen as it was."""
    own, old = found.state_dict(), before.state_dict()
    for name, tensor in expected.state_dict().items():
        step = float((tensor - old[name]).abs().max())
        torch.testing.assert_close(own[name], tensor, rtol=0, atol=0.01 * step, msg=lambda m, n=name: f"{n}: {m}")


#: Whether nothing below the layer has a graph, and what the table says of it.
WAYS = {
    "graph": (False, "the whole network in every step, graph and all"),
    "leaf": (True, "the whole network in every step, no graph below the layer"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("network", [RESIDUAL, PLAIN], ids=lambda network: network.name)
def test_finetuning(beside, device: str, full: bool, network: Network, way: str) -> None:  # type: ignore[no-untyped-def]
    """The method's epochs, half of them for the larger network; after two the same linear layers come out of both.

    The bar is for networks whose head is small beside what is below it.
    """
    data, epochs = ("mnist-5k", 10 if network is RESIDUAL else 5) if full else ("digits", 2)
    cut, told = WAYS[way]

    def ours(epochs: int) -> nn.Module:
        problem = problem_of(network, data, device)
        torch.manual_seed(0)  # of dropout
        return rr_clarc(problem, lam=LAM, lr=LR, epochs=epochs, batch_size=BATCH)

    def plain(epochs: int) -> nn.Module:
        problem = problem_of(network, data, device)
        torch.manual_seed(0)
        return finetuned(problem, epochs, cut)

    bar = 10.0 if network is RESIDUAL and way == "graph" else None
    beside(lambda: ours(epochs), lambda: plain(epochs), f"RR-ClArC on {network.name}", told, bar=bar)
    found, before = ours(2), trained(network, data, device)
    assert not torch.equal(next(reversed(found.state_dict().values())), next(reversed(before.state_dict().values())))
    assert_close(found, plain(2), before)
