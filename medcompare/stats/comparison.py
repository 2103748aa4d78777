"""Two models on the same cases: every difference is candidate minus reference.

The reference is the dearer model and the candidate the cheaper one, as the decision rule
has it; where no cost is known, the order in which the models were named stands.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from medcompare.stats.auc import auc_difference
from medcompare.stats.bootstrap import BootstrapResult, bootstrap_metrics
from medcompare.stats.cost_order import cheaper_of
from medcompare.stats.multiplicity import holm
from medcompare.stats.paired import paired_proportion_difference, paired_table, probability_more_accurate
from medcompare.stats.records import AgreementTable, Estimate, PairedComparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medcompare.cases import ScoredCases
    from medcompare.config import DecideConfig, EvaluateConfig
    from medcompare.cost_records import CostMeasurement
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
        Empty with one model, or where the subset has one class only.
    """
    both = bool(test.y_true.any() and not test.y_true.all())
    if len(evaluations) < 2 or not both or (test.clusters is not None and test.n_patients == 1):
        return ()
    thresholds = {one.model: one.operating_point.threshold for one in evaluations}
    models = [one.model for one in evaluations]
    resampled = bootstrap_metrics(
        test.y_true,
        [test.scores[model] for model in models],
        [thresholds[model] for model in models],
        n_resamples=evaluate.n_resamples,
        seed=seed,
        level=evaluate.level,
        clusters=test.clusters,
        score_is_probability=test.scores_are_probabilities,
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
                level=evaluate.level,
                seed=seed,
            )
        )
    return _adjusted(pairs) if len(models) > 2 else tuple(pairs)


def _pair(
    test: ScoredCases,
    models: Sequence[str],
    thresholds: dict[str, float],
    resampled: BootstrapResult,
    *,
    reference: int,
    candidate: int,
    level: float,
    seed: int,
) -> PairedComparison:
    a, b = models[reference], models[candidate]
    positive, clusters = test.y_true == 1, test.clusters
    right_a = (test.scores[a] >= thresholds[a]) == positive
    right_b = (test.scores[b] >= thresholds[b]) == positive

    def rate(chosen: NDArray[np.bool_] | slice, method: str) -> Estimate:
        inside = None if clusters is None else clusters[chosen]
        if inside is not None and len(set(inside.tolist())) < 2:
            inside = None
        return paired_proportion_difference(
            right_a[chosen],
            right_b[chosen],
            level=level,
            clusters=inside,
            method="newcombe" if method == "newcombe" else "tango",
        )

    differences = {
        "auc": auc_difference(test.y_true, test.scores[a], test.scores[b], level=level, clusters=clusters),
        "sensitivity": rate(positive, "tango"),
        "specificity": rate(~positive, "tango"),
        "accuracy": rate(slice(None), "tango"),
        "sensitivity_newcombe": rate(positive, "newcombe"),
        "specificity_newcombe": rate(~positive, "newcombe"),
        "auc_bootstrap": resampled.difference(reference, candidate, "auc"),
    }
    for name in BOOTSTRAPPED:
        differences[name] = resampled.difference(reference, candidate, name)
    return PairedComparison(
        reference=a,
        candidate=b,
        differences=differences,
        positives=_agreement(right_a[positive], right_b[positive]),
        negatives=_agreement(right_a[~positive], right_b[~positive]),
        probability_candidate_more_accurate=probability_more_accurate(
            right_a, right_b, clusters=clusters, seed=seed
        ),
    )


def _agreement(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> AgreementTable:
    both, only_a, only_b, neither = paired_table(right_a, right_b)
    return AgreementTable(
        both_correct=both, only_reference_correct=only_a, only_candidate_correct=only_b, both_wrong=neither
    )


def _adjusted(pairs: Sequence[PairedComparison]) -> tuple[PairedComparison, ...]:
    names = [
        name
        for name, estimate in pairs[0].differences.items()
        if estimate.p_value is not None or name == "auc"
    ]
    adjusted = {name: holm([pair.differences[name].p_value for pair in pairs]) for name in names}
    return tuple(
        pair.model_copy(update={"p_values_adjusted": {name: adjusted[name][i] for name in names}})
        for i, pair in enumerate(pairs)
    )
