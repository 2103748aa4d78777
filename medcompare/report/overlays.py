"""Maps of evidence, drawn over the small pictures of cases.

The picture turns grey, the evidence has the colour: from violet to yellow, ever lighter (viridis, which people
with any colour vision order alike); a line in black and white is seen on every ground, in a grey print too.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from PIL import Image

from medcompare.base.language import message
from medcompare.report.inputs import CaseMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.predictions.saliency import SaliencyMaps

MAX_OPACITY = 0.7
"""Of the strongest evidence: the picture stays to be seen through it."""
LINE_AT = 0.5
"""Share of the strongest place of an image that the line encloses."""
UNSEEN = 0.55
"""How far the edge that the network does not see is faded to white."""
NINTHS = (
    (message("upper left"), message("upper"), message("upper right")),
    (message("middle left"), message("centre"), message("middle right")),
    (message("lower left"), message("lower"), message("lower right")),
)
"""Where in an image, by row and column."""


class Overlays:
    """Maps of one model, on one scale: from no evidence to what half of them reach at their strongest place.

    A single map far above the others would leave those without colour, were the scale to end there.

    Parameters
    ----------
    found : SaliencyMaps
        Of the model.
    maps : ndarray of shape (n_cases, cells, cells)
        As `read_maps` gives them.
    """

    def __init__(self, found: SaliencyMaps, maps: NDArray[np.float32]) -> None:
        self._found = found
        self._maps = dict(zip(found.cases, maps.astype(np.float64), strict=True))
        self._full = max(float(np.median(maps.max(axis=(1, 2)))), 0.0)

    def of(self, case_id: str, picture: bytes) -> CaseMap:
        """The map of a case over its `picture`, which shows the centre square of the whole image."""
        with Image.open(io.BytesIO(picture)) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float64) / 255
        evidence, seen = self._spread(self._maps[case_id], len(pixels))
        own = max(float(evidence[seen].max(initial=0.0)), 0.0)
        # Where most maps have nothing above 0, any evidence has the full colour.
        share = np.where(seen, np.clip(evidence / (self._full or np.finfo(float).tiny), 0, 1), 0)
        grey = (pixels @ (0.299, 0.587, 0.114))[..., None]
        drawn = coloured(np.where(seen[..., None], grey, pixels + (1 - pixels) * UNSEEN), share)
        if own > 0:
            _outline(drawn, seen & (evidence >= LINE_AT * own))
        out = io.BytesIO()
        # JPEG: a third of the PNG, at a quality at which 112 pixels show no difference.
        Image.fromarray(np.round(255 * drawn).astype(np.uint8)).save(out, "JPEG", quality=88, subsampling=0)
        strongest = np.unravel_index(np.argmax(np.where(seen, evidence, -np.inf)), seen.shape)
        place = None if own <= 0 else _place(strongest, seen)
        return CaseMap(model=self._found.model, jpeg=out.getvalue(), strongest_at=place)

    def _spread(self, cells: NDArray[np.float64], n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Evidence at each pixel of a picture of side `n`, between the centres of the cells; and what is seen."""
        found = self._found
        # Positions of the picture's pixels in what the network sees, its centre square.
        unit = found.resize_px / n
        at = (np.arange(n) + 0.5) * unit - (found.resize_px - found.image_size_px) / 2
        place = np.clip((at - 0.5 - found.origin_px) / found.step_px, 0, found.cells - 1)
        weights = np.clip(1 - np.abs(place[:, None] - np.arange(found.cells)), 0, None)
        inside = (at >= 0) & (at <= found.image_size_px)
        return weights @ cells @ weights.T, inside[:, None] & inside


def coloured(ground: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """`ground` (h, w, 3 or 1), 0 to 1, under the colours of `share` (h, w), 0 to 1: the more, the less transparent."""
    opacity = MAX_OPACITY * np.sqrt(share)[..., None]
    return ground * (1 - opacity) + colormaps["viridis"](share)[..., :3] * opacity


def _outline(drawn: NDArray[np.float64], chosen: NDArray[np.bool_]) -> None:
    """Draw a line around `chosen`: white inside, black outside."""
    padded = np.pad(chosen, 1, mode="edge")
    around = [
        padded[1 + i : len(chosen) + 1 + i, 1 + j : len(chosen) + 1 + j]
        for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0))
    ]
    drawn[chosen & ~np.logical_and.reduce(around)] = 1
    drawn[~chosen & np.logical_or.reduce(around)] = 0


def _place(at: tuple[np.intp, ...], seen: NDArray[np.bool_]) -> str:
    """Where a pixel lies of what is `seen`, in words: its ninth."""
    first, length = int(np.argmax(seen.any(axis=0))), int(seen.any(axis=0).sum())
    row, column = (min(2, int(3 * (int(i) - first) / length)) for i in at)
    return NINTHS[row][column]


def scale_png() -> bytes:
    """The scale of the colours on a medium grey, from none to full, left to right."""
    share = np.broadcast_to(np.linspace(0, 1, 200), (10, 200))
    out = io.BytesIO()
    Image.fromarray(np.round(255 * coloured(np.full((10, 200, 1), 0.6), share)).astype(np.uint8)).save(
        out, "PNG"
    )
    return out.getvalue()


def read_maps(found: SaliencyMaps, store: ArtifactStore) -> NDArray[np.float32]:
    """The maps, of shape (n_cases, cells, cells).

    Raises
    ------
    ArtifactError
        If the file is gone or altered.
    """
    maps: NDArray[np.float32] = np.load(io.BytesIO(store.read(found.maps)), allow_pickle=False)
    return maps
