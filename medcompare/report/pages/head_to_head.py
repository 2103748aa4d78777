"""Section that compares the models with each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medcompare.base.formatting import capital, format_number, format_p, join_words
from medcompare.base.language import message, t
from medcompare.report.blocks import (
    DASH,
    Cell,
    Column,
    Heading,
    Notes,
    Section,
    image_of,
    muted,
    table,
    words,
)
from medcompare.report.figures.curves import draw_roc_and_precision_recall, zoomed_corner
from medcompare.report.figures.interval import draw_difference, ends_of
from medcompare.report.inputs import PAIR
from medcompare.report.matrices import agreement_row
from medcompare.report.pages.compare import (
    MARGIN_METRICS,
    all_pairs,
    both_ways,
    conclusion,
    negated,
    zone_words,
)
from medcompare.report.pages.uses import uses_of
from medcompare.report.vocabulary import LOWER_IS_BETTER, METRIC_NAMES, base_metric, metric_name

if TYPE_CHECKING:
    from medcompare.report.blocks import Block, Row, Table
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate, PairedComparison

DRAWN_MM = 22.0
"""Width of an interval in the table of differences."""

CRITERIA: dict[str, frozenset[str]] = {
    message("Discrimination"): frozenset({"auc", "average_precision"}),
    message("Operating point"): frozenset(),  # all others
    message("Calibration"): frozenset({"brier", "expected_calibration_error"}),
}
"""What the figures of a pair are about."""


def head_to_head_section(view: View, number: int) -> Section:
    """Differences with margins, curves in one panel, agreement on the same cases."""
    pair = view.pair
    blocks: list[Block] = []
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
            blocks += [Heading(t("All pairs")), *all_pairs(view), Heading(heading)]
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


def _criterion(key: str) -> int:
    """Place of a figure's criterion in `CRITERIA`."""
    metric = base_metric(key)
    return next((i for i, metrics in enumerate(CRITERIA.values()) if metric in metrics), 1)


def _difference_table(view: View, pair: PairedComparison) -> Table:
    """Figures of both models by criterion, their difference, and a forest plot of it in one.

    With more models no margin is drawn, as the rule compares all pairs together, and the intervals of each model are
    in the table of all of them.
    """
    notes = Notes()
    by_model = {evaluation.model: evaluation for evaluation in view.evaluations}
    alone = len(view.evaluations) == PAIR
    held_against = MARGIN_METRICS if alone else ()
    margins: dict[str, float] = {key: getattr(view.inputs.rule, f"margin_{key}") for key in held_against}
    benefits = {
        key: negated(each) if key in LOWER_IS_BETTER else each for key, each in pair.differences.items()
    }
    ends = ends_of(benefits.values(), margins.values(), two_sided=both_ways(view))

    def named(key: str, estimate: Estimate) -> Cell:
        """The name of a row, with its margin and how its difference was computed, if there are any."""
        method = None if estimate.value is None else capital(estimate.method)
        name = metric_name(key, short=True)
        if key not in margins:
            return Cell(name, strong=key in MARGIN_METRICS, note=notes.letter(method))
        margin = t("(margin {margin})", margin=format_number(margins[key], digits=2))
        return Cell(name, interval=margin, strong=True, note=notes.letter(method))

    def figure(model: str, key: str) -> Cell:
        one = by_model.get(model)
        estimate = None if one is None else one.over_seeds.get(key) or one.metrics.get(base_metric(key))
        if estimate is None:
            return muted(t("not computed"))
        # A figure by a second method has the interval of the first, which is printed above.
        if estimate.value is None or (alone and key == base_metric(key)):
            return notes.cell(estimate)
        return Cell(format_number(estimate.value))

    def drawn(key: str) -> Cell:
        benefit, margin = benefits[key], margins.get(key)
        if benefit.value is None:
            return DASH
        difference = pair.differences[key]
        said = "" if margin is None else conclusion(difference.ci_low, difference.ci_high, margin)
        drawing = draw_difference(
            benefit.value,
            benefit.ci_low,
            benefit.ci_high,
            margin=margin,
            margin_label="",
            two_sided=both_ways(view),
            ends=ends,
            alt=t("Interval against the margin") if said else t("Interval"),
            width_mm=DRAWN_MM,
        )
        return Cell(said, svg=drawing.svg, strong=bool(said))

    rows: list[Row] = []
    criterion = None
    for key in sorted(pair.differences, key=lambda key: (_criterion(key), [*METRIC_NAMES, key].index(key))):
        if _criterion(key) != criterion:
            criterion = _criterion(key)
            rows.append(_heading_row(view, pair, criterion))
        difference = pair.differences[key]
        figures = [figure(model, key) for model in (pair.reference, pair.candidate)]
        changed = notes.cell(difference, signed=True)
        rows.append((named(key, difference), *figures, changed, drawn(key), format_p(difference.p_value)))
    axis = t(
        "Drawn from {low} to {high}: to the right {candidate} is better, to the left {reference}; the sign of what is "
        "better when lower is turned.",
        low=format_number(ends[0], digits=2, signed=True),
        high=format_number(ends[1], digits=2, signed=True),
        candidate=view.label(pair.candidate),
        reference=view.label(pair.reference),
    )
    remarks = [axis, *_zone(view, alone=alone), *_detectable(pair)]
    return table(
        _title(view),
        (
            words(t("Metric"), "16.7%"),
            *(replace(one, width="19.4%") for one in view.columns((pair.reference, pair.candidate))),
            Column(t("Difference"), "23.2%"),
            Column(t("Interval"), "13.4%", "figure"),
            Column("p", "7.3%"),
        ),
        rows,
        notes=notes.with_remark(" ".join(remarks)),
    )


def _heading_row(view: View, pair: PairedComparison, criterion: int) -> Row:
    """A criterion, and what page one says of the models there."""
    heading, answers = Cell(t(list(CRITERIA)[criterion]), strong=True), ["", ""]
    asked = uses_of(view)
    if criterion and asked:
        said = {one.model: text for one, text in zip(view.evaluations, asked[criterion - 1][1], strict=True)}
        short = [said[model].partition(":")[0] for model in (pair.reference, pair.candidate)]
        answers = [
            t("threshold: {answer}", answer=one) if criterion == 1 else t("probability: {answer}", answer=one)
            for one in short
        ]
    return (heading, *(Cell(text, strong=True) for text in answers), "", Cell(""), "")


def _title(view: View) -> str:
    if any(one.over_seeds for one in view.evaluations):
        return t(
            "Differences with {level} intervals; a p-value without margin and interval says nothing about equality; "
            "in bold: means over the trainings, all others: the first training",
            level=view.level,
        )
    return t(
        "Differences with {level} intervals; a p-value without margin and interval says nothing about equality",
        level=view.level,
    )


def _zone(view: View, *, alone: bool) -> list[str]:
    """What is shaded, and what figures without a margin are."""
    if alone:
        return [zone_words(view), t("Without a margin: exploratory.")]
    return [
        t(
            "Intervals of this pair alone, not adjusted for the number of pairs, so no margin is drawn: the "
            "rule compares all pairs together, as shown above. All of it is exploratory."
        )
    ]


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
