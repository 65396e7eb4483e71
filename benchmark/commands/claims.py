"""The command that says which of the papers' claims the records bear out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import ReportsOption, ResultsOption, app, exit_with, make_console, names


@app.command(epilog="Examples: amendbench claims | amendbench claims --paper laf,gerne --format json")
def claims(
    paper: Annotated[str | None, typer.Option(help="Papers, separated by commas; all if left out.")] = None,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
    results: ResultsOption = Path("results"),
    reports: ReportsOption = Path("reports"),
) -> None:
    """Check the papers' headline claims over the records, and write claims.md; a verdict is no error."""
    from benchmark.claims.declared import paper_names
    from benchmark.claims.judging import judge_papers
    from benchmark.errors import unknown
    from benchmark.files import check_writable
    from benchmark.reporting.claims import print_claims, rows, write_page

    if format not in ("table", "json"):
        raise unknown("format", format, ("table", "json"))
    chosen = names(paper) or paper_names()
    judged = judge_papers(paper_names(), results)
    for name in chosen:
        if name not in paper_names():
            raise unknown("paper", name, paper_names())
    if judged is None:
        print(f"amendbench: there are no records in {results} to check a claim on; run: make bench", file=sys.stderr)
        exit_with(3)
        return
    check_writable(reports)
    page = write_page(judged, reports)
    own = [each for each in judged if each.name in chosen]
    if format == "json":
        print(json.dumps(list(rows(own)), indent=1))
    else:
        console = make_console()
        print_claims(own, console)
        console.print(f"wrote {page}", markup=False)
