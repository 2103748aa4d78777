"""Every step of the decision rule, from limits typed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from medcompare.config import DecideConfig
from medcompare.cost_records import CostMeasurement
from medcompare.stats.criteria import adequacy, guard_passes
from medcompare.stats.records import Outcome, PairedComparison
from medcompare.stats.verdict import decide, first_match
from tests.unit.stats.studies import (
    B_IS_CHEAPER,
    SAME_COST,
    TRADE_OFF,
    comparison,
    evaluation,
    situation,
)

A, B = evaluation("a"), evaluation("b")
BOTH = (A, B)


# (AUC limits, sensitivity, specificity) -> (outcome, step, model, kind), B cheaper, margins 0.03, 0.05, 0.10
PAIRS: dict[str, tuple[dict[str, Any], tuple[Outcome, str, str | None, str]]] = {
    "3 worse by more than the margin": (
        {"auc": (-0.08, -0.031)},
        (Outcome.USE_MODEL, "3", "a", "worse_by_margin"),
    ),
    "3 comes before the guard": (
        {"auc": (-0.08, -0.031), "sensitivity": (0.1, 0.2), "specificity": (0.1, 0.2)},
        (Outcome.USE_MODEL, "3", "a", "worse_by_margin"),
    ),
    "an upper limit at the margin is not beyond it": (
        {"auc": (-0.08, -0.03)},
        (Outcome.USE_MODEL, "5", "a", "better_not_shown_equal"),
    ),
    "4a better and cheaper": (
        {"auc": (0.001, 0.04)},
        (Outcome.USE_MODEL, "4a", "b", "better_and_cheaper"),
    ),
    "4a not inferior": ({"auc": (-0.029, 0.02)}, (Outcome.PREFER_CHEAPER, "4a", "b", "cheaper")),
    "4a not inferior though measurably worse": (
        {"auc": (-0.029, -0.001)},
        (Outcome.PREFER_CHEAPER, "4a", "b", "cheaper_but_slightly_worse"),
    ),
    "a lower limit at the margin is not within it": (
        {"auc": (-0.03, 0.02)},
        (Outcome.NOT_ENOUGH_DATA, "6", None, "cannot_tell"),
    ),
    "4b operating points differ": (
        {"auc": (-0.01, 0.01), "sensitivity": (-0.12, -0.01), "specificity": (0.01, 0.1)},
        (Outcome.NOT_ENOUGH_DATA, "4b", None, "operating_points"),
    ),
    "4b also where the AUC of B is better": (
        {"auc": (0.01, 0.02), "sensitivity": (-0.12, -0.01), "specificity": (0.01, 0.1)},
        (Outcome.NOT_ENOUGH_DATA, "4b", None, "operating_points"),
    ),
    "4c misses more, gains nothing": (
        {"auc": (-0.01, 0.01), "sensitivity": (-0.12, -0.01), "specificity": (-0.01, 0.1)},
        (Outcome.USE_MODEL, "4c", "a", "misses_more"),
    ),
    "4d sensitivity unproven": (
        {"auc": (-0.01, 0.01), "sensitivity": (-0.06, 0.02)},
        (Outcome.NOT_ENOUGH_DATA, "4d", None, "guard_unproven"),
    ),
    "4d specificity unproven": (
        {"auc": (-0.01, 0.01), "specificity": (-0.11, 0.02)},
        (Outcome.NOT_ENOUGH_DATA, "4d", None, "guard_unproven"),
    ),
    "4d specificity lower is not 4c": (
        {"auc": (-0.01, 0.01), "specificity": (-0.2, -0.12)},
        (Outcome.NOT_ENOUGH_DATA, "4d", None, "guard_unproven"),
    ),
    "a sensitivity limit at its margin fails the guard": (
        {"auc": (-0.01, 0.01), "sensitivity": (-0.05, 0.02)},
        (Outcome.NOT_ENOUGH_DATA, "4d", None, "guard_unproven"),
    ),
    "5 worse, and perhaps by more than the margin": (
        {"auc": (-0.05, -0.001)},
        (Outcome.USE_MODEL, "5", "a", "better_not_shown_equal"),
    ),
    "6 cannot tell": ({"auc": (-0.05, 0.02)}, (Outcome.NOT_ENOUGH_DATA, "6", None, "cannot_tell")),
    "6 no interval": ({"auc": None}, (Outcome.NOT_ENOUGH_DATA, "6", None, "cannot_tell")),
}


@pytest.mark.parametrize(("limits", "expected"), PAIRS.values(), ids=PAIRS.keys())
def test_steps_with_a_cheaper_candidate(
    limits: dict[str, Any], expected: tuple[Outcome, str, str | None, str]
) -> None:
    """Limits of the paired differences decide, first match wins."""
    found = first_match(situation(BOTH, [comparison(**limits)]))

    assert (found.outcome, found.step, found.model, found.kind) == expected


def test_veto_guard_blocks_only_a_proven_loss() -> None:
    """Under 'veto' an unproven sensitivity passes, a proven loss does not."""
    veto = DecideConfig(guard="veto")
    unproven = comparison((-0.01, 0.01), sensitivity=(-0.2, 0.0))
    proven = comparison((-0.01, 0.01), sensitivity=(-0.04, -0.001))

    assert first_match(situation(BOTH, [unproven])).step == "4d"
    assert first_match(situation(BOTH, [unproven], rule=veto)).kind == "cheaper"
    assert first_match(situation(BOTH, [proven])).kind == "cheaper"
    assert first_match(situation(BOTH, [proven], rule=veto)).step == "4c"


def test_guard_can_be_mirrored() -> None:
    """A gain of the candidate is a loss of the reference."""
    pair = comparison((0, 0.01), sensitivity=(0.01, 0.09), specificity=(-0.05, 0.05))

    assert guard_passes(pair, DecideConfig())
    assert not guard_passes(pair, DecideConfig(), mirrored=True)
    assert not guard_passes(pair, DecideConfig(guard="veto"), mirrored=True)


def test_guard_fails_without_an_interval() -> None:
    """What was not estimated is not proven."""
    pair = comparison((-0.01, 0.01))
    no_interval = pair.differences["sensitivity"].model_copy(update={"ci_low": None, "ci_high": None})

    without = pair.model_copy(update={"differences": {**pair.differences, "sensitivity": no_interval}})

    assert not guard_passes(without, DecideConfig())


NET_BENEFIT = {
    0.98: (Outcome.USE_MODEL, "b"),
    0.975: (Outcome.USE_MODEL, "b"),
    0.97: (Outcome.NOT_ENOUGH_DATA, None),
    0.5: (Outcome.NOT_ENOUGH_DATA, None),
    0.03: (Outcome.NOT_ENOUGH_DATA, None),
    0.02: (Outcome.USE_MODEL, "a"),
}


@pytest.mark.parametrize(("probability", "expected"), NET_BENEFIT.items())
def test_net_benefit_settles_operating_points(
    probability: float, expected: tuple[Outcome, str | None]
) -> None:
    """Step 4b, where a range was declared: the model that almost surely does more good."""
    pair = comparison((-0.01, 0.01), sensitivity=(-0.12, -0.01), specificity=(0.01, 0.1))
    rule = DecideConfig(net_benefit_range=(0.05, 0.2))

    found = first_match(situation(BOTH, [pair], rule=rule, net_benefit={("a", "b"): probability}))

    assert (found.outcome, found.model, found.step) == (*expected, "4b")


@pytest.mark.parametrize(
    ("costs", "relation"), [(TRADE_OFF, "trade_off"), (SAME_COST, "similar"), ((), "unknown")]
)
def test_neither_is_cheaper(costs: tuple[CostMeasurement, ...], relation: str) -> None:
    """Without a cheaper model only superiority, or equivalence both ways, is concluded."""

    def kind(pair: PairedComparison) -> tuple[str, str | None]:
        found = first_match(situation(BOTH, [pair], costs=costs))
        return found.kind, found.model

    assert kind(comparison((-0.02, 0.02))) == (f"choose_{relation}", None)
    assert kind(comparison((-0.02, -0.01))) == (f"choose_{relation}", None)
    assert kind(comparison((-0.02, 0.03))) == ("cannot_tell", None)
    assert kind(comparison((-0.02, 0.02), sensitivity=(-0.02, 0.06))) == ("thresholds_unproven", None)
    crossed = comparison((-0.02, 0.02), sensitivity=(0.01, 0.06), specificity=(-0.2, -0.1))
    assert kind(crossed) == ("operating_points", None)
    assert kind(comparison((-0.05, -0.01))) == ("better", "a")
    assert kind(comparison((0.01, 0.05))) == ("better", "b")
    assert kind(comparison((0.01, 0.05), sensitivity=(-0.1, -0.01))) == ("better_but_misses_more", None)
    assert kind(comparison((-0.05, -0.01), sensitivity=(0.01, 0.1))) == ("better_but_misses_more", None)
    assert kind(comparison(None)) == ("cannot_tell", None)


@pytest.mark.parametrize(
    ("limits", "rule", "state"),
    [
        ((0.71, 0.9), {}, "adequate"),
        ((0.70, 0.9), {}, "undetermined"),
        ((0.5, 0.70), {}, "undetermined"),
        ((0.5, 0.69), {}, "inadequate"),
        ((0.81, 0.9), {"sensitivity_floor": 0.89}, "adequate"),
        ((0.81, 0.9), {"sensitivity_floor": 0.95}, "undetermined"),
        ((0.81, 0.9), {"sensitivity_floor": 0.99}, "inadequate"),
        ((0.81, 0.9), {"specificity_floor": 0.69}, "adequate"),
        ((0.81, 0.9), {"specificity_floor": 0.81}, "inadequate"),
        (None, {}, "undetermined"),
    ],
)
def test_adequacy(limits: tuple[float, float] | None, rule: dict[str, float], state: str) -> None:
    """The confidence limits, not the values, are held against the floors."""
    assert adequacy(evaluation(auc=limits), DecideConfig(**rule)) == state


def test_constant_output_is_inadequate() -> None:
    """Whatever its figures say."""
    assert adequacy(evaluation(auc=(0.9, 0.95), constant=True), DecideConfig()) == "inadequate"


GOOD, BAD, OPEN = (0.8, 0.9), (0.55, 0.65), (0.65, 0.8)
FLOORS = {
    "both bad": ((BAD, BAD), (-0.01, 0.01), (Outcome.NEITHER_ADEQUATE, "2", None, "neither")),
    "bad and open": ((BAD, OPEN), (-0.01, 0.01), (Outcome.NOT_ENOUGH_DATA, "2", None, "unproven")),
    "both open": ((OPEN, OPEN), (-0.01, 0.01), (Outcome.NOT_ENOUGH_DATA, "2", None, "unproven")),
    "good and bad": ((GOOD, BAD), (-0.01, 0.01), (Outcome.USE_MODEL, "2", "a", "only_adequate")),
    "bad and good": ((BAD, GOOD), (-0.01, 0.01), (Outcome.USE_MODEL, "2", "b", "only_adequate")),
    "good and open, A wins": ((GOOD, OPEN), (-0.2, -0.05), (Outcome.USE_MODEL, "3", "a", "worse_by_margin")),
    "open candidate is never taken": (
        (GOOD, OPEN),
        (-0.02, 0.01),
        (Outcome.NOT_ENOUGH_DATA, "2", None, "candidate_unproven"),
    ),
    "nor as the better one": (
        (GOOD, OPEN),
        (0.01, 0.02),
        (Outcome.NOT_ENOUGH_DATA, "2", None, "better_but_unproven"),
    ),
    "open reference is never taken": (
        (OPEN, GOOD),
        (-0.2, -0.05),
        (Outcome.NOT_ENOUGH_DATA, "2", None, "better_but_unproven"),
    ),
}


@pytest.mark.parametrize(("aucs", "difference", "expected"), FLOORS.values(), ids=FLOORS.keys())
def test_floors(
    aucs: tuple[tuple[float, float], tuple[float, float]],
    difference: tuple[float, float],
    expected: tuple[Outcome, str, str | None, str],
) -> None:
    """Step 2; and no model is recommended whose own floor is not proven."""
    models = (evaluation("a", aucs[0]), evaluation("b", aucs[1]))

    found = first_match(situation(models, [comparison(difference)]))

    assert (found.outcome, found.step, found.model, found.kind) == expected


def test_open_models_are_not_chosen_by_cost_either() -> None:
    """Equivalence of a proven and an unproven model recommends neither."""
    models = (evaluation("a", GOOD), evaluation("b", OPEN))

    found = first_match(situation(models, [comparison((-0.01, 0.01))], costs=()))

    assert (found.kind, found.extra) == ("equal_but_unproven", "b")


@pytest.mark.parametrize(
    ("auc", "kind"), [(GOOD, "single_model"), (OPEN, "unproven"), (BAD, "single_inadequate")]
)
def test_one_model_alone(auc: tuple[float, float], kind: str) -> None:
    """Good enough or not, but compared with nothing."""
    assert first_match(situation([evaluation("a", auc)])).kind == kind


@pytest.mark.parametrize("units", [(29, 200), (200, 29), (5, 7)])
def test_too_few_units(units: tuple[int, int]) -> None:
    """Step 1 comes before floors and differences."""
    models = (evaluation("a", BAD, units=units), evaluation("b", BAD, units=units))

    found = first_match(situation(models, [comparison((-0.08, -0.04))]))

    assert (found.outcome, found.step) == (Outcome.NOT_ENOUGH_DATA, "1")
    assert first_match(situation(models, [], rule=DecideConfig(min_units=5))).step == "2"


def test_thirty_of_each_are_enough_with_a_warning() -> None:
    """30 to 100: a verdict with a caveat; from 100 on without it."""
    texts = []
    for n in (30, 99, 100):
        models = (evaluation("a", units=(n, 300)), evaluation("b", units=(n, 300)))
        verdict = decide(situation(models, [comparison((-0.02, 0.02))]))
        assert verdict.outcome is Outcome.PREFER_CHEAPER
        texts.append(" ".join(verdict.caveats))

    assert "30 non_cancer cases; 100 of each, better 200" in texts[0].replace("300 cancer and ", "")
    assert "100 of each" in texts[1]
    assert "100 of each" not in texts[2]


@pytest.mark.parametrize(
    ("loads", "words"),
    [
        ((None, 0.5), None),
        ((2.34, 0.1), "busy: 2.3 (Model A) on average"),
        ((2.34, 1.0), "busy: 2.3 (Model A) and 1.0 (Model B) on average"),
    ],
)
def test_times_measured_on_a_busy_machine_are_doubted(
    loads: tuple[float | None, float | None], words: str | None
) -> None:
    """Half a core is let pass; what is more is said with the remedy, and the outcome stays."""
    costs = tuple(
        cost.model_copy(update={"other_load_cores": load})
        for cost, load in zip(B_IS_CHEAPER, loads, strict=True)
    )
    verdict = decide(situation(BOTH, [comparison((-0.02, 0.02))], costs=costs))

    assert verdict.outcome is Outcome.PREFER_CHEAPER
    found = [text for text in verdict.caveats if "other programs" in text]
    assert len(found) == (words is not None)
    if words is not None:
        assert words in found[0]
        assert "cost.fresh" in found[0]


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "reasons from elsewhere": ({"validity": ("A patient was in both.",)}, "A patient was in both."),
    "identical scores": ({"identical": (("a", "b"),)}, "exactly the same score to every case"),
}


@pytest.mark.parametrize(("fields", "words"), INVALID.values(), ids=INVALID.keys())
def test_invalid(fields: dict[str, Any], words: str) -> None:
    """Step 0 comes before everything else, and says why."""
    verdict = decide(situation(BOTH, [comparison((-0.08, -0.04))], **fields))

    assert (verdict.outcome, verdict.step, verdict.model) == (Outcome.INVALID, "0", None)
    assert words in verdict.sentence
    assert verdict.provisional_favourite is None
    assert verdict.positives_needed is None


def test_one_class_is_invalid() -> None:
    """Also where that class is too small for step 1."""
    models = tuple(evaluation(model, None, units=(12, 0)) for model in "ab")

    verdict = decide(situation(models))

    assert (verdict.outcome, verdict.step) == (Outcome.INVALID, "0")
    assert "holds only non_cancer cases and no cancer case" in verdict.sentence


@pytest.mark.parametrize(("high", "outcome"), [(0.499, Outcome.INVALID), (0.5, Outcome.NEITHER_ADEQUATE)])
def test_below_chance(high: float, outcome: Outcome) -> None:
    """Significantly below 0.5 nothing is flipped and nothing concluded."""
    models = (evaluation("a", (0.3, high)), evaluation("b", (0.4, 0.6)))

    assert first_match(situation(models, [comparison((-0.01, 0.01))])).outcome is outcome


def pair(one: str, other: str, limits: tuple[float, float], adjusted: float) -> PairedComparison:
    """A pair of several models, with its adjusted p-value."""
    return comparison(limits, pair=(one, other), adjusted=adjusted)


THREE = tuple(evaluation(m, (v, v + 0.04)) for m, v in (("a", 0.90), ("b", 0.89), ("c", 0.80)))
COSTS_OF_THREE = (*B_IS_CHEAPER, CostMeasurement(model="c", latency_ms_median=5.0, n_parameters=1_000_000))


def test_cheapest_of_those_within_the_margin() -> None:
    """C is cheapest of all but not within the margin of A, the best; B is both."""
    pairs = [
        pair("a", "b", (-0.015, 0.005), 0.3),
        pair("a", "c", (-0.12, -0.08), 0.001),
        pair("b", "c", (-0.11, -0.07), 0.001),
    ]

    found = first_match(situation(THREE, pairs, costs=COSTS_OF_THREE))

    assert (found.outcome, found.model, found.chosen) == (Outcome.PREFER_CHEAPER, "b", ("a", "b"))


def test_holm_can_undo_a_non_inferiority() -> None:
    """One-sided p of 0.02 alone is below 0.025; as one of three open questions it is 0.04."""
    close = pair("a", "b", (-0.0297, 0.0097), 0.3)
    open_pairs = [pair("a", "c", (-0.12, 0.0), 0.2), pair("b", "c", (-0.11, 0.01), 0.2)]
    two = first_match(situation(THREE[:2], [close]))
    three = first_match(situation(THREE, [close, *open_pairs], costs=COSTS_OF_THREE))

    assert two.kind == "cheaper"
    assert three.kind == "cannot_tell_several"


def test_several_without_a_cheapest() -> None:
    """A trade-off and unknown costs are told apart."""
    pairs = [
        pair("a", "b", (-0.015, 0.005), 0.3),
        pair("a", "c", (-0.12, -0.08), 0.001),
        pair("b", "c", (-0.11, -0.07), 0.001),
    ]

    assert first_match(situation(THREE, pairs, costs=TRADE_OFF)).kind == "choose_several"
    assert first_match(situation(THREE, pairs, costs=())).kind == "choose_several_unknown"


def test_best_of_several_needs_every_adjusted_p() -> None:
    """Better than all others after Holm's adjustment, or not at all."""
    limits = ((-0.09, -0.05), (-0.12, -0.08), (-0.11, -0.07))
    names = (("a", "b"), ("a", "c"), ("b", "c"))
    for adjusted, kind in ((0.049, "best_of_several"), (0.05, "cannot_tell_several")):
        pairs = [
            pair(*ends, limit, p)
            for ends, limit, p in zip(names, limits, (adjusted, 0.001, 0.001), strict=True)
        ]

        assert first_match(situation(THREE, pairs, costs=COSTS_OF_THREE)).kind == kind


def test_guard_holds_for_several_models_too() -> None:
    """A model within the margin of the AUC that may miss too many is not within reach."""
    pairs = [
        comparison((-0.015, 0.005), pair=("a", "b"), sensitivity=(-0.1, 0.0), adjusted=0.3),
        pair("a", "c", (-0.12, -0.08), 0.001),
        pair("b", "c", (-0.11, -0.07), 0.001),
    ]

    assert first_match(situation(THREE, pairs, costs=COSTS_OF_THREE)).kind == "cannot_tell_several"


def test_two_left_of_three_are_still_judged_with_holm() -> None:
    """Dropping an inadequate model does not drop the adjustment: it was looked at too."""
    models = (*THREE[:2], evaluation("c", BAD))
    pairs = [
        pair("a", "b", (-0.09, -0.001), 0.09),
        pair("a", "c", (-0.4, -0.3), 0.001),
        pair("b", "c", (-0.4, -0.3), 0.001),
    ]

    assert first_match(situation(models, pairs, costs=COSTS_OF_THREE)).kind == "cannot_tell_several"
    assert first_match(situation(THREE[:2], [pairs[0]])).kind == "better_not_shown_equal"


def test_provisional_favourite_and_size() -> None:
    """Not enough data: the best point estimate and 7.85 times the discordance over the margin squared."""
    models = (evaluation("a", (0.80, 0.90)), evaluation("b", (0.82, 0.92)))
    open_question = comparison((-0.05, 0.09), positives=(160, 12, 8, 20))

    verdict = decide(situation(models, [open_question]))

    assert verdict.outcome is Outcome.NOT_ENOUGH_DATA
    assert verdict.provisional_favourite == "b"
    # 20 of 200 positives discordant: 7.8489 * 0.10 / 0.05**2 = 313.96
    assert verdict.positives_needed == 314
    assert any("If you must decide today: Model B" in reason for reason in verdict.reasons)


def test_size_needed_without_disagreement_is_not_zero() -> None:
    """No discordant positive: one is assumed, so that no study of size zero is promised."""
    verdict = decide(situation(BOTH, [comparison((-0.05, 0.09), positives=(200, 0, 0, 0))]))

    # 7.8489 * (1 / 200) / 0.05**2 = 15.7
    assert verdict.positives_needed == 16


def test_decided_verdicts_ask_for_no_more_data() -> None:
    """Favourite and size belong to the undecided."""
    verdict = decide(situation(BOTH, [comparison((-0.02, 0.02))]))

    assert verdict.provisional_favourite is None
    assert verdict.positives_needed is None
    assert (verdict.reference, verdict.candidate, verdict.cheaper) == ("a", "b", "b")
