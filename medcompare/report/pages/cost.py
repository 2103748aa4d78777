"""Section on cost, and the rows on cost of page one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medcompare.base.formatting import (
    NOT_MEASURED,
    THIN_SPACE,
    format_bytes,
    format_count,
    format_duration,
    format_flops,
    format_median,
    format_milliseconds,
    format_parameters,
    format_significant,
)
from medcompare.report.blocks import Cell, Column, Heading, Paragraph, Section, image_of, model_tables
from medcompare.report.figures.runs import draw_accuracy_and_cost
from medcompare.report.results import cost_ratio
from medcompare.report.vocabulary import COST_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.predictions.costs import CostMeasurement
    from medcompare.report.blocks import Block
    from medcompare.report.vocabulary import View

NOT_STATED = "not stated"
IMPLEMENTATION = "Implementation"
EQUIVALENT = ("Same architecture in a maintained library", "Latency there, batch 1, median (interval)")


def _latency(cost: CostMeasurement) -> str:
    return format_median(cost.latency_ms_median, cost.latency_ms_median_ci, format_milliseconds)


def _throughput(cost: CostMeasurement) -> str:
    return format_median(cost.throughput_images_per_s, cost.throughput_images_per_s_ci, format_significant)


def _equivalent(cost: CostMeasurement) -> str | None:
    """What the same architecture takes in a maintained library."""
    if cost.equivalent_model is None:
        return None
    return format_median(
        cost.equivalent_latency_ms_median, cost.equivalent_latency_ms_median_ci, format_milliseconds
    )


def _counted(done: str) -> Callable[[CostMeasurement], str | None]:
    """How often something was done, and how often it was planned where that is known."""

    def cell(cost: CostMeasurement) -> str | None:
        n, planned = getattr(cost, done), getattr(cost, f"{done}_planned")
        if n is None:
            return None
        return format_count(n) if planned is None else f"{format_count(n)} of {format_count(planned)} planned"

    return cell


def _stated(field: str, write: Callable[[Any], str] = str) -> Callable[[CostMeasurement], str | None]:
    def cell(cost: CostMeasurement) -> str | None:
        value = getattr(cost, field)
        return None if value is None else write(value)

    return cell


def _load(cost: CostMeasurement) -> str | None:
    if cost.other_load_cores is None:
        return None
    return f"{cost.other_load_cores:.1f}{' (disturbed)' if cost.disturbed else ''}"


def _time_taken(cost: CostMeasurement) -> str | None:
    if cost.elapsed_s is None:
        return None
    if cost.budget_s is None:
        return format_duration(cost.elapsed_s)
    return f"{format_significant(cost.elapsed_s)} of {cost.budget_s:g}{THIN_SPACE}s allowed"


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
    ("throughput_images_per_s", "Throughput, images per second, median (interval)", _throughput),
    ("peak_memory_bytes", "Peak memory", _shown("peak_memory_bytes", lambda v: format_bytes(int(v)))),
    (
        "training_images_per_s",
        "Training speed alone, images per second",
        _shown("training_images_per_s", format_significant),
    ),
    ("training_time_s", "Training time as it ran", _shown("training_time_s", format_duration)),
)
KEY_LABELS = {
    "latency_ms_median": "Time per image",
    "throughput_images_per_s": "Images per second",
    "peak_memory_bytes": "Peak memory",
    "n_parameters": "Parameters",
    "flops": "Operations",
}
"""On page one, where a label has one line: what exactly is measured stands in the section on cost."""

CONDITION_ROWS: tuple[tuple[str, Callable[[CostMeasurement], str | None]], ...] = (
    (IMPLEMENTATION, _stated("implementation")),
    (EQUIVALENT[0], _stated("equivalent_implementation")),
    (EQUIVALENT[1], _equivalent),
    ("Batch size of the throughput", _stated("throughput_batch")),
    ("Image side, pixels", _stated("image_size_px")),
    ("Passes before timing", _counted("n_warmup")),
    ("Timed passes", _counted("n_repeats")),
    ("Timed batches for the throughput", _counted("n_throughput_batches")),
    ("Timed training steps", _counted("n_training_steps")),
    ("Threads", _stated("n_threads")),
    ("Precision", _stated("precision")),
    ("Device", _stated("device")),
    ("Measuring took", _time_taken),
    ("Processor cores busy with other programs", _load),
    ("Training ran", _stated("training_conditions")),
)


def cost_rows(view: View, *, with_ratio: bool) -> list[tuple[Cell, ...]]:
    """The deciding cost of every model, with the ratio of candidate to reference, and its implementation.

    Empty where no cost is known.
    """
    field = view.inputs.rule.cost_metric
    by_model = {cost.model: cost for cost in view.inputs.assessment.costs}
    costs = [by_model.get(one.model) for one in view.evaluations]
    if all(cost is None or getattr(cost, field) is None for cost in costs):
        return []
    write = next(write for name, _, write in COST_ROWS if name == field)
    amounts = [Cell(text=KEY_LABELS[field], strong=True)]
    implementations = [Cell(text=IMPLEMENTATION, strong=True)]
    for cost in costs:
        amounts.append(Cell(text=NOT_MEASURED, muted=True) if cost is None else Cell(text=write(cost)))
        stated = None if cost is None else cost.implementation
        implementations.append(Cell(text=NOT_STATED if stated is None else stated, muted=True))
    if with_ratio and view.pair is not None:
        ratio = None
        if view.pair.reference in by_model and view.pair.candidate in by_model:
            ratio = cost_ratio(by_model[view.pair.reference], by_model[view.pair.candidate], field)
        amounts.append(Cell(text="\u2013" if ratio is None else f"\u00d7{format_significant(ratio)}"))
        implementations.append(Cell(text="\u2013", muted=True))
    return [tuple(amounts), tuple(implementations)]


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
    for label, stated in CONDITION_ROWS:
        texts = [stated(cost) for cost in costs]
        if label != IMPLEMENTATION and all(text is None for text in texts):
            continue
        none = "\u2013" if label in EQUIVALENT else NOT_STATED
        cells = [Cell(text=none if text is None else text, muted=True) for text in texts]
        rows.append((Cell(text=label, muted=True), *cells, *([Cell(text="")] if with_ratio else [])))
    tail = "; intervals: 95%" + ("; ratio: candidate over reference" if with_ratio else "")
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
    blocks: list[Block] = [*_cost_remarks(view, costs), *tables, *_cost_figure(view, costs)]
    return Section(number=number, anchor=anchor, title=title, lead=lead, blocks=tuple(blocks))


def _cost_remarks(view: View, costs: list[CostMeasurement]) -> list[Block]:
    """Other implementations and doubts, with the command that measures again where there are doubts."""
    found: list[Block] = [
        Paragraph(text=text, tone="note") for text in view.inputs.assessment.verdict.cost_remarks
    ]
    if view.inputs.source != "predictions supplied" and any(
        cost.disturbed or cost.cut_short for cost in costs
    ):
        command = f"{view.inputs.provenance.command} --set cost.fresh=true"
        found.append(Paragraph(text=f"To measure again, with nothing else running: {command}", tone="note"))
    return found


def _cost_figure(view: View, costs: list[CostMeasurement]) -> list[Block]:
    field = view.inputs.rule.cost_metric
    evaluations = {evaluation.model: evaluation for evaluation in view.evaluations}
    points = []
    for cost in costs:
        value, evaluation = getattr(cost, field), evaluations.get(cost.model)
        if value is None or evaluation is None or evaluation.metrics["auc"].value is None:
            continue
        interval = getattr(cost, f"{field}_ci", None)
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
