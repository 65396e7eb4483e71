"""docs/metrics.md defines every metric of the catalogue, with its unit and direction, a formula and a source."""

from __future__ import annotations

import re

import pytest
from reading import FENCE, blocks, page, prose

from benchmark.metrics.catalogue import METRICS
from benchmark.metrics.metric import Metric

TEXT = page("metrics.md")
#: What the page calls the directions of the catalogue.
BEST = {
    "higher": "higher",
    "lower": "lower",
    "zero": "0",
    "half": "0.5",
    "reference": "retraining's",
    "none": "none",
}
ROW = re.compile(r"^\| `([^`]+)` \| (.*?) \| (.*?) ?\| (.*?) \|$", re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """Heading -> text of the sections that have a table of metrics."""
    parts = re.split(r"^#{2,3} (.+)$", text, flags=re.MULTILINE)[1:]
    return {head: body for head, body in zip(parts[::2], parts[1::2], strict=True) if "| metric |" in body}


def rows(text: str) -> list[tuple[str, str, str, str]]:
    """Name, label, unit and direction of each metric of the tables."""
    return [(found[1], found[2], found[3], found[4]) for found in ROW.finditer(text)]


def expected(metric: Metric) -> tuple[str, str, str, str]:
    return metric.name, metric.label, metric.unit, BEST[metric.better]


def test_every_metric_is_there_once_as_the_catalogue_has_it() -> None:
    told = [row for body in sections(TEXT).values() for row in rows(body)]
    assert len(told) == len({name for name, *_ in told})
    assert sorted(told) == sorted(map(expected, METRICS.values()))


@pytest.mark.parametrize("head", sections(TEXT))
def test_every_section_has_a_formula_and_a_source(head: str) -> None:
    body = sections(TEXT)[head]
    assert blocks(body, "math"), head
    assert "Source:" in prose(body), head


@pytest.mark.parametrize("head", [head for head in sections(TEXT) if head.startswith("Attack on the")])
def test_membership_attacks_say_who_is_member(head: str) -> None:
    body = sections(TEXT)[head].lower()
    assert "member" in body
    assert "non-member" in body


def test_formulas_in_lines_are_rendered_on_github() -> None:
    """There Markdown comes first: it takes the backslash from before punctuation, and a bar ends a table's cell."""
    found = re.findall(r"\$[^$\n]+\$", FENCE.sub("", TEXT))
    assert found
    assert [formula for formula in found if re.search(r"\\[^a-zA-Z]|\|", formula)] == []


def test_a_metric_that_is_not_there_is_noticed() -> None:
    less = re.sub(r"^\| `tow`.*\n", "", TEXT, flags=re.MULTILINE)
    names = [name for body in sections(less).values() for name, *_ in rows(body)]
    assert set(METRICS) - set(names) == {"tow"}
