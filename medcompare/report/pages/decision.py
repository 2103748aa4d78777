"""Page one: the verdict, what it means per hundred, and what was checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

from medcompare.base.formatting import format_number, join_words, shorten
from medcompare.base.language import message, t
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
from medcompare.report.pages.compare import (
    PAIR,
    both_ways,
    conclusion,
    interval_words,
    is_simultaneous,
    oriented,
)
from medcompare.report.pages.cost import key_costs
from medcompare.stats.verdict.caveats import UNFIT
from medcompare.stats.verdict.sentences import difference_text, floor_figures, interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.report.blocks import Row, Table
    from medcompare.report.figures.interval import Reach
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate, ModelEvaluation, ModelUse

FIGURES = ("sensitivity", "specificity", "auc")
ENOUGH_PER_CLASS = 100
"""At least 100 events and 100 non-events for an evaluation (Collins et al. 2016, Stat Med 35:214)."""

LONGEST_CLASS = 24

State = Literal["yes", "no", "in part", "not known"]
THRESHOLDS = {
    "usable": "yes",
    "not held": "no: its sensitivity is not held",
    "not reached": "no: target not reached",
    "few validation cases": "not yet: few validation cases",
    "one class": "no: tells nothing apart",
    "convention": "no: 0.5 by convention",
    "given": "not known: given",
    "fixed": "not known: fixed beforehand",
}
"""Words for `ModelUse.threshold`."""

FAULTS = {
    "show no relation to the truth": message("no relation to the truth"),
    "fall where the truth is positive": message("fall where the truth is positive"),
    "are over-confident": message("over-confident"),
    "are under-confident": message("under-confident"),
    "are too low on average": message("too low on average"),
    "are too high on average": message("too high on average"),
}
"""Words for `ModelUse.miscalibration`."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing a careful reader asks of a comparison, and whether it is so."""

    label: str
    state: State

    @property
    def name(self) -> str:
        """Class of the style sheet."""
        return self.state.replace(" ", "-")


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


def unit_of(view: View) -> str:
    """What is counted: images, patients where a case is one, or cases that may be anything."""
    inputs = view.inputs
    per_patient = {row.field: row.value for row in inputs.settings}.get("evaluate.per_patient", "none")
    if per_patient not in {"none", "not set", None}:
        return "patients"
    return "cases" if inputs.manifest is None else "images"


def _labels(view: View) -> dict[str, str]:
    # In full beside "Test subset" above: a head of 60 characters would push the table off the page.
    longest = LONGEST_CLASS if len(view.evaluations) <= PAIR else LONGEST_CLASS // 2
    negative, positive = (shorten(name, longest) for name in view.assessment.classes)
    unit = unit_of(view)
    return {
        "sensitivity": f"Found, of 100 {positive} {unit}",
        "specificity": f"False alarms, of 100 {negative} {unit}",
        "auc": "AUC",
    }


def _margin(view: View, key: str) -> tuple[float, str]:
    """Largest acceptable loss, and how it is printed at its line."""
    margin: float = getattr(view.inputs.rule, f"margin_{key}")
    if key == "auc":
        return margin, format_number(-margin, digits=2 if round(margin, 2) == margin else 3, signed=True)
    return margin, f"{100 * (margin if key == 'specificity' else -margin):+g}".replace("-", "\u2212")


def _drawn(
    view: View, key: str, estimate: Estimate, *, reach: Reach, two_sided: bool, width_mm: float = 40
) -> tuple[Cell, Cell]:
    """The cells of the forest plot and of the conclusion."""
    margin, label = _margin(view, key)
    said = conclusion(estimate.ci_low, estimate.ci_high, margin)
    if estimate.value is None:
        return DASH, muted("not estimable")
    drawing = draw_interval(
        estimate.value,
        estimate.ci_low,
        estimate.ci_high,
        margin=margin,
        margin_label=label,
        two_sided=two_sided,
        reach=reach,
        alt=f"Interval against the margin {label}: {said}",
        width_mm=width_mm,
    )
    return Cell("", svg=drawing.svg), Cell(said, strong=said not in {"open", "no interval"})


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
            else Cell("cheaper" if cheaper == pair.candidate else "dearer", strong=True)
        )
        rows.append((*row, DASH, said))
    for name, texts in _uses(view):
        rows.append((Cell(name, strong=True), *(Cell(text) for text in texts), DASH, DASH, DASH))
    candidate = view.label(pair.candidate)
    means = ""
    if view.assessment.seed_comparisons:
        n = len(view.assessment.seed_comparisons[0].seeds)
        means = f"; means of {n} trainings over patients and seeds"
    zone = (
        "either way (equivalence), as neither model is known to be cheaper"
        if both_ways(view)
        else "to the left"
    )
    return table(
        f"What it means: values with {view.level} confidence intervals (CI), and {candidate} minus "
        f"{view.label(pair.reference)}{means}",
        (
            words("Test subset", "18%"),
            *view.columns(),
            Column("Difference (CI)", "15%"),
            Column("worse \u25c2 0 \u25b8 better", "41mm", "figure"),
            words(f"{candidate} is", "13%"),
        ),
        rows,
        notes=notes.with_remark(
            f"Shaded: acceptable, up to the margin {zone} (dashed, with its value). Intervals are drawn in units of "
            "their margins, so that better is on the right in every row."
        ),
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
            drawn = _drawn(view, "auc", difference, reach=reach, two_sided=False, width_mm=19.5)
            rows.append((head, *cells, *cost, _figure(notes, "auc", difference, difference=True), *drawn))
        else:
            highest = muted("highest AUC") if one.model == best else muted("not compared")
            rows.append((head, *cells, *cost, DASH, DASH, highest))
    kind = interval_words(view) if is_simultaneous(view) else f"{view.level} intervals of each pair alone"
    return table(
        f"What it means: values with {view.level} confidence intervals; differences of AUC from {view.label(best)}, "
        f"the highest ({kind})",
        (
            words("Model"),
            *(
                Column(labels[key], width)
                for key, width in zip(FIGURES, ("18.2mm", "18.2mm", "22mm"), strict=True)
            ),
            *(Column(row[0].text, "15.5mm") for row in costs),
            Column("AUC, difference", "24mm"),
            Column("worse \u25c2 0 \u25b8 better", "20mm", "figure"),
            words("AUC is", "17mm"),
        ),
        rows,
        tight=True,
        notes=notes.with_remark("Shaded: a loss within the margin (dashed, with its value)."),
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
                "auc": f"above {floor:g}",
                "sensitivity": f"above {100 * floor:g}",
                "specificity": f"below {100 * (1 - floor):g}",
            }[key]
        cells = [_figure(notes, key, one.decisive(key)) for one in view.evaluations]
        rows.append((Cell(labels[key], strong=True), *cells, asked))
    rows += [(*row, DASH) for row in key_costs(view, with_ratio=False)]
    rows += [(Cell(name, strong=True), *(Cell(text) for text in cells), DASH) for name, cells in _uses(view)]
    return model_tables(
        f"What it means: values with {view.level} confidence intervals",
        words("Test subset", "34%"),
        view.columns(),
        rows,
        notes=notes,
        extra=Column("Required of the interval"),
        dense=True,
    )


def _probability(one: ModelEvaluation, use: ModelUse) -> str:
    if one.calibration is None:
        return "no: scores are no probabilities"
    if use.miscalibration is None:
        return "not known: too few cases"
    if not use.miscalibration:
        return "no fault shown"
    return t("no: {faults}", faults=join_words(t(FAULTS[each]) for each in use.miscalibration))


def _uses(view: View) -> list[tuple[str, list[str]]]:
    """Whether thresholds and probabilities may be used, per model; models that could not be assessed are named so."""
    uses = {use.model: use for use in view.assessment.verdict.uses}
    if not uses:
        return []
    found = [(one, uses.get(one.model)) for one in view.evaluations]
    none = "no: not assessed"
    return [
        ("Threshold usable?", [none if use is None else THRESHOLDS[use.threshold] for _, use in found]),
        ("Usable as probability?", [none if use is None else _probability(one, use) for one, use in found]),
    ]


def uses_in_words(view: View) -> tuple[str, ...]:
    """The same in sentences, where models are rows of the table: the commonest answer last, for all others."""
    if len(view.evaluations) <= PAIR:
        return ()
    said = []
    for name, answers in _uses(view):
        groups: dict[str, list[str]] = {}
        for one, answer in zip(view.evaluations, answers, strict=True):
            groups.setdefault(answer, []).append(view.label(one.model))
        *few, (commonest, _) = sorted(groups.items(), key=lambda group: len(group[1]))
        parts = [f"{join_words(names)}: {answer}" for answer, names in few]
        parts.append(f"{'all others' if parts else 'all'}: {commonest}")
        said.append(f"{name} {'; '.join(parts)}.")
    return tuple(said)


def said_of_uses(view: View, caveat: str) -> bool:
    """Whether a caveat is about probabilities, where the sentences on their use hold it for many models in a line."""
    return len(view.evaluations) > PAIR and caveat.startswith(t(UNFIT).partition("{")[0])


def checks_of(view: View) -> tuple[Check, ...]:
    """What a careful reader asks first; every answer from the records, and "not known" where they are silent."""
    inputs, one = view.inputs, view.evaluations[0]
    split = inputs.split
    origins = {each.operating_point.chosen_on for each in view.evaluations}
    set_by = {row.set_by for row in view.assessment.verdict.parameters if row.name.startswith("margin_")}
    smallest = min(one.n_units_positive, one.n_units_negative)
    frozen: State = "not known"
    if origins <= {"validation", "fixed"} and split is not None:
        frozen = "yes"
    elif "convention" in origins:
        frozen = "no"
    by_person: State = "not known"
    if set_by:
        by_person = "in part" if len(set_by) > 1 else "yes" if set_by == {"user"} else "no"
    unit = "patients" if one.clustered else unit_of(view)
    external = view.assessment.external
    # The same id need not be the same person, but may be.
    doubtful = [f"{each.shared_words} in both" for each in external if each.shared]
    return (
        Check(label="Split checked for leaks", state="not known" if split is None else "yes"),
        Check(
            label="Patients kept apart",
            state="yes" if split is not None and split.grouped_by == "patient_id" else "not known",
        ),
        Check(label="Thresholds frozen beforehand", state=frozen),
        Check(label="Margins set by a person", state=by_person),
        Check(
            label=f"\u2265 {ENOUGH_PER_CLASS} {unit} per class",
            state="yes" if smallest >= ENOUGH_PER_CLASS else "no",
        ),
        Check(
            label="Tested on external data" + (f" ({'; '.join(doubtful)})" if doubtful else ""),
            state="in part" if doubtful else "yes" if external else "not known" if split is None else "no",
        ),
    )


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
