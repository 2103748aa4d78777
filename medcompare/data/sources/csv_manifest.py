"""Reading the user's CSV manifest: columns, rows and paths, each fault with its row.

Every value stays text: nothing is taken for a number, a date or a missing value, because
a patient ``007`` is not patient ``7``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name, file_at
from medcompare.data.spelling import NO_VALUE, fault_of_id, respelled
from medcompare.data.table_file import read_table_file

if TYPE_CHECKING:
    from collections.abc import Callable

REQUIRED_COLUMNS = ("path", "label")
PATIENT_COLUMN = "patient_id"
OWN_COLUMNS = frozenset(
    {
        "case_id",
        "sha256",
        "pixel_sha256",
        "width_px",
        "height_px",
        "mode",
        "subset",
        "y_true",
        "probability",
        "probability_running",
    }
)
"""Columns that later tables add: a manifest must not bring its own."""

N_NAMED = 3
"""How many faulty rows an error message names."""


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """One row; ``path`` is relative to the manifest's folder, with forward slashes."""

    number: int
    path: str
    label: str
    patient_id: str | None
    extra: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ManifestRows:
    """All rows, in file order."""

    rows: tuple[ManifestRow, ...]
    extra_columns: tuple[str, ...]
    has_patients: bool
    notes: tuple[str, ...]


def read_manifest_rows(path: Path) -> ManifestRows:
    """Read and check a manifest, without opening any image.

    Parameters
    ----------
    path : Path
        Table with a header, in any form `read_table_file` reads. Columns ``path`` and
        ``label``; optionally ``patient_id``; any others are kept. Paths are absolute or
        relative to the folder of the manifest.

    Returns
    -------
    ManifestRows
        Rows numbered as a spreadsheet shows them: the header is row 1.

    Raises
    ------
    DataError
        If a column is missing, twice there or reserved, a row has too few or too many
        values, a value that must be there is empty, a path is named twice, or a file is
        missing. The message names file, row and remedy.
    """
    table = read_table_file(path, expected="the columns path,label and one row per image")
    header = table.header
    _check_header(header, path)
    extra_positions = [
        i for i, name in enumerate(header) if name and name not in {*REQUIRED_COLUMNS, PATIENT_COLUMN}
    ]
    has_patients = PATIENT_COLUMN in header
    rows = []
    for number, values in table.rows:
        named = dict(zip(header, values, strict=True))
        rows.append(
            ManifestRow(
                number=number,
                path=_relative(named["path"], path.absolute().parent),
                label=named["label"],
                patient_id=named[PATIENT_COLUMN] if has_patients else None,
                extra=tuple(values[i] for i in extra_positions),
            )
        )
    if not rows:
        msg = f"{path} has a header but no rows. Add one row per image."
        raise DataError(msg)
    _check_rows(rows, path, has_patients=has_patients)
    notes = [f"Table of images: {note}." for note in table.notes]
    if "" in header:
        notes.append(f"A column of {path.name} without a name was ignored.")
    n = respelled(row.patient_id for row in rows if row.patient_id is not None)
    if n:
        notes.append(
            f"{'One patient seems' if n == 1 else f'{n} patients seem'} to stand in the table of images under several "
            "spellings (capitals, blanks, leading zeros or a final '.0'). Each spelling counts as a patient of its "
            "own, so one person may be on both sides of the split: correct the ids."
        )
    return ManifestRows(
        rows=tuple(rows),
        extra_columns=tuple(header[i] for i in extra_positions),
        has_patients=has_patients,
        notes=tuple(notes),
    )


def _check_header(header: tuple[str, ...], path: Path) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        msg = (
            f"{path} has no column '{missing[0]}'. Columns present: {', '.join(header)}. "
            "Expected path,label and optionally patient_id."
        )
        raise DataError(msg)
    reserved = sorted(OWN_COLUMNS.intersection(header))
    if reserved:
        msg = f"{path}: the column name '{reserved[0]}' is reserved for results. Rename it."
        raise DataError(msg)


def _check_rows(rows: list[ManifestRow], path: Path, *, has_patients: bool) -> None:
    faults: dict[str, Callable[[str], str | None]] = {
        "path": lambda text: None if text else " is empty",
        "label": lambda text: fault_of_id(text) if not text or text.casefold() in NO_VALUE else None,
    }
    if has_patients:
        faults[PATIENT_COLUMN] = fault_of_id
    for field, fault_of in faults.items():
        found = {row.number: what for row in rows if (what := fault_of(getattr(row, field))) is not None}
        if found:
            remedy = (
                "Give every image a patient (one of its own where the patient is not known), or remove the column."
                if field == PATIENT_COLUMN
                else "Fill them in."
            )
            what = next(iter(found.values()))
            msg = f"{path}: '{field}'{what}, in {_rows(list(found))}. {remedy}"
            raise DataError(msg)
    first_row: dict[str, int] = {}
    for row in rows:
        if row.path in first_row:
            msg = f"{path}: rows {first_row[row.path]} and {row.number} name the same file {row.path}. Remove one."
            raise DataError(msg)
        first_row[row.path] = row.number
    # What is there but no regular file, such as a pipe, is excluded with its reason when it is read.
    missing = [row for row in rows if not file_at(path.absolute().parent, row.path).exists()]
    if missing:
        named = "; ".join(f"row {row.number}: {row.path}" for row in missing[:N_NAMED])
        more = f" and {len(missing) - N_NAMED} more" if len(missing) > N_NAMED else ""
        msg = (
            f"{path} names {len(missing)} of {len(rows)} files that do not exist: {named}{more}. "
            "Paths are relative to the folder of the manifest."
        )
        raise DataError(msg)


def _rows(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:N_NAMED])
    more = f" and {len(numbers) - N_NAMED} more" if len(numbers) > N_NAMED else ""
    return f"row {shown}" if len(numbers) == 1 else f"rows {shown}{more}"


def _relative(text: str, root: Path) -> str:
    """`text` as a path relative to `root`, so that two spellings of one file are equal."""
    if not text:
        return ""
    # A manifest written on Windows should work elsewhere. A backslash may also begin an escape.
    written = file_at(root, text)
    if not written.exists():
        written = root / text.replace("\\", "/")
    return escape_name(Path(os.path.relpath(written, root)).as_posix())
