"""What there is of a study, and the page that is made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from benchmark.errors import InputError
from benchmark.reporting.studies.page import study_page
from benchmark.reporting.studies.pages import write_studies
from benchmark.reporting.studies.texts import number, spread, written
from benchmark.running.records import STUDIES, Cell, RecordStore
from benchmark.stats import t_interval
from benchmark.studies import measured as measuring
from benchmark.studies.definition import Study
from benchmark.studies.found import Found
from benchmark.studies.measured import measure, missing

MakeStudy = Callable[..., Study]
Fill = Callable[..., None]
MEASURED = """
[measurements.variance]
of = "made_up"
x = "beta"
metrics = ["measured"]
points.beta = [0, 1]
"""


def values(cell: Cell) -> dict[str, float | None]:
    """Seed s has 90 + s on the retained classes, a point less for every sample; retraining 99, the original 100."""
    known = {"original": 100.0, "retrain": 99.0}
    retained = known.get(cell.method, 90.0 + cell.seed - cell.parameters.get("retain_per_class", 0))
    return {
        "accuracy.test.retain": retained,
        "accuracy.test.forget": 0.0,
        "accuracy.train.retain": retained,
        "accuracy.train.forget": 0.0,
        "accuracy.test.all": retained,
    }


@pytest.fixture
def study(make_study: MakeStudy) -> Study:
    return make_study()


def test_cells_are_known_by_sweep_and_point(study: Study, fill: Fill, tmp_path: Path) -> None:
    fill(study, values)
    found = Found.of(study, tmp_path)
    assert (found.there, found.expected) == (18, 18)  # (two methods, two points; two references) of three seeds
    assert found.by_seed("alpha", "svd-forgetting", "accuracy.test.retain", 10) == {0: 80.0, 1: 81.0, 2: 82.0}
    assert found.by_seed("alpha", "svd-forgetting", "accuracy.test.retain", {"retain_per_class": 1})[0] == 89.0
    assert {cell.method for cell in found.references("alpha")} == {"original", "retrain"}


def test_values_relative_to_the_reference_are_there(study: Study, fill: Fill, tmp_path: Path) -> None:
    fill(study, values)
    gaps = Found.of(study, tmp_path).by_seed("alpha", "svd-forgetting", "accuracy.test.retain.gap", 1)
    assert gaps == {0: -10.0, 1: -9.0, 2: -8.0}


def test_without_references_there_are_no_gaps(study: Study, fill: Fill, tmp_path: Path) -> None:
    fill(study, lambda cell: None if cell.method == "retrain" else values(cell))
    with pytest.raises(InputError, match="unknown metric"):
        Found.of(study, tmp_path).by_seed("alpha", "svd-forgetting", "accuracy.test.retain.gap", 1)


def test_results_of_other_settings_do_not_count(make_study: MakeStudy, fill: Fill, tmp_path: Path) -> None:
    fill(make_study(), values)
    other = make_study('[sweeps.alpha]\nscenario = "digits"\nmethods = ["svd-forgetting"]\nx = "n"\n'
                       "fixed.parameters = { max_patches = 7 }\nparameters.retain_per_class = [1, 10]\n")  # fmt: skip
    assert Found.of(other, tmp_path).cells("alpha") == []


def test_results_of_other_versions_do_not_count(study: Study, fill: Fill, tmp_path: Path) -> None:
    fill(study, values)
    store = RecordStore(tmp_path / STUDIES)
    for record in [one for one in store.all() if one.cell.method == "svd-forgetting"]:
        older = msgspec.structs.replace(record.cell, versions={**record.cell.versions, "method": 0})
        store.write(msgspec.structs.replace(record, cell=older, hash=older.hash), {})
    assert {cell.method for cell in Found.of(study, tmp_path).cells("alpha")} == {"svd-forgetting+search"}


def test_a_point_must_be_one(study: Study, fill: Fill, tmp_path: Path) -> None:
    fill(study, values)
    found = Found.of(study, tmp_path)
    with pytest.raises(InputError, match="no single point"):
        found.by_seed("alpha", "svd-forgetting", "accuracy.test.retain")
    with pytest.raises(InputError, match="no result"):
        found.by_seed("alpha", "svd-forgetting", "accuracy.test.retain", 3)
    with pytest.raises(InputError, match="did you mean alpha"):
        found.cells("alfa")


def test_texts_have_numbers_of_the_records(study: Study, fill: Fill, tmp_path: Path) -> None:
    fill(study, values)
    found = Found.of(study, tmp_path)
    name, metric = "'alpha', 'svd-forgetting'", "'accuracy.test.retain'"
    assert written(f"{{{{ mean({name}, {metric}, 10) }}}} %", found) == "81.0 ± 2.5 %"
    gain = f"gain({name}, {metric}, 1, versus=({name}, 10))"
    assert written(f"{{{{ {gain} }}}}", found) == "+9.0"  # the same of every seed: paired
    assert written(f"{{{{ clear({name}, {metric}, 1, versus=({name}, 10)) }}}}", found) == "True"
    assert written(f"{{{{ best({name}, {metric}) }}}} {{{{ n({name}) }}}}", found) == "1 3"


@pytest.mark.parametrize("text", ["{{ mean('alpha', 'finetune', 'tow', 1) }}", "{{ nothing }}", "{{ mean( }}"])
def test_texts_that_cannot_be_written_are_bad_input(study: Study, fill: Fill, tmp_path: Path, text: str) -> None:
    fill(study, values)
    with pytest.raises(InputError):
        written(text, Found.of(study, tmp_path))


def test_a_page_shows_what_there_is(make_study: MakeStudy, fill: Fill, tmp_path: Path) -> None:
    study = make_study(more="found = \"{{ mean('alpha', 'svd-forgetting', 'tow', 1) }}\"\n")
    fill(study, lambda cell: values(cell) if cell.seed < 2 else None)
    page, drawings = study_page(Found.of(study, tmp_path))
    assert "# How large may alpha be?" in page
    assert "One \\*question\\*." in page
    assert "**6 cells have not been run, 0 measurements not been taken**" in page
    assert "| svd-forgetting | 10 | 80.5 ± 6.4 | 0.0 |" in page
    assert "| retrain | any | 99.0 |" in page
    assert "a \\| b" in page
    assert len(drawings) == 1
    drawings[0].figure()


def test_pages_are_written_where_there_is_something(study: Study, fill: Fill, tmp_path: Path) -> None:
    assert write_studies(tmp_path, tmp_path / "reports", [study]) == []
    fill(study, values)
    written_ = write_studies(tmp_path, tmp_path / "reports", [study])
    assert {path.name for path in written_} == {"mine.md", "index.md", "mine-alpha.png", "mine-alpha.svg"}
    again = [path.read_bytes() for path in written_]
    write_studies(tmp_path, tmp_path / "reports", [study])
    assert [path.read_bytes() for path in written_] == again


def test_measurements_are_taken_once(make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("benchmark.studies.measuring.made_up")
    module.measure = lambda point, seed: {"measured": point["beta"] + seed / 10}  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    monkeypatch.setattr(measuring, "digest", lambda name: "first")
    study = make_study(MEASURED)
    assert len(missing(study, tmp_path)) == 6
    for name, point, seed in missing(study, tmp_path):
        measure(study, name, point, seed, tmp_path)
    assert missing(study, tmp_path) == []
    assert len(missing(study, tmp_path, fresh=True)) == 6
    found = Found.of(study, tmp_path)
    assert [(one.point["beta"], one.seed, one.values["measured"]) for one in found.measurements("variance")][3] == (
        1,
        0,
        1.0,
    )
    assert written("{{ measured('variance', 'measured', 1) }}", found) == "1.1 ± 0.2"
    page, drawings = study_page(found)
    assert "| variance | 0 | 0.1 ± 0.2 |" in page
    drawings[0].figure()
    monkeypatch.setattr(measuring, "digest", lambda name: "second")
    assert len(missing(study, tmp_path)) == 6


def test_a_measurement_that_is_no_number_is_told_of(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("benchmark.studies.measuring.made_up")
    module.measure = lambda point, seed: {"measured": float("nan")}  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    monkeypatch.setattr(measuring, "digest", lambda name: "first")
    with pytest.raises(InputError, match="measured is nan"):
        measure(make_study(MEASURED), "variance", {"beta": 0}, 0, tmp_path)
    assert not (tmp_path / STUDIES).exists()


def test_numbers_are_told_as_their_metric_is() -> None:
    assert number(98.44, "accuracy.test.retain") == "98.4"
    assert number(-0.01, "accuracy.test.retain") == "0.0"
    assert number(0.12345, "tow") == "0.123"
    assert number(2.0, signed=True) == "+2"
    assert spread(t_interval([1.0, 1.0])) == "1"
    assert spread(t_interval([0.5])) == "0.5"
