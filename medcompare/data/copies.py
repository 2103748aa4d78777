"""Copies of one picture: found by their pixels, kept on one side of the split."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medcompare.data.perceptual_hash import CHUNK, SIDE_PX, candidates, turned, turned_back, upright_turns
from medcompare.data.phase_correlation import SAME, Picture
from medcompare.data.quality import MIN_SPREAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Kind = Literal["same pixels", "near-duplicate", "augmented copy"]
"""How the files of a group are copies of one another."""

COPY_COLUMNS = ("sha256", "copy_group", "kind")


class Thumbnails:
    """Small grey pictures, kept in a file without a name so that a million of them need no memory.

    Parameters
    ----------
    folder : Path
        Where the file lies until this object goes.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as this object
        self._n = 0

    def add(self, thumbnail: bytes) -> int:
        """Keep one picture of `SIDE_PX` x `SIDE_PX` bytes; its number."""
        self._file.write(thumbnail)
        self._n += 1
        return self._n - 1

    def ordered(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """Pictures of these numbers, shape (n, SIDE_PX, SIDE_PX), in another such file; they may be changed."""
        shape = (len(numbers), SIDE_PX, SIDE_PX)
        if not numbers:
            return np.zeros(shape, np.uint8)
        self._file.flush()
        kept = np.memmap(self._file, np.uint8, mode="r", shape=(self._n, SIDE_PX, SIDE_PX))
        with tempfile.TemporaryFile(dir=self._folder) as file:  # the map keeps it open
            result = np.memmap(file, np.uint8, mode="w+", shape=shape)
        for start in range(0, len(numbers), CHUNK):
            result[start : start + CHUNK] = kept[numbers[start : start + CHUNK]]
        return result


def near_duplicates(pictures: NDArray[np.uint8], *, n_threads: int = 1) -> list[tuple[int, int]]:
    """Pairs of pictures that show the same, though cropped, resized, turned, recompressed or brightened.

    Parameters
    ----------
    pictures : ndarray of shape (n, SIDE_PX, SIDE_PX), uint8
        Thumbnails, no two of the same pixels; brought to lie upright here.
    n_threads : int
        Threads of the search; the result does not depend on it.

    Returns
    -------
    list of tuple of (int, int)
        Numbers of the two, the smaller first, in order. Pictures without contrast are in none.
    """
    rich = np.zeros(len(pictures), dtype=bool)
    for start in range(0, len(pictures), CHUNK):
        part = pictures[start : start + CHUNK]
        rich[start : start + CHUNK] = part.std(axis=(1, 2), dtype=np.float32) >= MIN_SPREAD
        turns = upright_turns(part)
        for i, turn in enumerate(turns):
            part[i] = turned(part[i].copy(), int(turn))
    found: set[tuple[int, int]] = set()
    # Nobody waits for pictures without contrast: they are few.
    rows = (
        row
        for row in zip(*candidates(pictures, n_threads=n_threads), strict=True)
        if rich[row[0]] and rich[row[1]]
    )
    for first, others in groupby(rows, key=lambda row: row[0]):
        picture = Picture(pictures[first])
        for _, second, turn in others:
            pair = (int(min(first, second)), int(max(first, second)))
            if pair not in found and picture.agreement(turned_back(pictures[second], int(turn))) >= SAME:
                found.add(pair)
    return sorted(found)


def groups_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Group of every digest that stands in a pair: the smallest digest that a chain of pairs leads to."""
    pairs = list(pairs)
    digests = sorted({digest for pair in pairs for digest in pair})
    number = {digest: i for i, digest in enumerate(digests)}
    edges = np.array([[number[a], number[b]] for a, b in pairs], dtype=np.intp).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (edges[0], edges[1])), shape=(len(digests), len(digests)))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    return {digest: digests[first[component[i]]] for i, digest in enumerate(digests)}


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
    "same pixels": "{files} files differ in bytes but show the same pixels as another ({groups} groups)",
    "near-duplicate": "{files} images are near-duplicates of another: cropped, resized, recompressed, turned or "
    "brightened ({groups} groups)",
    "augmented copy": "{files} images are variants of {groups} by their names, confirmed in the pixels of {agree} of "
    "{tested} looked at",
}


def copy_warnings(by_kind: Iterable[tuple[str, int, int]], *, agree: int = 0, tested: int = 0) -> list[str]:
    """One sentence for each kind of copies; `agree` of `tested` were confirmed variants."""
    return [
        SAID_OF[kind].format(files=files, groups=groups, agree=agree, tested=tested)
        + ": kept, and kept together in one subset."
        for kind, groups, files in by_kind
    ]
