"""Figures of bias correction: what lambda does, from studies, and what networks see, from arrays beside records."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmark.reporting.examples import Examples, examples
from benchmark.reporting.figures.correction import example_pictures, lambda_sweeps
from benchmark.reporting.figures.drawings import drawings
from benchmark.reporting.figures.gallery import save_all
from benchmark.reporting.figures.pictures import pictures
from benchmark.reporting.legitimate import legitimate_tables
from benchmark.reporting.report import render
from benchmark.reporting.sweeps import METRICS, Point, sweeps
from benchmark.running.records import Record, RecordStore
from benchmark.tuning.search import Study, Trial

Make = Callable[..., Record]
HOSTILE = "a|b<img src=x onerror=alert(1)>[c](javascript-d)`e`*f*\n# g $\\x^{"
PNG = b"\x89PNG\r\n\x1a\n"
SEEDS = (102, 105)
VALUES: dict[str, float | None] = {"accuracy.clean": 98.0, "accuracy.attacked": 60.0, "attack.cost": 50.0}


def drawn(figure: partial[Any]) -> bytes:
    """The PNG, after seeing that it and the SVG are the same again."""
    both = pictures(figure, "mark")
    assert both == pictures(figure, "mark")
    return both[0]


def metrics(clean: float, attacked: float, tcav: float | None = 0.5) -> dict[str, float]:
    found = {"accuracy.clean": clean, "accuracy.attacked": attacked, "tcav.positions": 0.5, "tcav.sensitivity": 0.01}
    return found if tcav is None else {**found, "tcav": tcav}


def trial(lam: Any, values: list[dict[str, float]], refused: int = 0, failures: int = 0) -> Trial:
    """A trial at ``lam`` that fell ``refused`` points below the floor and failed on some seeds."""
    scores = [own["accuracy.attacked"] / 100 for own in values] + [0.0] * failures
    reasons = ["seed 105: ValueError: no"] * failures
    return Trial({"lam": lam, "lr": 0.001}, scores, sum(scores) / len(scores), 1.0, reasons, values, 0.5 - refused)


TRIALS = [
    trial(1e3, [metrics(98, 70), metrics(96, 80, None)]),
    trial(1.0, [metrics(99, 30, 1.0), metrics(97, 40, 0.8)]),
    trial(1e6, [metrics(60, 50, None), metrics(95, 60, None)], refused=1),
    trial(1e5, [metrics(97, 75, 0.4)], failures=1),
]


def write_study(results: Path, scenario: str = "digits-patch", folder: str = "", **changes: Any) -> Path:
    """A study of RR-ClArC in the suite ``smoke``."""
    study = Study(
        suite="smoke", task="bias-correction", scenario=scenario, method="rr-clarc", criterion="", seeds=SEEDS,
        trials=TRIALS, chosen={"lam": 1e3}, environment={}, created="2025-01-01T00:00:00+00:00",
    )  # fmt: skip
    path = results / "tuning" / "smoke" / "bias-correction" / (folder or scenario) / "rr-clarc.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(study, **changes)))
    return path


def test_points_are_means_and_ranges_over_the_seeds_that_have_a_value(tmp_path: Path) -> None:
    write_study(tmp_path)
    (sweep,) = sweeps(tmp_path, "smoke")
    assert (sweep.scenario, sweep.seeds, sweep.chosen) == ("digits-patch", SEEDS, 1e3)
    assert list(sweep.curves) == list(METRICS)
    assert sweep.curves["accuracy.attacked"] == [
        Point(1.0, 35.0, 30.0, 40.0), Point(1e3, 75.0, 70.0, 80.0), Point(1e5, 75.0, 75.0, 75.0),
        Point(1e6, 55.0, 50.0, 60.0),
    ]  # fmt: skip
    assert sweep.curves["tcav"] == [Point(1.0, 0.9, 0.8, 1.0), Point(1e3, 0.5, 0.5, 0.5), Point(1e5, 0.4, 0.4, 0.4)]
    assert sweep.refused == {1e5, 1e6}


def test_scenarios_are_sorted_and_other_methods_left_alone(tmp_path: Path) -> None:
    for scenario in ("b", "a"):
        path = write_study(tmp_path, scenario)
        path.with_name("rr-clarc+svm.json").write_text("no study")
    assert [sweep.scenario for sweep in sweeps(tmp_path, "smoke")] == ["a", "b"]
    assert sweeps(tmp_path, "embedded") == []
    assert sweeps(tmp_path / "nowhere", "smoke") == []


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b"[" * 100_000, b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_a_damaged_study_is_left_out_with_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write_study(tmp_path, "good")
    write_study(tmp_path, "bad").write_bytes(content)
    assert [sweep.scenario for sweep in sweeps(tmp_path, "smoke")] == ["good"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "is left out" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": "embedded"}, {"task": "debias-known"}, {"scenario": "other", "folder": "digits-patch"},
        {"method": "rr-clarc+svm"}, {"chosen": {}}, {"chosen": {"lam": "much"}}, {"chosen": {"lam": True}},
        {"chosen": {"lam": -1.0}},
    ],
)  # fmt: skip
def test_a_foreign_study_is_left_out_with_a_warning(
    tmp_path: Path, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    write_study(tmp_path, **changes)
    assert sweeps(tmp_path, "smoke") == []
    assert "is left out" in caplog.text


def test_what_has_no_place_in_the_figure_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Studies of a time that kept no metrics, numbers that were not finite, and values of lambda that are none."""
    write_study(tmp_path, "a-without", trials=[Trial({"lam": 1.0}, [0.5], 0.5, 1.0, [])])
    nan, huge = {**metrics(98, 70), "tcav.sensitivity": float("nan")}, metrics(98, 1e308)
    lams = (0.0, -1.0, "x", None, 1e300, True)
    write_study(tmp_path, "b-odd", trials=[trial(10.0, [nan, huge]), *(trial(lam, [huge]) for lam in lams)])
    (sweep,) = sweeps(tmp_path, "smoke")
    assert sweep.curves["accuracy.attacked"] == [Point(10.0, 70.0, 70.0, 70.0)]
    assert sweep.curves["tcav.sensitivity"] == [Point(10.0, 0.01, 0.01, 0.01)]
    assert not caplog.records
    assert drawn(partial(lambda_sweeps, [sweep])).startswith(PNG)


def test_a_sweep_is_the_same_twice(tmp_path: Path) -> None:
    write_study(tmp_path, "digits-patch")
    write_study(tmp_path, "z" * 90, trials=TRIALS[2:3])  # no TCAV at all
    zero = [{**metrics(98, 70), "tcav.sensitivity": 0.0}, metrics(98, 70)]
    write_study(tmp_path, "zero $\\x^{", trials=[trial(1.0, zero)])
    found = sweeps(tmp_path, "smoke")
    assert len(found) == 3
    assert drawn(partial(lambda_sweeps, found)) != drawn(partial(lambda_sweeps, found[:1]))


def test_rows_that_nothing_is_known_of_are_left_out(tmp_path: Path) -> None:
    accuracy = [{"accuracy.clean": 98.0, "accuracy.attacked": 70.0}]
    sizes = []
    for values in (accuracy, [metrics(98, 70)]):
        write_study(tmp_path, trials=[trial(1.0, values)])
        sizes.append(int.from_bytes(drawn(partial(lambda_sweeps, sweeps(tmp_path, "smoke")))[20:24]))
    assert sizes[0] < sizes[1]


def arrays(n: int = 5, channels: int = 1, after: bool = False, size: tuple[int, int] = (8, 8)) -> dict[str, np.ndarray]:
    """What a record keeps with examples; those after correction differ in what is predicted and why."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (2, n, channels, *size), dtype=np.uint8)
    relevance, concept = generator.normal(size=(2, n, *size)).astype(np.float16)
    return {
        "example.clean": pictures[0],
        "example.attacked": pictures[1],
        "example.labels": np.arange(n, dtype=np.int16),
        "example.predictions": np.arange(n, dtype=np.int16) if after else np.zeros(n, dtype=np.int16),
        "example.relevance": -relevance if after else relevance,
        "example.concept": concept,
    }


def keep(
    store: RecordStore, make: Make, seed: int, before: dict[str, Any], after: dict[str, Any], **changes: Any
) -> list[Record]:
    """Records of both networks with arrays beside them."""
    both = {"original": before, "rr-clarc": after}
    records = [make(method, VALUES, scenario="digits-patch", seed=seed, **changes) for method in both]
    return [store.write(record, kept) for record, kept in zip(records, both.values(), strict=True)]


def one(records: list[Record], store: RecordStore) -> Examples | None:
    found = list(examples(records, store))
    assert len(found) <= 1
    return found[0] if found else None


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "results")


def test_examples_are_those_of_the_first_seed_that_has_both(make_record: Make, store: RecordStore) -> None:
    records = keep(store, make_record, 2, arrays(), arrays(after=True))
    records += keep(store, make_record, 0, arrays(), {})
    records += keep(store, make_record, 1, arrays(), arrays(after=True))
    shown = one(records, store)
    assert shown is not None
    assert (shown.scenario, shown.seed) == ("digits-patch", 1)
    assert shown.attacked.shape == (5, 8, 8)
    assert shown.before.predictions.tolist() == [0, 0, 0, 0, 0]
    assert shown.after.predictions.tolist() == shown.labels.tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(shown.before.relevance, -shown.after.relevance)


def test_at_most_five_pictures_and_colours_last(make_record: Make, store: RecordStore) -> None:
    shown = one(keep(store, make_record, 0, arrays(9, 3), arrays(9, 3, after=True)), store)
    assert shown is not None
    assert shown.clean.shape == shown.attacked.shape == (5, 8, 8, 3)
    assert len(shown.labels) == len(shown.after.concept) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"example.concept": None}, {"example.attacked": np.zeros((5, 1, 8, 8), np.uint8)},
        {"example.labels": np.ones(5, np.int16)}, {"example.labels": np.array(["$x^{"] * 5)},
        {"example.relevance": np.zeros((5, 8, 9), np.float16)}, {"example.predictions": np.zeros(4, np.int16)},
        {"example.clean": np.zeros((5, 8, 8), np.uint8)}, {"example.clean": np.zeros((5, 2, 8, 8), np.uint8)},
    ],
)  # fmt: skip
def test_arrays_that_do_not_belong_together_are_not_drawn(
    make_record: Make, store: RecordStore, change: dict[str, Any]
) -> None:
    other = {name: array for name, array in {**arrays(after=True), **change}.items() if array is not None}
    assert one(keep(store, make_record, 0, arrays(), other), store) is None


def test_no_pictures_no_figure(make_record: Make, store: RecordStore) -> None:
    assert one(keep(store, make_record, 0, arrays(0), arrays(0, after=True)), store) is None
    assert one(keep(store, make_record, 0, arrays(), arrays(after=True), status="failed"), store) is None
    assert one(keep(store, make_record, 0, arrays(), arrays(after=True))[:1], store) is None
    records = keep(store, make_record, 0, arrays(), arrays(after=True))
    for path in store.root.rglob("*.npz"):
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert one(records, store) is None


@pytest.mark.parametrize("size", [(6, 9), (300, 200)])
def test_example_pictures_are_the_same_twice(make_record: Make, store: RecordStore, size: tuple[int, int]) -> None:
    blank = arrays(2, 3, after=True, size=size)
    blank["example.relevance"][0] = np.nan
    blank["example.concept"][1] = 0
    shown = one(keep(store, make_record, 0, arrays(2, 3, size=size), blank), store)
    assert shown is not None
    width, height = (int.from_bytes(drawn(partial(example_pictures, shown))[at : at + 4]) for at in (16, 20))
    assert width < height < 1400


def test_the_report_has_both_figures_and_is_the_same_twice(
    make_record: Make, store: RecordStore, tmp_path: Path
) -> None:
    keep(store, make_record, 0, arrays(), arrays(after=True))
    write_study(store.root)
    contents = []
    for name in ("one", "two"):
        render(store.root, tmp_path / name)
        found = sorted(path for path in (tmp_path / name).rglob("smoke-*") if path.suffix in (".png", ".svg"))
        assert {"smoke-lambda.png", "smoke-digits-patch-examples.svg"} <= {path.name for path in found}
        contents.append([path.read_bytes() for path in found])
    assert contents[0] == contents[1]
    text = "".join(path.read_text("utf-8") for path in (tmp_path / "one").rglob("*.md"))
    assert "figures/smoke-lambda.png" in text
    assert "figures/smoke-digits-patch-examples.png" in text
    assert "on the selection split, tuning seeds 102, 105:" in text
    assert "The last two rows are the same where the method leaves the layers below alone" in text


def test_a_report_without_either_has_neither_figure(make_record: Make, store: RecordStore) -> None:
    keep(store, make_record, 0, {}, {})
    assert list(drawings("smoke", list(store.all("smoke")), [], store)) == []


def test_names_in_captions_are_text(make_record: Make, store: RecordStore, tmp_path: Path) -> None:
    def recast(record: Record) -> Record:
        cell = msgspec.structs.replace(record.cell, scenario=HOSTILE)
        return msgspec.structs.replace(record, cell=cell, hash=cell.hash)

    kept = {"original": arrays(), "rr-clarc": arrays(after=True)}
    records = [
        store.write(recast(make_record(method, VALUES, scenario="digits-patch")), beside)
        for method, beside in kept.items()
    ]
    write_study(store.root, HOSTILE)
    found = list(drawings("smoke", records, [], store))
    assert [(one.kind, one.task, one.scenario) for one in found] == [
        ("sweep", "bias-correction", None), ("examples", "bias-correction", HOSTILE),
    ]  # fmt: skip
    written = save_all(found, tmp_path / "figures")
    assert [path.parent for path in written] == [tmp_path / "figures"] * 4
    assert all(path.is_file() and re.fullmatch(r"[\w.+-]+", path.name) for path in written)
    for one in found:
        assert not any(part in one.caption for part in ("<img", "](", "\n"))
        assert one.alt.isprintable()


def test_where_the_artefact_is_legitimate_both_corrections_stand_side_by_side(tmp_path: Path) -> None:
    def told(lam: float, values: tuple[float, float, float]) -> Trial:
        names = ("accuracy.legitimate", "accuracy.attacked", "accuracy.clean")
        return Trial({"lam": lam}, [0.5], 0.5, 1.0, [], [dict(zip(names, values, strict=True))])

    every = [told(0.0, (98, 20, 97)), told(1e3, (94, 90, 96)), told(7.0, (1, 2, 3))]
    one = [told(1e3, (98, 50, 97)), told(0.0, (98, 20, 97))]
    path = write_study(tmp_path, trials=every, chosen={"lam": 0.0})
    assert legitimate_tables(tmp_path, "smoke") == {}
    study = msgspec.json.decode(path.read_bytes(), type=Study)
    specific = msgspec.structs.replace(study, method="rr-clarc+class-specific", trials=one)
    path.with_name("rr-clarc+class-specific.json").write_bytes(msgspec.json.encode(specific))
    lines = legitimate_tables(tmp_path, "smoke")["digits-patch"]
    assert [line for line in lines if line.startswith(("| 0 ", "| 1"))] == [
        "| 0 | 98.0 | 98.0 | 20.0 | 20.0 | 97.0 | 97.0 |",
        "| 1000 | 94.0 | 98.0 | 90.0 | 50.0 | 96.0 | 97.0 |",
    ]
    (sweep,) = sweeps(tmp_path, "smoke")
    assert sweep.chosen is None
    assert [point.lam for point in sweep.curves["accuracy.clean"]] == [7.0, 1e3]
