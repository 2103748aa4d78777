"""The finished models on other images: figures at frozen thresholds, and differences of two samples."""

from __future__ import annotations

import pytest

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.stats.assessment import assess
from medcompare.stats.external import on_external, with_external
from medcompare.stats.intervals.proportions import proportion
from medcompare.stats.intervals.unpaired import unpaired_difference
from medcompare.stats.records import Estimate
from tests.stats.simulated import draw_study

QUICK = EvaluateConfig(n_resamples=200)


@pytest.mark.parametrize(
    ("here", "there", "limits"),
    [
        ((48, 80), (56, 70), (0.0524, 0.3339)),
        ((3, 10), (9, 10), (0.1705, 0.8090)),
        ((0, 20), (10, 10), (0.6791, 1.0)),
    ],
)
def test_published_differences(
    here: tuple[int, int], there: tuple[int, int], limits: tuple[float, float]
) -> None:
    """Newcombe (1998), Stat Med 17:873, table II, method 10."""
    found = unpaired_difference(proportion(*here), proportion(*there))

    assert found.value == pytest.approx(there[0] / there[1] - here[0] / here[1])
    assert (found.ci_low, found.ci_high) == pytest.approx(limits, abs=6e-4)


def test_without_a_value_there_is_no_difference() -> None:
    """The reason is that of the figure."""
    missing = Estimate(value=None, method="none", note="no positive case")

    assert unpaired_difference(missing, proportion(3, 10)).note == "no positive case"


def test_a_drop_is_told_beside_the_verdict_which_stays() -> None:
    """Thresholds stay those of the internal validation; the verdict's sentence is the same."""
    aucs, rule = {"a": 0.92, "b": 0.9}, DecideConfig()
    test, validation = (
        draw_study(aucs, n_negative=200, n_positive=200, seed=3, subset=s) for s in ("test", "val")
    )
    found = assess(
        test, validation, (), display_names={"a": "Model A", "b": "Model B"}, evaluate=QUICK, rule=rule,
        thresholds={}, seed=0,
    )  # fmt: skip
    elsewhere = draw_study({"a": 0.75, "b": 0.9}, n_negative=300, n_positive=300, seed=8)

    outside = on_external(
        "Leeds", elsewhere, validation, found.evaluations, costs=(), evaluate=QUICK, rule=rule, seed=0
    )
    both = with_external(found, [outside])

    for inside, model in zip(found.evaluations, outside.models, strict=True):
        assert model.evaluation.operating_point == inside.operating_point
    high = outside.models[0].differences["auc"].ci_high
    assert high is not None
    assert high < 0
    low = outside.models[1].differences["auc"].ci_low
    assert low is not None
    assert low < 0 < (outside.models[1].differences["auc"].ci_high or 0)
    told = both.verdict.caveats[0]
    assert told.startswith(
        "On the external set Leeds (600 cases; nothing was fitted to it, thresholds frozen), against the internal "
        "test, with 95% intervals of the change: Model A: AUC 0.7"
    )
    assert " (a drop: \u22120." in told
    assert " (no change shown: " in told
    assert "There the AUC of Model B minus Model A: +0.1" in told
    assert both.verdict.sentence == found.verdict.sentence
    assert both.verdict.caveats[1:] == found.verdict.caveats
    shared = outside.model_copy(update={"shared": (("images", 1), ("patient ids", 12))})
    assert (
        "Leeds (600 cases, 1 image and 12 patient ids also in the main data; nothing was"
        in (with_external(found, [shared]).verdict.caveats[0])
    )
