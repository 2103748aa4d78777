"""One score per patient: worked by hand, beside pandas, and through the tables of an assessment."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import pytest

from medcompare.base.errors import DataError
from medcompare.config.schema import AssessConfig
from medcompare.predictions.cases import ScoredCases, insist_on_patients
from medcompare.predictions.table import read_tables, write_prediction_table
from medcompare.stats.evaluation import evaluate_model

if TYPE_CHECKING:
    from pathlib import Path


def five_images(patients: list[str] | None) -> ScoredCases:
    """Patients B, A, B, A, C."""
    return ScoredCases(
        case_id=("1", "2", "3", "4", "5"),
        y_true=np.array([1, 0, 1, 0, 1]),
        scores={"one": np.array([0.2, 0.1, 0.9, 0.3, 0.5]), "two": np.array([1.0, 0.0, 0.5, 0.0, 0.25])},
        seed_scores={
            "one": {"0": np.array([0.2, 0.1, 0.9, 0.3, 0.5]), "1": np.array([0.4, 0.1, 0.2, 0.2, 0.6])}
        },
        patient_id=None if patients is None else np.array(patients),
        subgroups={"site": np.array(["x", "y", "x", "y", "z"]), "side": np.array(["l", "l", "r", "l", "r"])},
        classes=("no", "yes"),
        subset="test",
        rows=(2, 3, 4, 5, 6),
    )


@pytest.mark.parametrize(
    ("how", "one", "two", "later", "shown"),
    [
        ("mean", [0.2, 0.55, 0.5], [0.0, 0.75, 0.25], [0.15, 0.3, 0.6], ("2", "1", "5")),
        ("max", [0.3, 0.9, 0.5], [0.0, 1.0, 0.25], [0.2, 0.4, 0.6], ("4", "3", "5")),
    ],
)
def test_by_hand(
    how: Literal["mean", "max"],
    one: list[float],
    two: list[float],
    later: list[float],
    shown: tuple[str, ...],
) -> None:
    """Of A, B and C; the case that stands for each; several values of a column are no value."""
    found = five_images(["B", "A", "B", "A", "C"]).per_patient(how)

    assert found.patient_id is not None
    assert found.patient_id.tolist() == ["A", "B", "C"]
    assert found.y_true.tolist() == [0, 1, 1]
    np.testing.assert_allclose(found.scores["one"], one)
    np.testing.assert_allclose(found.scores["two"], two)
    np.testing.assert_allclose(found.seed_scores["one"]["1"], later)
    assert found.case_id == shown
    assert found.subgroups["site"].tolist() == ["y", "x", "z"]
    assert found.subgroups["side"].tolist() == ["l", "several", "r"]
    assert (found.n, found.n_patients, found.clusters) == (3, 3, None)


def test_as_they_are_and_refused() -> None:
    """Without ids, and for patients with both classes, who have none of their own."""
    cases = five_images(["B", "A", "B", "A", "C"])
    assert cases.per_patient("none") is cases
    with pytest.raises(
        DataError, match=r"evaluate\.per_patient: patients are not known\. Give a column patient_id"
    ):
        five_images(None).per_patient("mean")
    with pytest.raises(
        DataError, match=r"2 of 3 patients have images of both classes.*evaluate\.per_patient=none"
    ):
        five_images(["A", "A", "B", "B", "C"]).per_patient("max")
    with pytest.raises(DataError, match="patients are not known"):
        insist_on_patients(["a", ""], [0, 1], "mean")


def test_no_cell_of_an_exported_table_is_a_formula() -> None:
    """Nor one of its header: models and columns are called as people call them."""
    cases = five_images(["=A", "+B", "-C", "@D", "E"])
    cases = replace(
        cases,
        scores={"=cmd|calc": cases.scores["one"]},
        seed_scores={},
        subgroups={"@x": np.array(["=1+1"] * 5)},
    )

    rows = list(csv.reader(io.StringIO(write_prediction_table(cases).decode())))

    assert rows[0] == ["case_id", "y_true", "patient_id", "'@x", "'=cmd|calc"]
    assert not [cell for row in rows for cell in row if cell[:1] in set("=+-@\t")]


@pytest.mark.parametrize("how", ["mean", "max"])
def test_an_assessment_by_patient(tmp_path: Path, how: Literal["mean", "max"]) -> None:
    """It is that of a table in which pandas did the same."""
    rng = np.random.default_rng(4)
    for name, n in (("test", 40), ("validation", 30)):
        patients = np.repeat(np.arange(n), 4)
        truth = patients % 2
        table = pd.DataFrame(
            {
                "case_id": [f"{name}-{i}" for i in range(4 * n)],
                "y_true": truth,
                "patient_id": [f"{name[0]}{p:03d}" for p in patients],
                "net": (rng.normal(0.4 + 0.15 * truth, 0.15)).clip(0, 1),
                "other": (rng.normal(0.4 + 0.10 * truth, 0.15)).clip(0, 1),
            }
        )
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        grouped = table.groupby("patient_id").agg(
            {"case_id": "first", "y_true": "first", "net": how, "other": how}
        )
        grouped.reset_index().to_csv(tmp_path / f"{name}_by_patient.csv", index=False)

    def evaluated(suffix: str, **evaluate: str) -> dict[str, float | None]:
        config = AssessConfig.model_validate(
            {
                "predictions": tmp_path / f"test{suffix}.csv",
                "validation": tmp_path / f"validation{suffix}.csv",
                "evaluate": {"n_resamples": 200, **evaluate},
            }
        )
        tables = read_tables(config)
        found = evaluate_model(
            tables.test, tables.validation, "net", display_name="net", evaluate=config.evaluate, seed=0
        )
        return {"threshold": found.operating_point.threshold, "n": found.n} | {
            name: estimate.value for name, estimate in found.metrics.items()
        }

    by_patient = evaluated("", per_patient=how)
    assert by_patient == pytest.approx(evaluated("_by_patient"), nan_ok=True)
    assert by_patient["n"] == 40
    assert evaluated("")["n"] == 160
