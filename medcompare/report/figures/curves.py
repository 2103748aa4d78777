"""Curves of the test subset: ROC and precision-recall, calibration, scores."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from medcompare.base.formatting import format_count, format_estimate, format_number, shorten
from medcompare.base.language import localised, t
from medcompare.report.figures.drawing import (
    INK,
    LEGEND_ROW_MM,
    MUTED,
    PAGE_WIDTH_MM,
    RULE,
    SPLIT_IMAGE_MM,
    Drawing,
    ModelStyle,
    draw,
    legend_columns,
    plot_interval,
    thin_curve,
    title_by,
    unit_axes,
)
from medcompare.report.inputs import LOGIT_TICKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medcompare.stats.records import Curve, Estimate, ModelEvaluation

CORNERS = (0.05, 0.1, 0.2, 0.3)
"""Sides of the corner of a ROC curve that may be drawn once more, larger."""

CORNER_PLACE, CORNER_ROOM = (0.46, 0.13, 0.51, 0.51), (0.36, 0.68)
"""Where it is drawn, in shares of the panel, and what it takes with its numbers: to the right of and below this."""

CHARACTER_SHARE, WORDS_SHARE = 0.025, 0.3
"""Width of a bold character within the axes of a score distribution, and of short words, as a share of them."""


def cases_of(evaluation: ModelEvaluation) -> str:
    """Number of cases and of positive ones, for titles."""
    return t("n = {n:,}, {n_positive:,} positive", n=evaluation.n, n_positive=evaluation.n_positive)


def plot_curve(axes: Axes, curve: Curve, style: ModelStyle, *, steps: bool = False) -> None:
    """A curve of one model in its style, with its band where it has one."""
    x, y, low, high = thin_curve(curve)
    if steps and x and x[0] > x[-1]:
        # "steps-pre" holds a precision back to the previous recall, so recall must ascend.
        x, y, low, high = x[::-1], y[::-1], low[::-1], high[::-1]
    axes.plot(
        x,
        y,
        color=style.colour,
        linestyle=style.line,
        drawstyle="steps-pre" if steps else "default",
        zorder=3,
    )
    _plot_band(axes, (x, y, low, high), style)


def _plot_band(axes: Axes, curve: tuple[list[float], ...], style: ModelStyle) -> None:
    """The band of a curve of `thin_curve`, where it has one."""
    x, _, low, high = curve
    if low:
        axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0, zorder=1)
        # Bands that overlap are told apart by their edges, in grey too.
        for edge in (low, high):
            axes.plot(x, edge, color=style.colour, linestyle=style.line, linewidth=0.5, alpha=0.6, zorder=2)


def name_curve(axes: Axes, style: ModelStyle) -> None:
    """An entry for the curve of a model in the legend."""
    axes.plot([], [], color=style.colour, linestyle=style.line, label=style.label)


def _cross(axes: Axes, x: Estimate, y: Estimate, style: ModelStyle, *, flip_x: bool) -> None:
    """Operating point with its intervals; `flip_x` draws one minus `x`."""
    if x.value is None or y.value is None:
        return
    centre = 1 - x.value if flip_x else x.value
    if x.ci_low is not None and x.ci_high is not None:
        limits = [1 - x.ci_high, 1 - x.ci_low] if flip_x else [x.ci_low, x.ci_high]
        axes.plot(limits, [y.value] * 2, color=style.colour, linewidth=0.9, zorder=4)
    plot_interval(axes, y, centre, color=style.colour, linewidth=0.9, zorder=4)
    axes.plot(
        [centre], [y.value], style.marker, color=style.colour, markersize=5.5, markeredgecolor="white",
        markeredgewidth=0.8, zorder=5,
    )  # fmt: skip


def zoomed_corner(evaluations: Sequence[ModelEvaluation]) -> float | None:
    """Side of the square in the upper left corner of the ROC that is drawn once more, larger, where there is room.

    The smallest of `CORNERS` that holds every operating point. None where there is none, or where a curve or its
    band would lie under the larger drawing: there curves are far enough apart to be read as they are.
    """
    for one in evaluations:
        places = zip(one.roc.x, one.roc.y_low or one.roc.y, strict=True)
        if any(x >= CORNER_ROOM[0] and y <= CORNER_ROOM[1] for x, y in places):
            return None
    points = [(one.metrics["specificity"].value, one.metrics["sensitivity"].value) for one in evaluations]
    known = [1 - value for point in points for value in point if value is not None]
    return next((side for side in CORNERS if known and max(known) <= side), None)


def _zoom(
    roc: Axes, evaluations: Sequence[ModelEvaluation], styles: dict[str, ModelStyle], side: float
) -> None:
    """The corner of the ROC once more, in the empty part of its panel."""
    inset = roc.inset_axes(CORNER_PLACE, zorder=6)
    for one in evaluations:
        style, metrics = styles[one.model], one.metrics
        plot_curve(inset, one.roc, style)
        _cross(inset, metrics["specificity"], metrics["sensitivity"], style, flip_x=True)
    margin = 0.03 * side
    inset.set(xlim=(-margin, side), ylim=(1 - side, 1 + margin), xticks=[0, side], yticks=[1 - side, 1])
    inset.tick_params(pad=1.5)
    inset.set_facecolor("white")  # over the chance line
    for spine in inset.spines.values():
        spine.set_visible(True)
    roc.indicate_inset((0, 1 - side, side, side), edgecolor=MUTED, linewidth=0.6, alpha=1)


def draw_roc_and_precision_recall(
    evaluations: Sequence[ModelEvaluation], styles: dict[str, ModelStyle], *, prevalence: float
) -> Drawing:
    """ROC and precision-recall curves of all models with their operating points.

    `prevalence`, the share of positives, is the precision of a random ranking.
    """
    # Below the panels: inside them a legend would lie on the curves of some study.
    legend_mm = 4.1 * len(evaluations) + 2
    height_mm = 60.0 + legend_mm

    def fill(figure: Figure) -> None:
        panels = figure.subplots(2, 2, height_ratios=[78.0, legend_mm])
        roc, pr = panels[0]
        for axes in panels[1]:
            axes.axis("off")
        roc.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
        pr.axhline(prevalence, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
        at_prevalence = t("prevalence {share}", share=format_number(prevalence))
        pr.text(0.01, prevalence + 0.012, at_prevalence, color=MUTED)
        for evaluation in evaluations:
            style, metrics = styles[evaluation.model], evaluation.metrics
            plot_curve(roc, evaluation.roc, style)
            _cross(roc, metrics["specificity"], metrics["sensitivity"], style, flip_x=True)
            plot_curve(pr, evaluation.precision_recall, style, steps=True)
            if evaluation.precision_band is not None:
                _plot_band(pr, thin_curve(evaluation.precision_band), style)
            _cross(pr, metrics["sensitivity"], metrics["ppv"], style, flip_x=False)
        side = zoomed_corner(evaluations)
        if side is not None:
            _zoom(roc, evaluations, styles, side)
        unit_axes(roc, x_label=t("1 \u2212 specificity (false-positive rate)"), y_label=t("Sensitivity"))
        unit_axes(pr, x_label=t("Sensitivity (recall)"), y_label=t("Precision (PPV)"))
        roc.set_title(t("ROC ({cases})", cases=cases_of(evaluations[0])))
        pr.set_title(t("Precision\u2013recall ({cases})", cases=cases_of(evaluations[0])))
        for column, key, name in ((0, "auc", t("AUC")), (1, "average_precision", t("AP"))):
            axes = panels[0][column]
            handles = [
                axes.plot(
                    [], [], color=styles[e.model].colour, linestyle=styles[e.model].line, marker=styles[e.model].marker,
                    markersize=4, label=f"{styles[e.model].label}: {name} {format_estimate(e.metrics[key])}",
                )[0]
                for e in evaluations
            ]  # fmt: skip
            panels[1][column].legend(handles=handles, loc="center")

    spoken = "; ".join(
        t(
            "{model}: AUC {auc}, average precision {ap}",
            model=styles[e.model].name,
            auc=format_estimate(e.metrics["auc"]),
            ap=format_estimate(e.metrics["average_precision"]),
        )
        for e in evaluations
    )
    alt = t(
        "ROC and precision-recall curves on {cases}. {models}.", cases=cases_of(evaluations[0]), models=spoken
    )
    return draw(fill, width_mm=PAGE_WIDTH_MM, height_mm=height_mm, alt=alt)


def _before(style: ModelStyle) -> str:
    """Legend of the curve before recalibration."""
    return t("{model}, as predicted", model=style.label)


def draw_calibration(evaluations: Sequence[ModelEvaluation], styles: dict[str, ModelStyle]) -> Drawing:
    """Calibration curves in one panel, with each model's scores per class beneath.

    Raises
    ------
    ValueError
        If an evaluation has no calibration.
    """
    for evaluation in evaluations:
        if evaluation.calibration is None:
            msg = f"{evaluation.model} has no calibration to draw"
            raise ValueError(msg)
    strip_mm = 10.0
    labels = [
        label
        for evaluation in evaluations
        for label, drawn in (
            (styles[evaluation.model].label, True),
            (_before(styles[evaluation.model]), evaluation.calibration_as_predicted is not None),
        )
        if drawn
    ]
    n_across = legend_columns(labels, width_mm=SPLIT_IMAGE_MM)
    height_mm = 58.0 + strip_mm * len(evaluations) + LEGEND_ROW_MM * -(-len(labels) // n_across)

    def fill(figure: Figure) -> None:
        ratios = [58.0] + [strip_mm] * len(evaluations)
        panels = figure.subplots(len(ratios), 1, gridspec_kw={"height_ratios": ratios}, sharex=True)
        curve_axes = panels[0]
        curve_axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
        for evaluation, axes in zip(evaluations, panels[1:], strict=True):
            style, calibration = styles[evaluation.model], evaluation.calibration
            if calibration is None:
                continue
            plot_curve(curve_axes, calibration.curve, style)
            name_curve(curve_axes, style)
            if evaluation.calibration_as_predicted is not None:
                x, y, _, _ = thin_curve(evaluation.calibration_as_predicted.curve)
                curve_axes.plot(
                    x,
                    y,
                    color=style.colour,
                    linewidth=0.7,
                    marker=style.marker,
                    markersize=3.4,
                    markerfacecolor="white",
                    markevery=max(1, len(x) // 8),
                    label=_before(style),
                    zorder=2,
                )
            _mirror_histogram(
                axes,
                calibration.histogram_edges,
                calibration.histogram_negative,
                calibration.histogram_positive,
                style,
            )
        low, high = shown_probabilities(
            [
                one.curve
                for e in evaluations
                for one in (e.calibration, e.calibration_as_predicted)
                if one is not None
            ]
        )
        ends = low - 0.015 * (high - low), high + 0.015 * (high - low)
        curve_axes.set(xlim=ends, ylim=ends, ylabel=t("Observed share of positives"))
        curve_axes.set_title(t("Calibration ({cases})", cases=cases_of(evaluations[0])))
        curve_axes.grid(visible=True, color=RULE, linewidth=0.35)
        handles, _ = curve_axes.get_legend_handles_labels()
        figure.legend(handles=handles, loc="outside lower center", ncols=n_across)
        panels[-1].set_xlabel(t("Predicted probability of the positive class"))

    spoken = "; ".join(
        t(
            "{model}: slope {slope}, in the large {in_the_large}",
            model=styles[e.model].name,
            slope=format_estimate(e.calibration.slope),
            in_the_large=format_estimate(e.calibration.in_the_large, signed=True),
        )
        for e in evaluations
        if e.calibration is not None
    )
    alt = t(
        "Calibration: observed share of positives against predicted probability, and scores per class. "
        "{models}.",
        models=spoken,
    )
    return draw(fill, width_mm=SPLIT_IMAGE_MM, height_mm=height_mm, alt=alt)


def shown_probabilities(curves: Sequence[Curve]) -> tuple[float, float]:
    """Ends of both axes of a calibration plot: tenths around all probabilities and observed shares, from 0 to 1.

    With few positives all scores may lie below 0.2, and a plot up to 1 would show a dot in its corner.
    """
    numbers = [number for one in curves for number in (*one.x, *one.y)]
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    low, high = math.floor(10 * low + 1e-9) / 10, math.ceil(10 * high - 1e-9) / 10
    return max(0.0, low), min(1.0, max(high, low + 0.1))


def _bars(
    axes: Axes, edges: Sequence[float], counts: Sequence[int], style: ModelStyle, *, positive: bool
) -> None:
    """Histogram of one class: filled for positive cases, hatched for negative ones."""
    widths = [b - a for a, b in itertools.pairwise(edges)]
    look: dict[str, Any] = {"color": style.colour, "edgecolor": "white", "linewidth": 0.3}
    if not positive:
        look = {"color": "white", "edgecolor": style.colour, "linewidth": 0.6, "hatch": "/////"}
    axes.bar(edges[:-1], counts, width=widths, align="edge", **look)


def _mirror_histogram(
    axes: Axes, edges: Sequence[float], negative: Sequence[int], positive: Sequence[int], style: ModelStyle
) -> None:
    _bars(axes, edges, positive, style, positive=True)
    _bars(axes, edges, [-count for count in negative], style, positive=False)
    axes.axhline(0, color=INK, linewidth=0.6)
    largest = max((*positive, *negative, 1))
    axes.set_ylim(-1.12 * largest, 1.12 * largest)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True, symmetric=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(abs(round(value)))))
    for height, word in ((0.75, t("positive")), (0.25, t("negative"))):
        axes.text(1.01, height, word, transform=axes.transAxes, ha="left", va="center", color=MUTED)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def draw_score_distributions(
    style: ModelStyle,
    *,
    edges: Sequence[float],
    negative: Sequence[int],
    positive: Sequence[int],
    threshold: float,
    n_false_negative: int,
    n_false_positive: int,
    classes: tuple[str, str],
    logit: bool = False,
    width_mm: float = 85.0,
) -> Drawing:
    """Scores of one model per true class (counts per bin), with the threshold and the errors at it.

    `logit` gives the bars of `edges` that are equally far apart in logits the same width.
    """
    at, low, high = threshold, edges[0], edges[-1]
    if logit:
        at = min(max(at, LOGIT_TICKS[0]), LOGIT_TICKS[-1])
    low, high = min(low, at), max(high, at)

    def place(score: float) -> float:
        """From 0 at the left to 1 at the right."""
        first, here, last = (_logit(one) if logit else one for one in (low, score, high))
        return (here - first) / (last - first)

    def fill(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True)
        _bars(upper, edges, positive, style, positive=True)
        _bars(lower, edges, negative, style, positive=False)
        for axes, counts, name, errors, missed_side in (
            (upper, positive, classes[1], t("missed: {n:,}", n=n_false_negative), -1),
            (lower, negative, classes[0], t("false alarms: {n:,}", n=n_false_positive), 1),
        ):
            axes.axvline(at, color=INK, linewidth=1, linestyle=(0, (3, 1.5)))
            top = max((*counts, 1)) * 1.38
            axes.set_ylim(0, top)
            axes.set_ylabel(t("Cases"))
            axes.set_title(
                t("True class {name} (n = {n:,})", name=shorten(name, 22), n=sum(counts)),
                weight="normal",
            )
            text = f"\u2190 {errors}" if missed_side < 0 else f"{errors} \u2192"
            room_left = place(at) > max(WORDS_SHARE, CHARACTER_SHARE * len(text))
            room_right = 1 - place(at) > WORDS_SHARE
            on_left = (missed_side < 0 and room_left) or not room_right
            axes.annotate(
                text, (at, top * 0.97), (-3 if on_left else 3, 0), textcoords="offset points",
                ha="right" if on_left else "left", va="top", weight="bold",
            )  # fmt: skip
            axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        said = t("Score; threshold {threshold} dashed", threshold=format_number(threshold))
        if logit:
            said = t("Score, logit axis; threshold {threshold} dashed", threshold=format_number(threshold))
            lower.set_xscale("logit")
            lower.xaxis.set_minor_locator(NullLocator())
            lower.set_xticks([one for one in LOGIT_TICKS[1:-1] if low <= one <= high])
            lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: localised(f"{value:g}")))
            lower.set_xlim(low, high)
        else:
            lower.set_xlim(low - 0.01 * (high - low), high + 0.01 * (high - low))
        lower.set_xlabel(said)
        title_by(figure, style)

    alt = t(
        "Score distributions of {model} per true class with the threshold {threshold}: positive cases below it: "
        "{n_missed:,}; negative cases at or above it: {n_alarms:,}.",
        model=style.name,
        threshold=format_number(threshold),
        n_missed=n_false_negative,
        n_alarms=n_false_positive,
    )
    return draw(fill, width_mm=width_mm, height_mm=50.0, alt=alt)
