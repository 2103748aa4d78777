"""Every metric of a model for any weighting of the cases, without sorting again.

The scores are sorted once; a resample is a column of weights, and a metric over a batch of
columns is a handful of sums and running sums over rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.stats.arrays import BoolArray, FloatArray, IntArray

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
    sums: FloatArray
    """Rows whose weighted sums are true positives, false positives and squared error."""


def sorted_model(
    positive: BoolArray, scores: FloatArray, threshold: float, *, score_is_probability: bool
) -> SortedModel:
    """Sort a model's scores and mark its calls, once for all resamples.

    Parameters
    ----------
    positive : ndarray of bool, shape (n_samples,)
        Labels.
    scores : ndarray of shape (n_samples,)
        Scores, higher means more positive.
    threshold : float
        A case is called positive where ``score >= threshold``.
    score_is_probability : bool
        Whether a squared error is taken; NaN otherwise.

    Returns
    -------
    SortedModel
    """
    order = np.argsort(-scores, kind="stable")
    positives, negatives = order[positive[order]], order[~positive[order]]
    falling, others = -scores[positives], -scores[negatives]
    called = scores >= threshold
    error = (scores - positive) ** 2 if score_is_probability else np.full(scores.size, np.nan)
    return SortedModel(
        positives=positives,
        negatives=negatives,
        n_negatives_above=np.searchsorted(others, falling, side="left"),
        n_negatives_not_below=np.searchsorted(others, falling, side="right"),
        last_of_tie=np.searchsorted(falling, falling, side="right") - 1,
        sums=np.stack([called & positive, called & ~positive, error]).astype(np.float64),
    )


def weighted_metrics(weights: FloatArray, positive: BoolArray, models: Sequence[SortedModel]) -> FloatArray:
    """All metrics of all models for each column of weights.

    Parameters
    ----------
    weights : ndarray of shape (n_samples, n_columns)
        How often each case counts; whole numbers as floats.
    positive : ndarray of bool, shape (n_samples,)
        Labels.
    models : sequence of SortedModel
        One per model.

    Returns
    -------
    ndarray of shape (n_models, n_metrics, n_columns)
        In the order of `METRICS`; NaN where a metric is undefined. AUC counts ties one
        half; average precision is step-wise, without interpolation.
    """
    n = weights.sum(axis=0)
    n_positive = positive.astype(np.float64) @ weights
    table = np.empty((len(models), len(METRICS), weights.shape[1]))
    for i, model in enumerate(models):
        ranked = _ranking_metrics(weights, n_positive, n - n_positive, model)
        decided = _decision_metrics(model.sums @ weights, n_positive, n - n_positive)
        figures = {**ranked, **decided}
        for j, name in enumerate(METRICS):
            table[i, j] = figures[name]
    return table


def _ranking_metrics(
    weights: FloatArray, n_positive: FloatArray, n_negative: FloatArray, model: SortedModel
) -> dict[MetricName, FloatArray]:
    """AUC (ties one half) and step-wise average precision from running sums of weights."""
    of_positives = weights[model.positives]
    false_positives = np.zeros((model.negatives.size + 1, weights.shape[1]))
    np.cumsum(weights[model.negatives], axis=0, out=false_positives[1:])
    above = false_positives[model.n_negatives_above]
    not_below = false_positives[model.n_negatives_not_below]
    above += not_below
    misordered = np.einsum("ij,ij->j", of_positives, above) / 2
    true_positives = np.cumsum(of_positives, axis=0)[model.last_of_tie]
    not_below += true_positives
    # Where nothing has been called yet the case itself has no weight: its term is 0.
    np.maximum(not_below, 1.0, out=not_below)
    true_positives /= not_below
    precision = np.einsum("ij,ij->j", of_positives, true_positives)
    return {
        "auc": 1 - _ratio(misordered, n_positive * n_negative),
        "average_precision": _ratio(precision, n_positive),
    }


def _decision_metrics(
    sums: FloatArray, n_positive: FloatArray, n_negative: FloatArray
) -> dict[MetricName, FloatArray]:
    """Metrics of the calls, from weighted true and false positives and squared error."""
    tp, fp, squared_error = sums
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
        "brier": _ratio(squared_error, n),
    }


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    out = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out
