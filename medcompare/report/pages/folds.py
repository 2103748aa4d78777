"""Blocks on cross-validation: every fold, and what may be said of their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.language import message, t
from medcompare.report.blocks import Cell, Heading, Notes, Paragraph, image_of, table, words
from medcompare.report.figures.runs import draw_strips

if TYPE_CHECKING:
    from medcompare.report.blocks import Block, Row
    from medcompare.report.vocabulary import View

SEARCHED = message(
    "The hyperparameters were chosen once, on the validation subset, whose images are in the folds "
    "too: the figures of folds may be a little too high; those of the test subset are not concerned."
)


def fold_blocks(view: View) -> list[Block]:
    """The folds of each model; empty where none were asked for."""
    found = view.assessment.cross_validation
    if found is None:
        return []
    if found.n_repeats == 1:
        drawn = t(
            "{n} folds of the images outside the test subset, the same for every model; one training each per fold, "
            "its checkpoint and threshold chosen on a part of the other folds.",
            n=found.n_folds,
        )
    else:
        drawn = t(
            "{n} folds, drawn {n_repeats} times of the images outside the test subset, the same for every model; one "
            "training each per fold, its checkpoint and threshold chosen on a part of the other folds.",
            n=found.n_folds,
            n_repeats=found.n_repeats,
        )
    shows = t(
        "It shows how much the figures depend on which images are trained on; the verdict rests on the held-out test "
        "subset."
    )
    text = " ".join([drawn, shows, *([t(SEARCHED)] if view.inputs.searches else [])])
    strips = [
        (row.model, f"{row.repeat}.{row.fold}" if found.n_repeats > 1 else str(row.fold), row.auc)
        for row in found.rows
    ]
    notes = Notes()
    rows: list[Row] = [
        (Cell(view.label(model), mark=view.mark(model)), notes.cell(mean))
        for model, mean in found.means.items()
    ]
    rows += [
        (Cell(f"{view.label(b)} \u2212 {view.label(a)}", strong=True), notes.cell(mean, signed=True))
        for a, b, mean in found.differences
    ]
    title = t(
        "Mean AUC over held-out folds ({level} intervals: corrected resampled t, Nadeau and Bengio 2003, "
        "which allows for folds that share training images)",
        level=view.level,
    )
    return [
        Heading(t("Cross-validation")),
        Paragraph(text, "note"),
        image_of(
            draw_strips(strips, view.styles, what=t("Fold")),
            caption=t(
                "Each mark is one training on other folds, with its interval over the patients of the fold."
            ),
        ),
        table(title, (words(t("Model"), "50%"), t("Mean AUC")), rows, notes=notes),
    ]
