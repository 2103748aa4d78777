"""Which examined files stay, and why the others go.

Two files with the same pixels, or near-duplicates, that have opposite labels go both: one of the labels
is wrong, and nothing here can say which.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medcompare.data.copies import near_duplicates
from medcompare.data.phase_correlation import SAME, Picture
from medcompare.data.quality import MASK, is_named_mask
from medcompare.data.validation import ImageMeasurement, reject_reason
from medcompare.data.variants import MAX_PICTURES, MAX_TESTED, VARIANT, likeness, variant_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from medcompare.config.data import DataConfig
    from medcompare.data.copies import Thumbnails
    from medcompare.data.sources.listing import ImageSource, SourceFile


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A listed file with what was measured."""

    file: SourceFile
    label: int
    measurement: ImageMeasurement
    thumbnail: int
    """Number of its thumbnail; -1 where near-duplicates are not looked for."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row of the table of excluded files."""

    path: str
    label: str
    reason: str
    detail: str


def usable_and_rejected(
    examined: Iterable[Examined], source: ImageSource, data: DataConfig
) -> tuple[list[Examined], list[Rejected]]:
    """Files that can be used by themselves, and the others with their reasons."""
    usable: list[Examined] = []
    rejected: list[Rejected] = []
    for item in examined:
        verdict = reject_reason(
            item.measurement, min_side_px=data.min_side_px, intensity_range=data.intensity_range
        )
        quality = item.measurement.quality
        if verdict is None and quality is not None and is_named_mask(item.file.path, quality):
            verdict = MASK, "called so, and of one or two grey levels"
        if verdict is None:
            usable.append(item)
        else:
            reason, detail = verdict
            label = source.classes[item.label]
            rejected.append(Rejected(path=item.file.path, label=label, reason=reason, detail=detail))
    return usable, rejected


def exclude_conflicts(
    usable: Sequence[Examined], source: ImageSource
) -> tuple[int, int, list[Examined], list[Rejected]]:
    """(groups of identical files, groups with opposite labels, images that stay, rejections).

    The two counts are of files with identical bytes; what is excluded goes by pixels, since
    the networks see nothing else.
    """
    by_bytes: defaultdict[str, list[Examined]] = defaultdict(list)
    by_pixels: defaultdict[str, list[Examined]] = defaultdict(list)
    for item in usable:
        by_bytes[file_digest(item)].append(item)
        by_pixels[pixel_digest(item)].append(item)
    identical = [group for group in by_bytes.values() if len(group) > 1]
    rejected: list[Rejected] = []
    for group in by_pixels.values():
        if len({item.label for item in group}) == 1:
            continue
        same_bytes = len({file_digest(item) for item in group}) == 1
        for item in group:
            other = min(o.file.path for o in group if o.label != item.label)
            detail = f"{'identical to' if same_bytes else 'same pixels as'} {other}"
            rejected.append(
                Rejected(
                    path=item.file.path,
                    label=source.classes[item.label],
                    reason="opposite labels",
                    detail=detail,
                )
            )
    gone = {item.path for item in rejected}
    return (
        len(identical),
        sum(len({item.label for item in group}) > 1 for group in identical),
        [item for item in usable if item.file.path not in gone],
        rejected,
    )


def pairs_of_near_duplicates(
    usable: Iterable[Examined], thumbnails: Thumbnails, n_threads: int
) -> list[tuple[str, str]]:
    """Pairs of digests of pixels, each pixel content looked at once and in an order that no name changes."""
    number = {pixel_digest(item): item.thumbnail for item in usable}
    digests = sorted(number)
    pictures = thumbnails.ordered([number[digest] for digest in digests])
    return [(digests[a], digests[b]) for a, b in near_duplicates(pictures, n_threads=n_threads)]


def pairs_of_variants(
    usable: Sequence[Examined], thumbnails: Thumbnails
) -> tuple[list[tuple[str, str]], tuple[int, int]]:
    """Pairs of digests of pixels of augmented copies, and of how many of the files looked at the pixels agree.

    Where the pixels of at least half agree, all names of one label are believed; otherwise a pair has to agree as
    strongly as near-duplicates do.
    """
    groups = [[usable[i] for i in group] for group in variant_groups([item.file.path for item in usable])]
    pairs = [(group[0], item) for group in groups for item in group[1:]]
    step = -(-len(pairs) // MAX_TESTED) or 1
    found: list[tuple[float, Examined, Examined]] = []
    n_tested = 0
    for group in groups[::step]:
        seen: list[tuple[Examined, Picture]] = []
        for item in group:
            thumbnail = thumbnails.ordered([item.thumbnail])[0]
            likenesses = [(likeness(picture, thumbnail), first) for first, picture in seen]
            value, first = max(likenesses, key=lambda pair: pair[0], default=(0.0, item))
            if value >= VARIANT:
                found.append((value, first, item))
            elif len(seen) < MAX_PICTURES:
                seen.append((item, Picture(thumbnail)))
        n_tested += len(group) - 1
    n_found = len(found)
    if 2 * n_found >= n_tested:
        pairs = [(a, b) for a, b in pairs if a.label == b.label] + [(a, b) for _, a, b in found]
    else:
        pairs = [(a, b) for value, a, b in found if value >= SAME]
    digests = {(pixel_digest(a), pixel_digest(b)) for a, b in pairs}
    return [(a, b) for a, b in sorted(digests) if a != b], (n_found, n_tested)


def exclude_near_conflicts(
    usable: Sequence[Examined], near: Iterable[tuple[str, str]], source: ImageSource
) -> tuple[list[Examined], list[Rejected]]:
    """(images that stay, rejections): both of a pair with opposite labels go, whatever else each resembles."""
    first = {
        pixel_digest(item): item for item in sorted(usable, key=lambda item: item.file.path, reverse=True)
    }
    other: dict[str, str] = {}
    for a, b in near:
        if first[a].label != first[b].label:
            other.setdefault(a, first[b].file.path)
            other.setdefault(b, first[a].file.path)
    rejected = [
        Rejected(
            path=item.file.path,
            label=source.classes[item.label],
            reason="near-duplicate with opposite label",
            detail=f"shows the same as {other[pixel_digest(item)]}",
        )
        for item in usable
        if pixel_digest(item) in other
    ]
    return [item for item in usable if pixel_digest(item) not in other], rejected


def shas_by_pixels(usable: Iterable[Examined]) -> dict[str, set[str]]:
    """Digest of pixels -> digests of the files that hold them."""
    shas: defaultdict[str, set[str]] = defaultdict(set)
    for item in usable:
        shas[pixel_digest(item)].add(file_digest(item))
    return dict(shas)


def file_digest(item: Examined) -> str:
    """Digest of the bytes of a file that was read.

    Raises
    ------
    AssertionError
        If it was not, which would be an error of the caller.
    """
    if item.measurement.sha256 is None:
        msg = f"{item.file.path} was never read"
        raise AssertionError(msg)
    return item.measurement.sha256


def pixel_digest(item: Examined) -> str:
    """Digest of the pixels of a file that was decoded.

    Raises
    ------
    AssertionError
        If it was not, which would be an error of the caller.
    """
    if item.measurement.pixel_sha256 is None:
        msg = f"{item.file.path} was never decoded"
        raise AssertionError(msg)
    return item.measurement.pixel_sha256
