"""The flat table of ``results.json``: one row per figure, under a stable name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.stats.records import AgreementTable, Estimate, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medcompare.stats.in_detail import HeadToHead
    from medcompare.stats.records import (
        ModelEvaluation,
        PairedComparison,
        SeedComparison,
        SeedRow,
        SubsetName,
    )

CALIBRATION = {
    "slope": "calibration_slope",
    "in_the_large": "calibration_in_the_large",
    "observed_expected": "observed_expected_ratio",
    "scaled_brier": "scaled_brier",
    "expected_calibration_error": "expected_calibration_error",
    "expected_calibration_error_by_chance": "expected_calibration_error_by_chance",
    "integrated_calibration_index": "integrated_calibration_index",
    "e50": "calibration_e50",
    "e90": "calibration_e90",
}


def flat_quantities(
    evaluations: Sequence[ModelEvaluation],
    comparisons: Sequence[PairedComparison],
    *,
    seeds: Sequence[SeedRow] = (),
    seed_comparisons: Sequence[SeedComparison] = (),
    head_to_head: HeadToHead | None = None,
) -> tuple[Quantity, ...]:
    """Rows for every model, then for every pair, then for training seeds and for the pair compared in full.

    Parameters
    ----------
    evaluations, comparisons : sequences of records
        Models and pairs.
    seeds, seed_comparisons : sequences of records
        Repeated trainings, where there are any.
    head_to_head : HeadToHead, optional
        The two models compared in full.

    Returns
    -------
    tuple of Quantity
        Names are documented in ``docs/results.md``; (quantity, models, subset) is unique.
    """
    rows: list[Quantity] = []
    for one in evaluations:
        rows.extend(_of_model(one))
    for pair in comparisons:
        rows.extend(_of_pair(pair))
    rows.extend(_row(f"auc@{row.seed}", (row.model,), "test", row.auc) for row in seeds)
    for each in seed_comparisons:
        who, spread = (each.reference, each.candidate), each.standard_deviation
        rows.append(_row("auc_difference_over_seeds", who, "test", each.mean))
        method = "standard deviation between seeds"
        rows.append(
            _count("auc_difference_sd_over_seeds", who, "test", spread, method=method, n=len(each.seeds))
        )
    if head_to_head is not None:
        rows.extend(_in_full(head_to_head))
    return tuple(rows)


def _of_model(one: ModelEvaluation) -> Iterator[Quantity]:
    who, where = (one.model,), one.subset
    for name, estimate in one.metrics.items():
        yield _row(name, who, where, estimate)
    yield _count(
        "threshold", who, where, one.operating_point.threshold, method=one.operating_point.rule, n=None
    )
    for name, value in one.confusion.model_dump().items():
        yield _count(name, who, where, value, method="count", n=one.n)
    if one.confusion_at_half is not None:
        for name, value in one.confusion_at_half.model_dump().items():
            yield _count(f"{name}_at_half", who, where, value, method="count at threshold 0.5", n=one.n)
    for row, label in zip(one.classification_report, ("negative", "positive"), strict=True):
        for name in ("precision", "recall", "f1"):
            yield _row(f"{name}_{label}", who, where, getattr(row, name))
    for found, suffix in ((one.calibration, ""), (one.calibration_as_predicted, "_as_predicted")):
        named = ((name, getattr(found, field, None)) for field, name in CALIBRATION.items())
        yield from (
            _row(name + suffix, who, where, estimate) for name, estimate in named if estimate is not None
        )
    if one.running_statistics is not None:
        yield _row("auc_running", who, where, one.running_statistics.auc)
        yield _row("auc_remeasured_minus_running", who, where, one.running_statistics.difference)
    for group in one.subgroups:
        for name, estimate in group.metrics.items():
            yield _row(f"{name}[{group.column}={group.level}]", who, where, estimate)
        for name, estimate in group.against_rest.items():
            yield _row(f"{name}_against_rest[{group.column}={group.level}]", who, where, estimate)


def _of_pair(pair: PairedComparison) -> Iterator[Quantity]:
    who = (pair.reference, pair.candidate)
    for name, estimate in pair.differences.items():
        yield _row(f"{name}_difference", who, "test", estimate)
    for name, estimate in pair.detectable.items():
        yield _row(f"{name}_detectable_difference", who, "test", estimate)
    yield _row("probability_candidate_more_accurate", who, "test", pair.probability_candidate_more_accurate)
    tables = (("positives", pair.positives), ("negatives", pair.negatives), ("patients", pair.patients))
    for label, table in tables:
        counts = {} if table is None else table.model_dump(include=set(AgreementTable.model_fields))
        for name, value in counts.items():
            yield _count(f"{name}_{label}", who, "test", value, method="count", n=sum(counts.values()))
    if pair.patients is not None:
        yield _row("patients_all_right_difference", who, "test", pair.patients.difference)
    if pair.auc_simultaneous is not None:
        yield _row("auc_difference_simultaneous", who, "test", pair.auc_simultaneous)
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


def _in_full(detail: HeadToHead) -> Iterator[Quantity]:
    who = (detail.reference, detail.candidate)
    for point in detail.net_benefit_at:
        place = f"[threshold={point.threshold!r}]"
        yield _row(f"net_benefit{place}", who[:1], "test", point.reference)
        yield _row(f"net_benefit{place}", who[1:], "test", point.candidate)
        yield _row(f"net_benefit_difference{place}", who, "test", point.difference)
        yield _row(f"probability_of_benefit{place}", who, "test", point.probability_of_benefit)
        for name, estimate in point.interventions_avoided.items():
            models = {"reference": who[:1], "candidate": who[1:], "difference": who}[name]
            suffix = "_difference" if name == "difference" else ""
            yield _row(f"interventions_avoided{suffix}{place}", models, "test", estimate)
    for group in detail.subgroups:
        for name, estimate in group.differences.items():
            yield _row(f"{name}_difference[{group.column}={group.level}]", who, "test", estimate)
    for one in detail.interactions:
        yield Quantity(
            quantity=f"{one.metric}_interaction[{one.column}]",
            models=who,
            subset="test",
            value=one.statistic,
            level=None,
            method=f"Cochran's Q over {one.n_levels} levels, Holm over all such tests",
            p_value=one.p_value_adjusted,
            note=one.note,
        )


def _row(quantity: str, models: tuple[str, ...], subset: SubsetName, estimate: Estimate) -> Quantity:
    return Quantity(
        quantity=quantity, models=models, subset=subset, **estimate.model_dump(exclude={"trainings"})
    )


def _count(
    quantity: str, models: tuple[str, ...], subset: SubsetName, value: float, *, method: str, n: int | None
) -> Quantity:
    return Quantity(
        quantity=quantity, models=models, subset=subset, value=value, level=None, method=method, n=n
    )
