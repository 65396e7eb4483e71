"""The Slurm engine: hands orders to a cluster as job arrays, and leaves. What becomes of them is read from records.

A task is a call of ``run_cells`` with some hashes: it may end anywhere and be started again, and does what is left.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

from benchmark import environment
from benchmark.discovery import outside
from benchmark.errors import InputError
from benchmark.files import write_atomically
from benchmark.running.cluster import Cluster
from benchmark.running.orders import Submission
from benchmark.running.waves import Array, arrays
from benchmark.suites.resources import Resources

#: Below the submission's folder: submitit's scripts, logs and pickles, and the jobs' numbers.
FOLDER = "slurm"
JOBS = "jobs.json"
#: Files that a task leaves there (what it is to do, that it ended, its log), and an array (its script, a link to it).
FILES_A_TASK, FILES_AN_ARRAY = 3, 2
#: Seconds that a task which was told to end waits for its end.
PATIENCE = 600.0
NO_HINTS: Mapping[str, Resources] = {}


class Placed(msgspec.Struct, frozen=True):
    """An array that Slurm has: its job's number, its wave, its tasks and their cells, a task's limit in minutes."""

    job: str
    wave: int
    tasks: int
    cells: int
    minutes: int


@dataclass(frozen=True)
class Submitted:
    """What a submission has become. ``calls`` of sbatch; ``files`` that stand in ``folder`` in the end."""

    jobs: list[Placed]
    folder: Path
    calls: int
    files: int

    def __str__(self) -> str:
        cells, tasks = (sum(getattr(placed, what) for placed in self.jobs) for what in ("cells", "tasks"))
        return f"{cells} cells (tasks: {tasks}, arrays: {self.calls})"


@dataclass(frozen=True)
class Chunk:
    """What a task does, as submitit pickles it: plain data. ``variables`` are set before anything runs."""

    results: str
    submission: str
    hashes: tuple[str, ...]
    variables: dict[str, str]

    def __call__(self) -> None:
        signal.signal(signal.SIGTERM, stand_still)
        os.environ.update(self.variables)
        from benchmark.running.run_cells import run_cells

        for record in run_cells(Path(self.results), self.submission, self.hashes):
            print(f"{record.status:14} {record.cell.file}", flush=True)

    def checkpoint(self) -> Any:
        """What submitit puts back when it is told that time is up: the same; what is done is skipped."""
        from submitit.helpers import DelayedSubmission

        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends on its own now
        return DelayedSubmission(self)


def stand_still(number: int, frame: FrameType | None) -> None:
    """Slurm says that the end is near: of a job that is cancelled, preempted or put back.

    It tells the worker, too, whose end must not become a record: so nothing more happens here. Whether the job comes
    back is Slurm's to decide, which kills what waits; whoever leaves by himself has ended, and does not come back.
    """
    for child in multiprocessing.active_children():
        child.kill()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(1.0)
    os._exit(128 + number)


def submit(
    submission: Submission,
    results: Path,
    cluster: Cluster,
    console: Console,
    resources: Mapping[str, Resources] = NO_HINTS,
) -> Submitted:
    """Submit all orders as arrays; returns at once. ``resources``: the suite's hints.

    Raises InputError where Slurm or submitit are missing or refuse an array; then those before it are cancelled.
    """
    check_available()
    folder = submission.folder(results).resolve() / FOLDER
    if not str(folder).isprintable() or {"%", "\\"} & set(str(folder)):
        raise InputError(f"results: {str(results)!r}: Slurm reads % and \\ in a path as something else")
    planned = arrays(submission, resources, cluster)
    jobs: list[Placed] = []
    for array in planned:
        try:
            number = _submit_array(array, submission, folder, cluster, [jobs[at].job for at in array.after])
        except InputError:
            _cancel([placed.job for placed in jobs])
            raise
        cells = sum(len(task.orders) for task in array.tasks)
        jobs.append(Placed(number, array.wave, len(array.tasks), cells, array.minutes))
        write_atomically(folder.parent / JOBS, msgspec.json.format(msgspec.json.encode(jobs)))
    submitted = Submitted(jobs, folder, len(planned), files(planned))
    _describe(submitted, console)
    return submitted


def files(planned: Sequence[Array]) -> int:
    """How many files a submission's arrays leave behind once they have run, records aside."""
    return sum(FILES_AN_ARRAY + FILES_A_TASK * len(array.tasks) for array in planned)


def parameters(array: Array, submission: Submission, cluster: Cluster, after: Sequence[str]) -> dict[str, Any]:
    """What is asked of Slurm for an array, under submitit's names. ``after``: numbers of jobs that end first."""
    gpus = array.resources.gpus or 0
    asked = {
        "job_name": f"amendbench-{submission.id}",
        "time": array.minutes,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": submission.threads,
        "mem": f"{round((array.resources.memory_gb or 0) * 1024)}M",
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "gres": f"{cluster.gres}:{gpus}" if gpus and cluster.gres else None,
        "gpus_per_node": gpus if gpus and not cluster.gres else None,
        "dependency": f"afterany:{':'.join(after)}" if after else None,
        "array_parallelism": cluster.parallel,
        "signal_delay_s": cluster.signal_seconds,
        "setup": cluster.setup or None,
        "stderr_to_stdout": True,
        "srun_args": ["--cpus-per-task", str(submission.threads)],  # a step does not inherit them from 22.05 on
        "additional_parameters": {"requeue": True},
    }
    return {name: value for name, value in asked.items() if value is not None} | {"wckey": None}


def check_available() -> None:
    """InputError unless submitit is installed and Slurm's commands are here."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise InputError("the engine slurm needs submitit; install it: pip install 'amendbench[slurm]'") from None
    missing = [command for command in ("sbatch", "srun") if shutil.which(command) is None]
    if missing:
        raise InputError(f"Slurm's {' and '.join(missing)} cannot be found; submit from a machine that has Slurm")


def _submit_array(array: Array, submission: Submission, folder: Path, cluster: Cluster, after: list[str]) -> str:
    """The number of the job that an array has become."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=cluster.requeues)
    executor.update_parameters(**parameters(array, submission, cluster, after))
    results, variables = str(folder.parents[2]), {"AMENDBENCH_CACHE": str(environment.cache_root().resolve())}
    if outside.files():
        variables[outside.VARIABLE] = os.environ[outside.VARIABLE]
    chunks = [Chunk(results, submission.id, task.hashes, variables) for task in array.tasks]
    try:
        jobs = executor.submit_array(chunks)
    except (FailedJobError, FailedSubmissionError) as error:
        said = [line for line in str(error).splitlines() if "error" in line.lower()] or str(error).splitlines()
        raise InputError(f"Slurm took nothing: {' '.join(said)[:500]}") from error
    return str(jobs[0].job_id).partition("_")[0]


def _cancel(jobs: Sequence[str]) -> None:
    """Take back what was submitted of a submission that could not be submitted whole."""
    if jobs and shutil.which("scancel"):
        subprocess.run(["scancel", *jobs], check=False, timeout=60)


def _describe(submitted: Submitted, console: Console) -> None:
    for placed in submitted.jobs:
        console.print(
            f"  job {placed.job}: wave {placed.wave + 1}, {placed.tasks} tasks with {placed.cells} cells, "
            f"at most {placed.minutes} min each"
        )
    numbers = " ".join(placed.job for placed in submitted.jobs)
    console.print(f"logs are in {escape(str(submitted.folder))}; to take it back: scancel {numbers}")
