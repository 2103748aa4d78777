"""Who is right more often: posterior probabilities, of scored cases or of what a publication prints."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.errors import ConfigError, DataError
from medcompare.base.language import t
from medcompare.stats.arrays import BoolArray, checked_clusters
from medcompare.stats.estimates import Estimate
from medcompare.stats.paired import paired_table

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


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
    note = t("no discordant case") if only_reference + only_candidate == 0 else None
    if clusters is None:
        value = float(scipy.special.betainc(only_reference + 1, only_candidate + 1, 0.5))
        exact = t("Dirichlet posterior, uniform prior (exact)")
        return Estimate(value=value, level=None, method=exact, n=n, note=note)
    if n_draws < 100:
        msg = f"n_draws is {n_draws}; at least 100 are needed"
        raise ConfigError(msg)
    codes = checked_clusters(clusters, n)
    gain = np.asarray(correct_candidate, dtype=np.float64) - np.asarray(correct_reference, dtype=np.float64)
    totals = np.bincount(codes, weights=gain)
    method = t("Bayesian bootstrap of patients, {n_draws} draws, seed {seed}", n_draws=n_draws, seed=seed)
    estimate = partial(Estimate, level=None, method=method, n=n)
    # Patients without a net difference add nothing to any draw's sign.
    totals = totals[totals != 0]
    if totals.size == 0:
        return estimate(value=0.5, note=note or t("no patient differs"))
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
