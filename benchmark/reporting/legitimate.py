"""Where an artefact is legitimate evidence: what all-class and class-specific correction leave of it, by lambda."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.sweeps import METHOD, PARAMETER, TASK, Trial, number, read_study
from benchmark.reporting.tables import table

SPECIFIC = "rr-clarc+class-specific"
SHOWN = ("accuracy.legitimate", "accuracy.attacked", "accuracy.clean")
WHOSE = {METHOD: "all classes", SPECIFIC: "biased class"}


def legitimate_tables(results: Path, suite: str) -> dict[str, list[str]]:
    """A table for each scenario in which both were tuned and the artefact is legitimate; by scenario."""
    found = {}
    for path in sorted((results / "tuning" / suite / TASK).glob(f"*/{METHOD}.json")):
        other = path.with_name(f"{SPECIFIC}.json")
        studies = [read_study(path, suite), read_study(other, suite, SPECIFIC) if other.is_file() else None]
        every = [_by_lambda(study.trials) if study is not None else {} for study in studies]
        shared = sorted(set(every[0]) & set(every[1]))
        if shared and studies[0] is not None:
            found[path.parent.name] = _table(shared, every, studies[0].seeds)
    return found


def _by_lambda(trials: Sequence[Trial]) -> dict[float, dict[str, float]]:
    """Means over seeds of what is shown, by lambda; trials without legitimate classes are left out."""
    found = {}
    for trial in trials:
        lam = number(trial.parameters.get(PARAMETER))
        means = {name: _mean([values.get(name) for values in trial.metrics]) for name in SHOWN}
        whole = {name: mean for name, mean in means.items() if mean is not None}
        if lam is not None and len(whole) == len(SHOWN):
            found[lam] = whole
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present and len(present) == len(values) else None


def _table(lambdas: Sequence[float], every: Sequence[dict[float, dict[str, float]]], seeds: Sequence[int]) -> list[str]:
    heads = ["λ", *(f"{cells.heading(name)}, {whose}" for name in SHOWN for whose in WHOSE.values())]
    body = [
        [f"{lam:g}", *(cells.number(own[lam][name], metric(name).unit) for name in SHOWN for own in every)]
        for lam in lambdas
    ]
    return [
        "#### Legitimate evidence by lambda",
        "",
        "RR-ClArC that corrects all classes beside RR-ClArC that corrects the biased class alone, on the same batches "
        "at the same rate; λ = 0 is fine-tuning. On the selection split, mean of tuning seeds "
        f"{', '.join(map(str, seeds))}.",
        "",
        *table(heads, body),
    ]
