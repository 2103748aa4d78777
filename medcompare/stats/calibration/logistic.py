"""Logistic regression small enough to be exact: Newton's method, and robust errors.

scikit-learn's takes no fractions as outcomes, which Platt's targets are, and gives no covariance.
statsmodels has all of it; it is what the tests hold this against, and not worth 65 MB on disk for 15 lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.errors import DataError

if TYPE_CHECKING:
    from medcompare.stats.arrays import FloatArray, IntArray

CLIP = 1e-6
"""Probabilities closer than this to 0 or 1 are moved there before a logit is taken."""

_MOST_STEPS = 60
_PRECISION = 1e-11


def clipped_logit(p: FloatArray) -> FloatArray:
    """Log odds, finite also where a probability is exactly 0 or 1.

    Parameters
    ----------
    p : ndarray of shape (n_samples,)
        In [0, 1].

    Returns
    -------
    ndarray of shape (n_samples,)
        Within plus or minus 13.8.
    """
    return np.asarray(scipy.special.logit(np.clip(p, CLIP, 1 - CLIP)))


def fit_logistic(design: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Maximum likelihood by Newton's method, from zero, which bounded logits never make overshoot.

    Parameters
    ----------
    design : ndarray of shape (n_samples, n_columns)
        Predictors of full rank; the caller has ruled out perfect separation.
    target : ndarray of shape (n_samples,)
        Outcomes, 0/1 or fractions between.

    Returns
    -------
    coefficients : ndarray of shape (n_columns,)
    inverse_information : ndarray of shape (n_columns, n_columns)
        Model-based covariance of the coefficients.

    Raises
    ------
    DataError
        If there is no finite maximum: the predictors separate the classes, or are collinear.

    References
    ----------
    McCullagh & Nelder (1989), Generalized Linear Models, ch. 4.
    """
    beta = np.zeros(design.shape[1])
    for _ in range(_MOST_STEPS):
        mean = scipy.special.expit(design @ beta)
        information = (design * (mean * (1 - mean))[:, None]).T @ design
        try:
            step = np.linalg.solve(information, design.T @ (target - mean))
        except np.linalg.LinAlgError:
            break
        beta = beta + step
        if np.abs(step).max() < _PRECISION * (1 + np.abs(beta).max()):
            mean = scipy.special.expit(design @ beta)
            information = (design * (mean * (1 - mean))[:, None]).T @ design
            return np.asarray(beta), np.asarray(np.linalg.inv(information))
    msg = "a logistic regression did not converge; check whether the predictor separates the classes"
    raise DataError(msg)


def standard_errors(
    design: FloatArray, residuals: FloatArray, inverse_information: FloatArray, codes: IntArray | None
) -> FloatArray:
    """Model-based standard errors; with clusters the sandwich, times k / (k - 1).

    Parameters
    ----------
    design : ndarray of shape (n_samples, n_columns)
        Predictors.
    residuals : ndarray of shape (n_samples,)
        Outcome minus fitted mean.
    inverse_information : ndarray of shape (n_columns, n_columns)
        From `fit_logistic`.
    codes : ndarray of int, shape (n_samples,), or None
        Patient codes 0 … k - 1, with k at least 2.

    Returns
    -------
    ndarray of shape (n_columns,)

    References
    ----------
    Liang & Zeger (1986), Biometrika 73:13.
    """
    if codes is None:
        return np.asarray(np.sqrt(np.diag(inverse_information)))
    k = int(codes.max()) + 1
    scores = np.stack([np.bincount(codes, weights=column * residuals) for column in design.T])
    sandwich = inverse_information @ (scores @ scores.T) @ inverse_information * (k / (k - 1))
    return np.asarray(np.sqrt(np.diag(sandwich)))
