"""The report's words for metrics, and how it looks up models and pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medcompare.base.formatting import capital, format_level
from medcompare.base.language import message, t, tn
from medcompare.report.blocks import Column, Mark, svg_uri
from medcompare.report.figures.drawing import ModelStyle, marker_svg, styles_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medcompare.report.inputs import ReportInputs
    from medcompare.stats.records import Assessment, ModelEvaluation, PairedComparison

METRIC_NAMES = {
    "auc": message("AUC (area under the ROC curve)"),
    "average_precision": message("Average precision"),
    "accuracy": message("Accuracy"),
    "balanced_accuracy": message("Balanced accuracy"),
    "sensitivity": message("Sensitivity (recall)"),
    "specificity": message("Specificity"),
    "ppv": message("PPV (precision)"),
    "npv": message("NPV"),
    "ppv_at_prevalence": message("PPV at the stated prevalence"),
    "npv_at_prevalence": message("NPV at the stated prevalence"),
    "likelihood_ratio_positive": message("Positive likelihood ratio"),
    "likelihood_ratio_negative": message("Negative likelihood ratio"),
    "f1": message("F1 score"),
    "mcc": message("Matthews correlation (MCC)"),
    "brier": message("Brier score (lower is better)"),
}
SHORT_NAMES = METRIC_NAMES | {
    "auc": message("AUC"),
    "sensitivity": message("Sensitivity"),
    "ppv": message("PPV"),
    "ppv_at_prevalence": message("PPV, stated prevalence"),
    "npv_at_prevalence": message("NPV, stated prevalence"),
    "likelihood_ratio_positive": message("Positive LR"),
    "likelihood_ratio_negative": message("Negative LR"),
    "mcc": message("MCC"),
    "f1": message("F1 score"),
    "brier": message("Brier (lower is better)"),
}
LOWER_IS_BETTER = frozenset({"brier", "expected_calibration_error"})

COST_NAMES = {
    "latency_ms_median": message("Latency per image, batch 1, median (ms)"),
    "throughput_images_per_s": message("Throughput (images per second)"),
    "peak_memory_bytes": message("Peak memory (bytes)"),
    "n_parameters": message("Parameters"),
    "flops": message("Operations per image (FLOP)"),
}

PARAMETER_NAMES = {
    "primary_metric": message("Primary metric"),
    "alpha": message("Alpha, two-sided"),
    "level": message("Level"),
    "margin_auc": message("Margin, AUC"),
    "margin_sensitivity": message("Margin, sensitivity"),
    "margin_specificity": message("Margin, specificity"),
    "auc_floor": message("Minimum AUC (lower limit)"),
    "sensitivity_floor": message("Minimum sensitivity"),
    "specificity_floor": message("Minimum specificity"),
    "guard": message("Guard"),
    "min_units": message("Min. patients per class"),
    "cost_metric": message("Deciding cost"),
    "cost_tolerance": message("Difference in cost that counts"),
    "net_benefit_range": message("Range of threshold probabilities"),
}

GLOSSARY = (
    (
        message("AUC"),
        message(
            "Chance that a random positive case scores higher than a random negative one. 0.5 is a coin toss."
        ),
    ),
    (
        message("Sensitivity"),
        message("Share of the positive cases that are predicted positive at the threshold of the model."),
    ),
    (
        message("Specificity"),
        message("Share of the negative cases that are predicted negative at the threshold of the model."),
    ),
    (
        message("PPV, NPV"),
        message(
            "Share of positive (negative) predictions that are correct; both change with the share of positives."
        ),
    ),
    (
        message("Confidence interval"),
        message("Range of values the data are compatible with, at the level printed beside it."),
    ),
    (
        message("Margin"),
        message(
            "Loss that counts as acceptable. A difference is shown to be acceptable when its whole interval lies "
            "inside."
        ),
    ),
    (
        message("Guard"),
        message(
            "Strict: sensitivity and specificity, too, must be shown to lose less than their margins. Veto: they speak "
            "against a model only where they are shown to lose more."
        ),
    ),
    (
        message("F1, MCC, AP"),
        message(
            "Harmonic mean of PPV and sensitivity; correlation of prediction and truth; area under the curve of "
            "precision and recall. All three change with the share of positives, and decide nothing here."
        ),
    ),
    (
        message("Calibration"),
        message(
            "Slope above 1: under-, below 1: overconfident. In the large above 0: probabilities too low. O : E: "
            "positives observed over expected. ECE, ICI, E50, E90: distances of probability and truth (in bins; mean, "
            "median and 90th percentile along the curve)."
        ),
    ),
    (
        message("Brier score"),
        message("Mean squared distance between predicted probability and truth; lower is better."),
    ),
    (
        message("Net benefit"),
        message(
            "True positives gained per case after charging false alarms at the rate the threshold probability implies."
        ),
    ),
)

METHODS = {
    "newcombe": message("Newcombe"),
    "bootstrap": message("Bootstrap"),
    "one_training": message("One training"),
}
"""Ends of metric keys: how, or of what, a figure was computed."""


def metric_name(key: str, *, short: bool = False) -> str:
    """Words for a metric key; a method suffix is put behind a comma.

    Examples
    --------
    >>> metric_name("sensitivity_newcombe", short=True)
    'Sensitivity, Newcombe'
    """
    names = SHORT_NAMES if short else METRIC_NAMES
    if key in names:
        return t(names[key])
    for base in sorted(names, key=len, reverse=True):
        if key.startswith(f"{base}_"):
            suffix = key.removeprefix(f"{base}_")
            return f"{t(names[base])}, {t(METHODS.get(suffix, capital(suffix.replace('_', ' '))))}"
    return capital(key.replace("_", " "))


def base_metric(key: str) -> str:
    """Metric a key belongs to: ``sensitivity`` for ``sensitivity_newcombe``."""
    if key in METRIC_NAMES:
        return key
    return next(
        (base for base in sorted(METRIC_NAMES, key=len, reverse=True) if key.startswith(f"{base}_")), key
    )


ORIGINS = {
    "validation": message("chosen on the validation subset, then applied unchanged to the test subset"),
    "user": message(
        "given by the user; whether they were set before the test subset was looked at is not known"
    ),
    "fixed": message("fixed in the configuration"),
    "convention": message("of 0.5, a convention: there was no validation subset to choose them on"),
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
            origins = t(ORIGINS[next(iter(found))])
        else:
            origins = "; ".join(
                f"{t(ORIGINS[origin])} ({', '.join(names)})" for origin, names in found.items()
            )
        text = t("thresholds {origins}", origins=origins)
        looks = self.inputs.n_earlier_looks
        if not looks:
            return text
        again = tn(
            "the same test cases had been evaluated in {n} earlier run",
            "the same test cases had been evaluated in {n:,} earlier runs",
            looks,
        )
        return f"{text}; {again}"

    @property
    def of_first(self) -> str:
        """What to say of figures case by case where models were trained several times; else nothing."""
        several = any(one.over_seeds for one in self.evaluations)
        if not several:
            return ""
        return " " + t("Of several trainings the first is shown; the verdict rests on the means.")

    def mark(self, model: str) -> Mark:
        """The model's mark, spoken as "mark of" its name."""
        return Mark(
            src=svg_uri(marker_svg(self.styles[model])), alt=t("Mark of {model}", model=self.name(model))
        )

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
        return t("No patient ids were given: all intervals assume one image per patient.")
    if assessment.clustered:
        return t("Intervals allow for several images per patient.")
    return tn(
        "The test subset holds {n} patients, one case each.",
        "The test subset holds {n:,} patients, one case each.",
        assessment.n_patients,
    )
