"""Simulated studies have the truth they claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from sklearn.metrics import roc_auc_score

from medcompare.base.errors import ConfigError
from medcompare.stats.intervals.auc import auc_difference
from tests.stats.simulated import draw_study


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


def test_a_model_may_have_patients_of_its_own() -> None:
    """Differences of two models correlate within patients by the models' own share, and else not at all."""
    for share in (0.0, 0.7):
        study = draw_study(
            {"a": 0.9, "b": 0.9}, n_negative=40_000, n_positive=40, seed=2, images_per_patient=2,
            own_patient_share=share,
        )  # fmt: skip
        a, b = (ndtri(study.scores[model][:40_000]) for model in "ab")
        assert a.var() == pytest.approx(1, abs=0.02)
        assert np.corrcoef(a, b)[0, 1] == pytest.approx(0.5, abs=0.02)
        assert np.corrcoef((a - b).reshape(-1, 2).T)[0, 1] == pytest.approx(share, abs=0.02)


def test_ignoring_patients_errs_where_each_model_has_its_own() -> None:
    """Two equal models, 4 images per patient: by image the test errs in about a quarter, by patient in 5%."""
    errors = np.zeros((2, 2))
    for share in (0.0, 0.7):
        for seed in range(400):
            study = draw_study(
                {"a": 0.85, "b": 0.85}, n_negative=160, n_positive=160, seed=seed, images_per_patient=4,
                own_patient_share=share,
            )  # fmt: skip
            for column, clusters in enumerate((None, study.clusters)):
                p_value = auc_difference(study.y_true, *study.scores.values(), clusters=clusters).p_value
                errors[int(share > 0), column] += (p_value or 0) < 0.05

    shared, own = errors / 400
    assert shared == pytest.approx([0.05, 0.05], abs=0.045)
    assert own[0] == pytest.approx(0.24, abs=0.1)
    assert own[1] == pytest.approx(0.05, abs=0.045)


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
    with pytest.raises(ConfigError, match=r"correlation 1\.2 and patients' share 0\.0 in"):
        draw_study({"a": 0.9}, n_negative=5, n_positive=5, seed=1, correlation=1.2)
