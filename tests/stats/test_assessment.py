"""From tables to a verdict: one way for both flows, and a defined answer to degenerate input."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.special import logit

from medcompare.base.errors import DataError
from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.table import read_prediction_table, write_prediction_table
from medcompare.stats.arrays import says_nothing
from medcompare.stats.assessment import assemble, assess
from medcompare.stats.evaluation import evaluate_model
from medcompare.stats.records import Assessment, Outcome
from medcompare.stats.utility import net_benefit
from tests.stats.simulated import draw_study
from tests.stats.studies import B_IS_CHEAPER

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.predictions.cases import ScoredCases

QUICK = EvaluateConfig(n_resamples=200)
EQUAL = {"a": 0.9, "b": 0.9}


def assessed(
    test: ScoredCases,
    validation: ScoredCases | None = None,
    *,
    evaluate: EvaluateConfig = QUICK,
    rule: DecideConfig | None = None,
    **fields: object,
) -> Assessment:
    """The assessment of `test`, B cheaper where there is one."""
    options = {"thresholds": {}, "seed": 0, "display_names": {}} | fields
    costs = [cost for cost in B_IS_CHEAPER if cost.model in test.scores]
    return assess(test, validation, costs, evaluate=evaluate, rule=rule or DecideConfig(), **options)


def study(
    aucs: dict[str, float] | None = None, *, n: tuple[int, int] = (300, 200), **fields: object
) -> ScoredCases:
    """A simulated test subset."""
    return draw_study(aucs or EQUAL, **{"n_negative": n[0], "n_positive": n[1], "seed": 1} | fields)


def finite(found: Assessment) -> None:
    """No NaN, no infinity: the JSON of the assessment is valid JSON, and every gap has its reason."""
    text = found.model_dump_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    for row in found.quantities:
        assert row.value is not None or row.note
        for number in (row.value, row.ci_low, row.ci_high, row.p_value):
            assert number is None or np.isfinite(number)
    assert Assessment.model_validate_json(text) == found


def test_both_ways_give_the_same_numbers() -> None:
    """Evaluated one by one and assembled, or assessed at once: equal to the last digit."""
    test, validation = study(), study(subset="val")
    evaluations = [
        evaluate_model(
            test.only([model]), validation.only([model]), model, display_name=model, evaluate=QUICK, seed=0
        )
        for model in test.models
    ]

    together = assemble(
        test, validation, evaluations, B_IS_CHEAPER, evaluate=QUICK, rule=DecideConfig(), seed=0
    )

    assert together == assessed(test, validation)


def test_written_and_read_again_gives_the_same_assessment(tmp_path: Path) -> None:
    """The predictions a run writes, fed back in, give every number again."""
    subsets = {}
    for name in ("test", "val"):
        cases = replace(study(subset=name, images_per_patient=2), classes=("negative", "positive"))
        subsets[name] = cases
        (tmp_path / f"{name}.csv").write_bytes(write_prediction_table(cases))
    again = {name: read_prediction_table(tmp_path / f"{name}.csv", subset=name) for name in subsets}

    first, second = (assessed(tables["test"], tables["val"]) for tables in (subsets, again))

    assert first.quantities == second.quantities
    assert first.verdict == second.verdict


def test_repeatable_but_for_the_seed() -> None:
    """The same seed, the same assessment; another one moves only what is resampled."""
    test = study()

    first, again, other = (assessed(test, seed=seed) for seed in (0, 0, 1))

    assert first == again
    auc, f1 = ([one.evaluations[0].metrics[name] for one in (first, other)] for name in ("auc", "f1"))
    assert auc[0] == auc[1]
    assert f1[0].value == f1[1].value
    assert f1[0].ci_low != f1[1].ci_low


def test_order_of_cases_changes_no_exact_number() -> None:
    """Rows in another order: the same values, exact intervals and verdict."""
    test = study()
    order = np.random.default_rng(0).permutation(test.n)
    mixed = replace(
        test,
        case_id=tuple(test.case_id[i] for i in order),
        y_true=test.y_true[order],
        scores={model: scores[order] for model, scores in test.scores.items()},
    )

    first, second = assessed(test), assessed(mixed)

    for one, other in zip(first.quantities, second.quantities, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-12)
        if "bootstrap" not in one.method and "Dirichlet" not in one.method:
            assert one.ci_low == pytest.approx(other.ci_low, abs=1e-9)
    assert first.verdict.outcome is second.verdict.outcome


def test_head_of_the_record() -> None:
    """Counts, prevalence, names and settings as they are."""
    found = assessed(study(n=(300, 100), images_per_patient=4), display_names={"a": "Model A"})

    assert (found.n, found.n_positive, found.n_negative, found.n_patients) == (400, 100, 300, 100)
    assert found.prevalence == 0.25
    assert found.clustered
    assert found.display_names == {"a": "Model A", "b": "b"}
    assert (found.level, found.n_resamples, found.seed) == (0.95, 200, 0)
    assert found.treat_all is not None


def test_names_with_braces_dots_and_signs() -> None:
    """A model may be called anything a column may: no name is ever read as a template."""
    names = ["vit{0}.b/16 [v2] %s", "{b}"]
    cases = study()
    test = replace(cases, scores=dict(zip(names, cases.scores.values(), strict=True)))

    found = assess(
        test, None, [cost.model_copy(update={"model": name}) for cost, name in zip(B_IS_CHEAPER, names, strict=True)],
        display_names={}, evaluate=QUICK, rule=DecideConfig(), thresholds={}, seed=0,
    )  # fmt: skip

    assert "AUC of {b} minus vit{0}.b/16 [v2] %s: " in found.verdict.sentence


def test_one_class_only() -> None:
    """Invalid, every figure with a value or a reason."""
    test = study()
    found = assessed(replace(test, y_true=np.ones_like(test.y_true)))

    finite(found)
    assert found.verdict.outcome is Outcome.INVALID
    assert "holds only cancer cases and no non_cancer case" in found.verdict.sentence
    assert found.comparisons[0].differences["sensitivity"].ci_low is not None
    assert found.comparisons[0].differences["auc"].value is None


def test_constant_scores() -> None:
    """One constant model beside a good one, or two of them: no verdict, for or against any."""
    test = study()
    flat = np.full(test.n, 0.3)

    one = assessed(replace(test, scores={"a": test.scores["a"], "b": flat}))
    both = assessed(replace(test, scores={"a": flat, "b": flat.copy()}))

    finite(one)
    finite(both)
    for found, models in ((one, {"b"}), (both, {"a", "b"})):
        assert (found.verdict.outcome, found.verdict.model) == (Outcome.INVALID, None)
        assert set(found.verdict.left_out) == models
        assert found.comparisons == ()
    assert "b gives (nearly) every case the same score" in one.verdict.sentence


@pytest.mark.parametrize("spread", [1e-9, 1e-7])
def test_a_score_that_only_rounding_moves_is_constant(spread: float) -> None:
    """T1: 0.5067919 for every image but for 1e-9: no AUC, slope or threshold is made of that."""
    test = study()
    noise = np.random.default_rng(0).uniform(-spread, spread, test.n)

    found = assessed(replace(test, scores={**test.scores, "b": 0.5067919 + noise}))

    finite(found)
    flat = found.evaluations[1]
    assert flat.constant_output
    assert (flat.metrics["auc"].value, flat.metrics["auc"].ci_low) == (0.5, None)
    assert flat.calibration is not None
    assert flat.calibration.slope.value is None
    assert found.verdict.outcome is Outcome.INVALID


def test_rare_positives_singled_out_are_not_constant() -> None:
    """Nearly all scores equal, but those of one class are not: that is a model."""
    y_true = np.r_[np.zeros(990, dtype=np.int64), np.ones(10, dtype=np.int64)]
    scores = np.where(y_true == 1, 0.9, 0.1)

    assert not says_nothing(scores, y_true == 1)
    assert says_nothing(np.r_[0.9, np.full(999, 0.1)], y_true == 1)


def test_a_third_model_that_was_not_evaluated_as_trained_leaves_a_pair() -> None:
    """Two are left: compared as two, without the third in any family of tests."""
    test = draw_study({"a": 0.9, "b": 0.9, "c": 0.6}, n_negative=300, n_positive=200, seed=0)
    why = {"c": "Loss 0.2 in training mode, 0.7 in evaluation mode."}

    three = assessed(test, not_evaluated_as_trained=why)
    two = assessed(test.only(["a", "b"]))

    assert three.comparisons == two.comparisons
    assert three.verdict.outcome is two.verdict.outcome
    assert three.verdict.sentence == (
        f"{two.verdict.sentence} c is left out, as nothing can be concluded about it."
    )
    assert three.verdict.caveats[0].startswith("c was not evaluated as it was trained")


def test_perfect_separation() -> None:
    """A warning of leakage, no interval [1, 1], and finite figures throughout."""
    test = study()
    perfect = np.where(test.y_true == 1, 0.6, 0.1) + np.linspace(0, 0.3, test.n)

    found = assessed(replace(test, scores={"a": perfect, "b": np.clip(perfect + 0.05, 0, 1) ** 2}))

    finite(found)
    assert found.evaluations[0].metrics["auc"].ci_low < 1
    assert any("look for a leak" in text for text in found.verdict.caveats)


def test_identical_models_are_invalid() -> None:
    """Byte-identical predictions: the same checkpoint twice."""
    test = study()

    found = assessed(replace(test, scores={"a": test.scores["a"], "b": test.scores["a"].copy()}))

    finite(found)
    assert found.verdict.outcome is Outcome.INVALID
    assert "a and b gave exactly the same score to every case" in found.verdict.sentence


def test_same_ranking_other_scale() -> None:
    """A monotone transform: AUC difference 0 without variance, and nothing breaks."""
    test = study()

    found = assessed(replace(test, scores={"a": test.scores["a"], "b": test.scores["a"] ** 3}))

    finite(found)
    assert found.comparisons[0].differences["auc"].value == 0
    difference = found.comparisons[0].differences["auc"]
    assert (difference.value, difference.ci_low, difference.ci_high) == (0, 0, 0)
    # At 0.5 they decide differently: a matter of thresholds, never of too few cases.
    assert found.verdict.outcome is Outcome.THRESHOLDS_NOT_COMPARABLE


def test_no_discordant_pair() -> None:
    """Other scores but the same calls: p = 1 and intervals wider than nothing."""
    test = study()
    nudged = test.scores["a"] + np.random.default_rng(1).uniform(-1e-3, 1e-3, test.n)
    keeps = np.where((nudged >= 0.5) == (test.scores["a"] >= 0.5), nudged, test.scores["a"])

    found = assessed(replace(test, scores={"a": test.scores["a"], "b": np.clip(keeps, 0, 1)}))

    finite(found)
    sensitivity = found.comparisons[0].differences["sensitivity"]
    assert (sensitivity.value, sensitivity.p_value) == (0, 1)
    assert sensitivity.ci_low < 0 < sensitivity.ci_high


def test_ties_everywhere() -> None:
    """Scores of one decimal."""
    test = study()
    coarse = {model: np.round(scores, 1) for model, scores in test.scores.items()}

    finite(assessed(replace(test, scores=coarse), study(subset="val")))


@pytest.mark.parametrize("n", [(6, 6), (1, 11), (11, 1), (1, 1)])
def test_twelve_cases_and_fewer(n: tuple[int, int]) -> None:
    """Too few for a verdict, not too few for an answer."""
    found = assessed(study(n=n), study(n=n, subset="val"))

    finite(found)
    assert (found.verdict.outcome, found.verdict.step) in {
        (Outcome.NOT_ENOUGH_DATA, "1"),
        (Outcome.INVALID, "0"),
    }


def test_rare_positives() -> None:
    """3% prevalence: accuracy is told to say little."""
    found = assessed(study(n=(1940, 60)))

    finite(found)
    text = " ".join(found.verdict.caveats)
    assert "Only 3.0% of the test cases are cancer" in text
    assert "would be right in 97.0%" in text


def test_inverted_scores() -> None:
    """Invalid; polarity or no signal, and nothing is flipped."""
    test = study()

    found = assessed(replace(test, scores={"a": test.scores["a"], "b": 1 - test.scores["b"]}))

    finite(found)
    assert found.verdict.outcome is Outcome.INVALID
    assert "b (AUC 0.092, 95% interval" in found.verdict.sentence
    assert "the positive class is swapped, or there is no signal" in found.verdict.sentence


def test_probabilities_of_exactly_0_and_1() -> None:
    """Hard calls as probabilities."""
    test = study()

    hard = {model: np.round(scores) for model, scores in test.scores.items()}

    finite(assessed(replace(test, scores=hard)))


def test_scores_that_are_not_probabilities() -> None:
    """Logits: the same ranking and verdict, without calibration and net benefit."""
    test, validation = study(n=(900, 600)), study(subset="val")
    as_logits = [
        replace(
            cases,
            scores={model: logit(scores) for model, scores in cases.scores.items()},
            scores_are_probabilities=False,
        )
        for cases in (test, validation)
    ]
    rule = DecideConfig(net_benefit_range=(0.1, 0.3))

    plain, logits = assessed(test, validation, rule=rule), assessed(*as_logits, rule=rule)

    finite(logits)
    assert logits.verdict.outcome is plain.verdict.outcome
    assert logits.comparisons[0].differences["auc"] == plain.comparisons[0].differences["auc"]
    assert logits.comparisons[0].differences["brier"].value is None
    assert logits.treat_all is None
    assert all(one.calibration is None and one.decision_curve is None for one in logits.evaluations)


def test_patients_in_both_subsets_are_invalid() -> None:
    """Step 0, with the number of patients."""
    test, validation = study(images_per_patient=2), study(subset="val", images_per_patient=2)
    shared = np.array([test.patient_id[0], *validation.patient_id[1:]])

    found = assessed(test, replace(validation, patient_id=shared))

    assert found.verdict.outcome is Outcome.INVALID
    assert "1 patient is in both the validation and the test subset" in found.verdict.sentence


def test_threshold_chosen_on_the_test_is_invalid() -> None:
    """The test table under other case ids is still the test table."""
    test = study()
    order = np.random.default_rng(2).permutation(test.n)
    copied = replace(
        test,
        subset="val",
        case_id=tuple(f"v{i}" for i in range(test.n)),
        y_true=test.y_true[order],
        scores={model: scores[order] for model, scores in test.scores.items()},
    )

    found = assessed(test, copied)

    assert found.verdict.outcome is Outcome.INVALID
    assert "Labels and scores of a and b are the same" in found.verdict.sentence


def test_one_image_per_patient_is_said() -> None:
    """Without patient ids in the caveats, with them not."""
    without, with_ids = assessed(study()), assessed(study(images_per_patient=1))

    assert any("every interval assumes one image per patient" in text for text in without.verdict.caveats)
    assert not any("one image per patient" in text for text in with_ids.verdict.caveats)


def test_net_benefit_is_used_only_over_a_declared_range() -> None:
    """Step 4b: thresholds differ; with a range the model with more net benefit is taken."""
    test = draw_study({"a": 0.90, "b": 0.94}, n_negative=900, n_positive=600, seed=0, correlation=0.9)
    thresholds = {"a": 0.3, "b": 0.6}

    without = assessed(test, thresholds=thresholds)
    with_range = assessed(test, thresholds=thresholds, rule=DecideConfig(net_benefit_range=(0.35, 0.5)))

    assert (without.verdict.step, without.verdict.outcome) == ("4b", Outcome.THRESHOLDS_NOT_COMPARABLE)
    assert (with_range.verdict.step, with_range.verdict.model) == ("4b", "b")
    gain = net_benefit(test.y_true, test.scores["b"], [0.35, 0.5]) - net_benefit(
        test.y_true, test.scores["a"], [0.35, 0.5]
    )
    assert (gain > 0).all()


def test_net_benefit_recalibrates_as_the_curve_does() -> None:
    """A model shifted on purpose wins nothing by its shift once both are recalibrated."""
    both = [
        draw_study(
            {"a": 0.92, "b": 0.92}, n_negative=900, n_positive=600, seed=0, correlation=0.95, subset=subset,
            shift={"b": 2.0},
        )
        for subset in ("test", "val")
    ]  # fmt: skip
    rule = DecideConfig(net_benefit_range=(0.3, 0.6))

    raw, mended = (
        assessed(
            *both, evaluate=EvaluateConfig(n_resamples=200, recalibration=how), rule=rule,
            thresholds={"a": 0.5, "b": 0.2},
        )
        for how in ("none", "platt")
    )  # fmt: skip

    curves = [one.decision_curve for one in mended.evaluations]
    assert np.abs(np.array(curves[0].y) - np.array(curves[1].y))[30:60].max() < 0.02
    assert raw.evaluations[1].decision_curve != mended.evaluations[1].decision_curve


def test_three_models() -> None:
    """Joint test in the notes, adjusted p of all pairs."""
    found = assessed(study({"a": 0.93, "b": 0.92, "c": 0.75}, n=(900, 600), correlation=0.9))

    finite(found)
    assert len(found.comparisons) == 3
    assert any("joint DeLong test with 2 degrees of freedom" in note for note in found.notes)
    assert all(pair.p_values_adjusted["auc"] is not None for pair in found.comparisons)
    assert sum(row.quantity == "auc_difference_holm" for row in found.quantities) == 3


def test_wrong_names_are_refused() -> None:
    """A threshold of an unknown model; evaluations of other models than were scored."""
    test = study()
    with pytest.raises(
        DataError, match="a threshold is given for 'c', which was not scored; models are: a, b"
    ):
        assessed(test, thresholds={"c": 0.5})
    with pytest.raises(DataError, match=r"evaluated were \['a', 'b'\], but scored were \['a'\]"):
        assemble(
            test.only(["a"]),
            None,
            assessed(test).evaluations,
            (),
            evaluate=QUICK,
            rule=DecideConfig(),
            seed=0,
        )


@pytest.mark.parametrize("n_positive", [1, 2, 9])
def test_few_positives_end_without_figures_of_a_ranking(n_positive: int) -> None:
    """Three models and few positives: no AUC, no difference, no p-value anywhere, and a verdict that says so."""
    test = study({"a": 0.95, "b": 0.7, "c": 0.8}, n=(200, n_positive), images_per_patient=None)
    found = assessed(test, rule=DecideConfig(min_units=2))

    finite(found)
    assert found.verdict.outcome is Outcome.NOT_ENOUGH_DATA
    ranking = ("auc", "average_precision", "balanced_accuracy", "f1", "mcc", "brier", "ppv", "npv")
    for pair in found.comparisons:
        for name in (*ranking, "auc_bootstrap"):
            estimate = pair.differences[name]
            assert (estimate.value, estimate.ci_low, estimate.p_value) == (None, None, None)
            assert f"not estimable: {n_positive} positive" in (estimate.note or "")
    for one in found.evaluations:
        assert one.metrics["auc"].value is None
        assert one.calibration is not None
        assert one.calibration.slope.value is None


def test_scores_that_differ_by_rounding_only_are_one_score() -> None:
    """A network that said 0.5067919 of every image had an AUC of 0.477, a threshold and a slope of -109,278,936."""
    rng = np.random.default_rng(5)
    test, validation = study(), study(subset="val")
    both = []
    for subset in (test, validation):
        noise = 0.506791909 + 2.0**-33 * rng.integers(-4, 5, subset.n)
        both.append(replace(subset, scores={"a": subset.scores["a"], "b": noise}))
    found = assessed(*both)

    constant = found.evaluations[1]
    assert constant.constant_output
    assert (constant.metrics["auc"].value, constant.metrics["auc"].ci_low) == (0.5, None)
    assert "The model gives (nearly) every case the same score" in constant.warnings[0]
    assert "every validation case the same score" in (constant.operating_point.note or "")
    assert constant.calibration is not None
    assert constant.calibration.slope.note == "undefined: every case has the same probability"
    assert constant.confusion.true_positive in (0, constant.n_positive)
    assert len(constant.roc.x) == len(constant.roc.y)
    assert found.verdict.model != "b"
    finite(found)
