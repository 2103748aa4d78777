"""Whether two pictures show the same: the peak of their band-limited phase correlation.

The phases of all frequencies of a band count alike, so common brightness, colours, frames and stripes say little,
and only two views of one thing agree. (Kuglin, Hines 1975, The phase correlation image alignment method; Ito,
Nakajima, Kobayashi, Aoki, Higuchi 2004, A fingerprint matching algorithm using phase-only correlation, IEICE Trans
E87-A:682-691, for the band.) The lowest frequencies, by which candidates were found, take no part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from medcompare.data.perceptual_hash import CROPS, SIDE_PX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Square = tuple[float, float, float]

LOWEST, HIGHEST = 3, 22
"""Band of frequencies, periods per side: above those of the hash's strongest, below what JPEG leaves unsure."""

NOISE = 3.0
"""Amplitude below which a phase is chance: on plain ground rounding to whole grey levels, divided by `FLOOR`, gives
this (sqrt(SIDE_PX² · mean square of the window / 12) / 2)."""

REACH_PX = 2.0
FLOOR = 2.0
"""The picture is divided by its contrast within about `REACH_PX` pixels of a thumbnail, and `FLOOR` grey levels:
otherwise one spot on plain ground, a mole, decides all phases, and two spots agree."""

MIN_FREQUENCIES = 150.0
"""Smooth pictures have fewer frequencies above the noise, and chance alone lets few phases agree."""

PROMISING = 0.25
"""A peak from which on a better position is looked for."""

SAME = 0.5
"""Agreement of copies. Of about 1,900 candidates that showed different things the highest was 0.23, of discs on noise,
which differ in the noise alone, 0.48; of copies the lowest 0.52, on a crop of 93 % in JPEG (docs/data.md)."""

SMOOTH_REACH = 4
"""The blur that `REACH_PX` is about is cut off at so many standard deviations."""

PAIRS_AT_ONCE = 16
"""More do not fit the cache of a core."""

_N = 2 * HIGHEST + 1
_ROWS = np.r_[0 : HIGHEST + 1, -HIGHEST:0]
_COLUMNS = np.arange(HIGHEST + 1)
"""The other half of the frequencies of a real picture mirrors these."""
_RADIUS = np.hypot(_ROWS[:, None], _COLUMNS)
_BAND = (_RADIUS >= LOWEST) & (_RADIUS <= HIGHEST)
_TIMES = np.where(_COLUMNS == 0, 1, 2).astype(np.float32)
_WINDOW = np.outer(*[np.hanning(SIDE_PX + 2)[1:-1]] * 2).astype(np.float32)
_BLUR = ndimage.gaussian_filter1d(np.eye(SIDE_PX, dtype=np.float32), REACH_PX, axis=0, truncate=SMOOTH_REACH)
"""Gaussian blur of a column as a matrix: three times as fast, as the pictures are this small."""


def squares(crops: Sequence[tuple[float, float, float]] = CROPS) -> list[Square]:
    """(left, top, side) of each crop in pixels of a thumbnail."""
    sides = [share * SIDE_PX for share, _, _ in crops]
    return [
        ((SIDE_PX - side) / 2 * (1 + right), (SIDE_PX - side) / 2 * (1 + down), side)
        for side, (_, right, down) in zip(sides, crops, strict=True)
    ]


class Picture:
    """One picture to which others are compared, as a whole and as part of it.

    Parameters
    ----------
    thumbnail : ndarray of shape (SIDE_PX, SIDE_PX), uint8
        Grey picture.
    """

    def __init__(self, thumbnail: NDArray[np.uint8]) -> None:
        self._image = Image.fromarray(np.ascontiguousarray(thumbnail))
        self._squares = squares()
        self._phases = _phases(self._cut(self._squares))

    def agreement(self, other: NDArray[np.uint8]) -> float:
        """Agreement with a picture that lies the same way: about 1 for a copy, 0.1 to 0.3 for another one.

        Parameters
        ----------
        other : ndarray of shape (SIDE_PX, SIDE_PX), uint8
            Grey picture.

        Returns
        -------
        float
            The highest over `CROPS` and, where that is promising, sizes and positions near the best of them, of
            this picture and of `other`; 0 where one is too smooth to tell.
        """
        return self.agreement_with(_phases(other[None]), other)

    def agreement_with(self, target: NDArray[np.complex64], other: NDArray[np.uint8]) -> float:
        """The same where the phases of `other` are known."""
        best = self._around(target)
        if PROMISING <= best < SAME:
            # The other may as well be the whole of which this is a part.
            best = max(best, Picture(other)._around(self._phases[:1]))  # noqa: SLF001 - the same class
        return best

    def _around(self, target: NDArray[np.complex64]) -> float:
        peaks, shifts = _peaks(self._phases, target)
        k = int(peaks.argmax())
        if not PROMISING <= peaks[k] < SAME:
            return float(peaks[k])
        left, top, side = self._squares[k]
        middle_x, middle_y = (
            start + side / 2 + shift * side / SIDE_PX
            for start, shift in zip((left, top), shifts[k], strict=True)
        )
        near = [min(side * factor, SIDE_PX) for factor in (1.0, 0.97, 1.03)]
        again, _ = _peaks(_phases(self._cut([(middle_x - s / 2, middle_y - s / 2, s) for s in near])), target)
        return float(max(peaks[k], again.max()))

    def _cut(self, places: Sequence[Square]) -> NDArray[np.uint8]:
        cut = []
        for left, top, side in places:
            x, y = (min(max(start, 0.0), SIDE_PX - side) for start in (left, top))
            box = (x, y, x + side, y + side)
            cut.append(np.asarray(self._image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC, box=box)))
        return np.stack(cut)


def agreements(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`Picture.agreement` of each of `first` with the picture of `second` at its place.

    Parameters
    ----------
    first, second : ndarray of shape (n, SIDE_PX, SIDE_PX), uint8
        Grey pictures that lie the same way. Where one stands several times in a row in `first` it costs once.

    Returns
    -------
    ndarray of shape (n,)
    """
    found = np.zeros(len(first), dtype=np.float32)
    for start in range(0, len(first), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        begins = np.ones(len(first[part]), dtype=bool)
        begins[1:] = (first[part][1:] != first[part][:-1]).any(axis=(1, 2))
        pictures = [Picture(thumbnail) for thumbnail in first[part][begins]]
        targets = _phases(second[part])
        for i, k in enumerate(np.cumsum(begins) - 1):
            found[start + i] = pictures[k].agreement_with(targets[i : i + 1], second[start + i])
    return found


def _phases(pictures: NDArray[np.uint8]) -> NDArray[np.complex64]:
    """Frequencies of the band of each picture, of about equal length, those at the level of the noise shorter."""
    values = pictures.astype(np.float32)
    detail = values - _BLUR @ values @ _BLUR.T
    contrast = np.sqrt(_BLUR @ detail**2 @ _BLUR.T) + FLOOR
    spectrum = fft.rfft2(detail / contrast * _WINDOW)[:, _ROWS, : HIGHEST + 1] * _BAND
    size = np.abs(spectrum)
    weight = size / (size + NOISE)
    length = np.sqrt((weight**2 @ _TIMES).sum(axis=1))
    length[(weight @ _TIMES).sum(axis=1) < MIN_FREQUENCIES] = np.inf
    phases: NDArray[np.complex64] = spectrum / (size + NOISE) / np.maximum(length, 1e-9)[:, None, None]
    return phases


def _peaks(
    a: NDArray[np.complex64], b: NDArray[np.complex64]
) -> tuple[NDArray[np.float32], list[tuple[float, float]]]:
    """(height of each peak, (right, down) of `a` against `b` in pixels of a thumbnail)."""
    surface = fft.irfft2(a * b.conj(), s=(_N, _N)).reshape(len(a), -1) * _N**2
    place = surface.argmax(axis=1)
    rows, columns = (((axis + _N // 2) % _N - _N // 2) * SIDE_PX / _N for axis in np.divmod(place, _N))
    return surface[np.arange(len(a)), place], list(zip(columns.tolist(), rows.tolist(), strict=True))
