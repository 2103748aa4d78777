"""Building blocks of a page: what the template can lay out, already in words.

A section is a list of blocks; each block's ``kind`` names the macro that prints it. The template decides how it looks.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from medcompare.base.formatting import format_estimate
from medcompare.base.language import localised, t
from medcompare.report.cell_layout import (
    LONGEST_HEAD_WORD,
    LONGEST_INTERVAL,
    LONGEST_WORD,
    aligned,
    has_long_word,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medcompare.report.figures.drawing import Drawing
    from medcompare.stats.records import Estimate

NOTE_MARKS = "abcdefghijklmnopqrstuvwxyz"
MAX_MODEL_COLUMNS = 4
"""Models that fit next to each other with their intervals; more of them are listed below each other."""

MAX_FIGURE_COLUMNS = 4
"""Figures next to each other where models are rows; more of them go on in a further table."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The small coloured shape that marks a model in every figure and table."""

    src: str
    """Data URI."""
    alt: str


@dataclass(frozen=True)
class Column:
    """Head of a table column."""

    head: str
    width: str = ""
    """CSS width, where the automatic one is not good enough."""
    kind: Literal["text", "number", "code", "figure", "name"] = "number"  # name: a class above its numbers
    mark: Mark | None = None
    """Mark of the model the column is about, printed before the head."""

    @property
    def breaks(self) -> bool:
        """Whether the head must be able to break within a word."""
        return has_long_word(self.head, LONGEST_HEAD_WORD)


def words(head: str, width: str = "") -> Column:
    """Column of text."""
    return Column(head, width, "text")


def code(head: str, width: str = "") -> Column:
    """Column of names and other text in a fixed-width font."""
    return Column(head, width, "code")


@dataclass(frozen=True)
class Cell:
    """Content of a table cell, with the letter of its note."""

    text: str
    _: KW_ONLY
    interval: str = ""
    """Interval in brackets, kept on one line where it is not too long."""
    note: str = ""
    strong: bool = False
    muted: bool = False
    mark: Mark | None = None
    """Mark of the model the row is about, printed before the text."""
    svg: str = ""
    """A small drawing in place of text."""
    again: bool = False
    """As in the row above: shown only where rows are sorted, and heard."""
    room: str = ""
    """CSS length of a blank before the interval, or behind a text without one: it aligns the decimals of a column."""

    @property
    def breaks(self) -> bool:
        """Whether the text must be able to break within a word."""
        return has_long_word(self.text, LONGEST_WORD)

    @property
    def long_interval(self) -> bool:
        """Whether the interval is too long for one line."""
        return len(self.interval) > LONGEST_INTERVAL


Row = Sequence[Cell | str]


def muted(text: str) -> Cell:
    """A cell of lesser weight; also for what is missing, in words (without an estimate there is a note instead)."""
    return Cell(text, muted=True)


DASH = muted("\u2013")


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
    tight: bool = False
    """Many columns of stated widths."""
    titled: bool = True
    """Whether the caption is printed; below a heading that says the same it is only for screen readers."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A figure or thumbnail, embedded."""

    kind: ClassVar[str] = "image"
    src: str = ""
    svg: str = ""
    """A drawing in place of `src`."""
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


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str
    level: Literal[3, 4] = 3


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: str
    tone: Literal["plain", "note", "warning"] = "plain"


@dataclass(frozen=True)
class Bullets:
    """An unordered list."""

    kind: ClassVar[str] = "bullets"
    items: tuple[str, ...]
    _: KW_ONLY
    in_columns: bool = False
    """Three of them, in small type: a long list of short lines."""


@dataclass(frozen=True, kw_only=True)
class FlowStep:
    """One box of the flow of cases."""

    title: str
    number: str
    lines: tuple[str, ...] = ()
    aside_title: str = ""
    aside: tuple[str, ...] = ()
    """What left the flow before the next box; with its title."""


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
class Explore:
    """Thresholds to try out; hidden until the script of the page shows it, and never on paper."""

    kind: ClassVar[str] = "explore"
    text: str
    positives_per_thousand: str
    trials: tuple[tuple[Matrix, Mapping[str, str]], ...]
    """A matrix each, and what the script of the page makes others from."""


@dataclass(frozen=True, kw_only=True)
class CaseCard:
    """One misclassified case with its pictures."""

    case_id: str
    image: Image | None
    facts: tuple[str, ...]
    scores: tuple[tuple[Mark, str, str, tuple[str, ...], Image | None], ...]
    """Mark, score, "wrong" or "right", where score and threshold lie from 0 to 1, the map if `mapped`; per model."""
    mapped: bool


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Cards of cases, by kind of error."""

    kind: ClassVar[str] = "gallery"
    kinds: tuple[tuple[str, tuple[CaseCard, ...]], ...]
    """Title and cards, at least one, of each."""


_Media = Image | ImageRow | SplitRow | Flow | MatrixRow | Gallery | Explore
Block = Table | Heading | Paragraph | Bullets | _Media


@dataclass(frozen=True, kw_only=True)
class Section:
    """A numbered section of the report."""

    number: int
    anchor: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


def svg_uri(svg: str) -> str:
    """An SVG as a data URI."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"


def picture_uri(content: bytes, kind: Literal["png", "jpeg"] = "png") -> str:
    """A PNG or JPEG file as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def image_of(drawing: Drawing, *, caption: str = "") -> Image:
    """A drawn figure as an embedded image."""
    return Image(svg=drawing.svg, alt=drawing.alt, width_mm=drawing.width_mm, caption=caption)


@dataclass
class Notes:
    """Collects the notes of one table; equal notes share a letter."""

    found: list[str] = field(default_factory=list)
    remark: str = ""
    """About the whole table."""

    def with_remark(self, remark: str) -> Self:
        """These notes, and at their end one that no cell refers to."""
        self.remark = remark
        return self

    def letter(self, note: str | None) -> str:
        """Letter of `note`; empty without a note."""
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
            text,
            interval=f"({rest}" if bracket else "",
            note=self.letter(estimate.note),
            muted=estimate.value is None,
        )

    def listed(self) -> tuple[tuple[str, str], ...]:
        """(letter, text) in the order of appearance."""
        lettered = [(self.letter(note), note) for note in self.found]
        return tuple([*lettered, ("", self.remark)] if self.remark else lettered)


def table(
    caption: str,
    heads: Sequence[Column | str],
    rows: Iterable[Row],
    *,
    notes: Notes | None = None,
    dense: bool = True,
    fine: bool = False,
    tight: bool = False,
    titled: bool = True,
) -> Table:
    """A table of cells or plain text below heads, of which plain text heads a column of numbers."""
    columns = tuple(Column(head) if isinstance(head, str) else head for head in heads)
    return Table(
        caption=caption,
        columns=columns,
        rows=aligned(columns, _cells(rows), localised(".")),  # before the notes, which they collect
        notes=() if notes is None else notes.listed(),
        dense=dense,
        fine=fine,
        tight=tight,
        titled=titled,
    )


def _cells(rows: Iterable[Row]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(tuple(Cell(one) if isinstance(one, str) else one for one in row) for row in rows)


def model_tables(
    caption: str,
    corner: Column,
    models: Sequence[Column],
    rows: Iterable[Row],
    *,
    notes: Notes | None = None,
    extra: Column | None = None,
    dense: bool = False,
    titled: bool = True,
) -> list[Table]:
    """Figures of models (a name and a cell per model in each row) as tables that fit the page.

    Few models are columns, with an `extra` column such as the difference; more of them are rows, and some of
    the figures columns, in as many tables as it takes. The notes are below the last table.
    """
    rows = _cells(rows)
    if len(models) <= MAX_MODEL_COLUMNS:
        heads = (corner, *models, *([] if extra is None else [extra]))
        return [table(caption, heads, rows, notes=notes, dense=dense, titled=titled)]
    tables = []
    for start in range(0, len(rows), MAX_FIGURE_COLUMNS):
        part = rows[start : start + MAX_FIGURE_COLUMNS]
        tables.append(
            table(
                caption if start == 0 else t("{caption}, continued", caption=caption),
                (words(t("Model"), "26%"), *(Column(row[0].text, kind=models[0].kind) for row in part)),
                [
                    (Cell(model.head, mark=model.mark, strong=True), *(row[1 + i] for row in part))
                    for i, model in enumerate(models)
                ],
                notes=notes if start + MAX_FIGURE_COLUMNS >= len(rows) else None,
                dense=dense,
                titled=titled or start > 0,
            )
        )
    return tables
