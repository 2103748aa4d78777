"""Training seeds: a row each, the spread between them, and what makes a verdict depend on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.training_noise import study
from medcompare.config.schema import AssessConfig, DecideConfig, EvaluateConfig
from medcompare.predictions.cases import ScoredCases
from medcompare.predictions.table import read_tables, write_prediction_table
from medcompare.stats.assessment import assess
from medcompare.stats.evaluation import evaluate_model
from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.records import Outcome
from medcompare.stats.seeds import Trainings, ensembles, resting_on_seeds, seed_rows, trainings
from tests.stats.simulated import draw_study
from tests.stats.studies import B_IS_CHEAPER, comparison

if TYPE_CHECKING:
    from pathlib import Path

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


def found_in(test: ScoredCases, *, evaluate: EvaluateConfig = QUICK) -> Trainings | None:
    """The trainings of a and b, at a threshold of 0.5."""
    fixed = evaluate.model_copy(update={"threshold_rule": "fixed"})
    both = [evaluate_model(test.only([m]), None, m, display_name=m, evaluate=fixed, seed=1) for m in "ab"]
    return trainings(test, None, both, evaluate=fixed, seed=1)


def test_rows() -> None:
    """One AUC per model and seed, as scikit-learn has it."""
    test = repeated([(0.9, 0.8), (0.88, 0.81)])

    rows = seed_rows(test, None, evaluate=EvaluateConfig(level=0.9))

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
    every = found_in(repeated(aucs))
    assert every is not None
    _, (found,) = resting_on_seeds([comparison((-0.2, 0.2))], every)

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

    every = found_in(test, evaluate=EvaluateConfig(n_resamples=2000))
    assert every is not None
    found = every.difference("a", "b")

    assert found is not None
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

    pair = comparison((-0.2, 0.2))
    assert resting_on_seeds([pair], found_in(apart)) == ((pair,), ())


def test_one_class_has_no_rows() -> None:
    """Nothing can be ranked."""
    test = repeated([(0.9, 0.8), (0.9, 0.8)])
    negative = ScoredCases(**{**vars(test), "y_true": np.zeros_like(test.y_true)})

    assert seed_rows(negative, None, evaluate=QUICK) == ()
    assert found_in(negative) is None
    assert ensembles(negative, None, evaluate=QUICK) == ()


def test_the_verdict_rests_on_the_mean_over_seeds() -> None:
    """One training each says USE A; three say that another seed would have said otherwise."""
    test = repeated([(0.92, 0.80), (0.80, 0.88), (0.90, 0.85)])

    one = assess(
        ScoredCases(**{**vars(test), "seed_scores": {}}), None, B_IS_CHEAPER, display_names={}, evaluate=QUICK,
        rule=DecideConfig(), thresholds={}, seed=0,
    )  # fmt: skip
    found = assess(
        test, None, B_IS_CHEAPER, display_names={"a": "Model A", "b": "Model B"}, evaluate=QUICK,
        rule=DecideConfig(), thresholds={}, seed=0,
    )  # fmt: skip

    assert one.verdict.outcome is Outcome.USE_MODEL
    assert found.verdict.outcome is Outcome.NOT_ENOUGH_DATA
    assert found.verdict.remarks[0].startswith("Each model was trained 3 times, with other seeds")
    assert any(text.startswith("Training-seed sensitive: over 3 trainings") for text in found.verdict.caveats)
    names = {row.quantity for row in found.quantities}
    assert {"auc@0", "auc_difference_over_seeds", "auc_difference_sd_over_seeds"} <= names
    assert "auc_one_training_difference" in names
    assert "Of the trainings of a, 'a@0' is evaluated, the lowest seed." in found.notes
    (pair,) = found.comparisons
    means = [
        np.mean([roc_auc_score(test.y_true, scores) for scores in test.seed_scores[m].values()]) for m in "ab"
    ]
    assert [e.decisive("auc").value for e in found.evaluations] == pytest.approx(means)
    assert pair.differences["auc"].value == pytest.approx(means[1] - means[0])
    assert pair.differences["auc_one_training"] == one.comparisons[0].differences["auc"]


def test_each_training_has_the_threshold_of_its_own_validation_scores() -> None:
    """Sensitivity is the mean over trainings, each at the threshold that reaches the target on validation."""
    test, validation = repeated([(0.9, 0.8), (0.9, 0.8)]), repeated([(0.9, 0.8), (0.9, 0.8)], n=100)
    halved = {m: {"0": s["0"], "1": s["1"] / 2} for m, s in validation.seed_scores.items()}
    test = ScoredCases(
        **{
            **vars(test),
            "seed_scores": {m: {"0": s["0"], "1": s["1"] / 2} for m, s in test.seed_scores.items()},
        }
    )
    validation = ScoredCases(**{**vars(validation), "seed_scores": halved, "subset": "val"})

    found = assess(
        test, validation, (), display_names={}, evaluate=QUICK, rule=DecideConfig(), thresholds={}, seed=0
    )

    for row in found.seeds:
        scores = halved[row.model][row.seed]
        reached = np.mean(scores[validation.y_true == 1] >= row.threshold)
        assert 0.95 <= reached < 0.97
    by_model = {row.model: [] for row in found.seeds}  # type: ignore[var-annotated]
    for row in found.seeds:
        by_model[row.model].append(row.sensitivity.value)  # type: ignore[union-attr]
    for one in found.evaluations:
        assert one.decisive("sensitivity").value == pytest.approx(np.mean(by_model[one.model]))


def test_the_ensemble_is_the_mean_of_the_probabilities() -> None:
    """Its AUC is that of the mean scores, and no verdict rests on it."""
    test = repeated([(0.9, 0.8), (0.85, 0.8), (0.88, 0.82)])

    rows = ensembles(test, None, evaluate=QUICK)

    assert [(row.model, row.seeds) for row in rows] == [("a", ("0", "1", "2")), ("b", ("0", "1", "2"))]
    for row in rows:
        mean = np.mean(list(test.seed_scores[row.model].values()), axis=0)
        assert row.auc.value == pytest.approx(roc_auc_score(test.y_true, mean))
        assert row.sensitivity.value == pytest.approx(np.mean(mean[test.y_true == 1] >= 0.5))


def test_with_one_patient_variance_alone_the_interval_is_that_of_the_bootstrap() -> None:
    """Trainings that agree case by case leave the patients' part: about DeLong's interval of the difference."""
    one = repeated([(0.9, 0.8)])
    same = ScoredCases(
        **{
            **vars(one),
            "seed_scores": {m: {"0": s["0"], "1": s["0"], "2": s["0"]} for m, s in one.seed_scores.items()},
        }
    )

    every = found_in(same, evaluate=EvaluateConfig(n_resamples=2000))
    assert every is not None
    found = every.difference("a", "b")

    assert found is not None
    delong = auc_difference(same.y_true, same.scores["a"], same.scores["b"], level=0.95, clusters=None)
    assert found.mean.ci_low == pytest.approx(delong.ci_low, abs=0.004)
    assert found.mean.ci_high == pytest.approx(delong.ci_high, abs=0.004)


def test_steady_seeds_downgrade_nothing() -> None:
    """The same order in every training."""
    test = repeated([(0.92, 0.80), (0.91, 0.81), (0.93, 0.79)])

    found = assess(
        test, None, B_IS_CHEAPER, display_names={}, evaluate=QUICK, rule=DecideConfig(), thresholds={}, seed=0
    )

    assert found.verdict.headline == "Use a"
    assert not any("Training-seed sensitive" in text for text in found.verdict.caveats)


def test_a_written_table_comes_to_the_same_verdict(tmp_path: Path) -> None:
    """Columns MODEL@SEED of a run's predictions are what `assess` reads."""
    subsets = [repeated([(0.9, 0.8), (0.85, 0.82), (0.88, 0.8)], n=80)]
    subsets.append(replace(subsets[0], subset="val", case_id=tuple(f"v{i}" for i in range(subsets[0].n))))
    for cases, name in zip(subsets, ("t.csv", "v.csv"), strict=True):
        (tmp_path / name).write_bytes(write_prediction_table(cases))
    tables = read_tables(AssessConfig(predictions=tmp_path / "t.csv", validation=tmp_path / "v.csv"))
    assert tables.validation is not None
    pairs = [(subsets[0], subsets[1]), (tables.test, tables.validation)]

    one, two = (
        assess(
            replace(test, classes=("n", "p")), replace(validation, classes=("n", "p")), B_IS_CHEAPER,
            display_names={}, evaluate=QUICK, rule=DecideConfig(), thresholds={}, seed=0,
        )
        for test, validation in pairs
    )  # fmt: skip

    assert (tmp_path / "t.csv").read_text().splitlines()[0] == "case_id,y_true,a@0,a@1,a@2,b@0,b@1,b@2"
    assert one.verdict.model_copy(update={"caveats": ()}) == two.verdict.model_copy(update={"caveats": ()})
    assert one.seed_comparisons[0].mean.value == pytest.approx(two.seed_comparisons[0].mean.value)


@pytest.mark.slow
def test_training_noise_alone_seldom_decides() -> None:
    """Two kinds of network that are equal on average: three trainings each keep the level that one does not."""
    n_studies = 80
    shares = {
        n_seeds: sum(study(400, 0.02, n_seeds, seed)[1] for seed in range(n_studies)) / n_studies
        for n_seeds in (1, 3)
    }

    assert shares[1] > 0.1  # 0.025 is nominal
    assert shares[3] < 0.025 + 3 * (0.025 * 0.975 / n_studies) ** 0.5
