"""The trend over runs: records and figure of accuracy with control limits, images and training time.

What changed before a run (data, code, configuration, ...) is marked above it, so that a
step in a curve can be distinguished from noise.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from medcompare.base.formatting import (
    NOT_MEASURED,
    capital,
    format_count,
    format_duration,
    format_number,
    join_words,
)
from medcompare.base.language import localised, message, t, tn
from medcompare.report.figures.control import draw_limits, mark_signals
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
    offset,
    plot_intervals,
)
from medcompare.report.figures.verdicts import ROW_PT, mark_verdicts
from medcompare.report.inputs import TrendFigures, TrendRun
from medcompare.runs.changes import what_changed
from medcompare.stats.in_detail import IN_A_ROW, SIGMAS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medcompare.runs.changes import Cause
    from medcompare.runs.summary import RunSummary
    from medcompare.stats.in_detail import ControlChart, TrendControl

PANELS = (
    ("auc", message("AUC"), message("AUC of {model}")),
    ("sensitivity", message("Sensitivity"), message("sensitivity of {model}")),
    ("specificity", message("Specificity"), message("specificity of {model}")),
)
"""Metric, title of its panel, and of a model within a sentence."""
MARK: dict[Cause, str] = {
    "data": "D",
    "code": "C",
    "libraries": "L",
    "machine": "M",
    "configuration": "S",
    "models": "N",
    "seed": "R",
}
SIGNALS = {
    "above": message("above its limits, {days}"),
    "below": message("below its limits, {days}"),
    "in a row above": message("in a row above the mean, {days}"),
    "in a row below": message("in a row below the mean, {days}"),
}
MAX_TICKS = 8
MAX_DAYS = 4
MM_PER_PT = 0.353
MAX_IN_A_ROW, LETTER_PT = 14, 6.5
"""Runs whose letters fit side by side above a panel; height of a letter turned upright."""
MAX_LIMITS = 2
"""Models whose control limits can be told apart in a panel; of more only the signals are marked."""
TIMES = (
    (3600.0, message("Training time, hours"), 2),
    (60.0, message("Training time, minutes"), 2),
    (1.0, message("Training time, seconds"), 0),
)
"""Seconds of a unit, title of the panel in it, and how many of the unit the longest training must have taken."""


def trend_runs(runs: Sequence[RunSummary]) -> tuple[TrendRun, ...]:
    """Runs of the history as the report prints them, in the order given (oldest first)."""
    return tuple(
        TrendRun(
            run_name=run.name,
            finished_at=run.finished_at or run.started_at,
            n_images=run.n_images,
            headline=run.verdict.headline if run.verdict is not None else t("no verdict"),
            outcome=None if run.verdict is None else run.verdict.outcome,
            model=None if run.verdict is None else run.verdict.model,
            figures=tuple(
                TrendFigures(**{name: getattr(row, name) for name in TrendFigures.model_fields})
                for row in run.models
            ),
        )
        for run in runs
    )


def trend_marks(runs: Sequence[RunSummary]) -> tuple[tuple[Cause, ...], ...]:
    """What changed before each run, in the order given (oldest first); nothing before the first."""
    changed = [what_changed(before, after).causes for before, after in pairwise(runs)]
    return ((), *changed) if runs else ()


def control_words(
    runs: Sequence[TrendRun], styles: dict[str, ModelStyle], control: Sequence[TrendControl]
) -> str:
    """What the control limits of a trend are, and every signal by name; or why there are none."""
    shown = [one for one in control if one.model in styles]
    known = [one for one in shown if not one.chart.reason]
    without: dict[str, list[str]] = {}
    for one in shown:
        if one.chart.reason:
            without.setdefault(one.chart.reason, []).append(_figure_of(one, styles))
    reasons = [
        f"{capital(reason)}." if len(named) == len(shown) else f"{capital(reason)} ({join_words(named)})."
        for reason, named in without.items()
    ]
    if not known:
        return " ".join(reasons)
    n = max(len(one.chart.baseline) for one in known)
    places = [i for one in known for i in one.chart.baseline]
    first, last = (runs[edge(places)].finished_at[:10] for edge in (min, max))
    limits = t(
        "Control limits ({drawn}): {sigmas:g} standard deviations around the mean of the {n} oldest runs shown with an "
        "interval, {first} to {last}, by moving ranges in units of the sampling error of each run (Laney 2002).",
        drawn=t("lines") if len(styles) <= MAX_LIMITS else t("not drawn for so many models"),
        sigmas=SIGMAS,
        n=n,
        first=first,
        last=last,
    )
    said = [_signal_words(runs, one.chart, _figure_of(one, styles)) for one in known if one.chart.signals]
    signals = t("Signals (diamonds): {signals}.", signals="; ".join(said)) if said else t("No signal.")
    rule = t(
        "A signal is a run outside its limits, by chance about one in 370, or the {n}th or later in a row on one side "
        "of the mean.",
        n=IN_A_ROW,
    )
    return " ".join([limits, rule, signals, *reasons])


def _figure_of(one: TrendControl, styles: dict[str, ModelStyle]) -> str:
    words = next(words for metric, _, words in PANELS if metric == one.metric)
    return t(words, model=styles[one.model].label)


def _signal_words(runs: Sequence[TrendRun], chart: ControlChart, what: str) -> str:
    """One figure's signals, kind by kind with the days of its runs."""
    days: dict[str, list[str]] = {}
    for i, kind in chart.signals:
        days.setdefault(kind, []).append(runs[i].finished_at[:10])
    parts = []
    for signal, found in days.items():
        few = len(set(found)) <= MAX_DAYS
        when = join_words(dict.fromkeys(found)) if few else t("{low} to {high}", low=found[0], high=found[-1])
        parts.append(t(SIGNALS[signal], days=when))
    return f"{what} {join_words(parts)}"


def trend_figure(
    runs: Sequence[TrendRun],
    styles: dict[str, ModelStyle],
    *,
    marks: Sequence[tuple[Cause, ...]] = (),
    control: Sequence[TrendControl] = (),
) -> Drawing:
    """AUC, sensitivity, specificity, images and training time over past runs, oldest first.

    Models without a style are left out. `marks`, as `trend_marks` gives them, say what changed before each run;
    `control`, as `medcompare.runs.control.trend_control` gives them, hold limits and signals.

    Raises
    ------
    ValueError
        If there is no run, or the marks are not one per run.
    """
    if not runs:
        msg = "a trend needs at least one run"
        raise ValueError(msg)
    if marks and len(marks) != len(runs):
        msg = f"{len(marks)} marks for {len(runs)} runs: give one per run, or none"
        raise ValueError(msg)

    drawn = [style.label for style in styles.values()]
    # What is never trained, as an assessment or a night, has no times.
    timed = any(row.training_time_s is not None for run in runs for row in run.figures)
    charts: dict[tuple[str, str], ControlChart] = {
        (one.metric, one.model): one.chart for one in control if not one.chart.reason
    }
    legend_rows = math.ceil(len(drawn) / legend_columns(drawn))

    def fill(figure: Figure) -> None:
        grid = figure.add_gridspec(2, 6)
        tops = [figure.add_subplot(grid[0, 2 * i : 2 * i + 2]) for i in range(len(PANELS))]
        for axes, (key, title, _) in zip(tops, PANELS, strict=True):
            _accuracy_panel(axes, runs, styles, key, charts)
            _mark_changes(axes, marks)
            axes.set_title(t(title), pad=5.0 + _marks_height(marks))
        below = [figure.add_subplot(grid[1, :3] if timed else grid[1, :])]
        _images_panel(below[0], runs, styles)
        if timed:
            below.append(figure.add_subplot(grid[1, 3:]))
            _times_panel(below[1], runs, styles)
        for axes in (*tops, *below):
            _date_axis(axes, runs)
        handles, labels = tops[0].get_legend_handles_labels()
        figure.legend(
            handles=handles, labels=labels, loc="outside lower center", ncols=legend_columns(labels)
        )
        if any(marks):
            legend = t(
                "changed before the run: D data, C code, L libraries, M machine, S settings, N models, R random seed"
            )
            figure.text(0.995, 0.995, legend, ha="right", va="top", color=MUTED)
            figure.get_layout_engine().set(rect=(0, 0, 1, 0.965))  # type: ignore[union-attr, call-arg]

    height_mm = 110.0 + LEGEND_ROW_MM * legend_rows + MM_PER_PT * _marks_height(marks)
    return draw(fill, width_mm=PAGE_WIDTH_MM, height_mm=height_mm, alt=_spoken(runs, styles))


def _accuracy_panel(
    axes: Axes,
    runs: Sequence[TrendRun],
    styles: dict[str, ModelStyle],
    key: str,
    charts: Mapping[tuple[str, str], ControlChart],
) -> None:
    for m, style in enumerate(styles.values()):
        found = [
            (i + offset(m, len(styles), 0.24), getattr(row, key))
            for i, run in enumerate(runs)
            for row in run.figures
            if row.model == style.model and getattr(row, key).value is not None
        ]
        _line(axes, [(x, estimate.value) for x, estimate in found], style)
        plot_intervals(axes, found, color=style.colour, linewidth=0.8, alpha=0.7)
        chart = charts.get((key, style.model))
        if chart is not None:
            _draw_chart(axes, chart, style, limits=len(styles) <= MAX_LIMITS)
            places = {round(x): (x, estimate.value) for x, estimate in found}
            mark_signals(axes, [places[i] for i, _ in chart.signals])
    low, high = axes.get_ylim()
    # Room around few or equal values: an axis of a thousandth would make noise look like news.
    middle, half = (low + high) / 2, max(high - low, 0.1) / 2
    axes.set_ylim(max(-0.01, middle - half), min(1.01, middle + half))


def _draw_chart(axes: Axes, chart: ControlChart, style: ModelStyle, *, limits: bool) -> None:
    """The limits of a chart, over the runs that have them."""
    known = [
        (i, low, high)
        for i, (low, high) in enumerate(zip(chart.low, chart.high, strict=True))
        if low is not None and high is not None
    ]
    if limits and chart.centre is not None:
        at, low, high = zip(*known, strict=True)
        draw_limits(axes, at, (low, high), [chart.centre] * len(at), color=style.colour, linestyle=style.line)


def _images_panel(axes: Axes, runs: Sequence[TrendRun], styles: dict[str, ModelStyle]) -> None:
    known = [(i, run.n_images) for i, run in enumerate(runs) if run.n_images is not None]
    axes.bar([i for i, _ in known], [n for _, n in known], width=0.6, color=RULE, edgecolor=MUTED)
    if known:
        axes.set_ylim(0, 1.15 * max(1, *(n for _, n in known)))
        last, n_images = known[-1]
        axes.annotate(
            format_count(n_images),
            (last, n_images),
            (0, 2),
            textcoords="offset points",
            ha="center",
            color=INK,
        )
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(round(value))))
    if mark_verdicts(axes, runs, styles):
        axes.set_title(t("Verdicts and usable images"), pad=5.0 + ROW_PT)
    else:
        axes.set_title(t("Usable images"))


def _times_panel(axes: Axes, runs: Sequence[TrendRun], styles: dict[str, ModelStyle]) -> None:
    times = {
        style.model: [
            (i, row.training_time_s)
            for i, run in enumerate(runs)
            for row in run.figures
            if row.model == style.model and row.training_time_s is not None
        ]
        for style in styles.values()
    }
    longest = max((time for rows in times.values() for _, time in rows), default=0.0)
    unit, title = next((seconds, title) for seconds, title, n in TIMES if longest >= n * seconds)
    for m, style in enumerate(styles.values()):
        shift = offset(m, len(styles), 0.24)
        _line(axes, [(i + shift, time / unit) for i, time in times[style.model]], style)
    axes.set_ylim(bottom=0, top=1.15 * longest / unit if longest else 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: localised(f"{value:g}")))
    axes.set_title(t(title))
    if not longest:  # none of the models drawn was trained
        words = t(NOT_MEASURED)
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def _line(axes: Axes, points: Sequence[tuple[float, float]], style: ModelStyle) -> None:
    x, y = [one for one, _ in points], [one for _, one in points]
    look: dict[str, Any] = {"color": style.colour, "linestyle": style.line, "marker": style.marker}
    axes.plot(x, y, **look, markersize=3.0, linewidth=0.9, label=style.label)


def _staggered(marks: Sequence[tuple[Cause, ...]]) -> bool:
    """Whether letters of neighbouring runs would touch in one row."""
    return len(marks) > MAX_IN_A_ROW


def _marks_height(marks: Sequence[tuple[Cause, ...]]) -> float:
    """Height of the letters above a panel, in points."""
    longest = max((len(causes) for causes in marks), default=0)
    return LETTER_PT * longest * (2 if _staggered(marks) else 1)


def _mark_changes(axes: Axes, marks: Sequence[tuple[Cause, ...]]) -> None:
    row = _marks_height(marks) / 2 if _staggered(marks) else 0.0
    for k, (i, causes) in enumerate((i, causes) for i, causes in enumerate(marks) if causes):
        axes.axvline(i - 0.5, color=MUTED, linewidth=0.5, linestyle=(0, (1, 2)))
        letters = "".join(MARK[cause] for cause in causes)
        axes.annotate(
            letters,
            (i - 0.5, 1.0),
            (0, 1 + row * (k % 2)),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            # Several letters are upright, so that those of neighbouring runs never touch.
            rotation=90 if len(letters) > 1 else 0,
            ha="center",
            va="bottom",
            color=MUTED,
        )


def _date_axis(axes: Axes, runs: Sequence[TrendRun]) -> None:
    """Dates below the runs, thinned out so that they never touch, and the year; two runs of a day also get the time."""
    every = -(-len(runs) // MAX_TICKS)
    shown = [i for i in range(len(runs)) if (len(runs) - 1 - i) % every == 0]
    days = [run.finished_at[:10] for run in runs]
    labels = [
        runs[i].finished_at[5:10]
        if days.count(days[i]) == 1
        else f"{runs[i].finished_at[5:10]} {runs[i].finished_at[11:16]}"
        for i in shown
    ]
    axes.set_xticks(shown, labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.7, len(runs) - 0.3)
    axes.set_xlabel("\u2013".join(dict.fromkeys((days[0][:4], days[-1][:4]))))
    axes.grid(visible=True, axis="y", color=RULE, linewidth=0.35)
    axes.set_axisbelow(True)


def _spoken(runs: Sequence[TrendRun], styles: dict[str, ModelStyle]) -> str:
    parts = []
    for row in runs[-1].figures:
        if row.model in styles and row.auc.value is not None:
            values = {"model": styles[row.model].name, "auc": format_number(row.auc.value)}
            parts.append(
                t("{model} AUC {auc}", **values)
                if row.training_time_s is None
                else t(
                    "{model} AUC {auc}, trained in {time}",
                    **values,
                    time=format_duration(row.training_time_s),
                )
            )
    said = tn(
        "AUC, sensitivity, specificity, usable images and training time over {n} run.",
        "AUC, sensitivity, specificity, usable images and training time over {n:,} runs.",
        len(runs),
    )
    return said if not parts else f"{said} {t('Last run: {figures}.', figures='; '.join(parts))}"
