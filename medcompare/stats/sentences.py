"""The verdict in plain words: one sentence per outcome, written to be read aloud.

"No significant difference" never stands here without its margin and interval. Numbers
carry their intervals; jargon stays in the appendix of the report.

``python -m medcompare.stats.sentences`` prints every verdict, from real small cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.stats.records import Outcome, Parameter, Verdict, VerdictLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.stats.cost_order import CostOrder
    from medcompare.stats.records import Estimate, ModelEvaluation, PairedComparison
    from medcompare.stats.verdict import Finding, Situation

HEADLINES = {
    Outcome.INVALID: "No verdict: the comparison is not valid",
    Outcome.NOT_ENOUGH_DATA: "Not enough data to decide",
    Outcome.NEITHER_ADEQUATE: "No model is good enough",
    Outcome.USE_MODEL: "Use {model}",
    Outcome.PREFER_CHEAPER: "No relevant difference: prefer {model}",
    Outcome.CHOOSE_BY_COST: "No relevant difference: choose by cost",
}

SENTENCES = {
    "invalid": "No recommendation can be made: {extra}",
    "few_units": (
        "There are too few {units} to compare models: {n_positive} {positive} and {n_negative} {negative} in the test "
        "subset; the rule asks for at least {min_units} of each before it says anything."
    ),
    "neither": (
        "No model reaches the required AUC of {floor}: {aucs}. Do not use them; look at the data, the labels and the "
        "training first."
    ),
    "unproven": (
        "No model has yet proven an AUC above {floor}: {aucs}. That may be promising, but these data cannot show it; "
        "more cases are needed."
    ),
    "only_adequate": "Use {model}: it is the only model shown to exceed the required AUC of {floor} ({aucs}).",
    "single_model": "{model} exceeds the required AUC of {floor} ({aucs}); there was no second model to compare it with.",
    "worse_by_margin": (
        "Use {model}: {other} is cheaper, but its AUC is lower by more than the acceptable {margin} ({difference})."
    ),
    "better_and_cheaper": "Use {model}: it is more accurate than {other} ({difference}) and cheaper.",
    "cheaper": (
        "Prefer {model}: it is cheaper, and its AUC is not lower than that of {other} by more than the acceptable "
        "{margin} ({difference})."
    ),
    "cheaper_but_slightly_worse": (
        "Prefer {model}: it is cheaper, and although {other} is measurably more accurate, the loss is smaller than the "
        "acceptable {margin} ({difference})."
    ),
    "operating_points": (
        "The two models cannot be compared at their present thresholds: {candidate} misses more {positive} cases but "
        "raises fewer false alarms. Choose both thresholds again for the same sensitivity, then compare."
    ),
    "net_benefit": (
        "Use {model}: over the threshold probabilities you declared it does more good than {other}, although the two "
        "models trade missed cases against false alarms."
    ),
    "misses_more": (
        "Use {model}: the AUC of {other} is acceptable ({difference}), but at its threshold {other} misses more "
        "{positive} cases without raising fewer false alarms (difference in sensitivity {sensitivity})."
    ),
    "sensitivity_unproven": (
        "It is not proven that {candidate} finds as many {positive} cases as {reference}: its AUC is not lower by more "
        "than the acceptable {margin} ({difference}), but its sensitivity or specificity may be (differences "
        "{sensitivity} and {specificity})."
    ),
    "better_not_shown_equal": (
        "Use {model}: it is more accurate than {other} ({difference}), and {other} was not shown to stay within the "
        "acceptable loss of {margin}."
    ),
    "better": "Use {model}: it is more accurate than {other} ({difference}), and neither model is clearly cheaper.",
    "choose_by_cost": (
        "The two models differ by less than the acceptable {margin} in AUC ({difference}), and neither is cheaper in "
        "every respect: choose by the cost that matters to you."
    ),
    "cannot_tell": (
        "These data cannot tell the models apart: the difference in AUC is {difference}, while a loss of up to {margin} "
        "would be acceptable."
    ),
    "candidate_unproven": (
        "{extra} is cheaper and its AUC is close to that of {reference} ({difference}), but it has not proven an AUC above "
        "{floor} on its own: more cases are needed."
    ),
    "better_but_unproven": (
        "{extra} looks like the better model ({difference}), but it has not proven an AUC above {floor} on its own: more "
        "cases are needed."
    ),
    "cannot_tell_several": (
        "These data cannot tell the models apart: no model is better than all others, and none is shown to stay within "
        "{margin} of the best, once the number of comparisons is allowed for ({aucs})."
    ),
    "choose_by_cost_several": (
        "{chosen} do not differ by more than the acceptable {margin} in AUC, and none of them is the cheapest in every "
        "respect: choose by the cost that matters to you ({aucs})."
    ),
    "cheapest_of_several": (
        "Prefer {model}: it is the cheapest of those whose AUC is within the acceptable {margin} of the best ({chosen}; "
        "{aucs})."
    ),
    "best_of_several": (
        "Use {model}: it is more accurate than every other model, also when the number of comparisons is allowed for "
        "({aucs})."
    ),
}

NO_DEFAULT = "software default, not clinically justified"


def worded(
    situation: Situation,
    finding: Finding,
    *,
    order: CostOrder | None,
    favourite: str | None,
    needed: int | None,
    few_units: bool,
) -> Verdict:
    """The verdict of `finding` in words.

    Parameters
    ----------
    situation : Situation
        What the rule looked at.
    finding : Finding
        What it found.
    order : CostOrder or None
        Costs of the pair, where there is one.
    favourite : str or None
        Best point estimate, where the data cannot tell.
    needed : int or None
        Positives needed to show non-inferior sensitivity.
    few_units : bool
        Whether a class has fewer cases than a sound evaluation asks for.
    """
    names = situation.names
    pair = finding.pair or (situation.comparisons[0] if len(situation.comparisons) == 1 else None)
    words = _words(situation, finding, pair)
    model = None if finding.model is None else names[finding.model]
    headline = HEADLINES[finding.outcome].format(model=model)
    if finding.kind == "single_model":
        headline = f"{model} is good enough"
    return Verdict(
        outcome=finding.outcome,
        step=finding.step,
        model=finding.model,
        provisional_favourite=favourite,
        reference=pair.reference if pair else None,
        candidate=pair.candidate if pair else None,
        headline=headline,
        sentence=SENTENCES[finding.kind].format(**words),
        reasons=_reasons(situation, pair, order, favourite, needed, finding),
        caveats=_caveats(situation, few_units=few_units),
        lines=_lines(situation, pair, order),
        positives_needed=needed if finding.outcome is Outcome.NOT_ENOUGH_DATA else None,
        cheaper=order.cheaper if order else None,
        parameters=parameters(situation),
    )


def _words(s: Situation, finding: Finding, pair: PairedComparison | None) -> dict[str, str]:
    one, names = s.evaluations[0], s.names
    negative, positive = one.classes
    words = {
        "extra": names.get(finding.extra, finding.extra),
        "chosen": _joined([names[model] for model in finding.extra.split(",") if model in names]),
        "model": names.get(finding.model or "", ""),
        "positive": positive,
        "negative": negative,
        "units": "patients" if one.clustered else "cases",
        "n_positive": str(one.n_units_positive),
        "n_negative": str(one.n_units_negative),
        "min_units": str(s.rule.min_units),
        "floor": f"{s.rule.auc_floor:g}",
        "margin": f"{s.rule.margin_auc:g}",
        "aucs": "; ".join(f"{each.display_name} {interval(each.metrics['auc'])}" for each in s.evaluations),
    }
    if pair is not None:
        words |= {
            "reference": names[pair.reference],
            "candidate": names[pair.candidate],
            "other": names[pair.candidate if finding.model == pair.reference else pair.reference],
            "difference": _told(s, pair, "auc"),
            "sensitivity": interval(pair.differences["sensitivity"], signed=True),
            "specificity": interval(pair.differences["specificity"], signed=True),
        }
    return words


def _told(s: Situation, pair: PairedComparison, name: str) -> str:
    a, b = s.names[pair.reference], s.names[pair.candidate]
    return f"{b} minus {a}: {interval(pair.differences[name], signed=True)}"


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """Value with its interval, e.g. ``0.91 (95 % interval 0.87 to 0.94)``."""
    if estimate.value is None:
        return f"not computed ({estimate.note})"
    sign = "+" if signed else ""
    text = f"{estimate.value:{sign}.3f}"
    if estimate.ci_low is None or estimate.ci_high is None or estimate.level is None:
        return text
    limits = f"{estimate.ci_low:{sign}.3f} to {estimate.ci_high:{sign}.3f}"
    return f"{text}, {estimate.level:.0%} interval {limits}".replace("%", " %").replace("-", "\u2212")


def _reasons(
    s: Situation,
    pair: PairedComparison | None,
    order: CostOrder | None,
    favourite: str | None,
    needed: int | None,
    finding: Finding,
) -> tuple[str, ...]:
    found = [f"{one.display_name}: AUC {interval(one.metrics['auc'])}." for one in s.evaluations]
    if pair is not None:
        found.append(
            f"Difference in AUC, {_told(s, pair, 'auc')}; a loss of up to {s.rule.margin_auc:g} is acceptable."
        )
        for name, margin in (
            ("sensitivity", s.rule.margin_sensitivity),
            ("specificity", s.rule.margin_specificity),
        ):
            found.append(
                f"Difference in {name}, {_told(s, pair, name)}; a loss of up to {margin:g} is acceptable."
            )
    if order is not None:
        found.append(order.text.format(**s.names))
    if favourite is not None:
        found.append(
            f"If you must decide today: {s.names[favourite]} has the highest AUC so far. This is not proof."
        )
    if needed is not None and finding.outcome is Outcome.NOT_ENOUGH_DATA:
        positive = s.evaluations[0].classes[1]
        found.append(
            f"About {needed:,} {positive} {'patients' if s.evaluations[0].clustered else 'cases'} in the test subset would "
            f"show with 80 % probability that the sensitivities differ by less than {s.rule.margin_sensitivity:g}, if they "
            f"are truly equal; there are {s.evaluations[0].n_units_positive}."
        )
    return tuple(found)


def _caveats(s: Situation, *, few_units: bool) -> tuple[str, ...]:
    one = s.evaluations[0]
    found: list[str] = []
    for each in s.evaluations:
        found.extend(f"{each.display_name}: {warning}" for warning in each.warnings)
        note = each.operating_point.note
        if note is not None:
            found.append(f"{each.display_name}: {note}.")
    if few_units:
        found.append(
            f"The test subset holds {one.n_units_positive} {one.classes[1]} and {one.n_units_negative} {one.classes[0]} "
            f"{'patients' if one.clustered else 'cases'}; 100 of each, better 200, are advised for a sound evaluation."
        )
    if s.seed_sensitive is not None:
        found.append(s.seed_sensitive)
    user = [name for name in ("margin_auc", "auc_floor") if f"decide.{name}" in s.set_by_user]
    if len(user) < 2:
        found.append(
            "The margin and the floor are software defaults; a clinician must confirm or replace them."
        )
    return tuple(found)


def _lines(s: Situation, pair: PairedComparison | None, order: CostOrder | None) -> tuple[VerdictLine, ...]:
    discrimination = "; ".join(
        f"{one.display_name}: AUC {interval(one.metrics['auc'])}" for one in s.evaluations
    )
    if pair is not None:
        discrimination += f". {_told(s, pair, 'auc')}"
    points = "; ".join(
        f"{one.display_name} at threshold {one.operating_point.threshold:.3f} ({one.operating_point.rule}): sensitivity "
        f"{interval(one.metrics['sensitivity'])}, specificity {interval(one.metrics['specificity'])}"
        for one in s.evaluations
    )
    lines = [
        VerdictLine(topic="discrimination", text=f"{discrimination}."),
        VerdictLine(topic="operating point", text=f"{points}."),
        VerdictLine(topic="calibration", text=" ".join(_calibrated(one) for one in s.evaluations)),
    ]
    if order is not None:
        lines.append(VerdictLine(topic="cost", text=order.text.format(**s.names)))
    return tuple(lines)


def _calibrated(one: ModelEvaluation) -> str:
    if one.calibration is None:
        return f"{one.display_name}: calibration cannot be judged, the scores are not probabilities or one class is missing."
    slope, shift = one.calibration.slope, one.calibration.in_the_large
    parts = []
    if slope.value is None:
        parts.append(f"its slope is {slope.note or 'undefined'}")
    elif slope.ci_high is not None and slope.ci_high < 1:
        parts.append(f"probabilities are too extreme (slope {interval(slope)})")
    elif slope.ci_low is not None and slope.ci_low > 1:
        parts.append(f"probabilities are too timid (slope {interval(slope)})")
    if shift.ci_low is not None and shift.ci_high is not None and not shift.ci_low <= 0 <= shift.ci_high:
        parts.append(f"probabilities are too {'low' if shift.ci_low > 0 else 'high'} on average")
    if not parts:
        return f"{one.display_name}: no miscalibration shown (slope {interval(slope)})."
    return f"{one.display_name}: {' and '.join(parts)}; do not read its output as a probability."


def parameters(s: Situation) -> tuple[Parameter, ...]:
    """Parameters of the rule, and who set them."""
    rule = s.rule
    values = {
        "auc_floor": f"{rule.auc_floor:g}",
        "margin_auc": f"{rule.margin_auc:g}",
        "margin_sensitivity": f"{rule.margin_sensitivity:g}",
        "margin_specificity": f"{rule.margin_specificity:g}",
        "guard": rule.guard,
        "min_units": str(rule.min_units),
        "cost_metric": rule.cost_metric,
        "cost_tolerance": f"{rule.cost_tolerance:.0%}".replace("%", " %"),
    }
    optional = {"sensitivity_floor": rule.sensitivity_floor, "specificity_floor": rule.specificity_floor}
    values |= {name: f"{value:g}" for name, value in optional.items() if value is not None}
    if rule.net_benefit_range is not None:
        values["net_benefit_range"] = f"{rule.net_benefit_range[0]:g} to {rule.net_benefit_range[1]:g}"
    return tuple(
        Parameter(name=name, value=value, set_by="user" if f"decide.{name}" in s.set_by_user else NO_DEFAULT)
        for name, value in values.items()
    )


def one_class_only(one: ModelEvaluation) -> str:
    """Reason: nothing can be discriminated."""
    present, absent = (one.classes[1], one.classes[0]) if one.n_negative == 0 else one.classes
    return f"the test subset holds only {present} cases and no {absent} case."


def identical_scores(one: str, other: str) -> str:
    """Reason: probably the same checkpoint twice."""
    return f"{one} and {other} gave exactly the same score to every case: is it the same model twice?"


def below_chance(one: ModelEvaluation) -> str:
    """Reason: labels swapped, or no signal at all."""
    return (
        f"the AUC of {one.display_name} is below 0.5 ({interval(one.metrics['auc'])}): either the positive class is "
        "swapped, or there is no signal and this is chance. Nothing is flipped automatically."
    )


def shared_patients(n: int) -> str:
    """Reason: the threshold has seen patients of the test."""
    return f"{n} {'patient stands' if n == 1 else 'patients stand'} in both the validation and the test file."


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
