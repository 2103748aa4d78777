"""Agreement of predicted probabilities with outcomes.

Slope, calibration-in-the-large, observed : expected, Brier and scaled Brier score, a
flexible reliability curve and, as a footnote, the expected calibration error. With
clusters every standard error is robust to several cases of one patient.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.errors import DataError
from medcompare.base.language import t, tn
from medcompare.stats.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    checked_clusters,
    checked_labels,
    checked_level,
    checked_probabilities,
    few_units,
    plain,
)
from medcompare.stats.calibration.loess import local_regression
from medcompare.stats.calibration.logistic import CLIP, clipped_logit, fit_logistic, standard_errors
from medcompare.stats.intervals.proportions import normal_quantile, wilson_limits
from medcompare.stats.records import Calibration, Curve, Estimate
from medcompare.stats.resampling.weights import ResamplingPlan

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from medcompare.stats.resampling.weights import WeightArray

N_BINS = 10
"""Equal-width bins of the histogram's coarse sibling, the expected calibration error."""

WIDEST_SLOPE = 10.0
"""Half width from which an interval of the slope, ideally 1, no longer says anything."""

_HISTOGRAM_BINS = 20
_ROUNDING = 1e-12
_CURVE_POINTS = 51
_NULL_DRAWS = 200


def calibration(
    y_true: ArrayLike,
    probability: ArrayLike,
    *,
    level: float = 0.95,
    seed: int,
    clusters: ArrayLike | None = None,
    n_resamples: int = 5000,
    recalibration: str | None = None,
) -> Calibration:
    """Calibration of predicted probabilities on the test subset.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    probability : array-like of shape (n_samples,)
        Predicted probability of the positive class.
    level : float, default=0.95
        Confidence level.
    seed : int
        Seed of the bootstrap (Brier scores) and of the expected calibration error under
        perfect calibration.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case.
    n_resamples : int, default=5000
        Bootstrap samples.
    recalibration : str, optional
        What was done to the probabilities before, for the record.

    Returns
    -------
    Calibration
        Perfect is slope 1, in-the-large 0 (log odds) and observed : expected 1. The curve
        is a local linear regression (loess, span 0.75) with a pointwise band. Where a class
        has fewer than `MIN_UNITS` cases (patients) no figure but the curve and the expected
        calibration error has a value.

    Raises
    ------
    DataError
        If the arrays do not match, a value is not in [0, 1], a class is missing or there
        is a single patient.
    ConfigError
        If `level`, `seed` or `n_resamples` is out of range.

    References
    ----------
    Cox (1958), Biometrika 45:562 (slope); Van Calster et al. (2019), BMC Med 17:230; Debray
    et al. (2017), BMJ 356:i6460 (observed : expected); Steyerberg et al. (2010),
    Epidemiology 21:128 (scaled Brier); Roelofs et al. (2022), AISTATS (bias of the ECE);
    Austin & Steyerberg (2019), Stat Med 38:4051 (ICI, E50 and E90).
    """
    checked_level(level)
    positive = checked_labels(y_true)
    p = checked_probabilities(probability, positive.size)
    codes = None if clusters is None else checked_clusters(clusters, positive.size)
    if codes is not None and codes.max() == 0:
        msg = "all cases come from one patient; calibration with clusters needs at least two"
        raise DataError(msg)
    few = few_units(positive, codes)
    if few is None:
        slope, shift = _slope(positive, p, codes, level), _in_the_large(positive, p, codes, level)
        ratio = _observed_expected(positive, p, codes, level)
        brier, scaled = _brier(positive, p, codes, level, seed=seed, n_resamples=n_resamples)
    else:
        note = t("not estimable: {few}", few=few)
        slope = Estimate(value=None, level=level, method="none", n=p.size, note=note)
        shift = ratio = brier = scaled = slope
    curve = reliability_curve(positive, p, level=level, clusters=codes)
    ici, e50, e90 = (slope, slope, slope) if few else _distances(p, curve)
    error, by_chance = _expected_calibration_error(positive, p, seed)
    edges = np.linspace(0, 1, _HISTOGRAM_BINS + 1)
    return Calibration(
        slope=slope,
        in_the_large=shift,
        observed_expected=ratio,
        brier=brier,
        scaled_brier=scaled,
        expected_calibration_error=error,
        expected_calibration_error_by_chance=by_chance,
        integrated_calibration_index=ici,
        e50=e50,
        e90=e90,
        curve=curve,
        histogram_edges=plain(edges),
        histogram_negative=tuple(int(k) for k in np.histogram(p[~positive], edges)[0]),
        histogram_positive=tuple(int(k) for k in np.histogram(p[positive], edges)[0]),
        recalibration=recalibration,
    )


def reliability_curve(
    y_true: ArrayLike, probability: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Curve:
    """Observed share of positives as a smooth function of the predicted probability.

    Local linear regression; the band is Wilson's at the effective number of cases behind
    each point (the inverse of the summed squared smoothing weights, divided by the design
    effect where there are clusters), so it stays inside [0, 1] and never closes.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    probability : array-like of shape (n_samples,)
        Predicted probability of the positive class.
    level : float, default=0.95
        Pointwise confidence level.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case.

    Returns
    -------
    Curve
        Only over the range of predictions that occur; one point where all are alike.

    Raises
    ------
    DataError
        If the arrays do not match, a value is not in [0, 1] or a class is missing.
    ConfigError
        If `level` is not strictly between 0 and 1.

    References
    ----------
    Cleveland (1979), J Am Stat Assoc 74:829; Austin & Steyerberg (2014), Stat Med 33:517.
    """
    checked_level(level)
    positive = checked_labels(y_true)
    p = checked_probabilities(probability, positive.size)
    codes = None if clusters is None else checked_clusters(clusters, positive.size)
    grid = np.linspace(p.min(), p.max(), _CURVE_POINTS) if p.min() < p.max() else p[:1]
    smooth = local_regression(p, positive.astype(np.float64), grid, clusters=codes)
    share = np.clip(smooth.fit, 0.0, 1.0)
    limits = [
        wilson_limits(float(s), float(k), level) for s, k in zip(share, smooth.n_effective, strict=True)
    ]
    return Curve(
        x=plain(grid),
        y=plain(share),
        y_low=tuple(low for low, _ in limits),
        y_high=tuple(h for _, h in limits),
    )


def expected_calibration_error(y_true: ArrayLike, probability: ArrayLike, *, n_bins: int = N_BINS) -> float:
    """Expected calibration error of the positive class, equal-width bins.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels.
    probability : array-like of shape (n_samples,)
        Predicted probability of the positive class.
    n_bins : int, default=10
        Bins; each is closed on the right, the first also on the left.

    Returns
    -------
    float
        Mean absolute gap between observed and predicted, weighted by bin size. Biased
        upward: never rank models by it.

    Raises
    ------
    DataError
        If the arrays do not match or a value is not in [0, 1].

    References
    ----------
    Naeini, Cooper & Hauskrecht (2015), AAAI.
    """
    positive = checked_labels(y_true, both_classes=False)
    p = checked_probabilities(probability, positive.size)
    bins = _bins(p, n_bins)
    gap = np.bincount(bins, weights=positive - p, minlength=n_bins)
    return float(np.abs(gap).sum() / p.size)


def _clip_note(p: FloatArray) -> str | None:
    n_clipped = int(((p < CLIP) | (p > 1 - CLIP)).sum())
    return (
        tn(
            "{n} probability of 0 or 1 moved by {by:g} before the logit",
            "{n:,} probabilities of 0 or 1 moved by {by:g} before the logit",
            n_clipped,
            by=CLIP,
        )
        if n_clipped
        else None
    )


def _slope(positive: BoolArray, p: FloatArray, codes: IntArray | None, level: float) -> Estimate:
    method = t("logistic recalibration") if codes is None else t("logistic recalibration (cluster-robust)")
    x = clipped_logit(p)
    n = p.size
    estimate = partial(Estimate, level=level, method=method, n=n)
    if x.min() == x.max():
        note = t("undefined: every case has the same probability")
        return estimate(value=None, note=note)
    above, below = x[positive], x[~positive]
    if above.min() >= below.max() or above.max() <= below.min():
        note = t("undefined: the probabilities separate the classes perfectly")
        return estimate(value=None, note=note)
    # In standard units Newton's method converges however little the probabilities vary.
    spread = float(x.std())
    design = np.column_stack([np.ones_like(x), (x - x.mean()) / spread])
    try:
        beta, inverse = fit_logistic(design, positive.astype(np.float64))
    except DataError:
        note = t("undefined: the probabilities almost separate the classes, so the fit has no maximum")
        return estimate(value=None, note=note)
    residuals = positive - scipy.special.expit(design @ beta)
    half = normal_quantile(level) * float(standard_errors(design, residuals, inverse, codes)[1]) / spread
    value = float(beta[1]) / spread
    if half > WIDEST_SLOPE:
        note = t(
            "not estimable: the probabilities hardly vary (from {low:.4g} to {high:.4g}), and the interval "
            "would reach more than {most:g} to either side",
            low=float(p.min()),
            high=float(p.max()),
            most=WIDEST_SLOPE,
        )
        return estimate(value=None, note=note)
    return estimate(value=value, ci_low=value - half, ci_high=value + half, note=_clip_note(p))


def _in_the_large(positive: BoolArray, p: FloatArray, codes: IntArray | None, level: float) -> Estimate:
    method = (
        t("logistic intercept, logit as offset")
        if codes is None
        else t("logistic intercept, logit as offset (cluster-robust)")
    )
    x = clipped_logit(p)
    # The score equation in one unknown is monotone; a bracket cannot fail where Newton may.
    n_positive = float(positive.sum())

    def excess(shift: float) -> float:
        return float(scipy.special.expit(x + shift).sum()) - n_positive

    reach = float(np.abs(x).max()) + abs(float(scipy.special.logit(n_positive / p.size))) + 1
    value = float(scipy.optimize.brentq(excess, -reach, reach, xtol=1e-13, rtol=1e-14))
    mean = scipy.special.expit(x + value)
    design = np.ones((p.size, 1))
    inverse = np.array([[1 / float((mean * (1 - mean)).sum())]])
    half = normal_quantile(level) * float(standard_errors(design, positive - mean, inverse, codes)[0])
    return Estimate(
        value=value,
        ci_low=value - half,
        ci_high=value + half,
        level=level,
        method=method,
        n=p.size,
        note=_clip_note(p),
    )


def _observed_expected(positive: BoolArray, p: FloatArray, codes: IntArray | None, level: float) -> Estimate:
    n, observed, expected = p.size, float(positive.sum()), float(p.sum())
    method = t("log-normal interval") if codes is None else t("log-normal interval (cluster-robust)")
    estimate = partial(Estimate, level=level, method=method, n=n)
    if expected == 0:
        note = t("undefined: every predicted probability is 0")
        return estimate(value=None, note=note)
    value = observed / expected
    if codes is None:
        error = math.sqrt((1 - observed / n) / observed)
    else:
        k = int(codes.max()) + 1
        totals = np.bincount(codes, weights=positive - value * p)
        error = math.sqrt(k / (k - 1) * float(totals @ totals)) / observed
    half = normal_quantile(level) * error
    return estimate(value=value, ci_low=value * math.exp(-half), ci_high=value * math.exp(half))


def _brier(
    positive: BoolArray, p: FloatArray, codes: IntArray | None, level: float, *, seed: int, n_resamples: int
) -> tuple[Estimate, Estimate]:
    """Brier and scaled Brier score from the unstratified resamples of the other metrics."""
    plan = ResamplingPlan(positive, codes, stratified=False, seed=seed, n_resamples=n_resamples)
    method = t(
        "bootstrap percentile ({units}; {n} resamples)",
        units=plan.description,
        n=n_resamples,
    )
    estimate = partial(Estimate, level=level, method=method, n=p.size)
    loss = (p - positive) ** 2
    error, share = float(loss.mean()), float(positive.mean())
    values = error, 1 - error / (share * (1 - share))

    def sums(weights: WeightArray) -> FloatArray:
        columns = (weights * loss, weights[:, positive], weights)
        return np.stack([column.sum(axis=1, dtype=np.float64) for column in columns])

    drawn = np.concatenate(plan.each(sums), axis=1)
    errors, shares = drawn[0] / drawn[2], drawn[1] / drawn[2]
    mixed = (shares > 0) & (shares < 1)
    scaled = 1 - errors[mixed] / (shares[mixed] * (1 - shares[mixed]))
    lost = int((~mixed).sum())
    note = (
        t(
            "undefined in {lost} of {n} resamples, which are left out",
            lost=lost,
            n=n_resamples,
        )
        if lost
        else None
    )
    estimates = []
    for value, sample, remark in ((values[0], errors, None), (values[1], scaled, note)):
        if sample.size == 0 or sample.max() - sample.min() < _ROUNDING:
            why = t("no interval: the figure is the same in every resample")
            estimates.append(estimate(value=value, note=why))
            continue
        low, high = np.quantile(sample, [(1 - level) / 2, (1 + level) / 2])
        estimates.append(estimate(value=value, ci_low=float(low), ci_high=float(high), note=remark))
    return estimates[0], estimates[1]


def _expected_calibration_error(positive: BoolArray, p: FloatArray, seed: int) -> tuple[Estimate, Estimate]:
    """ECE, and what perfect calibration would show with these probabilities."""
    rng = np.random.default_rng([seed, 3])
    ordered = np.sort(p)  # rows in another order get the same draws
    bins = _bins(ordered, N_BINS)
    null = np.empty(_NULL_DRAWS)
    for i in range(_NULL_DRAWS):
        gap = np.bincount(bins, weights=(rng.random(p.size) < ordered) - ordered, minlength=N_BINS)
        null[i] = np.abs(gap).sum() / p.size
    note = t(
        "biased upward, so that no models are ranked by it; by chance: what perfectly calibrated probabilities of as "
        "many cases would show on average"
    )
    method = t("{n} equal-width bins, positive class", n=N_BINS)
    estimate = partial(Estimate, level=None, method=method, n=p.size, note=note)
    return estimate(value=expected_calibration_error(positive, p)), estimate(value=float(null.mean()))


def _distances(p: FloatArray, curve: Curve) -> tuple[Estimate, Estimate, Estimate]:
    """ICI, E50 and E90: mean, median and 90th percentile of the distance between curve and probability."""
    distance = np.abs(np.interp(p, curve.x, curve.y) - p)
    method = t("distance between loess curve (span 0.75) and probability")
    note = t(
        "mean (ICI), median (E50) and 90th percentile (E90) of the distance between curve and diagonal "
        "over all cases; without an interval, and biased upward in small samples"
    )
    estimate = partial(Estimate, level=None, method=method, n=p.size, note=note)
    e50, e90 = np.quantile(distance, [0.5, 0.9])
    return estimate(value=float(distance.mean())), estimate(value=float(e50)), estimate(value=float(e90))


def _bins(p: FloatArray, n_bins: int) -> IntArray:
    return np.clip(np.ceil(p * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
