"""UNSIR: impair the forgotten class by noise that stands for it, then repair the others. Sees no forget sample."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.distillation import frozen_copy
from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method


def error_maximising_noise(
    model: nn.Module, noise: Tensor, labels: Tensor, *, steps: int, lr: float, penalty: float
) -> Tensor:
    """Inputs (B, ...) that ``model``, which is frozen, finds least like their ``labels`` (B,), started at ``noise``.

    Minimises -CE + penalty * mean squared 2-norm by Adam (Tarun et al. 2021).
    """
    noise = nn.Parameter(noise.clone())

    def loss(_: int) -> Tensor:
        return penalty * noise.square().flatten(1).sum(1).mean() - F.cross_entropy(model(noise), labels)

    training.optimise(range(steps), loss, torch.optim.Adam([noise], lr=lr))
    return noise.detach()


def fit(model: nn.Module, x: Tensor, y: Tensor, lr: float, batch_size: int, generator: torch.Generator) -> None:
    """One shuffled epoch of Adam on inputs ``x`` and labels ``y``; leaves ``model`` in training mode."""

    def batches() -> Iterator[Tensor]:
        order = torch.randperm(len(x), generator=generator).to(x.device)
        yield from order.tensor_split(max(round(len(x) / batch_size), 1))

    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    training.optimise(batches(), lambda index: F.cross_entropy(model(x[index]), y[index]), optimiser)


@method("unsir", tasks="class-forget", paper="Tarun et al. 2021, arXiv:2111.08947", access=Access(retain="xy"))
def unsir(
    problem: ForgetProblem,
    *,
    lr_impair: float = 5e-3,
    lr_repair: float = 1e-3,
    samples_per_class: int = 100,
    noise_batch: int = 64,
    copies: int = 10,
    noise_steps: int = 40,
    noise_lr: float = 0.1,
    penalty: float = 0.1,
    batch_size: int = 64,
) -> nn.Module:
    """UNSIR: impair with error-maximising noise, repair on a retain subset (Tarun et al. 2021, arXiv:2111.08947).

    Zero-glance: of the forgotten classes only the numbers are known. The noise batch is shared out among them.
    Its steps, its rate and the penalty are those of Kodge et al.'s comparison (arXiv:2312.00761), where 20 copies of
    256 noise images stand beside 1,000 of 5,000 samples a retained class. Their impair rate of 2e-4 leaves a class as
    it is in the few batches of a small data set; the default rates are higher for that reason.
    """
    model = problem.model
    generator = problem.generator("unsir")
    kept = problem.retain.draw_per_class(samples_per_class, generator)
    x, y = kept.x, kept.y
    classes = torch.tensor(problem.forget_classes, device=x.device)
    labels = classes.repeat(-(-noise_batch // len(classes)))[:noise_batch]
    start = torch.randn((noise_batch, *x.shape[1:]), generator=generator).to(x.device)
    noise = error_maximising_noise(frozen_copy(model), start, labels, steps=noise_steps, lr=noise_lr, penalty=penalty)
    impaired = torch.cat([x, noise.repeat(copies, *[1] * (x.dim() - 1))])
    fit(model, impaired, torch.cat([y, labels.repeat(copies)]), lr_impair, batch_size, generator)
    fit(model, x, y, lr_repair, batch_size, generator)
    return model.eval()
