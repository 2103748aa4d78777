"""Images in a folder with one sub-folder per class, also within the folders of a published split."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name
from medcompare.base.language import in_language, message, t, tn
from medcompare.data.columns import listed as listed_names
from medcompare.data.dicom import NUMBERED, is_dicom_file
from medcompare.data.disguises import FOREIGN, is_image_file, what_it_is
from medcompare.data.published import subset_of, subsets_of
from medcompare.data.reading import open_regular
from medcompare.data.sources.command import command
from medcompare.data.sources.listing import (
    IMAGE_SUFFIXES,
    TABLE_SUFFIXES,
    Listing,
    SourceFile,
    clean_name,
    count,
)
from medcompare.data.sources.patients import MIN_PATIENTS
from medcompare.data.spelling import likely_positive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medcompare.base.record import Subset
    from medcompare.config.data import DataConfig

LABEL_FILES = frozenset({".json", ".jsonl", ".xml", ".yaml", ".yml", ".txt"})
"""Files that may say what the images show, in a form that is not read."""

NO_ENDING = message("no ending")
OUTSIDE = ""
"""Stands for the place of images that are in no folder of a class."""

OWNER = "folder"
"""Column of what has folders of classes in it."""

MAX_CLASSES = 20
"""More names than so many are no classes."""

_JUNK_FOLDERS = frozenset({"__macosx", "$recycle.bin"})
_JUNK_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})


def accepts(place: Path) -> bool:
    """Any folder."""
    return place.is_dir()


def name_of(place: Path) -> str:
    """The folder's own name."""
    return clean_name(place.absolute().name)


def listed(place: Path, data: DataConfig) -> Listing:
    """Every image file in a sub-folder, which is its label.

    Raises
    ------
    DataError
        If there is no image in a sub-folder.
    """
    root = place.absolute()
    found, other_endings, strange = _sorted_out(root)
    layout = _layout([path.parts[:-1] for path in found])
    files: list[SourceFile] = []
    ignored: Counter[str] = Counter()
    for path in found:
        folders = path.parts[:-1]
        if len(folders) <= layout.of_class:
            ignored[OUTSIDE] += 1
        elif layout.subsets and folders[layout.of_subset] not in layout.subsets:
            ignored[escape_name(folders[layout.of_subset])] += 1
        else:
            owner = escape_name(folders[layout.of_owner]) if layout.of_owner is not None else None
            files.append(
                SourceFile(
                    path=escape_name(path.as_posix()),
                    label=escape_name(folders[layout.of_class]),
                    published=layout.subsets[folders[layout.of_subset]] if layout.subsets else None,
                    patient_id=owner if layout.owners_are_patients else None,
                    extra=() if owner is None or layout.owners_are_patients else (owner,),
                )
            )
    if not files:
        remedies = "".join(f" {sentence}" for sentence in what_to_do(strange))
        with in_language("en"):
            msg = (
                _no_images(root, layout, len(found), _endings(strange))
                + remedies
                + hint_at_tables(root, data)
            )
        raise DataError(msg)
    empty = () if layout.of_class else _without_images(root, {file.label for file in files})
    notes = _note_on_endings(other_endings)
    if layout.around:
        notes.append(
            t(
                "All images are in {folder}: the folders in it were taken as those of {name}.",
                folder=layout.around,
                name=name_of(root),
            )
        )
    if layout.of_owner is not None:
        notes.append(_note_on_owners({file.patient_id or file.extra[0] for file in files}, layout))
    if strange:
        notes.append(
            tn(
                "{n} file not an image by name ({endings}): ignored.",
                "{n:,} files not an image by name ({endings}): ignored.",
                strange.total(),
                endings=_endings(strange),
            )
        )
        notes += foreign(strange)
    notes += [_note_on_ignored(part, n) for part, n in sorted(ignored.items())]
    if empty:
        notes.append(t("Sub-folders without images: {folders}.", folders=", ".join(empty)))
    return Listing(
        root=root,
        name=name_of(root),
        files=tuple(files),
        extra_columns=() if layout.of_owner is None or layout.owners_are_patients else (OWNER,),
        has_patients=layout.owners_are_patients,
        empty=empty,
        notes=tuple(notes),
    )


def listed_without_labels(place: Path, _: DataConfig) -> Listing:
    """Every image file below a folder, or the one at `place`, whatever folder it is in.

    Raises
    ------
    DataError
        If there is none.
    """
    root, found, other_endings, strange = (
        place.absolute().parent,
        [Path(place.name)],
        Counter[str](),
        Counter[str](),
    )
    if place.is_dir():
        root = place.absolute()
        found, other_endings, strange = _sorted_out(root)
    if not found:
        kinds = ", ".join(f"{n} {escape_name(suffix)}" for suffix, n in strange.most_common(5))
        msg = f"{root} holds no images" + (f"; files of other kinds: {kinds}" if kinds else "")
        raise DataError(" ".join([f"{msg}.", *what_to_do(strange)]))
    return Listing(
        root=root,
        name=name_of(root),
        files=tuple(SourceFile(path=escape_name(path.as_posix()), label="") for path in found),
        notes=(*_note_on_endings(other_endings), *foreign(strange)),
    )


def foreign(strange: Counter[str]) -> list[str]:
    """What files of known other kinds are, and what to do about them."""
    found = []
    for endings, what in FOREIGN.items():
        n = sum(strange[ending] for ending in endings)
        if n:
            found.append(
                tn(
                    "{n} file of a kind that is not read: {what}.",
                    "{n:,} files of a kind that is not read: {what}.",
                    n,
                    what=t(what),
                )
            )
    return found


what_to_do = in_language("en")(foreign)
"""`foreign` for errors."""


def _sorted_out(root: Path) -> tuple[list[Path], Counter[str], Counter[str]]:
    """(images, endings of images that have no usual one, endings of other files)."""
    found: list[Path] = []
    other_endings: Counter[str] = Counter()
    strange: Counter[str] = Counter()
    for path in walk(root):
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES or (NUMBERED.fullmatch(path.suffix) and is_dicom_file(path)):
            found.append(path.relative_to(root))
        elif not any(suffix in endings for endings in FOREIGN) and is_image_file(path):
            found.append(path.relative_to(root))
            other_endings[suffix or NO_ENDING] += 1
        else:
            strange[suffix or NO_ENDING] += 1
    return found, other_endings, strange


def _note_on_endings(other_endings: Counter[str]) -> list[str]:
    if not other_endings:
        return []
    return [
        tn(
            "{n} image of other endings ({endings}): used.",
            "{n:,} images of other endings ({endings}): used.",
            other_endings.total(),
            endings=_endings(other_endings),
        )
    ]


def _endings(found: Counter[str]) -> str:
    return ", ".join(
        f"{n} {t(NO_ENDING) if suffix == NO_ENDING else escape_name(suffix)}"
        for suffix, n in found.most_common(5)
    )


def _note_on_ignored(part: str, n: int) -> str:
    if part == OUTSIDE:
        return tn(
            "{n} image outside the class folders: ignored.",
            "{n:,} images outside the class folders: ignored.",
            n,
        )
    return tn(
        "{n} image in {folder}, which is no part of the split: ignored.",
        "{n:,} images in {folder}, which is no part of the split: ignored.",
        n,
        folder=part,
    )


def _note_on_owners(names: set[str], layout: _Layout) -> str:
    if layout.owners_are_patients:  # whose ids stay out of the report
        return t(
            "The folders of the classes lie in {n} numbered ones: these were taken as patients, whose images stay "
            "together.",
            n=len(names),
        )
    return t(
        "The folders of the classes lie in others ({folders}): these were taken as the column {column}; one of them "
        "can be held out with --hold-out {column}=NAME.",
        folders=listed_names(sorted(names)),
        column=OWNER,
    )


def _no_images(root: Path, layout: _Layout, n_loose: int, strange: str) -> str:
    msg = f"{root} holds no images in sub-folders"
    if layout.subsets:
        msg = (
            f"{root} is split into {', '.join(sorted(layout.subsets))}, but these hold no folders of classes"
        )
    elif n_loose:
        msg += f" ({count(n_loose, 'image')} directly in it: move them into one sub-folder per class)"
    if strange:
        msg += f"; files of other kinds: {strange}"
    return (
        f"{msg}. Expected one sub-folder per class with files ending in {', '.join(sorted(IMAGE_SUFFIXES))}."
    )


def hint_at_tables(root: Path, data: DataConfig) -> str:
    """The command for a table of images in the folder, as a line to add; empty where there is none."""
    files = sorted(path for path in root.glob("*") if not is_junk(path.name))
    tables = [path for path in files if path.suffix.lower() in TABLE_SUFFIXES - {".txt"}]
    if not tables:
        labels = [escape_name(path.name) for path in files if path.suffix.lower() in LABEL_FILES]
        said = f"; labels in another form ({', '.join(labels[:3])}) are not read" if labels else ""
        return f" Labels elsewhere? Write them into a table with the columns path,label{said}."
    tables.sort(key=lambda path: subset_of(path.stem) == "test")  # what is to be tested is no training set
    there = data.model_copy(update={"source": escape_name(str(tables[0]))})
    return f"\nTables in it: {', '.join(escape_name(path.name) for path in tables[:5])}. Try: {command(there, None)}"


def _without_images(root: Path, labels: set[str]) -> tuple[str, ...]:
    names = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and not _is_junk_folder(entry.name)
    )
    return tuple(escape_name(name) for name in names if escape_name(name) not in labels)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Which folder of a path says what."""

    subsets: dict[str, Subset]
    """Names of folders that are parts of a published split; empty: there is none."""
    of_subset: int
    of_class: int
    """Depth of the folder of the subset and of that of the class."""
    around: str
    """Folder around all others, as many archives have it."""
    of_owner: int | None = None
    """Depth of the folder that has folders of classes in it, as a patient or a hospital has."""
    owners_are_patients: bool = False


def _layout(folders: list[tuple[str, ...]]) -> _Layout:
    level = 0
    while all(len(parts) > level + 1 for parts in folders) and len({parts[level] for parts in folders}) == 1:
        level += 1
    around = escape_name("/".join(folders[0][:level])) if folders else ""
    first, second = ({parts[k] for parts in folders if len(parts) > k} for k in (level, level + 1))
    if subsets := subsets_of(first):
        return _within_owners(
            folders, _Layout(subsets=subsets, of_subset=level, of_class=level + 1, around=around)
        )
    subsets = subsets_of(second)
    if subsets and subsets.keys() == second:
        return _Layout(subsets=subsets, of_subset=level + 1, of_class=level, around=around)
    return _within_owners(folders, _Layout(subsets={}, of_subset=level, of_class=level, around=around))


def _within_owners(folders: list[tuple[str, ...]], layout: _Layout) -> _Layout:
    """`layout` with the classes one folder deeper where what seemed to be classes are patients or hospitals.

    They are where fewer names, which several of them have, come back below them, and they are many and numbered, or
    what is below is named like a class: ``8863/0/x.png`` and ``leeds/malignant/x.png``, not ``benign/40X/x.png``.
    """
    level = layout.of_class
    if layout.subsets:
        folders = [parts for parts in folders if parts[layout.of_subset] in layout.subsets]
    if not folders or any(len(parts) < level + 2 for parts in folders):
        return layout
    pairs = {(parts[level], parts[level + 1]) for parts in folders}
    owners, classes = ({pair[k] for pair in pairs} for k in (0, 1))
    come_back = Counter(name for _, name in pairs)
    numbered = len(owners) >= MIN_PATIENTS and all(re.search(r"\d", name) for name in owners)
    if (
        not 2 <= len(classes) <= min(MAX_CLASSES, len(owners) - (not likely_positive(classes)))
        or min(come_back.values()) < 2
        or likely_positive(owners)
        or not (numbered or likely_positive(classes))
    ):
        return layout
    return replace(layout, of_class=level + 1, of_owner=level, owners_are_patients=numbered)


def one_file(path: Path, data: DataConfig) -> str:
    """What a file is that is neither a table nor an archive, and what to do: the end of a sentence."""
    by_name = next((words for ends, words in FOREIGN.items() if path.name.lower().endswith(ends)), "")
    try:
        with open_regular(path) as file:
            by_content = what_it_is(file)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if is_dicom_file(path) or (not by_name and is_image_file(path)):
        around = data.model_copy(update={"source": escape_name(str(path.absolute().parent.parent))})
        return (
            "is one image or DICOM file. Give the folder that holds one sub-folder of images per class, or a table of "
            f"images.\nTry: {command(around, None)}"
        )
    if by_content or by_name:
        what = f"It is {by_content}" if by_content else f"Its ending is that of {by_name}"
        return f"is no table of images. {what}."
    return (
        "is a file, but not a CSV manifest. Give a folder with one sub-folder per class, or a CSV file with the "
        "columns path,label."
    )


def _unreadable(error: OSError) -> NoReturn:
    """Images that nobody sees must not be missing without a word."""
    msg = f"the folder {error.filename} cannot be listed ({error.strerror}). Make it readable, or move it elsewhere"
    raise DataError(msg)


def walk(root: Path) -> Iterator[Path]:
    """Every file below `root` but hidden ones and system files; linked folders are followed once.

    Raises
    ------
    DataError
        If a folder cannot be listed.
    """
    seen: set[str] = set()
    for folder, names, files in os.walk(root, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(name for name in names if not _is_junk_folder(name))
        for name in sorted(files):
            if not is_junk(name):
                yield Path(folder, name)


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name was left behind by a system."""
    return _is_junk_folder(name) or name.lower() in _JUNK_FILES


def _is_junk_folder(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK_FOLDERS
