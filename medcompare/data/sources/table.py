"""Images named by a table, one row per image: ``path,label`` and optionally ``patient_id``."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name, file_at
from medcompare.data.published import column_of_split, subset_of
from medcompare.data.records import ORIGINAL, PUBLISHED
from medcompare.data.sources.listing import IMAGE_SUFFIXES, Listing, SourceFile, clean_name, count
from medcompare.data.spelling import respelled
from medcompare.data.table_file import read_table_file

if TYPE_CHECKING:
    from medcompare.data.columns import Columns

MANIFEST_NAME = "manifest.csv"
SUFFIXES = frozenset({".csv", ".parquet", ".tsv", ".txt", ".xlsx"})
GENERIC_NAMES = frozenset({"manifest", "index", "labels", "metadata"})
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
        PUBLISHED,
        ORIGINAL,
        "y_true",
        "probability",
        "probability_running",
    }
)
"""Columns that later tables add: a manifest must not bring its own."""

N_NAMED = 3
"""How many missing files an error message names."""


def accepts(place: Path) -> bool:
    """A file, or a folder that holds a ``manifest.csv``: it says more than sub-folders do."""
    return place.is_file() or (place / MANIFEST_NAME).is_file()


def name_of(place: Path) -> str:
    """The name of the file, or of its folder where the file's says nothing."""
    path = place.absolute()
    return clean_name(path.parent.name if path.stem.lower() in GENERIC_NAMES else path.stem)


def listed(place: Path) -> Listing:
    """Every row; no image is opened.

    The table has a header, in any form `read_table_file` reads: columns ``path`` and ``label``, optionally
    ``patient_id``; any others are kept. Every cell stays text, as a patient ``007`` is not patient ``7``.
    Paths are absolute or relative to the folder of the table.

    Raises
    ------
    DataError
        If the file is no table, a column is missing or reserved, a value that must be there is empty, a path
        is named twice, or a file is missing. The message names file, column, row and remedy.
    """
    notes: tuple[str, ...] = ()
    path = place
    if place.is_dir():
        path = place / MANIFEST_NAME
        notes = (f"The folder holds {MANIFEST_NAME}, which says what its images are: it was followed.",)
    if path.suffix.lower() not in SUFFIXES:
        msg = (
            f"{path} is a file, but not a CSV manifest. Give a folder with one sub-folder per class, "
            "or a CSV file with the columns path,label."
        )
        raise DataError(msg)
    root = path.absolute().parent
    table = _read(path)
    of_split = column_of_split(table.columns)
    if of_split is not None:
        notes = (*notes, f"Column {of_split} of {path.name} says which subset each image is in.")
    extra = tuple(name for name in table.columns if name not in {*REQUIRED_COLUMNS, PATIENT_COLUMN, of_split})
    rows = (
        dict(zip(table.columns, cells, strict=True)) for cells in zip(*table.columns.values(), strict=True)
    )
    files = [
        SourceFile(
            path=row["path"],
            label=row["label"],
            patient_id=row.get(PATIENT_COLUMN),
            extra=tuple(row[name] for name in extra),
            published=None if of_split is None else subset_of(row[of_split]),
        )
        for row in rows
    ]
    listed = {file.path for file in files}
    unlisted = sum(
        1
        for folder in sorted({file_at(root, path).parent for path in listed})
        for found in folder.iterdir()
        if found.suffix.lower() in IMAGE_SUFFIXES
        and not found.name.startswith(".")
        and escape_name(Path(os.path.relpath(found, root)).as_posix()) not in listed
    )
    more = (
        (f"{count(unlisted, 'image file')} beside {path.name} not named in it: ignored.",) if unlisted else ()
    )
    return Listing(
        root=root,
        name=name_of(path),
        files=tuple(files),
        extra_columns=extra,
        has_patients=PATIENT_COLUMN in table.columns,
        notes=(*notes, *table.notes, *more),
    )


def _read(path: Path) -> Columns:
    """The checked table; cells of ``path`` are then relative to its folder, with forward slashes."""
    table = read_table_file(path, expected="the columns path,label and one row per image")
    root = path.absolute().parent
    for column in REQUIRED_COLUMNS:
        table.require(column)
        table.filled(column, "fill it in, or delete the row")
    reserved = sorted(OWN_COLUMNS.intersection(table.columns) - {column_of_split(table.columns)})
    if reserved:
        table.refuse(f"the column name '{reserved[0]}' is reserved for results; rename it")
    patients: list[str] = []
    if PATIENT_COLUMN in table.columns:
        remedy = (
            "give every image a patient (one of its own where the patient is not known), or remove the column"
        )
        patients = table.ids(PATIENT_COLUMN, remedy)
    table.columns["path"] = [_relative(text, root) for text in table.columns["path"]]
    table.unique("path", "remove one of the two rows")
    # What is there but no regular file, such as a pipe, is excluded with its reason when it is read.
    missing = [f"row {row}: {text}" for row, text in table.cells("path") if not _exists(file_at(root, text))]
    if missing:
        named = "; ".join(missing[:N_NAMED])
        more = f" and {len(missing) - N_NAMED} more" if len(missing) > N_NAMED else ""
        table.refuse(
            f"{len(missing)} of {len(table.rows)} files do not exist: {named}{more}; paths are relative to the "
            "folder of the manifest"
        )
    table.notes[:] = [f"Table of images: {note}." for note in table.notes]
    if table.nameless:
        table.notes.append(f"A column of {path.name} without a name was ignored.")
    n = respelled(patients)
    if n:
        table.notes.append(
            f"{'One patient seems' if n == 1 else f'{n} patients seem'} to be in the table of images under several "
            "spellings (capitals, blanks, leading zeros or a final '.0'). Each spelling counts as a patient of its "
            "own, so one person may be on both sides of the split: correct the ids."
        )
    return table


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # a cell that is no name of a file
            return False
        raise


def _relative(text: str, root: Path) -> str:
    """`text` as a path relative to `root`, so that two spellings of one file are equal."""
    # A manifest written on Windows should work elsewhere. A backslash may also begin an escape.
    written = file_at(root, text)
    if not _exists(written):
        written = root / text.replace("\\", "/")
    return escape_name(Path(os.path.relpath(written, root)).as_posix())
