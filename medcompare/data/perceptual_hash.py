"""Which images could show the same: a 63-bit hash of low frequencies, searched in sorted lists.

The hash holds the signs of the 63 lowest frequencies of the discrete cosine transform (pHash: Zauner
2010, Implementation and benchmarking of perceptual image hash functions). A flip changes known signs
and a transposition exchanges rows and columns, so every picture has one upright form, and the eight ways
to lie need no eight hashes. Cropped copies are found by asking with crops of the picture too.

`ImageHash`, `imagededup` and `cleanvision` were looked at: the first has no search and neither crops nor
turns; the second needs its own version of torch and compares all pairs; the third compares hashes for equality
only. `faiss` searches bits well, but only near ones, and is 30 MB for the sixty lines below.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SIDE_PX = 64
"""Side of a thumbnail, pixels; the whole image is squeezed into it."""

N_FREQUENCIES = 8
"""Per direction: Zauner's 8 x 8 without the constant."""

CROPS = (
    (1.0, 0.0, 0.0),
    (0.95, 0.0, 0.0),
    (0.91, 0.0, 0.0),
    *((0.91, x, y) for x in (-0.8, 0.8) for y in (-0.8, 0.8)),
)
"""(share of the side, shift right, shift down) of the crops that are asked with; a shift of 1 reaches the edge.
A random crop of 90 % and more then differs in at most 10 bits from one of them (95 % of real images; 20 from
the whole picture), two different pictures in 7 or more (docs/data.md)."""

MAX_BITS = 12
N_NEAREST = 12
"""A picture has at most so many candidates, the nearest: in a set of very similar pictures a limit of bits alone
would let nearly all pairs through."""

N_ROTATIONS = 16
WINDOW = 8
CHUNK = 8192
"""Pictures looked up at once."""
PART = 65536
"""Pictures whose pairs are put in order at once."""

AMBIGUOUS = 0.25
"""A coefficient, or a difference of two, below this share of the picture's low frequencies may change sign in a
copy: then both ways to lie are asked for."""

_BIT_ORDER = 1 + np.arange(63) * 25 % 63
"""25 and 63 have no common factor: neighbouring frequencies, which change together, end up apart."""


HASHED = np.dtype([("asked", "<u8", len(CROPS)), ("ways", "u1", len(CROPS)), ("upright", "u1")])
"""All that the search needs of a picture: hash of each crop, as bits the turns in which it is asked for, and the
turn that brings the picture into its upright form."""


class Candidates(NamedTuple):
    """Pairs worth a second look, ordered by `first`; ``turn`` brings `second` to lie like `first`."""

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    turn: NDArray[np.uint8]


def turned(images: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Images of shape (..., side, side) in one of eight ways to lie: bits 1 and 2 flip, bit 4 transposes after."""
    images = images[..., ::-1] if turn & 1 else images
    images = images[..., ::-1, :] if turn & 2 else images
    return images.swapaxes(-1, -2) if turn & 4 else images


def turned_back(images: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Undo `turned`."""
    return turned(images.swapaxes(-1, -2) if turn & 4 else images, turn & 3)


def coefficients(
    thumbnails: NDArray[np.uint8] | NDArray[np.float32],
    crop: tuple[float, float, float] = CROPS[0],
    n: int = N_FREQUENCIES,
) -> NDArray[np.float32]:
    """Lowest frequencies of a crop of each thumbnail, by the discrete cosine transform (type II).

    Parameters
    ----------
    thumbnails : ndarray of shape (n, SIDE_PX, SIDE_PX), uint8
        Grey pictures.
    crop : tuple of (float, float, float)
        As in `CROPS`.
    n : int
        Frequencies per direction.

    Returns
    -------
    ndarray of shape (len(thumbnails), n, n)
    """
    return coefficients_of_crops(thumbnails, (crop,), n)[:, 0]


def coefficients_of_crops(
    thumbnails: NDArray[np.uint8] | NDArray[np.float32],
    crops: Sequence[tuple[float, float, float]] = CROPS,
    n: int = N_FREQUENCIES,
) -> NDArray[np.float32]:
    """`coefficients` of each of `crops`, shape (len(thumbnails), len(crops), n, n); sooner than one by one."""
    windows = [[((1 - crop[0]) / 2 * (1 + crop[axis]), crop[0]) for crop in crops] for axis in (1, 2)]
    distinct = list(dict.fromkeys(windows[0]))
    # One product for all pictures and crops: many small ones take three times as long.
    across = np.concatenate([_basis(*window, n) for window in distinct]).T
    half = thumbnails.astype(np.float32, copy=False).reshape(-1, SIDE_PX) @ across
    half = half.reshape(len(thumbnails), SIDE_PX, -1)
    found = np.empty((len(thumbnails), len(crops), n, n), np.float32)
    for k, (right, down) in enumerate(zip(*windows, strict=True)):
        place = n * distinct.index(right)
        np.matmul(_basis(*down, n), half[:, :, place : place + n], out=found[:, k])
    return found


@cache
def _basis(start: float, share: float, n: int) -> NDArray[np.float32]:
    """Integral of each cosine over each pixel, the cosines spanning the crop."""
    edges = np.clip((np.linspace(0, 1, SIDE_PX + 1) - start) / share, 0, 1)
    u = np.arange(n)[:, None]
    integral = np.where(u == 0, edges, np.sin(np.pi * u * edges) / (np.pi * np.maximum(u, 1)))
    return (np.diff(integral, axis=1) * np.where(u == 0, 1, np.sqrt(2))).astype(np.float32)


def hashed(thumbnails: NDArray[np.uint8]) -> NDArray[np.void]:
    """What the search needs of each picture, an array of `HASHED`.

    Parameters
    ----------
    thumbnails : ndarray of shape (n, SIDE_PX, SIDE_PX), uint8
        Grey pictures.
    """
    found = np.zeros(len(thumbnails), dtype=HASHED)
    of_crops = coefficients_of_crops(thumbnails)
    for k in range(len(CROPS)):
        c = of_crops[:, k]
        margins = _upright_margins(c)
        found["asked"][:, k] = hashes(c)
        found["ways"][:, k] = np.packbits(margins > -AMBIGUOUS, axis=0, bitorder="little")[0]
        if k == 0:
            found["upright"] = margins.argmax(axis=0)
    return found


def _upright_margins(c: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each of eight turns, how clearly each picture then lies upright; below 0: not.

    Upright is brighter left and above, the former more so. Shape (8, n).
    """
    scale = np.sqrt((c[:, :3, :3].reshape(len(c), -1)[:, 1:] ** 2).mean(axis=1)) + 1e-9
    margins = []
    for turn in range(8):
        a, b = c[:, 0, 1] * (-1 if turn & 1 else 1), c[:, 1, 0] * (-1 if turn & 2 else 1)
        a, b = (b, a) if turn & 4 else (a, b)
        margins.append(np.minimum(np.minimum(a, b), a - b) / scale)
    return np.stack(margins)


def hashes(c: NDArray[np.float32]) -> NDArray[np.uint64]:
    """63 signs of the coefficients of each picture, as one number."""
    bits = np.zeros((len(c), 64), dtype=bool)
    bits[:, 1:] = c.reshape(len(c), N_FREQUENCIES**2)[:, _BIT_ORDER] > 0
    return _packed(bits)


def _packed(bits: NDArray[Any]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8").ravel().astype(np.uint64)


_ROW, _COLUMN = np.divmod(np.r_[0, _BIT_ORDER], N_FREQUENCIES)
"""Frequency, down and right, of each bit."""
_FLIPPED = tuple(_packed((odd % 2 == 1)[None])[0] for odd in (_COLUMN, _ROW))
"""Bits that a flip changes: those of odd cosines."""
_TRANSPOSED = np.argsort(N_FREQUENCIES * _ROW + _COLUMN)[N_FREQUENCIES * _COLUMN + _ROW]
"""Bit of the exchanged frequencies for each bit."""


def turned_hashes(values: NDArray[np.uint64], turn: int) -> NDArray[np.uint64]:
    """Hashes of the turned pictures (`turned`), from those of the pictures."""
    values = values ^ _FLIPPED[0] if turn & 1 else values
    values = values ^ _FLIPPED[1] if turn & 2 else values
    if turn & 4:
        bits = np.unpackbits(values.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
        values = _packed(bits[:, _TRANSPOSED])
    return values


def _bringing(turn_of_first: int, turn_of_second: int) -> int:
    """The one turn that does to a picture what `turn_of_second` does, and `turn_of_first` then undoes."""
    image = np.arange(9, dtype=np.uint8).reshape(3, 3)
    wanted = turned_back(turned(image, turn_of_second), turn_of_first)
    return next(turn for turn in range(8) if (turned(image, turn) == wanted).all())


_BRINGING = np.array([[_bringing(one, other) for other in range(8)] for one in range(8)], dtype=np.uint8)
_BACK = _BRINGING[:, 0]
"""The turn that undoes each."""


def candidates(pictures: NDArray[np.void], *, n_threads: int = 1) -> Candidates:
    """Pairs of pictures that could be copies of one another.

    Every picture, whole and cropped, is looked up in `N_ROTATIONS` sorted lists of the hashes of all in their
    upright form, each list sorted from another bit on: copies that agree in one run of bits stand close together
    in one of them (Charikar 2002, Similarity estimation techniques from rounding algorithms, section 4.1).

    Parameters
    ----------
    pictures : ndarray of shape (n,), `HASHED`
        From `hashed`.
    n_threads : int
        Pictures are looked up in so many threads; the result does not depend on it.

    Returns
    -------
    Candidates
        Each pair and turn once, at most `N_NEAREST` for each picture as first.
    """
    rows = _found(pictures, n_threads)
    rows["turn"] = _BRINGING[rows["turn"], pictures["upright"][rows["second"]]]
    # The same pair from both sides: the better match counts, and of two equal ones that of the lower number.
    swapped = rows["first"] > rows["second"]
    low, high = (np.where(swapped, rows[a], rows[b]) for a, b in (("second", "first"), ("first", "second")))
    turns = np.where(swapped, _BACK[rows["turn"]], rows["turn"])
    kept = [np.zeros(0, np.intp)]
    # A part at a time, as sorting takes several times the memory of what is sorted.
    for start in range(0, len(pictures), PART):
        at = np.flatnonzero((low >= start) & (low < start + PART))
        rank = _key((rows["bits"][at], 4), (swapped[at], 1))
        kept.append(at[_first_of_each(_key((low[at], _BITS), (high[at], _BITS), (turns[at], 3)), rank, 5)])
    del low, high, turns, swapped
    rows = rows[np.concatenate(kept)]
    rows = rows[np.argsort(rows["first"], kind="stable")]
    return Candidates(rows["first"], rows["second"], rows["turn"])


def _found(pictures: NDArray[np.void], n_threads: int) -> NDArray[np.void]:
    """The `N_NEAREST` of all pictures; the sorted lists are gone when what was found is put in order."""
    stored = np.zeros(len(pictures), np.uint64)
    for turn in range(8):
        lying = pictures["upright"] == turn
        stored[lying] = turned_hashes(pictures["asked"][lying, 0], turn)
    index = _Index(stored)
    starts = range(0, len(pictures), CHUNK)
    with ThreadPoolExecutor(n_threads) as pool:
        parts = pool.map(lambda start: _search(pictures[start : start + CHUNK], start, index), starts)
        return np.concatenate([np.zeros(0, _ROWS), *parts])


_BITS = 28
"""A number of a picture has at most so many bits: 268 million pictures."""
_ROWS = np.dtype([("first", "<i4"), ("second", "<i4"), ("bits", "u1"), ("turn", "u1")])


def _key(*parts: tuple[NDArray[Any], int]) -> NDArray[np.uint64]:
    """Numbers of so many bits each, side by side in one that sorts like them."""
    key = np.zeros(len(parts[0][0]), np.uint64)
    for values, n_bits in parts:
        key = (key << np.uint64(n_bits)) | values.astype(np.uint64)
    return key


def _first_of_each(group: NDArray[np.uint64], rank: NDArray[np.uint64], n_bits: int) -> NDArray[np.intp]:
    """Place of the lowest rank, of `n_bits` bits, in each group, ordered by group."""
    order = np.argsort((group << np.uint64(n_bits)) | rank, kind="stable")
    group = group[order]
    is_first = np.ones(len(group), dtype=bool)
    is_first[1:] = group[1:] != group[:-1]
    return order[is_first]


class _Index:
    """Hashes sorted from each of several bits on."""

    def __init__(self, stored: NDArray[np.uint64]) -> None:
        self.lists = []
        for rotation in range(0, 64, 64 // N_ROTATIONS):
            keys = _rotated(stored, rotation)
            order = np.argsort(keys, kind="stable").astype(np.int32)
            self.lists.append((rotation, keys[order], order))

    def near(
        self, asked: NDArray[np.uint64]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.uint8]]]:
        """(index in `asked`, index of a stored hash, bits that differ), list by list."""
        for rotation, keys, order in self.lists:
            turned_keys = _rotated(asked, rotation)
            # Sorted questions go through the list once from end to end, which is many times faster.
            by_key = np.argsort(turned_keys)
            sorted_asked = turned_keys[by_key]
            start = np.searchsorted(keys, sorted_asked) - WINDOW
            for offset in range(2 * WINDOW):
                place = np.clip(start + offset, 0, len(keys) - 1)
                distance = np.bitwise_count(keys[place] ^ sorted_asked)
                hit = np.flatnonzero(distance <= MAX_BITS)
                yield by_key[hit], order[place[hit]], distance[hit]


def _rotated(values: NDArray[np.uint64], by: int) -> NDArray[np.uint64]:
    return values if by == 0 else (values << np.uint64(by)) | (values >> np.uint64(64 - by))


def _search(pictures: NDArray[np.void], start: int, index: _Index) -> NDArray[np.void]:
    """The `N_NEAREST` of each picture of one chunk, which begins at picture `start`, as `_ROWS`."""
    asked, first, turns = [], [], []
    for turn in range(8):
        who, crop = np.nonzero(pictures["ways"] >> turn & 1)
        asked.append(turned_hashes(pictures["asked"][who, crop], turn))
        first.append(who)
        turns.append(np.full(len(who), turn, np.uint8))
    who, turn_of = np.concatenate(first), np.concatenate(turns)
    found = [np.zeros(0, _ROWS)]
    for i, other, bits in index.near(np.concatenate(asked)):
        i, other, bits = (values[who[i] + start != other] for values in (i, other, bits))  # noqa: PLW2901 - fewer
        part = np.empty(len(i), _ROWS)
        part["first"], part["second"], part["bits"], part["turn"] = who[i], other, bits, turn_of[i]
        found.append(part)
    rows = np.concatenate(found)
    rows = rows[
        _first_of_each(
            _key((rows["first"], _BITS), (rows["second"], _BITS), (rows["turn"], 3)), rows["bits"], 4
        )
    ]
    rows = rows[
        np.argsort(_key((rows["first"], _BITS), (rows["bits"], 4), (rows["second"], _BITS)), kind="stable")
    ]
    _, begins, counts = np.unique(rows["first"], return_index=True, return_counts=True)
    rank = np.arange(len(rows)) - np.repeat(begins, counts)
    rows = rows[rank < N_NEAREST]
    rows["first"] += start
    return rows
