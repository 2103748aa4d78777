"""Copies of one picture: found by their pixels, kept on one side of the split."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from medcompare.base.hardware import usable_cores
from medcompare.base.language import message, t
from medcompare.data.groups import groups_of
from medcompare.data.perceptual_hash import candidates, turned
from medcompare.data.phase_correlation import SAME, agreements
from medcompare.data.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from medcompare.data.measured import Measured
    from medcompare.data.perceptual_hash import Candidates

Kind = Literal["same pixels", "near-duplicate", "augmented copy"]
"""How the files of a group are copies of one another."""

KIND_WORDS = (message("same pixels"), message("near-duplicate"), message("augmented copy"))

COPY_COLUMNS = ("sha256", "copy_group", "kind")


PAIRS_AT_ONCE = 500
MANY_PAIRS = 2000
"""Fewer are compared sooner than processes have started."""


def near_duplicates(
    pixels: NDArray[np.bytes_],
    numbers: NDArray[np.int64],
    kept: Measured,
    *,
    progress: Callable[[int, int], None] | None = None,
    n_workers: int | None = None,
) -> list[tuple[str, str]]:
    """Pairs of pictures that show the same, though cropped, resized, turned, recompressed or brightened.

    Parameters
    ----------
    pixels : ndarray of shape (n,), bytes
        Digests of pixels, each once and in order, so that no name changes the result.
    numbers : ndarray of shape (n,), int
        Numbers of their images in `kept`.
    kept : Measured
        Holds hashes and thumbnails; what was compared before is taken from it, and what is compared now is kept.
    progress : callable, optional
        Called with (pairs compared, pairs in all).
    n_workers : int, optional
        Processes that compare; None: as many as cores where pairs are many. The result does not depend on it.

    Returns
    -------
    list of tuple of (str, str)
        Digests of pixels, the smaller first, in order. Pictures without contrast are in none.
    """
    hashes, rich = kept.hashes(numbers)
    pixels, numbers = pixels[rich], numbers[rich]
    found = candidates(hashes[rich], n_threads=usable_cores())
    del hashes
    keys = _keys(pixels, found)
    known, agreed = kept.compared()
    place = np.minimum(np.searchsorted(known, keys), max(len(known) - 1, 0))
    is_known = known[place] == keys if len(known) else np.zeros(len(keys), bool)
    same = np.zeros(len(keys), bool)
    same[is_known] = agreed[place[is_known]]
    todo, n_done = np.flatnonzero(~is_known), 0
    if n_workers is None:
        n_workers = usable_cores() if len(todo) >= MANY_PAIRS else 0
    parts = [todo[start : start + PAIRS_AT_ONCE] for start in range(0, len(todo), PAIRS_AT_ONCE)]
    with Workers(n_workers) as workers:
        answers = workers.map(agreements, (_pictures(found, part, numbers, kept) for part in parts))
        for part, agreement in zip(parts, answers, strict=True):
            same[part] = agreement >= SAME
            kept.add_compared(keys[part], same[part])
            n_done += len(part)
            if progress is not None:
                progress(n_done, len(todo))
    both = np.sort(np.stack([found.first[same], found.second[same]], axis=1), axis=1)
    return [(pixels[a].decode(), pixels[b].decode()) for a, b in np.unique(both, axis=0)]


def _keys(pixels: NDArray[np.bytes_], pairs: Candidates) -> NDArray[np.int64]:
    """One number for the contents and the turn of each pair, in which two of ten million agree once in 90,000 sets."""
    words = np.array([int(digest[:16], 16) for digest in pixels.tolist()], dtype=np.uint64)
    factors = [np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)]
    mixed = words[pairs.first] * factors[0] + words[pairs.second] * factors[1] + pairs.turn * factors[2]
    keys: NDArray[np.int64] = (mixed >> np.uint64(1)).astype(np.int64)
    return keys


def _pictures(
    pairs: Candidates, which: NDArray[np.intp], numbers: NDArray[np.int64], kept: Measured
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Thumbnails of these pairs, the second turned to lie like the first."""
    places, of_pair = np.unique(np.stack([pairs.first[which], pairs.second[which]]), return_inverse=True)
    thumbnails = kept.thumbnails(numbers[places])
    first, second = (thumbnails[k] for k in of_pair.reshape(2, -1))
    for turn in range(1, 8):
        lying = pairs.turn[which] == turn
        second[lying] = turned(second[lying], turn)
    return first, second


def copy_table(
    shas_of: Mapping[str, Iterable[str]], pairs: Mapping[Kind, Iterable[tuple[str, str]]]
) -> list[tuple[str, str, Kind]]:
    """Rows (sha256, group, kind) of every file that is a copy of a file with other bytes.

    Parameters
    ----------
    shas_of : mapping
        Digest of pixels -> digests of the files that hold them.
    pairs : mapping
        Kind -> digests of pixels of two such copies; a pair of which one is not in `shas_of` does not count.
    """
    rows: set[tuple[str, str, Kind]] = set()
    for pixels, shas in shas_of.items():
        if len(set(shas)) > 1:
            rows |= {(sha, pixels, "same pixels") for sha in shas}
    for kind, found in pairs.items():
        present = [pair for pair in found if shas_of.keys() >= set(pair)]
        for pixels, group in groups_of(present).items():
            rows |= {(sha, group, kind) for sha in shas_of[pixels]}
    return sorted(rows)


def copies_by_kind(rows: Iterable[tuple[str, str, Kind]]) -> tuple[tuple[str, int, int], ...]:
    """(kind, groups, files) of the rows of a `copy_table`, for each kind that occurs."""
    of_kind: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for sha, group, kind in rows:
        of_kind[kind].append((group, sha))
    return tuple(
        (kind, len({group for group, _ in of_kind[kind]}), len(of_kind[kind]))
        for kind in get_args(Kind)
        if kind in of_kind
    )


SAID_OF = {
    "same pixels": message(
        "Files that differ in bytes but show the same pixels as another: {files:,} (groups: {groups:,}). They are "
        "kept, and kept together in one subset."
    ),
    "near-duplicate": message(
        "Near-duplicates of another image (cropped, resized, recompressed, turned or brightened): {files:,} (groups: "
        "{groups:,}). They are kept, and kept together in one subset."
    ),
    "augmented copy": message(
        "Variants by their names: {files:,}, of images: {groups:,}; confirmed in the pixels of {agree:,} of "
        "{tested:,} looked at. They are kept, and kept together in one subset."
    ),
}


def copy_warnings(by_kind: Iterable[tuple[str, int, int]], *, agree: int = 0, tested: int = 0) -> list[str]:
    """One sentence for each kind of copies; `agree` of `tested` were confirmed variants."""
    return [
        t(SAID_OF[kind], files=files, groups=groups, agree=agree, tested=tested)
        for kind, groups, files in by_kind
    ]
