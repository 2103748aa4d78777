"""Decimals of a column of numbers stand below each other, measured with the font that prints them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given
from hypothesis import strategies as st

from medcompare.report.blocks import Cell, Column, table, words
from medcompare.report.cell_layout import (
    LINE_CHARACTERS,
    SIGN_EM,
    WIDTHS_EM,
    aligned,
    even_columns,
    width_em,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FONT = TTFont(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
NUMBERS = st.floats(-99.0, 99.0, allow_nan=False)


def printed_em(text: str) -> float:
    """Width of a text as the font's own tables give it."""
    advances, glyphs = FONT["hmtx"], FONT.getBestCmap()
    return sum(advances[glyphs[ord(one)]][0] for one in text) / FONT["head"].unitsPerEm


def point_from_the_right(cell: Cell) -> float:
    """How far the decimal point of a cell is from its right edge, with the blank before the interval."""
    behind = cell.text.partition(".")[2] + (f" {cell.interval}" if cell.interval else "")
    return printed_em(behind) + float(cell.room.removesuffix("em") or 0)


def column_of(cells: list[Cell]) -> list[Cell]:
    """The cells as a table prints them in one column."""
    found = aligned((words("Metric"), Column("Figure")), [(Cell("AUC"), cell) for cell in cells], ".")
    return [row[1] for row in found]


def signed(value: float, digits: int = 3) -> str:
    """As the report writes a difference: zero has no sign."""
    return f"{value:+.{digits}f}".replace("-", "\u2212") if round(value, digits) else f"{0:.{digits}f}"


def test_widths_are_those_of_the_font() -> None:
    """Digits are equally wide, or nothing here would hold."""
    assert {one: round(printed_em(one), 3) for one in WIDTHS_EM if one != "\u202f"} == pytest.approx(
        {one: width for one, width in WIDTHS_EM.items() if one != "\u202f"}, abs=1e-3
    )
    assert printed_em("+") == pytest.approx(SIGN_EM, abs=1e-3) == printed_em("\u2212")


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=2, max_size=6))
def test_intervals_of_any_signs_leave_the_decimals_in_place(rows: list[tuple[float, float, float]]) -> None:
    """A sign that an interval lacks would push its estimate to the right."""
    cells = [Cell(signed(value), interval=f"({signed(low)} to {signed(high)})") for value, low, high in rows]
    places = [point_from_the_right(cell) for cell in column_of(cells)]

    assert max(places) - min(places) < 0.02


@given(st.lists(st.tuples(NUMBERS, st.integers(1, 4)), min_size=2, max_size=6))
def test_numbers_of_any_decimals_share_the_place_of_the_point(rows: list[tuple[float, int]]) -> None:
    """What has fewer decimals ends further left."""
    places = [point_from_the_right(one) for one in column_of([Cell(signed(x, digits)) for x, digits in rows])]

    assert max(places) - min(places) < 0.02


def test_words_units_and_columns_of_text_stay_as_they_are() -> None:
    """Numbers with units are not of one scale, so nothing is to be compared by their places."""
    cells = [
        Cell("not computed"),
        Cell("82.7\u202fms", interval="(81.8 to 84.5)"),
        Cell("\u00d70.82"),
        Cell("12.3456"),
    ]

    assert [one.room for one in column_of(cells)] == [""] * 4
    rows = table("Text", (words("Metric"), words("Value")), [("a", "1.2"), ("b", "1.234")]).rows
    assert [row[1].room for row in rows] == ["", ""]


def test_width_of_text() -> None:
    """By hand: two digits, a point, a sign and two letters."""
    assert width_em("+0.5 to") == pytest.approx(0.838 + 2 * 0.636 + 2 * 0.318 + 2 * 0.6)


def test_rows_of_several_scales_are_left_alone() -> None:
    """Per hundred and AUC below each other, as on page one: room would only make the table too wide."""
    cells = [Cell("96.4", interval="(94.2 to 97.8)"), Cell("+0.083", interval="(+0.066 to +0.100)")]

    assert [one.room for one in column_of(cells)] == ["", ""]


@given(st.lists(st.integers(1, 400).map("x".__mul__), max_size=7), st.integers(1, 4))
def test_columns_are_as_even_as_their_lines_allow(items: list[str], n: int) -> None:
    """In order, and no other way to cut the list has a lower highest column."""
    columns = even_columns(items, n)

    def height(column: Sequence[str]) -> float:
        return sum(math.ceil(len(item) / LINE_CHARACTERS) + 0.25 for item in column)

    cuts = itertools.combinations_with_replacement(range(len(items) + 1), n - 1)
    ways = [itertools.pairwise((0, *cut, len(items))) for cut in cuts]
    assert [item for column in columns for item in column] == items
    assert len(columns) == n
    assert max(map(height, columns)) == min(max(height(items[i:j]) for i, j in way) for way in ways)
