"""The smallest records of the statistics: a number with its interval, a threshold, counts, a curve."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medcompare.base.record import Record

SubsetName = Literal["val", "test"]


class OverTrainings(Record):
    """What a mean over trainings rests on: cases lessen one part of its error, trainings the other."""

    n: int = Field(ge=2, description="Trainings of each model.")
    standard_deviation: float = Field(ge=0, description="Between trainings.")
    standard_error: float = Field(ge=0, description="Of the mean, over cases and trainings.")


class Estimate(Record):
    """A number with its interval; no metric travels as a bare float."""

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    level: float | None = Field(default=0.95, gt=0, lt=1)
    method: str = Field(description="Short standard name, e.g. 'Wilson', 'DeLong (logit)'.")
    p_value: float | None = Field(default=None, ge=0, le=1)
    n: int | None = Field(default=None, ge=0, description="Cases the figure rests on.")
    note: str | None = Field(default=None, description="Why null, or a warning.")
    trainings: OverTrainings | None = Field(default=None, description="None unless a mean over trainings.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.ci_low is not None and self.ci_high is not None and self.ci_low > self.ci_high:
            msg = f"interval [{self.ci_low}, {self.ci_high}] is reversed"
            raise ValueError(msg)
        if self.value is None and self.note is None:
            msg = "an estimate without a value needs a note that says why"
            raise ValueError(msg)
        return self


class Quantity(Estimate):
    """One row of the flat table in ``results.json``: an estimate and its stable name."""

    quantity: str
    models: tuple[str, ...] = Field(min_length=1, max_length=2)
    subset: SubsetName
    trainings: None = Field(default=None, exclude=True)  # the table is flat


class ConfusionCounts(Record):
    """Counts at the frozen threshold; positive = ``score >= threshold``."""

    true_negative: int = Field(ge=0)
    false_positive: int = Field(ge=0)
    false_negative: int = Field(ge=0)
    true_positive: int = Field(ge=0)


class AgreementTable(Record):
    """A-by-B decisions within cases of one true class."""

    both_correct: int
    only_reference_correct: int
    only_candidate_correct: int
    both_wrong: int


class PatientAgreement(AgreementTable):
    """The same of patients, where these have several cases: right where all cases of a patient are."""

    difference: Estimate = Field(description="Of the share of patients all of whose cases are right.")


class OperatingPoint(Record):
    """A threshold and where it came from."""

    threshold: float
    rule: str = Field(description="Plain words, e.g. 'sensitivity at least 0.95 on validation'.")
    chosen_on: Literal["validation", "user", "fixed", "convention"] = Field(
        description="'convention': 0.5, for want of a validation subset; nothing at it is proven."
    )
    reached: bool = Field(default=True, description="False where the target could not be met.")
    note: str | None = None
    validation_sensitivity: Estimate | None = Field(
        default=None, description="At this threshold, on the cases it was chosen on."
    )
    validation_specificity: Estimate | None = Field(
        default=None, description="At this threshold, on the cases it was chosen on."
    )


class Curve(Record):
    """A drawn curve; ``x`` and ``y`` have the same length; bands may be empty."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    y_low: tuple[float, ...] = ()
    y_high: tuple[float, ...] = ()


class Calibration(Record):
    """Agreement of predicted probabilities with outcomes on the test subset."""

    slope: Estimate
    in_the_large: Estimate
    observed_expected: Estimate
    brier: Estimate
    scaled_brier: Estimate
    expected_calibration_error: Estimate
    expected_calibration_error_by_chance: Estimate | None = Field(
        default=None, description="Its mean where these probabilities are perfectly calibrated."
    )
    integrated_calibration_index: Estimate | None = Field(
        default=None, description="Mean distance between curve and probability over the test cases."
    )
    e50: Estimate | None = Field(default=None, description="Median of these distances.")
    e90: Estimate | None = Field(default=None, description="90th percentile of these distances.")
    curve: Curve
    histogram_edges: tuple[float, ...]
    histogram_negative: tuple[int, ...]
    histogram_positive: tuple[int, ...]
    recalibration: str | None = Field(
        default=None, description="'temperature', 'platt', 'isotonic' (fitted on validation) or None."
    )
