"""Sections on errors (hard cases, subgroups) and on cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medcompare.records import POSITIVE
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
    model_tables,
    png_uri,
)
from medcompare.report.figures_forest import SubgroupRow, draw_subgroups, subgroup_rows_per_figure
from medcompare.report.figures_runs import draw_accuracy_and_cost
from medcompare.report.formatting import (
    NOT_MEASURED,
    format_bytes,
    format_count,
    format_duration,
    format_flops,
    format_milliseconds,
    format_number,
    format_parameters,
    format_significant,
    join_words,
)
from medcompare.report.results import cost_ratio
from medcompare.report.vocabulary import COST_NAMES, metric_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.cost_records import CostMeasurement
    from medcompare.report.blocks import Block
    from medcompare.report.inputs import HardCase
    from medcompare.report.vocabulary import View

SUBGROUP_METRICS = (("auc", "AUC"), ("sensitivity", "Sensitivity"), ("specificity", "Specificity"))
THUMBNAIL_MM = 26.0
MOST_NAMED = 3
"""More models than these are counted, not named, where a case was called wrongly."""

MOST_SCORES = 5
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
    if len(wrong) > MOST_NAMED:
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
        f"{shown} that at least one model called wrongly: {format_count(n_missed)} missed "
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
            _case_table(view, without_image, models[start : start + MOST_SCORES])
            for start in range(0, len(models), MOST_SCORES)
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


def _latency(cost: CostMeasurement) -> str:
    if cost.latency_ms_median is None:
        return NOT_MEASURED
    text = format_milliseconds(cost.latency_ms_median)
    if cost.latency_ms_median_ci is not None:
        low, high = cost.latency_ms_median_ci
        text += f" ({format_significant(low)} to {format_significant(high)})"
    return text


def _shown(field: str, write: Callable[[float], str]) -> Callable[[CostMeasurement], str]:
    def cell(cost: CostMeasurement) -> str:
        value = getattr(cost, field)
        return NOT_MEASURED if value is None else write(value)

    return cell


COST_ROWS: tuple[tuple[str, str, Callable[[CostMeasurement], str]], ...] = (
    ("n_parameters", "Parameters", _shown("n_parameters", lambda v: format_parameters(int(v)))),
    ("flops", "Operations per image (one forward pass)", _shown("flops", lambda v: format_flops(int(v)))),
    ("checkpoint_bytes", "Checkpoint size", _shown("checkpoint_bytes", lambda v: format_bytes(int(v)))),
    ("latency_ms_median", "Latency per image, batch 1, median (interval)", _latency),
    (
        "latency_ms_p95",
        "Latency per image, batch 1, 95th percentile",
        _shown("latency_ms_p95", format_milliseconds),
    ),
    (
        "throughput_images_per_s",
        "Throughput, images per second",
        _shown("throughput_images_per_s", format_significant),
    ),
    ("peak_memory_bytes", "Peak memory", _shown("peak_memory_bytes", lambda v: format_bytes(int(v)))),
    (
        "training_images_per_s",
        "Training speed alone, images per second",
        _shown("training_images_per_s", format_significant),
    ),
    ("training_time_s", "Training time as it ran", _shown("training_time_s", format_duration)),
)
CONDITION_ROWS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("throughput_batch", "Batch size of the throughput", str),
    ("image_size_px", "Image side, pixels", str),
    ("n_repeats", "Timed passes", str),
    ("n_threads", "Threads", str),
    ("precision", "Precision", str),
    ("device", "Device", str),
    ("other_load_cores", "Processor cores busy with other programs", "{:.1f}".format),
    ("training_conditions", "Training ran", str),
)


def cost_row(view: View, *, with_ratio: bool) -> tuple[Cell, ...] | None:
    """The deciding cost of every model, with the ratio of candidate to reference; None where none is known."""
    field = view.inputs.rule.cost_metric
    by_model = {cost.model: cost for cost in view.inputs.assessment.costs}
    costs = [by_model.get(one.model) for one in view.evaluations]
    if all(cost is None or getattr(cost, field) is None for cost in costs):
        return None
    label, write = next((label, write) for name, label, write in COST_ROWS if name == field)
    cells = [
        Cell(text=NOT_MEASURED, muted=True) if cost is None else Cell(text=write(cost).partition(" (")[0])
        for cost in costs
    ]
    row = [Cell(text=label.partition(" (")[0], strong=True), *cells]
    if with_ratio and view.pair is not None:
        ratio = None
        if view.pair.reference in by_model and view.pair.candidate in by_model:
            ratio = cost_ratio(by_model[view.pair.reference], by_model[view.pair.candidate], field)
        row.append(Cell(text="\u2013" if ratio is None else f"\u00d7{format_significant(ratio)}"))
    return tuple(row)


def cost_section(view: View, number: int) -> Section:
    """What each model costs on a named device, and accuracy against cost."""
    by_model = {cost.model: cost for cost in view.inputs.assessment.costs}
    costs = [by_model[model] for model in view.styles if model in by_model]
    title, anchor = "Cost", "cost"
    if not costs:
        text = "No cost was measured or supplied, so the verdict states no preference on the grounds of cost."
        return Section(number=number, anchor=anchor, title=title, lead=text, blocks=())
    pair = view.pair
    reference = by_model.get(pair.reference) if pair is not None else None
    candidate = by_model.get(pair.candidate) if pair is not None else None
    with_ratio = reference is not None and candidate is not None and len(view.evaluations) == 2
    rows: list[tuple[Cell, ...]] = []
    for field, label, write in COST_ROWS:
        if all(getattr(cost, field) is None for cost in costs):
            continue
        row = [Cell(text=label, strong=field == view.inputs.rule.cost_metric)]
        row += [Cell(text=write(cost), muted=getattr(cost, field) is None) for cost in costs]
        if with_ratio and reference is not None and candidate is not None:
            ratio = cost_ratio(reference, candidate, field)
            row.append(Cell(text="\u2013" if ratio is None else f"\u00d7{format_significant(ratio)}"))
        rows.append(tuple(row))
    for field, label, write in CONDITION_ROWS:
        values = [getattr(cost, field) for cost in costs]
        if all(value is None for value in values):
            continue
        texts = ["not stated" if value is None else write(value) for value in values]
        cells = [Cell(text=text, muted=True) for text in texts]
        rows.append((Cell(text=label, muted=True), *cells, *([Cell(text="")] if with_ratio else [])))
    tail = "; ratio: candidate over reference" if with_ratio else ""
    supplied = view.inputs.source == "predictions supplied"
    lead = "Measured, not assumed: fewer operations do not always mean less time on a given device."
    if supplied:
        lead = "As supplied with the predictions; not measured by this software."
    origin = "as supplied" if supplied else "measured one at a time"
    tables = model_tables(
        caption=f"Cost per model, {origin} (in bold: what decides which is cheaper{tail})",
        corner=Column(head="Cost", kind="text", width="40%" if len(costs) <= 2 else "30%"),
        models=[view.model_column(cost.model) for cost in costs],
        rows=rows,
        extra=Column(head="Ratio") if with_ratio else None,
    )
    blocks: list[Block] = [*tables, *_cost_figure(view, costs)]
    return Section(number=number, anchor=anchor, title=title, lead=lead, blocks=tuple(blocks))


def _cost_figure(view: View, costs: list[CostMeasurement]) -> list[Block]:
    field = view.inputs.rule.cost_metric
    evaluations = {evaluation.model: evaluation for evaluation in view.evaluations}
    points = []
    for cost in costs:
        value, evaluation = getattr(cost, field), evaluations.get(cost.model)
        if value is None or evaluation is None or evaluation.metrics["auc"].value is None:
            continue
        interval = cost.latency_ms_median_ci if field == "latency_ms_median" else None
        points.append((view.styles[cost.model], evaluation.metrics["auc"], float(value), interval))
    if not points:
        known = [
            evaluations[cost.model]
            for cost in costs
            if getattr(cost, field) is not None and cost.model in evaluations
        ]
        why = f"AUC: {known[0].metrics['auc'].note}" if known else f"{COST_NAMES[field]}: not known"
        return [Paragraph(text=f"{why}, so accuracy is not drawn against cost.", tone="note")]
    devices = sorted({cost.device for cost in costs if cost.device})
    where = f"; {', '.join(devices)}" if devices else ""
    assessment = view.inputs.assessment
    cases = f"n = {format_count(assessment.n)}, {format_count(assessment.n_positive)} positive"
    caption = f"Bars: confidence intervals. {cases}{where}."
    drawing = draw_accuracy_and_cost(points, cost_label=COST_NAMES[field])
    return [Heading(text="Accuracy against cost"), image_of(drawing, caption=caption)]
