"""Page one: the verdict, and what it means per hundred."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Literal

from medcompare.base.formatting import NOT_ESTIMABLE, format_number, join_words, shorten
from medcompare.base.language import localised, message, t
from medcompare.report.blocks import (
    DASH,
    Cell,
    Column,
    Notes,
    model_tables,
    muted,
    table,
    words,
)
from medcompare.report.figures.interval import draw_interval, reach_of
from medcompare.report.inputs import PAIR
from medcompare.report.pages.compare import (
    NO_INTERVAL,
    OPEN,
    both_ways,
    conclusion,
    interval_words,
    is_simultaneous,
    oriented,
)
from medcompare.report.pages.cost import key_costs
from medcompare.report.pages.uses import uses_of
from medcompare.stats.verdict.caveats import UNFIT
from medcompare.stats.verdict.phrases import difference_text, floor_figures, interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Row, Table
    from medcompare.report.figures.interval import Reach
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate

FIGURES = ("sensitivity", "specificity", "auc")
LONGEST_CLASS = 24

Unit = Literal["patients", "cases", "images"]


def decision_tables(view: View) -> list[Table]:
    """Table and forest plot in one: what each model does per hundred, the differences, and what they show."""
    n_models = len(view.evaluations)
    if view.pair is None:
        return _alone(view)
    return [_of_two(view)] if n_models == PAIR else [_of_several(view)]


def _hundred(estimate: Estimate, *, missed: bool = False, difference: bool = False) -> Estimate:
    """A share as so many of a hundred; `missed`: of those it does not count."""

    def turned(value: float | None) -> float | None:
        if value is None:
            return None
        return 100 * (value if not missed else -value if difference else 1 - value)

    ends = [turned(estimate.ci_low), turned(estimate.ci_high)]
    low, high = reversed(ends) if missed else ends
    return estimate.model_copy(update={"value": turned(estimate.value), "ci_low": low, "ci_high": high})


def _figure(notes: Notes, key: str, estimate: Estimate, *, difference: bool = False) -> Cell:
    """A figure or a difference as page one prints it: AUC with three decimals, the others per hundred with one.

    Fewer decimals would let an interval seem to reach a margin that it does not.
    """
    if key == "auc":
        return notes.cell(estimate, signed=difference)
    of_hundred = _hundred(estimate, missed=key == "specificity", difference=difference)
    return notes.cell(of_hundred, digits=1, signed=difference)


def unit_of(view: View) -> Unit:
    """What is counted: images, patients where a case is one, or cases that may be anything."""
    inputs = view.inputs
    per_patient = {row.field: row.value for row in inputs.settings}.get("evaluate.per_patient", "none")
    if per_patient not in {"none", "not set", None}:
        return "patients"
    return "cases" if inputs.manifest is None else "images"


OF_HUNDRED = {
    "patients": (
        message("Found, of 100 {positive} patients"),
        message("False alarms, of 100 {negative} patients"),
    ),
    "cases": (message("Found, of 100 {positive} cases"), message("False alarms, of 100 {negative} cases")),
    "images": (message("Found, of 100 {positive} images"), message("False alarms, of 100 {negative} images")),
}


def _labels(view: View) -> dict[str, str]:
    # In full beside "Test subset" above: a head of 60 characters would push the table off the page.
    longest = LONGEST_CLASS if len(view.evaluations) <= PAIR else LONGEST_CLASS // 2
    negative, positive = (shorten(name, longest) for name in view.assessment.classes)
    found, alarms = OF_HUNDRED[unit_of(view)]
    return {
        "sensitivity": t(found, positive=positive),
        "specificity": t(alarms, negative=negative),
        "auc": t("AUC"),
    }


def _margin(view: View, key: str) -> tuple[float, str]:
    """Largest acceptable loss, and how it is printed at its line."""
    margin: float = getattr(view.inputs.rule, f"margin_{key}")
    if key == "auc":
        return margin, format_number(-margin, digits=2 if round(margin, 2) == margin else 3, signed=True)
    text = f"{100 * (margin if key == 'specificity' else -margin):+g}".replace("-", "\u2212")
    return margin, localised(text)


def _drawn(
    view: View, key: str, estimate: Estimate, *, reach: Reach, two_sided: bool, width_mm: float = 40
) -> tuple[Cell, Cell]:
    """The cells of the forest plot and of the conclusion."""
    margin, label = _margin(view, key)
    said = conclusion(estimate.ci_low, estimate.ci_high, margin)
    if estimate.value is None:
        return DASH, muted(t(NOT_ESTIMABLE))
    drawing = draw_interval(
        estimate.value,
        estimate.ci_low,
        estimate.ci_high,
        margin=margin,
        margin_label=label,
        two_sided=two_sided,
        reach=reach,
        alt=t("Interval against the margin {label}: {said}", label=label, said=said),
        width_mm=width_mm,
    )
    return Cell("", svg=drawing.svg), Cell(said, strong=said not in {t(OPEN), t(NO_INTERVAL)})


def _reach(rows: Sequence[tuple[float, Estimate]]) -> Reach:
    return reach_of((limit, margin) for margin, one in rows for limit in (one.ci_low, one.ci_high))


def _of_two(view: View) -> Table:
    pair, notes, labels = view.pair, Notes(), _labels(view)
    if pair is None:
        msg = "two models without a comparison"
        raise ValueError(msg)
    reach = _reach([(_margin(view, key)[0], pair.differences[key]) for key in FIGURES])
    rows: list[Row] = []
    for key in FIGURES:
        cells = [_figure(notes, key, one.decisive(key)) for one in view.evaluations]
        difference = pair.differences[key]
        drawn = _drawn(view, key, difference, reach=reach, two_sided=both_ways(view))
        rows.append(
            (Cell(labels[key], strong=True), *cells, _figure(notes, key, difference, difference=True), *drawn)
        )
    cheaper = view.assessment.verdict.cheaper
    for i, row in enumerate(key_costs(view)):
        said = (
            DASH
            if i or cheaper is None
            else Cell(t("cheaper") if cheaper == pair.candidate else t("dearer"), strong=True)
        )
        rows.append((*row, DASH, said))
    for name, texts in uses_of(view):
        rows.append((Cell(name, strong=True), *(Cell(text) for text in texts), DASH, DASH, DASH))
    candidate = view.label(pair.candidate)
    title = t(
        "What it means: values with {level} confidence intervals (CI), and {candidate} minus {reference}",
        level=view.level,
        candidate=candidate,
        reference=view.label(pair.reference),
    )
    if view.assessment.seed_comparisons:
        n = len(view.assessment.seed_comparisons[0].seeds)
        title += "; " + t("means of {n} trainings over patients and seeds", n=n)
    if both_ways(view):
        zone = t(
            "Shaded: acceptable, up to the margin either way (equivalence), as neither model is known to be cheaper "
            "(dashed, with its value)."
        )
    else:
        zone = t("Shaded: acceptable, up to the margin to the left (dashed, with its value).")
    drawn_so = t(
        "Intervals are drawn in units of their margins, so that better is on the right in every row."
    )
    return table(
        title,
        (
            words(t("Test subset"), "18%"),
            *view.columns(),
            Column(t("Difference (CI)"), "15%"),
            Column(t("worse ◂ 0 ▸ better"), "41mm", "figure"),
            words(t("{candidate} is", candidate=candidate), "13%"),
        ),
        rows,
        notes=notes.with_remark(f"{zone} {drawn_so}"),
    )


def _of_several(view: View) -> Table:
    """Models as rows, each held against the highest AUC: what the rule asks of several models."""
    notes, labels = Notes(), _labels(view)
    best = max(
        view.evaluations, key=lambda one: -1.0 if (auc := one.decisive("auc").value) is None else auc
    ).model
    against = {
        turned.first: turned.difference("auc", simultaneous=True)
        for pair in view.assessment.comparisons
        if best in {pair.reference, pair.candidate}
        for turned in [oriented(pair, second=best)]
    }
    margin = view.inputs.rule.margin_auc
    reach = _reach([(margin, one) for one in against.values()])
    costs = key_costs(view)[:1]
    rows: list[Row] = []
    for i, one in enumerate(view.evaluations):
        cells = [_figure(notes, key, one.decisive(key)) for key in FIGURES]
        cost = [row[1 + i] for row in costs]
        head = Cell(view.label(one.model), strong=True, mark=view.mark(one.model))
        if one.model in against:
            difference = against[one.model]
            drawn = _drawn(view, "auc", difference, reach=reach, two_sided=False, width_mm=18.5)
            rows.append((head, *cells, *cost, _figure(notes, "auc", difference, difference=True), *drawn))
        else:
            highest = muted(t("highest AUC")) if one.model == best else muted(t("not compared"))
            rows.append((head, *cells, *cost, DASH, DASH, highest))
    kind = (
        interval_words(view)
        if is_simultaneous(view)
        else t("{level} intervals of each pair alone", level=view.level)
    )
    return table(
        t(
            "What it means: values with {level} confidence intervals; differences of AUC from {best}, the "
            "highest ({kind})",
            level=view.level,
            best=view.label(best),
            kind=kind,
        ),
        (
            words(t("Model")),
            *(
                Column(labels[key], width)
                for key, width in zip(FIGURES, ("18.2mm", "18.2mm", "21.4mm"), strict=True)
            ),
            *(Column(row[0].text, "18.8mm") for row in costs),
            Column(t("AUC, difference"), "26mm"),
            Column(t("worse ◂ 0 ▸ better"), "19.5mm", "figure"),
            words(t("AUC is"), "19.4mm"),
        ),
        rows,
        tight=True,
        notes=notes.with_remark(t("Shaded: a loss within the margin (dashed, with its value).")),
    )


def _alone(view: View) -> list[Table]:
    """A model without another: every figure beside the least that the rule asks for."""
    notes, rule, labels = Notes(), view.inputs.rule, _labels(view)
    rows: list[Row] = []
    floors = {
        "auc": rule.auc_floor,
        "sensitivity": rule.sensitivity_floor,
        "specificity": rule.specificity_floor,
    }
    for key in FIGURES:
        floor = floors[key]
        asked = "\u2013"
        if floor is not None:
            asked = {
                "auc": t("above {floor:g}", floor=floor),
                "sensitivity": t("above {floor:g}", floor=100 * floor),
                "specificity": t("below {floor:g}", floor=100 * (1 - floor)),
            }[key]
        cells = [_figure(notes, key, one.decisive(key)) for one in view.evaluations]
        rows.append((Cell(labels[key], strong=True), *cells, asked))
    rows += [(*row, DASH) for row in key_costs(view, with_ratio=False)]
    rows += [
        (Cell(name, strong=True), *(Cell(text) for text in cells), DASH) for name, cells in uses_of(view)
    ]
    return model_tables(
        t("What it means: values with {level} confidence intervals", level=view.level),
        words(t("Test subset"), "34%"),
        view.columns(),
        rows,
        notes=notes,
        extra=Column(t("Required of the interval")),
        dense=True,
    )


def uses_in_words(view: View) -> tuple[str, ...]:
    """The same in sentences, where models are rows of the table: the commonest answer last, for all others."""
    if len(view.evaluations) <= PAIR:
        return ()
    said = []
    for name, answers in uses_of(view):
        groups: dict[str, list[str]] = {}
        for one, answer in zip(view.evaluations, answers, strict=True):
            groups.setdefault(answer, []).append(view.label(one.model))
        *few, (commonest, _) = sorted(groups.items(), key=lambda group: len(group[1]))
        parts = [f"{join_words(names)}: {answer}" for answer, names in few]
        parts.append(
            t("all others: {answer}", answer=commonest) if parts else t("all: {answer}", answer=commonest)
        )
        said.append(f"{name} {'; '.join(parts)}.")
    return tuple(said)


def said_of_uses(view: View, caveat: str) -> bool:
    """Whether a caveat is about probabilities, where the sentences on their use hold it for many models in a line."""
    return len(view.evaluations) > PAIR and caveat.startswith(t(UNFIT).partition("{")[0])


GONE = "\0"


def without_figures(view: View, text: str) -> str:
    """A sentence of the verdict without the figures that the table on the same page prints; page two has it in full."""
    short, names = text, view.assessment.display_names
    if len(view.evaluations) == PAIR:
        for pair, key in product(view.assessment.comparisons, FIGURES):
            short = short.replace(difference_text(pair, key, names), GONE)
    for one in view.evaluations:
        short = short.replace(floor_figures(one, view.inputs.rule), GONE)
        for key in FIGURES:
            short = short.replace(f"({interval(one.decisive(key))})", f"({GONE})")
    short = re.sub(rf" \({GONE}(?:[;,] {GONE})*\)", "", short)
    short = re.sub(rf"{GONE}; |; {GONE}", "", short)
    return text if GONE in short else short
