"""The static site as files: complete without scripts, safe whatever records say, and the same every time."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image
from site_boards import HOSTILE, IMAGE, SCRIPT, TOW, drawing, hostile_rows, make_row, make_site, plain_rows

from benchmark.boards.board import build_board
from benchmark.reporting.overview import overview
from benchmark.reporting.ranking import rankings
from benchmark.reporting.sheet import sheets
from benchmark.reporting.site import write as site
from benchmark.reporting.site.figures import choose
from benchmark.reporting.site.published import published_blocks
from benchmark.reporting.site.rows import information_of
from benchmark.reporting.site.text import json_text, markdown
from benchmark.running.records import RecordStore
from benchmark.suites.definition import load_suite

ROOT = Path(__file__).parents[3]
VENDOR = site.ASSETS / "vendor"
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """What is in a page: elements with their attributes, text outside of scripts, and how elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.data = ""
        self._open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID and tag not in ("path", "circle", "rect"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()
        elif tag not in ("path", "circle", "rect"):
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.data += data
        else:
            self.texts.append(data)

    def all(self, tag: str, name: str = "") -> list[dict[str, str]]:
        return [own for found, own in self.elements if found == tag and (not name or name in own)]


def read(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def test_every_row_is_in_the_table_without_scripts(tmp_path: Path) -> None:
    make_site(tmp_path, plain_rows())
    page = read(tmp_path / "site/class-forget.html")
    text = " ".join(page.texts)
    rows = [own for own in page.all("tr") if own.get("class", "").startswith("row ")]
    assert len(rows) == len(plain_rows())
    assert not page.wrong
    assert all(name in text for name in TOW)
    assert "seed 0: failed: Error: it was lost" in text
    assert "make bench TASK=class-forget SUITE=embedded SCENARIOS=residual SEEDS=5" in text


def test_references_cheats_and_failed_rows_are_marked(tmp_path: Path) -> None:
    make_site(tmp_path, plain_rows())
    classes = [own.get("class", "") for own in read(tmp_path / "site/class-forget.html").all("tr")]
    assert sum("reference" in name for name in classes) == 4
    assert sum("cheat" in name for name in classes) == 1
    assert sum("unranked" in name for name in classes) == 1


def test_details_say_how_a_row_is_made_again(tmp_path: Path) -> None:
    make_site(tmp_path, plain_rows())
    data = json.loads(read(tmp_path / "site/class-forget.html").data)
    blocks = [data["shared"][b] if isinstance(b, int) else b for b in data["rows"][2]]
    kinds = {block["t"]: block for block in blocks}
    assert kinds["command"]["v"].endswith("SCENARIOS=plain METHODS=finetune SEEDS=5")
    assert kinds["records"]["base"] == "embedded/class-forget/plain/finetune/"
    assert kinds["records"]["rows"][1] == ["class-1-seed1-cpu.json", f"{1:032d}"]
    tow = kinds["metrics"]["rows"][1]
    assert data["shared"][tow[0]]["name"] == "tow"
    assert tow[4].split(" ") == ["0.910", "0.911", "0.912", "0.913", "0.914"]
    headings = {block["h"]: dict(block["rows"]) for block in blocks if block["t"] == "pairs"}
    assert headings["Cost"]["peak memory, median"] == "3.0 MiB"
    assert headings["Difference to original in ToW"]["difference"] == "+0.910"


@pytest.mark.parametrize("name", ["class-forget.html", "index.html"])
def test_text_from_records_never_becomes_an_element(tmp_path: Path, name: str) -> None:
    make_site(tmp_path, hostile_rows(), (drawing("a", tmp_path / "figures", alt=IMAGE, caption=IMAGE),))
    page = read(tmp_path / "site" / name)
    assert not page.wrong
    assert [own for own in page.all("script") if "src" not in own and own.get("type") != "application/json"] == []
    assert [own for _, own in page.elements if any(key.startswith("on") for key in own)] == []
    assert {own["src"] for own in page.all("img")} <= {"figures/a.png"}
    if name == "class-forget.html":
        text = " ".join(page.texts)
        assert all(hostile in text for hostile in HOSTILE)
        assert SCRIPT in json.dumps(json.loads(page.data))


def test_no_page_has_an_inline_style_or_an_address_elsewhere(tmp_path: Path) -> None:
    make_site(tmp_path, plain_rows(), (drawing("a", tmp_path / "figures"),))
    for path in (tmp_path / "site").glob("*.html"):
        page = read(path)
        assert [own for _, own in page.elements if "style" in own] == []
        assert page.all("style") == []
        policy = next(own["content"] for own in page.all("meta") if "http-equiv" in own)
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert "http" not in policy


def links(page: Page) -> set[str]:
    found = [own.get(name, "") for _, own in page.elements for name in ("href", "src")]
    return {link for link in found if link and not link.startswith("#")}


def test_links_lead_to_files(tmp_path: Path) -> None:
    figures = (drawing("a", tmp_path / "figures"), drawing("b", tmp_path / "figures", kind="overview", task=""))
    made = make_site(tmp_path, plain_rows(), figures)
    written = {path.resolve() for path in made}
    for path in (tmp_path / "site").glob("*.html"):
        for link in links(read(path)):
            address = urlsplit(link)
            assert not address.scheme, link
            target = (path.parent / unquote(address.path)).resolve()
            beside = (
                tmp_path.parent / "results",
                tmp_path.parent / "docs",
                tmp_path / "tables",
                tmp_path / "figures",
                tmp_path / "leaderboard.md",
            )
            assert target in written or any(target.is_relative_to(root.resolve()) for root in beside), link


def test_the_parts_of_a_page_that_are_linked_to_are_there(tmp_path: Path) -> None:
    make_site(tmp_path, plain_rows(), (drawing("a", tmp_path / "figures"),))
    for path in (tmp_path / "site").glob("*.html"):
        page = read(path)
        ids = [own["id"] for _, own in page.elements if "id" in own]
        assert len(ids) == len(set(ids))
        assert {own["href"][1:] for own in page.all("a") if own["href"].startswith("#")} <= set(ids)


def test_pictures_say_what_they_show_and_how_large_they_are(tmp_path: Path) -> None:
    make_site(tmp_path, plain_rows(), (drawing("a", tmp_path / "figures", size=(64, 32)),))
    picture = read(tmp_path / "site/class-forget.html").all("img")[0]
    assert (picture["alt"], picture["width"], picture["height"], picture["loading"]) == ("dots", "64", "32", "lazy")
    assert "<em>caption</em>" in (tmp_path / "site/class-forget.html").read_text("utf-8")


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    figures = (drawing("a", tmp_path / "figures"),)
    first = {path: path.read_bytes() for path in make_site(tmp_path, plain_rows(), figures)}
    again = {path: path.read_bytes() for path in make_site(tmp_path, plain_rows(), figures)}
    assert first == again


def test_what_is_not_written_any_more_is_removed_and_nothing_else(tmp_path: Path) -> None:
    figures = (drawing("a", tmp_path / "figures"), drawing("b", tmp_path / "figures"))
    make_site(tmp_path, plain_rows(), figures)
    mine, outside = tmp_path / "site/figures/mine.png", tmp_path / "precious.txt"
    mine.write_text("mine")
    outside.write_text("precious")
    with (tmp_path / "site/files.txt").open("a") as listed:
        listed.write("../precious.txt\n\n.\n")
    make_site(tmp_path, plain_rows(), figures[:1])
    assert not (tmp_path / "site/figures/b.png").exists()
    assert (tmp_path / "site/figures/a.png").exists()
    assert mine.exists()
    assert outside.exists()


def noisy(stem: str, folder: Path, **fields: object) -> object:
    """A drawing whose PNG is large: no pixel is like its neighbours."""
    drawn = drawing(stem, folder, **fields)
    pixels = bytes(hashlib.shake_128(stem.encode()).digest(3 * 200 * 200))
    Image.frombytes("RGB", (200, 200), pixels).save(folder / f"{stem}.png")
    return drawn


def test_figures_become_smaller_and_then_fewer_under_a_limit(tmp_path: Path) -> None:
    drawings = [noisy("toy", tmp_path, suite="smoke"), noisy("real", tmp_path), noisy("all", tmp_path, kind="overview")]
    assert [picture.name for picture in choose(drawings, tmp_path)] == ["real.png", "all.png", "toy.png"]
    smaller = choose(drawings, tmp_path, 100_000)
    assert [picture.name for picture in smaller] == ["real.webp", "all.webp", "toy.webp"]
    one = max(len(picture.content) for picture in smaller)
    assert [picture.name for picture in choose(drawings, tmp_path, 2 * one)] == ["real.webp", "all.webp"]
    assert [picture.name for picture in choose(drawings, tmp_path, one)] == ["all.webp"]
    assert choose(drawings, tmp_path / "nowhere") == []


def test_figures_that_are_left_out_are_linked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = (noisy("a b", tmp_path / "figures", kind="forest"), noisy("front", tmp_path / "figures", kind="overview"))
    largest = sum(path.stat().st_size for path in make_site(tmp_path, plain_rows())) + 45_000
    monkeypatch.setattr(site, "LARGEST", largest)
    made = make_site(tmp_path, plain_rows(), figures)
    assert sum(path.stat().st_size for path in made) < largest + 1000
    page = read(tmp_path / "site/class-forget.html")
    assert page.all("img") == []
    assert "../figures/a%20b.png" in {own["href"] for own in page.all("a")}
    assert "embedded / all scenarios" in " ".join(page.texts)
    assert [own["src"] for own in read(tmp_path / "site/index.html").all("img")] == ["figures/front.webp"]


def test_a_small_vector_file_is_preferred(tmp_path: Path) -> None:
    drawn = noisy("a", tmp_path)
    (tmp_path / "a.svg").write_text('<svg width="30pt" height="15pt"></svg>')
    assert [(picture.name, picture.width) for picture in choose([drawn], tmp_path)] == [("a.svg", 200)]
    (tmp_path / "a.png").unlink()
    assert [(picture.width, picture.height) for picture in choose([drawn], tmp_path)] == [(40, 20)]


def test_vendored_files_are_those_that_were_published() -> None:
    listed = dict(
        re.findall(r"^\| ([\w.]+) \|.*\| ([0-9a-f]{64}) \|$", (VENDOR / "README.md").read_text("utf-8"), re.M)
    )
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    assert {name: digest for name, digest in files.items() if name != "README.md"} == listed


def test_notes_are_text_and_tables_only() -> None:
    html = markdown(
        "#### *a*\n\n<script>x</script> ![p](http://x/y.png) [l](javascript:x)\n\n| a | b |\n| - | -: |\n| 1 | 2 |"
    )
    assert "<em>a</em>" in html
    assert '<td class="num">2</td>' in html
    page = Page(html)
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert [own["href"] for own in page.all("a")] == ["http://x/y.png"]
    assert [own for _, own in page.elements if "style" in own] == []


def test_json_cannot_end_its_element() -> None:
    text = json_text({"a": SCRIPT, "b": "<!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": SCRIPT, "b": "<!--&\u2028"}


@pytest.mark.parametrize(
    ("method", "task", "what"),
    [
        ("laf", "label-free-forget", "images"),
        ("laf-r", "label-free-forget", "images + labels"),
        ("laf-r+few-labels", "label-free-forget", "images + few labels"),
        ("ewc", "gan-feature-removal", "feedback"),
        ("logit-mask", "class-forget", "model only"),
        (IMAGE, "class-forget", "?"),
    ],
)
def test_what_a_method_reads_in_few_words(method: str, task: str, what: str) -> None:
    assert information_of(method, task) == what


def test_published_numbers_share_their_notes() -> None:
    common = {"suite": "s", "scenario": "x", "metric": "tow", "ours": "0.9", "differs": ["data: less of it"]}
    numbers = [{**common, "method": "a", "published": "0.8"}, {**common, "method": "b", "remarks": ["odd"], "n": 5}]
    (table,) = published_blocks(numbers)
    assert table.title == "s / x"
    assert [head for head, _ in table.heads] == ["metric", "method", "ours", "n", "published", "notes"]
    assert table.rows[1] == ["ToW", "b", "0.9", "5", "", "1"]
    assert (table.common, table.notes) == (["data: less of it"], ["odd"])


def test_published_numbers_are_on_the_page_as_text(tmp_path: Path) -> None:
    make_site(tmp_path, plain_rows(), published={"class-forget": [{"method": IMAGE, "published": "94.2"}]})
    page = read(tmp_path / "site/class-forget.html")
    assert IMAGE in page.texts
    assert "94.2" in page.texts


def test_toys_are_not_in_the_overview_unless_there_is_nothing_else(tmp_path: Path) -> None:
    rows = [make_row(name, tow) for name, tow in TOW.items()]
    make_site(tmp_path, rows, suite="smoke")
    assert "finetune" in read(tmp_path / "site/index.html").texts
    both = {name: sheets(name, rows) for name in ("smoke", "embedded")}
    found = {name: overview(rows) for name in both}
    site.write_site(both, found, {name: rankings(rows) for name in both}, [], tmp_path, {}, tmp_path / "two")
    texts = read(tmp_path / "two/index.html").texts
    assert texts.count("embedded") > texts.count("smoke")
    assert read(tmp_path / "two/class-forget.html").texts.count("smoke") > len(rows)


def test_the_committed_records_make_a_site_of_less_than_five_megabytes(tmp_path: Path) -> None:
    rows = build_board(RecordStore(ROOT / "results").all("embedded"), load_suite("embedded"))
    found = overview(rows), rankings(rows)
    folder = tmp_path / "figures"
    figures = [noisy(f"f{i}", folder) for i in range(45)]
    made = site.write_site(
        {"embedded": sheets("embedded", rows)},
        {"embedded": found[0]},
        {"embedded": found[1]},
        figures,
        folder,
        {},
        tmp_path,
    )
    size = sum(path.stat().st_size for path in made)
    assert 3_000_000 < size < 5_000_000
    assert {path.name for path in made if path.suffix == ".html"} >= {"index.html", "class-forget.html"}
