"""Images named by a table, one row per image: ``path,label`` and optionally ``patient_id``."""

from __future__ import annotations

import os
from pathlib import Path

from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name, file_at
from medcompare.data.sources.csv_manifest import read_manifest_rows
from medcompare.data.sources.listing import IMAGE_SUFFIXES, Listing, SourceFile, clean_name, count

MANIFEST_NAME = "manifest.csv"
SUFFIXES = frozenset({".csv", ".parquet", ".tsv", ".txt", ".xlsx"})
GENERIC_NAMES = frozenset({"manifest", "index", "labels", "metadata"})


def accepts(place: Path) -> bool:
    """A file, or a folder that holds a ``manifest.csv``: it says more than sub-folders do."""
    return place.is_file() or (place / MANIFEST_NAME).is_file()


def name_of(place: Path) -> str:
    """The name of the file, or of its folder where the file's says nothing."""
    path = place.absolute()
    return clean_name(path.parent.name if path.stem.lower() in GENERIC_NAMES else path.stem)


def listed(place: Path) -> Listing:
    """Every row.

    Raises
    ------
    DataError
        If the file is no table, or as `read_manifest_rows` raises.
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
    manifest = read_manifest_rows(path)
    files = [
        SourceFile(path=row.path, label=row.label, patient_id=row.patient_id, extra=row.extra)
        for row in manifest.rows
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
        extra_columns=manifest.extra_columns,
        has_patients=manifest.has_patients,
        notes=(*notes, *manifest.notes, *more),
    )
