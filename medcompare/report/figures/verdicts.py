"""The verdicts of past runs, one mark per run: what was recommended when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import join_words
from medcompare.base.language import message, t
from medcompare.report.figures.drawing import INK, MUTED
from medcompare.stats.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from medcompare.report.figures.drawing import ModelStyle
    from medcompare.report.inputs import TrendRun

ROW_PT = 10.0
"""Height that the marks take above a panel."""

SIGNS = {
    Outcome.CHOOSE_BY_COST: "=",
    Outcome.NOT_ENOUGH_DATA: "?",
    Outcome.THRESHOLDS_NOT_COMPARABLE: "?",
    Outcome.NEITHER_ADEQUATE: "\u00d7",
    Outcome.INVALID: "\u00d7",
}
"""Of verdicts that name no model to use."""

MEANINGS = {
    "model": message("mark of the model to use"),
    "other": message("hollow circle: another model"),
    "=": message("= no relevant difference"),
    "?": message("? open"),
    "\u00d7": message("\u00d7 no model to use"),
}


def _kind(run: TrendRun, styles: Mapping[str, ModelStyle]) -> str | None:
    """A key of `MEANINGS`; None without a verdict."""
    if run.outcome is None:
        return None
    sign = SIGNS.get(run.outcome)
    return sign or ("model" if run.model in styles else "other")


def mark_verdicts(axes: Axes, runs: Sequence[TrendRun], styles: Mapping[str, ModelStyle]) -> bool:
    """A mark for each run above a panel whose places are the runs; whether there is any."""
    kinds = [_kind(run, styles) for run in runs]
    for i, (run, kind) in enumerate(zip(runs, kinds, strict=True)):
        if kind is None:
            continue
        if kind in {"model", "other"}:
            style = styles.get(run.model or "")
            look = (style.marker, style.colour, style.colour) if style else ("o", MUTED, "white")
            axes.plot(
                [i], [1.055], look[0], color=look[1], markerfacecolor=look[2], markersize=4.5, clip_on=False,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        else:
            axes.annotate(
                kind, (i, 1.055), xycoords=axes.get_xaxis_transform(), ha="center", va="center", color=INK
            )
    return any(kinds)


def verdict_words(runs: Sequence[TrendRun], styles: Mapping[str, ModelStyle]) -> str:
    """What the marks of these runs mean; empty without any."""
    kinds = {_kind(run, styles) for run in runs}
    said = [t(meaning) for kind, meaning in MEANINGS.items() if kind in kinds]
    return t("Above the images the verdict of each run: {marks}.", marks=join_words(said)) if said else ""
