"""From records to words: the whole report as sections of finished blocks.

Every number is formatted here or in the modules this one calls; templates only place
what they are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medcompare.base.formatting import capital, format_count, format_percent, format_time, join_words
from medcompare.report.blocks import (
    DASH,
    MAX_MODEL_COLUMNS,
    Cell,
    Column,
    Notes,
    Section,
    Table,
    model_tables,
    muted,
    table,
    words,
)
from medcompare.report.pages.compare import (
    MARGIN_METRICS,
    PAIR,
    forest_of_metrics,
    forest_of_pairs,
    head_to_head_section,
    interval_words,
    oriented,
    zone_words,
)
from medcompare.report.pages.cost import cost_rows, cost_section
from medcompare.report.pages.data import data_section
from medcompare.report.pages.errors import error_section
from medcompare.report.pages.external import external_section
from medcompare.report.pages.methods import checklist_section, methods_section, trend_section
from medcompare.report.pages.model import model_section
from medcompare.report.vocabulary import COST_NAMES, PARAMETER_NAMES, View, metric_name, view_of
from medcompare.stats.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.report.blocks import Image, Paragraph, Row
    from medcompare.report.inputs import ReportInputs

SYNTHETIC_LABEL = "Synthetic demonstration data"

OUTCOME_LABELS = {
    Outcome.INVALID: "No verdict: the comparison is not valid",
    Outcome.NOT_ENOUGH_DATA: "Not enough data to decide",
    Outcome.THRESHOLDS_NOT_COMPARABLE: "No verdict at these thresholds",
    Outcome.NEITHER_ADEQUATE: "No model is good enough",
    Outcome.USE_MODEL: "Recommendation",
    Outcome.PREFER_CHEAPER: "Recommendation",
    Outcome.CHOOSE_BY_COST: "Recommendation",
}
DECIDED = frozenset({Outcome.USE_MODEL, Outcome.PREFER_CHEAPER, Outcome.CHOOSE_BY_COST})


@dataclass(frozen=True, kw_only=True)
class PageOne:
    """Title block, verdict and what it rests on."""

    facts: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]
    outcome: str
    decided: bool
    headline: str
    sentence: str
    extras: tuple[str, ...]
    """Provisional favourite and size needed, where the data cannot tell."""
    caveats: tuple[str, ...]
    key_tables: tuple[Table, ...]
    """Key figures and, where names are shortened in tables and figures, the full ones."""
    forest: Image | Paragraph | None
    """Differences against their margins; in words where none has a value."""
    parameters: tuple[Table, ...]
    """Side by side, so that page one stays one page."""


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """All the template needs."""

    title: str
    organisation: str
    run_name: str
    paper: str
    synthetic_label: str
    """Empty for real data."""
    created: str
    version: str
    description: str
    page_one: PageOne
    sections: tuple[Section, ...]


def build_context(inputs: ReportInputs) -> ReportContext:
    """Everything the report says, formatted; sections without content are left out, the others numbered."""
    view = view_of(inputs)
    builders = (
        data_section,
        head_to_head_section,
        model_section,
        external_section,
        error_section,
        cost_section,
        trend_section,
        methods_section,
        checklist_section,
    )
    sections: list[Section] = []
    for build in builders:
        section = build(view, len(sections) + 1)
        if section is not None:
            sections.append(section)
    return ReportContext(
        title=inputs.title,
        organisation=inputs.organisation,
        run_name=inputs.run_name,
        paper=inputs.paper,
        synthetic_label=SYNTHETIC_LABEL if inputs.synthetic else "",
        created=inputs.provenance.finished_at,
        version=inputs.provenance.medcompare_version,
        description=inputs.assessment.verdict.headline,
        page_one=_page_one(view),
        sections=tuple(sections),
    )


def _page_one(view: View) -> PageOne:
    assessment = view.inputs.assessment
    verdict = assessment.verdict
    extras = [] if verdict.provisional_sentence is None else [verdict.provisional_sentence]
    extras += [size.sentence for size in verdict.sizes_needed]
    label = OUTCOME_LABELS[verdict.outcome]
    shortened = _shortened_names(view)
    return PageOne(
        facts=_facts(view),
        notices=_notices(view),
        outcome="" if label == verdict.headline else label,
        decided=verdict.outcome in DECIDED,
        headline=verdict.headline,
        sentence=shortened(verdict.sentence),
        extras=tuple(shortened(text) for text in extras),
        caveats=tuple(shortened(text) for text in verdict.caveats),
        key_tables=(*key_tables(view), *_short_names(view)),
        forest=_key_forest(view),
        parameters=_parameters(view),
    )


def _shortened_names(view: View) -> Callable[[str], str]:
    """Puts the short names of tables and figures into a text, so that page one holds what qualifies the verdict.

    Headline and title block keep the names in full, and a table on the page explains the short ones.
    """
    # The longest first: one name may begin another.
    styles = sorted(view.styles.values(), key=lambda style: len(style.name), reverse=True)

    def shortened(text: str) -> str:
        for style in styles:
            if style.label != style.name:
                text = text.replace(style.name, style.label)
        return text

    return shortened


def _facts(view: View) -> tuple[tuple[str, str], ...]:
    inputs, assessment = view.inputs, view.inputs.assessment
    positive = f"{format_count(assessment.n_positive)} {assessment.classes[1]}"
    cases = f"{format_count(assessment.n)} cases, {positive} ({format_percent(assessment.prevalence)})"
    if assessment.n_patients is not None:
        cases += f", {format_count(assessment.n_patients)} patients"
    facts = [("Finished", format_time(inputs.provenance.finished_at))]
    if inputs.manifest is not None:
        facts.append(
            ("Data", f"{inputs.manifest.name}: {format_count(inputs.manifest.n_images)} usable images")
        )
    # Many names are in full in the table of short names: page one must hold what qualifies the verdict.
    name = view.name if len(view.styles) <= MAX_MODEL_COLUMNS else view.label
    facts += [
        ("Test subset", cases),
        ("Models", join_words(name(model) for model in view.styles)),
        ("Predictions", inputs.source),
    ]
    return tuple(facts)


def _notices(view: View) -> tuple[str, ...]:
    """Notices given by the run, and the ones no run may forget."""
    notices = list(view.inputs.notices)
    random_start = [row.model for row in view.inputs.trained if row.initial_weights.kind == "none"]
    if random_start and not any("random" in notice.lower() for notice in notices):
        notices.append(
            f"{join_words(view.name(model) for model in random_start)} started from random weights, not from "
            "pretrained ones: expect less than the models can do."
        )
    return tuple(notices)


def key_tables(view: View) -> list[Table]:
    """The figures of page one, per model, and their difference."""
    notes = Notes()
    pair = view.pair if len(view.evaluations) == PAIR else None
    rows: list[Row] = []
    for key in MARGIN_METRICS:
        difference = [] if pair is None else [notes.cell(pair.differences[key], signed=True)]
        figures = [notes.cell(e.decisive(key)) for e in view.evaluations]
        rows.append((Cell(metric_name(key, short=True), strong=True), *figures, *difference))
    thresholds = [muted(f"{e.operating_point.threshold:.3f}") for e in view.evaluations]
    rows.append((Cell("Threshold", strong=True), *thresholds, *([] if pair is None else [DASH])))
    rows += cost_rows(view, with_ratio=pair is not None)
    tail = (
        ""
        if pair is None
        else f"; difference: {view.label(pair.candidate)} minus {view.label(pair.reference)}"
    )
    means = ""
    if pair is not None and view.assessment.seed_comparisons:
        n = len(view.assessment.seed_comparisons[0].seeds)
        means = f", means of {n} trainings over patients and seeds"
    return model_tables(
        f"Key metrics ({view.level} confidence intervals{means}{tail})",
        words("Test subset", "16%"),
        view.columns(),
        rows,
        notes=notes,
        extra=None if pair is None else Column("Difference"),
    )


def _short_names(view: View) -> list[Table]:
    """Full names of the models whose names are shortened in tables and figures."""
    rows = [
        (Cell(style.label, mark=view.mark(style.model)), style.name)
        for style in view.styles.values()
        if style.label != style.name
    ]
    heads = (words("Short", "32%"), words("In full"))
    return [table("Names shortened in tables and figures", heads, rows)] if rows else []


def _key_forest(view: View) -> Image | Paragraph | None:
    if view.pair is None:
        return None
    if len(view.evaluations) == PAIR:
        return forest_of_metrics(view, view.pair, MARGIN_METRICS, caption=zone_words(view))
    # AUC of every other model against the highest one: what the rule asks of several models.
    best = max(
        view.evaluations, key=lambda one: -1.0 if (auc := one.decisive("auc").value) is None else auc
    ).model
    pairs = [
        oriented(pair, second=best)
        for pair in view.assessment.comparisons
        if best in {pair.reference, pair.candidate}
    ]
    caption = (
        f"Differences of AUC from {view.label(best)}, the highest AUC ({interval_words(view)}). Shaded: a loss within "
        "the margin (dashed)."
    )
    return forest_of_pairs(view, pairs, against=best, caption=caption)


def _parameters(view: View) -> tuple[Table, ...]:
    rows = [
        (
            PARAMETER_NAMES.get(row.name, capital(row.name.replace("_", " "))),
            _parameter_value(row.value),
            Cell("user") if row.set_by == "user" else muted("default"),
        )
        for row in view.assessment.verdict.parameters
    ]
    half = (len(rows) + 1) // 2
    heads = (words("Parameter", "44%"), words("Value"), words("Set by", "17%"))
    return tuple(
        table("Parameters of the rule and who set them", heads, part, titled=False)
        for part in (rows[:half], rows[half:])
        if part
    )


def _parameter_value(value: str) -> str:
    """A value with the internal names of costs put into words."""
    for name, text in COST_NAMES.items():
        plain = text.partition(" (")[0]
        value = value.replace(name, plain[:1].lower() + plain[1:])
    return value
