"""Columns of a table that a person brought: all text, and each cell traceable to its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from medcompare.base.errors import DataError
from medcompare.base.language import t
from medcompare.data.spelling import fault_of_id, fault_of_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MAX_NAMES_SHOWN = 12


def listed(names: Sequence[str]) -> str:
    """`names` with commas; of many only the first."""
    shown, n_more = ", ".join(names[:MAX_NAMES_SHOWN]), len(names) - MAX_NAMES_SHOWN
    return t("{names} and {n} more", names=shown, n=n_more) if n_more > 0 else shown


@dataclass(frozen=True, kw_only=True)
class Columns:
    """A table by columns, all text, stripped of surrounding blanks.

    Attributes
    ----------
    path : Path
        Where it came from, for messages.
    columns : dict of str to list of str
        Cells by column, in the order of the header.
    nameless : dict of int to list of str
        Cells of columns without a name, by their place in the header.
    rows : list of int
        Row of each line of cells as a spreadsheet counts them.
    notes : list of str
        What was not as the documentation asks for, for the report.
    joined : bool
        Whether its columns are made of several rows per case, so that the file has none of their names.
    """

    path: Path
    columns: dict[str, list[str]]
    nameless: dict[int, list[str]]
    rows: list[int]
    notes: list[str]
    joined: bool = False

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

    def filled(
        self, column: str, remedy: str, *, fault_of: Callable[[str], str | None] = fault_of_value
    ) -> list[str]:
        """Cells of a column that must hold a value.

        Parameters
        ----------
        column : str
            Its name.
        remedy : str
            What to do about a cell that does not.
        fault_of : callable, optional
            What is wrong with a cell, None where nothing is.

        Raises
        ------
        DataError
            Naming the first such row, how many there are, and the remedy.
        """
        faults = [(row, fault) for row, text in self.cells(column) if (fault := fault_of(text)) is not None]
        if faults:
            row, fault = faults[0]
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            self.refuse_cell(column, row, f"{fault}{more}; {remedy}")
        return self.columns[column]

    def ids(self, column: str, remedy: str) -> list[str]:
        """`filled`, and not with a word that no person or case is called."""
        return self.filled(column, remedy, fault_of=fault_of_id)

    def unique(self, column: str, remedy: str) -> tuple[str, ...]:
        """Cells of a column, which must differ.

        Raises
        ------
        DataError
            Naming the first row that repeats another.
        """
        seen: dict[str, int] = {}
        for row, text in self.cells(column):
            if text in seen:
                self.refuse_cell(column, row, f": '{text}' is also in row {seen[text]}; {remedy}")
            seen[text] = row
        return tuple(seen)
