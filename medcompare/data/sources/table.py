"""Images named by a table, one row per image: ``path,label`` and optionally ``patient_id``, however it calls them."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name, file_at, real_name, shown
from medcompare.base.language import t, tn
from medcompare.data.columns import listed as listed_names
from medcompare.data.published import column_of_split, subset_of
from medcompare.data.records import ORIGINAL, PUBLISHED
from medcompare.data.sources.folder import one_file
from medcompare.data.sources.listing import (
    IMAGE_SUFFIXES,
    TABLE_SUFFIXES,
    Listing,
    SourceFile,
    clean_name,
)
from medcompare.data.sources.places import Places, is_absolute
from medcompare.data.sources.roles import (
    PATIENT,
    group_columns,
    joined,
    label_column,
    path_column,
    refusal,
    without_label,
)
from medcompare.data.spelling import respelled
from medcompare.data.table_file import read_table_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from medcompare.base.record import Subset
    from medcompare.config.data import DataConfig
    from medcompare.data.columns import Columns

MANIFEST_NAME = "manifest.csv"
GENERIC_NAMES = frozenset({"manifest", "index", "labels", "metadata"})
DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
OWN_COLUMNS = frozenset(
    {
        "case_id",
        "sha256",
        "pixel_sha256",
        "width_px",
        "height_px",
        "mode",
        "grey_range",
        "subset",
        PUBLISHED,
        ORIGINAL,
        "y_true",
        "probability",
        "probability_running",
    }
)
"""Columns that later tables add: a manifest must not bring its own."""

ABOUT_LABELS = re.compile(
    r"(?<![^\W_])(?:labels?|metadata|meta|annotations?|list|groundtruth|gt|df)(?![^\W_])", re.IGNORECASE
)
"""Words in the name of a table that say what it holds rather than of which images."""

N_NAMED = 3
"""How many missing files an error message names."""


def accepts(place: Path) -> bool:
    """A file, or a folder that holds a ``manifest.csv`` or a table per subset: it says more than sub-folders do."""
    return is_one(place) or _of_one_form(_tables_of_subsets(place))


def is_one(place: Path) -> bool:
    """A file, or a folder that holds a ``manifest.csv``."""
    return place.is_file() or (place / MANIFEST_NAME).is_file()


def name_of(place: Path) -> str:
    """The name of the file, or of its folder where the file's says nothing."""
    path = place.absolute()
    return clean_name(path.parent.name if path.stem.lower() in GENERIC_NAMES else path.stem)


def listed(place: Path, data: DataConfig) -> Listing:
    """Every row; no image is opened.

    A folder may have one table per subset of a published split, with the same columns. A table has a header, in any
    form `read_table_file` reads. Its columns are those that `data` names, or recognised
    (`medcompare.data.sources.roles`); others are kept. Every cell stays text, as a patient ``007`` is not patient
    ``7``. Paths are absolute or relative to ``data.image_root``, else to the folder of the table.

    Raises
    ------
    DataError
        If the file is no table, a column is missing or reserved, a value that must be there is empty, an image
        is named twice, or a file is missing. The message names file, column, row and remedy.
    """
    subsets = {} if is_one(place) else _tables_of_subsets(place)
    if not subsets:
        listing, paths = _read(place, data)
        name = place.name if place.is_file() else MANIFEST_NAME
        return replace(listing, notes=(*listing.notes, *_unlisted(name, listing.root, paths)))
    parts = {path: _read(path, data) for path in subsets}
    named: dict[str, Path] = {}
    for path, (_, paths) in parts.items():
        for name in sorted(named.keys() & paths):
            msg = f"{path}: '{name}' is also in {named[name].name}; remove one of the two rows"
            raise DataError(msg)
        named.update(dict.fromkeys(paths, path))
    listings = [listing for listing, _ in parts.values()]
    if len({(one.extra_columns, one.has_patients, one.positive) for one in listings}) > 1:
        msg = f"{place}: {listed_names([path.name for path in parts])} were not read alike. Join them into one table"
        raise DataError(msg)
    followed = t(
        "The folder holds {tables}, one table per subset: followed.",
        tables=listed_names([path.name for path in parts]),
    )
    notes = dict.fromkeys(note for one in listings for note in one.notes)
    return replace(
        listings[0],
        name=clean_name(place.absolute().name),
        files=tuple(
            replace(file, published=file.published or subsets[path])
            for path, (listing, _) in parts.items()
            for file in listing.files
        ),
        notes=(followed, *notes, *_unlisted(t("these"), listings[0].root, set(named))),
    )


def _tables_of_subsets(folder: Path) -> dict[Path, Subset]:
    """The tables named after the subsets of a published split; empty unless one each of at least two."""
    found: dict[Path, Subset] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        subset = (
            subset_of(ABOUT_LABELS.sub(" ", path.stem)) if path.suffix.lower() in TABLE_SUFFIXES else None
        )
        if subset is not None:
            found[path] = subset
    return found if len(set(found.values())) == len(found) > 1 else {}


def _of_one_form(tables: Iterable[Path]) -> bool:
    """Whether all have the same columns: a ``test.csv`` without labels is no part beside a ``train.csv`` with them."""
    try:
        headers = {frozenset(read_table_file(path, expected="one row per image").columns) for path in tables}
    except DataError:
        return False
    return len(headers) == 1


def _read(place: Path, data: DataConfig) -> tuple[Listing, set[str]]:
    """One table, and the paths of all its rows, also of those without a label."""
    table, places, followed = _opened(place, data)
    path, root = table.path, places.root
    names = path_column(table, places, data)
    of_split = column_of_split(table.columns)
    taken = [name for name in (names, of_split) if name is not None]
    labels, positive, of_label = label_column(table, taken, data)
    groups, repeating = group_columns(table, [*taken, *of_label], data)
    used = {*taken, *of_label, *groups}
    reserved = sorted(OWN_COLUMNS.intersection(table.columns) - used)
    if reserved:
        table.refuse(f"the column name '{reserved[0]}' is reserved for results; rename it")
    table.filled(names, "fill it in, or delete the row")
    patients = _patients(table, groups)
    left_out = set(without_label(table, labels, data))
    paths = _paths(table, names, places, data)
    extra = tuple(name for name in table.columns if name not in used)
    for name in extra:
        _point_for_comma(table, name)
    files = [
        SourceFile(
            path=paths[i],
            label=shown(label),
            patient_id=None if patients is None else patients[i],
            extra=tuple(shown(table.columns[name][i]) for name in extra),
            published=None if of_split is None else subset_of(table.columns[of_split][i]),
        )
        for i, label in enumerate(labels)
        if i not in left_out
    ]
    # One sentence: page one of the report has room for few.
    said = "; ".join(note.rstrip(".") for note in table.notes)
    notes = [t("Table of images: {notes}.", notes=said)] if said else []
    if of_split is not None:
        notes.append(
            t(
                "Column {column} of {table} says which subset each image is in.",
                column=of_split,
                table=path.name,
            )
        )
    if table.nameless:
        notes.append(t("A column of {table} without a name was ignored.", table=path.name))
    listing = Listing(
        root=root,
        name=name_of(path),
        files=tuple(files),
        positive=positive,
        repeating=repeating,
        extra_columns=tuple(map(shown, extra)),
        has_patients=patients is not None,
        notes=(*followed, *notes, *_about_groups(groups, patients)),
    )
    return listing, set(paths)


def listed_without_labels(place: Path, data: DataConfig) -> Listing:
    """As `listed`, but no column needs to name a class, and none is asked about.

    Raises
    ------
    DataError
        If the file is no table, no column names the images, or a file is missing.
    """
    table, places, followed = _opened(place, data)
    names = path_column(table, places, data)
    groups, _ = group_columns(table, [names], data)
    table.filled(names, "fill it in, or delete the row")
    patients = _patients(table, groups)
    files = [
        SourceFile(path=path, label="", patient_id=None if patients is None else patients[i])
        for i, path in enumerate(_paths(table, names, places, data))
    ]
    return Listing(
        root=places.root,
        name=name_of(table.path),
        files=tuple(files),
        has_patients=patients is not None,
        notes=followed,
    )


def _opened(place: Path, data: DataConfig) -> tuple[Columns, Places, tuple[str, ...]]:
    """The table at `place`, where its images are looked for, and whether a folder was followed to it."""
    followed: tuple[str, ...] = ()
    path = place
    if place.is_dir():
        path = place / MANIFEST_NAME
        followed = (
            t(
                "The folder holds {table}, which says what its images are: it was followed.",
                table=MANIFEST_NAME,
            ),
        )
    if path.suffix.lower() not in TABLE_SUFFIXES:
        msg = f"{path} {one_file(path, data)}"
        raise DataError(msg)
    table = read_table_file(path, expected="the columns path,label and one row per image")
    root = path.absolute().parent
    if data.image_root is not None:
        root = Path(real_name(data.image_root)).expanduser().absolute()
        if not root.is_dir():
            table.refuse(f"no such folder: {data.image_root}. Correct --image-root")
    return table, Places(root), followed


def _patients(table: Columns, groups: Sequence[str]) -> list[str] | None:
    remedy = (
        "give every image a patient (one of its own where the patient is not known), or remove the column"
    )
    return joined([table.ids(name, remedy) for name in groups]) if groups else None


def _paths(table: Columns, column: str, places: Places, data: DataConfig) -> list[str]:
    """Path of the image of each row, relative to the root."""
    found = [places.find(text) for text in table.columns[column]]
    for row, text, place in zip(table.rows, table.columns[column], found, strict=True):
        if len(place.paths) > 1:
            what = (
                f"column '{column}', row {row}: '{text}' is the name of several files: {listed_names(place.paths)}; "
                "write it with folder and ending, or name the folder that is meant"
            )
            raise refusal(table, what, data, image_root=str(file_at(places.root, place.paths[0]).parent))
    missing = [
        (row, text) for (row, text), place in zip(table.cells(column), found, strict=True) if not place.paths
    ]
    if missing:
        named = "; ".join(f"row {row}: {text}" for row, text in missing[:N_NAMED])
        more = f" and {len(missing) - N_NAMED} more" if len(missing) > N_NAMED else ""
        elsewhere = "made on another machine; " if is_absolute(missing[0][1]) else ""
        what = (
            f"{len(missing)} of {len(table.rows)} files do not exist: {named}{more}; {elsewhere}these files were not "
            f"found below {places.root}; paths are relative to "
            + ("the folder of the manifest" if data.image_root is None else "--image-root")
        )
        raise refusal(table, what, data, image_root=data.image_root or "FOLDER_OF_THE_IMAGES")
    paths = [place.paths[0] for place in found]
    seen: dict[str, int] = {}
    for row, path in zip(table.rows, paths, strict=True):
        if path in seen:
            table.refuse_cell(
                column, row, f": '{path}' is also in row {seen[path]}; remove one of the two rows"
            )
        seen[path] = row
    table.notes.extend(places.notes(Counter(place.how for place in found)))
    return paths


def _point_for_comma(table: Columns, column: str) -> None:
    """Write the numbers of a column with a decimal point where all have a comma or are whole."""
    cells = [cell for cell in table.columns[column] if cell]
    if any("," in cell for cell in cells) and all(DECIMAL_COMMA.fullmatch(cell) for cell in cells):
        table.columns[column] = [cell.replace(",", ".") for cell in table.columns[column]]
        table.notes.append(t("numbers of column {column} have a decimal comma: read as such.", column=column))


def _about_groups(groups: Sequence[str], patients: Sequence[str] | None) -> list[str]:
    notes = []
    if patients is not None and list(groups) != [PATIENT]:
        notes.append(
            t(
                "Images with the same {columns} stay in one subset; the report calls such a group a patient.",
                columns=t(" or ").join(groups),
            )
        )
    n = respelled(patients or [])
    if n:
        notes.append(
            tn(
                "One patient seems to be in the table of images under several spellings (capitals, blanks, leading "
                "zeros or a final '.0'). Each spelling counts as a patient of its own, so one person may be on both "
                "sides of the split: correct the ids.",
                "{n:,} patients seem to be in the table of images under several spellings (capitals, blanks, leading "
                "zeros or a final '.0'). Each spelling counts as a patient of its own, so one person may be on both "
                "sides of the split: correct the ids.",
                n,
            )
        )
    return notes


def _unlisted(table: str, root: Path, listed: set[str]) -> list[str]:
    """A sentence about image files beside those that are named."""
    n = sum(
        1
        for folder in sorted({file_at(root, name).parent for name in listed})
        for found in folder.iterdir()
        if found.suffix.lower() in IMAGE_SUFFIXES
        and not found.name.startswith(".")
        and escape_name(Path(os.path.relpath(found, root)).as_posix()) not in listed
    )
    said = tn(
        "{n} image file beside {table} not named there: ignored.",
        "{n:,} image files beside {table} not named there: ignored.",
        n,
        table=table,
    )
    return [said] if n else []
