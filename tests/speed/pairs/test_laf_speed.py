"""LAF: the original's representations computed once, batches joined, beside a frozen copy that runs in every step."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.packaged import load
from benchmark.data.views import Samples, View
from benchmark.models.classifiers import build_classifier
from benchmark.models.surgery import SplitClassifier
from benchmark.training.loop import train_classifier
from methods.laf_autoencoders import VAE
from methods.laf_variants import laf

GONE = 3
RECIPE = Recipe(epochs=2, lr=1e-3, batch_size=32, weight_decay=1e-4, schedule="constant", optimiser="adam")
SIZE, TAU = 32, 20.0
Curves = dict[str, list[float]]


@functools.cache
def trained(data: str, device: str) -> SplitClassifier:
    """The network of the paper's experiments on MNIST, which has learnt all classes."""
    torch.manual_seed(0)
    model = build_classifier("laf-cnn", 10, load(data).shape).to(device)
    assert isinstance(model, SplitClassifier)
    samples = load(data).train.to(torch.device(device))
    train_classifier(model, View("train", samples, Access(train="xy"), Ledger()), RECIPE, torch.Generator())
    return model


def parts_of(data: str, device: str) -> dict[str, Samples]:
    """What is retained and what is forgotten."""
    train = load(data).train.to(torch.device(device))
    gone = train.labels == GONE
    return {"retain": train.subset((~gone).nonzero()[:, 0]), "forget": train.subset(gone.nonzero()[:, 0])}


def problem_of(data: str, device: str) -> ForgetProblem:
    """Class 3 is to be forgotten, by a copy of the trained network, without labels."""
    parts, access, ledger = parts_of(data, device), Access(retain="x", forget="x"), Ledger()
    nothing = parts["retain"].subset(torch.arange(0, device=device))
    views = {**parts, "selection": nothing, "labelled": nothing}
    model = trained(data, device)
    return ForgetProblem(
        model=copy.deepcopy(model),
        **{name: View(name, samples, access, ledger) for name, samples in views.items()},
        forget_classes=(),
        num_classes=10,
        recipe=RECIPE,
        device=torch.device(device),
        seed=0,
        build_model=lambda: copy.deepcopy(model),
    )


# The plain way: loaders that give samples one by one, two networks in every step.


class Images(Dataset[Tensor]):
    """Normalised images of samples on the CPU."""

    def __init__(self, *parts: Samples) -> None:
        self.images = torch.cat([part.images for part in parts]).cpu()
        self.mean, self.std = parts[0].mean[0], parts[0].std[0]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return (self.images[index].float() / 255 - self.mean) / self.std


def loader(images: Images, generator: torch.Generator) -> DataLoader[Tensor]:
    """Shuffled batches of 32, in the order that ``generator`` gives."""
    return DataLoader(images, SIZE, sampler=torch.randperm(len(images), generator=generator).tolist())


def fitted(problem: ForgetProblem, name: str, e_D: nn.Module, images: Images, epochs: int) -> tuple[VAE, list[float]]:
    """A VAE of representations, which are computed batch by batch, and the mean loss of every epoch."""
    h = problem.initialised(f"laf {name}", lambda: VAE(256, 8))
    optimiser, generator = torch.optim.Adam(h.parameters(), lr=1e-3), problem.generator(f"laf {name}")
    curve = []
    for _ in range(epochs):
        losses = []
        for x in loader(images, generator):
            with torch.no_grad():
                e = e_D(x.to(problem.device))
            rec, mu, logvar = h(e, generator)
            kl = -0.5 * (torch.log(logvar.exp() + 1e-8) + 1 - mu**2 - logvar.exp()).sum(1).mean()
            loss = ((rec - e) ** 2).sum(1).mean() + 0.025 * kl
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        curve.append(sum(losses) / len(losses))
    return h, curve


def errors(h: VAE, e: Tensor, generator: torch.Generator) -> Tensor:
    """phi of the squared reconstruction errors."""
    m = ((h(e, generator)[0] - e) ** 2).sum(1)
    return torch.exp(m / (m + 1))


def batch_pairs(retain: Images, forget: Images, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch, as long as the shorter loader."""
    return zip(loader(retain, generator), loader(forget, generator), strict=False)


def forgotten(problem: ForgetProblem, parts: dict[str, Samples], epochs: int) -> tuple[nn.Module, Curves]:
    """Both steps of LAF as the paper writes them down, and the mean losses of every epoch."""
    model, device = problem.model.eval(), problem.device
    e_D = copy.deepcopy(model.extractor).requires_grad_(False)
    retain, forget, everything = Images(parts["retain"]), Images(parts["forget"]), Images(*parts.values())
    h, vae = fitted(problem, "h", e_D, everything, epochs)
    h_f, vae_forget = fitted(problem, "h_f", e_D, forget, epochs)
    e_U = model.extractor
    unlearning = torch.optim.Adam(e_U.parameters(), lr=5e-5)
    aligning = torch.optim.Adam(e_U.parameters(), lr=1e-4)
    generator, unlearn, align = problem.generator("laf"), [], []
    for _ in range(2 * epochs):
        L_UE, L_RA = [], []
        for x_r, x_f in batch_pairs(retain, forget, generator):
            x_r, x_f = x_r.to(device), x_f.to(device)
            loss = errors(h, e_U(x_r), generator).sum() - errors(h_f, e_U(x_f), generator).sum()
            unlearning.zero_grad()
            loss.backward()
            unlearning.step()
            L_UE.append(loss.item())
            d_r = 1 - F.cosine_similarity(e_U(x_r), e_D(x_r))
            d_f = 1 - F.cosine_similarity(e_U(x_f), e_D(x_f))
            loss = torch.log(torch.exp(d_r) / torch.exp(d_f / TAU).sum()).sum()
            aligning.zero_grad()
            loss.backward()
            aligning.step()
            L_RA.append(loss.item())
        unlearn.append(sum(L_UE) / len(L_UE))
        align.append(sum(L_RA) / len(L_RA))
    return model, {"unlearn": unlearn, "align": align, "vae": vae, "vae.forget": vae_forget}


def test_forgetting(beside, device: str, full: bool) -> None:  # type: ignore[no-untyped-def]
    """Half of the paper's epochs on MNIST.

    After one of the auto-encoders' and two of the others losses agree within 0.1 %, and parameters within 1 % of the
    largest step of a tensor.
    """
    data, epochs = ("mnist-5k", 5) if full else ("digits", 1)
    parts = parts_of(data, device)

    def ours(epochs: int) -> tuple[nn.Module, Curves]:
        model = laf(problem_of(data, device), epochs=2 * epochs, vae_epochs=epochs)
        return model, model.curves  # type: ignore[return-value]

    def plain(epochs: int) -> tuple[nn.Module, Curves]:
        return forgotten(problem_of(data, device), parts, epochs)

    way = "samples loaded one by one, a frozen copy in every step, separate batches"
    beside(lambda: ours(epochs), lambda: plain(epochs), "LAF", way, bar=3.0, bar_on="cuda")
    (found, curves), (expected, others) = ours(1), plain(1)
    for name, curve in others.items():
        torch.testing.assert_close(curves[name], curve, rtol=1e-3, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
    own, old = found.state_dict(), trained(data, device).state_dict()
    for name, tensor in expected.state_dict().items():
        step = float((tensor - old[name]).abs().max())
        torch.testing.assert_close(own[name], tensor, rtol=0, atol=0.01 * step, msg=lambda m, n=name: f"{n}: {m}")
    assert not torch.equal(own["extractor.0.weight"], old["extractor.0.weight"])
