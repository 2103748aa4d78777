"""Facts on evaluation: threshold, measures, inference, performance and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    format_estimate,
    format_level,
    format_number,
    format_percent,
    format_time,
    join_words,
)
from medcompare.base.language import message, t, tn
from medcompare.report.checklists.facts import (
    Answer,
    RunRecords,
    counted,
    digest,
    fact,
    measure,
    methods_of,
    metrics_of,
    subgroup_sizes,
    test_counts,
)
from medcompare.report.inputs import PAIR
from medcompare.report.vocabulary import format_patients

if TYPE_CHECKING:
    from medcompare.stats.records import AgreementTable

CRITERIA = (
    ("auc", message("AUC")),
    ("sensitivity", message("sensitivity")),
    ("specificity", message("specificity")),
)
ORIGINS = {
    "validation": message("chosen on the validation subset"),
    "user": message("given by the user"),
    "fixed": message("a fixed value of the configuration"),
    "convention": message("a convention, for want of validation cases"),
}

SET_BY: dict[str, str] = {
    "user": message("user"),
    "software default, not clinically justified": message("software default, not clinically justified"),
}


@fact(message("the size of the test subset"))
def test_size(run: RunRecords) -> Answer:
    """Size of the test subset, the precision it gave, and the size a verdict needs."""
    parts = [t("Test subset: {cases}.", cases=test_counts(run))]
    for evaluation in run.assessment.evaluations:
        auc = evaluation.metrics.get("auc")
        if auc is not None and auc.ci_low is not None and auc.ci_high is not None:
            parts.append(f"{evaluation.display_name}: AUC {format_estimate(auc)}.")
    return Answer(text=" ".join([*parts, *(size.sentence for size in run.assessment.verdict.sizes_needed)]))


@fact(message("the thresholds"))
def threshold(run: RunRecords) -> Answer:
    """Value, rule and origin of each threshold."""
    parts, missing = [], []
    for evaluation in run.assessment.evaluations:
        point = evaluation.operating_point
        on_validation = point.chosen_on == "validation"
        origin = t(ORIGINS[point.chosen_on])
        if on_validation and not point.reached:
            origin = t("{origin}, target not reached", origin=origin)
        parts.append(
            t(
                "{model}: positive at {threshold} or more ({rule}; {origin})",
                model=evaluation.display_name,
                threshold=format_number(point.threshold),
                rule=point.rule,
                origin=origin,
            )
        )
        if point.chosen_on == "user":
            missing.append(t("where the thresholds given by the user came from"))
        elif on_validation and not run.trained:
            missing.append(t("whether the rule was chosen before the test predictions were looked at"))
    rule = t(
        "Rule from the configuration with SHA-256 {digest}, run started {time}.",
        digest=digest(run.provenance.config_sha256),
        time=format_time(run.provenance.started_at),
    )
    return Answer(
        text=f"{'; '.join(parts)}. {_applied(run)} {rule}", missing="; ".join(dict.fromkeys(missing))
    )


def _applied(run: RunRecords) -> str:
    """How often the test subset saw the thresholds, as far as it is known."""
    if run.n_earlier_looks:
        return tn(
            "The same test {cases} had been evaluated in {n:,} earlier run.",
            "The same test {cases} had been evaluated in {n:,} earlier runs.",
            run.n_earlier_looks,
            cases=run.cases,
        )
    chosen = {evaluation.operating_point.chosen_on for evaluation in run.assessment.evaluations}
    if chosen == {"validation"} and run.trained:
        return t("Frozen, then applied once to the test subset.")
    return t("Applied unchanged to the test subset; whether it had been looked at before is not known.")


@fact(message("the measures of performance"))
def metrics(run: RunRecords) -> Answer:
    """Measures and plots, and why."""
    evaluations = run.assessment.evaluations
    computed = dict.fromkeys(
        measure(key) for e in evaluations for key, value in e.metrics.items() if value.value is not None
    )
    plots = [t("ROC and precision-recall curves"), t("confusion matrices")]
    plots += [t("calibration curves")] if any(e.calibration is not None for e in evaluations) else []
    plots += [t("decision curves")] if any(e.decision_curve is not None for e in evaluations) else []
    return Answer(
        text=t(
            "Measures: {measures}. Plots: {plots}. The AUC decides because it depends on no threshold; "
            "sensitivity and specificity guard the point of use; accuracy and F1 are descriptive only, as "
            "both change with the share of positives or ignore true negatives.",
            measures=", ".join(computed),
            plots=join_words(plots),
        )
    )


@fact(message("how uncertainty was assessed"))
def inference(run: RunRecords) -> Answer:
    """Intervals, tests, resampling, clusters, margins and multiplicity."""
    one = run.assessment
    single = methods_of((key, value) for e in one.evaluations for key, value in e.metrics.items())
    parts = [t("Two-sided {level} intervals: {methods}.", level=format_level(one.level), methods=single)]
    if run.pair is not None:
        paired = methods_of(run.pair.differences.items())
        parts.append(t("Paired differences on the same {cases}: {methods}.", cases=run.cases, methods=paired))
    parts += [
        t("{n_resamples:,} bootstrap resamples, seed {seed}.", n_resamples=one.n_resamples, seed=one.seed),
        format_patients(one),
    ]
    rule: dict[str, list[str]] = {}
    for row in one.verdict.parameters:
        rule.setdefault(row.set_by, []).append(f"{row.name} {row.value}")
    if rule:
        set_by = [f"{join_words(rows)} ({t(SET_BY[who])})" for who, rows in rule.items()]
        parts.append(t("Decision rule: {parameters}.", parameters="; ".join(set_by)))
    if len(one.models) > PAIR:
        parts.append(t("{n} pairs, p-values adjusted by Holm.", n=len(one.comparisons)))
    return Answer(text=" ".join(parts))


@fact(message("analyses of robustness: several training seeds, or subgroups"))
def robustness(run: RunRecords) -> Answer | None:
    """Training seeds and subgroups, where the run has them."""
    parts = []
    for model in run.assessment.models:
        rows = [row.auc.value for row in run.assessment.seeds if row.model == model]
        if values := [value for value in rows if value is not None]:
            parts.append(
                t(
                    "{model}: AUC {low} to {high} over {n} training seeds.",
                    model=run.name(model),
                    low=format_number(min(values)),
                    high=format_number(max(values)),
                    n=len(rows),
                )
            )
    if groups := subgroup_sizes(run):
        parts.append(t("Performance in subgroups of the test subset, exploratory: {groups}.", groups=groups))
    return Answer(text=" ".join(parts)) if parts else None


@fact(message("how decisions were explained"))
def explanations(run: RunRecords) -> Answer | None:
    """Maps of the misclassified cases, and whether they depend on what was learned."""
    parts = [
        t(
            "{model}: networks with random weights give {share} of the variation of its maps.",
            model=run.name(one.model),
            share=format_percent(one.random_share_median, digits=0),
        )
        if one.readable
        else t(
            "{model}: networks with random weights give {share} of the variation of its maps, which are therefore not "
            "shown.",
            model=run.name(one.model),
            share=format_percent(one.random_share_median, digits=0),
        )
        for one in run.saliency
        if one.random_share_median is not None
    ]
    if not parts:
        return None
    what = t(
        "Maps of the evidence in misclassified cases (Grad-CAM, {library}), checked by making all weights random "
        "(Adebayo et al. 2018).",
        library=run.saliency[0].library,
    )
    return Answer(text=" ".join([what, *parts]))


@fact(message("performance by subgroup"))
def subgroups(run: RunRecords) -> Answer | None:
    """Performance by subgroup, where asked for."""
    groups = subgroup_sizes(run)
    if not groups:
        return None
    section = t("Errors and subgroups")
    text = t("Performance is shown {groups}; section \u201c{section}\u201d.", groups=groups, section=section)
    return Answer(text=text)


@fact(message("whether the models were recalibrated"))
def recalibration(run: RunRecords) -> Answer | None:
    """Whether predictions were recalibrated, and how they are calibrated then."""
    known = [(e.display_name, e.calibration) for e in run.assessment.evaluations if e.calibration is not None]
    changed = [
        t(
            "{name}: {recalibration} recalibration, fitted on the validation subset only; calibration slope "
            "on the test subset then {slope}",
            name=name,
            recalibration=t(c.recalibration),
            slope=format_estimate(c.slope),
        )
        for name, c in known
        if c.recalibration is not None
    ]
    if changed:
        return Answer(text=f"{'; '.join(changed)}.")
    if known or run.setting("evaluate.recalibration") == "none":
        return Answer(
            text=t("No model was updated: its predictions were evaluated as they came."), applies=False
        )
    return None


@fact(message("how undecided results were handled"))
def indeterminate(run: RunRecords) -> Answer:
    """A score is always one class or the other."""
    return Answer(
        text=t(
            "The models give no undecided result: each of the {n:,} scores counts as positive at the "
            "threshold or above, as negative below.",
            n=run.assessment.n,
        )
    )


@fact(message("the performance"))
def performance(run: RunRecords) -> Answer:
    """Discrimination and operating point of each model, with intervals."""
    parts = [f"{e.display_name}: {metrics_of(e, CRITERIA)}" for e in run.assessment.evaluations]
    level = format_level(run.assessment.level)
    said = message("Test subset, {cases}. {metrics} ({level} intervals).")
    return Answer(text=t(said, cases=test_counts(run), metrics="; ".join(parts), level=level))


@fact(message("the differences between models"))
def differences(run: RunRecords) -> Answer:
    """Paired differences of the pair the verdict is about."""
    pair = run.pair
    if pair is None:
        return Answer(text=t("A single model: no difference to report."))
    parts = [
        f"{t(label)} "
        + (
            format_estimate(pair.differences[key], signed=True)
            if key in pair.differences
            else t("not computed")
        )
        for key, label in CRITERIA
    ]
    return Answer(
        text=t(
            "{candidate} minus {reference}: {differences}.",
            candidate=run.name(pair.candidate),
            reference=run.name(pair.reference),
            differences=", ".join(parts),
        )
    )


@fact(message("the performance on held-out data"))
def internal_test(run: RunRecords) -> Answer:
    """Held-out performance beside that in training."""
    tested = {e.model: metrics_of(e, CRITERIA[:1]) for e in run.assessment.evaluations}
    if not run.trained:
        parts = [f"{e.display_name}: {tested[e.model]}" for e in run.assessment.evaluations]
        return Answer(
            text=f"{'; '.join(parts)}.",
            missing=t(
                "whether these cases come from the same source as the training data, and the performance in "
                "training"
            ),
        )
    parts = []
    for row in run.trained:
        tested_here = tested.get(row.model, t("not evaluated"))
        text = t("{model}: test {metrics}", model=row.display_name, metrics=tested_here)
        for kept in (epoch for epoch in row.history if epoch.epoch == row.best_epoch):
            losses = {"val_loss": format_number(kept.val_loss), "train_loss": format_number(kept.train_loss)}
            if kept.val_auc is None:
                at_epoch = t(
                    "at epoch {epoch}: validation loss {val_loss}, training loss {train_loss}",
                    epoch=row.best_epoch,
                    **losses,
                )
            else:
                at_epoch = t(
                    "at epoch {epoch}: validation AUC {auc}, loss {val_loss}, training loss {train_loss}",
                    epoch=row.best_epoch,
                    auc=format_number(kept.val_auc),
                    **losses,
                )
            text += f"; {at_epoch}"
        parts.append(text)
    section = t("The model") if len(tested) == 1 else t("Each model")
    curves = t("Learning curves: section \u201c{section}\u201d.", section=section)
    return Answer(text=f"{'. '.join(parts)}. {curves}")


@fact(message("the cross-tabulation"))
def cross_table(run: RunRecords) -> Answer:
    """Two-by-two tables of each model, and of the pair within each class."""
    negative, positive = run.assessment.classes
    parts = []
    for e in run.assessment.evaluations:
        c = e.confusion
        parts.append(
            t(
                "{model}: of {n_positive:,} {positive} {true_positive:,} predicted positive and "
                "{false_negative:,} negative; of {n_negative:,} {negative} {false_positive:,} predicted positive "
                "and {true_negative:,} negative.",
                model=e.display_name,
                n_positive=e.n_positive,
                positive=positive,
                true_positive=c.true_positive,
                false_negative=c.false_negative,
                n_negative=e.n_negative,
                negative=negative,
                false_positive=c.false_positive,
                true_negative=c.true_negative,
            )
        )
    pair = run.pair
    if pair is not None:
        reference, candidate = run.name(pair.reference), run.name(pair.candidate)

        def agreement(table: AgreementTable) -> str:
            return t(
                "both right {both:,}, only {reference} right {only_reference:,}, only {candidate} right "
                "{only_candidate:,}, both wrong {neither:,}",
                both=table.both_correct,
                only_reference=table.only_reference_correct,
                reference=reference,
                only_candidate=table.only_candidate_correct,
                candidate=candidate,
                neither=table.both_wrong,
            )

        parts += [
            t("Within {positive}: {agreement}.", positive=positive, agreement=agreement(pair.positives)),
            t("Within {negative}: {agreement}.", negative=negative, agreement=agreement(pair.negatives)),
        ]
    return Answer(text=" ".join(parts))


@fact(message("the wrong cases"))
def failures(run: RunRecords) -> Answer:
    """Wrong predictions: how many, and where they are listed."""
    wrong = [
        (e.display_name, e.confusion.false_negative, e.confusion.false_positive)
        for e in run.assessment.evaluations
    ]
    parts = [
        "; ".join(
            t("{model}: missed {missed:,}, false alarms {alarms:,}", model=name, missed=missed, alarms=alarms)
            for name, missed, alarms in wrong
        )
    ]
    pair = run.pair
    if pair is not None:
        parts.append(
            t(
                "Wrong by both {reference} and {candidate}: {cases}",
                reference=run.name(pair.reference),
                candidate=run.name(pair.candidate),
                cases=counted(run.assessment.classes, (pair.negatives.both_wrong, pair.positives.both_wrong)),
            )
        )
    if any(missed + alarms for _, missed, alarms in wrong):
        parts.append(t("Cases: section \u201c{section}\u201d", section=t("Errors and subgroups")))
    return Answer(text=f"{'. '.join(parts)}.")


@fact(message("limits of the study"))
def limits(run: RunRecords) -> Answer:
    """Limits that the results themselves show."""
    one = run.assessment
    found = [*one.verdict.caveats]
    if run.manifest is not None:
        if run.manifest.synthetic:
            found.append(
                t("The images are generated, not real: nothing here says how the models do on patients.")
            )
        found += run.manifest.warnings
    found += [f"{e.display_name}: {warning}" for e in one.evaluations for warning in e.warnings]
    if one.n_patients is None:
        found.append(format_patients(one))
    share = t(
        "Share of {positive} in the test subset: {prevalence}.",
        positive=one.classes[1],
        prevalence=format_percent(one.prevalence),
    )
    return Answer(text=" ".join([*(f"{text.rstrip('.')}." for text in dict.fromkeys(found)), share]))
