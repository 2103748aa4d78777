"""The report's words for metrics, and how it looks up models and pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medcompare.base.formatting import format_count, format_estimate, format_level
from medcompare.report.blocks import Column, Mark, svg_uri
from medcompare.report.figures.drawing import ModelStyle, marker_svg, styles_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medcompare.config.schema import EvaluateConfig
    from medcompare.report.inputs import ReportInputs
    from medcompare.stats.records import Assessment, ModelEvaluation, PairedComparison

METRIC_NAMES = {
    "auc": "AUC (area under the ROC curve)",
    "average_precision": "Average precision",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity (recall)",
    "specificity": "Specificity",
    "ppv": "PPV (precision)",
    "npv": "NPV",
    "ppv_at_prevalence": "PPV at the stated prevalence",
    "npv_at_prevalence": "NPV at the stated prevalence",
    "likelihood_ratio_positive": "Positive likelihood ratio",
    "likelihood_ratio_negative": "Negative likelihood ratio",
    "f1": "F1 score",
    "mcc": "Matthews correlation (MCC)",
    "brier": "Brier score (lower is better)",
}
SHORT_NAMES = METRIC_NAMES | {
    "auc": "AUC",
    "sensitivity": "Sensitivity",
    "ppv": "PPV",
    "ppv_at_prevalence": "PPV, stated prevalence",
    "npv_at_prevalence": "NPV, stated prevalence",
    "likelihood_ratio_positive": "Positive LR",
    "likelihood_ratio_negative": "Negative LR",
    "mcc": "MCC",
    "f1": "F1 score",
    "brier": "Brier (lower is better)",
}
LOWER_IS_BETTER = frozenset({"brier", "expected_calibration_error"})

COST_NAMES = {
    "latency_ms_median": "Latency per image, batch 1, median (ms)",
    "throughput_images_per_s": "Throughput (images per second)",
    "peak_memory_bytes": "Peak memory (bytes)",
    "n_parameters": "Parameters",
    "flops": "Operations per image (FLOP)",
}

PARAMETER_NAMES = {
    "primary_metric": "Primary metric",
    "alpha": "Alpha, two-sided",
    "margin_auc": "Margin, AUC",
    "margin_sensitivity": "Margin, sensitivity",
    "margin_specificity": "Margin, specificity",
    "auc_floor": "Minimum AUC (lower limit)",
    "sensitivity_floor": "Minimum sensitivity",
    "specificity_floor": "Minimum specificity",
    "guard": "Guard",
    "min_units": "Min. patients per class",
    "cost_metric": "Deciding cost",
    "cost_tolerance": "Difference in cost that counts",
    "net_benefit_range": "Range of threshold probabilities",
}

GLOSSARY = (
    (
        "AUC",
        "Chance that a random positive case scores higher than a random negative one. 0.5 is a coin toss.",
    ),
    ("Sensitivity", "Share of the positive cases that are predicted positive at the threshold of the model."),
    ("Specificity", "Share of the negative cases that are predicted negative at the threshold of the model."),
    (
        "PPV, NPV",
        "Share of positive (negative) predictions that are correct; both change with the share of positives.",
    ),
    ("Confidence interval", "Range of values the data are compatible with, at the level printed beside it."),
    (
        "Margin",
        "Loss that counts as acceptable. A difference is shown to be acceptable when its whole interval lies inside.",
    ),
    (
        "F1, MCC, AP",
        (
            "Harmonic mean of PPV and sensitivity; correlation of prediction and truth; area under the curve of "
            "precision and recall. All three change with the share of positives, and decide nothing here."
        ),
    ),
    (
        "Calibration",
        (
            "Slope above 1: under-, below 1: overconfident. In the large above 0: probabilities too low. O : E: "
            "positives observed over expected. ECE, ICI, E50, E90: distances of probability and truth (in bins; mean, "
            "median and 90th percentile along the curve)."
        ),
    ),
    ("Brier score", "Mean squared distance between predicted probability and truth; lower is better."),
    (
        "Net benefit",
        "True positives gained per case after charging false alarms at the rate the threshold probability implies.",
    ),
)


def metric_name(key: str, *, short: bool = False) -> str:
    """Words for a metric key; a method suffix is put behind a comma.

    Examples
    --------
    >>> metric_name("sensitivity_newcombe", short=True)
    'Sensitivity, Newcombe'
    """
    names = SHORT_NAMES if short else METRIC_NAMES
    if key in names:
        return names[key]
    for base in sorted(names, key=len, reverse=True):
        if key.startswith(f"{base}_"):
            suffix = key.removeprefix(f"{base}_").replace("_", " ")
            return f"{names[base]}, {suffix[:1].upper()}{suffix[1:]}"
    words = key.replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}"


def base_metric(key: str) -> str:
    """Metric a key belongs to: ``sensitivity`` for ``sensitivity_newcombe``."""
    if key in METRIC_NAMES:
        return key
    return next(
        (base for base in sorted(METRIC_NAMES, key=len, reverse=True) if key.startswith(f"{base}_")), key
    )


ORIGINS = {
    "validation": "chosen on the validation subset, then applied unchanged to the test subset",
    "user": "given by the user; whether they were set before the test subset was looked at is not known",
    "fixed": "fixed in the configuration",
    "convention": "of 0.5, a convention: there was no validation subset to choose them on",
}
"""Where thresholds came from, to be read after "thresholds"."""


@dataclass(frozen=True, kw_only=True)
class View:
    """The inputs with what every page looks up in them."""

    inputs: ReportInputs
    styles: dict[str, ModelStyle]
    evaluations: tuple[ModelEvaluation, ...]
    pair: PairedComparison | None
    """The comparison the verdict is about; with a single model there is none."""

    @property
    def assessment(self) -> Assessment:
        """All figures of the test subset, and the verdict."""
        return self.inputs.assessment

    @property
    def level(self) -> str:
        """Confidence level of the intervals, as it is printed."""
        return format_level(self.assessment.level)

    def name(self, model: str) -> str:
        """Display name of a model."""
        return self.assessment.display_names.get(model, model)

    def label(self, model: str) -> str:
        """Display name shortened for narrow places."""
        return self.styles[model].label

    @property
    def thresholds(self) -> str:
        """Where the thresholds came from, and how often the test subset was looked at, as far as it is known."""
        found: dict[str, list[str]] = {}
        for one in self.evaluations:
            found.setdefault(one.operating_point.chosen_on, []).append(self.label(one.model))
        if len(found) == 1:
            text = f"thresholds {ORIGINS[next(iter(found))]}"
        else:
            text = "thresholds " + "; ".join(
                f"{ORIGINS[origin]} ({', '.join(names)})" for origin, names in found.items()
            )
        looks = self.inputs.n_earlier_looks
        if looks:
            text += (
                f"; the same test cases had been evaluated in {looks:,} earlier run{'s' if looks > 1 else ''}"
            )
        return text

    @property
    def of_first(self) -> str:
        """What to say of figures case by case where models were trained several times; else nothing."""
        several = any(one.over_seeds for one in self.evaluations)
        return " Of several trainings the first is shown; the verdict rests on the means." if several else ""

    def mark(self, model: str) -> Mark:
        """The model's mark, spoken as "mark of" its name."""
        return Mark(src=svg_uri(marker_svg(self.styles[model])), alt=f"Mark of {self.name(model)}")

    def columns(
        self, models: Iterable[str] | None = None, *, kind: Literal["text", "number"] = "number"
    ) -> list[Column]:
        """Column heads of models, all by default, with their marks."""
        chosen = [one.model for one in self.evaluations] if models is None else models
        return [Column(self.label(model), mark=self.mark(model), kind=kind) for model in chosen]


def view_of(inputs: ReportInputs) -> View:
    """Look up models, styles and the pair the verdict is about.

    The reference comes first wherever models are listed, so that blue is always the reference and
    vermillion the candidate.
    """
    assessment = inputs.assessment
    pair = assessment.pair_of_verdict()
    first = [] if pair is None else [pair.reference, pair.candidate]
    order = first + [model for model in assessment.models if model not in first]
    evaluations = {evaluation.model: evaluation for evaluation in assessment.evaluations}
    return View(
        inputs=inputs,
        styles=styles_of(order, assessment.display_names),
        evaluations=tuple(evaluations[model] for model in order if model in evaluations),
        pair=pair,
    )


def format_patients(assessment: Assessment) -> str:
    """What the intervals take as independent: images or patients, and whether that is known."""
    if assessment.n_patients is None:
        return "No patient ids were given: all intervals assume one image per patient."
    if assessment.clustered:
        return "Intervals allow for several images per patient."
    return f"The test subset holds {format_count(assessment.n_patients)} patients, one case each."


def words_of_patients(evaluate: EvaluateConfig) -> list[str]:
    """A sentence where each case is a patient, scored from several images."""
    if evaluate.per_patient == "none":
        return []
    how = {"mean": "mean", "max": "largest"}[evaluate.per_patient]
    said = f"A case is a patient, scored with the {how} score of the patient's images"
    return [f"{said} (evaluate.per_patient={evaluate.per_patient})."]


SEEN = {
    "file": "only facts about the files",
    "colours": "only the colours of the images",
    "thumbnail": "only 12 \u00d7 12 pixels of each image",
}


def easy_data(assessment: Assessment) -> tuple[str, ...]:
    """A sentence for each network that is not shown to beat a model that does not see the disease."""
    found, whose = [], "its first training's" if assessment.seed_comparisons else "the network's"
    for model in assessment.models:
        unbeaten = [
            (one.auc_test.value, one)
            for one in assessment.shortcuts
            if one.auc_test is not None
            and one.auc_test.value is not None
            and (low := one.differences[model].ci_low if model in one.differences else 1.0) is not None
            and low <= 0
        ]
        if not unbeaten:
            continue
        auc, best = max(unbeaten, key=lambda pair: pair[0])
        difference = format_estimate(best.differences[model], signed=True)
        found.append(
            f"{assessment.display_names[model]} is not shown to tell the classes apart better than a linear model that "
            f"sees {SEEN[best.kind]} (AUC {auc:.3f} on the same test images; {whose} minus this: {difference})."
        )
    return tuple(found)
