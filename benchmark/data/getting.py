"""Getting a data set: those that are downloaded come whole or not at all; of the others it is said how to get them."""

from __future__ import annotations

from benchmark.data import DATA, named
from benchmark.data.described import how, size
from benchmark.environment import data_root


def get(name: str) -> tuple[bool, str]:
    """Whether the data set is there now, and what to say; InputError where it is not known or cannot be downloaded."""
    source = DATA.get(name)
    facts = source.facts
    if not facts.folders:
        return True, f"{name} {'is generated' if facts.kind == 'generated' else 'comes with a package'}: nothing to get"
    if facts.found:
        return True, f"{name} is there: {facts.found}; amendbench data check {name} looks whether it is whole"
    if not facts.downloads:
        about = f", about {size(facts)}" if size(facts) else ""
        return False, (
            f"{name} is not downloaded by this command. Licence: {facts.licence}. Published at {facts.page}{about}.\n"
            f"How: {how(name)}\nThen {facts.paths[0]} has to hold {facts.layout}"
            f"{_elsewhere()}"
        )
    named(f"hub.fetch:{name}" if facts.kind == "hub" else f"{source.loader.partition('.')[0]}.download")()
    return True, f"{name} was downloaded to {facts.found}. Licence: {facts.licence}"


def _elsewhere() -> str:
    return f"\nAMENDBENCH_DATA names another data root; now it is {data_root()}"
