"""Nothing is cut off, whatever the names, the scripts and the number of models: finished pages are measured."""

from __future__ import annotations

import functools
import io
import re
import unicodedata
from html import unescape
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pypdfium2 as pdfium
import pytest
from fontTools.ttLib import TTFont
from pypdf import PdfReader

from medcompare.base.errors import ConfigError
from medcompare.report import fonts, render
from medcompare.report.blocks import Column, table, words
from medcompare.report.pages.cost import cost_section
from medcompare.report.pages.data import data_section
from medcompare.report.pages.errors import error_section
from medcompare.report.pages.methods import methods_section
from medcompare.report.pages.net_benefit import net_benefit_blocks
from medcompare.report.pages.report import ReportContext, RulePage, _page_one, build_context
from medcompare.report.pdf import render_pdf
from medcompare.report.vocabulary import view_of
from tests.report import odd_runs
from tests.report.sample import make_hard_cases, make_inputs

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.report.blocks import Section
    from medcompare.report.inputs import ReportInputs

TOP_MARGIN_PT, BOTTOM_MARGIN_PT = 13 / 25.4 * 72, 12 / 25.4 * 72
SIDE_MARGIN_PT, EDGE_PT = 18 / 25.4 * 72, 20.0
CHINESE = "\u6076\u6027"


def texts_outside(content: bytes) -> list[str]:
    """Every run of text outside the margins of its page."""
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

    check_nothing_lost(inputs, render_pdf(render.render_html(build_context(inputs)))[0])


def with_sections(inputs: ReportInputs, *sections: Section | None) -> str:
    """The report of page one and some sections: without the slow curves."""
    built = ReportContext(
        title=inputs.title,
        organisation=inputs.organisation,
        run_name=inputs.run_name,
        paper=inputs.paper,
        synthetic_label="",
        created=inputs.provenance.finished_at,
        version="0",
        description="",
        page_one=_page_one(view_of(inputs)),
        rule=RulePage(
            sentence=inputs.assessment.verdict.sentence, caveats=(), steps=(), parameters=(), names=()
        ),
        sections=tuple(section for section in sections if section is not None),
    )
    return render.render_html(built)


def test_wide_pages_fit_on_letter_paper() -> None:
    """Page one, errors, subgroups and cost of six models: the pages that were cut off, without the slow curves."""
    inputs = odd_runs.many(6, paper="Letter")
    view = view_of(inputs)
    content = render_pdf(with_sections(inputs, error_section(view, 1), cost_section(view, 2)))[0]
    text = squeezed(text_of(content))

    assert texts_outside(content) == []
    for one in view.evaluations:
        low, high = one.metrics["specificity"].ci_low, one.metrics["specificity"].ci_high
        assert f"({100 * (1 - high):.1f}to{100 * (1 - low):.1f})" in text
        assert squeezed(view.label(one.model)) in text
        assert all(squeezed(row.level) in text for row in one.subgroups)
    assert "Timeperimage" in text  # page one
    assert "Latencyperimage" in text  # the section on cost


SLOW_PAGES = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("six", "inject", "never", "miscalibrated")
]


@pytest.mark.parametrize("name", ["nine", "long", "many 10", *SLOW_PAGES])
def test_what_qualifies_the_verdict_stands_on_page_one(name: str) -> None:
    """Every caveat, in full, whatever the number and the length of the names (B12)."""
    inputs = odd_runs.many(10) if name == "many 10" else odd_runs.run(name)
    content = render_pdf(with_sections(inputs))[0]
    first = squeezed(PdfReader(io.BytesIO(content)).pages[0].extract_text())
    page = _page_one(view_of(inputs))

    in_a_line = sum("as probability" in text for text in page.uses)
    assert len(page.caveats) + in_a_line == len(inputs.assessment.verdict.caveats) >= 2
    if name != "inject":  # Arabic is drawn from right to left
        for text in (page.headline, page.sentence, *page.extras, *page.caveats):
            assert squeezed(text) in first
    assert squeezed("A clinician must confirm or replace them") in first


def headings_of(html: str) -> set[str]:
    """Headings and captions of tables, without white space; any word may end like one of a letter or two."""
    found = re.findall(r"<(h[1-4]|caption)\b[^>]*>(.*?)</\1>", html, flags=re.DOTALL)
    texts = {squeezed(unescape(re.sub(r"<[^>]+>", "", text))) for _, text in found}
    return {text for text in texts if len(text) > 2}


def body_of(page: pdfium.PdfPage) -> tuple[str, float]:
    """Words between the margins from top to bottom, without white space, and the foot of the last one, in points."""
    words = page.get_textpage()
    characters = []
    for i in range(words.count_chars()):
        left, bottom, _, top = words.get_charbox(i)
        character = chr(pdfium.raw.FPDFText_GetUnicode(words.raw, i))
        if bottom > BOTTOM_MARGIN_PT and not character.isspace():
            characters.append((-(bottom + top) / 2, left, bottom, character))
    lines: list[list[tuple[float, float, float, str]]] = []
    for each in sorted(characters):
        if not lines or each[0] > lines[-1][0][0] + 4:
            lines.append([])
        lines[-1].append(each)
    text = "".join(each[3] for line in lines for each in sorted(line, key=lambda one: one[1]))
    return squeezed(text), min(each[2] for each in lines[-1])


def layout_faults(html: str, content: bytes) -> list[str]:
    """Pages that end with a heading, or of which less than a fifth is used; the last may be short."""
    document, headings = pdfium.PdfDocument(content), headings_of(html)
    found = []
    for number, page in enumerate(document, start=1):
        _, height = page.get_size()
        ink = (page.render(scale=1).to_numpy()[..., :3] < 245).any(axis=(1, 2))
        body = ink[round(TOP_MARGIN_PT) : round(height - BOTTOM_MARGIN_PT)]
        lowest = height - TOP_MARGIN_PT - (body.nonzero()[0].max() if body.any() else 0)
        used = (height - TOP_MARGIN_PT - lowest) / len(body)
        if used < 0.2 and number < len(document):
            found.append(f"page {number}: {used:.0%} used")
        text, bottom = body_of(page)
        # Below the heading of a figure there is ink, though no text; below that of a chapter a line.
        if lowest > bottom - 8:
            found += [f"page {number} ends with a heading" for heading in headings if text.endswith(heading)]
    return found


def check_layout(inputs: ReportInputs) -> None:
    """A whole report: every page is used, none ends with a heading."""
    html = render.render_html(build_context(inputs))

    assert layout_faults(html, render_pdf(html)[0]) == []


def test_no_page_is_wasted_and_none_ends_with_a_heading() -> None:
    """Sections without a figure: the rule alone, and a cost that is not known, held a page of a few lines each."""
    inputs = odd_runs.run("never")
    view = view_of(inputs)
    builders = (data_section, error_section, cost_section, methods_section)

    html = with_sections(inputs, *(build(view, i) for i, build in enumerate(builders, start=1)))
    content = render_pdf(html)[0]

    assert len(pdfium.PdfDocument(content)) > 2
    assert layout_faults(html, content) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*odd_runs.RUNS, "trained", "many 10"])
def test_no_page_is_wasted_in_other_reports(name: str) -> None:
    """The same for every odd run, for a run that trained here and for ten models with long names."""
    made = {"trained": make_inputs, "many 10": functools.partial(odd_runs.many, 10)}
    check_layout(made[name]() if name in made else odd_runs.run(name))


def test_a_table_of_three_rows_leaves_its_next_heading_free() -> None:
    """The heading behind it goes to the next page with its figure, not before the table or to the foot."""
    style = (render.TEMPLATES / "report.css").read_text(encoding="utf-8")
    blocks = render.template_environment().get_template("_blocks.html.j2").module
    short = table("Short", ("a", "b"), [("one", "1"), ("two", "2"), ("three", "3")], dense=False)
    figure = "<figure><div style='height: 240mm; background: grey'></div></figure>"
    html = (
        f"<html lang='en'><style>{fonts.font_faces('Short abc one two three 123 Next')}{style}</style><body>"
    )
    html += f"{blocks.render(short)}<h3>Next</h3>{figure}</body></html>"
    content = render_pdf(html)[0]

    texts = [page.extract_text() for page in PdfReader(io.BytesIO(content)).pages]
    assert ["Short" in text for text in texts] == [True, False]
    assert ["Next" in text for text in texts] == [False, True]
    assert layout_faults(html, content) == ["page 1: 10% used"]
    foot = f"{html[: -len(figure + '</body></html>')]}</body></html>"
    assert layout_faults(foot, render_pdf(foot)[0]) == ["page 1 ends with a heading"]


def test_a_short_name_is_whole_in_the_head_of_a_narrow_column() -> None:
    """It does not break at its hyphen, which stays a plain one; a long name may, or it would push columns off."""
    style = (render.TEMPLATES / "report.css").read_text(encoding="utf-8")
    blocks = render.template_environment().get_template("_blocks.html.j2").module
    long = "A network-with-a-name-of-many-words"
    heads = (words("Metric", "60%"), *(Column(name, "20%") for name in ("EfficientNet-B0", long)))
    short = table("Names", heads, [("one of many words " * 9, "1", "2")])
    html = f"<html lang='en'><style>{fonts.font_faces('0123456789')}{style}</style><body style='width: 80mm'>"

    lines = PdfReader(io.BytesIO(render_pdf(f"{html}{blocks.render(short)}")[0])).pages[0].extract_text()

    assert "EfficientNet-B0" in lines
    assert long not in lines


def test_titles_of_small_pictures_stand_beside_the_first_of_their_kind() -> None:
    """In a row that may break anywhere a title is one box with it; seven places are a row, titles among them."""
    inputs = make_inputs(full=False)
    cases = make_hard_cases(inputs.assessment, thumbnails=True)
    inputs = inputs.model_copy(update={"hard_cases": cases, "n_hard_cases": len(cases)})
    html = with_sections(inputs, error_section(view_of(inputs), 1))

    kinds = re.findall(r'<div class="begun"><h4 class="card">([^<]+)</h4><div class="card">', html)
    page = pdfium.PdfDocument(render_pdf(html)[0])[1]
    images = [each.get_bounds() for each in page.get_objects([pdfium.raw.FPDF_PAGEOBJ_IMAGE])]
    pictures = [each for each in images if each[2] - each[0] > 50]
    rows = {round(bottom) for _, bottom, _, _ in pictures}

    assert kinds == [
        "Missed",
        "False alarms",
        "Missed by some models only",
        "False alarms of some models only",
    ]
    assert len(pictures) == len(cases) == 18
    assert len(rows) <= 4  # 22 places, and a title at the end of a row goes on with its picture


def letters_outside(svg: str) -> int:
    """Texts of a figure that begin above, below or beside it: they would be cut off."""
    root = ET.fromstring(svg)  # noqa: S314 - our own drawing
    left, top, width, height = (float(x) for x in root.get("viewBox").split())
    count = 0
    for element in root.iter():
        if element.tag.endswith("}text"):
            x, y = float(element.get("x")), float(element.get("y"))
            count += not (left <= x <= left + width and top <= y <= top + height)
    return count


def test_legends_of_many_models_are_whole() -> None:
    """Net benefit and cost of ten models: a legend higher than its figure lost its first lines."""
    view = view_of(odd_runs.many(10))
    images = [
        block for block in (*net_benefit_blocks(view), *cost_section(view, 1).blocks) if block.kind == "image"
    ]

    assert len(images) == 2
    for image in images:
        assert letters_outside(image.svg) == 0


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
    html = f"{head}<body><p>{fonts.isolated(words)}</p></body></html>"
    return render_pdf(html, lost=fonts.undrawable(html))[0]


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

    content = render_pdf(render.render_html(build_context(inputs)))[0]

    assert texts_outside(content) == []
    assert missing_glyphs(content) == 0
