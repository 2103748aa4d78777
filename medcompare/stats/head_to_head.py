"""The two models that the report compares in full: net benefit over thresholds, and differences within subgroups.

No verdict rests on any of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import t
from medcompare.stats.arrays import few_units, plain
from medcompare.stats.calibration.usable import recalibration, usable_probabilities
from medcompare.stats.estimates import Curve, Estimate
from medcompare.stats.in_detail import HeadToHead, NetBenefitPoint
from medcompare.stats.resampling.percentile import percentile_estimate
from medcompare.stats.resampling.weights import ResamplingPlan
from medcompare.stats.subgroups import subgroup_differences
from medcompare.stats.utility import (
    DECISION_GRID,
    interventions_avoided,
    net_benefit,
    pointwise,
    resampled_net_benefit,
    share_ahead,
    treat_all,
)

if TYPE_CHECKING:
    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.cases import ScoredCases
    from medcompare.stats.arrays import FloatArray
    from medcompare.stats.records import Assessment


def head_to_head(
    test: ScoredCases,
    validation: ScoredCases | None,
    found: Assessment,
    *,
    evaluate: EvaluateConfig,
) -> HeadToHead | None:
    """Compare the pair of the verdict in full.

    Parameters
    ----------
    test, validation : ScoredCases
        The test subset, and the one a recalibration is fitted on.
    found : Assessment
        With its verdict, thresholds and range of threshold probabilities.
    evaluate : EvaluateConfig
        Level, resamples, recalibration and stated prevalence.

    Returns
    -------
    HeadToHead or None
        None where there is no pair. Without net benefit where the scores are not probabilities or a class is missing.
    """
    pair = found.pair_of_verdict()
    if pair is None:
        return None
    thresholds = {
        one.model: one.operating_point.threshold
        for model in (pair.reference, pair.candidate)
        for one in found.evaluations
        if one.model == model
    }
    subgroups, interactions = subgroup_differences(test, thresholds, evaluate)
    detail = HeadToHead(
        reference=pair.reference, candidate=pair.candidate, subgroups=subgroups, interactions=interactions
    )
    across = found.threshold_range
    if across is None or not test.y_true.any() or test.y_true.all():
        return detail
    benefit = _net_benefit(test, validation, thresholds, across, evaluate=evaluate, seed=found.seed)
    return detail.model_copy(update=benefit)


def _net_benefit(
    test: ScoredCases,
    validation: ScoredCases | None,
    thresholds: dict[str, float],
    across: tuple[float, float],
    *,
    evaluate: EvaluateConfig,
    seed: int,
) -> dict[str, object]:
    """Curve of the difference, and both models at the ends of the range and at their frozen thresholds within it."""
    grid = np.array(
        [across[0], *DECISION_GRID[(across[0] < DECISION_GRID) & (across[1] > DECISION_GRID)], across[1]]
    )
    frozen: dict[float, tuple[str, ...]] = dict.fromkeys(across, ())
    for model, threshold in thresholds.items():
        fitted = recalibration(validation, model, evaluate)
        at = threshold if fitted is None or not 0 <= threshold <= 1 else float(fitted.apply([threshold])[0])
        if across[0] <= at <= across[1]:
            frozen[at] = (*frozen.get(at, ()), model)
    cut = np.array([*grid, *frozen])
    # In a fixed order, so that what is drawn ignores the order of the rows; that of the tables of a run.
    order = np.argsort(np.array(test.case_id))
    y_true = test.y_true[order]
    probabilities = [
        usable_probabilities(test, validation, model, evaluate)[0][order] for model in thresholds
    ]
    prevalence, positive = evaluate.stated_prevalence, y_true == 1
    clusters = None if test.clusters is None else test.clusters[order]
    values = np.stack([net_benefit(y_true, one, cut, prevalence=prevalence) for one in probabilities])
    few = few_units(positive, clusters)
    plan = ResamplingPlan(positive, clusters, stratified=False, seed=seed, n_resamples=evaluate.n_resamples)
    draws: FloatArray | None = None
    if few is None:
        # Acting on everyone is a model that says 1: it gains more in a resample of more positives.
        rows = [*probabilities, np.ones(test.n)]
        draws = resampled_net_benefit(y_true, rows, cut, plan, prevalence=prevalence)
    method = t("bootstrap percentile ({units}; {n} resamples)", units=plan.description, n=plan.n_resamples)

    def estimate(value: float, drawn: FloatArray | None) -> Estimate:
        if drawn is None:
            note = t("no interval: {reason}", reason=few)
            return Estimate(value=value, level=evaluate.level, method=method, n=test.n, note=note)
        return percentile_estimate(value, drawn, level=evaluate.level, method=method, n=test.n)

    gain = values[1] - values[0]
    gains = None if draws is None else draws[1] - draws[0]
    everyone = treat_all(float(positive.mean()) if prevalence is None else prevalence, cut)
    avoided = interventions_avoided(np.stack([*(values - everyone), gain]), cut)
    drawn_avoided = None
    if draws is not None and gains is not None:
        drawn_avoided = interventions_avoided(np.stack([*(draws[:2] - draws[2]), gains]), cut)
    points = []
    for i, (at, models) in enumerate(frozen.items(), start=len(grid)):
        both = [estimate(float(values[k, i]), None if draws is None else draws[k, :, i]) for k in range(2)]
        points.append(
            NetBenefitPoint(
                threshold=at,
                frozen_of=models,
                treat_all=float(everyone[i]),
                reference=both[0],
                candidate=both[1],
                difference=estimate(float(gain[i]), None if gains is None else gains[:, i]),
                probability_of_benefit=Estimate(
                    value=None, level=None, method="none", note=t("not estimable: {few}", few=few)
                )
                if gains is None
                else Estimate(
                    value=float(share_ahead(gains[:, [i]])[0]),
                    level=None,
                    method=t(
                        "share of bootstrap samples ({n} resamples), ties count one half", n=plan.n_resamples
                    ),
                    n=test.n,
                ),
                interventions_avoided={
                    name: estimate(
                        float(avoided[k, i]), None if drawn_avoided is None else drawn_avoided[k, :, i]
                    )
                    for k, name in enumerate(("reference", "candidate", "difference"))
                },
            )
        )
    low, high = ((), ()) if gains is None else pointwise(gains[:, : len(grid)], evaluate.level)
    curve = Curve(x=plain(grid), y=plain(gain[: len(grid)]), y_low=low, y_high=high)
    return {
        "net_benefit": curve,
        "net_benefit_at": tuple(sorted(points, key=lambda one: one.threshold)),
    }
