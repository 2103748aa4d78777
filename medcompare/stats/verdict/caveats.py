"""Warnings beside a verdict: data, training, thresholds, costs and who set the rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import join_words
from medcompare.base.language import localised, message, t, tn
from medcompare.predictions.costs import FEWEST_PASSES
from medcompare.stats.records import ModelUse
from medcompare.stats.verdict.cost_order import COST_WORDS, equivalents_text, too_few
from medcompare.stats.verdict.criteria import proves_nothing
from medcompare.stats.verdict.phrases import FIGURE_NAMES, interval, units_of

if TYPE_CHECKING:
    from medcompare.config.schema import EvaluateConfig
    from medcompare.stats.records import Estimate, ModelEvaluation, SeedComparison, ThresholdUse
    from medcompare.stats.verdict.situation import Situation

CLINICAL = ("auc_floor", "margin_auc", "margin_sensitivity", "margin_specificity")
"""Parameters only a clinician can justify."""

VALIDATION_REACH = 0.10
"""A convention: twice the customary loss of sensitivity. Below about 50 cases an interval reaches further."""

RARE_SHARE = 0.2
"""Below this share of the rarer class accuracy flatters a model that never predicts it."""

ONE_CASE_PER_PATIENT = message(
    "No patient ids were given: every interval assumes one image per patient. With several images per patient the "
    "intervals would be too narrow."
)


def caveats_of(s: Situation, sensitive: SeedComparison | None, *, few_units: bool) -> tuple[str, ...]:
    """All caveats, what overshadows the rest first.

    Parameters
    ----------
    s : Situation
        What the rule looked at.
    sensitive : SeedComparison or None
        A pair the verdict rests on, the order of which changes from seed to seed.
    few_units : bool
        Whether a class has fewer cases than a sound evaluation asks for.

    Returns
    -------
    tuple of str
        Sentences.
    """
    one = s.evaluations[0]
    negative, positive = one.classes
    # Said once: where nothing is left to compare, the verdict itself names the reasons.
    found = [] if s.nothing_to_compare else list(s.left_out.values())
    found += _training_caveats(s)
    # A collapsed or perfect model is said before the rest: it overshadows every figure.
    found += [f"{each.display_name}: {warning}" for each in s.usable for warning in each.warnings]
    found += use_caveats(s)
    if not s.patients_known:
        found.append(t(ONE_CASE_PER_PATIENT))
    if sensitive is not None:
        found.append(_seeds_text(s, sensitive))
    found += threshold_caveats(s)
    found += _validation_caveats(s)
    found += cost_remarks(s)
    if few_units:
        found.append(
            t(
                "The test subset holds {n_positive:,} {positive} and {n_negative:,} {negative} {units}; 100 of each, "
                "better 200, are advised for a sound evaluation.",
                n_positive=one.n_units_positive,
                positive=positive,
                n_negative=one.n_units_negative,
                negative=negative,
                units=units_of(one),
            )
        )
    rarer, count = min(((positive, one.n_positive), (negative, one.n_negative)), key=lambda pair: pair[1])
    if 0 < count < RARE_SHARE * one.n:
        found.append(
            t(
                "Only {percent:.1f}% of the test cases are {rarer}: never predicting {rarer} would be right in "
                "{others:.1f}%, so accuracy says little here.",
                percent=100 * count / one.n,
                rarer=rarer,
                others=100 * (1 - count / one.n),
            )
        )
    unset = [name for name in CLINICAL if f"decide.{name}" not in s.set_by_user]
    if unset:
        found.append(
            t(
                "Left at the software's defaults, which have no clinical justification: {parameters}. A clinician must "
                "confirm or replace them.",
                parameters=join_words(t(WORDS_OF[name]) for name in unset),
            )
        )
    return tuple(found)


WORDS_OF = {
    "auc_floor": message("the required AUC"),
    "margin_auc": message("the acceptable loss of AUC"),
    "margin_sensitivity": message("the acceptable loss of sensitivity"),
    "margin_specificity": message("the acceptable loss of specificity"),
}


def threshold_caveats(s: Situation) -> list[str]:
    """Where thresholds came from other than by a rule on validation; equal causes are said once."""
    notes: dict[str, list[str]] = {}
    for each in s.evaluations:
        point = each.operating_point
        if point.note is not None:
            notes.setdefault(f"{point.note}.", []).append(each.display_name)
        elif point.chosen_on == "user":
            text = t(
                "the threshold was given, not chosen here: if these test cases were used to find it, sensitivity and "
                "specificity are too good."
            )
            notes.setdefault(text, []).append(each.display_name)
    return [f"{join_words(models)}: {note}" for note, models in notes.items()]


def not_held(one: ModelEvaluation, evaluate: EvaluateConfig) -> bool:
    """Whether the sensitivity that a threshold was chosen for on validation is shown to be lower on the test subset.

    True where the upper limit of the sensitivity is below ``evaluate.target_sensitivity``.
    """
    aimed = one.operating_point.chosen_on == "validation" and evaluate.threshold_rule == "target_sensitivity"
    high = one.metrics["sensitivity"].ci_high
    return aimed and high is not None and high < evaluate.target_sensitivity


def target_words(one: ModelEvaluation, evaluate: EvaluateConfig) -> str:
    """The sensitivity that a threshold was chosen for: it may have been out of reach on validation already."""
    target = evaluate.target_sensitivity
    if one.operating_point.reached:
        return t("the sensitivity of {target:g} reached on validation", target=target)
    return t("the sensitivity of {target:g} aimed at on validation", target=target)


SHOWN = {
    "show no relation to the truth": message("show no relation to the truth (slope {figure})"),
    "fall where the truth is positive": message("fall where the truth is positive (slope {figure})"),
    "are over-confident": message("are over-confident (slope {figure})"),
    "are under-confident": message("are under-confident (slope {figure})"),
    "are too low on average": message("are too low on average (calibration-in-the-large {figure})"),
    "are too high on average": message("are too high on average (calibration-in-the-large {figure})"),
}
"""What may be wrong with probabilities, as `ModelUse.miscalibration` holds it, and with the figure that shows it."""

UNFIT = message("Do not read these outputs as probabilities: {models}.")


def _faults(one: ModelEvaluation) -> dict[str, str]:
    """What is shown to be wrong with a model's probabilities, of `SHOWN`, and the figure that shows it."""
    if one.calibration is None:
        return {}
    slope, shift = one.calibration.slope, one.calibration.in_the_large
    found = {}
    if slope.ci_low is not None and slope.ci_high is not None:
        figure = interval(slope)
        if slope.ci_low <= 0 <= slope.ci_high:
            found["show no relation to the truth"] = figure
        elif slope.ci_high < 0:
            found["fall where the truth is positive"] = figure
        elif slope.ci_high < 1:
            found["are over-confident"] = figure
        elif slope.ci_low > 1:
            found["are under-confident"] = figure
    if shift.ci_low is not None and shift.ci_high is not None and not shift.ci_low <= 0 <= shift.ci_high:
        direction = "low" if shift.ci_low > 0 else "high"
        found[f"are too {direction} on average"] = interval(shift, signed=True)
    return found


def miscalibration(one: ModelEvaluation) -> tuple[str, ...]:
    """What is shown to be wrong with a model's probabilities, with its numbers; empty where nothing is.

    Each part ends a sentence that begins with "probabilities".
    """
    return tuple(t(SHOWN[fault], figure=figure) for fault, figure in _faults(one).items())


def use_of(one: ModelEvaluation, evaluate: EvaluateConfig) -> ModelUse:
    """Whether a model's threshold and its probabilities may be used: the first that speaks against it."""
    point = one.operating_point
    threshold: ThresholdUse = "usable"
    if point.chosen_on == "convention":
        threshold = "convention"
    elif proves_nothing(one) is not None:
        threshold = "one class"
    elif point.chosen_on == "user":
        threshold = "given"
    elif point.chosen_on == "fixed":
        threshold = "fixed"
    elif not_held(one, evaluate):
        threshold = "not held"
    elif not point.reached:
        threshold = "not reached"
    elif _few_on_validation(one, evaluate):
        threshold = "few validation cases"
    known = one.calibration is not None and any(
        estimate.ci_low is not None for estimate in (one.calibration.slope, one.calibration.in_the_large)
    )
    unfit = tuple(_faults(one)) if known else None
    return ModelUse(model=one.model, threshold=threshold, miscalibration=unfit)


def use_caveats(s: Situation) -> list[str]:
    """What must not be done with a model whatever the verdict: its threshold, its scores as probabilities."""
    lost: dict[str, list[str]] = {}
    for one in s.usable:
        if not_held(one, s.evaluate):
            text = f"{one.display_name} ({interval(one.metrics['sensitivity'])})"
            lost.setdefault(target_words(one, s.evaluate), []).append(text)
    found = [
        tn(
            "Do not use this threshold: {target} is not held on the test subset by {models}.",
            "Do not use these thresholds: {target} is not held on the test subset by {models}.",
            len(models),
            target=target,
            models=join_words(models),
        )
        for target, models in lost.items()
    ]
    unfit = [
        t("those of {model} {faults}", model=one.display_name, faults=join_words(parts))
        for one in s.usable
        if (parts := miscalibration(one))
    ]
    if unfit:
        found.append(t(UNFIT, models="; ".join(unfit)))
    return found


def _training_caveats(s: Situation) -> list[str]:
    """Networks that had not finished learning: more training may change what they can do."""
    return [
        t(
            "{model} had not finished learning, and its figures and its place may change with longer training. {why}",
            model=s.names[model],
            why=why,
        )
        for model, why in s.unfinished().items()
    ]


def _validation_caveats(s: Situation) -> list[str]:
    """Thresholds chosen on few cases: what was reached there may not be reached again."""
    found = []
    for each in s.usable:
        for name, estimate in _few_on_validation(each, s.evaluate).items():
            of_class = each.classes[1] if name == "sensitivity" else each.classes[0]
            found.append(
                t(
                    "{model}: its threshold comes from {n:,} {label} validation cases, with a {figure} of {value} "
                    "there. Choose it on more cases before relying on it.",
                    model=each.display_name,
                    n=estimate.n,
                    label=of_class,
                    figure=t(FIGURE_NAMES[name]),
                    value=interval(estimate),
                )
            )
    return found


def _few_on_validation(one: ModelEvaluation, evaluate: EvaluateConfig) -> dict[str, Estimate]:
    """What the threshold was chosen by on validation, where its interval reaches far down."""
    point, found = one.operating_point, {}
    known = {"sensitivity": point.validation_sensitivity, "specificity": point.validation_specificity}
    for name in {"target_sensitivity": ("sensitivity",)}.get(evaluate.threshold_rule, tuple(known)):
        estimate = known[name]
        if estimate is None or estimate.value is None or estimate.n is None:
            continue
        # Without an interval, as from a single patient, nothing at all is known.
        reach = 1.0 if estimate.ci_low is None else estimate.value - estimate.ci_low
        if reach > VALIDATION_REACH:
            found[name] = estimate
    return found


def cost_remarks(s: Situation) -> tuple[str, ...]:
    """Sentences on costs: other implementations, and why the times may not be those of a quiet machine."""
    costs = [cost for cost in s.costs if cost.model in s.names]
    loaded = [
        f"{localised(f'{cost.other_load_cores:.1f}')} ({s.names[cost.model]})"
        for cost in costs
        if cost.disturbed
    ]
    short = [f"{s.names[cost.model]}, {join_words(cost.cut_short)}" for cost in costs if cost.cut_short]
    few = [s.names[cost.model] for cost in costs if too_few(cost, s.rule.cost_metric)]
    doubts = []
    if loaded:
        doubts.append(
            t(
                "While costs were measured, other programs kept processor cores busy (disturbed): {cores} on average; "
                "times may be too long.",
                cores=join_words(loaded),
            )
        )
    if short:
        doubts.append(
            t("There was no time (cost.budget_s) for all that was planned: {done}.", done="; ".join(short))
        )
    if few:
        doubts.append(
            t(
                "With fewer than {n} passes the {cost} of {models} has no 95% interval, and is not used to call a "
                "model cheaper.",
                n=FEWEST_PASSES,
                cost=t(COST_WORDS[s.rule.cost_metric]),
                models=join_words(few),
            )
        )
    if doubts:
        doubts.append(
            t(
                "Measure again on a quiet machine before costs decide (cost.fresh=true; until then these are reused)."
            )
        )
    return (*equivalents_text(costs, s.rule, s.names), *([" ".join(doubts)] if doubts else []))


def _seeds_text(s: Situation, seeds: SeedComparison) -> str:
    why = (
        t("the sign of the difference in AUC changes between them")
        if seeds.sign_changes
        else t("the mean difference in AUC is smaller than its spread between them")
    )
    return t(
        "Training-seed sensitive: over {n} trainings of {reference} and {candidate} {why} (mean {mean}; standard "
        "deviation {spread:.3f}). Which of the two is better depends on the training: the verdict is about the kind of "
        "network on average, not about one checkpoint.",
        n=len(seeds.seeds),
        reference=s.names[seeds.reference],
        candidate=s.names[seeds.candidate],
        why=why,
        mean=interval(seeds.mean, signed=True),
        spread=seeds.standard_deviation,
    )
