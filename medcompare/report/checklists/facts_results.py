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
from medcompare.report.vocabulary import format_patients

if TYPE_CHECKING:
    from medcompare.stats.records import AgreementTable

CRITERIA = (("auc", "AUC"), ("sensitivity", "sensitivity"), ("specificity", "specificity"))
PAIR = 2
ORIGINS = {
    "validation": "chosen on the validation subset",
    "user": "given by the user",
    "fixed": "a fixed value of the configuration",
    "convention": "a convention, for want of validation cases",
}


@fact("the size of the test subset")
def test_size(run: RunRecords) -> Answer:
    """Size of the test subset, the precision it gave, and the size a verdict needs."""
    parts = [f"Test subset: {test_counts(run)}."]
    for evaluation in run.assessment.evaluations:
        auc = evaluation.metrics.get("auc")
        if auc is not None and auc.ci_low is not None and auc.ci_high is not None:
            parts.append(f"{evaluation.display_name}: AUC {format_estimate(auc)}.")
    return Answer(text=" ".join([*parts, *(size.sentence for size in run.assessment.verdict.sizes_needed)]))


@fact("the thresholds")
def threshold(run: RunRecords) -> Answer:
    """Value, rule and origin of each threshold."""
    parts, missing = [], []
    for evaluation in run.assessment.evaluations:
        point = evaluation.operating_point
        on_validation = point.chosen_on == "validation"
        missed = ", target not reached" if on_validation and not point.reached else ""
        parts.append(
            f"{evaluation.display_name}: positive at {format_number(point.threshold)} or more ({point.rule}; "
            f"{ORIGINS[point.chosen_on]}{missed})"
        )
        if point.chosen_on == "user":
            missing.append("where the thresholds given by the user came from")
        elif on_validation and not run.trained:
            missing.append("whether the rule was chosen before the test predictions were looked at")
    return Answer(
        text=f"{'; '.join(parts)}. {_applied(run)} Rule from the configuration with "
        f"SHA-256 {digest(run.provenance.config_sha256)}, run started {format_time(run.provenance.started_at)}.",
        missing="; ".join(dict.fromkeys(missing)),
    )


def _applied(run: RunRecords) -> str:
    """How often the test subset saw the thresholds, as far as it is known."""
    if run.n_earlier_looks:
        runs = "run" if run.n_earlier_looks == 1 else "runs"
        return f"The same test {run.cases} had been evaluated in {run.n_earlier_looks:,} earlier {runs}."
    chosen = {evaluation.operating_point.chosen_on for evaluation in run.assessment.evaluations}
    if chosen == {"validation"} and run.trained:
        return "Frozen, then applied once to the test subset."
    return "Applied unchanged to the test subset; whether it had been looked at before is not known."


@fact("the measures of performance")
def metrics(run: RunRecords) -> Answer:
    """Measures and plots, and why."""
    evaluations = run.assessment.evaluations
    computed = dict.fromkeys(
        measure(key) for e in evaluations for key, value in e.metrics.items() if value.value is not None
    )
    plots = ["ROC and precision-recall curves", "confusion matrices"]
    plots += ["calibration curves"] if any(e.calibration is not None for e in evaluations) else []
    plots += ["decision curves"] if any(e.decision_curve is not None for e in evaluations) else []
    return Answer(
        text=f"Measures: {', '.join(computed)}. Plots: {join_words(plots)}. The AUC decides because it depends on "
        "no threshold; sensitivity and specificity guard the point of use; accuracy and F1 are descriptive only, as "
        "both change with the share of positives or ignore true negatives."
    )


@fact("how uncertainty was assessed")
def inference(run: RunRecords) -> Answer:
    """Intervals, tests, resampling, clusters, margins and multiplicity."""
    one = run.assessment
    single = methods_of((key, value) for e in one.evaluations for key, value in e.metrics.items())
    parts = [f"Two-sided {format_level(one.level)} intervals: {single}."]
    if run.pair is not None:
        parts.append(
            f"Paired differences on the same {run.cases}: {methods_of(run.pair.differences.items())}."
        )
    parts += [f"{one.n_resamples:,} bootstrap resamples, seed {one.seed}.", format_patients(one)]
    rule: dict[str, list[str]] = {}
    for row in one.verdict.parameters:
        rule.setdefault(row.set_by, []).append(f"{row.name} {row.value}")
    if rule:
        set_by = [f"{join_words(rows)} ({who})" for who, rows in rule.items()]
        parts.append(f"Decision rule: {'; '.join(set_by)}.")
    if len(one.models) > PAIR:
        parts.append(f"{len(one.comparisons)} pairs, p-values adjusted by Holm.")
    return Answer(text=" ".join(parts))


@fact("analyses of robustness: several training seeds, or subgroups")
def robustness(run: RunRecords) -> Answer | None:
    """Training seeds and subgroups, where the run has them."""
    parts = []
    for model in run.assessment.models:
        rows = [row.auc.value for row in run.assessment.seeds if row.model == model]
        if values := [value for value in rows if value is not None]:
            parts.append(
                f"{run.name(model)}: AUC {format_number(min(values))} to {format_number(max(values))} over "
                f"{len(rows)} training seeds."
            )
    if groups := subgroup_sizes(run):
        parts.append(f"Performance in subgroups of the test subset, exploratory: {groups}.")
    return Answer(text=" ".join(parts)) if parts else None


@fact("how decisions were explained")
def explanations(run: RunRecords) -> Answer | None:
    """Maps of the misclassified cases, and whether they depend on what was learned."""
    parts = [
        f"{run.name(one.model)}: networks with random weights give {format_percent(one.random_share_median, digits=0)} "
        f"of the variation of its maps{'' if one.readable else ', which are therefore not shown'}."
        for one in run.saliency
        if one.random_share_median is not None
    ]
    if not parts:
        return None
    what = f"Maps of the evidence in misclassified cases (Grad-CAM, {run.saliency[0].library})"
    return Answer(
        text=" ".join([f"{what}, checked by making all weights random (Adebayo et al. 2018).", *parts])
    )


@fact("performance by subgroup")
def subgroups(run: RunRecords) -> Answer | None:
    """Performance by subgroup, where asked for."""
    groups = subgroup_sizes(run)
    if not groups:
        return None
    return Answer(text=f"Performance is shown {groups}; section \u201cErrors and subgroups\u201d.")


@fact("whether the models were recalibrated")
def recalibration(run: RunRecords) -> Answer | None:
    """Whether predictions were recalibrated, and how they are calibrated then."""
    known = [(e.display_name, e.calibration) for e in run.assessment.evaluations if e.calibration is not None]
    changed = [
        f"{name}: {c.recalibration} recalibration, fitted on the validation subset only; calibration slope on the "
        f"test subset then {format_estimate(c.slope)}"
        for name, c in known
        if c.recalibration is not None
    ]
    if changed:
        return Answer(text=f"{'; '.join(changed)}.")
    if known or run.setting("evaluate.recalibration") == "none":
        return Answer(
            text="No model was updated: its predictions were evaluated as they came.", applies=False
        )
    return None


@fact("how undecided results were handled")
def indeterminate(run: RunRecords) -> Answer:
    """A score is always one class or the other."""
    return Answer(
        text=f"The models give no undecided result: each of the {run.assessment.n:,} scores counts as positive "
        "at the threshold or above, as negative below."
    )


@fact("the performance")
def performance(run: RunRecords) -> Answer:
    """Discrimination and operating point of each model, with intervals."""
    parts = [f"{e.display_name}: {metrics_of(e, CRITERIA)}" for e in run.assessment.evaluations]
    level = format_level(run.assessment.level)
    return Answer(text=f"Test subset, {test_counts(run)}. {'; '.join(parts)} ({level} intervals).")


@fact("the differences between models")
def differences(run: RunRecords) -> Answer:
    """Paired differences of the pair the verdict is about."""
    pair = run.pair
    if pair is None:
        return Answer(text="A single model: no difference to report.")
    parts = [
        f"{label} "
        + (format_estimate(pair.differences[key], signed=True) if key in pair.differences else "not computed")
        for key, label in CRITERIA
    ]
    return Answer(text=f"{run.name(pair.candidate)} minus {run.name(pair.reference)}: {', '.join(parts)}.")


@fact("the performance on held-out data")
def internal_test(run: RunRecords) -> Answer:
    """Held-out performance beside that in training."""
    tested = {e.model: metrics_of(e, CRITERIA[:1]) for e in run.assessment.evaluations}
    if not run.trained:
        parts = [f"{e.display_name}: {tested[e.model]}" for e in run.assessment.evaluations]
        return Answer(
            text=f"{'; '.join(parts)}.",
            missing="whether these cases come from the same source as the training data, and the "
            "performance in training",
        )
    parts = []
    for row in run.trained:
        text = f"{row.display_name}: test {tested.get(row.model, 'not evaluated')}"
        for kept in (epoch for epoch in row.history if epoch.epoch == row.best_epoch):
            validation = "" if kept.val_auc is None else f"AUC {format_number(kept.val_auc)}, "
            text += (
                f"; at epoch {row.best_epoch}: validation {validation}loss {format_number(kept.val_loss)}, "
                f"training loss {format_number(kept.train_loss)}"
            )
        parts.append(text)
    section = "The model" if len(tested) == 1 else "Each model"
    return Answer(text=f"{'. '.join(parts)}. Learning curves: section \u201c{section}\u201d.")


@fact("the cross-tabulation")
def cross_table(run: RunRecords) -> Answer:
    """Two-by-two tables of each model, and of the pair within each class."""
    negative, positive = run.assessment.classes
    parts = []
    for e in run.assessment.evaluations:
        c = e.confusion
        parts.append(
            f"{e.display_name}: of {e.n_positive:,} {positive} {c.true_positive:,} predicted positive and "
            f"{c.false_negative:,} negative; of {e.n_negative:,} {negative} {c.false_positive:,} predicted positive "
            f"and {c.true_negative:,} negative."
        )
    pair = run.pair
    if pair is not None:
        reference, candidate = run.name(pair.reference), run.name(pair.candidate)

        def agreement(table: AgreementTable) -> str:
            return (
                f"both right {table.both_correct:,}, only {reference} right {table.only_reference_correct:,}, only "
                f"{candidate} right {table.only_candidate_correct:,}, both wrong {table.both_wrong:,}"
            )

        parts += [
            f"Within {positive}: {agreement(pair.positives)}.",
            f"Within {negative}: {agreement(pair.negatives)}.",
        ]
    return Answer(text=" ".join(parts))


@fact("the wrong cases")
def failures(run: RunRecords) -> Answer:
    """Wrong predictions: how many, and where they are listed."""
    wrong = [
        (e.display_name, e.confusion.false_negative, e.confusion.false_positive)
        for e in run.assessment.evaluations
    ]
    text = "; ".join(f"{name}: {missed:,} missed, {alarms:,} false alarms" for name, missed, alarms in wrong)
    pair = run.pair
    if pair is not None:
        both = counted(run.assessment.classes, (pair.negatives.both_wrong, pair.positives.both_wrong))
        text += f". Wrong by both {run.name(pair.reference)} and {run.name(pair.candidate)}: {both}"
    if any(missed + alarms for _, missed, alarms in wrong):
        text += ". Cases: section \u201cErrors and subgroups\u201d"
    return Answer(text=f"{text}.")


@fact("limits of the study")
def limits(run: RunRecords) -> Answer:
    """Limits that the results themselves show."""
    one = run.assessment
    found = [*one.verdict.caveats]
    if run.manifest is not None:
        if run.manifest.synthetic:
            found.append(
                "The images are generated, not real: nothing here says how the models do on patients."
            )
        found += run.manifest.warnings
    found += [f"{e.display_name}: {warning}" for e in one.evaluations for warning in e.warnings]
    if one.n_patients is None:
        found.append(format_patients(one))
    share = f"Share of {one.classes[1]} in the test subset: {format_percent(one.prevalence)}."
    return Answer(text=" ".join([*(f"{text.rstrip('.')}." for text in dict.fromkeys(found)), share]))
