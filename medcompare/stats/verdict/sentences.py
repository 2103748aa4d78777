"""The verdict in plain words: the templates of `texts`, filled with a study's numbers.

"No significant difference" always comes with its margin and interval, and every number with its interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import capital, join_words
from medcompare.base.language import t, tn
from medcompare.stats.records import Outcome
from medcompare.stats.verdict.cost_order import too_few
from medcompare.stats.verdict.criteria import (
    both_separate,
    guard_of,
    no_difference,
    oriented,
    proves_nothing,
    significantly_higher,
    significantly_lower,
    within,
)
from medcompare.stats.verdict.phrases import (
    counted,
    difference_text,
    floor_figures,
    floors_text,
    p_text,
    units_of,
)
from medcompare.stats.verdict.texts import (
    ADVISED_ELSEWHERE,
    AGAIN,
    AGAIN_NOT_SETTLED,
    AGAIN_OR_DECLARE,
    AGAIN_WITH_VALIDATION,
    BADLY_TIMED,
    COSTS,
    GROUNDS,
    HEADLINES,
    HEADLINES_BADLY_TIMED,
    HEADLINES_BY_KIND,
    NO_RELEVANT_DIFFERENCE,
    NONE_ASSESSED_IS_ENOUGH,
    NOT_CONVERGED,
    OF_ONE,
    OVERALL_ALIKE,
    OVERALL_BETTER,
    OVERALL_EQUAL,
    OVERALL_NOT_WORSE,
    OVERALL_PERFECT,
    OVERALL_SLIGHTLY_BETTER,
    RISKS,
    SENTENCES,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medcompare.stats.records import PairedComparison
    from medcompare.stats.verdict.cost_order import CostOrder
    from medcompare.stats.verdict.situation import Finding, GuardFinding, Situation


def headline_of(situation: Situation, finding: Finding) -> str:
    """A few words for a title or the subject of an e-mail."""
    undecided = finding.outcome is Outcome.NOT_ENOUGH_DATA
    if undecided and situation.unfinished() and finding.kind not in ADVISED_ELSEWHERE:
        return t(NOT_CONVERGED)
    template = HEADLINES_BY_KIND.get(finding.kind, HEADLINES[finding.outcome])
    if _badly_timed(situation):
        template = HEADLINES_BADLY_TIMED.get(finding.kind, template)
    if finding.kind in {"cheaper", "cheaper_but_slightly_worse"} and _no_relevant_difference(
        situation, finding
    ):
        template = NO_RELEVANT_DIFFERENCE
    if finding.kind == "neither" and situation.left_out:
        template = NONE_ASSESSED_IS_ENOUGH
    return t(
        template,
        model=situation.names.get(finding.model or "", ""),
        only=situation.evaluations[0].display_name,
        n_remain=len(finding.chosen),
        n_judged=len(situation.usable),
    )


def _badly_timed(s: Situation) -> bool:
    """Whether a cost is unknown only because too few passes were timed."""
    return any(too_few(cost, s.rule.cost_metric) for cost in s.costs)


def _no_relevant_difference(s: Situation, finding: Finding) -> bool:
    """Whether no figure of either model may be worse than the other's by its margin or more."""
    pair = finding.pair
    if pair is None:
        return False
    guards = [guard_of(pair, s.rule, mirrored=mirrored).values() for mirrored in (False, True)]
    passed = all(state == "passed" for states in guards for state in states)
    return passed and within(pair.differences["auc"], s.rule.margin_auc)


def sentence_of(
    situation: Situation, finding: Finding, order: CostOrder | None, *, more_helps: bool = True
) -> str:
    """The sentence a stakeholder can act on.

    Parameters
    ----------
    situation : Situation
        What the rule looked at.
    finding : Finding
        What it concludes.
    order : CostOrder or None
        Costs of the pair it is about, where it is about one.
    more_helps : bool, default=True
        Whether an undecided question may be settled by more cases.

    Returns
    -------
    str
        With every difference beside its interval and its margin.
    """
    one, names, rule = situation.evaluations[0], situation.names, situation.rule
    risk = join_words(_risk(situation, guard) for guard in finding.guards)
    void = _void_text(situation, finding)
    low, high = rule.net_benefit_range or (None, None)
    gaps: dict[str, object] = {
        "extra": names.get(finding.extra, finding.extra),
        "chosen": join_words(names[model] for model in finding.chosen),
        "worse": join_words(names[model] for model in finding.worse),
        "worse_p": p_text(finding.worse_p),
        "model": names.get(finding.model or "", ""),
        "only": one.display_name,
        "negative": one.classes[0],
        "positive": one.classes[1],
        "units": units_of(one),
        "n_positive": one.n_units_positive,
        "n_negative": one.n_units_negative,
        "min_units": rule.min_units,
        "floors": floors_text(rule),
        "values": "; ".join(floor_figures(each, rule) for each in situation.usable),
        "margin": rule.margin_auc,
        "costs": _costs_text(situation, order),
        "range": "" if low is None else t("{low:g} to {high:g}", low=low, high=high),
        "advice": _advice(situation, finding),
        "risk": risk,
        "void": void,
        "blocked": "; ".join(part for part in (risk, void) if part),
        "Remaining": capital(counted(len(finding.chosen))),
        "judged": counted(len(situation.usable)),
        "either": join_words((names[model] for model in finding.chosen), either=True),
        "others": _others(situation, finding),
        "rivals": _rivals(situation, finding),
        "measurably": _measurably(names, finding),
    }
    if finding.pair is not None:
        gaps |= _gaps_of_pair(situation, finding, finding.pair)
    if finding.grounds:
        gaps["grounds"] = t(GROUNDS[finding.grounds], **gaps)
    return " ".join(
        [
            t(_template(situation, finding), **gaps),
            *_what_is_missing(situation, finding, more_helps=more_helps),
            *_left_out(situation, finding),
        ]
    )


def _template(s: Situation, finding: Finding) -> str:
    template = SENTENCES[finding.kind]
    if len(finding.worse or finding.chosen) == 1:
        template = OF_ONE.get(finding.kind, template)
    return BADLY_TIMED.get(finding.kind, template) if _badly_timed(s) else template


def _gaps_of_pair(s: Situation, finding: Finding, pair: PairedComparison) -> dict[str, str]:
    names, sensitivity = s.names, pair.differences["sensitivity"].value
    lower = pair.candidate if sensitivity is not None and sensitivity < 0 else pair.reference
    higher = pair.reference if lower == pair.candidate else pair.candidate
    acting = finding.model or finding.extra
    return {
        "reference": names[pair.reference],
        "candidate": names[pair.candidate],
        "other": names[pair.candidate if acting == pair.reference else pair.reference],
        "misses": names[lower],
        "finds": names[higher],
        "overall": _overall(s, pair),
        "difference": difference_text(pair, "auc", names),
        "sensitivity": difference_text(pair, "sensitivity", names),
        "specificity": difference_text(pair, "specificity", names),
    }


def _costs_text(s: Situation, order: CostOrder | None) -> str:
    if order is None or order.relation == "cheaper":
        return ""
    relation: str = "badly timed" if order.relation == "unknown" and _badly_timed(s) else order.relation
    return t(COSTS[relation])


def _overall(s: Situation, pair: PairedComparison) -> str:
    """What the interval of the difference in AUC shows, at most."""
    difference, margin = pair.differences["auc"], s.rule.margin_auc
    a, b = s.names[pair.reference], s.names[pair.candidate]
    negative, positive = s.evaluations[0].classes
    if no_difference(difference):
        by_model = {one.model: one for one in s.usable}
        perfect = both_separate(by_model[pair.reference], by_model[pair.candidate])
        return t(OVERALL_PERFECT if perfect else OVERALL_ALIKE)
    small = within(difference, margin)
    if significantly_higher(difference) or significantly_lower(difference):
        better, lesser = (b, a) if significantly_higher(difference) else (a, b)
        return t(
            OVERALL_SLIGHTLY_BETTER if small else OVERALL_BETTER,
            better=better,
            lesser=lesser,
            positive=positive,
            negative=negative,
            margin=margin,
        )
    if small:
        return t(OVERALL_EQUAL, margin=margin)
    low = difference.ci_low
    taken, left = (b, a) if low is not None and low > -margin else (a, b)
    return t(OVERALL_NOT_WORSE, taken=taken, left=left, margin=margin)


def _risk(s: Situation, guard: GuardFinding) -> str:
    """What a model does at its threshold, and whether that is shown or only not excluded."""
    _, high = oriented(guard.pair.differences[guard.figure], mirrored=guard.model == guard.pair.reference)
    if guard.state == "lost":
        degree = "too many" if s.rule.guard == "strict" else "more"
    else:
        degree = "perhaps too many" if high is not None and high < 0 else "possible"
    return t(
        RISKS[guard.figure][degree],
        model=s.names[guard.model],
        positive=s.evaluations[0].classes[1],
        shown=difference_text(guard.pair, guard.figure, s.names),
    )


def _void_text(s: Situation, finding: Finding) -> str:
    """Why nothing is proven at a threshold, cause by cause."""
    negative, positive = s.evaluations[0].classes
    causes, by_convention = [], []
    for one in s.usable:
        cause = proves_nothing(one) if one.model in finding.void else None
        if cause == "convention":
            by_convention.append(one)
        elif cause is not None:
            few = cause == "nobody"
            causes.append(
                t(
                    "{model} recognises {n:,} of {total:,} {label} cases",
                    model=one.display_name,
                    n=one.confusion.true_positive if few else one.confusion.true_negative,
                    total=one.n_positive if few else one.n_negative,
                    label=positive if few else negative,
                )
            )
    if by_convention:
        causes.append(
            t(
                "the threshold of {models} is {threshold:g} by convention, chosen on no cases",
                models=join_words(one.display_name for one in by_convention),
                threshold=by_convention[0].operating_point.threshold,
            )
        )
    return join_words(causes)


def _advice(s: Situation, finding: Finding) -> str:
    """What would help where more cases would not."""
    if any(proves_nothing(one) == "convention" for one in s.usable if one.model in finding.void):
        return t(AGAIN_WITH_VALIDATION)
    if finding.kind != "operating_points":
        return t(AGAIN)
    return t(AGAIN_OR_DECLARE if s.rule.net_benefit_range is None else AGAIN_NOT_SETTLED)


def _others(s: Situation, finding: Finding) -> str:
    """Who does not remain, and why, as sentences begun by a blank."""
    text = ""
    if finding.worse:
        text += " " + tn(
            "{models} is worse than at least one of the others, also when the number of comparisons is allowed for "
            "({p}).",
            "{models} are worse than at least one of the others, also when the number of comparisons is allowed for "
            "({p}).",
            len(finding.worse),
            models=join_words(s.names[model] for model in finding.worse),
            p=p_text(finding.worse_p),
        )
    missed = [one.display_name for one in s.usable if one.model not in {*finding.chosen, *finding.worse}]
    if missed:
        text += " " + tn(
            "{models} does not reach {floors}.",
            "{models} do not reach {floors}.",
            len(missed),
            models=join_words(missed),
            floors=floors_text(s.rule),
        )
    return text


def _rivals(s: Situation, finding: Finding) -> str:
    """All the others, or those of them that do not miss a floor."""
    if len(finding.worse) + 1 == len(s.usable):
        return t("every other model")
    return t("every other model that may reach {floors}", floors=floors_text(s.rule))


def _measurably(names: Mapping[str, str], finding: Finding) -> str:
    """Who is better than the cheapest all the same, as a clause begun by a semicolon."""
    if not finding.worse:
        return ""
    return "; " + tn(
        "{models} is measurably better than it, by less than that",
        "{models} are measurably better than it, by less than that",
        len(finding.worse),
        models=join_words(names[model] for model in finding.worse),
    )


def _what_is_missing(s: Situation, finding: Finding, *, more_helps: bool) -> list[str]:
    """Which of the two it is: too few cases, or a training that had not finished."""
    if finding.outcome is not Outcome.NOT_ENOUGH_DATA or finding.kind in ADVISED_ELSEWHERE:
        return []
    unfinished = s.unfinished()
    if not unfinished:
        return [t("More cases are needed.")] if more_helps else []
    return [
        t(
            "{models} had not finished learning: train longer before asking for more cases.",
            models=join_words(s.names[model] for model in unfinished),
        )
    ]


def _left_out(s: Situation, finding: Finding) -> list[str]:
    if not s.left_out or finding.outcome is Outcome.INVALID:
        return []
    return [
        tn(
            "{models} is left out, as nothing can be concluded about it.",
            "{models} are left out, as nothing can be concluded about them.",
            len(s.left_out),
            models=join_words(s.names[model] for model in s.left_out),
        )
    ]
