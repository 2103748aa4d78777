"""What stands around the verdict's sentence: reasons, caveats, separate lines, parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.stats.records import Outcome, Parameter, Verdict, VerdictLine
from medcompare.stats.sentences import (
    CHECKPOINT_ONLY,
    headline_of,
    interval,
    joined,
    sentence_of,
    told,
    units_of,
)

if TYPE_CHECKING:
    from medcompare.stats.cost_order import CostOrder
    from medcompare.stats.records import ModelEvaluation, PairedComparison, SeedComparison
    from medcompare.stats.verdict import Finding, Situation

NO_DEFAULT = "software default, not clinically justified"
CLINICAL = ("auc_floor", "margin_auc", "margin_sensitivity", "margin_specificity")
"""Parameters only a clinician can justify."""

SMALLEST_P = 0.001
RARE_SHARE = 0.2
"""Below this share of the rarer class accuracy flatters a model that never calls it."""

DISTURBING_CORES = 0.5
"""A convention: less than half a core is what a desktop and this software's own server use by the way."""

ONE_CASE_PER_PATIENT = (
    "No patient ids were given: every interval assumes one image per patient. With several images per patient the "
    "intervals would be too narrow."
)


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

    Returns
    -------
    Verdict
    """
    pair = finding.pair or (situation.comparisons[0] if len(situation.comparisons) == 1 else None)
    headline, sentence = headline_of(situation, finding), sentence_of(situation, finding, order)
    sensitive = _seed_sensitive(situation, finding)
    if sensitive is not None and finding.outcome is Outcome.USE_MODEL:
        headline += CHECKPOINT_ONLY
        sentence += " This holds for this checkpoint only: trained again, the order may be another."
    return Verdict(
        outcome=finding.outcome,
        step=finding.step,
        model=finding.model,
        provisional_favourite=favourite,
        reference=pair.reference if pair else None,
        candidate=pair.candidate if pair else None,
        headline=headline,
        sentence=sentence,
        reasons=()
        if finding.outcome is Outcome.INVALID
        else _reasons(situation, pair, order, favourite=favourite, needed=needed),
        caveats=_caveats(situation, sensitive, few_units=few_units),
        lines=_lines(situation, pair, order),
        positives_needed=needed,
        cheaper=order.cheaper if order else None,
        parameters=parameters(situation),
    )


def _seed_sensitive(s: Situation, finding: Finding) -> SeedComparison | None:
    """A pair the finding rests on, the order of which changes from seed to seed."""
    for each in s.seed_comparisons:
        ends = {each.reference, each.candidate}
        about = finding.pair is None or ends == {finding.pair.reference, finding.pair.candidate}
        if each.sensitive and about and (finding.model is None or finding.model in ends):
            return each
    return None


def _reasons(
    s: Situation,
    pair: PairedComparison | None,
    order: CostOrder | None,
    *,
    favourite: str | None,
    needed: int | None,
) -> tuple[str, ...]:
    found = [f"{one.display_name}: AUC {interval(one.metrics['auc'])}." for one in s.evaluations]
    if pair is not None:
        margins = (
            ("auc", s.rule.margin_auc),
            ("sensitivity", s.rule.margin_sensitivity),
            ("specificity", s.rule.margin_specificity),
        )
        for name, margin in margins:
            text = told(pair, name, s.names)
            found.append(f"{text[:1].upper()}{text[1:]}; a loss of up to {margin:g} is acceptable.")
        more = pair.probability_candidate_more_accurate
        if more.value is not None:
            found.append(
                f"Probability that {s.names[pair.candidate]} is right more often than {s.names[pair.reference]}: "
                f"{100 * more.value:.0f} %."
            )
    elif len(s.comparisons) > 1:
        found += [_adjusted_told(s, each) for each in s.comparisons]
    if order is not None:
        found.append(order.told(s.names))
    one = s.evaluations[0]
    if favourite is not None:
        best = "is the only model" if len(s.evaluations) == 1 else "has the highest AUC so far"
        found.append(f"If you must decide today: {s.names[favourite]} {best}. This is not proof.")
    if needed is not None:
        found.append(
            f"About {needed:,} {one.classes[1]} {units_of(one)} in the test subset would show with a probability of "
            f"80 % that the loss of sensitivity is below {s.rule.margin_sensitivity:g}, if there is none; there are "
            f"{one.n_units_positive:,}."
        )
    return tuple(found)


def _adjusted_told(s: Situation, pair: PairedComparison) -> str:
    text, p_value = told(pair, "auc", s.names), pair.p_values_adjusted.get("auc")
    adjusted = "p not computed"
    if p_value is not None:
        adjusted = "p below 0.001" if p_value < SMALLEST_P else f"p {p_value:.3f}"
    return (
        f"{text}; a loss of up to {s.rule.margin_auc:g} is acceptable ({adjusted}, allowing for "
        f"{len(s.comparisons)} comparisons)."
    )


def _caveats(s: Situation, sensitive: SeedComparison | None, *, few_units: bool) -> tuple[str, ...]:
    one = s.evaluations[0]
    negative, positive = one.classes
    # A collapsed or perfect model is said first: it overshadows every figure.
    found = [f"{each.display_name}: {warning}" for each in s.evaluations for warning in each.warnings]
    if not s.patients_known:
        found.append(ONE_CASE_PER_PATIENT)
    if sensitive is not None:
        found.append(_seeds_told(s, sensitive))
    found += _threshold_caveats(s)
    found += _load_caveats(s)
    if few_units:
        found.append(
            f"The test subset holds {one.n_units_positive:,} {positive} and {one.n_units_negative:,} {negative} "
            f"{units_of(one)}; 100 of each, better 200, are advised for a sound evaluation."
        )
    rarer, count = min(((positive, one.n_positive), (negative, one.n_negative)), key=lambda pair: pair[1])
    if 0 < count < RARE_SHARE * one.n:
        found.append(
            f"Only {100 * count / one.n:.1f} % of the test cases are {rarer}: never calling a case {rarer} would be "
            f"right in {100 * (1 - count / one.n):.1f} %, so accuracy says little here."
        )
    unset = [name for name in CLINICAL if f"decide.{name}" not in s.set_by_user]
    if unset:
        found.append(
            f"Not clinically justified but left at the software's defaults: {joined([WORDS_OF[n] for n in unset])}. A "
            "clinician must confirm or replace them."
        )
    return tuple(found)


WORDS_OF = {
    "auc_floor": "the required AUC",
    "margin_auc": "the acceptable loss of AUC",
    "margin_sensitivity": "the acceptable loss of sensitivity",
    "margin_specificity": "the acceptable loss of specificity",
}


def _threshold_caveats(s: Situation) -> list[str]:
    """Where thresholds came from other than by a rule on validation; equal causes are said once."""
    notes: dict[str, list[str]] = {}
    for each in s.evaluations:
        point = each.operating_point
        if point.note is not None:
            notes.setdefault(f"{point.note}.", []).append(each.display_name)
        elif point.chosen_on == "user":
            text = (
                "the threshold was given, not chosen here: if these test cases were used to find it, sensitivity and "
                "specificity are too good."
            )
            notes.setdefault(text, []).append(each.display_name)
    return [f"{joined(models)}: {note}" for note, models in notes.items()]


def _load_caveats(s: Situation) -> list[str]:
    """Where others were at work while times were measured; the order of two models may come from that."""
    loaded = {
        s.names[cost.model]: cost.other_load_cores
        for cost in s.costs
        if cost.model in s.names
        and cost.other_load_cores is not None
        and cost.other_load_cores > DISTURBING_CORES
    }
    if not loaded:
        return []
    cores = joined([f"{cores:.1f} ({name})" for name, cores in loaded.items()])
    text = (
        f"While times were measured, other programs kept processor cores busy: {cores} on average. The times may be "
        "too long, and not equally so: before they decide, measure them again on a quiet machine (cost.fresh)."
    )
    return [text]


def _seeds_told(s: Situation, seeds: SeedComparison) -> str:
    why = (
        "the sign of the difference in AUC changes between them"
        if seeds.sign_changes
        else "the mean difference in AUC is smaller than its spread between them"
    )
    return (
        f"Training-seed sensitive: over {len(seeds.seeds)} trainings of {s.names[seeds.reference]} and "
        f"{s.names[seeds.candidate]} {why} (mean {interval(seeds.mean, signed=True)}; standard deviation "
        f"{seeds.standard_deviation:.3f}). The verdict is about this checkpoint, not about the kind of network."
    )


def _lines(s: Situation, pair: PairedComparison | None, order: CostOrder | None) -> tuple[VerdictLine, ...]:
    discrimination = "; ".join(
        f"{one.display_name}: AUC {interval(one.metrics['auc'])}" for one in s.evaluations
    )
    if pair is not None:
        discrimination += f". {told(pair, 'auc', s.names)}"
    lines = [
        VerdictLine(topic="discrimination", text=f"{discrimination}."),
        VerdictLine(
            topic="operating point", text=" ".join(_operating_point(one, s) for one in s.evaluations)
        ),
        VerdictLine(topic="calibration", text=" ".join(_calibrated(one) for one in s.evaluations)),
    ]
    if order is not None:
        lines.append(VerdictLine(topic="cost", text=order.told(s.names)))
    return tuple(lines)


def _operating_point(one: ModelEvaluation, s: Situation) -> str:
    point, sensitivity = one.operating_point, one.metrics["sensitivity"]
    text = (
        f"{one.display_name} at threshold {point.threshold:.3f} ({point.rule}): sensitivity {interval(sensitivity)}, "
        f"specificity {interval(one.metrics['specificity'])}"
    )
    counts = one.confusion_at_half
    if counts is not None and point.threshold != HALF and one.n_positive and one.n_negative:
        text += (
            f"; at {HALF:g} they would be {counts.true_positive / one.n_positive:.3f} and "
            f"{counts.true_negative / one.n_negative:.3f}"
        )
    target = s.evaluate.target_sensitivity
    aimed = point.chosen_on == "validation" and s.evaluate.threshold_rule == "target_sensitivity"
    if aimed and sensitivity.ci_high is not None and sensitivity.ci_high < target:
        text += f". The sensitivity of {target:g} reached on validation is not held here: do not use this threshold"
    return f"{text}."


HALF = 0.5
"""The threshold of habit; shown for comparison only."""


def _calibrated(one: ModelEvaluation) -> str:
    if one.calibration is None:
        return (
            f"{one.display_name}: calibration cannot be judged, as the scores are not probabilities or a class is "
            "missing."
        )
    slope, shift = one.calibration.slope, one.calibration.in_the_large
    parts = []
    if slope.value is None:
        parts.append(f"the calibration slope is not estimable ({slope.note})")
    elif slope.ci_low is not None and slope.ci_high is not None and slope.ci_low <= 0 <= slope.ci_high:
        parts.append(f"probabilities show no relation to the truth (slope {interval(slope)})")
    elif slope.ci_high is not None and slope.ci_high < 0:
        parts.append(f"probabilities fall where the truth is positive (slope {interval(slope)})")
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
        "min_units": f"{rule.min_units:,}",
        "cost_metric": rule.cost_metric,
        "cost_tolerance": f"{100 * rule.cost_tolerance:g} %",
    }
    optional = {"sensitivity_floor": rule.sensitivity_floor, "specificity_floor": rule.specificity_floor}
    values |= {name: f"{value:g}" for name, value in optional.items() if value is not None}
    if rule.net_benefit_range is not None:
        values["net_benefit_range"] = f"{rule.net_benefit_range[0]:g} to {rule.net_benefit_range[1]:g}"
    rows = [(f"decide.{name}", name, value) for name, value in values.items()]
    rows.append(("evaluate.level", "level", f"{100 * s.evaluate.level:g} %"))
    return tuple(
        Parameter(name=name, value=value, set_by="user" if field in s.set_by_user else NO_DEFAULT)
        for field, name, value in rows
    )
