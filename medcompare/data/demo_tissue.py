"""Drawing one histology-like patch, as if stained with haematoxylin and eosin.

Everything is generated from random numbers: no image, no part of one, was used. Light passes
through two dyes, so colours are mixed in optical density (Beer-Lambert), as in a real slide:
intensity = white x exp(-(haematoxylin x density_h + eosin x density_e)).

What tells the classes apart is the build of nuclei: size, its variation, irregular outlines,
coarse chromatin, disorder. What does not: the stained area, which is drawn from the same
distribution for both classes and then met exactly, and the stain itself, which varies by patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

HAEMATOXYLIN = (0.65, 0.70, 0.29)
EOSIN = (0.07, 0.99, 0.11)
"""Optical density of the dyes in red, green and blue.
Source: Ruifrok & Johnston (2001), Anal Quant Cytol Histol 23:291."""

REFERENCE_SIDE_PX = 96
"""Side for which the lengths below hold; other sides scale them."""

MEAN_RADIUS_PX = 5.0
"""Geometric mean of nuclear radii half-way between the classes."""

MAX_NUCLEI = 90
N_HARMONICS = 4
EDGE_PX = 0.7
"""Softness of a nuclear outline, as if slightly out of focus."""


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
    coverage = float(np.clip(rng.normal(0.20, 0.045), 0.08, 0.34))
    nuclei, texture = _nuclei(atypia, side_px, scale, coverage, (centre, lumen_radius), rng)
    grain = float(np.exp(rng.normal(0.0, 0.15)))
    density_h = nuclei * (0.95 + texture) * grain + 0.10 + 0.04 * coarse
    density_e = 0.42 + 0.10 * coarse + 0.16 * fibres - 0.22 * nuclei
    tissue = 1.0 - lumen * (1.0 - nuclei)
    density_h = np.clip(density_h * tissue * stain.h_strength, 0.0, None)
    density_e = np.clip(density_e * tissue * stain.e_strength, 0.0, None)
    optical = density_h[..., None] * stain.haematoxylin + density_e[..., None] * stain.eosin
    light = stain.white * np.exp(-1.15 * optical) + rng.normal(0.0, 2.0, size=(side_px, side_px, 3))
    pixels: NDArray[np.uint8] = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return pixels


def _noise(side_px: int, length_px: float, rng: np.random.Generator) -> FloatArray:
    """Smooth noise of mean 0 and standard deviation 1 with the given correlation length."""
    return _filtered(side_px, lambda fy, fx: np.exp(-2 * (np.pi * length_px / 2) ** 2 * (fy**2 + fx**2)), rng)


def _fibres(side_px: int, scale: float, rng: np.random.Generator) -> FloatArray:
    """Noise stretched along one direction, like bundles of collagen."""
    angle = rng.uniform(0.0, np.pi)
    along, across = 16.0 * scale, 1.6 * scale

    def response(fy: FloatArray, fx: FloatArray) -> FloatArray:
        u, v = np.cos(angle) * fx + np.sin(angle) * fy, -np.sin(angle) * fx + np.cos(angle) * fy
        return np.exp(-2 * np.pi**2 * ((along / 2 * u) ** 2 + (across / 2 * v) ** 2))

    return _filtered(side_px, response, rng)


def _filtered(side_px, response, rng):
    fy = np.fft.fftfreq(side_px)[:, None]
    fx = np.fft.rfftfreq(side_px)[None, :]
    spectrum = np.fft.rfft2(rng.standard_normal((side_px, side_px))) * response(fy, fx)
    field = np.fft.irfft2(spectrum, s=(side_px, side_px))
    field -= field.mean()
    return field / field.std()


def _lumen(side_px: int, scale: float, rng: np.random.Generator):
    """White lumen of a gland: (opacity map, centre, radius); radius 0 where there is none."""
    centre = rng.uniform(0.2, 0.8, size=2) * side_px
    if rng.random() < 0.4:
        return np.zeros((side_px, side_px)), centre, 0.0
    radius = rng.uniform(9.0, 17.0) * scale
    y, x = np.mgrid[0:side_px, 0:side_px]
    wobble = rng.uniform(0.0, 2 * np.pi)
    dy, dx = y - centre[0], x - centre[1]
    outline = radius * (1 + 0.18 * np.cos(2 * np.arctan2(dy, dx) + wobble))
    return _soft(outline - np.hypot(dy, dx), 1.2 * scale), centre, radius


def _soft(distance: FloatArray, width: float) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-np.clip(distance / width, -30.0, 30.0)))


def _nuclei(atypia, side_px, scale, coverage, gland, rng):
    """(opacity of nuclei, chromatin texture): nuclei are laid down until `coverage` is met."""
    mean = MEAN_RADIUS_PX * np.exp(0.17 * atypia.size)
    spread = 0.16 * np.exp(0.35 * atypia.variation)
    radii = mean * np.exp(rng.normal(0.0, spread, size=MAX_NUCLEI))
    bystander = rng.random(MAX_NUCLEI) < rng.uniform(0.0, 0.25)
    # Inflammatory cells, small and round, stand in both classes.
    radii[bystander] = rng.normal(3.6, 0.3, size=int(bystander.sum()))
    radii = np.clip(radii, 2.4, 11.0) * scale
    irregular = np.where(bystander, 0.03, 0.075 * np.exp(0.55 * atypia.outline))
    elongation = np.exp(np.abs(rng.normal(0.0, np.where(bystander, 0.05, 0.20), size=MAX_NUCLEI)) / 2)
    centres = _positions(atypia.disorder, radii, side_px, gland, rng)
    reach = int(np.ceil(16 * scale))
    window = np.arange(-reach, reach + 1)
    whole = np.floor(centres).astype(np.intp)
    part = centres - whole
    angle = rng.uniform(0.0, np.pi, size=MAX_NUCLEI)[:, None, None]
    dy = window[None, :, None] - part[:, 0, None, None]
    dx = window[None, None, :] - part[:, 1, None, None]
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / elongation[:, None, None]
    v = (-np.sin(angle) * dx + np.cos(angle) * dy) * elongation[:, None, None]
    theta = np.arctan2(v, u)
    outline = np.ones_like(theta)
    for order in range(2, 2 + N_HARMONICS):
        height = (rng.normal(0.0, 1.0, size=MAX_NUCLEI) * irregular / np.sqrt(order - 1))[:, None, None]
        outline += height * np.cos(order * theta + rng.uniform(0, 2 * np.pi, size=MAX_NUCLEI)[:, None, None])
    inside = outline * radii[:, None, None] - np.hypot(u, v)
    opacity = _soft(inside, EDGE_PX * scale)
    strength = np.clip(rng.normal(1.0, 0.12, size=MAX_NUCLEI), 0.6, 1.4)
    pad = reach + int(np.ceil(5 * scale)) + 1
    canvas = np.zeros((side_px + 2 * pad, side_px + 2 * pad))
    tint = np.zeros_like(canvas)
    target = coverage * side_px**2
    for i in range(MAX_NUCLEI):
        top, left = whole[i] + pad - reach
        area = (slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1))
        tint[area] = np.where(opacity[i] > 0.5, strength[i] - 1.0, tint[area])
        canvas[area] = np.maximum(canvas[area], opacity[i])
        if canvas[pad:-pad, pad:-pad].sum() >= target:
            break
    grain_px = 1.3 * scale * np.exp(0.40 * atypia.chromatin)
    chromatin = _noise(side_px, max(grain_px, 0.8), rng)
    return canvas[pad:-pad, pad:-pad], 0.20 * chromatin + tint[pad:-pad, pad:-pad]


def _positions(disorder, radii, side_px, gland, rng):
    """Centres of nuclei: the more order, the more they keep their distance and line the gland."""
    centre, lumen_radius = gland
    n_tried = int(np.clip(np.rint(5 - 3 * disorder), 1, 12))
    n = len(radii)
    tried = rng.uniform(-0.03, 1.03, size=(n, n_tried, 2)) * side_px
    if lumen_radius:
        lining = rng.random((n, n_tried)) < 0.45
        around = rng.uniform(0, 2 * np.pi, size=(n, n_tried))
        scatter = np.abs(rng.normal(0.0, 0.12 * np.exp(0.6 * disorder), size=(n, n_tried)))
        distance = lumen_radius * (1.15 + scatter) + radii[:, None] * 0.6
        ring = centre + distance[..., None] * np.stack([np.sin(around), np.cos(around)], axis=-1)
        tried = np.where(lining[..., None], ring, tried)
        # No nucleus floats in the lumen.
        offset = tried - centre
        length = np.maximum(np.hypot(offset[..., 0], offset[..., 1]), 1e-6)
        shortest = lumen_radius + 0.5 * radii[:, None]
        push = np.maximum(shortest / length, 1.0)
        tried = centre + offset * push[..., None]
    margin = 4.0 * side_px / REFERENCE_SIDE_PX
    tried = np.clip(tried, -margin, side_px + margin)
    centres = np.empty((n, 2))
    centres[0] = tried[0, 0]
    for i in range(1, n):
        gaps = np.hypot(
            tried[i, :, 0, None] - centres[None, :i, 0], tried[i, :, 1, None] - centres[None, :i, 1]
        ) - radii[None, :i]
        centres[i] = tried[i, int(np.argmax(gaps.min(axis=1)))]
    return centres
