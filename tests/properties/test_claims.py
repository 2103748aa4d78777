"""Thousands of random studies: every sentence of a verdict holds for the numbers beside it.

`CLAIMS` has a condition on the numbers for every sentence of the rule; `PHRASES` has one for
each phrase that may stand in any text. Half of the studies are records with random intervals,
which reach what real scores seldom do; the other half are tables of scores.
"""
# ruff: noqa: ARG005 - a claim may need the study, the finding or both

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medcompare.base.language import in_language
from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.costs import CostMeasurement
from medcompare.stats.assessment import assess
from medcompare.stats.multiplicity import holm
from medcompare.stats.records import Estimate, Outcome
from medcompare.stats.verdict.criteria import adequacy, proves_nothing
from medcompare.stats.verdict.rule import decide, first_match
from medcompare.stats.verdict.texts import SENTENCES
from tests.stats.simulated import draw_study
from tests.stats.studies import comparison, evaluation, situation

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.stats.records import Assessment, ModelEvaluation, PairedComparison, Verdict
    from medcompare.stats.verdict.situation import Finding, Situation

Z = 1.959963984540054
ALPHA = 0.05


def limits(pair: PairedComparison, figure: str, better: str | None = None) -> tuple[float, float]:
    """Limits of candidate minus reference, or of `better` minus the other."""
    low, high = pair.differences[figure].ci_low, pair.differences[figure].ci_high
    assert low is not None
    assert high is not None
    return (-high, -low) if better == pair.reference else (low, high)


def auc(f: Finding, better: str | None = None) -> tuple[float, float]:
    """Limits of the difference in AUC of the pair that a finding is about."""
    assert f.pair is not None
    return limits(f.pair, "auc", better)


def figure(f: Finding, name: str, better: str | None = None) -> tuple[float, float]:
    """Limits of another difference of that pair."""
    assert f.pair is not None
    return limits(f.pair, name, better)


def states(s: Situation) -> dict[str, str]:
    """Where each judged model stands with its floors."""
    return {one.model: adequacy(one, s.rule) for one in s.usable}


def left(s: Situation) -> list[ModelEvaluation]:
    """Models that are neither left out nor below a floor."""
    return [one for one in s.usable if states(s)[one.model] != "inadequate"]


def significantly_better(s: Situation, one: str, other: str) -> bool:
    """Whether `one` has the higher AUC, beyond chance and the number of comparisons."""
    if one == other:
        return False
    pair = s.pair_of(one, other)
    if len(s.usable) > 2:
        p_value, value = pair.p_values_adjusted.get("auc"), pair.differences["auc"].value or 0.0
        return p_value is not None and p_value < ALPHA and (value if one == pair.candidate else -value) > 0
    return pair.differences["auc"].ci_low is not None and limits(pair, "auc", one)[0] > 0


def shown_close(s: Situation, models: tuple[str, ...]) -> bool:
    """Whether each of `models` is shown to lose less than the margin against the best of all that are left."""
    value = {one.model: one.metrics["auc"].value or 0.0 for one in left(s)}
    best = max(value.values())
    return all(
        limits(pair, "auc", model)[0] > -s.rule.margin_auc
        for model in models
        for top in value
        if value[top] == best and top != model and (pair := s.pair_of(top, model))
    )


def opposed(f: Finding) -> bool:
    """One finds more, the other raises fewer false alarms, both beyond chance."""
    (a, b), (c, d) = figure(f, "sensitivity"), figure(f, "specificity")
    return (a > 0 and d < 0) or (b < 0 and c > 0)


def proven(s: Situation, f: Finding) -> bool:
    """Whether the recommended model is shown to reach every floor."""
    return f.model is not None and states(s)[f.model] == "adequate"


def guarded(s: Situation, f: Finding) -> bool:
    """Under the strict guard: both losses with the recommended model are shown to be acceptable."""
    return s.rule.guard == "veto" or (
        figure(f, "sensitivity", f.model)[0] > -s.rule.margin_sensitivity
        and figure(f, "specificity", f.model)[0] > -s.rule.margin_specificity
    )


def meaningful(s: Situation) -> bool:
    """Whether every threshold was chosen on something, and calls both classes."""
    return all(proves_nothing(one) is None for one in s.usable)


def other_end(f: Finding, model: str) -> str:
    """The other model of the pair."""
    assert f.pair is not None
    return f.pair.candidate if model == f.pair.reference else f.pair.reference


def equal_within(s: Situation, f: Finding) -> bool:
    """Both limits within the margin, both guards both ways, thresholds that mean something."""
    low, high = auc(f)
    return -s.rule.margin_auc < low <= high < s.rule.margin_auc and meaningful(s)


def remaining_alike(s: Situation, models: tuple[str, ...]) -> bool:
    """No adjusted p-value below alpha between any two of `models`."""
    return not any(
        significantly_better(s, a, b) or significantly_better(s, b, a) for a, b in combinations(models, 2)
    )


def beaten(s: Situation, models: tuple[str, ...]) -> bool:
    """Each of `models` has one that is left and significantly better."""
    return all(any(significantly_better(s, one.model, m) for one in left(s)) for m in models)


Claim = "Callable[[Situation, Finding], bool]"

CLAIMS: dict[str, Claim] = {  # type: ignore[valid-type]
    "invalid": lambda s, f: f.extra != "" and f.model is None,
    "not_as_trained": lambda s, f: bool(s.left_out) and len(s.usable) < 2 and f.model is None,
    "constant_output": lambda s, f: bool(s.left_out) and len(s.usable) < 2 and f.model is None,
    "few_units": lambda s, f: (
        min(s.evaluations[0].n_units_positive, s.evaluations[0].n_units_negative) < s.rule.min_units
    ),
    "neither": lambda s, f: set(states(s).values()) == {"inadequate"},
    "single_inadequate": lambda s, f: list(states(s).values()) == ["inadequate"],
    "unproven": lambda s, f: (
        "adequate" not in states(s).values() and all(states(s)[m] == "undetermined" for m in f.chosen)
    ),
    "only_adequate": lambda s, f: (
        proven(s, f) and sorted(states(s).values()) == ["adequate"] + ["inadequate"] * (len(s.usable) - 1)
    ),
    "single_model": lambda s, f: list(states(s).values()) == ["adequate"],
    "better_but_unproven": lambda s, f: (
        states(s)[f.extra] != "adequate"
        and (f.grounds in {"misses_more", "net_benefit"} or auc(f, f.extra)[0] > 0)
    ),
    "equal_but_unproven": lambda s, f: equal_within(s, f) and states(s)[f.extra] != "adequate",
    "candidate_unproven": lambda s, f: (
        auc(f, f.extra)[0] > -s.rule.margin_auc and states(s)[f.extra] != "adequate"
    ),
    "worse_by_margin": lambda s, f: proven(s, f) and auc(f, f.model)[0] > s.rule.margin_auc,
    "better_and_cheaper": lambda s, f: (
        proven(s, f) and auc(f, f.model)[0] > 0 and guarded(s, f) and meaningful(s)
    ),
    "cheaper": lambda s, f: (
        proven(s, f) and auc(f, f.model)[0] > -s.rule.margin_auc and guarded(s, f) and meaningful(s)
    ),
    "cheaper_but_slightly_worse": lambda s, f: (
        proven(s, f) and -s.rule.margin_auc < auc(f, f.model)[0] and auc(f, f.model)[1] < 0 and guarded(s, f)
    ),
    "same_ranking": lambda s, f: proven(s, f) and auc(f) == (0, 0) and guarded(s, f),
    "choose_trade_off": equal_within,
    "choose_similar": equal_within,
    "choose_unknown": equal_within,
    "same_ranking_choose": lambda s, f: auc(f) == (0, 0) and meaningful(s),
    "operating_points": lambda s, f: opposed(f),
    "better_but_misses_more": lambda s, f: (
        auc(f, f.extra)[0] > 0 and figure(f, "sensitivity", f.extra)[1] < 0
    ),
    "same_ranking_misses_more": lambda s, f: auc(f) == (0, 0) and figure(f, "sensitivity")[1] < 0,
    "guard_void": lambda s, f: (
        bool(f.void) and all(proves_nothing(one) is not None for one in s.usable if one.model in f.void)
    ),
    "guard_lost": lambda s, f: any(g.state == "lost" for g in f.guards) and not f.questions,
    "thresholds_lost": lambda s, f: any(g.state == "lost" for g in f.guards) and not f.questions,
    "net_benefit": lambda s, f: proven(s, f) and opposed(f) and not auc(f, f.model)[1] < 0,
    "misses_more": lambda s, f: (
        proven(s, f)
        and figure(f, "sensitivity", f.model)[0] > 0
        and not figure(f, "specificity", f.model)[1] < 0
        and not auc(f, f.model)[1] < 0
    ),
    "guard_unproven": lambda s, f: {g.state for g in f.guards} == {"open"} and bool(f.questions),
    "thresholds_unproven": lambda s, f: {g.state for g in f.guards} == {"open"} and bool(f.questions),
    "better_not_shown_equal": lambda s, f: (
        proven(s, f) and auc(f, f.model)[0] > 0 and auc(f, f.model)[1] >= s.rule.margin_auc
    ),
    "better": lambda s, f: proven(s, f) and auc(f, f.model)[0] > 0,
    "no_interval": lambda s, f: f.pair is not None and f.pair.differences["auc"].ci_low is None,
    "perfect_unproven": lambda s, f: (
        auc(f) == (0, 0) and all(one.metrics["auc"].value == 1 for one in s.usable)
    ),
    "cannot_tell": lambda s, f: (
        auc(f)[0] <= 0 <= auc(f)[1] and max(-auc(f)[0], auc(f)[1]) >= s.rule.margin_auc
    ),
    "cannot_tell_several": lambda s, f: remaining_alike(s, f.chosen) and not f.worse,
    "some_remain": lambda s, f: (
        remaining_alike(s, f.chosen)
        and beaten(s, f.worse)
        and {*f.chosen, *f.worse} == {one.model for one in left(s)}
    ),
    "thresholds_of_several": lambda s, f: (
        shown_close(s, f.chosen) and beaten(s, f.worse) and bool(f.guards or f.void) and not f.questions
    ),
    "choose_several": lambda s, f: (
        shown_close(s, f.chosen) and all(states(s)[m] == "adequate" for m in f.chosen)
    ),
    "choose_several_unknown": lambda s, f: (
        shown_close(s, f.chosen) and all(states(s)[m] == "adequate" for m in f.chosen)
    ),
    "cheapest_of_several": lambda s, f: (
        proven(s, f)
        and shown_close(s, f.chosen)
        and all(significantly_better(s, m, str(f.model)) for m in f.worse)
    ),
    "cheapest_unproven": lambda s, f: shown_close(s, f.chosen) and states(s)[f.extra] != "adequate",
    "choice_unproven": lambda s, f: (
        shown_close(s, f.chosen) and all(states(s)[m] != "adequate" for m in f.worse)
    ),
    "best_of_several": lambda s, f: proven(s, f) and _ahead_of_all(s, str(f.model)),
    "best_unproven": lambda s, f: states(s)[f.extra] != "adequate" and _ahead_of_all(s, f.extra),
}


def _ahead_of_all(s: Situation, model: str) -> bool:
    """Better than each that is left, directly or through others (Holm holds for all pairs at once)."""
    behind, new = {model}, {model}
    while new:
        new = {
            one.model
            for one in left(s)
            if one.model not in behind and any(significantly_better(s, m, one.model) for m in behind)
        }
        behind |= new
    return behind == {one.model for one in left(s)}


SIGNED = r"([+\u2212]?\d\.\d{3})"
DIFFERENCE = re.compile(rf": {SIGNED}, 95% interval {SIGNED} to {SIGNED}")
SILENT = re.compile(r"without raising|significant difference|to settle|better point estimate")


def texts_of(verdict: Verdict) -> list[str]:
    """Every text of a verdict."""
    return [
        verdict.headline,
        verdict.sentence,
        verdict.provisional_sentence or "",
        *verdict.remarks,
        *verdict.caveats,
    ]


def check(s: Situation) -> tuple[Finding, Verdict]:
    """Everything that must hold for one study."""
    found, verdict = first_match(s), decide(s)

    assert CLAIMS[found.kind](s, found), found.kind
    _check_phrases(s, found, verdict)
    _check_recommended(s, verdict)
    _check_sizes(s, verdict)
    _check_costs(s, verdict)
    assert not set(verdict.left_out) & {verdict.model, verdict.provisional_favourite}
    return found, verdict


def _check_phrases(s: Situation, found: Finding, verdict: Verdict) -> None:
    for text in texts_of(verdict):
        assert not SILENT.search(text), text
        for value, low, high in DIFFERENCE.findall(text):
            numbers = [float(number.replace("\u2212", "-")) for number in (low, value, high)]
            assert numbers == sorted(numbers), text
    said = f"{verdict.headline} {verdict.sentence}".lower()
    if "no relevant difference" in said:
        assert equal_within(s, found)
    if "not worse, and cheaper" in said:
        assert auc(found, verdict.model)[0] > -s.rule.margin_auc
    if "cannot tell" in said and found.pair is not None:
        assert auc(found)[0] <= 0 <= auc(found)[1]
    if found.pair is not None and "by less than the acceptable" in said:
        low, high = auc(found)
        assert -s.rule.margin_auc < low <= high < s.rule.margin_auc
    today = verdict.provisional_sentence or ""
    names = {one.display_name: one.model for one in s.usable}
    by_chance = re.search(r"Chance alone may explain its lead over (.*?)\.", today)
    for name in re.findall(r"Model [A-F]", by_chance.group(1)) if by_chance else []:
        pair = s.pair_of(str(verdict.provisional_favourite), names[name])
        low, high = limits(pair, "auc")
        assert low <= 0 <= high, today
    if verdict.provisional_favourite is not None:
        best = max(one.metrics["auc"].value or 0.0 for one in left(s))
        favourite = next(one for one in s.usable if one.model == verdict.provisional_favourite)
        assert favourite.metrics["auc"].value == best
        assert len(s.usable) > 1
    for guard in found.guards:
        verb = "miss" if guard.figure == "sensitivity" else "raise"
        if guard.state == "lost" and found.pair is not None:
            assert f"{s.names[guard.model]} may {verb}" not in verdict.sentence


def _check_recommended(s: Situation, verdict: Verdict) -> None:
    """The recommended model is good enough, and never significantly worse than one that was not excluded."""
    if verdict.model is None:
        return
    assert states(s)[verdict.model] == "adequate"
    for one in left(s):
        if one.model == verdict.model:
            continue
        if verdict.outcome is Outcome.USE_MODEL:
            assert not significantly_better(s, one.model, verdict.model)
        pair = s.pair_of(one.model, verdict.model)
        value = pair.differences["auc"].value or 0.0
        loss = value if one.model == pair.candidate else -value
        assert loss < s.rule.margin_auc or not significantly_better(s, one.model, verdict.model)


def _check_sizes(s: Situation, verdict: Verdict) -> None:
    """Sizes for what is open, above what is there, in the classes that count, and for nothing else."""
    if verdict.outcome is not Outcome.NOT_ENOUGH_DATA or s.unfinished():
        assert verdict.sizes_needed == ()
    for size in verdict.sizes_needed:
        assert (size.needed_positive is None) == (size.quantity == "specificity")
        assert (size.needed_negative is None) == (size.quantity == "sensitivity")
        for needed, present in (
            (size.needed_positive, size.present_positive),
            (size.needed_negative, size.present_negative),
        ):
            assert needed is None or needed > present
        assert "80%" in size.sentence
        if len(size.models) == 1:
            one = next(each for each in s.usable if each.model == size.models[0])
            low, high = one.metrics[size.quantity].ci_low, one.metrics[size.quantity].ci_high
            assert low is not None
            assert high is not None
            assert low <= size.bound <= high
        else:
            pair = s.pair_of(*size.models)
            low, high = limits(pair, size.quantity)
            # With several models a margin can be open by the number of comparisons alone.
            assert len(s.usable) > 2 or low <= -size.bound <= high or low <= size.bound <= high


def named_cheaper(s: Situation, costs: dict[str, CostMeasurement], one: str, other: str) -> bool | None:
    """Whether `one` may be called cheaper than `other`, from the numbers; None where that cannot be said."""
    a, b = costs[one], costs[other]
    if any(c.n_repeats is not None and c.n_repeats < 6 for c in (a, b)):
        return None
    assert a.latency_ms_median is not None
    assert b.latency_ms_median is not None
    within = a.latency_ms_median <= (1 - s.rule.cost_tolerance) * b.latency_ms_median
    apart = a.latency_ms_median_ci is None or b.latency_ms_median_ci is None
    apart = apart or a.latency_ms_median_ci[1] < b.latency_ms_median_ci[0]  # type: ignore[index]
    return within and apart and (a.n_parameters or 0) <= 1.1 * (b.n_parameters or 0)


def _check_costs(s: Situation, verdict: Verdict) -> None:
    """Every sentence about cost: which is cheaper, with which library, and what makes that doubtful."""
    model_of = {one.display_name: one.model for one in s.evaluations}
    costs = {cost.model: cost for cost in s.costs}
    told = " ".join(verdict.cost_remarks)
    assert set(verdict.cost_remarks) <= set(verdict.caveats)
    few = {m for m, c in costs.items() if c.n_repeats is not None and c.n_repeats < 6}
    assert ("known well enough" in f"{verdict.headline} {verdict.sentence}") <= bool(few)
    assert ("has no 95% interval" in told) == bool(few)
    assert ("(disturbed)" in told) == any((c.other_load_cores or 0) > 0.5 for c in costs.values())
    assert ("(cost.budget_s)" in told) == any(
        c.n_repeats is not None and c.n_repeats < (c.n_repeats_planned or 0) for c in costs.values()
    )
    assert ("cost.fresh=true" in told) == any(
        words in told for words in ("no 95% interval", "(disturbed)", "(cost.budget_s)")
    )
    if verdict.cheaper is not None and verdict.reference is not None and verdict.candidate is not None:
        other = verdict.reference if verdict.cheaper == verdict.candidate else verdict.candidate
        assert named_cheaper(s, costs, verdict.cheaper, other)
    with_one = [cost for cost in s.costs if cost.equivalent_model is not None]
    remarks = [text for text in verdict.cost_remarks if "which is maintained" in text]
    assert len(remarks) == len(with_one)
    for cost, text in zip(with_one, remarks, strict=True):
        other_costs = dict(costs)
        other_costs[cost.model] = cost.model_copy(
            update={
                "latency_ms_median": cost.equivalent_latency_ms_median,
                "latency_ms_median_ci": cost.equivalent_latency_ms_median_ci,
                "n_repeats": cost.equivalent_n_repeats,
            }
        )
        _check_equivalent(s, cost.model, text, (costs, other_costs), model_of)


def _check_equivalent(
    s: Situation,
    model: str,
    text: str,
    costs: tuple[dict[str, CostMeasurement], dict[str, CostMeasurement]],
    model_of: dict[str, str],
) -> None:
    """What is said of one network in another library, pair by pair."""
    name = s.names[model]
    rivals = [one for one in costs[0] if one != model]

    def state(rival: str) -> tuple[tuple[bool | None, bool | None], ...]:
        return tuple(
            (named_cheaper(s, each, model, rival), named_cheaper(s, each, rival, model)) for each in costs
        )

    same = {rival for rival in rivals if state(rival)[0] == state(rival)[1] != (None, None)}
    assert text.startswith(f"{name} takes {costs[0][model].latency_ms_median:#.3g} ms")
    if "stays the same in every pair" in text:
        assert same == set(rivals)
    if "either way" in text:
        (rival,) = rivals
        assert same == {rival}
        assert ("Neither" in text) == (state(rival)[0] == (False, False))
    for cheap, dear in re.findall(r"(Model [A-F]) is cheaper than (Model [A-F]) either way", text):
        assert all(named_cheaper(s, each, model_of[cheap], model_of[dear]) for each in costs)
    for cheap, dear in re.findall(r"(Model [A-F]) would be cheaper than (Model [A-F])[;,]", text):
        assert not named_cheaper(s, costs[0], model_of[cheap], model_of[dear])
        assert named_cheaper(s, costs[1], model_of[cheap], model_of[dear])
    for cheap, dear in re.findall(r"(Model [A-F]) is cheaper than (Model [A-F]) only as measured", text):
        assert named_cheaper(s, costs[0], model_of[cheap], model_of[dear])
        assert not named_cheaper(s, costs[1], model_of[cheap], model_of[dear])
    for rival in re.findall(r"which of Model [A-F] and (Model [A-F]) is cheaper is not known", text):
        assert None in state(model_of[rival])[0] + state(model_of[rival])[1]


def _interval(rng: np.random.Generator, centre: float, spread: float, width: float) -> tuple[float, float]:
    value = rng.normal(centre, spread)
    half = abs(rng.normal(width, width / 2)) + 1e-4
    return value - half, value + half


def random_records(seed: int) -> Situation:
    """A situation of one to six models with random limits, floors, guards, costs and findings of training."""
    rng = np.random.default_rng(seed)
    names = "abcdef"[: int(rng.choice([1, 2, 2, 2, 2, 3, 4, 5, 6]))]
    level = float(rng.choice([0.72, 0.8, 0.9]))
    evaluations = []
    spread = float(rng.choice([0.003, 0.01, 0.05]))
    for name in names:
        low, high = np.clip(_interval(rng, level, spread, 0.04), 0.01, 0.99)
        sens, spec = (tuple(np.clip(_interval(rng, at, 0.05, 0.04), 0.01, 0.99)) for at in (0.92, 0.75))
        units = (60, 45) if seed % 11 else (200, 12)
        counts = (0, units[0], 0, units[1]) if rng.random() < 0.05 else None
        evaluations.append(
            evaluation(
                name,
                (low, high),
                units=units,
                sensitivity=sens,
                specificity=spec,
                constant=rng.random() < 0.03,
                chosen_on="convention" if rng.random() < 0.05 else "validation",
                counts=counts,
            ).model_copy(update={"display_name": f"Model {name.upper()}"})
        )
    if rng.random() < 0.15 and len(names) > 1:  # exactly equal AUCs
        evaluations[1] = evaluations[1].model_copy(update={"metrics": evaluations[0].metrics})
    value = {one.model: one.metrics["auc"].value or 0.0 for one in evaluations}
    pairs, raw = [], []
    narrow = float(rng.choice([0.3, 1.0]))
    for one, other in combinations(names, 2):
        centre = value[other] - value[one]
        half = float(rng.choice([0.005, 0.015, 0.03, 0.06])) * rng.uniform(0.7, 1.3)
        alike = centre == 0 and rng.random() < 0.5
        half = 0.0 if alike else half
        pair = comparison(
            (centre - half, centre + half),
            pair=(one, other),
            sensitivity=_interval(rng, 0.0, 0.05 * narrow, 0.03 * narrow),
            specificity=_interval(rng, 0.0, 0.08 * narrow, 0.05 * narrow),
            positives=(170, 10, 10, 10) if rng.random() < 0.9 else (190, 0, 0, 10),
        )
        raw.append(1.0 if alike else float(2 * stats.norm.sf(abs(centre) / (half / Z))))
        pairs.append(pair)
    left_out = {one.model for one in evaluations if one.constant_output}
    not_as_trained = {name: "Losses differ." for name in names if rng.random() < 0.04}
    left_out |= set(not_as_trained)
    kept = [i for i, pair in enumerate(pairs) if not {pair.reference, pair.candidate} & left_out]
    if len(names) - len(left_out) > 2:
        adjusted = holm([raw[i] for i in kept])
        pairs = [
            pairs[i].model_copy(update={"p_values_adjusted": {"auc": p}})
            for i, p in zip(kept, adjusted, strict=True)
        ]
    else:
        pairs = [pairs[i] for i in kept]
    latency = {"known": [40, 20, 10, 10, 5, 80], "similar": [20] * 6, "unknown": []}[
        str(rng.choice(["known", "known", "similar", "unknown"]))
    ]
    crossed = rng.random() < 0.3
    costs = [
        CostMeasurement(
            model=name, latency_ms_median=ms, n_parameters=int(1e9 / ms) if crossed else int(1e6 * ms)
        )
        for name, ms in zip(names, latency, strict=False)
    ]
    costs = [_measured(cost, np.random.default_rng([seed, number])) for number, cost in enumerate(costs)]
    by_cost = [_cheaper_last(pair, {cost.model: cost for cost in costs}, crossed=crossed) for pair in pairs]
    rule = DecideConfig(
        guard=str(rng.choice(["strict", "veto"])),
        sensitivity_floor=0.85 if rng.random() < 0.3 else None,
        specificity_floor=0.65 if rng.random() < 0.2 else None,
        net_benefit_range=(0.1, 0.3) if rng.random() < 0.4 else None,
    )
    return situation(
        evaluations,
        by_cost,
        costs=costs,
        rule=rule,
        net_benefit={(p.reference, p.candidate): float(rng.choice([0.0, 0.5, 1.0])) for p in by_cost},
        not_evaluated_as_trained=not_as_trained,
        not_converged={name: "It still rose." for name in names if rng.random() < 0.05},
    )


def _measured(cost: CostMeasurement, rng: np.random.Generator) -> CostMeasurement:
    """`cost` as measured or as supplied: with an interval or without, cut short, disturbed, with an equivalent."""
    ms = cost.latency_ms_median or 0.0
    fields: dict[str, object] = {}
    if rng.random() < 0.5:
        n = int(rng.choice([60, 60, 60, 7, 6, 5, 3]))
        fields |= {"n_repeats": n, "n_repeats_planned": 60, "other_load_cores": float(rng.choice([0.1, 2.0]))}
        fields["latency_ms_median_ci"] = (0.97 * ms, 1.03 * ms) if n >= 6 else None
    if rng.random() < 0.3:
        n, there = int(rng.choice([60, 60, 4])), ms * float(rng.choice([0.4, 0.7, 1.0, 2.5]))
        fields |= {
            "equivalent_model": "another",
            "equivalent_n_repeats": n,
            "equivalent_latency_ms_median": there,
            "equivalent_latency_ms_median_ci": (0.97 * there, 1.03 * there) if n >= 6 else None,
        }
    return cost.model_copy(update=fields)


def _cheaper_last(
    pair: PairedComparison, costs: dict[str, CostMeasurement], *, crossed: bool
) -> PairedComparison:
    """The pair with the cheaper model as the candidate, as comparisons are made."""
    if crossed or pair.reference not in costs or pair.candidate not in costs:
        return pair
    a, b = (costs[m].latency_ms_median or 0.0 for m in (pair.reference, pair.candidate))
    return swapped(pair) if a < b else pair


def swapped(pair: PairedComparison) -> PairedComparison:
    """The same comparison with the two models' places exchanged."""

    def negative(each: Estimate) -> Estimate:
        low, high, value = each.ci_low, each.ci_high, each.value
        return each.model_copy(
            update={
                "value": None if value is None else -value,
                "ci_low": None if high is None else -high,
                "ci_high": None if low is None else -low,
            }
        )

    return pair.model_copy(
        update={
            "reference": pair.candidate,
            "candidate": pair.reference,
            "differences": {name: negative(each) for name, each in pair.differences.items()},
        }
    )


def essence(found: Finding) -> tuple[object, ...]:
    """What may not depend on the order of anything."""
    return (
        found.outcome,
        found.step,
        found.kind,
        found.model,
        frozenset(found.chosen),
        frozenset(found.worse),
        found.extra if len(found.extra) == 1 else "",
    )


def check_order(s: Situation, seed: int) -> None:
    """Another order of models and pairs, and pairs named the other way round, change nothing."""
    rng = np.random.default_rng(seed)
    models = [s.evaluations[i] for i in rng.permutation(len(s.evaluations))]
    settled = {cost.model for cost in s.costs}
    pairs = [s.comparisons[i] for i in rng.permutation(len(s.comparisons))]
    if not settled or len({cost.latency_ms_median for cost in s.costs}) == 1:
        pairs = [swapped(pair) if rng.random() < 0.5 else pair for pair in pairs]
    net_benefit = {}
    for pair in pairs:
        known = s.net_benefit.get((pair.reference, pair.candidate))
        mirrored = s.net_benefit.get((pair.candidate, pair.reference), 0.5)
        net_benefit[pair.reference, pair.candidate] = 1 - mirrored if known is None else known
    other = replace(s, evaluations=tuple(models), comparisons=tuple(pairs), net_benefit=net_benefit)

    assert essence(first_match(s)) == essence(first_match(other))


def check_names(s: Situation) -> None:
    """Exchanging the names of the models exchanges the names in the answer, and nothing else."""
    names = [one.model for one in s.evaluations]
    to = dict(zip(names, names[1:] + names[:1], strict=True))
    moved = replace(
        s,
        evaluations=tuple(one.model_copy(update={"model": to[one.model]}) for one in s.evaluations),
        comparisons=tuple(
            pair.model_copy(update={"reference": to[pair.reference], "candidate": to[pair.candidate]})
            for pair in s.comparisons
        ),
        costs=tuple(cost.model_copy(update={"model": to[cost.model]}) for cost in s.costs),
        net_benefit={(to[a], to[b]): p for (a, b), p in s.net_benefit.items()},
        not_evaluated_as_trained={to[m]: why for m, why in s.not_evaluated_as_trained.items()},
        not_converged={to[m]: why for m, why in s.not_converged.items()},
    )
    before, after = first_match(s), first_match(moved)

    assert (before.outcome, before.step, before.kind) == (after.outcome, after.step, after.kind)
    assert to.get(before.model or "") == after.model
    assert {to[m] for m in before.chosen} == set(after.chosen)
    assert decide(s).sentence == decide(moved).sentence


SEEDS = st.integers(0, 2**32 - 1)


def test_every_sentence_has_its_claim() -> None:
    """A new sentence comes with the condition it claims."""
    assert set(CLAIMS) == set(SENTENCES)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(SEEDS)
def test_sentences_hold_for_their_numbers(seed: int) -> None:
    """Random records: every claim, the recommended model, the sizes, and no order or name decides."""
    study = random_records(seed)

    check(study)
    check_order(study, seed)
    check_names(study)


NUMBER = re.compile(r"[+\u2212]?\d+(?:[.,]\d+)*")


def in_figures(text: str, *, german: bool) -> list[str]:
    """Numbers of a text, in any order, as English writes them; small ones in words are left out."""
    found = NUMBER.findall(text)
    swap = str.maketrans(",.", ".,")
    return sorted(number.translate(swap) if german else number for number in found)


def test_german_texts_hold_the_same_numbers() -> None:
    """Of a few hundred random studies: every number of the English text stands in the German one, and no other."""
    for seed in range(300):
        study = random_records(seed)
        english = texts_of(decide(study))
        with in_language("de"):
            german = texts_of(decide(study))
        for one, other in zip(english, german, strict=True):
            assert in_figures(one, german=False) == in_figures(other, german=True), (one, other)


@pytest.mark.slow
def test_sentences_hold_in_ten_thousand_studies() -> None:
    """The same, and nearly every sentence is reached."""
    reached = set()
    for seed in range(10_000):
        study = random_records(seed)
        reached.add(check(study)[0].kind)
        check_order(study, seed)
        check_names(study)

    assert len(reached) > 0.75 * len(SENTENCES), set(SENTENCES) - reached


def random_assessment(seed: int) -> tuple[Assessment, Callable[..., Assessment]]:
    """A table of scores of two to four models, assessed; and how to assess it in another order."""
    rng = np.random.default_rng(seed)
    models = "abcd"[: int(rng.integers(2, 5))]
    centre = rng.uniform(0.72, 0.95)
    aucs = {m: float(np.clip(centre + rng.normal(0, 0.03), 0.55, 0.98)) for m in models}
    sizes = {"n_negative": int(rng.integers(12, 400)), "n_positive": int(rng.integers(12, 300))}
    patients = int(rng.choice([1, 3]))
    correlation = float(rng.uniform(0.3, 0.95))
    test, validation = (
        draw_study(
            aucs,
            **(sizes if subset == "test" else {"n_negative": 60, "n_positive": 40}),
            seed=seed,
            subset=subset,
            correlation=correlation,
            images_per_patient=patients,
        )
        for subset in ("test", "val")
    )
    if rng.random() < 0.2:  # a monotone transform of the first
        test, validation = (
            replace(one, scores={**one.scores, "b": one.scores["a"] ** 2}) for one in (test, validation)
        )
    if rng.random() < 0.1:
        test = replace(test, scores={**test.scores, "b": np.full(test.n, 0.5)})
    latency = dict(zip(models, (40, 20, 20, 10), strict=False)) if rng.random() < 0.7 else {}
    costs = [CostMeasurement(model=model, latency_ms_median=ms) for model, ms in latency.items()]
    rule = DecideConfig(
        guard=str(rng.choice(["strict", "veto"])),
        sensitivity_floor=0.8 if rng.random() < 0.3 else None,
        net_benefit_range=(0.3, 0.5) if rng.random() < 0.3 else None,
    )
    without = rng.random() < 0.15

    def again(rows: np.ndarray | None = None, order: str = models) -> Assessment:
        chosen = np.arange(test.n) if rows is None else rows
        shuffled = replace(
            test.only(list(order)),
            case_id=tuple(test.case_id[i] for i in chosen),
            y_true=test.y_true[chosen],
            scores={m: test.scores[m][chosen] for m in order},
            patient_id=None if test.patient_id is None else test.patient_id[chosen],
        )
        return assess(
            shuffled,
            None if without else validation.only(list(order)),
            costs,
            display_names={m: f"Model {m.upper()}" for m in order},
            evaluate=EvaluateConfig(n_resamples=200),
            rule=rule,
            thresholds={},
            seed=0,
        )

    return again(), again


def check_table(seed: int) -> None:
    """Rows and columns in another order give the same verdict; claims hold for real intervals too."""
    found, again = random_assessment(seed)
    rng = np.random.default_rng(seed)
    other = again(rng.permutation(found.n), "".join(rng.permutation(list(found.models))))

    for name in ("outcome", "step", "model", "provisional_favourite", "headline", "left_out"):
        assert getattr(found.verdict, name) == getattr(other.verdict, name), name
    check(
        situation(
            found.evaluations,
            found.comparisons,
            costs=found.costs,
            rule=DecideConfig(
                **{
                    row.name: row.value
                    for row in found.verdict.parameters
                    if row.name in {"guard", "sensitivity_floor"}
                }
            ),
        )
    )


@settings(max_examples=8, deadline=None, derandomize=True)
@given(SEEDS)
def test_order_of_rows_and_columns_decides_nothing(seed: int) -> None:
    """From scores to verdict, for two to four models."""
    check_table(seed)


@pytest.mark.slow
def test_order_of_rows_and_columns_decides_nothing_in_a_thousand_tables() -> None:
    """The same, a thousand times."""
    for seed in range(1_000):
        check_table(seed)
