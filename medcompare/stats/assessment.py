"""From scored cases and costs to everything a report says: one way for both flows.

`assess` starts from tables alone; the flow that trains evaluates each model in a task of
its own and calls `assemble`. Both go through the same code and give the same numbers.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.errors import DataError
from medcompare.base.language import t
from medcompare.stats.arrays import few_units, plain
from medcompare.stats.calibration.usable import usable_probabilities
from medcompare.stats.comparison import compare_models, with_order_warnings
from medcompare.stats.evaluation import evaluate_model
from medcompare.stats.head_to_head import head_to_head
from medcompare.stats.intervals.auc import joint_auc_test
from medcompare.stats.quantities import flat_quantities
from medcompare.stats.records import Assessment, Curve
from medcompare.stats.running_statistics import with_running
from medcompare.stats.seeds import ensembles, resting_on_seeds, seed_rows, trainings
from medcompare.stats.thresholds import choose_threshold
from medcompare.stats.utility import DECISION_GRID, probability_of_benefit, shown_range, treat_all
from medcompare.stats.verdict import caveats, invalidity
from medcompare.stats.verdict.rule import decide
from medcompare.stats.verdict.situation import Situation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medcompare.config.schema import DecideConfig, EvaluateConfig
    from medcompare.predictions.cases import ScoredCases
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.stats.records import ModelEvaluation, PairedComparison

NET_BENEFIT_POINTS = 21
UNDECIDED = 0.5

MIN_DIFFERENT_SCORES = 5
"""Fewer different scores may agree by chance, or because the model is constant."""


def assess(
    test: ScoredCases,
    validation: ScoredCases | None,
    costs: Sequence[CostMeasurement],
    *,
    display_names: Mapping[str, str],
    evaluate: EvaluateConfig,
    rule: DecideConfig,
    thresholds: Mapping[str, float],
    seed: int,
    set_by_user: frozenset[str] = frozenset(),
    not_evaluated_as_trained: Mapping[str, str] | None = None,
    not_converged: Mapping[str, str] | None = None,
    running: Mapping[str, NDArray[np.float64]] | None = None,
) -> Assessment:
    """Evaluate, compare and decide.

    Parameters
    ----------
    test, validation : ScoredCases
        The test subset, and the one thresholds come from (None where there is none).
    costs : sequence of CostMeasurement
        What is known of the models' costs.
    display_names : mapping
        Names for people; a model without one keeps its own.
    evaluate, rule : EvaluateConfig, DecideConfig
        How figures are computed, and the rule's parameters.
    thresholds : mapping
        Thresholds the user gives, by model.
    seed : int
        Seed of the bootstrap.
    set_by_user : frozenset of str
        Dotted names of the fields the user set.
    not_evaluated_as_trained, not_converged : mapping, optional
        By model, one sentence with its numbers: its evaluation disagrees with its training,
        or its training was cut short. No verdict may rest on the first; the second is said.
    running : mapping, optional
        By model, scores of the test subset with the running statistics of the training.

    Returns
    -------
    Assessment

    Raises
    ------
    DataError
        If `thresholds` names a model that was not scored.
    """
    for model in thresholds:
        if model not in test.scores:
            msg = f"a threshold is given for '{model}', which was not scored; models are: {', '.join(test.models)}"
            raise DataError(msg)
    evaluations = tuple(
        evaluate_model(
            test.only([model]),
            None if validation is None else validation.only([model]),
            model,
            display_name=display_names.get(model, model),
            evaluate=evaluate,
            operating_point=choose_threshold(
                model,
                validation,
                evaluate,
                given=thresholds.get(model),
                scores_are_probabilities=test.scores_are_probabilities,
            ),
            seed=seed,
        )
        for model in test.models
    )
    evaluations = tuple(
        with_running(one, test, (running or {}).get(one.model), level=evaluate.level) for one in evaluations
    )
    return assemble(
        test,
        validation,
        evaluations,
        costs,
        evaluate=evaluate,
        rule=rule,
        seed=seed,
        set_by_user=set_by_user,
        not_evaluated_as_trained=not_evaluated_as_trained,
        not_converged=not_converged,
    )


def assemble(
    test: ScoredCases,
    validation: ScoredCases | None,
    evaluations: Sequence[ModelEvaluation],
    costs: Sequence[CostMeasurement],
    *,
    evaluate: EvaluateConfig,
    rule: DecideConfig,
    seed: int,
    set_by_user: frozenset[str] = frozenset(),
    not_evaluated_as_trained: Mapping[str, str] | None = None,
    not_converged: Mapping[str, str] | None = None,
) -> Assessment:
    """Compare evaluated models, decide, and gather.

    Parameters
    ----------
    test, validation : ScoredCases
        The subsets that `evaluations` were made from.
    evaluations : sequence of ModelEvaluation
        One per model of `test`, in the same order.
    costs : sequence of CostMeasurement
        What is known of the models' costs.
    evaluate, rule : EvaluateConfig, DecideConfig
        How figures are computed, and the rule's parameters.
    seed : int
        Seed of the bootstrap.
    set_by_user : frozenset of str
        Dotted names of the fields the user set.
    not_evaluated_as_trained, not_converged : mapping, optional
        By model, one sentence with its numbers: its evaluation disagrees with its training,
        or its training was cut short. No verdict may rest on the first; the second is said.

    Returns
    -------
    Assessment

    Raises
    ------
    DataError
        If `evaluations` are not those of the models in `test`.
    """
    if tuple(one.model for one in evaluations) != test.models:
        msg = f"evaluated were {[one.model for one in evaluations]}, but scored were {list(test.models)}"
        raise DataError(msg)
    evaluations = with_order_warnings(test, evaluations, level=evaluate.level)
    unfit = not_evaluated_as_trained or {}
    usable = [one for one in evaluations if not one.constant_output and one.model not in unfit]
    compared = tuple(one.model for one in usable)
    comparisons = compare_models(test, usable, costs=costs, evaluate=evaluate, decide=rule, seed=seed)
    repeated = trainings(test, validation, evaluations, evaluate=evaluate, seed=seed)
    if repeated is not None:
        evaluations = [
            one.model_copy(update={"over_seeds": repeated.means(one.model)}) for one in evaluations
        ]
    comparisons, seed_comparisons = resting_on_seeds(comparisons, repeated)
    seeds = seed_rows(test, repeated, evaluate=evaluate)
    n_positive = int(test.y_true.sum())
    both = 0 < n_positive < test.n
    prevalence = n_positive / test.n
    if evaluate.stated_prevalence is not None and both:
        prevalence = evaluate.stated_prevalence
    everyone = None
    if test.scores_are_probabilities:
        everyone = Curve(x=plain(DECISION_GRID), y=plain(treat_all(prevalence, DECISION_GRID)))
    curves = [one.decision_curve for one in evaluations if one.decision_curve is not None]
    names = {one.model: one.display_name for one in evaluations}
    situation = Situation(
        evaluations=tuple(evaluations),
        comparisons=comparisons,
        costs=tuple(costs),
        rule=rule,
        evaluate=evaluate,
        set_by_user=set_by_user,
        validity=_not_independent(test, validation, names),
        identical=_identical(test, compared),
        net_benefit=_net_benefit(test, validation, comparisons, rule=rule, evaluate=evaluate, seed=seed),
        seed_comparisons=seed_comparisons,
        patients_known=test.patient_id is not None,
        not_evaluated_as_trained=unfit,
        not_converged=not_converged or {},
    )
    found = Assessment(
        models=test.models,
        display_names=names,
        classes=test.classes,
        n=test.n,
        n_positive=n_positive,
        n_negative=test.n - n_positive,
        n_patients=test.n_patients,
        clustered=test.clusters is not None,
        prevalence=n_positive / test.n,
        level=evaluate.level,
        n_resamples=evaluate.n_resamples,
        seed=seed,
        evaluations=tuple(evaluations),
        comparisons=comparisons,
        costs=tuple(costs),
        verdict=decide(situation),
        treat_all=everyone,
        threshold_range=None
        if everyone is None
        else shown_range([everyone, *curves], rule.net_benefit_range),
        net_benefit_prevalence=evaluate.stated_prevalence if test.scores_are_probabilities and both else None,
        seeds=seeds,
        seed_comparisons=seed_comparisons,
        ensembles=ensembles(test, validation, evaluate=evaluate),
        notes=_notes(test, validation, compared),
        quantities=(),
    )
    detail = head_to_head(test, validation, found, evaluate=evaluate)
    rows = flat_quantities(
        evaluations, comparisons, seeds=seeds, seed_comparisons=seed_comparisons, head_to_head=detail
    )
    return found.model_copy(update={"head_to_head": detail, "quantities": rows})


def _not_independent(
    test: ScoredCases, validation: ScoredCases | None, names: Mapping[str, str]
) -> tuple[str, ...]:
    """Reasons why thresholds may have seen the test."""
    if validation is None:
        return ()
    reasons = []
    if test.patient_id is not None and validation.patient_id is not None:
        shared = set(test.patient_id.tolist()) & set(validation.patient_id.tolist())
        if shared:
            reasons.append(invalidity.shared_patients(len(shared)))
    copied = [
        names.get(model, model)
        for model, scores in test.scores.items()
        if _same_cases(test.y_true, scores, validation.y_true, validation.scores[model])
    ]
    if copied:
        reasons.append(invalidity.same_scores_in_validation(copied))
    return tuple(reasons)


def _same_cases(
    y_true: NDArray[np.int64],
    scores: NDArray[np.float64],
    other_true: NDArray[np.int64],
    other_scores: NDArray[np.float64],
) -> bool:
    """Whether two subsets hold the same (label, score) pairs, and enough different ones to mean it."""
    if y_true.size != other_true.size or np.unique(scores).size < MIN_DIFFERENT_SCORES:
        return False
    order, other_order = np.lexsort((y_true, scores)), np.lexsort((other_true, other_scores))
    return np.array_equal(scores[order], other_scores[other_order]) and np.array_equal(
        y_true[order], other_true[other_order]
    )


def _notes(test: ScoredCases, validation: ScoredCases | None, compared: Sequence[str]) -> tuple[str, ...]:
    """What the figures rest on, for the methods."""
    found = []
    if test.patient_id is None:
        found.append(t(caveats.ONE_CASE_PER_PATIENT))
    elif validation is not None and validation.patient_id is None:
        found.append(
            t(
                "The validation subset names no patients: that no patient is in both subsets could not be "
                "checked."
            )
        )
    for model, column in test.judged.items():
        if column != model:
            found.append(
                t(
                    "Of the trainings of {model}, '{column}' is evaluated, the lowest seed.",
                    model=model,
                    column=column,
                )
            )
    both = bool(test.y_true.any() and not test.y_true.all())
    if len(compared) > 2 and both and few_units(test.y_true == 1, test.clusters) is None:
        _, p_value, freedom = joint_auc_test(
            test.y_true, np.stack([test.scores[model] for model in compared]), clusters=test.clusters
        )
        if p_value is not None:
            found.append(
                t(
                    "All {n} models have the same AUC: joint DeLong test with {freedom} degrees of freedom, "
                    "p = {p_value:.3g}. It names no winner.",
                    n=len(compared),
                    freedom=freedom,
                    p_value=p_value,
                )
            )
    return tuple(found)


def _identical(test: ScoredCases, compared: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs with equal scores, of the models that are compared."""
    return tuple(
        (a, b) for a, b in combinations(compared, 2) if np.array_equal(test.scores[a], test.scores[b])
    )


def _net_benefit(
    test: ScoredCases,
    validation: ScoredCases | None,
    comparisons: Sequence[PairedComparison],
    *,
    rule: DecideConfig,
    evaluate: EvaluateConfig,
    seed: int,
) -> dict[tuple[str, str], float]:
    """Probability that the candidate does more good at every threshold of the declared range.

    Where the two models exchange places within the range the figure is 0.5: undecided.
    """
    if (
        rule.net_benefit_range is None
        or not test.scores_are_probabilities
        or len(set(test.y_true.tolist())) == 1
    ):
        return {}
    grid = np.linspace(*rule.net_benefit_range, NET_BENEFIT_POINTS)
    # In a fixed order, so that the draws, and with them the verdict, ignore the order of the rows.
    order = np.argsort(np.array(test.case_id))
    clusters = None if test.clusters is None else test.clusters[order]
    found = {}
    for pair in comparisons:
        reference, candidate = (
            usable_probabilities(test, validation, model, evaluate)[0][order]
            for model in (pair.reference, pair.candidate)
        )
        share = probability_of_benefit(
            test.y_true[order],
            reference,
            candidate,
            grid,
            seed=seed,
            n_resamples=evaluate.n_resamples,
            clusters=clusters,
            prevalence=evaluate.stated_prevalence,
        )
        low, high = float(share.min()), float(share.max())
        found[pair.reference, pair.candidate] = low if low > UNDECIDED else min(UNDECIDED, high)
    return found
