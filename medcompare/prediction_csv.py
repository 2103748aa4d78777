"""CSV files of predictions as text: read whole, each cell traceable to its row.

Rows are counted as a spreadsheet counts them: the header is row 1, blank rows count, and a
quoted cell with line breaks is one row. The first fault is reported; nothing is repaired.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from medcompare.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MOST_NAMES_SHOWN = 12
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
# float() also takes '1_000', 'infinity' and digits of other scripts, which no table means.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """A header and its columns, all text, stripped of surrounding blanks.

    Attributes
    ----------
    path : Path
        Where it came from, for messages.
    columns : dict of str to list of str
        Cells by column, in the order of the header.
    rows : list of int
        Spreadsheet row of each case.
    """

    path: Path
    columns: dict[str, list[str]]
    rows: list[int]

    def cells(self, column: str) -> Iterator[tuple[int, str]]:
        """(row, cell) pairs of one column."""
        return zip(self.rows, self.columns[column], strict=True)

    def require(self, column: str, kind: str = "column") -> None:
        """Raise a DataError that lists the columns where `column` is not one of them."""
        if column not in self.columns:
            self.refuse(f"there is no {kind} '{column}'; columns there are: {listed(list(self.columns))}")

    def refuse(self, what: str) -> NoReturn:
        """Raise a DataError about the whole file."""
        msg = f"{self.path}: {what}"
        raise DataError(msg)

    def refuse_cell(self, column: str, row: int, what: str) -> NoReturn:
        """Raise a DataError about one cell; `what` goes on where the place ends."""
        self.refuse(f"column '{column}', row {row}{what}")

    def unique_texts(self, column: str) -> tuple[str, ...]:
        """Cells of a column that must be filled and differ.

        Raises
        ------
        DataError
            Naming the first row that is empty or repeats another.
        """
        seen: dict[str, int] = {}
        for row, text in self.cells(column):
            if not text:
                self.refuse_cell(column, row, " is empty; give every case an id, or delete the row")
            if text in seen:
                self.refuse_cell(
                    column, row, f": '{text}' also stands in row {seen[text]}; ids must be unique"
                )
            seen[text] = row
        return tuple(seen)

    def filled_texts(self, column: str, remedy: str) -> list[str]:
        """Cells of a column that must be filled.

        Raises
        ------
        DataError
            Naming the first empty row, and the remedy.
        """
        for row, text in self.cells(column):
            if not text:
                self.refuse_cell(column, row, f" is empty; {remedy}")
        return self.columns[column]

    def scores(self, column: str, *, probability: bool) -> NDArray[np.float64]:
        """Cells of a column as finite numbers, in [0, 1] where they are probabilities.

        Raises
        ------
        DataError
            Naming the first row that is empty, no number, not finite, or outside [0, 1].
        """
        values = np.empty(len(self.rows))
        for i, (row, text) in enumerate(self.cells(column)):
            value = float(text) if NUMBER.fullmatch(text) else math.nan
            if not math.isfinite(value) or (probability and not 0 <= value <= 1):
                self.refuse_cell(column, row, _fault(column, text, probability=probability))
            values[i] = value
        return values


def _fault(column: str, text: str, *, probability: bool) -> str:
    """What is wrong with the cell of a score."""
    if not text:
        return " is empty; every model must be scored on the same cases"
    if NUMBER.fullmatch(text) and math.isfinite(float(text)) and probability:
        return f": {text} is outside [0, 1]; if these are not probabilities, say so with --scores-are-not-probabilities"
    if NUMBER.fullmatch(text) or text.lower().lstrip("+-") in {"nan", "inf", "infinity", "na", "n/a", "null"}:
        return f": '{text}' is not a finite number; score the case again, or remove it from every file"
    if NUMBER.fullmatch(text.replace(",", ".")):
        return f": '{text}' has a decimal comma; write a point, as in {text.replace(',', '.')}"
    return f": '{text}' is not a number; if this column holds a subgroup, name it with --subgroups {column}"


def read_csv(path: Path, *, expected: str) -> CsvTable:
    """Read a CSV file with a header.

    Parameters
    ----------
    path : Path
        UTF-8, with or without byte-order mark, separated by commas.
    expected : str
        The columns such a file has, for the message where it is empty.

    Returns
    -------
    CsvTable

    Raises
    ------
    DataError
        If the file is missing, not UTF-8, not CSV, empty, has a nameless or repeated
        column or a row with too many or too few cells.
    """
    lines = _lines(path)
    if not any(any(line) for line in lines):
        msg = f"{path}: the file is empty; expected a header with {expected}"
        raise DataError(msg)
    header = lines[0]
    for name in header:
        if not name:
            msg = (
                f"{path}: row 1: column {header.index(name) + 1} has no name; the header must stand in row 1"
            )
            raise DataError(msg)
        if header.count(name) > 1:
            msg = f"{path}: row 1: two columns are named '{name}'"
            raise DataError(msg)
    for separator, words in SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            msg = f"{path}: row 1: cells are separated by {words}; save the file as CSV with commas"
            raise DataError(msg)
    rows, cells = [], []
    for row, line in enumerate(lines[1:], 2):
        if not line:
            continue
        if len(line) != len(header):
            msg = f"{path}: row {row} has {len(line)} cells, the header has {len(header)}"
            raise DataError(msg)
        rows.append(row)
        cells.append(line)
    if not rows:
        msg = f"{path}: there is a header but no case"
        raise DataError(msg)
    by_column = zip(*cells, strict=True)
    return CsvTable(path=path, columns=dict(zip(header, map(list, by_column), strict=True)), rows=rows)


def _lines(path: Path) -> list[list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        msg = f"{path}: no such file"
        raise DataError(msg) from None
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        msg = f"{path}: row {row} is not UTF-8 text; save the file as CSV (UTF-8)"
        raise DataError(msg) from None
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror})"
        raise DataError(msg) from None
    lines: list[list[str]] = []
    try:
        for line in csv.reader(io.StringIO(text, newline=""), strict=True):
            lines.append([cell.strip() for cell in line])  # noqa: PERF401 - the count tells the bad row
    except csv.Error as error:
        msg = (
            f"{path}: row {len(lines) + 1} is not CSV ({error}); look for a quotation mark that is not closed"
        )
        raise DataError(msg) from None
    return lines


def listed(names: Sequence[str]) -> str:
    """`names` with commas; of many only the first."""
    shown = ", ".join(names[:MOST_NAMES_SHOWN])
    return shown + (f" and {len(names) - MOST_NAMES_SHOWN} more" if len(names) > MOST_NAMES_SHOWN else "")
