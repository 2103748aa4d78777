"""Confusion matrices as one image, for pages that cannot lay out tables of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import Rectangle

from medcompare.base.formatting import format_count, format_percent, short_labels
from medcompare.report.figures.drawing import Drawing, draw
from medcompare.report.matrices import shade
from medcompare.report.results import row_fractions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medcompare.report.figures.drawing import ModelStyle
    from medcompare.stats.records import ModelEvaluation

PER_ROW = 2
LONGEST_CLASS = 16
"""Characters of a class name beside a matrix."""

PANEL_MM = (85.0, 62.0)
CELLS = (("true_positive", "false_negative"), ("false_positive", "true_negative"))
"""Names in the record, row by true class (positive first), column by predicted class."""


def draw_confusion_matrices(evaluations: Sequence[ModelEvaluation], styles: dict[str, ModelStyle]) -> Drawing:
    """One matrix per model: counts, and shares of the true class; one colour scale for all."""
    n_columns = min(PER_ROW, len(evaluations))
    n_rows = -(-len(evaluations) // PER_ROW)

    def fill(figure: Figure) -> None:
        panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axes in panels[len(evaluations) :]:
            axes.axis("off")
        for axes, evaluation in zip(panels, evaluations, strict=False):
            _matrix(axes, evaluation, title=styles[evaluation.model].label)

    spoken = "; ".join(
        f"{styles[e.model].name}: {e.confusion.true_positive} of {e.n_positive} {e.classes[1]} found, "
        f"{e.confusion.false_positive} of {e.n_negative} {e.classes[0]} predicted {e.classes[1]}"
        for e in evaluations
    )
    return draw(
        fill,
        width_mm=PANEL_MM[0] * n_columns,
        height_mm=PANEL_MM[1] * n_rows,
        alt=f"Confusion matrices. {spoken}.",
    )


def _matrix(axes: Axes, evaluation: ModelEvaluation, *, title: str) -> None:
    """A matrix in the colours and ink of the report's tables."""
    shares = row_fractions(evaluation.confusion)
    for y, row in enumerate(CELLS):
        for x, name in enumerate(row):
            ground, ink = shade(shares[name])
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=ground, edgecolor="white", linewidth=1.0))
            text = _cell(evaluation, shares, name)
            axes.text(x + 0.5, y + 0.5, text, color=ink, fontsize=8.5, ha="center", va="center")
    negative, positive = short_labels(evaluation.classes, LONGEST_CLASS)
    axes.set(xlim=(0, 2), ylim=(2, 0), aspect="equal", xlabel="Predicted class", ylabel="True class")
    axes.set_xticks([0.5, 1.5], [positive, negative])
    axes.set_yticks([0.5, 1.5], [positive, negative], rotation="vertical", va="center")
    axes.set_title(title)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _cell(evaluation: ModelEvaluation, shares: dict[str, float | None], name: str) -> str:
    share = shares[name]
    shown = "no cases" if share is None else format_percent(share)
    return f"{format_count(getattr(evaluation.confusion, name))}\n{shown}"
