"""Whether two pictures show the same: the peak of their band-limited phase correlation.

The phases of all frequencies of a band count alike, so common brightness, colours, frames and stripes say little,
and only two views of one thing agree. (Kuglin, Hines 1975, The phase correlation image alignment method; Ito,
Nakajima, Kobayashi, Aoki, Higuchi 2004, A fingerprint matching algorithm using phase-only correlation, IEICE Trans
E87-A:682-691, for the band.) The lowest frequencies, by which candidates were found, take no part.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import scipy
from PIL import Image

from medcompare.data.perceptual_hash import CROPS, SIDE_PX, coefficients_of_crops

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
"""Agreement of copies. Of about 3,000 candidates that showed different things the highest was 0.33, of discs on noise,
which differ in the noise alone, 0.48; of copies the lowest 0.52, on a crop of 93 % in JPEG (docs/data.md)."""

N_LOW, MAY_AGREE = 12, 0.5
"""Pairs are not compared where so many low frequencies per direction, without the constant, correlate by less: of 5,762
copies that the hash proposed the lowest had 0.63; of 972 pairs of different noise 98 % had less than 0.52, as their
signs agree but not their sizes."""

WORTH_A_LOOK = 0.2
"""Peak of the likeliest crop from which on a pair is compared in full: of copies the lowest was 0.33, of 790 pairs of
different tissue none reached it."""

SMOOTH_REACH = 4
"""The blur that `REACH_PX` is about is cut off at so many standard deviations."""

AT_ONCE = 16
"""More pictures do not fit the cache of a core."""

_N = 2 * HIGHEST + 1
_ROWS = np.r_[0 : HIGHEST + 1, -HIGHEST:0]
_COLUMNS = np.arange(HIGHEST + 1)
"""The other half of the frequencies of a real picture mirrors these."""
_RADIUS = np.hypot(_ROWS[:, None], _COLUMNS)
_BAND = (_RADIUS >= LOWEST) & (_RADIUS <= HIGHEST)
_TIMES = np.where(_COLUMNS == 0, 1, 2).astype(np.float32)
_WINDOW = np.outer(*[np.hanning(SIDE_PX + 2)[1:-1]] * 2).astype(np.float32)


@cache
def _blur() -> NDArray[np.float32]:
    """Gaussian blur of a column as a matrix: three times as fast, as the pictures are this small."""
    unit = np.eye(SIDE_PX, dtype=np.float32)
    return np.asarray(scipy.ndimage.gaussian_filter1d(unit, REACH_PX, axis=0, truncate=SMOOTH_REACH))


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
        self._phases = _phases(_cut(self._image, self._squares))

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
        return self.agreement_with(_phases(other[None]), lambda: Picture(other))

    def agreement_with(self, target: NDArray[np.complex64], other: Callable[[], Picture]) -> float:
        """The same where the phases of the other picture, which is made when it is needed, are known."""
        best = self._around(target)
        if PROMISING <= best < SAME:
            # The other may as well be the whole of which this is a part.
            best = max(best, other()._around(self._phases[:1]))  # noqa: SLF001 - the same class
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
        again, _ = _peaks(
            _phases(_cut(self._image, [(middle_x - s / 2, middle_y - s / 2, s) for s in near])), target
        )
        return float(max(peaks[k], again.max()))


def agreements(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`Picture.agreement` of each of `first` and the picture of `second` at its place, whichever looks like the whole.

    Most candidates show different things and are told by their low frequencies, most others by one look at the crop
    that these say is the likeliest; only what is left is compared in full.

    Parameters
    ----------
    first, second : ndarray of shape (n, SIDE_PX, SIDE_PX), uint8
        Grey pictures that lie the same way.

    Returns
    -------
    ndarray of shape (n,)
        0 of a pair that was not compared in full. The order of two pictures does not matter.
    """
    found = np.zeros(len(first), dtype=np.float32)
    pictures, of_pair = _distinct(first, second)
    low = _low(pictures)
    alike = np.concatenate(
        [np.matmul(low[a], low[b, 0][:, :, None])[:, :, 0] for a, b in (of_pair, of_pair[::-1])], axis=1
    )
    possible = np.flatnonzero(alike.max(axis=1) >= MAY_AGREE)
    likeliest = alike[possible].argmax(axis=1)
    one, other = of_pair[:, possible]
    swapped = likeliest >= len(CROPS)
    whole, part = np.where(swapped, other, one), np.where(swapped, one, other)
    # A picture stands in several pairs: its phases are computed once.
    wanted = np.concatenate([whole * len(CROPS) + likeliest % len(CROPS), part * len(CROPS)])
    views, view_of = np.unique(wanted, return_inverse=True)
    phases = np.empty((len(views), _N, HIGHEST + 1), np.complex64)
    for start in range(0, len(views), AT_ONCE):
        batch = [divmod(view, len(CROPS)) for view in views[start : start + AT_ONCE].tolist()]
        cuts = [
            pictures[i] if k == 0 else _cut(Image.fromarray(pictures[i]), [squares()[k]])[0] for i, k in batch
        ]
        phases[start : start + AT_ONCE] = _phases(np.stack(cuts))
    of_whole, of_part = view_of.reshape(2, -1)
    picture = cache(lambda i: Picture(pictures[i]))
    for start in range(0, len(possible), AT_ONCE):
        these = slice(start, start + AT_ONCE)
        peaks, _ = _peaks(phases[of_whole[these]], phases[of_part[these]])
        for k in start + np.flatnonzero(peaks >= WORTH_A_LOOK):
            target = phases[of_part[k], None]
            found[possible[k]] = picture(int(whole[k])).agreement_with(target, partial(picture, int(part[k])))
    return found


def _distinct(
    first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """(the different pictures, which of them each of `first` and of `second` is, shape (2, n))."""
    place: dict[bytes, int] = {}
    of_pair = [place.setdefault(one.tobytes(), len(place)) for one in (*first, *second)]
    pictures = np.frombuffer(b"".join(place), np.uint8).reshape(-1, SIDE_PX, SIDE_PX)
    return pictures, np.reshape(of_pair, (2, -1))


def _low(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Low frequencies of each crop, of length 1, shape (n, len(CROPS), N_LOW² - 1)."""
    values = coefficients_of_crops(pictures, CROPS, N_LOW).reshape(len(pictures), len(CROPS), -1)[:, :, 1:]
    length = np.sqrt(np.einsum("ijk,ijk->ij", values, values))
    low: NDArray[np.float32] = values / np.maximum(length, 1e-9, dtype=np.float32)[:, :, None]
    return low


def _cut(image: Image.Image, places: Sequence[Square]) -> NDArray[np.uint8]:
    """Squares of a picture, enlarged to its size."""
    cut = []
    for left, top, side in places:
        x, y = (min(max(start, 0.0), SIDE_PX - side) for start in (left, top))
        box = (x, y, x + side, y + side)
        cut.append(np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC, box=box)))
    return np.stack(cut)


def _phases(pictures: NDArray[np.uint8]) -> NDArray[np.complex64]:
    """Frequencies of the band of each picture, of about equal length, those at the level of the noise shorter."""
    values = pictures.astype(np.float32)
    blur = _blur()
    values -= blur @ values @ blur.T
    contrast = blur @ (values * values) @ blur.T
    np.sqrt(contrast, out=contrast)
    contrast += FLOOR
    values /= contrast
    values *= _WINDOW
    spectrum = scipy.fft.rfft2(values)[:, _ROWS, : HIGHEST + 1] * _BAND
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
    surface = scipy.fft.irfft2(a * b.conj(), s=(_N, _N)).reshape(len(a), -1) * _N**2
    place = surface.argmax(axis=1)
    rows, columns = (((axis + _N // 2) % _N - _N // 2) * SIDE_PX / _N for axis in np.divmod(place, _N))
    return surface[np.arange(len(a)), place], list(zip(columns.tolist(), rows.tolist(), strict=True))
