"""Decision curve of the test subset: net benefit over threshold probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.report.figures.curves import cases_of, name_curve, plot_curve
from medcompare.report.figures.drawing import (
    INK,
    LEGEND_ROW_MM,
    MUTED,
    PAGE_WIDTH_MM,
    RULE,
    Drawing,
    ModelStyle,
    draw,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from medcompare.stats.records import Curve, ModelEvaluation

MIN_SHARE = 0.02
SHORTEST_RANGE = 0.05
SMALLEST_TOP = 0.01

PATIENTS = 1000
"""Net benefit is also read as true positives gained per so many patients."""


def _of_many(net_benefit: ArrayLike) -> NDArray[np.float64]:
    """Net true positives among `PATIENTS` cases."""
    return np.asarray(net_benefit, dtype=float) * PATIENTS


def _of_one(true_positives: ArrayLike) -> NDArray[np.float64]:
    """Net benefit per case."""
    return np.asarray(true_positives, dtype=float) / PATIENTS


def shown_range(
    evaluations: Sequence[ModelEvaluation],
    treat_all: Curve | None,
    stated_range: tuple[float, float] | None,
) -> tuple[float, float]:
    """Threshold probabilities the decision curve shows.

    The stated range, or from 0 to just above the last threshold at which a model or `treat_all` (the net
    benefit of calling everyone positive) is worth drawing: above `MIN_SHARE` of the largest net benefit.
    """
    if stated_range is not None:
        return stated_range
    curves = [curve for curve in (treat_all, *(e.decision_curve for e in evaluations)) if curve is not None]
    top = max((y for curve in curves for y in curve.y), default=0.0)
    useful = [
        x
        for curve in curves
        for x, y in zip(curve.x, curve.y, strict=True)
        if top > 0 and y > MIN_SHARE * top
    ]
    return 0.0, min(1.0, max(1.15 * max(useful, default=1.0), SHORTEST_RANGE))


def shown_height(
    evaluations: Sequence[ModelEvaluation], treat_all: Curve | None, across: tuple[float, float]
) -> tuple[float, float]:
    """Lowest and highest net benefit shown: all that is gained, and as much harm of the models at most.

    Calling everyone positive soon falls far below zero, so only its gain counts; a model below zero stays
    in view, down to as far below as the best is above.
    """

    def inside(curve: Curve | None) -> list[float]:
        low, high = across
        return [] if curve is None else [y for x, y in zip(curve.x, curve.y, strict=True) if low <= x <= high]

    models = [y for one in evaluations for y in inside(one.decision_curve)]
    best = max([0.0, *inside(treat_all), *models])
    top = 1.08 * best if best > 0 else SMALLEST_TOP
    return -max(0.18 * top, min(top, -1.08 * min([0.0, *models]))), top


def draw_decision_curve(
    evaluations: Sequence[ModelEvaluation],
    styles: dict[str, ModelStyle],
    *,
    treat_all: Curve | None,
    stated_range: tuple[float, float] | None,
) -> Drawing:
    """Net benefit over threshold probabilities (Vickers and Elkin 2006), over the stated range if there is one."""

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        across = shown_range(evaluations, treat_all, stated_range)
        if treat_all is not None:
            axes.plot(treat_all.x, treat_all.y, color=MUTED, linewidth=1, label="Call everyone positive")
        axes.axhline(0, color=INK, linewidth=1, linestyle=(0, (1, 1.5)), label="Call no one positive")
        for evaluation in evaluations:
            style, curve = styles[evaluation.model], evaluation.decision_curve
            if curve is None:
                continue
            plot_curve(axes, curve, style)
            name_curve(axes, style)
        axes.set(xlim=across, ylim=shown_height(evaluations, treat_all, across))
        axes.set(xlabel="Threshold probability (preference)", ylabel="Net benefit")
        axes.set_title(f"Decision curve ({cases_of(evaluations[0])})")
        axes.grid(visible=True, color=RULE, linewidth=0.35)
        axes.legend(loc="center left", bbox_to_anchor=(1.14, 0.5))
        second = axes.secondary_yaxis("right", functions=(_of_many, _of_one))
        second.set_ylabel(f"Net true positives per {PATIENTS:,}")

    alt = "Decision curve: net benefit over threshold probability for " + ", ".join(
        styles[e.model].name for e in evaluations
    )
    # As high as its legend, with the lines for everyone and no one.
    height_mm = max(58.0, LEGEND_ROW_MM * (len(evaluations) + 2) + 6)
    return draw(fill, width_mm=PAGE_WIDTH_MM, height_mm=height_mm, alt=alt)
