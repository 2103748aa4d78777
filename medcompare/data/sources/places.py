"""From what a table calls an image to the file: other machines, names without ending, files in sub-folders."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from medcompare.base.file_names import escape_name, file_at
from medcompare.base.language import tn
from medcompare.data.sources.folder import walk
from medcompare.data.sources.listing import TABLE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""How an absolute path of Windows begins."""


class Place(NamedTuple):
    """Where one image is, as far as that can be told."""

    paths: tuple[str, ...]
    """Relative to the root; several where the name is that of several files, none where it is of none."""
    how: str
    """Empty where it was written exactly so; else what had to be done, for `notes`."""


class Places:
    """Finds files below `root`; lists the folder once, and only where a name is not that of a file."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def find(self, text: str) -> Place:
        """The file that a table calls `text`.

        As written, also with backslashes; then by the end of the path, for tables of another machine;
        then by its name anywhere below the root, with or without the ending.
        """
        written = file_at(self.root, text)
        if not _exists(written):
            written = self.root / text.replace("\\", "/")
        if _exists(written):
            return Place((self._relative(written),), "")
        parts = [part.casefold() for part in DRIVE.sub("", text).replace("\\", "/").split("/")]
        parts = [part for part in parts if part not in {"", "."}]
        elsewhere = "elsewhere" if is_absolute(text) else "deeper"
        for how, index in (("", self._files), ("ending", self._without_ending)):
            for k in range(len(parts)):
                paths = index.get("/".join(parts[k:]))
                if paths:
                    return Place(tuple(paths), how or elsewhere)
        return Place((), "missing")

    def notes(self, how: Counter[str]) -> list[str]:
        """Sentences about names that were not written as the files are called."""
        folder = escape_name(self.root.name)
        said = {
            "ending": tn(
                "{n} name without ending: taken as the one file of that name below {folder}.",
                "{n:,} names without ending: taken as the one file of that name below {folder}.",
                how["ending"],
                folder=folder,
            ),
            "elsewhere": tn(
                "{n} name with paths of another machine: found by the end of the path below {folder}.",
                "{n:,} names with paths of another machine: found by the end of the path below {folder}.",
                how["elsewhere"],
                folder=folder,
            ),
            "deeper": tn(
                "{n} name of files in sub-folders: found by the end of the path below {folder}.",
                "{n:,} names of files in sub-folders: found by the end of the path below {folder}.",
                how["deeper"],
                folder=folder,
            ),
        }
        return [text for key, text in said.items() if how[key]]

    def _relative(self, file: Path) -> str:
        return escape_name(Path(os.path.relpath(file, self.root)).as_posix())

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        """Paths by every end of them, in lower case."""
        return _by_end((self._relative(path), self._relative(path)) for path in self._walked)

    @cached_property
    def _without_ending(self) -> dict[str, list[str]]:
        """The same for paths without their ending."""
        relative = (self._relative(path) for path in self._walked)
        return _by_end((str(PurePosixPath(path).with_suffix("")), path) for path in relative)

    @cached_property
    def _walked(self) -> list[Path]:
        # A link that leads nowhere is not there.
        return [
            path for path in walk(self.root) if path.suffix.lower() not in TABLE_SUFFIXES and _exists(path)
        ]


def is_absolute(text: str) -> bool:
    """Whether `text` is an absolute path of any system."""
    return text.startswith("/") or DRIVE.match(text) is not None


def _by_end(names: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, path in names:
        parts = name.casefold().split("/")
        for k in range(len(parts)):
            found["/".join(parts[k:])].append(path)
    return found


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # a cell that is no name of a file
            return False
        raise
