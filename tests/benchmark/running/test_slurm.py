"""The Slurm engine on a real Slurm of one node: tasks that are put back, cancelled, late, and what is left then."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from benchmark.errors import InputError
from benchmark.running import orders
from benchmark.running import slurm as engine
from benchmark.running.cluster import Cluster
from benchmark.running.orders import Submission
from benchmark.running.plan import make_plan
from benchmark.running.records import Record, RecordStore
from benchmark.running.run_cells import run_cells
from benchmark.running.turns import Turns
from benchmark.running.waves import Array
from benchmark.suites.definition import load_suite
from benchmark.suites.resources import Resources

SUITE = """
name = "cluster"
summary = "A toy whose cells end well, badly, and late."
threads = 1
timeout = 200.0
tuning = { seeds = [102], configurations = 1 }

[scenarios.four-gaussians]
task = "class-forget"
data = "four-gaussians"
model = "mlp-toy"
training = { epochs = 2, batch_size = 2048, lr = 0.1 }
attack_fit_samples = 500
methods = ["original", "svd-forgetting", "finetune", "neggrad-plus", "cf-k", "bad-teacher", "random-label"]

[hyperparameters.four-gaussians]
finetune = { parameters = { lr = 1e30, epochs = 1 }, provenance = "made to fail" }
neggrad-plus = { parameters = { epochs = 3 }, provenance = "takes a while" }
cf-k = { parameters = { epochs = 10 }, provenance = "takes a while" }
bad-teacher = { parameters = { epochs = 100 }, provenance = "takes a while" }
random-label = { parameters = { epochs = 1000 }, provenance = "takes too long" }
"""
#: In tasks of their own, in the second wave: they are told to end while they run.
SLOW = ("neggrad-plus", "cf-k", "bad-teacher")


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    """Seven cells of a toy, of which the slow ones are known to be slow; the last would never end."""
    (tmp_path / "cluster-suite.toml").write_text(SUITE)
    suite = load_suite(str(tmp_path / "cluster-suite.toml"))
    plan = make_plan(suite, [0], "cpu", RecordStore(tmp_path / "results"))
    made = orders.submission(plan, suite, "slurm", "cpu", fresh=False)
    known = [
        msgspec.structs.replace(order, seconds=100.0 if order.cell.method in SLOW else 1.0) for order in made.orders
    ]
    made = msgspec.structs.replace(made, orders=known)
    orders.keep(made, tmp_path / "results")
    return made


def same(record: Record) -> dict[str, Any]:
    """What of a record may not depend on where it was made."""
    kept: dict[str, Any] = msgspec.to_builtins(record)
    return {name: value for name, value in kept.items() if name not in ("cost", "created", "environment")}


@pytest.mark.long
def test_tasks_that_are_put_back_finish_and_those_that_are_cancelled_leave_nothing(
    slurm: Any, submission: Submission, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    store, turns = RecordStore(results), Turns(results)
    of = {order.cell.method: order.cell for order in submission.orders}

    def record(method: str) -> Record | None:
        return store.read(of[method].file)

    def started(method: str) -> bool:
        return of[method].hash in {turn.hash for turn in turns.running()}

    begun = time.monotonic()
    cluster = Cluster(minutes_a_task=1, parallel=2, requeues=1, setup=["export AMENDBENCH_SETUP=1"])
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    hints = {"default": Resources(memory_gb=1)}
    never = submission.orders.pop()
    assert never.cell.method == "random-label"
    late = msgspec.structs.replace(submission, id="late", timeout=6.0, orders=[never])
    orders.keep(late, results)
    engine.submit(late, results, cluster, console, hints)
    submitted = engine.submit(submission, results, cluster, console, hints)
    assert time.monotonic() - begun < 10, "it leaves at once"
    first, second = submitted.jobs
    assert (first.tasks, first.cells, second.tasks, second.cells) == (1, 3, 3, 3)
    assert str(submitted) == "6 cells (tasks: 4, arrays: 2)"
    assert f"scancel {first.job} {second.job}" in printed.getvalue()
    slow = [order.cell.method for order in submission.orders if order.cell.method in SLOW]
    task = {method: f"{second.job}_{index}" for index, method in enumerate(slow)}

    # The first wave builds the base model and finishes before the second begins.
    slurm.until(
        lambda: all(record(m) is not None for m in ("original", "svd-forgetting", "finetune")), 120, "the first wave"
    )
    assert not turns.running() or not any(started(method) for method in SLOW)
    told = {"neggrad-plus": ("scancel", "--signal=USR2"), "cf-k": ("scontrol", "requeue"), "bad-teacher": ("scancel",)}
    left = set(told)
    end = time.monotonic() + 120
    while left and time.monotonic() < end:
        for method in [m for m in left if started(m)]:
            slurm.tell(*told[method], task[method])
            left.discard(method)
        time.sleep(0.1)
    assert not left
    assert [record(m) for m in told] == [None] * 3, "what was told to end has written nothing"

    slurm.until(
        lambda: record("neggrad-plus") is not None and record("cf-k") is not None, 120, "tasks that were put back"
    )
    slurm.until(lambda: record("random-label") is not None, 120, "the cell that runs past its limit")
    slurm.until(lambda: not slurm.run("squeue", "-h").strip(), 60, "an empty queue")

    found = {method: record(method) for method in of}
    ended = found.pop("random-label")
    assert ended is not None
    assert ended.status == "timeout"
    assert "limit of 6 s" in (ended.failure.message if ended.failure else "")
    assert found.pop("bad-teacher") is None
    assert not turns.running()
    log = (submitted.folder / f"{task['neggrad-plus']}_0_log.out").read_text()
    assert "Requeued job" in log

    # The same cells run here are the same records.
    here = tmp_path / "here"
    orders.keep(submission, here)
    local = run_cells(here, submission.id, [of[method].hash for method in found])
    assert {r.cell.method: same(r) for r in local} == {m: same(r) for m, r in found.items() if r is not None}
    assert {r.cell.method for r in local if r.status != "ok"} == {"finetune"}

    # No more files than were announced.
    assert len([path for path in submitted.folder.iterdir() if path.name != "jobs.json"]) <= submitted.files


# What needs no Slurm: commands that are made up.


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the PATH with Slurm's commands; sbatch takes jobs 7 and 8 and refuses the third."""
    pytest.importorskip("submitit", reason="submitit is not installed here")
    folder = tmp_path / "commands"
    folder.mkdir()
    content = {
        "srun": "exit 0",
        "sbatch": 'n=$(( $(cat count) + 1 )); echo $n > count; [ $n -gt 8 ] && { echo "sbatch: error: '
        'AssocMaxSubmitJobLimit" >&2; exit 1; }; echo "Submitted batch job $n"',
        "scancel": "echo $@ > cancelled",
    }
    for name, lines in content.items():
        (folder / name).write_text(f"#!/bin/sh\ncd {folder}\n{lines}\n")
        (folder / name).chmod(0o755)
    (folder / "count").write_text("6")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def submit(submission: Submission, tmp_path: Path, **settings: Any) -> engine.Submitted:
    console = Console(file=io.StringIO())
    return engine.submit(submission, tmp_path / "results", Cluster(**settings), console)


def test_an_array_that_is_refused_takes_the_others_back(commands: Path, submission: Submission, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="AssocMaxSubmitJobLimit"):
        submit(submission, tmp_path, minutes_a_task=0.01, max_array_size=2)
    assert (commands / "cancelled").read_text().split() == ["7", "8"]


def test_the_job_script_asks_for_what_the_settings_say(commands: Path, submission: Submission, tmp_path: Path) -> None:
    settings = {"partition": "gpu", "constraint": "a100|h100", "gres": "gpu:a100", "setup": ["module load cuda"]}
    submitted = submit(msgspec.structs.replace(submission, device="cuda", threads=4), tmp_path, **settings)
    assert [(job.job, job.tasks) for job in submitted.jobs] == [("7", 1)]
    script = (submitted.folder / "7_submission.sh").read_text().splitlines()
    directives = {line.removeprefix("#SBATCH --") for line in script if line.startswith("#SBATCH")}
    assert {
        "partition=gpu", "constraint='a100|h100'", "gres=gpu:a100:1", "cpus-per-task=4", "mem=8192M", "requeue",
        "signal=USR2@90", f"job-name=amendbench-{submission.id}",
    } <= directives  # fmt: skip
    assert not any(line.startswith(("wckey", "account", "gpus-per-node")) for line in directives)
    assert script.index("module load cuda") < next(at for at, line in enumerate(script) if line.startswith("srun"))


def test_gpus_are_asked_for_by_number_and_waves_one_after_the_other(submission: Submission) -> None:
    array = Array(1, Resources(0.5, 2), 30, [], (0,))
    asked = engine.parameters(array, submission, Cluster(), ["12", "13"])
    assert (asked["gpus_per_node"], asked["mem"], asked["time"]) == (2, "512M", 30)
    assert asked["dependency"] == "afterany:12:13"
    assert not {"gres", "partition", "setup"} & set(asked)


def test_what_is_pickled_is_small_and_plain(submission: Submission) -> None:
    chunk = engine.Chunk("/results", submission.id, tuple(o.cell.hash for o in submission.orders), {})
    content = pickle.dumps(chunk)
    assert len(content) < 1000
    assert pickle.loads(content) == chunk


def test_without_submitit_or_slurm_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "submitit", types.ModuleType("submitit"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="sbatch and srun cannot be found"):
        engine.check_available()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"pip install 'amendbench\[slurm\]'"):
        engine.check_available()


def test_a_folder_that_slurm_would_read_as_a_pattern_is_refused(
    commands: Path, submission: Submission, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="results"):
        engine.submit(submission, tmp_path / "re%jsults", Cluster(), Console(file=io.StringIO()))


def test_whoever_is_told_to_end_ends_his_worker_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,), daemon=True)
    worker.start()
    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    monkeypatch.setattr(engine.os, "_exit", sys.exit)
    begun = time.monotonic()
    with pytest.raises(SystemExit, match="143"):
        engine.stand_still(signal.SIGTERM, None)
    assert time.monotonic() - begun > 0.5
    worker.join(5)
    assert worker.exitcode == -signal.SIGKILL
