"""One interval against its margin, small enough for the cell of a table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from medcompare.report.figures.drawing import INK, MUTED, ZONE, Drawing
from medcompare.report.fonts import SVG_FONTS

if TYPE_CHECKING:
    from collections.abc import Iterable

PX_PER_MM, HEIGHT = 96 / 25.4, 26.0
"""Units are CSS pixels, so that type is as large in a narrow cell as in a wide one; height of a drawing."""
PAD = 3.0
LINE_AT, FOOT = 9.0, 17.0
EDGE_COLOUR = "#2f6b45"
FEWEST_MARGINS, MOST_MARGINS = 1.7, 6.0
"""Width of the axis on either side of zero, in margins: an interval that leaves it ends in an arrow."""

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
        The margin as it is printed below its line.
    two_sided : bool
        Whether a gain must stay within the margin as well.
    reach : tuple of float
        Ends of the axis, of `reach_of`.
    alt : str
        What the drawing says.
    width_mm : float
        Width on paper.
    """
    left_end, right_end = reach
    width = round(width_mm * PX_PER_MM, 1)

    def x(number: float) -> float:
        place = (min(right_end, max(-left_end, number / margin)) + left_end) / (left_end + right_end)
        return round(PAD + (width - 2 * PAD) * place, 1)

    def on_axis(number: float) -> bool:
        return -left_end <= number / margin <= right_end

    right = x(margin) if two_sided else width
    dash = f'stroke="{EDGE_COLOUR}" stroke-width="1.3" stroke-dasharray="3 2"'
    edges = [-margin, margin] if two_sided else [-margin]
    parts = [
        f'<rect x="{x(-margin)}" y="0" width="{round(right - x(-margin), 1)}" height="{FOOT}" fill="{ZONE}"/>'
    ]
    parts += [f'<path d="M{x(edge)} 0V{FOOT}" {dash}/>' for edge in edges]
    parts.append(f'<path d="M{x(0)} 0V{FOOT}" stroke="{INK}" stroke-width="1"/>')
    if low is not None and high is not None:
        ends = [f"M{x(low)} {LINE_AT}H{x(high)}"]
        for end, side in ((low, 1), (high, -1)):
            if not on_axis(end) and (end > 0) == (side > 0):
                continue  # all of it lies beyond the other end, which has the arrow
            if not on_axis(end):
                ends.append(f"M{round(x(end) + 4 * side, 1)} {LINE_AT - 3}L{x(end)} {LINE_AT}l{4 * side} 3")
            else:
                ends.append(f"M{x(end)} {LINE_AT - 3}v6")
        parts.append(f'<path d="{"".join(ends)}" fill="none" stroke="{INK}" stroke-width="1.6"/>')
    if on_axis(value):
        at = x(value)
        parts.append(f'<path d="M{round(at - 4, 1)} {LINE_AT}l4 -4l4 4l-4 4z" fill="{INK}"/>')
    at = max(x(-margin), 2.8 * len(margin_label))
    parts.append(
        f'<text x="{at:g}" y="25" font-size="10" text-anchor="middle" fill="{MUTED}">{escape(margin_label)}</text>'
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {HEIGHT:g}" width="{width_mm:g}mm" '
        f'height="{HEIGHT / PX_PER_MM:.2f}mm" role="img" font-family="{SVG_FONTS}">'
        f"<title>{escape(alt, quote=False)}</title>{''.join(parts)}</svg>"
    )
    return Drawing(svg=svg, width_mm=width_mm, alt=alt)
