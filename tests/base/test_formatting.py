"""How numbers become words."""

from __future__ import annotations

import math

import pytest

from medcompare.base import formatting
from medcompare.stats.records import Estimate

MINUS = "\u2212"
THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "signed", "expected"),
    [
        pytest.param(0.91249, False, "0.912", id="rounds down"),
        pytest.param(-0.0125, True, f"{MINUS}0.013", id="true minus sign"),
        pytest.param(0.0125, True, "+0.013", id="plus only when signed"),
        pytest.param(-0.0001, True, "0.000", id="no sign before zero"),
        pytest.param(12345.678, False, "12,345.678", id="thousands"),
    ],
)
def test_format_number(value: float, signed: bool, expected: str) -> None:  # noqa: FBT001 - a table of cases
    """Fixed decimals, true minus signs, no signed zero."""
    assert formatting.format_number(value, signed=signed) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_format_number_refuses_undefined_numbers(value: float) -> None:
    """What is not finite should have been None, and must never reach paper."""
    with pytest.raises(ValueError, match="undefined figures must be None"):
        formatting.format_number(value)


def test_format_estimate() -> None:
    """Value with interval; without limits the value alone; without value words."""
    whole = Estimate(value=0.9123, ci_low=0.8711, ci_high=0.9418, method="Wilson")
    one_sided = Estimate(value=0.9, ci_low=0.8, method="Wilson")
    bare = Estimate(value=0.9123, method="count")
    absent = Estimate(value=None, method="Wilson", note="no positive prediction")

    assert formatting.format_estimate(whole) == "0.912 (0.871 to 0.942)"
    assert formatting.format_estimate(whole, signed=True) == "+0.912 (+0.871 to +0.942)"
    assert formatting.format_estimate(one_sided) == "0.900 (0.800 to no upper limit)"
    assert formatting.format_estimate(bare) == "0.912"
    assert formatting.format_estimate(absent) == "not estimable"


def test_format_interval_without_limits() -> None:
    """An interval that does not exist is said in words."""
    assert formatting.format_interval(None, None) == "no interval"
    assert formatting.format_interval(None, 0.5) == "no lower limit to 0.500"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "\u2013"), (0.0004, f"<{THIN}0.001"), (0.0421, "0.042"), (0.9999, f">{THIN}0.999")],
)
def test_format_p(value: float | None, expected: str) -> None:
    """Extremes are never printed as 0 or 1."""
    assert formatting.format_p(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formatting.format_count(12345), "12,345"),
        (formatting.format_percent(0.4412), "44.1%"),
        (formatting.format_level(0.95), "95%"),
        (formatting.format_level(0.975), "97.5%"),
        (formatting.format_level(0.825), "82.5%"),
        (formatting.format_level(0.9875), "98.75%"),
        (formatting.format_level(1 - 0.05 / 3), "98.33%"),
        (formatting.format_level(0.99833356), "99.83%"),
        (formatting.format_level(1 - 0.05 * 6e-5), "99.9997%"),
        (formatting.format_significant(0), "0"),
        (formatting.format_significant(48.24), "48.2"),
        (formatting.format_significant(12345), "12,300"),
        (formatting.format_significant(0.05263), "0.0526"),
        (formatting.format_bytes(94_300_000), f"94.3{THIN}MB"),
        (formatting.format_bytes(512), f"512{THIN}B"),
        (formatting.format_flops(8_180_000_000), f"8.18{THIN}GFLOP"),
        (formatting.format_parameters(23_512_130), "23.5 million"),
        (formatting.format_parameters(4_200), "4,200"),
        (formatting.format_duration(42), f"42.0{THIN}s"),
        (formatting.format_duration(192.4), f"3{THIN}min 12{THIN}s"),
        (formatting.format_duration(7500), f"2{THIN}h 05{THIN}min"),
        (formatting.format_milliseconds(48.24), f"48.2{THIN}ms"),
        (formatting.format_time("2026-11-22T21:04:00+00:00"), "22 November 2026, 21:04 UTC"),
        (formatting.format_time("yesterday"), "yesterday"),
        (formatting.join_words([]), ""),
        (formatting.join_words(["a"]), "a"),
        (formatting.join_words(["a", "b", "c"]), "a, b and c"),
        (formatting.join_words(["a", "b", "c"], either=True), "a, b or c"),
    ],
)
def test_units(text: str, expected: str) -> None:
    """Counts, shares, sizes, durations and moments as people write them."""
    assert text == expected


def test_short_labels_stay_different() -> None:
    """Names that only differ where they are cut get a number."""
    names = ["vision transformer, large, run one of many", "vision transformer, large, two of many", "b0"]

    labels = formatting.short_labels(names, 16)

    assert len(set(labels)) == 3
    assert all(len(label) <= 20 for label in labels)
    assert labels[2] == "b0"
    assert formatting.shorten("short", 16) == "short"
