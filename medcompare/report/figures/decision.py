"""Decision curves of the test subset: net benefit over threshold probabilities, and the difference of two models."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.formatting import format_number
from medcompare.base.language import t
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
    legend_columns,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from medcompare.stats.in_detail import HeadToHead
    from medcompare.stats.records import Curve, ModelEvaluation

SMALLEST_TOP = 0.01
MAX_BANDS = 4
"""Models whose bands can be told apart; of more only the curves are drawn."""

PATIENTS = 1000
"""Net benefit is also read as true positives gained per so many patients."""

PLOT_MM = 50.0


def _of_many(net_benefit: ArrayLike) -> NDArray[np.float64]:
    """Net true positives among `PATIENTS` cases."""
    return np.asarray(net_benefit, dtype=float) * PATIENTS


def _of_one(true_positives: ArrayLike) -> NDArray[np.float64]:
    """Net benefit per case."""
    return np.asarray(true_positives, dtype=float) / PATIENTS


def shown_height(
    evaluations: Sequence[ModelEvaluation], treat_all: Curve | None, across: tuple[float, float]
) -> tuple[float, float]:
    """Lowest and highest net benefit shown: all that is gained, and as much harm of the models at most.

    Calling everyone positive soon falls far below zero, so only its gain counts; a model below zero stays
    in view, down to as far below as the best is above. Bands count as far as they reach up.
    """

    def inside(x: Sequence[float], y: Sequence[float]) -> list[float]:
        low, high = across
        return [b for a, b in zip(x, y, strict=False) if low <= a <= high]

    curves = [one.decision_curve for one in evaluations if one.decision_curve is not None]
    models = [y for one in curves for y in inside(one.x, one.y)]
    upper = [y for one in curves for y in inside(one.x, one.y_high)] if len(curves) <= MAX_BANDS else []
    everyone = [] if treat_all is None else inside(treat_all.x, treat_all.y)
    top = 1.08 * max([0.0, *everyone, *models, *upper])
    top = top if top > 0 else SMALLEST_TOP
    return -max(0.18 * top, min(top, -1.08 * min([0.0, *models]))), top


def _mark_frozen(
    axes: Axes, detail: HeadToHead, styles: dict[str, ModelStyle], across: tuple[float, float]
) -> None:
    """Each model's mark on its curve at its frozen threshold."""
    for point, side in itertools.product(detail.net_benefit_at, ("reference", "candidate")):
        model, value = getattr(detail, side), getattr(point, side).value
        seen = across[0] <= point.threshold <= across[1]
        if seen and model in point.frozen_of and value is not None:
            style = styles[model]
            axes.plot(
                [point.threshold], [value], style.marker, color=style.colour, markersize=5.5,
                markeredgecolor="white", markeredgewidth=0.8, zorder=5, clip_on=False,
            )  # fmt: skip


def _difference_panel(axes: Axes, curve: Curve, label: str) -> None:
    axes.axhline(0, color=INK, linewidth=1, linestyle=(0, (1, 1.5)))
    if curve.y_low:
        axes.fill_between(
            curve.x, _of_many(curve.y_low), _of_many(curve.y_high), color=MUTED, alpha=0.22, linewidth=0
        )
    axes.plot(curve.x, _of_many(curve.y), color=INK, linewidth=1.3, label=label)
    axes.set(
        xlim=(curve.x[0], curve.x[-1]),
        xlabel=t("Threshold probability"),
        title=t("Difference per {n:,} cases", n=PATIENTS),
    )


def draw_decision_curve(
    evaluations: Sequence[ModelEvaluation],
    styles: dict[str, ModelStyle],
    *,
    treat_all: Curve | None,
    across: tuple[float, float],
    detail: HeadToHead | None = None,
) -> Drawing:
    """Net benefit over a range of threshold probabilities, and the difference between the models of `detail`.

    Parameters
    ----------
    evaluations : sequence of ModelEvaluation
        Those without a decision curve are left out.
    styles : dict
        By model.
    treat_all : Curve, optional
        Net benefit of calling everyone positive.
    across : (float, float)
        Threshold probabilities shown.
    detail : HeadToHead, optional
        Gives the panel of the difference and the marks at the frozen thresholds.
    """
    drawn = [one for one in evaluations if one.decision_curve is not None]
    difference = None if detail is None else detail.net_benefit
    minus = (
        ""
        if detail is None
        else t(
            "{candidate} minus {reference}",
            candidate=styles[detail.candidate].label,
            reference=styles[detail.reference].label,
        )
    )
    labels = [styles[one.model].label for one in drawn] + [
        t("Call everyone positive"),
        t("Call no one positive"),
    ]
    labels += [] if difference is None else [minus]
    n_across = legend_columns(labels)

    def fill(figure: Figure) -> None:
        panels = figure.subplots(
            1,
            1 if difference is None else 2,
            squeeze=False,
            width_ratios=None if difference is None else (1.3, 1),
        )[0]
        axes = panels[0]
        for one in drawn:
            style, curve = styles[one.model], one.decision_curve
            if curve is not None:
                banded = (
                    curve if len(drawn) <= MAX_BANDS else curve.model_copy(update={"y_low": (), "y_high": ()})
                )
                plot_curve(axes, banded, style)
                name_curve(axes, style)
        if treat_all is not None:
            axes.plot(treat_all.x, treat_all.y, color=MUTED, linewidth=1, label=t("Call everyone positive"))
        axes.axhline(0, color=INK, linewidth=1, linestyle=(0, (1, 1.5)), label=t("Call no one positive"))
        if detail is not None:
            _mark_frozen(axes, detail, styles, across)
        axes.set(xlim=across, ylim=shown_height(drawn, treat_all, across))
        axes.set(xlabel=t("Threshold probability (preference)"), ylabel=t("Net benefit"))
        axes.set_title(t("Decision curve ({cases})", cases=cases_of(drawn[0])))
        second = axes.secondary_yaxis("right", functions=(_of_many, _of_one))
        second.set_ylabel(t("Net true positives per {n:,}", n=PATIENTS))
        if difference is not None:
            _difference_panel(panels[1], difference, minus)
        for one in panels:
            one.grid(visible=True, color=RULE, linewidth=0.35)
        handles = [handle for one in panels for handle in one.get_legend_handles_labels()[0]]
        figure.legend(handles=handles, loc="outside lower center", ncols=n_across)

    said = {
        "low": format_number(across[0]),
        "high": format_number(across[1]),
        "models": ", ".join(styles[one.model].name for one in drawn),
    }
    alt = t(
        "Decision curve: net benefit over threshold probabilities from {low} to {high} for {models}", **said
    )
    if detail is not None:
        spoken = "; ".join(
            t(
                "{difference} at {threshold}",
                difference=format_number(point.difference.value * PATIENTS, digits=1, signed=True),
                threshold=format_number(point.threshold),
            )
            for point in detail.net_benefit_at
            if point.difference.value is not None
        )
        alt = t(
            "Decision curve: net benefit over threshold probabilities from {low} to {high} for {models}; and the "
            "difference, in net true positives per {n:,}: {differences}",
            n=PATIENTS,
            differences=spoken,
            **said,
        )
    height_mm = PLOT_MM + LEGEND_ROW_MM * -(-len(labels) // n_across)
    return draw(fill, width_mm=PAGE_WIDTH_MM, height_mm=height_mm, alt=alt)
