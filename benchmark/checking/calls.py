"""Calls of a method on a tiny problem, and what they tell of its contract.

The harness calls it as it does in a cell (``benchmark.running.amending``), so that what is found is what a run finds.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.checking.contract import Outcome, judged, told
from benchmark.checking.tiny import SEED, Tiny, context_at, tiny
from benchmark.contracts import Ledger, MethodInfo
from benchmark.determinism import make_deterministic
from benchmark.models.surgery import state_hash
from benchmark.running.amending import amend, violations
from benchmark.seeding import seed_globals
from benchmark.timing import Stopwatch

Promise = tuple[str, Outcome, str]
#: Seeds that global generators are set to right before a call.
GLOBAL, OTHER = 11, 12


class _Shaken(Stopwatch):
    """Sets the global generators right before the method's call."""

    def __init__(self, seed: int) -> None:
        super().__init__(torch.device("cpu"))
        self._seed = seed

    @contextmanager
    def running(self) -> Iterator[None]:
        seed_globals(self._seed)
        with super().running():
            yield


@dataclass
class _Call:
    """A method's call: the amended model, its state before it was used, what was read, and seconds."""

    model: nn.Module
    state: str
    ledgers: list[Ledger]
    seconds: float


@dataclass
class _Caller:
    """Calls a method with the same hyper-parameters on the same problem. Stages are kept below ``folder``."""

    info: MethodInfo
    problem: Tiny
    parameters: dict[str, Any]
    folder: Path

    def __call__(self, ledgers: list[Ledger], store: str = "one", seed: int = GLOBAL) -> _Call:
        """One call; ``ledgers`` are filled also where it fails. ``store`` keeps stages, ``seed`` is the global one."""
        watch, context, problem = _Shaken(seed), context_at(self.folder / store), self.problem
        method = self.info, self.parameters
        model = amend(method, problem.task, problem.scenario, SEED, problem.base, context, watch, ledgers)
        return _Call(model, state_hash(model), ledgers, watch.seconds)

    def has_stages(self) -> bool:
        """Whether the method has kept a stage."""
        return any(self.folder.rglob("*.safetensors"))


def used(info: MethodInfo, task: str, parameters: dict[str, Any], cache: Path) -> Iterator[Promise]:
    """What calls of a method tell, promise by promise."""
    with deterministic(), tempfile.TemporaryDirectory(prefix="amendbench-") as folder:
        problem = tiny(task, cache)
        caller = _Caller(info, problem, parameters, Path(folder))
        settings, before, ledgers = _settings(), state_hash(problem.base), list[Ledger]()
        try:
            call = caller(ledgers)
        except Exception as error:  # it is somebody's code
            refused = "; ".join(violations(ledgers))
            yield judged("reads only what it declares", refused)
            yield judged("runs with its hyper-parameters", "" if refused else told(error))
            return
        yield "runs with its hyper-parameters", "ok", f"in {call.seconds:.2f} s"
        yield judged("leaves torch's settings alone", _changed(settings))
        yield from _of_model(problem, call)
        yield judged("reads only what it declares", "; ".join(violations(ledgers)))
        yield judged("stays within its max_samples", _beyond(info, ledgers))
        yield from _again(caller, call)
        yield judged("leaves the original alone", "" if state_hash(problem.base) == before else "it has changed")


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread and deterministic algorithms, as in a worker; afterwards all is as it was."""
    threads, algorithms = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    environment = dict(os.environ)
    _settle()
    try:
        yield
    finally:
        _settle()
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(algorithms)
        os.environ.clear()
        os.environ.update(environment)


def _settle() -> None:
    make_deterministic(1)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


def _settings() -> dict[str, object]:
    """Of the process: what would change the results of whoever comes next."""
    return {
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "the default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
    }


def _changed(settings: dict[str, object]) -> str:
    now = _settings()
    found = [f"{name}: {now[name]}, before {settings[name]}" for name in settings if now[name] != settings[name]]
    _settle()
    return "; ".join(found)


@torch.no_grad()
def _of_model(problem: Tiny, call: _Call) -> Iterator[Promise]:
    """What using the amended model tells. Its views are closed by now: who still reads them is in the ledger."""
    try:
        outputs, again = call.model(problem.inputs), call.model(problem.inputs)
        twin = copy.deepcopy(call.model)(problem.inputs)
    except Exception as error:  # it is somebody's network
        yield judged("returns a network that can be used", told(error))
        return
    yield judged("returns a network that can be used", _no_output(outputs, problem.shape))
    same = torch.equal(outputs, again) and torch.equal(outputs, twin) and state_hash(call.model) == call.state
    yield judged("answers the same again", "" if same else "using it changes it, or the answers are random")
    frozen = [name for name, parameter in call.model.named_parameters() if not parameter.requires_grad]
    if all(parameter.requires_grad for parameter in problem.base.parameters()):  # of generators an average is not
        said = f"{', '.join(frozen[:3])} cannot be, so that it cannot be attacked as others are" if frozen else ""
        yield judged("can be trained on", said, "note")


def _no_output(outputs: object, expected: torch.Size) -> str:
    if not isinstance(outputs, Tensor) or outputs.shape != expected:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        return f"outputs are {shape}, not {tuple(expected)}"
    return "" if outputs.isfinite().all() else "outputs are not finite"


def _beyond(info: MethodInfo, ledgers: list[Ledger]) -> str:
    """Limits that were passed; the views refuse that, and say so."""
    limits = info.access.max_samples
    over = {
        f"{count} samples of {view}, not {limits[view]}"
        for ledger in ledgers
        for view, read in ledger.reads.items()
        for what, count in read.items()
        if view in limits and what != "passes" and count > limits[view]
    }
    return "; ".join([*sorted(over), *(v for v in violations(ledgers) if v.startswith("more than"))])


def _again(caller: _Caller, first: _Call) -> Iterator[Promise]:
    """Calls from nothing with other global seeds, with the same if that matters, and from stages that were kept."""
    other = caller([], "two", OTHER)
    same = _same(first, other)
    repeated = other if same else caller([], "three", GLOBAL)
    wrong = "" if _same(first, repeated) else "the same seed gave another network, or read other samples"
    yield judged("is deterministic", wrong)
    said = "" if same or wrong else "another global seed gives another network: draw from problem.generator(...)"
    yield judged("takes no global randomness", said, "note")
    if caller.has_stages():
        wrong = "" if _same(first, caller([], "one", OTHER)) else "a stage that was kept gives another network"
        yield judged("is the same from kept stages", wrong)


def _same(one: _Call, other: _Call) -> bool:
    reads = [[ledger.reads for ledger in call.ledgers] for call in (one, other)]
    return one.state == other.state and reads[0] == reads[1]
