"""What methods of bias correction share: the head trains on activations, what is below the layer stays as it is.

The protocol is that of arXiv:2308.09437 (section 3 of its appendix and its code): convolutions and batch norm are
frozen, linear layers train, dropout stays active, classes are weighted, gradients are clipped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import training
from benchmark.concepts.vectors import Concept, concept_vector, pooled
from benchmark.contracts import BiasProblem
from benchmark.data.views import Batch, View
from benchmark.models.split import split_at

#: Samples a forward pass.
BATCH = 500
#: Bytes of activations up to which they are computed once and kept.
MOST_KEPT = 4 << 30
#: Norm that gradients are clipped to.
CLIP = 100.0
#: A loss of activations (B, C, H, W) and labels (B,).
HeadLoss = Callable[[Tensor, Tensor], Tensor]


def class_weights(problem: BiasProblem) -> Tensor:
    """w_k = max(n) / n_k, (k,), for the class sizes n of the training set; 0 for a class without samples."""
    return training.class_weights(problem.train.everything().y, problem.num_classes)


def trainable(model: nn.Module, head: nn.Module, *, whole: bool = False) -> list[nn.Parameter]:
    """Parameters of the head's linear layers; everything else of the model is frozen, batch norm in evaluation mode.

    ``whole``: those of all of the head's layers. What batch norm has counted in training stays as it is then, too.
    """
    model.requires_grad_(False)
    for module in head.modules():
        if whole or isinstance(module, nn.Linear):
            module.requires_grad_(True)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return [parameter for parameter in head.parameters() if parameter.requires_grad]


def optimiser_of(problem: BiasProblem, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, or Adam where the base model was trained with it; no weight decay."""
    if problem.recipe.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=lr, eps=1e-7)
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def clipping(parameters: list[nn.Parameter]) -> Callable[[], None]:
    """What clips the joint norm of all gradients before a step."""

    def clip() -> None:
        nn.utils.clip_grad_norm_(parameters, CLIP)

    return clip


class Corrector:
    """The problem's model, taken apart at its layer: ``body`` stays as it is, in evaluation mode, ``head`` trains.

    Because nothing before the layer trains and no image is augmented, the activations of the training set are computed
    once, unless they would take more than MOST_KEPT bytes. Of the head, linear layers train, or the ``whole`` of it.
    """

    def __init__(self, problem: BiasProblem, *, whole: bool = False) -> None:
        self.problem = problem
        # Tracing takes the mode that the model is in for good, for what asks for it in its own code.
        self.body = split_at(problem.model.eval(), problem.layer).body
        self.head = split_at(problem.model.train(), problem.layer).head
        self.body.eval()
        self._parameters = trainable(problem.model, self.head, whole=whole)

    @torch.no_grad()
    def activations(self, view: View) -> Tensor:
        """a(x) of all samples of ``view``, (N, C, H, W)."""
        return torch.cat([self.body(batch.x) for batch in view.everything().split(BATCH)])

    def concept(self, kind: str, intercept: bool = True) -> Concept:
        """The concept vector of the artefact in the problem's model; the model remembers it as ``concept``."""
        batches = self.problem.concept.everything().split(BATCH)
        with torch.no_grad():
            a = torch.cat([pooled(self.body(batch.x)) for batch in batches])
        found = concept_vector(kind, a, self.problem.concept.everything().a, intercept=intercept)
        self.problem.model.concept = found  # type: ignore[assignment]
        return found

    def train(self, loss: HeadLoss, *, lr: float, epochs: int, batch_size: int) -> None:
        """Train the head on ``loss``; leaves the model in evaluation mode, with no parameter frozen."""
        problem, get = self.problem, self._getter()
        optimiser = optimiser_of(problem, self._parameters, lr)
        batches = training.epochs(problem.train, batch_size, epochs, problem.generator("batches"))
        training.optimise(
            batches,
            lambda batch: loss(get(batch), batch.y),
            optimiser,
            before_step=clipping(self._parameters),
            only=self._parameters,
        )
        problem.model.requires_grad_(True).eval()

    def _getter(self) -> Callable[[Batch], Tensor]:
        """What gives a batch's activations: from memory where they fit, computed anew where they do not."""
        view = self.problem.train
        with torch.no_grad():
            one = self.body(next(view.everything().split(1)).x)
        if len(view) * one.numel() * one.element_size() <= MOST_KEPT:
            kept = self.activations(view).contiguous()  # pooling goes back through this format at half the cost
            return lambda batch: kept.index_select(0, batch.index)  # in half the time of kept[batch.index]

        @torch.no_grad()
        def computed(batch: Batch) -> Tensor:
            a: Tensor = self.body(batch.x)
            return a

        return computed


def cross_entropy(problem: BiasProblem, head: nn.Module) -> HeadLoss:
    """CE of the head's logits, classes weighted."""
    weights = class_weights(problem)
    return lambda a, y: F.cross_entropy(head(a), y, weights)
