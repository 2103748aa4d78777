"""Two sides from the classes that people have: which are positive, which are left out, all others negative."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from medcompare.base.errors import DataError
from medcompare.base.language import t
from medcompare.data.records import ORIGINAL
from medcompare.data.sources.folder import hint_at_tables
from medcompare.data.spelling import (
    NO_VALUE,
    counted,
    likely_positive,
    named_as,
    option_positive,
    positive_options,
    same_class,
    side_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from medcompare.config.data import DataConfig
    from medcompare.data.sources.listing import Listing

DEFAULT_POSITIVE = "cancer"


def of_one_spelling(listing: Listing) -> Listing:
    """`listing` with labels that differ only in capitals and blanks written like the most frequent of them."""
    counts = Counter(file.label for file in listing.files)
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        spellings[same_class(label)].append(label)
    several = [labels for labels in spellings.values() if len(labels) > 1]
    if not several:
        return listing
    written_as = {label: labels[0] for labels in several for label in labels}
    notes = (
        t(
            "{classes} differ only in capitals or blanks: they were taken as one class, {name}.",
            classes=counted(labels, counts),
            name=labels[0],
        )
        for labels in several
    )
    return replace(
        listing,
        files=tuple(replace(file, label=written_as.get(file.label, file.label)) for file in listing.files),
        notes=(*listing.notes, *notes),
    )


def without_excluded(listing: Listing, place: Path, exclude: Sequence[str]) -> Listing:
    """`listing` without the images of the classes in `exclude` (``data.exclude``)."""
    if not exclude:
        return listing
    counts = Counter(file.label for file in listing.files)
    # A word for 'no label' is for rows of a table without one, which are gone already.
    exclude = [name for name in exclude if name.casefold() not in NO_VALUE or name in counts]
    if not exclude:
        return listing
    gone = _found(exclude, counts, place, "--exclude")
    note = t("Left out by class (data.exclude): {classes}.", classes=counted(gone, counts))
    return replace(
        listing,
        files=tuple(file for file in listing.files if file.label not in gone),
        notes=(*listing.notes, note),
    )


def question_of_classes(listing: Listing, place: Path, data: DataConfig) -> tuple[str, str] | None:
    """What is to be asked about the classes, and the option that would answer; None where nothing is.

    Raises
    ------
    DataError
        If there is one class only.
    """
    counts = Counter(file.label for file in listing.files)
    names = sorted(counts)
    if len(names) == 1:
        msg = f"{place} holds one class only: {counted(names, counts)}"
        if listing.empty:
            msg += f"; sub-folders without images: {', '.join(listing.empty)}"
        msg += ". Two classes are needed, for example cancer and non_cancer."
        raise DataError(msg + (hint_at_tables(place, data) if place.is_dir() else ""))
    if _positive(data.positive, listing, names):
        return None
    if len(names) == 2:
        asked = f"which class of {place} is positive? Found: {counted(names, counts)}. Name it"
        first, second = likely_positive(names)[:1] or names[:1], names[1:]
        doubt = "" if likely_positive(names) else f"  # or {option_positive(second)}"
        return f"{asked}: {positive_options(names)}.", option_positive(first) + doubt
    asked = (
        f"{place} holds {len(names)} classes: {counted(names, counts)}. Two sides are compared: name the positive "
        "classes with --positive A,B, all others are then negative; --exclude A,B leaves classes out."
    )
    likely = likely_positive(names)
    return asked, option_positive(likely) if likely else f"{option_positive(names[:1])}  # and others"


def two_sides(listing: Listing, place: Path, positive: Sequence[str]) -> tuple[Listing, tuple[str, str]]:
    """`listing` labelled by side, and the names of the (negative, positive) side.

    Where a side is made of several classes, the class of each image becomes the column `ORIGINAL`.

    Raises
    ------
    DataError
        If a class that is named is not there, or none is left for the negative side.
    """
    counts = Counter(file.label for file in listing.files)
    names = sorted(counts)
    ones = _found(_positive(positive, listing, names), counts, place, "--positive")
    zeros = [name for name in names if name not in ones]
    if not zeros:
        msg = f"every class of {place} is positive: {counted(ones, counts)}. Leave one out of --positive."
        raise DataError(msg)
    classes = side_name(zeros, "negative"), side_name(ones, "positive")
    if len(names) == 2:
        return listing, classes
    note = t(
        "Positive: {positive}; negative: {negative} (classes of the data).",
        positive=counted(ones, counts),
        negative=counted(zeros, counts),
    )
    files = (
        replace(file, label=classes[file.label in ones], extra=(*file.extra, file.label))
        for file in listing.files
    )
    return replace(
        listing,
        files=tuple(files),
        extra_columns=(*listing.extra_columns, ORIGINAL),
        notes=(*listing.notes, note),
    ), classes


def _positive(given: Sequence[str], listing: Listing, names: Sequence[str]) -> Sequence[str]:
    """Classes that are positive: those given, else the one that the source knows, else 'cancer' of two."""
    default = (DEFAULT_POSITIVE,) if len(names) == 2 and DEFAULT_POSITIVE in names else ()
    return given or listing.positive or default


def _found(given: Iterable[str], counts: Counter[str], place: Path, option: str) -> list[str]:
    """The classes that `given` names, in any spelling."""
    found = {text: named_as(text, counts) for text in given}
    for text, name in found.items():
        if name is None:
            msg = f"no class '{text}' in {place}. Found: {counted(sorted(counts), counts)}. Correct {option}."
            raise DataError(msg)
    return sorted({name for name in found.values() if name is not None})
