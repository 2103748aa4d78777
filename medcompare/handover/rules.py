"""What is decided at a score: calibrated probability, and the band for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy

from medcompare.handover.records import Recalibration, Referral, Share
from medcompare.stats.calibration.recalibration import (
    IsotonicRecalibration,
    PlattRecalibration,
    fit_isotonic,
    fit_platt,
    fit_temperature,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medcompare.predictions.cases import ScoredCases

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


SAME_LOG_ODDS = 1e-4
"""How far below a limit a score still counts as having reached it. Threshold and ends of the band are scores of
validation cases, and every engine, number of threads and size of batches rounds otherwise: 4e-7 to 4e-5 was seen."""


def reached(score: FloatArray, limit: float) -> NDArray[np.bool_]:
    """Which scores (n,) are at least `limit`, whatever computed them."""
    with np.errstate(divide="ignore"):
        return np.asarray(scipy.special.logit(score) >= scipy.special.logit(limit) - SAME_LOG_ODDS)


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

    def sure(end: float, *, called: int) -> bool:
        among = y[reached(score, end) == called]
        return among.size > 0 and bool((among != called).mean() <= max_error)

    low = next((float(t) for t in ends[ends <= threshold][::-1] if sure(t, called=0)), None)
    high = next((float(t) for t in ends[ends >= threshold] if sure(t, called=1)), None)

    def side(y: IntArray, chosen: NDArray[np.bool_], wrong: int) -> Share:
        return Share(k=int((y[chosen] == wrong).sum()), n=int(chosen.sum()))

    below = np.zeros(len(y), bool) if low is None else ~reached(score, low)
    above = np.zeros(len(y), bool) if high is None else reached(score, high)
    asked = in_band(test.scores[model], low, high)
    called = reached(test.scores[model], threshold)
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
        certain |= ~reached(score, low)
    if high is not None:
        certain |= reached(score, high)
    return ~certain
