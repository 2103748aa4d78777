"""Where the images are, and which of their two labels is the positive class.

Lists and labels files, and refuses, before any image is opened, whatever a person must put
right first. It does not decode images: that is `medcompare.data.manifest`.
"""

from __future__ import annotations

import math
import os
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name, real_name
from medcompare.base.language import in_language, t, tn
from medcompare.base.record import SUBSETS
from medcompare.base.shared_store import is_address
from medcompare.config.data import DEMO
from medcompare.data.reading import read_each
from medcompare.data.records import PUBLISHED
from medcompare.data.sources import archive, folder, remote, table
from medcompare.data.sources.classes import of_one_spelling, question_of_classes, two_sides, without_excluded
from medcompare.data.sources.command import command
from medcompare.data.sources.demo import DEMO_MARKER, ensure_demo_data
from medcompare.data.sources.headers import with_headers
from medcompare.data.sources.listing import (
    IMAGE_SUFFIXES,
    TABLE_SUFFIXES,
    ImageSource,
    Listing,
    SourceKind,
    count,
)
from medcompare.data.sources.patients import with_patients

if TYPE_CHECKING:
    from medcompare.base.record import Subset
    from medcompare.config.data import ChoiceOfSplit, DataConfig

Listed = TypeVar("Listed", ImageSource, Listing)

SOURCES: tuple[SourceKind, ...] = (table, folder)
"""Every way in which images are given; the first that accepts a place reads it."""


def resolve_source(
    data: DataConfig, *, demo_root: Path, published: ChoiceOfSplit | None = None
) -> ImageSource:
    """List and label the images that `data` names.

    Parameters
    ----------
    data : DataConfig
        ``source`` is a folder, a CSV file or ``demo``.
    demo_root : Path
        Folder that keeps generated demonstration data, written to only for ``demo``; archives are unpacked
        into ``unpacked`` beside it, and what is behind an address is copied into ``remote``.
    published : {"keep", "pool"}, optional
        What to do with a split that came with the images (``split.published``).

    Returns
    -------
    ImageSource
        Files sorted by path.

    Raises
    ------
    DataError
        If the place does not exist, holds no images, holds other than two classes, the
        manifest is malformed or names missing files, the positive class is not named, the images
        come split and `published` does not say what to do, or the drive does not answer in time.
    """
    if data.source == DEMO:
        manifest = ensure_demo_data(demo_root, data.demo) / table.MANIFEST_NAME
        return replace(_labelled(table.listed(manifest, data), manifest, data, published), name=DEMO)
    if is_address(data.source):
        (source,) = read_each(
            lambda root: _fetched(data, published, root),
            [demo_root.with_name("remote")],
            [data.source],
            n_threads=1,
            file_timeout_s=math.inf,
            timeout_minutes=data.timeout_minutes,
            stage=f"copying the images of {data.source}",
        )
        return source
    name = escape_name(data.source)
    # The first look finds a drive that is gone; a long list has the time of a whole stage.
    ((location, exists),) = read_each(
        _location, [data.source], [name], n_threads=1, file_timeout_s=data.file_timeout_s
    )
    if not exists:
        msg = (
            f"no such folder or file: {location}. Give a folder with one sub-folder per class, "
            "a table with the columns path,label, or an archive of these."
        )
        raise DataError(msg)
    (listed,) = read_each(
        lambda place: _listed(place, data, published, demo_root.with_name("unpacked")),
        [location],
        [name],
        n_threads=1,
        file_timeout_s=math.inf,
        timeout_minutes=data.timeout_minutes,
        stage=f"listing the images of {name}",
    )
    return listed


def _fetched(data: DataConfig, published: ChoiceOfSplit | None, root: Path) -> ImageSource:
    place = remote.fetched(data, root)
    source = _listed(place, data, published, root.with_name("unpacked"))
    if not archive.is_archive(place):
        source = _contained(source, place, data.source)
    notes = (t("The images were copied from {place}.", place=data.source), *source.notes)
    return replace(source, name=remote.name_of(data.source), notes=notes)


def list_unlabelled(data: DataConfig, *, work: Path) -> Listing:
    """List images for which no label is needed, or asked for: all that the place names, also outside class folders.

    Parameters
    ----------
    data : DataConfig
        ``source`` as for `resolve_source`, or one image file. Of a table, what names images and patients is used.
    work : Path
        Folder for what is unpacked, copied or generated.

    Returns
    -------
    Listing
        Files sorted by path, their labels empty.

    Raises
    ------
    DataError
        As `resolve_source`, where a place or a table cannot be read.
    """
    if data.source == DEMO:
        place = ensure_demo_data(work / "demo", data.demo) / table.MANIFEST_NAME
    elif is_address(data.source):
        place = remote.fetched(data, work / "remote")
    else:
        place, exists = _location(data.source)
        if not exists:
            msg = f"no such folder or file: {place}. Give a folder, a table with a column of paths, or an archive"
            raise DataError(msg)
    within = place
    if archive.is_archive(place):
        within = archive.unpacked(place, work / "unpacked", max_file_mb=data.max_file_mb)
    is_table = table.is_one(within) and within.suffix.lower() not in IMAGE_SUFFIXES
    kind = table if is_table else folder
    _refuse_columns(kind, place, data)
    listing = kind.listed_without_labels(within, data)
    if within != place or is_address(data.source):
        listing = _contained(listing, within, data.source)
    # What the headers and names suggest about a split is of no concern here.
    read = with_headers(listing, data)
    listing = replace(read, notes=(*listing.notes, *_unknown_patients(listing, read)))
    if data.patient_pattern is not None:
        listing = with_patients(listing, data)
    return replace(listing, files=tuple(sorted(listing.files, key=lambda file: file.path)))


OF_TABLES = ("group_by", "path_column", "label_column", "image_root")


def _refuse_columns(kind: SourceKind, place: Path, data: DataConfig) -> None:
    """A column that is asked for must not be passed over because there is no table."""
    given = [name for name in OF_TABLES if getattr(data, name)]
    if kind is folder and given:
        option = f"--{given[0].replace('_', '-')}"
        msg = f"{option} is about a table, and {place} is a folder: leave it out, or give the table as --data"
        raise DataError(msg)


def _unknown_patients(listing: Listing, read: Listing) -> tuple[str, ...]:
    """What is said where DICOM headers name the patients of some images only."""
    if read.has_patients or len(read.notes) == len(listing.notes):
        return ()
    return (t("Not every image has a patient id in a DICOM header: patients were not told apart."),)


def _contained(source: Listed, within: Path, given: Path | str) -> Listed:
    """`source`, of which no image lies outside the folder that came from elsewhere.

    A table of the user may name any file of this machine; one that was sent by somebody else must not.
    """
    folder = within if within.is_dir() else within.parent
    outside = [file.path for file in source.files if not _lies_in(folder, source.root / file.path)]
    if outside:
        msg = (
            f"{given}: its table names {count(len(outside), 'file')} outside the images that came with it, such as "
            f"{outside[0]}. It is not followed there; unpack it yourself and give the table if you trust it."
        )
        raise DataError(msg)
    return source


def _lies_in(folder: Path, file: Path) -> bool:
    return Path(os.path.normpath(file)).is_relative_to(folder)


def _listed(
    place: Path,
    data: DataConfig,
    published: ChoiceOfSplit | None,
    unpack_root: Path,
    given: Path | None = None,
) -> ImageSource:
    """What is at `place`; messages call it `given` where that was unpacked there."""
    if archive.is_archive(place):
        within = archive.unpacked(place, unpack_root, max_file_mb=data.max_file_mb)
        source = _contained(_listed(within, data, published, unpack_root, place), within, place)
        notes = (
            t("The images were unpacked from {archive}.", archive=escape_name(place.name)),
            *source.notes,
        )
        return replace(source, name=archive.name_of(place), notes=notes)
    for kind in SOURCES:
        if kind.accepts(place):
            _refuse_columns(kind, given or place, data)
            return _labelled(kind.listed(place, data), given or place, data, published)
    msg = f"{place} is neither a folder nor a regular file. Give a folder or a CSV manifest."
    raise DataError(msg)


def _labelled(
    listing: Listing, place: Path, data: DataConfig, published: ChoiceOfSplit | None
) -> ImageSource:
    listing = without_excluded(of_one_spelling(listing), place, data.exclude)
    listing = _without_half_a_split(listing)
    asked = [
        _question_of_split(listing, place, published),
        question_of_classes(listing, place, data),
    ]
    questions = [question for question in asked if question is not None]
    if questions:
        sentences, options = zip(*questions, strict=True)
        groups = [f"--group-by {shlex.quote(','.join(listing.repeating))}"] if listing.repeating else []
        msg = f"{' '.join(sentences)}\nTry: {command(data, published, *groups, *options)}"
        raise DataError(msg)
    listing, classes = two_sides(with_headers(listing, data), place, data.positive)
    listing = with_patients(_with_choice_of_split(listing, published), data)
    return ImageSource(
        root=listing.root,
        name=listing.name,
        files=tuple(sorted(listing.files, key=lambda file: file.path)),
        classes=classes,
        extra_columns=listing.extra_columns,
        has_patients=listing.has_patients,
        synthetic=(listing.root / DEMO_MARKER).is_file(),
        notes=listing.notes,
    )


def _parts(listing: Listing) -> Counter[Subset]:
    """Images by subset of a split that came with them."""
    return Counter(file.published for file in listing.files if file.published is not None)


def _for_report(parts: Counter[Subset]) -> str:
    return ", ".join(
        tn("{subset} ({n} image)", "{subset} ({n:,} images)", parts[subset], subset=subset)
        for subset in SUBSETS
        if parts[subset]
    )


_in_words = in_language("en")(_for_report)


def _without_half_a_split(listing: Listing) -> Listing:
    """Without the subset of each image where only one is left: then there is nothing to keep."""
    parts = _parts(listing)
    if len(parts) != 1:
        return listing
    note = t("Of a published split only one part has images with a class: {parts}.", parts=_for_report(parts))
    files = tuple(replace(file, published=None) for file in listing.files)
    return replace(listing, files=files, notes=(*listing.notes, note))


def _question_of_split(listing: Listing, place: Path, choice: ChoiceOfSplit | None) -> tuple[str, str] | None:
    """What is to be asked about a published split, and the option that would answer; None where nothing is."""
    parts = _parts(listing)
    if not parts or choice == "pool":
        return None
    pool = "pool all images and split them again: --published-split pool"
    if choice is None:
        keep = "keep its test images as they are: --published-split keep"
        return (
            f"{place} is split already: {_in_words(parts)}. Choose: {keep}; or {pool}.",
            "--published-split keep",
        )
    lacking = [subset for subset in ("train", "test") if not parts[subset]]
    if lacking or parts.total() < len(listing.files):
        what = f"no {lacking[0]} images" if lacking else "images in no subset"
        msg = (
            f"{place} is split already, but has {what}: {_in_words(parts)}. The split cannot be kept; {pool}."
        )
        raise DataError(msg)
    return None


def _with_choice_of_split(listing: Listing, choice: ChoiceOfSplit | None) -> Listing:
    """`listing` with the published subset as a column where it is kept, and without it elsewhere."""
    parts = _parts(listing)
    if not parts:
        return listing
    if choice == "keep":
        said = t(
            "The images came split into {parts}: this split was kept (split.published).",
            parts=_for_report(parts),
        )
    else:
        said = t(
            "The images came split into {parts}: they were pooled and split again (split.published).",
            parts=_for_report(parts),
        )
    notes = (*listing.notes, said)
    if choice == "pool":
        files = tuple(replace(file, published=None) for file in listing.files)
        return replace(listing, files=files, notes=notes)
    return replace(
        listing,
        files=tuple(replace(file, extra=(*file.extra, file.published or "")) for file in listing.files),
        extra_columns=(*listing.extra_columns, PUBLISHED),
        notes=notes,
    )


def _location(source: str) -> tuple[Path, bool]:
    """Where `source` is, written as it is or with escapes of its bytes, and whether it exists."""
    found = Path(source).expanduser()
    try:
        if not found.exists():
            found = Path(real_name(source)).expanduser()
        return found, found.exists()
    except OSError as error:  # a name that is too long, a folder that may not be read
        msg = f"{escape_name(source)[:200]} cannot be read ({error.strerror})"
        raise DataError(msg) from None


def source_name(data: DataConfig) -> str:
    """What the data set that `data` names is called, whether or not it can be read."""
    if data.source == DEMO:
        return DEMO
    if is_address(data.source):
        return remote.name_of(data.source)
    location = Path(escape_name(str(Path(data.source).expanduser().absolute())))
    if archive.is_archive(location):
        return archive.name_of(location)
    is_table = location.suffix.lower() in TABLE_SUFFIXES
    return table.name_of(location) if is_table else folder.name_of(location)
