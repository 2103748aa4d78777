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
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

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
"""Pictures at once: about 0.2 GB with all their crops and turns."""

AMBIGUOUS = 0.25
"""A coefficient, or a difference of two, below this share of the picture's low frequencies may change sign in a
copy: then both ways to lie are asked for."""

_BIT_ORDER = 1 + np.arange(63) * 25 % 63
"""25 and 63 have no common factor: neighbouring frequencies, which change together, end up apart."""


class Candidates(NamedTuple):
    """Pairs worth a second look, ordered by `first`; ``turn`` brings its upright form to lie like `second`."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    turn: NDArray[np.intp]


def turned(images: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Images of shape (..., side, side) in one of eight ways to lie: bits 1 and 2 flip, bit 4 transposes after."""
    images = images[..., ::-1] if turn & 1 else images
    images = images[..., ::-1, :] if turn & 2 else images
    return images.swapaxes(-1, -2) if turn & 4 else images


def turned_back(images: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Undo `turned`."""
    return turned(images.swapaxes(-1, -2) if turn & 4 else images, turn & 3)


def coefficients(
    thumbnails: NDArray[np.uint8] | NDArray[np.float32], crop: tuple[float, float, float] = CROPS[0]
) -> NDArray[np.float32]:
    """Lowest frequencies of a crop of each thumbnail, by the discrete cosine transform (type II).

    Parameters
    ----------
    thumbnails : ndarray of shape (n, SIDE_PX, SIDE_PX), uint8
        Grey pictures.
    crop : tuple of (float, float, float)
        As in `CROPS`.

    Returns
    -------
    ndarray of shape (n, N_FREQUENCIES, N_FREQUENCIES)
    """
    share, right, down = crop
    across, along = (_basis((1 - share) / 2 * (1 + shift), share) for shift in (right, down))
    return along @ thumbnails.astype(np.float32, copy=False) @ across.T


def _basis(start: float, share: float) -> NDArray[np.float32]:
    """Integral of each cosine over each pixel, the cosines spanning the crop."""
    edges = np.clip((np.linspace(0, 1, SIDE_PX + 1) - start) / share, 0, 1)
    u = np.arange(N_FREQUENCIES)[:, None]
    integral = np.where(u == 0, edges, np.sin(np.pi * u * edges) / (np.pi * np.maximum(u, 1)))
    return (np.diff(integral, axis=1) * np.where(u == 0, 1, np.sqrt(2))).astype(np.float32)


def _turned_coefficients(c: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """Coefficients of turned images: a flip changes the sign of the odd cosines."""
    signs = np.where(np.arange(N_FREQUENCIES) % 2, -1, 1).astype(np.float32)
    c = c * signs if turn & 1 else c
    c = c * signs[:, None] if turn & 2 else c
    return c.swapaxes(1, 2) if turn & 4 else c


def _upright_margin(c: NDArray[np.float32]) -> NDArray[np.float32]:
    """How clearly each picture lies upright (brighter left and above, the former more so); below 0: not."""
    a, b = c[:, 0, 1], c[:, 1, 0]
    scale = np.sqrt((c[:, :3, :3].reshape(len(c), -1)[:, 1:] ** 2).mean(axis=1)) + 1e-9
    margin: NDArray[np.float32] = np.minimum(np.minimum(a, b), a - b) / scale
    return margin


def upright_turns(thumbnails: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The turn, of eight, that brings each picture into its upright form."""
    c = coefficients(thumbnails)
    turns: NDArray[np.intp] = np.argmax(
        [_upright_margin(_turned_coefficients(c, turn)) for turn in range(8)], axis=0
    )
    return turns


def hashes(c: NDArray[np.float32]) -> NDArray[np.uint64]:
    """63 signs of the coefficients of each picture, as one number."""
    bits = np.zeros((len(c), 64), dtype=bool)
    bits[:, 1:] = c.reshape(len(c), N_FREQUENCIES**2)[:, _BIT_ORDER] > 0
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def candidates(upright: NDArray[np.uint8], *, n_threads: int = 1) -> Candidates:
    """Pairs of pictures that could be copies of one another.

    Every picture, whole and cropped, is looked up in `N_ROTATIONS` sorted lists of the hashes of all, each list
    sorted from another bit on: copies that agree in one run of bits stand close together in one of them
    (Charikar 2002, Similarity estimation techniques from rounding algorithms, section 4.1).

    Parameters
    ----------
    upright : ndarray of shape (n, SIDE_PX, SIDE_PX), uint8
        Thumbnails in their upright form; may lie in a file.
    n_threads : int
        Pictures are looked up in so many threads; the result does not depend on it.

    Returns
    -------
    Candidates
        Each pair once, at most `N_NEAREST` for each picture as first.
    """
    chunks = [slice(start, start + CHUNK) for start in range(0, len(upright), CHUNK)]
    with ThreadPoolExecutor(n_threads) as pool:
        stored = np.concatenate(
            [np.zeros(0, np.uint64), *pool.map(lambda part: hashes(coefficients(upright[part])), chunks)]
        )
        index = _Index(stored)
        found = list(pool.map(lambda part: _search(upright[part], part.start, index), chunks))
    rows = np.concatenate([np.zeros((0, 4), np.int64), *found])
    # The same pair from both sides: the better match counts.
    low, high = rows[:, :2].min(axis=1), rows[:, :2].max(axis=1)
    order = np.lexsort((rows[:, 0], rows[:, 2], rows[:, 3], high, low))
    rows, low, high = rows[order], low[order], high[order]
    first_of_pair = np.ones(len(rows), dtype=bool)
    first_of_pair[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1]) | (rows[1:, 3] != rows[:-1, 3])
    rows = rows[first_of_pair]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return Candidates(rows[:, 0], rows[:, 1], rows[:, 3])


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


def _search(upright: NDArray[np.uint8], start: int, index: _Index) -> NDArray[np.int64]:
    """Rows (first, second, bits, turn) of the pictures of one chunk, which begins at picture `start`."""
    asked, who, turn_of = [], [], []
    values = upright.astype(np.float32)
    for box in CROPS:
        c = coefficients(values, box)
        for turn in range(8):
            lying = _turned_coefficients(c, turn)
            plausible = np.flatnonzero(_upright_margin(lying) > -AMBIGUOUS)
            asked.append(hashes(lying[plausible]))
            who.append(plausible + start)
            turn_of.append(np.full(len(plausible), turn))
    questions, first = np.concatenate(asked), np.concatenate(who)
    turns = np.concatenate(turn_of)
    parts = [
        np.stack([first[i], other, bits, turns[i]], axis=1)[first[i] != other]
        for i, other, bits in index.near(questions)
    ]
    return _nearest(np.concatenate(parts).astype(np.int64))


def _nearest(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The best match of every pair, and of these the `N_NEAREST` of each first picture."""
    rows = rows[np.lexsort((rows[:, 2], rows[:, 3], rows[:, 1], rows[:, 0]))]
    best = np.ones(len(rows), dtype=bool)
    best[1:] = (rows[1:][:, [0, 1, 3]] != rows[:-1][:, [0, 1, 3]]).any(axis=1)
    rows = rows[best]
    rows = rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]
    _, begins, counts = np.unique(rows[:, 0], return_index=True, return_counts=True)
    rank = np.arange(len(rows)) - np.repeat(begins, counts)
    return rows[rank < N_NEAREST]
