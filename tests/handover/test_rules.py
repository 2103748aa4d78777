"""Band, calibration and distance, against hand-worked examples and scipy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from medcompare.handover.records import Recalibration, Share
from medcompare.handover.rules import (
    FeatureSpace,
    fitted_recalibration,
    in_band,
    recalibrated,
    referral_band,
)
from medcompare.predictions.cases import ScoredCases
from medcompare.stats.calibration.recalibration import fit_isotonic, fit_platt

if TYPE_CHECKING:
    from pathlib import Path


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


def test_distances_are_those_of_scipy(tmp_path: Path) -> None:
    """To the nearer class mean, in the pooled covariance of Ledoit and Wolf; the same after reading back."""
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], [30, 50])
    features = rng.normal(size=(80, 6)) @ rng.normal(size=(6, 6)) + 4 * labels[:, None]
    means = [features[labels == label].mean(axis=0) for label in (0, 1)]
    covariance = LedoitWolf(assume_centered=True).fit(features - np.stack(means)[labels]).covariance_
    inverse, new = np.linalg.inv(covariance), rng.normal(size=(5, 6), scale=9)

    FeatureSpace.fitted(features, labels).write(tmp_path / "f.safetensors")
    found = FeatureSpace.read(tmp_path / "f.safetensors").distances(new)

    expected = [min(mahalanobis(one, mean, inverse) for mean in means) for one in new]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_features_that_are_all_alike_flag_nothing() -> None:
    """A network that gives every image the same features has no distances."""
    space = FeatureSpace.fitted(np.ones((8, 3)), np.array([0, 1] * 4))

    assert space.distances(np.ones((2, 3))).tolist() == [0, 0]
