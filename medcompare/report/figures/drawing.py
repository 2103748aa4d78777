"""Basis of every figure: paper size, colours, marks, and deterministic SVG.

Only matplotlib's object interface is used. Text stays text, in the fonts that the report embeds:
it can be searched and copied (but for scripts that `dress` names). Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import math
import re
import threading
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context, rcParams
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from medcompare.base.formatting import short_labels
from medcompare.base.language import localised
from medcompare.report.fonts import SVG_FONTS, dress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

    from medcompare.stats.records import Curve, Estimate

MM_PER_INCH = 25.4
PAGE_WIDTH_MM = 174.0
"""Width of the text block: what a full-width figure fills."""

SPLIT_IMAGE_MM = 72.0
"""Width of a figure with a table beside it."""

LEGEND_CHARACTER_MM, LEGEND_HANDLE_MM, LEGEND_ROW_MM = 1.53, 11.5, 4.1
"""Mean width of a character in a legend; handle and gaps of an entry; height of a row."""

INK, MUTED, RULE, ZONE = "#1b2733", "#5b6874", "#c9d1d8", "#e8efe9"
OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#444444",
    "#8c6d1f",
    "#7a3e9d",
    "#000000",
)
"""Colour-blind-safe colours after Okabe and Ito (2008), then darker ones for a sixth model on."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 1.6)),
    (0, (1.2, 1.4)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
)

_STYLE: dict[RcKeyType, object] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 8.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5.0,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "patch.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify": True,
}

_PROLOGUE = re.compile(r".*?<svg [^>]*?(width=[^>]*? viewBox=\"[^\"]*\")[^>]*>.*?</defs>", re.DOTALL)
"""Down to the one rule of matplotlib's stylesheet, which within a page would hold for all of the page."""
_NAMES = re.compile(r'(?<=<g) id="[^"]*"|font-family: [^;"]*; ')
"""Names of groups, which would not be unique in a page, and fonts, which the root states."""
_STYLES = re.compile(r'(?<= )style="([^"]*)"')
"""WeasyPrint warns of each property that only SVG has, unless it is an attribute of its own."""

_DRAWING = threading.Lock()
"""matplotlib's settings are one global table; figures are therefore drawn one at a time."""


@dataclass(frozen=True, kw_only=True)
class ModelStyle:
    """How one model looks in every figure and table of a report."""

    model: str
    name: str
    """Display name, in full."""
    label: str
    """Display name, shortened for figures, unique among the models."""
    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A finished figure."""

    svg: str
    """An element for a page, or a document of its own."""
    width_mm: float
    alt: str
    """What a reader who cannot see the figure should know."""


def styles_of(models: Sequence[str], display_names: dict[str, str]) -> dict[str, ModelStyle]:
    """One style per model, in the order of `models`; the first two are blue and vermillion."""
    names = [display_names.get(model, model) for model in models]
    labels = short_labels(names, 26)
    return {
        model: ModelStyle(
            model=model,
            name=name,
            label=label,
            colour=OKABE_ITO[i % len(OKABE_ITO)],
            marker=MARKERS[i % len(MARKERS)],
            line=LINES[i % len(LINES)],
        )
        for i, (model, name, label) in enumerate(zip(models, names, labels, strict=True))
    }


class _Ticks(ScalarFormatter):
    """Numbers of an axis as matplotlib chooses them, as the language writes them."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return localised(super().__call__(x, pos))


def _localise(figure: Figure) -> None:
    """Write the numbers of all axes in the language spoken, but where a figure has its own words for them."""
    for axes in figure.axes:
        for one in (axes, *axes.child_axes):
            for axis in (one.xaxis, one.yaxis):
                if type(axis.get_major_formatter()) is ScalarFormatter:
                    axis.set_major_formatter(_Ticks())


def draw(
    fill: Callable[[Figure], None], *, width_mm: float, height_mm: float, alt: str, tight: bool = False
) -> Drawing:
    """Draw a figure and return it as SVG.

    Parameters
    ----------
    fill : callable
        Receives an empty `Figure` and draws on it.
    width_mm, height_mm : float
        Size on paper, millimetres.
    alt : str
        Description for readers who cannot see the figure.
    tight : bool, default=False
        Place axes by hand (True) instead of by matplotlib's constrained layout.
    """
    with _DRAWING, rc_context({**_STYLE, "svg.hashsalt": alt}):  # names within two figures of a page differ
        size = (width_mm / MM_PER_INCH, height_mm / MM_PER_INCH)
        figure = Figure(figsize=size, layout=None if tight else "constrained")
        canvas = FigureCanvasSVG(figure)
        fill(figure)
        _localise(figure)
        if dress(figure):
            rcParams["svg.fonttype"] = "path"
        target = io.BytesIO()
        canvas.print_svg(target, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    opening = (
        rf'<svg \1 xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        rf'font-family="{SVG_FONTS}" stroke-linejoin="round" stroke-linecap="butt"><title>'
    )
    svg = _PROLOGUE.sub(opening, target.getvalue().decode("utf-8"), count=1)
    svg = _STYLES.sub(
        lambda style: re.sub(r"([\w-]+): ([^;]*)(;|$)", r'\1="\2"', style[1]), _NAMES.sub("", svg)
    )
    svg = svg.replace("<title>", f"<title>{escape(alt, quote=False)}</title>", 1)
    return Drawing(svg=svg, width_mm=width_mm, alt=alt)


def legend_columns(labels: Sequence[str], *, width_mm: float = PAGE_WIDTH_MM) -> int:
    """Labels of a legend that fit next to each other, at least one."""
    longest = max((len(label) for label in labels), default=1)
    entry_mm = LEGEND_CHARACTER_MM * longest + LEGEND_HANDLE_MM
    return max(1, min(len(labels), int(width_mm // entry_mm)))


def marker_svg(style: ModelStyle) -> str:
    """A model's mark as a small SVG, for table heads and running text."""
    shapes = {
        "o": '<circle cx="6" cy="6" r="4.2"/>',
        "s": '<rect x="2" y="2" width="8" height="8"/>',
        "^": '<path d="M6 1.4 10.8 10.2H1.2z"/>',
        "D": '<path d="M6 .9 11.1 6 6 11.1.9 6z"/>',
        "v": '<path d="M6 10.6 1.2 1.8h9.6z"/>',
    }
    shape = shapes.get(style.marker, '<path d="M4 1h4v3h3v4H8v3H4V8H1V4h3z"/>')
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 12 12" fill="{style.colour}">{shape}</svg>'


def thin_curve(
    curve: Curve, *, n_points: int = 500
) -> tuple[list[float], list[float], list[float], list[float]]:
    """A curve with at most about `n_points` vertices; corners of steps are kept first.

    Points in the middle of a straight run carry no ink and are dropped; if more than
    `n_points` remain, evenly spaced ones are kept, always with both ends.
    """
    count = len(curve.x)
    has_band = len(curve.y_low) == count and len(curve.y_high) == count
    keep = list(range(count))
    if not has_band:
        keep = [
            i
            for i in range(count)
            if i in (0, count - 1)
            or not (
                curve.x[i - 1] == curve.x[i] == curve.x[i + 1]
                or curve.y[i - 1] == curve.y[i] == curve.y[i + 1]
            )
        ]
    if len(keep) > n_points:
        step = (len(keep) - 1) / (n_points - 1)
        keep = sorted({keep[round(i * step)] for i in range(n_points)})
    low = [curve.y_low[i] for i in keep] if has_band else []
    high = [curve.y_high[i] for i in keep] if has_band else []
    return [curve.x[i] for i in keep], [curve.y[i] for i in keep], low, high


def plot_interval(axes: Axes, estimate: Estimate, at: float, *, upright: bool = True, **line: Any) -> None:  # noqa: ANN401 - as in `Axes.plot`
    """The interval of an estimate as a line at `at`; nothing where it has none."""
    plot_intervals(axes, [(at, estimate)], upright=upright, **line)


def plot_intervals(
    axes: Axes,
    found: Iterable[tuple[float, Estimate]],
    *,
    upright: bool = True,
    **line: Any,  # noqa: ANN401 - as in `Axes.plot`
) -> None:
    """The intervals of estimates as lines at their places, in one piece with gaps: each piece takes its time."""
    places: list[float] = []
    limits: list[float] = []
    for at, estimate in found:
        if estimate.ci_low is not None and estimate.ci_high is not None:
            places += [at, at, math.nan]
            limits += [estimate.ci_low, estimate.ci_high, math.nan]
    if places:
        axes.plot(*((places, limits) if upright else (limits, places)), **line)


def offset(position: int, count: int, width: float) -> float:
    """Shift that sets `count` marks at the same place side by side over `width`."""
    return 0.0 if count == 1 else -width / 2 + width * position / (count - 1)


def title_by(figure: Figure, style: ModelStyle) -> None:
    """The name of a model above its figure, in ink: colours that tell lines apart are too pale for letters."""
    figure.suptitle(style.label, fontsize=8.0, weight="bold", x=0.02, ha="left")


def unit_axes(axes: Axes, *, x_label: str, y_label: str) -> None:
    """Square axes from 0 to 1 with the same ticks on both sides."""
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), xlabel=x_label, ylabel=y_label)
    axes.set_aspect("equal")
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.grid(visible=True, color=RULE, linewidth=0.35)
    axes.set_axisbelow(True)
