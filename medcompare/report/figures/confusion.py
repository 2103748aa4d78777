"""Confusion matrices as one image, for pages that cannot lay out tables of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.formatting import format_count, format_percent, short_labels
from medcompare.base.language import t
from medcompare.report.figures.drawing import Drawing, draw
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
        t(
            "{model}: {found} of {n_positive} {positive} found, {alarms} of {n_negative} {negative} predicted "
            "{positive}",
            model=styles[e.model].name,
            found=e.confusion.true_positive,
            n_positive=e.n_positive,
            positive=e.classes[1],
            alarms=e.confusion.false_positive,
            n_negative=e.n_negative,
            negative=e.classes[0],
        )
        for e in evaluations
    )
    return draw(
        fill,
        width_mm=PANEL_MM[0] * n_columns,
        height_mm=PANEL_MM[1] * n_rows,
        alt=t("Confusion matrices. {models}.", models=spoken),
    )


def _matrix(axes: Axes, evaluation: ModelEvaluation, *, title: str) -> None:
    # Slow to import, and needed by runs that show a page in the orchestrator only.
    import seaborn as sns  # noqa: PLC0415

    shares = row_fractions(evaluation.confusion)
    values = np.array([[shares[name] if shares[name] is not None else 0.0 for name in row] for row in CELLS])
    texts = np.array([[_cell(evaluation, shares, name) for name in row] for row in CELLS])
    negative, positive = short_labels(evaluation.classes, LONGEST_CLASS)
    sns.heatmap(
        values,
        annot=texts,
        fmt="",
        ax=axes,
        vmin=0,
        vmax=1,
        cmap="Blues",
        cbar=False,
        linewidths=1.0,
        square=True,
        xticklabels=[positive, negative],
        yticklabels=[positive, negative],
        annot_kws={"fontsize": 8.5},
    )
    axes.set(xlabel=t("Predicted class"), ylabel=t("True class"))
    axes.set_title(title)
    axes.tick_params(length=0)


def _cell(evaluation: ModelEvaluation, shares: dict[str, float | None], name: str) -> str:
    share = shares[name]
    shown = t("no cases") if share is None else format_percent(share)
    return f"{format_count(getattr(evaluation.confusion, name))}\n{shown}"
