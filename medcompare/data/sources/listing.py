"""What every source of images gives, and the protocol that a new one follows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from medcompare.base.file_names import escape_name

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.base.record import Subset
    from medcompare.config.data import DataConfig

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".dcm", ".dicom", ".ima"}
)
"""File name endings, in lower case, that count as images when a folder is listed; DICOM counts without one as well."""

TABLE_SUFFIXES = frozenset({".csv", ".parquet", ".tsv", ".txt", ".xlsx"})
"""Those of tables of images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One image file and what its folder or manifest row says about it.

    ``path`` is relative to the root of the source, with forward slashes, as text
    (`medcompare.base.file_names`), like ``label``; ``extra`` holds the values of
    `ImageSource.extra_columns`, in that order.
    """

    path: str
    label: str
    patient_id: str | None = None
    extra: tuple[str, ...] = ()
    published: Subset | None = None
    """Subset in a split that came with the images."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Files and their labels, before it is decided which label is the positive class."""

    root: Path
    name: str
    files: tuple[SourceFile, ...]
    extra_columns: tuple[str, ...] = ()
    has_patients: bool = False
    positive: tuple[str, ...] = ()
    """Labels that the source itself says are positive."""
    repeating: tuple[str, ...] = ()
    """Columns of which images with the same value may belong together, such as lesions."""
    empty: tuple[str, ...] = ()
    """Labels that no file has, such as folders without images."""
    notes: tuple[str, ...] = ()
    """What was left out of the listing, in sentences for the report."""


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """A listed, labelled, not yet decoded data set; fields as in `Listing`."""

    root: Path
    name: str
    files: tuple[SourceFile, ...]
    """Sorted by path."""
    classes: tuple[str, str]
    """(negative, positive) class names."""
    extra_columns: tuple[str, ...] = ()
    has_patients: bool = False
    synthetic: bool = False
    notes: tuple[str, ...] = ()


class SourceKind(Protocol):
    """One way in which images are given: a module in this package with these functions."""

    def accepts(self, place: Path) -> bool:
        """Whether `place`, which exists, is of this kind; reads no more than names."""
        ...

    def listed(self, place: Path, data: DataConfig) -> Listing:
        """Files and labels; no image is opened. Of `data` only what says how to read the place is used.

        Raises
        ------
        DataError
            Naming the place, row or column, and the remedy.
        """
        ...


def count(n: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def clean_name(name: str) -> str:
    """A name fit for titles and run folders; a digest where nothing of it is."""
    name = escape_name(name)
    kept = "".join(c if c.isascii() and (c.isalnum() or c in " ._-") else "-" for c in name).strip(" ._-")
    return kept[:60] or hashlib.sha256(name.encode()).hexdigest()[:8]
