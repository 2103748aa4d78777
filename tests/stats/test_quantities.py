"""The flat table: unique names, every one documented, equal to the nested records."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.stats.assessment import assess
from medcompare.stats.quantities import flat_quantities
from medcompare.stats.records import RunningStatistics
from tests.stats.simulated import draw_study

if TYPE_CHECKING:
    from medcompare.stats.records import Assessment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"


def full_assessment() -> Assessment:
    """Three models, seeds, patients, subgroups and a stated prevalence: every kind of row."""
    test = draw_study(
        {"a": 0.9, "b": 0.85, "c": 0.8}, n_negative=80, n_positive=60, seed=1, images_per_patient=2
    )
    seeds = {m: {str(k): np.roll(test.scores[m], 0) ** (1 + k) for k in range(3)} for m in "ab"}
    test = replace(test, seed_scores=seeds, subgroups={"sex": np.array(["f", "m"] * 70)})
    return assess(
        test, None, (), display_names={}, evaluate=EvaluateConfig(n_resamples=200, stated_prevalence=0.01),
        rule=DecideConfig(), thresholds={}, seed=0,
    )  # fmt: skip


def test_rows_are_unique_and_equal_the_records() -> None:
    """(quantity, models, subset) names one row, and the row is the record's figure."""
    found = full_assessment()
    rows = {(row.quantity, row.models): row for row in found.quantities}

    assert len(rows) == len(found.quantities)
    for one in found.evaluations:
        for name, estimate in one.metrics.items():
            row = rows[name, (one.model,)]
            assert row.model_dump(include=set(type(estimate).model_fields)) == estimate.model_dump(
                exclude={"trainings"}
            )
        assert rows["threshold", (one.model,)].value == one.operating_point.threshold
        assert rows["true_positive", (one.model,)].value == one.confusion.true_positive
    assert found.head_to_head is not None
    for point in found.head_to_head.net_benefit_at:
        who = (found.head_to_head.reference, found.head_to_head.candidate)
        for name, model in (("reference", who[:1]), ("candidate", who[1:]), ("difference", who)):
            quantity = "interventions_avoided" + ("_difference" if name == "difference" else "")
            row = rows[f"{quantity}[threshold={point.threshold!r}]", model]
            assert (row.value, row.ci_low) == (
                point.interventions_avoided[name].value,
                point.interventions_avoided[name].ci_low,
            )
    for pair in found.comparisons:
        who = (pair.reference, pair.candidate)
        assert rows["auc_difference", who].value == pair.differences["auc"].value
        assert rows["auc_difference", who].p_value == pair.differences["auc"].p_value
        assert rows["auc_difference_holm", who].p_value == pair.p_values_adjusted["auc"]
        assert rows["both_correct_positives", who].value == pair.positives.both_correct
        assert rows["both_correct_positives", who].n == found.n_positive
        assert pair.patients is not None
        assert rows["both_wrong_patients", who].value == pair.patients.both_wrong
        assert rows["both_wrong_patients", who].n == found.n_patients
        assert rows["patients_all_right_difference", who].p_value == pair.patients.difference.p_value


def test_every_name_is_documented() -> None:
    """The page of results names every quantity, and no quantity that does not exist."""
    _, text = PAGE.read_text(encoding="utf-8").split("## One model")
    told = set(re.findall(r"^\| `([^`]+)`", text, flags=re.MULTILINE))
    found = full_assessment()
    # Of networks trained here: an evaluation carries the figures of the running batch statistics too.
    both = RunningStatistics(
        auc=found.evaluations[0].metrics["auc"], difference=found.evaluations[0].metrics["auc"]
    )
    trained = found.evaluations[0].model_copy(update={"running_statistics": both})
    rows = (*found.quantities, *flat_quantities([trained], []))
    names = {re.sub(r"\[.*\]|@.*", "", row.quantity) for row in rows}

    assert told == names
