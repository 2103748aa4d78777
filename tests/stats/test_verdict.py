"""Every step of the decision rule, from limits typed by hand."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.config.schema import DecideConfig
from medcompare.predictions.costs import CostMeasurement
from medcompare.stats.intervals.proportions import proportion
from medcompare.stats.records import ModelEvaluation, Outcome, PairedComparison
from medcompare.stats.sizes import OpenQuestion
from medcompare.stats.verdict.criteria import (
    adequacy,
    best_by_point_estimate,
    guard_of,
    proves_nothing,
    separation_p,
)
from medcompare.stats.verdict.rule import decide, first_match
from tests.stats.studies import (
    B_IS_CHEAPER,
    SAME_COST,
    TRADE_OFF,
    comparison,
    evaluation,
    situation,
)

if TYPE_CHECKING:
    from medcompare.stats.verdict.situation import Situation

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
        (Outcome.THRESHOLDS_NOT_COMPARABLE, "4b", None, "operating_points"),
    ),
    "4b also where the AUC of B is better": (
        {"auc": (0.01, 0.02), "sensitivity": (-0.12, -0.01), "specificity": (0.01, 0.1)},
        (Outcome.THRESHOLDS_NOT_COMPARABLE, "4b", None, "operating_points"),
    ),
    "4b the other way round: B finds more and raises more false alarms": (
        {"auc": (-0.01, 0.01), "sensitivity": (0.08, 0.12), "specificity": (-0.183, -0.147)},
        (Outcome.THRESHOLDS_NOT_COMPARABLE, "4b", None, "operating_points"),
    ),
    "4b not where the guard passes all the same": (
        {"auc": (-0.01, 0.01), "sensitivity": (0.01, 0.05), "specificity": (-0.09, -0.01)},
        (Outcome.PREFER_CHEAPER, "4a", "b", "cheaper"),
    ),
    "4b a better AUC that misses more is a matter of thresholds, not a reason for A": (
        {"auc": (0.01, 0.03), "sensitivity": (-0.12, -0.06), "specificity": (-0.02, 0.02)},
        (Outcome.THRESHOLDS_NOT_COMPARABLE, "4b", None, "better_but_misses_more"),
    ),
    "4b nothing is open: sensitivity holds, specificity is proven lost": (
        {"auc": (-0.01, 0.01), "specificity": (-0.2, -0.12)},
        (Outcome.THRESHOLDS_NOT_COMPARABLE, "4b", None, "guard_lost"),
    ),
    "4b same ranking, other thresholds": (
        {"auc": (0.0, 0.0), "sensitivity": (-0.12, -0.06), "specificity": (-0.02, 0.02)},
        (Outcome.THRESHOLDS_NOT_COMPARABLE, "4b", None, "same_ranking_misses_more"),
    ),
    "4a same ranking": ({"auc": (0.0, 0.0)}, (Outcome.PREFER_CHEAPER, "4a", "b", "same_ranking")),
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
    "4b specificity lost for good, whatever sensitivity turns out to be": (
        {"auc": (-0.01, 0.01), "specificity": (-0.2, -0.12), "sensitivity": (-0.06, 0.06)},
        (Outcome.THRESHOLDS_NOT_COMPARABLE, "4b", None, "guard_lost"),
    ),
    "a sensitivity limit at its margin fails the guard": (
        {"auc": (-0.01, 0.01), "sensitivity": (-0.05, 0.02)},
        (Outcome.NOT_ENOUGH_DATA, "4d", None, "guard_unproven"),
    ),
    "4d an upper limit at its margin is no proven loss": (
        {"auc": (-0.01, 0.01), "specificity": (-0.2, -0.1)},
        (Outcome.NOT_ENOUGH_DATA, "4d", None, "guard_unproven"),
    ),
    "5 worse, and perhaps by more than the margin": (
        {"auc": (-0.05, -0.001)},
        (Outcome.USE_MODEL, "5", "a", "better_not_shown_equal"),
    ),
    "6 cannot tell": ({"auc": (-0.05, 0.02)}, (Outcome.NOT_ENOUGH_DATA, "6", None, "cannot_tell")),
    "6 no interval": ({"auc": None}, (Outcome.NOT_ENOUGH_DATA, "6", None, "no_interval")),
}


@pytest.mark.parametrize(("limits", "expected"), PAIRS.values(), ids=PAIRS.keys())
def test_steps_with_a_cheaper_candidate(
    limits: dict[str, Any], expected: tuple[Outcome, str, str | None, str]
) -> None:
    """Limits of the paired differences decide, first match wins."""
    looked_at = comparison(**limits)
    found = first_match(situation(BOTH, [looked_at]))

    assert (found.outcome, found.step, found.model, found.kind) == expected
    assert found.pair is looked_at
    assert found.extra == ("b" if found.kind == "better_but_misses_more" else "")


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
    passed, veto = {"sensitivity": "passed", "specificity": "passed"}, DecideConfig(guard="veto")

    assert guard_of(pair, DecideConfig()) == passed
    assert guard_of(pair, DecideConfig(), mirrored=True) == passed | {"sensitivity": "open"}
    assert guard_of(pair, veto, mirrored=True) == passed | {"sensitivity": "lost"}


def test_guard_is_open_without_an_interval() -> None:
    """What was not estimated is not proven, whatever the guard."""
    pair = comparison((-0.01, 0.01))
    no_interval = pair.differences["sensitivity"].model_copy(update={"ci_low": None, "ci_high": None})

    without = pair.model_copy(update={"differences": {**pair.differences, "sensitivity": no_interval}})

    for guard in ("strict", "veto"):
        assert guard_of(without, DecideConfig(guard=guard))["sensitivity"] == "open"


VOID = {
    "no validation": (evaluation("b", chosen_on="convention"), "0.4 by convention, chosen on no cases"),
    "nobody positive": (evaluation("b", counts=(200, 0, 197, 3)), "recognises 3 of 200 cancer cases"),
    "everybody positive": (evaluation("b", counts=(0, 200, 0, 200)), "recognises 0 of 200 non_cancer cases"),
}


@pytest.mark.parametrize(("other", "words"), VOID.values(), ids=VOID.keys())
@pytest.mark.parametrize("costs", [B_IS_CHEAPER, ()], ids=["cheaper", "unknown costs"])
@pytest.mark.parametrize("guard", ["strict", "veto"])
def test_guard_at_a_threshold_that_proves_nothing_is_not_passed(
    other: ModelEvaluation, words: str, costs: tuple[CostMeasurement, ...], guard: str
) -> None:
    """No validation, or a class that is never called: sensitivity and specificity are alike for nothing."""
    rule = DecideConfig(guard=guard)
    verdict = decide(situation((A, other), [comparison((-0.01, 0.01))], costs=costs, rule=rule))

    assert (verdict.outcome, verdict.step) == (Outcome.THRESHOLDS_NOT_COMPARABLE, "4b")
    assert words in verdict.sentence
    assert verdict.sizes_needed == ()


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ((200, 0, 190, 10), "nobody"),
        ((200, 0, 189, 11), None),
        ((10, 190, 0, 200), "everybody"),
        ((11, 189, 0, 200), None),
    ],
)
def test_one_in_twenty_recognised_is_almost_none(counts: tuple[int, int, int, int], why: str | None) -> None:
    """10 of 200 prove nothing, 11 of 200 do."""
    assert proves_nothing(evaluation(counts=counts)) == why


def test_no_model_is_best_where_no_auc_is_known() -> None:
    """And one whose AUC is unknown never is."""
    unknown = evaluation("b", None)

    assert best_by_point_estimate([unknown]) == ()
    assert best_by_point_estimate([A, unknown]) == (A,)


NET_BENEFIT = {
    0.98: (Outcome.USE_MODEL, "b"),
    0.975: (Outcome.USE_MODEL, "b"),
    0.97: (Outcome.THRESHOLDS_NOT_COMPARABLE, None),
    0.5: (Outcome.THRESHOLDS_NOT_COMPARABLE, None),
    0.03: (Outcome.THRESHOLDS_NOT_COMPARABLE, None),
    0.025: (Outcome.USE_MODEL, "a"),
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
    assert found.pair is pair


@pytest.mark.parametrize(("auc", "probability"), [((0.01, 0.02), 0.0), ((-0.02, -0.01), 1.0)])
def test_net_benefit_never_chooses_the_model_that_is_worse_overall(
    auc: tuple[float, float], probability: float
) -> None:
    """Where the two criteria point different ways nothing is recommended."""
    pair = comparison(auc, sensitivity=(-0.12, -0.01), specificity=(0.01, 0.1))
    rule = DecideConfig(net_benefit_range=(0.05, 0.2))

    found = first_match(situation(BOTH, [pair], rule=rule, net_benefit={("a", "b"): probability}))

    assert (found.outcome, found.model) == (Outcome.THRESHOLDS_NOT_COMPARABLE, None)


@pytest.mark.parametrize(
    ("costs", "relation"), [(TRADE_OFF, "trade_off"), (SAME_COST, "similar"), ((), "unknown")]
)
def test_neither_is_cheaper(costs: tuple[CostMeasurement, ...], relation: str) -> None:
    """Without a cheaper model only superiority, or equivalence both ways, is concluded."""

    def kind(pair: PairedComparison) -> tuple[str, str | None]:
        found = first_match(situation(BOTH, [pair], costs=costs))
        return found.kind, found.model

    assert kind(comparison((-0.02, 0.02))) == (f"choose_{relation}", None)
    assert first_match(situation(BOTH, [comparison((-0.02, 0.02))], costs=costs)).step == "4a"
    assert kind(comparison((-0.02, -0.01))) == (f"choose_{relation}", None)
    assert kind(comparison((-0.02, 0.03))) == ("cannot_tell", None)
    assert kind(comparison((-0.03, 0.02))) == ("cannot_tell", None)
    assert kind(comparison((-0.02, 0.02), sensitivity=(-0.02, 0.06))) == ("thresholds_unproven", None)
    crossed = comparison((-0.02, 0.02), sensitivity=(0.01, 0.06), specificity=(-0.2, -0.1))
    assert kind(crossed) == ("operating_points", None)
    assert kind(comparison((-0.05, -0.01))) == ("better", "a")
    assert kind(comparison((0.01, 0.05))) == ("better", "b")
    assert kind(comparison((0.01, 0.05), sensitivity=(-0.1, -0.01))) == ("better_but_misses_more", None)
    assert kind(comparison((-0.05, -0.01), sensitivity=(0.01, 0.1))) == ("better_but_misses_more", None)
    assert kind(comparison(None)) == ("no_interval", None)
    assert kind(comparison((0.0, 0.0))) == ("same_ranking_choose", None)
    lost = comparison((-0.02, 0.02), specificity=(0.12, 0.2))
    assert kind(lost) == ("thresholds_lost", None)


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


MISSES_MORE = {"sensitivity": (-0.12, -0.01), "specificity": (-0.01, 0.1)}
CROSSED = {"sensitivity": (-0.12, -0.01), "specificity": (0.01, 0.1)}
UNPROVEN: dict[str, tuple[str, dict[str, Any], float | None, tuple[CostMeasurement, ...], str]] = {
    "3": ("a", {"auc": (-0.2, -0.05)}, None, B_IS_CHEAPER, "worse_by_margin"),
    "4a": ("b", {"auc": (0.01, 0.02)}, None, B_IS_CHEAPER, "better_and_cheaper"),
    "4b, A": ("a", {"auc": (-0.01, 0.01), **CROSSED}, 0.02, B_IS_CHEAPER, "net_benefit"),
    "4b, B": ("b", {"auc": (-0.01, 0.01), **CROSSED}, 0.98, B_IS_CHEAPER, "net_benefit"),
    "4c": ("a", {"auc": (-0.01, 0.01), **MISSES_MORE}, None, B_IS_CHEAPER, "misses_more"),
    "5": ("a", {"auc": (-0.05, -0.001)}, None, B_IS_CHEAPER, "better_not_shown_equal"),
    "5, no cheaper one": ("b", {"auc": (0.01, 0.05)}, None, SAME_COST, "better"),
}


@pytest.mark.parametrize(
    ("model", "limits", "net_benefit", "costs", "grounds"), UNPROVEN.values(), ids=UNPROVEN
)
def test_no_step_recommends_a_model_whose_floor_is_open(
    model: str,
    limits: dict[str, Any],
    net_benefit: float | None,
    costs: tuple[CostMeasurement, ...],
    grounds: str,
) -> None:
    """Each names the model, what speaks for it, and the floor that is open."""
    models = [evaluation(each, OPEN if each == model else GOOD) for each in "ab"]
    fields = {} if net_benefit is None else {"net_benefit": {("a", "b"): net_benefit}}

    found = first_match(situation(models, [comparison(**limits)], costs=costs, **fields))

    assert (found.outcome, found.step, found.model) == (Outcome.NOT_ENOUGH_DATA, "2", None)
    assert (found.kind, found.extra, found.grounds) == ("better_but_unproven", model, grounds)
    assert found.questions == (OpenQuestion(figure="auc", model=model),)


def test_open_models_are_not_chosen_by_cost_either() -> None:
    """Equivalence of a proven and an unproven model recommends neither."""
    models = (evaluation("a", GOOD), evaluation("b", OPEN))

    found = first_match(situation(models, [comparison((-0.01, 0.01))], costs=()))

    assert (found.kind, found.extra) == ("equal_but_unproven", "b")
    assert found.questions == (OpenQuestion(figure="auc", model="b"),)
    at_floor = (models[0], evaluation("b", (0.7, 0.8)))
    assert (
        first_match(situation(at_floor, [comparison((-0.01, 0.01))], costs=())).questions == found.questions
    )


CONCLUDED = {
    "no interval": ((None, {}), B_IS_CHEAPER, ("6", "", ())),
    "better but misses more": (
        ((0.01, 0.03), {"sensitivity": (-0.12, -0.06)}),
        B_IS_CHEAPER,
        ("4b", "b", ()),
    ),
    "cannot tell": (((-0.05, 0.02), {}), B_IS_CHEAPER, ("6", "", (("auc", False, False),))),
    "cannot tell, alike in cost": (((-0.05, 0.05), {}), SAME_COST, ("6", "", (("auc", False, True),))),
    "thresholds open": (
        ((-0.02, 0.02), {"sensitivity": (-0.02, 0.06)}),
        SAME_COST,
        ("4d", "", (("sensitivity", False, True),)),
    ),
}


@pytest.mark.parametrize(("limits", "costs", "expected"), CONCLUDED.values(), ids=CONCLUDED.keys())
def test_a_finding_names_its_pair_and_what_is_open(
    limits: tuple[Any, dict[str, Any]], costs: tuple[CostMeasurement, ...], expected: tuple[Any, ...]
) -> None:
    """Step, the model meant, and each open question: figure, mirrored, both ways."""
    looked_at = comparison(limits[0], **limits[1])

    found = first_match(situation(BOTH, [looked_at], costs=costs))

    assert found.pair is looked_at
    assert all(each.pair is looked_at for each in found.questions)
    asked = tuple((each.figure, each.mirrored, each.both_ways) for each in found.questions)
    assert (found.step, found.extra, asked) == expected


def test_the_cheaper_model_is_known_whatever_decides() -> None:
    """Of two, also where a floor decides and no pair was looked at; of three no one is "the cheaper"."""
    good_and_bad = [evaluation("a", GOOD), evaluation("b", BAD)]
    two = decide(situation(good_and_bad, [comparison((-0.4, -0.3))]))
    three = decide(
        situation(
            [*good_and_bad, evaluation("c", BAD)],
            [pair(*ends, (-0.4, -0.3), 0.001) for ends in combinations("abc", 2)],
            costs=COSTS_OF_THREE,
        )
    )

    assert (two.step, two.model, two.cheaper) == ("2", "a", "b")
    assert (three.step, three.model, three.cheaper) == ("2", "a", None)


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
        ((2.34, 0.1), "busy (disturbed): 2.3 (Model A) on average"),
        ((2.34, 1.0), "busy (disturbed): 2.3 (Model A) and 1.0 (Model B) on average"),
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


def test_a_measurement_cut_short_is_doubted_like_a_disturbed_one() -> None:
    """The outcome stays, a caveat counts what is missing and says how to measure again; both doubts share it."""
    a, b = B_IS_CHEAPER
    counts = {"n_repeats": 23, "n_repeats_planned": 60, "n_training_steps": 0, "n_training_steps_planned": 8}
    verdict = decide(situation(BOTH, [comparison((-0.02, 0.02))], costs=(a, b.model_copy(update=counts))))

    assert verdict.outcome is Outcome.PREFER_CHEAPER
    [text] = verdict.cost_remarks
    assert text in verdict.caveats
    assert "(cost.budget_s)" in text
    assert "Model B, 23 of 60 timed passes and 0 of 8 training steps." in text
    assert "cost.fresh=true" in text
    planned = decide(
        situation(
            BOTH, [comparison((-0.02, 0.02))], costs=(a, b.model_copy(update=counts | {"n_repeats": 60}))
        )
    )
    assert "timed passes" not in planned.cost_remarks[0]


def test_with_too_few_passes_no_model_is_preferred_for_its_cost() -> None:
    """Three passes say 17 ms, but not how far off: the verdict treats that as it treats an unknown cost."""
    few = tuple(cost.model_copy(update={"n_repeats": 3}) for cost in B_IS_CHEAPER)
    verdict = decide(situation(BOTH, [comparison((-0.02, 0.02))], costs=few))

    assert (verdict.outcome, verdict.model, verdict.cheaper) == (Outcome.CHOOSE_BY_COST, None, None)
    assert verdict.headline == "No relevant difference, costs not known well enough"
    assert "What the models cost is not known well enough, so neither is preferred." in verdict.sentence
    assert "With fewer than 6 passes the time per image of Model A and Model B" in verdict.cost_remarks[0]


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "reasons from elsewhere": ({"validity": ("A patient was in both.",)}, "A patient was in both."),
    "two reasons": ({"validity": ("One.", "Two.")}, "One. Two."),
    "names of the identical": ({"identical": (("a", "b"),)}, "Model A and Model B"),
    "identical scores": ({"identical": (("a", "b"),)}, "exactly the same score to every case"),
}


@pytest.mark.parametrize(("fields", "words"), INVALID.values(), ids=INVALID.keys())
def test_invalid(fields: dict[str, Any], words: str) -> None:
    """Step 0 comes before everything else, and says why."""
    verdict = decide(situation(BOTH, [comparison((-0.08, -0.04))], **fields))

    assert (verdict.outcome, verdict.step, verdict.model) == (Outcome.INVALID, "0", None)
    assert words in verdict.sentence
    assert verdict.provisional_favourite is None
    assert verdict.sizes_needed == ()


def test_one_class_is_invalid() -> None:
    """Also where that class is too small for step 1; a single case of it is too few, not invalid."""
    for units, words in (
        ((12, 0), "only non_cancer cases and no cancer case"),
        ((0, 12), "only cancer cases and no non_cancer case"),
    ):
        verdict = decide(situation([evaluation(model, None, units=units) for model in "ab"]))

        assert (verdict.outcome, verdict.step) == (Outcome.INVALID, "0")
        assert f"holds {words}" in verdict.sentence
    for units in ((12, 1), (1, 12)):
        few = first_match(situation([evaluation(model, None, units=units) for model in "ab"]))
        assert (few.outcome, few.step) == (Outcome.NOT_ENOUGH_DATA, "1")


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
    assert found.worse == ()
    measurable = [pair("a", "b", (-0.015, -0.005), 0.01), *pairs[1:]]
    assert first_match(situation(THREE, measurable, costs=COSTS_OF_THREE)).worse == ("a",)
    floor = situation(THREE, pairs, costs=COSTS_OF_THREE, rule=DecideConfig(auc_floor=0.89))
    unproven = first_match(floor)
    assert (unproven.kind, unproven.extra) == ("cheapest_unproven", "b")
    assert unproven.questions == (OpenQuestion(figure="auc", model="b"),)
    choice = first_match(situation(THREE, pairs, costs=(), rule=DecideConfig(auc_floor=0.89)))
    assert (choice.kind, choice.extra, choice.worse) == ("choice_unproven", "", ("b",))


def test_holm_can_undo_a_non_inferiority() -> None:
    """One-sided p of 0.02 alone is below 0.025; as one of three open questions it is 0.04."""
    close = pair("a", "b", (-0.0297, 0.0097), 0.3)
    open_pairs = [pair("a", "c", (-0.12, 0.0), 0.2), pair("b", "c", (-0.11, 0.01), 0.2)]
    two = first_match(situation(THREE[:2], [close]))
    three = first_match(situation(THREE, [close, *open_pairs], costs=COSTS_OF_THREE))

    assert two.kind == "cheaper"
    assert three.kind == "cannot_tell_several"


@pytest.mark.parametrize(
    ("half_width", "kind"), [(0.0199, "cheapest_of_several"), (0.0208, "cannot_tell_several")]
)
def test_each_of_three_is_shown_within_the_margin_at_half_of_alpha(half_width: float, kind: str) -> None:
    """One-sided p of 0.0070 and 0.0093, three times that after Holm: 0.021 and 0.028, of 0.025 at most."""
    pairs = [
        pair("a", "b", (-0.005 - half_width, -0.005 + half_width), 0.6),
        pair("a", "c", (-0.2, 0.01), 0.2),
        pair("b", "c", (-0.2, 0.01), 0.2),
    ]

    assert first_match(situation(THREE, pairs, costs=COSTS_OF_THREE)).kind == kind


def test_two_best_of_three() -> None:
    """A and B have one AUC: both are best, and if they rank alike they are within reach of each other."""
    models = [evaluation(m, (v, v + 0.04)) for m, v in (("a", 0.9), ("b", 0.9), ("c", 0.8))]
    far = [pair("a", "c", (-0.12, -0.08), 0.001), pair("b", "c", (-0.12, -0.08), 0.001)]
    for limits in ((-0.01, 0.01), (0.0, 0.0)):
        found = first_match(situation(models, [pair("a", "b", limits, 1.0), *far], costs=COSTS_OF_THREE))
        assert (found.outcome, found.model, found.chosen) == (Outcome.PREFER_CHEAPER, "b", ("a", "b"))
    no_pair = comparison(None, pair=("a", "b"))
    unknown = first_match(situation(models, [no_pair, *far], costs=COSTS_OF_THREE))
    assert (unknown.kind, unknown.chosen) == ("some_remain", ("a", "b"))


def test_a_model_below_a_floor_puts_none_behind() -> None:
    """C has the best AUC by far but misses the floor of sensitivity: A and B are judged without it."""
    models = [*THREE[:2], evaluation("c", (0.97, 0.99), sensitivity=(0.5, 0.6))]
    pairs = [
        pair("a", "b", (-0.06, 0.04), 0.7),
        pair("a", "c", (0.04, 0.08), 0.001),
        pair("b", "c", (0.05, 0.09), 0.001),
    ]

    found = first_match(
        situation(models, pairs, rule=DecideConfig(sensitivity_floor=0.8), costs=COSTS_OF_THREE)
    )

    assert (found.kind, found.chosen, found.worse, found.worse_p) == ("some_remain", ("a", "b"), (), None)


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
    for adjusted, kind in ((0.049, "best_of_several"), (0.05, "some_remain")):
        pairs = [
            pair(*ends, limit, p)
            for ends, limit, p in zip(names, limits, (adjusted, 0.001, 0.001), strict=True)
        ]

        found = first_match(situation(THREE, pairs, costs=COSTS_OF_THREE))
        assert (found.kind, found.step) == (kind, "5" if kind == "best_of_several" else "6")
        if kind == "best_of_several":
            assert (found.model, found.worse, found.worse_p) == ("a", ("b", "c"), 0.049)


def test_guard_holds_for_several_models_too() -> None:
    """A model within the margin of the AUC that may miss too many is not within reach."""
    pairs = [
        comparison((-0.015, 0.005), pair=("a", "b"), sensitivity=(-0.1, 0.0), adjusted=0.3),
        pair("a", "c", (-0.12, -0.08), 0.001),
        pair("b", "c", (-0.11, -0.07), 0.001),
    ]

    found = first_match(situation(THREE, pairs, costs=COSTS_OF_THREE))

    assert (found.kind, found.chosen, found.worse) == ("some_remain", ("a", "b"), ("c",))
    assert [(q.figure, q.pair is pairs[0]) for q in found.questions] == [("sensitivity", True)]
    assert not found.questions[0].mirrored

    turned = comparison((-0.005, 0.015), pair=("b", "a"), sensitivity=(0.0, 0.1), adjusted=0.3)
    mirrored = first_match(situation(THREE, [turned, *pairs[1:]], costs=COSTS_OF_THREE))
    assert [(q.figure, q.mirrored) for q in mirrored.questions] == [("sensitivity", True)]

    lost = comparison((-0.015, 0.005), pair=("a", "b"), specificity=(-0.2, -0.12), adjusted=0.3)
    never = first_match(situation(THREE, [lost, *pairs[1:]], costs=COSTS_OF_THREE))
    assert (never.kind, never.step, never.worse, never.worse_p) == (
        "thresholds_of_several",
        "4b",
        ("c",),
        0.001,
    )
    assert [(guard.figure, guard.state) for guard in never.guards] == [("specificity", "lost")]
    assert never.chosen == ("a", "b")

    at_convention = (THREE[0], evaluation("b", (0.89, 0.93), chosen_on="convention"), THREE[2])
    close = pair("a", "b", (-0.015, 0.005), 0.3)
    nothing = first_match(situation(at_convention, [close, *pairs[1:]], costs=COSTS_OF_THREE))
    assert (nothing.kind, nothing.void) == ("thresholds_of_several", ("b",))


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_open_among_several_counts_all_comparisons(turned: bool) -> None:  # noqa: FBT001
    """Whether B keeps up with A, the best, is asked the right way round and for three comparisons."""
    close = pair("b", "a", (-0.04, 0.06), 0.7) if turned else pair("a", "b", (-0.06, 0.04), 0.7)
    others = [pair("a", "c", (-0.14, -0.06), 0.0004), pair("b", "c", (-0.13, -0.05), 0.0004)]

    found = first_match(situation(THREE, [close, *others], costs=COSTS_OF_THREE))

    assert (found.kind, found.worse, found.worse_p) == ("some_remain", ("c",), 0.0004)
    assert found.questions == (OpenQuestion(figure="auc", pair=close, mirrored=turned, n_comparisons=3),)


def test_two_left_of_three_are_still_judged_with_holm() -> None:
    """Dropping an inadequate model does not drop the adjustment: it was looked at too."""
    models = (*THREE[:2], evaluation("c", BAD))
    pairs = [
        pair("a", "b", (-0.09, -0.001), 0.09),
        pair("a", "c", (-0.4, -0.3), 0.001),
        pair("b", "c", (-0.4, -0.3), 0.001),
    ]

    assert first_match(situation(models, pairs, costs=COSTS_OF_THREE)).kind == "some_remain"
    assert first_match(situation(THREE[:2], [pairs[0]])).kind == "better_not_shown_equal"


def test_never_better_than_a_model_with_a_better_estimate() -> None:
    """S2: B's floor is open, its AUC far above A's: A is not "better than every other model"."""
    rule = DecideConfig(sensitivity_floor=0.8)
    models = (
        evaluation("a", (0.74, 0.82), sensitivity=(0.85, 0.95)),
        evaluation("b", (0.93, 0.97), sensitivity=(0.75, 0.90)),
        evaluation("c", (0.55, 0.65), sensitivity=(0.85, 0.95)),
    )
    pairs = [
        pair("a", "b", (0.14, 0.20), 0.001),
        pair("a", "c", (-0.24, -0.12), 0.001),
        pair("b", "c", (-0.41, -0.29), 0.001),
    ]

    several = situation(models, pairs, costs=COSTS_OF_THREE, rule=rule)
    verdict, found = decide(several), first_match(several)

    assert (found.kind, found.extra, found.worse, found.worse_p) == ("best_unproven", "b", ("a",), 0.001)
    assert (verdict.outcome, verdict.model, verdict.step) == (Outcome.NOT_ENOUGH_DATA, None, "2")
    assert (
        "Model B tells cancer from non_cancer better than every other model that may reach"
        in verdict.sentence
    )
    assert [(size.quantity, size.models) for size in verdict.sizes_needed] == [("sensitivity", ("b",))]


@pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
def test_equal_aucs_give_one_verdict_in_every_order(order: tuple[str, ...]) -> None:
    """S11: A and B have the same AUC to the last digit; who stands first decides nothing."""
    by_name = {"a": evaluation("a", (0.88, 0.92)), "b": evaluation("b", (0.88, 0.92))}
    by_name["c"] = evaluation("c", (0.87, 0.91))
    # C is within the margin of A but not of B: with A as "the best" it could be chosen, with B it could not.
    limits = {"ab": (-0.04, 0.04), "ac": (-0.02, 0.0), "bc": (-0.04, 0.02)}
    pairs = []
    for one, other in combinations(order, 2):
        low, high = limits["".join(sorted((one, other)))]
        pairs.append(pair(one, other, (low, high) if one < other else (-high, -low), 0.4))
    several = situation([by_name[m] for m in order], pairs, costs=())

    found = first_match(several)

    assert (found.kind, sorted(found.chosen)) == ("cannot_tell_several", ["a", "b", "c"])


def test_who_remains_and_who_is_worse() -> None:
    """B2: two of four remain, the others are named with the largest p that puts them there."""
    models = [evaluation(m, (v, v + 0.04)) for m, v in (("a", 0.90), ("b", 0.89), ("c", 0.80), ("d", 0.79))]
    pairs = [
        pair("a", "b", (-0.06, 0.04), 0.7),
        pair("a", "c", (-0.14, -0.06), 0.0004),
        pair("a", "d", (-0.15, -0.07), 0.0011),
        pair("b", "c", (-0.13, -0.05), 0.0004),
        pair("b", "d", (-0.14, -0.06), 0.0021),
        pair("c", "d", (-0.05, 0.03), 0.7),
    ]

    verdict = decide(situation(models, pairs, costs=()))

    assert verdict.headline == "Not enough data to decide: 2 of 4 left"
    assert "Two of four models remain: Model A or Model B." in verdict.sentence
    assert "Model C and Model D are worse than at least one of the others" in verdict.sentence
    assert "(Holm p at most 0.002)" in verdict.sentence
    assert "Chance alone may explain its lead over Model B." in str(verdict.provisional_sentence)


def test_a_lead_that_only_the_number_of_comparisons_undoes() -> None:
    """B5: an interval without 0 is not "chance alone", though the adjusted p-value is above alpha."""
    pairs = [
        pair("a", "b", (-0.031, -0.002), 0.08),
        pair("a", "c", (-0.14, -0.06), 0.001),
        pair("b", "c", (-0.13, -0.05), 0.001),
    ]

    said = decide(situation(THREE, pairs, costs=COSTS_OF_THREE)).provisional_sentence

    assert said == (
        "If you had to decide today: Model A has the highest AUC so far. With 3 comparisons, chance may also explain "
        "its lead over Model B (Holm p at most 0.080)."
    )


def test_favourite_of_two() -> None:
    """With the difference and its interval; chance is named only where the interval holds 0."""
    models = (evaluation("a", (0.80, 0.90)), evaluation("b", (0.82, 0.92)))

    verdict = decide(situation(models, [comparison((-0.05, 0.09))]))

    assert verdict.provisional_favourite == "b"
    assert verdict.provisional_sentence == (
        "If you had to decide today: Model B has the higher AUC so far (AUC of Model B minus Model A: +0.020, 95% "
        "interval \u22120.050 to +0.090). Chance alone may explain its lead over Model A."
    )


@pytest.mark.parametrize(
    "looked_at",
    [
        situation([evaluation("a", (0.65, 0.8))]),
        situation([evaluation(m, units=(29, 200)) for m in "ab"], [comparison((-0.05, 0.02))]),
        situation(BOTH, [comparison((-0.05, 0.05))]),
        situation(BOTH, [comparison((-0.02, 0.02))]),
        situation(BOTH, [comparison((-0.01, 0.01), specificity=(-0.2, -0.12))]),
    ],
    ids=["one model", "too few for any", "no one ahead", "decided", "thresholds"],
)
def test_no_favourite(looked_at: Situation) -> None:
    """One model only, a handful of cases, equal estimates, or nothing that time would settle."""
    verdict = decide(looked_at)

    assert verdict.provisional_favourite is None
    assert verdict.provisional_sentence is None


def test_decided_verdicts_ask_for_no_more_data() -> None:
    """Sizes belong to the undecided."""
    verdict = decide(situation(BOTH, [comparison((-0.02, 0.02))]))

    assert verdict.sizes_needed == ()
    assert (verdict.reference, verdict.candidate, verdict.cheaper) == ("a", "b", "b")


def test_size_belongs_to_what_is_open() -> None:
    """S1: AUC alone is open: its size, in units of both classes, and none for sensitivity."""
    (size,) = decide(situation(BOTH, [comparison((-0.06, 0.06))])).sizes_needed

    # ((1.959964 + 0.841621) * 0.06 / 1.959964 / 0.03)**2 = 8.1725 times the study
    assert (size.quantity, size.models) == ("auc", ("a", "b"))
    assert (size.needed_positive, size.needed_negative) == (1635, 1635)
    assert (size.assumed, size.bound, size.power) == (0.0, 0.03, 0.8)
    assert size.sentence == (
        "About 1,700 cancer and 1,700 non_cancer cases in the test subset would show with a probability of 80% that "
        "the loss of AUC with Model B instead of Model A is below 0.03, if the models are truly alike in this; there "
        "are 200 and 200."
    )


def test_size_of_each_open_guard() -> None:
    """Sensitivity from positives, specificity from negatives."""
    pair_ = comparison((-0.01, 0.01), sensitivity=(-0.07, 0.05), specificity=(-0.15, 0.13))
    sizes = {size.quantity: size for size in decide(situation(BOTH, [pair_])).sizes_needed}

    assert set(sizes) == {"sensitivity", "specificity"}
    # ((2.801585) * 0.06 / 1.959964 / 0.05)**2 = 2.9421; 0.14 and 0.10: 4.0045
    assert (sizes["sensitivity"].needed_positive, sizes["sensitivity"].needed_negative) == (589, None)
    assert (sizes["specificity"].needed_positive, sizes["specificity"].needed_negative) == (None, 801)


def test_a_study_that_had_the_size_is_not_told_so() -> None:
    """Equality would have been shown already: what was seen is assumed, and more is asked for than there is."""
    (size,) = decide(situation(BOTH, [comparison((-0.031, 0.005))])).sizes_needed

    # SE 0.018 / 1.96; (2.801585 * SE / (0.03 - 0.013))**2 = 2.2906
    assert size.assumed == pytest.approx(-0.013)
    assert size.needed_positive == 459
    assert "if the true difference is the \u22120.013 seen here" in size.sentence


def test_no_size_where_there_is_none() -> None:
    """No discordant case; a loss as seen beyond the margin; a floor above what was seen."""
    silent = comparison((-0.01, 0.01), sensitivity=(-0.06, 0.06), positives=(60, 0, 0, 0))
    agreed = decide(situation(BOTH, [silent]))
    beyond = decide(situation(BOTH, [comparison((-0.01, 0.01), specificity=(-0.16, -0.06))]))
    below = decide(situation([evaluation("a", (0.5, 0.75))]))

    assert agreed.sizes_needed == beyond.sizes_needed == below.sizes_needed == ()
    assert "The two models agree on all 60 cancer cases, so no size can be worked out" in agreed.remarks[-1]
    assert "no number of cases would show" in beyond.remarks[-1]
    assert "more cases would not show that it is above 0.7" in below.remarks[-1]


def test_undertrained_is_not_too_few_cases() -> None:
    """T3: where a training was cut short more cases are not what is missing; the verdict says which it is."""
    why = {"b": "Its validation AUC still rose by 0.04 over the last 3 of 5 epochs."}
    open_, decided = comparison((-0.06, 0.06)), comparison((-0.02, 0.02))

    few = decide(situation(BOTH, [open_]))
    unfinished = decide(situation(BOTH, [open_], not_converged=why))
    found = decide(situation(BOTH, [decided], not_converged=why))
    both = decide(situation(BOTH, [open_], not_converged={"a": "It rose.", "b": "It fell."}))

    assert "Model A and Model B had not finished learning" in both.sentence
    assert [one[-8:] for one in both.caveats[:2]] == ["It rose.", "It fell."]
    assert few.headline == "Not enough data to decide"
    assert few.sentence.endswith("More cases are needed.")
    assert unfinished.headline == "Not decided: training had not converged"
    assert unfinished.sentence.endswith(
        "Model B had not finished learning: train longer before asking for more cases."
    )
    assert unfinished.sizes_needed == ()
    assert found.outcome is Outcome.PREFER_CHEAPER
    assert found.caveats[0].startswith(
        "Model B had not finished learning, and its figures and its place may change"
    )


NOT_AS_TRAINED = {"b": "Loss 0.21 in training mode and 0.69 in evaluation mode on the same 500 images."}


def test_a_network_not_evaluated_as_trained_is_never_judged() -> None:
    """T1: with two models there is no verdict, and the reason stands on page one; alone likewise."""
    worse = comparison((-0.4, -0.3))
    two = decide(situation(BOTH, [worse], not_evaluated_as_trained=NOT_AS_TRAINED))
    alone = decide(situation([B], not_evaluated_as_trained=NOT_AS_TRAINED))
    constant = decide(situation([A, evaluation("b", (0.4, 0.6), constant=True)]))

    for verdict in (two, alone, constant):
        assert (verdict.outcome, verdict.model, verdict.step) == (Outcome.INVALID, None, "0")
        assert set(verdict.left_out) == {"b"}
    assert two.headline == "No verdict: a network was not evaluated as trained"
    assert NOT_AS_TRAINED["b"] in two.sentence
    assert "Model A" in two.sentence
    assert NOT_AS_TRAINED["b"] in alone.sentence
    assert constant.headline == "No verdict: a model gives every case the same score"


def test_among_several_it_is_left_out_and_that_is_said() -> None:
    """The rest is compared as if it had not been there; not below chance either, and no one is better than it."""
    broken = evaluation("c", (0.3, 0.4))
    left = decide(
        situation(
            (A, B, broken),
            [comparison((-0.02, 0.02))],
            not_evaluated_as_trained={"c": NOT_AS_TRAINED["b"]},
        )
    )

    assert (left.outcome, left.model) == (Outcome.PREFER_CHEAPER, "b")
    assert "Model C is left out, as nothing can be concluded about it." in left.sentence
    assert left.caveats[0].startswith("Model C was not evaluated as it was trained")
    assert "Model C" not in left.sentence.split("Model C is left out")[0]


def test_perfect_separation_has_its_own_sentence() -> None:
    """S10: no difference to weigh; with few cases the exact limit keeps the choice open."""
    perfect = evaluation("a", (0.98, 1.0)).metrics["auc"].model_copy(update={"value": 1.0})

    def models(low: float) -> list[ModelEvaluation]:
        auc = perfect.model_copy(update={"ci_low": low})
        return [each.model_copy(update={"metrics": {**each.metrics, "auc": auc}}) for each in BOTH]

    # 0.97**120 is 0.026, 0.97**125 is 0.022: the limit is 0.025
    for n, kind in ((120, "perfect_unproven"), (125, "same_ranking")):
        a, b = models(0.025 ** (1 / n))
        assert separation_p(a, b, 0.03) == pytest.approx(0.97**n)
        found = first_match(situation((a, b), [comparison((0.0, 0.0))]))
        assert (found.kind, found.step) == (kind, "6" if kind == "perfect_unproven" else "4a")
    assert {separation_p(*models(low), 0.03) for low in (0.0, 1.0)} == {None}
    far = [pair("a", "c", (-0.2, -0.1), 0.001), pair("b", "c", (-0.2, -0.1), 0.001)]
    for low, model in ((0.9817, "b"), (0.9404, None)):  # the same among three
        three = situation(
            [*models(low), THREE[2]], [pair("a", "b", (0.0, 0.0), 1.0), *far], costs=COSTS_OF_THREE
        )
        assert first_match(three).model == model
    # 0.025**(1/200) and 0.025**(1/60): 200 pairs exclude a loss of 0.03, 60 do not
    enough = decide(situation(models(0.9817), [comparison((0.0, 0.0))]))
    few = decide(situation(models(0.9404), [comparison((0.0, 0.0))]))

    assert (enough.outcome, enough.model) == (Outcome.PREFER_CHEAPER, "b")
    assert "both models separate the classes perfectly" in enough.sentence
    assert few.outcome is Outcome.NOT_ENOUGH_DATA
    assert "may still lie more than the acceptable 0.03 below 1" in few.sentence


def test_small_but_significant_is_said_to_be_small() -> None:
    """B6: better by less than the margin, and not worse without being shown equal."""
    small = decide(situation(BOTH, [comparison((0.005, 0.012))]))
    open_above = decide(situation(BOTH, [comparison((-0.008, 0.062))]))
    equal = decide(situation(BOTH, [comparison((-0.008, 0.022))]))

    assert "better than Model A, by less than the acceptable 0.03" in small.sentence
    assert open_above.headline == "Not worse, and cheaper: prefer Model B"
    assert equal.headline == "No relevant difference: prefer Model B"


def test_thresholds_from_few_validation_cases_are_doubted() -> None:
    """S15: the interval of the sensitivity on validation is shown where it reaches far."""

    def model(n: int) -> ModelEvaluation:
        found = proportion(n, n)
        return A.model_copy(
            update={"operating_point": A.operating_point.model_copy(update={"validation_sensitivity": found})}
        )

    few, many = (decide(situation([model(n), B], [comparison((-0.02, 0.02))])).caveats for n in (5, 60))

    # Wilson, 5 of 5: 0.566 to 1
    assert any(
        "its threshold comes from 5 cancer validation cases, with a sensitivity of 1.000, 95% interval 0.566 to 1.000"
        in caveat
        for caveat in few
    )
    assert not any("validation cases" in caveat for caveat in many)
