"""``amendbench export``: numbers of the board in forms that other programs read."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmark.boards.board import build_board
from benchmark.data import DATA
from benchmark.errors import InputError, unknown
from benchmark.files import check_writable, write_atomically
from benchmark.reporting.exports import Measured, measured
from benchmark.reporting.sheet import Line, Sheet, sheets
from benchmark.reporting.text import command_text
from benchmark.running.records import RecordStore
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS

FORMATS = ("model-index", "json")
#: What the Hugging Face Hub calls the task of a model, by our task or data set, where that is not to classify images.
PIPELINES = {
    "gan-feature-removal": "unconditional-image-generation",
    "civil-comments": "text-classification",
    "four-gaussians": "tabular-classification",
}
CLASSIFICATION = "image-classification"
#: Data sets that the Hub has under another name.
HUB = {"mnist": "ylecun/mnist", "fashion-mnist": "zalando-datasets/fashion_mnist", "cifar-10": "uoft-cs/cifar10"}


def export(
    suite: str,
    task: str | None,
    scenarios: Sequence[str] | None,
    methods: Sequence[str] | None,
    format: str,
    output: Path | None,
    results: Path,
    source: str | None = None,
) -> None:
    """Write what ``exported`` gives into the file ``output``, or to standard output.

    InputError, and nothing is written, for names that are not there and for a file that cannot be.
    """
    text = exported(suite, task, scenarios, methods, format, results, source)
    if output is None:
        sys.stdout.write(text)
        return
    if output.is_dir():
        raise InputError(f"output {output} is a folder; name a file")
    if not output.parent.is_dir():
        raise InputError(f"output {output}: there is no folder {output.parent}")
    check_writable(output.parent)
    write_atomically(output, text.encode())
    print(f"wrote {output}", file=sys.stderr)


def exported(
    suite: str,
    task: str | None,
    scenarios: Sequence[str] | None,
    methods: Sequence[str] | None,
    format: str,
    results: Path,
    source: str | None = None,
) -> str:
    """The tables' columns of a suite's records as ``model-index``, YAML for a model card, or ``json``, a plain list.

    ``source``: the address of the page that the numbers stand on. InputError names the near misses.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if task is not None:
        TASKS.get(task)
    chosen = _chosen(suite, task, scenarios, methods, results)
    return _model_index(chosen, source) if format == "model-index" else _plain(chosen)


def _chosen(
    suite: str, task: str | None, scenarios: Sequence[str] | None, methods: Sequence[str] | None, results: Path
) -> list[Sheet]:
    """The sheets that were asked for, with those lines alone; all rows are aggregated, for they are paired."""
    defined = load_suite(suite)
    found = sheets(defined.name, build_board(RecordStore(results).all(defined.name), defined, task))
    if not found:
        raise InputError(f"there are no such records in {results}; run: amendbench bench --suite {suite}")
    _check("scenario", scenarios, {sheet.scenario for sheet in found})
    found = [sheet for sheet in found if not scenarios or sheet.scenario in scenarios]
    _check("method", methods, {row.method for sheet in found for row in sheet.rows})
    if not methods:
        return found
    lines = [tuple(line for line in sheet.lines if line.row.method in methods) for sheet in found]
    return [dataclasses.replace(sheet, lines=own) for sheet, own in zip(found, lines, strict=True) if own]


def _check(what: str, names: Sequence[str] | None, known: set[str]) -> None:
    if names is not None and not names:
        raise InputError(f"{what}s were asked for, but none was named")
    for name in names or ():
        if name not in known:
            raise unknown(f"{what} with records", name, known)


def _lines(chosen: Sequence[Sheet]) -> Iterator[tuple[Sheet, Line, list[Measured]]]:
    """Every line with those of its metrics that are columns of its table, or that it is ranked by."""
    for sheet in chosen:
        for line in sheet.lines:
            columns = {*sheet.columns, sheet.ranked_by}
            yield sheet, line, [one for one in measured(sheet, line) if one.known.name in columns]


def _plain(chosen: Sequence[Sheet]) -> str:
    """One object a line; a method without a result has its metrics with a value of null."""
    found = [
        {**_about(sheet, line), "metric": _metric(one), "value": one.cell.mean, **_numbers(sheet, line, one)}
        for sheet, line, metrics in _lines(chosen)
        for one in metrics
    ]
    return "[\n" + ",\n".join(msgspec.json.encode(entry).decode() for entry in found) + "\n]\n"


def _about(sheet: Sheet, line: Line) -> dict[str, Any]:
    row = line.row
    names = {"suite": sheet.suite, "scenario": row.scenario, "method": row.method, "kind": row.kind}
    model = str(row.origin.settings.get("model", ""))
    return {"task": _task(sheet, line), "dataset": _dataset(line), **names, "device": row.device, "model": model}


def _task(sheet: Sheet, line: Line) -> dict[str, str]:
    data = str(line.row.origin.settings.get("data"))
    pipeline = PIPELINES.get(sheet.task.name) or PIPELINES.get(data, CLASSIFICATION)
    return {"type": pipeline, "name": sheet.task.name}


def _dataset(line: Line) -> dict[str, str]:
    """What was amended; the Hub's names where it has the data set whole."""
    settings = line.row.origin.settings
    name = str(settings.get("data", "unknown"))
    summary = DATA.get(name).summary if name in DATA else name
    split = str(settings.get("real", "test"))
    return {"type": HUB.get(name, name), "name": summary, "config": line.row.scenario, "split": split}


def _metric(one: Measured) -> dict[str, str]:
    """The metric's family, which others know, and what it is called here."""
    return {"type": one.known.name.partition(".")[0], "name": one.known.label, "id": one.known.name}


def _numbers(sheet: Sheet, line: Line, one: Measured) -> dict[str, Any]:
    cell = one.cell
    interval = {"low": cell.low, "high": cell.high, "n": cell.n, "unit": cell.unit, "better": cell.better}
    row = line.row
    among: dict[str, Any] = {"track": row.track} if row.track else {}
    among |= {} if row.rank is None else {"rank": row.rank}
    among |= {} if one.tied is None else {"tied_with_best": one.tied}
    return {**interval, **among, "status": row.status, "command": command_text(sheet.command_of(line.row))}


def _model_index(chosen: Sequence[Sheet], source: str | None) -> str:
    """One model a scenario and method; methods without any value are left out, for the form has no place for them."""
    cards, yaml = _hub()
    found: list[Any] = []
    for sheet, line, metrics in _lines(chosen):
        known = [one for one in metrics if one.cell.mean is not None]
        results = [cards.EvalResult(**_result(sheet, line, one, source)) for one in known]
        found += cards.eval_results_to_model_index(_name(sheet, line), results) if results else []
    if not found:
        raise InputError("none of these methods has a result, and a model index is made of results")
    return str(yaml({"model-index": found}, sort_keys=False))


def _name(sheet: Sheet, line: Line) -> str:
    device = "" if line.row.device == "cpu" else f" ({line.row.device})"
    return f"{sheet.suite}/{sheet.scenario}/{line.row.method}{device}"


def _result(sheet: Sheet, line: Line, one: Measured, source: str | None) -> dict[str, Any]:
    parts = {"task": _task(sheet, line), "dataset": _dataset(line), "metric": _metric(one)}
    named = {f"{part}_{field}": text for part, own in parts.items() for field, text in own.items() if field != "id"}
    arguments = {"metric": one.known.name, "kind": line.row.kind, **_numbers(sheet, line, one)}
    where = {} if source is None else {"source_name": "AmendBench", "source_url": source}
    return {**named, "metric_value": one.cell.mean, "metric_args": arguments, "verified": False, **where}


def _hub() -> tuple[Any, Any]:
    """huggingface_hub's module for model cards, which comes with timm, and its writer of YAML."""
    try:
        from huggingface_hub import repocard_data
        from huggingface_hub.utils import yaml_dump
    except ImportError as error:
        raise InputError(
            f"model-index needs more packages ({error}); run: pip install 'amendbench[vision]', or use --format json"
        ) from error
    return repocard_data, yaml_dump
