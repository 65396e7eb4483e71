"""SISA: several networks, each trained on a shard of the data, which vote."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import Batch, View
from benchmark.errors import InputError
from benchmark.models.surgery import SplitClassifier, head, representation


@dataclass(frozen=True)
class Shard:
    """Some samples of a view, to train on; index: (N,) int64 positions within the view, on its device."""

    view: View
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def everything(self) -> Batch:
        return self.view.batch(self.index)

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One shuffled epoch, as of a whole view: a last batch shorter than half of ``size`` is left out."""
        order = torch.randperm(len(self), generator=generator).to(self.index.device)
        for number, chosen in enumerate(order.split(size)):
            if number and len(chosen) * 2 < size:
                return
            yield self.view.batch(self.index[chosen])


class Concatenated(nn.Module):
    """The members' representations side by side: (B, S D), member by member."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([representation(member, x) for member in self.members], dim=1)


class MeanProbability(nn.Module):
    """Heads c_s over (B, S D) representations: log of the mean over s of softmax(c_s(e_s)), (B, classes)."""

    def __init__(self, heads: list[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> Tensor:
        parts = features.chunk(len(self.heads), dim=1)
        logs = [torch.log_softmax(c(e), dim=1) for c, e in zip(self.heads, parts, strict=True)]
        return torch.stack(logs).logsumexp(0) - math.log(len(logs))


class ShardEnsemble(SplitClassifier):
    """Networks of one shape as one classifier; its logits are the log of the members' mean probabilities.

    Extractor and head share the members' heads, which the state dict names twice; ``parameters()`` has them once.
    """

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__(Concatenated(members), MeanProbability([head(member) for member in members]))


def partition(view: View, shards: int, generator: torch.Generator) -> list[Shard]:
    """The view's samples split at random into ``shards`` parts, whose sizes differ by one at most."""
    if not 1 <= shards <= len(view):
        raise InputError(f"shards must be 1 to {len(view)}, the number of samples, not {shards}")
    order = torch.randperm(len(view), generator=generator).to(view.device)
    return [Shard(view, index) for index in order.tensor_split(shards)]


@method("sisa", tasks="label-free-forget", paper="Bourtoule et al. 2021, arXiv:1912.03817", access=Access(retain="xy"))
def sisa(problem: ForgetProblem, *, shards: int = 3) -> nn.Module:
    """SISA: one network a shard, trained without the forgotten samples, and their mean vote (Bourtoule et al. 2021).

    arXiv:1912.03817. Samples are assigned to shards uniformly at random, as in the paper; then every shard of any size
    holds forgotten samples, and every constituent model is trained anew, by the base model's recipe on what stays of
    its shard. That is exact unlearning of an ensemble; the base model is not used. Slicing, the paper's checkpoints
    within a shard, only saves time: it is left out. Members' probabilities are averaged, the paper's alternative to a
    vote of labels, which would leave no probabilities to look at.
    """
    generator = problem.generator("sisa shards")
    members = []
    for number, shard in enumerate(partition(problem.retain, shards, generator)):
        member = problem.fresh_model(f"sisa {number}")
        training.train_classifier(member, shard, problem.recipe, problem.generator(f"sisa {number}"))
        members.append(member)
    return ShardEnsemble(members).eval()
