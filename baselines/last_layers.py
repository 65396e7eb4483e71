"""CF-k and EU-k: only the last k weight layers are trained again, from where they are or from new values."""

from __future__ import annotations

from torch import nn

from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.errors import InputError
from benchmark.models.surgery import underlying, weight_layers


def last_modules(model: nn.Module, k: int) -> list[nn.Module]:
    """Every module from the k-th last convolution or linear layer on, in the order of definition.

    Normalisation and dropout after that layer are among them, those before it are not.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    layers = weight_layers(model)
    modules = list(model.modules())
    return modules[modules.index(layers[-min(k, len(layers))]) :]


def train_last(problem: ForgetProblem, last: list[nn.Module], lr: float, epochs: int, batch_size: int) -> nn.Module:
    """Train the modules ``last`` on the retain set; everything before stays as it is, in evaluation mode."""
    model = problem.model
    required = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(False)
    for module in last:
        module.train().requires_grad_(True)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    batches = training.epochs(problem.retain, batch_size, epochs, problem.generator("last layers"))
    training.optimise(batches, training.cross_entropy(model), training.sgd(parameters, lr))
    for parameter, was in required.items():
        parameter.requires_grad_(was)
    return model.eval()


@method("cf-k", tasks="class-forget", paper="Goel et al. 2022, arXiv:2201.06640", access=Access(retain="xy"))
def cf_k(problem: ForgetProblem, *, k: int = 1, lr: float = 0.1, epochs: int = 2, batch_size: int = 64) -> nn.Module:
    """CF-k: the last k weight layers forget by training on the retain set alone (Goel et al. 2022, arXiv:2201.06640).

    k is 1 in Kodge et al.'s comparison (arXiv:2312.00761). A head that fits the retain set has next to no gradient
    there, so that it forgets little: more layers and a high rate are what makes it forget.
    """
    last = last_modules(underlying(problem.model, problem.fresh_model("last layers")), k)
    return train_last(problem, last, lr, epochs, batch_size)


@method("eu-k", tasks="class-forget", paper="Goel et al. 2022, arXiv:2201.06640", access=Access(retain="xy"))
def eu_k(problem: ForgetProblem, *, k: int = 1, lr: float = 0.1, epochs: int = 2, batch_size: int = 64) -> nn.Module:
    """EU-k: the last k weight layers are retrained from new values on the retain set (Goel et al. 2022).

    arXiv:2201.06640; exact for these layers, not for the features below. k is 1 in Kodge et al.'s comparison.
    """
    fresh = problem.fresh_model("last layers")
    last = last_modules(underlying(problem.model, fresh), k)
    for module, new in zip(last, last_modules(fresh, k), strict=True):
        module.load_state_dict(new.state_dict())
    return train_last(problem, last, lr, epochs, batch_size)
