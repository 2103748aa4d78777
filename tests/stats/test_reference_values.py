"""Our figures against those stored from R, pROC, survey, geepack, rms, epiR, dcurves, skore and Evidently."""

import pytest

from benchmarks.reference_values import our_values, stored_references, stored_rows

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
    assert {row[0] for row in stored_rows()} == set(ours)
    assert len(REFERENCES) > 60


def test_where_another_definition_is_meant_the_figure_is_near(ours: dict[str, float]) -> None:
    """Another default, and the reason is told; ours read between points of the curve are within a two-hundredth."""
    for quantity, theirs, _, why in stored_rows():
        if why and quantity != "intercept(a), val.prob":  # of another line altogether
            near = 0.005 if quantity in {"ici(a)", "e50(a)", "e90(a)"} else 0.2
            assert ours[quantity] == pytest.approx(theirs, rel=near), quantity
            assert ours[quantity] != pytest.approx(theirs, rel=1e-6), quantity
