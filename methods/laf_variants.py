"""The methods of label-agnostic forgetting (arXiv:2404.00506) and their hyper-parameters: LAF, and LAF+R twice.

Steps 1 and 2 are those of ``methods/laf.py``; one run of them serves all three. LAF+R adds step 3: a supervised repair
of the head c by the cross-entropy of labelled samples of D_r, while the extractor e_U stays as it is. For step 3 the
official code records neither epochs nor rate: 1 and 1e-4 are our choice.
"""

from __future__ import annotations

from torch import nn

from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import View
from benchmark.models.surgery import head
from benchmark.training.batches import pairs
from benchmark.training.scopes import named, training_only
from methods.laf import Settings, forgotten


def repair(problem: ForgetProblem, labelled: View, size: int, epochs: int, lr: float) -> None:
    """Step 3 in place: cross-entropy on ``labelled``, for the head alone, over the pairs of ``labelled`` and D_f."""
    model, generator = problem.model, problem.generator("laf repair")
    c = list(head(model).parameters())
    batches = (B_l for _ in range(epochs) for B_l, _ in pairs(labelled, problem.forget, size, generator))
    with training_only(model, c), named("repair"):
        training.optimise(batches, training.cross_entropy(model), training.adam(c, lr))


@method("laf", tasks="label-free-forget", paper="arXiv:2404.00506", access=Access(retain="x", forget="x"), shares="laf")
def laf(
    problem: ForgetProblem,
    *,
    epochs: int = 20,
    lr_unlearn: float = 5e-5,
    lr_align: float = 1e-4,
    temperature: float = 20.0,
    latent_dim: int = 8,
    vae_epochs: int = 10,
    vae_lr: float = 1e-3,
    batch_size: int = 32,
    vae_batch_size: int = 32,
) -> nn.Module:
    """Label-agnostic forgetting (Shen et al., ICLR 2024): two auto-encoders and a contrastive loss, no labels."""
    s = Settings(epochs, lr_unlearn, lr_align, temperature, latent_dim, vae_epochs, vae_lr, batch_size, vae_batch_size)
    return forgotten(problem, s)


@method(
    "laf-r", tasks="label-free-forget", paper="arXiv:2404.00506", access=Access(retain="xy", forget="x"), shares="laf"
)
def laf_r(
    problem: ForgetProblem,
    *,
    epochs: int = 20,
    lr_unlearn: float = 5e-5,
    lr_align: float = 1e-4,
    temperature: float = 20.0,
    latent_dim: int = 8,
    vae_epochs: int = 10,
    vae_lr: float = 1e-3,
    batch_size: int = 32,
    vae_batch_size: int = 32,
    repair_epochs: int = 1,
    repair_lr: float = 1e-4,
) -> nn.Module:
    """LAF+R: label-agnostic forgetting, then a short supervised repair of the head on the retain set.

    The official code takes the repair's epochs and rate as arguments and records neither: 1 and 1e-4 are our choice.
    """
    s = Settings(epochs, lr_unlearn, lr_align, temperature, latent_dim, vae_epochs, vae_lr, batch_size, vae_batch_size)
    model = forgotten(problem, s)
    repair(problem, problem.retain, batch_size, repair_epochs, repair_lr)
    return model


@method(
    "laf-r+few-labels",
    tasks="label-free-forget",
    paper="arXiv:2404.00506",
    access=Access(retain="x", labelled="xy", forget="x"),
    shares="laf",
)
def laf_r_few_labels(
    problem: ForgetProblem,
    *,
    epochs: int = 20,
    lr_unlearn: float = 5e-5,
    lr_align: float = 1e-4,
    temperature: float = 20.0,
    latent_dim: int = 8,
    vae_epochs: int = 10,
    vae_lr: float = 1e-3,
    batch_size: int = 32,
    vae_batch_size: int = 32,
    repair_epochs: int = 1,
    repair_lr: float = 1e-4,
) -> nn.Module:
    """LAF+R, semi-supervised: the repair sees that share of the retain set whose labels are known.

    As in LAF+R, the repair's epochs and rate are our choice.
    """
    s = Settings(epochs, lr_unlearn, lr_align, temperature, latent_dim, vae_epochs, vae_lr, batch_size, vae_batch_size)
    model = forgotten(problem, s)
    repair(problem, problem.labelled, batch_size, repair_epochs, repair_lr)
    return model
