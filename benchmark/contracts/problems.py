"""What methods receive: one type of problem a family of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from benchmark.contracts.recipes import GanRecipe, Recipe, StepRecipe
from benchmark.seeding import derive, generator

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from benchmark.data.feedback import Feedback
    from benchmark.data.views import View
    from benchmark.models.gan import Gan, Generator

M = TypeVar("M", bound="nn.Module")


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


@dataclass(kw_only=True)
class GanProblem(Problem):
    """What a generator's method receives: a trained GAN and somebody who judges generated images; no training data.

    ``model`` is the generator that is in use, with averaged weights, in evaluation mode: what is returned must give
    images for latents as it does. ``gan`` is the whole network as training left it: the generator with its last
    weights, the discriminator, the moments of both optimisers, and ``model`` as its average. ``feedback`` says of
    images in [-1, 1] whether they show what must go, and counts them. ``real`` are the training images without it, for
    references only. ``build_gan()`` makes a new network of the same shape, drawn from torch's seed.
    """

    model: Generator
    gan: Gan
    feedback: Feedback
    real: View
    recipe: GanRecipe
    build_gan: Callable[[], Gan]
