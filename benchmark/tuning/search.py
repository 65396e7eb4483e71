"""Tuning: the same number of configurations for every method, on the selection split and on seeds never reported."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress

from benchmark import environment
from benchmark.contracts import MethodInfo
from benchmark.discovery.methods import METHODS, check_parameters, from_outside
from benchmark.errors import InputError, unknown
from benchmark.files import write_atomically
from benchmark.running import pool, worker
from benchmark.running.records import check_inside
from benchmark.running.slots import taken
from benchmark.seeding import derive
from benchmark.suites.definition import FOLDER, Scenario, Suite, Tuned
from benchmark.tasks import TASKS
from benchmark.tuning.spaces import Range, space_of, spaces
from benchmark.tuning.tuned import write_tuned

#: A margin closer to 0 than that is 0.
ROUNDING = 1e-9


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """One configuration: its score on each tuning seed (0 where it failed) and the seconds of its method calls.

    ``metrics``: on each tuning seed what the score was made of, where the task says it; empty where it failed.
    ``margin``: by how much the task's condition was met, mean over seeds.
    """

    parameters: dict[str, Any]
    scores: list[float]
    score: float
    seconds: float
    failures: list[str]
    metrics: list[dict[str, float]] = []
    margin: float = 0.0

    @property
    def allowed(self) -> bool:
        """Whether no seed failed and the condition was met."""
        return not self.failures and self.margin >= -ROUNDING


class Study(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that was tried for one method in one scenario; first the defaults or what is next to them.

    ``external``: as of a cell.
    """

    suite: str
    task: str
    scenario: str
    method: str
    criterion: str
    seeds: tuple[int, ...]
    trials: list[Trial]
    chosen: dict[str, Any]
    environment: dict[str, str]
    created: str
    external: bool = False

    @property
    def best(self) -> Trial:
        """See :func:`best_of`."""
        return best_of(self.trials)


def best_of(trials: list[Trial]) -> Trial:
    """The highest score among those that failed on no seed and met the condition; of equal ones the first tried.

    Where none met it, the one that came nearest; where all failed, the highest score.
    """

    def worth(trial: Trial) -> tuple[bool, bool, float]:
        nearest = trial.margin if not trial.failures else trial.score
        return not trial.failures, trial.allowed, trial.score if trial.allowed else nearest

    return max(trials, key=worth)


def wanted(suite: Suite, methods: list[str] | None, more: Path | None = None) -> list[tuple[Scenario, str]]:
    """Scenarios and methods that are tuned: those with a search space, of those that were asked for.

    InputError for a method from outside in a suite that comes with the package, whose file others have, too.
    """
    known = {scenario.task: spaces(scenario.task, more) for scenario in suite.scenarios.values()}
    every = {name for found in known.values() for name in found}
    for name in methods or ():
        if name not in every and name in METHODS:
            raise InputError(f"method {name!r} has no search space: write one and name its file with --spaces")
        if name not in every:
            raise unknown("method with a search space", name, every)
    for scenario in suite.scenarios.values():
        if not TASKS.get(scenario.task).tunable(scenario.settings):
            raise InputError(f"scenario {scenario.name}: {scenario.settings.data} has no selection split to tune on")
    pairs = [(scenario, method) for scenario in suite.scenarios.values() for method in scenario.methods]
    found = [(s, m) for s, m in pairs if space_of(known[s.task], s, m) and (methods is None or m in methods)]
    guests = [m for s, m in found if from_outside(METHODS.get(m, s.task))]
    if guests and Path(suite.path).parent.resolve() == FOLDER.resolve():
        raise InputError(
            f"method {guests[0]!r} is from outside: what is tuned is written into the suite's file, so give one of "
            "your own: --suite mine.toml"
        )
    return found


def tune(
    suite: Suite,
    wanted: list[tuple[Scenario, str]],
    jobs: int,
    device: str,
    results: Path,
    console: Console,
    more: Path | None = None,
) -> None:
    """Run the studies; write what was chosen into the suite's file as soon as it is known."""
    known = {scenario.task: spaces(scenario.task, more) for scenario, _ in wanted}
    count = " or ".join(str(n) for n in sorted({suite.tuning.of(scenario.task) for scenario, _ in wanted}))
    seeds = ", ".join(map(str, suite.tuning.seeds))
    searches = "1 search" if len(wanted) == 1 else f"{len(wanted)} searches"
    console.print(f"[bold]{searches}[/] of {count} configurations on seeds {seeds}; {jobs} at a time")
    setting = pool.Setting(results, environment.cache_root(), device, suite.threads, suite.timeout)
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    with (
        taken(jobs, suite.threads, device, setting.cache) as slots,
        ProcessPoolExecutor(jobs, spawn, worker.prepare, (queue, setting)) as executor,
        Progress(console=console, transient=True) as progress,
    ):
        for slot in slots:
            queue.put(slot)
        try:
            bases = [executor.submit(_build_base, s, seed, setting) for s, seed in _bases(wanted, suite)]
            bar = progress.add_task("base models", total=len(bases))
            for built in as_completed(bases):
                built.result()
                progress.advance(bar)
            bar = progress.add_task("studies", total=len(wanted))
            waiting: list[Future[Study]] = [
                executor.submit(_study, suite, s, m, space_of(known[s.task], s, m), setting) for s, m in wanted
            ]
            for ended in as_completed(waiting):
                study = ended.result()
                _keep(study, results, Path(suite.path))
                first, best = study.trials[0].score, study.best.score
                progress.console.print(f"{study.scenario} {study.method}: {first:.3f} -> {best:.3f} {study.chosen}")
                progress.advance(bar)
        except KeyboardInterrupt:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _bases(wanted: list[tuple[Scenario, str]], suite: Suite) -> Iterator[tuple[Scenario, int]]:
    """One scenario and seed for each distinct base model."""
    seen = set()
    for scenario, _ in wanted:
        for seed in suite.tuning.seeds:
            base = TASKS.get(scenario.task).base(scenario.settings, seed)
            if base not in seen:
                seen.add(base)
                yield scenario, seed


def _build_base(scenario: Scenario, seed: int, setting: pool.Setting) -> None:
    TASKS.get(scenario.task).load().base_model(scenario.settings, seed, worker.make_context(setting))


def _chosen(parameters: Mapping[str, Any], ranges: Mapping[str, Range], info: MethodInfo) -> dict[str, Any]:
    """What is written into the suite: what was searched, and what the suite had at another value than the default."""
    defaults = info.defaults()
    return {name: value for name, value in parameters.items() if name in ranges or value != defaults[name]}


def _study(suite: Suite, scenario: Scenario, method: str, ranges: Mapping[str, Range], setting: pool.Setting) -> Study:
    """In a worker: try the defaults, or what is next to them, then what Optuna's seeded sampler proposes."""
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    info = METHODS.get(method, scenario.task)
    tried: dict[str, Trial] = {}

    def objective(trial: optuna.Trial) -> float:
        proposed = {name: _suggest(trial, name, r) for name, r in ranges.items()}
        given = check_parameters(info, {**scenario.methods[method], **proposed}, f"spaces.toml: {method}")
        key = str(given)
        if key not in tried:  # what is proposed again counts once
            tried[key] = _evaluate(suite, scenario, method, given, setting)
        return tried[key].score if tried[key].allowed else tried[key].score - 1

    seed = derive(0, "tuning", scenario.name, method) % 2**32
    sampler: optuna.samplers.BaseSampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=8)
    if all(space.choices is not None for space in ranges.values()):  # few points, which the other proposes again
        sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({name: space.nearest(info.defaults()[name]) for name, space in ranges.items()})
    wished = suite.tuning.of(scenario.task)
    for _ in range(wished * 20):
        if len(tried) < wished:
            study.optimize(objective, n_trials=1)
    trials = list(tried.values())
    best = best_of(trials)
    return Study(
        suite=suite.name,
        task=scenario.task,
        scenario=scenario.name,
        method=method,
        criterion=TASKS.get(scenario.task).selection_criterion,
        seeds=suite.tuning.seeds,
        trials=trials,
        chosen=_chosen(best.parameters, ranges, info),
        environment=environment.describe(setting.device),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        external=from_outside(info),
    )


def _suggest(trial: Any, name: str, space: Range) -> Any:
    if space.choices is not None:
        return trial.suggest_categorical(name, space.choices)
    value = trial.suggest_float(name, space.low, space.high, log=space.log)
    return float(f"{value:.3g}")


def _evaluate(
    suite: Suite, scenario: Scenario, method: str, parameters: dict[str, Any], setting: pool.Setting
) -> Trial:
    """Score one configuration on every tuning seed; a failure scores 0 and is kept."""
    from benchmark.running.cell import amend_for_selection

    scores: list[float] = []
    failures: list[str] = []
    metrics: list[dict[str, float]] = []
    margins: list[float] = []
    seconds = 0.0
    for seed in suite.tuning.seeds:
        found, taken, failure = amend_for_selection(scenario, method, parameters, seed, worker.make_context(setting))
        scores.append(found.score)
        metrics.append(dict(found.metrics))
        margins.append(found.margin)
        seconds += taken
        failures += [failure] if failure else []
    kept, n = metrics if any(metrics) else [], len(scores)
    return Trial(parameters, scores, sum(scores) / n, seconds, failures, kept, sum(margins) / n)


def _first(study: Study) -> str:
    """What was tried first: the defaults, where the space has them."""
    defaults = METHODS.get(study.method, study.task).defaults()
    said = "defaults" if study.trials[0].parameters == defaults else "nearest to the defaults"
    return said if study.trials[0].allowed else f"{said}, which do not meet the condition,"


def _keep(study: Study, results: Path, suite: Path) -> None:
    """Keep every trial below the results, and the choice with its provenance in the suite's file."""
    folder = results / "tuning" / study.suite / study.task / study.scenario
    check_inside(folder / f"{study.method}.json", results)
    write_atomically(folder / f"{study.method}.json", msgspec.json.format(msgspec.json.encode(study), indent=1) + b"\n")
    provenance = (
        f"best of {len(study.trials)} by {study.criterion}, mean of seeds {', '.join(map(str, study.seeds))}: "
        f"{study.best.score:.3f} ({_first(study)} {study.trials[0].score:.3f})"
    )
    write_tuned(suite, study.scenario, study.method, Tuned(study.chosen, provenance))
