"""Simulated studies have the truth they claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from sklearn.metrics import roc_auc_score

from medcompare.errors import ConfigError
from medcompare.stats.simulated import draw_study


def test_truth() -> None:
    """AUCs and correlation within classes, at 200,000 cases."""
    study = draw_study({"a": 0.9, "b": 0.6}, n_negative=100_000, n_positive=100_000, seed=1, correlation=0.7)

    assert roc_auc_score(study.y_true, study.scores["a"]) == pytest.approx(0.9, abs=0.003)
    assert roc_auc_score(study.y_true, study.scores["b"]) == pytest.approx(0.6, abs=0.005)
    latent = [ndtri(study.scores[m][study.y_true == 0]) for m in "ab"]
    assert np.corrcoef(*latent)[0, 1] == pytest.approx(0.7, abs=0.01)


def test_patients_share_noise() -> None:
    """Images of a patient correlate by correlation x 0.5; classes are not mixed."""
    study = draw_study(
        {"a": 0.9}, n_negative=40_000, n_positive=40, seed=2, correlation=0.6, images_per_patient=2
    )

    assert study.n_patients == 20_020
    assert study.clusters is not None
    pairs = ndtri(study.scores["a"][:40_000]).reshape(-1, 2)
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0.3, abs=0.02)


def test_repeatable_and_independent() -> None:
    """The same seed gives the same study; the subsets differ."""
    draws = [
        draw_study({"a": 0.8}, n_negative=5, n_positive=5, seed=4, subset=subset).scores["a"].tolist()
        for subset in ("test", "test", "val")
    ]

    assert draws[0] == draws[1] != draws[2]


def test_impossible_truth() -> None:
    """An AUC of 1 needs an infinite distance."""
    with pytest.raises(ConfigError, match=r"AUCs \{'a': 1.0\} must lie strictly between 0 and 1"):
        draw_study({"a": 1.0}, n_negative=5, n_positive=5, seed=1)
    with pytest.raises(ConfigError, match=r"correlation 1\.2 in"):
        draw_study({"a": 0.9}, n_negative=5, n_positive=5, seed=1, correlation=1.2)
