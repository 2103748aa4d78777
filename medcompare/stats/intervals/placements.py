"""DeLong's placements by sorting, and the covariance of AUCs they give.

A placement is the share of the other class that a case is ranked above (positives) or
below (negatives); ties count one half. Their mean is the AUC, their spread its variance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medcompare.base.language import t

if TYPE_CHECKING:
    from medcompare.stats.arrays import BoolArray, FloatArray, IntArray


class Placements(NamedTuple):
    """Share of the other class ranked below (above) each positive (negative), per model."""

    positives: FloatArray
    negatives: FloatArray


def area_under(placements: FloatArray) -> float:
    """AUC from the placements of one class.

    Parameters
    ----------
    placements : ndarray of shape (n_cases,)
        Of one model and one class.

    Returns
    -------
    float
        In [0, 1].
    """
    # A sum of thousands of ones divided by their number may miss 1 by a rounding.
    return float(min(max(placements.mean(), 0.0), 1.0))


def place(positive: BoolArray, scores: FloatArray) -> Placements:
    """DeLong's structural components, exact for ties because they are counts.

    Parameters
    ----------
    positive : ndarray of bool, shape (n_samples,)
        Labels, both classes present.
    scores : ndarray of shape (n_models, n_samples)
        Finite scores.

    Returns
    -------
    Placements
    """
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    of_positives = np.empty((len(scores), n_positive))
    of_negatives = np.empty((len(scores), n_negative))
    for row, (above, below) in zip(scores, zip(of_positives, of_negatives, strict=True), strict=True):
        above[:] = _share_below(row[positive], row[~positive])
        below[:] = 1 - _share_below(row[~positive], row[positive])
    return Placements(of_positives, of_negatives)


def _share_below(values: FloatArray, others: FloatArray) -> FloatArray:
    # Sorted queries walk through memory in order, several times faster at a million cases.
    order = np.argsort(values)
    queries, ranked = values[order], np.sort(others)
    below = ranked.searchsorted(queries, side="left") + ranked.searchsorted(queries, side="right")
    share = np.empty(values.size)
    share[order] = below / (2 * others.size)
    return share


def area_covariance(
    placements: Placements, positive: BoolArray, codes: IntArray | None
) -> tuple[FloatArray | None, str]:
    """Covariance of the AUCs of several models on the same cases.

    Parameters
    ----------
    placements : Placements
        Of all models.
    positive : ndarray of bool, shape (n_samples,)
        Labels.
    codes : ndarray of int, shape (n_samples,), or None
        Patient codes 0 … k - 1.

    Returns
    -------
    covariance : ndarray of shape (n_models, n_models) or None
        None where a class has a single case or patient.
    reason : str
        Why there is none; empty otherwise.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837; Obuchowski (1997),
    Biometrics 53:567, eq. 4-6.
    """
    n_positive, n_negative = placements.positives.shape[1], placements.negatives.shape[1]
    above = placements.positives - placements.positives.mean(axis=1, keepdims=True)
    below = placements.negatives - placements.negatives.mean(axis=1, keepdims=True)
    if codes is None:
        if min(n_positive, n_negative) < 2:
            return None, t("a class has a single case")
        within = above @ above.T / (n_positive * (n_positive - 1))
        return within + below @ below.T / (n_negative * (n_negative - 1)), ""
    n_clusters = int(codes.max()) + 1
    k_positive = np.unique(codes[positive]).size
    k_negative = np.unique(codes[~positive]).size
    if min(k_positive, k_negative) < 2:
        return None, t("a class has a single patient")
    sums_above = _cluster_sums(above, codes[positive], n_clusters)
    sums_below = _cluster_sums(below, codes[~positive], n_clusters)
    cross = sums_above @ sums_below.T * (n_clusters / (n_clusters - 1))
    total: FloatArray = (
        sums_above @ sums_above.T * (k_positive / (k_positive - 1)) / n_positive**2
        + sums_below @ sums_below.T * (k_negative / (k_negative - 1)) / n_negative**2
        + (cross + cross.T) / (n_positive * n_negative)
    )
    return total, ""


def _cluster_sums(rows: FloatArray, codes: IntArray, n_clusters: int) -> FloatArray:
    return np.stack([np.bincount(codes, weights=row, minlength=n_clusters) for row in rows])
