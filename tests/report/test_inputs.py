"""What the report is made of."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from medcompare.report.inputs import (
    CaseScore,
    HardCase,
    ReportInputs,
    ScoreDistribution,
    count_scores,
    count_steps,
)
from tests.report.sample import make_inputs


def test_count_scores_of_probabilities() -> None:
    """Probabilities are binned over the tenths around them, which is [0, 1] where they reach from end to end."""
    found = count_scores("m", np.array([0, 0, 1, 1]), np.array([0.0, 0.4, 0.5, 1.0]), n_bins=4)

    assert found.edges == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert found.negative == (1, 1, 0, 0)
    assert found.positive == (0, 0, 1, 1)


def test_scores_in_a_narrow_range_have_bins_of_their_own() -> None:
    """Scores from 0.51 to 0.68 would fill half of the bins of [0, 1]; one score alone has the tenth around it."""
    scores = np.linspace(0.51, 0.68, 40)
    found = count_scores("m", np.arange(40) % 2, scores, n_bins=10)

    assert (found.edges[0], found.edges[-1]) == (0.5, 0.7)
    assert np.diff(found.edges) == pytest.approx(0.02)
    assert sum(count > 0 for count in found.positive) == 10
    assert count_scores("m", np.array([0, 1]), np.array([0.3, 0.3])).edges[0::25] == (0.3, 0.4)


def test_scores_near_both_ends_are_binned_by_their_logits() -> None:
    """Counted one by one; what lies beyond 0.0001 and 0.9999 is in the outermost bins, and nothing is lost."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 6, 300)
    scores = np.concatenate([1 / (1 + np.exp(-logits)), [0.0, 1.0]])
    y_true = (np.arange(302) % 2).astype(int)
    found = count_scores("m", y_true, scores)

    assert found.logit
    assert not count_scores("m", y_true, 0.1 + 0.8 * scores).logit
    edges = np.array(found.edges)
    assert (edges[0], edges[-1]) == pytest.approx((0.0001, 0.9999))
    assert np.diff(np.log(edges / (1 - edges))) == pytest.approx(2 * np.log(9999) / 25)
    for label, counts in ((0, found.negative), (1, found.positive)):
        own = scores[y_true == label]
        assert counts[0] == (own < edges[1]).sum()
        assert counts[-1] == (own >= edges[-2]).sum()
        assert counts[12] == ((own >= edges[12]) & (own < edges[13])).sum()
        assert sum(counts) == 151
    assert count_scores("m", np.array([0, 1, 1]), np.zeros(3)).positive[0] == 2


def test_count_scores_of_other_scores() -> None:
    """Scores outside [0, 1] are binned over their own range, and none is lost."""
    found = count_scores("m", np.array([0, 1, 1]), np.array([-3.0, 0.0, 7.0]), n_bins=5)

    assert found.edges[0] == -3.0
    assert found.edges[-1] == 7.0
    assert (sum(found.negative), sum(found.positive)) == (1, 2)


@pytest.mark.parametrize(
    ("y_true", "y_score", "message"),
    [
        ([0, 1], [0.5], "do not go together"),
        ([], [], "do not go together"),
        ([0, 1], [0.5, np.nan], "not all are finite"),
    ],
)
def test_count_scores_refuses(y_true: list[int], y_score: list[float], message: str) -> None:
    """Unequal lengths, nothing, and NaN are errors that name the model."""
    with pytest.raises(ValueError, match=message):
        count_scores("m", np.array(y_true), np.array(y_score))


@pytest.mark.parametrize("scale", [1.0, 0.17, 40.0, -3.0])
def test_steps_count_what_is_at_or_above_each_threshold(scale: float) -> None:
    """As counted one by one, at every threshold; the last holds none, and their number fits a slider."""
    rng = np.random.default_rng(5)
    y_true, y_score = rng.integers(0, 2, 500), (0.2 + scale * rng.random(500)).round(4)

    found = count_steps("m", y_true, y_score)

    assert found is not None
    assert 79 <= len(found.positive) == len(found.negative) <= 201
    for label, counts in ((0, found.negative), (1, found.positive)):
        for i in range(len(counts) + 1):
            threshold = found.start + i * found.step
            assert sum(counts[i:]) == ((y_score >= threshold - 1e-7) & (y_true == label)).sum()
    assert f"{found.step:e}"[:8] in {"1.000000", "2.000000", "5.000000"}


def test_few_cases_are_not_counted_in_steps() -> None:
    """Nine of a class could be recognised one by one; ten are counted, and one score alone has no steps."""
    scores = np.linspace(0, 1, 30)

    assert count_steps("m", np.arange(30) < 9, scores) is None
    assert count_steps("m", np.arange(30) >= 9, scores) is None
    assert count_steps("m", np.arange(30) < 10, scores) is not None
    assert count_steps("m", np.arange(30) < 15, np.full(30, 0.5)) is None


def test_score_distribution_needs_a_count_per_bin() -> None:
    """One edge more than counts."""
    with pytest.raises(ValidationError, match="2 bins need 2 counts"):
        ScoreDistribution(model="m", edges=(0.0, 0.5, 1.0), negative=(1,), positive=(1, 2))


def test_inputs_refuse_a_model_the_assessment_does_not_know() -> None:
    """A case scored by an unknown model would be printed nowhere."""
    case = HardCase(
        case_id="c1", truth=1, scores=(CaseScore(model="ghost", score=0.1, called_positive=False),)
    )
    with pytest.raises(ValidationError, match="hard_cases names the model 'ghost'"):
        make_inputs(hard_cases=(case,))


def test_inputs_survive_json_with_thumbnails() -> None:
    """Pictures travel as base64, so that the record is plain JSON."""
    inputs = make_inputs()

    again = ReportInputs.model_validate_json(inputs.model_dump_json())

    assert again == inputs
    assert again.hard_cases[0].thumbnail_png is not None
    assert again.hard_cases[0].thumbnail_png.startswith(b"\x89PNG")
