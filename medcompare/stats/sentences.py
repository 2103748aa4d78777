"""The verdict in plain words: one sentence per conclusion, written to be read aloud.

"No significant difference" never stands here without its margin and interval. Numbers
carry their intervals; jargon stays in the appendix of the report.

``python -m medcompare.stats.examples`` prints every verdict, from small studies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.stats.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.config import DecideConfig
    from medcompare.stats.cost_order import CostOrder
    from medcompare.stats.records import Estimate, ModelEvaluation, PairedComparison
    from medcompare.stats.verdict import Finding, Situation

HEADLINES = {
    Outcome.INVALID: "No verdict: the comparison is not valid",
    Outcome.NOT_ENOUGH_DATA: "Not enough data to decide",
    Outcome.THRESHOLDS_NOT_COMPARABLE: "Thresholds not comparable: choose them again",
    Outcome.NEITHER_ADEQUATE: "No model is good enough",
    Outcome.USE_MODEL: "Use {model}",
    Outcome.PREFER_CHEAPER: "No relevant difference: prefer {model}",
    Outcome.CHOOSE_BY_COST: "No relevant difference: choose by cost",
}
HEADLINES_BY_KIND = {
    "single_model": "{model} is good enough",
    "single_inadequate": "{only} is not good enough",
    "operating_points": "Not enough data: thresholds not comparable",
    "better_but_misses_more": "Not enough data: thresholds not comparable",
    "choose_similar": "No relevant difference: either will do",
    "choose_unknown": "No relevant difference, costs not known",
    "choose_several_unknown": "No relevant difference, costs not known",
}
"""Where the outcome's headline would say too much or too little."""

CHECKPOINT_ONLY = " (this checkpoint only)"

SENTENCES = {
    # Step 0
    "invalid": "No recommendation can be made. {extra}",
    # Step 1
    "few_units": (
        "There are too few {units} for any verdict: the test holds {n_positive} {positive} and {n_negative} {negative} "
        "{units}, and at least {min_units} of each are needed."
    ),
    # Step 2
    "neither": (
        "No model is good enough: none reaches {floors} ({values}). Do not use any of them; check the images, the "
        "labels and the training first."
    ),
    "single_inadequate": (
        "{only} is not good enough: it does not reach {floors} ({values}). Do not use it; check the images, the labels "
        "and the training first."
    ),
    "unproven": (
        "No model has been shown to be good enough: {floors} can be neither proven nor ruled out ({values}). More "
        "cases are needed."
    ),
    "only_adequate": "Use {model}: it is the only model shown to reach {floors} ({values}).",
    "single_model": (
        "{model} is good enough: it is shown to reach {floors} ({values}). There was no second model to compare it "
        "with."
    ),
    "better_but_unproven": (
        "{extra} looks like the better choice ({difference}), but it has not been shown to reach {floors} ({values}). "
        "More cases are needed."
    ),
    "equal_but_unproven": (
        "The models differ by less than the acceptable {margin} ({difference}), but {extra} has not been shown to "
        "reach {floors} ({values}). More cases are needed."
    ),
    "candidate_unproven": (
        "{extra} is cheaper and close to {reference} ({difference}), but it has not been shown to reach {floors} "
        "({values}). More cases are needed."
    ),
    # Step 3
    "worse_by_margin": (
        "Use {model}: {other} is cheaper but tells {positive} from {negative} worse, by more than the acceptable "
        "{margin} ({difference})."
    ),
    # Step 4a
    "better_and_cheaper": (
        "Use {model}: it is cheaper, and it tells {positive} from {negative} better than {other} ({difference})."
    ),
    "cheaper": (
        "Prefer {model}: it is cheaper, and if it tells {positive} from {negative} any worse than {other}, the loss is "
        "smaller than the acceptable {margin} ({difference})."
    ),
    "cheaper_but_slightly_worse": (
        "Prefer {model}: it is cheaper. {other} tells {positive} from {negative} measurably better, but the loss is "
        "smaller than the acceptable {margin} ({difference})."
    ),
    "choose_trade_off": (
        "There is no relevant difference in telling {positive} from {negative}: it is smaller than the acceptable "
        "{margin} either way ({difference}). Each model is cheaper in something: choose by the cost that matters most "
        "to you."
    ),
    "choose_similar": (
        "There is no relevant difference in telling {positive} from {negative}: it is smaller than the acceptable "
        "{margin} either way ({difference}). The models cost about the same: either will do."
    ),
    "choose_unknown": (
        "There is no relevant difference in telling {positive} from {negative}: it is smaller than the acceptable "
        "{margin} either way ({difference}). What the models cost is not known, so neither is preferred."
    ),
    # Step 4b
    "operating_points": (
        "The models cannot be compared at their present thresholds: {misses} misses more {positive} cases, {finds} "
        "raises more false alarms ({sensitivity}; {specificity}). Choose both thresholds again for the same "
        "sensitivity, then compare again."
    ),
    "better_but_misses_more": (
        "{extra} tells {positive} from {negative} better overall ({difference}), but at its threshold it misses more "
        "{positive} cases ({sensitivity}). Choose both thresholds again for the same sensitivity, then compare again."
    ),
    "net_benefit": (
        "Use {model}: one model finds more {positive} cases and the other raises fewer false alarms, and weighed over "
        "the threshold probabilities you declared ({range}) {model} does more good than {other} ({sensitivity}; "
        "{specificity})."
    ),
    # Step 4c
    "misses_more": (
        "Use {model}: {other} is cheaper, and overall its loss is smaller than the acceptable {margin} ({difference}), "
        "but at its threshold it misses more {positive} cases without raising fewer false alarms ({sensitivity})."
    ),
    # Step 4d
    "guard_unproven": (
        "These data cannot show that {candidate} may replace {reference}: overall its loss is smaller than the "
        "acceptable {margin} ({difference}), but at its threshold it may {risk}."
    ),
    "thresholds_unproven": (
        "Overall the models differ by less than the acceptable {margin} ({difference}), but at their thresholds one "
        "may miss too many {positive} cases or raise too many false alarms ({sensitivity}; {specificity})."
    ),
    # Step 5
    "better_not_shown_equal": (
        "Use {model}: it tells {positive} from {negative} better than {other}, and the loss with the cheaper {other} "
        "may be larger than the acceptable {margin} ({difference})."
    ),
    "better": (
        "Use {model}: it tells {positive} from {negative} better than {other} ({difference}), and {costs}."
    ),
    # Step 6
    "cannot_tell": (
        "These data cannot tell the models apart: there may be a relevant difference or none ({difference}; a loss of "
        "up to {margin} would be acceptable)."
    ),
    # More than two models
    "cannot_tell_several": (
        "These data cannot tell the models apart: none is better than all others, and none is shown to stay within the "
        "acceptable losses from the best, once the number of comparisons is allowed for ({values})."
    ),
    "choose_several": (
        "There is no relevant difference between {chosen}: none is worse than the best of them by more than the "
        "acceptable {margin}, and none is the cheapest in every respect. Choose by the cost that matters most to you "
        "({values})."
    ),
    "choose_several_unknown": (
        "There is no relevant difference between {chosen}: none is worse than the best of them by more than the "
        "acceptable {margin}. What they cost is not known for all, so none is preferred ({values})."
    ),
    "cheapest_of_several": (
        "Prefer {model}: it is the cheapest of {chosen}, none of which is worse than the best of them by more than the "
        "acceptable {margin} ({values})."
    ),
    "best_of_several": (
        "Use {model}: it tells {positive} from {negative} better than every other model, also when the number of "
        "comparisons is allowed for ({values})."
    ),
}

COSTS = {
    "trade-off": "each model is cheaper in something",
    "similar": "the two cost about the same",
    "unknown": "what the models cost is not known",
}
RISKS = {"sensitivity": "miss too many {positive} cases", "specificity": "raise too many false alarms"}


def headline_of(situation: Situation, finding: Finding) -> str:
    """A few words for a title or the subject of an e-mail."""
    names = situation.names
    model = names.get(finding.model or "", "")
    only = situation.evaluations[0].display_name
    template = HEADLINES_BY_KIND.get(finding.kind, HEADLINES[finding.outcome])
    return template.format(model=model, only=only)


def sentence_of(situation: Situation, finding: Finding, order: CostOrder | None) -> str:
    """The sentence a stakeholder can act on.

    Parameters
    ----------
    situation : Situation
        What the rule looked at.
    finding : Finding
        What it concludes.
    order : CostOrder or None
        Costs of the pair it is about, where it is about one.

    Returns
    -------
    str
        With every difference beside its interval and its margin.
    """
    one, names, rule = situation.evaluations[0], situation.names, situation.rule
    words = {
        "extra": names.get(finding.extra, finding.extra),
        "chosen": joined([names[model] for model in finding.chosen]),
        "model": names.get(finding.model or "", ""),
        "only": one.display_name,
        "negative": one.classes[0],
        "positive": one.classes[1],
        "units": units_of(one),
        "n_positive": f"{one.n_units_positive:,}",
        "n_negative": f"{one.n_units_negative:,}",
        "min_units": f"{rule.min_units:,}",
        "floors": floors_of(rule),
        "values": "; ".join(standing_of(each, rule) for each in situation.evaluations),
        "margin": f"{rule.margin_auc:g}",
        "costs": COSTS.get(order.relation, "") if order else "",
        "range": " to ".join(f"{t:g}" for t in rule.net_benefit_range or ()),
    }
    if finding.pair is not None:
        words |= _words_of_pair(finding.pair, names, finding, one.classes[1])
    return SENTENCES[finding.kind].format(**words)


def _words_of_pair(
    pair: PairedComparison, names: Mapping[str, str], finding: Finding, positive: str
) -> dict[str, str]:
    sensitivity = pair.differences["sensitivity"].value
    lower = pair.candidate if sensitivity is not None and sensitivity < 0 else pair.reference
    higher = pair.reference if lower == pair.candidate else pair.candidate
    return {
        "reference": names[pair.reference],
        "candidate": names[pair.candidate],
        "other": names[pair.candidate if finding.model == pair.reference else pair.reference],
        "misses": names[lower],
        "finds": names[higher],
        "difference": told(pair, "auc", names),
        "sensitivity": told(pair, "sensitivity", names),
        "specificity": told(pair, "specificity", names),
        "risk": joined(
            [
                f"{RISKS[name].format(positive=positive)} ({told(pair, name, names)})"
                for name in finding.unproven
                if name in RISKS
            ]
        ),
    }


def told(pair: PairedComparison, name: str, names: Mapping[str, str]) -> str:
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
        e.g. ``AUC of B minus A: −0.012, 95 % interval −0.031 to +0.007``.
    """
    figure = "AUC" if name == "auc" else name
    difference = interval(pair.differences[name], signed=True)
    return f"{figure} of {names[pair.candidate]} minus {names[pair.reference]}: {difference}"


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """Value with its interval, e.g. ``0.910, 95 % interval 0.871 to 0.942``.

    Parameters
    ----------
    estimate : Estimate
        Any.
    signed : bool, default=False
        Print plus signs.

    Returns
    -------
    str
        "not computed" and why where there is no value; "no interval" and why where there
        is no interval.
    """
    if estimate.value is None:
        return f"not computed ({estimate.note})"
    sign = "+" if signed else ""
    text = _number(estimate.value, sign)
    if estimate.ci_low is None or estimate.ci_high is None or estimate.level is None:
        return f"{text} ({estimate.note or 'no interval'})"
    limits = f"{_number(estimate.ci_low, sign)} to {_number(estimate.ci_high, sign)}"
    return f"{text}, {100 * estimate.level:g} % interval {limits}"


def _number(value: float, sign: str) -> str:
    text = f"{value:{sign}.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "\u2212")


def floors_of(rule: DecideConfig) -> str:
    """What a model must reach on its own, e.g. ``an AUC of 0.7 and a sensitivity of 0.8``."""
    floors = [f"an AUC of {rule.auc_floor:g}"]
    if rule.sensitivity_floor is not None:
        floors.append(f"a sensitivity of {rule.sensitivity_floor:g}")
    if rule.specificity_floor is not None:
        floors.append(f"a specificity of {rule.specificity_floor:g}")
    return joined(floors)


def standing_of(one: ModelEvaluation, rule: DecideConfig) -> str:
    """The figures that the floors ask for, with their intervals."""
    figures = [("AUC", "auc")]
    if rule.sensitivity_floor is not None:
        figures.append(("sensitivity", "sensitivity"))
    if rule.specificity_floor is not None:
        figures.append(("specificity", "specificity"))
    told_figures = [f"{words} {interval(one.metrics[name])}" for words, name in figures]
    return f"{one.display_name}: {', '.join(told_figures)}"


def units_of(one: ModelEvaluation) -> str:
    """What is counted: patients where one has several cases, else cases."""
    return "patients" if one.clustered else "cases"


def joined(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def one_class_only(one: ModelEvaluation) -> str:
    """Reason: nothing can be told apart."""
    present, absent = (one.classes[1], one.classes[0]) if one.n_negative == 0 else one.classes
    return f"The test subset holds only {present} cases and no {absent} case."


def identical_scores(one: str, other: str) -> str:
    """Reason: probably the same checkpoint twice."""
    return f"{one} and {other} gave exactly the same score to every case: is it the same model twice?"


def below_chance(models: Sequence[ModelEvaluation]) -> str:
    """Reason: labels swapped, or no signal at all."""
    told_models = joined([f"{one.display_name} (AUC {interval(one.metrics['auc'])})" for one in models])
    return (
        f"{told_models} {'ranks' if len(models) == 1 else 'rank'} the cases worse than a coin toss: either the "
        "positive class is swapped, or there is no signal and this is chance. Nothing is flipped automatically."
    )


def shared_patients(n: int) -> str:
    """Reason: the threshold has seen patients of the test."""
    stand = "patient stands" if n == 1 else "patients stand"
    return f"{n:,} {stand} in both the validation and the test subset, so the test is not independent."


def same_scores_in_validation(models: Sequence[str]) -> str:
    """Reason: the threshold was chosen on the test cases under other names."""
    return (
        f"Labels and scores of {joined(models)} are the same in the validation and the test subset: the threshold was "
        "chosen on the test cases."
    )
