"""Two-by-two tables: confusion matrices on one colour scale, and agreement tables."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_estimate, format_number, format_p, format_percent
from medcompare.base.language import message, t
from medcompare.report.blocks import Explore, Matrix, MatrixCell, MatrixRow
from medcompare.report.results import row_fractions

if TYPE_CHECKING:
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import AgreementTable, Estimate, ModelEvaluation, PairedComparison

LIGHT, DARK, INK = (244, 247, 250), (122, 151, 184), "#1b2733"
"""Ends of the scale, and the ink of every cell: its contrast is 4.9 or more at every share (WCAG 2.2 asks for 4.5)."""
DISCORDANT, CONCORDANT = "#fbe3d3", "#ffffff"
PER_ROW = 2
DIFFERENCES = {
    "sensitivity": message("Difference in sensitivity {value}"),
    "specificity": message("Difference in specificity {value}"),
    "patients": message("Difference in patients {value}"),
}


def _shade(share: float | None) -> tuple[str, str]:
    """Background and ink for a share in [0, 1]; the same scale for every matrix."""
    if share is None:
        return "#ffffff", INK
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(LIGHT, DARK, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}", INK


def _confusion(view: View, evaluation: ModelEvaluation) -> Matrix:
    counts, shares = evaluation.confusion, row_fractions(evaluation.confusion)

    def cell(name: str, meaning: str) -> MatrixCell:
        share = shares[name]
        background, ink = _shade(share)
        return MatrixCell(
            count=format_count(getattr(counts, name)),
            share=t("no cases") if share is None else format_percent(share),
            meaning=meaning,
            background=background,
            ink=ink,
        )

    negative, positive = evaluation.classes
    return Matrix(
        title=view.name(evaluation.model),
        mark=view.mark(evaluation.model),
        row_axis=t("True class"),
        column_axis=t("Predicted class"),
        row_heads=(positive, negative),
        column_heads=(positive, negative),
        cells=(
            (cell("true_positive", t("correct")), cell("false_negative", t("missed"))),
            (cell("false_positive", t("false alarm")), cell("true_negative", t("correct"))),
        ),
        row_totals=(format_count(evaluation.n_positive), format_count(evaluation.n_negative)),
        lines=(),
    )


def confusion_rows(view: View) -> list[MatrixRow]:
    """Confusion matrices of all models, two next to each other."""
    matrices = [_confusion(view, evaluation) for evaluation in view.evaluations]
    caption = t("Counts and percentages of the true class (row); one colour scale for all matrices.")
    rows = [tuple(matrices[i : i + PER_ROW]) for i in range(0, len(matrices), PER_ROW)]
    return [
        MatrixRow(matrices=row, caption=caption if i == len(rows) - 1 else "") for i, row in enumerate(rows)
    ]


def trials(view: View) -> list[Explore]:
    """What other thresholds would give, to be tried out on the screen; nothing without steps of scores."""
    steps = {one.model: one for one in view.inputs.score_steps}
    found = []
    for evaluation in view.evaluations:
        if (one := steps.get(evaluation.model)) is None:
            continue
        counts = evaluation.confusion
        given = {
            "start": repr(one.start),
            "step": repr(one.step),
            "digits": str(max(0, -int(Decimal(repr(one.step)).normalize().as_tuple().exponent))),
            "negative": " ".join(map(str, one.negative)),
            "positive": " ".join(map(str, one.positive)),
            "threshold": format_number(evaluation.operating_point.threshold, digits=4),
            # Of the report, whose threshold lies between two steps.
            "own": f"{counts.true_positive} {counts.false_positive}",
            "shades": " ".join(map(str, (*LIGHT, *DARK))),
        }
        found.append((_confusion(view, evaluation), given))
    if not found:
        return []
    text = t(
        "Exploration, not the verdict: a threshold chosen on these test cases makes sensitivity and specificity look "
        "better than they will be elsewhere. Scores are rounded to steps, without ids and in no order; there are no "
        "intervals. Nothing set here changes the report or is kept."
    )
    share = f"{1000 * view.assessment.prevalence:.0f}"  # a value of HTML, in no language
    return [Explore(text=text, positives_per_thousand=share, trials=tuple(found))]


def _agreement(
    view: View,
    pair: PairedComparison,
    table: AgreementTable,
    difference: Estimate,
    *,
    key: str,
    name: str = "",
) -> Matrix:
    """Who is right where: in cases of the class `name`, or patients."""
    reference, candidate = view.label(pair.reference), view.label(pair.candidate)
    total = (
        table.both_correct + table.only_reference_correct + table.only_candidate_correct + table.both_wrong
    )

    def cell(count: int, meaning: str, *, discordant: bool) -> MatrixCell:
        return MatrixCell(
            count=format_count(count),
            share=t("no cases") if total == 0 else format_percent(count / total),
            meaning=meaning,
            background=DISCORDANT if discordant else CONCORDANT,
            ink=INK,
        )

    p = "" if difference.p_value is None else f", p\u00a0{_equals(difference.p_value)}"
    return Matrix(
        title=t("Class {name} (n = {n:,})", name=name, n=total)
        if name
        else t("Patients (n = {n:,})", n=total),
        mark=None,
        row_axis=reference,
        column_axis=candidate,
        row_heads=(t("right"), t("wrong")),
        column_heads=(t("right"), t("wrong")),
        cells=(
            (
                cell(table.both_correct, t("both"), discordant=False),
                cell(table.only_reference_correct, t("reference"), discordant=True),
            ),
            (
                cell(table.only_candidate_correct, t("candidate"), discordant=True),
                cell(table.both_wrong, t("neither"), discordant=False),
            ),
        ),
        row_totals=(
            format_count(table.both_correct + table.only_reference_correct),
            format_count(table.only_candidate_correct + table.both_wrong),
        ),
        lines=(f"{t(DIFFERENCES[key], value=format_estimate(difference, signed=True))}{p}",),
    )


def _equals(p_value: float) -> str:
    text = format_p(p_value)
    return text if text[0] in "<>" else f"=\u00a0{text}"


def agreement_row(view: View, pair: PairedComparison) -> MatrixRow:
    """Who is right where, for positives and negatives apart, and by patient; discordant cells tinted."""
    negative, positive = view.inputs.assessment.classes

    def of_class(table: AgreementTable, name: str, key: str) -> Matrix:
        # Of these cells, which are those of one training each, not of the means.
        difference = pair.differences.get(f"{key}_one_training", pair.differences[key])
        return _agreement(view, pair, table, difference, key=key, name=name)

    matrices = [
        of_class(pair.positives, positive, "sensitivity"),
        of_class(pair.negatives, negative, "specificity"),
    ]
    caption = t(
        "In the cells: who is right, with percentages of all cases of the class. Tinted cells are where the models "
        "disagree: they alone tell them apart."
    )
    if pair.patients is not None:
        patients = t("A patient counts as right where all cases of that patient are.")
        caption = f"{caption} {patients}"
        matrices.append(_agreement(view, pair, pair.patients, pair.patients.difference, key="patients"))
    return MatrixRow(
        matrices=tuple(matrices),
        caption=caption + view.of_first,
    )
