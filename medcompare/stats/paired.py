"""Paired comparison of two models' right and wrong decisions on the same cases.

Everything here is *candidate minus reference*. Which cases are compared (positives for
sensitivity, negatives for specificity, all for accuracy) is the caller's choice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import optimize, special, stats

from medcompare.errors import ConfigError, DataError
from medcompare.stats.arrays import (
    BoolArray,
    IntArray,
    checked_clusters,
    checked_decisions,
    checked_level,
)
from medcompare.stats.proportions import effective_sample_size, normal_quantile, wilson_limits
from medcompare.stats.records import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PairedMethod = Literal["tango", "newcombe"]

_METHOD_NAMES: dict[PairedMethod, str] = {"tango": "Tango score", "newcombe": "Newcombe square-and-add"}


def mcnemar_mid_p(n_only_reference: int, n_only_candidate: int) -> float:
    """Two-sided McNemar test, mid-p version.

    Parameters
    ----------
    n_only_reference, n_only_candidate : int
        Discordant cases: right by the reference only, by the candidate only.

    Returns
    -------
    float
        P-value in (0, 1]; 1 where no case is discordant.

    Raises
    ------
    DataError
        If a count is negative.

    References
    ----------
    Fagerland, Lydersen & Laake (2013), BMC Med Res Methodol 13:91.
    """
    _check_counts(n_only_reference, n_only_candidate)
    n = n_only_reference + n_only_candidate
    if n == 0:
        return 1.0
    fewer = min(n_only_reference, n_only_candidate)
    distribution = stats.binom(n, 0.5)
    return float(min(1.0, 2 * distribution.cdf(fewer) - distribution.pmf(fewer)))


def tango_interval(
    n_only_reference: float, n_only_candidate: float, n: float, *, level: float = 0.95
) -> tuple[float, float]:
    """Score interval of a paired difference of proportions, candidate minus reference.

    Parameters
    ----------
    n_only_reference, n_only_candidate : float
        Discordant cases: right by the reference only, by the candidate only. Effective
        (non-integer) numbers are allowed.
    n : float
        All cases, above 0.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    (float, float)
        Limits in [-1, 1]; of positive width even where no case is discordant.

    Raises
    ------
    DataError
        If the counts are negative or exceed `n`, or there are no cases.
    ConfigError
        If `level` is not strictly between 0 and 1.

    References
    ----------
    Tango (1998), Stat Med 17:891.
    """
    z = normal_quantile(level)
    _check_counts(n_only_reference, n_only_candidate, n)
    upper = _tango_upper(n_only_candidate, n_only_reference, n, z)
    lower = -_tango_upper(n_only_reference, n_only_candidate, n, z)
    return lower, upper


def _tango_upper(gain: float, loss: float, n: float, z: float) -> float:
    """Upper limit of ``(gain - loss) / n``: where the score statistic falls to -z."""
    estimate = (gain - loss) / n
    if gain == n:
        return 1.0
    if gain == 0 and loss == 0:
        # The constrained estimate of the loss cell is 0, which leaves a linear equation.
        return z**2 / (n + z**2)
    if loss == n:
        # Constrained loss cell (1 - delta) / 2: linear again, mirrored.
        return -(n - z**2) / (n + z**2)

    def excess(delta: float) -> float:
        linear = (2 * n - gain + loss) * delta - gain - loss
        root = math.sqrt(max(linear**2 + 8 * n * loss * delta * (1 - delta), 0.0))
        loss_cell = max((root - linear) / (4 * n), 0.0)
        variance = n * (2 * loss_cell + delta * (1 - delta))
        return (gain - loss - n * delta) ** 2 - z**2 * variance

    # At the estimate the statistic is 0, so `excess` is negative; at 1 it is positive.
    return float(optimize.brentq(excess, estimate, 1.0, xtol=1e-15, rtol=1e-14))


def newcombe_interval(
    both: float, only_reference: float, only_candidate: float, neither: float, *, level: float = 0.95
) -> tuple[float, float]:
    """Square-and-add interval of a paired difference, candidate minus reference.

    Newcombe's method 10: Wilson limits of the two proportions, combined with their
    correlation phi, which is corrected for continuity where it is positive.

    Parameters
    ----------
    both, only_reference, only_candidate, neither : float
        The four cells of the paired table of right decisions. Effective (non-integer)
        numbers are allowed.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    (float, float)
        Limits in [-1, 1].

    Raises
    ------
    DataError
        If a count is negative or all are 0.
    ConfigError
        If `level` is not strictly between 0 and 1.

    References
    ----------
    Newcombe (1998), Stat Med 17:2635, method 10.
    """
    checked_level(level)
    n = both + only_reference + only_candidate + neither
    _check_counts(only_reference, only_candidate, n)
    _check_counts(both, neither, n)
    p_candidate, p_reference = (both + only_candidate) / n, (both + only_reference) / n
    low_c, high_c = wilson_limits(p_candidate, n, level)
    low_r, high_r = wilson_limits(p_reference, n, level)
    margins = (both + only_candidate) * (only_reference + neither)
    margins *= (both + only_reference) * (only_candidate + neither)
    cross = both * neither - only_reference * only_candidate
    if cross > 0:
        cross = max(cross - n / 2, 0.0)
    phi = cross / math.sqrt(margins) if margins > 0 else 0.0
    difference = (only_candidate - only_reference) / n

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(a**2 - 2 * phi * a * b + b**2, 0.0))

    low = difference - distance(p_candidate - low_c, high_r - p_reference)
    high = difference + distance(high_c - p_candidate, p_reference - low_r)
    return max(low, -1.0), min(high, 1.0)


def paired_proportion_difference(
    correct_reference: BoolArray,
    correct_candidate: BoolArray,
    *,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
    method: PairedMethod = "tango",
) -> Estimate:
    """Difference of two paired proportions, candidate minus reference.

    Without clusters: Tango or Newcombe interval and McNemar's mid-p. With clusters
    (images of one patient): the same interval at the effective sample size of the
    case-wise differences (variance of the ratio estimator), and Obuchowski's test.

    Parameters
    ----------
    correct_reference, correct_candidate : ndarray of bool, shape (n_samples,)
        Whether each model is right, case by case.
    level : float, default=0.95
        Confidence level.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case.
    method : {"tango", "newcombe"}, default="tango"
        Kind of interval.

    Returns
    -------
    Estimate
        Difference in [-1, 1] with a two-sided p-value. No value without cases.

    Raises
    ------
    DataError
        If the arrays are not boolean or differ in length.
    ConfigError
        If `level` or `method` is unknown.

    References
    ----------
    Tango (1998), Stat Med 17:891; Newcombe (1998), Stat Med 17:2635; Obuchowski (1998),
    Stat Med 17:1495; Yang, Sun & Hardin (2012), Stat Med 31:2421 (score intervals with clusters).
    """
    checked_level(level)
    if method not in _METHOD_NAMES:
        msg = f"interval method '{method}' is unknown; choose one of {', '.join(_METHOD_NAMES)}"
        raise ConfigError(msg)
    reference = checked_decisions(correct_reference, name="correct_reference")
    candidate = checked_decisions(correct_candidate, n_samples=reference.size, name="correct_candidate")
    test = "McNemar mid-p" if clusters is None else "Obuchowski test"
    interval = _METHOD_NAMES[method] + ("" if clusters is None else " (clustered, effective sample size)")
    name = f"{interval}; {test}"
    n = reference.size
    if n == 0:
        return Estimate(value=None, level=level, method=name, n=0, note="undefined: no cases to compare")
    both, only_reference, only_candidate, neither = paired_table(reference, candidate)
    value = (only_candidate - only_reference) / n
    note = "no discordant case" if only_reference + only_candidate == 0 else None
    scale, p_value = 1.0, mcnemar_mid_p(only_reference, only_candidate)
    if clusters is not None:
        codes = checked_clusters(clusters, n)
        if codes.max() == 0:
            note = "no interval: all cases come from one patient"
            return Estimate(value=value, level=level, method=name, n=n, note=note)
        gain = candidate.astype(np.float64) - reference
        scale = effective_sample_size(gain, codes, level=level) / n
        p_value = obuchowski_test(gain, codes)
    cells = [cell * scale for cell in (both, only_reference, only_candidate, neither)]
    if method == "tango":
        low, high = tango_interval(cells[1], cells[2], n * scale, level=level)
    else:
        low, high = newcombe_interval(*cells, level=level)
    return Estimate(
        value=value,
        ci_low=min(low, value),
        ci_high=max(high, value),
        level=level,
        method=name,
        p_value=p_value,
        n=n,
        note=note,
    )


def paired_table(correct_reference: BoolArray, correct_candidate: BoolArray) -> tuple[int, int, int, int]:
    """Count the four cells of the paired table.

    Parameters
    ----------
    correct_reference, correct_candidate : ndarray of bool, shape (n_samples,)
        Whether each model is right.

    Returns
    -------
    (int, int, int, int)
        Both right, only the reference, only the candidate, neither.

    Raises
    ------
    DataError
        If the arrays are not boolean or differ in length.
    """
    a = checked_decisions(correct_reference, name="correct_reference")
    b = checked_decisions(correct_candidate, n_samples=a.size, name="correct_candidate")
    return int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum())


def obuchowski_test(gain: ArrayLike, clusters: IntArray) -> float:
    """Two-sided test that two paired proportions are equal when cases come in clusters.

    Parameters
    ----------
    gain : array-like of shape (n_samples,)
        Candidate right minus reference right: -1, 0 or 1.
    clusters : ndarray of int, shape (n_samples,)
        Codes 0 … k - 1, with k at least 2.

    Returns
    -------
    float
        P-value in (0, 1]; 1 where no case is discordant.

    Raises
    ------
    DataError
        If there are fewer than two clusters.

    References
    ----------
    Obuchowski (1998), Stat Med 17:1495: under equality the variance of the difference is
    ``k / (k - 1)`` times the sum of squared cluster totals over ``n**2``.
    """
    n_clusters = int(clusters.max()) + 1
    if n_clusters < 2:
        msg = "a test between patients needs at least two patients"
        raise DataError(msg)
    totals = np.bincount(clusters, weights=np.asarray(gain, dtype=np.float64), minlength=n_clusters)
    squares = float(totals @ totals)
    if squares == 0:
        return 1.0
    chi_square = float(totals.sum()) ** 2 / (n_clusters / (n_clusters - 1) * squares)
    return float(stats.chi2.sf(chi_square, 1))


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
        value = float(special.betainc(only_reference + 1, only_candidate + 1, 0.5))
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
    # Patients without a net difference add nothing to any draw's sign.
    totals = totals[totals != 0]
    if totals.size == 0:
        return Estimate(value=0.5, level=None, method=method, n=n, note=note or "no patient differs")
    rng = np.random.default_rng(seed)
    n_ahead = 0
    for start in range(0, n_draws, 1000):
        weights = rng.standard_exponential((min(1000, n_draws - start), totals.size))
        n_ahead += int((weights @ totals > 0).sum())
    return Estimate(value=n_ahead / n_draws, level=None, method=method, n=n, note=note)


def _check_counts(first: float, second: float, n: float | None = None) -> None:
    if first < 0 or second < 0:
        msg = f"counts {first} and {second} of a paired table must not be negative"
        raise DataError(msg)
    if n is not None and (n <= 0 or first + second > n * (1 + 1e-12)):
        msg = f"counts {first} and {second} of a paired table exceed its {n} cases"
        raise DataError(msg)
