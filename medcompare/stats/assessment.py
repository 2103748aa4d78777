"""From scored cases and costs to everything a report says: one way for both flows.

`assess` starts from tables alone; the flow that trains evaluates each model in a task of
its own and calls `assemble`. Both go through the same code and give the same numbers.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from medcompare.stats import sentences
from medcompare.stats.comparison import compare_models
from medcompare.stats.evaluation import DECISION_GRID, evaluate_model
from medcompare.stats.quantities import flat_quantities
from medcompare.stats.records import Assessment
from medcompare.stats.thresholds import choose_threshold
from medcompare.stats.utility import probability_of_benefit, treat_all_curve
from medcompare.stats.verdict import Situation, decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.config import DecideConfig, EvaluateConfig
    from medcompare.predictions import ScoredCases
    from medcompare.records import CostMeasurement
    from medcompare.stats.records import ModelEvaluation, PairedComparison

NET_BENEFIT_POINTS = 21
ONE_IMAGE_PER_PATIENT = "No patient ids were given: every interval assumes one image per patient."


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

    Returns
    -------
    Assessment
    """
    evaluations = tuple(
        evaluate_model(
            test.only([model]),
            None if validation is None else validation.only([model]),
            model,
            display_name=display_names.get(model, model),
            evaluate=evaluate,
            operating_point=choose_threshold(model, validation, evaluate, given=thresholds.get(model)),
            seed=seed,
        )
        for model in test.models
    )
    return assemble(
        test, validation, evaluations, costs, evaluate=evaluate, rule=rule, seed=seed, set_by_user=set_by_user
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
) -> Assessment:
    """Compare evaluated models, decide, and gather; parameters as in `assess`."""
    comparisons = compare_models(test, evaluations, costs=costs, evaluate=evaluate, decide=rule, seed=seed)
    n_positive = int(test.y_true.sum())
    situation = Situation(
        evaluations=tuple(evaluations),
        comparisons=comparisons,
        costs=tuple(costs),
        rule=rule,
        level=evaluate.level,
        set_by_user=set_by_user,
        validity=_shared_patients(test, validation),
        identical=_identical(test),
        net_benefit=_net_benefit(test, comparisons, rule, evaluate, seed),
    )
    return Assessment(
        models=test.models,
        display_names={one.model: one.display_name for one in evaluations},
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
        treat_all=treat_all_curve(n_positive / test.n, DECISION_GRID)
        if test.scores_are_probabilities
        else None,
        notes=() if test.patient_id is not None else (ONE_IMAGE_PER_PATIENT,),
        quantities=flat_quantities(evaluations, comparisons),
    )


def _shared_patients(test: ScoredCases, validation: ScoredCases | None) -> tuple[str, ...]:
    if validation is None or test.patient_id is None or validation.patient_id is None:
        return ()
    shared = set(test.patient_id.tolist()) & set(validation.patient_id.tolist())
    return (sentences.shared_patients(len(shared)),) if shared else ()


def _identical(test: ScoredCases) -> tuple[tuple[str, str], ...]:
    """Pairs with equal scores; two constant outputs are inadequate, not identical."""
    return tuple(
        (a, b)
        for a, b in combinations(test.models, 2)
        if np.array_equal(test.scores[a], test.scores[b]) and np.ptp(test.scores[a]) > 0
    )


def _net_benefit(
    test: ScoredCases,
    comparisons: Sequence[PairedComparison],
    rule: DecideConfig,
    evaluate: EvaluateConfig,
    seed: int,
) -> dict[tuple[str, str], float]:
    """Probability that the candidate does more good at every threshold of the declared range.

    Where the two models exchange places within the range the figure is 0.5: undecided.
    """
    if rule.net_benefit_range is None or not test.scores_are_probabilities:
        return {}
    grid = np.linspace(*rule.net_benefit_range, NET_BENEFIT_POINTS)
    found = {}
    for pair in comparisons:
        share = probability_of_benefit(
            test.y_true,
            test.scores[pair.reference],
            test.scores[pair.candidate],
            grid,
            seed=seed,
            n_resamples=evaluate.n_resamples,
            clusters=test.clusters,
        )
        low, high = float(share.min()), float(share.max())
        found[pair.reference, pair.candidate] = low if low > 0.5 else min(0.5, high)
    return found
