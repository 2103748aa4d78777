"""What every control chart draws: limits, centre, and marks at signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medcompare.report.figures.drawing import MUTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

ALARM = "#b3261e"


def draw_limits(
    axes: Axes,
    at: Sequence[float],
    limits: tuple[Sequence[float], Sequence[float]],
    centre: Sequence[float],
    *,
    fill: str = "",
    **line: Any,  # noqa: ANN401 - as in `Axes.plot`
) -> None:
    """Lower and upper limit and the centre as steps, a run wide; `fill` colours what lies between the limits."""
    edges = [i + step for i in at for step in (-0.5, 0.5)]
    low, high = map(_twice, limits)
    if fill:
        axes.fill_between(edges, low, high, color=fill, linewidth=0, zorder=0)
    else:
        for limit in (low, high):
            axes.plot(edges, limit, **{"linewidth": 0.7, "alpha": 0.8, "zorder": 1, **line})
    axes.plot(edges, _twice(centre), **{"color": MUTED, "linewidth": 0.7, "zorder": 1, **line})


def mark_signals(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """A red diamond around each point: a signal is seen in grey too."""
    axes.plot(
        [x for x, _ in points], [y for _, y in points], "D", color=ALARM, markersize=6.5, markerfacecolor="none",
        markeredgewidth=1.1, zorder=6,
    )  # fmt: skip


def _twice(values: Sequence[float]) -> list[float]:
    return [one for one in values for _ in range(2)]
