"""Forest plots: differences against their margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from medcompare.base.formatting import format_estimate, format_level, format_number
from medcompare.base.language import t
from medcompare.report.figures.drawing import (
    INK,
    MUTED,
    PAGE_WIDTH_MM,
    ZONE,
    Drawing,
    draw,
    plot_interval,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medcompare.stats.records import Estimate

ROW_MM = 5.4
TEXT_MM = 45.0
MIN_LABEL_MM, MAX_LABEL_MM, CHARACTER_MM = 38.0, 76.0, 1.62
SMALLEST_SPAN = 0.02
MARGIN_LABEL_SPAN = 0.14
"""Room beside the outermost margin for its value, as a share of the span."""
ARROW_MM = 6.0
LEFT_TO_RIGHT = "\u200e"
"""Mark that makes a line run from left to right, whatever the script of its first word."""


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One line of a forest plot."""

    label: str
    estimate: Estimate
    margin: float | None = None
    """Loss that is still acceptable: the zone right of ``-margin`` is shaded."""
    conclusion: str = ""
    """What the interval shows; printed instead of the numbers, which a table beside the figure holds."""


def _signed_tick(value: float, _position: int) -> str:
    digits = 3 if abs(value * 100 - round(value * 100)) > 1e-9 else 2  # noqa: PLR2004 - a hundredth is exact or not
    return format_number(value, digits=digits, signed=True)


def _limits(rows: Sequence[ForestRow]) -> tuple[float, float]:
    numbers = [0.0]
    for row in rows:
        numbers += [
            x for x in (row.estimate.value, row.estimate.ci_low, row.estimate.ci_high) if x is not None
        ]
        if row.margin is not None:
            numbers.append(-row.margin)
    low, high = min(numbers), max(numbers)
    span = max(high - low, SMALLEST_SPAN)
    beside = MARGIN_LABEL_SPAN if any(row.margin is not None for row in rows) else 0.08
    return low - beside * span, max(high, 0.25 * span) + beside * span


def _draw_rows(axes: Axes, rows: Sequence[ForestRow]) -> None:
    low, high = _limits(rows)
    axes.set(xlim=(low, high), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(_signed_tick))
    transform = axes.get_yaxis_transform()
    for i, row in enumerate(rows):
        if row.margin is not None:
            width, edge = high + row.margin, -row.margin
            axes.add_patch(Rectangle((-row.margin, i - 0.42), width, 0.84, color=ZONE, linewidth=0, zorder=0))
            axes.plot([edge] * 2, [i - 0.42, i + 0.42], color="#2f6b45", linewidth=1.1, linestyle=(0, (2, 1)))
            if not i or rows[i - 1].margin != row.margin:  # else named above
                axes.annotate(
                    _signed_tick(edge, 0),
                    (edge, i + 0.34),
                    xytext=(-2, 0),
                    textcoords="offset points",
                    ha="right",
                    va="center",
                    color="#1d4a2e",
                )
        estimate = row.estimate
        plot_interval(axes, estimate, i, upright=False, color=INK, linewidth=1.2, solid_capstyle="butt")
        for limit in (estimate.ci_low, estimate.ci_high):
            if limit is not None:
                axes.plot([limit] * 2, [i - 0.14, i + 0.14], color=INK, linewidth=1.0)
        axes.plot(
            [0.0 if estimate.value is None else estimate.value], [i], "D", color=INK, markersize=4.2, zorder=3
        )
        axes.text(-0.03, i, row.label, transform=transform, ha="right", va="center")
        said = row.conclusion or format_estimate(estimate, signed=True)
        colour = INK if row.margin is not None or not row.conclusion else MUTED
        axes.text(1.03, i, said, transform=transform, ha="left", va="center", color=colour)


def _direction(axes: Axes, name: str, side: int, *, below: float, width_mm: float) -> None:
    """Who is better on one side of zero: a drawn arrow, then the name.

    An arrow that was part of the text would be moved to its other end by a name in Arabic or Hebrew, and
    point at the wrong model.
    """
    zero = axes.transLimits.transform((0, 0))[0]
    start, end = zero + side * 1.0 / width_mm, zero + side * ARROW_MM / width_mm
    axes.annotate(
        "",
        xy=(end, below),
        xytext=(start, below),
        xycoords="axes fraction",
        textcoords="axes fraction",
        arrowprops={"arrowstyle": "->", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
        annotation_clip=False,
    )
    axes.text(
        end + side * 1.0 / width_mm,
        below,
        LEFT_TO_RIGHT + t("{model} better", model=name),
        transform=axes.transAxes,
        ha="left" if side > 0 else "right",
        va="center_baseline",
        color=MUTED,
    )


def draw_differences(
    rows: Sequence[ForestRow],
    *,
    reference: str,
    candidate: str,
    n: int,
    n_positive: int,
    level: float,
    simultaneous: bool = False,
    width_mm: float = PAGE_WIDTH_MM,
) -> Drawing:
    """Forest plot of differences, candidate minus reference, with margins, from top to bottom.

    Every row needs a value, higher being better; `simultaneous` intervals allow for the number of pairs.
    """
    head_mm, foot_mm = 6.0, 10.5
    panel_mm = ROW_MM * len(rows)
    height_mm = head_mm + panel_mm + foot_mm
    longest = max(len(row.label) for row in rows)
    label_mm = min(MAX_LABEL_MM, max(MIN_LABEL_MM, CHARACTER_MM * longest + 4))
    axis_mm = width_mm - label_mm - TEXT_MM

    said_level = format_level(level)

    def fill(figure: Figure) -> None:
        axes = figure.add_axes(
            (label_mm / width_mm, foot_mm / height_mm, axis_mm / width_mm, panel_mm / height_mm)
        )
        _draw_rows(axes, rows)
        for name, side in ((reference, -1), (candidate, 1)):
            _direction(axes, name, side, below=-6.6 / panel_mm, width_mm=axis_mm)
        above, across = 1 + 1.2 / panel_mm, axes.transAxes
        cases = t("n = {n:,}, {n_positive:,} positive", n=n, n_positive=n_positive)
        head = (
            t("Difference ({level} CI, all pairs)", level=said_level)
            if simultaneous
            else t("Difference ({level} CI)", level=said_level)
        )
        axes.text(-0.03, above, cases, transform=across, ha="right", color=MUTED)
        concludes = any(row.conclusion for row in rows)
        axes.text(
            0.5 if concludes else 1.03,
            above,
            head,
            transform=across,
            weight="bold",
            ha="center" if concludes else "left",
        )
        if concludes:
            axes.text(1.03, above, t("Conclusion"), transform=across, weight="bold")

    spoken = "; ".join(
        f"{row.label}: {format_estimate(row.estimate, signed=True)}"
        + (f", {row.conclusion}" if row.conclusion else "")
        for row in rows
    )
    said = {"level": said_level, "reference": reference, "candidate": candidate, "differences": spoken}
    alt = (
        t(
            "Forest plot of differences with {level} simultaneous intervals; to the left: {reference} better, to the "
            "right: {candidate} better. {differences}.",
            **said,
        )
        if simultaneous
        else t(
            "Forest plot of differences with {level} intervals; to the left: {reference} better, to the right: "
            "{candidate} better. {differences}.",
            **said,
        )
    )
    return draw(fill, width_mm=width_mm, height_mm=height_mm, alt=alt, tight=True)
