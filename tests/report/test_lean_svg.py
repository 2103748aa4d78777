"""The rewritten figures: same ink, fewer elements."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from pypdf import PdfReader
from scipy.spatial import cKDTree
from weasyprint import HTML

from medcompare.report.blocks import svg_uri
from medcompare.report.lean_svg import SVG, lean_svg

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _drawn() -> str:
    figure = Figure(figsize=(3, 2), layout="constrained")
    canvas = FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.plot([0, 1 / 3, 1], [0, 2 / 3, 1], marker="s", label="a model")
    axes.fill_between([0, 1], [0, 0.5], [0.1, 0.9], alpha=0.3)
    axes.set(title="Sensitivity − 1 (älter)", ylabel="turned by 90°")
    axes.legend()
    target = io.BytesIO()
    canvas.print_svg(target, metadata={"Date": None})
    return target.getvalue().decode()


def _operators(svg: str) -> list[tuple[str, NDArray[np.float64]]]:
    """Painting operators of the page that shows `svg`, with the points of each path on the page."""
    page = f"<style>@page {{ size: 300pt 200pt; margin: 0 }}</style><body style='margin:0'><img src='{svg_uri(svg)}'>"
    pdf = PdfReader(io.BytesIO(HTML(string=page).write_pdf(uncompressed_pdf=True)))
    ink: list[tuple[str, NDArray[np.float64]]] = []
    points: list[tuple[float, float]] = []
    started: list[tuple[float, float]] = []

    def see(operator: bytes, operands: list[float], matrix: list[float], _: list[float]) -> None:
        a, b, c, d, e, f = (float(number) for number in matrix)
        numbers = [float(operand) for operand in operands] if operator in {b"m", b"l", b"c"} else []
        there = [
            (a * x + c * y + e, b * x + d * y + f) for x, y in zip(numbers[::2], numbers[1::2], strict=True)
        ]
        if operator == b"m":
            started[:] = there  # counts once a line leaves it
        elif there:
            points.extend([*started, *there])
            started.clear()
        elif operator in {b"f", b"S", b"B", b"s", b"b", b"n"}:
            if operator != b"n" and points:
                ink.append((operator.decode(), np.array(points)))
            points.clear()

    pdf.pages[0].extract_text(visitor_operand_before=see)
    return ink


def test_letters_stay_where_they_were() -> None:
    """Every point that is filled or stroked is the same on paper, to a hundredth of a millimetre."""
    before, after = _drawn(), lean_svg(_drawn())
    old = np.concatenate([points for _, points in _operators(before)])
    new = np.concatenate([points for _, points in _operators(after)])
    assert len(old) > 1000
    distance, _ = cKDTree(new).query(old)
    assert np.max(distance) < 0.03  # points of 0.35 mm
    assert len(_operators(after)) < len(_operators(before)) / 2


def test_text_becomes_one_path_and_names_go() -> None:
    """No letter is a reference any more, and every group left says more than its name."""
    root = ET.fromstring(lean_svg(_drawn()))  # noqa: S314 - our own drawing
    hrefs = [use.get("{http://www.w3.org/1999/xlink}href", "") for use in root.iter(f"{{{SVG}}}use")]
    assert hrefs
    assert not [href for href in hrefs if "DejaVu" in href]
    assert all(set(group.attrib) - {"id"} for group in root.iter(f"{{{SVG}}}g"))
    assert not list(root.iter(f"{{{SVG}}}style"))


def test_size_and_unknown_content_are_kept() -> None:
    """What does not look like matplotlib's letters comes through as it was."""
    svg = (
        f'<svg xmlns="{SVG}" xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" viewBox="0 0 10 10">'
        '<defs><path id="Odd" d="M 0.5 1 L 2 3 z" transform="scale(0.015625)"/></defs>'
        '<g transform="translate(1 2)"><use xlink:href="#Odd"/></g></svg>'
    )
    root = ET.fromstring(lean_svg(svg))  # noqa: S314 - our own drawing
    assert (root.get("width"), root.get("viewBox")) == ("10pt", "0 0 10 10")
    assert len(list(root.iter(f"{{{SVG}}}use"))) == 1


@pytest.mark.parametrize(
    ("written", "short"), [("M 1.23456 2", "M 1.235 2"), ("L 3.0000001 -0.12345", "L 3 -0.123")]
)
def test_coordinates_end_at_a_thousandth(written: str, short: str) -> None:
    """Long coordinates are rounded, short ones left."""
    out = lean_svg(f'<svg xmlns="{SVG}"><path d="{written}" style="stroke: #000"/></svg>')
    assert f'd="{short}"' in out


def test_the_prefixes_of_other_libraries_do_not_matter() -> None:
    """The outermost element is plain ``<svg`` whatever prefix a library registered for SVG."""
    svg = _drawn()
    before = lean_svg(svg)
    ET.register_namespace("drawing", SVG)
    assert lean_svg(svg) == before
    assert "<svg " in before
