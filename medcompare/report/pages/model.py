"""Section that judges each model on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    format_count,
    format_level,
    format_number,
    join_words,
)
from medcompare.report.blocks import (
    Bullets,
    Cell,
    Column,
    Heading,
    ImageRow,
    Notes,
    Paragraph,
    Section,
    SplitRow,
    Table,
    absent,
    image_of,
    model_tables,
)
from medcompare.report.figures.curves import (
    draw_calibration,
    draw_score_distributions,
)
from medcompare.report.figures.decision import draw_decision_curve, shown_range
from medcompare.report.matrices import confusion_rows
from medcompare.report.pages.training import learning_blocks, seed_blocks
from medcompare.report.vocabulary import METRIC_NAMES, metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Block
    from medcompare.report.inputs import ScoreDistribution
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate, ModelEvaluation

PAIR = 2
CALIBRATION_ROWS = (
    ("slope", "Slope (1 is ideal)"),
    ("in_the_large", "Calibration-in-the-large (0 is ideal)"),
    ("observed_expected", "Observed : expected (1 is ideal)"),
    ("brier", "Brier score (lower is better)"),
    ("scaled_brier", "Scaled Brier (higher is better)"),
    ("expected_calibration_error", "Expected calibration error"),
)


def model_section(view: View, number: int) -> Section:
    """Every figure of every model, matrices, calibration, scores, learning curves."""
    blocks: list[Block] = [*_metric_tables(view)]
    blocks += [_operating_table(view), Heading(text="Confusion matrices"), *confusion_rows(view)]
    blocks += [
        Heading(text="Classification report"),
        _class_table(view),
        Heading(text="Scores"),
        _scores(view),
    ]
    blocks += [*_calibration(view), *_decision(view), *learning_blocks(view), *seed_blocks(view)]
    for evaluation in view.evaluations:
        if evaluation.warnings:
            blocks += [
                Heading(text=f"Warnings: {view.name(evaluation.model)}", level=4),
                Bullets(items=evaluation.warnings),
            ]
    single = len(view.evaluations) == 1
    return Section(
        number=number,
        anchor="models",
        title="The model" if single else "Each model",
        lead=f"Metrics on the test subset at {view.thresholds}.",
        blocks=tuple(blocks),
    )


def _metric_tables(view: View) -> list[Table]:
    notes = Notes()
    keys = [key for key in METRIC_NAMES if any(key in e.metrics for e in view.evaluations)]
    keys += [key for e in view.evaluations for key in e.metrics if key not in keys]
    keys = [key for key in dict.fromkeys(keys) if not _not_asked(view, key)]
    rows = []
    for key in keys:
        cells = [
            notes.cell(e.metrics[key]) if key in e.metrics else absent("not computed")
            for e in view.evaluations
        ]
        rows.append((Cell(text=metric_name(key)), *cells))
    return model_tables(
        caption=f"All metrics ({format_level(view.inputs.assessment.level)} intervals)",
        corner=Column(head="Metric", kind="text", width="24%"),
        models=[view.model_column(e.model) for e in view.evaluations],
        rows=rows,
        notes=notes,
    )


def _not_asked(view: View, key: str) -> bool:
    """Whether a figure is missing for every model because no prevalence was stated."""
    if not key.endswith("_at_prevalence"):
        return False
    return all(e.metrics.get(key) is None or e.metrics[key].value is None for e in view.evaluations)


def _operating_table(view: View) -> Table:
    notes = Notes()
    rows = []
    for evaluation in view.evaluations:
        point = evaluation.operating_point
        missed = point.chosen_on == "validation" and not point.reached
        rule = f"{point.rule} (not reached)" if missed else point.rule
        rows.append(
            (
                Cell(text=view.name(evaluation.model)),
                Cell(text=format_number(point.threshold, digits=4), note=notes.letter(point.note)),
                Cell(text=rule),
                Cell(
                    text={
                        "validation": "validation subset",
                        "user": "set by the user",
                        "fixed": "fixed value",
                        "convention": "none: a convention",
                    }[point.chosen_on]
                ),
                _habit(evaluation),
            )
        )
    return Table(
        caption="Operating points: positive where the score is at or above the threshold",
        columns=(
            Column(head="Model", kind="text", width="28%"),
            Column(head="Threshold"),
            Column(head="Rule", kind="text"),
            Column(head="Chosen on", kind="text", width="14%"),
            Column(head="0.5 would give", kind="text", width="17%"),
        ),
        rows=tuple(rows),
        notes=notes.listed(),
        dense=True,
    )


def _habit(evaluation: ModelEvaluation) -> Cell:
    """Errors at 0.5, the threshold of habit."""
    counts = evaluation.confusion_at_half
    if counts is None:
        return Cell(text="no meaning", muted=True)
    missed, alarms = format_count(counts.false_negative), format_count(counts.false_positive)
    return Cell(text=f"{missed} missed, {alarms} false alarms", muted=True)


def _class_table(view: View) -> Table:
    notes = Notes()
    rows = []
    for evaluation in view.evaluations:
        for i, row in enumerate(evaluation.classification_report):
            rows.append(
                (
                    Cell(text=view.name(evaluation.model) if i == 0 else "", strong=True),
                    Cell(text=row.class_name),
                    Cell(text=format_count(row.support)),
                    notes.cell(row.precision),
                    notes.cell(row.recall),
                    notes.cell(row.f1),
                )
            )
    return Table(
        caption=f"Metrics per class ({format_level(view.inputs.assessment.level)} intervals)",
        columns=(
            Column(head="Model", kind="text", width="24%"),
            Column(head="Class", kind="text", width="22%"),
            Column(head="Cases"),
            Column(head="Precision"),
            Column(head="Recall"),
            Column(head="F1"),
        ),
        rows=tuple(rows),
        notes=notes.listed(),
        dense=True,
    )


def _histogram(
    view: View, evaluation: ModelEvaluation
) -> tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]] | None:
    given: ScoreDistribution | None = next(
        (row for row in view.inputs.score_distributions if row.model == evaluation.model), None
    )
    if given is not None:
        return given.edges, given.negative, given.positive
    if evaluation.calibration is not None:
        calibration = evaluation.calibration
        return calibration.histogram_edges, calibration.histogram_negative, calibration.histogram_positive
    return None


def _scores(view: View) -> Block:
    images = []
    for evaluation in view.evaluations:
        histogram = _histogram(view, evaluation)
        if histogram is None:
            continue
        edges, negative, positive = histogram
        drawing = draw_score_distributions(
            view.styles[evaluation.model],
            edges=edges,
            negative=negative,
            positive=positive,
            threshold=evaluation.operating_point.threshold,
            n_false_negative=evaluation.confusion.false_negative,
            n_false_positive=evaluation.confusion.false_positive,
            classes=evaluation.classes,
        )
        images.append(image_of(drawing))
    if not images:
        return Paragraph(text="The distribution of the scores was not recorded for this run.", tone="note")
    return ImageRow(images=tuple(images), caption="Scores per true class; the dashed line is the threshold.")


def _calibration(view: View) -> list[Block]:
    with_curve = [e for e in view.evaluations if e.calibration is not None]
    heading = Heading(text="Calibration")
    if not with_curve:
        text = "The scores are not probabilities, so calibration and net benefit have no meaning and are not shown."
        return [heading, Paragraph(text=text, tone="note")]
    notes, rows = Notes(), []
    for key, label in CALIBRATION_ROWS:
        cells = []
        for evaluation in with_curve:
            estimate: Estimate = getattr(evaluation.calibration, key)
            cells.append(notes.cell(estimate))
        rows.append((Cell(text=label), *cells))
    tables = model_tables(
        caption="Calibration in numbers",
        corner=Column(head="Metric", kind="text", width="30%"),
        models=[view.model_column(e.model) for e in with_curve],
        rows=rows,
        notes=notes,
        dense=True,
    )
    recalibrated = sorted(
        {e.calibration.recalibration for e in with_curve if e.calibration and e.calibration.recalibration}
    )
    caption = "Filled bars: positive cases; hatched: negative. Dotted: perfect calibration."
    if recalibrated:
        caption += f" Probabilities were recalibrated on validation ({', '.join(recalibrated)})."
    image = image_of(draw_calibration(with_curve, view.styles), caption=caption)
    missing = [view.name(e.model) for e in view.evaluations if e.calibration is None]
    extra: list[Block] = (
        [Paragraph(text=f"Not probabilities: {', '.join(missing)}.", tone="note")] if missing else []
    )
    if len(with_curve) <= PAIR:
        return [heading, SplitRow(image=image, beside=(*tables, *extra))]
    return [heading, image, *tables, *extra]


def _decision(view: View) -> list[Block]:
    with_curve = [e for e in view.evaluations if e.decision_curve is not None]
    if not with_curve:
        return []
    stated = view.inputs.rule.net_benefit_range
    if stated is None:
        caption = (
            "No range of threshold probabilities was stated: the curve is shown, and not used in the verdict."
        )
    else:
        caption = f"Shown over the stated range, {format_number(stated[0])} to {format_number(stated[1])}."
    if stated is None:
        _, end = shown_range(with_curve, view.inputs.assessment.treat_all, None)
        if end < 1:
            caption += (
                f" Shown up to {format_number(end, digits=2)}: beyond it hardly anything is gained by acting."
            )
    caption = " ".join([caption, *_curves_of_miscalibration(view, with_curve)])
    drawing = draw_decision_curve(
        with_curve, view.styles, treat_all=view.inputs.assessment.treat_all, stated_range=stated
    )
    return [Heading(text="Net benefit"), image_of(drawing, caption=caption)]


def is_miscalibrated(evaluation: ModelEvaluation) -> bool:
    """Whether slope or calibration-in-the-large is shown not to be ideal."""
    calibration = evaluation.calibration
    if calibration is None:
        return False
    ideals = ((calibration.slope, 1.0), (calibration.in_the_large, 0.0))
    return any(
        estimate.ci_low is not None
        and estimate.ci_high is not None
        and not estimate.ci_low <= ideal <= estimate.ci_high
        for estimate, ideal in ideals
    )


def _curves_of_miscalibration(view: View, evaluations: Sequence[ModelEvaluation]) -> list[str]:
    """Warning for models whose decision curve is computed from scores that are no good probabilities."""
    names = [view.label(one.model) for one in evaluations if is_miscalibrated(one)]
    if not names:
        return []
    return [
        (
            f"Net benefit takes scores for probabilities, and those of {join_words(names)} are miscalibrated (see "
            "above): the shape of such a curve may come from that, not from how well cases are told apart."
        )
    ]
