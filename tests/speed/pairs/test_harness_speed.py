"""What a researcher waits for beside training: the command line, plans, reports, and what a cell costs by itself."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.artifacts.context import Context
from benchmark.contracts import Recipe
from benchmark.data.packaged import load
from benchmark.determinism import seed_cell
from benchmark.models.classifiers import build_classifier
from benchmark.running.plan import Plan, machine, make_plan
from benchmark.running.records import Cell, Record, RecordStore, Value
from benchmark.running.worker import Setting, run_in_turn
from benchmark.seeding import derive, generator
from benchmark.suites.definition import load_suite, select
from benchmark.tasks import Evaluation, forgetting
from benchmark.tasks.class_forget import ClassForget

pytestmark = pytest.mark.usefixtures("on_cpu")
ROOT = Path(__file__).parents[3]
#: Seeds of the suite ``embedded`` that make 10,000 cells of its 264 a seed.
SEEDS = 38


def python(*arguments: str) -> str:
    """What a new process says on standard output; it must end well."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


@pytest.mark.parametrize(("command", "says"), [("--help", "Usage: amendbench"), ("list", "svd-forgetting")])
def test_starting(within, command: str, says: str) -> None:  # type: ignore[no-untyped-def]
    """Neither takes long, nor imports torch."""
    told = within(lambda: python("-m", "benchmark", command), f"amendbench {command}", 0.3)
    assert says in told
    code = "import sys; from benchmark.cli import main\ntry: main(sys.argv[1:])\nfinally: print('torch' in sys.modules)"
    assert python("-c", code, command).endswith("\nFalse\n")


@pytest.fixture(scope="module")
def many(full: bool, cache_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int, Path]:
    """A suite, seeds of it, and a results folder with a record of each of their cells.

    They are what is committed, under other seeds: 10,000 records of the suite ``embedded``, or a few toys.
    """
    results = tmp_path_factory.mktemp("many") / "results"
    name, seeds = ("embedded", SEEDS) if full else ("smoke", 2)
    known: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in RecordStore(ROOT / "results").all(name):
        known[record.cell.scenario, record.cell.method].append(record)
    suite = load_suite(name) if full else select(load_suite(name), None, ["digits"], None)
    for cell in make_plan(suite, range(seeds), "cpu", RecordStore(results)).cells:
        own = known.get((cell.scenario, cell.method))
        if own:
            keep(renamed(own[cell.seed % len(own)], cell), results)
    return name, seeds, results


def renamed(record: Record, cell: Cell) -> Record:
    here = {**record.environment, "machine": machine()}
    return msgspec.structs.replace(record, cell=cell, hash=cell.hash, environment=here, arrays=None)


def keep(record: Record, results: Path) -> None:
    path = results / record.cell.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(record))


PLAN = """
import sys
from pathlib import Path
from benchmark.running.plan import make_plan
from benchmark.running.records import RecordStore
from benchmark.suites.definition import load_suite
plan = make_plan(load_suite(sys.argv[1]), range(int(sys.argv[2])), "cpu", RecordStore(Path(sys.argv[3])))
print(len(plan.cells), len(plan.cached), "torch" in sys.modules)
"""


@pytest.mark.parametrize("known", ["no records", "a record of each"])
def test_planning(within, many: tuple[str, int, Path], tmp_path: Path, known: str) -> None:  # type: ignore[no-untyped-def]
    """In a new process, which digests all source first."""
    name, seeds, results = many
    folder = results if known == "a record of each" else tmp_path / "none"
    records = list(RecordStore(folder).all(name))
    plan = make_plan(load_suite(name), range(seeds), "cpu", RecordStore(folder))
    told = within(
        lambda: python("-c", PLAN, name, str(seeds), str(folder)), f"plan of {len(plan.cells):,} cells, {known}", 2.0
    )
    good = sum(record.status == "ok" for record in records)
    assert (good > 0) == (known == "a record of each")
    assert told.split() == [str(len(plan.cells)), str(good), "False"]


def report(results: Path, reports: Path) -> dict[str, bytes]:
    """Render in a new process, which digests all source first; the pages and tables that it wrote."""
    python("-m", "benchmark", "report", "--results", str(results), "--reports", str(reports))
    found = [path for path in reports.rglob("*") if path.suffix in (".md", ".json", ".tex")]
    return {str(path.relative_to(reports)): path.read_bytes() for path in found if not path.name.startswith(".")}


def test_rendering(within, many: tuple[str, int, Path], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """From records to all tables, pages and figures, in an empty folder."""
    name, _, results = many
    numbers = itertools.count()
    records = list(RecordStore(results).all(name))
    title = f"report of {len(records):,} records, everything new"
    pages = within(lambda: report(results, tmp_path / str(next(numbers))), title, 20.0)
    assert pages == report(results, tmp_path / "0")  # once more, where figures lie already
    for record in records:
        assert record.cell.scenario.encode() in pages[f"{record.cell.task}.md"]


def test_rendering_what_has_changed(within, many: tuple[str, int, Path], tmp_path: Path, full: bool) -> None:  # type: ignore[no-untyped-def]
    """One record of many has another value each time: its tables and figures are made anew, the others are known."""
    name, _, results = many
    record = next(r for r in RecordStore(results).all(name) if r.status == "ok" and r.cell.method == "finetune")
    metric = next(name for name, value in record.metrics.items() if value.value)
    values = itertools.cycle([12.5, 37.5])
    before = report(results, tmp_path)

    def work() -> dict[str, bytes]:
        changed = {**record.metrics, metric: Value(next(values), record.metrics[metric].n)}
        keep(msgspec.structs.replace(record, metrics=changed), results)
        return report(results, tmp_path)

    try:
        count = sum(1 for _ in RecordStore(results).all(name))
        after = within(work, f"report of {count:,} records, one of them changed", 20.0)
    finally:
        keep(record, results)
    changed = {path for path, content in after.items() if content != before[path]}
    assert changed
    assert all(path.startswith(("leaderboard", record.cell.task, "tables/")) for path in changed)
    assert full or report(results, tmp_path) == before


@pytest.fixture
def planned(full: bool, tmp_path: Path) -> Plan:
    """The references of one scenario, on real digits or on toys."""
    suite, scenario = ("embedded", "mnist5k-residual") if full else ("smoke", "digits")
    chosen = select(load_suite(suite), None, [scenario], ["retrain"])
    return make_plan(chosen, [0], "cpu", RecordStore(tmp_path / "results"))


def run(plan: Plan, method: str, context: Context, folder: Path) -> tuple[Record, RecordStore]:
    """Run a cell as a worker does, whether it has a result or not."""
    cell = next(cell for cell in plan.cells if cell.method == method)
    setting = Setting(folder, context.artifacts.root.parent, "cpu", 1, 600.0, fresh=True)
    reply = run_in_turn(cell, plan.provenance[cell.hash], setting, context, exclusive=True)
    assert reply.record is not None
    assert reply.record.status == "ok"
    return reply.record, RecordStore(folder)


def test_a_cell(beside, planned: Plan, context: Context, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Retraining beside a bare loop on the same batches, judged by the same metrics: the same numbers."""
    cell = planned.cells[0]
    scenario = msgspec.convert(cell.settings, ClassForget)
    base = forgetting.base_model(scenario, 0, context)
    load(scenario.data)

    def plain() -> Evaluation:
        seed_cell(0, "method", 0)
        return forgetting.evaluate(scenario, 0, base, retrained(scenario), context)

    record, evaluation = beside(
        lambda: run(planned, "retrain", context, tmp_path)[0],
        plain,
        f"cell: retraining in {cell.suite} / {cell.scenario}",
        "a bare loop that trains the same network, and the same metrics",
        bar=0.98,
        bar_on="cpu",
    )
    assert record.values() == {name: measured.value for name, measured in evaluation.metrics.items()}


def retrained(scenario: ClassForget) -> nn.Module:
    """A network that never saw the class, from the same first weights and on the same batches as the cell's."""
    dataset = load(scenario.data)
    kept = (dataset.train.labels != scenario.forgotten(0)[0]).nonzero().squeeze(1)
    images, labels = dataset.train.inputs(kept), dataset.train.labels[kept]
    seed = derive(0, "problem", 0)
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "method", "fresh"))
        model = build_classifier(scenario.model, dataset.num_classes, dataset.shape).train()
    recipe, order = scenario.training, generator(seed, "method", "retrain")
    optimiser = torch.optim.SGD(
        model.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    steps = batches_of(len(kept), recipe)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.lr, total_steps=recipe.epochs * steps + 1, pct_start=0.2
    )
    for _ in range(recipe.epochs):
        shuffled = torch.randperm(len(kept), generator=order)
        for index in shuffled.split(recipe.batch_size)[:steps]:
            optimiser.zero_grad()
            F.cross_entropy(model(images[index]), labels[index]).backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def batches_of(n: int, recipe: Recipe) -> int:
    """Batches an epoch: a last one of less than half the size is left out."""
    whole, rest = divmod(n, recipe.batch_size)
    return whole + (rest * 2 >= recipe.batch_size)


def test_what_a_cell_costs_by_itself(  # type: ignore[no-untyped-def]
    within, planned: Plan, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but training and metrics: turn, base model, copies, hashes, views, ledger, stopwatch, record and arrays."""
    first, store = run(planned, "original", context, tmp_path)
    kept = {name: Value(value.value, value.n) for name, value in first.metrics.items()}
    evaluation = Evaluation(kept, store.arrays(first), [])  # type: ignore[arg-type]
    monkeypatch.setattr(forgetting, "evaluate", lambda *given: replace(evaluation, flags=[]))
    title = f"cell: the harness's own part in {first.cell.suite} / {first.cell.scenario}"
    record, store = within(lambda: run(planned, "original", context, tmp_path), title, 0.05)
    assert (record.metrics, record.arrays, record.access) == (first.metrics, first.arrays, first.access)
    assert os.path.getsize((tmp_path / record.cell.file).with_suffix(".npz")) > 0
