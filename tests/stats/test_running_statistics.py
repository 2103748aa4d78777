"""What re-measured batch statistics change in an AUC: paired, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medcompare.predictions.cases import ScoredCases
from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.running_statistics import compare_running

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cases(y_true: NDArray[np.int64], scores: NDArray[np.float64]) -> ScoredCases:
    """Four images of each patient, scored by one model."""
    n = len(y_true)
    return ScoredCases(
        case_id=tuple(f"c{index:04d}" for index in range(n)),
        y_true=y_true,
        scores={"a": scores},
        patient_id=np.array([f"p{index // 4}" for index in range(n)]),
        subgroups={},
        classes=("no", "yes"),
        subset="test",
        scores_are_probabilities=True,
    )


def test_both_aucs_and_their_paired_difference() -> None:
    """Against scikit-learn; patients count as patients."""
    rng = np.random.default_rng(0)
    y_true = np.repeat(rng.integers(0, 2, 60), 4)
    judged = rng.normal(size=240) + 1.5 * y_true
    running = judged / 3 + rng.normal(size=240)
    test = cases(y_true, judged)
    found = compare_running(test, "a", running, level=0.95)

    assert found is not None
    assert found.auc.value == pytest.approx(roc_auc_score(y_true, running))
    assert found.difference == auc_difference(y_true, running, judged, clusters=test.clusters)
    assert found.difference.value == pytest.approx(
        roc_auc_score(y_true, judged) - roc_auc_score(y_true, running)
    )
    assert "clustered" in found.difference.method


def test_scores_that_are_not_finite_are_said() -> None:
    """No number in their place."""
    y_true = np.tile([0, 1], 8)
    found = compare_running(cases(y_true, np.arange(16.0)), "a", np.full(16, np.nan), level=0.9)

    assert found is not None
    assert found.auc.value is None
    assert found.difference.note == "the scores with running statistics are not finite"


def test_one_class_has_no_auc() -> None:
    """Nothing to compare."""
    ones = np.ones(8, dtype=np.int64)

    assert compare_running(cases(ones, np.arange(8.0)), "a", np.arange(8.0), level=0.95) is None
