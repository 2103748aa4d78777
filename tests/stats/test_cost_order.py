"""Which model is cheaper: by the tolerance, beyond measuring error, and in every respect."""

from __future__ import annotations

import re
from typing import Any

import pytest

from medcompare.config.schema import DecideConfig
from medcompare.predictions.costs import CostMeasurement
from medcompare.stats.verdict.cost_order import cheaper_of, equivalents_text

NAMES = {"a": "Model A", "b": "Model {B}"}


def costs(a: dict[str, Any], b: dict[str, Any]) -> tuple[CostMeasurement, CostMeasurement]:
    """Costs of two models."""
    return CostMeasurement(model="a", **a), CostMeasurement(model="b", **b)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str | None]] = {
    "half": ({"latency_ms_median": 40}, {"latency_ms_median": 20}, "cheaper", "b"),
    "exactly the tolerance": ({"latency_ms_median": 100}, {"latency_ms_median": 90}, "cheaper", "b"),
    "less than the tolerance": ({"latency_ms_median": 100}, {"latency_ms_median": 91}, "similar", None),
    "the other way": ({"latency_ms_median": 10}, {"latency_ms_median": 90}, "cheaper", "a"),
    "equal": ({"latency_ms_median": 10}, {"latency_ms_median": 10}, "similar", None),
    "one unknown": ({"latency_ms_median": 10}, {}, "unknown", None),
    "both unknown": ({"flops": 10}, {"flops": 5}, "unknown", None),
    "intervals apart": (
        {"latency_ms_median": 40, "latency_ms_median_ci": (35, 45)},
        {"latency_ms_median": 20, "latency_ms_median_ci": (15, 34)},
        "cheaper",
        "b",
    ),
    "intervals overlap": (
        {"latency_ms_median": 40, "latency_ms_median_ci": (25, 45)},
        {"latency_ms_median": 20, "latency_ms_median_ci": (15, 34)},
        "similar",
        None,
    ),
    "six passes of each": (
        {"latency_ms_median": 40, "latency_ms_median_ci": (35, 45), "n_repeats": 6},
        {"latency_ms_median": 20, "latency_ms_median_ci": (15, 34), "n_repeats": 6},
        "cheaper",
        "b",
    ),
    "five passes of one": (
        {"latency_ms_median": 40, "latency_ms_median_ci": (35, 45), "n_repeats": 60},
        {"latency_ms_median": 20, "n_repeats": 5},
        "unknown",
        None,
    ),
    "a range from five passes, called an interval": (
        {"latency_ms_median": 40, "latency_ms_median_ci": (35, 45), "n_repeats": 5},
        {"latency_ms_median": 20, "latency_ms_median_ci": (15, 34), "n_repeats": 60},
        "unknown",
        None,
    ),
    "more memory": (
        {"latency_ms_median": 40, "peak_memory_bytes": 100},
        {"latency_ms_median": 20, "peak_memory_bytes": 111},
        "trade-off",
        None,
    ),
    "a little more memory": (
        {"latency_ms_median": 40, "peak_memory_bytes": 100},
        {"latency_ms_median": 20, "peak_memory_bytes": 110},
        "cheaper",
        "b",
    ),
    "memory of one unknown": (
        {"latency_ms_median": 40},
        {"latency_ms_median": 20, "peak_memory_bytes": 110},
        "cheaper",
        "b",
    ),
}


@pytest.mark.parametrize(("a", "b", "relation", "cheaper"), CASES.values(), ids=CASES.keys())
def test_relation(a: dict[str, Any], b: dict[str, Any], relation: str, cheaper: str | None) -> None:
    """In either order of asking."""
    for one, other in (("a", "b"), ("b", "a")):
        order = cheaper_of(one, other, costs(a, b), DecideConfig())

        assert (order.relation, order.cheaper) == (relation, cheaper)


def test_throughput_counts_the_other_way() -> None:
    """More images per second are cheaper."""
    measured = costs({"throughput_images_per_s": 100}, {"throughput_images_per_s": 250})

    order = cheaper_of("a", "b", measured, DecideConfig(cost_metric="throughput_images_per_s"))

    assert order.cheaper == "b"
    assert order.ratio == pytest.approx(1 / 2.5)


def test_throughput_is_said_the_right_way_round() -> None:
    """In a trade-off the cheaper one has the higher throughput, and where intervals overlap the larger share."""
    rule = DecideConfig(cost_metric="throughput_images_per_s")
    fast, slow = {"throughput_images_per_s": 250}, {"throughput_images_per_s": 100}
    traded = costs(slow | {"n_parameters": 1}, fast | {"n_parameters": 2})
    unsure = costs(
        slow | {"throughput_images_per_s_ci": (90, 300)}, fast | {"throughput_images_per_s_ci": (200, 300)}
    )

    assert (
        cheaper_of("a", "b", traded, rule)
        .why_none_is_cheaper(NAMES)
        .startswith("Model {B} has the higher throughput")
    )
    assert "of Model {B} is 250% of that of Model A" in cheaper_of(
        "a", "b", unsure, rule
    ).why_none_is_cheaper(NAMES)


def test_model_without_any_cost() -> None:
    """A model that the file does not name is unknown."""
    assert cheaper_of("a", "b", costs({"flops": 1}, {"flops": 2})[:1], DecideConfig()).relation == "unknown"


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ({"latency_ms_median": 40}, {"latency_ms_median": 39}, "does not differ by 10% or more"),
        ({}, {"latency_ms_median": 39}, "is not known for both models"),
        (
            {"latency_ms_median": 40, "n_parameters": 5, "flops": 1},
            {"latency_ms_median": 20, "n_parameters": 9, "flops": 2},
            (
                "Model {B} has the lower time per image (20.0 ms, interval not stated, against 40.0 ms, interval not "
                "stated), Model A the lower number of parameters and operations per image."
            ),
        ),
    ],
)
def test_told_in_words(a: dict[str, Any], b: dict[str, Any], words: str) -> None:
    """With names for people, also those that hold braces."""
    assert words in cheaper_of("a", "b", costs(a, b), DecideConfig()).why_none_is_cheaper(NAMES)


def test_half_the_time_within_overlapping_intervals_is_not_called_the_same() -> None:
    """Neither is cheaper, but "does not differ by 10%" would be false of 20 ms against 40 ms."""
    measured = (
        CostMeasurement(model="a", latency_ms_median=40.0, latency_ms_median_ci=(10.0, 60.0)),
        CostMeasurement(model="b", latency_ms_median=20.0, latency_ms_median_ci=(8.0, 40.0)),
    )

    for one, other in (("a", "b"), ("b", "a")):
        order = cheaper_of(one, other, measured, DecideConfig())
        assert order.relation == "similar"
        assert order.why_none_is_cheaper({"a": "A", "b": "B"}) == (
            "The time per image of B is 50% of that of A (20.0 ms, 95% interval 8.00 to 40.0, against 40.0 ms, 95% "
            "interval 10.0 to 60.0), but the measured intervals overlap, so neither is called cheaper."
        )


@pytest.mark.parametrize(
    ("intervals", "n_batches", "relation"),
    [
        (((90, 110), (240, 260)), (6, 6), "cheaper"),
        (((90, 150), (140, 260)), (6, 6), "similar"),
        (((90, 110), (240, 260)), (6, 5), "unknown"),
        ((None, None), (6, 0), "unknown"),
    ],
)
def test_throughput_is_a_median_with_an_interval_too(
    intervals: tuple[Any, Any], n_batches: tuple[int, int], relation: str
) -> None:
    """Overlapping intervals, and too few batches, count as those of the time per image do."""
    one, other = (
        {"throughput_images_per_s": value, "throughput_images_per_s_ci": limits, "n_throughput_batches": n}
        for value, limits, n in zip((100, 250), intervals, n_batches, strict=True)
    )
    rule = DecideConfig(cost_metric="throughput_images_per_s")

    for models in (("a", "b"), ("b", "a")):
        order = cheaper_of(*models, costs(one, other), rule)
        assert (order.relation, order.cheaper) == (relation, "b" if relation == "cheaper" else None)


def test_too_few_passes_are_said() -> None:
    """Which model, how many passes an interval needs, and that neither is called cheaper."""
    measured = costs({"latency_ms_median": 40, "n_repeats": 3}, {"latency_ms_median": 20, "n_repeats": 60})

    assert cheaper_of("a", "b", measured, DecideConfig()).why_none_is_cheaper(NAMES) == (
        "The time per image of Model A was timed in fewer than 6 passes, too few for an interval, so neither can be "
        "called cheaper."
    )


def test_a_second_cost_from_too_few_passes_makes_no_trade_off() -> None:
    """Where memory decides, a time without an interval does not count against the smaller model."""
    rule = DecideConfig(cost_metric="peak_memory_bytes")
    small = {"peak_memory_bytes": 50, "latency_ms_median": 90.0}
    large = {"peak_memory_bytes": 100, "latency_ms_median": 40.0}

    assert cheaper_of("a", "b", costs(small, large), rule).relation == "trade-off"
    assert cheaper_of("a", "b", costs({**small, "n_repeats": 3}, large), rule).relation == "cheaper"


FAST = {"equivalent_latency_ms_median": 24.9, "equivalent_latency_ms_median_ci": (24.5, 25.4)}
SLOW = {"equivalent_latency_ms_median": 34.5, "equivalent_latency_ms_median_ci": (34.0, 35.0)}
EQUIVALENTS: dict[str, tuple[float, dict[str, Any], str]] = {
    "cheaper either way": (82.0, FAST, "Model {B} is cheaper than Model A either way."),
    "neither, either way": (35.0, SLOW, "Neither Model {B} nor Model A is called cheaper either way."),
    "cheaper with that alone": (
        35.0,
        FAST,
        "With that, Model {B} would be cheaper than Model A; as measured, neither is called cheaper.",
    ),
    "more expensive only as measured": (
        25.0,
        FAST,
        "Model A is cheaper than Model {B} only as measured: with that, neither would be called cheaper.",
    ),
    "the other way round": (
        29.0,
        FAST,
        "With that, Model {B} would be cheaper than Model A, and not the other way round.",
    ),
    "too few passes": (
        82.0,
        {**FAST, "equivalent_latency_ms_median_ci": None, "equivalent_n_repeats": 4},
        "Whether that changes which of Model {B} and Model A is cheaper is not known.",
    ),
}


@pytest.mark.parametrize(("rival_ms", "equivalent", "words"), EQUIVALENTS.values(), ids=EQUIVALENTS.keys())
def test_what_the_maintained_library_would_change(
    rival_ms: float, equivalent: dict[str, Any], words: str
) -> None:
    """The review's case, 34.7 ms against 24.9 ms for one architecture, beside rivals at several distances."""
    b = {
        "latency_ms_median": 34.7,
        "latency_ms_median_ci": (34.1, 35.2),
        "implementation": "efficientnet-pytorch 0.7.1",
        "equivalent_model": "efficientnet_b0_torchvision",
        "equivalent_implementation": "torchvision 0.29.2",
        **equivalent,
    }
    a = {"latency_ms_median": rival_ms, "latency_ms_median_ci": (rival_ms - 0.5, rival_ms + 0.5)}

    [text] = equivalents_text(costs(a, b), DecideConfig(), NAMES)
    assert text.startswith(
        "Model {B} takes 34.7 ms per image (95% interval 34.1 to 35.2) as implemented by efficientnet-pytorch 0.7.1. "
        "The same architecture in torchvision 0.29.2, which is maintained, takes "
    )
    assert text.endswith(words)
    # Where another cost decides, nothing is said of the order: nothing else is measured of the equivalent.
    [text] = equivalents_text(costs(a, b), DecideConfig(cost_metric="flops"), NAMES)
    assert re.search(r", takes [^A-Z]*\.$", text)
    assert "cheaper" not in text


def test_no_equivalent_nothing_to_say() -> None:
    """Of a model without one, and of costs from a file; and one that there was no time for is said to be so."""
    a, b = costs({"latency_ms_median": 40}, {"latency_ms_median": 20})
    assert equivalents_text((a, b), DecideConfig(), NAMES) == ()

    untimed = b.model_copy(
        update={"equivalent_model": "c", "equivalent_implementation": "torchvision 0.29.2"}
    )
    [text] = equivalents_text((a, untimed), DecideConfig(), NAMES)
    assert text.endswith(
        "What the same architecture takes in torchvision 0.29.2 was not measured: there was no time."
    )


def test_among_several_only_what_changes_is_said() -> None:
    """Three models: the pair whose order changes is named, the other is not."""
    names = {"a": "A", "b": "B", "c": "C"}
    measured = [
        CostMeasurement(model="a", latency_ms_median=82.0),
        CostMeasurement(model="b", latency_ms_median=34.7, equivalent_model="x", **FAST),
        CostMeasurement(model="c", latency_ms_median=35.0),
    ]

    [text] = equivalents_text(measured, DecideConfig(), names)
    assert text.endswith(
        "25.4). With that, B would be cheaper than C; as measured, neither is called cheaper."
    )
    [text] = equivalents_text(
        [*measured[:2], measured[2].model_copy(update={"latency_ms_median": 90.0})], DecideConfig(), names
    )
    assert text.endswith("Which model is cheaper stays the same in every pair.")
