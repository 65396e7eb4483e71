"""The methods of Adapt then Unlearn (arXiv:2309.14054) and their hyper-parameters: three repulsions, and extrapolation.

Both stages are those of ``methods/adapt_then_unlearn.py``; one run of stage 1 serves all four. Extrapolation is what
stage 1 alone is good for: the baseline in which the paper sees its premise, that there are directions in parameter
space along which a feature comes and goes.
"""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.contracts import Access, GanProblem, method
from benchmark.errors import InputError
from benchmark.models.extrapolation import Extrapolated
from benchmark.training.screening import negatives
from methods.adapt_then_unlearn import Tensors, adapt, el2, il2, nl2, unlearn


def adapted(problem: GanProblem, models: int, images: int, steps: int, lam: float) -> dict[str, Tensor]:
    """Stage 1 with negatives among ``images`` new images a model, computed once for all methods that ask for it."""
    found = problem.stage(
        "adapted",
        lambda: adapt(problem, models, lambda role: negatives(problem, images, role), steps, lam),
        models=models,
        images=images,
        steps=steps,
        lam=lam,
    )
    # What was kept comes back in another order and layout, and sums over it would be rounded differently.
    return {name: found[name].contiguous() for name, _ in problem.model.named_parameters()}


def extrapolated(problem: GanProblem, models: Tensors, s: float) -> Extrapolated:
    """theta_G + s (mean theta_N - theta_G), in place, given theta_N by parameter (M, ...)."""
    theta = dict(problem.model.named_parameters())
    direction = {name: each.mean(0) - theta[name].detach() for name, each in models.items()}
    return Extrapolated(problem.model, direction, s)


@method("atu-il2", tasks="gan-feature-removal", paper="arXiv:2309.14054", access=Access(feedback="y"), shares="adapted")
def atu_il2(
    problem: GanProblem,
    *,
    gamma: float = 1.0,
    steps: int = 400,
    images: int = 5000,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
    scale: str = "relative",
) -> nn.Module:
    """Adapt then Unlearn with the inverse distance: L_adv + gamma / d (Tiwary et al., TMLR 2025)."""
    theta_N = adapted(problem, models, adapt_images, adapt_steps, lam)
    return unlearn(problem, theta_N, il2, gamma, images, steps, scale)


@method("atu-nl2", tasks="gan-feature-removal", paper="arXiv:2309.14054", access=Access(feedback="y"), shares="adapted")
def atu_nl2(
    problem: GanProblem,
    *,
    gamma: float = 1e-2,
    steps: int = 400,
    images: int = 5000,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
    scale: str = "relative",
) -> nn.Module:
    """Adapt then Unlearn with the negative distance: L_adv - gamma d (Tiwary et al., TMLR 2025)."""
    theta_N = adapted(problem, models, adapt_images, adapt_steps, lam)
    return unlearn(problem, theta_N, nl2, gamma, images, steps, scale)


@method("atu-el2", tasks="gan-feature-removal", paper="arXiv:2309.14054", access=Access(feedback="y"), shares="adapted")
def atu_el2(
    problem: GanProblem,
    *,
    gamma: float = 100.0,
    alpha: float = 0.1,
    steps: int = 400,
    images: int = 5000,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
    scale: str = "relative",
) -> nn.Module:
    """Adapt then Unlearn with the exponential: L_adv + gamma exp(-alpha d) (Tiwary et al., TMLR 2025).

    The authors' code calls alpha gamma, and has the weight 100 written out; here both are parameters.
    """
    if alpha < 0:
        raise InputError(f"alpha must be at least 0, not {alpha}")
    theta_N = adapted(problem, models, adapt_images, adapt_steps, lam)
    return unlearn(problem, theta_N, lambda d: el2(d, alpha), gamma, images, steps, scale)


@method(
    "extrapolation",
    tasks="gan-feature-removal",
    kind="baseline",
    paper="arXiv:2309.14054",
    access=Access(feedback="y"),
    shares="adapted",
)
def extrapolation(
    problem: GanProblem,
    *,
    s: float = -0.5,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
) -> nn.Module:
    """Parameters moved away from the adapted ones, theta_G + s (mean theta_N - theta_G) with s < 0; no training.

    The baseline in which Adapt then Unlearn sees its premise (Tiwary et al., TMLR 2025): s = 0 is the original, s = 1
    the mean adapted generator.
    """
    return extrapolated(problem, adapted(problem, models, adapt_images, adapt_steps, lam), s)
