"""Paired bootstrap of every metric of every model, with common random numbers.

The scores are sorted once. A resample is a row of weights, so a metric over a batch
of resamples is a handful of sums and running sums; nothing is sorted or scored again.
Two sets of resamples are drawn, each when it is first needed:

* *stratified by class* for AUC, sensitivity, specificity, balanced accuracy and for all
  differences, which never yields a one-class sample;
* *unstratified* for a single model's accuracy, F1, MCC, PPV, NPV, average precision and
  Brier score, which move with prevalence: stratified, their intervals are too narrow.

With clusters patients are resampled, stratified only where each has one class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.errors import ConfigError, DataError
from medcompare.base.language import message, t
from medcompare.stats.arrays import (
    BoolArray,
    FloatArray,
    checked_clusters,
    checked_labels,
    checked_level,
    checked_probabilities,
    checked_scores,
    few_units,
    plain,
)
from medcompare.stats.intervals.auc import roc_points
from medcompare.stats.records import Curve, Estimate
from medcompare.stats.resampling.bands import precisions, sensitivities
from medcompare.stats.resampling.percentile import percentile_estimate
from medcompare.stats.resampling.weights import ResamplingPlan
from medcompare.stats.weighted_metrics import (
    METRICS,
    MetricName,
    SortedModel,
    sorted_model,
    weighted_metrics,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from medcompare.stats.intervals.auc import RocPoints
    from medcompare.stats.resampling.weights import WeightArray

STRATIFIED: frozenset[MetricName] = frozenset({"auc", "sensitivity", "specificity", "balanced_accuracy"})
"""Metrics of a single model that do not depend on prevalence."""

_UNDEFINED: dict[MetricName, str] = {
    "ppv": message("undefined: no positive prediction"),
    "npv": message("undefined: no negative prediction"),
    "mcc": message("undefined: every call is the same"),
    "brier": message("undefined: the scores are not probabilities"),
}


@dataclass(frozen=True, kw_only=True)
class BootstrapResult:
    """Metrics of all models in the sample and in every resample.

    Attributes
    ----------
    values : ndarray of shape (n_models, n_metrics)
        Figures of the sample, in the order of `METRICS`; NaN where undefined (inside
        this class only: estimates carry None).
    stratified_plan, unstratified_plan : ResamplingPlan
        How the resamples were drawn.
    positive : ndarray of bool, shape (n_samples,)
        Labels.
    scores : ndarray of shape (n_models, n_samples)
        Scores.
    level : float
        Confidence level.
    few : str or None
        Why nothing is estimable, where a class has too few cases (patients).
    sorted_models : tuple of SortedModel
        Scores and calls, ready for any weighting.
    """

    values: FloatArray
    stratified_plan: ResamplingPlan
    unstratified_plan: ResamplingPlan
    positive: BoolArray
    scores: FloatArray
    level: float
    few: str | None
    sorted_models: tuple[SortedModel, ...]

    @cached_property
    def stratified(self) -> FloatArray:
        """Figures of each stratified resample, of shape (n_models, n_metrics, n_resamples)."""
        return self._resampled(self.stratified_plan)

    @cached_property
    def unstratified(self) -> FloatArray:
        """Figures of each unstratified resample, of shape (n_models, n_metrics, n_resamples)."""
        return self._resampled(self.unstratified_plan)

    def metric(self, model_index: int, name: MetricName) -> Estimate:
        """Metric of one model with its percentile interval.

        Parameters
        ----------
        model_index : int
            Row of the scores.
        name : str
            One of `METRICS`.

        Returns
        -------
        Estimate
            No value, with a note, where the metric is undefined or a class has fewer than
            `MIN_UNITS` cases (patients); no interval where it is undefined in half of the
            resamples or the same in all of them.

        Raises
        ------
        ConfigError
            If the metric or the model is unknown.
        """
        column = self._column(name, model_index)
        stratified = name in STRATIFIED
        plan = self.stratified_plan if stratified else self.unstratified_plan
        return self._estimate(
            float(self.values[model_index, column]),
            lambda: self.draws(model_index, name, stratified=stratified),
            plan,
            name,
            tested=False,
        )

    def difference(self, reference_index: int, candidate_index: int, name: MetricName) -> Estimate:
        """Difference of two models, candidate minus reference, from the same resamples.

        Parameters
        ----------
        reference_index, candidate_index : int
            Rows of the scores.
        name : str
            One of `METRICS`.

        Returns
        -------
        Estimate
            With a two-sided p-value of ``2 (k + 1) / (B + 1)``, k the smaller number of
            resamples on either side of zero (both sides include zero): never 0.

        Raises
        ------
        ConfigError
            If the metric or a model is unknown.
        """
        column = self._column(name, reference_index, candidate_index)
        value = float(self.values[candidate_index, column] - self.values[reference_index, column])
        return self._estimate(
            value,
            lambda: self.stratified[candidate_index, column] - self.stratified[reference_index, column],
            self.stratified_plan,
            name,
            tested=True,
        )

    def value(self, model_index: int, name: MetricName) -> float:
        """A metric of one model in the sample; NaN where it is undefined."""
        return float(self.values[model_index, self._column(name, model_index)])

    def draws(self, model_index: int, name: MetricName, *, stratified: bool) -> FloatArray:
        """Resampled values of a metric, for figures and further statistics.

        Parameters
        ----------
        model_index : int
            Row of the scores.
        name : str
            One of `METRICS`.
        stratified : bool
            Which of the two sets of resamples.

        Returns
        -------
        ndarray of shape (n_resamples,)
            NaN where the metric is undefined in a resample.

        Raises
        ------
        ConfigError
            If the metric or the model is unknown.
        """
        column = self._column(name, model_index)
        chosen = self.stratified if stratified else self.unstratified
        return np.array(chosen[model_index, column])

    def roc_band(self, model_index: int, fpr_grid: ArrayLike, *, level: float | None = None) -> Curve:
        """Sensitivity at given false-positive rates, with a pointwise percentile band.

        Parameters
        ----------
        model_index : int
            Row of the scores.
        fpr_grid : array-like of shape (n_points,)
            False-positive rates in [0, 1], ascending.
        level : float, optional
            Confidence level; None takes that of the result.

        Returns
        -------
        Curve
            x = `fpr_grid`, y = sensitivity, by linear interpolation between the corners
            of the ROC curve; without a band where a class has too few cases (patients).

        Raises
        ------
        ConfigError
            If the model is unknown, or the grid is not ascending within [0, 1].
        """
        grid, points = self._grid(model_index, fpr_grid, "fpr_grid")
        sensitivity = np.interp(grid, points.fpr, points.tpr)
        if self.few is not None:
            return Curve(x=plain(grid), y=plain(sensitivity))
        draw = sensitivities(self.sorted_models[model_index], points, grid)
        return self._band(self.stratified_plan, draw, grid, sensitivity, level)

    def precision_band(
        self, model_index: int, recall_grid: ArrayLike, *, level: float | None = None
    ) -> Curve:
        """Precision at given sensitivities (recalls), with a pointwise percentile band.

        Parameters
        ----------
        model_index : int
            Row of the scores.
        recall_grid : array-like of shape (n_points,)
            Sensitivities in (0, 1], ascending.
        level : float, optional
            Confidence level; None takes that of the result.

        Returns
        -------
        Curve
            x = `recall_grid`, y = precision at the highest threshold that reaches the sensitivity, without
            interpolation (Davis & Goadrich 2006, ICML: a straight line between corners is too optimistic); without a
            band where a class has too few cases (patients). Resamples are not stratified: precision moves with
            prevalence.

        Raises
        ------
        ConfigError
            If the model is unknown, or the grid is not ascending within [0, 1].
        """
        grid, points = self._grid(model_index, recall_grid, "recall_grid")
        draw = precisions(self.sorted_models[model_index], points, grid)
        [precision] = draw(np.ones((1, self.positive.size), dtype=np.int32))
        if self.few is not None:
            return Curve(x=plain(grid), y=plain(precision))
        return self._band(self.unstratified_plan, draw, grid, precision, level)

    def _grid(self, model_index: int, wanted: ArrayLike, name: str) -> tuple[FloatArray, RocPoints]:
        """A checked grid, and the corners of the ROC curve of the sample."""
        self._column("auc", model_index)
        grid = np.asarray(wanted, dtype=np.float64)
        if grid.ndim != 1 or grid.size == 0 or grid[0] < 0 or grid[-1] > 1 or (np.diff(grid) < 0).any():
            msg = f"{name} must be ascending numbers within [0, 1]"
            raise ConfigError(msg)
        return grid, roc_points(self.positive, self.scores[model_index])

    def _band(
        self,
        plan: ResamplingPlan,
        draw: Callable[[WeightArray], FloatArray],
        grid: FloatArray,
        value: FloatArray,
        level: float | None,
    ) -> Curve:
        tail = (1 - checked_level(self.level if level is None else level)) / 2
        low, high = np.quantile(np.concatenate(plan.each(draw)), [tail, 1 - tail], axis=0)
        return Curve(x=plain(grid), y=plain(value), y_low=plain(low), y_high=plain(high))

    def _column(self, name: MetricName, *models: int) -> int:
        if name not in METRICS:
            msg = f"metric '{name}' is unknown; choose one of {', '.join(METRICS)}"
            raise ConfigError(msg)
        for index in models:
            if not 0 <= index < len(self.values):
                msg = f"model index {index} is unknown; there are {len(self.values)} models"
                raise ConfigError(msg)
        return METRICS.index(name)

    def _resampled(self, plan: ResamplingPlan) -> FloatArray:
        def figures(weights: WeightArray) -> FloatArray:
            return weighted_metrics(weights, self.positive, self.sorted_models)

        return np.concatenate(plan.each(figures), axis=2)

    def _estimate(
        self,
        value: float,
        draw: Callable[[], FloatArray],
        plan: ResamplingPlan,
        name: MetricName,
        *,
        tested: bool,
    ) -> Estimate:
        method = t(
            "bootstrap percentile ({units}; {n} resamples)",
            units=plan.description,
            n=plan.n_resamples,
        )
        n = self.positive.size
        estimate = partial(Estimate, level=self.level, method=method, n=n)
        if self.few is not None:
            note = t("not estimable: {few}", few=self.few)
            return estimate(value=None, note=note)
        if np.isnan(value):
            note = t(_UNDEFINED[name]) if name in _UNDEFINED else t("undefined in this sample")
            return estimate(value=None, note=note)
        return percentile_estimate(value, draw(), level=self.level, method=method, n=n, tested=tested)


def bootstrap_metrics(
    y_true: ArrayLike,
    scores: ArrayLike | Sequence[ArrayLike],
    thresholds: ArrayLike,
    *,
    n_resamples: int = 5000,
    seed: int,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
    score_is_probability: bool = True,
) -> BootstrapResult:
    """Bootstrap all metrics of all models on the same resamples.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        0/1 labels, both classes present.
    scores : array-like of shape (n_models, n_samples)
        Scores, higher means more positive.
    thresholds : array-like of shape (n_models,)
        Frozen thresholds; a case is predicted positive where ``score >= threshold``.
    n_resamples : int, default=5000
        Bootstrap samples of each kind.
    seed : int
        Seed of the resampling.
    level : float, default=0.95
        Confidence level of the intervals.
    clusters : array-like of shape (n_samples,), optional
        Patient of each case; patients are then resampled.
    score_is_probability : bool, default=True
        Whether the Brier score means anything.

    Returns
    -------
    BootstrapResult

    Raises
    ------
    DataError
        If the arrays do not match, a score is not finite, a probability is outside
        [0, 1], a class is missing or there is a single patient.
    ConfigError
        If `level`, `n_resamples` or `seed` is out of range or a threshold is NaN.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13; Davison & Hinkley
    (1997), Bootstrap Methods and their Application, eq. 4.11 (the p-value).
    """
    checked_level(level)
    positive = checked_labels(y_true)
    check = checked_probabilities if score_is_probability else checked_scores
    rows = np.stack(
        [
            check(row, positive.size, name=f"scores[{i}]")
            for i, row in enumerate(np.atleast_2d(np.asarray(scores)))
        ]
    )
    cut = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    if cut.shape != (len(rows),) or np.isnan(cut).any():
        msg = f"thresholds {cut.tolist()} do not fit {len(rows)} models; give one number per model"
        raise ConfigError(msg)
    codes = None if clusters is None else checked_clusters(clusters, positive.size)
    if codes is not None and codes.max() == 0:
        msg = "all cases come from one patient; a bootstrap of patients needs at least two"
        raise DataError(msg)
    models = tuple(
        sorted_model(positive, row, t, score_is_probability=score_is_probability)
        for row, t in zip(rows, cut, strict=True)
    )
    plans = [
        ResamplingPlan(positive, codes, stratified=stratified, seed=seed, n_resamples=n_resamples)
        for stratified in (True, False)
    ]
    return BootstrapResult(
        values=weighted_metrics(np.ones((1, positive.size), dtype=np.int32), positive, models)[:, :, 0],
        stratified_plan=plans[0],
        unstratified_plan=plans[1],
        positive=positive,
        scores=rows,
        level=level,
        few=few_units(positive, codes),
        sorted_models=models,
    )
