"""Section that compares the models with each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    NOT_ESTIMABLE,
    capital,
    format_number,
    format_p,
    join_words,
    short_labels,
)
from medcompare.base.language import message, t
from medcompare.report.blocks import (
    DASH,
    Cell,
    Column,
    Heading,
    Notes,
    Paragraph,
    Section,
    image_of,
    muted,
    table,
    words,
)
from medcompare.report.figures.curves import draw_roc_and_precision_recall, zoomed_corner
from medcompare.report.figures.forest import ForestRow, draw_differences
from medcompare.report.figures.interval import draw_difference, ends_of
from medcompare.report.matrices import agreement_row
from medcompare.report.vocabulary import LOWER_IS_BETTER, METRIC_NAMES, base_metric, metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Block, Image, Row, Table
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate, PairedComparison

PAIR = 2
MARGIN_METRICS = ("auc", "sensitivity", "specificity")
"""Metrics that the rule holds against a margin."""

OPEN, NO_INTERVAL = message("open"), message("no interval")
"""Conclusions that are none."""

DRAWN_MM, MAX_FOREST_ROWS = 20.5, 32
"""Width of an interval in the table of differences; rows of a forest plot that fit on a page with its caption."""

TOPICS = {
    "discrimination": message("Discrimination"),
    "operating point": message("Operating point"),
    "calibration": message("Calibration"),
    "cost": message("Cost"),
}


def head_to_head_section(view: View, number: int) -> Section:
    """Differences with margins, curves in one panel, agreement on the same cases."""
    pair, lines = view.pair, view.assessment.verdict.lines
    blocks: list[Block] = []
    if lines:
        heads = (words(t("Criterion"), "17%"), words(t("Assessment")))
        rows = [(Cell(t(TOPICS[line.topic]), strong=True), line.text) for line in lines]
        blocks.append(table(t("Assessment by criterion"), heads, rows))
    title, lead = t("Discrimination"), t("How well the scores tell the classes apart on the test subset.")
    if pair is not None:
        title = t("Head to head")
        lead = t(
            "All differences are candidate minus reference on the same test cases: {candidate} minus {reference}.",
            candidate=view.name(pair.candidate),
            reference=view.name(pair.reference),
        )
        if len(view.evaluations) > PAIR:
            heading = t(
                "{candidate} against {reference}",
                candidate=view.name(pair.candidate),
                reference=view.name(pair.reference),
            )
            blocks += [Heading(t("All pairs")), *_all_pairs(view), Heading(heading)]
        blocks.append(_difference_table(view, pair))
    curves = draw_roc_and_precision_recall(
        view.evaluations, view.styles, prevalence=view.assessment.prevalence
    )
    caption = t(
        "Marks with crosses: operating points with {level} intervals, at {thresholds}. Bands, where "
        "drawn, are pointwise {level} bootstrap intervals: each holds at one place, not for the whole "
        "curve. Dotted: chance level.",
        level=view.level,
        thresholds=view.thresholds,
    )
    if zoomed_corner(view.evaluations) is not None:
        caption += " " + t("The upper left corner of the ROC is drawn once more, larger.")
    if pair is not None:  # below the table, where the curves would leave room
        blocks += [Heading(t("Agreement on the same cases")), agreement_row(view, pair)]
    blocks += [Heading(t("ROC and precision–recall")), image_of(curves, caption=f"{caption}{view.of_first}")]
    return Section(number=number, anchor="comparison", title=title, lead=lead, blocks=tuple(blocks))


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


def conclusion(low: float | None, high: float | None, margin: float) -> str:
    """What the interval of a benefit (above 0 is better) shows, held against the largest acceptable loss.

    The words of non-inferiority and equivalence trials (Piaggio et al. 2012, JAMA 308:2594): "not worse" means not
    by the margin or more. Independent of the verdict, which asks several questions at once.

    Examples
    --------
    >>> conclusion(-0.01, 0.05, 0.03)
    'not worse'
    """
    if low is None or high is None:
        return t(NO_INTERVAL)
    if low > 0:
        return t("better") if high >= margin else t("slightly better")
    if low > -margin:
        if high < 0:
            return t("slightly worse")
        return t("equivalent") if high < margin else t("not worse")
    if high < -margin:
        return t("worse")
    return t("worse, extent open") if high < 0 else t(OPEN)


def not_drawn(rows: Sequence[ForestRow]) -> str:
    """What a forest plot leaves out, and why: one clause per reason; empty where every row has a value."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.estimate.value is None:
            reasons.setdefault(row.estimate.note or t(NOT_ESTIMABLE), []).append(row.label)
    clauses = [f"{join_words(labels)} ({reason})" for reason, labels in reasons.items()]
    return t("Not drawn: {clauses}.", clauses="; ".join(clauses)) if clauses else ""


def forest_of(
    view: View,
    rows: Sequence[ForestRow],
    *,
    reference: str,
    candidate: str,
    caption: str = "",
    simultaneous: bool = False,
) -> Image | Paragraph:
    """Forest plot of the rows that have a value; the others, or all where none has, in words."""
    shown, left_out = [row for row in rows if row.estimate.value is not None], not_drawn(rows)
    if not shown:
        nothing = t("There is no difference to draw.")
        return Paragraph(f"{nothing} {left_out}", "note")
    drawing = draw_differences(
        shown,
        reference=reference,
        candidate=candidate,
        n=view.assessment.n,
        n_positive=view.assessment.n_positive,
        level=view.assessment.level,
        simultaneous=simultaneous,
    )
    return image_of(drawing, caption=" ".join(part for part in (caption, left_out) if part))


def forest_of_pairs(
    view: View, pairs: Sequence[OrientedPair], *, against: str | None = None, caption: str = ""
) -> Image | Paragraph:
    """Forest plot of the AUC differences of pairs, all of them `against` one model where it is given.

    The intervals allow for the number of pairs where they were computed so.
    """
    labels = dict(zip(view.styles, short_labels([s.name for s in view.styles.values()], 20), strict=True))
    rows = [
        ForestRow(
            label=view.label(pair.first) if against else f"{labels[pair.first]} \u2212 {labels[pair.second]}",
            estimate=(estimate := pair.difference("auc", simultaneous=True)),
            margin=(margin := view.inputs.rule.margin_auc),
            conclusion=conclusion(estimate.ci_low, estimate.ci_high, margin),
        )
        for pair in pairs
    ]
    return forest_of(
        view,
        rows,
        reference=view.label(against) if against else t("model named second"),
        candidate=t("the other model") if against else t("model named first"),
        caption=caption,
        simultaneous=is_simultaneous(view),
    )


def is_simultaneous(view: View) -> bool:
    """Whether intervals that allow for the number of pairs were computed."""
    comparisons = view.assessment.comparisons
    return bool(comparisons) and all(pair.auc_simultaneous is not None for pair in comparisons)


def interval_words(view: View) -> str:
    """What the intervals of several pairs are."""
    level, count = view.level, len(view.assessment.comparisons)
    if is_simultaneous(view):
        return t(
            "simultaneous {level} intervals: Bonferroni over all {count} pairs", level=level, count=count
        )
    return t("{level} intervals of each pair alone, not adjusted for {count} pairs", level=level, count=count)


def zone_words(view: View) -> str:
    """What the shaded zone of two models means, which depends on whether one is cheaper."""
    if both_ways(view):
        return t(
            "Shaded: equivalent, within the margin either way (dashed), as neither model is known to be "
            "cheaper. An interval wholly inside shows it."
        )
    return t("Shaded: acceptable, no worse than the margin (dashed). An interval wholly inside shows it.")


def both_ways(view: View) -> bool:
    """Whether a gain must stay within the margin like a loss: where the rule has no cheaper model."""
    return view.assessment.verdict.cheaper is None


def _difference_table(view: View, pair: PairedComparison) -> Table:
    """Figures of both models, their difference, and a forest plot of it in one.

    With more models no margin is drawn: the rule compares all pairs together.
    """
    notes = Notes()
    by_model = {evaluation.model: evaluation for evaluation in view.evaluations}
    alone = len(view.evaluations) == PAIR
    held_against = MARGIN_METRICS if alone else ()
    margins: dict[str, float] = {key: getattr(view.inputs.rule, f"margin_{key}") for key in held_against}
    benefits = {
        key: _negated(each) if key in LOWER_IS_BETTER else each for key, each in pair.differences.items()
    }
    ends = ends_of(benefits.values(), margins.values(), two_sided=both_ways(view))

    def named(words_: str, estimate: Estimate, *, strong: bool = False) -> Cell:
        """The name of a row, with how its difference was computed, if it was."""
        method = None if estimate.value is None else capital(estimate.method)
        return Cell(words_, strong=strong, note=notes.letter(method))

    def figure(model: str, key: str) -> Cell:
        one = by_model.get(model)
        estimate = None if one is None else one.over_seeds.get(key) or one.metrics.get(base_metric(key))
        if estimate is None:
            return muted(t("not computed"))
        return notes.cell(estimate) if estimate.value is None else Cell(format_number(estimate.value))

    def drawn(key: str, said: str) -> Cell:
        benefit, margin = benefits[key], margins.get(key)
        if benefit.value is None:
            return DASH
        drawing = draw_difference(
            benefit.value,
            benefit.ci_low,
            benefit.ci_high,
            margin=margin,
            margin_label="" if margin is None else format_number(-margin, digits=2),
            two_sided=both_ways(view),
            ends=ends,
            alt=t("Interval against the margin: {conclusion}", conclusion=said),
            width_mm=DRAWN_MM,
        )
        return Cell("", svg=drawing.svg)

    rows: list[Row] = []
    for key in sorted(pair.differences, key=lambda key: [*METRIC_NAMES, key].index(key)):
        difference = pair.differences[key]
        name = named(metric_name(key, short=True), difference, strong=key in MARGIN_METRICS)
        figures = [figure(model, key) for model in (pair.reference, pair.candidate)]
        said = (
            Cell(conclusion(difference.ci_low, difference.ci_high, margins[key]))
            if key in margins
            else muted(t("exploratory"))
        )
        rows.append(
            (
                name,
                *figures,
                notes.cell(difference, signed=True),
                drawn(key, said.text),
                said,
                format_p(difference.p_value),
            )
        )
    if any(one.over_seeds for one in view.evaluations):
        title = t(
            "Differences with {level} intervals; a p-value without margin and interval says nothing about equality; "
            "in bold: means over the trainings, all others: the first training",
            level=view.level,
        )
    else:
        title = t(
            "Differences with {level} intervals; a p-value without margin and interval says nothing about equality",
            level=view.level,
        )
    axis = t(
        "Drawn from {low} to {high}: to the right {candidate} is better, to the left {reference}; the sign of what is "
        "better when lower is turned.",
        low=format_number(ends[0], digits=2, signed=True),
        high=format_number(ends[1], digits=2, signed=True),
        candidate=view.label(pair.candidate),
        reference=view.label(pair.reference),
    )
    zone = (
        zone_words(view)
        if alone
        else t(
            "Intervals of this pair alone, not adjusted for the number of pairs, so no margin is drawn: the "
            "rule compares all pairs together, as shown above."
        )
    )
    remarks = [axis, zone, *_detectable(pair)]
    return table(
        title,
        (
            words(t("Metric"), "18.6%"),
            *(replace(one, width="13.2%") for one in view.columns((pair.reference, pair.candidate))),
            Column(t("Difference"), "24.4%"),
            Column(t("Interval"), "12.6%", "figure"),
            words(t("Conclusion"), "11.5%"),
            Column("p", "6.5%"),
        ),
        rows,
        notes=notes.with_remark(" ".join(remarks)),
    )


def _detectable(pair: PairedComparison) -> list[str]:
    """The smallest differences that this test could have shown, one sentence for each way to compute them.

    Where a figure has none, its row of the table says why.
    """
    by_method: dict[str, list[str]] = {}
    for key, smallest in pair.detectable.items():
        if smallest.value is not None:
            number = format_number(smallest.value)
            by_method.setdefault(smallest.method, []).append(f"{metric_name(key, short=True)} {number}")
    return [
        t(
            "Smallest differences that this test could have shown ({method}): {differences}.",
            method=method,
            differences=join_words(found),
        )
        for method, found in by_method.items()
    ]


def _all_pairs(view: View) -> list[Block]:
    notes = Notes()
    pairs = [oriented(pair) for pair in view.assessment.comparisons]
    rows: list[Row] = []
    for pair in pairs:
        auc = pair.difference("auc", simultaneous=True)
        rows.append(
            (
                f"{view.label(pair.first)} \u2212 {view.label(pair.second)}",
                notes.cell(auc, signed=True),
                format_p(auc.p_value),
                format_p(pair.pair.p_values_adjusted.get("auc")),
                notes.cell(pair.difference("sensitivity"), signed=True),
                notes.cell(pair.difference("specificity"), signed=True),
            )
        )
    caption = t(
        "Difference of AUC for every pair, the lower minus the higher one ({intervals}). Shaded: a "
        "loss within the margin (dashed).",
        intervals=interval_words(view),
    )
    blocks: list[Block] = []
    for start in range(0, len(pairs), MAX_FOREST_ROWS):
        part = pairs[start : start + MAX_FOREST_ROWS]
        last = start + MAX_FOREST_ROWS >= len(pairs)
        blocks.append(forest_of_pairs(view, part, caption=caption if last else ""))
    title = t(
        "Every pair, the lower AUC minus the higher one (AUC: {intervals}; p adjusted after Holm; "
        "sensitivity and specificity: intervals of each pair alone)",
        intervals=interval_words(view),
    )
    heads = (words(t("Pair"), "28%"), "AUC", "p", t("p adjusted"), t("Sensitivity"), t("Specificity"))
    return [*blocks, table(title, heads, rows, notes=notes)]
