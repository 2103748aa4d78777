"""What the running batch statistics of a library do to a network's AUC, beside the re-measured ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import t
from medcompare.stats.intervals.auc import auc_difference, auc_interval
from medcompare.stats.records import Estimate, ModelEvaluation, RunningStatistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medcompare.predictions.cases import ScoredCases


def compare_running(
    test: ScoredCases, model: str, running: NDArray[np.float64], *, level: float
) -> RunningStatistics | None:
    """AUC of `model` with the running statistics, and what re-measuring them changed.

    Parameters
    ----------
    test : ScoredCases
        The test subset with the scores of `model`.
    model : str
        Name of the model.
    running : ndarray of shape (n_cases,)
        Its scores on the same cases with the running statistics; NaN where they are not finite.
    level : float
        Confidence level.

    Returns
    -------
    RunningStatistics or None
        None where the subset has one class or one patient only, so that there is no AUC.
    """
    if test.y_true.all() or not test.y_true.any() or (test.clusters is not None and test.n_patients == 1):
        return None
    if not np.isfinite(running).all():
        missing = Estimate(
            value=None,
            level=level,
            method="DeLong",
            note=t("the scores with running statistics are not finite"),
        )
        return RunningStatistics(auc=missing, difference=missing)
    return RunningStatistics(
        auc=auc_interval(test.y_true, running, level=level, clusters=test.clusters),
        difference=auc_difference(
            test.y_true, running, test.scores[model], level=level, clusters=test.clusters
        ),
    )


def with_running(
    evaluation: ModelEvaluation, test: ScoredCases, running: NDArray[np.float64] | None, *, level: float
) -> ModelEvaluation:
    """Add what `compare_running` finds to an evaluation.

    Parameters
    ----------
    evaluation : ModelEvaluation
        Of one model on the test subset.
    test : ScoredCases
        The test subset with the scores of the model.
    running : ndarray of shape (n_cases,) or None
        Its scores with the running statistics; without them nothing is added.
    level : float
        Confidence level.

    Returns
    -------
    ModelEvaluation
    """
    if running is None:
        return evaluation
    compared = compare_running(test, evaluation.model, running, level=level)
    return evaluation.model_copy(update={"running_statistics": compared})
