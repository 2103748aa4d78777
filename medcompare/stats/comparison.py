"""Two models on the same cases: every difference is candidate minus reference.

The reference is the more expensive model and the candidate the cheaper one, as the decision rule
has it; where no cost is known, the order in which the models were named counts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.language import message, t
from medcompare.stats.arrays import checked_scores
from medcompare.stats.estimates import PatientAgreement
from medcompare.stats.intervals.auc import auc_difference, auc_interval
from medcompare.stats.intervals.proportions import clustered_ratio_variance, normal_quantile
from medcompare.stats.more_accurate import probability_more_accurate
from medcompare.stats.multiplicity import holm, simultaneous
from medcompare.stats.paired import detectable_difference, paired_proportion_difference, paired_table
from medcompare.stats.records import AgreementTable, Estimate, PairedComparison
from medcompare.stats.resampling.bootstrap import BootstrapResult, bootstrap_metrics
from medcompare.stats.subgroups import undefined
from medcompare.stats.verdict.cost_order import cheaper_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medcompare.config.schema import DecideConfig, EvaluateConfig
    from medcompare.predictions.cases import ScoredCases
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.stats.arrays import IntArray
    from medcompare.stats.records import ModelEvaluation
    from medcompare.stats.weighted_metrics import MetricName

BOOTSTRAPPED: tuple[MetricName, ...] = (
    "balanced_accuracy",
    "f1",
    "mcc",
    "average_precision",
    "brier",
    "ppv",
    "npv",
)


DETECTABLE = ("auc", "sensitivity", "specificity")
"""Figures the rule rests on: of each the smallest difference that could have been found."""

ONE_CLASS = message("undefined: the subset has one class only")
CHANCE_AUC = 0.5

UNRELATED_LEVEL = 0.99
"""Of scores in another order than the cases this share is warned of (of each of the two tests)."""

RELATED_FROM = 0.3
"""Rank correlation that networks which look at the same images reach; less may be none."""


def compare_models(
    test: ScoredCases,
    evaluations: Sequence[ModelEvaluation],
    *,
    costs: Sequence[CostMeasurement],
    evaluate: EvaluateConfig,
    decide: DecideConfig,
    seed: int,
) -> tuple[PairedComparison, ...]:
    """Every pair of models, with Holm's adjustment over all pairs where there are several.

    Parameters
    ----------
    test : ScoredCases
        The test subset with the scores of all models.
    evaluations : sequence of ModelEvaluation
        One per model; their frozen thresholds are used.
    costs : sequence of CostMeasurement
        What decides which model of a pair is the candidate.
    evaluate, decide : EvaluateConfig, DecideConfig
        Level, resamples, cost metric.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    tuple of PairedComparison
        Empty with one model, or where all cases come from one patient. Where the subset has one
        class only, sensitivity (or specificity) and accuracy are compared, and nothing else.
    """
    if len(evaluations) < 2 or (test.clusters is not None and test.n_patients == 1):
        return ()
    both = bool(test.y_true.any() and not test.y_true.all())
    thresholds = {one.model: one.operating_point.threshold for one in evaluations}
    # Scores that differ by rounding only are one score here too.
    scores = {model: checked_scores(values, test.n) for model, values in test.scores.items()}
    test = replace(test, scores=scores)
    models = [one.model for one in evaluations]
    resampled = (
        bootstrap_metrics(
            test.y_true,
            [test.scores[model] for model in models],
            [thresholds[model] for model in models],
            n_resamples=evaluate.n_resamples,
            seed=seed,
            level=evaluate.level,
            clusters=test.clusters,
            score_is_probability=test.scores_are_probabilities,
        )
        if both
        else None
    )
    pairs = []
    for one, other in combinations(range(len(models)), 2):
        swap = cheaper_of(models[one], models[other], costs, decide).cheaper == models[one]
        reference, candidate = (other, one) if swap else (one, other)
        pairs.append(
            _pair(
                test,
                models,
                thresholds,
                resampled,
                reference=reference,
                candidate=candidate,
                evaluate=evaluate,
                seed=seed,
            )
        )
    return adjusted(pairs) if len(models) > 2 else tuple(pairs)


def _pair(
    test: ScoredCases,
    models: Sequence[str],
    thresholds: dict[str, float],
    resampled: BootstrapResult | None,
    *,
    reference: int,
    candidate: int,
    evaluate: EvaluateConfig,
    seed: int,
) -> PairedComparison:
    a, b = models[reference], models[candidate]
    positive, clusters = test.y_true == 1, test.clusters
    right_a = (test.scores[a] >= thresholds[a]) == positive
    right_b = (test.scores[b] >= thresholds[b]) == positive

    def rate(chosen: NDArray[np.bool_] | slice, method: str) -> Estimate:
        return paired_proportion_difference(
            right_a[chosen],
            right_b[chosen],
            level=evaluate.level,
            clusters=None if clusters is None else clusters[chosen],
            method="newcombe" if method == "newcombe" else "tango",
            test=evaluate.paired_test,
        )

    def resampled_difference(name: MetricName) -> Estimate:
        if resampled is None:
            return undefined(evaluate, t(ONE_CLASS), test.n)
        return resampled.difference(reference, candidate, name)

    differences = {
        "auc": undefined(evaluate, t(ONE_CLASS), test.n)
        if resampled is None
        else auc_difference(
            test.y_true, test.scores[a], test.scores[b], level=evaluate.level, clusters=clusters
        ),
        "sensitivity": rate(positive, "tango"),
        "specificity": rate(~positive, "tango"),
        "accuracy": rate(slice(None), "tango"),
        "sensitivity_newcombe": rate(positive, "newcombe"),
        "specificity_newcombe": rate(~positive, "newcombe"),
        "auc_bootstrap": resampled_difference("auc"),
    }
    for name in BOOTSTRAPPED:
        differences[name] = resampled_difference(name)
    return PairedComparison(
        reference=a,
        candidate=b,
        differences=differences,
        positives=_agreement(right_a[positive], right_b[positive]),
        negatives=_agreement(right_a[~positive], right_b[~positive]),
        patients=None if clusters is None else _by_patient(right_a, right_b, clusters, evaluate),
        probability_candidate_more_accurate=probability_more_accurate(
            right_a, right_b, clusters=clusters, seed=seed
        ),
        detectable={name: detectable_difference(differences[name]) for name in DETECTABLE},
    )


def _agreement(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> AgreementTable:
    both, only_a, only_b, neither = paired_table(right_a, right_b)
    return AgreementTable(
        both_correct=both, only_reference_correct=only_a, only_candidate_correct=only_b, both_wrong=neither
    )


def _by_patient(
    right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], clusters: IntArray, evaluate: EvaluateConfig
) -> PatientAgreement:
    """Whose errors meet in the same patients; patients are independent, so that McNemar's test holds for them."""
    all_right = [np.bincount(clusters, weights=~right) == 0 for right in (right_a, right_b)]
    return PatientAgreement(
        **_agreement(*all_right).model_dump(),
        difference=paired_proportion_difference(*all_right, level=evaluate.level, test=evaluate.paired_test),
    )


ONE_TRAINING = "_one_training"
"""Ends the name of a difference of two checkpoints, where another of the same figure is a mean over trainings."""


def with_differences(pair: PairedComparison, better: dict[str, Estimate]) -> PairedComparison:
    """`pair` with other estimates of some differences; those of these two checkpoints get a suffix."""
    kept = {f"{name}{ONE_TRAINING}": pair.differences[name] for name in better}
    detectable = {name: detectable_difference(estimate) for name, estimate in better.items()}
    return pair.model_copy(
        update={
            "differences": pair.differences | better | kept,
            "detectable": pair.detectable | detectable,
        }
    )


def adjusted(pairs: Sequence[PairedComparison]) -> tuple[PairedComparison, ...]:
    """The pairs with Holm's p-values and simultaneous intervals over all of them."""
    names = [
        name
        for name, estimate in pairs[0].differences.items()
        if (estimate.p_value is not None or name == "auc") and not name.endswith(ONE_TRAINING)
    ]
    after_holm = {name: holm([pair.differences[name].p_value for pair in pairs]) for name in names}
    return tuple(
        pair.model_copy(
            update={
                "p_values_adjusted": {name: after_holm[name][i] for name in names},
                "auc_simultaneous": simultaneous(pair.differences["auc"], n_comparisons=len(pairs)),
            }
        )
        for i, pair in enumerate(pairs)
    )


def with_order_warnings(
    test: ScoredCases, evaluations: Sequence[ModelEvaluation], *, level: float
) -> tuple[ModelEvaluation, ...]:
    """Add a warning to a model whose scores look as if their rows were in another order.

    Scores whose rows were shuffled are related neither to the truth nor to any other
    model's scores. A model is warned of where its AUC does not differ from 0.5, another
    model's does, the two differ, and the rank correlation of their scores does not differ
    from 0 and lies surely below `RELATED_FROM`.

    Parameters
    ----------
    test : ScoredCases
        The test subset with the scores of all models.
    evaluations : sequence of ModelEvaluation
        One per model.
    level : float
        Confidence level of what the warning shows.

    Returns
    -------
    tuple of ModelEvaluation
        In the same order.
    """
    found = []
    for one in evaluations:
        warnings = (
            _order_warning(test, one, other, level) for other in evaluations if other.model != one.model
        )
        warning = next((each for each in warnings if each is not None), None)
        found.append(
            one if warning is None else one.model_copy(update={"warnings": (*one.warnings, warning)})
        )
    return tuple(found)


def _order_warning(
    test: ScoredCases, one: ModelEvaluation, other: ModelEvaluation, level: float
) -> str | None:
    low, high = other.metrics["auc"].ci_low, other.metrics["auc"].ci_high
    if one.constant_output or low is None or high is None or low <= CHANCE_AUC:
        return None
    truth, codes = test.y_true, test.clusters
    a, b = test.scores[other.model], test.scores[one.model]
    area = auc_interval(truth, b, level=UNRELATED_LEVEL, clusters=codes)
    if area.value is None or area.ci_low is None or area.ci_high is None:
        return None
    if not area.ci_low <= CHANCE_AUC <= area.ci_high:
        return None
    difference = auc_difference(truth, b, a, level=UNRELATED_LEVEL, clusters=codes)
    if difference.ci_low is None or difference.ci_low <= 0:
        return None
    products = scipy.stats.zscore(scipy.stats.rankdata(a)) * scipy.stats.zscore(scipy.stats.rankdata(b))
    correlation = float(products.mean())
    error = math.sqrt(clustered_ratio_variance(products, np.arange(test.n) if codes is None else codes))
    reach = normal_quantile(level) * error
    if abs(correlation) > normal_quantile(UNRELATED_LEVEL) * error or correlation + reach >= RELATED_FROM:
        return None
    return t(
        "These scores are related neither to the truth (AUC {auc:.3f}) nor to the scores of {other}, which has an AUC "
        "of {auc_of_other:.3f} (rank correlation {correlation:.3f}, {low:.3f} to {high:.3f}): check that the order of "
        "their rows is that of the cases.",
        auc=area.value,
        other=other.display_name,
        auc_of_other=other.metrics["auc"].value,
        correlation=correlation,
        low=correlation - reach,
        high=correlation + reach,
    )
