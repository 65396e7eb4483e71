"""Whether a data set is there and right: all of it is read, nothing is downloaded and no file is changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmark.data import DATA, named
from benchmark.data.catalogue import Facts
from benchmark.data.described import SPLITS, how
from benchmark.data.looking import only_looking
from benchmark.errors import InputError

State = Literal["right", "missing", "wrong"]


@dataclass(frozen=True)
class Finding:
    """What was found: ``told`` says what is right, missing or wrong; ``counts``: samples of each split, if known."""

    name: str
    state: State
    told: str
    counts: dict[str, int] = field(default_factory=dict)


def check(name: str) -> Finding:
    """Look at a data set: its files are all read as they are for a run, decoded, counted and compared.

    What is kept of it in the cache has to match its checksum; where nothing is kept yet, pictures are decoded and
    thrown away. InputError for a name that is not known.
    """
    source = DATA.get(name)
    facts = source.facts
    if not facts.there:
        return Finding(name, "missing", f"not in {' or '.join(map(str, facts.paths))}; to get it: {how(name)}")
    try:
        _compare_files(facts)
        with only_looking():
            counts = _counts(named(source.loader)())
    except InputError as error:
        return Finding(name, "wrong", str(error))
    problem = _miscounted(facts, counts)
    return Finding(name, "wrong" if problem else "right", problem or _told(facts, counts), counts)


def _compare_files(facts: Facts) -> None:
    """InputError where the checksum of a published file is known and another one's is found."""
    if not facts.paths or facts.found != facts.paths[0]:
        return
    for name, expected in facts.md5.items():
        path = facts.paths[0] / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        if found != expected:
            raise InputError(f"{path} is not the published file: its md5 is {found}, not {expected}")


def _counts(data: Any) -> dict[str, int]:
    """Samples of each split of a plain data set, of one with an attribute, or of one with an artefact."""
    parts = {split: getattr(data, split) for split in SPLITS}
    return {split: len(getattr(part, "clean", part)) for split, part in parts.items()}


def _miscounted(facts: Facts, counts: dict[str, int]) -> str:
    """What is wrong with the numbers of samples; empty where they are as published."""
    if facts.here and counts != facts.here:
        return "; ".join(
            f"{counts[split]:,} {split} samples, not {facts.here[split]:,} as of what is published"
            for split in SPLITS
            if counts[split] != facts.here[split]
        )
    total = sum(counts.values())
    if facts.totals and total not in facts.totals:
        return f"{total:,} samples, not {' or '.join(f'{n:,}' for n in facts.totals)} as published"
    return ""


def _told(facts: Facts, counts: dict[str, int]) -> str:
    numbers = ", ".join(f"{count:,} {split}" for split, count in counts.items() if count)
    return f"{numbers}, in {facts.found}" if facts.found else numbers
