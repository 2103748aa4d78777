"""Which of two models is cheaper: measured, with a tolerance, and never assumed.

A model is cheaper if its deciding cost is lower by the tolerance or more, the intervals
of the two do not overlap, and no other cost is higher by more than the tolerance. If
each model wins somewhere there is no cheaper one: it is a trade-off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config import DecideConfig
    from medcompare.records import CostMeasurement

WORDS = {
    "latency_ms_median": "time per image",
    "throughput_images_per_s": "throughput",
    "peak_memory_bytes": "peak memory",
    "n_parameters": "number of parameters",
    "flops": "operations per image",
}
SECONDARY = ("latency_ms_median", "peak_memory_bytes", "n_parameters", "flops")
MORE_IS_CHEAPER = frozenset({"throughput_images_per_s"})


@dataclass(frozen=True, kw_only=True)
class CostOrder:
    """Outcome of comparing the costs of two models.

    ``ratio`` is the deciding cost of the cheaper model over that of the other (below 1).
    """

    relation: Literal["cheaper", "trade-off", "similar", "unknown"]
    cheaper: str | None
    ratio: float | None
    text: str


def cheaper_of(one: str, other: str, costs: Sequence[CostMeasurement], decide: DecideConfig) -> CostOrder:
    """Compare the costs of `one` and `other`.

    Parameters
    ----------
    one, other : str
        Names of two models.
    costs : sequence of CostMeasurement
        What is known; a model may be missing.
    decide : DecideConfig
        ``cost_metric`` and ``cost_tolerance``.

    Returns
    -------
    CostOrder
        ``cheaper`` is None unless the relation is "cheaper".
    """
    by_model = {cost.model: cost for cost in costs}
    words = WORDS[decide.cost_metric]
    first, second = (_amount(by_model.get(name), decide.cost_metric) for name in (one, other))
    if first is None or second is None:
        return CostOrder(
            relation="unknown", cheaper=None, ratio=None, text=f"The {words} is not known for both models."
        )
    for name, rival, mine, theirs in ((one, other, first, second), (other, one, second, first)):
        if mine > (1 - decide.cost_tolerance) * theirs or not _apart(
            by_model[name], by_model[rival], decide.cost_metric
        ):
            continue
        dearer_in = [
            WORDS[metric]
            for metric in SECONDARY
            if metric != decide.cost_metric
            and _dearer(by_model[name], by_model[rival], metric, decide.cost_tolerance)
        ]
        if dearer_in:
            text = f"{{{name}}} has the lower {words}, {{{rival}}} the lower {' and '.join(dearer_in)}."
            return CostOrder(relation="trade-off", cheaper=None, ratio=None, text=text)
        ratio = mine / theirs
        text = f"{{{name}}} is cheaper: its {words} is {_relation(decide.cost_metric, ratio)} that of {{{rival}}}."
        return CostOrder(relation="cheaper", cheaper=name, ratio=ratio, text=text)
    text = f"The {words} of the two models does not differ by {decide.cost_tolerance:.0%} or more beyond measuring error."
    return CostOrder(relation="similar", cheaper=None, ratio=None, text=text)


def _relation(metric: str, ratio: float) -> str:
    return f"{1 / ratio:.1f} times" if metric in MORE_IS_CHEAPER else f"{ratio:.0%} of"


def _amount(cost: CostMeasurement | None, metric: str) -> float | None:
    """The cost as a number of which less is cheaper."""
    value = None if cost is None else getattr(cost, metric)
    if value is None or value <= 0:
        return None
    return 1 / value if metric in MORE_IS_CHEAPER else float(value)


def _apart(one: CostMeasurement, other: CostMeasurement, metric: str) -> bool:
    """Whether measuring error can be excluded; only latency is measured with an interval."""
    if (
        metric != "latency_ms_median"
        or one.latency_ms_median_ci is None
        or other.latency_ms_median_ci is None
    ):
        return True
    return one.latency_ms_median_ci[1] < other.latency_ms_median_ci[0]


def _dearer(one: CostMeasurement, other: CostMeasurement, metric: str, tolerance: float) -> bool:
    mine, theirs = _amount(one, metric), _amount(other, metric)
    return mine is not None and theirs is not None and mine > (1 + tolerance) * theirs
