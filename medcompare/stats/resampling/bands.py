"""ROC and precision-recall curves of every resample, on a common grid.

The scores are sorted once: a resample moves the corners of a curve, never their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.stats.resampling.percentile import ROUNDING
from medcompare.stats.weighted_metrics import running_sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.stats.arrays import FloatArray, IntArray
    from medcompare.stats.intervals.auc import RocPoints
    from medcompare.stats.resampling.weights import WeightArray
    from medcompare.stats.weighted_metrics import SortedModel


def _corners(model: SortedModel, points: RocPoints) -> tuple[IntArray, IntArray]:
    """How many positives and negatives lie at or above each corner."""
    hits = np.rint(points.tpr * model.positives.size).astype(np.int64)
    alarms = np.rint(points.fpr * model.negatives.size).astype(np.int64)
    return hits, alarms


def _usable(model: SortedModel, weights: WeightArray) -> tuple[WeightArray, WeightArray]:
    """Running sums of positives and negatives, of resamples that have both: one of patients may lack a class."""
    tpr = running_sums(np.take(weights, model.positives, axis=1))
    fpr = running_sums(np.take(weights, model.negatives, axis=1))
    usable = (tpr[:, -1] > 0) & (fpr[:, -1] > 0)
    return tpr[usable], fpr[usable]


def sensitivities(
    model: SortedModel, points: RocPoints, grid: FloatArray
) -> Callable[[WeightArray], FloatArray]:
    """Sensitivity at each false-positive rate of the grid, of shape (n_resamples, n_points).

    Parameters
    ----------
    model : SortedModel
        Scores in order.
    points : RocPoints
        Corners of the ROC curve of the sample.
    grid : ndarray of shape (n_points,)
        False-positive rates, ascending.

    Returns
    -------
    callable
        Takes weights of shape (n_resamples, n_samples); resamples that lack a class are left out.
    """
    hits, alarms = _corners(model, points)

    def heights(weights: WeightArray) -> FloatArray:
        found = [
            _sensitivity_at(grid, np.take(across, alarms), up, hits)
            for up, across in zip(*_usable(model, weights), strict=True)
        ]
        return np.array(found).reshape(-1, grid.size)

    return heights


def precisions(
    model: SortedModel, points: RocPoints, grid: FloatArray
) -> Callable[[WeightArray], FloatArray]:
    """Precision at each sensitivity of the grid, of shape (n_resamples, n_points).

    Parameters
    ----------
    model : SortedModel
        Scores in order.
    points : RocPoints
        Corners of the ROC curve of the sample.
    grid : ndarray of shape (n_points,)
        Sensitivities above 0, ascending.

    Returns
    -------
    callable
        Takes weights of shape (n_resamples, n_samples); resamples that lack a class are left out.
    """
    hits, alarms = _corners(model, points)

    def heights(weights: WeightArray) -> FloatArray:
        found = []
        for up, across in zip(*_usable(model, weights), strict=True):
            true, false = np.take(up, hits), np.take(across, alarms)
            # The first corner that reaches the sensitivity; a share that rounding lifts just above it means it.
            wanted = np.maximum(np.ceil(grid * true[-1] - ROUNDING * true[-1]), 1)
            at = np.searchsorted(true, wanted, side="left")
            found.append(true[at] / (true[at] + false[at]))
        return np.array(found, dtype=np.float64).reshape(-1, grid.size)

    return heights


def _sensitivity_at(
    grid: FloatArray, false_positives: WeightArray, true_positives: WeightArray, hits: IntArray
) -> FloatArray:
    """Interpolate one resampled ROC curve; on a vertical step its upper end is taken."""
    wanted = grid * false_positives[-1]
    # A grid point that rounding puts just below a corner means that corner.
    reached = np.floor(wanted + ROUNDING * false_positives[-1]).astype(false_positives.dtype)
    right = np.searchsorted(false_positives, reached, side="right")
    left, right = right - 1, np.minimum(right, false_positives.size - 1)
    low, high = true_positives[hits[left]], true_positives[hits[right]]
    width = np.maximum(false_positives[right] - false_positives[left], 1)
    share = np.clip((wanted - false_positives[left]) / width, 0.0, 1.0)
    return np.asarray((low + share * (high - low)) / true_positives[-1])
