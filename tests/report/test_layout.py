"""Nothing is cut off, whatever the names, the scripts and the number of models: finished pages are measured."""

from __future__ import annotations

import io
import re
import shutil
import unicodedata
from typing import TYPE_CHECKING

import pypdfium2 as pdfium
import pytest
from fontTools.ttLib import TTFont
from pypdf import PdfReader

from medcompare.errors import ConfigError
from medcompare.report import fonts, render
from medcompare.report.context import ReportContext, _page_one, build_context
from medcompare.report.context_errors import cost_section, error_section
from medcompare.report.vocabulary import view_of
from tests.report import odd_runs

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.report.inputs import ReportInputs

SIDE_MARGIN_PT, EDGE_PT = 18 / 25.4 * 72, 20.0
CHINESE = "\u6076\u6027"


def texts_outside(content: bytes) -> list[str]:
    """Every run of text that stands outside the margins of its page."""
    found = []
    for number, page in enumerate(pdfium.PdfDocument(content), start=1):
        width, height = page.get_size()
        words = page.get_textpage()
        for i in range(words.count_rects()):
            left, bottom, right, top = words.get_rect(i)
            inside = left > SIDE_MARGIN_PT - 1 and right < width - SIDE_MARGIN_PT + 1
            if not inside or bottom < EDGE_PT or top > height - EDGE_PT:
                found.append(f"page {number}: {words.get_text_bounded(left, bottom, right, top)!r}")
    return found


def squeezed(text: str) -> str:
    """Text without white space and hyphens: names may break anywhere, also behind a hyphen."""
    return re.sub(r"[\s\u00ad\u0002\ufffe-]", "", text)


def text_of(content: bytes) -> str:
    """All words of a PDF."""
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)


def check_nothing_lost(inputs: ReportInputs, content: bytes) -> None:
    """Every text within the margins, every name in full, every count and interval."""
    assert texts_outside(content) == []
    text = squeezed(text_of(content))
    counts = set(re.findall(r"[\d,]+", text_of(content)))
    for evaluation in inputs.assessment.evaluations:
        assert squeezed(evaluation.display_name) in text
        assert all(f"{count:,}" in counts for count in evaluation.confusion.model_dump().values())
        for key in ("auc", "sensitivity", "specificity", "mcc"):
            low, high = evaluation.metrics[key].ci_low, evaluation.metrics[key].ci_high
            assert f"({low:.3f}to{high:.3f})".replace("-", "\u2212") in text
        for row in evaluation.subgroups:
            assert squeezed(row.level) in text
    assert all(squeezed(name) in text for name in inputs.assessment.classes)


@pytest.mark.slow
@pytest.mark.parametrize(("n_models", "paper"), [(2, "A4"), (6, "Letter"), (10, "A4"), (10, "Letter")])
def test_long_names_and_many_models_fit_on_paper(n_models: int, paper: str) -> None:
    """Names of 80 characters, classes and levels of 60: no column leaves the page and none is missing."""
    inputs = odd_runs.many(n_models, paper=paper)

    check_nothing_lost(inputs, render.render_pdf(render.render_html(build_context(inputs))))


def test_wide_pages_fit_on_letter_paper() -> None:
    """Page one, errors, subgroups and cost of six models: the pages that were cut off, without the slow curves."""
    inputs = odd_runs.many(6, paper="Letter")
    view = view_of(inputs)
    built = ReportContext(
        title=inputs.title,
        organisation=inputs.organisation,
        run_name=inputs.run_name,
        paper=inputs.paper,
        synthetic_label="",
        created=inputs.provenance.finished_at,
        version="0",
        description="",
        page_one=_page_one(view),
        sections=tuple(
            section for section in (error_section(view, 1), cost_section(view, 2)) if section is not None
        ),
    )
    content = render.render_pdf(render.render_html(built))
    text = squeezed(text_of(content))

    assert texts_outside(content) == []
    for one in view.evaluations:
        low, high = one.metrics["specificity"].ci_low, one.metrics["specificity"].ci_high
        assert f"({low:.3f}to{high:.3f})" in text
        assert squeezed(one.display_name) in text
        assert all(squeezed(row.level) in text for row in one.subgroups)
    assert text.count("Latencyperimage") >= 2


def missing_glyphs(content: bytes) -> int:
    """Empty boxes drawn in a PDF: glyph number 0, or a number the embedded font does not have.

    WeasyPrint addresses glyphs by two-byte numbers.
    """
    count = 0
    for page in PdfReader(io.BytesIO(content)).pages:
        n_glyphs = {}
        for name, font in page["/Resources"].get("/Font", {}).items():
            descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
            file = next(descriptor[key].get_object() for key in descriptor if key.startswith("/FontFile"))
            n_glyphs[name] = TTFont(io.BytesIO(file.get_data()))["maxp"].numGlyphs
        stream, font_name = page.get_contents(), ""
        for operands, operator in stream.operations if stream is not None else ():
            if operator == b"Tf":
                font_name = operands[0]
            elif operator == b"TJ":
                raw = b"".join(part.original_bytes for part in operands[0] if hasattr(part, "original_bytes"))
                glyphs = [int.from_bytes(raw[i : i + 2]) for i in range(0, len(raw), 2)]
                count += sum(not 0 < glyph < n_glyphs[font_name] for glyph in glyphs)
    return count


def small_pdf(words: str) -> bytes:
    """`words` set with the report's fonts and style sheet."""
    style = (render.TEMPLATES / "report.css").read_text(encoding="utf-8")
    head = f"<html lang='en'><style>{fonts.font_faces(words)}{style}</style>"
    return render.render_pdf(f"{head}<body><p>{fonts.isolated(words)}</p></body></html>")


def places(content: bytes) -> dict[str, float]:
    """Left edge of each character of the first page, in points; of equal ones the first."""
    words = pdfium.PdfDocument(content)[0].get_textpage()
    found: dict[str, float] = {}
    for i in range(words.count_chars()):
        found.setdefault(chr(pdfium.raw.FPDFText_GetUnicode(words.raw, i)), words.get_charbox(i)[0])
    return found


def width(content: bytes) -> float:
    """Width of the first line of text, in points."""
    words = pdfium.PdfDocument(content)[0].get_textpage()
    assert words.count_rects()
    left, _, right, _ = words.get_rect(0)
    return right - left


def test_arabic_letters_are_joined() -> None:
    """Joined letters are narrower than the same letters kept apart by a zero-width non-joiner."""
    letters = "\u0634\u0628\u0643\u0629"  # sheen, beh, kaf, ta marbuta

    joined, apart = small_pdf(letters), small_pdf("\u200c".join(letters))

    assert width(joined) < 0.9 * width(apart)


def test_numbers_beside_an_arabic_name_keep_their_places() -> None:
    """The count before the name stays on its left, the share behind it on its right."""
    at = places(small_pdf("120 \u062e\u0628\u064a\u062b (45.8 %)"))

    assert at["1"] < at["2"] < at["\u062e"] < at["4"] < at["8"] < at["%"]


def test_names_no_font_can_draw_are_refused() -> None:
    """One sentence with the characters and the package; names that can be drawn pass."""
    private = "\U000f1234"  # a private-use character: no font of a script has it
    assert unicodedata.category(private) == "Co"

    fonts.require_fonts(
        [("class name", "malignant"), ("model", "\u0440\u0430\u043a \u03b1 \u0634\u0628\u0643\u0629")]
    )
    with pytest.raises(ConfigError, match=r"class name .*U\+F1234.*apt-get install fonts-noto-core"):
        fonts.require_fonts([("class name", f"x{private}")])


def test_what_cannot_be_drawn_is_spelled_out() -> None:
    """A character nobody foresaw is printed as its code in the PDF, never as an empty box."""
    content = small_pdf("site \U000f1234 north")

    assert "[U+F1234]" in text_of(content)
    assert missing_glyphs(content) == 0


def test_chinese_is_drawn_or_refused(tmp_path: Path) -> None:
    """With a font of the machine the PDF and its figures show the name; without one it is refused."""
    del tmp_path
    if fonts.undrawable(CHINESE):
        with pytest.raises(ConfigError, match="apt-get install fonts-noto-cjk"):
            fonts.require_fonts([("class name", CHINESE)])
        pytest.skip("no font with Chinese characters here: only the refusal was tested")
    content = small_pdf(f"Use {CHINESE} now, {CHINESE} 12 \u6a21 %")

    assert missing_glyphs(content) == 0
    assert CHINESE in text_of(content)


@pytest.mark.slow
@pytest.mark.parametrize("chinese", [False, True])
@pytest.mark.filterwarnings("error::UserWarning")
def test_whole_report_in_other_scripts(chinese: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Markup, Arabic and Chinese in every name: no empty box, no warning of a missing glyph, nothing cut off."""
    if chinese and fonts.undrawable(CHINESE):
        pytest.skip("no font with Chinese characters here (Debian: fonts-noto-cjk or fonts-wqy-microhei)")
    inputs = odd_runs.inject(cjk=chinese)

    content = render.render_pdf(render.render_html(build_context(inputs)))

    assert texts_outside(content) == []
    assert missing_glyphs(content) == 0


@pytest.mark.browser
@pytest.mark.parametrize("n_models", [2, 6])
def test_no_cell_is_clipped_on_a_phone(n_models: int, tmp_path: Path) -> None:
    """At 390 px no cell of any table is narrower than what it says, and the page does not scroll sideways."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with chromedriver on the PATH")
    from selenium import webdriver

    html = tmp_path / "report.html"
    html.write_text(render.render_html(build_context(odd_runs.many(n_models))), encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
        )
        browser.get(html.as_uri())
        clipped = browser.execute_script(
            "return [...document.querySelectorAll('td, th')].filter(c => c.scrollWidth > c.clientWidth + 1)"
            ".map(c => c.innerText)"
        )
        sideways = browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        n_cells = browser.execute_script("return document.querySelectorAll('td').length")
    finally:
        browser.quit()

    assert clipped == []
    assert sideways <= 0
    assert n_cells > 100
