"""Every metric of a model for any weighting of the cases, without sorting again.

The scores are sorted once; a resample is a row of whole-number weights, and a metric over a
batch of rows is a handful of sums and running sums along them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.stats.arrays import BoolArray, FloatArray, IntArray
    from medcompare.stats.resampling.weights import WeightArray

MetricName = Literal[
    "auc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "f1",
    "mcc",
    "brier",
]
METRICS: tuple[MetricName, ...] = get_args(MetricName)


@dataclass(frozen=True, kw_only=True)
class SortedModel:
    """What can be known about a model's scores before any resampling."""

    positives: IntArray
    """Cases of the positive class, by descending score."""
    negatives: IntArray
    n_negatives_above: IntArray
    """Negatives scored strictly above each sorted positive."""
    n_negatives_not_below: IntArray
    last_of_tie: IntArray
    """Index of the last positive with the same score as each sorted positive."""
    n_positives_predicted: int
    """Positives at or above the threshold: the first so many of `positives`."""
    n_negatives_predicted: int
    squared_error: FloatArray | None
    """Of each case; None where the scores are not probabilities."""


def sorted_model(
    positive: BoolArray, scores: FloatArray, threshold: float, *, score_is_probability: bool
) -> SortedModel:
    """Sort a model's scores and its predictions, once for all resamples.

    Parameters
    ----------
    positive : ndarray of bool, shape (n_samples,)
        Labels.
    scores : ndarray of shape (n_samples,)
        Scores, higher means more positive.
    threshold : float
        A case is predicted positive where ``score >= threshold``.
    score_is_probability : bool
        Whether a squared error is taken; NaN otherwise.

    Returns
    -------
    SortedModel
    """
    order = np.argsort(-scores, kind="stable")
    positives, negatives = order[positive[order]], order[~positive[order]]
    falling, others = -scores[positives], -scores[negatives]
    predicted = scores >= threshold
    return SortedModel(
        positives=positives,
        negatives=negatives,
        n_negatives_above=np.searchsorted(others, falling, side="left"),
        n_negatives_not_below=np.searchsorted(others, falling, side="right"),
        last_of_tie=np.searchsorted(falling, falling, side="right") - 1,
        n_positives_predicted=int((predicted & positive).sum()),
        n_negatives_predicted=int((predicted & ~positive).sum()),
        squared_error=(scores - positive) ** 2 if score_is_probability else None,
    )


def weighted_metrics(weights: WeightArray, positive: BoolArray, models: Sequence[SortedModel]) -> FloatArray:
    """All metrics of all models for each row of weights.

    Parameters
    ----------
    weights : ndarray of int32, shape (n_rows, n_samples)
        How often each case counts.
    positive : ndarray of bool, shape (n_samples,)
        Labels.
    models : sequence of SortedModel
        One per model.

    Returns
    -------
    ndarray of shape (n_models, n_metrics, n_rows)
        In the order of `METRICS`; NaN where a metric is undefined. AUC counts ties one
        half; average precision is step-wise, without interpolation.
    """
    n_positive = weights[:, positive].sum(axis=1).astype(np.float64)
    n_negative = weights.sum(axis=1) - n_positive
    table = np.empty((len(models), len(METRICS), len(weights)))
    for i, model in enumerate(models):
        figures = _figures(weights, n_positive, n_negative, model)
        for j, name in enumerate(METRICS):
            table[i, j] = figures[name]
    return table


def _figures(
    weights: WeightArray, n_positive: FloatArray, n_negative: FloatArray, model: SortedModel
) -> dict[MetricName, FloatArray]:
    """AUC (ties one half) and step-wise average precision from running sums; the rest from four counts."""
    of_positives = np.take(weights, model.positives, axis=1)
    false_positives = running_sums(np.take(weights, model.negatives, axis=1))
    true_positives = running_sums(of_positives)
    above = np.take(false_positives, model.n_negatives_above, axis=1)
    not_below = np.take(false_positives, model.n_negatives_not_below, axis=1)
    misordered = (of_positives * (above + not_below).astype(np.float64)).sum(axis=1) / 2
    hits = np.take(true_positives, model.last_of_tie + 1, axis=1)
    # Where nothing has been predicted yet the case itself has no weight: its term is 0.
    precision = (of_positives * (hits / np.maximum(hits + not_below, 1))).sum(axis=1)
    # Not by a product of matrices, whose last digit depends on the number of rows and threads.
    error = (
        np.full(len(weights), np.nan)
        if model.squared_error is None
        else (weights * model.squared_error).sum(axis=1)
    )
    return {
        "auc": 1 - _ratio(misordered, n_positive * n_negative),
        "average_precision": _ratio(precision, n_positive),
        **_decision_metrics(
            true_positives[:, model.n_positives_predicted].astype(np.float64),
            false_positives[:, model.n_negatives_predicted].astype(np.float64),
            n_positive,
            n_negative,
        ),
        "brier": _ratio(error, n_positive + n_negative),
    }


def running_sums(weights: WeightArray) -> WeightArray:
    """Sums of the first 0, 1, … weights of each row.

    Parameters
    ----------
    weights : ndarray of int32, shape (n_rows, n_columns)
        Whole numbers.

    Returns
    -------
    ndarray of int32, shape (n_rows, n_columns + 1)
    """
    sums = np.zeros((len(weights), weights.shape[1] + 1), dtype=np.int32)
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _decision_metrics(
    tp: FloatArray, fp: FloatArray, n_positive: FloatArray, n_negative: FloatArray
) -> dict[MetricName, FloatArray]:
    """Metrics of the predicted classes, from weighted true and false positives."""
    fn, tn = n_positive - tp, n_negative - fp
    sensitivity, specificity = _ratio(tp, n_positive), _ratio(tn, n_negative)
    margins = (tp + fp) * (tn + fn) * n_positive * n_negative
    n = n_positive + n_negative
    return {
        "accuracy": _ratio(tp + tn, n),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "mcc": _ratio(tp * tn - fp * fn, np.sqrt(margins)),
    }


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    out = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out
