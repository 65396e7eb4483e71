"""The command that packs predictions for the board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import (
    DeviceOption,
    ResultsOption,
    ScenariosOption,
    SeedsOption,
    SuiteOption,
    TaskOption,
    app,
    names,
    within,
)
from benchmark.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmark.submissions.packing import Who
    from benchmark.submissions.submission import Submission


@app.command(
    epilog="Examples: amendbench submit --task class-forget --method scrub --authors 'First Author, Second Author' "
    "--licence CC-BY-4.0 --out scrub.amendbench.zip | amendbench submit --template --scenarios mnist5k-plain "
    "> mine/metadata.toml | amendbench submit --predictions mine --out mine.amendbench.zip"
)
def submit(
    predictions: Annotated[
        Path | None, typer.Option(help="A folder with metadata.toml and predictions; records of a run if left out.")
    ] = None,
    template: Annotated[bool, typer.Option("--template", help="Print a metadata.toml and stop.")] = False,
    suite: SuiteOption = "embedded",
    task: TaskOption = None,
    method: Annotated[str | None, typer.Option(help="The method whose records are packed.")] = None,
    scenarios: ScenariosOption = None,
    seeds: SeedsOption = 1,
    device: DeviceOption = "cpu",
    results: ResultsOption = Path("results"),
    authors: Annotated[str | None, typer.Option(help="Names, separated by commas.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the predictions, for example CC-BY-4.0.")] = None,
    link: Annotated[str, typer.Option(help="Address of the paper or the code.")] = "",
    contact: Annotated[str, typer.Option(help="Who can be asked.")] = "",
    hardware: Annotated[str, typer.Option(help="What it ran on; as the records say if left out.")] = "",
    notes: Annotated[str, typer.Option(help="Anything else that a reader should know.")] = "",
    out: Annotated[Path | None, typer.Option(help="The file; METHOD.amendbench.zip if left out.")] = None,
) -> None:
    """Pack predictions and what is said of them into one file, which amendbench verify scores again."""
    if template:
        from benchmark.submissions.template import template as filled

        print(filled(suite, task, names(scenarios), within(seeds, 1, 500, "seeds")), end="")
        return
    if predictions is not None:
        from benchmark.submissions.folder import pack_folder

        told = {"task": task, "method": method, "scenarios": scenarios, "authors": authors, "licence": licence}
        _check_told_once(told | {"link": link, "contact": contact, "hardware": hardware, "notes": notes})
        _write(*pack_folder(predictions), out)
        return
    from benchmark.submissions.packing import Wanted, Who, pack_records

    if task is None or method is None:
        raise InputError(f"{'task' if task is None else 'method'} is missing: say which records are to be packed")
    who = Who(names(authors) or [], licence or "", link, contact, hardware, notes)
    _check_who(who)
    _write(*pack_records(results, Wanted(suite, task, method, names(scenarios), device), who), out)


def _check_told_once(told: Mapping[str, str | None]) -> None:
    """InputError for what the folder's metadata says, lest it be thought to count."""
    for name, value in told.items():
        if value:
            raise InputError(f"{name} is {value!r}, but metadata.toml of the predictions says that: leave it out")


def _check_who(who: Who) -> None:
    """InputError before thousands of records are read for nothing."""
    if not who.authors:
        raise InputError("authors are missing: --authors 'First Author, Second Author'")
    if not who.licence.strip():
        raise InputError("licence is missing: under which one the predictions may be used, such as --licence CC-BY-4.0")


def _write(submission: Submission, content: bytes, out: Path | None) -> None:
    from benchmark.files import check_writable, write_atomically
    from benchmark.submissions.archive import SUFFIX
    from benchmark.submissions.submission import left_out
    from benchmark.visible import visible

    path = Path(f"{submission.method}{SUFFIX}") if out is None else out
    if not path.name.endswith(SUFFIX) or path.is_dir():
        raise InputError(f"out is {str(path)!r}, not a file whose name ends in {SUFFIX}")
    if not path.parent.is_dir():
        raise InputError(f"out is {str(path)!r}, but there is no folder {path.parent}")
    check_writable(path.parent)
    write_atomically(path, content)
    print(f"packed {len(submission.cells)} cells of {', '.join(submission.settings)}: {len(content):,} bytes")
    for line in left_out(submission.missing):
        print(visible(f"  {line}"))
    print(visible(f"wrote {path}; what its predictions give: amendbench verify {path}"))
