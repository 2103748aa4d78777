"""Intervals of one proportion: single cases, and several images per patient.

Decides how a proportion's interval is made; what is counted is the caller's matter.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy

from medcompare.base.errors import ConfigError, DataError
from medcompare.base.language import t
from medcompare.stats.arrays import BoolArray, IntArray, checked_clusters, checked_decisions, checked_level
from medcompare.stats.records import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ProportionMethod = Literal["wilson", "clopper-pearson"]

_METHOD_NAMES: dict[ProportionMethod, str] = {"wilson": "Wilson", "clopper-pearson": "Clopper-Pearson"}


def normal_quantile(level: float) -> float:
    """Two-sided normal quantile of a confidence level (1.96 for 0.95).

    Raises
    ------
    ConfigError
        If `level` is not strictly between 0 and 1.
    """
    # As scipy.stats.norm.ppf, whose module takes a second to import where nothing else of it is needed.
    return float(scipy.special.ndtri(0.5 + checked_level(level) / 2))


def proportion(
    n_success: int, n: int, *, level: float = 0.95, method: ProportionMethod = "wilson"
) -> Estimate:
    """Proportion with a Wilson score or Clopper-Pearson interval.

    Parameters
    ----------
    n_success, n : int
        Successes and trials.
    level : float, default=0.95
        Confidence level.
    method : {"wilson", "clopper-pearson"}, default="wilson"
        Wilson keeps its nominal level on average; Clopper-Pearson never falls below it.

    Returns
    -------
    Estimate
        Fraction in [0, 1]; ``value`` is None with a note where `n` is 0.

    Raises
    ------
    DataError
        If the counts are negative or there are more successes than trials.
    ConfigError
        If `level` or `method` is unknown.

    References
    ----------
    Wilson (1927), J Am Stat Assoc 22:209; Clopper & Pearson (1934), Biometrika 26:404.
    """
    checked_level(level)
    if method not in _METHOD_NAMES:
        msg = f"interval method '{method}' is unknown; choose one of {', '.join(_METHOD_NAMES)}"
        raise ConfigError(msg)
    if n < 0 or not 0 <= n_success <= n:
        msg = f"{n_success} successes of {n} trials are not counts; check the confusion matrix"
        raise DataError(msg)
    name = _METHOD_NAMES[method]
    if n == 0:
        return Estimate(value=None, level=level, method=name, n=0, note=t("undefined: no cases to count"))
    value = n_success / n
    if method == "wilson":
        low, high = wilson_limits(value, n, level)
    else:
        tail = (1 - level) / 2
        low = float(scipy.stats.beta.ppf(tail, n_success, n - n_success + 1)) if n_success else 0.0
        high = float(scipy.stats.beta.ppf(1 - tail, n_success + 1, n - n_success)) if n_success < n else 1.0
    return Estimate(
        value=value, ci_low=min(low, value), ci_high=max(high, value), level=level, method=name, n=int(n)
    )


def wilson_limits(value: float, n_effective: float, level: float) -> tuple[float, float]:
    """Wilson limits for a proportion that rests on a non-integer number of cases.

    Parameters
    ----------
    value : float
        Proportion in [0, 1].
    n_effective : float
        Effective number of independent cases, above 0.
    level : float
        Confidence level.

    Returns
    -------
    (float, float)
        Limits in [0, 1].
    """
    z2 = normal_quantile(level) ** 2
    centre = (n_effective * value + z2 / 2) / (n_effective + z2)
    half = math.sqrt(z2 * n_effective * value * (1 - value) + z2**2 / 4) / (n_effective + z2)
    return min(max(centre - half, 0.0), value), max(min(centre + half, 1.0), value)


def clustered_ratio_variance(values: ArrayLike, clusters: IntArray) -> float:
    """Variance of a mean whose cases come in clusters (ratio estimator).

    Equal to the sandwich variance of a GEE with identity link and independence working
    correlation, times ``k / (k - 1)`` for `k` clusters.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        What is averaged over cases.
    clusters : ndarray of int, shape (n_samples,)
        Codes 0 … k - 1.

    Returns
    -------
    float
        Squared standard error of the mean.

    Raises
    ------
    DataError
        If there are fewer than two clusters.

    References
    ----------
    Cochran (1977), Sampling Techniques, 3rd ed., eq. 9.A; Rao & Scott (1992), Biometrics 48:577.
    """
    x = np.asarray(values, dtype=np.float64)
    n_clusters = int(clusters.max()) + 1 if clusters.size else 0
    if n_clusters < 2:
        msg = "a variance between patients needs at least two patients"
        raise DataError(msg)
    residuals = np.bincount(clusters, weights=x - x.mean(), minlength=n_clusters)
    return float(n_clusters / (n_clusters - 1) * (residuals @ residuals) / x.size**2)


def effective_sample_size(values: ArrayLike, clusters: IntArray, *, level: float = 0.95) -> float:
    """Number of independent cases a clustered mean is worth, for a score interval.

    ``n / max(design effect, 1)``, and a further factor that lets a normal-based interval
    allow for few clusters. Exactly `n` where every case is a cluster of its own. Where
    the cases do not vary the design effect is unknown, and the number of clusters is
    returned: as if cases of one patient were copies of one another.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        What is averaged over cases.
    clusters : ndarray of int, shape (n_samples,)
        Codes 0 … k - 1, with k at least 2.
    level : float, default=0.95
        Confidence level of the interval it will be used in.

    Returns
    -------
    float

    Raises
    ------
    DataError
        If there are fewer than two clusters.

    References
    ----------
    Rao & Scott (1992), Biometrics 48:577; Korn & Graubard (1998), Survey Methodology 24:193,
    for the ratio of t quantiles.
    """
    x = np.asarray(values, dtype=np.float64)
    n, n_clusters = x.size, int(clusters.max()) + 1
    clustered = clustered_ratio_variance(x, clusters)
    independent = float(x.var()) / (n - 1)
    if independent <= 0:
        return float(n_clusters)
    upper = 0.5 + checked_level(level) / 2
    few_clusters = float(scipy.stats.t.ppf(upper, n - 1) / scipy.stats.t.ppf(upper, n_clusters - 1)) ** 2
    return n / max(clustered / independent, 1.0) * few_clusters


def clustered_proportion(success: BoolArray, clusters: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Proportion over cases that come in clusters (images of one patient).

    The variance is that of the ratio estimator; the interval is Wilson's at the effective
    sample size, which keeps it inside [0, 1], gives it width at 0 and 1, and makes it
    Wilson's own interval where each patient has one image.

    Parameters
    ----------
    success : ndarray of bool, shape (n_samples,)
        What is counted.
    clusters : array-like of shape (n_samples,)
        Patient of each case.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    Estimate
        Fraction in [0, 1]. No value without cases, no interval with a single patient.

    Raises
    ------
    DataError
        If `success` is not boolean or the lengths differ.

    References
    ----------
    Rao & Scott (1992), Biometrics 48:577; Saha, Miller & Wang (2016), Int J Biostat 12(2).
    """
    checked_level(level)
    flags = checked_decisions(success, name="success")
    method = t("Wilson (clustered, effective sample size)")
    estimate = partial(Estimate, level=level, method=method, n=flags.size)
    if flags.size == 0:
        return Estimate(value=None, level=level, method=method, n=0, note=t("undefined: no cases to count"))
    codes = checked_clusters(clusters, flags.size)
    value = float(flags.mean())
    if codes.max() == 0:
        note = t("no interval: all cases come from one patient")
        return estimate(value=value, note=note)
    low, high = wilson_limits(value, effective_sample_size(flags, codes, level=level), level)
    return estimate(value=value, ci_low=low, ci_high=high)
