"""Drawing one histology-like patch, as if stained with haematoxylin and eosin.

Everything is generated from random numbers: no image, no part of one, was used. Light passes
through two dyes, so colours are mixed in optical density (Beer-Lambert), as in a real slide:
intensity = white x exp(-(haematoxylin x density_h + eosin x density_e)).

What distinguishes the classes is the build of nuclei: size, its variation, irregular outlines,
coarse chromatin, disorder. What does not: the stained area, which is drawn from the same
distribution for both classes and then met exactly, and the stain itself, which varies by patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

HAEMATOXYLIN = (0.65, 0.70, 0.29)
EOSIN = (0.07, 0.99, 0.11)
"""Optical density of the dyes in red, green and blue.
Source: Ruifrok & Johnston (2001), Anal Quant Cytol Histol 23:291."""

REFERENCE_SIDE_PX = 96
"""Side for which the lengths below hold; other sides scale them."""

MEAN_RADIUS_PX = 6.2
"""Geometric mean of nuclear radii half-way between the classes."""

SIZE_EFFECT = 0.17
"""Change of the logarithm of the mean radius with one unit of atypia."""

LARGEST_RADIUS_PX = 13.0
BYSTANDER_RADIUS_PX = 4.3
MARGIN_PX = 4.0
"""How far outside the patch a nucleus may be centred."""

SHARE_WITHOUT_LUMEN = 0.4
MAX_NUCLEI = 600
NUCLEI_AT_ONCE = 16
N_HARMONICS = 4
EDGE_SHARE = 0.15
"""Softness of a nuclear outline as a share of the radius. A constant width would give small
nuclei more half-tones per stained area, and the colours alone would tell the classes apart."""


@dataclass(frozen=True, kw_only=True)
class Stain:
    """How one patient's slide was stained and scanned."""

    haematoxylin: FloatArray
    eosin: FloatArray
    h_strength: float
    e_strength: float
    white: FloatArray


@dataclass(frozen=True, kw_only=True)
class Atypia:
    """How abnormal nuclei look, each around -1 (regular) to +1 (atypical), unbounded."""

    size: float
    variation: float
    outline: float
    chromatin: float
    disorder: float


def draw_stain(rng: np.random.Generator) -> Stain:
    """A patient's stain: hue, strength and the white of the scanner all vary."""
    return Stain(
        haematoxylin=_hue(HAEMATOXYLIN, rng),
        eosin=_hue(EOSIN, rng),
        h_strength=float(np.exp(rng.normal(0.0, 0.20))),
        e_strength=float(np.exp(rng.normal(0.0, 0.25))),
        white=np.clip(rng.normal(242.0, 5.0, size=3), 225.0, 255.0),
    )


def _hue(dye: tuple[float, float, float], rng: np.random.Generator) -> FloatArray:
    vector = np.clip(np.asarray(dye) + rng.normal(0.0, 0.05, size=3), 0.02, None)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)


def draw_patch(atypia: Atypia, stain: Stain, side_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One patch of tissue.

    Parameters
    ----------
    atypia : Atypia
        What the nuclei look like.
    stain : Stain
        The patient's stain.
    side_px : int
        Side of the square, pixels.
    rng : Generator
        Source of all randomness of this patch.

    Returns
    -------
    ndarray of shape (side_px, side_px, 3), uint8
        Red, green, blue.
    """
    scale = side_px / REFERENCE_SIDE_PX
    coarse = _noise(side_px, 14.0 * scale, rng)
    fibres = _fibres(side_px, scale, rng)
    lumen, centre, lumen_radius = _lumen(side_px, scale, rng)
    coverage = float(np.clip(rng.normal(0.22, 0.045), 0.09, 0.36))
    nuclei, texture = _nuclei(atypia, side_px, coverage, (centre, lumen_radius), rng)
    grain = float(np.exp(rng.normal(0.0, 0.15)))
    density_h = nuclei * (0.95 + texture) * grain + 0.10 + 0.04 * coarse
    density_e = 0.42 + 0.10 * coarse + 0.12 * fibres - 0.22 * nuclei
    tissue = 1.0 - lumen * (1.0 - nuclei)
    density_h = np.clip(density_h * tissue * stain.h_strength, 0.0, None)
    density_e = np.clip(density_e * tissue * stain.e_strength, 0.0, None)
    optical = density_h[..., None] * stain.haematoxylin + density_e[..., None] * stain.eosin
    light = stain.white * np.exp(-1.15 * optical) + rng.normal(0.0, 2.0, size=(side_px, side_px, 3))
    pixels: NDArray[np.uint8] = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return pixels


def _noise(side_px: int, length_px: float, rng: np.random.Generator) -> FloatArray:
    """Smooth noise of mean 0 and standard deviation 1 with the given correlation length."""

    def response(fy: FloatArray, fx: FloatArray) -> FloatArray:
        passed: FloatArray = np.exp(-2 * (np.pi * length_px / 2) ** 2 * (fy**2 + fx**2))
        return passed

    return _filtered(side_px, response, rng)


def _fibres(side_px: int, scale: float, rng: np.random.Generator) -> FloatArray:
    """Noise stretched along one direction, like bundles of collagen."""
    angle = rng.uniform(0.0, np.pi)
    along, across = 16.0 * scale, 1.6 * scale

    def response(fy: FloatArray, fx: FloatArray) -> FloatArray:
        u, v = np.cos(angle) * fx + np.sin(angle) * fy, -np.sin(angle) * fx + np.cos(angle) * fy
        passed: FloatArray = np.exp(-2 * np.pi**2 * ((along / 2 * u) ** 2 + (across / 2 * v) ** 2))
        return passed

    return _filtered(side_px, response, rng)


def _filtered(
    side_px: int, response: Callable[[FloatArray, FloatArray], FloatArray], rng: np.random.Generator
) -> FloatArray:
    """White noise shaped by a `response` to frequencies (cycles per pixel), standardised."""
    fy = np.asarray(np.fft.fftfreq(side_px)[:, None], dtype=np.float64)
    fx = np.asarray(np.fft.rfftfreq(side_px)[None, :], dtype=np.float64)
    spectrum = np.fft.rfft2(rng.standard_normal((side_px, side_px))) * response(fy, fx)
    field: FloatArray = np.fft.irfft2(spectrum, s=(side_px, side_px))
    standardised: FloatArray = (field - field.mean()) / field.std()
    return standardised


def _lumen(side_px: int, scale: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, float]:
    """White lumen of a gland: (opacity map, centre, radius); radius 0 where there is none."""
    centre = rng.uniform(0.2, 0.8, size=2) * side_px
    if rng.random() < SHARE_WITHOUT_LUMEN:
        return np.zeros((side_px, side_px)), centre, 0.0
    radius = rng.uniform(9.0, 17.0) * scale
    y, x = np.mgrid[0:side_px, 0:side_px]
    wobble = rng.uniform(0.0, 2 * np.pi)
    dy, dx = y - centre[0], x - centre[1]
    outline = radius * (1 + 0.18 * np.cos(2 * np.arctan2(dy, dx) + wobble))
    return _soft(outline - np.hypot(dy, dx), 1.2 * scale), centre, radius


def _soft(distance: FloatArray, width: float) -> FloatArray:
    soft: FloatArray = 1.0 / (1.0 + np.exp(-np.clip(distance / width, -30.0, 30.0)))
    return soft


def _nuclei(
    atypia: Atypia,
    side_px: int,
    coverage: float,
    gland: tuple[FloatArray, float],
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """(opacity of nuclei, variation of their density): laid down until `coverage` is met."""
    scale = side_px / REFERENCE_SIDE_PX
    reach = int(np.ceil(LARGEST_RADIUS_PX * 1.5 * scale))
    pad = reach + int(np.ceil(MARGIN_PX * scale)) + 1
    canvas = np.zeros((side_px + 2 * pad, side_px + 2 * pad))
    tint = np.zeros_like(canvas)
    seen = canvas[pad:-pad, pad:-pad]
    target = coverage * side_px**2
    share_of_bystanders = float(rng.uniform(0.0, 0.25))
    focus = float(np.exp(rng.normal(0.0, 0.30)))
    contrast = float(rng.uniform(0.12, 0.26))
    placed = np.empty((0, 3))
    while len(placed) < MAX_NUCLEI:
        radii = _radii(atypia, scale, share_of_bystanders, rng)
        centres = _positions(atypia.disorder, radii, side_px, (placed, *gland), rng)
        opacity = _outlines(atypia, radii, centres, reach, rng, focus=focus)
        placed = np.concatenate([placed, np.column_stack([centres, radii])])
        strength = np.clip(rng.normal(0.0, 0.12, size=len(radii)), -0.4, 0.4)
        for one, tone, corner in zip(
            opacity, strength, np.floor(centres).astype(int) + pad - reach, strict=True
        ):
            area = (slice(corner[0], corner[0] + len(one)), slice(corner[1], corner[1] + len(one)))
            np.copyto(tint[area], tone, where=one > 0.5)  # noqa: PLR2004 - inside the outline
            np.maximum(canvas[area], one, out=canvas[area])
            if seen.sum() >= target:
                chromatin_px = 1.3 * scale * float(np.exp(0.40 * atypia.chromatin))
                chromatin = _noise(side_px, max(chromatin_px, 0.8), rng)
                return seen, contrast * chromatin + tint[pad:-pad, pad:-pad]
    msg = f"{MAX_NUCLEI} nuclei do not cover {coverage:.0%} of a patch"
    raise AssertionError(msg)


def _radii(atypia: Atypia, scale: float, share_of_bystanders: float, rng: np.random.Generator) -> FloatArray:
    """Radii of a handful of nuclei, pixels."""
    n = NUCLEI_AT_ONCE
    spread = 0.14 * float(np.exp(0.40 * atypia.variation))
    radii = MEAN_RADIUS_PX * np.exp(SIZE_EFFECT * atypia.size + rng.normal(0.0, spread, size=n))
    # Inflammatory cells, small, are in both classes.
    bystander = rng.random(n) < share_of_bystanders
    radii = np.where(bystander, rng.normal(BYSTANDER_RADIUS_PX, 0.3, size=n), radii)
    return np.clip(radii, 3.0, LARGEST_RADIUS_PX) * scale


def _outlines(
    atypia: Atypia,
    radii: FloatArray,
    centres: FloatArray,
    reach: int,
    rng: np.random.Generator,
    *,
    focus: float,
) -> FloatArray:
    """Opacity maps of nuclei, shape (n, 2 reach + 1, 2 reach + 1): ellipses with wavy outlines."""
    n = len(radii)
    irregular = 0.02 + 0.13 / (1.0 + np.exp(-1.3 * atypia.outline))
    elongation = np.exp(np.abs(rng.normal(0.0, 0.13, size=n)))
    window = np.arange(-reach, reach + 1)
    part = centres - np.floor(centres)
    turn = np.exp(-1j * rng.uniform(0.0, np.pi, size=n))
    offset = (window[None, None, :] - part[:, 1, None, None]) + 1j * (
        window[None, :, None] - part[:, 0, None, None]
    )
    offset *= turn[:, None, None]
    offset = offset.real / elongation[:, None, None] + 1j * (offset.imag * elongation[:, None, None])
    distance = np.abs(offset)
    direction = offset / np.maximum(distance, 1e-9)
    outline = np.ones_like(distance)
    power = direction
    for order in range(2, 2 + N_HARMONICS):
        power = power * direction
        height = rng.normal(0.0, 1.0, size=n) * irregular / np.sqrt(order - 1)
        wave = height * np.exp(1j * rng.uniform(0.0, 2 * np.pi, size=n))
        outline += (power * wave[:, None, None]).real
    return _soft(outline - distance / radii[:, None, None], EDGE_SHARE * focus)


def _positions(
    disorder: float,
    radii: FloatArray,
    side_px: int,
    surroundings: tuple[FloatArray, FloatArray, float],
    rng: np.random.Generator,
) -> FloatArray:
    """Centres of nuclei: the more order, the more they keep their distance and line the gland."""
    placed, centre, lumen_radius = surroundings
    n, n_tried = len(radii), int(np.clip(np.rint(5 - 3 * disorder), 1, 12))
    tried = rng.uniform(-0.03, 1.03, size=(n, n_tried, 2)) * side_px
    if lumen_radius:
        lining = rng.random((n, n_tried)) < 0.45  # noqa: PLR2004 - a little under half line the gland
        around = rng.uniform(0.0, 2 * np.pi, size=(n, n_tried))
        scatter = np.abs(rng.normal(0.0, 0.12 * float(np.exp(0.6 * disorder)), size=(n, n_tried)))
        distance = lumen_radius * (1.15 + scatter) + radii[:, None] * 0.6
        ring = centre + distance[..., None] * np.stack([np.sin(around), np.cos(around)], axis=-1)
        tried = np.where(lining[..., None], ring, tried)
        # No nucleus floats in the lumen: it is pushed out to its edge.
        offset = tried - centre
        length = np.maximum(np.hypot(offset[..., 0], offset[..., 1]), 1e-6)
        shortest = lumen_radius + 0.5 * radii[:, None]
        tried = centre + offset * np.maximum(shortest / length, 1.0)[..., None]
    margin = MARGIN_PX * side_px / REFERENCE_SIDE_PX
    tried = np.clip(tried, -margin, side_px - 1 + margin)
    all_placed = np.concatenate([placed, np.zeros((n, 3))])
    n_before = len(placed)
    for i in range(n):
        others = all_placed[: n_before + i]
        best = 0
        if n_tried > 1 and len(others):
            gaps = np.hypot(tried[i, :, :1] - others[:, 0], tried[i, :, 1:] - others[:, 1]) - others[:, 2]
            best = int(np.argmax(gaps.min(axis=1)))
        all_placed[n_before + i] = (*tried[i, best], radii[i])
    return all_placed[n_before:, :2]
