"""Recalibration of probabilities: fitted on the validation subset, applied to the test subset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.language import t
from medcompare.stats.arrays import FloatArray, checked_labels, checked_probabilities, plain
from medcompare.stats.calibration.logistic import clipped_logit, fit_logistic

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class PlattRecalibration:
    """``expit(intercept + slope * logit(p))``."""

    intercept: float
    slope: float
    note: str | None = None

    def apply(self, probability: ArrayLike) -> FloatArray:
        """Recalibrate probabilities.

        Parameters
        ----------
        probability : array-like of shape (n_samples,)
            In [0, 1].

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        DataError
            If a value is not in [0, 1].
        """
        values = checked_probabilities(probability, np.asarray(probability).size)
        return np.asarray(scipy.special.expit(self.intercept + self.slope * clipped_logit(values)))


@dataclass(frozen=True, kw_only=True)
class IsotonicRecalibration:
    """Non-decreasing, piecewise linear between fitted points, constant outside them."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def apply(self, probability: ArrayLike) -> FloatArray:
        """Recalibrate probabilities of shape (n_samples,), as `PlattRecalibration.apply` does."""
        values = checked_probabilities(probability, np.asarray(probability).size)
        return np.asarray(np.interp(values, self.x, self.y))


def fit_platt(y_true: ArrayLike, probability: ArrayLike) -> PlattRecalibration:
    """Fit a logistic recalibration, on validation data only.

    Platt's smoothed targets keep it finite where the classes separate. The slope is never
    negative: recalibration must not turn a ranking around.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels of the *validation* subset, both classes present.
    probability : array-like of shape (n_samples,)
        Predicted probabilities there.

    Returns
    -------
    PlattRecalibration
        With slope 0 and a note where the best slope would be negative.

    Raises
    ------
    DataError
        If the arrays do not match, a value is not in [0, 1] or a class is missing.

    References
    ----------
    Platt (1999), in Advances in Large Margin Classifiers, 61-74.
    """
    positive = checked_labels(y_true)
    x = clipped_logit(checked_probabilities(probability, positive.size))
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    if x.min() == x.max():
        note = t("all validation probabilities are alike: recalibrated to the prevalence")
        return PlattRecalibration(intercept=float(scipy.special.logit(target.mean())), slope=0.0, note=note)
    # In standard units Newton's method converges however little the probabilities vary.
    centre, spread = float(x.mean()), float(x.std())
    coefficients, _ = fit_logistic(np.column_stack([np.ones_like(x), (x - centre) / spread]), target)
    slope = float(coefficients[1]) / spread
    if slope < 0:
        note = t("validation probabilities fall with the outcome: recalibrated to the prevalence")
        return PlattRecalibration(intercept=float(scipy.special.logit(target.mean())), slope=0.0, note=note)
    return PlattRecalibration(intercept=float(coefficients[0]) - slope * centre, slope=slope)


def fit_temperature(y_true: ArrayLike, probability: ArrayLike) -> PlattRecalibration:
    """Fit one number, the temperature T, on validation data only: log-odds are divided by it.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels of the *validation* subset, both classes present.
    probability : array-like of shape (n_samples,)
        Predicted probabilities there.

    Returns
    -------
    PlattRecalibration
        With intercept 0 and slope 1 / T, the least log loss for T from 1/1000 to 1000.

    Raises
    ------
    DataError
        If the arrays do not match, a value is not in [0, 1] or a class is missing.

    References
    ----------
    Guo et al. (2017), "On calibration of modern neural networks", ICML, section 4.2.
    """
    positive = checked_labels(y_true)
    x = clipped_logit(checked_probabilities(probability, positive.size))
    away = np.where(positive, -x, x)  # log loss of a case is log(1 + exp(slope * away))

    def loss(log_slope: float) -> float:
        return float(np.logaddexp(0, np.exp(log_slope) * away).mean())

    found = scipy.optimize.minimize_scalar(loss, bounds=(-np.log(1000), np.log(1000)), method="bounded")
    return PlattRecalibration(intercept=0.0, slope=float(np.exp(found.x)))


def fit_isotonic(y_true: ArrayLike, probability: ArrayLike) -> IsotonicRecalibration:
    """Fit an isotonic recalibration, on validation data only.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels of the *validation* subset, both classes present.
    probability : array-like of shape (n_samples,)
        Predicted probabilities there.

    Returns
    -------
    IsotonicRecalibration

    Raises
    ------
    DataError
        If the arrays do not match, a value is not in [0, 1] or a class is missing.

    References
    ----------
    Zadrozny & Elkan (2002), KDD '02, 694.
    """
    positive = checked_labels(y_true)
    values = checked_probabilities(probability, positive.size)
    x, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    share = np.bincount(groups, weights=positive) / counts
    y = scipy.optimize.isotonic_regression(share, weights=counts).x
    return IsotonicRecalibration(x=plain(x), y=plain(np.clip(y, 0.0, 1.0)))
