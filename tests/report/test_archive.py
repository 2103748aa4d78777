"""Finished reports against the rules of PDF/A-3a and PDF/UA-1, by a validator that is not ours."""

from __future__ import annotations

import io
import logging
import re
import time
from collections import Counter
from html import unescape
from typing import TYPE_CHECKING, Any

import page
import pytest
from pypdf import PdfReader
from weasyprint import HTML

from medcompare.report import render
from medcompare.report.archive import VARIANT
from medcompare.report.fonts import font_faces
from medcompare.report.pages.report import build_context
from medcompare.report.pdf import render_pdf
from tests.report import odd_runs

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = {"PDF/A-3a": page.ValidationProfile.PDF_A_3A, "PDF/UA-1": page.ValidationProfile.PDF_UA_1}
N_RULES = {"PDF/A-3a": 156, "PDF/UA-1": 104}


def broken_rules(content: bytes) -> dict[str, list[str]]:
    """Rules that are broken, by standard; the number of rules that were looked at is asserted."""
    found = {}
    for name, profile in PROFILES.items():
        report = page.validate_pdf_bytes(content, profile=profile)
        assert report.rules.total == N_RULES[name]
        found[name] = sorted({failure.rule_id for failure in report.failures})
    return found


SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("inject", "nine", "long", "rare", "never", "big")
]


@pytest.mark.parametrize("name", ["tiny12", *SLOW])
def test_a_report_is_archival_and_accessible(name: str, tmp_path: Path) -> None:
    """No rule of either standard is broken, with its evidence attached as data of the document."""
    files = render.write_report(odd_runs.run(name), tmp_path)
    content = files.pdf.read_bytes()

    assert broken_rules(content) == {"PDF/A-3a": [], "PDF/UA-1": []}
    reader = PdfReader(io.BytesIO(content))
    names = [
        "checklists.csv",
        "evidence.json",
        "predictions_test.csv",
        "predictions_validation.csv",
        "results.json",
    ]
    assert set(reader.attachments) <= set(names)
    assert reader.attachments["results.json"][0] == files.results.read_bytes()
    described = [one.get_object() for one in reader.trailer["/Root"]["/AF"]]
    assert [one["/AFRelationship"] for one in described] == ["/Data"] * len(reader.attachments)


def test_every_drawing_is_in_the_pdf_and_says_what_it_shows(caplog: pytest.LogCaptureFixture) -> None:
    """Also where names hold what HTML and SVG write with: one that cannot be read would be left out."""
    html = render.render_html(build_context(odd_runs.run("inject")))
    with caplog.at_level(logging.WARNING):
        content, _ = render_pdf(html)

    assert [record.getMessage() for record in caplog.records] == []
    shown = Counter(unescape(title) for title in re.findall(r"<svg\b[^>]*><title>([^<]*)</title>", html))
    assert len(shown) > 10
    assert html.count("<svg") == shown.total()
    root = PdfReader(io.BytesIO(content)).trailer["/Root"]["/StructTreeRoot"]
    assert shown <= Counter(one["/Alt"] for one in elements_below(root) if one["/S"] == "/Figure")


PAGE = """<html lang="en"><head><title>A page</title></head><body><h1>A page</h1>
<table><caption>Counts</caption><thead><tr><th>Name</th><th>Value</th></tr></thead>
<tbody><tr><th scope="row">a</th><td>1</td></tr></tbody></table>
<img alt="A red square" style="width: 100px; height: 40px" src="data:image/png;base64,\
iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="></body></html>"""


def test_what_is_repaired_would_be_broken() -> None:
    """WeasyPrint's own file breaks rules; each repair is looked up in ours."""
    plain = HTML(string=PAGE).write_pdf(pdf_variant=VARIANT)
    assert broken_rules(plain)["PDF/UA-1"] != []
    content = render_pdf(PAGE)[0]
    assert broken_rules(content) == {"PDF/A-3a": [], "PDF/UA-1": []}

    root = PdfReader(io.BytesIO(content)).trailer["/Root"]["/StructTreeRoot"]
    elements = list(elements_below(root))
    heads = [one["/A"]["/Scope"] for one in elements if one["/S"] == "/TH"]
    assert heads == ["/Column", "/Column", "/Row"]
    (figure,) = [one for one in elements if one["/S"] == "/Figure"]
    left, bottom, right, top = (float(value) for value in figure["/A"]["/BBox"])
    assert (right - left, top - bottom) == pytest.approx((75, 30))  # 100 by 40 pixels are 75 by 30 points
    height = float(figure["/Pg"]["/MediaBox"][3])
    assert height - 300 < bottom < top < height  # near the upper edge, counted from the lower one
    names = root["/IDTree"]["/Names"]
    assert names[0::2] == sorted(names[0::2])
    assert [one.get_object()["/ID"] for one in names[1::2]] == names[0::2]
    cells = [one["/A"]["/Headers"] for one in elements if one["/S"] == "/TD"]
    assert {header for one in cells for header in one} <= set(names[0::2])


def elements_below(element: Any) -> list[Any]:
    """Every structure element below `element`."""
    kids = element.get("/K", [])
    found = []
    for kid in kids if isinstance(kids, list) else [kids]:
        one = kid.get_object()
        if isinstance(one, dict) and "/S" in one:
            found += [one, *elements_below(one)]
    return found


def test_equal_input_gives_equal_bytes() -> None:
    """Whenever it is rendered: the fonts of the report would carry the second in which they were cut out."""
    style = f"<style>{font_faces('A page')} h1 {{ font-family: 'Report Sans' }}</style>"
    html = PAGE.replace("</head>", f"{style}</head>")

    def plain() -> bytes:
        return bytes(HTML(string=html).write_pdf(pdf_variant=VARIANT, pdf_identifier=b"0" * 16))

    first, ours = plain(), render_pdf(html)[0]
    time.sleep(1.1)
    assert render_pdf(html)[0] == ours
    assert plain() != first
