"""Any table that a person has, as text: CSV in all its dialects, Excel workbooks, Parquet files.

What a file leaves no doubt about is read and said in a note: its encoding, what separates its
cells, a line ``sep=;``, comment lines. Cells stay text, since a patient ``007`` is not
patient ``7``. Rows are counted as a spreadsheet counts them: the header is row 1, blank rows
count, and a quoted cell with line breaks is one row.

pandas would not do: where every row has a cell too many it moves all values one column to the left, it fills
up rows that are too short, renames columns of the same name, does not know a row's place in the file, and
its search for the separator splits ``case_id`` at the ``s``.
"""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import io
import os
import re
import shlex
import zipfile
from typing import TYPE_CHECKING, Any, NoReturn

from medcompare.base.errors import DataError
from medcompare.base.language import message, t
from medcompare.data.columns import Columns, listed
from medcompare.data.reading import NotRegularError, open_regular
from medcompare.data.spelling import with_formula

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SEPARATORS = {",": message("commas"), ";": message("semicolons"), "\t": message("tabs"), "|": message("bars")}
BLANKS = message("blanks")
"""Looked for in this order; blanks count only where there is none of these."""

EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t ]*', flags=re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)? ?%?", flags=re.ASCII)
"""Also with a decimal comma or a percent sign. float() would take '1_000', 'infinity' and other scripts."""

CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF8, "utf-8-sig", None),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
"""Byte-order mark, codec, and its name where that is worth a note; those of UTF-32 begin as those of UTF-16 do."""

WRITE_CSV = "write it as CSV where it was made, in Python with table.to_csv('table.csv', index=False)"
FOREIGN = (
    (
        b"\xd0\xcf\x11\xe0",
        "an old or encrypted Excel workbook",
        "save it as .xlsx without a password, or as CSV",
    ),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first: gunzip FILE"),
    (b"\x93NUMPY", "a NumPy array, which has no column names", WRITE_CSV),
    (b"\x89HDF", "an HDF5 file", WRITE_CSV),
    (b"ARROW1", "an Arrow or Feather file", WRITE_CSV),
    (b"\x80", "a pickle or another binary file, which is not safe to open", WRITE_CSV),
    (b"%PDF", "a PDF", "save the table as CSV"),
    (b"{", "JSON", WRITE_CSV),
    (b"[", "JSON", WRITE_CSV),
    (b"<", "HTML or XML", "save the table as CSV"),
    (b"\x89PNG", "an image", "give a table with the names of images, or their folder"),
    (b"\xff\xd8\xff", "an image", "give a table with the names of images, or their folder"),
    (b"II*\0", "an image", "give a table with the names of images, or their folder"),
    (b"MM\0*", "an image", "give a table with the names of images, or their folder"),
    (bytes(128) + b"DICM", "a DICOM file", "give a table with the names of images, or their folder"),
)
"""First bytes, what the file is, and what to do."""

INDEX = re.compile(r"__index_level_\d+__")

MAX_BYTES = 2**30
MAX_LINE_BYTES = 2**20
MAX_COLUMNS = 5_000
MAX_CELLS = 10**8
"""Limits of a table: ten million rows of ten short columns are within them."""

MAX_UNPACKED_BYTES = 2**30
"""A workbook of a million rows unpacks to about a tenth of this."""


def read_table_file(path: Path, *, expected: str) -> Columns:
    """Read a table whatever it was written with.

    Parameters
    ----------
    path : Path
        CSV (UTF-8, UTF-16 or Windows-1252; commas, semicolons, tabs, bars or blanks),
        ``.xlsx`` or Parquet. Its content says which, not its name.
    expected : str
        The columns such a file has, for the message where it is empty.

    Raises
    ------
    DataError
        If the file is missing or empty, is something else, repeats a column, or has no row
        or one with too many or too few cells.
    """
    try:
        data = _content(path)
    except FileNotFoundError:
        _refuse(path, "no such file")
    except NotRegularError as error:
        _refuse(path, f"cannot be read: it is {error}, not a file")
    except OSError as error:
        _refuse(path, f"cannot be read ({error.strerror})")
    if data.startswith(b"PK\x03\x04"):
        lines, notes = _excel(data, path)
    elif data.startswith(b"PAR1"):
        lines, notes = _parquet(data, path)
    else:
        for start, what, remedy in FOREIGN:
            if data[:200].removeprefix(codecs.BOM_UTF8).lstrip().startswith(start):
                _refuse(path, f"this is {what}; {remedy.replace('FILE', shlex.quote(str(path)))}")
        lines, notes = _csv(*_text(data, path), path)
    return _checked(lines, notes, path, expected)


def _content(path: Path) -> bytes:
    """Bytes of the file, refused before it fills the memory: what it becomes takes ten times as much."""
    with open_regular(path) as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if n_bytes > MAX_BYTES:
            _refuse(
                path,
                f"{n_bytes / 1e6:,.0f} MB, at most {MAX_BYTES / 1e6:,.0f}; keep the columns that are needed",
            )
        if file.read(4) in {b"PK\x03\x04", b"PAR1"}:
            file.seek(0)
            return file.read()
        file.seek(0)
        parts: list[bytes] = []
        since = 0
        while part := file.read(MAX_LINE_BYTES):
            breaks = part.replace(b"\r", b"\n")
            if since + (len(part) if b"\n" not in breaks else breaks.index(b"\n")) > MAX_LINE_BYTES:
                row = 1 + sum(each.count(b"\n") for each in parts)
                _refuse(
                    path,
                    f"row {row} is longer than {MAX_LINE_BYTES / 1e6:.0f} million bytes: this is no table",
                )
            since = len(part) - breaks.rindex(b"\n") if b"\n" in breaks else since + len(part)
            parts.append(part)
        return b"".join(parts)


def _refuse(path: Path, what: str) -> NoReturn:
    msg = f"{path}: {what}"
    raise DataError(msg) from None


def numbers_the_rows(texts: Sequence[str]) -> bool:
    """Whether the cells of a column are the numbers from 0 or 1 on, in any order."""
    if not all(re.fullmatch(r"\d{1,9}", text, flags=re.ASCII) for text in texts):
        return False
    numbers = sorted(map(int, texts))
    return numbers in ([*range(len(numbers))], [*range(1, len(numbers) + 1)])


Lines = list[tuple[int, list[str]]]


def _checked(lines: Lines, notes: list[str], path: Path, expected: str) -> Columns:
    # One spelling of a line break: csv.writer before Python 3.13 leaves a carriage return unquoted.
    lines = [(number, [_one_break(cell) for cell in cells]) for number, cells in lines if any(cells)]
    if not lines:
        _refuse(path, f"the file is empty; expected a header with {expected}")
    header_row, header = lines[0]
    if len(header) > MAX_COLUMNS:
        _refuse(
            path,
            f"row {header_row} has {len(header):,} columns, at most {MAX_COLUMNS:,} are read; keep those needed",
        )
    wider = [cells for _, cells in lines[1:] if len(cells) == len(header) + 1]
    if wider and len(wider) == len(lines) - 1 and numbers_the_rows([cells[0] for cells in wider]):
        header = ["", *header]  # R's write.table gives the column of row names no heading
    rows = []
    for number, cells in lines[1:]:
        if len(header) > 1 and cells[0].startswith("#") and not any(cells[1:]):
            notes.append(t("row {row} is a comment and was passed over", row=number))
            continue
        # A last separator too many is how some programs end a row.
        extra = cells[len(header) :]
        if len(cells) < len(header) or any(extra):
            _refuse(
                path,
                f"row {number} has {len(cells)} cells, the header has {len(header)}; put text that contains "
                f"the separator, such as a decimal comma, into quotation marks",
            )
        rows.append((number, cells[: len(header)]))
    kept = [i for i, name in enumerate(header) if name or any(cells[i] for _, cells in rows)]
    if len(kept) < len(header):
        rows = [(number, [cells[i] for i in kept]) for number, cells in rows]
        header = [header[i] for i in kept]
    for name in header:
        if name and header.count(name) > 1:
            _refuse(path, f"row {header_row}: two columns are named '{name}'; rename or remove one")
    if not rows:
        _refuse(path, "there is a header but no row below it")
    columns = [list(column) for column in zip(*(cells for _, cells in rows), strict=True)]
    return Columns(
        path=path,
        columns={name: column for name, column in zip(header, columns, strict=True) if name},
        nameless={
            i: column for i, (name, column) in enumerate(zip(header, columns, strict=True)) if not name
        },
        rows=[number for number, _ in rows],
        notes=notes,
    )


def _one_break(cell: str) -> str:
    return cell.replace("\r\n", "\n").replace("\r", "\n") if "\r" in cell else cell


def _text(data: bytes, path: Path) -> tuple[str, list[str]]:
    """The text of a file, and a note on its encoding where it is not UTF-8."""
    codec, name = _encoding(data)
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        _refuse(
            path, f"row {row} is not text in UTF-8, nor in another common encoding; save it as CSV (UTF-8)"
        )
    text = text.removeprefix("\ufeff").rstrip("\x1a")
    found = CONTROL.search(text)
    if found:
        row = text[: found.start()].count("\n") + 1
        _refuse(path, f"row {row} holds bytes that are not text; save the table as CSV (UTF-8)")
    return text, [] if name is None else [t("the file is {encoding} text, not UTF-8", encoding=name)]


def _encoding(data: bytes) -> tuple[str, str | None]:
    """Codec, and the name of the encoding where that is worth a note."""
    for mark, codec, name in MARKS:
        if data.startswith(mark):
            return codec, name
    start = data[:2000]
    if len(start) > 3 and not any(start[1::2]):
        return "utf-16-le", "UTF-16"
    if len(start) > 3 and not any(start[::2]):
        return "utf-16-be", "UTF-16"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252", "Windows-1252"
    return "utf-8", None


def _csv(text: str, notes: list[str], path: Path) -> tuple[Lines, list[str]]:
    """Rows of a CSV file, and notes on whatever is before the header or separates the cells."""
    lines = io.StringIO(text, newline="").readlines()
    start, separator, comment = 0, None, None
    while start < len(lines):
        line = lines[start].strip("\r\n")
        excel = EXCEL_SEPARATOR.fullmatch(line.strip())
        if excel and separator is None and excel[1] in SEPARATORS:
            separator = excel[1]
            notes.append(t("the line '{line}' names the separator and was passed over", line=line.strip()))
        elif line.lstrip().startswith("#"):
            comment = start
        elif line.strip():
            break
        start += 1
    if separator is None:
        separator = _separator(lines[start] if start < len(lines) else "")
        if separator != ",":
            notes.append(
                t("cells are separated by {separators}", separators=t(SEPARATORS.get(separator, BLANKS)))
            )
    if comment is not None and _is_header(lines[comment], lines[start:], separator):
        # As numpy.savetxt writes it.
        lines[comment] = lines[comment].lstrip().lstrip("#").lstrip()
        start = comment
        notes.append(t("the header stands in a comment line"))
    elif comment is not None:
        notes.append(t("comment lines before the header were passed over"))
    found: Lines = []
    number = start
    blanks = separator == " "
    rest = [f"{line.strip()}\n" for line in lines[start:]] if blanks else lines[start:]
    try:
        for cells in csv.reader(rest, delimiter=separator, strict=True, skipinitialspace=blanks):
            number += 1
            found.append((number, [with_formula(cell.strip()) for cell in cells]))
    except csv.Error as error:
        _refuse(path, f"row {number + 1} is not CSV ({error}); look for a quotation mark that is not closed")
    return found, notes


def _cells(line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return [line]


def _separator(header: str) -> str:
    """What splits the header into most cells; blanks where nothing else does."""
    best = max(SEPARATORS, key=lambda separator: len(_cells(header, separator)))
    return " " if len(_cells(header, best)) == 1 and len(header.split()) > 1 else best


def _is_header(comment: str, below: Sequence[str], separator: str) -> bool:
    """Whether a comment line names the columns of the line below, which holds numbers itself."""
    names = _cells(comment.lstrip().lstrip("#"), separator)
    first = _cells(below[0], separator) if below else []
    return (
        len(names) == len(first) > 1
        and any(NUMBER.fullmatch(cell) for cell in first)
        and not any(NUMBER.fullmatch(name) for name in names)
    )


def _excel(data: bytes, path: Path) -> tuple[Lines, list[str]]:
    """Rows of the one sheet of a workbook that holds anything."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            n_bytes = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        _refuse(path, f"this begins like an Excel workbook but is damaged ({error}); save it again")
    if not any(name.startswith("xl/") for name in names):
        kind = "NumPy arrays" if any(name.endswith(".npy") for name in names) else "an archive"
        kind = "an OpenDocument file" if "mimetype" in names else kind
        _refuse(path, f"this is {kind}, not an Excel workbook; save the table as .xlsx or as CSV")
    if n_bytes > MAX_UNPACKED_BYTES:
        _refuse(path, f"the workbook unpacks to {n_bytes:,} bytes; save the table as CSV")
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = {}
        for sheet in book.worksheets:
            if sheet.sheet_state == "visible":
                sheet.reset_dimensions()  # some programs write them wrongly, and rows would be lost
                sheets[sheet.title] = _rows(sheet.iter_rows(values_only=True))
    except Exception as error:  # noqa: BLE001 - a damaged workbook raises whatever its XML makes of it
        _refuse(path, f"cannot be read as an Excel workbook ({type(error).__name__}); save the table as CSV")
    filled = {title: rows for title, rows in sheets.items() if any(any(cells) for _, cells in rows)}
    if len(filled) > 1:
        _refuse(
            path,
            f"{len(filled)} sheets hold something: {listed(list(filled))}; keep one, or save the one that is "
            "meant as CSV",
        )
    return next(iter(filled.values()), []), [t("the file is an Excel workbook")]


def _parquet(data: bytes, path: Path) -> tuple[Lines, list[str]]:
    """Rows of a Parquet file; an index of pandas that has no name comes back as a column without one."""
    try:
        from pyarrow import parquet
    except ImportError:
        _refuse(
            path,
            "reading Parquet needs pyarrow, which is not installed: python -m pip install pyarrow; or "
            + WRITE_CSV,
        )
    try:
        table = parquet.read_table(io.BytesIO(data))
        # pandas puts an index without a name last; as CSV it would be first.
        names = sorted(table.column_names, key=lambda name: INDEX.fullmatch(name) is None)
        header = ["" if INDEX.fullmatch(name) else name for name in names]
        rows = _rows([header, *zip(*(table[name].to_pylist() for name in names), strict=True)])
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever pyarrow makes of it
        _refuse(path, f"cannot be read as Parquet ({type(error).__name__}); {WRITE_CSV}")
    return rows, [t("the file is a Parquet file")]


def _rows(rows: Iterable[Sequence[Any]]) -> Lines:
    """Rows of typed cells as text, as wide as the widest cell in use."""
    lines = [(number, [_cell(value) for value in cells]) for number, cells in enumerate(rows, 1)]
    width = max((i + 1 for _, cells in lines for i, cell in enumerate(cells) if cell), default=0)
    if width * len(lines) > MAX_CELLS:
        msg = f"{len(lines):,} rows of {width:,} columns"
        raise ValueError(msg)
    return [(number, (cells + [""] * width)[:width]) for number, cells in lines]


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever a cell may hold
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dt.datetime) and not (value.hour or value.minute or value.second):
        return value.date().isoformat()
    return str(value).strip()
