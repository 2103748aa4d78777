"""Hand-made records with known limits, for the tests of the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.costs import CostMeasurement
from medcompare.stats.records import (
    AgreementTable,
    ClassReport,
    ConfusionCounts,
    Curve,
    Estimate,
    ModelEvaluation,
    OperatingPoint,
    PairedComparison,
)
from medcompare.stats.verdict.situation import Situation

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK = EvaluateConfig(n_resamples=200)
NAMES = {"a": "Model A", "b": "Model B", "c": "Model C", "d": "Model D"}
B_IS_CHEAPER = (
    CostMeasurement(model="a", latency_ms_median=40.0, n_parameters=23_000_000),
    CostMeasurement(model="b", latency_ms_median=20.0, n_parameters=4_000_000),
)
TRADE_OFF = (
    CostMeasurement(model="a", latency_ms_median=40.0, n_parameters=4_000_000),
    CostMeasurement(model="b", latency_ms_median=20.0, n_parameters=23_000_000),
)
SAME_COST = tuple(CostMeasurement(model=model, latency_ms_median=20.0) for model in "ab")


def estimate(low: float, high: float, *, p_value: float | None = None) -> Estimate:
    """An estimate in the middle of its limits."""
    return Estimate(
        value=(low + high) / 2, ci_low=low, ci_high=high, method="typed by hand", p_value=p_value, n=200
    )


def missing(note: str = "typed by hand") -> Estimate:
    """An estimate that could not be made."""
    return Estimate(value=None, method="none", note=note)


def evaluation(
    model: str = "a",
    auc: tuple[float, float] | None = (0.85, 0.95),
    *,
    units: tuple[int, int] = (200, 200),
    sensitivity: tuple[float, float] = (0.90, 0.98),
    specificity: tuple[float, float] = (0.70, 0.80),
    constant: bool = False,
    note: str | None = None,
    chosen_on: str = "validation",
    warnings: tuple[str, ...] = (),
    counts: tuple[int, int, int, int] | None = None,
) -> ModelEvaluation:
    """A model with these limits; `counts`: true negative, false positive, false negative, true positive."""
    n_negative, n_positive = units
    tn, fp, fn, tp = counts or (n_negative, 0, 0, n_positive)
    nothing = Curve(x=(), y=())
    rows = [
        ClassReport(class_name=name, support=n, precision=missing(), recall=missing(), f1=missing())
        for name, n in (("non_cancer", n_negative), ("cancer", n_positive))
    ]
    return ModelEvaluation(
        model=model,
        display_name=NAMES.get(model, model),
        classes=("non_cancer", "cancer"),
        n=n_negative + n_positive,
        n_positive=n_positive,
        n_negative=n_negative,
        n_units_positive=n_positive,
        n_units_negative=n_negative,
        clustered=False,
        operating_point=OperatingPoint(threshold=0.4, rule="typed by hand", chosen_on=chosen_on, note=note),
        confusion=ConfusionCounts(true_negative=tn, false_positive=fp, false_negative=fn, true_positive=tp),
        metrics={
            "auc": missing() if auc is None else estimate(*auc),
            "sensitivity": estimate(*sensitivity),
            "specificity": estimate(*specificity),
        },
        classification_report=(rows[0], rows[1]),
        roc=nothing,
        precision_recall=nothing,
        calibration=None,
        constant_output=constant,
        warnings=warnings,
    )


def comparison(
    auc: tuple[float, float] | None,
    *,
    sensitivity: tuple[float, float] = (-0.02, 0.02),
    specificity: tuple[float, float] = (-0.04, 0.04),
    pair: tuple[str, str] = ("a", "b"),
    positives: tuple[int, int, int, int] = (170, 10, 10, 10),
    adjusted: float | None = None,
) -> PairedComparison:
    """Candidate minus reference with these limits."""
    tables = [
        AgreementTable(
            both_correct=each[0],
            only_reference_correct=each[1],
            only_candidate_correct=each[2],
            both_wrong=each[3],
        )
        for each in (positives, (150, 20, 20, 10))
    ]
    return PairedComparison(
        reference=pair[0],
        candidate=pair[1],
        differences={
            "auc": missing() if auc is None else estimate(*auc),
            "sensitivity": estimate(*sensitivity),
            "specificity": estimate(*specificity),
        },
        positives=tables[0],
        negatives=tables[1],
        p_values_adjusted={} if adjusted is None else {"auc": adjusted},
        probability_candidate_more_accurate=Estimate(value=0.5, method="typed by hand"),
    )


def situation(
    evaluations: Sequence[ModelEvaluation],
    comparisons: Sequence[PairedComparison] = (),
    *,
    costs: Sequence[CostMeasurement] = B_IS_CHEAPER,
    rule: DecideConfig | None = None,
    **fields: object,
) -> Situation:
    """What the rule looks at."""
    return Situation(
        evaluations=tuple(evaluations),
        comparisons=tuple(comparisons),
        costs=tuple(costs),
        rule=rule or DecideConfig(),
        evaluate=EvaluateConfig(),
        **fields,
    )
