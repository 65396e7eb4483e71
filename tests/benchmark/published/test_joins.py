"""Every published number is joined to scenarios that there are, or kept apart for a reason that is written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from benchmark.errors import InputError
from benchmark.metrics.catalogue import METRICS
from benchmark.published import FIRST_HAND, FOLDER, MARKS, QUOTED, Number, Paper, numbers, papers
from benchmark.published.joining import joined, text_of, unjoined
from benchmark.suites.definition import load_suite, methods_of, suite_names
from benchmark.tasks import TASKS


def own(paper: Paper) -> list[Number]:
    return [number for number in numbers() if number.paper == paper.paper]


def ours(paper: Paper) -> Iterator[str]:
    for found in [*paper.methods.values(), *(name for join in paper.joins for name in join.methods.values())]:
        yield from (found,) if isinstance(found, str) else found


def test_every_number_is_joined_or_kept_apart_by_one_rule() -> None:
    beside, apart = {id(one.number) for one in joined()}, Counter(id(one.number) for one in unjoined())
    lost = [number for number in numbers() if (id(number) in beside) + apart[id(number)] != 1]
    assert lost == []
    assert len(numbers()) == 798


def test_every_number_is_there_once_and_readable() -> None:
    keys = Counter((n.paper, n.table, n.dataset, n.setting, n.method, n.metric) for n in numbers())
    assert set(keys.values()) == {1}
    assert all(float(n.std or 0) >= 0 and float(n.value) < 2000 for n in numbers())
    assert {path.stem for path in FOLDER.glob("*.csv")} == {path.stem for path in FOLDER.glob("*.toml")}


def test_no_number_stands_twice_beside_a_scenario() -> None:
    keys = Counter((id(one.number), one.suite, one.task, one.scenario) for one in joined())
    assert set(keys.values()) == {1}


@pytest.mark.parametrize("suite", sorted({one.suite for one in joined()}))
def test_scenarios_are_of_the_suite_and_task(suite: str) -> None:
    assert suite in suite_names()
    known = {(name, scenario.task) for name, scenario in load_suite(suite).scenarios.items()}
    assert {(one.scenario, one.task) for one in joined() if one.suite == suite} <= known


@pytest.mark.parametrize("name", papers())
def test_names_are_known_on_both_sides(name: str) -> None:
    paper = papers()[name]
    rows = own(paper)
    assert set(paper.methods) == {row.method for row in rows}
    assert set(paper.metrics) <= {row.metric for row in rows}
    assert set(paper.confidence) == {row.source_confidence for row in rows}
    assert set(paper.confidence.values()) <= {FIRST_HAND, *MARKS} - {QUOTED}
    assert set(paper.elsewhere) <= {row.table for row in rows}
    for some in [rule.rows for rule in (*paper.apart, *paper.remarks)] + paper.quoted:
        assert any(some.has(row) for row in rows), some
    tasks = set(paper.tasks)
    assert {join.task for join in paper.joins} == tasks
    assert set(ours(paper)) <= {method for task in tasks for method in methods_of(task)}
    for measure in paper.metrics.values():
        assert measure.name in METRICS
        assert any(measure.name in TASKS.get(task).metrics for task in tasks)


@pytest.mark.parametrize("name", papers())
def test_joins_say_what_differs_and_name_what_is_there(name: str) -> None:
    paper = papers()[name]
    for join in paper.joins:
        settings = {row.setting for row in own(paper) if (row.table, row.dataset) == (join.table, join.dataset)}
        assert set(join.settings) <= settings, join
        assert set(join.differs_at) <= {scenario for some in join.settings.values() for scenario in some}
        for label in [*join.differs, *(label for some in join.differs_at.values() for label in some)]:
            what, _, how = label.partition(": ")
            assert len(what) < 20, label
            assert how, label
            assert ";" not in label, label


def test_another_suite_than_the_papers_never_compares() -> None:
    assert all(one.nearest and one.incomparable for one in joined() if one.suite == "embedded")
    assert not any(one.nearest for one in joined() if one.scenario == "cmnist-0p5")


def test_numbers_that_are_not_the_authors_are_marked() -> None:
    for number in numbers():
        first_hand = not papers()[number.paper].mark(number)
        told = any(
            word in number.source_confidence
            for word in ("second-hand", "notebook", "third-party", "by eye", "abstract")
        )
        assert not (told and first_hand), number


def test_a_confidence_that_nobody_judged_is_an_error() -> None:
    paper, number = papers()["LAF"], own(papers()["LAF"])[0]
    new = Number(*(getattr(number, name) for name in number.__struct_fields__[:-1]), "paper, surely")
    with pytest.raises(InputError, match="unknown confidence of LAF 'paper, surely'"):
        paper.mark(new)


def test_numbers_are_printed_as_they_are() -> None:
    number = next(number for number in numbers() if number.value == "92.20")
    assert text_of(number) == "92.20 ± 0.72"
    assert text_of(number, "upper", "(of 1)") == "≤ 92.20 ± 0.72 (of 1)"
