"""Our figures against those stored from R, pROC, survey, geepack, rms, epiR and dcurves."""

import pytest

from benchmarks.reference_values import our_values, stored_references

REFERENCES = stored_references()


@pytest.fixture(scope="module")
def ours() -> dict[str, float]:
    """Every quantity of the table, computed once."""
    return our_values()


@pytest.mark.parametrize(
    ("quantity", "reference", "software"), REFERENCES, ids=[row[0].replace(" ", "_") for row in REFERENCES]
)
def test_equals_reference(ours: dict[str, float], quantity: str, reference: float, software: str) -> None:
    """Each figure equals the other software's to a millionth of its size."""
    assert ours[quantity] == pytest.approx(reference, rel=1e-6, abs=1e-20), software


def test_every_figure_has_a_reference(ours: dict[str, float]) -> None:
    """No figure of the table stands without its reference."""
    assert {row[0] for row in REFERENCES} == set(ours)
    assert len(REFERENCES) > 55
