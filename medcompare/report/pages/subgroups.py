"""Part of the section on errors: figures within subgroups, differences between models there, and between subgroups.

Every interval is drawn in the cell that holds its numbers: names of any length stay whole.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_number, format_p, join_words
from medcompare.base.language import t
from medcompare.report.blocks import Cell, Column, Heading, Notes, Paragraph, muted, table, words
from medcompare.report.figures.interval import draw_interval, draw_share, reach_of
from medcompare.report.pages.compare import both_ways, conclusion
from medcompare.report.vocabulary import metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Block, Row, Table
    from medcompare.report.vocabulary import View
    from medcompare.stats.in_detail import HeadToHead, Interaction, SubgroupDifference, SubgroupEvaluation
    from medcompare.stats.records import Estimate

SUBGROUP_METRICS = ("auc", "sensitivity", "specificity")
HIGHEST_LEFT_END = 0.8
"""No axis of proportions shows less than 0.8 to 1: small differences would look large."""

MAX_DRAWN = 60
"""Rows of a table with drawings; a longer one has the numbers alone."""

DRAWN_MM = 29.0


def subgroup_blocks(view: View) -> list[Block]:
    """Tables of every level of every column; empty without subgroups."""
    levels: dict[tuple[str, str], dict[str, SubgroupEvaluation]] = {}
    for evaluation in view.evaluations:
        for one in evaluation.subgroups:
            levels.setdefault((one.column, one.level), {})[evaluation.model] = one
    if not levels:
        return []
    blocks: list[Block] = [
        Heading(t("Subgroups")),
        Paragraph(t("Exploratory: many rows, few cases each, and nothing here enters the verdict.")),
        _figures(view, levels),
    ]
    detail = view.assessment.head_to_head
    if detail is not None and detail.subgroups:
        blocks.append(_differences(view, detail))
    if any(one.against_rest for each in levels.values() for one in each.values()):
        blocks.append(_against_rest(view, levels))
    return blocks


def _counts(one: SubgroupEvaluation | SubgroupDifference) -> str:
    """Positive cases, cases and patients of a level."""
    counts = f"{format_count(one.n_positive)} / {format_count(one.n)}"
    return counts if one.n_patients is None else f"{counts} ({format_count(one.n_patients)})"


def _counts_head(view: View) -> str:
    return t("Positive / n") if view.assessment.n_patients is None else t("Positive / n (patients)")


def _name(one: SubgroupEvaluation | SubgroupDifference) -> str:
    return f"{one.column}: {one.level}"


def _heads() -> list[str]:
    return [metric_name(key, short=True) for key in SUBGROUP_METRICS]


def _figures(view: View, levels: dict[tuple[str, str], dict[str, SubgroupEvaluation]]) -> Table:
    notes = Notes()
    overall = {evaluation.model: evaluation.metrics for evaluation in view.evaluations}
    found = [
        estimate for each in levels.values() for one in each.values() for estimate in one.metrics.values()
    ]
    limits = [limit for one in found for limit in (one.value, one.ci_low) if limit is not None]
    lowest = max(0.0, math.floor(10 * min([HIGHEST_LEFT_END, *limits])) / 10)
    drawn = sum(map(len, levels.values())) <= MAX_DRAWN

    def cell(estimate: Estimate | None, model: str, key: str) -> Cell:
        if estimate is None:
            return muted(t("not given"))
        if estimate.value is None or not drawn:
            return notes.cell(estimate)
        drawing = draw_share(
            estimate.value,
            estimate.ci_low,
            estimate.ci_high,
            lowest=lowest,
            overall=None if key not in overall[model] else overall[model][key].value,
            alt=t("The interval, from the lowest of the table to 1"),
            width_mm=DRAWN_MM,
        )
        return replace(notes.cell(estimate), svg=drawing.svg)

    rows: list[Row] = []
    for each in levels.values():
        for i, (model, one) in enumerate(each.items()):
            rows.append(
                (
                    Cell(_name(one), again=i > 0),
                    Cell(_counts(one), again=i > 0),
                    Cell(view.label(model), mark=view.mark(model)),
                    *(cell(one.metrics.get(key), model, key) for key in SUBGROUP_METRICS),
                )
            )
    remark = (
        t(
            "Drawn from {lowest} to 1; dashed: the model on all test cases together.",
            lowest=format_number(lowest, digits=1),
        )
        if drawn
        else t("Too many rows to draw.")
    )
    return table(
        t("Figures within subgroups ({level} intervals)", level=view.level),
        (
            words(t("Subgroup"), "15%"),
            Column(_counts_head(view), "10.5%"),
            words(t("Model"), "15.5%"),
            *(Column(head, "19.6%", "figure") for head in _heads()),
        ),
        rows,
        notes=notes.with_remark(remark),
    )


def _differences(view: View, detail: HeadToHead) -> Table:
    notes, rule = Notes(), view.inputs.rule
    margins = {key: float(getattr(rule, f"margin_{key}")) for key in SUBGROUP_METRICS}
    drawn = len(detail.subgroups) <= MAX_DRAWN
    reach = reach_of(
        (limit, margins[key])
        for one in detail.subgroups
        for key, each in one.differences.items()
        for limit in (each.ci_low, each.ci_high)
    )

    def cell(key: str, estimate: Estimate) -> Cell:
        if estimate.value is None or not drawn:
            return notes.cell(estimate, signed=True)
        drawing = draw_interval(
            estimate.value,
            estimate.ci_low,
            estimate.ci_high,
            margin=margins[key],
            margin_label="",
            two_sided=both_ways(view),
            reach=reach,
            alt=t(
                "Interval against the margin: {conclusion}",
                conclusion=conclusion(estimate.ci_low, estimate.ci_high, margins[key]),
            ),
            width_mm=DRAWN_MM + 6,
        )
        return replace(notes.cell(estimate, signed=True), svg=drawing.svg)

    rows: list[Row] = []
    by_column: dict[str, dict[str, Interaction]] = {}
    for tested in detail.interactions:
        by_column.setdefault(tested.column, {})[tested.metric] = tested
    for i, one in enumerate(detail.subgroups):
        cells = [cell(key, one.differences[key]) for key in SUBGROUP_METRICS]
        rows.append((_name(one), _counts(one), *cells))
        last = i + 1 == len(detail.subgroups) or detail.subgroups[i + 1].column != one.column
        if last and one.column in by_column:
            tests = [_interaction(notes, by_column[one.column].get(key)) for key in SUBGROUP_METRICS]
            rows.append(
                (
                    Cell(t("{column}: the same at every level?", column=one.column), strong=True),
                    Cell(""),
                    *tests,
                )
            )
    zone = join_words(
        f"{metric_name(key, short=True)} {format_number(margin, digits=2)}" for key, margin in margins.items()
    )
    remark = t(
        "Shaded: within the margin of the verdict ({zone}). p: of Cochran\u2019s Q, adjusted by Holm over all such "
        "tests; levels without an interval are left out.",
        zone=zone,
    )
    return table(
        t(
            "Differences within subgroups: {candidate} minus {reference}, with {level} intervals that hold for all "
            "levels together",
            candidate=view.label(detail.candidate),
            reference=view.label(detail.reference),
            level=view.level,
        ),
        (
            words(t("Subgroup"), "20.7%"),
            Column(_counts_head(view), "11.8%"),
            *(Column(head, "22.5%", "figure") for head in _heads()),
        ),
        rows,
        notes=notes.with_remark(f"{remark} {_interactions_found(view, detail)}"),
    )


def _interaction(notes: Notes, one: Interaction | None) -> Cell:
    if one is None or one.p_value_adjusted is None:
        return Cell(t("not tested"), muted=True, note=notes.letter(None if one is None else one.note))
    return Cell(f"p {_relation(one.p_value_adjusted)}", strong=True, note=notes.letter(one.note))


def _relation(p_value: float) -> str:
    text = format_p(p_value)
    return text if text.startswith(("<", ">")) else f"= {text}"


def _interactions_found(view: View, detail: HeadToHead) -> str:
    """What the tests of interaction show, in a sentence."""
    alpha = 1 - view.assessment.level
    tested = [one for one in detail.interactions if one.p_value_adjusted is not None]
    found = [one for one in tested if (one.p_value_adjusted or 0.0) < alpha]
    if not tested:
        return t("No column has two levels with an interval, so nothing was tested.")
    if not found:
        return t(
            "No test shows that the difference changes between levels; with so few cases per level that does "
            "not show that it is the same."
        )
    named = join_words(
        t("{metric} by {column}", metric=metric_name(one.metric, short=True), column=one.column)
        for one in found
    )
    return t("The difference is not the same at every level: {metrics}.", metrics=named)


def _against_rest(view: View, levels: dict[tuple[str, str], dict[str, SubgroupEvaluation]]) -> Table:
    notes = Notes()
    rows: list[Row] = []
    for each in levels.values():
        compared: Sequence[tuple[str, SubgroupEvaluation]] = [
            (model, one) for model, one in each.items() if one.against_rest
        ]
        for i, (model, one) in enumerate(compared):
            cells = [notes.cell(one.against_rest[key], signed=True) for key in SUBGROUP_METRICS]
            rows.append(
                (Cell(_name(one), again=i > 0), Cell(view.label(model), mark=view.mark(model)), *cells)
            )
    return table(
        t(
            "Each subgroup minus all other cases, with {level} intervals that hold for all levels together",
            level=view.level,
        ),
        (
            words(t("Subgroup"), "15.6%"),
            words(t("Model"), "14.8%"),
            *(Column(head, "23.2%") for head in _heads()),
        ),
        rows,
        notes=notes.with_remark(
            t("Of two levels only the first is listed: the other is the same with the other sign.")
        ),
    )
