"""The report on a screen: readable in the light and in the dark, on a desk and on a phone."""

from __future__ import annotations

import os
import re
import shutil
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import tinycss2

from medcompare.report import render
from medcompare.report.pages.report import build_context
from tests.report import odd_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENOUGH = 4.5
"""Contrast of text with what is behind it: WCAG 2.2, success criterion 1.4.3."""
WIDE_PX, PHONE_PX = 1280, 390

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
    driven = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
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
