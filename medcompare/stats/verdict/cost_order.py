"""Which of two models is cheaper: measured, with a tolerance, and never assumed.

A model is cheaper if its deciding cost is lower by the tolerance or more, the intervals
of the two do not overlap, and no other cost is higher by more than the tolerance. If
each model wins somewhere there is no cheaper one: it is a trade-off. A time measured in
so few passes that it has no interval counts as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from medcompare.base.formatting import join_words
from medcompare.base.language import localised, message, t, tn
from medcompare.predictions.costs import FEWEST_PASSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medcompare.config.schema import DecideConfig
    from medcompare.predictions.costs import CostMeasurement

COST_WORDS = {
    "latency_ms_median": message("time per image"),
    "throughput_images_per_s": message("throughput"),
    "peak_memory_bytes": message("peak memory"),
    "n_parameters": message("number of parameters"),
    "flops": message("operations per image"),
}
SECONDARY = ("latency_ms_median", "peak_memory_bytes", "n_parameters", "flops")
MORE_IS_CHEAPER = frozenset({"throughput_images_per_s"})
TIMED = {
    "latency_ms_median": ("latency_ms_median_ci", "n_repeats", message("ms")),
    "throughput_images_per_s": ("throughput_images_per_s_ci", "n_throughput_batches", message("images/s")),
}
"""Costs that are medians of timed passes: the fields of their interval and of the number of passes, and the unit."""


@dataclass(frozen=True, kw_only=True)
class CostOrder:
    """Outcome of comparing the costs of two models.

    Attributes
    ----------
    relation : {"cheaper", "trade-off", "similar", "unknown"}
        "trade-off": each model is cheaper in something; "similar": no difference that
        counts in the deciding cost; "unknown": that cost is missing for a model, or was
        timed in too few passes for an interval.
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
        Costs in which `lower` is more expensive, in words.
    overlap : bool
        The deciding cost differs by the tolerance or more, but the measured intervals overlap.
    few : tuple of str
        Models of which the deciding cost was timed in too few passes for an interval.
    figures : (str, str) or None
        Where the deciding cost is a median of timed passes: that of `lower` and of `higher`,
        in words, with their intervals.
    """

    relation: Literal["cheaper", "trade-off", "similar", "unknown"]
    lower: str
    higher: str
    metric: str
    tolerance: float
    ratio: float | None = None
    against: tuple[str, ...] = ()
    overlap: bool = False
    few: tuple[str, ...] = ()
    figures: tuple[str, str] | None = None

    @property
    def cheaper(self) -> str | None:
        """The cheaper model, None where there is none."""
        return self.lower if self.relation == "cheaper" else None

    def why_none_is_cheaper(self, names: Mapping[str, str]) -> str:
        """Why neither model is called cheaper, as a sentence; `names` are the names for people.

        Raises
        ------
        ValueError
            If one is.
        """
        if self.cheaper is not None:
            msg = f"{self.cheaper} is cheaper"
            raise ValueError(msg)
        gaps: dict[str, object] = {"cost": t(COST_WORDS[self.metric])}
        if self.few:
            few = join_words(names[model] for model in self.few)
            return t(
                "The {cost} of {models} was timed in fewer than {n} passes, too few for an interval, so neither can be "
                "called cheaper.",
                models=few,
                n=FEWEST_PASSES,
                **gaps,
            )
        if self.relation == "unknown" or self.ratio is None:
            return t("The {cost} is not known for both models, so neither can be called cheaper.", **gaps)
        more = self.metric in MORE_IS_CHEAPER
        ratio = 1 / self.ratio if more else self.ratio
        figures = ""
        if self.figures is not None:
            both = t("{lower}, against {higher}", lower=self.figures[0], higher=self.figures[1])
            figures = f" ({both})"
        gaps |= {"lower": names[self.lower], "higher": names[self.higher], "figures": figures}
        if self.relation == "trade-off":
            gaps["against"] = join_words(self.against)
            if more:
                return t("{lower} has the higher {cost}{figures}, {higher} the lower {against}.", **gaps)
            return t("{lower} has the lower {cost}{figures}, {higher} the lower {against}.", **gaps)
        if self.overlap:
            return t(
                "The {cost} of {lower} is {percent:.0f}% of that of {higher}{figures}, but the measured intervals "
                "overlap, so neither is called cheaper.",
                percent=100 * ratio,
                **gaps,
            )
        return t(
            "The {cost} of {lower} and {higher} does not differ by {percent:g}% or more{figures}.",
            percent=100 * self.tolerance,
            **gaps,
        )


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
    order = partial(CostOrder, metric=metric, tolerance=tolerance)
    if None in amounts.values():
        few = tuple(name for name in (one, other) if name in by_model and too_few(by_model[name], metric))
        return order(relation="unknown", lower=one, higher=other, few=few)
    for name, rival in ((one, other), (other, one)):
        mine, theirs = amounts[name], amounts[rival]
        if mine is None or theirs is None or mine > (1 - tolerance) * theirs or mine == theirs:
            continue
        found = order(
            relation="cheaper",
            lower=name,
            higher=rival,
            ratio=mine / theirs,
            figures=_figures(by_model[name], by_model[rival], metric),
        )
        if not _apart(by_model[name], by_model[rival], metric):
            return replace(found, relation="similar", overlap=True)
        against = tuple(
            t(COST_WORDS[each])
            for each in SECONDARY
            if each != metric and _costs_more(by_model[name], by_model[rival], each, tolerance)
        )
        return replace(found, relation="trade-off", against=against) if against else found
    figures = _figures(by_model[one], by_model[other], metric)
    return order(relation="similar", lower=one, higher=other, ratio=1.0, figures=figures)


def too_few(cost: CostMeasurement, metric: str) -> bool:
    """Whether `metric` was timed in so few passes that no interval says how far off it may be.

    False also where the number of passes is not stated, as in a file of costs.
    """
    if metric not in TIMED:
        return False
    n_passes = getattr(cost, TIMED[metric][1])
    return n_passes is not None and n_passes < FEWEST_PASSES


def equivalents_text(
    costs: Sequence[CostMeasurement], decide: DecideConfig, names: Mapping[str, str]
) -> tuple[str, ...]:
    """What networks of libraries that nobody maintains would cost in one that is, and what that changes.

    Parameters
    ----------
    costs : sequence of CostMeasurement
        Of the models in `names`.
    decide : DecideConfig
        ``cost_metric`` and ``cost_tolerance``.
    names : mapping
        Names for people.

    Returns
    -------
    tuple of str
        One text per network that has an equivalent. Whether the order by cost changes is said
        where time per image decides: nothing else is measured of the equivalent.
    """
    found = []
    for cost in costs:
        if cost.equivalent_model is None or cost.latency_ms_median is None:
            continue
        library = cost.equivalent_implementation or t("its maintained library")
        time, limits = _figure(cost, "latency_ms_median")
        text = t(
            "{model} takes {time} per image ({limits}) as implemented by {library}.",
            model=names[cost.model],
            time=time,
            limits=limits,
            library=cost.implementation or t("its library"),
        )
        if cost.equivalent_latency_ms_median is None:
            unknown = t(
                "What the same architecture takes in {library} was not measured: there was no time.",
                library=library,
            )
            found.append(f"{text} {unknown}")
            continue
        as_maintained = cost.model_copy(
            update={
                "latency_ms_median": cost.equivalent_latency_ms_median,
                "latency_ms_median_ci": cost.equivalent_latency_ms_median_ci,
                "n_repeats": cost.equivalent_n_repeats,
            }
        )
        time, limits = _figure(as_maintained, "latency_ms_median")
        there = t(
            "The same architecture in {library}, which is maintained, takes {time} ({limits}).",
            library=library,
            time=time,
            limits=limits,
        )
        sentences = [text, there]
        if decide.cost_metric == "latency_ms_median":
            replaced = [as_maintained if each is cost else each for each in costs]
            sentences += _changes_of_order(cost.model, costs, replaced, decide, names)
        found.append(" ".join(sentences))
    return tuple(found)


def _changes_of_order(
    model: str,
    before: Sequence[CostMeasurement],
    after: Sequence[CostMeasurement],
    decide: DecideConfig,
    names: Mapping[str, str],
) -> list[str]:
    """Whether `model` compares with the others as before once its costs are `after`, as sentences."""
    rivals = [cost.model for cost in before if cost.model != model]
    sentences = []
    for rival in rivals:
        was, would = (cheaper_of(model, rival, costs, decide) for costs in (before, after))
        ends = {model: rival, rival: model}
        if "unknown" in {was.relation, would.relation}:
            sentences.append(
                t(
                    "Whether that changes which of {one} and {other} is cheaper is not known.",
                    one=names[model],
                    other=names[rival],
                )
            )
        elif was.cheaper == would.cheaper:
            if len(rivals) > 1:
                continue
            sentences.append(
                t(
                    "Neither {one} nor {other} is called cheaper either way.",
                    one=names[model],
                    other=names[rival],
                )
                if was.cheaper is None
                else t(
                    "{cheap} is cheaper than {dear} either way.",
                    cheap=names[was.cheaper],
                    dear=names[ends[was.cheaper]],
                )
            )
        elif was.cheaper is None and would.cheaper is not None:
            sentences.append(
                t(
                    "With that, {cheap} would be cheaper than {dear}; as measured, neither is called cheaper.",
                    cheap=names[would.cheaper],
                    dear=names[ends[would.cheaper]],
                )
            )
        elif would.cheaper is None and was.cheaper is not None:
            sentences.append(
                t(
                    "{cheap} is cheaper than {dear} only as measured: with that, neither would be called cheaper.",
                    cheap=names[was.cheaper],
                    dear=names[ends[was.cheaper]],
                )
            )
        else:
            sentences.append(
                t(
                    "With that, {cheap} would be cheaper than {dear}, and not the other way round.",
                    cheap=names[rival if was.cheaper == model else model],
                    dear=names[str(was.cheaper)],
                )
            )
    if not sentences and rivals:
        sentences.append(t("Which model is cheaper stays the same in every pair."))
    return sentences


def _figures(one: CostMeasurement, other: CostMeasurement, metric: str) -> tuple[str, str] | None:
    return (", ".join(_figure(one, metric)), ", ".join(_figure(other, metric))) if metric in TIMED else None


def _figure(cost: CostMeasurement, metric: str) -> tuple[str, str]:
    """A median and its interval, e.g. ``24.9 ms`` and ``95% interval 24.5 to 25.4``."""
    field, passes, unit = TIMED[metric]
    limits, n_passes = getattr(cost, field), getattr(cost, passes)
    text = f"{_short(getattr(cost, metric))} {t(unit)}"
    if too_few(cost, metric):
        return text, tn("no interval from {n} pass", "no interval from {n:,} passes", n_passes)
    if limits is None:
        return text, t("interval not stated")
    return text, t("95% interval {low} to {high}", low=_short(limits[0]), high=_short(limits[1]))


def _short(value: float) -> str:
    """Three significant digits, and all of those before the point."""
    return localised(f"{value:,.0f}" if value >= 100 else f"{value:#.3g}")


def _amount(cost: CostMeasurement | None, metric: str) -> float | None:
    """The cost as a number of which less is cheaper; None where it is not known well enough to compare."""
    value = None if cost is None else getattr(cost, metric)
    if cost is None or value is None or value <= 0 or too_few(cost, metric):
        return None
    return 1 / value if metric in MORE_IS_CHEAPER else float(value)


def _apart(one: CostMeasurement, other: CostMeasurement, metric: str) -> bool:
    """Whether measuring error can be excluded; only medians of timed passes have an interval."""
    if metric not in TIMED:
        return True
    mine, theirs = (getattr(cost, TIMED[metric][0]) for cost in (one, other))
    if mine is None or theirs is None:
        return True
    return bool(mine[0] > theirs[1] if metric in MORE_IS_CHEAPER else mine[1] < theirs[0])


def _costs_more(one: CostMeasurement, other: CostMeasurement, metric: str, tolerance: float) -> bool:
    mine, theirs = _amount(one, metric), _amount(other, metric)
    return mine is not None and theirs is not None and mine > (1 + tolerance) * theirs
