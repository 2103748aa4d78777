"""The rule among more than two models: every pair counts, whatever their order."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from medcompare.stats.multiplicity import holm, noninferiority_p, standard_error_of
from medcompare.stats.records import Outcome
from medcompare.stats.sizes import OpenQuestion
from medcompare.stats.verdict.cost_order import cheaper_of
from medcompare.stats.verdict.criteria import (
    best_by_point_estimate,
    both_separate,
    no_difference,
    opposed,
    separation_p,
)
from medcompare.stats.verdict.situation import Finding, guards_against, open_floors, open_guards, void_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.stats.verdict.criteria import Adequacy
    from medcompare.stats.verdict.situation import GuardFinding, Situation


def among_several(s: Situation, standing: Mapping[str, Adequacy]) -> Finding:
    """Of those shown to stay within the margins of the best, the cheapest; else the best if it is alone.

    Parameters
    ----------
    s : Situation
        More than two usable models and all their pairs.
    standing : mapping
        Whether each model reaches its floors. A model that misses one is out, but stays in
        the family that Holm's adjustment is made over: it was looked at too.

    Returns
    -------
    Finding
        The same whatever the order of the models. Models of equal AUC are best together.
    """
    left = [one for one in s.usable if standing[one.model] != "inadequate"]
    best = [one.model for one in best_by_point_estimate(left)]
    models = [one.model for one in left]
    inside = _noninferior(s)
    close = [
        model
        for model in models
        if all(other == model or frozenset({other, model}) in inside for other in best)
    ]
    chosen = [
        model for model in close if not any(_blocked(s, other, model) for other in best if other != model)
    ]
    if best and len(chosen) > 1 and set(best) <= set(chosen):
        return _within_reach(s, chosen, standing)
    worse = beaten_by(s, models)
    remain = [model for model in models if model not in worse]
    worse_p = max(worse.values(), default=None)
    if remain == best and len(best) == 1:
        (model,) = best
        if standing[model] != "adequate":
            return Finding(
                outcome=Outcome.NOT_ENOUGH_DATA,
                step="2",
                kind="best_unproven",
                extra=model,
                worse=tuple(worse),
                worse_p=worse_p,
                questions=open_floors(s, model),
            )
        return Finding(
            outcome=Outcome.USE_MODEL,
            step="5",
            model=model,
            kind="best_of_several",
            worse=tuple(worse),
            worse_p=worse_p,
        )
    open_pairs = [
        (other, model)
        for other in best
        for model in remain
        if model != other and frozenset({other, model}) not in inside
    ]
    blocked = [(other, model) for other in best for model in remain if model in close and model != other]
    guards = tuple(guard for ends in blocked for guard in _guards(s, *ends))
    if best and not open_pairs and all(_blocked_for_good(s, *ends) for ends in blocked):
        return Finding(
            outcome=Outcome.THRESHOLDS_NOT_COMPARABLE,
            step="4b",
            kind="thresholds_of_several",
            chosen=tuple(remain),
            worse=tuple(worse),
            worse_p=worse_p,
            guards=guards,
            void=tuple(dict.fromkeys(model for ends in blocked for model in void_at(s, s.pair_of(*ends)))),
        )
    return Finding(
        outcome=Outcome.NOT_ENOUGH_DATA,
        step="6",
        kind="some_remain" if worse or len(models) < len(s.usable) else "cannot_tell_several",
        chosen=tuple(remain),
        worse=tuple(worse),
        worse_p=worse_p,
        questions=_questions(
            s,
            open_pairs,
            [guard for ends in blocked if not _blocked_for_good(s, *ends) for guard in _guards(s, *ends)],
        ),
    )


def _within_reach(s: Situation, chosen: Sequence[str], standing: Mapping[str, Adequacy]) -> Finding:
    """The cheapest of the chosen, unless its floor, or that of one to choose from, is open."""
    cheapest = _cheapest(s, chosen)
    unproven = [m for m in ([cheapest] if cheapest else chosen) if standing[m] != "adequate"]
    if unproven:
        return Finding(
            outcome=Outcome.NOT_ENOUGH_DATA,
            step="2",
            kind="cheapest_unproven" if cheapest else "choice_unproven",
            extra=cheapest or "",
            chosen=tuple(chosen),
            worse=tuple(unproven),
            questions=tuple(question for model in unproven for question in open_floors(s, model)),
        )
    if cheapest is not None:
        return Finding(
            outcome=Outcome.PREFER_CHEAPER,
            step="4a",
            model=cheapest,
            kind="cheapest_of_several",
            chosen=tuple(chosen),
            worse=tuple(m for m in chosen if (m, cheapest) in _significant(s)),
        )
    pairs = [cheaper_of(one, other, s.costs, s.rule) for one, other in combinations(chosen, 2)]
    unknown = any(order.relation == "unknown" for order in pairs)
    kind = "choose_several_unknown" if unknown else "choose_several"
    return Finding(outcome=Outcome.CHOOSE_BY_COST, step="4a", kind=kind, chosen=tuple(chosen))


def _noninferior(s: Situation) -> set[frozenset[str]]:
    """Pairs of which the loss with the worse model is shown to be below the margin, by Holm over all pairs."""
    margin, by_model = s.rule.margin_auc, {one.model: one for one in s.usable}
    p_values = []
    for pair in s.comparisons:
        difference = pair.differences["auc"]
        one, other = by_model[pair.reference], by_model[pair.candidate]
        if no_difference(difference) and both_separate(one, other):
            p_values.append(separation_p(one, other, margin))
        else:
            loss = None if difference.value is None else -abs(difference.value)
            p_values.append(noninferiority_p(loss, standard_error_of(difference), margin))
    return {
        frozenset({pair.reference, pair.candidate})
        for pair, p_value in zip(s.comparisons, holm(p_values), strict=True)
        if p_value is not None and p_value < s.alpha / 2
    }


def _significant(s: Situation) -> dict[tuple[str, str], float]:
    """(better, worse) pairs of which the difference is significant, with the adjusted p-value."""
    found = {}
    for pair in s.comparisons:
        p_value, value = pair.p_values_adjusted.get("auc"), pair.differences["auc"].value
        if p_value is not None and value is not None and p_value < s.alpha:
            ends = (pair.candidate, pair.reference) if value > 0 else (pair.reference, pair.candidate)
            found[ends] = p_value
    return found


def beaten_by(s: Situation, models: Sequence[str]) -> dict[str, float]:
    """Models that another of `models` is significantly better than, with the smallest adjusted p-value.

    Holm's procedure holds for all pairs at once, so that "a beats b" and "b beats c" together
    put c behind a.
    """
    found: dict[str, float] = {}
    for (better, worse), p_value in _significant(s).items():
        if better in models and worse in models:
            found[worse] = min(p_value, found.get(worse, 1.0))
    return {model: found[model] for model in models if model in found}


def _guards(s: Situation, reference: str, candidate: str) -> tuple[GuardFinding, ...]:
    pair = s.pair_of(reference, candidate)
    return guards_against(s, pair, mirrored=pair.reference == candidate)


def _blocked(s: Situation, reference: str, candidate: str) -> bool:
    return bool(_guards(s, reference, candidate) or void_at(s, s.pair_of(reference, candidate)))


def _blocked_for_good(s: Situation, reference: str, candidate: str) -> bool:
    """Whether no number of cases would let the candidate take the place of the reference."""
    pair = s.pair_of(reference, candidate)
    return (
        bool(void_at(s, pair))
        or opposed(pair.differences["sensitivity"], pair.differences["specificity"])
        or any(guard.state == "lost" for guard in _guards(s, reference, candidate))
    )


def _cheapest(s: Situation, models: Sequence[str]) -> str | None:
    for model in models:
        orders = [cheaper_of(model, other, s.costs, s.rule) for other in models if other != model]
        if all(order.cheaper == model for order in orders):
            return model
    return None


def _questions(
    s: Situation, open_pairs: Sequence[tuple[str, str]], guards: Sequence[GuardFinding]
) -> tuple[OpenQuestion, ...]:
    """Whether those that remain stay within the margins of the best; the error is shared by all pairs."""
    return (
        *(
            OpenQuestion(
                figure="auc",
                pair=pair,
                mirrored=pair.reference == candidate,
                n_comparisons=len(s.comparisons),
            )
            for reference, candidate in open_pairs
            for pair in [s.pair_of(reference, candidate)]
        ),
        *open_guards(guards),
    )
