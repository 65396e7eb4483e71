"""Ensembles: many unlearned and many retrained models of one forget set, compared example by example.

A member is an ordinary cell with a base model of its own that forgets what ``forget_seed`` says. Members are kept in
the cache folder, not among the results: what is published is one file a scenario and method below
``results/ensembles``. The retrained models that all are compared with are members 0 to n - 1 of the reference; the
reference's own row is made of members n to 2n - 1, and shows what no difference at all looks like at this n.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmark import environment
from benchmark.contracts import Kind
from benchmark.errors import InputError
from benchmark.running.files import write_atomically
from benchmark.running.plan import Plan, make_plan
from benchmark.running.records import Cell, Record, RecordStore
from benchmark.suite import Scenario, Suite
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("amendbench")
#: Seed of an ensemble's first member: far from reported seeds and from those of tuning.
FIRST = 10_000
#: Fewer models than these tell nothing about a distribution.
FEWEST = 8
FOLDER = "ensembles"


class EnsembleRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One method's ensemble in one scenario. ``n`` models on either side, ``examples`` in the forget set.

    ``metrics`` are means over the examples; ``largest_epsilon`` is the largest value that n models can resolve;
    ``seconds`` is the mean wall time of the method's call; ``members`` a hash over all outputs that were compared.
    """

    suite: str
    task: str
    scenario: str
    unit: str
    settings: dict[str, Any]
    method: str
    kind: Kind
    parameters: dict[str, Any]
    device: str
    n: int
    examples: int
    metrics: dict[str, float | None]
    largest_epsilon: float
    seconds: float
    versions: dict[str, int]
    digests: dict[str, str]
    members: str
    environment: dict[str, str]
    created: str


def fixed(suite: Suite) -> Suite:
    """The suite with one forget set for all seeds of a scenario: that of seed 0, unless it says another."""
    scenarios = {name: _fixed(scenario) for name, scenario in suite.scenarios.items()}
    return msgspec.structs.replace(suite, scenarios=scenarios)


def _fixed(scenario: Scenario) -> Scenario:
    settings = scenario.settings
    if settings.forget_seed is None:
        settings = msgspec.structs.replace(settings, forget_seed=0)
    return msgspec.structs.replace(scenario, settings=settings)


def plan_members(suite: Suite, n: int, device: str, store: RecordStore) -> Plan:
    """Members of every method: n of each, and 2n of the reference; by member, so that all methods grow together."""
    whole = fixed(suite)
    first = make_plan(whole, range(FIRST, FIRST + n), device, store, keeps="forget-set outputs")
    second = make_plan(_references(whole), range(FIRST + n, FIRST + 2 * n), device, store, keeps="forget-set outputs")
    return Plan(
        cells=[*first.cells, *second.cells],
        cached=first.cached | second.cached,
        seconds=first.seconds | second.seconds,
        needs=first.needs | second.needs,
        provenance=first.provenance | second.provenance,
        elsewhere=first.elsewhere + second.elsewhere,
    )


def _references(suite: Suite) -> Suite:
    scenarios = {}
    for name, scenario in suite.scenarios.items():
        reference = TASKS.get(scenario.task).reference
        if reference not in scenario.methods:
            raise InputError(f"scenario {name} has no method {reference}, which an ensemble is compared with")
        methods = {reference: scenario.methods[reference]}
        scenarios[name] = msgspec.structs.replace(scenario, methods=methods)
    return msgspec.structs.replace(suite, scenarios=scenarios)


def compare(plan: Plan, records: Sequence[Record], store: RecordStore, n: int) -> Iterator[EnsembleRecord]:
    """One record a scenario and method of which all members are there; what is incomplete is reported."""
    made = {record.hash: record for record in records if record.status == "ok"}
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in plan.cells:
        groups.setdefault((cell.task, cell.scenario, cell.method), []).append(cell)
    for (task, scenario, method), cells in groups.items():
        reference = groups[task, scenario, TASKS.get(task).reference][:n]
        own = cells[-n:]
        missing = [cell for cell in (*reference, *own) if cell.hash not in made]
        if missing:
            log.warning("%s %s: %d members have no result: no comparison", scenario, method, len(missing))
            continue
        yield _compared([made[c.hash] for c in own], [made[c.hash] for c in reference], store)


def _compared(own: list[Record], reference: list[Record], store: RecordStore) -> EnsembleRecord:
    from benchmark.metrics import ensembles

    cell = own[0].cell
    unlearned, retrained = _confidences(own, store), _confidences(reference, store)
    n, examples = unlearned.shape
    epsilons = ensembles.example_epsilons(unlearned, retrained)
    metrics = {
        "u-lira.auc": ensembles.u_lira_auc(unlearned, retrained).value,
        "klom": ensembles.klom(unlearned, retrained).value,
        "epsilon": ensembles.forgetting_epsilon(unlearned, retrained).value,
        "forgetting.quality": ensembles.forgetting_quality(epsilons, n).value,
    }
    return EnsembleRecord(
        suite=cell.suite,
        task=cell.task,
        scenario=cell.scenario,
        unit=cell.unit,
        settings=cell.settings,
        method=cell.method,
        kind=cell.kind,
        parameters=cell.parameters,
        device=cell.device,
        n=n,
        examples=examples,
        metrics=metrics,
        largest_epsilon=ensembles.largest_epsilon(n),
        seconds=sum(record.cost.seconds for record in own) / n,
        versions=cell.versions,
        digests=cell.digests,
        members=hashlib.sha256("".join(str(r.arrays) for r in (*own, *reference)).encode()).hexdigest(),
        environment=own[0].environment,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _confidences(records: list[Record], store: RecordStore) -> np.ndarray:
    """(models, examples) logit-scaled confidences of the forget set's labels."""
    import numpy as np

    from benchmark.metrics.ensembles import logit_scaled_confidence

    kept = [store.arrays(record) for record in records]
    for record, arrays in zip(records, kept, strict=True):
        if not arrays:
            raise InputError(f"the outputs of {record.cell.file} in the cache are damaged; delete it and run again")
    logits = np.stack([arrays["logits"] for arrays in kept]).astype(np.float64)
    return logit_scaled_confidence(logits, kept[0]["labels"].astype(np.int64))


def write(record: EnsembleRecord, results: Path) -> Path:
    """Keep what was found; returns the file."""
    folder = results / FOLDER / record.suite / record.task / record.scenario
    path = folder / f"{record.method}-{record.device.replace(':', '-')}.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return path


def read_all(results: Path) -> Iterator[EnsembleRecord]:
    """Every readable comparison, in the order of their paths."""
    for path in sorted((results / FOLDER).rglob("*.json")):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=EnsembleRecord)
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s is left out: %s", path, error)


def members_folder() -> Path:
    """Where members are kept: below the cache folder."""
    return environment.cache_root() / FOLDER
