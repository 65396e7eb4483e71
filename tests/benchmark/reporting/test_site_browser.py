"""The static site in a browser, opened from the disk: sorted, filtered, opened and read, with the keyboard too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_boards import HOSTILE, IMAGE, SCRIPT, VECTOR, drawing, hostile_rows, make_site, plain_rows

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
EXECUTABLE = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason=f"none of {', '.join(BROWSERS)} is installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=EXECUTABLE, args=list(ARGUMENTS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sites of plain and of hostile rows, below ``plain`` and ``hostile``."""
    root = tmp_path_factory.mktemp("sites")
    figure = (drawing("a", root / "plain/figures", alt=IMAGE, caption=IMAGE),)
    numbers = {"class-forget": [{"method": "m", "source": "a paper, " * 30, "published": "1"}]}
    make_site(root / "plain", plain_rows(), figure, numbers)
    make_site(root / "hostile", hostile_rows())
    return root


class Reader:
    """A page and everything that went wrong on it."""

    def __init__(self, context: playwright.BrowserContext, folder: Path) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(5000)
        self.folder = folder
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append("a dialog"), dialog.dismiss()))
        self.page.on("request", self._asked)

    def _asked(self, request: playwright.Request) -> None:
        if not request.url.startswith("file:"):
            self.wrong.append(request.url)

    def open(self, name: str = "plain/site/class-forget.html", fragment: str = "") -> playwright.Page:
        self.page.goto("about:blank")
        self.page.goto((self.folder / name).as_uri() + fragment)
        return self.page

    def column(self, key: str) -> list[str]:
        """What the rows shown are sorted by in a column, in their order."""
        script = """key => {
          const head = document.querySelector(`th[data-key="${key}"]`);
          const index = [...head.parentElement.children].indexOf(head);
          return [...document.querySelectorAll("tr.row")].map(row => row.children[index].dataset.order);
        }"""
        found: list[str] = self.page.evaluate(script, key)
        return found

    def methods(self) -> list[str]:
        found: list[str] = self.page.locator("tr.row button.open").all_text_contents()
        return found

    def choose(self, facet: str, *values: str) -> None:
        """Choose values of a filter."""
        panel = self.page.locator(f"details[data-facet={facet}]")
        panel.locator("summary").click()
        for value in values:
            panel.get_by_label(value, exact=False).first.check()
        self.page.keyboard.press("Escape")


@pytest.fixture
def reader(browser: playwright.Browser, folder: Path) -> Iterator[Reader]:
    """A reader at a wide window; whatever went wrong fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = Reader(context, folder)
    yield found
    context.close()
    assert found.wrong == []


def numbers(texts: list[str]) -> list[float]:
    return [float(text) for text in texts if text]


def test_a_click_sorts_by_value_with_blanks_last(reader: Reader) -> None:
    page = reader.open()
    page.locator("#grouped").uncheck()
    head = page.locator('th[data-key="tow"]')
    for way, aria in ((-1, "descending"), (1, "ascending")):
        head.click()
        expect(head).to_have_attribute("aria-sort", aria)
        found = reader.column("tow")
        assert numbers(found) == sorted(numbers(found), key=lambda value: way * value)
        assert len(numbers(found)) == 10
        assert found[-1] == ""
    before = plain_rows()
    head.click()
    expect(head).not_to_have_attribute("aria-sort", "ascending")
    assert reader.methods() == [row.method for row in before]


def test_the_keyboard_sorts(reader: Reader) -> None:
    page = reader.open()
    head = page.locator('th[data-key="method"]')
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    found = reader.methods()
    assert found[:7] == sorted(found[:7])
    assert found[7:] == sorted(found[7:])


def test_rows_are_sorted_inside_their_scenario(reader: Reader) -> None:
    page = reader.open()
    assert page.locator("tr.group").count() == 2
    head = page.locator('th[data-key="tow"]')
    head.click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert reader.methods() == [
        "retrain",
        "logit-mask",
        "finetune",
        "eu-k",
        "cf-k",
        "original",
        "ssd",
        "retrain",
        "finetune",
        "eu-k",
        "original",
    ]
    assert page.locator("tr.group .title").all_text_contents() == ["plain", "residual"]


def test_filters_and_search_narrow_the_rows(reader: Reader) -> None:
    page = reader.open()
    reader.choose("scenario", "residual")
    assert reader.methods() == ["original", "retrain", "finetune", "eu-k"]
    assert page.locator("#status").text_content() == "4 of 11 rows."
    reader.choose("kind", "reference")
    assert reader.methods() == ["original", "retrain"]
    page.locator("#reset").click()
    assert len(reader.methods()) == 11
    page.fill("#q", "LOST failed")
    assert reader.methods() == ["ssd"]
    page.fill("#q", "nothing like it")
    assert page.locator("#board").get_by_text("No row is like that").is_visible()


@pytest.mark.parametrize(
    ("facet", "value", "rows"),
    [("suite", "embedded", 11), ("status", "failed", 1), ("information", "model only", 3), ("device", "cpu", 11)],
)
def test_each_filter_filters(reader: Reader, facet: str, value: str, rows: int) -> None:
    reader.open()
    reader.choose(facet, value)
    assert len(reader.methods()) == rows


def test_columns_without_a_value_are_hidden(reader: Reader) -> None:
    page = reader.open()
    assert page.locator('th[data-key="change.features"]').count() == 1
    reader.choose("scenario", "plain")
    assert page.locator('th[data-key="change.features"]').count() == 0
    assert page.locator('th[data-key="tow"]').count() == 1


def test_a_view_is_kept_in_the_address(reader: Reader) -> None:
    page = reader.open()
    reader.choose("kind", "baseline")
    page.fill("#q", "plain")
    head = page.locator('th[data-key="tow"]')
    head.click()
    expect(head).to_have_attribute("aria-sort", "descending")
    page.locator("button.open").first.click()
    found, fragment = reader.methods(), "#" + page.url.split("#")[1]
    again = reader.open(fragment=fragment)
    assert reader.methods() == found == ["finetune", "eu-k", "cf-k", "ssd"]
    assert again.locator(".detail").count() == 1
    assert again.input_value("#q") == "plain"
    again.locator("#reset").click()
    assert "#" not in again.url


def test_a_row_is_opened_with_the_keyboard(reader: Reader) -> None:
    page = reader.open()
    button = page.get_by_role("button", name="finetune").first
    assert button.get_attribute("aria-expanded") == "false"
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    detail = page.locator(f"#{button.get_attribute('aria-controls')}")
    assert "make bench TASK=class-forget SUITE=embedded SCENARIOS=plain METHODS=finetune SEEDS=5" in detail.inner_text()
    assert detail.locator(".of-metrics tbody tr").count() == 2
    style = detail.evaluate("one => (({ textAlign, whiteSpace }) => [textAlign, whiteSpace])(getComputedStyle(one))")
    assert style in (["left", "normal"], ["start", "normal"])  # not those of a column of numbers
    link = detail.locator(".records a").first.get_attribute("href")
    assert link == "../../results/embedded/class-forget/plain/finetune/class-0-seed0-cpu.json"
    page.keyboard.press("Enter")
    assert not detail.is_visible()


def test_the_command_is_copied(browser: playwright.Browser, folder: Path) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = Reader(context, folder).open()
    page.get_by_role("button", name="eu-k").first.click()
    page.locator(".detail").get_by_role("button", name="Copy").click()
    page.locator(".detail").get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").endswith("METHODS=eu-k SEEDS=5")
    context.close()


@pytest.mark.parametrize("name", ["hostile/site/class-forget.html", "hostile/site/index.html"])
def test_hostile_text_is_shown_and_does_nothing(reader: Reader, name: str) -> None:
    page = reader.open(name)
    assert set(HOSTILE) <= set(reader.methods())
    for button in page.locator("button.open").all():
        button.click()
    page.fill("#q", "onerror")
    page.fill("#q", "")
    for facet in page.locator("details.facet summary").all():
        facet.click()
    assert page.locator("main img, main script, main svg[onload]").count() == 0
    assert "AmendBench" in page.title()
    if "class-forget" in name:
        assert page.locator(".detail").get_by_text(SCRIPT, exact=True).count() > 0
        reader.choose("scenario", VECTOR)
        assert set(reader.methods()) == {SCRIPT, IMAGE}


def test_colours_follow_the_system_until_they_are_chosen(browser: playwright.Browser, folder: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    reader = Reader(context, folder)
    page = reader.open()
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    toggle = page.locator("#theme")
    assert toggle.get_attribute("aria-pressed") == "true"
    toggle.click()
    light = page.evaluate(colour)
    assert light != dark
    assert reader.open("plain/site/index.html").evaluate(colour) == light
    page.emulate_media(color_scheme="light")
    page.locator("#theme").click()
    assert page.evaluate(colour) == dark
    assert reader.wrong == []
    context.close()


@pytest.mark.parametrize("name", ["index.html", "class-forget.html"])
def test_a_narrow_page_does_not_scroll_sideways(browser: playwright.Browser, folder: Path, name: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    reader = Reader(context, folder)
    for site in ("plain", "hostile"):
        page = reader.open(f"{site}/site/{name}")
        for button in page.locator("button.open").all():
            button.click()
        for facet in page.locator("details.facet summary").all():
            facet.press("Enter")
            assert page.locator("details.facet[open]").count() == 1
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert reader.wrong == []
    context.close()


def test_a_skip_link_comes_first(reader: Reader) -> None:
    page = reader.open()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_without_scripts_all_rows_are_there(browser: playwright.Browser, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = Reader(context, folder).open()
    assert page.locator("tr.row").count() == 11
    assert page.locator("tr.group code").first.is_visible()
    assert not page.locator("#filters").is_visible()
    assert page.get_by_text("Scripts are off").is_visible()
    context.close()


#: WCAG's contrast of every text with what is painted behind it; blends translucent colours.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const behind = element => { if (!element) return [255, 255, 255];
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, behind(element.parentElement)); };
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = colour => { const [r, g, b] = colour.map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const bad = [];
  const walker = document.createTreeWalker(document.querySelector("body"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    const back = behind(element), style = getComputedStyle(element);
    const front = rgba(style.color); front[3] *= Number(style.opacity);
    const [a, b] = [light(over(front, back)), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push([element.className, walker.currentNode.textContent.trim(), ratio.toFixed(2)]);
  }
  return bad;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser: playwright.Browser, folder: Path, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = Reader(context, folder).open("hostile/site/class-forget.html")
    for button in page.locator("button.open").all():
        button.click()
    assert page.evaluate(CONTRAST) == []
    reader = Reader(context, folder)
    reader.open()
    reader.choose("kind", "cheat", "baseline")
    assert reader.page.evaluate(CONTRAST) == []
    context.close()
