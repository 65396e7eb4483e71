"""Ensembles: many unlearned and many retrained models of one forget set, compared example by example.

A member is an ordinary cell with a base model of its own that forgets what ``forget_seed`` says. Members are kept in
the cache folder, not among the results: what is published is one file a scenario and method below
``results/ensembles``. Members 0 to n - 1 of every method are compared with members n to 2n - 1 of the reference, which
share no seed with them; the reference's own row shows what no difference at all looks like at this n.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from benchmark import environment
from benchmark.contracts import Kind
from benchmark.discovery.source import digest
from benchmark.errors import InputError
from benchmark.files import read_regular, write_atomically
from benchmark.running.plan import Plan, make_plan
from benchmark.running.records import LARGEST, Cell, Real, Record, RecordStore, Seconds, Whole, check_inside
from benchmark.seeding import derive
from benchmark.stats import bootstrap_interval
from benchmark.suites.definition import Scenario, Suite, with_stacked
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("amendbench")
#: Seed of an ensemble's first member: far from reported seeds and from those of tuning.
FIRST = 10_000
#: Fewer models than these tell nothing about a distribution.
FEWEST = 8
#: More models than these need more memory than the comparison is worth.
MOST = 512
#: How often pairs of an unlearned and a retrained model are swapped at random to see what chance alone gives.
SWAPS = 199
FOLDER = "ensembles"
KEEPS: Literal["forget-set outputs"] = "forget-set outputs"


class EnsembleRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One method's ensemble in one scenario. ``n`` models on either side, ``examples`` in the forget set.

    ``metrics`` are means over the examples, None where an output is not finite; ``largest_epsilon`` is the largest
    value that n models can resolve. ``chance`` is the range in which 95 % of the U-LiRA AUCs lie when unlearned and
    retrained models are swapped at random, ``p`` the share of these that are at least as high. ``seconds`` is the mean
    wall time of the method's call, ``exclusive`` where nothing else of the run shared its cores. ``members`` and
    ``reference`` are hashes over the outputs that were compared. ``intervals`` has the bounds of 95 % intervals of
    ``klom`` and ``epsilon`` over examples (:func:`benchmark.stats.bootstrap_interval`): what other examples would
    give with these models, which all examples share. Older comparisons have none. ``external``: as of a cell.
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
    n: Whole
    examples: Whole
    metrics: dict[str, Real | None]
    largest_epsilon: Real
    chance: tuple[Real, Real] | None
    p: Real | None
    flags: list[str]
    seconds: Seconds
    exclusive: bool
    versions: dict[str, Whole]
    digests: dict[str, str]
    members: str
    reference: str
    environment: dict[str, str]
    created: str
    intervals: dict[str, tuple[Real, Real]] = {}
    external: bool = False


def fixed(suite: Suite) -> Suite:
    """The suite with one forget set for all seeds of a scenario: that of seed 0, unless it says another.

    As many members are trained together as the suite says.
    """
    scenarios = {name: _fixed(scenario, suite.stacked.get(name)) for name, scenario in suite.scenarios.items()}
    return msgspec.structs.replace(suite, scenarios=scenarios)


def _fixed(scenario: Scenario, stacked: int | None) -> Scenario:
    settings = scenario.settings
    if not TASKS.get(scenario.task).ensembles:
        return scenario
    if settings.forget_seed is None:
        settings = msgspec.structs.replace(settings, forget_seed=0)
    if stacked is not None:
        settings = with_stacked(settings, stacked)
    return msgspec.structs.replace(scenario, settings=settings)


def plan_members(
    suite: Suite, n: int, device: str, store: RecordStore, history: RecordStore, *, fresh: bool = False
) -> Plan:
    """Members of every method: n of each, and 2n of the reference; by member, so that all methods grow together.

    A member counts as done if its outputs are there, too. ``history`` has what cells of the suite have taken.
    """
    for scenario in suite.scenarios.values():
        if not TASKS.get(scenario.task).ensembles:
            raise InputError(f"ensembles compare what was forgotten; task {scenario.task} has no forget set")
    whole = fixed(suite)
    first = make_plan(whole, range(FIRST, FIRST + n), device, store, fresh=fresh, keeps=KEEPS, history=history)
    seeds = range(FIRST + n, FIRST + 2 * n)
    second = make_plan(_references(whole), seeds, device, store, fresh=fresh, keeps=KEEPS, history=history)
    cached = first.cached | second.cached
    return Plan(
        cells=[*first.cells, *second.cells],
        cached={key: record for key, record in cached.items() if store.arrays(record)},
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
        compared = cells[:n], groups[task, scenario, TASKS.get(task).reference][n:]
        own, reference = ([made[c.hash] for c in side if c.hash in made] for side in compared)
        outputs = [_confidences(side, store) for side in (own, reference)]
        if len(own) < n or len(reference) < n or any(side is None for side in outputs):
            there = f"{len(own)} of {n} members and {len(reference)} of {n} retrained models"
            log.warning("%s %s: only %s have a result, or their outputs are lost", scenario, method, there)
            continue
        yield _compared(own, reference, *outputs)


def _compared(
    own: list[Record], reference: list[Record], unlearned: np.ndarray | None, retrained: np.ndarray | None
) -> EnsembleRecord:
    from benchmark.metrics import ensembles

    assert unlearned is not None
    assert retrained is not None
    cell = own[0].cell
    n, examples = unlearned.shape
    auc = ensembles.u_lira_auc(unlearned, retrained).value
    chance, p = (None, None) if auc is None else _by_chance(unlearned, retrained, auc)
    metrics, intervals = _over_examples(unlearned, retrained, finite=auc is not None)
    return EnsembleRecord(
        suite=cell.suite,
        task=cell.task,
        scenario=cell.scenario,
        unit=cell.unit,
        settings=cell.settings,
        method=cell.method,
        kind=cell.kind,
        external=cell.external,
        parameters=cell.parameters,
        device=cell.device,
        n=n,
        examples=examples,
        metrics={"u-lira.auc": auc, **metrics},
        largest_epsilon=ensembles.largest_epsilon(n),
        chance=chance,
        p=p,
        flags=sorted({flag for record in own for flag in record.flags}),
        seconds=sum(record.cost.seconds for record in own) / n,
        exclusive=all(record.cost.exclusive for record in own),
        versions=cell.versions,
        digests={**cell.digests, "comparison": digest("benchmark.metrics.ensembles")},
        members=_hash(own),
        reference=_hash(reference),
        environment=own[0].environment,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        intervals=intervals,
    )


def _over_examples(
    unlearned: np.ndarray, retrained: np.ndarray, *, finite: bool
) -> tuple[dict[str, float | None], dict[str, tuple[float, float]]]:
    """The metrics that are means over examples, all None unless ``finite``; and the intervals of those in units."""
    import numpy as np

    from benchmark.metrics import ensembles

    if not finite:
        return dict.fromkeys(("klom", "epsilon", "forgetting.quality")), {}
    epsilons = ensembles.example_epsilons(unlearned, retrained)
    each = {
        "klom": ensembles.example_kloms(unlearned, retrained),
        "epsilon": np.minimum(epsilons, ensembles.largest_epsilon(len(unlearned))),
    }
    found = {name: bootstrap_interval(values) for name, values in each.items()}
    return (
        {
            **{name: float(values.mean()) for name, values in each.items()},
            "forgetting.quality": ensembles.forgetting_quality(epsilons, len(unlearned)).value,
        },
        {name: (at.low, at.high) for name, at in found.items() if at.low is not None and at.high is not None},
    )


def _by_chance(unlearned: np.ndarray, retrained: np.ndarray, auc: float) -> tuple[tuple[float, float], float]:
    """Where U-LiRA AUCs lie if unlearned and retrained models are no different: pairs are swapped at random."""
    import numpy as np

    from benchmark.metrics.ensembles import u_lira_auc

    rng = np.random.default_rng(derive(0, "ensemble", "swaps"))
    found = []
    for _ in range(SWAPS):
        swapped = rng.random(len(unlearned))[:, None] < 0.5
        value = u_lira_auc(np.where(swapped, retrained, unlearned), np.where(swapped, unlearned, retrained)).value
        found.append(50.0 if value is None else value)
    low, high = np.quantile(found, [0.025, 0.975])
    extreme = sum(value >= auc for value in found)  # far below 50 tells nothing: that is pairs told apart, but swapped
    return (float(low), float(high)), (1 + extreme) / (1 + SWAPS)


def _hash(records: list[Record]) -> str:
    return hashlib.sha256("".join(str(record.arrays) for record in records).encode()).hexdigest()[:16]


def _confidences(records: list[Record], store: RecordStore) -> np.ndarray | None:
    """(models, examples) logit-scaled confidences of the forget set's labels; None where an output is missing."""
    import numpy as np

    from benchmark.metrics.ensembles import logit_scaled_confidence

    kept = [store.arrays(record) for record in records]
    if not kept or not all(kept):
        return None
    logits = np.stack([arrays["logits"] for arrays in kept]).astype(np.float64)
    return logit_scaled_confidence(logits, kept[0]["labels"].astype(np.int64))


def write(record: EnsembleRecord, results: Path) -> Path:
    """Keep what was found; returns the file. NotKept where a link leads it outside of the results."""
    path = results / _file(record)
    check_inside(path, results)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return path


def _file(record: EnsembleRecord) -> Path:
    folder = Path(FOLDER, record.suite, record.task, record.scenario)
    return folder / f"{record.method}-{record.device.replace(':', '-')}.json"


def read_all(results: Path) -> Iterator[EnsembleRecord]:
    """Every readable comparison, in the order of their paths."""
    folder = results / FOLDER
    for path in [] if folder.is_symlink() else sorted(folder.rglob("*.json")):
        try:
            record = msgspec.json.decode(read_regular(path, LARGEST), type=EnsembleRecord)
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s is left out: %s", path, error)
            continue
        if path != results / _file(record):
            log.warning("%s is left out: its path does not match", path)
            continue
        yield record


def members_folder() -> Path:
    """Where members are kept: below the cache folder."""
    return environment.cache_root() / FOLDER
