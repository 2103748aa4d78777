"""The page of all nights: what was decided and why, accuracy over time, and a control chart of every statistic."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from medcompare.base.formatting import format_count, format_time
from medcompare.base.language import in_language, spoken, t, tn
from medcompare.handover.night import REFERENCE
from medcompare.report.figures.control import ALARM, draw_limits, mark_signals
from medcompare.report.figures.drawing import INK, PAGE_WIDTH_MM, RULE, ZONE, Drawing, draw, styles_of
from medcompare.report.figures.verdicts import verdict_words
from medcompare.report.trend import control_words, trend_figure, trend_runs
from medcompare.runs.control import trend_control

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medcompare.handover.night import Night
    from medcompare.runs.summary import RunSummary
    from medcompare.stats.drift import Signal
    from medcompare.stats.records import Estimate

COLUMNS = 3
SHOWN = 30

STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
svg {{ width: 100%; height: auto; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; }}
td:first-child {{ min-width: 6.5rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid {RULE}; }}
.alarm {{ color: {ALARM}; font-weight: 600; }} small {{ color: #4a5560; }}
"""


def nights_page(nights: Sequence[Night], runs: Sequence[RunSummary]) -> str:
    """HTML of the nights and their runs, oldest first; a document of its own, with nothing to load.

    Raises
    ------
    ValueError
        If there is no night.
    """
    if not nights:
        msg = "a page of nights needs at least one"
        raise ValueError(msg)
    last = nights[-1]
    names = {row.model: row.display_name for run in runs for row in run.models}
    heading = escape(t("Nights"))
    parts = [
        f"<h1>{escape(last.model)}: {escape(last.headline)}</h1>",
        *(f'<p class="alarm">{escape(sentence)}</p>' for sentence in last.alarm.sentences),
        f"<p>{escape(last.succession.reason)}</p>",
        f"<h2>{heading}</h2>{_table(nights)}",
    ]
    if runs and names:
        shown, styles = trend_runs(runs[-SHOWN:]), styles_of(list(names), names)
        control = trend_control(runs[-SHOWN:])
        figure = trend_figure(shown, styles, control=control)
        heading = escape(t("Labelled new images of each night, with 95% intervals"))
        words = f"{verdict_words(shown, styles)} {control_words(shown, styles, control)}".strip()
        parts.append(f"<h2>{heading}</h2>{_shown(figure)}<p>{escape(words)}</p>")
    charts = control_charts(nights[-SHOWN:])
    if charts is not None:
        heading = escape(t("Control charts"))
        caption = t(
            "New images of a night (dots) beside the reference set (line); grey: three standard deviations of chance. "
            "Red diamond: an alarm of that night, one in a hundred by chance. Images are compared within each class. "
            "Lines about calls and probabilities step where the champion changed."
        )
        parts.append(f"<h2>{heading}</h2><p>{escape(caption)}</p>{_shown(charts)}")
    disclaimer = t("A research tool, not a medical device.")
    parts.append(f"<p><small>{escape(disclaimer)}</small></p>")
    title = escape(t("Nights of {model}", model=last.model))
    return (
        f'<!DOCTYPE html><html lang="{spoken()}"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _table(nights: Sequence[Night]) -> str:
    head = t("Night"), t("New images"), t("Champion"), t("Decision"), t("Alarm")
    rows, nothing = [], t("no alarm")
    for one in reversed(nights):
        new = format_count(one.n_new)
        if one.n_new_positive is not None:
            new = t("{n} ({n_positive:,} positive)", n=new, n_positive=one.n_new_positive)
        alarm = " ".join(one.alarm.sentences)
        rows.append(
            "<tr>"
            f"<td>{escape(format_time(one.at))}</td><td>{escape(new)}</td>"
            f"<td>{escape(one.champion)}</td>"
            f"<td><b>{escape(one.decision)}</b><br><small>{escape(one.succession.reason)}</small></td>"
            f"<td{' class=alarm' if alarm else ''}>{escape(alarm or nothing)}</td></tr>"
        )
    columns = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    return f'<div class="table"><table><thead><tr>{columns}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def control_charts(nights: Sequence[Night]) -> Drawing | None:
    """One panel per statistic, against the reference set; None where nothing was compared."""
    tracked: dict[str, list[tuple[int, Signal, bool]]] = {}
    for i, one in enumerate(nights):
        rung = {signal.name for signals in one.signals.values() for signal in signals if signal.alarm}
        for signal in one.signals.get(REFERENCE, ()):
            tracked.setdefault(signal.name, []).append((i, signal, signal.name in rung))
    if not tracked:
        return None
    n_rows = -(-len(tracked) // COLUMNS)
    labels = [one.at[5:10] for one in nights]

    def fill(figure: Figure) -> None:
        grid = figure.add_gridspec(n_rows, COLUMNS)
        for k, (name, points) in enumerate(tracked.items()):
            axes = figure.add_subplot(grid[k // COLUMNS, k % COLUMNS])
            _panel(axes, points, labels)
            axes.set_title(t(name).partition(" (")[0])

    alarms = [
        t("{statistic} on {day}", statistic=t(name), day=labels[i])
        for name, points in tracked.items()
        for i, _, alarm in points
        if alarm
    ]
    alt = tn(
        "Control charts of {n_statistics} statistics over {n} night.",
        "Control charts of {n_statistics} statistics over {n:,} nights.",
        len(nights),
        n_statistics=len(tracked),
    )
    found = t("Alarms: {alarms}.", alarms=", ".join(alarms)) if alarms else t("No alarm.")
    return draw(fill, width_mm=PAGE_WIDTH_MM, height_mm=38.0 * n_rows, alt=f"{alt} {found}")


def _panel(axes: Axes, points: Sequence[tuple[int, Signal, bool]], labels: Sequence[str]) -> None:
    x = [i for i, _, _ in points]
    low, high, base, value = (
        [getattr(signal, part) for _, signal, _ in points] for part in ("low", "high", "base", "value")
    )
    draw_limits(axes, x, (low, high), base, fill=ZONE)
    axes.plot(x, value, color=INK, linewidth=0.8, marker="o", markersize=2.6, markerfacecolor="white")
    axes.margins(y=0.12)  # a diamond at the highest value is seen whole
    mark_signals(axes, [(i, signal.value) for i, signal, alarm in points if alarm])
    axes.set_xticks(range(0, len(labels), max(1, len(labels) // 4)))
    axes.set_xticklabels([labels[i] for i in range(0, len(labels), max(1, len(labels) // 4))])
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


def _shown(figure: Drawing) -> str:
    return figure.svg


def metrics_of(night: Night, run: RunSummary) -> dict[str, float]:
    """What MLflow plots over nights, by names as it accepts them: what stands before ``/`` is a section of its page."""
    found: dict[str, float] = {"new images": night.n_new, "comparisons": night.succession.looks}
    estimates: dict[str, Estimate | None] = {
        f"AUC on new images of the night/version {one.model}": one.auc for one in run.models
    }
    for role, one in night.meetings.items():
        # Short, so that the page of MLflow does not cut off "low" and "high".
        estimates[f"AUC {role} minus champion/new images"] = one.auc_new
        estimates[f"AUC {role} minus champion/reference"] = one.auc_reference
    for name, estimate in estimates.items():
        if estimate is not None:
            ends = {"": estimate.value, " low": estimate.ci_low, " high": estimate.ci_high}
            found |= {name + which: value for which, value in ends.items() if value is not None}
    for signal in night.signals.get(REFERENCE, ()):
        name = signal.name.partition(" (")[0]
        found |= {f"drift/{name}": signal.value, f"drift effect/{name}": signal.effect}
        found[f"drift p/{name}"] = signal.p_value
    return found


@in_language("en")
def told(night: Night) -> list[str]:
    """What the terminal and the log say of a night."""
    share = night.share_unlike_training
    lines = [
        f"{night.model}: {night.headline}",
        night.succession.reason,
        f"New images: {night.n_new}; left out, as seen before: {night.n_left_out}; not scored: {night.n_not_scored}",
    ]
    if share is not None:
        lines.append(
            f"{share:.1%} of them are unlike the training images, where {night.expected_unlike:.1%} are expected"
        )
    return [*lines, *night.alarm.sentences, *night.notes]
