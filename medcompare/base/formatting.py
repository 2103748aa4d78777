"""How numbers become words: the only place where the report rounds.

Separators and words are those of the language spoken (`medcompare.base.language`). Signs are true minus signs,
intervals read "0.912 (0.871 to 0.942)", and what could not
be computed is said in words, never as an empty cell, "None" or "nan".
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from medcompare.base.language import localised, message, t

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MINUS = "\u2212"
THIN_SPACE = "\u202f"
NOT_MEASURED = message("not measured")
NOT_ESTIMABLE = message("not estimable")
ELLIPSIS = "\u2026"

MONTHS = (
    message("January"),
    message("February"),
    message("March"),
    message("April"),
    message("May"),
    message("June"),
    message("July"),
    message("August"),
    message("September"),
    message("October"),
    message("November"),
    message("December"),
)

SIGNIFICANT_DIGITS = 3
SECONDS_PER_MINUTE = 60
SECONDS_PER_HOUR = 3600
SMALLEST_PRINTED_P = 0.001
LARGEST_PRINTED_P = 0.999


def format_number(value: float, *, digits: int = 3, signed: bool = False) -> str:
    """A number with a fixed count of decimals and a true minus sign.

    Parameters
    ----------
    value : float
        Finite number.
    digits : int, default=3
        Decimals.
    signed : bool, default=False
        Print a plus sign before positive numbers.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If `value` is not finite: an undefined number is ``None`` long before it is printed.

    Examples
    --------
    >>> format_number(-0.01234)
    '−0.012'
    """
    if not math.isfinite(value):
        msg = f"cannot print the number {value}: undefined figures must be None"
        raise ValueError(msg)
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")
    return localised(text).replace("-", MINUS)


def format_interval(low: float | None, high: float | None, *, digits: int = 3, signed: bool = False) -> str:
    """An interval as "0.871 to 0.942"; without limits "no interval"."""
    if low is None and high is None:
        return t("no interval")
    low_text = t("no lower limit") if low is None else format_number(low, digits=digits, signed=signed)
    high_text = t("no upper limit") if high is None else format_number(high, digits=digits, signed=signed)
    return t("{low} to {high}", low=low_text, high=high_text)


class ValueWithInterval(Protocol):
    """Anything with a value and the limits of its interval, such as `medcompare.stats.records.Estimate`."""

    @property
    def value(self) -> float | None:
        """None where the value cannot be computed."""

    @property
    def ci_low(self) -> float | None:
        """Lower limit."""

    @property
    def ci_high(self) -> float | None:
        """Upper limit."""


def format_estimate(estimate: ValueWithInterval, *, digits: int = 3, signed: bool = False) -> str:
    """An estimate with its interval, or "not estimable" (its note stands with the table)."""
    if estimate.value is None:
        return t(NOT_ESTIMABLE)
    value = format_number(estimate.value, digits=digits, signed=signed)
    if estimate.ci_low is None and estimate.ci_high is None:
        return value
    return f"{value} ({format_interval(estimate.ci_low, estimate.ci_high, digits=digits, signed=signed)})"


def format_p(value: float | None) -> str:
    """A p-value to three decimals; the extremes as "< 0.001" and "> 0.999"."""
    if value is None:
        return "\u2013"
    if value < SMALLEST_PRINTED_P:
        return f"<{THIN_SPACE}{localised('0.001')}"
    if value > LARGEST_PRINTED_P:
        return f">{THIN_SPACE}{localised('0.999')}"
    return localised(f"{value:.3f}")


def format_count(value: int) -> str:
    """A count with thousands set off, by commas in English."""
    return localised(f"{value:,}")


def format_percent(value: float, *, digits: int = 1) -> str:
    """A fraction in [0, 1] as a percentage."""
    return t("{number}%", number=format_number(100 * value, digits=digits))


def format_level(level: float) -> str:
    """A confidence level as "95%", with decimals only where there are any, e.g. "99.83%" of an adjusted level.

    Two decimals, and more where fewer than two digits of its complement would be seen: no level reads "100%".
    """
    beside = math.floor(math.log10(100 * (1 - level)))
    digits = f"{100 * level:.{max(2, 1 - beside)}f}".rstrip("0").rstrip(".")
    return t("{number}%", number=localised(digits))


def format_significant(value: float, *, digits: int = SIGNIFICANT_DIGITS) -> str:
    """A positive quantity to so many significant digits, never in exponent form."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    decimals = max(0, digits - 1 - exponent)
    rounded = round(value, digits - 1 - exponent)
    return localised(f"{rounded:,.{decimals}f}").replace("-", MINUS)


def _with_prefix(value: float, unit: str, prefixes: tuple[str, ...]) -> str:
    step = 1000.0
    index = 0
    while abs(value) >= step and index < len(prefixes) - 1:
        value /= step
        index += 1
    return f"{format_significant(value)}{THIN_SPACE}{prefixes[index]}{unit}"


def format_bytes(value: int) -> str:
    """Bytes in decimal units: 17.6 MB is 17,600,000 bytes."""
    return _with_prefix(value, "B", ("", "k", "M", "G", "T"))


def format_flops(value: int) -> str:
    """Floating-point operations, e.g. "8.18 GFLOP"."""
    return _with_prefix(value, "FLOP", ("", "k", "M", "G", "T"))


def format_parameters(value: int) -> str:
    """Number of weights, in millions from one million on."""
    million = 1_000_000
    if value >= million:
        return t("{number} million", number=format_significant(value / million))
    return format_count(value)


def format_duration(seconds: float) -> str:
    """A duration as "42.0 s", "3 min 12 s" or "2 h 05 min"."""
    if seconds < SECONDS_PER_MINUTE:
        return f"{format_significant(seconds)}{THIN_SPACE}s"
    whole = round(seconds)
    if whole < SECONDS_PER_HOUR:
        minutes, rest = divmod(whole, SECONDS_PER_MINUTE)
        return f"{minutes}{THIN_SPACE}min {rest:02d}{THIN_SPACE}s"
    hours, rest = divmod(round(seconds / SECONDS_PER_MINUTE), SECONDS_PER_MINUTE)
    return f"{hours}{THIN_SPACE}h {rest:02d}{THIN_SPACE}min"


def format_milliseconds(value: float) -> str:
    """A latency in milliseconds."""
    return f"{format_significant(value)}{THIN_SPACE}ms"


def format_median(
    value: float | None, limits: tuple[float, float] | None, write: Callable[[float], str]
) -> str:
    """A median with its interval, or with the words that it has none."""
    if value is None:
        return t(NOT_MEASURED)
    if limits is None:
        return t("{value} (no interval)", value=write(value))
    low, high = (format_significant(limit) for limit in limits)
    return t("{value} ({low} to {high})", value=write(value), low=low, high=high)


def format_time(moment: str) -> str:
    """An ISO 8601 moment as "22 November 2026, 21:04 UTC"; other text is left as it is."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    zone = parsed.strftime("%Z")
    text = t(
        "{day} {month} {year}, {time}",
        day=parsed.day,
        month=t(MONTHS[parsed.month - 1]),
        year=str(parsed.year),
        time=parsed.strftime("%H:%M"),
    )
    return f"{text} {zone}" if zone else text


def shorten(text: str, n_characters: int) -> str:
    """Text of at most `n_characters`: start and end are kept, the middle gives way."""
    if len(text) <= n_characters:
        return text
    n_end = (n_characters - 1) // 3
    n_start = n_characters - 1 - n_end
    return f"{text[:n_start].rstrip()}{ELLIPSIS}{text[len(text) - n_end :].lstrip()}"


def short_labels(names: Iterable[str], n_characters: int) -> list[str]:
    """Shortened names that still differ: equal ones get a running number.

    Examples
    --------
    >>> short_labels(["ResNet-50", "EfficientNet-B0"], 20)
    ['ResNet-50', 'EfficientNet-B0']
    """
    names = list(names)
    labels = [shorten(name, n_characters) for name in names]
    return [
        label if labels.count(label) == 1 else f"{shorten(name, max(4, n_characters - 4))} ({i})"
        for i, (name, label) in enumerate(zip(names, labels, strict=True), start=1)
    ]


def capital(text: str) -> str:
    """Text with its first letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def join_words(words: Iterable[str], *, either: bool = False) -> str:
    """Words as "a", "a and b", "a, b and c"; with "or" where it is `either` of them."""
    parts = list(words)
    if len(parts) <= 1:
        return "".join(parts)
    first, last = ", ".join(parts[:-1]), parts[-1]
    return (
        t("{first} or {last}", first=first, last=last)
        if either
        else t("{first} and {last}", first=first, last=last)
    )
