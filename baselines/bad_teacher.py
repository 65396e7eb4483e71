"""Bad teacher: learn the forget set from a network that knows nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.distillation import frozen_copy, kl_to_teacher
from baselines.mixing import mixed
from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import Batch


@method(
    "bad-teacher",
    tasks=("class-forget", "label-free-forget"),
    paper="Chundawat et al. 2022, arXiv:2205.08096",
    access=Access(retain="x", forget="x"),
)
def bad_teacher(
    problem: ForgetProblem,
    *,
    lr: float = 1e-3,
    epochs: int = 1,
    retain_share: float = 0.3,
    temperature: float = 1.0,
    batch_size: int = 64,
) -> nn.Module:
    """T-S: imitate a random network on the forget set and the original elsewhere (Chundawat et al. 2022).

    arXiv:2205.08096: the mean over a mixed batch of KL(teacher || student), where the teacher of a forget
    sample is a newly initialised network and that of a retain sample the original. Without labels. As in the paper
    ``retain_share`` of the retain set takes part, the temperature is 1, and Adam does the steps; its rate is ten times
    the paper's 1e-4, for there are ten times fewer steps.
    """
    model = problem.model
    good, bad = frozen_copy(model), problem.fresh_model("bad teacher").eval()
    model.train()

    def loss(batch: tuple[Batch, Batch]) -> Tensor:
        kept, gone = batch[0].x, batch[1].x
        with torch.no_grad():
            parts = [teacher(x) for teacher, x in ((good, kept), (bad, gone)) if len(x)]
        return kl_to_teacher(model(torch.cat([kept, gone])), torch.cat(parts), temperature)

    generator = problem.generator("bad-teacher")
    retain = problem.retain.draw(round(retain_share * len(problem.retain)), generator)
    batches = mixed(retain, problem.forget.everything(), batch_size, epochs, generator)
    training.optimise(batches, loss, torch.optim.Adam(model.parameters(), lr=lr))
    return model.eval()
