"""Clinical utility: net benefit over threshold probabilities, and who gains or is right more often.

No p-values are attached to net benefit, on purpose (Vickers et al. 2023).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.errors import ConfigError, DataError
from medcompare.stats.arrays import (
    BoolArray,
    FloatArray,
    checked_clusters,
    checked_labels,
    checked_probabilities,
    checked_thresholds,
)
from medcompare.stats.paired import paired_table
from medcompare.stats.records import Estimate
from medcompare.stats.resampling.weights import ResamplingPlan

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from medcompare.stats.resampling.weights import WeightArray


def net_benefit(y_true: ArrayLike, probability: ArrayLike, thresholds: ArrayLike) -> FloatArray:
    """Net benefit of acting on ``probability >= threshold``.

    ``TP / n - FP / n * t / (1 - t)``: true positives per case, less the false positives
    at the exchange rate that the threshold itself states.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels; one class alone is allowed.
    probability : array-like of shape (n_samples,)
        Predicted probability of the positive class.
    thresholds : array-like of shape (n_thresholds,)
        Threshold probabilities, strictly between 0 and 1.

    Returns
    -------
    ndarray of shape (n_thresholds,)
        At most the prevalence; may be negative.

    Raises
    ------
    DataError
        If the arrays do not match or a probability is outside [0, 1].
    ConfigError
        If a threshold is not strictly between 0 and 1.

    References
    ----------
    Vickers & Elkin (2006), Med Decis Making 26:565.
    """
    positive = checked_labels(y_true, both_classes=False)
    values = checked_probabilities(probability, positive.size)
    cut = checked_thresholds(thresholds)
    true_positives = _count_at_or_above(values[positive], cut)
    false_positives = _count_at_or_above(values[~positive], cut)
    return (true_positives - false_positives * cut / (1 - cut)) / positive.size


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
    if not 0 <= prevalence <= 1:
        msg = f"prevalence is {prevalence}; it must lie in [0, 1]"
        raise ConfigError(msg)
    cut = checked_thresholds(thresholds)
    return prevalence - (1 - prevalence) * cut / (1 - cut)


def probability_of_benefit(
    y_true: ArrayLike,
    probability_reference: ArrayLike,
    probability_candidate: ArrayLike,
    thresholds: ArrayLike,
    *,
    seed: int,
    n_resamples: int = 5000,
    clusters: ArrayLike | None = None,
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
    # What one case adds to the difference depends on its class and on the thresholds at
    # which each model acts on it; cases on which both always act alike add nothing.
    acts_reference, acts_candidate = (
        np.searchsorted(np.sort(cut), p, side="right") for p in (reference, candidate)
    )
    kind = (acts_reference * (cut.size + 1) + acts_candidate) * 2 + positive
    matters = np.flatnonzero(acts_reference != acts_candidate)
    matters = matters[np.argsort(kind[matters], kind="stable")]
    _, starts = np.unique(kind[matters], return_index=True)
    first = matters[starts]
    worth = np.where(positive[first], 1.0, -(cut / (1 - cut))[:, None])
    gains = worth * (
        (candidate[first] >= cut[:, None]).astype(np.float64) - (reference[first] >= cut[:, None])
    )
    # Sums of a few hundred rounded odds may miss a tie by a rounding.
    counts = np.diff(np.append(starts, matters.size))
    tolerance = 1e-9 * (1 + np.abs(gains) @ counts[:, None])

    def won(weights: WeightArray) -> FloatArray:
        if matters.size == 0:
            return np.full(cut.size, 0.5 * len(weights))
        totals = np.add.reduceat(np.take(weights, matters, axis=1), starts, axis=1)
        difference = gains @ totals.T.astype(np.float64)
        ties = np.abs(difference) <= tolerance
        return np.asarray((difference > tolerance).sum(axis=1) + 0.5 * ties.sum(axis=1))

    wins = np.sum(plan.each(won), axis=0)
    return np.asarray(wins / n_resamples)


def probability_more_accurate(
    correct_reference: BoolArray,
    correct_candidate: BoolArray,
    *,
    clusters: ArrayLike | None = None,
    seed: int = 0,
    n_draws: int = 20_000,
) -> Estimate:
    """Posterior probability that the candidate is truly more accurate than the reference.

    Without clusters the cells of the paired table have a Dirichlet posterior under a
    uniform prior; the share of the candidate among discordant cases is then Beta, so the
    probability is exact and nothing is drawn. With clusters, a Bayesian bootstrap draws
    weights of patients.

    Parameters
    ----------
    correct_reference, correct_candidate : ndarray of bool, shape (n_samples,)
        Whether each model is right, case by case.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case.
    seed : int, default=0
        Seed of the draws (with clusters).
    n_draws : int, default=20000
        Number of draws (with clusters).

    Returns
    -------
    Estimate
        Probability in [0, 1], without interval; 0.5 where no case is discordant.

    Raises
    ------
    DataError
        If the arrays are not boolean, differ in length or are empty.
    ConfigError
        If `n_draws` is below 100.

    References
    ----------
    Christodoulou et al. (2025), False promises in medical imaging AI?; Rubin (1981), Ann Stat
    9:130 (Bayesian bootstrap).
    """
    both, only_reference, only_candidate, neither = paired_table(correct_reference, correct_candidate)
    n = both + only_reference + only_candidate + neither
    if n == 0:
        msg = "there are no cases to compare; give both models' decisions on the test subset"
        raise DataError(msg)
    note = "no discordant case" if only_reference + only_candidate == 0 else None
    if clusters is None:
        value = float(scipy.special.betainc(only_reference + 1, only_candidate + 1, 0.5))
        return Estimate(
            value=value, level=None, method="Dirichlet posterior, uniform prior (exact)", n=n, note=note
        )
    if n_draws < 100:
        msg = f"n_draws is {n_draws}; at least 100 are needed"
        raise ConfigError(msg)
    codes = checked_clusters(clusters, n)
    gain = np.asarray(correct_candidate, dtype=np.float64) - np.asarray(correct_reference, dtype=np.float64)
    totals = np.bincount(codes, weights=gain)
    method = f"Bayesian bootstrap of patients, {n_draws} draws, seed {seed}"
    estimate = partial(Estimate, level=None, method=method, n=n)
    # Patients without a net difference add nothing to any draw's sign.
    totals = totals[totals != 0]
    if totals.size == 0:
        return estimate(value=0.5, note=note or "no patient differs")
    rng = np.random.default_rng(seed)
    n_ahead = 0
    for start in range(0, n_draws, 1000):
        weights = rng.standard_exponential((min(1000, n_draws - start), totals.size))
        n_ahead += int((weights @ totals > 0).sum())
    return estimate(value=n_ahead / n_draws, note=note)


def probability_of_false_claim(accuracy: float, second: float, n: int, both: float | None = None) -> float:
    """Posterior probability that the winner of a publication is truly no more accurate than the second.

    As `probability_more_accurate` without clusters, from what a publication prints: the two accuracies and the number
    of cases. How many cases both got right is rarely printed; the authors' own estimates of it are not built in.

    Parameters
    ----------
    accuracy, second : float
        Accuracy of the claimed winner and of the second, in [0, 1], winner first.
    n : int
        Number of independent test cases.
    both : float, optional
        Share of the cases that both got right, the authors' "model congruence". Default: the product of the
        accuracies, where errors of the two have nothing to do with each other. Models that err on the same cases,
        as most do, have a larger share and a smaller probability.

    Returns
    -------
    float
        Probability in [0, 0.5].

    Raises
    ------
    ConfigError
        If a value is out of range, or `both` cannot be with these accuracies.

    References
    ----------
    Christodoulou et al. (2025), False promises in medical imaging AI?, arXiv 2505.04720: ``x1 = n (accuracy - both)``,
    ``x2 = n (second - both)``, posterior ``Dirichlet(x1 + 1, x2 + 1, n - x1 - x2 + 2)``; so the share of `x1` in
    the two is Beta, and nothing is drawn.
    """
    if not (0 <= second <= accuracy <= 1 and n >= 1):
        msg = "give accuracies from 0 to 1, the claimed winner's first, and at least one case"
        raise ConfigError(msg)
    low, high = max(0.0, accuracy + second - 1), second
    both = accuracy * second if both is None else both
    # Printed accuracies are rounded: half a case of room.
    if not low - 0.5 / n <= both <= high + 0.5 / n:
        msg = (
            f"with accuracies of {accuracy:g} and {second:g} both models are right on a share of cases from {low:.4g} "
            f"to {high:.4g}, not {both:g}"
        )
        raise ConfigError(msg)
    both = min(max(both, low), high)
    return float(scipy.special.betainc(n * (accuracy - both) + 1, n * (second - both) + 1, 0.5))


def _count_at_or_above(values: FloatArray, cut: FloatArray) -> FloatArray:
    return (values.size - np.searchsorted(np.sort(values), cut, side="left")).astype(np.float64)
