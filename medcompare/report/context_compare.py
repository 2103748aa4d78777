"""Section that judges the models against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.report.blocks import (
    Cell,
    Column,
    Heading,
    Notes,
    Paragraph,
    Section,
    Table,
    absent,
    image_of,
)
from medcompare.report.figures_curves import (
    draw_roc_and_precision_recall,
)
from medcompare.report.figures_forest import ForestRow, draw_differences
from medcompare.report.formatting import (
    capital,
    format_estimate,
    format_level,
    format_number,
    format_p,
    short_labels,
)
from medcompare.report.matrices import agreement_row
from medcompare.report.vocabulary import LOWER_IS_BETTER, METRIC_NAMES, base_metric, metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Block
    from medcompare.report.figures import Drawing
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import PairedComparison

PAIR = 2
JUDGED = ("auc", "sensitivity", "specificity")


def head_to_head_section(view: View, number: int) -> Section:
    """Differences with margins, curves in one panel, agreement on the same cases."""
    assessment = view.inputs.assessment
    blocks: list[Block] = _judgements(view)
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
    # A short list of supplied cases leaves room below it.
    new_page = view.inputs.manifest is not None
    return Section(
        number=number, anchor="comparison", title=title, lead=lead, blocks=tuple(blocks), new_page=new_page
    )


def _judgements(view: View) -> list[Block]:
    """Discrimination, operating point, calibration and cost, each judged apart."""
    lines = view.inputs.assessment.verdict.lines
    if not lines:
        return []
    return [
        Table(
            caption="Judged apart",
            columns=(Column(head="What", kind="text", width="17%"), Column(head="Judgement", kind="text")),
            rows=tuple((Cell(text=capital(line.topic), strong=True), Cell(text=line.text)) for line in lines),
            dense=True,
        )
    ]


def draw_pairs(view: View, pairs: Sequence[PairedComparison]) -> Drawing:
    """Forest plot of the AUC differences of several pairs."""
    assessment = view.inputs.assessment
    labels = dict(zip(view.styles, short_labels([s.name for s in view.styles.values()], 20), strict=True))
    rows = [
        ForestRow(
            label=f"{labels[pair.candidate]} \u2212 {labels[pair.reference]}",
            estimate=pair.differences["auc"],
            margin=view.inputs.rule.margin_auc,
        )
        for pair in pairs
    ]
    return draw_differences(
        rows,
        reference="second",
        candidate="first",
        n=assessment.n,
        n_positive=assessment.n_positive,
        level=assessment.level,
    )


def _margin(view: View, key: str) -> float | None:
    rule = view.inputs.rule
    margins = {
        "auc": rule.margin_auc,
        "sensitivity": rule.margin_sensitivity,
        "specificity": rule.margin_specificity,
    }
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
            value = None if estimate is None else estimate.value
            values.append(absent() if value is None else Cell(text=format_number(value)))
        rows.append(
            (
                Cell(text=metric_name(key, short=True), strong=key in JUDGED),
                *values,
                notes.cell(difference, signed=True),
                Cell(text=format_p(difference.p_value)),
                Cell(text=capital(difference.method)),
            )
        )
    for key, smallest in pair.detectable.items():
        rows.append(
            (
                Cell(text=f"Detectable difference, {metric_name(key, short=True)}"),
                absent(),
                absent(),
                notes.cell(smallest),
                absent(),
                Cell(text=capital(smallest.method)),
            )
        )
    level = format_level(view.inputs.assessment.level)
    return Table(
        caption=f"Differences with {level} intervals; "
        "a p-value without margin and interval says nothing about equality",
        columns=(
            Column(head="Figure", kind="text", width="18%"),
            view.model_column(pair.reference),
            view.model_column(pair.candidate),
            Column(head="Difference", width="23%"),
            Column(head="p", width="7%"),
            Column(head="Method", kind="text", width="27%"),
        ),
        rows=tuple(rows),
        notes=notes.listed(),
        dense=True,
    )


def _all_pairs(view: View) -> list[Block]:
    assessment, notes = view.inputs.assessment, Notes()
    rows = []
    for pair in assessment.comparisons:
        auc = pair.differences["auc"]
        name = f"{view.label(pair.candidate)} \u2212 {view.label(pair.reference)}"
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
        caption=f"Every pair (candidate minus reference, {format_level(assessment.level)} intervals; "
        "adjusted after Holm)",
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
    drawing = draw_pairs(view, assessment.comparisons)
    return [image_of(drawing, caption="Difference of AUC for every pair; shaded: acceptable."), table]
