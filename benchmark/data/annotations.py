"""A user's CSV file of what is known of each picture: labels, splits, attributes. Needs no torch."""

from __future__ import annotations

import csv
import difflib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmark.data.manifest import Attribute
from benchmark.errors import InputError, unknown

#: What the columns of a CSV file may be called that are no attributes.
COLUMNS = {"file": ("file", "filename", "image", "path"), "label": ("label", "class"), "split": ("split",)}
#: What a split may be called, in a column or as a folder.
CALLED = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("selection", "val", "valid", "validation", "dev"), "selection"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: A column with more values than these is a description, not an attribute.
MOST_VALUES = 20
#: What an attribute may be called: its name becomes part of the data set's.
NAME = re.compile(r"\w[\w .-]*")
#: Names among which near misses are looked for: comparing each of 100,000 would take a minute.
COMPARED = 500

#: A line of the file: its number and its cells.
Line = tuple[int, list[str]]


@dataclass(frozen=True)
class Row:
    """What is known of a picture; ``label`` and ``split`` are empty where nothing says."""

    file: str
    label: str
    split: str
    others: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """The lines of a CSV file by picture; ``labelled``: it has a column of labels."""

    rows: Mapping[str, Row]
    labelled: bool


def read_table(path: Path, files: Sequence[str], attribute: str = "") -> Table:
    """The lines of the table for ``files``, which are sorted; its columns stand apart by ``,``, ``;`` or tabs.

    InputError unless lines and pictures are the same, and unless ``attribute``, if any, is a column that can be one.
    """
    header, lines = _lines(path)
    columns = {what: _column(path, header, what) for what in COLUMNS}
    if columns["file"] is None:
        known = ", ".join(COLUMNS["file"])
        raise InputError(
            f"{path} has no column with the pictures' names, which is called one of {known}; "
            f"it has {', '.join(header) or 'none'}"
        )
    others = [name for name in header if name not in columns.values()]
    if attribute:
        _check_attribute(path, header, others, lines, attribute)
    rows = _rows(path, header, lines, columns, files)
    missing = [file for file in files if file not in rows]
    if missing:
        raise InputError(f"{path}: {len(missing)} pictures have no line, the first is {missing[0]!r}")
    return Table(rows, labelled=columns["label"] is not None)


def attributes_of(rows: Sequence[Row]) -> dict[str, Attribute]:
    """Every other column that has no empty cell and two values or more, and not more than attributes have."""
    found = {}
    for name in rows[0].others:
        told = [row.others[name] for row in rows]
        values = ordered(told)
        if "" not in values and 2 <= len(values) <= MOST_VALUES and NAME.fullmatch(name):
            found[name] = Attribute(tuple(values), tuple(values.index(value) for value in told))
    return found


def ordered(names: Iterable[str]) -> list[str]:
    """Sorted by name as usual, which gives classes their numbers; by value where all are whole numbers."""
    found = set(names)
    return sorted(found, key=int) if all(re.fullmatch(r"\d{1,9}", n) for n in found) else sorted(found)


def _check_attribute(
    path: Path, header: Sequence[str], others: Sequence[str], lines: Sequence[Line], attribute: str
) -> None:
    """InputError unless the column is there, has a usable name, a value in each line, and few values."""
    if attribute not in others:
        raise InputError(f"{path}: {unknown('attribute', attribute, others)}")
    if not NAME.fullmatch(attribute):
        raise InputError(
            f"column {attribute!r}: an attribute's name has letters, digits, spaces, dots and hyphens only"
        )
    position = header.index(attribute)
    empty = [number for number, line in lines if not line[position]]
    if empty:
        raise InputError(f"{path}: line {empty[0]}: column {attribute!r} is empty, as in {len(empty)} lines in all")
    count = len({line[position] for _, line in lines})
    if not 2 <= count <= MOST_VALUES:
        values = "1 value" if count == 1 else f"{count} values"
        raise InputError(f"{path}: column {attribute!r} has {values}; an attribute has 2 to {MOST_VALUES}")


def _rows(
    path: Path, header: Sequence[str], lines: Sequence[Line], columns: Mapping[str, str | None], files: Sequence[str]
) -> dict[str, Row]:
    """The lines by picture; InputError for one of no picture, of one that is there already, or of no known split."""
    special = {column for column in columns.values() if column is not None}
    here, rows = set(files), dict[str, Row]()
    for number, line in lines:
        told = dict(zip(header, line, strict=True))
        file = told[columns["file"] or ""].replace("\\", "/").removeprefix("./")
        if file not in here:
            raise InputError(f"{path}: line {number}: {_unknown_picture(file, files)}")
        if file in rows:
            raise InputError(f"{path}: line {number}: picture {file!r} is there twice")
        split = _split(path, number, told.get(columns["split"] or "", ""))
        others = {name: value for name, value in told.items() if name not in special}
        rows[file] = Row(file, told.get(columns["label"] or "", ""), split, others)
    return rows


def _unknown_picture(file: str, files: Sequence[str]) -> str:
    """What to say of a picture that is not there: those of the same stem, else what is near it in the same folder."""
    wanted = PurePosixPath(file)
    stem, parent = wanted.stem.lower(), f"{file.rpartition('/')[0]}/".removeprefix("/")
    same = [name for name in files if stem and stem in name.lower() and PurePosixPath(name).stem.lower() == stem]
    near = difflib.get_close_matches(file, same[:COMPARED], n=3, cutoff=0)
    if not near:
        place = bisect_left(files, file)
        around = files[max(0, place - COMPARED // 2) : place + COMPARED // 2]
        near = difflib.get_close_matches(file, [name for name in around if name.startswith(parent)], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {len(files):,}, first {', '.join(files[:3])}"
    return f"unknown picture {file!r}; {hint}"


def _lines(path: Path) -> tuple[list[str], list[Line]]:
    """The header, and the lines that are not empty; InputError unless all have the header's columns."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=_separator(first))
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if line]
    except UnicodeDecodeError as error:
        raise InputError(f"attributes {path} is not in UTF-8; save it as CSV UTF-8") from error
    except (OSError, csv.Error) as error:
        raise InputError(f"attributes {path} cannot be read: {error}") from error
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(f"{path} has two columns {twice[0]!r}")
    for number, line in lines:
        if len(line) != len(header):
            raise InputError(f"{path}: line {number} has {len(line)} columns, not {len(header)}")
    return header, lines


def _separator(header: str) -> str:
    """What columns stand apart by: what spreadsheets write is read where the header has no comma."""
    return next((sign for sign in ",;\t" if sign in header), ",")


def _column(path: Path, header: Sequence[str], what: str) -> str | None:
    found = [name for name in header if name.lower() in COLUMNS[what]]
    if len(found) > 1:
        raise InputError(f"{path} has two columns for the {what}: {found[0]!r} and {found[1]!r}; rename one")
    return found[0] if found else None


def _split(path: Path, number: int, told: str) -> str:
    if told and told.lower() not in CALLED:
        raise InputError(f"{path}: line {number}: {unknown('split', told, CALLED)}")
    return CALLED[told.lower()] if told else ""
