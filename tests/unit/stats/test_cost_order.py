"""Which model is cheaper: by the tolerance, beyond measuring error, and in every respect."""

from __future__ import annotations

from typing import Any

import pytest

from medcompare.config import DecideConfig
from medcompare.cost_records import CostMeasurement
from medcompare.stats.cost_order import cheaper_of

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
    assert order.told(NAMES) == "Model {B} is cheaper: its throughput is 2.5 times that of Model A."


def test_model_without_any_cost() -> None:
    """A model that the file does not name is unknown."""
    assert cheaper_of("a", "b", costs({"flops": 1}, {"flops": 2})[:1], DecideConfig()).relation == "unknown"


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (
            {"latency_ms_median": 40},
            {"latency_ms_median": 17},
            "Model {B} is cheaper: its time per image is 42 % of",
        ),
        ({"latency_ms_median": 40}, {"latency_ms_median": 39}, "does not differ by 10 % or more"),
        ({}, {"latency_ms_median": 39}, "is not known for both models"),
        (
            {"latency_ms_median": 40, "n_parameters": 5, "flops": 1},
            {"latency_ms_median": 20, "n_parameters": 9, "flops": 2},
            "Model {B} has the lower time per image, Model A the lower number of parameters and operations per image.",
        ),
    ],
)
def test_told_in_words(a: dict[str, Any], b: dict[str, Any], words: str) -> None:
    """With names for people, also those that hold braces."""
    assert words in cheaper_of("a", "b", costs(a, b), DecideConfig()).told(NAMES)


def test_half_the_time_within_overlapping_intervals_is_not_called_the_same() -> None:
    """Neither is cheaper, but "does not differ by 10 %" would be false of 20 ms against 40 ms."""
    measured = (
        CostMeasurement(model="a", latency_ms_median=40.0, latency_ms_median_ci=(10.0, 60.0)),
        CostMeasurement(model="b", latency_ms_median=20.0, latency_ms_median_ci=(8.0, 40.0)),
    )

    for one, other in (("a", "b"), ("b", "a")):
        order = cheaper_of(one, other, measured, DecideConfig())
        assert order.relation == "similar"
        assert order.told({"a": "A", "b": "B"}) == (
            "The time per image of B is 50 % of that of A, but the measured intervals overlap, so neither is called "
            "cheaper."
        )
