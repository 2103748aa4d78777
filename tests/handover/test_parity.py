"""Exports that do not agree are refused, by how much and where they differ."""

from __future__ import annotations

import numpy as np
import pytest

from medcompare.base.errors import ExportError
from medcompare.handover.parity import difference, insist_on


def test_a_difference_by_hand() -> None:
    """The second case differs most; the third falls on the other side of 0.5."""
    found = difference(
        "x", np.array([0.1, 0.9, 0.5]), np.array([0.1, 0.7, 0.49]), threshold=0.5, tolerance=0.3
    )

    assert (found.n, found.calls_changed) == (3, 1)
    assert found.largest == pytest.approx(0.2)
    insist_on([found])


@pytest.mark.parametrize("score", [0.1002, np.nan])
def test_more_than_is_accepted_is_refused(score: float) -> None:
    """Also a network that gives no number."""
    found = difference(
        "onnx against torch", np.array([score]), np.array([0.1]), threshold=0.5, tolerance=1e-4
    )

    with pytest.raises(ExportError, match="refused and nothing was written: onnx against torch: 1 images"):
        insist_on([found])
