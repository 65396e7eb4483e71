"""Model selection by the harness: a network is looked at on held-out samples while a method trains it.

The method sees neither the samples nor the score. What the scenario's rule reads is counted in a ledger of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmark.contracts import Measured
from benchmark.data.views import Samples, View
from benchmark.metrics.groups import (
    GroupCounts,
    count_groups,
    group_balanced,
    pooled,
    standard_error,
    worst_class,
    worst_group,
)
from benchmark.tasks.debias import BY_ATTRIBUTE, RULES

#: Samples a forward pass.
BATCH = 1_000


class Face:
    """What a method is given of a selector: it can be looked at and restored, and tells nothing."""

    def __init__(self, selector: Selector) -> None:
        self.look: Callable[[nn.Module], None] = lambda model: selector.look(model)
        self.restore: Callable[[nn.Module], None] = lambda model: selector.restore(model)


def class_balanced(counts: GroupCounts) -> Measured:
    """Mean over classes of accuracy in percent."""
    n = counts.n.sum(1)
    accuracy = (counts.correct.sum(1) / n)[n > 0]
    return Measured(100 * float(accuracy.double().mean()), int(n.sum()))


def score(rule: str, counts: GroupCounts, aligned: Tensor, look: int) -> Measured:
    """What ``rule`` gives the network's state at the ``look``-th look; higher is better."""
    scores: Mapping[str, Callable[[], Measured]] = {
        "worst-group": lambda: worst_group(counts),
        "group-balanced": lambda: group_balanced(counts),
        "bias-conflicting": lambda: pooled(counts, ~aligned),
        "worst-class": lambda: worst_class(counts),
        "class-balanced": lambda: class_balanced(counts),
        "last": lambda: Measured(float(look), 0),
    }
    return scores[rule]()


@dataclass(frozen=True)
class Chosen:
    """The state that a rule has chosen: at which look (from 1), its score, and the parameters."""

    look: int
    score: Measured
    error: float | None
    state: dict[str, Tensor]


@dataclass
class Selector:
    """Looks at a network and remembers, for each rule, the last of its states that no other beat.

    ``rule`` is the scenario's, whose reads of ``view`` are counted; the other ``rules`` are the harness's own study
    of what another choice would have given. ``keep`` remembers every state.
    """

    view: View
    truth: Samples
    shape: tuple[int, int]
    aligned: Tensor
    rule: str
    rules: Sequence[str] = RULES
    keep: bool = False
    most: int = 1_000_000
    chosen: dict[str, Chosen] = field(default_factory=dict)
    states: list[dict[str, Tensor]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    def look(self, model: nn.Module) -> None:
        """Judge ``model`` as it is now; its mode is left alone. ValueError for more than ``most`` looks."""
        if len(self.history) >= self.most:
            raise ValueError(f"the network was looked at {self.most} times, which is as often as the recipe says")
        if not self.history:
            self._count_labels()
        counts = count_groups(self._predictions(model), self.truth.labels, self._attributes(), *self.shape)
        look = len(self.history) + 1
        state: dict[str, Tensor] | None = None
        found = {rule: score(rule, counts, self.aligned, look) for rule in dict.fromkeys((self.rule, *self.rules))}
        for rule, own in found.items():
            best = self.chosen.get(rule)
            if own.value is not None and (best is None or own.value >= (best.score.value or 0.0)):
                state = state or _copy(model)
                error = standard_error(own) if rule == "bias-conflicting" else None
                self.chosen[rule] = Chosen(look, own, error, state)
        if self.keep:
            self.states.append(state or _copy(model))
        self.history.append({rule: own.value for rule, own in found.items() if own.value is not None})

    def __deepcopy__(self, memo: dict[int, object]) -> Selector:
        return self  # a copy of a network is no other run

    def restore(self, model: nn.Module) -> None:
        """Give ``model`` the state that the scenario's rule has chosen."""
        if self.rule not in self.chosen:
            raise ValueError("a network is restored that was never looked at")
        model.load_state_dict(self.chosen[self.rule].state)

    def _predictions(self, model: nn.Module) -> Tensor:
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                everything = torch.arange(len(self.view), device=self.view.device)
                found = [_predicted(model(self.view.read("x", index))) for index in everything.split(BATCH)]
        finally:
            model.train(training)
        return torch.cat(found).cpu()

    def _attributes(self) -> Tensor:
        assert self.truth.attributes is not None
        return self.truth.attributes

    def _count_labels(self) -> None:
        everything = torch.arange(len(self.view), device=self.view.device)
        if self.rule != "last":
            self.view.read("y", everything)
        if self.rule in BY_ATTRIBUTE:
            self.view.read("a", everything)


def _predicted(logits: Tensor) -> Tensor:
    """(B,) the likeliest class; -1, which is never right, where a logit is no number."""
    return logits.argmax(1).where(~logits.isnan().any(1), -1)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
