"""Section on images of other hospitals: the finished models there, beside the internal test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.language import t
from medcompare.report.blocks import Bullets, Cell, Heading, Notes, Section, image_of, table, words
from medcompare.report.figures.forest import ForestRow, draw_differences
from medcompare.report.vocabulary import metric_name

if TYPE_CHECKING:
    from medcompare.report.blocks import Block, Row
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import ExternalSet

FIGURES = ("auc", "sensitivity", "specificity")


def external_section(view: View, number: int) -> Section | None:
    """Each external set beside the internal test subset; None where there is none."""
    sets = view.assessment.external
    if not sets:
        return None
    lead = t(
        "The finished models, frozen with their thresholds, on images of other hospitals. Nothing was "
        "fitted to these images, and the verdict does not rest on them: it says what may change "
        "elsewhere."
    )
    if view.assessment.seed_comparisons:
        lead += " " + t("Both columns are those of the first training of each model.")
    blocks = [block for one in sets for block in _of_set(view, one)]
    return Section(
        number=number, anchor="external", title=t("External data"), lead=lead, blocks=tuple(blocks)
    )


def _of_set(view: View, one: ExternalSet) -> list[Block]:
    notes = Notes()
    rows: list[Row] = []
    forest = []
    inside = {each.model: each for each in view.evaluations}
    for each in one.models:
        there, here = each.evaluation, inside[each.evaluation.model]
        for figure in FIGURES:
            change = each.differences[figure]
            name = Cell(
                f"{view.label(there.model)}: {metric_name(figure, short=True)}", mark=view.mark(there.model)
            )
            rows.append(
                (
                    name,
                    notes.cell(here.metrics[figure]),
                    notes.cell(there.metrics[figure]),
                    notes.cell(change, signed=True),
                )
            )
            if change.value is not None and change.ci_low is not None:
                forest.append(
                    ForestRow(
                        label=f"{view.label(there.model)}, {metric_name(figure, short=True)}", estimate=change
                    )
                )
        if there.calibration is not None and here.calibration is not None:
            slopes = (here.calibration.slope, there.calibration.slope)
            name = Cell(
                t("{model}: calibration slope", model=view.label(there.model)), mark=view.mark(there.model)
            )
            rows.append((name, *(notes.cell(slope) for slope in slopes), ""))
    for pair in one.comparisons:
        here_pair = next(
            (
                p
                for p in view.assessment.comparisons
                if (p.reference, p.candidate) == (pair.reference, pair.candidate)
            ),
            None,
        )
        name = Cell(f"AUC, {view.label(pair.candidate)} \u2212 {view.label(pair.reference)}", strong=True)
        key = "auc_one_training" if here_pair and "auc_one_training" in here_pair.differences else "auc"
        rows.append(
            (
                name,
                "" if here_pair is None else notes.cell(here_pair.differences[key], signed=True),
                notes.cell(pair.differences["auc"], signed=True),
                "",
            )
        )
    if one.n_patients is None:
        cases = t("{n:,} cases", n=one.n)
    else:
        cases = t("{n:,} cases of {n_patients:,} patients", n=one.n, n_patients=one.n_patients)
    title = t(
        "{set}: {cases}, {n_positive:,} {positive} ({level} intervals; change: external minus internal, two samples)",
        set=one.name,
        cases=cases,
        n_positive=one.n_positive,
        positive=view.assessment.classes[1],
        level=view.level,
    )
    heads = (words(t("Figure"), "34%"), t("Internal test"), one.name, t("Change"))
    blocks: list[Block] = [Heading(one.name), table(title, heads, rows, notes=notes)]
    if forest:
        drawing = draw_differences(
            forest,
            reference=t("internal test"),
            candidate=one.name,
            n=one.n,
            n_positive=one.n_positive,
            level=view.assessment.level,
        )
        blocks.append(image_of(drawing, caption=t("Left of the line: lower at the other hospital.")))
    if one.notes:
        blocks.append(Bullets(one.notes))
    return blocks
