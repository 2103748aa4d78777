"""Figures over folds: the corrected interval by hand, and each fold at its own threshold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from medcompare.config.schema import EvaluateConfig
from medcompare.stats.folds import corrected_mean, cross_validation
from tests.stats.simulated import draw_study


def test_the_corrected_interval_by_hand() -> None:
    """Five folds of 20 %: variance of the mean (1/5 + 1/4) s^2, four degrees of freedom."""
    values = [0.80, 0.84, 0.90, 0.86, 0.85]

    found = corrected_mean(values, 0.25, level=0.95)

    reach = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + 1 / 4) * np.var(values, ddof=1))
    assert found.value == pytest.approx(0.85)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.85 - reach, 0.85 + reach))
    # The naive interval over folds is two thirds as wide.
    naive = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (naive[1] - naive[0]) / (2 * reach) == pytest.approx((1 / 5 / (1 / 5 + 1 / 4)) ** 0.5)


def test_a_fold_without_auc_leaves_no_mean() -> None:
    """One class only in a fold."""
    assert corrected_mean([0.8, None, 0.9], 0.5, level=0.95).value is None


def test_every_model_on_every_fold() -> None:
    """AUC as scikit-learn has it; pairs are candidate minus reference."""
    aucs = {"a": 0.9, "b": 0.8}
    folds = [
        (
            draw_study(aucs, n_negative=40, n_positive=40, seed=seed),
            draw_study(aucs, n_negative=30, n_positive=30, seed=seed, subset="val"),
            160,
        )
        for seed in range(4)
    ]

    found = cross_validation(folds, [("a", "b")], n_repeats=2, evaluate=EvaluateConfig())

    assert (found.n_folds, found.n_repeats) == (2, 2)
    assert [(row.repeat, row.fold) for row in found.rows if row.model == "a"] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]
    expected = {
        m: [roc_auc_score(held_out.y_true, held_out.scores[m]) for held_out, _, _ in folds] for m in aucs
    }
    for model in aucs:
        assert [row.auc.value for row in found.rows if row.model == model] == pytest.approx(expected[model])
        assert found.means[model].value == pytest.approx(np.mean(expected[model]))
    (difference,) = found.differences
    assert difference[:2] == ("a", "b")
    assert difference[2].value == pytest.approx(np.mean(expected["b"]) - np.mean(expected["a"]))
