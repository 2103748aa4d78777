"""Where the text of a cell may break, columns of numbers whose decimal points stand below each other, even columns.

Digits of the report's font are equally wide and cells stand at the right, so that only what follows the point
pushes it about: an interval with or without signs, more or fewer decimals.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Cell, Column

LONGEST_HEAD_WORD, LONGEST_WORD = 14, 24
"""A head or cell with a longer word may break within it: no column is as wide as some names are. Only such a cell,
as WeasyPrint measures every place where a cell may break: with all cells a report took five times as long."""

LONGEST_INTERVAL = 22
"""A longer interval may break between its limits."""

LINE_CHARACTERS = 46
"""In a third of the page, in small type."""

NUMBER = re.compile(r"[+\u2212<> \u202f]*\d[\d.,\u202f]*%?")
"""A number without a unit: those of a column with several units cannot be compared by their places."""

WIDTHS_EM = {
    **dict.fromkeys("0123456789", 0.636),
    **dict.fromkeys(".,  \u202f", 0.318),
    **dict.fromkeys("()", 0.39),
}
"""Advance widths of DejaVu Sans, from its table ``hmtx``."""

SIGN_EM, LETTER_EM = 0.838, 0.6
INTERVAL = re.compile(r"\([+\u2212\d.,\u202f% ]+ \w+ [+\u2212\d.,\u202f% ]+\)")


def has_long_word(text: str, n_characters: int) -> bool:
    """Whether a word of `text` is longer than so many characters."""
    return any(len(word) > n_characters for word in text.split())


def width_em(text: str) -> float:
    """Width of numbers and signs, in units of the font size; of letters on average."""
    return sum(WIDTHS_EM.get(one, SIGN_EM if one in "+\u2212<>" else LETTER_EM) for one in text)


def aligned(
    columns: Sequence[Column], rows: Sequence[tuple[Cell, ...]], point: str
) -> tuple[tuple[Cell, ...], ...]:
    """The rows, with room in the cells of columns of numbers so that the decimals of each are below each other.

    Intervals are made as wide as the widest of their column, where all its estimates have the same number of decimals;
    numbers without an interval as if all had the most decimals.
    """
    found = [list(row) for row in rows]
    for i, column in enumerate(columns):
        if column.kind != "number":
            continue
        cells = [(row, row[i]) for row in found if NUMBER.fullmatch(row[i].text) and not row[i].svg]
        for with_interval in (True, False):
            part = [
                (row, cell, _after_point(cell, point))
                for row, cell in cells
                if bool(cell.interval) == with_interval
                and (not cell.interval or INTERVAL.fullmatch(cell.interval))
            ]
            decimals = {len(cell.text.partition(point)[2]) for _, cell, _ in part}
            if with_interval and len(decimals) > 1:
                continue  # rows of several scales, as on page one
            widest = max((width for _, _, width in part), default=0.0)
            for row, cell, width in part:
                if width < widest:
                    row[i] = replace(cell, room=f"{widest - width:.2f}em")
    return tuple(map(tuple, found))


def _after_point(cell: Cell, point: str) -> float:
    """Width of what follows the last digit before the decimal point, without the letter of a note."""
    _, found, decimals = cell.text.partition(point)
    return width_em(found + decimals) + width_em(cell.interval)


def even_columns(items: Sequence[str], n: int = 3) -> list[list[str]]:
    """`items` in `n` consecutive columns, as even as their lines allow: some columns are empty where there are fewer.

    WeasyPrint would lay a list out up to ten times to find where its columns end.

    Examples
    --------
    >>> even_columns(["one", "two", "three", "four"], n=2)
    [['one', 'two'], ['three', 'four']]
    """
    # In quarters of a line, one of which stands between two items.
    quarters = [4 * -(-len(item) // LINE_CHARACTERS) + 1 for item in items]
    height = max([-(-sum(quarters) // n), *quarters])
    while len(columns := _filled(items, quarters, height)) > n:
        height += 1
    return columns + [[] for _ in range(n - len(columns))]


def _filled(items: Sequence[str], heights: Sequence[int], height: int) -> list[list[str]]:
    """As few columns as take `items`, none higher than `height`."""
    columns: list[list[str]] = [[]]
    left = height
    for item, needed in zip(items, heights, strict=True):
        if needed > left:
            columns.append([])
            left = height
        columns[-1].append(item)
        left -= needed
    return columns
