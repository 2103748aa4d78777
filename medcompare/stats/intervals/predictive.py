"""What a call is worth: likelihood ratios, and predictive values where the disease has another prevalence."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.errors import ConfigError
from medcompare.base.formatting import format_level
from medcompare.base.language import message, t
from medcompare.stats.arrays import BoolArray, IntArray, checked_clusters, checked_decisions, checked_level
from medcompare.stats.intervals.proportions import effective_sample_size, normal_quantile
from medcompare.stats.records import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def likelihood_ratios(
    predicted: BoolArray, positive: BoolArray, clusters: ArrayLike | None, *, level: float = 0.95
) -> tuple[Estimate, Estimate]:
    """How much more often a positive (a negative) call is made where it is right than where it is wrong.

    ``sensitivity / (1 - specificity)`` and ``(1 - sensitivity) / specificity``: ratios of two
    proportions of different cases. The interval is Miettinen and Nurminen's score interval, which
    needs no case in every cell; with clusters at the effective sample size of each class. That
    patients with both classes correlate is not used, which makes the interval rather too wide.

    Parameters
    ----------
    predicted, positive : ndarray of bool, shape (n_samples,)
        Positive calls, and the truth.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case.
    level : float, default=0.95
        Confidence level.

    Returns
    -------
    (Estimate, Estimate)
        Of a positive and of a negative call; 0 or more. No value where a class is missing or no
        call is wrong in the class that divides: the note then gives the lower limit.

    Raises
    ------
    DataError
        If the arrays are not boolean or differ in length.

    References
    ----------
    Miettinen & Nurminen (1985), Stat Med 4:213; Deeks & Altman (2004), BMJ 329:168 (what the
    ratios say); Rao & Scott (1992), Biometrics 48:577 (effective sample size).
    """
    truth = checked_decisions(positive, name="positive")
    calls = checked_decisions(predicted, n_samples=truth.size, name="predicted")
    codes = None if clusters is None else checked_clusters(clusters, truth.size)
    return _ratio(calls, truth, codes, level, "positive"), _ratio(~calls, truth, codes, level, "negative")


NO_CASE = {
    "positive": message("undefined: no positive case"),
    "negative": message("undefined: no negative case"),
}
ONE_PATIENT = {
    "positive": message("not estimable: all positive cases come from one patient"),
    "negative": message("not estimable: all negative cases come from one patient"),
}
NO_CALL = {
    "positive": message("undefined: no positive prediction"),
    "negative": message("undefined: no negative prediction"),
}
NO_NEGATIVE_CALLED = {
    "positive": message(
        "undefined: no negative case got a positive prediction; at least {low:.3g} ({level} limit)"
    ),
    "negative": message(
        "undefined: no negative case got a negative prediction; at least {low:.3g} ({level} limit)"
    ),
}


def _ratio(
    call_made: BoolArray, positive: BoolArray, codes: IntArray | None, level: float, call: str
) -> Estimate:
    """Share of the positives with this call over the share of the negatives with it."""
    method = (
        t("score interval of a ratio (Miettinen-Nurminen)")
        if codes is None
        else t("score interval of a ratio (Miettinen-Nurminen) (clustered, effective sample size)")
    )
    n = positive.size
    estimate = partial(Estimate, level=level, method=method, n=n)
    counts: list[tuple[float, float]] = []
    for truth, name in ((positive, "positive"), (~positive, "negative")):
        made = call_made[truth]
        if made.size == 0:
            return estimate(value=None, note=t(NO_CASE[name]))
        scale = 1.0
        if codes is not None:
            _, inside = np.unique(codes[truth], return_inverse=True)
            if inside.max() == 0:
                note = t(ONE_PATIENT[name])
                return estimate(value=None, note=note)
            scale = effective_sample_size(made, inside, level=level) / made.size
        counts.append((float(made.sum() * scale), float(made.size * scale)))
    (hits, n_positive), (alarms, n_negative) = counts
    if hits == 0 and alarms == 0:
        return estimate(value=None, note=t(NO_CALL[call]))
    # In statsmodels the upper limit is wrong where a count is 0 and the other is all.
    low = 1 / _ratio_upper(alarms, n_negative, hits, n_positive, level) if hits else 0.0
    if alarms == 0:
        note = t(NO_NEGATIVE_CALLED[call], low=low, level=format_level(level))
        return estimate(value=None, note=note)
    value, high = (
        hits / n_positive / (alarms / n_negative),
        _ratio_upper(hits, n_positive, alarms, n_negative, level),
    )
    return estimate(value=value, ci_low=min(max(low, 0.0), value), ci_high=max(high, value))


def _ratio_upper(x: float, n: float, x_other: float, n_other: float, level: float) -> float:
    """Upper limit of ``(x / n) / (x_other / n_other)``: where Miettinen and Nurminen's statistic is -z."""
    total, z = n + n_other, normal_quantile(level)
    if x_other == 0:
        return math.inf

    def excess(ratio: float) -> float:
        # Maximum likelihood of both shares, given their ratio.
        linear = ratio * (n + x_other) + x + n_other
        root = math.sqrt(max(linear**2 - 4 * ratio * total * (x + x_other), 0.0))
        other = (linear - root) / (2 * ratio * total)
        share = min(ratio * other, 1.0)
        variance = share * (1 - share) / n + ratio**2 * other * (1 - other) / n_other
        return (x / n - ratio * x_other / n_other) ** 2 - z**2 * variance * total / (total - 1)

    high = max(x, 1.0) / n / (x_other / n_other)
    while excess(high) <= 0:
        high *= 2
    below = x / n / (x_other / n_other) or high * 1e-9
    return float(scipy.optimize.brentq(excess, below, high, rtol=1e-12)) if excess(below) < 0 else below


def predictive_values_at_prevalence(
    sensitivity: Estimate, specificity: Estimate, prevalence: float, level: float = 0.95
) -> tuple[Estimate, Estimate]:
    """Positive and negative predictive value where the disease has another prevalence.

    Bayes' formula. The interval combines the given intervals of sensitivity and
    specificity, which rest on different cases and so are independent, on the log scale of
    the likelihood ratio (MOVER, "square and add"); it is exact about neither but needs no
    more than the two intervals, clustered or not. Where sensitivity or specificity is 0
    or 1 the log is infinite, and the limits are Bayes' formula at the two worst and the
    two best limits, which is conservative.

    Parameters
    ----------
    sensitivity, specificity : Estimate
        With intervals at `level`.
    prevalence : float
        Expected share of positives, strictly between 0 and 1.
    level : float, default=0.95
        Confidence level; must be that of the two estimates.

    Returns
    -------
    (Estimate, Estimate)
        Positive, then negative predictive value.

    Raises
    ------
    ConfigError
        If the prevalence is not strictly between 0 and 1, or the levels differ.

    References
    ----------
    Zou & Donner (2008), Stat Med 27:1693 (MOVER); Mercaldo, Lau & Zhou (2007), Stat Med
    26:2170 (the problem).
    """
    checked_level(level)
    if not 0 < prevalence < 1:
        msg = f"prevalence is {prevalence}; give the expected share of positives, between 0 and 1"
        raise ConfigError(msg)
    for name, given in (("sensitivity", sensitivity), ("specificity", specificity)):
        if given.ci_low is not None and given.level != level:
            msg = f"{name} has a {given.level} interval but level is {level}; compute both at one level"
            raise ConfigError(msg)
    odds = prevalence / (1 - prevalence)
    return (
        _posterior(sensitivity, specificity, odds, level, "positive"),
        _posterior(specificity, sensitivity, 1 / odds, level, "negative"),
    )


def _posterior(right: Estimate, wrong: Estimate, odds: float, level: float, call: str) -> Estimate:
    """Probability that a call is right: `right` in its own class, `wrong` in the other."""
    method = t("Bayes formula; MOVER (log likelihood ratio)")
    estimate = partial(Estimate, level=level, method=method)
    if right.value is None or wrong.value is None:
        note = t("undefined: sensitivity or specificity is undefined")
        return estimate(value=None, note=note)
    hit, miss = right.value, 1 - wrong.value
    if hit == 0 and miss == 0:
        return estimate(value=None, note=t(NO_CALL[call]))
    value = _bayes(hit, miss, odds)
    if None in (right.ci_low, right.ci_high, wrong.ci_low, wrong.ci_high):
        note = t("no interval: sensitivity or specificity has none")
        return estimate(value=value, note=note)
    hit_low, hit_high = float(right.ci_low or 0.0), float(right.ci_high or 0.0)
    miss_low, miss_high = 1 - float(wrong.ci_high or 0.0), 1 - float(wrong.ci_low or 0.0)
    if 0 < hit < 1 and 0 < miss < 1 and hit_low > 0 and miss_low > 0:
        log_ratio = math.log(hit / miss)
        below = math.hypot(math.log(hit / hit_low), math.log(miss_high / miss))
        above = math.hypot(math.log(hit_high / hit), math.log(miss / miss_low))
        low = _bayes(math.exp(log_ratio - below), 1.0, odds)
        high = _bayes(math.exp(log_ratio + above), 1.0, odds)
        return estimate(value=value, ci_low=min(low, value), ci_high=max(high, value))
    note = t("sensitivity or specificity is 0 or 1: limits from their worst and best limits together")
    low = _bayes(hit_low, miss_high, odds) if hit_low + miss_high > 0 else 0.0
    high = _bayes(hit_high, miss_low, odds) if hit_high + miss_low > 0 else 1.0
    return Estimate(
        value=value,
        ci_low=min(low, value),
        ci_high=max(high, value),
        level=level,
        method=t("Bayes formula; joint limits"),
        note=note,
    )


def _bayes(hit: float, miss: float, odds: float) -> float:
    return hit * odds / (hit * odds + miss)
