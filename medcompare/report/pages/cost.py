"""Section on cost, and the costs of page one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medcompare.base.formatting import (
    NOT_MEASURED,
    format_bytes,
    format_count,
    format_duration,
    format_flops,
    format_median,
    format_milliseconds,
    format_number,
    format_parameters,
    format_significant,
)
from medcompare.base.language import message, t
from medcompare.report.blocks import (
    Cell,
    Column,
    Heading,
    Image,
    Paragraph,
    Section,
    SplitRow,
    image_of,
    model_tables,
    muted,
    table,
    words,
)
from medcompare.report.figures.drawing import SPLIT_IMAGE_MM
from medcompare.report.figures.runs import CostPanel, draw_accuracy_and_cost
from medcompare.report.inputs import PAIR
from medcompare.report.results import cost_ratio
from medcompare.report.vocabulary import COST_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medcompare.predictions.costs import CostMeasurement
    from medcompare.report.blocks import Block, Row, Table
    from medcompare.report.vocabulary import View

NOT_STATED = message("not stated")
IMPLEMENTATION = message("Implementation")
EQUIVALENT = (
    message("Same architecture in a maintained library"),
    message("Latency there, batch 1, median (interval)"),
)


def _median(field: str, write: Callable[[Any], str]) -> Callable[[CostMeasurement], str]:
    """A median with its interval."""
    return lambda cost: format_median(getattr(cost, field), getattr(cost, f"{field}_ci"), write)


def _shown(field: str, write: Callable[[Any], str]) -> Callable[[CostMeasurement], str]:
    """A measured value."""
    stated = _stated(field, write)
    return lambda cost: stated(cost) or t(NOT_MEASURED)


def _stated(field: str, write: Callable[[Any], str] = str) -> Callable[[CostMeasurement], str | None]:
    """A condition of the measurement; None where it is not known."""
    return lambda cost: None if (value := getattr(cost, field)) is None else write(value)


def _counted(done: str) -> Callable[[CostMeasurement], str | None]:
    """How often something was done, and how often it was planned where that is known."""

    def cell(cost: CostMeasurement) -> str | None:
        n, planned = getattr(cost, done), getattr(cost, f"{done}_planned")
        if n is None:
            return None
        return format_count(n) if planned is None else t("{n:,} of {planned:,} planned", n=n, planned=planned)

    return cell


def _equivalent(cost: CostMeasurement) -> str | None:
    """What the same architecture takes in a maintained library."""
    if cost.equivalent_model is None:
        return None
    return _median("equivalent_latency_ms_median", format_milliseconds)(cost)


def _load(cost: CostMeasurement) -> str | None:
    if cost.other_load_cores is None:
        return None
    load = format_number(cost.other_load_cores, digits=1)
    return t("{load} (disturbed)", load=load) if cost.disturbed else load


def _time_taken(cost: CostMeasurement) -> str | None:
    if cost.elapsed_s is None:
        return None
    if cost.budget_s is None:
        return format_duration(cost.elapsed_s)
    elapsed = format_significant(cost.elapsed_s)
    return t("{elapsed} of {allowed:g}\u202fs allowed", elapsed=elapsed, allowed=cost.budget_s)


COST_ROWS: tuple[tuple[str, str, Callable[[CostMeasurement], str]], ...] = tuple(
    (field, label, write(field, in_words))
    for field, label, write, in_words in (
        ("n_parameters", message("Parameters"), _shown, format_parameters),
        ("flops", message("Operations per image (one forward pass)"), _shown, format_flops),
        ("checkpoint_bytes", message("Checkpoint size"), _shown, format_bytes),
        (
            "latency_ms_median",
            message("Latency per image, batch 1, median (interval)"),
            _median,
            format_milliseconds,
        ),
        (
            "latency_ms_p95",
            message("Latency per image, batch 1, 95th percentile"),
            _shown,
            format_milliseconds,
        ),
        (
            "throughput_images_per_s",
            message("Throughput, images per second, median (interval)"),
            _median,
            format_significant,
        ),
        ("peak_memory_bytes", message("Peak memory"), _shown, format_bytes),
        ("energy_j_per_image", message("Energy per image, joules, whole device"), _shown, format_significant),
        (
            "training_images_per_s",
            message("Training speed alone, images per second"),
            _shown,
            format_significant,
        ),
        ("training_time_s", message("Training time as it ran"), _shown, format_duration),
    )
)
AXES = {
    "latency_ms_median": (message("Time per image (ms)"), 1.0),
    "throughput_images_per_s": (message("Images per second"), 1.0),
    "peak_memory_bytes": (message("Memory (MB)"), 1e6),
    "n_parameters": (message("Parameters (million)"), 1e6),
    "flops": (message("Operations (GFLOP)"), 1e9),
    "energy_j_per_image": (message("Energy (J)"), 1.0),
}
"""Label of an axis of accuracy against cost, and how much one of its units is."""

KEY_LABELS = {
    "latency_ms_median": message("Time per image"),
    "throughput_images_per_s": message("Images per second"),
    "peak_memory_bytes": message("Peak memory"),
    "n_parameters": message("Parameters"),
    "flops": message("Operations"),
}
"""On page one, where a label has one line: the section on cost says what exactly is measured."""

CONDITION_ROWS: tuple[tuple[str, Callable[[CostMeasurement], str | None]], ...] = (
    (IMPLEMENTATION, _stated("implementation")),
    (EQUIVALENT[0], _stated("equivalent_implementation")),
    (EQUIVALENT[1], _equivalent),
    (message("Batch size of the throughput"), _stated("throughput_batch")),
    (message("Image side, pixels"), _stated("image_size_px")),
    (message("Passes before timing"), _counted("n_warmup")),
    (message("Timed passes"), _counted("n_repeats")),
    (message("Timed batches for the throughput"), _counted("n_throughput_batches")),
    (message("Timed training steps"), _counted("n_training_steps")),
    (message("Threads"), _stated("n_threads")),
    (message("Numeric precision"), _stated("precision")),
    (message("Kernels"), _stated("kernels", t)),
    (message("Energy counted by"), _stated("energy_source", t)),
    (message("Device"), _stated("device")),
    (message("Measuring took"), _time_taken),
    (message("Processor cores busy with other programs"), _load),
    (message("Training ran"), _stated("training_conditions")),
)


def key_costs(view: View, *, with_ratio: bool = True) -> list[tuple[Cell, ...]]:
    """The deciding cost of every model, and its memory; with the ratio of candidate to reference.

    Without what is not known for any model.
    """
    by_model = {cost.model: cost for cost in view.assessment.costs}
    costs = [by_model.get(one.model) for one in view.evaluations]
    rows = []
    for field in dict.fromkeys((view.inputs.rule.cost_metric, "peak_memory_bytes")):
        if all(cost is None or getattr(cost, field) is None for cost in costs):
            continue
        write = next(write for name, _, write in COST_ROWS if name == field)
        cells = [muted(t(NOT_MEASURED)) if cost is None else _split(write(cost)) for cost in costs]
        if with_ratio and view.pair is not None:
            ends = (by_model.get(view.pair.reference), by_model.get(view.pair.candidate))
            cells.append(Cell(_ratio(*ends, field)))
        rows.append((Cell(t(KEY_LABELS[field]), strong=True), *cells))
    return rows


def _split(text: str) -> Cell:
    """A median and its interval."""
    value, bracket, rest = text.partition(" (")
    return Cell(value, interval=f"({rest}" if bracket else "")


def _ratio(reference: CostMeasurement | None, candidate: CostMeasurement | None, field: str) -> str:
    """Candidate over reference; a dash where a cost is not known."""
    ratio = None if reference is None or candidate is None else cost_ratio(reference, candidate, field)
    return "\u2013" if ratio is None else f"\u00d7{format_significant(ratio)}"


def cost_section(view: View, number: int) -> Section:
    """What each model costs on a named device, and accuracy against cost."""
    by_model = {cost.model: cost for cost in view.assessment.costs}
    costs = [by_model[model] for model in view.styles if model in by_model]
    supplied = view.inputs.source == "predictions supplied"
    lead = t("Measured, not assumed: fewer operations do not always mean less time on a given device.")
    if supplied:
        lead = t("As supplied with the predictions; not measured by this software.")
    blocks: list[Block] = []
    if costs:
        blocks = [
            *_cost_remarks(view, costs),
            # A table that may break comes first: the figure would leave most of a page blank before it.
            *_cost_tables(view, costs, supplied=supplied),
            *_beside_each_other(_cost_figure(view, costs), _alike_table(costs)),
        ]
    else:
        lead = t(
            "No cost was measured or supplied, so the verdict states no preference on the grounds of cost."
        )
    return Section(number=number, anchor="cost", title=t("Cost"), lead=lead, blocks=tuple(blocks))


def _beside_each_other(figure: list[Block], tables: list[Table]) -> list[Block]:
    """The figure, which comes last, with the table beside it where it is narrow enough."""
    last = figure[-1]
    if isinstance(last, Image) and last.width_mm <= SPLIT_IMAGE_MM and tables:
        return [*figure[:-1], SplitRow(image=last, beside=tuple(tables))]
    return [*tables, *figure]


def _cost_tables(view: View, costs: list[CostMeasurement], *, supplied: bool) -> list[Table]:
    by_model, pair = {cost.model: cost for cost in costs}, view.pair
    reference = None if pair is None else by_model.get(pair.reference)
    candidate = None if pair is None else by_model.get(pair.candidate)
    with_ratio = len(view.evaluations) == 2 and reference is not None and candidate is not None
    rows: list[Row] = []
    for field, label, write in COST_ROWS:
        known = [getattr(cost, field) is not None for cost in costs]
        if any(known):
            name = Cell(t(label), strong=field == view.inputs.rule.cost_metric)
            cells = [Cell(write(cost), muted=not each) for cost, each in zip(costs, known, strict=True)]
            rows.append((name, *cells, *([_ratio(reference, candidate, field)] if with_ratio else [])))
    if any(prices := [price_per_1000(view, cost) for cost in costs]):
        cells = [muted(t(NOT_MEASURED)) if price is None else Cell(price) for price in prices]
        rows.append((Cell(t(PRICE)), *cells, *([""] if with_ratio else [])))
    for label, stated in CONDITION_ROWS:
        texts = [stated(cost) for cost in costs]
        if label == IMPLEMENTATION or not _alike(texts):
            none = "\u2013" if label in EQUIVALENT else t(NOT_STATED)
            cells = [muted(none if text is None else text) for text in texts]
            rows.append((muted(t(label)), *cells, *([""] if with_ratio else [])))
    title = t("Cost per model, as supplied") if supplied else t("Cost per model, measured one at a time")
    if with_ratio:
        key = t("in bold: what decides which is cheaper; intervals: 95%; ratio: candidate over reference")
    else:
        key = t("in bold: what decides which is cheaper; intervals: 95%")
    return model_tables(
        f"{title} ({key})",
        words(t("Cost"), "40%" if len(costs) <= 2 else "30%"),
        view.columns(by_model),
        rows,
        extra=Column(t("Ratio"), "9%") if with_ratio else None,
        dense=True,
    )


def _alike(texts: Sequence[str | None]) -> bool:
    """Whether a condition is the same for all models, known or not."""
    return len(set(texts)) == 1


def _alike_table(costs: list[CostMeasurement]) -> list[Table]:
    """The known conditions that are the same for all models, but what `_cost_tables` holds."""
    stated = {label: [of(cost) for cost in costs] for label, of in CONDITION_ROWS if label != IMPLEMENTATION}
    rows = [(t(label), texts[0]) for label, texts in stated.items() if texts[0] is not None and _alike(texts)]
    heads = (words(t("Condition"), "52%"), words(t("All models")))
    return [table(t("Conditions that are the same for all models"), heads, rows)] if rows else []


PRICE = message("Price of 1,000 images at full throughput")


def price_per_1000(view: View, cost: CostMeasurement) -> str | None:
    """Price of 1,000 images on this machine, from the prices in the configuration; None where none is stated.

    1,000 images take 1,000 / throughput seconds, and 1,000 times the energy of one.
    """
    settings = {row.field: row.value for row in view.inputs.settings}
    of_hour, of_kwh = (settings.get(f"cost.price_per_{each}", "not set") for each in ("hour", "kwh"))
    price = 0.0
    if of_hour != "not set":
        if cost.throughput_images_per_s is None:
            return None
        price += float(of_hour) / 3600 * 1000 / cost.throughput_images_per_s
    if of_kwh != "not set" and cost.energy_j_per_image is not None:
        price += float(of_kwh) * 1000 * cost.energy_j_per_image / 3.6e6
    return f"{format_significant(price)} {settings.get('cost.currency', '')}".strip() if price else None


def _cost_remarks(view: View, costs: list[CostMeasurement]) -> list[Block]:
    """Other implementations and doubts, with the command that measures again where there are doubts."""
    verdict = view.assessment.verdict
    on_page_one = {*verdict.caveats, *view.inputs.notices}
    found: list[Block] = [Paragraph(text, "note") for text in verdict.cost_remarks if text not in on_page_one]
    doubtful = any(cost.disturbed or cost.cut_short for cost in costs)
    if view.inputs.source != "predictions supplied" and doubtful:
        command = f"{view.inputs.provenance.command} --set cost.fresh=true"
        found.append(
            Paragraph(t("To measure again, with nothing else running: {command}", command=command), "note")
        )
    return found


def _cost_panels(view: View, costs: list[CostMeasurement]) -> list[CostPanel]:
    """Of the cost that decides, and of memory and energy where they are known; empty without the first."""
    evaluations = {evaluation.model: evaluation for evaluation in view.evaluations}
    panels = []
    for field in dict.fromkeys((view.inputs.rule.cost_metric, "peak_memory_bytes", "energy_j_per_image")):
        label, unit = AXES[field]
        points = []
        for cost in costs:
            value, evaluation = getattr(cost, field), evaluations.get(cost.model)
            if value is None or evaluation is None or evaluation.decisive("auc").value is None:
                continue
            low_high = getattr(cost, f"{field}_ci", None)
            interval = None if low_high is None else (low_high[0] / unit, low_high[1] / unit)
            points.append(
                (view.styles[cost.model], evaluation.decisive("auc"), float(value) / unit, interval)
            )
        if points:
            more = field == "throughput_images_per_s"
            panels.append(CostPanel(label=t(label), points=points, more_is_better=more))
        elif not panels:
            return []
    return panels


def _cost_figure(view: View, costs: list[CostMeasurement]) -> list[Block]:
    field = view.inputs.rule.cost_metric
    evaluations = {evaluation.model: evaluation for evaluation in view.evaluations}
    panels = _cost_panels(view, costs)
    if not panels:
        known = [
            evaluations[cost.model]
            for cost in costs
            if getattr(cost, field) is not None and cost.model in evaluations
        ]
        why = (
            f"AUC: {known[0].metrics['auc'].note}"
            if known
            else t("{cost}: not known", cost=t(COST_NAMES[field]))
        )
        return [Paragraph(t("{why}, so accuracy is not drawn against cost.", why=why), "note")]
    devices = sorted({cost.device for cost in costs if cost.device})
    where = f"; {', '.join(devices)}" if devices else ""
    n, n_positive = view.assessment.n, view.assessment.n_positive
    cases = t("n = {n:,}, {n_positive:,} positive", n=n, n_positive=n_positive)
    caption = t("Bars: confidence intervals. {cases}.", cases=f"{cases}{where}")
    if len(panels[0].points) > PAIR:
        frontier = t("Grey line: no other model is both cheaper and more accurate by these estimates.")
        caption = f"{caption} {frontier}"
    return [Heading(t("Accuracy against cost")), image_of(draw_accuracy_and_cost(panels), caption=caption)]
