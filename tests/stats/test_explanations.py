"""Remarks, caveats, what may be used, and parameters, from records typed by hand."""

from __future__ import annotations

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.stats.records import Calibration, Curve, Estimate, ModelEvaluation, ModelUse
from medcompare.stats.verdict.caveats import miscalibration
from medcompare.stats.verdict.explanations import parameters
from medcompare.stats.verdict.phrases import floor_figures, interval
from medcompare.stats.verdict.rule import decide, first_match
from medcompare.stats.verdict.sentences import sentence_of
from medcompare.stats.verdict.situation import Finding, Situation
from tests.stats.studies import comparison, estimate, evaluation, missing, situation

A, B = evaluation("a"), evaluation("b")
PAIR = comparison((-0.02, 0.01))


def caveats(models: tuple[ModelEvaluation, ...], **fields: object) -> str:
    """All caveats of a decided pair."""
    return " ".join(decide(situation(models, [PAIR], **fields)).caveats)


def test_interval_in_words() -> None:
    """Signs, level, missing limits, and no minus zero."""
    assert interval(estimate(0.8, 0.9)) == "0.850, 95% interval 0.800 to 0.900"
    assert interval(estimate(-0.03, 0.01), signed=True) == "−0.010, 95% interval −0.030 to +0.010"
    almost_none = Estimate(value=-0.0001, ci_low=-0.0004, ci_high=0.0002, level=0.975, method="m")
    assert interval(almost_none, signed=True) == "0.000, 97.5% interval 0.000 to 0.000"
    assert interval(missing("no case")) == "not computed (no case)"
    assert interval(Estimate(value=0.5, method="m", note="constant")) == "0.500 (constant)"
    assert interval(Estimate(value=0.5, method="m")) == "0.500 (no interval)"


def test_parameters_and_who_set_them() -> None:
    """Every parameter of the rule, with 'user' only where the user set it."""
    rule = DecideConfig(
        margin_auc=0.05, margin_sensitivity=0.025, sensitivity_floor=0.9, net_benefit_range=(0.05, 0.2)
    )
    found = parameters(
        situation([A], rule=rule, set_by_user=frozenset({"decide.margin_auc", "decide.net_benefit_range"}))
    )

    rows = {row.name: (row.value, row.set_by) for row in found}
    default = "software default, not clinically justified"
    assert rows["margin_auc"] == ("0.05", "user")
    assert rows["margin_sensitivity"] == ("0.025", default)
    assert rows["net_benefit_range"] == ("0.05 to 0.2", "user")
    assert rows["auc_floor"] == ("0.70", default)
    assert rows["sensitivity_floor"] == ("0.90", default)
    assert rows["cost_tolerance"] == ("10%", default)
    assert rows["level"] == ("95%", default)
    assert "specificity_floor" not in rows


def test_defaults_are_said_until_all_are_set() -> None:
    """Floor and margins left at their defaults are named one by one."""
    names = ("auc_floor", "margin_auc", "margin_sensitivity", "margin_specificity")
    two = frozenset(f"decide.{name}" for name in names[:2])

    assert "the required AUC, the acceptable loss of AUC" in caveats((A, B))
    assert (
        "justification: the acceptable loss of sensitivity and the acceptable loss of specificity."
        in caveats((A, B), set_by_user=two)
    )
    all_set = frozenset(f"decide.{name}" for name in names)
    assert "defaults" not in caveats((A, B), set_by_user=all_set)


def test_warnings_come_first() -> None:
    """A collapsed model is said before anything else."""
    collapsed = evaluation("b", warnings=("The model predicts no case as cancer at its threshold.",))

    found = decide(situation((A, collapsed), [PAIR], patients_known=False)).caveats

    assert found[0] == "Model B: The model predicts no case as cancer at its threshold."
    assert found[1].startswith("No patient ids were given")


def test_equal_notes_on_thresholds_are_said_once() -> None:
    """Of two models without validation; a given threshold has its own words."""
    note = "0.5 is a convention, not chosen for this model: there was no validation subset, so no rule could be applied"
    noted = caveats((evaluation("a", note=note), evaluation("b", note=note)))
    given = caveats((evaluation("a", chosen_on="user"), B))

    assert f"Model A and Model B: {note}." in noted
    assert noted.count("not chosen for this model") == 1
    assert "Model A: the threshold was given, not chosen here" in given


def test_imbalance() -> None:
    """Told of whichever class is rare, below a fifth."""
    rare = tuple(evaluation(model, units=(950, 50)) for model in "ab")
    common = tuple(evaluation(model, units=(50, 450)) for model in "ab")
    fair = tuple(evaluation(model, units=(200, 800)) for model in "ab")

    assert "Only 5.0% of the test cases are cancer: never predicting cancer would be right in 95.0%" in (
        caveats(rare)
    )
    assert "Only 10.0% of the test cases are non_cancer" in caveats(common)
    assert "accuracy says little" not in caveats(fair)


def use(model: ModelEvaluation, evaluate: EvaluateConfig | None = None) -> ModelUse:
    """What the verdict on one model says of its threshold and probabilities."""
    looked_at = Situation(
        evaluations=(model,),
        comparisons=(),
        costs=(),
        rule=DecideConfig(),
        evaluate=evaluate or EvaluateConfig(),
    )
    (found,) = decide(looked_at).uses
    return found


def test_threshold_that_does_not_hold() -> None:
    """A target reached on validation and missed on the test, where the rule has a target."""
    broken = evaluation("a", sensitivity=(0.80, 0.94))

    assert use(broken).threshold == "not held"
    assert use(A).threshold == "usable"
    assert use(broken, EvaluateConfig(threshold_rule="youden")).threshold == "usable"


def faults(slope: Estimate, shift: Estimate) -> str:
    """What is said of probabilities whose calibration is as given."""
    other = estimate(0.1, 0.2)
    record = Calibration(
        slope=slope,
        in_the_large=shift,
        observed_expected=other,
        brier=other,
        scaled_brier=other,
        expected_calibration_error=other,
        curve=Curve(x=(), y=()),
        histogram_edges=(),
        histogram_negative=(),
        histogram_positive=(),
    )
    model = A.model_copy(update={"calibration": record})
    said = miscalibration(model)
    # One caveat names what each fault of the record is.
    assert len(said) == len(use(model).miscalibration or ())
    return "; ".join(said)


def test_calibration_in_words() -> None:
    """Over-confident, under-confident, too high, too low, nothing shown, or not known."""
    fine = estimate(0.9, 1.1), estimate(-0.1, 0.1)

    assert faults(*fine) == ""
    assert faults(estimate(0.5, 0.9), fine[1]).startswith("are over-confident (slope 0.700")
    assert faults(estimate(-0.3, 0.5), fine[1]).startswith("show no relation to the truth (slope 0.100")
    assert faults(estimate(-0.9, -0.5), fine[1]).startswith("fall where the truth is positive")
    assert faults(estimate(1.1, 1.5), fine[1]).startswith("are under-confident")
    assert faults(fine[0], estimate(0.1, 0.3)).startswith("are too low on average")
    assert faults(fine[0], estimate(-0.3, -0.1)).startswith("are too high on average")
    assert faults(missing("perfect separation"), fine[1]) == ""
    assert use(A).miscalibration is None


def test_floors_in_words() -> None:
    """Every floor that was set, and the figures held against it."""
    rule = DecideConfig(auc_floor=0.96, sensitivity_floor=0.9)
    looked_at = situation([A, B], [PAIR], rule=rule)

    text = sentence_of(looked_at, first_match(looked_at), None)

    assert "none reaches an AUC of 0.96 and a sensitivity of 0.9" in text
    assert "Model A: AUC 0.900, 95% interval 0.850 to 0.950, sensitivity 0.940" in text
    assert "specificity" not in floor_figures(A, rule)
    assert "specificity 0.750" in floor_figures(A, DecideConfig(specificity_floor=0.5))


def test_which_guard_is_open() -> None:
    """Missing too many, too many false alarms, or both."""
    both = situation([A, B], [comparison((-0.01, 0.01), sensitivity=(-0.1, 0.1), specificity=(-0.2, 0.1))])
    one = situation([A, B], [comparison((-0.01, 0.01), specificity=(-0.2, 0.1))])

    text = decide(both).sentence
    assert "Model B may miss too many cancer cases (sensitivity of Model B minus Model A: 0.000" in text
    assert "Model B may raise too many false alarms (specificity of Model B minus Model A: −0.050" in text
    assert "miss too many" not in decide(one).sentence


def test_finding_names_the_right_model_in_trade_offs() -> None:
    """Who misses more and who raises more false alarms follows the sign."""
    gained = situation(
        [A, B], [comparison((-0.01, 0.01), sensitivity=(0.01, 0.1), specificity=(-0.3, -0.2))], costs=()
    )

    finding = first_match(gained)

    assert isinstance(finding, Finding)
    assert "Model A misses more cancer cases, Model B raises more false alarms" in decide(gained).sentence


def test_invalid_verdict_offers_no_figures_as_reasons() -> None:
    """What rests on invalid data is no reason for anything."""
    found = decide(situation([A, B], [PAIR], validity=("Something was wrong.",)))

    assert found.remarks == ()
    assert found.headline == "No verdict: the comparison is not valid"


def test_a_proven_loss_is_never_may() -> None:
    """S3, S13: significantly lower, or lower by more than the margin, is said as such."""
    lower = situation([A, B], [comparison((-0.01, 0.01), specificity=(-0.15, -0.05))])
    lost = situation([A, B], [comparison((-0.01, 0.01), specificity=(-0.2, -0.12))])
    veto = situation(
        [A, B], [comparison((-0.01, 0.01), specificity=(-0.08, -0.02))], rule=DecideConfig(guard="veto")
    )

    assert "Model B raises more false alarms, perhaps too many" in decide(lower).sentence
    assert "Model B raises too many false alarms" in decide(lost).sentence
    assert "Model B raises more false alarms (specificity" in decide(veto).sentence


def test_not_significant_is_not_equal() -> None:
    """S13: a gain that is not shown is not called none."""
    found = decide(
        situation(
            [A, B], [comparison((-0.01, 0.01), sensitivity=(-0.12, -0.06), specificity=(-0.019, 0.052))]
        )
    )

    assert found.step == "4c"
    assert "without raising" not in found.sentence
    assert (
        "is not shown to raise fewer false alarms (specificity of Model B minus Model A: +0.017"
        in found.sentence
    )


def test_a_threshold_that_is_not_held_stands_among_the_caveats() -> None:
    """Page one prints the caveats: what the largest clinical weight has must be one of them, with its numbers."""
    broken = evaluation("a", sensitivity=(0.80, 0.90))
    out_of_reach = broken.model_copy(
        update={"operating_point": broken.operating_point.model_copy(update={"reached": False})}
    )
    # The upper limit is at the target: not shown to be lower.
    held = evaluation("b", sensitivity=(0.80, 0.95))

    text = (
        "Do not use this threshold: the sensitivity of 0.95 reached on validation is not held on the test subset by "
        "Model A (0.850, 95% interval 0.800 to 0.900)."
    )
    assert text in caveats((broken, held))
    assert text.replace("reached on", "aimed at on") in caveats((out_of_reach, held))
    assert "Do not use" not in caveats((A, held))
    assert "Do not use" not in caveats((evaluation("a", sensitivity=(0.8, 0.9), chosen_on="user"), held))
    both = caveats((broken, evaluation("b", sensitivity=(0.70, 0.80))))
    assert "Do not use these thresholds" in both
    assert "by Model A (0.850, 95% interval 0.800 to 0.900) and Model B (0.750, 95% interval" in both


def test_outputs_that_are_no_probabilities_stand_among_the_caveats() -> None:
    """Only where miscalibration is shown, with what shows it."""

    def with_calibration(slope: Estimate, shift: Estimate) -> str:
        nothing = estimate(0.1, 0.2)
        calibration = Calibration(
            in_the_large=shift, slope=slope, brier=nothing, scaled_brier=nothing, observed_expected=nothing,
            expected_calibration_error=nothing, curve=Curve(x=(), y=()), histogram_edges=(0.0, 1.0),
            histogram_negative=(0,), histogram_positive=(0,),
        )  # fmt: skip
        return caveats((A.model_copy(update={"calibration": calibration}), B))

    fine = estimate(0.9, 1.1), estimate(-0.1, 0.1)
    assert (
        "Do not read these outputs as probabilities: those of Model A are under-confident (slope 1.300, 95% interval "
        "1.100 to 1.500) and are too low on average (calibration-in-the-large +0.200, 95% interval +0.100 to +0.300)."
    ) in with_calibration(estimate(1.1, 1.5), estimate(0.1, 0.3))
    assert "those of Model A are over-confident (slope 0.700" in with_calibration(estimate(0.5, 0.9), fine[1])
    for slope, shift in (fine, (missing("separated"), fine[1])):
        assert "as probabilities" not in with_calibration(slope, shift)
