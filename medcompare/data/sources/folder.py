"""Images in a folder with one sub-folder per class."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name
from medcompare.data.sources.listing import IMAGE_SUFFIXES, Listing, SourceFile, clean_name, count

if TYPE_CHECKING:
    from collections.abc import Iterator

_JUNK_FOLDERS = frozenset({"__macosx", "$recycle.bin"})
_JUNK_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})


def accepts(place: Path) -> bool:
    """Any folder."""
    return place.is_dir()


def name_of(place: Path) -> str:
    """The folder's own name."""
    return clean_name(place.absolute().name)


def listed(place: Path) -> Listing:
    """Every image file in a sub-folder, which is its label.

    Raises
    ------
    DataError
        If there is no image in a sub-folder.
    """
    root = place.absolute()
    files: list[SourceFile] = []
    strange: Counter[str] = Counter()
    n_loose = 0
    for path in _walk(root):
        relative = path.relative_to(root)
        is_image = path.suffix.lower() in IMAGE_SUFFIXES
        if not is_image:
            strange[path.suffix.lower() or "no ending"] += 1
        elif len(relative.parts) == 1:
            n_loose += 1
        else:
            files.append(
                SourceFile(path=escape_name(relative.as_posix()), label=escape_name(relative.parts[0]))
            )
    strange_list = ", ".join(f"{n} {escape_name(suffix)}" for suffix, n in strange.most_common(5))
    if not files:
        msg = f"{root} holds no images in sub-folders"
        if n_loose:
            msg += f" ({count(n_loose, 'image')} directly in it: move them into one sub-folder per class)"
        if strange:
            msg += f"; files of other kinds: {strange_list}"
        msg += (
            f". Expected one sub-folder per class with files ending in {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
        raise DataError(msg)
    counts = Counter(file.label for file in files)
    empty = tuple(
        escape_name(entry.name)
        for entry in sorted(root.iterdir(), key=lambda entry: entry.name)
        if entry.is_dir() and not _is_junk_folder(entry.name) and escape_name(entry.name) not in counts
    )
    notes = []
    if strange:
        notes.append(f"{count(strange.total(), 'file')} not an image by name ({strange_list}): ignored.")
    if n_loose:
        notes.append(f"{count(n_loose, 'image')} outside the class folders: ignored.")
    if empty:
        notes.append(f"Sub-folders without images: {', '.join(empty)}.")
    return Listing(root=root, name=name_of(root), files=tuple(files), empty=empty, notes=tuple(notes))


def _walk(root: Path) -> Iterator[Path]:
    """Every file below `root` but hidden ones and system files; linked folders are followed once."""
    seen: set[str] = set()
    for folder, names, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(name for name in names if not _is_junk_folder(name))
        for name in sorted(files):
            if not name.startswith(".") and name.lower() not in _JUNK_FILES:
                yield Path(folder, name)


def _is_junk_folder(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK_FOLDERS
