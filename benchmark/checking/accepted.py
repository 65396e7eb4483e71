"""Checking a submission that was accepted: whether its archive still is what was verified, and still gives the same."""

from __future__ import annotations

from pathlib import Path

from benchmark.checking.folder import content_of
from benchmark.errors import InputError
from benchmark.submissions.accepted import LARGEST, Verified, archive_of, decode
from benchmark.submissions.archive import Archive, open_archive
from benchmark.submissions.current import suite_of


def check_accepted(results: Path, file: str) -> tuple[list[str], list[str]]:
    """What is wrong with the ``verified.json`` at ``file`` below the results and its archive, and what is a note."""
    path = results / file
    try:
        found = decode(content_of(path, LARGEST))
    except (ValueError, InputError) as error:
        return [str(error)], []
    if file.rpartition("/")[0] != found.submission.folder:
        return [f"its path is {found.submission.folder!r} by its content"], []
    archive = archive_of(path.parent, found.submission)
    if not archive.exists():
        return [], ["its predictions are not here, so that they were not scored again"]
    try:
        opened = open_archive(archive)
    except InputError as error:
        return [str(error)], []
    if opened.sha256 != found.sha256:
        return [f"the checksum of {archive.name} is not the one that was verified"], []
    if opened.submission != found.submission:
        return [f"it does not say what {archive.name} says"], []
    return _scored_again(opened, found)


def _scored_again(archive: Archive, kept: Verified) -> tuple[list[str], list[str]]:
    """Whether its predictions still give what was verified, where its data are here."""
    from benchmark.checking.submitted import score

    try:
        found = score(archive, suite_of(archive.submission))
    except InputError as error:
        return [str(error)], []
    notes = [f"scenario {name} has changed: {why}" for name, why in found.changed.items()]
    notes += [f"scenario {name} was not scored again: {why}" for name, why in found.unseen.items()]
    return _differences(kept, found.verified, {*found.changed, *found.unseen}), notes


def _differences(kept: Verified, found: Verified, skipped: set[str]) -> list[str]:
    from benchmark.contracts import Measured
    from benchmark.rescoring.rescore import agrees
    from benchmark.running.records import Value

    wrong = []
    for part in kept.submission.cells:
        if part.scenario in skipped:
            continue
        old, new = kept.metrics[part.name], found.metrics[part.name]
        for name in sorted(old.keys() | new.keys()):
            one, other = old.get(name), new.get(name)
            if one is None or other is None:
                wrong += [f"{part.name}: {name} is not in what was verified"] if one is None else []
            elif not agrees(name, Value(one.value, one.n), Measured(other.value, other.n)):
                wrong.append(f"{part.name}: {name} was {one.value} and is {other.value} by its predictions")
    return wrong
