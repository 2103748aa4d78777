"""Paired comparison of two models' right and wrong decisions on the same cases.

Everything here is *candidate minus reference*. Which cases are compared (positives for
sensitivity, negatives for specificity, all for accuracy) is the caller's choice.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy

from medcompare.base.errors import ConfigError, DataError
from medcompare.base.language import message, t
from medcompare.stats.arrays import BoolArray, IntArray, checked_clusters, checked_decisions, checked_level
from medcompare.stats.intervals.proportions import effective_sample_size, normal_quantile, wilson_limits
from medcompare.stats.multiplicity import standard_error_of
from medcompare.stats.records import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PairedMethod = Literal["tango", "newcombe"]
PairedTest = Literal["mid-p", "exact"]

POWER = 0.8
"""Share of repetitions of the study in which the detectable difference would be found."""

_METHOD_NAMES: dict[PairedMethod, str] = {
    "tango": message("Tango score"),
    "newcombe": message("Newcombe square-and-add"),
}


def mcnemar_p(n_only_reference: int, n_only_candidate: int, test: PairedTest = "mid-p") -> float:
    """Two-sided McNemar test.

    Parameters
    ----------
    n_only_reference, n_only_candidate : int
        Discordant cases: right by the reference only, by the candidate only.
    test : {"mid-p", "exact"}, default="mid-p"
        The exact test is never above its level, and more often below it than mid-p.

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
    McNemar (1947), Psychometrika 12:153; Fagerland, Lydersen & Laake (2013), BMC Med Res
    Methodol 13:91 (mid-p).
    """
    _check_counts(n_only_reference, n_only_candidate)
    n, fewer = n_only_reference + n_only_candidate, min(n_only_reference, n_only_candidate)
    if n == 0:
        return 1.0
    distribution = scipy.stats.binom(n, 0.5)
    excess = distribution.pmf(fewer) if test == "mid-p" else 0.0
    return float(min(1.0, 2 * distribution.cdf(fewer) - excess))


def detectable_difference(difference: Estimate) -> Estimate:
    """Smallest true difference that such a study would have found with a power of 80%.

    ``(z[1 - alpha / 2] + z[power])`` times the standard error of the difference in this study, two-sided.

    Parameters
    ----------
    difference : Estimate
        With an interval, ``value ± z * error`` (DeLong, Obuchowski) or close to it (Tango).

    Returns
    -------
    Estimate
        Of the size of the difference, without interval; no value where `difference` has no interval.

    References
    ----------
    Obuchowski (1998), Stat Methods Med Res 7:371 (AUC); Connor (1987), Biometrics 43:207 (paired
    proportions).
    """
    error = standard_error_of(difference)
    if error is None or difference.level is None:
        note = t("not estimable: {few}", few=difference.note or t("the difference has no interval"))
        return Estimate(value=None, level=None, method="none", n=difference.n, note=note)
    reach = normal_quantile(difference.level), float(scipy.stats.norm.ppf(POWER))
    method = t(
        "{level:.2f} + {power:.2f} standard errors (power {percent:g}%)",
        level=reach[0],
        power=reach[1],
        percent=100 * POWER,
    )
    return Estimate(value=min(sum(reach) * error, 1.0), level=None, method=method, n=difference.n)


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
    return float(scipy.optimize.brentq(excess, estimate, 1.0, xtol=1e-15, rtol=1e-14))


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
    test: PairedTest = "mid-p",
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
    test : {"mid-p", "exact"}, default="mid-p"
        Kind of McNemar's test; with clusters there is only Obuchowski's.

    Returns
    -------
    Estimate
        Difference in [-1, 1] with a two-sided p-value. No value without cases.

    Raises
    ------
    DataError
        If the arrays are not boolean or differ in length.
    ConfigError
        If `level`, `method` or `test` is unknown.

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
    if test not in ("mid-p", "exact"):
        msg = f"McNemar's test '{test}' is unknown; choose one of mid-p, exact"
        raise ConfigError(msg)
    interval = t(_METHOD_NAMES[method])
    if clusters is None:
        name = t("{interval}; McNemar {test}", interval=interval, test=test)
    else:
        name = t("{interval} (clustered, effective sample size); Obuchowski test", interval=interval)
    n = reference.size
    estimate = partial(Estimate, level=level, method=name, n=n)
    if n == 0:
        return Estimate(value=None, level=level, method=name, n=0, note=t("undefined: no cases to compare"))
    both, only_reference, only_candidate, neither = paired_table(reference, candidate)
    value = (only_candidate - only_reference) / n
    note = t("no discordant case") if only_reference + only_candidate == 0 else None
    scale, p_value = 1.0, mcnemar_p(only_reference, only_candidate, test)
    if clusters is not None:
        codes = checked_clusters(clusters, n)
        if codes.max() == 0:
            note = t("no interval: all cases come from one patient")
            return estimate(value=value, note=note)
        gain = candidate.astype(np.float64) - reference
        scale = effective_sample_size(gain, codes, level=level) / n
        p_value = obuchowski_test(gain, codes)
    cells = [cell * scale for cell in (both, only_reference, only_candidate, neither)]
    if method == "tango":
        low, high = tango_interval(cells[1], cells[2], n * scale, level=level)
    else:
        low, high = newcombe_interval(*cells, level=level)
    return estimate(value=value, ci_low=min(low, value), ci_high=max(high, value), p_value=p_value, note=note)


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
    return float(scipy.stats.chi2.sf(chi_square, 1))


def _check_counts(first: float, second: float, n: float | None = None) -> None:
    if first < 0 or second < 0:
        msg = f"counts {first} and {second} of a paired table must not be negative"
        raise DataError(msg)
    if n is not None and (n <= 0 or first + second > n * (1 + 1e-12)):
        msg = f"counts {first} and {second} of a paired table exceed its {n} cases"
        raise DataError(msg)
