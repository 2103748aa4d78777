"""Scores and the figures of a validation pass, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from medcompare.training.recipes import class_weights_of
from medcompare.training.scoring import (
    area_under_roc,
    balanced_accuracy,
    positive_probability,
    unweighted_logits,
    weighted_loss,
)


@pytest.mark.parametrize("n_levels", [3, 1000], ids=["many ties", "few ties"])
def test_area_under_roc_agrees_with_scikit_learn(n_levels: int) -> None:
    """Ties count half."""
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, 301)
    y_score = (rng.integers(0, n_levels, 301) + y_true) / n_levels

    assert area_under_roc(y_true, y_score) == pytest.approx(roc_auc_score(y_true, y_score), abs=1e-14)


def test_area_under_roc_of_one_class_is_undefined() -> None:
    """None, never NaN."""
    assert area_under_roc(np.ones(3, dtype=np.int64), np.arange(3.0)) is None
    assert area_under_roc(np.zeros(3, dtype=np.int64), np.arange(3.0)) is None


def test_weighted_loss_agrees_with_scikit_learn() -> None:
    """Each case weighted by its class's weight, over the sum of weights."""
    rng = np.random.default_rng(1)
    logits, y_true = rng.normal(size=(50, 2)) * 3, rng.integers(0, 2, 50)
    weights = (0.7, 2.5)
    expected = log_loss(y_true, positive_probability(logits), sample_weight=np.asarray(weights)[y_true])

    assert weighted_loss(logits, y_true, weights) == pytest.approx(expected, rel=1e-12)


def test_extreme_logits_overflow_nowhere() -> None:
    """Probabilities of exactly 0 and 1, a finite loss."""
    logits = np.array([[-800.0, 800.0], [800.0, -800.0]])

    assert positive_probability(logits).tolist() == [1.0, 0.0]
    assert weighted_loss(logits, np.array([0, 1]), (1.0, 1.0)) == 1600.0


def test_balanced_accuracy_agrees_with_scikit_learn() -> None:
    """And with one class it is that class's recall."""
    rng = np.random.default_rng(2)
    y_true, y_pred = rng.integers(0, 2, 60), rng.integers(0, 2, 60)

    assert balanced_accuracy(y_true, y_pred) == pytest.approx(balanced_accuracy_score(y_true, y_pred))
    assert balanced_accuracy(np.ones(4, dtype=np.int64), np.array([1, 1, 0, 1])) == 0.75


@pytest.mark.parametrize("prevalence", [0.03, 0.1, 0.4])
def test_class_weights_leave_no_trace_in_probabilities(prevalence: float) -> None:
    """A logistic regression with balanced weights on unbalanced data, judged by statsmodels.

    Calibration-in-the-large holds 0 and the slope holds 1, at 99.9 %; without the correction the
    intercept is off by the log odds of the prevalence. No pair of cases changes its order.
    """
    rng = np.random.default_rng(int(1000 * prevalence))
    y = (rng.random(60_000) < prevalence).astype(np.int64)
    x = rng.normal(size=(len(y), 3)) + y[:, None] * [0.8, 0.5, 0.0]
    train, test = slice(0, 30_000), slice(30_000, None)
    weights = class_weights_of(y[train].tolist(), "balanced")
    model = LogisticRegression(C=np.inf, class_weight=dict(enumerate(weights))).fit(x[train], y[train])
    logits = np.column_stack([np.zeros(30_000), model.decision_function(x[test])])
    raw, corrected = positive_probability(logits), positive_probability(unweighted_logits(logits, weights))

    def calibration(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        odds, family = special.logit(p), sm.families.Binomial()
        large = sm.GLM(y[test], np.ones(len(p)), offset=odds, family=family).fit()
        slope = sm.GLM(y[test], sm.add_constant(odds), family=family).fit()
        return large.conf_int(0.001)[0], slope.conf_int(0.001)[1]

    in_the_large, slope = calibration(corrected)
    assert in_the_large[0] < 0 < in_the_large[1]
    assert slope[0] < 1 < slope[1]
    assert calibration(raw)[0][1] < special.logit(prevalence) / 2
    assert np.array_equal(np.argsort(raw, kind="stable"), np.argsort(corrected, kind="stable"))
    assert area_under_roc(y[test], corrected) == area_under_roc(y[test], raw)
