"""Tables for papers: they compile, they fit, they say what the sheets say, and hostile names are text."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmark.boards.board import build_board
from benchmark.reporting import cells
from benchmark.reporting.exports import write_tables
from benchmark.reporting.latex.columns import WIDTH, Column, parts
from benchmark.reporting.latex.macros import commands, macros, spelled
from benchmark.reporting.latex.tables import latex_table
from benchmark.reporting.latex.text import breakable, number, tex
from benchmark.reporting.sheet import Line, Sheet, sheets
from benchmark.running.records import Record, RecordStore
from benchmark.suites.definition import load_suite

Make = Callable[..., Record]
RESULTS = Path(__file__).parents[3] / "results"
#: Everything that means something to TeX, text that it cannot show, and names that are long.
HOSTILE = [
    "\\input{/etc/passwd}",
    "\\end{document}\n\\newpage%",
    "# $ % & _ { } ~ ^ \\ < > | \" ' ` -- [ ] * ,, ?` !`",
    "[5cm]*\\\\ ^^M ^^5c",
    "💥 é ü ñ Å ß ж 漢 \u0131 \ufb01 \u202e\u200b\x00\x07",
    "x" * 300,
    "$$\\def\\tex{}\\catcode`\\%=12",
]
VALUES = {"accuracy.test.retain": 97.04, "accuracy.test.forget": 0.0, "mia.loss.auc": 50.0}


@pytest.fixture(scope="module")
def committed() -> dict[str, list[Sheet]]:
    """The sheets of all records that come with the repository, by suite."""
    store = RecordStore(RESULTS)
    names = ("embedded", "smoke", "standard")
    return {name: sheets(name, build_board(store.all(name), load_suite(name))) for name in names}


def recast(record: Record, **changes: Any) -> Record:
    return msgspec.structs.replace(record, cell=msgspec.structs.replace(record.cell, **changes))


@pytest.fixture
def hostile(make_record: Make) -> list[Sheet]:
    """Sheets with hostile scenarios, methods, reasons, devices and suites, and with enormous numbers."""
    found = []
    for i, text in enumerate(HOSTILE):
        huge = {"accuracy.test.retain": 1e300, "tow": -(10.0**i), "change.parameters": float("inf")}
        own = [make_record("retrain", VALUES, seed=s) for s in (0, 1)]
        own += [recast(make_record("finetune", VALUES | huge, flags=[text]), method=text, kind="paper", device=text)]
        own += [
            make_record("svd-forgetting", {}, status="failed", environment={"device": text}, seed=s) for s in range(4)
        ]
        found += sheets(text, build_board([recast(record, scenario=text) for record in own]))
    return found


def line_of(sheet: Sheet, method: str) -> Line:
    return next(line for line in sheet.lines if line.row.method == method)


# Text and numbers.


def test_text_is_escaped() -> None:
    assert tex("a_b & 100 %") == r"a\_b \& 100 \%"
    assert tex("\\input{x}") == r"\textbackslash{}input\{x\}"
    assert tex("few--labels, l'`x") == r"few-{}-labels, l'\char96{}x"
    assert tex("Δ ε ≥ ↑") == r"$\Delta$ $\varepsilon$ $\geq$ $\uparrow$"
    assert tex("é ß e\u0301") == r"\'{e} \ss{} \'{e}"
    assert tex("💥ж\n") == "?? "
    assert tex("svd-forgetting+search") == "svd-forgetting+search"


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_ascii_without_commands_of_its_own(text: str) -> None:
    found = tex(text)
    assert found.isascii()
    assert "\n" not in found
    known = r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|char\d\d|ss)\{\}"
    bare = re.sub(rf"{known}|\\['~\"r]\{{[A-Za-z]\}}|\\[{{}}#$%&_]|\{{[][*]?\}}", "", found)
    assert not set(bare) & set("\\{}#$%&_^~[]*")


def test_long_words_can_be_broken() -> None:
    assert breakable("a short line") == "a short line"
    assert breakable("x" * 60).count(r"\hspace{0pt}") == 7


def test_numbers_are_in_math_mode() -> None:
    assert number("97.6 ± 0.3") == r"$97.6 \pm 0.3$"
    assert number("0.0 ± <0.1", bold=True) == r"$\mathbf{0.0 \pm {<}0.1}$"
    assert number("-") == "--"
    assert number("12345678901234.5") == r"$1.23 {\cdot} 10^{13}$"


# Layout.


def test_columns_that_do_not_fit_stand_below_beside_the_methods() -> None:
    found = parts([Column("r", [str(i)], [str(i)], 50.0) for i in range(12)])
    assert [[int(column.heading[0]) for column in part] for part in found] == [[*range(7)], [1, *range(7, 12)]]
    found = parts([Column("r", [str(i)], [str(i)], 80.0) for i in range(9)])
    assert [[int(column.heading[0]) for column in part] for part in found] == [[0, 1, 2, 3], [1, 4, 5, 6], [1, 7, 8]]
    found = parts([Column("r", [str(i)], [str(i)], 20.0 if i < 3 else 2 * WIDTH) for i in range(5)])
    assert [[int(column.heading[0]) for column in part] for part in found] == [[0, 1, 2, 3], [1, 4]]


def test_a_table_says_what_the_sheet_says(committed: dict[str, list[Sheet]]) -> None:
    sheet = next(s for s in committed["embedded"] if s.scenario == "mnist5k-noisy-labels")
    text = latex_table(sheet)
    best = next(line for line in sheet.lines if line.row.rank == 1)
    rows = [row.split(" & ") for row in text.splitlines() if re.search(rf"(^|& ){best.row.method}(\$|\b).* & ", row)]
    shown = [cell.removesuffix(r" \\") for row in rows for cell in row if re.match(r"(\$|--)", cell)]
    expected = [re.sub(r"[()]", "", entry.text).replace("±", r"\pm") for entry in best.entries]
    plain = [re.sub(r"\\mathbf\{(.*?)\}(?=\$)|[$()]|(?<=\{)<\}|\{(?=<)", r"\1", cell) for cell in shown]
    for one in expected:
        assert one in plain, one
    assert any(entry.tied for entry in best.entries)
    assert sum(r"\mathbf" in cell for cell in shown) == sum(entry.tied for entry in best.entries)


def test_sections_stand_in_order(make_record: Make) -> None:
    records = [make_record(m, VALUES, seed=s) for m in ("retrain", "svd-forgetting", "logit-mask") for s in (0, 1)]
    records += [make_record("finetune", VALUES, seed=0), make_record("finetune", {}, status="timeout", seed=1)]
    text = latex_table(sheets("smoke", build_board(records))[0])
    rules = text.index(r"\toprule"), text.index(r"\textit{retrain}"), text.index("svd-forgetting$^{\\dagger}$")
    after = text.index("not ranked"), text.index("finetune$^{"), text.index(r"\textit{logit-mask}")
    assert list(rules + after) == sorted(rules + after)
    assert "timeout: seed 1: timeout: Error: it was timeout" in text
    assert r"\caption" in text
    assert text.count(r"\label{tab:smoke-class-forget-digits}") == 1
    assert "make bench TASK=class-forget SUITE=smoke SCENARIOS=digits SEEDS=2" in text


def test_tracks_are_set_apart(committed: dict[str, list[Sheet]]) -> None:
    sheet = next(s for s in committed["embedded"] if s.scenario == "cmnist5k")
    headings = re.findall(r"textit\{attributes \(train/held out\): (.*?)\}", latex_table(sheet))
    tracks = dict.fromkeys(row.track for row in sheet.rows if row.rank)
    assert list(dict.fromkeys(headings)) == list(tracks)
    assert len(tracks) == 2


def test_what_is_true_of_all_rows_is_said_once(make_record: Make) -> None:
    records = [make_record(m, VALUES, flags=["too few images"]) for m in ("retrain", "finetune", "logit-mask")]
    text = latex_table(sheets("smoke", build_board(records))[0])
    assert text.count("too few images") == 1
    assert "All rows: unreliable: seed 0: too few images." in text


# Macros.


def test_names_are_spelled() -> None:
    assert spelled("mnist5k-plain") == "MnistFivekPlain"
    assert spelled("recovery.linear-probe@10") == "RecoveryLinearProbeAtOneZero"
    assert spelled("svd-forgetting+search") == "SvdForgettingPlusSearch"
    assert spelled("é") == "SignTwoThreeThree"


def test_all_names_differ_and_have_letters_only(committed: dict[str, list[Sheet]]) -> None:
    names = [name for found in committed.values() for sheet in found for name, _ in commands(sheet)]
    assert len(names) > 10_000
    assert all(re.fullmatch("[A-Za-z]+", name) for name in names)
    assert len(set(names)) == len(names)


def test_the_second_of_two_equal_names_is_left_out(make_record: Make) -> None:
    records = [recast(make_record("finetune", VALUES), method=method) for method in ("a-b", "a.b")]
    text = macros(sheets("smoke", build_board(records)))
    defined = re.findall(r"\\newcommand\{\\(\w+)\}", text)
    assert len(set(defined)) == len(defined)
    assert text.count("% left out, because there is one of this name: AmendSmokeClassForgetDigitsAB") == len(defined)


def test_macros_are_the_tables_numbers(committed: dict[str, list[Sheet]]) -> None:
    sheet = next(s for s in committed["smoke"] if s.task.with_gaps)
    found = dict(commands(sheet))
    line = next(line for line in sheet.lines if line.row.rank == 1)
    start = f"AmendSmokeLabelFreeForget{spelled(sheet.scenario)}{spelled(line.row.method)}"
    for entry in line.entries:
        name = start + spelled(entry.name)
        assert entry.cell is not None
        assert entry.cell.mean is not None
        shown = cells.interval(entry.cell)
        assert plain(found[f"{name}Text"]) == shown.replace("±", r"\pm")
        assert plain(found[name]) == shown.partition(" ± ")[0]
        assert plain(found[f"{name}Half"]) == (shown.partition(" ± ")[2] or "--")
        assert found[f"{name}N"] == str(entry.cell.n)
        assert (f"{name}Gap" in found) == (entry.gap is not None and entry.gap.mean is not None)
        assert plain(found.get(f"{name}Gap", "")) in entry.text
        assert f"${plain(found[f'{name}Text'])}$".replace("<", "{<}") in latex_table(sheet).replace(r"\mathbf", "")
    assert found[f"{start}Rank"] == "1"
    assert found[f"{start}Ratio"].strip("()") == cells.ratio(line.row).strip("()")
    assert line.difference is not None
    assert found[f"{start}P"] == "not testable" == line.difference.text


def plain(macro: str) -> str:
    return re.sub(r"\\ensuremath\{(.*)\}", r"\1", macro).replace("{<}", "<")


# The compiled document.


def compiled(folder: Path) -> str:
    """The log of pdflatex on the document of all tables below ``folder``."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    if subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode:
        pytest.skip("LaTeX has no booktabs here")
    command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "all.tex"]
    subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    return (folder / "all.log").read_text("latin-1")


def assert_fine(log: str) -> None:
    assert not re.findall(r"^!.*", log, re.MULTILINE)
    assert "Output written on all.pdf" in log
    assert "Float too large" not in log
    assert not [points for points in re.findall(r"Overfull \\[hv]box \((\d+\.\d+)pt", log) if float(points) > 3]


def test_all_tables_compile_and_fit(committed: dict[str, list[Sheet]], tmp_path: Path) -> None:
    write_tables(committed, tmp_path)
    use = r"\AmendSmokeClassForgetDigitsRetrainTowText{} $\AmendSmokeClassForgetDigitsRetrainTow$"
    document = (tmp_path / "all.tex").read_text()
    (tmp_path / "all.tex").write_text(document.replace(r"\end{document}", rf"{use}\end{{document}}"))
    assert len({sheet.task.name for found in committed.values() for sheet in found}) >= 5
    assert_fine(compiled(tmp_path))


def test_hostile_tables_compile_and_fit(hostile: list[Sheet], tmp_path: Path) -> None:
    write_tables({"hostile": hostile}, tmp_path)
    log = compiled(tmp_path)
    assert_fine(log)
    assert "(/etc/passwd" not in log.replace("\n", ""), "the file was read"
    assert len(re.findall(r"\[\d+", log)) >= len(hostile) == len(HOSTILE)


def test_the_same_bytes_twice(hostile: list[Sheet]) -> None:
    assert [latex_table(sheet) for sheet in hostile] == [latex_table(sheet) for sheet in hostile]
    assert macros(hostile) == macros(hostile)
    assert all(latex_table(sheet).isascii() for sheet in hostile)
    assert macros(hostile).isascii()
