"""``results.json``: every number of the report at full precision, versioned and typed.

The file is the machine's copy of the report. `Results` is its schema; the JSON Schema
in the documentation is generated from it. What the report derives from the records for
display (row percentages, cost ratios) is in ``derived``, computed by the same
functions the pages use.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field, ValidationError

from medcompare.base.errors import DataError
from medcompare.base.record import Record
from medcompare.config.form import AS_FORM
from medcompare.config.schema import DecideConfig
from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit
from medcompare.predictions.saliency import SaliencyMaps
from medcompare.report.inputs import (
    ChecklistTable,
    HardCase,
    RejectedRow,
    ReportInputs,
    ScoreDistribution,
    SettingRow,
    Source,
    TrendRun,
)
from medcompare.runs.changes import Cause, DataChanges
from medcompare.runs.provenance import Provenance
from medcompare.stats.in_detail import TrendControl
from medcompare.stats.records import Assessment, ConfusionCounts, Quantity
from medcompare.training.budget import Budget
from medcompare.training.records import TrainedModel
from medcompare.training.search import Search

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from medcompare.predictions.costs import CostMeasurement

SCHEMA_VERSION: Final = "2.0"
"""First number: a field was renamed, removed or changed its meaning. Second: fields were added."""

COST_FIELDS = (
    "n_parameters",
    "flops",
    "checkpoint_bytes",
    "latency_ms_median",
    "latency_ms_p95",
    "throughput_images_per_s",
    "peak_memory_bytes",
    "training_images_per_s",
    "training_time_s",
)


class DerivedNumber(Record):
    """A printed number that follows from others in the file."""

    name: str = Field(description="e.g. 'confusion_row_fraction.true_positive'.")
    models: tuple[str, ...] = Field(min_length=1, max_length=2)
    value: float
    definition: str


class Results(Record):
    """Content of ``results.json``."""

    schema_version: Literal["2.0"] = SCHEMA_VERSION
    medcompare_version: str
    title: str
    organisation: str
    run_name: str
    source: Source
    synthetic: bool
    notices: tuple[str, ...]
    quantities: tuple[Quantity, ...] = Field(description="Flat table: one row per figure.")
    assessment: Assessment = Field(description="Nested records; its ``quantities`` are one level up.")
    derived: tuple[DerivedNumber, ...]
    rule: DecideConfig
    n_earlier_looks: int
    manifest: DatasetManifest | None
    rejected: tuple[RejectedRow, ...]
    pseudonymised: bool
    split: DatasetSplit | None
    characteristics: tuple[Characteristic, ...] = ()
    trained: tuple[TrainedModel, ...]
    further_trainings: tuple[TrainedModel, ...] = ()
    budgets: tuple[Budget, ...] = ()
    searches: tuple[Search, ...] = ()
    score_distributions: tuple[ScoreDistribution, ...]
    hard_cases: tuple[HardCase, ...] = Field(description="Without pictures.")
    n_hard_cases: int | None
    saliency: tuple[SaliencyMaps, ...] = ()
    settings: tuple[SettingRow, ...]
    provenance: Provenance
    trend: tuple[TrendRun, ...]
    trend_marks: tuple[tuple[Cause, ...], ...]
    trend_control: tuple[TrendControl, ...] = ()
    changes: tuple[str, ...]
    data_changes: DataChanges | None = None
    checklists: tuple[ChecklistTable, ...]
    files: tuple[tuple[str, str], ...]

    def full_assessment(self) -> Assessment:
        """The assessment with its quantities, as it was handed to the report."""
        return self.assessment.model_copy(update={"quantities": self.quantities})


def row_fractions(counts: ConfusionCounts) -> dict[str, float | None]:
    """Each cell of a confusion matrix as a fraction of its true class.

    Parameters
    ----------
    counts : ConfusionCounts
        Rows are true classes.

    Returns
    -------
    dict
        Cell name → fraction in [0, 1]; None where the true class has no case.
    """
    n_negative = counts.true_negative + counts.false_positive
    n_positive = counts.false_negative + counts.true_positive
    return {
        "true_negative": counts.true_negative / n_negative if n_negative else None,
        "false_positive": counts.false_positive / n_negative if n_negative else None,
        "false_negative": counts.false_negative / n_positive if n_positive else None,
        "true_positive": counts.true_positive / n_positive if n_positive else None,
    }


def cost_ratio(reference: CostMeasurement, candidate: CostMeasurement, field: str) -> float | None:
    """Candidate's cost over the reference's; None where either is missing or zero."""
    over, under = getattr(candidate, field), getattr(reference, field)
    return over / under if over is not None and under else None


def derived_numbers(inputs: ReportInputs) -> tuple[DerivedNumber, ...]:
    """Every number the report computes for display only."""
    shares = [
        DerivedNumber(
            name=f"confusion_row_fraction.{name}",
            models=(evaluation.model,),
            value=value,
            definition="count over the cases of its true class",
        )
        for evaluation in inputs.assessment.evaluations
        for name, value in row_fractions(evaluation.confusion).items()
        if value is not None
    ]
    pair = inputs.assessment.pair_of_verdict()
    costs = {cost.model: cost for cost in inputs.assessment.costs}
    if pair is None or not {pair.reference, pair.candidate} <= set(costs):
        return tuple(shares)
    reference, candidate = costs[pair.reference], costs[pair.candidate]
    ratios = [
        DerivedNumber(
            name=f"cost_ratio.{field}",
            models=(reference.model, candidate.model),
            value=ratio,
            definition="second model's cost over the first's",
        )
        for field in COST_FIELDS
        if (ratio := cost_ratio(reference, candidate, field)) is not None
    ]
    return (*shares, *ratios)


def results_of(inputs: ReportInputs) -> Results:
    """Everything the report prints, as one record."""
    kept = {name: getattr(inputs, name) for name in Results.model_fields if name in type(inputs).model_fields}
    return Results(
        **kept
        | {
            "medcompare_version": inputs.provenance.medcompare_version,
            "quantities": inputs.assessment.quantities,
            "assessment": inputs.assessment.model_copy(update={"quantities": ()}),
            "derived": derived_numbers(inputs),
            "hard_cases": tuple(
                case.model_copy(update={"thumbnail_png": None, "maps": ()}) for case in inputs.hard_cases
            ),
        }
    )


def results_json(inputs: ReportInputs) -> bytes:
    """``results.json`` as bytes: UTF-8, indented, equal input gives equal bytes.

    Raises
    ------
    ValueError
        If a number is not finite, which JSON cannot hold.
    """
    plain = results_of(inputs).model_dump(mode="python")
    wrong = _not_finite(plain, "")
    if wrong:
        msg = f"{wrong.lstrip('.')} is not a finite number: undefined figures must be None, with a note"
        raise ValueError(msg)
    text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def _not_finite(value: object, path: str) -> str:
    """Path of the first number that is NaN or infinite; empty if all are finite."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else path
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    return next((found for key, item in items if (found := _not_finite(item, f"{path}.{key}"))), "")


def read_results(path: Path) -> Results:
    """Read and check a ``results.json``.

    Parameters
    ----------
    path : Path
        File written by `write_report`.

    Raises
    ------
    DataError
        If the file is missing, is not JSON, or does not follow the schema.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise DataError(msg) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file as a whole"
        msg = f"{path} is not a results file of schema {SCHEMA_VERSION}: {where}: {first['msg']}"
        raise DataError(msg) from error


def schema_json() -> bytes:
    """JSON Schema of ``results.json``, as in the documentation."""
    token = AS_FORM.set(False)
    try:
        schema = Results.model_json_schema(mode="serialization")
    finally:
        AS_FORM.reset(token)
    return (json.dumps(schema, indent=1, ensure_ascii=False) + "\n").encode("utf-8")
