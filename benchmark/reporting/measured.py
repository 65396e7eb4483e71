"""What a scenario's generators were measured with: who judges, and in which features distances are taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from benchmark.boards.board import Row
from benchmark.reporting import cells
from benchmark.reporting.text import command_text
from benchmark.running.records import Record
from benchmark.tasks.gan_feature_removal import GanFeatureRemoval

TASK = "gan-feature-removal"
#: What generators are called in tables, and networks' features where their number is known.
GENERATORS = {"dcgan": "DCGAN", "stylegan2": "StyleGAN2"}
FEATURES = {"lenet": 84}
INCEPTION = "Inception"


class Setting(NamedTuple):
    """The generator of a run and the features in which its distances are, as tables name them."""

    generator: str
    features: str


def settings_of(records: Iterable[Record]) -> dict[str, GanFeatureRemoval]:
    """What most records of each scenario were run with; those of a time with other settings are left out."""
    found: dict[str, Counter[GanFeatureRemoval]] = {}
    for record in records:
        if record.cell.task == TASK:
            own = _settings(record)
            found.setdefault(record.cell.scenario, Counter()).update([own] if own is not None else [])
    return {scenario: counted.most_common(1)[0][0] for scenario, counted in found.items() if counted}


def _settings(record: Record) -> GanFeatureRemoval | None:
    try:
        return msgspec.convert(record.cell.settings, GanFeatureRemoval)
    except msgspec.ValidationError:
        return None


def setting_of(scenario: GanFeatureRemoval) -> Setting:
    """The scenario's own, in a few words."""
    generator = GENERATORS.get(scenario.model, command_text(scenario.model))
    if scenario.features == "inception":
        return Setting(generator, INCEPTION)
    return Setting(generator, scenario.features if scenario.judges is None else command_text(scenario.judges.model))


def how_measured(scenario: GanFeatureRemoval | None, rows: Sequence[Row]) -> list[str]:
    """A paragraph above a board: in which features distances are, against what, and who says what is undesired."""
    if scenario is None:
        return []
    what = "points" if scenario.features == "coordinates" else "images"
    real = f"the real {'training' if scenario.real == 'train' else 'test'} {what} without what must go"
    return [
        f"FID, KID, precision and recall: {_features(scenario)}, {scenario.samples:,} generated {what} against {real}. "
        f"Ret-FID: the same against as many {what} of a generator that never learnt it. Values of other extractors do "
        f"not compare. Undesired is {_judge(scenario)}{_wrong(rows, what)}.",
        "",
    ]


def _features(scenario: GanFeatureRemoval) -> str:
    if scenario.features == "coordinates":
        return "of the coordinates themselves"
    if scenario.features == "inception" or scenario.judges is None:
        return "in the 2,048 features of torch-fidelity's Inception"
    number = FEATURES.get(scenario.judges.model)
    which = f"the {number} features of a small network" if number else "features of a network"
    return f"in {which} ({_network(scenario)}) trained on half of `{command_text(scenario.data)}`"


def _judge(scenario: GanFeatureRemoval) -> str:
    """Who counts what is left; it is never the one who gave feedback, but where both are exact."""
    if scenario.feature == "modes":
        return "what lies nearest to a mode that must go"
    if scenario.feature == "colour":
        return "what has the hue that must go, which is measured"
    return f"what a classifier ({_network(scenario)}) calls so that shares neither seed nor data with the feedback's"


def _network(scenario: GanFeatureRemoval) -> str:
    return f"`{command_text(scenario.judges.model)}`" if scenario.judges is not None else "?"


def _wrong(rows: Sequence[Row], what: str) -> str:
    """The judge's error on real test images, which is the same in every row."""
    errors = (row.metrics["judge.error"] for row in rows if cells.has(row, "judge.error"))
    error = next((cell.mean for cell in errors if cell.mean is not None), None)
    return "" if error is None else f"; this judge is wrong about {cells.number(error, '%')} % of the real test {what}"
