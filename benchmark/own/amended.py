"""One method applied to one model: its amended weights, with a model card of what was done and the records of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import save
from torch import Tensor, nn

from benchmark import environment
from benchmark.data import DATA
from benchmark.data.manifest import read
from benchmark.determinism import make_deterministic
from benchmark.discovery.methods import METHODS, check_parameters
from benchmark.errors import InputError, unknown
from benchmark.models.classifiers import build_classifier
from benchmark.models.surgery import underlying
from benchmark.reporting.model_card import CARD, Card, model_card
from benchmark.running import session, worker
from benchmark.running.cell import run_cell
from benchmark.running.plan import make_plan
from benchmark.running.records import Cell, Record, RecordStore
from benchmark.seeding import generator
from benchmark.suites.definition import Scenario, Suite
from benchmark.tasks import TASKS
from benchmark.timing import warm_up

WEIGHTS = "amended.safetensors"
RECORDS = "records"
#: Inputs on which the amended model and the network with its weights must say the same.
TRIED = 16


class NotWeights(Exception):  # noqa: N818 - it names what was found
    """What a method returned is not a network of the given kind with other weights."""


@dataclass(frozen=True)
class Amendment:
    """What is to be done: ``method`` with ``parameters`` on the only scenario of ``suite``, into the folder ``out``.

    ``retrain``: the reference is trained, too, so that gaps to it can be told.
    """

    suite: Suite
    method: str
    parameters: Mapping[str, Any]
    seed: int
    device: str
    retrain: bool
    out: Path
    command: str

    @property
    def scenario(self) -> Scenario:
        (only,) = self.suite.scenarios.values()
        return only


def prepared(amendment: Amendment) -> Amendment:
    """The same with hyper-parameters in their types; InputError where something is wrong that can be seen before."""
    scenario, out = amendment.scenario, amendment.out
    if amendment.method not in scenario.methods:
        raise unknown(f"method of {scenario.task}", amendment.method, scenario.methods)
    info = METHODS.get(amendment.method, scenario.task)
    if info.kind == "cheat":
        raise InputError(f"method {amendment.method} is a cheat that metrics must expose; it amends nothing")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} is there already; name a folder that is not")
    given = {**scenario.methods[amendment.method], **amendment.parameters}
    checked = check_parameters(info, given, f"hyper-parameters of {amendment.method}")
    methods = {**scenario.methods, amendment.method: checked}
    told = scenario.provenance[amendment.method]
    by_hand = f"{told}; by hand: {', '.join(amendment.parameters)}" if amendment.parameters else told
    provenance = {**scenario.provenance, amendment.method: by_hand}
    changed = msgspec.structs.replace(scenario, methods=methods, provenance=provenance)
    suite = msgspec.structs.replace(amendment.suite, scenarios={scenario.name: changed})
    return replace(amendment, suite=suite, parameters=checked)


def names(amendment: Amendment) -> list[str]:
    """The methods that run, in their order: those that change nothing come first."""
    task = TASKS.get(amendment.scenario.task)
    others = [task.original, *([task.reference] if amendment.retrain else [])]
    return list(dict.fromkeys([*(name for name in others if name != amendment.method), amendment.method]))


def amend(amendment: Amendment, say: Callable[[str], None]) -> dict[str, Record]:
    """Do it; the records by method. All files are written at the end, whole or not at all.

    NotWeights where what the method returns is no network of this kind. Then nothing is written, nor is it where a cell
    has no result, as the records say that are returned.
    """
    staged = amendment.out.absolute().with_name(f".{amendment.out.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        found = _run(amendment, staged, say)
        if all(record.status == "ok" for record in found.values()):
            _write_card(amendment, staged, found)
            if amendment.out.is_dir():
                amendment.out.rmdir()
            staged.replace(amendment.out)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return found


def _run(amendment: Amendment, folder: Path, say: Callable[[str], None]) -> dict[str, Record]:
    suite, store = amendment.suite, RecordStore(folder / RECORDS)
    cells = _cells(amendment, store)
    setting = worker.Setting(
        folder / RECORDS,
        environment.cache_root(),
        amendment.device,
        suite.threads,
        suite.timeout,
        session.now(),
    )
    make_deterministic(suite.threads)
    warm_up(amendment.device.partition(":")[0])
    context = worker.make_context(setting)
    found: dict[str, Record] = {}
    for cell in cells:
        say(f"{cell.method}: running")
        own = cell.method == amendment.method

        def keep(base: nn.Module, amended: nn.Module, own: bool = own) -> None:
            if own:
                content = save(weights_of(amendment.scenario, base, amended))
                (folder / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
                (folder / WEIGHTS).write_bytes(content)

        provenance = amendment.scenario.provenance[cell.method]
        record, arrays = run_cell(cell, context, exclusive=True, provenance=provenance, keep=keep)
        if record.failure is not None and record.failure.error == NotWeights.__name__:
            raise NotWeights(record.failure.message)
        found[cell.method] = store.write(record, arrays)
        say(f"{cell.method}: {record.status}, {session.duration(record.cost.seconds)}")
        if record.status != "ok":
            break
    return found


def _cells(amendment: Amendment, store: RecordStore) -> Sequence[Cell]:
    """One cell a method, in the order in which they run."""
    plan = make_plan(amendment.suite, [amendment.seed], amendment.device, store, fresh=True)
    by_method = {cell.method: cell for cell in plan.cells}
    return [by_method[name] for name in names(amendment)]


def weights_of(scenario: Scenario, base: nn.Module, amended: nn.Module) -> dict[str, Tensor]:
    """The amended network's state with the names of the plain network; NotWeights where that is not all there is to it.

    The network with these weights must say on random inputs what the amended one says.
    """
    state = dict(underlying(amended, base).state_dict())
    settings = scenario.settings
    if getattr(settings, "rectified", False):  # a second ReLU behind a layer put another level into the names
        inner, plain = f"{settings.layer}.layer.", f"{settings.layer}."
        state = {plain + k.removeprefix(inner) if k.startswith(inner) else k: t for k, t in state.items()}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    network = _plain(scenario)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise NotWeights(_NOT_WEIGHTS) from error
    shape = DATA.get(settings.data).shape
    inputs = torch.randn(TRIED, *shape, generator=generator(0, "amended", "inputs"))
    with torch.no_grad():
        own, told = network.eval()(inputs), amended.cpu().eval()(inputs)
    if not torch.allclose(own, told, rtol=1e-4, atol=1e-4):
        raise NotWeights(_NOT_WEIGHTS)
    return state


_NOT_WEIGHTS = (
    "this method changes what the network computes, not its weights alone (a mask, a projection, several networks): "
    "there is no file of weights that would do the same; choose another method"
)


def _plain(scenario: Scenario) -> nn.Module:
    """A network of the scenario's kind."""
    source = DATA.get(scenario.settings.data)
    return build_classifier(scenario.settings.model, source.num_classes, source.shape)


def _write_card(amendment: Amendment, folder: Path, records: Mapping[str, Record]) -> None:
    scenario = amendment.scenario
    task = TASKS.get(scenario.task)
    amended = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    reference = records.get(task.reference) if amendment.retrain else None
    known, _ = read(scenario.settings.data)
    card = Card(
        task=task,
        info=METHODS.get(amendment.method, task.name),
        amended=records[amendment.method],
        original=records.get(task.original),
        reference=reference,
        weights=amended,
        base=getattr(scenario.settings, "weights", ""),
        command=amendment.command,
        provenance=scenario.provenance[amendment.method],
        data=known,
    )
    (folder / CARD).write_text(model_card(card), "utf-8")
    (folder / "amendment.json").write_text(json.dumps(_summary(card), indent=1) + "\n", "utf-8")


def _summary(card: Card) -> dict[str, Any]:
    """What was done, for programs."""
    return {
        "task": card.task.name,
        "method": card.info.name,
        "parameters": card.amended.cell.parameters,
        "data": card.amended.cell.settings["data"],
        "data_checksum": card.amended.data,
        "inputs": msgspec.to_builtins(card.data.look),
        "classes": list(card.data.classes),
        "model": card.amended.cell.settings["model"],
        "base_weights_sha256": card.base,
        "amended_weights_sha256": card.weights,
        "seconds": card.amended.cost.seconds,
        "metrics": card.amended.values(),
        "record": f"{RECORDS}/{card.amended.cell.file}",
    }
