"""The verdict on each claim: its checks made at each of their places, and what they say together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from benchmark.claims.checks import Check
from benchmark.claims.computed import Place, compute
from benchmark.claims.declared import Claim, ClaimFile, claims_of
from benchmark.claims.evidence import Evidence
from benchmark.claims.names import check_names
from benchmark.claims.statistics import Says, decide
from benchmark.stats import Interval

Verdict = Literal["reproduced", "partly", "not reproduced", "not testable here"]
#: Said of a mean without a spread.
ALONE = "one base model: there is no interval"
#: Said of a claim on which nothing was decided.
ACROSS = "every interval lies across its threshold"

#: What outcomes say, in the order in which they are counted.
_WORDS: dict[Says, str] = {
    "holds": "holds",
    "undecided": "undecided",
    "fails": "fails",
    "missing": "could not be made",
}


class Outcome(msgspec.Struct, frozen=True):
    """What a check gave at one place against one competitor. ``check`` is its number in the claim, from 1.

    ``what`` was compared, with the ``unit`` of what was ``found``; ``remark``: why nothing was, or what to know of it;
    ``against``: the one competitor, where there is one.
    """

    check: int
    where: str
    what: str
    unit: str
    found: Interval | None
    says: Says
    remark: str
    against: str = ""


class Judged(msgspec.Struct, frozen=True):
    """A claim with its verdict, ``why`` in few words, and what it rests on."""

    paper: str
    name: str
    claim: Claim
    verdict: Verdict
    why: str
    outcomes: list[Outcome]


class JudgedPaper(msgspec.Struct, frozen=True):
    """A paper's claims."""

    name: str
    file: ClaimFile
    claims: list[Judged]


def judge_papers(names: Sequence[str], results: Path) -> list[JudgedPaper] | None:
    """The claims of the papers that are named; None where there are no records at all to check any of them on."""
    files = {name: claims_of(name) for name in names}
    for name, file in files.items():
        check_names(file, f"{name}.toml")
    checks = [check for file in files.values() for claim in file.claims.values() for check in claim.checks]
    evidence = Evidence(results, checks)
    if not evidence.is_there:
        return None
    return [JudgedPaper(name, file, judge_paper(name, file, evidence)) for name, file in files.items()]


def judge_paper(paper: str, file: ClaimFile, evidence: Evidence) -> list[Judged]:
    """The claims of a paper's file, in its order."""
    found = []
    for name, claim in file.claims.items():
        made = [one for number, check in enumerate(claim.checks, 1) for one in outcomes(number, check, evidence)]
        verdict, why = verdict_on(claim, made)
        found.append(Judged(paper, name, claim, verdict, why, made))
    return found


def outcomes(number: int, check: Check, evidence: Evidence) -> Iterator[Outcome]:
    """A check at each of its places, and there against each competitor."""
    for scenario, at in check.places:
        place = Place(check, evidence, scenario, at)
        for what, unit, found, remark, against in compute(place):
            says = decide(found, check)
            alone = says == "missing" and found is not None
            yield Outcome(number, place.name, what, unit, found, says, ALONE if alone else remark, against)


def verdict_on(claim: Claim, made: Sequence[Outcome]) -> tuple[Verdict, str]:
    """Where all checks hold that could be made: reproduced; some: partly; none: not reproduced; and how many do.

    What neither holds nor fails anywhere says nothing for or against the claim: not testable here.
    """
    there = [one.says for one in made if one.says != "missing"]
    if not there:
        missing = dict.fromkeys(one.remark for one in made)
        return "not testable here", f"needs {claim.needs}" if claim.needs else "; ".join(missing)
    if all(says == "undecided" for says in there):
        return "not testable here", f"{counted(made)}: {ACROSS}"
    if all(says == "holds" for says in there):
        return "reproduced", counted(made)
    return ("partly" if "holds" in there else "not reproduced"), counted(made)


def counted(made: Iterable[Outcome]) -> str:
    """How many outcomes say what, in words."""
    every = [one.says for one in made]
    return ", ".join(f"{word} {every.count(says)}" for says, word in _WORDS.items() if says in every)
