"""Which of two models is cheaper: measured, with a tolerance, and never assumed.

A model is cheaper if its deciding cost is lower by the tolerance or more, the intervals
of the two do not overlap, and no other cost is higher by more than the tolerance. If
each model wins somewhere there is no cheaper one: it is a trade-off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.config import DecideConfig
    from medcompare.cost_records import CostMeasurement

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

    Attributes
    ----------
    relation : {"cheaper", "trade-off", "similar", "unknown"}
        "trade-off": each model is cheaper in something; "similar": no difference that
        counts in the deciding cost; "unknown": that cost is missing for a model.
    lower, higher : str
        The model with the lower deciding cost and the other one; where that is not
        settled, in the order they were named.
    metric : str
        The deciding cost.
    tolerance : float
        Relative difference that counts.
    ratio : float or None
        Deciding cost of `lower` over that of `higher`, as time where throughput decides.
    against : tuple of str
        Costs in which `lower` is dearer, in words.
    overlap : bool
        The deciding cost differs by the tolerance or more, but the measured intervals overlap.
    """

    relation: Literal["cheaper", "trade-off", "similar", "unknown"]
    lower: str
    higher: str
    metric: str
    tolerance: float
    ratio: float | None = None
    against: tuple[str, ...] = ()
    overlap: bool = False

    @property
    def cheaper(self) -> str | None:
        """The cheaper model, None where there is none."""
        return self.lower if self.relation == "cheaper" else None

    def told(self, names: Mapping[str, str]) -> str:
        """The outcome as a sentence; `names` are the names for people."""
        words = WORDS[self.metric]
        lower, higher = names[self.lower], names[self.higher]
        if self.relation == "unknown" or self.ratio is None:
            return f"The {words} is not known for both models, so neither can be called cheaper."
        if self.relation == "trade-off":
            return f"{lower} has the lower {words}, {higher} the lower {' and '.join(self.against)}."
        if self.overlap:
            return (
                f"The {words} of {lower} is {100 * self.ratio:.0f} % of that of {higher}, but the measured intervals "
                "overlap, so neither is called cheaper."
            )
        if self.relation == "similar":
            return (
                f"The {words} of {lower} and {higher} does not differ by {100 * self.tolerance:g} % or more."
            )
        if self.metric in MORE_IS_CHEAPER:
            return f"{lower} is cheaper: its {words} is {1 / self.ratio:.1f} times that of {higher}."
        return f"{lower} is cheaper: its {words} is {100 * self.ratio:.0f} % of that of {higher}."


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
    """
    metric, tolerance = decide.cost_metric, decide.cost_tolerance
    by_model = {cost.model: cost for cost in costs}
    amounts = {name: _amount(by_model.get(name), metric) for name in (one, other)}
    for name, rival in ((one, other), (other, one)):
        mine, theirs = amounts[name], amounts[rival]
        if mine is None or theirs is None:
            return CostOrder(relation="unknown", lower=one, higher=other, metric=metric, tolerance=tolerance)
        if mine > (1 - tolerance) * theirs or mine == theirs:
            continue
        if not _apart(by_model[name], by_model[rival], metric):
            return CostOrder(
                relation="similar",
                lower=name,
                higher=rival,
                metric=metric,
                tolerance=tolerance,
                ratio=mine / theirs,
                overlap=True,
            )
        against = tuple(
            WORDS[each]
            for each in SECONDARY
            if each != metric and _dearer(by_model[name], by_model[rival], each, tolerance)
        )
        return CostOrder(
            relation="trade-off" if against else "cheaper",
            lower=name,
            higher=rival,
            metric=metric,
            tolerance=tolerance,
            ratio=mine / theirs,
            against=against,
        )
    return CostOrder(
        relation="similar", lower=one, higher=other, metric=metric, tolerance=tolerance, ratio=1.0
    )


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
