"""Which examined files stay, and why the others go.

Two files with the same pixels, or near-duplicates, that have opposite labels go both: one of the labels
is wrong, and nothing here can say which.

A million images are held as columns, not as objects: those would need several gigabytes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from medcompare.base.language import message
from medcompare.data.phase_correlation import SAME, Picture
from medcompare.data.quality import MASK, is_named_mask
from medcompare.data.validation import image_warnings, reject_reason
from medcompare.data.variants import MAX_PICTURES, MAX_TESTED, VARIANT, likeness, variant_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from medcompare.config.data import DataConfig
    from medcompare.data.measured import Measured
    from medcompare.data.measuring import MeasuredFiles
    from medcompare.data.sources.listing import ImageSource, SourceFile
    from medcompare.data.validation import ImageMeasurement


REASON_WORDS = (
    message("cannot be opened"),
    message("not a regular file"),
    message("too large"),
    message("empty file"),
    message("not an image"),
    message("truncated"),
    message("damaged"),
    message("too many pixels"),
    message("too small"),
    message("several frames"),
    message("values without a range"),
    message("no decoder"),
    message("opposite labels"),
    message("near-duplicate with opposite label"),
    message("segmentation mask"),
)
"""`medcompare.data.validation.Reason` for the catalogue: stored in English, translated where they are shown."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """Columns of listed files that can be used; all of one length but `source` and `phrases`."""

    source: ImageSource
    phrases: list[tuple[str, ...]]
    """What is said of images; `said` is a place in it."""
    place: NDArray[np.int32]
    """Place in the files of `source`."""
    number: NDArray[np.int64]
    """Number of the content in the store of measurements."""
    label: NDArray[np.int8]
    sha256: NDArray[np.bytes_]
    pixels: NDArray[np.bytes_]
    """SHA-256 of the pixels."""
    width_px: NDArray[np.int32]
    height_px: NDArray[np.int32]
    deep: NDArray[np.bool_]
    """More than 8 bits per pixel."""
    format: NDArray[np.bytes_]
    mode: NDArray[np.bytes_]
    said: NDArray[np.int32]

    def __len__(self) -> int:
        """Images."""
        return len(self.place)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Those images, in that order."""
        names = [field.name for field in fields(self) if field.name not in {"source", "phrases"}]
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    def files(self) -> Iterator[SourceFile]:
        """The listed files."""
        return (self.source.files[i] for i in self.place.tolist())

    def file(self, i: int) -> SourceFile:
        """The listed file of one image."""
        return self.source.files[int(self.place[i])]

    def rejected(self, i: int, reason: str, detail: str) -> Rejected:
        """A row of the table of excluded files for one image."""
        label = self.source.classes[int(self.label[i])]
        return Rejected(path=self.file(i).path, label=label, reason=reason, detail=detail)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """A row of the table of excluded files."""

    path: str
    label: str
    reason: str
    detail: str


def usable_and_rejected(
    files: MeasuredFiles, source: ImageSource, kept: Measured, data: DataConfig
) -> tuple[Images, list[Rejected]]:
    """Files that can be used by themselves, and the others with their reasons."""
    n_files = len(source.files)
    phrases: dict[tuple[str, ...], int] = {}
    columns: dict[str, NDArray[Any]] = {
        "place": np.zeros(n_files, np.int32),
        "number": np.zeros(n_files, np.int64),
        "label": np.zeros(n_files, np.int8),
        "sha256": np.zeros(n_files, "S64"),
        "pixels": np.zeros(n_files, "S64"),
        "width_px": np.zeros(n_files, np.int32),
        "height_px": np.zeros(n_files, np.int32),
        "deep": np.zeros(n_files, bool),
        "format": np.zeros(n_files, "S16"),
        "mode": np.zeros(n_files, "S16"),
        "said": np.zeros(n_files, np.int32),
    }
    rejected: list[Rejected] = []
    label_of = {name: label for label, name in enumerate(source.classes)}
    measurements = kept.measurements(files.image[files.image > 0])
    n = 0
    for i, file in enumerate(source.files):
        one = files.unread.get(i) or next(measurements)
        verdict = _verdict(one, file.path, data)
        if verdict is not None:
            rejected.append(Rejected(path=file.path, label=file.label, reason=verdict[0], detail=verdict[1]))
            continue
        said = phrases.setdefault(image_warnings(one), len(phrases))
        values = (
            i, files.image[i], label_of[file.label], one.sha256, one.pixel_sha256, one.width_px, one.height_px,
            one.span is not None, one.format or "", one.mode, said,
        )  # fmt: skip
        for column, value in zip(columns.values(), values, strict=True):
            column[n] = value
        n += 1
    whole = Images(source=source, phrases=list(phrases), **columns)
    return whole.take(np.arange(n)), rejected


def _verdict(one: ImageMeasurement, path: str, data: DataConfig) -> tuple[str, str] | None:
    verdict = reject_reason(one, min_side_px=data.min_side_px, intensity_range=data.intensity_range)
    if verdict is None and one.quality is not None and is_named_mask(path, one.quality):
        return MASK, "called so, and of one or two grey levels"
    return verdict


def same(values: NDArray[np.bytes_]) -> Iterator[NDArray[np.intp]]:
    """Places of each value that stands more than once, in order of the values."""
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.r_[values[order][1:] != values[order][:-1], True]) + 1
    starts = np.r_[0, ends[:-1]]
    for k in np.flatnonzero(ends - starts > 1):
        yield order[starts[k] : ends[k]]


def exclude_conflicts(usable: Images) -> tuple[int, int, Images, list[Rejected]]:
    """(groups of identical files, groups with opposite labels, images that stay, rejections).

    The two counts are of files with identical bytes; what is excluded goes by pixels, since
    the networks see nothing else.
    """
    identical = [len(set(usable.label[group].tolist())) for group in same(usable.sha256)]
    rejected: list[Rejected] = []
    stays = np.ones(len(usable), dtype=bool)
    for group in same(usable.pixels):
        labels = usable.label[group]
        if (labels == labels[0]).all():
            continue
        words = (
            "identical to" if (usable.sha256[group] == usable.sha256[group[0]]).all() else "same pixels as"
        )
        other = {label: min(usable.file(i).path for i in group[labels != label]) for label in (0, 1)}
        rejected += [
            usable.rejected(i, "opposite labels", f"{words} {other[int(usable.label[i])]}") for i in group
        ]
        stays[group] = False
    return len(identical), sum(n > 1 for n in identical), usable.take(stays), rejected


def pairs_of_variants(usable: Images, kept: Measured) -> tuple[list[tuple[str, str]], tuple[int, int]]:
    """Pairs of digests of pixels of augmented copies, and of how many of the files looked at the pixels agree.

    Where the pixels of at least half agree, all names of one label are believed; otherwise a pair has to agree as
    strongly as near-duplicates do.
    """
    groups = variant_groups([file.path for file in usable.files()])
    pairs = [(group[0], item) for group in groups for item in group[1:]]
    step = -(-len(pairs) // MAX_TESTED) or 1
    found: list[tuple[float, int, int]] = []
    n_tested = 0
    for group in groups[::step]:
        seen: list[tuple[int, Picture]] = []
        for item, thumbnail in zip(group, kept.thumbnails(usable.number[group]), strict=True):
            likenesses = [(likeness(picture, thumbnail), first) for first, picture in seen]
            value, first = max(likenesses, key=lambda pair: pair[0], default=(0.0, item))
            if value >= VARIANT:
                found.append((value, first, item))
            elif len(seen) < MAX_PICTURES:
                seen.append((item, Picture(thumbnail)))
        n_tested += len(group) - 1
    n_found = len(found)
    if 2 * n_found >= n_tested:
        pairs = [(a, b) for a, b in pairs if usable.label[a] == usable.label[b]] + [
            (a, b) for _, a, b in found
        ]
    else:
        pairs = [(a, b) for value, a, b in found if value >= SAME]
    digests = {(usable.pixels[a].decode(), usable.pixels[b].decode()) for a, b in pairs}
    return [(a, b) for a, b in sorted(digests) if a != b], (n_found, n_tested)


def exclude_near_conflicts(usable: Images, near: Sequence[tuple[str, str]]) -> tuple[Images, list[Rejected]]:
    """(images that stay, rejections): both of a pair with opposite labels go, whatever else each resembles."""
    concerned = _with_pixels(usable, {digest for pair in near for digest in pair})
    first: dict[str, tuple[str, int]] = {}
    for i in sorted(concerned, key=lambda i: usable.file(i).path, reverse=True):
        first[usable.pixels[i].decode()] = usable.file(i).path, int(usable.label[i])
    other: dict[str, str] = {}
    for a, b in near:
        if first[a][1] != first[b][1]:
            other.setdefault(a, first[b][0])
            other.setdefault(b, first[a][0])
    stays = np.ones(len(usable), dtype=bool)
    rejected = []
    for i in _with_pixels(usable, other):
        detail = f"shows the same as {other[usable.pixels[i].decode()]}"
        rejected.append(usable.rejected(i, "near-duplicate with opposite label", detail))
        stays[i] = False
    return usable.take(stays), rejected


def _with_pixels(usable: Images, digests: Iterable[str]) -> list[int]:
    wanted = np.array([digest.encode() for digest in digests], dtype="S64")
    return np.flatnonzero(np.isin(usable.pixels, wanted)).tolist()


def shas_by_pixels(usable: Images, pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Digest of pixels -> digests of the files that hold them, of pixels in a pair or in several files."""
    shas: dict[str, set[str]] = {}
    several = (i for group in same(usable.pixels) for i in group.tolist())
    for i in (*several, *_with_pixels(usable, {digest for pair in pairs for digest in pair})):
        shas.setdefault(usable.pixels[i].decode(), set()).add(usable.sha256[i].decode())
    return shas
