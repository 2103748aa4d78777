"""Coverage and error rates by simulation: slow, run on demand."""

import pytest

from benchmarks import coverage

pytestmark = pytest.mark.slow

STUDIES = 600


@pytest.mark.parametrize(
    "simulate",
    [
        coverage.auc_coverage,
        coverage.paired_coverage,
        coverage.clustered_coverage,
        coverage.clustered_auc_coverage,
    ],
    ids=lambda simulate: simulate.__name__,
)
def test_intervals_cover(simulate) -> None:  # noqa: ANN001
    """Every procedure the report uses covers in 92.5% of studies or more."""
    for row in simulate(STUDIES):
        if "ignoring" not in row.procedure:
            assert row.percent >= 92.5 - 2 * row.error, row


def test_bootstrap_intervals_cover() -> None:
    """F1 and MCC of a single model: percentile intervals cover in 91% or more."""
    for row in coverage.bootstrap_coverage(STUDIES):
        if "not reported" not in row.procedure:
            assert row.percent >= 91 - 2 * row.error, row


@pytest.mark.parametrize(
    "simulate",
    [coverage.false_positives, coverage.clustered_false_positives],
    ids=lambda simulate: simulate.__name__,
)
def test_equal_models_are_seldom_told_apart(simulate) -> None:  # noqa: ANN001
    """Every test the report uses rejects in 6.5% of studies or fewer."""
    for row in simulate(STUDIES):
        if "ignoring" not in row.procedure:
            assert row.percent <= 6.5 + 2 * row.error, row


def test_ignoring_patients_is_as_wrong_as_claimed() -> None:
    """Eight correlated images per patient: DeLong without patients rejects in a third of studies."""
    found = {
        row.procedure: row.percent
        for row in coverage.clustered_false_positives(200)
        if "8 images" in row.setting
    }

    assert found["AUC, DeLong ignoring patients"] > 30
