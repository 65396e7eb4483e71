"""Data sets in words: how much there is of each, how to get it, and all of its facts, for tables and for programs."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from benchmark.data import DATA, Source
from benchmark.data.catalogue import Citation, Facts
from benchmark.environment import data_root

#: Columns of tables: how they are headed, in the order of ``row``.
HEAD = ("name", "here", "train / selection / test", "classes", "brings", "download", "licence", "what it is")
SPLITS = ("train", "selection", "test")


def row(name: str) -> tuple[str, ...]:
    """A data set's entries under HEAD."""
    source = DATA.get(name)
    facts = source.facts
    here = "yes" if facts.there else "no"
    return (
        name,
        here,
        used(facts),
        str(source.num_classes),
        brings(source),
        size(facts),
        facts.licence,
        source.summary,
    )


def used(facts: Facts) -> str:
    """How many samples are for training, selection and test here; how many there are where that is not known."""
    if facts.here:
        return " / ".join(f"{facts.here[split]:,}" for split in SPLITS)
    if facts.totals:
        return f"{' or '.join(f'{total:,}' for total in facts.totals)} together"
    return f"some of {sum(facts.splits.values()):,}"


def brings(source: Source) -> str:
    """What there is beside pictures and labels."""
    parts = ["an artefact"] if source.artefact else ["an attribute"] if source.attributes else []
    return " and masks".join([*parts, ""] if source.facts.masks else parts)


def size(facts: Facts) -> str:
    """How much is downloaded, about; empty where nothing is or it is not known."""
    if not facts.download:
        return ""
    return f"{facts.download} MB" if facts.download < 1000 else f"{facts.download / 1000:.3g} GB"


def how(name: str) -> str:
    """How to get what is missing of it: a command, or what to put where."""
    facts = DATA.get(name).facts
    if facts.downloads:
        return f"amendbench data get {name}"
    return facts.get.replace("{root}", str(data_root()))


def entry(name: str) -> dict[str, Any]:
    """All that is known of a data set, for programs."""
    source = DATA.get(name)
    facts: dict[str, Any] = msgspec.to_builtins(source.facts)
    return {
        "name": name,
        "what": source.summary,
        "there": source.facts.there,
        "paths": [str(path) for path in source.facts.paths],
        "num_classes": source.num_classes,
        "shape": list(source.shape),
        "artefact": bool(source.artefact),
        **facts,
        "get": how(name),
    }


def lines(name: str) -> list[tuple[str, str]]:
    """All that is known of a data set as headed lines; what is not known has none."""
    source = DATA.get(name)
    facts = source.facts
    found = [
        ("what it is", source.summary),
        ("kind", facts.kind),
        ("here", f"yes, in {facts.found}" if facts.found else "yes" if facts.there else "no"),
        ("looked for in", " or ".join(map(str, facts.paths))),
        ("holds", facts.layout),
        ("published as", ", ".join(f"{count:,} {split}" for split, count in facts.splits.items())),
        (" / ".join(SPLITS), used(facts)),
        ("one input", " x ".join(map(str, source.shape))),
        ("classes", _with_names(source.num_classes, facts.classes)),
        ("attribute", _with_names(source.attributes, facts.attributes)),
        ("artefact", "brings its own" if source.artefact else ""),
        ("masks", facts.masks),
        ("download", f"about {size(facts)}" if size(facts) else ""),
        *((f"md5 of {file}", told) for file, told in facts.md5.items()),
        ("licence", facts.licence),
        ("page", facts.page),
        ("how to get it", how(name)),
        ("note", facts.note),
    ]
    return [(head, text) for head, text in found if text]


def _with_names(number: int, names: tuple[str, ...]) -> str:
    """A number of values with their names; empty where there are none."""
    return (f"{number}: {', '.join(names)}" if names else str(number)) if number else ""


def bibtex(citation: Citation) -> str:
    """A publication as an entry of BibTeX."""
    fields = {"author": citation.authors, "title": f"{{{citation.title}}}", "year": str(citation.year)}
    arxiv = re.search(r"arXiv:(\d+\.\d+)", citation.where)
    where = re.sub(r",? ?arXiv:\d+\.\d+", "", citation.where)
    fields |= {"howpublished": where} if where else {}
    fields |= {"eprint": arxiv[1], "archiveprefix": "arXiv"} if arxiv else {}
    inner = ",\n".join(f"  {field} = {{{text}}}" for field, text in fields.items())
    return f"@misc{{{citation.key},\n{inner}\n}}"


def markdown() -> str:
    """The table of docs/data.md: every data set that everybody knows, each with its page."""
    head = ("name", "what it is", "train / selection / test", "brings", "comes", "download", "licence")
    rows = [head, ("---",) * len(head)]
    for name in DATA:
        source = DATA.get(name)
        facts = source.facts
        page = re.match(r"https?://[^ ]+", facts.page)
        linked = f"[{name}]({page[0]})" if page else name
        rows.append((linked, source.summary, used(facts), brings(source), facts.kind, size(facts), facts.licence))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
