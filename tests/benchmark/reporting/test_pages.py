"""The front page, the runtime table, mean ranks and paired differences on a page: numbers as promised, text as text."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from benchmark.boards.board import Row, build_board
from benchmark.reporting.cells import difference, score
from benchmark.reporting.front import best_of, front_page
from benchmark.reporting.material import Material
from benchmark.reporting.report import render
from benchmark.reporting.runtime import runtime_table, runtimes
from benchmark.reporting.sheet import sheets
from benchmark.running.records import Cost, Record, RecordStore
from benchmark.stats import Interval

Make = Callable[..., Record]
HOSTILE = "a|b<img src=x onerror=alert(1)>[c](javascript:d)`e`*f*\n# g"
VALUES = {"erm": 30.0, "unbiased": 90.0, "gerne": 70.0, "resampling": 60.0, "groupdro": 50.0}


def rows_of(make: Make, n: int, **options: str) -> list[Row]:
    """Gerne is first on every seed, resampling and groupdro follow."""
    return build_board([make(m, v + s % 3, seed=s, **options) for m, v in VALUES.items() for s in range(n)])


def cells_of(text: str, heading: str) -> list[list[str]]:
    """The first table below a heading, without its ruler."""
    block = next(b for b in text[text.index(heading) :].split("\n\n") if b.startswith("| "))
    lines = [line for line in block.splitlines() if "---" not in line]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_front_page_says_who_is_best_and_who_is_tied(
    make_debias: Make, make_material: Callable[..., Material]
) -> None:
    text = front_page([make_material(rows_of(make_debias, 6), "embedded")])
    assert cells_of(text, "## Who is best")[1:] == [
        ["embedded/debias-known/coloured", "6", "yes/yes", "GBA", "**gerne**"]
    ]
    few = front_page([make_material(rows_of(make_debias, 4), "embedded")])
    assert cells_of(few, "## Who is best")[1][-1] == "not told (n 4)"


def test_scores_mean_ranks_and_costs_stand_together(make_debias: Make, make_material: Callable[..., Material]) -> None:
    text = front_page([make_material(rows_of(make_debias, 3), "embedded")])
    heads, *lines = cells_of(text, "### debias-known")
    assert heads == ["method", "score", "coloured", "mean rank", "information", "cost / erm"]
    assert lines[0][:4] == ["**gerne**", "0.67", "0.67", "1.00"]
    assert lines[2][-1] == "1.00"
    assert "1 is `unbiased`, 0 is `erm`." in text


def test_a_toy_alone_is_shown_and_beside_others_is_not(
    make_debias: Make, make_material: Callable[..., Material]
) -> None:
    rows = rows_of(make_debias, 3)
    assert "Overview of suite `smoke`" in front_page([make_material(rows, "smoke")])
    both = front_page([make_material(rows, "embedded"), make_material(rows, "smoke")])
    assert "Overview of suite `smoke`" not in both
    assert "embedded (1), smoke (1)" in both


def test_who_is_best_needs_somebody_to_be_better_than(make_debias: Make) -> None:
    (sheet,) = sheets("embedded", build_board([make_debias(m, 50.0) for m in ("erm", "gerne")]))
    assert best_of(sheet) == {}


def test_devices_have_a_best_of_their_own(make_debias: Make) -> None:
    records = [make_debias(m, v + s % 3, seed=s) for m, v in VALUES.items() for s in range(6)]
    cuda = [msgspec.structs.replace(r, cell=msgspec.structs.replace(r.cell, device="cuda")) for r in records]
    few = [record for record in cuda if record.cell.seed < 2]
    (sheet,) = sheets("embedded", build_board([*records, *few]))
    assert best_of(sheet) == {("yes/yes", "cpu"): "**gerne**", ("yes/yes", "cuda"): "not told (n 2)"}


def test_pages_of_tasks_that_have_gone_go_too(make_debias: Make, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "class-forget.md").write_text("# class-forget\n\nOld numbers.\n")
    (reports / "bias-correction.md").write_text("My own notes.\n")
    store = RecordStore(tmp_path / "results")
    store.write(make_debias("erm"), {})
    render(store.root, reports)
    assert {path.name for path in reports.glob("*.md")} == {"leaderboard.md", "debias-known.md", "bias-correction.md"}


def test_links_to_tables_lead_to_them_whatever_scenarios_are_called(make_debias: Make, tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "results")
    for scenario in ("coloured", "Coloured", "a b", "long" * 30):
        store.write(make_debias("erm", scenario=scenario), {})
    render(store.root, tmp_path / "reports")
    links = re.findall(r"\]\((tables/[^)]+)\)", (tmp_path / "reports" / "debias-known.md").read_text())
    assert len(set(links)) == len(links) == 4 * 4
    assert all((tmp_path / "reports" / link).is_file() for link in links)


def test_hostile_names_are_text_on_the_front_page(make_debias: Make, make_material: Callable[..., Material]) -> None:
    records = [make_debias("erm", 30.0), make_debias("unbiased", 90.0), make_debias("gerne", 60.0)]
    strange = [msgspec.structs.replace(r, cell=msgspec.structs.replace(r.cell, scenario=HOSTILE)) for r in records]
    text = front_page([make_material(build_board([*records, *strange]), HOSTILE)])
    assert "<img" not in text
    assert "](javascript" not in text
    assert not re.search(r"^# g", text, re.MULTILINE)
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("| ")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1, block


def test_the_runtime_table_goes_from_the_cheapest_on(make_debias: Make) -> None:
    costs = {"erm": 10.0, "gerne": 25.0, "resampling": 5.0}
    records = [make_debias(method, cost=(1.0, seconds)) for method, seconds in costs.items()]
    shared = make_debias("groupdro")
    records.append(msgspec.structs.replace(shared, cost=Cost(1.0, 2.0, None, False, 1.0)))
    text = "\n".join(runtime_table(sheets("embedded", build_board(records))))
    heads, *lines = cells_of(text, "#### Runtime")
    assert heads[:6] == ["scenario", "method", "seconds", "CPU seconds", "peak MiB", "/ erm"]
    assert [line[1] for line in lines] == ["erm *(reference)*", "resampling", "**gerne**", "groupdro"]
    assert [line[5] for line in lines] == ["1.00", "0.50", "2.50", "(0.20)"]
    assert [line[4] for line in lines] == ["0", "0", "0", "-"]
    assert heads[6:] == ["samples", "labels", "passes"]
    assert lines[0][6:] == ["10", "5", "20"]


def test_cpu_and_gpu_stand_side_by_side(make_debias: Make) -> None:
    records = [make_debias(m, cost=(1.0, 8.0)) for m in ("erm", "gerne")]
    cells = [msgspec.structs.replace(r.cell, device="cuda") for r in records]
    gpu = {"machine": "g", "device": "NVIDIA X"}
    costs = (Cost(0.5, 0.25, 2**30, True, 1.0), Cost(0.5, 0.5, 2**31, True, 1.0))
    pairs = zip(records, cells, costs, strict=True)
    records += [msgspec.structs.replace(r, cell=cell, environment=gpu, cost=cost) for r, cell, cost in pairs]
    found = sheets("embedded", build_board(records))
    assert [(one.method, sorted(one.costs)) for one in runtimes(found)] == [
        ("erm", ["cpu", "cuda"]), ("gerne", ["cpu", "cuda"]),
    ]  # fmt: skip
    heads, erm, gerne = cells_of("\n".join(runtime_table(found)), "#### Runtime")
    assert heads[2:10] == [
        "seconds (cpu)", "CPU seconds (cpu)", "peak MiB (cpu)", "/ erm (cpu)",
        "seconds (cuda)", "GPU seconds (cuda)", "peak MiB (cuda)", "/ erm (cuda)",
    ]  # fmt: skip
    assert gerne[2:10] == ["1.00", "8.00", "0", "1.00", "0.50", "0.50", "2,048", "2.00"]
    assert erm[9] == "1.00"


def test_paired_differences_say_what_cannot_be_tested(make_debias: Make, make_page: Callable[..., str]) -> None:
    page = make_page(rows_of(make_debias, 5), "embedded")
    lines = {line[0]: line[1:] for line in cells_of(page, "Paired differences to <code>erm</code>")}
    assert lines["method"] == ["GBA, difference to erm", "p (Holm)"]
    assert lines["**gerne**"] == ["+40.0", "not testable"]
    assert lines["unbiased *(reference)*"] == ["+60.0", ""]
    assert "none of them could come out under 0.05" in page
    more = make_page(rows_of(make_debias, 10), "embedded")
    assert ["**gerne**", "+40.0", "0.006"] in cells_of(more, "Paired differences to <code>erm</code>")
    assert "none of them could come out" not in more


def test_what_is_tied_with_the_best_is_bold(make_debias: Make, make_page: Callable[..., str]) -> None:
    heads, *lines = cells_of(make_page(rows_of(make_debias, 6), "embedded"), "| # |")
    column = heads.index("GBA (%) ↑")
    bold = {line[1]: line[column].startswith("**") for line in lines}
    assert bold == {
        "erm *(reference)*": False, "unbiased *(reference)*": False, "**gerne**": True, "resampling": False,
        "groupdro": False,
    }  # fmt: skip
    few = cells_of(make_page(rows_of(make_debias, 4), "embedded"), "| # |")
    assert not any(line[column].startswith("**") for line in few)


@pytest.mark.parametrize(
    ("interval", "text"),
    [(None, "-"), (Interval(0.5, None, None, 1), "0.50"), (Interval(-0.004, -0.1, 0.1, 3), "0.00 ± 0.10")],
)
def test_scores(interval: Interval | None, text: str) -> None:
    assert score(interval) == text


def test_differences_have_a_sign() -> None:
    assert difference(Interval(1.26, 0.26, 2.26, 5), "%") == "+1.3 ± 1.0"
    assert difference(Interval(0.0, 0.0, 0.0, 5), "%") == "0.0"


def test_a_report_needs_no_torch(make_debias: Make, tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "results")
    for method in ("erm", "gerne"):
        store.write(make_debias(method), {})
    code = (
        "import sys; from pathlib import Path; from benchmark.reporting.report import render\n"
        "def main():\n"
        "    render(Path(sys.argv[1]), Path(sys.argv[2])); assert 'torch' not in sys.modules\n"
        "if __name__ == '__main__': main()"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    arguments = [sys.executable, str(script), str(store.root), str(tmp_path / "reports")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
