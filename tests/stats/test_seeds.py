"""Training seeds: a row each, the spread between them, and what makes a verdict depend on them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.cases import ScoredCases
from medcompare.stats.assessment import assess
from medcompare.stats.records import Outcome
from medcompare.stats.seeds import compare_seeds, seed_rows
from tests.stats.simulated import draw_study
from tests.stats.studies import B_IS_CHEAPER, comparison

QUICK = EvaluateConfig(n_resamples=200)


def repeated(aucs: list[tuple[float, float]], *, n: int = 300) -> ScoredCases:
    """One training of a and b per pair of true AUCs, on the same cases."""
    together = {f"{m}{k}": auc for k, pair in enumerate(aucs) for m, auc in zip("ab", pair, strict=True)}
    study = draw_study(together, n_negative=n, n_positive=n, seed=7, correlation=0.95)
    seeds = {m: {str(k): study.scores[f"{m}{k}"] for k in range(len(aucs))} for m in "ab"}
    return ScoredCases(
        case_id=study.case_id,
        y_true=study.y_true,
        scores={m: seeds[m]["0"] for m in "ab"},
        patient_id=None,
        classes=study.classes,
        subset="test",
        judged={"a": "a@0", "b": "b@0"},
        seed_scores=seeds,
    )


def test_rows() -> None:
    """One AUC per model and seed, as scikit-learn has it."""
    test = repeated([(0.9, 0.8), (0.88, 0.81)])

    rows = seed_rows(test, level=0.9)

    assert [(row.model, row.seed) for row in rows] == [("a", "0"), ("a", "1"), ("b", "0"), ("b", "1")]
    for row in rows:
        expected = roc_auc_score(test.y_true, test.seed_scores[row.model][row.seed])
        assert row.auc.value == pytest.approx(expected, abs=1e-12)
        assert row.auc.level == 0.9


@pytest.mark.parametrize(
    ("aucs", "changes", "sensitive"),
    [
        ([(0.90, 0.80), (0.91, 0.80), (0.89, 0.80)], False, False),
        ([(0.90, 0.80), (0.80, 0.90), (0.90, 0.85)], True, True),
        ([(0.98, 0.70), (0.85, 0.83), (0.85, 0.83), (0.84, 0.82)], False, True),
        ([(0.90, 0.80), (0.80, 0.90)], True, False),
    ],
    ids=["steady", "sign changes", "mean below its spread", "two seeds say nothing"],
)
def test_sensitivity_to_the_seed(aucs: list[tuple[float, float]], *, changes: bool, sensitive: bool) -> None:
    """Three seeds or more, and a changing sign or a mean smaller than its standard deviation."""
    (found,) = compare_seeds(repeated(aucs), [comparison((-0.2, 0.2))], evaluate=QUICK, seed=1)

    assert (found.sign_changes, found.sensitive) == (changes, sensitive)
    assert found.standard_deviation == pytest.approx(np.std(found.differences, ddof=1))
    assert found.mean.value == pytest.approx(np.mean(found.differences))
    assert found.mean.ci_low is not None
    assert found.mean.ci_high is not None
    assert found.mean.ci_low < found.mean.value < found.mean.ci_high


def test_interval_covers_seeds_and_patients() -> None:
    """With many seeds the width approaches sqrt(var between seeds / S + var between patients)."""
    rng = np.random.default_rng(3)
    test = repeated([(0.85 + d, 0.85) for d in rng.normal(0, 0.04, size=12)], n=200)

    (found,) = compare_seeds(
        test, [comparison((-0.2, 0.2))], evaluate=EvaluateConfig(n_resamples=2000), seed=1
    )

    assert found.mean.ci_low is not None
    assert found.mean.ci_high is not None
    half = (found.mean.ci_high - found.mean.ci_low) / 2
    between_seeds = 1.96 * found.standard_deviation / np.sqrt(12)
    assert between_seeds * 0.9 < half < between_seeds * 1.5


def test_only_shared_seeds_are_paired() -> None:
    """Seeds with other names are no pair; without two shared ones nothing is said."""
    test = repeated([(0.9, 0.8), (0.9, 0.8), (0.9, 0.8)])
    renamed = dict(zip(("0", "x", "y"), test.seed_scores["b"].values(), strict=True))

    apart = ScoredCases(**{**vars(test), "seed_scores": {"a": test.seed_scores["a"], "b": renamed}})

    assert compare_seeds(apart, [comparison((-0.2, 0.2))], evaluate=QUICK, seed=1) == ()


def test_one_class_has_no_rows() -> None:
    """Nothing can be ranked."""
    test = repeated([(0.9, 0.8), (0.9, 0.8)])
    negative = ScoredCases(**{**vars(test), "y_true": np.zeros_like(test.y_true)})

    assert seed_rows(negative, level=0.95) == ()
    assert compare_seeds(negative, [comparison((-0.2, 0.2))], evaluate=QUICK, seed=1) == ()


def test_verdict_is_downgraded_to_this_checkpoint() -> None:
    """USE A, but the sign of the difference changes between seeds."""
    test = repeated([(0.92, 0.80), (0.80, 0.88), (0.90, 0.85)])

    found = assess(
        test, None, B_IS_CHEAPER, display_names={"a": "Model A", "b": "Model B"}, evaluate=QUICK,
        rule=DecideConfig(), thresholds={}, seed=0,
    )  # fmt: skip

    assert found.verdict.outcome is Outcome.USE_MODEL
    assert found.verdict.headline == "Use Model A (this checkpoint only)"
    assert "This holds for this checkpoint only" in found.verdict.sentence
    assert any(text.startswith("Training-seed sensitive: over 3 trainings") for text in found.verdict.caveats)
    names = {row.quantity for row in found.quantities}
    assert {"auc@0", "auc_difference_over_seeds", "auc_difference_sd_over_seeds"} <= names
    assert "Of the trainings of a, 'a@0' is evaluated, the lowest seed." in found.notes


def test_steady_seeds_downgrade_nothing() -> None:
    """The same order in every training."""
    test = repeated([(0.92, 0.80), (0.91, 0.81), (0.93, 0.79)])

    found = assess(
        test, None, B_IS_CHEAPER, display_names={}, evaluate=QUICK, rule=DecideConfig(), thresholds={}, seed=0
    )

    assert found.verdict.headline == "Use a"
    assert not any("Training-seed sensitive" in text for text in found.verdict.caveats)
