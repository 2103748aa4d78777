"""The verdict in plain words: the templates of `texts`, filled with a study's numbers.

"No significant difference" always comes with its margin and interval, and every number with its interval.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medcompare.stats.records import Outcome
from medcompare.stats.verdict.cost_order import too_few
from medcompare.stats.verdict.criteria import (
    both_separate,
    floors_of,
    guard_of,
    no_difference,
    oriented,
    proves_nothing,
    significantly_higher,
    significantly_lower,
    within,
)
from medcompare.stats.verdict.texts import (
    ADVISED_ELSEWHERE,
    AGAIN,
    COSTS,
    DECLARE,
    ENOUGH,
    GROUNDS,
    HEADLINES,
    HEADLINES_BY_KIND,
    NO_RELEVANT_DIFFERENCE,
    NOT_CONVERGED,
    NUMBERS,
    RISKS,
    SENTENCES,
    SETTLES_NOT,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.config.schema import DecideConfig
    from medcompare.stats.records import Estimate, ModelEvaluation, PairedComparison
    from medcompare.stats.verdict.cost_order import CostOrder
    from medcompare.stats.verdict.situation import Finding, GuardFinding, Situation

SMALLEST_P = 0.001


def headline_of(situation: Situation, finding: Finding) -> str:
    """A few words for a title or the subject of an e-mail."""
    undecided = finding.outcome is Outcome.NOT_ENOUGH_DATA
    if undecided and situation.unfinished() and finding.kind not in ADVISED_ELSEWHERE:
        return NOT_CONVERGED
    template = HEADLINES_BY_KIND.get(finding.kind, HEADLINES[finding.outcome])
    if finding.kind in {"cheaper", "cheaper_but_slightly_worse"} and _no_relevant_difference(
        situation, finding
    ):
        template = NO_RELEVANT_DIFFERENCE
    if finding.kind == "neither" and situation.left_out:
        template = "No model that could be assessed is good enough"
    return template.format(
        model=situation.names.get(finding.model or "", ""),
        only=situation.evaluations[0].display_name,
        n_remain=len(finding.chosen),
        n_judged=len(situation.usable),
        enough=_enough(situation),
    )


def _enough(s: Situation) -> str:
    """`ENOUGH` where a cost is unknown only because too few passes were timed."""
    return ENOUGH if any(too_few(cost, s.rule.cost_metric) for cost in s.costs) else ""


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
    words = {
        "extra": names.get(finding.extra, finding.extra),
        "chosen": joined([names[model] for model in finding.chosen]),
        "reach": "reaches" if len(finding.chosen) == 1 else "reach",
        "worse": joined([names[model] for model in finding.worse]),
        "have": "has" if len(finding.worse) == 1 else "have",
        "worse_p": p_text(finding.worse_p),
        "model": names.get(finding.model or "", ""),
        "only": one.display_name,
        "negative": one.classes[0],
        "positive": one.classes[1],
        "units": units_of(one),
        "n_positive": f"{one.n_units_positive:,}",
        "n_negative": f"{one.n_units_negative:,}",
        "min_units": f"{rule.min_units:,}",
        "floors": floors_text(rule),
        "values": "; ".join(floor_figures(each, rule) for each in situation.usable),
        "margin": f"{rule.margin_auc:g}",
        "costs": COSTS.get(order.relation, "").format(enough=_enough(situation)) if order else "",
        "enough": _enough(situation),
        "range": " to ".join(f"{t:g}" for t in rule.net_benefit_range or ()),
        "again": _again(situation, finding),
        "declare": DECLARE if rule.net_benefit_range is None else SETTLES_NOT,
        "risk": joined([_risk(situation, guard) for guard in finding.guards]),
        "void": _void_text(situation, finding),
        "Remain": counted(len(finding.chosen)).capitalize(),
        "n_judged_words": counted(len(situation.usable)),
        "either": joined([names[model] for model in finding.chosen], last="or"),
        "others": _others(situation, finding),
        "rivals": _rivals(situation, finding),
        "measurably": _measurably(names, finding),
    }
    words["blocked"] = "; ".join(part for part in (words["risk"], words["void"]) if part)
    if finding.pair is not None:
        words |= _words_of_pair(situation, finding, finding.pair)
    if finding.grounds:
        words["grounds"] = GROUNDS[finding.grounds].format(**words)
    return " ".join(
        [
            SENTENCES[finding.kind].format(**words),
            *_what_is_missing(situation, finding, more_helps=more_helps),
            *_left_out(situation, finding),
        ]
    )


def _words_of_pair(s: Situation, finding: Finding, pair: PairedComparison) -> dict[str, str]:
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


def _overall(s: Situation, pair: PairedComparison) -> str:
    """What the interval of the difference in AUC shows, at most."""
    difference, margin = pair.differences["auc"], s.rule.margin_auc
    a, b = s.names[pair.reference], s.names[pair.candidate]
    negative, positive = s.evaluations[0].classes
    if no_difference(difference):
        by_model = {one.model: one for one in s.usable}
        if both_separate(by_model[pair.reference], by_model[pair.candidate]):
            return "both models separate the classes perfectly"
        return "both models rank every pair of cases alike"
    small = f", by less than the acceptable {margin:g}" if within(difference, margin) else ""
    if significantly_higher(difference):
        return f"{b} tells {positive} from {negative} better than {a}{small}"
    if significantly_lower(difference):
        return f"{a} tells {positive} from {negative} better than {b}{small}"
    if small:
        return f"the models differ by less than the acceptable {margin:g} either way"
    low = difference.ci_low
    if low is not None and low > -margin:
        return f"the loss with {b} instead of {a}, if any, is smaller than the acceptable {margin:g}"
    return f"the loss with {a} instead of {b}, if any, is smaller than the acceptable {margin:g}"


def _risk(s: Situation, guard: GuardFinding) -> str:
    """What a model does at its threshold, and whether that is shown or only not excluded."""
    may, does, what = RISKS[guard.figure]
    what = what.format(positive=s.evaluations[0].classes[1])
    name, shown = s.names[guard.model], difference_text(guard.pair, guard.figure, s.names)
    _, high = oriented(guard.pair.differences[guard.figure], mirrored=guard.model == guard.pair.reference)
    if guard.state == "lost":
        amount = "too many" if s.rule.guard == "strict" else "more"
        return f"{name} {does} {amount} {what} ({shown})"
    if high is not None and high < 0:
        return f"{name} {does} more {what}, perhaps too many ({shown})"
    return f"{name} may {may} too many {what} ({shown})"


def _void_text(s: Situation, finding: Finding) -> str:
    """Why nothing is proven at a threshold, cause by cause."""
    negative, positive = s.evaluations[0].classes
    causes, by_convention = [], []
    for one in s.usable:
        cause = proves_nothing(one) if one.model in finding.void else None
        if cause == "convention":
            by_convention.append(one.display_name)
        elif cause == "nobody":
            causes.append(
                f"{one.display_name} recognises {one.confusion.true_positive:,} of {one.n_positive:,} {positive} cases"
            )
        elif cause == "everybody":
            causes.append(
                f"{one.display_name} recognises {one.confusion.true_negative:,} of {one.n_negative:,} {negative} cases"
            )
    if by_convention:
        point = next(one for one in s.usable if one.display_name in by_convention).operating_point
        causes.append(
            f"the threshold of {joined(by_convention)} is {point.threshold:g} by convention, chosen on no cases"
        )
    return " and ".join(causes)


def _again(s: Situation, finding: Finding) -> str:
    conventional = any(proves_nothing(one) == "convention" for one in s.usable if one.model in finding.void)
    if conventional:
        return (
            "give validation cases to choose the thresholds on, or thresholds that were chosen beforehand, and compare "
            "again"
        )
    return AGAIN


def _others(s: Situation, finding: Finding) -> str:
    """Who does not remain, and why."""
    text = ""
    if finding.worse:
        rest = [s.names[model] for model in finding.worse]
        text += (
            f" {joined(rest)} {'is' if len(rest) == 1 else 'are'} worse than at least one of the others, also when the "
            f"number of comparisons is allowed for ({p_text(finding.worse_p)})."
        )
    missed = [one.display_name for one in s.usable if one.model not in {*finding.chosen, *finding.worse}]
    if missed:
        text += f" {joined(missed)} {'does' if len(missed) == 1 else 'do'} not reach {floors_text(s.rule)}."
    return text


def _rivals(s: Situation, finding: Finding) -> str:
    """All the others, or those of them that do not miss a floor."""
    every = len(finding.worse) + 1 == len(s.usable)
    return "every other model" if every else f"every other model that may reach {floors_text(s.rule)}"


def _measurably(names: Mapping[str, str], finding: Finding) -> str:
    if not finding.worse:
        return ""
    better = joined([names[model] for model in finding.worse])
    return f"; {better} {'is' if len(finding.worse) == 1 else 'are'} measurably better than it, by less than that"


def _what_is_missing(s: Situation, finding: Finding, *, more_helps: bool) -> list[str]:
    """Which of the two it is: too few cases, or a training that had not finished."""
    if finding.outcome is not Outcome.NOT_ENOUGH_DATA or finding.kind in ADVISED_ELSEWHERE:
        return []
    unfinished = s.unfinished()
    if not unfinished:
        return ["More cases are needed."] if more_helps else []
    models = joined([s.names[model] for model in unfinished])
    return [f"{models} had not finished learning: train longer before asking for more cases."]


def _left_out(s: Situation, finding: Finding) -> list[str]:
    if not s.left_out or finding.outcome is Outcome.INVALID:
        return []
    names = [s.names[model] for model in s.left_out]
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return [f"{joined(names)} {are} left out, as nothing can be concluded about {them}."]


def p_text(p_value: float | None) -> str:
    """An adjusted p-value, or the largest of several, rounded up: ``Holm p at most 0.002``."""
    if p_value is None:
        return "p not computed"
    if p_value < SMALLEST_P:
        return f"Holm p below {SMALLEST_P:g}"
    return f"Holm p at most {math.ceil(p_value * 1000) / 1000:.3f}"


def counted(n: int) -> str:
    """A small number as a word."""
    return NUMBERS[n] if n < len(NUMBERS) else f"{n:,}"


def difference_text(pair: PairedComparison, name: str, names: Mapping[str, str]) -> str:
    """A difference with its interval and its direction.

    Parameters
    ----------
    pair : PairedComparison
        Candidate and reference.
    name : str
        Key of ``pair.differences``.
    names : mapping
        Names for people.

    Returns
    -------
    str
        e.g. ``AUC of B minus A: −0.012, 95% interval −0.031 to +0.007``.
    """
    figure = "AUC" if name == "auc" else name
    difference = interval(pair.differences[name], signed=True)
    return f"{figure} of {names[pair.candidate]} minus {names[pair.reference]}: {difference}"


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """Value with its interval, e.g. ``0.910, 95% interval 0.871 to 0.942``, with plus signs if `signed`.

    Without a value "not computed" and why; without an interval the reason or "no interval".
    """
    if estimate.value is None:
        return f"not computed ({estimate.note})"
    sign = "+" if signed else ""
    text = number(estimate.value, sign)
    if estimate.ci_low is None or estimate.ci_high is None or estimate.level is None:
        return f"{text} ({estimate.note or 'no interval'})"
    limits = f"{number(estimate.ci_low, sign)} to {number(estimate.ci_high, sign)}"
    return f"{text}, {100 * estimate.level:g}% interval {limits}"


def number(value: float, sign: str) -> str:
    """Three decimals, with ``sign`` a plus where it is due, and never minus zero."""
    text = f"{value:{sign}.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "\u2212")


def floors_text(rule: DecideConfig) -> str:
    """What a model must reach on its own, e.g. ``an AUC of 0.7 and a sensitivity of 0.8``."""
    words = {"auc": "an AUC", "sensitivity": "a sensitivity", "specificity": "a specificity"}
    return joined([f"{words[figure]} of {floor:g}" for figure, floor in floors_of(rule).items()])


def floor_figures(one: ModelEvaluation, rule: DecideConfig) -> str:
    """The figures that the floors ask for, with their intervals."""
    texts = [
        f"{'AUC' if figure == 'auc' else figure} {interval(one.decisive(figure))}"
        for figure in floors_of(rule)
    ]
    return f"{one.display_name}: {', '.join(texts)}"


def units_of(one: ModelEvaluation) -> str:
    """What is counted: patients where one has several cases, else cases."""
    return "patients" if one.clustered else "cases"


def joined(names: Sequence[str], *, last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"
