"""Sections that judge: models against each other, and each on its own."""

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
    draw_roc_and_precision_recall,
    draw_score_distributions,
)
from medcompare.report.figures_forest import ForestRow, draw_differences
from medcompare.report.figures_runs import draw_learning_curves, draw_seeds
from medcompare.report.formatting import format_count, format_estimate, format_level, format_number, format_p
from medcompare.report.matrices import agreement_row, confusion_rows
from medcompare.report.vocabulary import LOWER_IS_BETTER, METRIC_NAMES, base_metric, metric_name

if TYPE_CHECKING:
    from medcompare.report.blocks import Block
    from medcompare.report.inputs import ScoreDistribution
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate, ModelEvaluation, PairedComparison

PAIR = 2
JUDGED = ("auc", "sensitivity", "specificity")
CALIBRATION_ROWS = (
    ("slope", "Slope (1 is ideal)"),
    ("in_the_large", "In the large (0 is ideal)"),
    ("observed_expected", "Observed : expected (1 is ideal)"),
    ("brier", "Brier score (lower is better)"),
    ("scaled_brier", "Scaled Brier (higher is better)"),
    ("expected_calibration_error", "Expected calibration error"),
)


def head_to_head_section(view: View, number: int) -> Section:
    """Differences with margins, curves in one panel, agreement on the same cases."""
    assessment = view.inputs.assessment
    blocks: list[Block] = []
    title, lead = "Discrimination", "How well the scores tell the classes apart on the test subset."
    if view.pair is not None:
        title = "Head to head"
        lead = (
            f"All differences are candidate minus reference on the same test cases: "
            f"{view.name(view.pair.candidate)} minus {view.name(view.pair.reference)}."
        )
        if len(view.evaluations) > PAIR:
            blocks += [Heading(text="All pairs"), *_all_pairs(view)]
            heading = f"{view.name(view.pair.candidate)} against {view.name(view.pair.reference)}"
            blocks.append(Heading(text=heading))
        blocks += [_forest(view, view.pair), _difference_table(view, view.pair)]
        probability = view.pair.probability_candidate_more_accurate
        if probability.value is not None:
            blocks.append(
                Paragraph(
                    text=f"Probability that {view.name(view.pair.candidate)} is really the more accurate one "
                    f"({probability.method}): {format_estimate(probability)}."
                )
            )
    curves = draw_roc_and_precision_recall(view.evaluations, view.styles, prevalence=assessment.prevalence)
    blocks += [
        Heading(text="ROC and precision\u2013recall"),
        image_of(
            curves,
            caption=f"Marks with crosses: frozen operating points with {format_level(assessment.level)} intervals. "
            "Bands, where drawn, are bootstrap intervals. Dotted: a ranking by chance.",
        ),
    ]
    if view.pair is not None:
        blocks += [Heading(text="Agreement on the same cases"), agreement_row(view, view.pair)]
    return Section(number=number, anchor="comparison", title=title, lead=lead, blocks=tuple(blocks))


def _margin(view: View, key: str) -> float | None:
    rule = view.inputs.rule
    margins = {"auc": rule.margin_auc, "sensitivity": rule.margin_sensitivity, "specificity": rule.margin_specificity}
    return margins.get(key)


def _forest(view: View, pair: PairedComparison) -> Block:
    keys = [key for key in METRIC_NAMES if key in pair.differences]
    assessment = view.inputs.assessment
    drawing = draw_differences(
        [
            ForestRow(
                label=metric_name(key, short=True),
                estimate=pair.differences[key],
                margin=_margin(view, key),
                lower_is_better=key in LOWER_IS_BETTER,
            )
            for key in keys
        ],
        reference=view.label(pair.reference),
        candidate=view.label(pair.candidate),
        n=assessment.n,
        n_positive=assessment.n_positive,
        level=assessment.level,
    )
    caption = (
        "Shaded: acceptable, no worse than the margin (dashed). AUC, sensitivity and specificity are judged against a "
        "margin; all other rows are exploratory."
    )
    return image_of(drawing, caption=caption)


def _difference_table(view: View, pair: PairedComparison) -> Table:
    notes = Notes()
    known = [key for key in METRIC_NAMES if key in pair.differences]
    keys = known + [key for key in pair.differences if key not in known]
    by_model = {evaluation.model: evaluation for evaluation in view.evaluations}
    rows = []
    for key in keys:
        difference = pair.differences[key]
        values = []
        for model in (pair.reference, pair.candidate):
            estimate = by_model[model].metrics.get(base_metric(key)) if model in by_model else None
            known_value = estimate is not None and estimate.value is not None
            values.append(Cell(text=format_number(estimate.value)) if known_value and estimate is not None and estimate.value is not None else absent())
        rows.append(
            (
                Cell(text=metric_name(key, short=True), strong=key in JUDGED),
                *values,
                notes.cell(difference, signed=True),
                Cell(text=format_p(difference.p_value)),
                Cell(text=difference.method),
            )
        )
    level = format_level(view.inputs.assessment.level)
    return Table(
        caption=f"Differences with {level} intervals; a p-value without margin and interval says nothing about equality",
        columns=(
            Column(head="Figure", kind="text"),
            view.model_column(pair.reference),
            view.model_column(pair.candidate),
            Column(head="Difference"),
            Column(head="p"),
            Column(head="Method", kind="text"),
        ),
        rows=tuple(rows),
        notes=notes.listed(),
        dense=True,
    )


def _all_pairs(view: View) -> list[Block]:
    assessment, notes = view.inputs.assessment, Notes()
    rows, forest = [], []
    for pair in assessment.comparisons:
        auc = pair.differences["auc"]
        name = f"{view.label(pair.candidate)} \u2212 {view.label(pair.reference)}"
        forest.append(ForestRow(label=name, estimate=auc, margin=view.inputs.rule.margin_auc))
        rows.append(
            (
                Cell(text=name),
                notes.cell(auc, signed=True),
                Cell(text=format_p(auc.p_value)),
                Cell(text=format_p(pair.p_values_adjusted.get("auc"))),
                notes.cell(pair.differences["sensitivity"], signed=True),
                notes.cell(pair.differences["specificity"], signed=True),
            )
        )
    table = Table(
        caption=f"Every pair (candidate minus reference, {format_level(assessment.level)} intervals; adjusted after Holm)",
        columns=(
            Column(head="Pair", kind="text"),
            Column(head="AUC"),
            Column(head="p"),
            Column(head="p adjusted"),
            Column(head="Sensitivity"),
            Column(head="Specificity"),
        ),
        rows=tuple(rows),
        notes=notes.listed(),
        dense=True,
    )
    drawing = draw_differences(
        forest, reference="second", candidate="first", n=assessment.n, n_positive=assessment.n_positive,
        level=assessment.level,
    )  # fmt: skip
    return [image_of(drawing, caption="Difference of AUC for every pair; shaded: acceptable."), table]


def model_section(view: View, number: int) -> Section:
    """Every figure of every model, matrices, calibration, scores, learning curves."""
    blocks: list[Block] = [_metric_table(view)]
    blocks += [_operating_table(view), Heading(text="Confusion matrices"), *confusion_rows(view)]
    blocks += [Heading(text="Per class"), _class_table(view), Heading(text="Scores"), _scores(view)]
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
        title="The model" if single else "Each model",
        lead="Figures of the test subset at thresholds that were frozen before it was looked at.",
        blocks=tuple(block for block in blocks if block is not None),
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
                Cell(text={"validation": "validation subset", "user": "set by the user", "fixed": "fixed value"}[point.chosen_on]),
            )
        )
    return Table(
        caption="Operating points: positive where the score is at or above the threshold",
        columns=(
            Column(head="Model", kind="text"),
            Column(head="Threshold"),
            Column(head="Rule", kind="text"),
            Column(head="Chosen on", kind="text"),
        ),
        rows=tuple(rows),
        notes=notes.listed(),
        dense=True,
    )


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
        caption=f"Classification report ({format_level(view.inputs.assessment.level)} intervals)",
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


def _histogram(view: View, evaluation: ModelEvaluation) -> tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]] | None:
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
    return ImageRow(images=tuple(images), caption="Scores per true class; the dashed line is the frozen threshold.")


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
    recalibrated = sorted({e.calibration.recalibration for e in with_curve if e.calibration and e.calibration.recalibration})
    tail = f" Probabilities were recalibrated on validation ({', '.join(recalibrated)})." if recalibrated else ""
    caption = f"Filled bars: positive cases; hatched: negative. Dotted: perfect calibration.{tail}"
    image = image_of(draw_calibration(with_curve, view.styles), caption=caption)
    missing = [view.name(e.model) for e in view.evaluations if e.calibration is None]
    extra: list[Block] = [Paragraph(text=f"Not probabilities: {', '.join(missing)}.", tone="note")] if missing else []
    if len(with_curve) <= PAIR:
        return [heading, SplitRow(image=image, beside=(table, *extra))]
    return [heading, image, table, *extra]


def _decision(view: View) -> list[Block]:
    with_curve = [e for e in view.evaluations if e.decision_curve is not None]
    if not with_curve:
        return []
    stated = view.inputs.rule.net_benefit_range
    if stated is None:
        caption = "No range of threshold probabilities was stated: the curve is shown, and not used in the verdict."
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
    return [Heading(text="Learning curves"), ImageRow(images=images, caption=" ".join(selection))]


def _seeds(view: View) -> list[Block]:
    seeds = view.inputs.assessment.seeds
    if not seeds:
        return []
    caption = "Each mark is one training; the verdict is about the frozen checkpoint."
    return [Heading(text="Training seeds"), image_of(draw_seeds(seeds, view.styles), caption=caption)]
