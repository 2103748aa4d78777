"""Where the images are: a folder with one sub-folder per class, or a CSV manifest.

This module lists and labels files and refuses, before any image is opened, whatever a person
must put right first. It does not decode images: that is `medcompare.data.manifest`.

A folder that holds a ``manifest.csv`` is read through that manifest, since the file says more
than the sub-folders do (patients, above all); the source then carries a note that says so.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name, file_at, real_name
from medcompare.base.record import Record
from medcompare.config.data import DEMO
from medcompare.data.reading import Digests, read_each
from medcompare.data.sources.csv_manifest import read_manifest_rows
from medcompare.data.sources.demo import DEMO_MARKER, ensure_demo_data
from medcompare.data.spelling import positive_class_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from medcompare.config.data import DataConfig

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2"})
"""File name endings, in lower case, that count as images when a folder is listed."""

MANIFEST_NAME = "manifest.csv"
MANIFEST_SUFFIXES = frozenset({".csv", ".parquet", ".tsv", ".txt", ".xlsx"})
DEFAULT_POSITIVE = "cancer"
BYTES_PER_MB = 1_000_000
N_HASH_THREADS = 8
"""Hashing waits for the disk more than for the processor."""

_JUNK_FOLDERS = frozenset({"__macosx", "$recycle.bin"})
_JUNK_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """A listed, labelled, not yet decoded data set."""

    root: Path
    name: str
    files: tuple[SourceFile, ...]
    classes: tuple[str, str]
    """(negative, positive) class names."""
    extra_columns: tuple[str, ...] = ()
    has_patients: bool = False
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    """What was left out of the listing, in sentences for the report."""


class SourceFingerprint(Record):
    """Identity of a source by content: what a cached ingest is keyed on.

    ``digest`` covers every file's bytes, relative path, label and manifest row, in no
    particular order, and which class is positive. Where the folder lies does not count.
    """

    digest: str
    name: str
    n_files: int
    n_bytes: int
    classes: tuple[str, str]


def resolve_source(data: DataConfig, *, demo_root: Path) -> ImageSource:
    """List and label the images that `data` names.

    Parameters
    ----------
    data : DataConfig
        ``source`` is a folder, a CSV file or ``demo``.
    demo_root : Path
        Folder that keeps generated demonstration data; written to only for ``demo``.

    Returns
    -------
    ImageSource
        Files sorted by path.

    Raises
    ------
    DataError
        If the place does not exist, holds no images, holds other than two classes, the
        manifest is malformed or names missing files, the positive class is not named, or the
        drive does not answer in time.
    """
    if data.source == DEMO:
        manifest = ensure_demo_data(demo_root, data.demo) / MANIFEST_NAME
        return replace(_from_manifest(manifest, data.positive_class, notes=()), name=DEMO)
    name = escape_name(data.source)
    # The first look finds a drive that is gone; a long list has the time of a whole stage.
    ((location, exists),) = read_each(
        _location, [data.source], [name], n_threads=1, file_timeout_s=data.file_timeout_s
    )
    if not exists:
        msg = (
            f"no such folder or file: {location}. Give a folder with one sub-folder per class, "
            "or a CSV manifest with the columns path,label."
        )
        raise DataError(msg)
    (listed,) = read_each(
        lambda place: _listed(place, data.positive_class),
        [location],
        [name],
        n_threads=1,
        file_timeout_s=math.inf,
        timeout_minutes=data.timeout_minutes,
        stage=f"listing the images of {name}",
    )
    return listed


def _listed(location: Path, positive_class: str | None) -> ImageSource:
    if location.is_file():
        return _from_manifest(location, positive_class, notes=())
    if not location.is_dir():
        msg = f"{location} is neither a folder nor a regular file. Give a folder or a CSV manifest."
        raise DataError(msg)
    if (location / MANIFEST_NAME).is_file():
        note = f"The folder holds {MANIFEST_NAME}, which says what its images are: it was followed."
        return _from_manifest(location / MANIFEST_NAME, positive_class, notes=(note,))
    return _from_folder(location, positive_class)


def _location(source: str) -> tuple[Path, bool]:
    """Where `source` is, written as it is or with escapes of its bytes, and whether it exists."""
    found = Path(source).expanduser()
    if not found.exists():
        found = Path(real_name(source)).expanduser()
    return found, found.exists()


def source_name(data: DataConfig) -> str:
    """What the data set that `data` names is called, whether or not it can be read."""
    if data.source == DEMO:
        return DEMO
    location = Path(escape_name(str(Path(data.source).expanduser().absolute())))
    if location.suffix.lower() in MANIFEST_SUFFIXES:
        return _name_of_manifest(location)
    return _clean_name(location.name)


def fingerprint(
    source: ImageSource,
    data: DataConfig,
    *,
    known: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SourceFingerprint:
    """Digest of everything the source holds, read with several threads.

    Parameters
    ----------
    source : ImageSource
        Listed files. One that cannot be read counts as such and is judged at ingest.
    data : DataConfig
        Limits: ``max_file_mb``, ``file_timeout_s`` and ``timeout_minutes``.
    known : Path, optional
        Folder that keeps the digests from run to run: of a file whose size, times and inode are as
        they were, the bytes are not read again. Whoever trains on a file verifies its digest anyway.
    progress : callable, optional
        Called with (files done, files in all).

    Returns
    -------
    SourceFingerprint
        Equal for equal content, wherever the folder lies and in whatever order it lists.

    Raises
    ------
    DataError
        If a file is not read in time, or all of them.
    """
    lines: list[str] = []
    n_bytes = 0
    max_bytes = data.max_file_mb * BYTES_PER_MB
    kept = Digests(source.root, known, max_bytes=max_bytes)
    digests = read_each(
        kept.digest_and_size,
        [file_at(source.root, file.path) for file in source.files],
        [file.path for file in source.files],
        n_threads=N_HASH_THREADS,
        file_timeout_s=data.file_timeout_s,
        timeout_minutes=data.timeout_minutes,
        stage="reading the images",
    )
    for done, (file, (digest, size)) in enumerate(zip(source.files, digests, strict=True), start=1):
        lines.append(json.dumps([file.path, digest, file.label, file.patient_id, *file.extra]))
        n_bytes += size
        if progress is not None:
            progress(done, len(source.files))
    kept.keep()
    # The notes go into the manifest, so a cached one must not carry those of another listing.
    head = json.dumps(
        [source.classes, source.extra_columns, source.has_patients, source.synthetic, source.notes]
    )
    content = "\n".join([head, *sorted(lines)]).encode()
    return SourceFingerprint(
        digest=sha256_of_bytes(content),
        name=source.name,
        n_files=len(source.files),
        n_bytes=n_bytes,
        classes=source.classes,
    )


def _from_manifest(path: Path, positive_class: str | None, *, notes: tuple[str, ...]) -> ImageSource:
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
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
    classes = _two_classes(Counter(file.label for file in files), positive_class, path)
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
        (f"{_count(unlisted, 'image file')} beside {path.name} not named in it: ignored.",)
        if unlisted
        else ()
    )
    return ImageSource(
        root=root,
        name=_name_of_manifest(path),
        files=tuple(sorted(files, key=lambda file: file.path)),
        classes=classes,
        extra_columns=manifest.extra_columns,
        has_patients=manifest.has_patients,
        synthetic=(root / DEMO_MARKER).is_file(),
        notes=(*notes, *manifest.notes, *more),
    )


def _from_folder(root: Path, positive_class: str | None) -> ImageSource:
    root = root.absolute()
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
            msg += f" ({_count(n_loose, 'image')} directly in it: move them into one sub-folder per class)"
        if strange:
            msg += f"; files of other kinds: {strange_list}"
        msg += (
            f". Expected one sub-folder per class with files ending in {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
        raise DataError(msg)
    counts = Counter(file.label for file in files)
    empty = [
        escape_name(entry.name)
        for entry in sorted(root.iterdir(), key=lambda entry: entry.name)
        if entry.is_dir() and not _is_junk_folder(entry.name) and escape_name(entry.name) not in counts
    ]
    classes = _two_classes(counts, positive_class, root, empty)
    notes = []
    if strange:
        notes.append(f"{_count(strange.total(), 'file')} not an image by name ({strange_list}): ignored.")
    if n_loose:
        notes.append(f"{_count(n_loose, 'image')} outside the class folders: ignored.")
    if empty:
        notes.append(f"Sub-folders without images: {', '.join(empty)}.")
    return ImageSource(
        root=root,
        name=_clean_name(root.name),
        files=tuple(sorted(files, key=lambda file: file.path)),
        classes=classes,
        synthetic=(root / DEMO_MARKER).is_file(),
        notes=tuple(notes),
    )


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


def _two_classes(
    counts: Counter[str], positive_class: str | None, place: Path, empty: Iterable[str] = ()
) -> tuple[str, str]:
    """(negative, positive) names, or a `DataError` that says what to change."""
    names = sorted(counts)
    listing = ", ".join(f"{name} ({counts[name]})" for name in names[:20])
    if len(names) > 20:
        listing += f" and {len(names) - 20} more"
    if len(names) == 1:
        msg = f"{place} holds one class only: {listing}"
        empty = list(empty)
        if empty:
            msg += f"; sub-folders without images: {', '.join(empty)}"
        msg += ". Two classes are needed, for example cancer and non_cancer."
        raise DataError(msg)
    if len(names) > 2:
        msg = (
            f"{place} holds {len(names)} classes: {listing}. Exactly two are needed: "
            "merge the others into them, or write a manifest.csv that labels only two."
        )
        raise DataError(msg)
    if positive_class is None:
        if DEFAULT_POSITIVE not in counts:
            msg = (
                f"which class of {place} is positive? Found: {listing}. "
                f"Name it: {positive_class_options(names)}."
            )
            raise DataError(msg)
        positive_class = DEFAULT_POSITIVE
    if positive_class not in counts:
        msg = f"no class '{positive_class}' in {place}. Found: {listing}. Correct --positive-class."
        raise DataError(msg)
    negative = names[0] if names[1] == positive_class else names[1]
    return negative, positive_class


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _name_of_manifest(path: Path) -> str:
    is_generic = path.stem.lower() in {"manifest", "index", "labels", "metadata"}
    return _clean_name(path.absolute().parent.name if is_generic else path.stem)


def _clean_name(name: str) -> str:
    """A name fit for titles and run folders; a digest where nothing of it is."""
    name = escape_name(name)
    kept = "".join(c if c.isascii() and (c.isalnum() or c in " ._-") else "-" for c in name).strip(" ._-")
    return kept[:60] or hashlib.sha256(name.encode()).hexdigest()[:8]
