"""Section on each model on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_number
from medcompare.base.language import message, t
from medcompare.report.blocks import (
    DASH,
    Bullets,
    Cell,
    Column,
    Heading,
    ImageRow,
    Notes,
    Paragraph,
    Section,
    SplitRow,
    image_of,
    model_tables,
    muted,
    table,
    words,
)
from medcompare.report.figures.curves import draw_calibration, draw_score_distributions
from medcompare.report.inputs import PAIR, ScoreDistribution
from medcompare.report.matrices import confusion_rows, trials
from medcompare.report.pages.folds import fold_blocks
from medcompare.report.pages.net_benefit import net_benefit_blocks
from medcompare.report.pages.training import learning_blocks, seed_blocks
from medcompare.report.vocabulary import METRIC_NAMES, metric_name

if TYPE_CHECKING:
    from medcompare.report.blocks import Block, Row, Table
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import ModelEvaluation

CALIBRATION_ROWS = (
    ("slope", message("Slope (1)")),
    ("in_the_large", message("In the large (0)")),
    ("observed_expected", message("O : E ratio (1)")),
    ("brier", message("Brier score (0)")),
    ("scaled_brier", message("Scaled Brier (1)")),
    ("expected_calibration_error", message("ECE (0)")),
    ("expected_calibration_error_by_chance", message("ECE by chance")),
    ("integrated_calibration_index", message("ICI (0)")),
    ("e50", message("E50 (0)")),
    ("e90", message("E90 (0)")),
)
AS_PREDICTED_ROWS = (
    ("slope", message("Slope as predicted (1)")),
    ("integrated_calibration_index", message("ICI as predicted (0)")),
    ("e90", message("E90 as predicted (0)")),
)
"""Of the scores before recalibration, below those after it."""
CHOSEN_ON = {
    "validation": message("validation subset"),
    "user": message("set by the user"),
    "fixed": message("fixed value"),
    "convention": message("none: a convention"),
}


def model_section(view: View, number: int) -> Section:
    """Every figure of every model, matrices, calibration, scores, learning curves."""
    blocks: list[Block] = [
        *_metric_tables(view),
        _operating_table(view),
        Heading(t("Classification report")),
        _class_table(view),
        Heading(t("Confusion matrices")),
        *confusion_rows(view),
        *trials(view),
        # In this order, as matrices and calibration fill a page together.
        *_calibration(view),
        Heading(t("Scores")),
        _scores(view),
        *net_benefit_blocks(view),
        *learning_blocks(view),
        *seed_blocks(view),
        *fold_blocks(view),
    ]
    for evaluation in view.evaluations:
        if evaluation.warnings:
            name = view.name(evaluation.model)
            blocks += [Heading(t("Warnings: {model}", model=name), level=4), Bullets(evaluation.warnings)]
    return Section(
        number=number,
        anchor="models",
        title=t("The model") if len(view.evaluations) == 1 else t("Each model"),
        lead=t("Metrics on the test subset at {thresholds}.", thresholds=view.thresholds) + view.of_first,
        blocks=tuple(blocks),
    )


def _metric_tables(view: View) -> list[Table]:
    """Every figure but those that the table of differences holds with the same intervals."""
    notes = Notes()
    found = dict.fromkeys(key for e in view.evaluations for key in e.metrics)
    before: frozenset[str] = frozenset()
    if view.pair is not None and len(view.evaluations) == PAIR and not view.of_first:
        before = frozenset(view.pair.differences)
    keys = [key for key in METRIC_NAMES if key in found] + [key for key in found if key not in METRIC_NAMES]
    rows: list[Row] = []
    for key in keys:
        if key in before:
            continue
        estimates = [e.metrics.get(key) for e in view.evaluations]
        if key.endswith("_at_prevalence") and all(one is None or one.value is None for one in estimates):
            continue  # no prevalence was stated
        cells = [muted(t("not computed")) if one is None else notes.cell(one) for one in estimates]
        rows.append((metric_name(key), *cells))
    if not rows:
        return []
    if before:
        caption = t(
            "Further metrics ({level} intervals); all others are under Head to head", level=view.level
        )
    else:
        caption = t("All metrics ({level} intervals)", level=view.level)
    return model_tables(caption, words(t("Metric"), "34%"), view.columns(), rows, notes=notes, dense=True)


def _operating_table(view: View) -> Table:
    notes = Notes()
    rows: list[Row] = []
    for evaluation in view.evaluations:
        point = evaluation.operating_point
        missed = point.chosen_on == "validation" and not point.reached
        rows.append(
            (
                view.name(evaluation.model),
                Cell(format_number(point.threshold, digits=4), note=notes.letter(point.note)),
                t("{rule} (not reached)", rule=point.rule) if missed else point.rule,
                t(CHOSEN_ON[point.chosen_on]),
                _errors_at_half(evaluation),
            )
        )
    heads = (
        words(t("Model"), "17%"),
        Column(t("Threshold"), "10%"),
        words(t("Rule"), "39%"),
        words(t("Chosen on"), "13%"),
        words(t("0.5 would give")),
    )
    caption = t("Operating points: positive where the score is at or above the threshold")
    return table(caption, heads, rows, notes=notes)


def _errors_at_half(evaluation: ModelEvaluation) -> Cell:
    counts = evaluation.confusion_at_half
    if counts is None:
        return muted(t("no meaning"))
    missed, alarms = counts.false_negative, counts.false_positive
    return muted(t("missed: {missed:,}, false alarms: {alarms:,}", missed=missed, alarms=alarms))


def _class_table(view: View) -> Table:
    notes = Notes()
    rows = [
        (
            Cell(view.name(evaluation.model), strong=True, again=i > 0),
            row.class_name,
            format_count(row.support),
            notes.cell(row.precision),
            notes.cell(row.recall),
            notes.cell(row.f1),
        )
        for evaluation in view.evaluations
        for i, row in enumerate(evaluation.classification_report)
    ]
    heads = (
        words(t("Model"), "17%"),
        words(t("Class"), "15%"),
        Column(t("Cases"), "7%"),
        *(Column(head, "20.3%") for head in (t("Precision"), t("Recall"), t("F1"))),
    )
    return table(t("Metrics per class ({level} intervals)", level=view.level), heads, rows, notes=notes)


def _scores(view: View) -> Block:
    given = {row.model: row for row in view.inputs.score_distributions}
    images = []
    for evaluation in view.evaluations:
        histogram, calibration = given.get(evaluation.model), evaluation.calibration
        if histogram is None and calibration is not None:
            histogram = ScoreDistribution(
                model=evaluation.model,
                edges=calibration.histogram_edges,
                negative=calibration.histogram_negative,
                positive=calibration.histogram_positive,
            )
        if histogram is None:
            continue
        drawing = draw_score_distributions(
            view.styles[evaluation.model],
            edges=histogram.edges,
            negative=histogram.negative,
            positive=histogram.positive,
            logit=histogram.logit,
            threshold=evaluation.operating_point.threshold,
            n_false_negative=evaluation.confusion.false_negative,
            n_false_positive=evaluation.confusion.false_positive,
            classes=evaluation.classes,
        )
        images.append(image_of(drawing))
    if not images:
        return Paragraph(t("The distribution of the scores was not recorded for this run."), "note")
    caption = t("Scores per true class; the dashed line is the threshold.")
    if len({(one.edges[0], one.edges[-1]) for one in given.values()}) > 1:
        ends = t("Each axis covers the scores of its model.")
        caption = f"{caption} {ends}"
    if any(one.logit for one in given.values()):
        logit = t(
            "On a logit axis, where more than half of the scores of a model are near 0 and 1; what lies beyond its "
            "ends is in the outermost bars."
        )
        caption = f"{caption} {logit}"
    return ImageRow(images=tuple(images), caption=caption)


def _calibration(view: View) -> list[Block]:
    calibrations = {e.model: e.calibration for e in view.evaluations if e.calibration is not None}
    as_predicted = {e.model: e.calibration_as_predicted for e in view.evaluations if e.model in calibrations}
    heading = Heading(t("Calibration"))
    if not calibrations:
        text = t(
            "The scores are not probabilities, so calibration and net benefit have no meaning and are not "
            "shown."
        )
        return [heading, Paragraph(text, "note")]
    notes = Notes()
    rows: list[Row] = [
        (t(label), *(notes.cell(getattr(one, key)) for one in calibrations.values()))
        for key, label in CALIBRATION_ROWS
        if all(getattr(one, key) is not None for one in calibrations.values())
    ]
    if any(as_predicted.values()):
        rows += [
            (
                t(label),
                *(DASH if one is None else notes.cell(getattr(one, key)) for one in as_predicted.values()),
            )
            for key, label in AS_PREDICTED_ROWS
        ]
    heads = words(t("Metric (ideal)"), "22%"), view.columns(calibrations)
    tables = model_tables(t("Calibration in numbers"), *heads, rows, notes=notes, dense=True)
    recalibrated = sorted({one.recalibration for one in calibrations.values() if one.recalibration})
    caption = t(
        "Filled bars: positive cases; hatched: negative. Dotted: perfect calibration. Band: pointwise "
        "{level} interval of the curve.",
        level=view.level,
    )
    if recalibrated:
        how = ", ".join(t(one) for one in recalibrated)
        caption += " " + t("Probabilities were recalibrated on validation ({how}).", how=how)
    if any(as_predicted.values()):
        caption += " " + t("Thin, with hollow marks and no band: the scores as predicted, before that.")
    with_curve = [e for e in view.evaluations if e.model in calibrations]
    image = image_of(draw_calibration(with_curve, view.styles), caption=caption)
    missing = [view.name(e.model) for e in view.evaluations if e.model not in calibrations]
    not_probabilities = t("Not probabilities: {models}.", models=", ".join(missing))
    extra = [Paragraph(not_probabilities, "note")] if missing else []
    if len(with_curve) <= PAIR:
        return [heading, SplitRow(image=image, beside=(*tables, *extra))]
    return [heading, image, *tables, *extra]
