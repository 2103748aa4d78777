"""Building blocks of a page: what the template can lay out, already in words.

A section is a list of blocks; each block's ``kind`` names the macro that prints it. The
template decides how things look, never what they say.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from medcompare.report.formatting import NOT_ESTIMABLE, format_estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.figures import Drawing
    from medcompare.stats.records import Estimate

NOTE_MARKS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The small coloured shape that stands for a model in every figure and table."""

    src: str
    """Data URI."""
    alt: str


@dataclass(frozen=True, kw_only=True)
class Column:
    """Head of a table column."""

    head: str
    kind: Literal["text", "number", "code"] = "number"
    mark: Mark | None = None
    """Mark of the model the column is about, printed before the head."""
    width: str = ""
    """CSS width, where the automatic one is not good enough."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Content of a table cell, with the letter of its note."""

    text: str
    interval: str = ""
    """Interval in brackets, kept on one line."""
    note: str = ""
    strong: bool = False
    muted: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first column names the row."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()
    """(letter, text) of the notes below the table."""
    dense: bool = False
    fine: bool = False
    """Smaller still: long tables of the appendix."""
    titled: bool = True
    """Whether the caption is printed; below a heading that says the same it is only for screen readers."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A figure or thumbnail, embedded."""

    kind: ClassVar[str] = "image"
    src: str
    alt: str
    width_mm: float
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """Images next to each other, wrapping as needed."""

    kind: ClassVar[str] = "image_row"
    images: tuple[Image, ...]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """A figure with a table or list beside it."""

    kind: ClassVar[str] = "split_row"
    image: Image
    beside: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str
    level: Literal[3, 4] = 3


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: str
    tone: Literal["plain", "note", "warning"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """An unordered list."""

    kind: ClassVar[str] = "bullets"
    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FlowStep:
    """One box of the flow of cases."""

    title: str
    number: str
    lines: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    """What left the flow before the next box."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Flow of cases from found to split."""

    kind: ClassVar[str] = "flow"
    steps: tuple[FlowStep, ...]
    ends: tuple[FlowStep, ...] = ()
    """Where the flow branches: the subsets."""


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """One cell of a two-by-two table."""

    count: str
    share: str
    meaning: str
    background: str
    ink: str


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A two-by-two table with its margins."""

    title: str
    mark: Mark | None
    row_axis: str
    column_axis: str
    row_heads: tuple[str, str]
    column_heads: tuple[str, str]
    cells: tuple[tuple[MatrixCell, MatrixCell], tuple[MatrixCell, MatrixCell]]
    row_totals: tuple[str, str]
    lines: tuple[str, ...]
    """Sentences below the matrix."""


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """Two-by-two tables next to each other."""

    kind: ClassVar[str] = "matrix_row"
    matrices: tuple[Matrix, ...]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class CaseCard:
    """One wrongly called case with its picture."""

    case_id: str
    image: Image | None
    truth: str
    scores: tuple[tuple[Mark, str, str], ...]
    """(mark, score, "wrong" or "right") per model."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Cards of cases."""

    kind: ClassVar[str] = "gallery"
    title: str
    cards: tuple[CaseCard, ...]


Block = Table | Image | ImageRow | SplitRow | Heading | Paragraph | Bullets | Flow | MatrixRow | Gallery


@dataclass(frozen=True, kw_only=True)
class Section:
    """A numbered section of the report."""

    number: int
    anchor: str
    title: str
    lead: str
    blocks: tuple[Block, ...]
    new_page: bool = False
    """Whether the section starts a page of its own."""


def svg_uri(svg: str) -> str:
    """An SVG as a data URI."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"


def png_uri(content: bytes) -> str:
    """A PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def image_of(drawing: Drawing, *, caption: str = "") -> Image:
    """A drawn figure as an embedded image."""
    return Image(src=svg_uri(drawing.svg), alt=drawing.alt, width_mm=drawing.width_mm, caption=caption)


@dataclass
class Notes:
    """Collects the notes of one table; equal notes share a letter."""

    found: list[str] = field(default_factory=list)

    def letter(self, note: str | None) -> str:
        """Letter that stands for `note`; empty without a note."""
        if not note:
            return ""
        if note not in self.found:
            self.found.append(note)
        index = self.found.index(note)
        repeats, position = divmod(index, len(NOTE_MARKS))
        return NOTE_MARKS[position] * (repeats + 1)

    def cell(self, estimate: Estimate, *, digits: int = 3, signed: bool = False) -> Cell:
        """An estimate as a cell, its note kept for below the table."""
        text, bracket, rest = format_estimate(estimate, digits=digits, signed=signed).partition(" (")
        return Cell(
            text=text,
            interval=f"({rest}" if bracket else "",
            note=self.letter(estimate.note),
            muted=estimate.value is None,
        )

    def listed(self) -> tuple[tuple[str, str], ...]:
        """(letter, text) in the order of appearance."""
        return tuple((self.letter(note), note) for note in self.found)


def text_rows(rows: Sequence[Sequence[str]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows of plain text as rows of cells."""
    return tuple(tuple(Cell(text=text) for text in row) for row in rows)


def absent(text: str = NOT_ESTIMABLE) -> Cell:
    """A cell for what is not there, in words."""
    return Cell(text=text, muted=True)
