"""Section that judges the models against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    NOT_ESTIMABLE,
    capital,
    format_level,
    format_number,
    format_p,
    join_words,
    short_labels,
)
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
from medcompare.report.figures.curves import (
    draw_roc_and_precision_recall,
)
from medcompare.report.figures.forest import ForestRow, draw_differences
from medcompare.report.matrices import agreement_row
from medcompare.report.vocabulary import LOWER_IS_BETTER, METRIC_NAMES, base_metric, metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Block, Image
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate, PairedComparison

PAIR = 2
JUDGED = ("auc", "sensitivity", "specificity")
MAX_FOREST_ROWS = 32
"""Rows of a forest plot that fit on a page with its caption."""


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
    curves = draw_roc_and_precision_recall(view.evaluations, view.styles, prevalence=assessment.prevalence)
    blocks += [
        Heading(text="ROC and precision\u2013recall"),
        image_of(
            curves,
            caption=f"Marks with crosses: operating points with {format_level(assessment.level)} intervals, "
            f"at {view.thresholds}. "
            "Bands, where drawn, are bootstrap intervals. Dotted: chance level.",
        ),
    ]
    if view.pair is not None:
        blocks += [Heading(text="Agreement on the same cases"), agreement_row(view, view.pair)]
    return Section(number=number, anchor="comparison", title=title, lead=lead, blocks=tuple(blocks))


def _judgements(view: View) -> list[Block]:
    """Discrimination, operating point, calibration and cost, each judged apart."""
    lines = view.inputs.assessment.verdict.lines
    if not lines:
        return []
    return [
        Table(
            caption="Assessment by criterion",
            columns=(
                Column(head="Criterion", kind="text", width="17%"),
                Column(head="Assessment", kind="text"),
            ),
            rows=tuple((Cell(text=capital(line.topic), strong=True), Cell(text=line.text)) for line in lines),
            dense=True,
        )
    ]


@dataclass(frozen=True, kw_only=True)
class OrientedPair:
    """A pair with the better model second, as the rule asks how much the others lose."""

    first: str
    second: str
    pair: PairedComparison
    flipped: bool

    def difference(self, key: str, *, simultaneous: bool = False) -> Estimate:
        """First minus second; of the AUC, where asked for, with the interval that allows for all pairs."""
        estimate = self.pair.differences[key]
        if simultaneous and key == "auc" and self.pair.auc_simultaneous is not None:
            estimate = self.pair.auc_simultaneous
        return _negated(estimate) if self.flipped else estimate


def _negated(estimate: Estimate) -> Estimate:
    def minus(value: float | None) -> float | None:
        return None if value is None else -value

    return estimate.model_copy(
        update={
            "value": minus(estimate.value),
            "ci_low": minus(estimate.ci_high),
            "ci_high": minus(estimate.ci_low),
        }
    )


def oriented(pair: PairedComparison, *, second: str | None = None) -> OrientedPair:
    """`pair` with `second`, or else the model of the higher AUC, as what is subtracted."""
    if second is None:
        value = pair.differences["auc"].value
        second = pair.candidate if value is not None and value > 0 else pair.reference
    flipped = second == pair.candidate
    first = pair.reference if flipped else pair.candidate
    return OrientedPair(first=first, second=second, pair=pair, flipped=flipped)


def not_drawn(rows: Sequence[ForestRow]) -> str:
    """What a forest plot leaves out, and why: one clause per reason; empty where every row has a value."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.estimate.value is None:
            reasons.setdefault(row.estimate.note or NOT_ESTIMABLE, []).append(row.label)
    clauses = [f"{join_words(labels)} ({reason})" for reason, labels in reasons.items()]
    return f"Not drawn: {'; '.join(clauses)}." if clauses else ""


def forest_of(
    view: View,
    rows: Sequence[ForestRow],
    *,
    reference: str,
    candidate: str,
    caption: str = "",
    simultaneous: bool = False,
) -> Image | Paragraph:
    """Forest plot of the rows that have a value; the others, or all where none has, in words.

    Parameters
    ----------
    view : View
        The report.
    rows : sequence of ForestRow
        From top to bottom.
    reference, candidate : str
        What is subtracted from what.
    caption : str
        What the plot shows.
    simultaneous : bool, default=False
        Whether the intervals allow for the number of comparisons.

    Returns
    -------
    Image or Paragraph
    """
    shown, words = [row for row in rows if row.estimate.value is not None], not_drawn(rows)
    if not shown:
        return Paragraph(text=f"There is no difference to draw. {words}", tone="note")
    assessment = view.inputs.assessment
    drawing = draw_differences(
        shown,
        reference=reference,
        candidate=candidate,
        n=assessment.n,
        n_positive=assessment.n_positive,
        level=assessment.level,
        simultaneous=simultaneous,
    )
    return image_of(drawing, caption=" ".join(part for part in (caption, words) if part))


def forest_of_pairs(
    view: View, pairs: Sequence[OrientedPair], *, against: str | None = None, caption: str = ""
) -> Image | Paragraph:
    """Forest plot of the AUC differences of several pairs, with intervals that allow for their number.

    Parameters
    ----------
    view : View
        The report.
    pairs : sequence of OrientedPair
        From top to bottom.
    against : str, optional
        The model that all others are compared with: then only the others are named.
    caption : str
        What the plot shows.

    Returns
    -------
    Image or Paragraph
    """
    labels = dict(zip(view.styles, short_labels([s.name for s in view.styles.values()], 20), strict=True))
    rows = [
        ForestRow(
            label=view.label(pair.first) if against else f"{labels[pair.first]} \u2212 {labels[pair.second]}",
            estimate=pair.difference("auc", simultaneous=True),
            margin=view.inputs.rule.margin_auc,
        )
        for pair in pairs
    ]
    return forest_of(
        view,
        rows,
        reference=view.label(against) if against else "model named second",
        candidate="the other model" if against else "model named first",
        caption=caption,
        simultaneous=is_simultaneous(view),
    )


def is_simultaneous(view: View) -> bool:
    """Whether intervals that allow for the number of pairs were computed."""
    comparisons = view.inputs.assessment.comparisons
    return bool(comparisons) and all(pair.auc_simultaneous is not None for pair in comparisons)


def interval_words(view: View) -> str:
    """What the intervals of several pairs are."""
    level, count = format_level(view.inputs.assessment.level), len(view.inputs.assessment.comparisons)
    if is_simultaneous(view):
        return f"simultaneous {level} intervals: Bonferroni over all {count} pairs"
    return f"{level} intervals of each pair alone, not adjusted for {count} pairs"


def _margin(view: View, key: str) -> float | None:
    rule = view.inputs.rule
    margins = {
        "auc": rule.margin_auc,
        "sensitivity": rule.margin_sensitivity,
        "specificity": rule.margin_specificity,
    }
    return margins.get(key)


def zone_words(view: View) -> str:
    """What the shaded zone of two models means, which depends on whether one is cheaper."""
    if both_ways(view):
        return (
            "Shaded: equivalent, within the margin either way (dashed), as neither model is known to be cheaper. "
            "An interval wholly inside shows it."
        )
    return "Shaded: acceptable, no worse than the margin (dashed). An interval wholly inside shows it."


def both_ways(view: View) -> bool:
    """Whether a gain must stay within the margin like a loss: where the rule has no cheaper model."""
    return view.inputs.assessment.verdict.cheaper is None


def _forest(view: View, pair: PairedComparison) -> Block:
    keys = [key for key in METRIC_NAMES if key in pair.differences]
    alone = len(view.evaluations) == PAIR
    rows = [
        ForestRow(
            label=metric_name(key, short=True),
            estimate=pair.differences[key],
            margin=_margin(view, key) if alone else None,
            two_sided=both_ways(view),
            lower_is_better=key in LOWER_IS_BETTER,
        )
        for key in keys
    ]
    if alone:
        caption = (
            f"{zone_words(view)} AUC, sensitivity and specificity are judged against a margin; all other rows are "
            "exploratory."
        )
    else:
        caption = (
            "Intervals of this pair alone, not adjusted for the number of pairs, so no margin is drawn: the rule "
            "judges all pairs together, as shown above."
        )
    return forest_of(
        view,
        rows,
        reference=view.label(pair.reference),
        candidate=view.label(pair.candidate),
        caption=caption,
    )


def _method(estimate: Estimate) -> Cell:
    """How a figure was computed, if it was."""
    return absent("not computed") if estimate.value is None else Cell(text=capital(estimate.method))


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
            if estimate is None:
                values.append(absent("not computed"))
            elif estimate.value is None:
                values.append(notes.cell(estimate))
            else:
                values.append(Cell(text=format_number(estimate.value)))
        rows.append(
            (
                Cell(text=metric_name(key, short=True), strong=key in JUDGED),
                *values,
                notes.cell(difference, signed=True),
                Cell(text=format_p(difference.p_value)),
                _method(difference),
            )
        )
    for key, smallest in pair.detectable.items():
        rows.append(
            (
                Cell(text=f"Detectable difference, {metric_name(key, short=True)}"),
                Cell(text="\u2013", muted=True),
                Cell(text="\u2013", muted=True),
                notes.cell(smallest),
                Cell(text="\u2013", muted=True),
                _method(smallest),
            )
        )
    level = format_level(view.inputs.assessment.level)
    return Table(
        caption=f"Differences with {level} intervals; "
        "a p-value without margin and interval says nothing about equality",
        columns=(
            Column(head="Metric", kind="text", width="18%"),
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
    notes = Notes()
    pairs = [oriented(pair) for pair in view.inputs.assessment.comparisons]
    rows = []
    for pair in pairs:
        auc = pair.difference("auc", simultaneous=True)
        rows.append(
            (
                Cell(text=f"{view.label(pair.first)} \u2212 {view.label(pair.second)}"),
                notes.cell(auc, signed=True),
                Cell(text=format_p(auc.p_value)),
                Cell(text=format_p(pair.pair.p_values_adjusted.get("auc"))),
                notes.cell(pair.difference("sensitivity"), signed=True),
                notes.cell(pair.difference("specificity"), signed=True),
            )
        )
    table = Table(
        caption=f"Every pair, the lower AUC minus the higher one (AUC: {interval_words(view)}; p adjusted after Holm; "
        "sensitivity and specificity: intervals of each pair alone)",
        columns=(
            Column(head="Pair", kind="text", width="28%"),
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
    blocks: list[Block] = []
    for start in range(0, len(pairs), MAX_FOREST_ROWS):
        part = pairs[start : start + MAX_FOREST_ROWS]
        last = start + MAX_FOREST_ROWS >= len(pairs)
        caption = (
            f"Difference of AUC for every pair, the lower minus the higher one ({interval_words(view)}). "
            "Shaded: a loss within the margin (dashed)."
        )
        blocks.append(forest_of_pairs(view, part, caption=caption if last else ""))
    return [*blocks, table]
