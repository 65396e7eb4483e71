"""The beginning of a method of one's own: a file that works as it is, and a test of it."""

from __future__ import annotations

import keyword
from pathlib import Path

from benchmark.discovery.methods import METHODS, NAME
from benchmark.errors import InputError
from benchmark.files import check_writable
from benchmark.tasks import TASKS

_FORGETTING = '''"""NAME: what it does, in a sentence."""

import torch
import torch.nn.functional as F
from torch import nn

from benchmark.contracts import Access, ForgetProblem, method


@method("NAME", tasks="TASK", paper="", access=Access(retain="xy", forget="xy"))
def FUNCTION(
    problem: ForgetProblem, *, lr: float = 0.01, weight: float = 0.1, epochs: int = 1, batch_size: int = 64
) -> nn.Module:
    """Descent on the loss of what stays, and ascent on the loss of what must go, as long as that is small."""
    model, rng = problem.model.train(), problem.generator("batches")
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    leaving = problem.forget.endless(batch_size, rng)
    for _ in range(epochs):
        for batch in problem.retain.batches(batch_size, rng):
            gone = next(leaving)
            # In one pass: normalised by itself a batch of one class is like nothing that the network has seen.
            outputs = model(torch.cat([batch.x, gone.x]))
            stays, goes = outputs.split([len(batch.y), len(gone.y)])
            loss = F.cross_entropy(stays, batch.y) - weight * F.cross_entropy(goes, gone.y).clamp(max=5.0)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()
'''

_DEBIASING = '''"""NAME: what it does, in a sentence."""

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, method
from benchmark.data.views import Batch
from benchmark.training.sampling import fit


@method("NAME", tasks="TASK", paper="", access=Access(train="xy"))
def FUNCTION(problem: DebiasProblem, *, smoothing: float = 0.1) -> nn.Module:
    """Training by the scenario's recipe on smoothed labels; ``watch`` remembers the network at its best."""

    def loss(batch: Batch) -> Tensor:
        return F.cross_entropy(problem.model(batch.x), batch.y, label_smoothing=smoothing)

    size = problem.recipe.per_class * problem.num_classes
    batches = problem.train.endless(size, problem.generator("batches"))
    fit(problem, problem.model, batches, loss, watch=problem.watch)
    return problem.model
'''

_CORRECTING = '''"""NAME: what it does, in a sentence."""

import torch
import torch.nn.functional as F
from torch import nn

from benchmark.contracts import Access, BiasProblem, method


@method("NAME", tasks="TASK", paper="", access=Access(train="xy"))
def FUNCTION(
    problem: BiasProblem, *, lr: float = 0.01, smoothing: float = 0.1, epochs: int = 1, batch_size: int = 64
) -> nn.Module:
    """Fine-tuning on smoothed labels. Access(concept="xa") would say which samples of the class have the artefact."""
    model, rng = problem.model.train(), problem.generator("batches")
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):
        for batch in problem.train.batches(batch_size, rng):
            loss = F.cross_entropy(model(batch.x), batch.y, label_smoothing=smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()
'''

_GENERATING = '''"""NAME: what it does, in a sentence."""

import torch
import torch.nn.functional as F
from torch import nn

from benchmark.contracts import Access, GanProblem, method


@method("NAME", tasks="TASK", paper="", access=Access(feedback="y", max_samples={"feedback": 1000}))
def FUNCTION(problem: GanProblem, *, lr: float = 1e-3, steps: int = 200) -> nn.Module:
    """Latents of rejected images learn accepted ones, and all others what they give."""
    model, rng = problem.model.requires_grad_(True), problem.generator("latents")
    latents = model.latents(1000, rng)
    with torch.no_grad():
        wanted = model(latents)
    rejected = problem.feedback.undesired(wanted)
    accepted = (~rejected).nonzero()[:, 0]
    if not len(accepted):
        return model
    drawn = torch.randint(len(accepted), (int(rejected.sum()),), generator=rng).to(problem.device)
    wanted[rejected] = wanted[accepted[drawn]]
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        index = torch.randint(len(latents), (64,), generator=rng).to(problem.device)
        loss = F.mse_loss(model(latents[index]), wanted[index])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()
'''

_TEST = '''"""Whether NAME keeps what every method must keep to; run it with pytest."""

from pathlib import Path

from benchmark.checking.contract import check_file, failures


def test_it_keeps_its_contract() -> None:
    assert failures(check_file(Path(__file__).with_name("FUNCTION.py"))) == []
'''

_BY_TASK = {
    "class-forget": _FORGETTING,
    "label-free-forget": _FORGETTING,
    "debias-known": _DEBIASING,
    "debias-unknown": _DEBIASING,
    "bias-correction": _CORRECTING,
    "gan-feature-removal": _GENERATING,
}


def scaffold(name: str, task: str, folder: Path) -> list[Path]:
    """Write a method called ``name`` and its test into ``folder``; the paths of both.

    InputError for what is no name, is taken in the task, or would overwrite a file.
    """
    TASKS.get(task)
    if not NAME.fullmatch(name) or "+" in name:
        raise InputError(f"name: {name!r} is no name; use lower-case letters, digits and -")
    if METHODS.has(name, task):
        raise InputError(f"name: task {task} has a method {name!r} already; choose another name")
    function = name.replace("-", "_")
    if keyword.iskeyword(function) or not function.isidentifier():
        function = f"method_{function}"
    texts = {
        folder / f"{function}.py": _BY_TASK[task],
        folder / f"test_{function}.py": _TEST,
    }
    for path in texts:
        if path.exists() or path.is_symlink():
            raise InputError(f"{path} is there already; it is not overwritten")
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("NAME", name).replace("TASK", task).replace("FUNCTION", function))
    return list(texts)
