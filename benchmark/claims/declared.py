"""What a claim is: a sentence, where the paper makes it, and checks, read from one TOML file a paper."""

from __future__ import annotations

import datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from benchmark.claims.checks import KINDS, Bound, Difference, Kind, Ratio, Transfer, Trend
from benchmark.config import convert, read_toml
from benchmark.errors import InputError, unknown
from benchmark.published import papers

FOLDER = Path(__file__).parent
#: How sure it is that the paper says so: the marks of published numbers, and what its authors printed themselves.
SURE = {
    "first-hand": "seen in the paper, or on its authors' page",
    "abstract": "said in the paper's abstract",
    "read by eye": "read off a figure of the paper",
    "notebook log": "logged by the authors in a notebook beside their code, not printed in the paper",
    "official code": "seen in the authors' code, not in the paper",
    "second-hand": "not seen in the paper itself, but in someone else's account of it",
}


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim in our words. ``source``: where in the paper; ``sure``: one of SURE.

    ``note``: how the sentence was made a check, and where its thresholds are from. ``needs``: what would have to be
    there for it to be checked as the paper did, where that is not here.
    """

    title: str
    text: str
    source: str
    sure: str
    checks: list[Kind] = []
    note: str = ""
    needs: str = ""


class ClaimFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims of one paper, by name. ``written``: the day from which on the thresholds have stood."""

    paper: str
    title: str
    written: datetime.date
    claims: dict[str, Claim]

    @property
    def cite(self) -> str:
        """The paper's address, as the tables of published numbers give it."""
        return papers()[self.paper].cite


def paper_names() -> list[str]:
    """What the papers are called on the command line: the names of their files."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def claims_of(name: str) -> ClaimFile:
    """The claims of a paper; InputError for a name that is not known, and where the file is wrong."""
    if name not in paper_names():
        raise unknown("paper", name, paper_names())
    return read_claims(FOLDER / f"{name}.toml")


def read_claims(path: Path) -> ClaimFile:
    """A file of claims, each of which is whole in itself; InputError with field, value and near misses where not."""
    content = read_toml(path)
    _check_kinds(content, path.name)
    file = convert(content, ClaimFile, path.name)
    if file.paper not in papers():
        raise InputError(f"{path.name}: paper: {unknown('paper', file.paper, papers())}")
    for name, claim in file.claims.items():
        where = f"{path.name}: claims.{name}"
        if claim.sure not in SURE:
            raise InputError(f"{where}.sure: {unknown('degree of certainty', claim.sure, SURE)}")
        if not claim.checks and not claim.needs:
            raise InputError(f"{where}: it has neither checks nor what it needs")
        for number, check in enumerate(claim.checks, start=1):
            _check_check(check, f"{where}, check {number}")
    return file


def _check_kinds(content: dict[str, Any], where: str) -> None:
    """InputError for a kind that there is none of: reading it as a structure would not name the near ones."""
    claims = content.get("claims")
    for name, claim in claims.items() if isinstance(claims, dict) else ():
        checks = claim.get("checks", []) if isinstance(claim, dict) else []
        for number, check in enumerate(checks if isinstance(checks, list) else [], start=1):
            kind = check.get("kind") if isinstance(check, dict) else None
            if isinstance(kind, str) and kind not in KINDS:
                raise InputError(f"{where}: claims.{name}, check {number}: {unknown('kind of check', kind, KINDS)}")


def _check_check(check: Kind, where: str) -> None:
    if bool(check.suite) == bool(check.study):
        raise InputError(f"{where}: it is made in a suite or in a study: give one of them")
    if check.suite and (not check.scenarios or check.part or check.points or check.at is not None):
        raise InputError(f"{where}: a suite has scenarios, and neither a sweep nor a point")
    if check.points and check.at is not None:
        raise InputError(f"{where}: give one point (at) or several (points), not both")
    if check.study and (bool(check.sweep) == bool(check.measurement) or check.scenarios):
        raise InputError(f"{where}: a study has a sweep or a measurement, and no scenarios")
    if bool(check.method) == bool(check.measurement):
        raise InputError(f"{where}: method: {'a measurement has none' if check.method else 'it is missing'}")
    if check.measurement and not isinstance(check, Bound | Difference | Transfer):
        raise InputError(f"{where}: of a measurement there are bounds, differences and transfers, not {check.kind}")
    if isinstance(check, Transfer) and not check.measurement:
        raise InputError(f"{where}: a transfer is one of what was measured: measurement is missing")
    if all(limit is None for limit in (check.above, check.least, check.most, check.below)):
        raise InputError(f"{where}: it has no limit: above, least, most or below")
    if check.tolerance < 0:
        raise InputError(f"{where}: tolerance must be at least 0, not {check.tolerance}")
    if isinstance(check, Difference):
        _check_difference(check, where)
    if isinstance(check, Ratio) and not check.versus:
        raise InputError(f"{where}: versus: there is none")
    if isinstance(check, Trend) and not check.study:
        raise InputError(f"{where}: a trend is over the points of a study's sweep, and this is a suite")


def _check_difference(check: Difference, where: str) -> None:
    other = bool(check.versus) or check.versus_at is not None or bool(check.versus_sweep)
    if other == bool(check.less):
        raise InputError(f"{where}: it is a difference to versus or to another metric (less): give one of them")
    if check.suite and (check.versus_at is not None or check.versus_sweep):
        raise InputError(f"{where}: versus_at and versus_sweep are of studies, and this is a suite")
    if check.measurement and (check.versus or check.versus_sweep):
        raise InputError(f"{where}: versus: a measurement has no methods; give another point (versus_at) or less")
