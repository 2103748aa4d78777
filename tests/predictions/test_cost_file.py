"""Costs from a TOML file: read, or refused with the name of what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medcompare.base.errors import DataError
from medcompare.predictions.cost_file import COSTS, read_costs

if TYPE_CHECKING:
    from pathlib import Path


def test_costs_are_read(tmp_path: Path) -> None:
    """Numbers, an interval and words; a model without a table is simply absent."""
    path = tmp_path / "costs.toml"
    path.write_text(
        '[a]\nlatency_ms_median = 41.5\nlatency_ms_median_ci = [40, 43]\nn_parameters = 23512130\ndevice = "laptop"\n'
    )

    (cost,) = read_costs(path, ["a", "b"])

    assert (cost.model, cost.latency_ms_median, cost.n_parameters) == ("a", 41.5, 23512130)
    assert cost.latency_ms_median_ci == (40, 43)
    assert cost.device == "laptop"


def test_how_a_cost_was_measured_is_read_too(tmp_path: Path) -> None:
    """Implementation, counts and equivalent; a file that states none of them has none of them."""
    path = tmp_path / "costs.toml"
    path.write_text(
        "[a]\nlatency_ms_median = 41.5\n"
        '[b]\nimplementation = "timm 1.0.9"\nlatency_ms_median = 30.0\nn_repeats = 4\nn_repeats_planned = 60\n'
        'equivalent_model = "c"\nequivalent_implementation = "torchvision 0.29.2"\n'
        "equivalent_latency_ms_median = 25.0\nequivalent_latency_ms_median_ci = [24.5, 25.5]\n"
    )

    a, b = read_costs(path, ["a", "b"])

    assert (a.implementation, a.n_repeats, a.equivalent_model, a.cut_short) == (None, None, None, ())
    assert (b.implementation, b.equivalent_latency_ms_median_ci) == ("timm 1.0.9", (24.5, 25.5))
    assert b.cut_short == ("4 of 60 timed passes",)


BAD = {
    "unknown model": (
        "[c]\nflops = 1\n",
        r"there is no model 'c' in the predictions; models there are: a, b",
    ),
    "no table": ("a = 3\n", r"'a' must be a table: write \[a\]"),
    "unknown cost": (
        "[a]\nlatency = 3\n",
        r"\[a\]: there is no cost 'latency'; costs there are: implementation, n_parameters",
    ),
    "model again": ('[a]\nmodel = "b"\n', r"there is no cost 'model'"),
    "NaN": (
        "[a]\nflops = 1\nlatency_ms_median = nan\n",
        r"\[a\]: latency_ms_median is nan; a cost is a finite number above 0",
    ),
    "negative": ("[a]\nn_parameters = -1\n", r"n_parameters is -1; a cost is a finite number above 0"),
    "zero in an interval": ("[a]\nlatency_ms_median_ci = [0, 3]\n", r"latency_ms_median_ci is \[0, 3\]"),
    "text": ('[a]\nlatency_ms_median = "fast"\n', r"\[a\]: latency_ms_median is 'fast'; expected"),
    "beyond any float": (
        f"[a]\nn_parameters = 1{'0' * 400}\n",
        r"n_parameters is 1000*; a cost is a finite number",
    ),
    "too many digits": (f"[a]\nn_parameters = 1{'0' * 5000}\n", r"cannot be read as TOML"),
    "too deep": (f"a = {'[' * 5000}", r"cannot be read as TOML"),
    "not TOML": ("[a\n", r"cannot be read as TOML"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_costs_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """One message, with the file first."""
    path = tmp_path / "costs.toml"
    path.write_text(text)

    with pytest.raises(DataError, match=message) as caught:
        read_costs(path, ["a", "b"])

    assert str(caught.value).startswith(str(path))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.tuples(
            st.sampled_from(COSTS),
            st.sampled_from(
                [
                    "1",
                    "-1",
                    "nan",
                    "inf",
                    "1e400",
                    "true",
                    "'x'",
                    "[1, 2]",
                    "[]",
                    "{}",
                    "[[1]]",
                    "2026-01-01",
                    "[1, 'x']",
                ]
            ),
        ).map(lambda line: f"[a]\n{line[0]} = {line[1]}\n".encode()),
    )
)
def test_any_file_is_costs_or_one_error(tmp_path: Path, content: bytes) -> None:
    """No traceback, whatever somebody hands over."""
    path = tmp_path / "costs.toml"
    path.write_bytes(content)
    try:
        read_costs(path, ["a"])
    except DataError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - costs are right as well


def test_notepad(tmp_path: Path) -> None:
    """Windows writes a byte-order mark first."""
    path = tmp_path / "costs.toml"
    path.write_bytes(b"\xef\xbb\xbf[a]\r\nflops = 3\r\n")

    (cost,) = read_costs(path, ["a"])

    assert cost.flops == 3


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is said to be so."""
    with pytest.raises(DataError, match="no such file"):
        read_costs(tmp_path / "none.toml", ["a"])
