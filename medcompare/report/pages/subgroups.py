"""Part of the section on errors: figures within subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count
from medcompare.report.blocks import Cell, Column, Heading, Notes, Paragraph, image_of, muted, table, words
from medcompare.report.figures.forest import SubgroupRow, draw_subgroups, subgroup_rows_per_figure
from medcompare.report.vocabulary import metric_name

if TYPE_CHECKING:
    from medcompare.report.blocks import Block, Row, Table
    from medcompare.report.vocabulary import View

SUBGROUP_METRICS = (("auc", "AUC"), ("sensitivity", "Sensitivity"), ("specificity", "Specificity"))


def subgroup_blocks(view: View) -> list[Block]:
    """Forest plot and table of every level of every column; empty without subgroups."""
    rows: dict[tuple[str, str], SubgroupRow] = {}
    for evaluation in view.evaluations:
        for one in evaluation.subgroups:
            empty = SubgroupRow(
                column=one.column, level=one.level, n=one.n, n_positive=one.n_positive, by_model={}
            )
            rows.setdefault((one.column, one.level), empty).by_model[evaluation.model] = one
    if not rows:
        return []
    overall = {evaluation.model: evaluation.metrics for evaluation in view.evaluations}
    listed = list(rows.values())
    blocks: list[Block] = [
        Heading("Subgroups"),
        Paragraph(
            "Exploratory: many rows, few cases each, no test between them. "
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


def _subgroup_table(view: View, subgroups: list[SubgroupRow]) -> Table:
    notes = Notes()
    rows: list[Row] = []
    for one in subgroups:
        for i, (model, evaluation) in enumerate(one.by_model.items()):
            figures = [evaluation.metrics.get(key) for key, _ in SUBGROUP_METRICS]
            counts = f"{format_count(one.n_positive)} / {format_count(one.n)}"
            rows.append(
                (
                    Cell(f"{one.column}: {one.level}", again=i > 0),
                    Cell(counts, again=i > 0),
                    view.label(model),
                    *(muted("not given") if each is None else notes.cell(each) for each in figures),
                )
            )
    heads = (words("Subgroup", "22%"), Column("Positive / n", "10%"), words("Model", "20%"))
    figures_heads = [metric_name(key, short=True) for key, _ in SUBGROUP_METRICS]
    return table("Subgroups in numbers", (*heads, *figures_heads), rows, notes=notes)
