"""Records of the statistics: estimates, evaluations, comparisons and the verdict.

Differences are always *candidate minus reference* (B - A) in these records: A is the
reference (more expensive) model, B the candidate (cheaper) one, as in the decision rule.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from medcompare.base.formatting import join_words
from medcompare.base.language import tn
from medcompare.base.record import Record
from medcompare.predictions.costs import CostMeasurement
from medcompare.stats.estimates import (
    AgreementTable,
    Calibration,
    ConfusionCounts,
    Curve,
    Estimate,
    OperatingPoint,
    PatientAgreement,
    Quantity,
    SubsetName,
)
from medcompare.stats.in_detail import HeadToHead, RandomSplit, Shortcut, SubgroupEvaluation

__all__ = [
    "AgreementTable", "Calibration", "ConfusionCounts", "Curve", "Estimate", "OperatingPoint", "Quantity", "SubsetName",
]  # fmt: skip
# Used by all the world from here.


class ClassReport(Record):
    """One row of the classification report."""

    class_name: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


class RunningStatistics(Record):
    """The same checkpoint evaluated with the running batch statistics its library kept in training."""

    auc: Estimate = Field(description="On the test subset, with the running statistics.")
    difference: Estimate = Field(description="AUC as evaluated, statistics re-measured, minus that.")


class ModelEvaluation(Record):
    """Everything about one model on the test subset.

    ``metrics`` keys (stable, documented): ``auc, average_precision, accuracy,
    balanced_accuracy, sensitivity, specificity, ppv, npv, ppv_at_prevalence,
    npv_at_prevalence, likelihood_ratio_positive, likelihood_ratio_negative, f1, mcc,
    brier``. Keys that cannot be computed are present with
    ``value=None`` and a note.
    """

    model: str
    display_name: str
    subset: SubsetName = "test"
    classes: tuple[str, str]
    n: int
    n_positive: int
    n_negative: int
    n_units_positive: int = Field(description="Patients (or images) with a positive.")
    n_units_negative: int
    clustered: bool
    operating_point: OperatingPoint
    confusion: ConfusionCounts
    confusion_at_half: ConfusionCounts | None = Field(
        default=None,
        description="Counts at 0.5, the conventional threshold; None where the scores are not probabilities.",
    )
    metrics: dict[str, Estimate]
    classification_report: tuple[ClassReport, ClassReport]
    roc: Curve = Field(description="x = 1 - specificity, y = sensitivity; band from bootstrap.")
    precision_recall: Curve = Field(description="x = recall, y = precision; step-wise.")
    precision_band: Curve | None = Field(default=None, description="The same on a grid; band from bootstrap.")
    calibration: Calibration | None = Field(description="None where scores are not probabilities.")
    calibration_as_predicted: Calibration | None = Field(
        default=None, description="Before recalibration; None where nothing was recalibrated."
    )
    decision_curve: Curve | None = Field(
        default=None,
        description="x = threshold probability, y = net benefit (at the stated prevalence, if any), with a band.",
    )
    subgroups: tuple[SubgroupEvaluation, ...] = ()
    constant_output: bool = Field(description="(Nearly) every case has the same score.")
    running_statistics: RunningStatistics | None = Field(
        default=None, description="None without batch normalisation, or where the scores were supplied."
    )
    warnings: tuple[str, ...] = ()
    over_seeds: dict[str, Estimate] = Field(
        default={},
        description="Mean AUC, sensitivity and specificity over all trainings of the model: what the verdict rests "
        "on. Empty where there was one training.",
    )

    def decisive(self, name: str) -> Estimate:
        """The figure that the verdict rests on: the mean over trainings where there are several."""
        return self.over_seeds.get(name, self.metrics[name])

    @model_validator(mode="after")
    def _counts_add_up(self) -> Self:
        c = self.confusion
        total = c.true_negative + c.false_positive + c.false_negative + c.true_positive
        if total != self.n or self.n_positive + self.n_negative != self.n:
            msg = f"confusion matrix sums to {total}, classes to {self.n_positive + self.n_negative}, n is {self.n}"
            raise ValueError(msg)
        return self


class PairedComparison(Record):
    """Candidate minus reference on the same cases.

    ``differences`` keys: ``auc, sensitivity, specificity, accuracy, balanced_accuracy,
    f1, mcc, average_precision, brier, ppv, npv``; further methods for the same figure
    carry a suffix, e.g. ``sensitivity_newcombe``, ``auc_bootstrap``. With several trainings of both models
    the first three are means over them, and ``auc_one_training`` is that of the checkpoints evaluated.
    """

    reference: str
    candidate: str
    differences: dict[str, Estimate]
    positives: AgreementTable
    negatives: AgreementTable
    patients: PatientAgreement | None = Field(
        default=None, description="Null where no patient has several cases, or patients are not known."
    )
    p_values_adjusted: dict[str, float | None] = Field(
        default_factory=dict, description="Holm over all pairs; empty with two models."
    )
    probability_candidate_more_accurate: Estimate
    detectable: dict[str, Estimate] = Field(
        default_factory=dict,
        description="Smallest true difference this study would have found in 8 of 10 repetitions, by figure.",
    )
    auc_simultaneous: Estimate | None = Field(
        default=None,
        description="Difference of AUC with an interval that allows for the number of pairs; None with two models.",
    )


class Outcome(StrEnum):
    """What the rule can say."""

    INVALID = "invalid"
    NOT_ENOUGH_DATA = "not_enough_data"
    THRESHOLDS_NOT_COMPARABLE = "thresholds_not_comparable"
    NEITHER_ADEQUATE = "neither_adequate"
    USE_MODEL = "use_model"
    PREFER_CHEAPER = "prefer_cheaper"
    CHOOSE_BY_COST = "choose_by_cost"


class Parameter(Record):
    """A parameter of the rule, and who set it."""

    name: str
    value: str
    set_by: Literal["user", "software default, not clinically justified"]


class SizeNeeded(Record):
    """Independent units that would probably close one open question.

    The unit is the patient where one patient has several cases, else the case. For an AUC
    both classes count and grow alike; for sensitivity only positives do, for specificity
    only negatives.
    """

    quantity: Literal["auc", "sensitivity", "specificity"]
    models: tuple[str, ...] = Field(
        min_length=1, max_length=2, description="(reference, candidate) of a difference, or one model."
    )
    bound: float = Field(description="The acceptable loss, or the floor a single model must exceed.")
    assumed: float = Field(description="True difference, or true value of a single model, that is assumed.")
    power: float = Field(gt=0, lt=1, description="Probability of success at that size.")
    unit: Literal["cases", "patients"]
    needed_positive: int | None = Field(default=None, description="None where positives do not matter.")
    needed_negative: int | None = Field(default=None, description="None where negatives do not matter.")
    present_positive: int = Field(ge=0)
    present_negative: int = Field(ge=0)
    sentence: str = Field(description="Size, power and assumption in plain words.")


ThresholdUse = Literal[
    "usable", "not held", "not reached", "few validation cases", "one class", "convention", "given", "fixed"
]


class ModelUse(Record):
    """Whether the threshold of a model, and its scores as probabilities, may be used as they are."""

    model: str
    threshold: ThresholdUse = Field(
        description="'not held': the sensitivity it was chosen for is shown to be lower on the test subset; "
        "'one class': hardly any case of the other is recognised; 'convention', 'given', 'fixed': not chosen here."
    )
    miscalibration: tuple[str, ...] | None = Field(
        description="What is shown to be wrong with its probabilities, to be read after 'they'; null: not known."
    )


class Verdict(Record):
    """The recommendation, remarks on it and its limits."""

    outcome: Outcome
    step: str = Field(description="Step of the rule that decided, e.g. '4a'.")
    model: str | None = Field(description="The model to use, where there is one.")
    provisional_favourite: str | None = Field(
        default=None, description="Best point estimate, where the data cannot tell."
    )
    provisional_sentence: str | None = Field(
        default=None, description="What to do if it had to be decided today, and what chance may explain."
    )
    reference: str | None
    candidate: str | None
    headline: str = Field(description="A few words for a title or an e-mail subject.")
    sentence: str = Field(description="One plain sentence a stakeholder can act on.")
    remarks: tuple[str, ...] = Field(
        description="What no table says: what would settle the question, why none is called cheaper."
    )
    caveats: tuple[str, ...]
    cost_remarks: tuple[str, ...] = Field(
        default=(),
        description="Those of the caveats that are about cost: other implementations, measurements in doubt.",
    )
    sizes_needed: tuple[SizeNeeded, ...] = Field(
        default=(), description="One per question that more data would close; empty where none would."
    )
    cheaper: str | None = Field(default=None, description="The cheaper model, None for a trade-off.")
    left_out: dict[str, str] = Field(
        default_factory=dict,
        description="Models nothing is concluded about, and why: not evaluated as trained, or constant scores.",
    )
    parameters: tuple[Parameter, ...] = ()
    uses: tuple[ModelUse, ...] = Field(
        default=(), description="What may be done with each model that could be assessed."
    )


class SeedRow(Record):
    """Figures of one training seed."""

    model: str
    seed: str
    auc: Estimate
    threshold: float | None = Field(default=None, description="Chosen on validation with this training.")
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None


class Ensemble(Record):
    """The mean of the probabilities of all trainings of a model: another object, which nothing is decided by."""

    model: str
    seeds: tuple[str, ...] = Field(min_length=2)
    operating_point: OperatingPoint
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate


class SeedComparison(Record):
    """Candidate minus reference over repeated trainings, seeds paired by name."""

    reference: str
    candidate: str
    seeds: tuple[str, ...] = Field(min_length=2)
    differences: tuple[float, ...] = Field(description="AUC difference of each seed, in order.")
    mean: Estimate = Field(description="Of the AUC, with an interval over seeds and patients.")
    sensitivity: Estimate = Field(description="Mean difference, each training at its own threshold.")
    specificity: Estimate
    standard_deviation: float = Field(ge=0, description="Of the differences, between seeds.")
    sign_changes: bool
    sensitive: bool = Field(
        description="Three or more seeds, and the sign changes or the mean is below the deviation."
    )


class FoldRow(Record):
    """One model on one held-out fold, at the threshold of that fold's own validation images."""

    model: str
    repeat: int = Field(ge=1)
    fold: int = Field(ge=1)
    n: int
    n_positive: int
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate


class CrossValidation(Record):
    """The folds beside the held-out test; no verdict rests on them."""

    n_folds: int
    n_repeats: int
    rows: tuple[FoldRow, ...]
    means: dict[str, Estimate] = Field(description="By model: mean AUC over folds, corrected interval.")
    differences: tuple[tuple[str, str, Estimate], ...] = Field(
        description="(reference, candidate, mean difference of AUC), with the corrected interval."
    )


class ExternalModel(Record):
    """One model on another hospital's images."""

    evaluation: ModelEvaluation = Field(
        description="At the threshold frozen on the internal validation subset."
    )
    differences: dict[str, Estimate] = Field(
        description="AUC, sensitivity and specificity: external minus internal, unpaired; below zero where it loses."
    )


class ExternalSet(Record):
    """The finished models on another hospital's images; nothing is fitted to them, and no verdict rests on them."""

    name: str
    n: int
    n_positive: int
    n_negative: int
    n_patients: int | None
    shared: tuple[tuple[str, int], ...] = Field(
        default=(), description="(kind, number) of its images and patient ids that the main data hold too."
    )
    models: tuple[ExternalModel, ...]
    comparisons: tuple[PairedComparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def shared_words(self) -> str:
        """How much of it the main data hold too, such as ``3 patient ids``; empty where nothing."""
        return join_words(
            tn("{n:,} image", "{n:,} images", n)
            if kind == "images"
            else tn("{n:,} patient id", "{n:,} patient ids", n)
            for kind, n in self.shared
        )


class Assessment(Record):
    """All statistics of a comparison: what the report and ``results.json`` are made of."""

    models: tuple[str, ...]
    display_names: dict[str, str]
    classes: tuple[str, str]
    n: int
    n_positive: int
    n_negative: int
    n_patients: int | None
    clustered: bool
    prevalence: float
    level: float
    n_resamples: int
    seed: int
    evaluations: tuple[ModelEvaluation, ...]
    comparisons: tuple[PairedComparison, ...]
    costs: tuple[CostMeasurement, ...]
    verdict: Verdict
    seeds: tuple[SeedRow, ...] = ()
    seed_comparisons: tuple[SeedComparison, ...] = ()
    ensembles: tuple[Ensemble, ...] = ()
    external: tuple[ExternalSet, ...] = ()
    cross_validation: CrossValidation | None = None
    head_to_head: HeadToHead | None = Field(
        default=None, description="The two models the report compares in full; null with one model."
    )
    threshold_range: tuple[float, float] | None = Field(
        default=None,
        description="Of decision curves: as stated, or the usual one as far as acting gains anything.",
    )
    treat_all: Curve | None = Field(default=None, description="Net benefit of treating all.")
    net_benefit_prevalence: float | None = Field(
        default=None, description="Share of positives that net benefit is weighed with, where one was stated."
    )
    notes: tuple[str, ...] = ()
    random_split: tuple[RandomSplit, ...] = Field(
        default=(), description="By network, where ``split.random_beside`` asked for it."
    )
    shortcuts: tuple[Shortcut, ...] = Field(
        default=(), description="How easy the data set is without seeing the disease."
    )
    quantities: tuple[Quantity, ...]

    def pair_of_verdict(self) -> PairedComparison | None:
        """The comparison the verdict is about, the one the report prints in full.

        The pair the verdict names. Where it names none (more than two models, or no verdict): the recommended or
        favoured model against the best of the others by AUC, else the first pair. None with a single model.
        """
        for pair in self.comparisons:
            if {pair.reference, pair.candidate} == {self.verdict.reference, self.verdict.candidate}:
                return pair
        favourite = self.verdict.model or self.verdict.provisional_favourite
        with_favourite = [one for one in self.comparisons if favourite in {one.reference, one.candidate}]
        if not with_favourite:
            return self.comparisons[0] if self.comparisons else None
        auc = {row.model: row.decisive("auc").value or 0.0 for row in self.evaluations}

        def auc_of_other(pair: PairedComparison) -> float:
            return auc.get(pair.candidate if pair.reference == favourite else pair.reference, 0.0)

        return max(with_favourite, key=auc_of_other)
