"""The decision rule: which model balances accuracy and efficiency, or why nobody can say.

First match wins. A is the reference (dearer) and B the candidate (cheaper); L and U are
the limits of AUC(B) - AUC(A). Accuracy, F1 or a p-value never choose the model: a margin
and the interval of the paired difference do. The words stand in `medcompare.stats.sentences`.

References
----------
Piaggio et al. (2012), JAMA 308:2594 (CONSORT, non-inferiority); Liu et al. (2006), Stat
Med 25:1219 (paired non-inferiority of AUC); Morikawa & Yoshida (1995), J Biopharm Stat 5:297.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from medcompare.stats import explanations, sentences
from medcompare.stats.cost_order import CostOrder, cheaper_of
from medcompare.stats.criteria import (
    GUARDED,
    adequacy,
    best_by_point_estimate,
    guard_passes,
    guarded_by,
    limits,
    opposed,
    significantly_higher,
    significantly_lower,
    smallest_class_units,
)
from medcompare.stats.multiplicity import holm_noninferiority, positives_needed, standard_error_of
from medcompare.stats.records import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.config import DecideConfig, EvaluateConfig
    from medcompare.cost_records import CostMeasurement
    from medcompare.stats.criteria import Adequacy
    from medcompare.stats.records import ModelEvaluation, PairedComparison, SeedComparison

WARN_BELOW_UNITS = 100
"""At least 100 events and 100 non-events for an evaluation (Collins et al. 2016, Stat Med 35:214)."""

CHANCE_AUC = 0.5


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All the rule looks at, and all its explanation needs."""

    evaluations: tuple[ModelEvaluation, ...]
    comparisons: tuple[PairedComparison, ...]
    costs: tuple[CostMeasurement, ...]
    rule: DecideConfig
    evaluate: EvaluateConfig
    set_by_user: frozenset[str] = frozenset()
    validity: tuple[str, ...] = ()
    """Reasons found elsewhere why nothing may be concluded, as sentences."""
    identical: tuple[tuple[str, str], ...] = ()
    """Pairs of models whose scores are the same for every case."""
    net_benefit: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Probability that the candidate has the larger net benefit over the declared range."""
    seed_comparisons: tuple[SeedComparison, ...] = ()
    """Pairs of which several trainings are known."""
    patients_known: bool = True
    """Whether patient ids were given: without them one case per patient is assumed."""
    not_evaluated_as_trained: Mapping[str, str] = field(default_factory=dict)
    """By model, one sentence with its numbers: why its scores are not those of the network as trained."""
    not_converged: Mapping[str, str] = field(default_factory=dict)
    """By model, one sentence with its numbers: why it would have learnt more from longer training."""

    @property
    def names(self) -> dict[str, str]:
        """Display name by model."""
        return {one.model: one.display_name for one in self.evaluations}

    @property
    def alpha(self) -> float:
        """Two-sided error; rounded, as ``1 - 0.95`` is a little more than 0.05."""
        return round(1 - self.evaluate.level, 12)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a step of the rule concludes."""

    outcome: Outcome
    step: str
    model: str | None = None
    kind: str
    """Which sentence of `medcompare.stats.sentences.SENTENCES`."""
    pair: PairedComparison | None = None
    extra: str = ""
    """A model's name or, for an invalid comparison, the reasons."""
    chosen: tuple[str, ...] = ()
    """Models within the margin of the best."""
    unproven: tuple[str, ...] = ()
    """Figures whose loss may exceed its margin."""


def decide(situation: Situation) -> Verdict:
    """Apply the rule.

    Parameters
    ----------
    situation : Situation
        Evaluations, comparisons, costs and the parameters of the rule.

    Returns
    -------
    Verdict
        Outcome, the step that decided, and all of it in plain words.
    """
    finding = first_match(situation)
    undecided = finding.outcome is Outcome.NOT_ENOUGH_DATA
    return explanations.worded(
        situation,
        finding,
        order=_order(situation, finding.pair),
        favourite=best_by_point_estimate(situation.evaluations) if undecided else None,
        needed=size_needed(situation, finding.pair) if undecided else None,
        few_units=smallest_class_units(situation.evaluations[0]) < WARN_BELOW_UNITS,
    )


def first_match(s: Situation) -> Finding:
    """The first step of the rule that applies, and what it concludes; never worded yet."""
    invalid = _invalid(s)
    if invalid is not None:
        return invalid
    if smallest_class_units(s.evaluations[0]) < s.rule.min_units:
        return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="1", kind="few_units")
    standing = {one.model: adequacy(one, s.rule) for one in s.evaluations}
    adequate = [model for model, state in standing.items() if state == "adequate"]
    alone = len(standing) == 1
    if all(state == "inadequate" for state in standing.values()):
        kind = "single_inadequate" if alone else "neither"
        return Finding(outcome=Outcome.NEITHER_ADEQUATE, step="2", kind=kind)
    if not adequate:
        return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="2", kind="unproven")
    if [state for state in standing.values() if state != "inadequate"] == ["adequate"]:
        kind = "single_model" if alone else "only_adequate"
        return Finding(outcome=Outcome.USE_MODEL, step="2", model=adequate[0], kind=kind)
    if len(s.evaluations) > 2:
        # Also where only two are left: they were picked from the data, so all pairs count.
        return _several(s, [one for one in s.evaluations if standing[one.model] != "inadequate"], standing)
    (pair,) = s.comparisons
    order = cheaper_of(pair.reference, pair.candidate, s.costs, s.rule)
    if order.relation == "cheaper":
        return _reference_and_candidate(s, pair, standing)
    return _neither_cheaper(s, pair, standing, order)


def _invalid(s: Situation) -> Finding | None:
    reasons = list(s.validity)
    one = s.evaluations[0]
    if one.n_positive == 0 or one.n_negative == 0:
        reasons.append(sentences.one_class_only(one))
    for a, b in s.identical:
        reasons.append(sentences.identical_scores(s.names[a], s.names[b]))
    inverted = [
        each
        for each in s.evaluations
        if each.metrics["auc"].ci_high is not None and each.metrics["auc"].ci_high < CHANCE_AUC
    ]
    if inverted:
        reasons.append(sentences.below_chance(inverted))
    if not reasons:
        return None
    return Finding(outcome=Outcome.INVALID, step="0", kind="invalid", extra=" ".join(reasons))


def _reference_and_candidate(
    s: Situation, pair: PairedComparison, standing: Mapping[str, Adequacy]
) -> Finding:
    """Steps 3 to 6: B is the cheaper model."""
    a, margin = pair.reference, s.rule.margin_auc
    low, high = limits(pair.differences["auc"])
    if low is None or high is None:
        return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="6", kind="cannot_tell", pair=pair)
    if high < -margin:
        return _use(a, "3", "worse_by_margin", pair, standing)
    if low > -margin:
        return _non_inferior(s, pair, standing, low=low, high=high)
    if high < 0:
        return _use(a, "5", "better_not_shown_equal", pair, standing)
    return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="6", kind="cannot_tell", pair=pair)


def _non_inferior(
    s: Situation, pair: PairedComparison, standing: Mapping[str, Adequacy], *, low: float, high: float
) -> Finding:
    """Step 4: the AUC of B is not worse by more than the margin."""
    a, b = pair.reference, pair.candidate
    sensitivity, specificity = pair.differences["sensitivity"], pair.differences["specificity"]
    if guard_passes(pair, s.rule):
        if low > 0:
            return _use(b, "4a", "better_and_cheaper", pair, standing)
        if standing[b] != "adequate":
            return _unproven(b, "candidate_unproven", pair)
        kind = "cheaper_but_slightly_worse" if high < 0 else "cheaper"
        return Finding(outcome=Outcome.PREFER_CHEAPER, step="4a", model=b, kind=kind, pair=pair)
    if significantly_lower(sensitivity) and significantly_higher(specificity):
        probability = s.net_benefit.get((a, b))
        tail = s.alpha / 2
        if probability is not None and probability >= 1 - tail:
            return _use(b, "4b", "net_benefit", pair, standing)
        if probability is not None and probability <= tail:
            return _use(a, "4b", "net_benefit", pair, standing)
        return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="4b", kind="operating_points", pair=pair)
    if significantly_lower(sensitivity):
        return _use(a, "4c", "misses_more", pair, standing)
    unproven = tuple(name for name in GUARDED if not guarded_by(name, pair, s.rule))
    return Finding(
        outcome=Outcome.NOT_ENOUGH_DATA, step="4d", kind="guard_unproven", pair=pair, unproven=unproven
    )


def _neither_cheaper(
    s: Situation, pair: PairedComparison, standing: Mapping[str, Adequacy], order: CostOrder
) -> Finding:
    """Superiority only; equivalence within the margins leaves the choice to cost."""
    a, b, margin = pair.reference, pair.candidate, s.rule.margin_auc
    low, high = limits(pair.differences["auc"])
    if low is None or high is None:
        return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="6", kind="cannot_tell", pair=pair)
    guarded = guard_passes(pair, s.rule) and guard_passes(pair, s.rule, mirrored=True)
    if -margin < low and high < margin and guarded:
        unproven = [model for model in (a, b) if standing[model] != "adequate"]
        if unproven:
            return _unproven(unproven[0], "equal_but_unproven", pair)
        kind = {"trade-off": "choose_trade_off", "similar": "choose_similar"}.get(
            order.relation, "choose_unknown"
        )
        return Finding(outcome=Outcome.CHOOSE_BY_COST, step="4a", kind=kind, pair=pair)
    if high < 0 or low > 0:
        better = a if high < 0 else b
        sensitivity = pair.differences["sensitivity"]
        misses_more = significantly_higher(sensitivity) if better == a else significantly_lower(sensitivity)
        if misses_more:
            return Finding(
                outcome=Outcome.NOT_ENOUGH_DATA,
                step="4b",
                kind="better_but_misses_more",
                pair=pair,
                extra=better,
            )
        return _use(better, "5" if better == a else "4a", "better", pair, standing)
    if -margin < low and high < margin:
        crossed = opposed(pair.differences["sensitivity"], pair.differences["specificity"])
        kind = "operating_points" if crossed else "thresholds_unproven"
        step = "4b" if crossed else "4d"
        return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step=step, kind=kind, pair=pair)
    return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="6", kind="cannot_tell", pair=pair)


def _use(
    model: str, step: str, kind: str, pair: PairedComparison, standing: Mapping[str, Adequacy]
) -> Finding:
    """Recommend `model`, unless it is not proven good enough on its own."""
    if standing[model] != "adequate":
        return _unproven(model, "better_but_unproven", pair)
    return Finding(outcome=Outcome.USE_MODEL, step=step, model=model, kind=kind, pair=pair)


def _unproven(model: str, kind: str, pair: PairedComparison) -> Finding:
    """`model` would be recommended, had its own floor been proven: it never is without that."""
    return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="2", kind=kind, pair=pair, extra=model)


def _several(s: Situation, left: Sequence[ModelEvaluation], standing: Mapping[str, Adequacy]) -> Finding:
    """More than two models: Holm over all pairs; of the non-inferior set the cheapest."""
    good = [one for one in left if standing[one.model] == "adequate"]
    best = best_by_point_estimate(good)
    if best is None:
        return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="6", kind="cannot_tell_several")
    oriented = [_towards_worse(pair) for pair in s.comparisons]
    p_values = holm_noninferiority(
        [value for _, value, _ in oriented], [error for _, _, error in oriented], s.rule.margin_auc
    )
    alpha = s.alpha / 2
    shown = {ends: p for (ends, _, _), p in zip(oriented, p_values, strict=True)}
    chosen = [best]
    for one in good:
        p = shown.get((best, one.model))
        if one.model != best and p is not None and p < alpha and _guarded(s, best, one.model):
            chosen.append(one.model)
    if len(chosen) > 1:
        cheapest = _cheapest(s, chosen)
        within = tuple(one.model for one in good if one.model in chosen)
        if cheapest is not None:
            return Finding(
                outcome=Outcome.PREFER_CHEAPER,
                step="4a",
                model=cheapest,
                kind="cheapest_of_several",
                chosen=within,
            )
        pairs = [cheaper_of(one, other, s.costs, s.rule) for one, other in combinations(chosen, 2)]
        unknown = any(order.relation == "unknown" for order in pairs)
        kind = "choose_several_unknown" if unknown else "choose_several"
        return Finding(outcome=Outcome.CHOOSE_BY_COST, step="4a", kind=kind, chosen=within)
    beaten = [
        pair.p_values_adjusted.get("auc")
        for pair in s.comparisons
        if best in (pair.reference, pair.candidate)
        and {pair.reference, pair.candidate} <= {one.model for one in left}
    ]
    if all(p is not None and p < s.alpha for p in beaten):
        return Finding(outcome=Outcome.USE_MODEL, step="5", model=best, kind="best_of_several")
    return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="6", kind="cannot_tell_several")


def _towards_worse(pair: PairedComparison) -> tuple[tuple[str, str], float | None, float | None]:
    """((better, worse) by point estimate, worse - better, standard error)."""
    difference = pair.differences["auc"]
    error, value = standard_error_of(difference), difference.value
    if value is not None and value > 0:
        return (pair.candidate, pair.reference), -value, error
    return (pair.reference, pair.candidate), value, error


def _guarded(s: Situation, reference: str, candidate: str) -> bool:
    for pair in s.comparisons:
        if (pair.reference, pair.candidate) == (reference, candidate):
            return guard_passes(pair, s.rule)
        if (pair.candidate, pair.reference) == (reference, candidate):
            return guard_passes(pair, s.rule, mirrored=True)
    return False


def _cheapest(s: Situation, models: Sequence[str]) -> str | None:
    for model in models:
        orders = [cheaper_of(model, other, s.costs, s.rule) for other in models if other != model]
        if all(order.cheaper == model for order in orders):
            return model
    return None


def size_needed(s: Situation, pair: PairedComparison | None) -> int | None:
    """Positives that would show non-inferior sensitivity, from the disagreement seen."""
    pair = pair or (s.comparisons[0] if len(s.comparisons) == 1 else None)
    if pair is None:
        return None
    table = pair.positives
    n = table.both_correct + table.only_reference_correct + table.only_candidate_correct + table.both_wrong
    if n == 0:
        return None
    # With no disagreement seen, one case is assumed: zero would promise a study of no size.
    discordance = max(table.only_reference_correct + table.only_candidate_correct, 1) / n
    return positives_needed(discordance, s.rule.margin_sensitivity)


def _order(s: Situation, pair: PairedComparison | None) -> CostOrder | None:
    pair = pair or (s.comparisons[0] if len(s.comparisons) == 1 else None)
    return None if pair is None else cheaper_of(pair.reference, pair.candidate, s.costs, s.rule)
