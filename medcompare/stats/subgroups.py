"""Figures within subgroups, and the shares that all figures at a threshold are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.stats.arrays import MIN_UNITS
from medcompare.stats.intervals.auc import auc_interval
from medcompare.stats.intervals.proportions import clustered_proportion, proportion
from medcompare.stats.records import Estimate, SubgroupEvaluation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.cases import ScoredCases


def share(
    success: NDArray[np.bool_],
    among: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None,
    evaluate: EvaluateConfig,
    *,
    why_empty: str,
) -> Estimate:
    """Share of `success` within `among`: Wilson (or as configured), cluster-robust with patients.

    Parameters
    ----------
    success, among : ndarray of bool, shape (n_cases,)
        Numerator (within the denominator) and denominator.
    clusters : ndarray of int, shape (n_cases,), or None
        Patient of each case.
    evaluate : EvaluateConfig
        Level and kind of interval.
    why_empty : str
        Note where the denominator is empty.

    Returns
    -------
    Estimate
        In [0, 1].
    """
    n = int(among.sum())
    if n == 0:
        return Estimate(value=None, level=evaluate.level, method="none", n=0, note=why_empty)
    if clusters is not None:
        return clustered_proportion(success[among], clusters[among], level=evaluate.level)
    return proportion(int(success[among].sum()), n, level=evaluate.level, method=evaluate.proportion_interval)


def undefined(evaluate: EvaluateConfig, note: str, n: int | None = None) -> Estimate:
    """An estimate without a value, and why.

    Parameters
    ----------
    evaluate : EvaluateConfig
        Its level is kept.
    note : str
        Why.
    n : int, optional
        Cases there were.

    Returns
    -------
    Estimate
    """
    return Estimate(value=None, level=evaluate.level, method="none", n=n, note=note)


def subgroup_evaluations(
    test: ScoredCases, model: str, predicted: NDArray[np.bool_], evaluate: EvaluateConfig
) -> tuple[SubgroupEvaluation, ...]:
    """Figures of one model within every level of every subgroup column.

    Parameters
    ----------
    test : ScoredCases
        The test subset; its ``subgroups`` count.
    model : str
        Which of the scores.
    predicted : ndarray of bool, shape (n_cases,)
        Positive calls at the frozen threshold.
    evaluate : EvaluateConfig
        Level and kind of interval.

    Returns
    -------
    tuple of SubgroupEvaluation
        By column, then by level in alphabetical order; AUC, sensitivity and specificity,
        without a value where a class they need has fewer than ten cases.
    """
    rows = []
    for column, levels in test.subgroups.items():
        for level in sorted(set(levels.tolist())):
            chosen = levels == level
            positive = (test.y_true == 1) & chosen
            negative = (test.y_true == 0) & chosen
            rows.append(
                SubgroupEvaluation(
                    column=column,
                    level=level or "(blank)",
                    n=int(chosen.sum()),
                    n_positive=int(positive.sum()),
                    metrics=_subgroup_metrics(
                        test, model, predicted, evaluate, positive=positive, negative=negative
                    ),
                )
            )
    return tuple(rows)


def _subgroup_metrics(
    test: ScoredCases,
    model: str,
    predicted: NDArray[np.bool_],
    evaluate: EvaluateConfig,
    *,
    positive: NDArray[np.bool_],
    negative: NDArray[np.bool_],
) -> dict[str, Estimate]:
    few = f"not computed: fewer than {MIN_UNITS} cases of a class"
    enough = min(int(positive.sum()), int(negative.sum())) >= MIN_UNITS
    chosen = positive | negative
    clusters = None if test.clusters is None else test.clusters[chosen]
    metrics = {
        "auc": auc_interval(
            test.y_true[chosen], test.scores[model][chosen], level=evaluate.level, clusters=clusters
        )
        if enough
        else undefined(evaluate, few, int(chosen.sum()))
    }
    for name, success, among in (("sensitivity", predicted, positive), ("specificity", ~predicted, negative)):
        metrics[name] = (
            share(success, among, test.clusters, evaluate, why_empty=few)
            if int(among.sum()) >= MIN_UNITS
            else undefined(evaluate, few, int(among.sum()))
        )
    return metrics
