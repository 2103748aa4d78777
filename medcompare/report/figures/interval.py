"""One interval, against its margin or beside the figure of all cases, small enough for the cell of a table."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from medcompare.report.figures.drawing import INK, MUTED, RULE, ZONE, Drawing
from medcompare.report.fonts import SVG_FONTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from medcompare.stats.records import Estimate

PX_PER_MM, HEIGHT = 96 / 25.4, 26.0
"""Units are CSS pixels, so that type is as large in a narrow cell as in a wide one; height of a drawing."""
PAD = 3.0
LINE_AT, FOOT = 9.0, 17.0
SLIM = 10.0
"""Height of a drawing without a label."""
EDGE_COLOUR = "#2f6b45"
FEWEST_MARGINS, MOST_MARGINS = 1.7, 6.0
"""Width of the axis on either side of zero, in margins: an interval that leaves it ends in an arrow."""

SMALLEST_SPAN = 0.02

Reach = tuple[float, float]


def reach_of(limits: Iterable[tuple[float | None, float]]) -> Reach:
    """Ends of an axis that several rows share, in margins left and right of zero; from (limit, margin) of all rows."""
    numbers = [limit / margin for limit, margin in limits if limit is not None]
    left, right = (1.1 * max([0.0, *(side * number for number in numbers)]) for side in (-1, 1))
    return min(MOST_MARGINS, max(FEWEST_MARGINS, left)), min(MOST_MARGINS, max(FEWEST_MARGINS, right))


def draw_interval(
    value: float,
    low: float | None,
    high: float | None,
    *,
    margin: float,
    margin_label: str,
    two_sided: bool,
    reach: Reach,
    alt: str,
    width_mm: float,
) -> Drawing:
    """A benefit (right is better) with its interval, over the zone of acceptable losses, as wide as the rows beside it.

    Parameters
    ----------
    value, low, high : float
        In the unit of `margin`; without limits only the mark is drawn.
    margin : float
        Largest acceptable loss, above 0.
    margin_label : str
        The margin as it is printed below its line; empty in a table whose remark names it.
    two_sided : bool
        Whether a gain must stay within the margin as well.
    reach : tuple of float
        Ends of the axis, of `reach_of`.
    alt : str
        What the drawing says.
    width_mm : float
        Width on paper.
    """
    return draw_difference(
        value,
        low,
        high,
        margin=margin,
        margin_label=margin_label,
        two_sided=two_sided,
        ends=(-reach[0] * margin, reach[1] * margin),
        alt=alt,
        width_mm=width_mm,
    )


def ends_of(benefits: Iterable[Estimate], margins: Iterable[float], *, two_sided: bool) -> Reach:
    """Ends of an axis in the unit of the benefits, that several rows share: intervals, margins and zero lie on it."""
    numbers = [x for one in benefits for x in (one.value, one.ci_low, one.ci_high) if x is not None]
    for margin in margins:
        numbers += [-margin, margin] if two_sided else [-margin]
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    beside = 0.08 * max(high - low, SMALLEST_SPAN)
    return low - beside, high + beside


def draw_difference(
    value: float,
    low: float | None,
    high: float | None,
    *,
    margin: float | None,
    margin_label: str,
    two_sided: bool,
    ends: Reach,
    alt: str,
    width_mm: float,
) -> Drawing:
    """As `draw_interval`, on an axis from `ends` in the unit of the benefit; without a margin nothing is shaded."""
    axis = _Axis(*ends, round(width_mm * PX_PER_MM, 1), labelled=bool(margin_label))
    foot, left, parts = axis.foot, 0.0, []
    if margin is not None:
        left, right = axis.x(-margin), axis.x(margin) if two_sided else axis.width
        dash = f'stroke="{EDGE_COLOUR}" stroke-width="1.3" stroke-dasharray="3 2"'
        edges = [-margin, margin] if two_sided else [-margin]
        parts = [f'<rect x="{left}" y="0" width="{round(right - left, 1)}" height="{foot}" fill="{ZONE}"/>']
        parts += [f'<path d="M{axis.x(edge)} 0V{foot}" {dash}/>' for edge in edges]
    parts.append(f'<path d="M{axis.x(0)} 0V{foot}" stroke="{INK}" stroke-width="1"/>')
    parts += _mark(axis, value, low, high)
    if margin_label:
        at = max(left, 2.8 * len(margin_label))
        parts.append(
            f'<text x="{at:g}" y="25" font-size="10" text-anchor="middle" fill="{MUTED}">{escape(margin_label)}</text>'
        )
    return _drawing(axis, parts, alt, width_mm)


def draw_share(
    value: float,
    low: float | None,
    high: float | None,
    *,
    lowest: float,
    overall: float | None,
    alt: str,
    width_mm: float,
) -> Drawing:
    """A figure of at most 1 with its interval, and a dashed line at the figure of all cases together.

    Parameters
    ----------
    value, low, high : float
        Without limits only the mark is drawn.
    lowest : float
        Left end of the axis, which ends at 1.
    overall : float, optional
        Place of the line.
    alt : str
        What the drawing says.
    width_mm : float
        Width on paper.
    """
    axis = _Axis(lowest, 1.0, round(width_mm * PX_PER_MM, 1), labelled=False)
    middle = axis.line_at
    parts = [f'<path d="M{axis.x(lowest)} {middle}H{axis.x(1)}" stroke="{RULE}" stroke-width="1"/>']
    if overall is not None:
        parts.append(
            f'<path d="M{axis.x(overall)} 0V{axis.foot}" stroke="{MUTED}" stroke-width="1.1" stroke-dasharray="2 1.5"/>'
        )
    return _drawing(axis, [*parts, *_mark(axis, value, low, high)], alt, width_mm)


@dataclass(frozen=True)
class _Axis:
    """Places on a small drawing, in CSS pixels."""

    low: float
    high: float
    width: float
    labelled: bool

    @property
    def foot(self) -> float:
        """Where the plot ends, and a label begins."""
        return FOOT if self.labelled else SLIM

    @property
    def line_at(self) -> float:
        """Height of the interval."""
        return LINE_AT if self.labelled else SLIM / 2

    def x(self, number: float) -> float:
        """Place of a number, at most at an end of the axis."""
        share = (min(self.high, max(self.low, number)) - self.low) / (self.high - self.low)
        return round(PAD + (self.width - 2 * PAD) * share, 1)

    def holds(self, number: float) -> bool:
        """Whether a number lies on the axis."""
        return self.low <= number <= self.high


def _mark(axis: _Axis, value: float, low: float | None, high: float | None) -> list[str]:
    """Interval and diamond; an arrow where the interval leaves the axis."""
    parts, y = [], axis.line_at
    if low is not None and high is not None:
        ends = [f"M{axis.x(low)} {y:g}H{axis.x(high)}"]
        for end, side in ((low, 1), (high, -1)):
            if not axis.holds(end) and (end > axis.high) == (side > 0):
                continue  # all of it lies beyond the other end, which has the arrow
            if not axis.holds(end):
                ends.append(f"M{round(axis.x(end) + 4 * side, 1)} {y - 3:g}L{axis.x(end)} {y:g}l{4 * side} 3")
            else:
                ends.append(f"M{axis.x(end)} {y - 3:g}v6")
        parts.append(f'<path d="{"".join(ends)}" fill="none" stroke="{INK}" stroke-width="1.6"/>')
    if axis.holds(value):
        parts.append(f'<path d="M{round(axis.x(value) - 4, 1)} {y:g}l4 -4l4 4l-4 4z" fill="{INK}"/>')
    return parts


def _drawing(axis: _Axis, parts: Sequence[str], alt: str, width_mm: float) -> Drawing:
    height = HEIGHT if axis.labelled else SLIM
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {axis.width:g} {height:g}" width="{width_mm:g}mm" '
        f'height="{height / PX_PER_MM:.2f}mm" role="img" font-family="{SVG_FONTS}">'
        f"<title>{escape(alt, quote=False)}</title>{''.join(parts)}</svg>"
    )
    return Drawing(svg=svg, width_mm=width_mm, alt=alt)
