"""Control charts of the figures of each model over the runs of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from medcompare.stats.control import control_chart
from medcompare.stats.in_detail import TrendControl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.runs.summary import RunSummary

Metric = Literal["auc", "sensitivity", "specificity"]


def trend_control(runs: Sequence[RunSummary]) -> tuple[TrendControl, ...]:
    """AUC, sensitivity and specificity of every model that any of the runs had, oldest run first."""
    by_run = [{row.model: row for row in run.models} for run in runs]
    metrics: tuple[Metric, ...] = get_args(Metric)
    return tuple(
        TrendControl(
            metric=metric,
            model=model,
            chart=control_chart([getattr(rows[model], metric) if model in rows else None for rows in by_run]),
        )
        for metric in metrics
        for model in dict.fromkeys(name for rows in by_run for name in rows)
    )
