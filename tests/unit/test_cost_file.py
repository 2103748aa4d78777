"""Costs from a TOML file: read, or refused with the name of what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medcompare.cost_file import read_costs
from medcompare.errors import DataError

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


BAD = {
    "unknown model": (
        "[c]\nflops = 1\n",
        r"there is no model 'c' in the predictions; models there are: a, b",
    ),
    "no table": ("a = 3\n", r"'a' must be a table: write \[a\]"),
    "unknown cost": (
        "[a]\nlatency = 3\n",
        r"\[a\]: there is no cost 'latency'; costs there are: n_parameters",
    ),
    "model again": ('[a]\nmodel = "b"\n', r"there is no cost 'model'"),
    "NaN": (
        "[a]\nflops = 1\nlatency_ms_median = nan\n",
        r"\[a\]: latency_ms_median is nan; a cost is a number above 0",
    ),
    "negative": ("[a]\nn_parameters = -1\n", r"n_parameters is -1; a cost is a number above 0"),
    "zero in an interval": ("[a]\nlatency_ms_median_ci = [0, 3]\n", r"latency_ms_median_ci is \[0, 3\]"),
    "text": ('[a]\nlatency_ms_median = "fast"\n', r"\[a\]: latency_ms_median is 'fast'; expected"),
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


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is said to be so."""
    with pytest.raises(DataError, match="no such file"):
        read_costs(tmp_path / "none.toml", ["a"])
