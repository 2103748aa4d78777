"""A theme changes how a report looks and what it calls the classes; what is wrong with a theme is said at once."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from medcompare.base.errors import ConfigError
from medcompare.report import render
from medcompare.report.pages.report import build_context
from medcompare.report.results import results_json
from medcompare.report.theme import Theme, contrast, read_theme, themed
from tests.report import odd_runs
from tests.report.sample import make_inputs

if TYPE_CHECKING:
    from pathlib import Path

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">{}</svg>'


def theme_file(folder: Path, text: str, logo: bytes = b"", name: str = "logo.svg") -> Path:
    """A theme, with a logo beside it."""
    (folder / name).write_bytes(logo)
    path = folder / "theme.toml"
    path.write_text(text, encoding="utf-8")
    return path


def png(width: int, **text: str) -> bytes:
    """A PNG file with text in it that is no pixel."""
    out, info = io.BytesIO(), PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    Image.new("RGB", (width, 4), "#0b5345").save(out, format="PNG", pnginfo=info)
    return out.getvalue()


def embedded(uri: str) -> bytes:
    """Content of a data URI."""
    return base64.b64decode(uri.partition(",")[2])


def test_contrast_is_as_wcag_computes_it() -> None:
    """Black on white is 21; #767676 is known as the lightest grey that passes on white."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize(
    ("text", "logo", "reason"),
    [
        (
            'colour = "#8fbc8f"',
            "",
            r"colour: #8fbc8f has a contrast of 2\.\d with the paper, text needs 4\.5",
        ),
        ('colour = "green"', "", "colour: String should match"),
        ('color = "#000000"', "", "color: Extra inputs are not permitted; known: logo, organisation, colour"),
        ("colour = ", "", "Invalid value"),
        (
            '[classes]\nlesion = "x"',
            "",
            "classes: the data have no class 'lesion'; they have 'benign', 'cancer', '1'",
        ),
        ('[classes]\n1 = "malignant"', "", "classes: '1' cannot be told from a word or number"),
        ('[classes]\ncancer = "same"\nbenign = "same"', "", "two classes have the same name"),
        ('sign_off = ["  "]', "", "sign_off: '  ' has 2 characters, 1 to 60"),
        ("sign_off = []", "", "sign_off: Tuple should have at least 1 item"),
        ('logo = "none.svg"', "", r"cannot read .*none\.svg: No such file"),
        ('logo = "logo.svg"', "hello", "logo.svg is neither a PNG nor an SVG file"),
        ('logo = "logo.svg"', "x" * 200_001, "200,001 bytes, 200,000 are read"),
        (
            'logo = "logo.svg"',
            SVG.format("<script>alert(1)</script>"),
            "holds <script>: save it as plain SVG",
        ),
        ('logo = "logo.svg"', SVG.format("<style>@import 'x'</style>"), "holds <style>"),
        ('logo = "logo.svg"', SVG.format("<image href='http://x/y.png'/>"), "holds <image>"),
        ('logo = "logo.svg"', SVG.format("<g><text>UKB</text></g>"), "holds <text>"),
        (
            'logo = "logo.svg"',
            SVG.format("<path d='M0 0h1' onclick='x()'/>"),
            "the attribute onclick of <path>",
        ),
        ('logo = "logo.svg"', SVG.format("<path fill='url(http://x#a)'/>"), "the attribute fill of <path>"),
        (
            'logo = "logo.svg"',
            SVG.format("<path style='fill:URL( \"//x\")'/>"),
            "the attribute style of <path>",
        ),
        (
            'logo = "logo.svg"',
            f'<!DOCTYPE svg [<!ENTITY a "b">]>{SVG.format("")}',
            "declares a document type",
        ),
        ('logo = "logo.svg"', "<html></html>", "holds <html>"),
    ],
    ids=lambda value: value[:24],
)
def test_what_is_wrong_is_said_before_any_work(tmp_path: Path, text: str, logo: str, reason: str) -> None:
    """One sentence with the file, the key and what would do."""
    path = theme_file(tmp_path, text, logo.encode())

    with pytest.raises(ConfigError, match=rf"(?s)^report\.theme: .*{reason}"):
        read_theme(path, ("benign", "cancer", "1"))


def test_of_a_png_only_its_pixels_come_in(tmp_path: Path) -> None:
    """Text in the file is gone; too many pixels and a broken file are refused."""
    path = theme_file(tmp_path, 'logo = "a.png"', png(30, Author="A. Person"), "a.png")

    content = embedded(read_theme(path).logo)

    assert b"Person" not in content
    assert Image.open(io.BytesIO(content)).size == (30, 4)
    theme_file(tmp_path, 'logo = "a.png"', png(2001), "a.png")
    with pytest.raises(ConfigError, match="2001 x 4 pixels, at most 2000 a side"):
        read_theme(path)
    theme_file(tmp_path, 'logo = "a.png"', png(30)[:40], "a.png")
    with pytest.raises(ConfigError, match="no readable PNG file"):
        read_theme(path)


def test_an_svg_loses_the_remarks_of_its_drawing_program(tmp_path: Path) -> None:
    """Shapes, gradients and references within the file stay; what is of another vocabulary goes."""
    drawn = (
        '<metadata>A. Person</metadata><i:view xmlns:i="http://inkscape.org"/><defs><linearGradient id="a"/></defs>'
        '<path xmlns:i="http://inkscape.org" i:label="A. Person" style="fill:url(#a)" d="M0 0h9v9z"/>'
    )
    path = theme_file(tmp_path, 'logo = "logo.svg"', SVG.format(drawn).encode())

    root = ET.fromstring(embedded(read_theme(path).logo))  # noqa: S314 - ours

    assert [one.tag.rpartition("}")[2] for one in root.iter()] == ["svg", "defs", "linearGradient", "path"]
    assert b"Person" not in ET.tostring(root)
    assert root[-1].get("style") == "fill:url(#a)"


def test_classes_are_renamed_in_sentences_and_tables_but_not_in_the_results() -> None:
    """Whole words only; commands, model names and `results.json` keep what the data say."""
    inputs = odd_runs.run("ni")
    theme = Theme(classes={"malignant": "carcinoma in situ"})
    told = inputs.model_copy(
        update={
            "theme": theme,
            "notices": (
                "3 malignant images; premalignant-like; use --positive malignant or data.positive=malignant.",
            ),
        }
    )

    shown = themed(told)

    assert shown.assessment.classes == ("benign", "carcinoma in situ")
    assert shown.notices == (
        "3 carcinoma in situ images; premalignant-like; use --positive malignant or data.positive=malignant.",
    )
    assert results_json(told).count(b"carcinoma in situ") == 0
    assert results_json(told.model_copy(update={"notices": inputs.notices})) == results_json(inputs)
    assert shown.assessment.evaluations[0].metrics == inputs.assessment.evaluations[0].metrics


def test_the_page_wears_the_theme(tmp_path: Path) -> None:
    """Logo with words, institution, colour in place of the usual one, names of classes explained, lines to sign."""
    text = (
        'logo = "logo.svg"\norganisation = "Clinic <A>"\ncolour = "#0b5345"\nsign_off = ["Freigabe", "Datum"]\n'
        '[classes]\ncancer = "Carcinoma"\n'
    )
    path = theme_file(tmp_path, text, SVG.format("<path d='M0 0h9v9z'/>").encode())
    theme = read_theme(path, ("non_cancer", "cancer"))
    inputs = make_inputs(organisation="", theme=theme)

    html = render.render_html(build_context(inputs))

    assert f'<img class="logo" src="{theme.logo}" alt="Logo of Clinic &lt;A&gt;">' in html
    assert "#0b5345" in html
    assert "#26466a" not in html.partition("</style>")[0]
    assert '<span class="blank">Freigabe</span> <span class="blank">Datum</span>' in html
    assert "Names of classes" in html
    assert "Approved by" not in html
    assert "non_cancer" in html  # has no other name
