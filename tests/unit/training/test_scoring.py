"""Scores and the figures of a validation pass, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from medcompare.scoring import area_under_roc, balanced_accuracy, positive_probability, weighted_loss


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
