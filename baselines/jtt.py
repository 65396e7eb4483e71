"""JTT: just train twice, the second time with more weight on what the first network gets wrong (Liu et al., 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.erm import train_erm
from benchmark.contracts import Access, DebiasProblem, method
from benchmark.errors import InputError
from benchmark.training.last_layer import outputs
from benchmark.training.sampling import Draw, train_on_draws, uniformly


def misclassified(problem: DebiasProblem, identify_for: float, lr_scale: float, decay_scale: float) -> Tensor:
    """(N,) bool: JTT's error set, what a network trained by ERM for a part of the recipe's steps gets wrong."""

    def identified() -> dict[str, Tensor]:
        model = problem.fresh_model("identification")
        train_erm(problem, model, lr_scale, decay_scale, max(1, round(identify_for * problem.recipe.steps)))
        return {"wrong": outputs(model, problem.train)[0].argmax(1) != problem.train.everything().y}

    depends = {"identify_for": identify_for, "lr_scale": lr_scale, "decay_scale": decay_scale}
    return problem.stage("error set", identified, **depends)["wrong"]


def upweighted(wrong: Tensor, upweight: float) -> Tensor:
    """(N,) float32 weights: what is ``wrong`` weighs ``upweight`` times the rest, and samples weigh 1 on average."""
    raw = torch.where(wrong, upweight, 1.0).double()
    return (raw / raw.mean()).float()


@method("jtt", tasks=("debias-known", "debias-unknown"), paper="arXiv:2107.09044", access=Access(train="xy"))
def jtt(
    problem: DebiasProblem,
    *,
    identify_for: float = 0.5,
    upweight: float = 10.0,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
) -> nn.Module:
    """JTT (Liu et al., 2021): a network trained on weighted samples, those weighing more that another gets wrong.

    The other is trained for ``identify_for`` of the recipe's steps (the paper's T). Weights instead of the paper's
    repeated samples: the expectation is the same, and the rate means what it means to the other methods.
    """
    if not (0 < identify_for <= 1 and upweight > 0):
        raise InputError(f"jtt: identify_for must be in (0, 1] and upweight above 0, not {identify_for} and {upweight}")
    weights = upweighted(misclassified(problem, identify_for, lr_scale, decay_scale), upweight)
    batches = uniformly(problem, problem.generator("batches"))
    draws = (Draw(index, weights[index] / len(index)) for index in batches)
    return train_on_draws(problem, draws, lr_scale, decay_scale)
