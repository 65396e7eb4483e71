"""``amendbench submit --template``: a ``metadata.toml`` to fill in, with the arrays that each cell needs."""

from __future__ import annotations

from datetime import date

from benchmark.rescoring import rescore as rescoring
from benchmark.rescoring.ranges import recorded
from benchmark.submissions.expected import CLAIMED, expected
from benchmark.suites.definition import Scenario, load_suite, select
from benchmark.tasks import TASKS, Task


def template(suite: str, task: str | None, scenarios: list[str] | None, seeds: int) -> str:
    """The text of the file for seeds 0 to ``seeds`` - 1 of the scenarios; InputError where their data are not there."""
    chosen = select(load_suite(suite), task, scenarios, None)
    own = list(chosen.scenarios.values())
    first = TASKS.get(own[0].task)
    own = [scenario for scenario in own if scenario.task == first.name]
    lines = [
        "# What amendbench submit --predictions FOLDER reads, beside an .npz file a cell (numpy.savez).",
        'method = "my-method"',
        'authors = ["First Author", "Second Author"]',
        'licence = "CC-BY-4.0"  # of the predictions',
        f'suite = "{suite}"',
        f'task = "{first.name}"',
        f"date = {date.today().isoformat()}",
        'link = ""  # to the paper or the code: https://...',
        'contact = ""',
        'hardware = ""',
        'notes = ""  # whose base models, for example',
        "few_labels = false  # whether labels were read of the few labelled samples only",
        "",
        *_access(first),
        *(line for scenario in own for line in _scenario(scenario, first, seeds)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _access(task: Task) -> list[str]:
    """What may be read of each view, to be cut down to what was."""
    return [
        "# What the method read, by view: x images, y labels, a attributes, m masks, w the network behind feedback.",
        "[access]",
        *(f'{view} = "{fields}"' for view, fields in task.views.items()),
        "",
    ]


def _scenario(scenario: Scenario, task: Task, seeds: int) -> list[str]:
    needed = expected(scenario.settings, 0)
    lines = [f"# Hyper-parameters in scenario {scenario.name}.", f"[parameters.{scenario.name}]", "lr = 0.01", ""]
    lines += [f"# {scenario.name}: each file has these arrays and no other; float32 and float64 are rounded:"]
    lines += [f"#   {name}  {told.text}" for name, told in needed.predictions.items()]
    if task.name in CLAIMED:
        lines.append(f"# {CLAIMED[task.name]}.")
    for seed in range(seeds):
        lines += [
            "[[cells]]",
            f'scenario = "{scenario.name}"',
            f"seed = {seed}  # amends {task.unit(scenario.settings, seed)}",
            f'file = "{scenario.name}-seed{seed}.npz"',
            "seconds = 0.0",
            "# Any of the task's metrics; blank = [...] names those that have no value.",
            "[cells.reported]",
            *(f'# "{name}" = 0.0' for name in _verifiable(task)),
            "",
        ]
    return lines


def _verifiable(task: Task) -> list[str]:
    """Names of metrics that predictions give, in the order of the task."""
    return [name for name in task.metrics if name in recorded(task.name) and not rescoring.needs(task.name, name)]
