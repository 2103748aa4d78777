"""Facts on evaluation: threshold, measures, inference, performance and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.report.checklist_facts_data import subgroup_sizes
from medcompare.report.checklist_run import (
    Known,
    RunRecords,
    counted,
    digest,
    figures,
    measure,
    methods_of,
    test_counts,
)
from medcompare.report.formatting import (
    format_count,
    format_estimate,
    format_level,
    format_number,
    format_patients,
    format_percent,
    format_time,
    join_words,
)

if TYPE_CHECKING:
    from medcompare.report.checklist_run import Fact
    from medcompare.stats.records import AgreementTable, Estimate, PairedComparison

JUDGED = (("auc", "AUC"), ("sensitivity", "sensitivity"), ("specificity", "specificity"))
PAIR = 2


def test_size(run: RunRecords) -> Known:
    """Size of the test subset, the precision it gave, and the size a verdict needs."""
    assessment = run.assessment
    text = f"Test subset: {test_counts(run)}."
    for evaluation in assessment.evaluations:
        auc = evaluation.metrics.get("auc")
        if auc is not None and auc.ci_low is not None and auc.ci_high is not None:
            text += f" {evaluation.display_name}: AUC {format_estimate(auc)}."
    text = " ".join([text, *(size.sentence for size in assessment.verdict.sizes_needed)])
    return Known(text=text)


def threshold(run: RunRecords) -> Known:
    """Value, rule and origin of each threshold."""
    parts = []
    lacking = []
    for evaluation in run.assessment.evaluations:
        point = evaluation.operating_point
        origin = {
            "validation": "chosen on the validation subset",
            "user": "given by the user",
            "fixed": "a fixed value of the configuration",
            "convention": "a convention, for want of validation cases",
        }
        missed = point.chosen_on == "validation" and not point.reached
        reached = ", target not reached" if missed else ""
        parts.append(
            f"{evaluation.display_name}: positive at {format_number(point.threshold)} or more ({point.rule}; "
            f"{origin[point.chosen_on]}{reached})"
        )
        if point.chosen_on == "user":
            lacking.append("where the thresholds given by the user came from")
        elif point.chosen_on == "validation" and not run.trained:
            lacking.append("whether the rule was chosen before the test predictions were looked at")
    provenance = run.provenance
    return Known(
        text=f"{'; '.join(parts)}. {_applied(run)} Rule from the configuration with "
        f"SHA-256 {digest(provenance.config_sha256)}, run started "
        f"{format_time(provenance.started_at)}.",
        lacking="; ".join(dict.fromkeys(lacking)),
    )


def _applied(run: RunRecords) -> str:
    """How often the test subset saw the thresholds, as far as it is known."""
    chosen = {evaluation.operating_point.chosen_on for evaluation in run.assessment.evaluations}
    if run.n_earlier_looks:
        return (
            f"The same test {run.cases} had been evaluated in {format_count(run.n_earlier_looks)} earlier "
            f"{'run' if run.n_earlier_looks == 1 else 'runs'}."
        )
    if chosen == {"validation"} and run.trained:
        return "Frozen, then applied once to the test subset."
    return "Applied unchanged to the test subset; whether it had been looked at before is not known."


def metrics(run: RunRecords) -> Known:
    """Measures and plots, and why."""
    evaluations = run.assessment.evaluations
    computed = dict.fromkeys(
        key for e in evaluations for key, value in e.metrics.items() if value.value is not None
    )
    plots = ["ROC and precision-recall curves", "confusion matrices"]
    if any(e.calibration is not None for e in evaluations):
        plots.append("calibration curves")
    if any(e.decision_curve is not None for e in evaluations):
        plots.append("decision curves")
    return Known(
        text=f"Measures: {', '.join(dict.fromkeys(measure(key) for key in computed))}. Plots: "
        f"{join_words(plots)}. "
        "The AUC decides because it depends on no threshold; sensitivity and specificity guard the point "
        "of use; "
        "accuracy and F1 are descriptive only, as both change with the share of positives or ignore true "
        "negatives."
    )


def inference(run: RunRecords) -> Known:
    """Intervals, tests, resampling, clusters, margins and multiplicity."""
    assessment = run.assessment
    single = methods_of((key, value) for e in assessment.evaluations for key, value in e.metrics.items())
    text = f"Two-sided {format_level(assessment.level)} intervals: {single}."
    pair = run.pair
    if pair is not None:
        paired = methods_of((key, value) for key, value in pair.differences.items())
        text += f" Paired differences on the same {run.cases}: {paired}."
    text += f" {format_count(assessment.n_resamples)} bootstrap resamples, seed {assessment.seed}."
    text += f" {format_patients(assessment)}"
    rule: dict[str, list[str]] = {}
    for row in assessment.verdict.parameters:
        rule.setdefault(row.set_by, []).append(f"{row.name} {row.value}")
    if rule:
        text += f" Decision rule: {'; '.join(f'{join_words(rows)} ({who})' for who, rows in rule.items())}."
    if len(assessment.models) > PAIR:
        text += f" {len(assessment.comparisons)} pairs, p-values adjusted by Holm."
    return Known(text=text)


def robustness(run: RunRecords) -> Known | None:
    """Training seeds and subgroups, where the run has them."""
    parts = []
    for model in run.assessment.models:
        rows = [row.auc for row in run.assessment.seeds if row.model == model]
        values = [auc.value for auc in rows if auc.value is not None]
        if values:
            parts.append(
                f"{run.name(model)}: AUC {format_number(min(values))} to {format_number(max(values))} over "
                f"{len(rows)} training seeds."
            )
    groups = subgroup_sizes(run)
    if groups:
        parts.append(f"Performance in subgroups of the test subset, exploratory: {groups}.")
    return Known(text=" ".join(parts)) if parts else None


def subgroups(run: RunRecords) -> Known | None:
    """Performance by subgroup, where asked for."""
    groups = subgroup_sizes(run)
    return (
        Known(text=f"Performance is shown {groups}; section \u201cErrors and subgroups\u201d.")
        if groups
        else None
    )


def recalibration(run: RunRecords) -> Known | None:
    """Whether predictions were recalibrated, and how they are calibrated then."""
    calibrations = [
        (e.display_name, e.calibration) for e in run.assessment.evaluations if e.calibration is not None
    ]
    changed = [(name, c) for name, c in calibrations if c.recalibration is not None]
    if changed:
        parts = [
            f"{name}: {c.recalibration} recalibration, fitted on the validation subset only; calibration "
            f"slope on the "
            f"test subset then {format_estimate(c.slope)}"
            for name, c in changed
        ]
        return Known(text=f"{'; '.join(parts)}.")
    if calibrations or run.settings.get("evaluate.recalibration") == "none":
        return Known(text="No model was updated: its predictions were evaluated as they came.", applies=False)
    return None


def indeterminate(run: RunRecords) -> Known:
    """A score is always called one way or the other."""
    return Known(
        text=f"The models give no undecided result: each of the {format_count(run.assessment.n)} scores "
        f"was called positive "
        "at the threshold or above, negative below."
    )


def performance(run: RunRecords) -> Known:
    """Discrimination and operating point of each model, with intervals."""
    parts = [f"{e.display_name}: {figures(e, JUDGED)}" for e in run.assessment.evaluations]
    text = (
        f"Test subset, {test_counts(run)}. {'; '.join(parts)} ({format_level(run.assessment.level)} "
        f"intervals)."
    )
    return Known(text=text)


def differences(run: RunRecords) -> Known:
    """Paired differences of the pair the verdict is about."""
    pair = run.pair
    if pair is None:
        return Known(text="A single model: no difference to report.")

    def shown(estimate: Estimate | None) -> str:
        return "not computed" if estimate is None else format_estimate(estimate, signed=True)

    parts = ", ".join(f"{label} {shown(pair.differences.get(key))}" for key, label in JUDGED)
    return Known(text=f"{run.name(pair.candidate)} minus {run.name(pair.reference)}: {parts}.")


def internal_test(run: RunRecords) -> Known:
    """Held-out performance beside that in training."""
    tested = {e.model: figures(e, JUDGED[:1]) for e in run.assessment.evaluations}
    if not run.trained:
        parts = [f"{e.display_name}: {tested[e.model]}" for e in run.assessment.evaluations]
        return Known(
            text=f"{'; '.join(parts)}.",
            lacking="whether these cases come from the same source as the training data, and the "
            "performance in training",
        )
    parts = []
    for row in run.trained:
        kept = next((epoch for epoch in row.history if epoch.epoch == row.best_epoch), None)
        text = f"{row.display_name}: test {tested.get(row.model, 'not evaluated')}"
        if kept is not None:
            validation = "" if kept.val_auc is None else f"AUC {format_number(kept.val_auc)}, "
            text += (
                f"; at epoch {row.best_epoch}: validation {validation}loss {format_number(kept.val_loss)}, "
                f"training loss {format_number(kept.train_loss)}"
            )
        parts.append(text)
    section = "The model" if len(run.assessment.evaluations) == 1 else "Each model"
    return Known(text=f"{'. '.join(parts)}. Learning curves: section \u201c{section}\u201d.")


def cross_table(run: RunRecords) -> Known:
    """Two-by-two tables of each model, and of the pair within each class."""
    negative, positive = run.assessment.classes
    parts = []
    for e in run.assessment.evaluations:
        c = e.confusion
        parts.append(
            f"{e.display_name}: of {format_count(e.n_positive)} {positive} "
            f"{format_count(c.true_positive)} called positive "
            f"and {format_count(c.false_negative)} negative; of {format_count(e.n_negative)} {negative} "
            f"{format_count(c.false_positive)} called positive and {format_count(c.true_negative)} negative."
        )
    pair = run.pair
    if pair is not None:
        for name, table in ((positive, pair.positives), (negative, pair.negatives)):
            parts.append(f"Within {name}: {_agreement(run, pair, table)}.")
    return Known(text=" ".join(parts))


def _agreement(run: RunRecords, pair: PairedComparison, table: AgreementTable) -> str:
    return (
        f"both right {format_count(table.both_correct)}, only {run.name(pair.reference)} right "
        f"{format_count(table.only_reference_correct)}, only {run.name(pair.candidate)} right "
        f"{format_count(table.only_candidate_correct)}, both wrong {format_count(table.both_wrong)}"
    )


def failures(run: RunRecords) -> Known:
    """Wrong calls: how many, and where they are listed."""
    parts = []
    wrong = 0
    for e in run.assessment.evaluations:
        missed, alarms = e.confusion.false_negative, e.confusion.false_positive
        wrong += missed + alarms
        parts.append(f"{e.display_name}: {format_count(missed)} missed, {format_count(alarms)} false alarms")
    text = f"{'; '.join(parts)}."
    pair = run.pair
    if pair is not None:
        text += (
            f" Wrong by both {run.name(pair.reference)} and {run.name(pair.candidate)}: "
            f"{counted(run.assessment.classes, (pair.negatives.both_wrong, pair.positives.both_wrong))}."
        )
    if wrong:
        text += " Cases: section \u201cErrors and subgroups\u201d."
    return Known(text=text)


def limits(run: RunRecords) -> Known:
    """Limits that the figures themselves show."""
    found = [*run.assessment.verdict.caveats]
    if run.manifest is not None:
        if run.manifest.synthetic:
            found.append(
                "The images are generated, not real: nothing here says how the models do on patients."
            )
        found += run.manifest.warnings
    found += [f"{e.display_name}: {warning}" for e in run.assessment.evaluations for warning in e.warnings]
    if run.assessment.n_patients is None:
        found.append(format_patients(run.assessment))
    found = [f"{text.rstrip('.')}." for text in dict.fromkeys(found)]
    share = (
        f"Share of {run.assessment.classes[1]} in the test subset: "
        f"{format_percent(run.assessment.prevalence)}."
    )
    return Known(text=" ".join([*found, share]))


RESULT_FACTS: dict[str, tuple[Fact, str]] = {
    "test_size": (test_size, "the size of the test subset"),
    "threshold": (threshold, "the thresholds"),
    "metrics": (metrics, "the measures of performance"),
    "inference": (inference, "how uncertainty was assessed"),
    "robustness": (robustness, "analyses of robustness: several training seeds, or subgroups"),
    "subgroups": (subgroups, "performance by subgroup"),
    "recalibration": (recalibration, "whether the models were recalibrated"),
    "indeterminate": (indeterminate, "how undecided results were handled"),
    "performance": (performance, "the performance"),
    "differences": (differences, "the differences between models"),
    "internal_test": (internal_test, "the performance on held-out data"),
    "cross_table": (cross_table, "the cross-tabulation"),
    "failures": (failures, "the wrong cases"),
    "limits": (limits, "limits of the study"),
}
"""Name to (fact, what is lacking where no record holds it)."""
