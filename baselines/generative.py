"""What generator unlearning is compared with: retraining, fine-tuning in several ways, and gradient ascent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, GanProblem, method
from benchmark.errors import DivergenceError, InputError
from benchmark.models.gan import Generator
from benchmark.training import adam, optimise
from benchmark.training.adversarial import Penalty, Real, drawn_from, train_gan
from benchmark.training.consolidation import consolidated
from benchmark.training.screening import positives


def view_images(problem: GanProblem) -> Real:
    """Real images at random with replacement, a batch at a time."""
    view = problem.real

    def real(n: int, rng: torch.Generator) -> Tensor:
        images: Tensor = view.batch(torch.randint(len(view), (n,), generator=rng)).x
        return images

    return real


@method("retrain", tasks="gan-feature-removal", kind="reference", paper="", access=Access(real="x"))
def retrain(problem: GanProblem) -> nn.Module:
    """A GAN trained from scratch on the real images without what must go, by the base model's recipe."""
    gan = problem.initialised("retrain", problem.build_gan)
    train_gan(gan, view_images(problem), problem.recipe, problem.recipe.steps, problem.generator("retrain"))
    return gan.average


def trained_on(
    problem: GanProblem, found: Tensor, steps: int, *, penalty: Penalty | None = None, trained: list[str] | None = None
) -> nn.Module:
    """The GAN trained on generated images ``found`` (N, ...) that the feedback lets pass."""
    rng = problem.generator("unlearning")
    train_gan(problem.gan, drawn_from(found), problem.recipe, steps, rng, penalty=penalty, trained=trained)
    return problem.gan.average


@method("finetune", tasks="gan-feature-removal", paper="", access=Access(feedback="y"))
def finetune(problem: GanProblem, *, steps: int = 400, images: int = 5000) -> nn.Module:
    """Adversarial fine-tuning on positives: Adapt then Unlearn's second stage without repulsion (gamma = 0)."""
    return trained_on(problem, positives(problem, images), steps)


@method("ewc", tasks="gan-feature-removal", paper="arXiv:2012.02780", access=Access(feedback="y"))
def ewc(problem: GanProblem, *, lam: float = 1.0, steps: int = 400, images: int = 5000) -> nn.Module:
    """Fine-tuning on positives with elastic weight consolidation towards the original (Li et al., 2020).

    arXiv:2012.02780; lam/2 sum F_i (theta_i - theta_G,i)^2 as in Adapt then Unlearn's first stage.
    """
    gan = problem.gan
    penalty = consolidated(gan.generator, gan.discriminator, lam, problem.generator("fisher"))
    return trained_on(problem, positives(problem, images), steps, penalty=penalty)


@method("l1-sparse", tasks="gan-feature-removal", paper="arXiv:2304.04934", access=Access(feedback="y"))
def l1_sparse(problem: GanProblem, *, lam: float = 5e-5, steps: int = 400, images: int = 5000) -> nn.Module:
    """Fine-tuning on positives with lam ||theta||_1 of the generator (Jia et al., 2023, arXiv:2304.04934)."""
    if lam < 0:
        raise InputError(f"lam must be at least 0, not {lam}")

    def sparse(generator: Generator) -> Tensor:
        return lam * torch.stack([parameter.abs().sum() for parameter in generator.parameters()]).sum()

    return trained_on(problem, positives(problem, images), steps, penalty=sparse)


def last_tensors(generator: Generator, k: int) -> list[str]:
    """Names of the last ``k`` parameter tensors, in the order of definition."""
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    return [name for name, _ in generator.named_parameters()][-k:]


@method("cf-k", tasks="gan-feature-removal", paper="Goel et al. 2022, arXiv:2201.06640", access=Access(feedback="y"))
def cf_k(problem: GanProblem, *, k: int = 4, steps: int = 400, images: int = 5000) -> nn.Module:
    """Fine-tuning on positives of the generator's last k parameter tensors alone (Goel et al. 2022, arXiv:2201.06640).

    Adapt then Unlearn's comparison has k = 10 in a StyleGAN2, whose last ten tensors are not the whole network. It
    starts from the averaged weights, so that the others stay what they are in the generator in use.
    """
    names = last_tensors(problem.gan.generator, k)
    problem.gan.generator.load_state_dict(problem.model.state_dict())
    return trained_on(problem, positives(problem, images), steps, trained=names)


@method("eu-k", tasks="gan-feature-removal", paper="Goel et al. 2022, arXiv:2201.06640", access=Access(feedback="y"))
def eu_k(problem: GanProblem, *, k: int = 4, steps: int = 400, images: int = 5000) -> nn.Module:
    """The same from new values: the last k tensors are initialised again (Goel et al. 2022, arXiv:2201.06640).

    Their moments start again, too, and the averaged weights start from the new values; the others stay as in the
    generator in use.
    """
    gan, found = problem.gan, positives(problem, images)  # drawn before the generator in use is changed
    gan.generator.load_state_dict(problem.model.state_dict())
    names = last_tensors(gan.generator, k)
    fresh = dict(problem.initialised("last tensors", problem.build_gan).generator.named_parameters())
    with torch.no_grad():
        for network in (gan.generator, gan.average):
            for name, parameter in network.named_parameters():
                if name in names:
                    parameter.copy_(fresh[name])
    stale = tuple(f"generator.{name}." for name in names)
    gan.moments = {name: moment for name, moment in gan.moments.items() if not name.startswith(stale)}
    return trained_on(problem, found, steps, trained=names)


@method("gradient-ascent", tasks="gan-feature-removal", paper="", access=Access(feedback="w"))
def gradient_ascent(problem: GanProblem, *, lr: float = 1e-4, steps: int = 100) -> nn.Module:
    """Ascent on the feedback: the generator climbs log p(desired) of the network that judges, through its gradient.

    No discriminator holds the images to what images are: what pleases the feedback need not please another judge.
    """
    judge = problem.feedback.network().requires_grad_(False)
    model = problem.model.requires_grad_(True)
    rng = problem.generator("ascent")
    latents = (model.latents(problem.recipe.batch_size, rng) for _ in range(steps))
    optimise(latents, lambda z: F.softplus(judge(model(z))).mean(), adam(model, lr))
    model.requires_grad_(False)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise DivergenceError("the generator's parameters are not finite")
    return model
