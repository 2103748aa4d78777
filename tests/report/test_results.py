"""``results.json``: complete, at full precision, and readable again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from medcompare.base.errors import DataError
from medcompare.report.results import (
    SCHEMA_VERSION,
    derived_numbers,
    read_results,
    results_json,
    results_of,
    row_fractions,
    schema_json,
)
from medcompare.stats.records import ConfusionCounts
from tests.report.sample import make_assessment, make_inputs

if TYPE_CHECKING:
    from medcompare.report.inputs import ReportInputs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    """Inputs of a whole report."""
    return make_inputs()


def test_round_trip_keeps_every_bit(inputs: ReportInputs, tmp_path: Path) -> None:
    """What is read back equals what was written, floats included."""
    (tmp_path / "results.json").write_bytes(results_json(inputs))

    found = read_results(tmp_path / "results.json")

    assert found == results_of(inputs)
    assert found.full_assessment() == inputs.assessment
    assert found.schema_version == SCHEMA_VERSION


def test_quantities_stand_once_at_the_top(inputs: ReportInputs) -> None:
    """The flat table has one row per figure, with the columns other software reads."""
    plain = json.loads(results_json(inputs))

    assert len(plain["quantities"]) == len(inputs.assessment.quantities)
    assert plain["assessment"]["quantities"] == []
    first = inputs.assessment.quantities[0]
    assert plain["quantities"][0]["value"] == first.value
    columns = {
        "quantity",
        "models",
        "subset",
        "value",
        "ci_low",
        "ci_high",
        "level",
        "method",
        "p_value",
        "n",
        "note",
    }
    assert set(plain["quantities"][0]) == columns


def test_no_pictures_in_results(inputs: ReportInputs) -> None:
    """Thumbnails stay in the report."""
    assert inputs.hard_cases[0].thumbnail_png is not None
    assert all(case.thumbnail_png is None for case in results_of(inputs).hard_cases)


def test_equal_input_gives_equal_bytes(inputs: ReportInputs) -> None:
    """Nothing depends on the moment of writing."""
    assert results_json(inputs) == results_json(inputs)


def test_not_finite_numbers_are_named(inputs: ReportInputs) -> None:
    """A NaN that got this far is refused with its place."""
    assessment = inputs.assessment.model_copy(update={"prevalence": math.nan})
    broken = inputs.model_copy(update={"assessment": assessment})
    with pytest.raises(ValueError, match=r"^assessment\.prevalence is not a finite number"):
        results_json(broken)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "is not a results file of schema 2.0: the file as a whole"),
        (b'{"schema_version": "9.9"}', "is not a results file of schema 2.0: schema_version"),
    ],
)
def test_read_results_refuses_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    """The message names the file and the first field that is wrong."""
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_results(path)


def test_read_results_missing_file(tmp_path: Path) -> None:
    """A file that is not there is an input error."""
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_results(tmp_path / "nowhere.json")


def test_row_fractions_by_hand() -> None:
    """Rows are true classes: 30 of 40 negatives, 45 of 60 positives; an empty class has none."""
    counts = ConfusionCounts(true_negative=30, false_positive=10, false_negative=15, true_positive=45)
    empty = ConfusionCounts(true_negative=3, false_positive=1, false_negative=0, true_positive=0)

    assert row_fractions(counts) == {
        "true_negative": 0.75,
        "false_positive": 0.25,
        "false_negative": 0.25,
        "true_positive": 0.75,
    }
    assert row_fractions(empty)["true_positive"] is None


def test_derived_numbers_hold_cost_ratios(inputs: ReportInputs) -> None:
    """Candidate over reference, as printed in the column of ratios."""
    reference, candidate = inputs.assessment.costs

    found = {row.name: row for row in derived_numbers(inputs)}

    ratio = found["cost_ratio.latency_ms_median"]
    assert ratio.models == (reference.model, candidate.model)
    assert ratio.value == pytest.approx(1 / 1.9)
    assert found["confusion_row_fraction.true_positive"].value > 0.9


def test_pair_of_verdict() -> None:
    """The named pair in either order; else the favourite against the best other; none with one model."""
    three = make_assessment(n=120, n_models=3, subgroups=False)
    verdict = three.verdict

    def pair(**changes: object) -> tuple[str, str]:
        found = three.model_copy(update={"verdict": verdict.model_copy(update=changes)}).pair_of_verdict()
        assert found is not None
        return found.reference, found.candidate

    assert pair(reference="convnext_tiny", candidate="resnet50") == ("resnet50", "convnext_tiny")
    unnamed = {"reference": None, "candidate": None}
    aucs = {e.model: e.metrics["auc"].value for e in three.evaluations}
    assert max(aucs, key=lambda model: aucs[model] or 0) == "convnext_tiny"
    assert pair(**unnamed, model="resnet50") == ("resnet50", "convnext_tiny")
    assert pair(**unnamed, model=None) == ("resnet50", "efficientnet_b0")
    assert make_assessment(n=120, n_models=1, subgroups=False).pair_of_verdict() is None


def test_documented_schema_is_current() -> None:
    """``docs/results.schema.json`` is generated; docs/results-schema.md names the command."""
    stored = (ROOT / "docs" / "results.schema.json").read_bytes()

    assert stored == schema_json(), "generate it again: see docs/results-schema.md"


def test_results_follow_the_documented_schema(inputs: ReportInputs) -> None:
    """Fields that are not set included."""
    written = json.loads(results_json(inputs))

    jsonschema.validate(written, json.loads(schema_json()))
    assert written["rule"]["sensitivity_floor"] is None
