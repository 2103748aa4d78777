"""The decision rule: which model balances accuracy and efficiency, or why nobody can say.

First match wins. A is the reference (more expensive) and B the candidate (cheaper); L and U are
the limits of AUC(B) - AUC(A). Accuracy, F1 or a p-value never choose the model: a margin
and the interval of the paired difference do. The words are in `medcompare.stats.verdict.sentences`.

References
----------
Piaggio et al. (2012), JAMA 308:2594 (CONSORT, non-inferiority); Liu et al. (2006), Stat
Med 25:1219 (paired non-inferiority of AUC); Morikawa & Yoshida (1995), J Biopharm Stat 5:297.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.stats.records import Outcome, Verdict
from medcompare.stats.sizes import OpenQuestion, sizes_needed
from medcompare.stats.verdict import explanations, invalidity
from medcompare.stats.verdict.cost_order import CostOrder, cheaper_of
from medcompare.stats.verdict.criteria import (
    adequacy,
    both_separate,
    limits,
    no_difference,
    opposed,
    separation_p,
    significantly_higher,
    significantly_lower,
    smallest_class_units,
    within,
)
from medcompare.stats.verdict.several import among_several
from medcompare.stats.verdict.situation import (
    Finding,
    GuardFinding,
    Situation,
    guards_against,
    open_both_ways,
    open_floors,
    open_guards,
    void_at,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medcompare.stats.records import PairedComparison
    from medcompare.stats.verdict.criteria import Adequacy

WARN_BELOW_UNITS = 100
"""At least 100 events and 100 non-events for an evaluation (Collins et al. 2016, Stat Med 35:214)."""

CHANCE_AUC = 0.5


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
    # More cases do not finish a training: where one was cut short, no size is given.
    asked = () if situation.unfinished() else finding.questions
    sizes, without = sizes_needed(asked, situation.evaluations, situation.rule, alpha=situation.alpha)
    return explanations.worded(
        situation,
        finding,
        order=_order(situation),
        sizes=sizes,
        without_size=without,
        few_units=smallest_class_units(situation.evaluations[0]) < WARN_BELOW_UNITS,
    )


def first_match(s: Situation) -> Finding:
    """The first step of the rule that applies, and what it concludes; never worded yet."""
    invalid = _invalid(s)
    if invalid is not None:
        return invalid
    if smallest_class_units(s.evaluations[0]) < s.rule.min_units:
        return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="1", kind="few_units")
    standing = {one.model: adequacy(one, s.rule) for one in s.usable}
    adequate = [model for model, state in standing.items() if state == "adequate"]
    alone = len(standing) == 1
    if all(state == "inadequate" for state in standing.values()):
        kind = "single_inadequate" if alone else "neither"
        return Finding(outcome=Outcome.NEITHER_ADEQUATE, step="2", kind=kind)
    if not adequate:
        open_models = [model for model, state in standing.items() if state == "undetermined"]
        return Finding(
            outcome=Outcome.NOT_ENOUGH_DATA,
            step="2",
            kind="unproven",
            chosen=tuple(open_models),
            questions=tuple(q for model in open_models for q in open_floors(s, model)),
        )
    if [state for state in standing.values() if state != "inadequate"] == ["adequate"]:
        kind = "single_model" if alone else "only_adequate"
        return Finding(outcome=Outcome.USE_MODEL, step="2", model=adequate[0], kind=kind)
    if len(standing) > 2:
        # Also where only two are left: they were picked from the data, so all pairs count.
        return among_several(s, standing)
    (pair,) = s.comparisons
    order = cheaper_of(pair.reference, pair.candidate, s.costs, s.rule)
    return _of_two(s, pair, standing, order)


def _invalid(s: Situation) -> Finding | None:
    reasons = list(s.validity)
    one = s.evaluations[0]
    if one.n_positive == 0 or one.n_negative == 0:
        reasons.append(invalidity.one_class_only(one))
    for a, b in s.identical:
        reasons.append(invalidity.identical_scores(s.names[a], s.names[b]))
    inverted = [
        each for each in s.usable if (high := each.decisive("auc").ci_high) is not None and high < CHANCE_AUC
    ]
    if inverted:
        reasons.append(invalidity.below_chance(inverted))
    trained = any(model in s.left_out for model in s.not_evaluated_as_trained)
    kind = "invalid" if reasons else "not_as_trained" if trained else "constant_output"
    if s.nothing_to_compare:
        reasons += s.left_out.values()
        if s.usable:
            reasons.append(invalidity.nothing_to_compare(s.usable[0].display_name))
    if not reasons:
        return None
    return Finding(outcome=Outcome.INVALID, step="0", kind=kind, extra=" ".join(reasons))


def _of_two(
    s: Situation, pair: PairedComparison, standing: Mapping[str, Adequacy], order: CostOrder
) -> Finding:
    """Steps 3 to 6 for two models."""
    difference = pair.differences["auc"]
    by_model = {one.model: one for one in s.usable}
    a, b = by_model[pair.reference], by_model[pair.candidate]
    if limits(difference) == (None, None):
        return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="6", kind="no_interval", pair=pair)
    if no_difference(difference) and both_separate(a, b):
        p_value = separation_p(a, b, s.rule.margin_auc)
        if p_value is None or p_value >= s.alpha / 2:
            return Finding(outcome=Outcome.NOT_ENOUGH_DATA, step="6", kind="perfect_unproven", pair=pair)
    if order.relation == "cheaper":
        return _reference_and_candidate(s, pair, standing)
    return _neither_cheaper(s, pair, standing, order)


def _reference_and_candidate(
    s: Situation, pair: PairedComparison, standing: Mapping[str, Adequacy]
) -> Finding:
    """Steps 3 to 6: B is the cheaper model."""
    a, margin = pair.reference, s.rule.margin_auc
    low, high = limits(pair.differences["auc"])
    if high is not None and high < -margin:
        return _use(s, a, "3", "worse_by_margin", pair, standing)
    if low is not None and low > -margin:
        return _non_inferior(s, pair, standing)
    if significantly_lower(pair.differences["auc"]):
        return _use(s, a, "5", "better_not_shown_equal", pair, standing)
    return Finding(
        outcome=Outcome.NOT_ENOUGH_DATA,
        step="6",
        kind="cannot_tell",
        pair=pair,
        questions=(OpenQuestion(figure="auc", pair=pair), *open_guards(guards_against(s, pair))),
    )


def _non_inferior(s: Situation, pair: PairedComparison, standing: Mapping[str, Adequacy]) -> Finding:
    """Step 4: the AUC of B is not worse by more than the margin."""
    a, b, difference = pair.reference, pair.candidate, pair.differences["auc"]
    guards, void = guards_against(s, pair), void_at(s, pair)
    if not guards and not void:
        if significantly_higher(difference):
            return _use(s, b, "4a", "better_and_cheaper", pair, standing)
        if standing[b] != "adequate":
            return _unproven(s, b, "candidate_unproven", pair)
        kind = "cheaper_but_slightly_worse" if significantly_lower(difference) else "cheaper"
        kind = "same_ranking" if no_difference(difference) else kind
        return Finding(outcome=Outcome.PREFER_CHEAPER, step="4a", model=b, kind=kind, pair=pair)
    if opposed(pair.differences["sensitivity"], pair.differences["specificity"]):
        return _at_other_thresholds(s, pair, standing)
    if significantly_lower(pair.differences["sensitivity"]) and not void:
        if no_difference(difference):
            return _not_comparable("same_ranking_misses_more", pair)
        if significantly_higher(difference):
            return _not_comparable("better_but_misses_more", pair, extra=b)
        return _use(s, a, "4c", "misses_more", pair, standing)
    return _unguarded(pair, guards, void, both_ways=False)


def _unguarded(
    pair: PairedComparison, guards: tuple[GuardFinding, ...], void: tuple[str, ...], *, both_ways: bool
) -> Finding:
    """The AUC allows it, the thresholds do not: for good (4b), or as far as these data go (4d)."""
    if void:
        return _not_comparable("guard_void", pair, void=void)
    if any(guard.state == "lost" for guard in guards):
        return _not_comparable("thresholds_lost" if both_ways else "guard_lost", pair, guards=guards)
    return Finding(
        outcome=Outcome.NOT_ENOUGH_DATA,
        step="4d",
        kind="thresholds_unproven" if both_ways else "guard_unproven",
        pair=pair,
        guards=guards,
        questions=open_both_ways(guards) if both_ways else open_guards(guards),
    )


def _at_other_thresholds(s: Situation, pair: PairedComparison, standing: Mapping[str, Adequacy]) -> Finding:
    """Step 4b: one model finds more, the other raises fewer false alarms; net benefit may settle it."""
    a, b, difference = pair.reference, pair.candidate, pair.differences["auc"]
    probability, tail = s.net_benefit.get((a, b), 0.5), s.alpha / 2
    # Never for the model that is significantly worse overall.
    if probability >= 1 - tail and not significantly_lower(difference):
        return _use(s, b, "4b", "net_benefit", pair, standing)
    if probability <= tail and not significantly_higher(difference):
        return _use(s, a, "4b", "net_benefit", pair, standing)
    return _not_comparable("operating_points", pair)


def _neither_cheaper(
    s: Situation, pair: PairedComparison, standing: Mapping[str, Adequacy], order: CostOrder
) -> Finding:
    """Superiority only; equivalence within the margins leaves the choice to cost."""
    a, b, difference = pair.reference, pair.candidate, pair.differences["auc"]
    sensitivity, specificity = pair.differences["sensitivity"], pair.differences["specificity"]
    equal, same = within(difference, s.rule.margin_auc), no_difference(difference)
    guards, void = (*guards_against(s, pair), *guards_against(s, pair, mirrored=True)), void_at(s, pair)
    if equal and not guards and not void:
        unproven = [model for model in sorted((a, b)) if standing[model] != "adequate"]
        if unproven:
            return _unproven(s, unproven[0], "equal_but_unproven", pair)
        kind = {"trade-off": "choose_trade_off", "similar": "choose_similar"}.get(
            order.relation, "choose_unknown"
        )
        kind = "same_ranking_choose" if same else kind
        return Finding(outcome=Outcome.CHOOSE_BY_COST, step="4a", kind=kind, pair=pair)
    if significantly_lower(difference) or significantly_higher(difference):
        better = a if significantly_lower(difference) else b
        misses_more = significantly_higher(sensitivity) if better == a else significantly_lower(sensitivity)
        if misses_more:
            return _not_comparable("better_but_misses_more", pair, extra=better)
        return _use(s, better, "5", "better", pair, standing)
    if not equal:
        questions = (OpenQuestion(figure="auc", pair=pair, both_ways=True), *open_both_ways(guards))
        return Finding(
            outcome=Outcome.NOT_ENOUGH_DATA, step="6", kind="cannot_tell", pair=pair, questions=questions
        )
    if opposed(sensitivity, specificity):
        return _not_comparable("operating_points", pair)
    return _unguarded(pair, guards, void, both_ways=True)


def _not_comparable(
    kind: str,
    pair: PairedComparison,
    *,
    extra: str = "",
    guards: tuple[GuardFinding, ...] = (),
    void: tuple[str, ...] = (),
) -> Finding:
    """Step 4b: no number of cases would make these thresholds comparable."""
    return Finding(
        outcome=Outcome.THRESHOLDS_NOT_COMPARABLE,
        step="4b",
        kind=kind,
        pair=pair,
        extra=extra,
        guards=guards,
        void=void,
    )


def _use(  # noqa: PLR0917 - read as a sentence: use this model by this step, as it is so
    s: Situation, model: str, step: str, kind: str, pair: PairedComparison, standing: Mapping[str, Adequacy]
) -> Finding:
    """Recommend `model`, unless it is not proven good enough on its own."""
    if standing[model] != "adequate":
        return _unproven(s, model, "better_but_unproven", pair, grounds=kind)
    return Finding(outcome=Outcome.USE_MODEL, step=step, model=model, kind=kind, pair=pair)


def _unproven(s: Situation, model: str, kind: str, pair: PairedComparison, grounds: str = "") -> Finding:
    """`model` would be recommended, had its own floor been proven: it never is without that."""
    return Finding(
        outcome=Outcome.NOT_ENOUGH_DATA,
        step="2",
        kind=kind,
        pair=pair,
        extra=model,
        grounds=grounds,
        questions=open_floors(s, model),
    )


def _order(s: Situation) -> CostOrder | None:
    """What two models cost, one beside the other; None where there is one, or several."""
    if len(s.comparisons) != 1:
        return None
    (pair,) = s.comparisons
    return cheaper_of(pair.reference, pair.candidate, s.costs, s.rule)
