"""What stands above boards of generators: features, judge, and that papers' values in other features do not compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmark.boards.board import build_board
from benchmark.contracts import GanRecipe, Recipe
from benchmark.models.classifiers import build_classifier
from benchmark.models.surgery import head
from benchmark.published.joining import joined
from benchmark.reporting.measured import FEATURES, Setting, how_measured, setting_of, settings_of
from benchmark.reporting.published import beside_the_paper
from benchmark.reporting.report import render
from benchmark.running.records import Record, RecordStore
from benchmark.tasks.gan_feature_removal import GanFeatureRemoval, Judges

Make = Callable[..., Record]
RECIPE = Recipe(epochs=1, batch_size=64, lr=0.1)
PAPER = ("standard", "mnist-class-1")


def scenario(**changes: Any) -> GanFeatureRemoval:
    training = GanRecipe(steps=1, batch_size=64, lr_generator=0.1, lr_discriminator=0.1)
    own = GanFeatureRemoval(data="mnist-5k", model="dcgan", training=training, judges=Judges(RECIPE))
    return msgspec.structs.replace(own, **changes)


def records(make_record: Make, **values: float) -> list[Record]:
    """Those of the toy, of the references and the paper's method."""
    metrics = {"pul": 60.0, "fid": 20.0, "ret-fid": 9.0, "judge.error": 1.25, **values}
    return [make_record(method, metrics, scenario="ring") for method in ("original", "retrain", "atu-el2")]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {},
            (
                "precision and recall: in the 84 features of a small network (`lenet`) trained on half of `mnist-5k`",
                "10,000 generated images against the real test images without what must go",
                "Values of other extractors do not compare",
                "Undesired is what a classifier (`lenet`) calls so",
                "this judge is wrong about 1.2 % of the real test images.",
            ),
        ),
        (
            {"features": "inception", "real": "train", "samples": 500},
            ("in the 2,048 features of torch-fidelity's Inception, 500 generated images", "the real training images"),
        ),
        ({"feature": "colour"}, ("has the hue that must go, which is measured",)),
        (
            {"feature": "modes", "features": "coordinates", "judges": None},
            ("of the coordinates themselves", "generated points", "lies nearest to a mode that must go"),
        ),
        ({"judges": Judges(RECIPE, "a`b|<i>")}, ("in features of a network (`a?b??i?`)",)),
    ],
)
def test_a_board_says_where_and_by_whom_it_was_measured(
    make_record: Make, changes: dict[str, Any], parts: tuple[str, ...]
) -> None:
    text, blank = how_measured(scenario(**changes), build_board(records(make_record)))
    assert blank == ""
    assert [part for part in parts if part not in text] == []
    assert "wrong about" not in how_measured(scenario(**changes), [])[0]


def test_features_are_as_many_as_the_network_has() -> None:
    for name, number in FEATURES.items():
        assert head(build_classifier(name, 10, (1, 28, 28))).weight.shape == (10, number)


def test_settings_are_those_of_most_records(make_record: Make) -> None:
    one, other, _ = records(make_record)
    third = make_record("ewc", scenario="ring")
    cell = msgspec.structs.replace(other.cell, settings={**other.cell.settings, "samples": 7})
    changed = msgspec.structs.replace(other, cell=cell)
    assert settings_of([changed, one, third, make_record("original")])["ring"].samples == 4000
    cell = msgspec.structs.replace(one.cell, settings={"data": "no more"})
    assert settings_of([msgspec.structs.replace(one, cell=cell)]) == {}


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({}, Setting("DCGAN", "lenet")),
        ({"features": "inception", "model": "stylegan2"}, Setting("StyleGAN2", "Inception")),
        ({"features": "coordinates", "judges": None, "model": "gan-toy"}, Setting("gan-toy", "coordinates")),
    ],
)
def test_settings_in_a_few_words(changes: dict[str, Any], setting: Setting) -> None:
    assert setting_of(scenario(**changes)) == setting


def line_of(lines: list[str], heading: str) -> tuple[str, list[str], list[str]]:
    """The sentence, the heads and the paper's method's row of the table of one metric."""
    first = next(i for i, text in enumerate(lines) if text.startswith(heading))
    heads, row = lines[first + 2], next(text for text in lines[first:] if text.startswith("| **atu-el2**"))
    cut = [[cell.strip() for cell in text.strip("|").split("|")] for text in (heads, row)]
    return lines[first], cut[0], cut[1]


def test_distances_in_other_features_have_no_difference(make_record: Make) -> None:
    lines = beside_the_paper(*PAPER, build_board(records(make_record)), Setting("DCGAN", "lenet"))
    assert lines.count("#### Beside the paper") == 1
    sentence, heads, row = line_of(lines, "FID")
    assert "The paper's generator is a StyleGAN2, this run's a DCGAN. **The values do not compare**" in sentence
    assert heads[1:3] == ["this run (DCGAN, lenet features)", "published (StyleGAN2, Inception features)"]
    assert row[1:4] == ["20.0 (n 1)", "9.65 ± 0.21", "-"]
    assert line_of(lines, "Ret-FID")[2][1:4] == ["9.00 (n 1)", "6.29 ± 0.18", "-"]
    sentence, heads, row = line_of(lines, "PUL")
    assert sentence.endswith("this run's a DCGAN. Each has a judge of its own.")
    assert heads[1:3] == ["this run (DCGAN)", "published (StyleGAN2)"]
    assert row[1:4] == ["60.0 (n 1)", "99.32 ± 0.43", "-39.3"]


def test_distances_in_the_same_features_have_one(make_record: Make) -> None:
    lines = beside_the_paper(*PAPER, build_board(records(make_record)), Setting("StyleGAN2", "Inception"))
    sentence, _, row = line_of(lines, "FID")
    assert row[3] == "+10.3"
    assert "do not compare" not in sentence


def test_of_an_unknown_run_only_the_papers_side_is_named(make_record: Make) -> None:
    sentence, heads, row = line_of(beside_the_paper(*PAPER, build_board(records(make_record))), "FID")
    assert heads[1:3] == ["this run", "published (StyleGAN2, Inception features)"]
    assert "**The values do not compare**" in sentence
    assert row[3] == "-"


def test_only_numbers_of_generators_have_generators() -> None:
    assert {(one.task == "gan-feature-removal", one.generator, one.features) for one in joined()} == {
        (False, "", ""), (True, "StyleGAN2", ""), (True, "StyleGAN2", "Inception"),
    }  # fmt: skip
    assert {one.metric for one in joined() if one.features} == {"fid", "ret-fid"}


def test_the_page_says_it_above_the_table(make_record: Make, tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "results")
    for record in [*records(make_record), make_record("original", {"accuracy.test.all": 90.0})]:
        store.write(record, {})
    render(store.root, tmp_path / "reports")
    text = (tmp_path / "reports" / "gan-feature-removal.md").read_text("utf-8")
    assert text.count("FID, KID, precision and recall: of the coordinates themselves, 4,000 generated points") == 1
    assert text.index("4,000 generated points") < text.index("| # | method", text.index("/ ring"))
