"""Area under the ROC curve: value, interval and paired difference, in O(n log n).

DeLong's placements by sorting, in float64; Obuchowski's clustered covariance where
several images come from one patient. Scores are never flipped: an AUC below 0.5 is
reported as such.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from medcompare.base.errors import DataError
from medcompare.base.language import t
from medcompare.stats.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    checked_clusters,
    checked_labels,
    checked_level,
    checked_scores,
    few_units,
)
from medcompare.stats.intervals.placements import area_covariance, area_under, place
from medcompare.stats.intervals.proportions import normal_quantile
from medcompare.stats.records import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

_ROUNDING = 1e-24
"""Variances below this are rounding of zero: placements are multiples of 1 / (2 n)."""


_EQUAL = 1e-9
"""AUCs closer than this are equal: one rounding per pair of cases at most."""


class RocPoints(NamedTuple):
    """Corners of an empirical ROC curve, from (0, 0) to (1, 1)."""

    fpr: FloatArray
    tpr: FloatArray
    thresholds: FloatArray


def roc_auc(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Area under the ROC curve; ties count one half.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    y_score : array-like of shape (n_samples,)
        Finite scores, higher means more positive.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    DataError
        If the arrays do not match, a score is not finite or a class is missing.
    """
    positive = checked_labels(y_true)
    scores = checked_scores(y_score, positive.size)
    return area_under(place(positive, scores[None, :]).positives[0])


def auc_interval(
    y_true: ArrayLike, y_score: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """AUC with DeLong's (or Obuchowski's clustered) interval on the logit scale.

    At an AUC of exactly 1 (or 0) the variance is zero and says nothing. The limit given
    there is exact and conservative: among k disjoint pairs of a positive and a negative
    from different patients all are ordered rightly, which has probability AUC**k, so the
    lower limit solves ``AUC**k = (1 - level) / 2``. A constant score has no interval.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    y_score : array-like of shape (n_samples,)
        Finite scores, higher means more positive.
    level : float, default=0.95
        Confidence level.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case.

    Returns
    -------
    Estimate
        In [0, 1].

    Raises
    ------
    DataError
        If the arrays do not match, a score is not finite or a class is missing.
    ConfigError
        If `level` is not strictly between 0 and 1.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837; Sun & Xu (2014), IEEE Signal
    Process Lett 21:1389 (by sorting); Obuchowski (1997), Biometrics 53:567 (clusters);
    Qin & Hotilovac (2008), Stat Methods Med Res 17:207 (logit scale).
    """
    z = normal_quantile(level)
    positive, scores, codes = _checked(y_true, [y_score], clusters)
    placements = place(positive, scores)
    area = area_under(placements.positives[0])
    method = "DeLong (logit)" if codes is None else t("Obuchowski clustered DeLong (logit)")
    n = positive.size
    estimate = partial(Estimate, level=level, method=method, n=n)
    few = few_units(positive, codes)
    if few is not None:
        return estimate(value=None, note=t("not estimable: {few}", few=few))
    if scores[0].min() == scores[0].max():
        note = t("no interval: the score is the same for every case")
        return estimate(value=area, note=note)
    if area in (0.0, 1.0):
        return _separated(area, positive, codes, level)
    covariance, reason = area_covariance(placements, positive, codes)
    if covariance is None:
        return estimate(value=area, note=t("no interval: {reason}", reason=reason))
    variance = float(covariance[0, 0])
    if variance < _ROUNDING:
        note = t("no interval: the estimated variance is zero")
        return estimate(value=area, note=note)
    half = z * math.sqrt(variance) / (area * (1 - area))
    centre = math.log(area / (1 - area))
    low, high = float(scipy.special.expit(centre - half)), float(scipy.special.expit(centre + half))
    return estimate(value=area, ci_low=min(low, area), ci_high=max(high, area))


def auc_difference(
    y_true: ArrayLike,
    score_reference: ArrayLike,
    score_candidate: ArrayLike,
    *,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> Estimate:
    """Paired difference of AUC, candidate minus reference, with DeLong's interval and test.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    score_reference, score_candidate : array-like of shape (n_samples,)
        Scores of the two models on the same cases.
    level : float, default=0.95
        Confidence level.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case; Obuchowski's covariance takes the place of DeLong's.

    Returns
    -------
    Estimate
        Difference in [-1, 1] and two-sided p-value. Where both models rank every pair
        alike there is no difference: 0, both limits 0, p = 1, and a note. Where the variance
        is zero although the difference is not: neither interval nor p-value, and a note.

    Raises
    ------
    DataError
        If the arrays do not match, a score is not finite or a class is missing.
    ConfigError
        If `level` is not strictly between 0 and 1.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837; Obuchowski (1997),
    Biometrics 53:567.
    """
    z = normal_quantile(level)
    positive, scores, codes = _checked(y_true, [score_reference, score_candidate], clusters)
    placements = place(positive, scores)
    value = area_under(placements.positives[1]) - area_under(placements.positives[0])
    method = "DeLong" if codes is None else t("Obuchowski clustered DeLong")
    n = positive.size
    estimate = partial(Estimate, level=level, method=method, n=n)
    few = few_units(positive, codes)
    if few is not None:
        return estimate(value=None, note=t("not estimable: {few}", few=few))
    same = np.array_equal(placements.positives[0], placements.positives[1]) and np.array_equal(
        placements.negatives[0], placements.negatives[1]
    )
    if same:
        note = t("both models rank every pair of cases alike")
        return estimate(value=0.0, ci_low=0.0, ci_high=0.0, p_value=1.0, note=note)
    covariance, reason = area_covariance(placements, positive, codes)
    if covariance is None:
        return estimate(value=value, note=t("no interval: {reason}", reason=reason))
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance < _ROUNDING:
        note = t("no interval: the estimated variance of the difference is zero")
        return estimate(value=value, note=note)
    error = math.sqrt(variance)
    return estimate(
        value=value,
        ci_low=max(value - z * error, -1.0),
        ci_high=min(value + z * error, 1.0),
        p_value=float(2 * scipy.stats.norm.sf(abs(value) / error)),
    )


def auc_covariance(
    y_true: ArrayLike, scores: ArrayLike | Sequence[ArrayLike], *, clusters: ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """AUC of several models on the same cases, and the covariance of these AUCs.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    scores : array-like of shape (n_models, n_samples)
        Scores, higher means more positive.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case.

    Returns
    -------
    aucs : ndarray of shape (n_models,)
    covariance : ndarray of shape (n_models, n_models)

    Raises
    ------
    DataError
        If the arrays do not match, a score is not finite, a class is missing, or a class
        has a single case (or patient), which leaves the covariance undefined.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837; Obuchowski (1997),
    Biometrics 53:567.
    """
    positive, rows, codes = _checked(
        y_true, list(np.atleast_2d(np.asarray(scores, dtype=np.float64))), clusters
    )
    placements = place(positive, rows)
    covariance, reason = area_covariance(placements, positive, codes)
    if covariance is None:
        msg = f"the covariance of the AUCs is undefined: {reason}"
        raise DataError(msg)
    return np.array([area_under(row) for row in placements.positives]), covariance


def joint_auc_test(
    y_true: ArrayLike, scores: ArrayLike, *, clusters: ArrayLike | None = None
) -> tuple[float | None, float | None, int]:
    """Chi-square test that all models have the same AUC.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    scores : array-like of shape (n_models, n_samples)
        Scores of at least two models on the same cases.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case.

    Returns
    -------
    statistic : float or None
        None where the contrasts have no variance although the AUCs differ.
    p_value : float or None
        1 where all AUCs are equal and have no variance between them.
    degrees_of_freedom : int
        Rank of the covariance of the contrasts.

    Raises
    ------
    DataError
        As `auc_covariance`, and if there are fewer than two models.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837, eq. 5.
    """
    aucs, covariance = auc_covariance(y_true, scores, clusters=clusters)
    if aucs.size < 2:
        msg = "a joint test of AUCs needs at least two models"
        raise DataError(msg)
    contrasts = np.eye(aucs.size)[1:] - np.eye(aucs.size)[0]
    difference = contrasts @ aucs
    within = contrasts @ covariance @ contrasts.T
    eigenvalues, vectors = np.linalg.eigh(within)
    keep = eigenvalues > max(eigenvalues.max(), 0.0) * 1e-10 + _ROUNDING
    rank = int(keep.sum())
    projected = vectors.T @ difference
    if (np.abs(projected[~keep]) > _EQUAL).any():
        return None, None, rank
    statistic = float((projected[keep] ** 2 / eigenvalues[keep]).sum())
    return statistic, (float(scipy.stats.chi2.sf(statistic, rank)) if rank else 1.0), rank


def roc_points(y_true: ArrayLike, y_score: ArrayLike) -> RocPoints:
    """Corners of the ROC curve, one per distinct score, from (0, 0) to (1, 1).

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    y_score : array-like of shape (n_samples,)
        Finite scores, higher means more positive.

    Returns
    -------
    RocPoints
        ``fpr`` (1 - specificity), ``tpr`` (sensitivity) and the threshold, descending,
        at which ``score >= threshold`` gives them; the first threshold is infinite.

    Raises
    ------
    DataError
        If the arrays do not match, a score is not finite or a class is missing.
    """
    positive = checked_labels(y_true)
    scores = checked_scores(y_score, positive.size)
    order = np.argsort(-scores, kind="stable")
    ordered, flags = scores[order], positive[order]
    last_of_tie = np.append(ordered[1:] != ordered[:-1], True)
    tpr = np.cumsum(flags)[last_of_tie] / flags.sum()
    fpr = np.cumsum(~flags)[last_of_tie] / (~flags).sum()
    return RocPoints(np.append(0.0, fpr), np.append(0.0, tpr), np.append(np.inf, ordered[last_of_tie]))


def _checked(
    y_true: ArrayLike, scores: Sequence[ArrayLike], clusters: ArrayLike | None
) -> tuple[BoolArray, FloatArray, IntArray | None]:
    positive = checked_labels(y_true)
    rows = np.stack([checked_scores(row, positive.size) for row in scores])
    codes = None if clusters is None else checked_clusters(clusters, positive.size)
    return positive, rows, codes


def _separated(area: float, positive: BoolArray, codes: IntArray | None, level: float) -> Estimate:
    """Exact one-limit interval where the classes do not overlap at all."""
    method = t("exact (perfect separation)")
    estimate = partial(Estimate, level=level, method=method, n=positive.size)
    checked_level(level)
    n_pairs = _disjoint_pairs(positive, codes)
    if n_pairs == 0:
        note = t("no interval: all cases come from one patient")
        return estimate(value=area, note=note)
    reach = ((1 - level) / 2) ** (1 / n_pairs)
    low, high = (reach, 1.0) if area == 1 else (0.0, 1 - reach)
    if area == 1:
        note = t("the scores separate the classes perfectly: check for leakage")
    else:
        note = t(
            "the scores separate the classes perfectly: check for leakage, and whether the positive class is swapped"
        )
    return estimate(value=area, ci_low=low, ci_high=high, note=note)


def _disjoint_pairs(positive: BoolArray, codes: IntArray | None) -> int:
    """Count the pairs of a positive and a negative that share no patient with one another."""
    if codes is None:
        return int(min(positive.sum(), (~positive).sum()))
    with_positive = np.unique(codes[positive])
    with_negative = np.unique(codes[~positive])
    n_patients = int(codes.max()) + 1
    return int(min(with_positive.size, with_negative.size, n_patients // 2))
