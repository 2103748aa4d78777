"""The report on a screen: readable in the light and in the dark, on a desk and on a phone."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tinycss2

from medcompare.base.language import in_language
from medcompare.report import render
from medcompare.report.pages.report import build_context
from medcompare.runs.report_server import report_app
from tests.report import odd_runs
from tests.web import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOUGH = 4.5
"""Contrast of text with what is behind it: WCAG 2.2, success criterion 1.4.3."""
WIDE_PX, PHONE_PX = 1280, 390
AXE = Path(__file__).resolve().parents[2] / ".make" / "axe" / "axe_playwright_python" / "axe.min.js"
"""axe-core of Deque Systems (MPL-2.0), which `make test-browser` fetches; in no file that is shipped."""

Rules = dict[str, dict[str, str]]


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` or ``white`` (WCAG 2.2)."""
    digits = "ffffff" if colour == "white" else colour.removeprefix("#")
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colours_of(nodes: list[Any], *, dark: bool) -> Rules:
    """Selector to its text colour and background, of the rules for all readers or of those for the dark."""
    found: Rules = {}
    for node in nodes:
        if node.type == "at-rule" and node.lower_at_keyword == "media":
            if ("dark" in tinycss2.serialize(node.prelude)) == dark or "screen" in tinycss2.serialize(
                node.prelude
            ):
                inner = tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True)
                nested = "dark" in tinycss2.serialize(node.prelude)
                for selector, colours in colours_of(inner, dark=dark and not nested).items():
                    found.setdefault(selector, {}).update(colours)
        elif node.type == "qualified-rule" and not dark:
            stated = tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True)
            colours = {
                one.lower_name: tinycss2.serialize(one.value).strip()
                for one in stated
                if one.type == "declaration" and one.lower_name in {"color", "background"}
            }
            for selector in tinycss2.serialize(node.prelude).split(",") if colours else ():
                found.setdefault(selector.strip(), {}).update(colours)
    return found


def style() -> list[Any]:
    """The style sheet, rule by rule."""
    text = (render.TEMPLATES / "report.css").read_text(encoding="utf-8")
    return list(tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True))


def test_contrast_is_as_wcag_computes_it() -> None:
    """Black on white is 21; #767676 is known as the lightest grey that passes on white."""
    assert contrast("#000000", "white") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_what_is_behind_it(dark: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Each colour of text on its own background, or on every one that it may lie on."""
    rules = colours_of(style(), dark=dark)
    behind = {
        selector: rules[selector]["background"] for selector in ("html", ".verdict") if selector in rules
    }
    pairs = {}
    for selector, colours in rules.items():
        if selector.endswith(".mark") or "svg" in selector or "img" in selector:
            continue
        if selector != "html" and {"color", "background"} <= colours.keys():
            pairs[selector] = contrast(colours["color"], colours["background"])
        elif "color" in colours:
            for where, background in behind.items():
                pairs[f"{selector} on {where}"] = contrast(colours["color"], background)
        else:
            pairs[f"text on {selector}"] = contrast(rules["html"]["color"], colours["background"])

    assert len(pairs) > 25
    assert {pair: round(ratio, 2) for pair, ratio in pairs.items() if ratio < ENOUGH} == {}


def test_no_colour_of_text_is_forgotten_in_the_dark() -> None:
    """Every rule that colours text or what is behind it has its counterpart."""
    light, dark = colours_of(style(), dark=False), colours_of(style(), dark=True)

    assert {(one, key) for one in light for key in light[one]} - {
        (one, key) for one in dark for key in dark[one]
    } == set()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium without a window."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with chromedriver on the PATH")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driven = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    driven.set_script_timeout(120)
    try:
        yield driven
    finally:
        driven.quit()


@pytest.fixture(scope="module", params=[2, 6])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two and of six models with long names."""
    path: Path = tmp_path_factory.mktemp(f"models_{request.param}") / "report.html"
    path.write_text(render.render_html(build_context(odd_runs.many(request.param))), encoding="utf-8")
    return path


def look(browser: Any, page: Path, width_px: int, scheme: str = "light") -> None:
    """Open the page; a picture of it is kept where MEDCOMPARE_SCREENSHOTS names a folder."""
    size = {"width": width_px, "height": 844, "deviceScaleFactor": 1, "mobile": width_px == PHONE_PX}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(page.as_uri())
    folder = os.environ.get("MEDCOMPARE_SCREENSHOTS")
    if folder:
        browser.save_screenshot(f"{folder}/{page.parent.name}_{width_px}_{scheme}.png")


@pytest.mark.browser
def test_no_cell_is_clipped_on_a_phone(browser: Any, page: Path) -> None:
    """At 390 px no cell of any table is narrower than what it says, and the page does not scroll sideways."""
    look(browser, page, PHONE_PX)
    clipped = browser.execute_script(
        "return [...document.querySelectorAll('td, th')].filter(c => c.scrollWidth > c.clientWidth + 1)"
        ".map(c => c.innerText)"
    )
    sideways = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"

    assert clipped == []
    assert browser.execute_script(sideways) <= 0
    assert browser.execute_script("return document.querySelectorAll('td').length") > 100


TEXTS = """
const solid = c => c && c !== 'none' && c !== 'transparent' && !/, 0\\)$/.test(c);
const found = new Map();
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || element.closest('title, .skip, caption.unseen')) continue;
  const look = getComputedStyle(element);
  if (!element.getClientRects().length) continue;
  const ink = element.closest('svg') ? look.fill : look.color;
  let behind = element;
  while (behind && !solid(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
  const paper = getComputedStyle(behind || document.documentElement).backgroundColor;
  found.set(ink + ' on ' + paper, walk.currentNode.data.trim().slice(0, 60));
}
return Object.fromEntries(found);
"""


def hexadecimal(rgb: str) -> str:
    """``rgb(1, 2, 3)`` as ``#010203``."""
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", rgb)[:3])


@pytest.mark.browser
@pytest.mark.parametrize(
    ("width_px", "scheme"), list(product((WIDE_PX, PHONE_PX), ("light", "dark"))), ids=str
)
def test_every_text_can_be_read(browser: Any, page: Path, width_px: int, scheme: str) -> None:
    """As the browser draws it, figures included: text against the nearest background behind it."""
    look(browser, page, width_px, scheme)

    seen = browser.execute_script(TEXTS)
    ratios = {
        f"{pair}: {text}": contrast(*(hexadecimal(rgb) for rgb in pair.split(" on ")))
        for pair, text in seen.items()
    }
    assert len(ratios) > 8
    assert {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < ENOUGH} == {}


@pytest.mark.browser
def test_contents_stay_in_sight_beside_a_wide_page(browser: Any, page: Path) -> None:
    """At 1280 px they do not cover the text, wherever one reads; on a phone a link leads back to them."""
    corners = (
        "scrollTo(0, document.body.scrollHeight); const n = document.getElementById('contents')"
        ".getBoundingClientRect(), m = document.querySelector('main section').getBoundingClientRect();"
        "return [n.top, n.bottom, n.left, n.right, m.left, m.right]"
    )
    look(browser, page, WIDE_PX)
    top, bottom, left, right, text_left, text_right = browser.execute_script(corners)
    assert (top, bottom) == (0, 844)
    assert 0 <= left < right <= text_left < text_right <= WIDE_PX

    look(browser, page, PHONE_PX)
    assert browser.execute_script(corners)[1] < 0
    links = browser.find_elements("css selector", ".back a")
    assert len(links) == browser.execute_script("return document.querySelectorAll('#rule, .numbered').length")
    links[-1].send_keys("\n")
    assert browser.current_url.endswith("#contents")
    assert -1 < browser.execute_script(corners.partition(";")[2])[0] < 844


@pytest.mark.browser
@pytest.mark.parametrize(
    ("width_px", "scheme"), list(product((WIDE_PX, PHONE_PX), ("light", "dark"))), ids=str
)
def test_axe_finds_nothing(browser: Any, page: Path, width_px: int, scheme: str) -> None:
    """No violation of any rule of axe-core, WCAG 2.0 to 2.2 and best practices, and nothing that the policy refused."""
    if not AXE.is_file():
        pytest.skip("no axe-core: `make test-browser` fetches it")
    look(browser, page, width_px, scheme)
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run(document).then(arguments[0])")

    nodes = {one["id"]: [node["html"][:200] for node in one["nodes"]] for one in found["violations"]}
    assert nodes == {}
    assert len(found["passes"]) > 30
    assert [one["message"] for one in browser.get_log("browser")] == []


def column(browser: Any, table: Any, number: int) -> list[str]:
    """Texts of a column, from top to bottom."""
    script = "return [...arguments[0].tBodies[0].rows].map(r => r.cells[arguments[1]].textContent.trim())"
    return [str(text) for text in browser.execute_script(script, table, number)]


@pytest.mark.browser
def test_tables_sort_by_their_numbers(browser: Any, page: Path) -> None:
    """Up, down, and back to the order of the report; by number, with a true minus and the sign of thousands."""
    look(browser, page, WIDE_PX)
    table = next(
        one
        for one in browser.find_elements("css selector", ".table table")
        if "Metrics per class" in one.find_element("tag name", "caption").get_attribute("textContent")
    )
    button = table.find_elements("css selector", "th .sort")[3]
    assert button.text == "Precision"
    printed, models = column(browser, table, 3), column(browser, table, 0)
    assert all(models)  # said in every row, though seen only once
    assert len(set(printed)) > 3
    values = sorted(float(text.split()[0]) for text in printed)

    for expected, said in ((values, "ascending"), (values[::-1], "descending")):
        button.click()
        assert [float(text.split()[0]) for text in column(browser, table, 3)] == expected
        assert button.find_element("xpath", "..").get_attribute("aria-sort") == said
        rows = dict(zip(zip(models, printed, strict=True), range(len(models)), strict=True))
        assert set(zip(column(browser, table, 0), column(browser, table, 3), strict=True)) == set(rows)
    button.click()
    assert column(browser, table, 3) == printed


@pytest.mark.browser
def test_the_served_page_can_do_the_same(browser: Any, page: Path) -> None:
    """As `medcompare reports` shows it, whose policy stands beside the page's own: sort, copy, try a threshold out."""
    browser.get_log("browser")  # of other pages
    allowed = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.execute_cdp_cmd("Browser.grantPermissions", allowed)
    with serving(report_app(page.parent.parent)) as port:
        browser.get(f"http://127.0.0.1:{port}/{page.parent.name}/report.html")
        copies = browser.find_elements("css selector", "button.copy")
        tables = browser.find_elements("css selector", ".table > table")
        sorts = browser.find_elements("css selector", "th .sort")
        browser.execute_script("arguments[0].click(); arguments[1].click()", sorts[0], copies[-1])
        text = browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        own, *_ = browser.execute_script(COUNTS, 0, None)
        moved, *_ = browser.execute_script(COUNTS, 0, 3)

    assert len(copies) == len(tables) > 3
    assert (copies[-1].text, len(text.splitlines()) > 1) == ("Copied", True)
    assert len(browser.find_elements("css selector", "th[aria-sort=ascending]")) == 1
    assert "that of the report" in own
    assert "that of the report" not in moved
    assert [one["message"] for one in browser.get_log("browser")] == []


@pytest.mark.browser
def test_a_table_is_copied_as_it_stands(browser: Any, page: Path) -> None:
    """Every cell of the table in words, as CSV that no spreadsheet computes."""
    look(browser, page, WIDE_PX)
    allowed = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.execute_cdp_cmd("Browser.grantPermissions", allowed)
    table = browser.find_elements("css selector", ".table table")[-1]
    browser.execute_script(
        "const [t] = arguments; t.rows[1].cells[1].textContent = '=1+1'; t.rows[2].cells[1].textContent = "
        "'\u22120.5'; t.rows[2].cells[0].textContent = 'a, \"b\"';",
        table,
    )
    button = table.find_element("xpath", "following-sibling::button")
    browser.execute_script("arguments[0].scrollIntoView(); arguments[0].click()", button)
    text = browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    rows = list(csv.reader(io.StringIO(text)))

    script = "return [...arguments[0].rows].map(r => r.cells.length)"
    assert [len(row) for row in rows] == browser.execute_script(script, table)
    assert rows[1][1] == "'=1+1"
    assert rows[2][:2] == ['a, "b"', "-0.5"]
    assert button.text == "Copied"


COUNTS = """
const panel = document.querySelectorAll('.trial')[arguments[0]], slider = panel.querySelector('input');
if (arguments[1] !== null) { slider.value = arguments[1]; slider.dispatchEvent(new Event('input')); }
return [panel.querySelector('output').textContent, ...[...panel.querySelectorAll('.big')].map(e => e.textContent),
        panel.querySelector('.rates').textContent, slider.max];
"""


@pytest.mark.browser
def test_thresholds_can_be_tried_out(browser: Any, tmp_path: Path) -> None:
    """At every step the counts are those of the scores; at first, and again on demand, those of the report."""
    y_true = odd_runs.truth(160, 70)
    scores = odd_runs.scores_of(y_true, {"wide": 2.4, "narrow": 2.4})
    scores["narrow"] = 0.51 + 0.17 * scores["narrow"]
    inputs = odd_runs.inputs_of(odd_runs.cases(y_true, scores), thresholds={"wide": 0.4217, "narrow": 0.6})
    path = tmp_path / "report.html"
    path.write_text(render.render_html(build_context(inputs)), encoding="utf-8")
    look(browser, path, WIDE_PX)
    positive = y_true == 1
    for k, model in enumerate(one.model for one in inputs.assessment.evaluations):
        counts = next(one for one in inputs.assessment.evaluations if one.model == model).confusion
        printed = [counts.true_positive, counts.false_negative, counts.false_positive, counts.true_negative]
        said, *shown, _, last = browser.execute_script(COUNTS, k, None)
        assert "that of the report" in said
        assert [int(text.replace(",", "")) for text in shown] == printed
        for step in np.linspace(0, int(last), 7).astype(int).tolist():
            threshold, *shown, rates, _ = browser.execute_script(COUNTS, k, step)
            above = scores[model] >= float(threshold) - 1e-9
            tp, fp = int((above & positive).sum()), int((above & ~positive).sum())
            assert [int(text.replace(",", "")) for text in shown] == [
                tp, int(positive.sum()) - tp, fp, int((~positive).sum()) - fp,
            ]  # fmt: skip
            assert f"Sensitivity {100 * tp / positive.sum():.1f}%" in rates
        browser.execute_script(
            "document.querySelectorAll('.trial')[arguments[0]].querySelector('button').click()", k
        )
        assert browser.execute_script(COUNTS, k, None)[0] == said


@pytest.mark.browser
def test_the_page_is_complete_without_its_script(browser: Any, page: Path) -> None:
    """All words but those of the buttons, and nothing of what only the script can do."""
    text = "return document.body.innerText"
    look(browser, page, WIDE_PX)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        body = browser.find_element("tag name", "body")
        without = set(body.text.split())
        assert browser.find_elements("css selector", "button.sort, button.copy") == []
        assert not browser.find_element("css selector", ".explore").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    look(browser, page, WIDE_PX)
    assert without <= set(browser.execute_script(text).split())
    assert len(without) > 500


@pytest.mark.browser
def test_the_script_speaks_the_language_of_the_page(browser: Any, tmp_path: Path) -> None:
    """In German: numbers with a decimal comma sort by their value, are copied with semicolons, and are written so."""
    y_true = odd_runs.truth(160, 70)
    scores = odd_runs.scores_of(y_true, {"wide": 2.4, "narrow": 2.4})
    with in_language("de"):
        inputs = odd_runs.inputs_of(
            odd_runs.cases(y_true, scores), thresholds={"wide": 0.4217, "narrow": 0.6}
        )
        path = tmp_path / "report.html"
        path.write_text(render.render_html(build_context(inputs)), encoding="utf-8")
    look(browser, path, WIDE_PX)
    table = next(
        one
        for one in browser.find_elements("css selector", ".table table")
        if "Metriken je Klasse" in one.find_element("tag name", "caption").get_attribute("textContent")
    )
    values = [float(text.split()[0].replace(",", ".")) for text in column(browser, table, 3)]
    table.find_elements("css selector", "th .sort")[3].click()

    assert [float(text.split()[0].replace(",", ".")) for text in column(browser, table, 3)] == sorted(values)
    assert "aufsteigend" in browser.execute_script("return document.querySelector('.said').textContent")
    allowed = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.execute_cdp_cmd("Browser.grantPermissions", allowed)
    browser.execute_script("arguments[0].tBodies[0].rows[0].cells[3].textContent = '\u22121.234,5'", table)
    button = table.find_element("xpath", "following-sibling::button")
    browser.execute_script("arguments[0].scrollIntoView(); arguments[0].click()", button)
    text = browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    rows = list(csv.reader(io.StringIO(text), delimiter=";"))
    assert {len(row) for row in rows} == {6}
    assert rows[1][3] == "-1.234,5"
    assert button.text == "Kopiert"
    threshold, *_, rates, _ = browser.execute_script(COUNTS, 0, None)
    assert threshold == "0,4217, die des Berichts"
    assert "Sensitivität" in rates
    assert re.search(r"PPV \d+,\d\s%", rates)
    assert re.fullmatch(r"0,\d+", browser.execute_script(COUNTS, 0, 20)[0])
