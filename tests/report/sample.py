"""A realistic report made of simulated numbers, through plain constructors.

Scores of correlated models are drawn, and every figure is computed from them with
scikit-learn, statsmodels and a small bootstrap, so that all counts agree with each other.
"""

from __future__ import annotations

import functools
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    matthews_corrcoef,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)
from statsmodels.stats.proportion import proportion_confint

from medcompare.base.record import Artifact
from medcompare.config.schema import DecideConfig
from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit, SubsetSummary
from medcompare.models.spec import InitialWeights
from medcompare.predictions.costs import CostMeasurement
from medcompare.predictions.saliency import SaliencyMaps
from medcompare.report.hard_cases import mapped_models
from medcompare.report.inputs import (
    CaseScore,
    ChecklistItem,
    ChecklistTable,
    HardCase,
    RejectedRow,
    ReportInputs,
    SettingRow,
    TrendFigures,
    TrendRun,
    count_scores,
)
from medcompare.report.overlays import Overlays
from medcompare.runs.provenance import Provenance
from medcompare.stats.in_detail import SubgroupEvaluation
from medcompare.stats.records import (
    AgreementTable,
    Assessment,
    Calibration,
    ClassReport,
    ConfusionCounts,
    Curve,
    Estimate,
    ModelEvaluation,
    OperatingPoint,
    Outcome,
    PairedComparison,
    Parameter,
    Quantity,
    SeedRow,
    SizeNeeded,
    Verdict,
)
from medcompare.stats.verdict.caveats import cost_remarks
from medcompare.training.records import BatchNormFacts, EpochLog, TrainedModel
from medcompare.training.search import Search, Trial, TrialSettings

CLASSES = ("non_cancer", "cancer")
NAMES = {
    "resnet50": "ResNet-50",
    "efficientnet_b0": "EfficientNet-B0",
    "convnext_tiny": "ConvNeXt-Tiny",
    "efficientnet_b0_tv": "EfficientNet-B0 (torchvision)",
    "long_name": "An ensemble of seven transformers with a name nobody could shorten",
}
SKILL = (1.95, 1.9, 2.3, 1.2, 1.6)
N_RESAMPLES = 60
RNG_SEED = 11
SENTENCE = (
    "Prefer EfficientNet-B0: its AUC is not worse than that of ResNet-50 by more than the margin of 0.03, and it "
    "answers in less than half the time."
)
DEFAULT = "software default, not clinically justified"


def simulate(n: int, n_models: int, prevalence: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and probabilities (n_models, n) of models that tend to err on the same cases."""
    rng = np.random.default_rng(RNG_SEED)
    y_true = (rng.random(n) < prevalence).astype(int)
    shared = rng.normal(size=n)
    scores = [skill * (y_true - 0.5) + 0.8 * shared + 0.6 * rng.normal(size=n) for skill in SKILL[:n_models]]
    return y_true, expit(np.array(scores) * 1.1 - 0.3)


def _proportion(k: int, n: int, what: str) -> Estimate:
    if n == 0:
        return Estimate(value=None, method="Wilson", n=0, note=f"{what}: no case to count.")
    low, high = proportion_confint(k, n, method="wilson")
    return Estimate(value=k / n, ci_low=low, ci_high=high, method="Wilson", n=n)


def _statistics(y: np.ndarray, s: np.ndarray, threshold: float) -> dict[str, float]:
    call = (s >= threshold).astype(int)
    positives, negatives = y == 1, y == 0
    return {
        "auc": roc_auc_score(y, s),
        "average_precision": average_precision_score(y, s),
        "accuracy": float(np.mean(call == y)),
        "balanced_accuracy": balanced_accuracy_score(y, call),
        "sensitivity": float(np.mean(call[positives])),
        "specificity": float(np.mean(1 - call[negatives])),
        "ppv": float(np.mean(y[call == 1])) if call.any() else 0.0,
        "npv": float(np.mean(1 - y[call == 0])) if (call == 0).any() else 0.0,
        "f1": f1_score(y, call),
        "mcc": matthews_corrcoef(y, call),
        "brier": brier_score_loss(y, s),
    }


def _thresholds(y: np.ndarray, scores: np.ndarray) -> list[float]:
    return [float(np.quantile(s[y == 1], 0.06)) for s in scores]


@functools.cache  # the same for every kind of assessment of these cases
def _draws(n: int, n_models: int) -> list[list[dict[str, float]]]:
    y, scores = simulate(n, n_models)
    thresholds = _thresholds(y, scores)
    rng = np.random.default_rng(RNG_SEED)
    groups = [np.flatnonzero(y == label) for label in (0, 1)]
    found = []
    for _ in range(N_RESAMPLES):
        rows = np.concatenate([rng.choice(group, group.size) for group in groups])
        found.append([_statistics(y[rows], s[rows], t) for s, t in zip(scores, thresholds, strict=True)])
    return found


def _bootstrap(value: float, draws: list[float], n: int, *, p: bool = False) -> Estimate:
    low, high = np.quantile(draws, [0.025, 0.975])
    p_value = None
    if p:
        spread = float(np.std(draws)) or 1e-9
        p_value = float(2 * norm.sf(abs(value) / spread))
    return Estimate(
        value=value,
        ci_low=min(float(low), value),
        ci_high=max(float(high), value),
        method="Paired bootstrap, percentile" if p else "Bootstrap, percentile",
        n=n,
        p_value=p_value,
    )


def _curve_with_band(x: np.ndarray, y: np.ndarray, n_positive: int) -> Curve:
    grid = np.linspace(0, 1, 101)
    middle = np.interp(grid, x, y)
    half = 1.96 * np.sqrt(np.clip(middle * (1 - middle), 0.002, None) / n_positive)
    low, high = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    return Curve(x=tuple(grid), y=tuple(middle), y_low=tuple(low), y_high=tuple(high))


def _net_benefit(y: np.ndarray, s: np.ndarray) -> Curve:
    grid = np.linspace(0.01, 0.95, 95)
    benefit = [np.mean((s >= t) & (y == 1)) - np.mean((s >= t) & (y == 0)) * t / (1 - t) for t in grid]
    return Curve(x=tuple(grid), y=tuple(float(b) for b in benefit))


def _calibration(y: np.ndarray, s: np.ndarray, brier: Estimate) -> Calibration:
    edges = np.linspace(0, 1, 21)
    order = np.argsort(s)
    chunks = np.array_split(order, 12)
    x = np.array([s[c].mean() for c in chunks])
    observed = np.array([y[c].mean() for c in chunks])
    half = 1.96 * np.sqrt(np.clip(observed * (1 - observed), 0.02, None) / len(chunks[0]))
    return Calibration(
        slope=Estimate(value=1.12, ci_low=0.93, ci_high=1.34, method="Logistic recalibration", n=len(y)),
        in_the_large=Estimate(
            value=-0.08, ci_low=-0.31, ci_high=0.15, method="Logistic recalibration", n=len(y)
        ),
        observed_expected=Estimate(
            value=float(y.mean() / s.mean()), ci_low=0.8, ci_high=1.2, method="Poisson", n=len(y)
        ),
        brier=brier,
        scaled_brier=Estimate(
            value=0.41, ci_low=0.33, ci_high=0.48, method="Bootstrap, percentile", n=len(y)
        ),
        expected_calibration_error=Estimate(
            value=0.047,
            method="15 equal-count bins",
            n=len(y),
            note="Biased upwards in samples of this size.",
        ),
        curve=Curve(
            x=tuple(x),
            y=tuple(observed),
            y_low=tuple(np.clip(observed - half, 0, 1)),
            y_high=tuple(np.clip(observed + half, 0, 1)),
        ),
        histogram_edges=tuple(edges),
        histogram_negative=tuple(int(c) for c in np.histogram(s[y == 0], edges)[0]),
        histogram_positive=tuple(int(c) for c in np.histogram(s[y == 1], edges)[0]),
    )


def _subgroups(y: np.ndarray, s: np.ndarray, threshold: float) -> tuple[SubgroupEvaluation, ...]:
    rng = np.random.default_rng(3)
    columns = {"sex": ["female", "male"], "site": ["head and neck", "lower extremity", "torso", "unknown"]}
    found = []
    for column, levels in columns.items():
        chosen = rng.choice(levels, len(y), p=[0.55, 0.45] if column == "sex" else [0.35, 0.3, 0.32, 0.03])
        for level in levels:
            rows = chosen == level
            ys, ss = y[rows], s[rows]
            few = Estimate(
                value=None, method="logit-DeLong", n=int(rows.sum()), note="Fewer than 10 positive cases."
            )
            auc = few
            if ys.sum() >= 10:
                value = float(roc_auc_score(ys, ss))
                auc = Estimate(
                    value=value,
                    ci_low=max(0, value - 0.07),
                    ci_high=min(1, value + 0.05),
                    method="logit-DeLong",
                )
            found.append(
                SubgroupEvaluation(
                    column=column,
                    level=level,
                    n=int(rows.sum()),
                    n_positive=int(ys.sum()),
                    metrics={
                        "auc": auc,
                        "sensitivity": _proportion(
                            int(((ss >= threshold) & (ys == 1)).sum()), int(ys.sum()), "Sensitivity"
                        ),
                        "specificity": _proportion(
                            int(((ss < threshold) & (ys == 0)).sum()), int((ys == 0).sum()), "Specificity"
                        ),
                    },
                )
            )
    return tuple(found)


def _counts(y: np.ndarray, call: np.ndarray) -> ConfusionCounts:
    return ConfusionCounts(
        true_negative=int((~call & (y == 0)).sum()),
        false_positive=int((call & (y == 0)).sum()),
        false_negative=int((~call & (y == 1)).sum()),
        true_positive=int((call & (y == 1)).sum()),
    )


EQUIVALENT: dict[str, Any] = {
    "implementation": "efficientnet-pytorch 0.7.1",
    "equivalent_model": "efficientnet_b0_torchvision",
    "equivalent_implementation": "torchvision 0.29.2",
    "equivalent_latency_ms_median": 18.4,
    "equivalent_latency_ms_median_ci": (18.1, 18.8),
    "equivalent_n_repeats": 60,
}


@functools.cache
def make_assessment(
    *,
    n: int = 340,
    n_models: int = 2,
    probabilities: bool = True,
    costs: bool = True,
    outcome: Outcome = Outcome.PREFER_CHEAPER,
    subgroups: bool = True,
    undefined: bool = False,
) -> Assessment:
    """An assessment of simulated models; `undefined` leaves PPV and its difference without a value."""
    y, scores = simulate(n, n_models)
    models = tuple(NAMES)[:n_models]
    shown = {model: NAMES[model] for model in models}
    n_positive = int(y.sum())
    thresholds, draws = _thresholds(y, scores), _draws(n, n_models)
    evaluations = []
    for m, (model, s, threshold) in enumerate(zip(models, scores, thresholds, strict=True)):
        values = _statistics(y, s, threshold)
        call = s >= threshold
        counts = _counts(y, call)
        metrics = {key: _bootstrap(value, [d[m][key] for d in draws], n) for key, value in values.items()}
        metrics["auc"] = metrics["auc"].model_copy(update={"method": "DeLong (logit)"})
        metrics["sensitivity"] = _proportion(counts.true_positive, n_positive, "Sensitivity")
        metrics["specificity"] = _proportion(counts.true_negative, n - n_positive, "Specificity")
        metrics["ppv"] = _proportion(counts.true_positive, int(call.sum()), "PPV")
        metrics["npv"] = _proportion(counts.true_negative, int((~call).sum()), "NPV")
        for key in ("ppv_at_prevalence", "npv_at_prevalence"):
            metrics[key] = Estimate(value=None, method="Bayes", note="No prevalence was stated.")
        if undefined:
            metrics["ppv"] = Estimate(
                value=None, method="Wilson", n=0, note="No case was predicted positive."
            )
        if not probabilities:
            metrics["brier"] = Estimate(
                value=None, method="Bootstrap", note="The scores are not probabilities."
            )
        fpr, tpr, _ = roc_curve(y, s)
        precision, recall, _ = precision_recall_curve(y, s)
        row = {"f1": metrics["f1"]}
        evaluations.append(
            ModelEvaluation(
                model=model,
                display_name=shown[model],
                classes=CLASSES,
                n=n,
                n_positive=n_positive,
                n_negative=n - n_positive,
                n_units_positive=n_positive // 3,
                n_units_negative=(n - n_positive) // 3,
                clustered=True,
                operating_point=OperatingPoint(
                    threshold=threshold,
                    rule="sensitivity at least 0.95 on validation",
                    chosen_on="validation",
                ),
                confusion=counts,
                confusion_at_half=_counts(y, s >= 0.5) if probabilities else None,
                metrics=metrics,
                classification_report=(
                    ClassReport(
                        class_name=CLASSES[0],
                        support=n - n_positive,
                        precision=metrics["npv"],
                        recall=metrics["specificity"],
                        **row,
                    ),
                    ClassReport(
                        class_name=CLASSES[1],
                        support=n_positive,
                        precision=metrics["ppv"],
                        recall=metrics["sensitivity"],
                        **row,
                    ),
                ),
                roc=_curve_with_band(fpr, tpr, n_positive),
                precision_recall=Curve(x=tuple(recall[::-1]), y=tuple(precision[::-1])),
                calibration=_calibration(y, s, metrics["brier"]) if probabilities else None,
                decision_curve=_net_benefit(y, s) if probabilities else None,
                subgroups=_subgroups(y, s, threshold) if subgroups else (),
                constant_output=False,
                warnings=("At 0.5 instead of the frozen threshold, sensitivity would be lower.",)
                if m == 0
                else (),
            )
        )
    comparisons = []
    for a in range(n_models):
        for b in range(a + 1, n_models):
            call_a, call_b = scores[a] >= thresholds[a], scores[b] >= thresholds[b]
            differences = {
                key: _bootstrap(
                    _statistics(y, scores[b], thresholds[b])[key]
                    - _statistics(y, scores[a], thresholds[a])[key],
                    [d[b][key] - d[a][key] for d in draws],
                    n,
                    p=True,
                )
                for key in draws[0][0]
            }
            for key in ("sensitivity", "specificity"):
                differences[f"{key}_newcombe"] = differences[key].model_copy(update={"method": "Newcombe"})
                differences[key] = differences[key].model_copy(update={"method": "Tango"})
            differences["auc"] = differences["auc"].model_copy(
                update={"method": "Obuchowski (clustered DeLong)"}
            )
            if undefined:
                differences["ppv"] = Estimate(
                    value=None, method="Paired bootstrap", note="No case was predicted positive."
                )
            tables = []
            for label in (1, 0):
                right_a, right_b = (call_a == label)[y == label], (call_b == label)[y == label]
                tables.append(
                    AgreementTable(
                        both_correct=int((right_a & right_b).sum()),
                        only_reference_correct=int((right_a & ~right_b).sum()),
                        only_candidate_correct=int((~right_a & right_b).sum()),
                        both_wrong=int((~right_a & ~right_b).sum()),
                    )
                )
            comparisons.append(
                PairedComparison(
                    reference=models[a],
                    candidate=models[b],
                    differences=differences,
                    positives=tables[0],
                    negatives=tables[1],
                    p_values_adjusted={}
                    if n_models == 2
                    else {"auc": min(1.0, 3 * (differences["auc"].p_value or 0))},
                    probability_candidate_more_accurate=Estimate(value=0.37, method="Bayesian, paired", n=n),
                )
            )
    quantities = [
        Quantity(**estimate.model_dump(), quantity=key, models=(e.model,), subset="test")
        for e in evaluations
        for key, estimate in e.metrics.items()
    ] + [
        Quantity(
            **estimate.model_dump(),
            quantity=f"difference.{key}",
            models=(c.reference, c.candidate),
            subset="test",
        )
        for c in comparisons
        for key, estimate in c.differences.items()
    ]
    measured = [
        CostMeasurement(
            model=model,
            n_parameters=int(23_512_130 / (1 + 3 * m)),
            flops=int(8.18e9 / (1 + 6 * m)),
            checkpoint_bytes=int(94_300_000 / (1 + 3 * m)),
            latency_ms_median=48.2 / (1 + 0.9 * m),
            latency_ms_median_ci=(47.1 / (1 + 0.9 * m), 49.6 / (1 + 0.9 * m)),
            latency_ms_p95=55.0 / (1 + 0.9 * m),
            throughput_images_per_s=24.1 * (1 + 1.3 * m),
            throughput_images_per_s_ci=(23.6 * (1 + 1.3 * m), 24.5 * (1 + 1.3 * m)),
            throughput_batch=16,
            peak_memory_bytes=912_000_000 // (1 + m),
            training_images_per_s=20.4 * (1 + 0.6 * m),
            training_time_s=412.7 / (1 + 0.5 * m),
            training_conditions="2 trainings side by side, 2 threads each",
            image_size_px=224,
            **(EQUIVALENT if m == 1 else {"implementation": "torchvision 0.29.2"}),
            n_warmup=10,
            n_warmup_planned=10,
            n_repeats=60 - 37 * m,
            n_repeats_planned=60,
            n_throughput_batches=6,
            n_throughput_batches_planned=6,
            n_training_steps=8,
            n_training_steps_planned=8,
            n_threads=4,
            precision="float32",
            budget_s=60.0,
            elapsed_s=12.3 + 40 * m,
            other_load_cores=0.1 + 2.0 * m,
            device="Intel Xeon (4 cores)",
        )
        for m, model in enumerate(models)
    ]
    remarks = cost_remarks(SimpleNamespace(costs=measured, names=shown, rule=DecideConfig())) if costs else ()  # type: ignore[arg-type]
    two = n_models > 1
    texts: dict[str, Any] = {
        "headline": "Prefer EfficientNet-B0: as accurate within the margin, and cheaper",
        "sentence": SENTENCE,
        "step": "4a",
        "model": models[1] if two else None,
        "cheaper": models[1] if two else None,
    }
    if outcome is Outcome.INVALID:
        texts = {
            "headline": "No verdict: the label polarity is in doubt",
            "step": "0",
            "model": None,
            "sentence": "The AUC of ResNet-50 is significantly below 0.5: "
            "either the labels are swapped or there is no signal. Check the positive class before anything else.",
        }
    if outcome is Outcome.NOT_ENOUGH_DATA:
        texts = {
            "headline": "The test set is too small to tell the models apart",
            "step": "6",
            "model": None,
            "sentence": "The data fit a relevant loss as well as no loss at all; "
            "do not change the model on this evidence.",
            "provisional_favourite": models[0],
            "provisional_sentence": "If you had to decide today: ResNet-50 has the higher AUC so far.",
            "sizes_needed": (
                SizeNeeded(
                    quantity="auc",
                    models=models[:2],
                    bound=0.03,
                    assumed=0.0,
                    power=0.8,
                    unit="cases",
                    needed_positive=628,
                    needed_negative=942,
                    present_positive=200,
                    present_negative=300,
                    sentence="About 630 cancer and 950 non_cancer cases would show it; there are 200 and 300.",
                ),
            ),
        }
    verdict = Verdict(
        outcome=outcome,
        reference=models[0] if two else None,
        candidate=models[1] if two else None,
        **texts,
        remarks=(
            "Both models clear the floor: the lower limit of each AUC is above 0.70.",
            "The lower limit of the AUC difference is above minus 0.03.",
            "Sensitivity and specificity are not worse by more than their margins.",
        ),
        caveats=(
            "The margins are software defaults; a clinician must justify them before anyone acts on this page.",
            "One data set, one training seed: another sample or seed may rank the models differently.",
            "The images come from one source; performance elsewhere is unknown.",
            *remarks,
        ),
        cost_remarks=remarks,
        parameters=(
            Parameter(name="primary_metric", value="AUC", set_by=DEFAULT),
            Parameter(name="margin_auc", value="0.03", set_by=DEFAULT),
            Parameter(name="margin_sensitivity", value="0.05", set_by="user"),
            Parameter(name="margin_specificity", value="0.10", set_by=DEFAULT),
            Parameter(name="auc_floor", value="0.70", set_by=DEFAULT),
            Parameter(name="guard", value="strict", set_by=DEFAULT),
            Parameter(name="min_units", value="30", set_by=DEFAULT),
            Parameter(name="cost_metric", value="latency_ms_median", set_by=DEFAULT),
            Parameter(name="cost_tolerance", value="10%", set_by=DEFAULT),
        ),
    )
    grid = np.linspace(0.01, 0.95, 95)
    treat_all = Curve(x=tuple(grid), y=tuple(float(y.mean() - (1 - y.mean()) * t / (1 - t)) for t in grid))
    return Assessment(
        models=models,
        display_names={model: shown[model] for model in models},
        classes=CLASSES,
        n=n,
        n_positive=n_positive,
        n_negative=n - n_positive,
        n_patients=118,
        clustered=True,
        prevalence=n_positive / n,
        level=0.95,
        n_resamples=5000,
        seed=0,
        evaluations=tuple(evaluations),
        comparisons=tuple(comparisons),
        costs=tuple(measured) if costs else (),
        verdict=verdict,
        treat_all=treat_all if probabilities else None,
        notes=("Threshold choice is not part of the intervals.",),
        quantities=tuple(quantities),
    )


def make_hard_cases(assessment: Assessment, *, thumbnails: bool) -> tuple[HardCase, ...]:
    """The misclassified cases of the simulation, missed ones first."""
    y, scores = simulate(assessment.n, len(assessment.models))
    thresholds = [e.operating_point.threshold for e in assessment.evaluations]
    rng = np.random.default_rng(5)
    cases = []
    for label in (1, 0):
        for i in np.flatnonzero(y == label):
            calls = [bool(s[i] >= t) for s, t in zip(scores, thresholds, strict=True)]
            if all(call == bool(label) for call in calls) or len(cases) >= (9 if label else 18):
                continue
            png = None
            if thumbnails:
                target = io.BytesIO()
                base = rng.integers(120, 230, size=3)
                pixels = np.clip(rng.normal(base, 30, size=(24, 24, 3)), 0, 255).astype(np.uint8)
                PillowImage.fromarray(pixels).resize((96, 96)).save(target, "PNG")
                png = target.getvalue()
            cases.append(
                HardCase(
                    case_id=f"c{i:05d}a7f",
                    truth=label,
                    thumbnail_png=png,
                    scores=tuple(
                        CaseScore(model=m, score=float(s[i]), called_positive=c)
                        for m, s, c in zip(assessment.models, scores, calls, strict=True)
                    ),
                )
            )
    return tuple(cases)


def make_saliency(model: str, cases: tuple[str, ...], **changes: Any) -> SaliencyMaps:
    """The record of maps of 7 x 7 cells, that depend on what was learned."""
    shares = tuple(0.02 + 0.012 * i for i in range(len(cases)))
    values: dict[str, Any] = {
        "model": model,
        "cases": cases,
        "maps": _artifact("9"),
        "cells": 7,
        "origin_px": 0.0,
        "step_px": 32.0,
        "image_size_px": 224,
        "resize_px": 256,
        "random_shares": shares,
        "random_share_median": float(np.median(shares)),
        "random_share_lowest": min(shares),
        "random_share_highest": max(shares),
        "n_random": 2,
        "library": "captum 0.9.0",
    }
    return SaliencyMaps(**(values | changes))


def with_maps(
    assessment: Assessment, cases: tuple[HardCase, ...]
) -> tuple[tuple[HardCase, ...], tuple[SaliencyMaps, ...]]:
    """`cases` with the maps of the two models that are compared: a spot in each, and evidence against around it."""
    ids, (y, x) = tuple(case.case_id for case in cases), np.mgrid[:7, :7]
    found, overlays = [], []
    for number, model in enumerate(mapped_models(assessment)):
        spots = np.random.default_rng(number).uniform(0, 6, (len(cases), 2))
        maps = np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 3) - 0.2 for a, b in spots])
        found.append(make_saliency(model, ids))
        overlays.append(Overlays(found[-1], maps.astype(np.float32)))
    shown = tuple(
        case.model_copy(update={"maps": tuple(one.of(case.case_id, case.thumbnail_png) for one in overlays)})
        for case in cases
        if case.thumbnail_png is not None
    )
    return shown, tuple(found)


def _artifact(letter: str) -> Artifact:
    return Artifact(path=f"objects/{letter * 2}/{letter * 64}.csv", sha256=letter * 64, n_bytes=1234)


def make_manifest(*, synthetic: bool) -> DatasetManifest:
    """Counts of a data set with a few defects."""
    return DatasetManifest(
        name="demo" if synthetic else "oral-oscc-224",
        synthetic=synthetic,
        classes=CLASSES,
        class_counts=(1010, 680),
        n_found=1713,
        n_images=1690,
        n_patients=590,
        n_rejected=23,
        rejected_by_reason=(
            ("identical file with the opposite label", 8),
            ("too small", 3),
            ("unreadable", 12),
        ),
        n_duplicate_groups=6,
        n_conflicting_groups=4,
        image_sizes=(("224x224", 1681), ("224x223", 9)),
        extra_columns=("sex", "age", "site"),
        warnings=("9 images are not square.",),
        fingerprint="f" * 64,
        images=_artifact("a"),
        rejected=_artifact("b"),
    )


def make_split() -> DatasetSplit:
    """A grouped 70/10/20 split of the manifest."""

    def summary(subset: str, negative: int, positive: int, patients: int, target: float) -> SubsetSummary:
        n = negative + positive
        return SubsetSummary(
            subset=subset,
            n_images=n,
            class_counts=(negative, positive),
            n_patients=patients,
            patients_by_class=(patients // 2, patients // 3),
            fraction=n / 1690,
            target_fraction=target,
            positive_fraction=positive / n,
        )

    return DatasetSplit(
        assignments=_artifact("c"),
        subsets=(
            summary("train", 706, 475, 413, 0.7),
            summary("val", 101, 68, 59, 0.1),
            summary("test", 203, 137, 118, 0.2),
        ),
        classes=CLASSES,
        method="Stratified by class and grouped by patient; the class proportions are as close as grouping allows.",
        grouped_by="patient_id",
        disjoint=(("groups of identical files", 2), ("patients", 590)),
        n_duplicates_kept_together=2,
        seed=0,
        notes=(),
        manifest_fingerprint="f" * 64,
    )


def make_characteristics() -> tuple[Characteristic, ...]:
    """Sex, with blanks, and age of the images of the split; the site is not tabulated."""
    rows = {
        "female": ((400, 275), (60, 40), (103, 77)),
        "male": ((300, 195), (41, 28), (100, 58)),
        "": ((6, 5), (0, 0), (0, 2)),
    }
    return (
        *(
            Characteristic(
                column="sex",
                level=level,
                counts=counts,
                difference_test=0.05 if level == "female" else None,
                difference_class=0.02 if level == "female" else None,
            )
            for level, counts in rows.items()
        ),
        Characteristic(
            column="age",
            level=None,
            counts=((706, 475), (0, 0), (203, 137)),
            quartiles=((51.0, 63.0, 71.5), None, (50.0, 62.0, 72.0)),
        ),
    )


def make_search(model: str, name: str) -> Search:
    """Four trials, of which the third was pruned and the last is the best."""
    recipe = TrialSettings(
        learning_rate=1e-5,
        weight_decay=0.0,
        frozen_epochs=0,
        label_smoothing=0.0,
        crop_scale_min=0.08,
        augmentation=("RandomHorizontalFlip",),
    )
    strong = ("RandomHorizontalFlip", "RandomVerticalFlip")
    found = recipe.model_copy(update={"learning_rate": 3.2e-4, "augmentation": strong})
    aucs = ((0.7, 0.8, 0.82), (0.6, 0.7, 0.75), (0.5, 0.55), (0.8, 0.88, 0.91))
    trials = tuple(
        Trial(
            number=n,
            parameters={"learning_rate": 1e-5 if n == 1 else 3.2e-4},
            settings=recipe if n == 1 else found,
            state="pruned" if n == 3 else "complete",
            val_auc=values,
            val_loss=tuple(1 - value for value in values),
            elapsed_s=30.0,
            device="CPU",
        )
        for n, values in enumerate(aucs, 1)
    )
    return Search(
        model=model,
        display_name=name,
        trials=trials,
        chosen=4,
        epochs_allowed=3,
        pruning="median",
        seed=0,
        searched=("learning rate from 1e-05 to 0.01", "augmentation weak, as set or strong"),
    )


def make_trained(model: str, name: str, *, epochs: int = 12, pretrained: bool = True) -> TrainedModel:
    """A training that got better and then did not."""
    history = tuple(
        EpochLog(
            epoch=e,
            learning_rate=1e-4,
            train_loss=0.65 * 0.88**e + 0.05,
            val_loss=0.62 * 0.9**e + 0.09 + 0.003 * e,
            val_auc=0.93 - 0.3 * 0.72**e - 0.001 * e,
            val_balanced_accuracy=0.85,
            images_per_s=60.0,
            elapsed_s=20.0 * e,
            sample_loss_training_mode=0.6 * 0.88**e + 0.04,
            sample_loss=0.6 * 0.88**e + 0.03,
            sample_loss_running=0.69,
            val_loss_running=0.69,
            val_auc_running=0.6 + 0.02 * e,
            remeasuring_s=1.2,
            comparison_s=2.0,
        )
        for e in range(1, epochs + 1)
    )
    weights = (
        InitialWeights(
            kind="imagenet", name=f"{name} IMAGENET1K", version="V1", sha256="d" * 64, source="hub cache"
        )
        if pretrained
        else InitialWeights(kind="none", name="random initialisation", version=None)
    )
    return TrainedModel(
        model=model,
        display_name=name,
        checkpoint=_artifact("e"),
        history=history,
        best_epoch=max(1, epochs - 3),
        selection="The checkpoint with the best validation AUC was kept.",
        stopped_early=True,
        initial_weights=weights,
        optimizer="Adam, learning rate 1e-05, weight decay 0",
        class_weights=(0.84, 1.24),
        image_size_px=224,
        resize_px=256,
        batch_size=32,
        n_parameters=23_512_130,
        precision="float32",
        memory_format="channels_last",
        device="Intel Xeon (4 cores)",
        n_threads=2,
        n_parallel=2,
        seed=0,
        n_images_seen=14172,
        elapsed_s=412.7,
        batch_norm=BatchNormFacts(n_layers=49, momenta=(0.01,), n_sample_images=512, n_compared_images=128),
    )


def make_provenance() -> Provenance:
    """A plausible provenance."""
    return Provenance(
        medcompare_version="0.1.0",
        code_commit="5259773c0ffee",
        code_dirty=False,
        versions=(("numpy", "2.4.1"), ("torch", "2.15.0")),
        python="3.13.1",
        platform="Linux x86_64",
        cpu="Intel Xeon",
        n_cores=4,
        memory_bytes=16_600_000_000,
        gpu=None,
        started_at="2026-11-22T20:40:00+00:00",
        finished_at="2026-11-22T21:04:00+00:00",
        command="python -m flows.compare --data images --preset published",
        config_sha256="9" * 64,
    )


def make_settings(n: int = 48) -> tuple[SettingRow, ...]:
    """As many settings as a real run prints."""
    rows = [
        SettingRow(field="train.epochs", value="20", description="Most epochs to train.", set_by="user"),
        SettingRow(
            field="train.image_size_px",
            value="224",
            description="Side of the square the network sees, pixels.",
            set_by="preset",
        ),
        SettingRow(
            field="data.positive", value="", description="Classes that are positive.", set_by="default"
        ),
    ]
    rows += [
        SettingRow(
            field=f"section.field_number_{i}",
            value=f"{i * 0.01:.2f}",
            set_by="default",
            description="What this field means, in one sentence that may well run over two lines of a narrow column.",
        )
        for i in range(n - len(rows))
    ]
    return tuple(rows)


def make_trend(assessment: Assessment) -> tuple[TrendRun, ...]:
    """Five nights."""
    return tuple(
        TrendRun(
            run_name=f"nightly 2026-11-{18 + night} oral-oscc-224",
            finished_at=f"2026-11-{18 + night}T02:40:00+00:00",
            n_images=1650 + 10 * night,
            headline=assessment.verdict.headline,
            outcome=assessment.verdict.outcome,
            model=assessment.verdict.model,
            figures=tuple(
                TrendFigures(
                    model=e.model,
                    auc=e.metrics["auc"],
                    sensitivity=e.metrics["sensitivity"],
                    specificity=e.metrics["specificity"],
                    training_time_s=400.0 + night,
                )
                for e in assessment.evaluations
            ),
        )
        for night in range(5)
    )


def make_checklist(n: int = 44) -> ChecklistTable:
    """A checklist as long as the real ones."""
    statuses = ("filled by software", "filled by user", "missing", "not applicable")
    return ChecklistTable(
        name="CLAIM 2024",
        reference="Radiology: Artificial Intelligence 6(4).",
        items=tuple(
            ChecklistItem(
                number=str(i),
                text="Say where the data came from and over which period they were collected.",
                status=statuses[i % 4],
                answer="See section 1." if i % 4 < 2 else "",
            )
            for i in range(1, n + 1)
        ),
    )


def make_inputs(
    *,
    synthetic: bool = True,
    thumbnails: bool = True,
    full: bool = True,
    assessment: Assessment | None = None,
    **changes: Any,
) -> ReportInputs:
    """Inputs of a whole report; `full=False` leaves out all that training knows, as `assess` does."""
    assessment = assessment or make_assessment()
    y, scores = simulate(assessment.n, len(assessment.models))
    rejected = tuple(
        RejectedRow(name=f"r{i:04d}", label=CLASSES[i % 2], reason=reason, detail=detail)
        for i, (reason, detail) in enumerate(
            [("unreadable", "image file is truncated")] * 12
            + [("too small", "24 pixels, at least 32 needed")] * 3
            + [("identical file with the opposite label", "same bytes as another file of the other class")]
            * 8
        )
    )
    values: dict[str, Any] = {
        "title": "Comparison of image classifiers",
        "organisation": "Department of Pathology",
        "run_name": "nightly 2026-11-22 oral-oscc-224",
        "source": "trained by medcompare" if full else "predictions supplied",
        "synthetic": synthetic,
        "assessment": assessment,
        "rule": DecideConfig(),
        "provenance": make_provenance(),
        "settings": make_settings(),
        "score_distributions": tuple(
            count_scores(m, y, s) for m, s in zip(assessment.models, scores, strict=True)
        ),
    }
    if full:
        cases, saliency = make_hard_cases(assessment, thumbnails=thumbnails), ()
        if thumbnails:
            cases, saliency = with_maps(assessment, cases)
        values |= {
            "manifest": make_manifest(synthetic=synthetic),
            "rejected": rejected,
            "split": make_split(),
            "characteristics": make_characteristics(),
            "trained": tuple(make_trained(m, assessment.display_names[m]) for m in assessment.models),
            "hard_cases": cases,
            "saliency": saliency,
            "n_hard_cases": 71,
            "files": (("predictions.csv", "Probability of every model for every validation and test case."),),
        }
    return ReportInputs(**(values | changes))


def make_seeds(assessment: Assessment) -> tuple[SeedRow, ...]:
    """Three seeds per model."""
    return tuple(
        SeedRow(model=e.model, seed=str(seed), auc=e.metrics["auc"])
        for seed in range(3)
        for e in assessment.evaluations
    )
