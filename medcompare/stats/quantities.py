"""The flat table of ``results.json``: one row per figure, under a stable name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.stats.records import Estimate, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medcompare.stats.records import ModelEvaluation, PairedComparison, SubsetName

CALIBRATION = {
    "slope": "calibration_slope",
    "in_the_large": "calibration_in_the_large",
    "observed_expected": "observed_expected_ratio",
    "scaled_brier": "scaled_brier",
    "expected_calibration_error": "expected_calibration_error",
}


def flat_quantities(
    evaluations: Sequence[ModelEvaluation], comparisons: Sequence[PairedComparison]
) -> tuple[Quantity, ...]:
    """Rows for every model, then for every pair; names are documented in ``docs/results.md``."""
    rows: list[Quantity] = []
    for one in evaluations:
        rows.extend(row for row in _of_model(one))
    for pair in comparisons:
        rows.extend(row for row in _of_pair(pair))
    return tuple(rows)


def _of_model(one: ModelEvaluation) -> Iterator[Quantity]:
    who, where = (one.model,), one.subset
    for name, estimate in one.metrics.items():
        yield _row(name, who, where, estimate)
    yield _count("threshold", who, where, one.operating_point.threshold, one.operating_point.rule)
    for name, value in one.confusion.model_dump().items():
        yield _count(name, who, where, value, "count", n=one.n)
    for row, label in zip(one.classification_report, ("negative", "positive"), strict=True):
        for name in ("precision", "recall", "f1"):
            yield _row(f"{name}_{label}", who, where, getattr(row, name))
    if one.calibration is not None:
        for field, name in CALIBRATION.items():
            yield _row(name, who, where, getattr(one.calibration, field))
    for group in one.subgroups:
        for name, estimate in group.metrics.items():
            yield _row(f"{name}[{group.column}={group.level}]", who, where, estimate)


def _of_pair(pair: PairedComparison) -> Iterator[Quantity]:
    who = (pair.reference, pair.candidate)
    for name, estimate in pair.differences.items():
        yield _row(f"{name}_difference", who, "test", estimate)
    yield _row("probability_candidate_more_accurate", who, "test", pair.probability_candidate_more_accurate)
    for label, table in (("positives", pair.positives), ("negatives", pair.negatives)):
        for name, value in table.model_dump().items():
            yield _count(f"{name}_{label}", who, "test", value, "count")
    for name, p_value in pair.p_values_adjusted.items():
        if p_value is not None:
            yield Quantity(
                quantity=f"{name}_difference_holm",
                models=who,
                subset="test",
                value=pair.differences[name].value,
                level=None,
                method="Holm over all pairs",
                p_value=p_value,
                note=None if pair.differences[name].value is not None else "undefined",
            )


def _row(quantity: str, models: tuple[str, ...], subset: SubsetName, estimate: Estimate) -> Quantity:
    return Quantity(quantity=quantity, models=models, subset=subset, **estimate.model_dump())


def _count(
    quantity: str,
    models: tuple[str, ...],
    subset: SubsetName,
    value: float,
    method: str,
    n: int | None = None,
) -> Quantity:
    return Quantity(
        quantity=quantity, models=models, subset=subset, value=value, level=None, method=method, n=n
    )
