"""What test_extending.py runs in the copy of the packages that has a new metric and a new data set; prints JSON.

The tests of the metric, the check of the data set, and a cell of each scenario.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

import benchmark
from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.data import DATA, described
from benchmark.data.checked import check
from benchmark.metrics.catalogue import METRICS
from benchmark.running.cell import run_cell
from benchmark.running.plan import make_plan
from benchmark.running.records import RecordStore
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS


def result(suite: str, scenario: str, context: Context) -> list[Any]:
    """Status, unit, metrics and gates of the cell of ``original``, seed 0."""
    plan = make_plan(load_suite(suite), [0], "cpu", RecordStore(Path("results")))
    (cell,) = [cell for cell in plan.cells if (cell.scenario, cell.method) == (scenario, "original")]
    record, _ = run_cell(cell, context, exclusive=True, provenance="")
    values = {name: found.value for name, found in record.metrics.items()}
    return [record.status, cell.unit, values, TASKS.get(cell.task).gates(values, None)]


def main() -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, "tests/benchmark/metrics")
    import test_entropy

    test_entropy.test_closed_forms()
    test_entropy.test_blank()
    context = Context(torch.device("cpu"), 1, ArtifactStore(Path("cache/artifacts")))
    new, stripes = METRICS["entropy.test.forget"], DATA.get("stripes")
    given = {
        "file": benchmark.__file__,
        "table": described.markdown(),
        "catalogued": [new.name, new.label, new.unit, new.better],
        "data": [check("stripes").state, stripes.num_classes, sorted(stripes.facts.here.values())],
        "stripes": result("striped.toml", "stripes", context),
        "digits-two": result("pairs.toml", "digits-two", context),
    }
    print(json.dumps(given))


if __name__ == "__main__":
    main()
