"""Where the images are, and which of their two labels is the positive class.

Lists and labels files, and refuses, before any image is opened, whatever a person must put
right first. It does not decode images: that is `medcompare.data.manifest`.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medcompare.base.errors import DataError
from medcompare.base.file_names import escape_name, real_name
from medcompare.base.record import SUBSETS
from medcompare.config.data import DEMO
from medcompare.data.published import COLUMN as PUBLISHED
from medcompare.data.reading import read_each
from medcompare.data.sources import folder, table
from medcompare.data.sources.demo import DEMO_MARKER, ensure_demo_data
from medcompare.data.sources.listing import ImageSource, Listing, SourceKind, count
from medcompare.data.spelling import positive_class_options

if TYPE_CHECKING:
    from medcompare.config.data import ChoiceOfSplit, DataConfig

SOURCES: tuple[SourceKind, ...] = (table, folder)
"""Every way in which images are given; the first that accepts a place reads it."""

DEFAULT_POSITIVE = "cancer"


def resolve_source(
    data: DataConfig, *, demo_root: Path, published: ChoiceOfSplit | None = None
) -> ImageSource:
    """List and label the images that `data` names.

    Parameters
    ----------
    data : DataConfig
        ``source`` is a folder, a CSV file or ``demo``.
    demo_root : Path
        Folder that keeps generated demonstration data; written to only for ``demo``.
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
        return replace(_labelled(table.listed(manifest), manifest, data, published), name=DEMO)
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
        lambda place: _listed(place, data, published),
        [location],
        [name],
        n_threads=1,
        file_timeout_s=math.inf,
        timeout_minutes=data.timeout_minutes,
        stage=f"listing the images of {name}",
    )
    return listed


def _listed(place: Path, data: DataConfig, published: ChoiceOfSplit | None) -> ImageSource:
    for kind in SOURCES:
        if kind.accepts(place):
            return _labelled(kind.listed(place), place, data, published)
    msg = f"{place} is neither a folder nor a regular file. Give a folder or a CSV manifest."
    raise DataError(msg)


def _labelled(
    listing: Listing, place: Path, data: DataConfig, published: ChoiceOfSplit | None
) -> ImageSource:
    listing = _with_choice_of_split(listing, place, published)
    counts = Counter(file.label for file in listing.files)
    return ImageSource(
        root=listing.root,
        name=listing.name,
        files=tuple(sorted(listing.files, key=lambda file: file.path)),
        classes=_two_classes(counts, data.positive_class, place, listing.empty),
        extra_columns=listing.extra_columns,
        has_patients=listing.has_patients,
        synthetic=(listing.root / DEMO_MARKER).is_file(),
        notes=listing.notes,
    )


def _with_choice_of_split(listing: Listing, place: Path, choice: ChoiceOfSplit | None) -> Listing:
    """`listing` with the published subset as a column where it is kept, and without it elsewhere."""
    counts = Counter(file.published for file in listing.files if file.published is not None)
    parts = ", ".join(f"{subset} ({count(counts[subset], 'image')})" for subset in SUBSETS if counts[subset])
    if len(counts) < 2:
        # Of a split of which one part only has labels nothing is left to keep.
        note = (f"Of a published split only one part has images with a class: {parts}.",) if counts else ()
        files = tuple(replace(file, published=None) for file in listing.files)
        return replace(listing, files=files, notes=(*listing.notes, *note))
    if choice == "pool":
        files = tuple(replace(file, published=None) for file in listing.files)
        note = (f"The images came split into {parts}: they were pooled and split again (split.published).",)
        return replace(listing, files=files, notes=(*listing.notes, *note))
    pool = "pool all images and split them again: --published-split pool"
    if choice is None:
        msg = (
            f"{place} is split already: {parts}. Choose: keep its test images as they are: "
            f"--published-split keep; or {pool}."
        )
        raise DataError(msg)
    lacking = [subset for subset in ("train", "test") if not counts[subset]]
    if lacking or counts.total() < len(listing.files):
        what = f"no {lacking[0]} images" if lacking else "images in no subset"
        msg = f"{place} is split already, but has {what}: {parts}. The split cannot be kept; {pool}."
        raise DataError(msg)
    note = (f"The images came split into {parts}: this split was kept (split.published).",)
    return replace(
        listing,
        files=tuple(replace(file, extra=(*file.extra, file.published or "")) for file in listing.files),
        extra_columns=(*listing.extra_columns, PUBLISHED),
        notes=(*listing.notes, *note),
    )


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
    is_table = location.suffix.lower() in table.SUFFIXES
    return table.name_of(location) if is_table else folder.name_of(location)


def _two_classes(
    counts: Counter[str], positive_class: str | None, place: Path, empty: tuple[str, ...]
) -> tuple[str, str]:
    """(negative, positive) names, or a `DataError` that says what to change."""
    names = sorted(counts)
    listing = ", ".join(f"{name} ({counts[name]})" for name in names[:20])
    if len(names) > 20:
        listing += f" and {len(names) - 20} more"
    if len(names) == 1:
        msg = f"{place} holds one class only: {listing}"
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
