"""What is decided at a score: calibrated probability, the band for a person, and images unlike the training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from medcompare.handover.records import Recalibration, Referral, Share
from medcompare.stats.calibration.recalibration import (
    IsotonicRecalibration,
    PlattRecalibration,
    fit_isotonic,
    fit_platt,
    fit_temperature,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.predictions.cases import ScoredCases

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


def fitted_recalibration(kind: str | None, validation: ScoredCases, model: str) -> Recalibration:
    """The recalibration of the report, as numbers; `kind` as in ``Calibration.recalibration``."""
    known = validation.y_true, validation.scores[model]
    if kind == "isotonic":
        found = fit_isotonic(*known)
        return Recalibration(kind="isotonic", x=found.x, y=found.y)
    if kind in {"platt", "temperature"}:
        line = (fit_platt if kind == "platt" else fit_temperature)(*known)
        return Recalibration.model_validate(
            {"kind": kind, "intercept": line.intercept, "slope": line.slope, "note": line.note}
        )
    return Recalibration(kind="none")


def recalibrated(score: FloatArray, how: Recalibration) -> FloatArray:
    """Calibrated probabilities of scores (n,); the scores themselves where there is no recalibration."""
    if how.kind == "none":
        return score
    if how.kind == "isotonic":
        return IsotonicRecalibration(x=how.x, y=how.y).apply(score)
    return PlattRecalibration(intercept=how.intercept, slope=how.slope).apply(score)


def referral_band(
    validation: ScoredCases,
    test: ScoredCases,
    model: str,
    *,
    threshold: float,
    max_error: float,
    unit: Literal["image", "patient"],
) -> Referral:
    """The band of `medcompare.handover.records.Referral`, from validation cases alone; what it does to the test.

    Parameters
    ----------
    validation, test : ScoredCases
        By patient where the threshold is one of patients.
    model : str
        Name of its scores.
    threshold : float
        Frozen; scores from it on are called positive.
    max_error : float
        Largest share of wrong calls beyond either end of the band.
    unit : {"image", "patient"}
        What the cases are.
    """
    y, score = validation.y_true, validation.scores[model]
    ends = np.unique(np.append(score, threshold))
    low = next(
        (t for t in ends[ends <= threshold][::-1] if (score < t).any() and y[score < t].mean() <= max_error),
        None,
    )
    high = next(
        (t for t in ends[ends >= threshold] if (score >= t).any() and 1 - y[score >= t].mean() <= max_error),
        None,
    )
    low, high = (None if end is None else float(end) for end in (low, high))

    def side(y: IntArray, chosen: NDArray[np.bool_], wrong: int) -> Share:
        return Share(k=int((y[chosen] == wrong).sum()), n=int(chosen.sum()))

    below = np.zeros(len(y), bool) if low is None else score < low
    above = np.zeros(len(y), bool) if high is None else score >= high
    asked = in_band(test.scores[model], low, high)
    called = test.scores[model] >= threshold
    return Referral(
        max_error=max_error,
        low=low,
        high=high,
        unit=unit,
        errors_below=side(y, below, 1),
        errors_above=side(y, above, 0),
        referred=Share(k=int(in_band(score, low, high).sum()), n=len(y)),
        test_errors=Share(k=int((called != test.y_true)[~asked].sum()), n=int((~asked).sum())),
        test_referred=Share(k=int(asked.sum()), n=test.n),
    )


def in_band(score: FloatArray, low: float | None, high: float | None) -> NDArray[np.bool_]:
    """Which scores (n,) are for a person: neither below `low` nor from `high` on."""
    certain = np.zeros(len(score), bool)
    if low is not None:
        certain |= score < low
    if high is not None:
        certain |= score >= high
    return ~certain


@dataclass(frozen=True, kw_only=True)
class FeatureSpace:
    """Where the training images lie among the features of the network.

    Attributes
    ----------
    means : ndarray of shape (n_classes, n_features)
    whitening : ndarray of shape (n_features, n_features)
        ``(x - mean) @ whitening`` has the identity as its covariance.
    """

    means: NDArray[np.float32]
    whitening: NDArray[np.float32]

    @classmethod
    def fitted(cls, features: FloatArray, labels: IntArray) -> Self:
        """From features (n, d) of training images and their labels.

        References
        ----------
        Lee et al. (2018), "A simple unified framework for detecting out-of-distribution samples", NeurIPS;
        Ledoit & Wolf (2004), J Multivar Anal 88:365 (covariance from fewer images than features).
        """
        from sklearn.covariance import LedoitWolf

        means = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
        _, of_class = np.unique(labels, return_inverse=True)
        covariance = LedoitWolf(assume_centered=True).fit(features - means[of_class]).covariance_
        scale = float(np.trace(covariance)) / len(covariance)
        if scale == 0:  # a network that gives every image the same features tells none apart
            return cls(means=means.astype(np.float32), whitening=np.zeros_like(covariance, dtype=np.float32))
        # Without correlation and noise the shrunken covariance may still be singular in the last digits.
        root = np.linalg.cholesky(covariance + 1e-9 * scale * np.eye(len(covariance)))
        return cls(means=means.astype(np.float32), whitening=np.linalg.inv(root).T.astype(np.float32))

    def distances(self, features: FloatArray) -> FloatArray:
        """Mahalanobis distance of images (n, d) to the nearer class mean, shape (n,)."""
        first = self.means[0]
        # One product for all classes, of small numbers: float32 is exact enough, and whitening is the larger part.
        white = (features - first).astype(np.float32) @ self.whitening
        each = [white - (mean - first) @ self.whitening for mean in self.means]
        nearest = np.min([np.square(one).sum(axis=1) for one in each], axis=0)
        return np.asarray(np.sqrt(nearest), dtype=np.float64)

    def write(self, path: Path) -> None:
        """Write to `path` as safetensors."""
        from safetensors.numpy import save_file

        save_file({"means": self.means, "whitening": np.ascontiguousarray(self.whitening)}, path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """From the file that `write` wrote."""
        from safetensors.numpy import load_file

        return cls(**load_file(path))
