"""From records to words: the whole report as sections of finished blocks.

Every number is formatted here or in the modules this one calls; templates only place
what they are given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medcompare.base.formatting import capital, format_percent, format_time, join_words
from medcompare.base.language import message, t
from medcompare.report.blocks import (
    MAX_MODEL_COLUMNS,
    Cell,
    Section,
    Table,
    muted,
    table,
    words,
)
from medcompare.report.pages.checklists import checklist_section
from medcompare.report.pages.checks import checks_of
from medcompare.report.pages.cost import cost_section
from medcompare.report.pages.data import data_section
from medcompare.report.pages.decision import (
    decision_tables,
    said_of_uses,
    uses_in_words,
    without_figures,
)
from medcompare.report.pages.errors import error_section
from medcompare.report.pages.external import external_section
from medcompare.report.pages.head_to_head import head_to_head_section
from medcompare.report.pages.methods import methods_section, trend_section
from medcompare.report.pages.model import model_section
from medcompare.report.pages.rule import rule_steps
from medcompare.report.theme import Theme, themed
from medcompare.report.vocabulary import COST_NAMES, PARAMETER_NAMES, View, view_of
from medcompare.stats.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.report.inputs import Paper, ReportInputs, Source
    from medcompare.report.pages.checks import Check
    from medcompare.report.pages.rule import RuleStep
    from medcompare.stats.records import Parameter

SYNTHETIC_LABEL = message("Synthetic demonstration data")

SOURCES: dict[Source, str] = {
    "trained by medcompare": message("trained by medcompare"),
    "predictions supplied": message("predictions supplied"),
}
GUARDS = {"strict": message("strict"), "veto": message("veto")}
OUTCOME_LABELS = {
    Outcome.INVALID: message("No verdict: the comparison is not valid"),
    Outcome.NOT_ENOUGH_DATA: message("Not enough data to decide"),
    Outcome.THRESHOLDS_NOT_COMPARABLE: message("No verdict at these thresholds"),
    Outcome.NEITHER_ADEQUATE: message("No model is good enough"),
    Outcome.USE_MODEL: message("Recommendation"),
    Outcome.PREFER_CHEAPER: message("Recommendation"),
    Outcome.CHOOSE_BY_COST: message("Recommendation"),
}
DECIDED = frozenset({Outcome.USE_MODEL, Outcome.PREFER_CHEAPER, Outcome.CHOOSE_BY_COST})


PAGE_ONE_MM: dict[Paper, float] = {"A4": 258.0, "Letter": 240.0}
"""Height between the margins of the first page, and of what stands at its foot."""


@dataclass(frozen=True, kw_only=True)
class PageOne:
    """What to do, what it means, and what it rests on: read in two minutes."""

    facts: tuple[tuple[str, str], ...]
    outcome: str
    decided: bool
    headline: str
    sentence: str
    """Without the figures that the table below prints."""
    extras: tuple[str, ...]
    """Provisional favourite, where the data cannot tell."""
    next_steps: tuple[str, ...]
    """Sizes that would settle what is open, and what to do before use."""
    tables: tuple[Table, ...]
    """What the models do, differences and forest plot in one."""
    uses: tuple[str, ...]
    """Whether thresholds and probabilities may be used, where the table has no room for it."""
    checks: tuple[Check, ...]
    caveats: tuple[str, ...]
    notices: tuple[str, ...]
    paper: Paper

    @property
    def overflows(self) -> bool:
        """Whether all this is likely to need more than a page: then it is set smaller, and the rule follows at once.

        From the characters of a line and the height of lines and rows, in millimetres, of the style sheet.
        """
        lines = sum(
            -(-len(text) // 95) for text in (self.sentence, *self.extras, *self.next_steps, *self.uses)
        )
        rows = sum(
            max(8.0, 1.2 + 3.4 * -(-len(row[0].text) // 12) if one.tight else 0.0)
            for one in self.tables
            for row in one.rows
        )
        limits = sum(-(-len(text) // 54) for text in (*self.caveats, *self.notices)) / 2
        return 115 + 4.4 * lines + rows + 3.5 * limits > PAGE_ONE_MM[self.paper]


@dataclass(frozen=True, kw_only=True)
class RulePage:
    """The rule that decided: behind page one."""

    sentence: str
    """Of the verdict, with all its figures."""
    caveats: tuple[str, ...]
    """Those that page one gives in a shorter form."""
    steps: tuple[RuleStep, ...]
    parameters: tuple[Table, ...]
    """Side by side."""
    names: tuple[Table, ...]
    """Names that are shortened in tables and figures, in full."""


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
    rule: RulePage
    sections: tuple[Section, ...]
    theme: Theme = field(default_factory=Theme)


def build_context(inputs: ReportInputs) -> ReportContext:
    """Everything the report says, formatted; sections without content are left out, the others numbered."""
    view = view_of(themed(inputs))
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
        organisation=inputs.organisation or inputs.theme.organisation,
        theme=inputs.theme,
        run_name=inputs.run_name,
        paper=inputs.paper,
        synthetic_label=t(SYNTHETIC_LABEL) if inputs.synthetic else "",
        created=inputs.provenance.finished_at,
        version=inputs.provenance.medcompare_version,
        description=inputs.assessment.verdict.headline,
        page_one=_page_one(view),
        rule=RulePage(
            sentence=view.assessment.verdict.sentence,
            caveats=tuple(text for text in view.assessment.verdict.caveats if said_of_uses(view, text)),
            steps=rule_steps(view),
            parameters=_parameters(view),
            names=tuple(_short_names(view)),
        ),
        sections=tuple(sections),
    )


def _page_one(view: View) -> PageOne:
    verdict = view.assessment.verdict
    label = t(OUTCOME_LABELS[verdict.outcome])
    shortened = _shortened_names(view)

    def brief(text: str) -> str:
        return shortened(without_figures(view, text))

    return PageOne(
        facts=_facts(view),
        outcome="" if verdict.headline.startswith(label) else label,
        decided=verdict.outcome in DECIDED,
        headline=verdict.headline,
        sentence=brief(verdict.sentence),
        extras=() if verdict.provisional_sentence is None else (brief(verdict.provisional_sentence),),
        next_steps=tuple(shortened(text) for text in _next_steps(view)),
        tables=tuple(decision_tables(view)),
        uses=uses_in_words(view),
        checks=checks_of(view),
        caveats=tuple(brief(text) for text in verdict.caveats if not said_of_uses(view, text)),
        notices=view.inputs.notices,
        paper=view.inputs.paper,
    )


def _next_steps(view: View) -> list[str]:
    """What would settle an open question; for a recommendation, what is still to be done before use."""
    verdict = view.assessment.verdict
    steps = [size.sentence for size in verdict.sizes_needed]
    if verdict.outcome in DECIDED and not view.assessment.external:
        steps.append(t("Before use, test it on images from where it will be used."))
    return steps


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
    said = {
        "n": assessment.n,
        "n_positive": assessment.n_positive,
        "positive": assessment.classes[1],
        "share": format_percent(assessment.prevalence),
    }
    cases = (
        t("{n:,} cases, {n_positive:,} {positive} ({share})", **said)
        if assessment.n_patients is None
        else t(
            "{n:,} cases, {n_positive:,} {positive} ({share}), {n_patients:,} patients",
            n_patients=assessment.n_patients,
            **said,
        )
    )
    facts = [(t("Finished"), format_time(inputs.provenance.finished_at))]
    if inputs.manifest is not None:
        data = t("{name}: {n:,} usable images", name=inputs.manifest.name, n=inputs.manifest.n_images)
        facts.append((t("Data"), data))
    facts.append((t("Test subset"), cases))
    # Many models are in the table below, and in full behind page one.
    if len(view.styles) <= MAX_MODEL_COLUMNS:
        facts.append((t("Models"), join_words(view.name(model) for model in view.styles)))
    facts.append((t("Predictions"), t(SOURCES[inputs.source])))
    return tuple(facts)


def _short_names(view: View) -> list[Table]:
    """Full names of the models whose names are shortened in tables and figures, and what the data call the classes."""
    rows = [
        (Cell(style.label, mark=view.mark(style.model)), style.name)
        for style in view.styles.values()
        if style.label != style.name
    ]
    heads = (words(t("Short"), "32%"), words(t("In full")))
    found = [table(t("Names shortened in tables and figures"), heads, rows)] if rows else []
    if view.inputs.theme.classes:
        named = [(shown, name) for name, shown in view.inputs.theme.classes.items()]
        found.append(
            table(t("Names of classes"), (words(t("In this report"), "50%"), words(t("In the data"))), named)
        )
    return found


def _parameters(view: View) -> tuple[Table, ...]:
    rows = [
        (
            t(PARAMETER_NAMES.get(row.name, capital(row.name.replace("_", " ")))),
            _parameter_value(row),
            Cell(t("user")) if row.set_by == "user" else muted(t("default")),
        )
        for row in view.assessment.verdict.parameters
    ]
    half = (len(rows) + 1) // 2
    heads = (words(t("Parameter"), "44%"), words(t("Value")), words(t("Set by"), "17%"))
    return tuple(
        table(t("Parameters of the rule and who set them"), heads, part, titled=False)
        for part in (rows[:half], rows[half:])
        if part
    )


def _parameter_value(row: Parameter) -> str:
    """A value in words where it is a name."""
    if row.name == "cost_metric":
        return t(COST_NAMES[row.value]).partition(" (")[0]
    return t(GUARDS[row.value]) if row.name == "guard" else row.value
