"""Patients in file names and folders: said where they look so, grouped by where a pattern is given."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from statistics import median
from typing import TYPE_CHECKING

from medcompare.base.errors import ConfigError, DataError
from medcompare.base.language import t, tn
from medcompare.data.variants import stem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from medcompare.config.data import DataConfig
    from medcompare.data.sources.listing import Listing

MIN_PATIENTS = 10
MIN_SHARED = 0.8
"""Names look like patients where at least ten beginnings with a number are shared by two images or more, and this share
of the images has such a beginning; few beginnings are rather magnifications or sites."""

MAX_PARTS = 6
MAX_DEPTH = 3
"""How much of a name, and how many folders above it, are looked at."""
_SEPARATOR = re.compile(r"[_\-. ]+")


def with_patients(listing: Listing, data: DataConfig) -> Listing:
    """The listing with the patients that ``data.patient_pattern`` finds; without it, with a note where names look so.

    Raises
    ------
    ConfigError
        If the pattern is no regular expression, or the images have patient ids already.
    DataError
        If it fits some names only.
    """
    if data.patient_pattern is None:
        if listing.has_patients or data.group_by:
            return listing
        return replace(listing, notes=(*listing.notes, *_note([file.path for file in listing.files])))
    if listing.has_patients:
        msg = "data.patient_pattern is for images without patient ids, but these have them. Leave it out."
        raise ConfigError(msg)
    try:
        pattern = re.compile(data.patient_pattern)
    except re.error as error:
        msg = f"data.patient_pattern is no regular expression: {error} (given: {data.patient_pattern})"
        raise ConfigError(msg) from error
    found = [pattern.search(file.path) for file in listing.files]
    missed = [file.path for file, match in zip(listing.files, found, strict=True) if match is None]
    if missed:
        msg = (
            f"data.patient_pattern {data.patient_pattern} fits {len(found) - len(missed)} of {len(found)} names, not "
            f"{missed[0]}. Give one that fits all."
        )
        raise DataError(msg)
    ids = [match.group(1 if pattern.groups else 0) or "" for match in found if match is not None]
    files = tuple(replace(file, patient_id=name) for file, name in zip(listing.files, ids, strict=True))
    note = tn(
        "{n} patient by data.patient_pattern ({pattern}).",
        "{n:,} patients by data.patient_pattern ({pattern}).",
        len(set(ids)),
        pattern=data.patient_pattern,
    )
    return replace(listing, files=files, has_patients=True, notes=(*listing.notes, note))


def _note(paths: Sequence[str]) -> list[str]:
    for names, pattern in _readings(paths):
        counts = Counter(name for name in names if any(letter.isdigit() for letter in name))
        shared = {name: n for name, n in counts.items() if n > 1}
        if len(shared) >= MIN_PATIENTS and sum(shared.values()) >= MIN_SHARED * len(paths):
            option = shlex.quote(f"data.patient_pattern={pattern(list(shared))}")
            sentence = t(
                "Names look like {n} patients with {n_images:g} images each, and no patient ids were given: if they "
                "are, keep them together with --set {option}",
                n=len(counts),
                n_images=median(counts.values()),
                option=option,
            )
            return [sentence]
    return []


def _readings(paths: Sequence[str]) -> Iterator[tuple[list[str], Callable[[list[str]], str]]]:
    """What each path would call the patient, by a folder, then by more and more of the name; and the pattern."""
    pure = [PurePosixPath(path) for path in paths]
    for up in range(1, MAX_DEPTH + 1):
        yield (
            [path.parts[-1 - up] if len(path.parts) > up + 1 else "" for path in pure],
            partial(lambda _, up: rf"([^/]+){'/[^/]+' * (up - 1)}/[^/]*$", up=up),
        )
    # A variant belongs to its picture, which is no sign of a patient.
    parts = [[] if stem_of(str(path))[1] else _SEPARATOR.split(path.stem) for path in pure]
    for n in range(1, MAX_PARTS):
        yield (
            ["_".join(part[:n]) if len(part) > n else "" for part in parts],
            partial(_pattern, n=n),
        )


def _pattern(names: list[str], *, n: int) -> str:
    r"""As short as can be read: ``patient\d+`` where all names have that form."""
    shapes = {re.sub(r"\d+", r"\\d+", name) for name in names}
    if n == 1 and len(shapes) == 1 and re.match(r"[A-Za-z]{2,}\\d\+$", shape := shapes.pop()):
        return shape
    more = rf"(?:[_\-. ]+[^/_\-. ]+){{{n - 1}}}" if n > 1 else ""
    return rf"([^/_\-. ]+{more})[_\-. ][^/]*$"
