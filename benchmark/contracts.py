"""The types that everything else speaks: access, methods, problems.

Nothing here imports torch at run time, so that listing, planning and reporting stay fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from benchmark.errors import AccessViolation, InputError
from benchmark.seeding import derive, generator

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from benchmark.data.views import View

Kind = Literal["paper", "baseline", "reference", "cheat"]
F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound="nn.Module")


class Measured(NamedTuple):
    """A metric's value (None where n is too small for one) and the number of samples that it was computed from."""

    value: float | None
    n: int


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a classifier is trained from scratch: SGD with Nesterov momentum, or Adam; lr is the schedule's peak.

    The schedule ``one-cycle`` (Smith, 2018) moves the momentum, too: from 0.95 to 0.85 while the rate rises and back;
    ``momentum`` is that of SGD with the schedule ``constant``. ``weighted``: the loss weighs classes by max(n) / n_k.
    """

    epochs: int
    lr: float
    batch_size: int
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    optimiser: Literal["sgd", "adam"] = "sgd"
    weighted: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError(f"momentum {self.momentum} must be in [0, 1), weight_decay {self.weight_decay} at least 0")
        if self.schedule == "one-cycle" and self.momentum != 0.9:
            raise ValueError("momentum cannot be chosen with schedule one-cycle, which moves it from 0.95 to 0.85")
        if self.optimiser == "adam" and self.momentum != 0.9:
            raise ValueError("momentum cannot be chosen with optimiser adam")


class StepRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a classifier is trained for a number of steps at a constant rate, looked at ``checkpoints`` times on the way.

    A batch has ``per_class`` times the number of classes samples. SGD has plain momentum; AdamW has none of it.
    """

    steps: int
    per_class: int
    lr: float
    weight_decay: float
    momentum: float = 0.9
    optimiser: Literal["sgd", "adamw"] = "sgd"
    checkpoints: int = 20

    def __post_init__(self) -> None:
        for name in ("steps", "per_class", "lr", "checkpoints"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.checkpoints > self.steps:
            raise ValueError(f"checkpoints must be at most steps ({self.steps}), not {self.checkpoints}")
        if not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError(f"momentum {self.momentum} must be in [0, 1), weight_decay {self.weight_decay} at least 0")
        if self.optimiser == "adamw" and self.momentum != 0.9:
            raise ValueError("momentum cannot be chosen with optimiser adamw")


#: What can be read of a sample: images, labels, attributes, masks.
FIELDS = {"x": "images", "y": "labels", "a": "attributes", "m": "masks"}


@dataclass(frozen=True, init=False)
class Access:
    """Which views a method reads, and of each which fields.

    ``Access(retain="xy", forget="x", max_samples={"retain": 1000})`` reads images and labels of the retain view,
    at most 1,000 distinct samples of it, and images only of the forget view; no other view may be touched.
    With ``few_labels`` the views whose labels are declared hold only those samples that are labelled: the scenario
    says what share that is. ``optional={"train": "a"}`` adds what is read where the task offers it, and done without
    where it does not.
    """

    views: Mapping[str, str]
    max_samples: Mapping[str, int]
    few_labels: bool
    optional: Mapping[str, str]

    def __init__(
        self,
        *,
        max_samples: Mapping[str, int] | None = None,
        few_labels: bool = False,
        optional: Mapping[str, str] | None = None,
        **views: str,
    ) -> None:
        for name, fields in (*views.items(), *(optional or {}).items()):
            if not fields or set(fields) - set(FIELDS):
                raise ValueError(f"access to {name}: {fields!r} is not made of {''.join(FIELDS)}")
        object.__setattr__(self, "views", dict(views))
        object.__setattr__(self, "max_samples", dict(max_samples or {}))
        object.__setattr__(self, "few_labels", few_labels)
        object.__setattr__(self, "optional", dict(optional or {}))

    def granted(self, offered: Mapping[str, str]) -> Access:
        """What is read of a task that offers ``offered``: what is optional becomes declared, or is left out."""
        views = dict(self.views)
        for name, fields in self.optional.items():
            given = "".join(f for f in fields if f in offered.get(name, ""))
            if given:
                views[name] = views.get(name, "") + given
        granted = Access(max_samples=self.max_samples, few_labels=self.few_labels)
        object.__setattr__(granted, "views", views)
        return granted

    @property
    def label_free(self) -> bool:
        """Whether no label and no attribute of any view is read."""
        return not any(set("ya") & set(fields) for fields in self.views.values())

    def __str__(self) -> str:
        parts = []
        for name, fields in self.views.items():
            limit = self.max_samples.get(name)
            what = " + ".join(FIELDS[f] for f in fields)
            few = " (labelled samples only)" if self.few_labels and "y" in fields else ""
            parts.append(f"{name}: {what}{few}" + (f" (at most {limit:,})" if limit else ""))
        for name, fields in self.optional.items():
            parts.append(f"{name}: {' + '.join(FIELDS[f] for f in fields)} where the task gives them")
        return "; ".join(parts) or "the model only"


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter, read from a method's signature."""

    name: str
    type: str
    default: Any

    def check(self, value: Any, where: str) -> Any:
        """``value`` in the declared type, or an InputError that names the field."""
        try:
            checked: Any = msgspec.convert(value, {"int": int, "float": float, "bool": bool, "str": str}[self.type])
        except msgspec.ValidationError:
            raise InputError(f"{where}: {self.name} must be {self.type}, not {value!r}") from None
        if self.type == "float" and not math.isfinite(checked):
            raise InputError(f"{where}: {self.name} must be a finite number, not {value!r}")
        return checked


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method without importing it."""

    name: str
    kind: Kind
    tasks: tuple[str, ...]
    paper: str
    access: Access
    version: int
    parameters: tuple[Parameter, ...]
    module: str
    function: str
    summary: str
    shares: str = ""

    def defaults(self) -> dict[str, Any]:
        return {p.name: p.default for p in self.parameters}


class Method(Protocol):
    """A function from a problem to an amended model; its keyword arguments are its hyper-parameters."""

    def __call__(self, problem: Any, **parameters: Any) -> nn.Module: ...


def method(
    name: str,
    *,
    tasks: str | tuple[str, ...],
    paper: str,
    access: Access,
    kind: Kind | None = None,
    version: int = 1,
    shares: str = "",
) -> Callable[[F], F]:
    """Declare a function as a method.

    The arguments must be literals: they are read from the source without importing it (``benchmark.discovery``).
    ``kind`` defaults to ``paper`` in ``methods/`` and to ``baseline`` in ``baselines/``. ``version`` goes up when a
    change alters the method's results. Methods that name the same ``shares`` have a stage in common
    (``ForgetProblem.stage``): on one base model they run one after the other, so that it is computed once.
    """

    def declare(function: F) -> F:
        declared = getattr(function, "amendbench_methods", {})
        function.amendbench_methods = {**declared, name: access}  # type: ignore[attr-defined]
        return function

    return declare


@dataclass
class Ledger:
    """What a method has read, counted by the views themselves.

    ``reads[view]`` maps ``samples``, ``labels``, ``attributes`` and ``masks`` to distinct samples, and ``passes`` to
    image reads with repetition. ``violations`` keeps every refused read, even where a method swallowed the error.
    """

    reads: dict[str, dict[str, int]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def refuse(self, message: str) -> AccessViolation:
        self.violations.append(message)
        return AccessViolation(message)


class Stages(Protocol):
    """Where stages are kept: the harness's side of ``ForgetProblem.stage``."""

    def get(
        self, name: str, build: Callable[[], dict[str, Tensor]], depends: Mapping[str, object]
    ) -> dict[str, Tensor]: ...


@dataclass(kw_only=True)
class Problem:
    """What every method receives: its own copy of a model, seeded generators, and never test data.

    ``build_model()`` makes a new network of the same shape, drawn from torch's seed.
    """

    model: nn.Module
    num_classes: int
    device: torch.device
    seed: int
    build_model: Callable[[], nn.Module]
    stages: Stages | None = None

    def stage(self, name: str, build: Callable[[], dict[str, Tensor]], **depends: object) -> dict[str, Tensor]:
        """The tensors that ``build()`` computes, kept and shared by methods of one file; on the caller's device.

        ``depends`` are all the hyper-parameters that ``build`` depends on; what else it depends on (the model, the
        data, the source) is known. Whoever takes a stage from the cache is billed for it all the same: its seconds
        and what it read count as if it had been computed anew. Draw random numbers from ``generator`` alone.
        """
        return build() if self.stages is None else self.stages.get(name, build, depends)

    def generator(self, role: str) -> torch.Generator:
        """A CPU generator for one role of the method; the same for every method on the same problem."""
        return generator(self.seed, "method", role)

    def fresh_model(self, role: str = "fresh") -> nn.Module:
        """A newly initialised network of the base model's shape, in training mode, on the device."""
        return self.initialised(role, self.build_model).train()

    def initialised(self, role: str, build: Callable[[], M]) -> M:
        """The module that ``build()`` makes, its parameters drawn from a seed of ``role``; on the device."""
        import torch

        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(derive(self.seed, "method", role))
            return build().to(self.device)


@dataclass(kw_only=True)
class ForgetProblem(Problem):
    """What a forgetting method receives: views that enforce its access, and a trained model.

    ``model`` is in evaluation mode; ``retain`` and ``forget`` are the training samples that stay and that must go;
    ``selection`` is a held-out labelled split that no base model trained on (it may be empty); ``labelled`` is that
    share of the retain set of which labels are known where few are. ``forget_classes`` is empty where the forget set
    is not made of whole classes. ``fresh_model()`` gives a newly initialised network of the same shape.
    """

    retain: View
    forget: View
    selection: View
    labelled: View
    forget_classes: tuple[int, ...]
    recipe: Recipe


@dataclass(kw_only=True)
class BiasProblem(Problem):
    """What a bias-correction method receives: a trained classifier that takes an artefact for one class.

    ``model`` is in evaluation mode; ``train`` is the labelled training set that it learnt from, artefacts and all,
    with masks for those who declare them; ``concept`` its samples that are labelled ``biased_class``, with attributes:
    1 where the artefact is, 0 where it is not; ``clean`` the training set without the artefact, for references only.
    ``layer`` names the module whose output, (B, C, H, W), are the activations in which the artefact is a direction.
    """

    train: View
    concept: View
    clean: View
    biased_class: int
    layer: str
    recipe: Recipe


class Watch(Protocol):
    """Who looks at a network while it is trained, and remembers it at its best: the harness's side of selection."""

    def look(self, model: nn.Module) -> None:
        """Judge ``model`` as it is now, on held-out samples that the method does not see; its mode is left alone."""

    def restore(self, model: nn.Module) -> None:
        """Give ``model`` the parameters that it had when it was judged best."""


@dataclass(kw_only=True)
class DebiasProblem(Problem):
    """What a debiasing method receives: a network to be trained on data whose label and attribute go together.

    ``model`` is in training mode, newly initialised or pretrained, and the same for every method of a seed. ``train``
    is the biased training set; ``validation`` a part of the held-out split, with the same bias, for methods that
    declare to train on it (the harness then selects on the rest); ``unbiased`` the training set drawn anew without
    the bias, for references only, where data can be. ``watch`` must look at the network as training goes on: which of
    its states is the result is then chosen by the scenario's rule. ``auxiliary()`` is a watch for another network of
    the method's, which remembers it at its best class-balanced accuracy (no attribute is needed for that).
    ``attributes_known``: whether the attributes of the training set may be read.
    """

    train: View
    validation: View
    unbiased: View
    num_attributes: int
    attributes_known: bool
    recipe: StepRecipe
    watch: Watch
    auxiliary: Callable[[], Watch]
