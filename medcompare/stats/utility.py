"""Clinical utility: net benefit over threshold probabilities with its bands, and who gains more often.

No p-values are attached to net benefit, on purpose (Vickers et al. 2023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.errors import ConfigError
from medcompare.stats.arrays import (
    FloatArray,
    checked_clusters,
    checked_labels,
    checked_level,
    checked_probabilities,
    checked_thresholds,
    plain,
)
from medcompare.stats.estimates import Curve
from medcompare.stats.in_detail import USUAL_RANGE
from medcompare.stats.resampling.weights import ResamplingPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from medcompare.stats.arrays import BoolArray, IntArray
    from medcompare.stats.resampling.weights import WeightArray


DECISION_GRID = np.round(np.concatenate([np.arange(10, 100, 5), np.arange(100, 1000, 10)]) / 1000, 3)
"""Threshold probabilities of every decision curve: finer below 0.1, where rare diseases are decided."""

MIN_SHARE = 0.02
"""Of the largest net benefit; less is not worth acting for."""

SHORTEST_RANGE = 0.05

_ROUNDING = 1e-11
"""Differences of net benefit below this are ties: others are multiples of about ``0.01 / n_samples``."""


def net_benefit(
    y_true: ArrayLike, probability: ArrayLike, thresholds: ArrayLike, *, prevalence: float | None = None
) -> FloatArray:
    """Net benefit of acting on ``probability >= threshold``.

    ``TP / n - FP / n * t / (1 - t)``: true positives per case, less the false positives
    at the exchange rate that the threshold itself states.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels; one class alone is allowed without `prevalence`.
    probability : array-like of shape (n_samples,)
        Predicted probability of the positive class.
    thresholds : array-like of shape (n_thresholds,)
        Threshold probabilities, strictly between 0 and 1.
    prevalence : float, optional
        Share of positives where it will be used. Default: that of the sample. Only the weight of the classes
        follows it, the probabilities stay as they are: ``sensitivity * prevalence - (1 - specificity) *
        (1 - prevalence) * t / (1 - t)``.

    Returns
    -------
    ndarray of shape (n_thresholds,)
        At most the prevalence; may be negative.

    Raises
    ------
    DataError
        If the arrays do not match, a probability is outside [0, 1], or a class is missing although a prevalence
        is given.
    ConfigError
        If a threshold is not strictly between 0 and 1, or the prevalence is not in [0, 1].

    References
    ----------
    Vickers & Elkin (2006), Med Decis Making 26:565; for a stated prevalence Vickers, Cronin, Elkin & Gonen (2008),
    BMC Med Inform Decis Mak 8:53 (case-control data).
    """
    positive = checked_labels(y_true, both_classes=prevalence is not None)
    values = checked_probabilities(probability, positive.size)
    cut = checked_thresholds(thresholds)
    acted = _count_at_or_above(values[positive], cut), _count_at_or_above(values[~positive], cut)
    return _weighed(acted, (int(positive.sum()), int((~positive).sum())), cut, prevalence)


def _weighed(
    acted: tuple[FloatArray, FloatArray],
    of: tuple[FloatArray | int, FloatArray | int],
    cut: FloatArray,
    prevalence: float | None,
) -> FloatArray:
    """Net benefit from positives and negatives acted on at each threshold, `of` so many of each class."""
    hits, harm = acted[0], acted[1] * cut / (1 - cut)
    if prevalence is None:
        return np.asarray((hits - harm) / (of[0] + of[1]))
    _check_prevalence(prevalence)
    return np.asarray(prevalence * hits / of[0] - (1 - prevalence) * harm / of[1])


def _check_prevalence(prevalence: float) -> None:
    if not 0 <= prevalence <= 1:
        msg = f"prevalence is {prevalence}; it must lie in [0, 1]"
        raise ConfigError(msg)


def resampled_net_benefit(
    y_true: ArrayLike,
    probabilities: Sequence[ArrayLike],
    thresholds: ArrayLike,
    plan: ResamplingPlan,
    *,
    prevalence: float | None = None,
) -> FloatArray:
    """Net benefit of several models in every resample of a plan, all on the same resamples.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    probabilities : sequence of array-like of shape (n_samples,)
        Predicted probabilities of each model.
    thresholds : array-like of shape (n_thresholds,)
        Threshold probabilities, strictly between 0 and 1.
    plan : ResamplingPlan
        Of the same cases. Not stratified: net benefit moves with prevalence.
    prevalence : float, optional
        As of `net_benefit`.

    Returns
    -------
    ndarray of shape (n_models, n_resamples, n_thresholds)
        NaN for a resample without a class, where a prevalence is given.

    Raises
    ------
    DataError, ConfigError
        As of `net_benefit`.
    """
    positive = checked_labels(y_true)
    rows = [checked_probabilities(one, positive.size) for one in probabilities]
    cut = checked_thresholds(thresholds)
    order = np.argsort(cut, kind="stable")
    counters = [
        tuple(
            _counter(np.searchsorted(cut[order], row, side="right"), of, cut.size)
            for of in (positive, ~positive)
        )
        for row in rows
    ]

    def benefit(weights: WeightArray) -> FloatArray:
        of = weights[:, positive].sum(axis=1, keepdims=True), weights[:, ~positive].sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = [
                _weighed((hits(weights), alarms(weights)), of, cut[order], prevalence)
                for hits, alarms in counters
            ]
        return np.stack(found)

    draws = np.concatenate(plan.each(benefit), axis=1)
    return np.asarray(draws[:, :, np.argsort(order, kind="stable")])


def _counter(
    n_acted: IntArray, of_class: BoolArray, n_thresholds: int
) -> Callable[[WeightArray], FloatArray]:
    """Counts weighted cases of a class acted on at each of the ascending thresholds.

    `n_acted` is at how many of the thresholds, from the lowest on, each case is acted on.
    """
    chosen = np.flatnonzero(of_class & (n_acted > 0))
    chosen = chosen[np.argsort(n_acted[chosen], kind="stable")]
    levels, starts = np.unique(n_acted[chosen], return_index=True)

    def counts(weights: WeightArray) -> FloatArray:
        totals = np.zeros((len(weights), n_thresholds + 1))
        if chosen.size:
            totals[:, levels] = np.add.reduceat(np.take(weights, chosen, axis=1), starts, axis=1)
        return np.asarray(totals[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:])

    return counts


def decision_curve(
    y_true: ArrayLike,
    probability: ArrayLike,
    thresholds: ArrayLike,
    *,
    plan: ResamplingPlan | None = None,
    level: float = 0.95,
    prevalence: float | None = None,
) -> Curve:
    """Net benefit over threshold probabilities, with a pointwise percentile band.

    Parameters
    ----------
    y_true, probability, thresholds
        As of `net_benefit`.
    plan : ResamplingPlan, optional
        Resamples of the same cases; without it there is no band.
    level : float, default=0.95
        Confidence level of the band: it holds at each threshold, not for the whole curve.
    prevalence : float, optional
        As of `net_benefit`.

    Returns
    -------
    Curve

    Raises
    ------
    DataError, ConfigError
        As of `net_benefit`.
    """
    x, y = (
        plain(checked_thresholds(thresholds)),
        net_benefit(y_true, probability, thresholds, prevalence=prevalence),
    )
    if plan is None:
        return Curve(x=x, y=plain(y))
    [draws] = resampled_net_benefit(y_true, [probability], thresholds, plan, prevalence=prevalence)
    low, high = pointwise(draws, level)
    return Curve(x=x, y=plain(y), y_low=low, y_high=high)


def pointwise(draws: FloatArray, level: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper percentile limits at each threshold, of draws of shape (n_resamples, n_thresholds)."""
    tail = (1 - checked_level(level)) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0)
    return plain(low), plain(high)


def share_ahead(gains: FloatArray) -> FloatArray:
    """Share of resamples in which a difference is above zero, at each threshold; ties count one half.

    Parameters
    ----------
    gains : ndarray of shape (n_resamples, n_thresholds)
        Candidate minus reference; NaN is left out.

    Returns
    -------
    ndarray of shape (n_thresholds,)
        In [0, 1].
    """
    wins = (gains > _ROUNDING) + 0.5 * (np.abs(gains) <= _ROUNDING)
    return np.asarray(np.nanmean(np.where(np.isnan(gains), np.nan, wins), axis=0))


def shown_range(curves: Sequence[Curve], stated: tuple[float, float] | None) -> tuple[float, float]:
    """Threshold probabilities that a decision curve is shown for.

    Parameters
    ----------
    curves : sequence of Curve
        Net benefit of the models and of acting on everyone.
    stated : tuple of float, or None
        The range someone stated, which is then the answer.

    Returns
    -------
    (float, float)
        Without a stated range `USUAL_RANGE`, which ends earlier where nothing is gained any more: just above the
        last threshold at which a curve is above `MIN_SHARE` of the largest net benefit. At a low prevalence the
        curves would else be spikes at the edge.
    """
    if stated is not None:
        return stated
    low, high = USUAL_RANGE
    points = [(x, y) for one in curves for x, y in zip(one.x, one.y, strict=True) if low <= x <= high]
    top = max((y for _, y in points), default=0.0)
    last = max((x for x, y in points if top > 0 and y > MIN_SHARE * top), default=high)
    end = max(1.15 * last, SHORTEST_RANGE)
    return low, min((float(x) for x in DECISION_GRID if end <= x <= high), default=high)


def treat_all(prevalence: float, thresholds: ArrayLike) -> FloatArray:
    """Net benefit of acting on every case.

    Parameters
    ----------
    prevalence : float
        Share of positives, in [0, 1].
    thresholds : array-like of shape (n_thresholds,)
        Threshold probabilities, strictly between 0 and 1.

    Returns
    -------
    ndarray of shape (n_thresholds,)

    Raises
    ------
    ConfigError
        If the prevalence or a threshold is out of range.
    """
    _check_prevalence(prevalence)
    cut = checked_thresholds(thresholds)
    return prevalence - (1 - prevalence) * cut / (1 - cut)


def interventions_avoided(gain: ArrayLike, thresholds: ArrayLike) -> FloatArray:
    """Net interventions avoided: a gain of net benefit, in false alarms instead of true positives.

    ``gain * (1 - t) / t``. For a model against acting on everyone that is ``TN / n - FN / n * (1 - t) / t``: negative
    cases left alone per case, less the missed positives at the exchange rate that the threshold states.

    Parameters
    ----------
    gain : array-like of shape (..., n_thresholds)
        Net benefit of a model less that of another, or of acting on everyone.
    thresholds : array-like of shape (n_thresholds,)
        Threshold probabilities, strictly between 0 and 1.

    Returns
    -------
    ndarray of the shape of `gain`

    Raises
    ------
    ConfigError
        If a threshold is not strictly between 0 and 1.

    References
    ----------
    Vickers, Cronin, Elkin & Gonen (2008), BMC Med Inform Decis Mak 8:53.
    """
    cut = checked_thresholds(thresholds)
    return np.asarray(gain, dtype=np.float64) * (1 - cut) / cut


def probability_of_benefit(
    y_true: ArrayLike,
    probability_reference: ArrayLike,
    probability_candidate: ArrayLike,
    thresholds: ArrayLike,
    *,
    seed: int,
    n_resamples: int = 5000,
    clusters: ArrayLike | None = None,
    prevalence: float | None = None,
) -> FloatArray:
    """Share of bootstrap samples in which the candidate has the larger net benefit.

    Ties count one half, so two models that decide alike get 0.5. Cases (patients, with
    clusters) are resampled without stratification: prevalence varies too.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels.
    probability_reference, probability_candidate : array-like of shape (n_samples,)
        Predicted probabilities of the two models on the same cases.
    thresholds : array-like of shape (n_thresholds,)
        Threshold probabilities, strictly between 0 and 1.
    seed : int
        Seed of the resampling.
    n_resamples : int, default=5000
        Bootstrap samples.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case.
    prevalence : float, optional
        As of `net_benefit`.

    Returns
    -------
    ndarray of shape (n_thresholds,)
        In [0, 1].

    Raises
    ------
    DataError
        If the arrays do not match or a probability is outside [0, 1].
    ConfigError
        If a threshold is out of range or `n_resamples` is too small.

    References
    ----------
    Sadatsafavi et al. (2023), Med Decis Making 43:564 (uncertainty of net benefit).
    """
    positive = checked_labels(y_true)
    reference = checked_probabilities(probability_reference, positive.size, name="probability_reference")
    candidate = checked_probabilities(probability_candidate, positive.size, name="probability_candidate")
    cut = checked_thresholds(thresholds)
    codes = None if clusters is None else checked_clusters(clusters, positive.size)
    plan = ResamplingPlan(positive, codes, stratified=False, seed=seed, n_resamples=n_resamples)
    draws = resampled_net_benefit(positive, [reference, candidate], cut, plan, prevalence=prevalence)
    return share_ahead(draws[1] - draws[0])


def _count_at_or_above(values: FloatArray, cut: FloatArray) -> FloatArray:
    return (values.size - np.searchsorted(np.sort(values), cut, side="left")).astype(np.float64)
