"""Section that judges each model on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
)
from medcompare.report.figures_curves import (
    draw_calibration,
    draw_decision_curve,
    draw_score_distributions,
)
from medcompare.report.figures_runs import draw_learning_curves, draw_seeds
from medcompare.report.formatting import (
    format_count,
    format_duration,
    format_level,
    format_number,
    join_words,
)
from medcompare.report.matrices import confusion_rows
from medcompare.report.vocabulary import METRIC_NAMES, metric_name

if TYPE_CHECKING:
    from medcompare.report.blocks import Block
    from medcompare.report.inputs import ScoreDistribution
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate, ModelEvaluation
    from medcompare.training_records import TrainedModel

PAIR = 2
CALIBRATION_ROWS = (
    ("slope", "Slope (1 is ideal)"),
    ("in_the_large", "In the large (0 is ideal)"),
    ("observed_expected", "Observed : expected (1 is ideal)"),
    ("brier", "Brier score (lower is better)"),
    ("scaled_brier", "Scaled Brier (higher is better)"),
    ("expected_calibration_error", "Expected calibration error"),
)


def model_section(view: View, number: int) -> Section:
    """Every figure of every model, matrices, calibration, scores, learning curves."""
    blocks: list[Block] = [_metric_table(view)]
    blocks += [_operating_table(view), Heading(text="Confusion matrices"), *confusion_rows(view)]
    blocks += [
        Heading(text="Classification report"),
        _class_table(view),
        Heading(text="Scores"),
        _scores(view),
    ]
    blocks += [*_calibration(view), *_decision(view), *_learning(view), *_seeds(view)]
    for evaluation in view.evaluations:
        if evaluation.warnings:
            blocks += [
                Heading(text=f"To beware of: {view.name(evaluation.model)}", level=4),
                Bullets(items=evaluation.warnings),
            ]
    single = len(view.evaluations) == 1
    return Section(
        number=number,
        anchor="models",
        new_page=True,
        title="The model" if single else "Each model",
        lead="Figures of the test subset at thresholds that were frozen before it was looked at.",
        blocks=tuple(blocks),
    )


def _metric_table(view: View) -> Table:
    notes = Notes()
    keys = [key for key in METRIC_NAMES if any(key in e.metrics for e in view.evaluations)]
    keys += [key for e in view.evaluations for key in e.metrics if key not in keys]
    keys = [key for key in dict.fromkeys(keys) if not _not_asked(view, key)]
    rows = []
    for key in keys:
        cells = [notes.cell(e.metrics[key]) if key in e.metrics else absent() for e in view.evaluations]
        rows.append((Cell(text=metric_name(key)), *cells))
    return Table(
        caption=f"All figures ({format_level(view.inputs.assessment.level)} intervals)",
        columns=(Column(head="Figure", kind="text"), *(view.model_column(e.model) for e in view.evaluations)),
        rows=tuple(rows),
        notes=notes.listed(),
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
        rule = point.rule if point.reached else f"{point.rule} (not reached)"
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
                        "convention": "nothing: a convention",
                    }[point.chosen_on]
                ),
                _habit(evaluation),
            )
        )
    return Table(
        caption="Operating points: positive where the score is at or above the threshold",
        columns=(
            Column(head="Model", kind="text"),
            Column(head="Threshold"),
            Column(head="Rule", kind="text"),
            Column(head="Chosen on", kind="text"),
            Column(head="0.5 would give", kind="text"),
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
        caption=f"Figures per class ({format_level(view.inputs.assessment.level)} intervals)",
        columns=(
            Column(head="Model", kind="text"),
            Column(head="Class", kind="text"),
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
    return ImageRow(
        images=tuple(images), caption="Scores per true class; the dashed line is the frozen threshold."
    )


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
    table = Table(
        caption="Calibration in numbers",
        columns=(Column(head="Figure", kind="text"), *(view.model_column(e.model) for e in with_curve)),
        rows=tuple(rows),
        notes=notes.listed(),
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
        return [heading, SplitRow(image=image, beside=(table, *extra))]
    return [heading, image, table, *extra]


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
    drawing = draw_decision_curve(
        with_curve, view.styles, treat_all=view.inputs.assessment.treat_all, stated_range=stated
    )
    return [Heading(text="Net benefit"), image_of(drawing, caption=caption)]


def _learning(view: View) -> list[Block]:
    order = list(view.styles)
    trained = sorted((t for t in view.inputs.trained if t.history), key=lambda t: order.index(t.model))
    if not trained:
        return []
    images = tuple(image_of(draw_learning_curves(t, view.styles[t.model])) for t in trained)
    selection = sorted({t.selection for t in trained})
    blocks: list[Block] = [
        Heading(text="Learning curves"),
        ImageRow(images=images, caption=" ".join(selection)),
    ]
    if any(t.batch_norm for t in trained):
        blocks.append(_batch_statistics(view, trained))
    return blocks


def _batch_statistics(view: View, trained: list[TrainedModel]) -> Table:
    """What the running statistics of each library would have made of the same checkpoint."""
    notes = Notes()
    lines: list[tuple[str, list[Cell]]] = [
        ("Weight of a new batch in the library\u2019s running statistics", []),
        ("Loss of the sample, training mode", []),
        ("Loss of the sample, evaluation, statistics re-measured", []),
        ("Loss of the sample, evaluation, running statistics", []),
        ("Validation AUC, statistics re-measured", []),
        ("Validation AUC, running statistics", []),
        ("Test AUC, statistics re-measured (as judged)", []),
        ("Test AUC, running statistics", []),
        ("Difference of test AUC", []),
        ("Time of re-measuring, of the whole training", []),
    ]
    for one in trained:
        column = [row for _, row in lines]
        evaluation = next(e for e in view.evaluations if e.model == one.model)
        if one.batch_norm is None:
            column[0].append(Cell(text="no batch normalisation", muted=True))
            for row in column[1:]:
                row.append(absent())
            continue
        kept, running = one.kept, evaluation.running_statistics
        seconds = sum(log.remeasuring_s for log in one.history)
        column[0].append(Cell(text=join_words(f"{m:.3g}" for m in one.batch_norm.momenta)))
        numbers = (
            kept.sample_loss_training_mode,
            kept.sample_loss,
            kept.sample_loss_running,
            kept.val_auc,
            kept.val_auc_running,
        )
        for row, value in zip(column[1:6], numbers, strict=True):
            row.append(absent() if value is None else Cell(text=format_number(value)))
        column[6].append(notes.cell(evaluation.metrics["auc"]) if "auc" in evaluation.metrics else absent())
        column[7].append(absent() if running is None else notes.cell(running.auc))
        column[8].append(absent() if running is None else notes.cell(running.difference, signed=True))
        column[9].append(Cell(text=f"{format_duration(seconds)} of {format_duration(one.elapsed_s)}"))
    n_images = sorted({t.batch_norm.n_sample_images for t in trained if t.batch_norm})
    sample = join_words(format_count(n) for n in n_images)
    return Table(
        caption=f"Batch statistics at the epoch that was kept; the sample is {sample} training images without "
        "augmentation",
        columns=(Column(head="Figure", kind="text"), *(view.model_column(t.model) for t in trained)),
        rows=tuple((Cell(text=label), *cells) for label, cells in lines),
        notes=notes.listed(),
        dense=True,
    )


def _seeds(view: View) -> list[Block]:
    seeds = view.inputs.assessment.seeds
    if not seeds:
        return []
    caption = "Each mark is one training; the verdict is about the frozen checkpoint."
    blocks: list[Block] = [
        Heading(text="Training seeds"),
        image_of(draw_seeds(seeds, view.styles), caption=caption),
    ]
    compared = view.inputs.assessment.seed_comparisons
    if not compared:
        return blocks
    notes = Notes()
    table = Table(
        caption="Difference of AUC over the seeds, candidate minus reference",
        columns=(
            Column(head="Pair", kind="text"),
            Column(head="Seeds"),
            Column(head="Mean"),
            Column(head="SD between seeds"),
            Column(head="Verdict depends on the seed", kind="text"),
        ),
        rows=tuple(
            (
                Cell(text=f"{view.label(row.candidate)} \u2212 {view.label(row.reference)}"),
                Cell(text=format_count(len(row.seeds))),
                notes.cell(row.mean, signed=True),
                Cell(text=format_number(row.standard_deviation)),
                Cell(text="yes" if row.sensitive else "no", strong=row.sensitive),
            )
            for row in compared
        ),
        notes=notes.listed(),
        dense=True,
    )
    return [*blocks, table]
