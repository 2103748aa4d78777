"""Local linear regression at given points (loess of degree 1), with its own precision.

Evaluated directly at each point, not interpolated between vertices, so that the figures
equal those of other software computing the "direct" surface.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from medcompare.stats.arrays import FloatArray, IntArray

_MIN_REACH = 0.01
"""Smallest half-width of a neighbourhood: many tied predictions would leave none."""


_ROUNDING = 1e-20


class LocalRegression(NamedTuple):
    """Smoothed values and the number of independent cases each is worth."""

    fit: FloatArray
    n_effective: FloatArray


def local_regression(
    x: FloatArray, y: FloatArray, points: FloatArray, *, span: float = 0.75, clusters: IntArray | None = None
) -> LocalRegression:
    """Fit a tricube-weighted line around each point and take its height there.

    Parameters
    ----------
    x, y : ndarray of shape (n_samples,)
        Predictor and 0/1 outcome.
    points : ndarray of shape (n_points,)
        Where to evaluate, ascending, within the range of `x`.
    span : float, default=0.75
        Share of cases in a neighbourhood.
    clusters : ndarray of int, shape (n_samples,), optional
        Codes 0 … k - 1; lowers the effective number by the design effect.

    Returns
    -------
    LocalRegression
        ``fit`` may leave [0, 1]; ``n_effective`` is ``1 / sum(l**2)`` for smoothing
        weights l, divided by the design effect (at least 1).

    References
    ----------
    Cleveland (1979), J Am Stat Assoc 74:829.
    """
    n_neighbours = max(2, min(x.size, math.floor(x.size * span + 1e-5)))
    ordered = np.sort(x)
    reaches = [_reach(ordered, float(point), n_neighbours) for point in points]
    # Weights are computed again in the second pass: all at once they would fill the memory.
    fit = np.array(
        [
            float(_smoothing_weights(x, float(point), reach) @ y)
            for point, reach in zip(points, reaches, strict=True)
        ]
    )
    residuals = y - np.interp(x, points, fit)
    n_effective = np.empty(points.size)
    for i, (point, reach) in enumerate(zip(points, reaches, strict=True)):
        weights = _smoothing_weights(x, float(point), reach)
        n_effective[i] = 1 / float(weights @ weights)
        if clusters is not None:
            n_effective[i] /= _design_effect(weights, residuals, clusters)
    return LocalRegression(fit, n_effective)


def _reach(ordered: FloatArray, point: float, n_neighbours: int) -> float:
    """Distance to the farthest of the nearest neighbours."""
    # The neighbours are a run of the sorted values; find its start by bisection.
    low, high = 0, ordered.size - n_neighbours
    while low < high:
        middle = (low + high) // 2
        if point - ordered[middle] > ordered[middle + n_neighbours] - point:
            low = middle + 1
        else:
            high = middle
    distance = max(point - float(ordered[low]), float(ordered[low + n_neighbours - 1]) - point)
    return max(distance, _MIN_REACH)


def _smoothing_weights(x: FloatArray, point: float, reach: float) -> FloatArray:
    offset = x - point
    kernel = np.clip(1 - np.abs(offset / reach) ** 3, 0.0, None) ** 3
    total = kernel.sum()
    if total <= 0:
        # Only a gap in the data wider than every neighbourhood: take the nearest cases.
        nearest = np.abs(offset) == np.abs(offset).min()
        return np.asarray(nearest / nearest.sum())
    mean = float(kernel @ offset) / total
    spread = float(kernel @ (offset - mean) ** 2)
    if spread <= 1e-12 * total * reach**2:
        return np.asarray(kernel / total)
    return np.asarray(kernel * (1 / total - mean * (offset - mean) / spread))


def _design_effect(weights: FloatArray, residuals: FloatArray, clusters: IntArray) -> float:
    """Variance with clusters over variance without, of one smoothed value."""
    terms = weights * residuals
    if float(terms @ terms) < _ROUNDING * float(weights @ weights):
        # Nothing varies here, so the effect is unknown: as if a patient's cases were copies.
        terms = weights
    totals = np.bincount(clusters, weights=terms)
    k = totals.size
    return max(k / (k - 1) * float(totals @ totals) / float(terms @ terms), 1.0)
