"""Section on errors: hard cases and subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    format_count,
    format_number,
    join_words,
)
from medcompare.base.record import POSITIVE
from medcompare.report.blocks import (
    CaseCard,
    Cell,
    Column,
    Gallery,
    Heading,
    Image,
    Notes,
    Paragraph,
    Section,
    Table,
    image_of,
    png_uri,
)
from medcompare.report.figures.forest import SubgroupRow, draw_subgroups, subgroup_rows_per_figure
from medcompare.report.vocabulary import metric_name

if TYPE_CHECKING:
    from medcompare.report.blocks import Block
    from medcompare.report.inputs import HardCase
    from medcompare.report.vocabulary import View

SUBGROUP_METRICS = (("auc", "AUC"), ("sensitivity", "Sensitivity"), ("specificity", "Specificity"))
THUMBNAIL_MM = 26.0
MAX_NAMED = 3
"""More models than these are counted, not named, where a case was misclassified."""

MAX_SCORES = 5
"""Scores of one case next to each other; those of further models stand in a further table."""


def error_section(view: View, number: int) -> Section | None:
    """Hard cases, false negatives first, and subgroups; None where there is neither."""
    blocks: list[Block] = []
    if view.inputs.hard_cases:
        blocks += _hard_cases(view)
    blocks += _subgroups(view)
    if not blocks:
        return None
    return Section(
        number=number,
        anchor="errors",
        title="Errors and subgroups",
        lead="Where the models fail matters as much as how often.",
        blocks=tuple(blocks),
    )


def _error_words(view: View, case: HardCase) -> str:
    wrong = [score.model for score in case.scores if score.called_positive != (case.truth == POSITIVE)]
    verb = "missed" if case.truth == POSITIVE else "false alarm"
    if len(wrong) == len(case.scores) and len(wrong) > 1:
        return f"{verb} by all models" if len(wrong) > 2 else f"{verb} by both models"
    if len(wrong) > MAX_NAMED:
        return f"{verb} by {len(wrong)} of {len(case.scores)} models"
    return f"{verb} by {join_words(view.label(model) for model in wrong)}"


def _hard_cases(view: View) -> list[Block]:
    cases = view.inputs.hard_cases
    total = view.inputs.n_hard_cases
    shown = f"{format_count(len(cases))} cases"
    if total is not None and total > len(cases):
        shown = f"{format_count(len(cases))} of {format_count(total)} cases"
    n_missed = sum(case.truth == POSITIVE for case in cases)
    intro = (
        f"{shown} that at least one model misclassified: {format_count(n_missed)} missed "
        f"{view.inputs.assessment.classes[1]} first, then {format_count(len(cases) - n_missed)} false alarms. "
        "The case ids are those of the predictions table."
    )
    blocks: list[Block] = [Heading(text="Hard cases"), Paragraph(text=intro)]
    for positive, title in ((True, "Missed"), (False, "False alarms")):
        cards = tuple(
            _card(view, case)
            for case in cases
            if case.thumbnail_png is not None and (case.truth == POSITIVE) is positive
        )
        if cards:
            blocks.append(Gallery(title=title, cards=cards))
    without_image = [case for case in cases if case.thumbnail_png is None]
    if without_image:
        models = list(view.styles)
        blocks += [
            _case_table(view, without_image, models[start : start + MAX_SCORES])
            for start in range(0, len(models), MAX_SCORES)
        ]
    return blocks


def _card(view: View, case: HardCase) -> CaseCard:
    truth = view.inputs.assessment.classes[case.truth]
    image = None
    if case.thumbnail_png is not None:
        alt = f"Image of case {case.case_id}, true class {truth}"
        image = Image(src=png_uri(case.thumbnail_png), alt=alt, width_mm=THUMBNAIL_MM)
    scores = tuple(
        (
            view.mark(score.model),
            format_number(score.score),
            "right" if score.called_positive == (case.truth == POSITIVE) else "wrong",
        )
        for score in case.scores
    )
    return CaseCard(case_id=case.case_id, image=image, truth=truth, scores=scores)


def _case_table(view: View, cases: list[HardCase], models: list[str]) -> Table:
    rows = []
    for case in cases:
        by_model = {score.model: score for score in case.scores}
        row = [
            Cell(text=case.case_id),
            Cell(text=view.inputs.assessment.classes[case.truth]),
            Cell(text=_error_words(view, case)),
        ]
        for model in models:
            score = by_model.get(model)
            wrong = score is not None and score.called_positive != (case.truth == POSITIVE)
            row.append(Cell(text="no score" if score is None else format_number(score.score), strong=wrong))
        rows.append(tuple(row))
    thresholds = ", ".join(
        f"{view.label(e.model)} {format_number(e.operating_point.threshold)}"
        for e in view.evaluations
        if e.model in models
    )
    return Table(
        caption=f"Wrongly called cases (wrong scores in bold; thresholds: {thresholds})",
        columns=(
            Column(head="Case", kind="code", width="15%"),
            Column(head="True class", kind="text", width="17%"),
            Column(head="Error", kind="text", width="22%"),
            *(view.model_column(model) for model in models),
        ),
        rows=tuple(rows),
        dense=True,
    )


def _subgroups(view: View) -> list[Block]:
    rows: dict[tuple[str, str], SubgroupRow] = {}
    for evaluation in view.evaluations:
        for subgroup in evaluation.subgroups:
            key = (subgroup.column, subgroup.level)
            row = rows.setdefault(
                key,
                SubgroupRow(
                    column=subgroup.column,
                    level=subgroup.level,
                    n=subgroup.n,
                    n_positive=subgroup.n_positive,
                    by_model={},
                ),
            )
            row.by_model[evaluation.model] = subgroup
    if not rows:
        return []
    overall = {evaluation.model: evaluation.metrics for evaluation in view.evaluations}
    listed = list(rows.values())
    blocks: list[Block] = [
        Heading(text="Subgroups"),
        Paragraph(
            text="Exploratory: many rows, few cases each, no test between them. "
            "Lines in colour: all test cases together."
        ),
    ]
    per_figure = subgroup_rows_per_figure(len(view.styles))
    for start in range(0, len(listed), per_figure):
        part = listed[start : start + per_figure]
        if not any(_has_figures(row) for row in part):
            continue  # empty panels: the table says why
        drawing = draw_subgroups(part, metrics=SUBGROUP_METRICS, overall=overall, styles=view.styles)
        blocks.append(image_of(drawing))
    return [*blocks, _subgroup_table(view, listed)]


def _has_figures(row: SubgroupRow) -> bool:
    """Whether a subgroup has a value to draw for any model."""
    return any(
        key in one.metrics and one.metrics[key].value is not None
        for one in row.by_model.values()
        for key, _ in SUBGROUP_METRICS
    )


def _subgroup_table(view: View, rows: list[SubgroupRow]) -> Table:
    notes = Notes()
    body = []
    for row in rows:
        for i, model in enumerate(row.by_model):
            figures = row.by_model[model].metrics
            cells = [
                notes.cell(figures[key]) if key in figures else Cell(text="not given", muted=True)
                for key, _ in SUBGROUP_METRICS
            ]
            body.append(
                (
                    Cell(text=f"{row.column}: {row.level}" if i == 0 else ""),
                    Cell(text=f"{format_count(row.n_positive)} / {format_count(row.n)}" if i == 0 else ""),
                    Cell(text=view.label(model)),
                    *cells,
                )
            )
    return Table(
        caption="Subgroups in numbers",
        columns=(
            Column(head="Subgroup", kind="text", width="22%"),
            Column(head="Positive / n", width="10%"),
            Column(head="Model", kind="text", width="20%"),
            *(Column(head=metric_name(key, short=True)) for key, _ in SUBGROUP_METRICS),
        ),
        rows=tuple(body),
        notes=notes.listed(),
        dense=True,
    )
