"""Band and calibration, against hand-worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from medcompare.handover.records import Recalibration, Share
from medcompare.handover.rules import (
    fitted_recalibration,
    in_band,
    recalibrated,
    referral_band,
)
from medcompare.predictions.cases import ScoredCases
from medcompare.stats.calibration.recalibration import fit_isotonic, fit_platt


def cases(y_true: list[int], scores: list[float]) -> ScoredCases:
    """Cases of one network, called m."""
    return ScoredCases(
        case_id=tuple(map(str, range(len(y_true)))),
        y_true=np.array(y_true),
        scores={"m": np.array(scores)},
        patient_id=None,
        classes=("no", "yes"),
        subset="val",
    )


Y = [0, 0, 0, 1, 0, 1, 0, 1, 1, 1]
S = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_the_band_by_hand() -> None:
    """No error allowed: below 0.3 all are negative, from 0.7 on all positive; of the test cases two are asked about."""
    test = cases([0, 1, 1, 0], [0.05, 0.29, 0.3, 0.69])
    band = referral_band(cases(Y, S), test, "m", threshold=0.5, max_error=0.0, unit="image")

    assert (band.low, band.high) == (0.3, 0.7)
    assert band.errors_below == Share(k=0, n=3)
    assert band.errors_above == Share(k=0, n=3)
    assert band.referred == Share(k=4, n=10)
    assert band.test_referred == Share(k=2, n=4)
    assert band.test_errors == Share(k=1, n=2)  # 0.29 is a positive, called negative


def test_errors_allowed_move_the_ends_to_the_threshold() -> None:
    """One positive of five below 0.5, one negative of five above: 20% are allowed, so nobody is asked."""
    band = referral_band(cases(Y, S), cases(Y, S), "m", threshold=0.5, max_error=0.2, unit="image")

    assert (band.low, band.high) == (0.5, 0.5)
    assert band.referred == Share(k=0, n=10)


def test_a_side_that_is_never_sure_is_referred_whole() -> None:
    """The highest score is a negative: no call of that side is made without a person."""
    band = referral_band(
        cases([0, 1, 0], [0.1, 0.5, 0.9]), cases(Y, S), "m", threshold=0.5, max_error=0.1, unit="image"
    )

    assert (band.low, band.high) == (0.5, None)
    assert in_band(np.array([0.4, 0.5, 1.0]), band.low, band.high).tolist() == [False, True, True]


@pytest.mark.parametrize("kind", [None, "platt", "isotonic"])
def test_calibration_is_that_of_the_report(kind: str | None) -> None:
    """The numbers in the export give what the functions of the statistics give."""
    new = np.array([0.0, 0.33, 1.0])
    fit = {"platt": fit_platt, "isotonic": fit_isotonic}.get(kind or "")
    expected = new if fit is None else fit(Y, S).apply(new)

    how = fitted_recalibration(kind, cases(Y, S), "m")

    again = Recalibration.model_validate_json(how.model_dump_json())
    assert recalibrated(new, again).tolist() == pytest.approx(expected.tolist(), abs=1e-15)
