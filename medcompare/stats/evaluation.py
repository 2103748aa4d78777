"""Every figure of one model on the test subset, at its frozen threshold.

What cannot be computed is present with no value and a note that says why: a collapsed
class, a single class in the subset, scores that are not probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.stats.arrays import plain
from medcompare.stats.auc import auc_interval
from medcompare.stats.bootstrap import BootstrapResult, bootstrap_metrics
from medcompare.stats.calibration import calibration
from medcompare.stats.proportions import (
    clustered_proportion,
    predictive_values_at_prevalence,
    proportion,
)
from medcompare.stats.recalibration import fit_isotonic, fit_platt
from medcompare.stats.records import (
    ClassReport,
    ConfusionCounts,
    Curve,
    Estimate,
    ModelEvaluation,
    OperatingPoint,
    SubgroupEvaluation,
)
from medcompare.stats.thresholds import choose_threshold
from medcompare.stats.utility import decision_curve
from medcompare.stats.weighted_metrics import MetricName

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medcompare.config import EvaluateConfig
    from medcompare.predictions import ScoredCases
    from medcompare.stats.records import Calibration

FPR_GRID = np.linspace(0, 1, 101)
DECISION_GRID = np.linspace(0.01, 0.99, 99)
LEAST_SUBGROUP_EVENTS = 10
"""Below so many positives or negatives a subgroup gets counts, not inference (TRIPOD+AI 23a practice)."""

BOOTSTRAPPED: tuple[MetricName, ...] = ("average_precision", "balanced_accuracy", "f1", "mcc")


def evaluate_model(
    test: ScoredCases,
    validation: ScoredCases | None,
    model: str,
    *,
    display_name: str,
    evaluate: EvaluateConfig,
    operating_point: OperatingPoint | None = None,
    seed: int,
) -> ModelEvaluation:
    """Evaluate one model, once.

    Parameters
    ----------
    test, validation : ScoredCases
        The test subset, and the validation subset that thresholds come from (None where
        there is none).
    model : str
        Which of the scores.
    display_name : str
        Name for people.
    evaluate : EvaluateConfig
        Level, resamples, threshold rule and the like.
    operating_point : OperatingPoint, optional
        A threshold chosen elsewhere; None chooses it here, on `validation`.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    ModelEvaluation
    """
    scores, positive = test.scores[model], test.y_true == 1
    point = operating_point or choose_threshold(model, validation, evaluate)
    called = scores >= point.threshold
    counts = ConfusionCounts(
        true_negative=int((~called & ~positive).sum()),
        false_positive=int((called & ~positive).sum()),
        false_negative=int((~called & positive).sum()),
        true_positive=int((called & positive).sum()),
    )
    constant = bool(scores.min() == scores.max())
    both = bool(positive.any() and not positive.all())
    resampled = _bootstrap(test, model, point, evaluate, seed) if both else None
    metrics = _metrics(test, model, called, evaluate, resampled)
    return ModelEvaluation(
        model=model,
        display_name=display_name,
        subset=test.subset,
        classes=test.classes,
        n=test.n,
        n_positive=int(positive.sum()),
        n_negative=int((~positive).sum()),
        n_units_positive=test.units(1),
        n_units_negative=test.units(0),
        clustered=test.clusters is not None,
        operating_point=point,
        confusion=counts,
        metrics=metrics,
        classification_report=_classification_report(test, called, evaluate, resampled, seed),
        roc=Curve(x=(), y=()) if resampled is None else resampled.roc_band(0, FPR_GRID),
        precision_recall=_precision_recall(positive, scores) if both else Curve(x=(), y=()),
        calibration=_calibration(test, validation, model, evaluate, seed) if both else None,
        decision_curve=_decision_curve(test, validation, model, evaluate),
        subgroups=_subgroups(test, model, called, evaluate),
        constant_output=constant,
        warnings=_warnings(test, counts, metrics, constant=constant),
    )


def _bootstrap(
    test: ScoredCases, model: str, point: OperatingPoint, evaluate: EvaluateConfig, seed: int
) -> BootstrapResult | None:
    if test.clusters is not None and test.n_patients == 1:
        return None
    return bootstrap_metrics(
        test.y_true,
        [test.scores[model]],
        [point.threshold],
        n_resamples=evaluate.n_resamples,
        seed=seed,
        level=evaluate.level,
        clusters=test.clusters,
        score_is_probability=test.scores_are_probabilities,
    )


def share(
    success: NDArray[np.bool_],
    among: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None,
    evaluate: EvaluateConfig,
    *,
    why_empty: str,
) -> Estimate:
    """Share of `success` within `among`: Wilson (or as configured), cluster-robust with patients."""
    n = int(among.sum())
    if n == 0:
        return Estimate(value=None, level=evaluate.level, method="none", n=0, note=why_empty)
    if clusters is not None and len(set(clusters[among].tolist())) > 1:
        return clustered_proportion(success[among], clusters[among], level=evaluate.level)
    return proportion(int(success[among].sum()), n, level=evaluate.level, method=evaluate.proportion_interval)


def undefined(evaluate: EvaluateConfig, note: str, n: int | None = None) -> Estimate:
    """An estimate without a value, and why."""
    return Estimate(value=None, level=evaluate.level, method="none", n=n, note=note)


def _metrics(
    test: ScoredCases,
    model: str,
    called: NDArray[np.bool_],
    evaluate: EvaluateConfig,
    resampled: BootstrapResult | None,
) -> dict[str, Estimate]:
    positive, clusters = test.y_true == 1, test.clusters
    everyone = np.ones(test.n, dtype=np.bool_)
    negative_name, positive_name = test.classes
    metrics = {
        "accuracy": share(called == positive, everyone, clusters, evaluate, why_empty="no case"),
        "sensitivity": share(
            called, positive, clusters, evaluate, why_empty=f"undefined: no {positive_name} case"
        ),
        "specificity": share(
            ~called, ~positive, clusters, evaluate, why_empty=f"undefined: no {negative_name} case"
        ),
        "ppv": share(positive, called, clusters, evaluate, why_empty="undefined: no positive call"),
        "npv": share(~positive, ~called, clusters, evaluate, why_empty="undefined: no negative call"),
    }
    one_class = "undefined: the subset has one class only"
    both = resampled is not None
    metrics["auc"] = (
        auc_interval(test.y_true, test.scores[model], level=evaluate.level, clusters=clusters)
        if both
        else undefined(evaluate, one_class, test.n)
    )
    for name in (*BOOTSTRAPPED, "brier"):
        metrics[name] = (
            resampled.metric(0, name) if resampled is not None else undefined(evaluate, one_class, test.n)
        )
    if not test.scores_are_probabilities:
        metrics["brier"] = undefined(evaluate, "undefined: the scores are not probabilities", test.n)
    if evaluate.stated_prevalence is None:
        note = "no prevalence was stated (evaluate.stated_prevalence)"
        at_prevalence = undefined(evaluate, note), undefined(evaluate, note)
    else:
        at_prevalence = predictive_values_at_prevalence(
            metrics["sensitivity"], metrics["specificity"], evaluate.stated_prevalence, evaluate.level
        )
    metrics["ppv_at_prevalence"], metrics["npv_at_prevalence"] = at_prevalence
    order = [
        "auc",
        "average_precision",
        "accuracy",
        "balanced_accuracy",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "ppv_at_prevalence",
        "npv_at_prevalence",
        "f1",
        "mcc",
        "brier",
    ]
    return {name: metrics[name] for name in order}


def _classification_report(
    test: ScoredCases,
    called: NDArray[np.bool_],
    evaluate: EvaluateConfig,
    resampled: BootstrapResult | None,
    seed: int,
) -> tuple[ClassReport, ClassReport]:
    """Precision, recall and F1 of each class; of the negative one by exchanging the classes."""
    positive, clusters = test.y_true == 1, test.clusters
    rows = []
    for label, (truth, call) in enumerate(((~positive, ~called), (positive, called))):
        name = test.classes[label]
        if resampled is None:
            f1 = undefined(evaluate, "undefined: the subset has one class only", test.n)
        elif label == 1:
            f1 = resampled.metric(0, "f1")
        else:
            # The calls, exchanged, as scores: F1 of the negative class from the same procedure.
            f1 = bootstrap_metrics(
                truth.astype(np.int64),
                [call.astype(np.float64)],
                [0.5],
                n_resamples=evaluate.n_resamples,
                seed=seed,
                level=evaluate.level,
                clusters=clusters,
            ).metric(0, "f1")
        rows.append(
            ClassReport(
                class_name=name,
                support=int(truth.sum()),
                precision=share(
                    truth, call, clusters, evaluate, why_empty=f"undefined: no case was called {name}"
                ),
                recall=share(call, truth, clusters, evaluate, why_empty=f"undefined: no {name} case"),
                f1=f1,
            )
        )
    return rows[0], rows[1]


def _precision_recall(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
    """Step-wise curve over all thresholds, from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    recall = hits[last] / positive.sum()
    precision = hits[last] / (last + 1)
    return Curve(x=plain(recall), y=plain(precision))


def _recalibrated(
    test: ScoredCases, validation: ScoredCases | None, model: str, evaluate: EvaluateConfig
) -> tuple[NDArray[np.float64], str | None]:
    probability = test.scores[model]
    if evaluate.recalibration == "none" or validation is None or len(set(validation.y_true.tolist())) == 1:
        return probability, None
    fit = fit_platt if evaluate.recalibration == "platt" else fit_isotonic
    return fit(validation.y_true, validation.scores[model]).apply(probability), evaluate.recalibration


def _calibration(
    test: ScoredCases, validation: ScoredCases | None, model: str, evaluate: EvaluateConfig, seed: int
) -> Calibration | None:
    if not test.scores_are_probabilities:
        return None
    probability, how = _recalibrated(test, validation, model, evaluate)
    return calibration(
        test.y_true,
        probability,
        level=evaluate.level,
        seed=seed,
        clusters=test.clusters,
        n_resamples=evaluate.n_resamples,
        recalibration=how,
    )


def _decision_curve(
    test: ScoredCases, validation: ScoredCases | None, model: str, evaluate: EvaluateConfig
) -> Curve | None:
    if not test.scores_are_probabilities:
        return None
    probability, _ = _recalibrated(test, validation, model, evaluate)
    return decision_curve(test.y_true, probability, DECISION_GRID)


def _subgroups(
    test: ScoredCases, model: str, called: NDArray[np.bool_], evaluate: EvaluateConfig
) -> tuple[SubgroupEvaluation, ...]:
    rows = []
    for column, levels in test.subgroups.items():
        for level in sorted(set(levels.tolist())):
            chosen = levels == level
            positive = (test.y_true == 1) & chosen
            negative = (test.y_true == 0) & chosen
            rows.append(
                SubgroupEvaluation(
                    column=column,
                    level=level or "(blank)",
                    n=int(chosen.sum()),
                    n_positive=int(positive.sum()),
                    metrics=_subgroup_metrics(test, model, called, positive, negative, evaluate),
                )
            )
    return tuple(rows)


def _subgroup_metrics(
    test: ScoredCases,
    model: str,
    called: NDArray[np.bool_],
    positive: NDArray[np.bool_],
    negative: NDArray[np.bool_],
    evaluate: EvaluateConfig,
) -> dict[str, Estimate]:
    few = f"not computed: fewer than {LEAST_SUBGROUP_EVENTS} cases of a class"
    enough = min(int(positive.sum()), int(negative.sum())) >= LEAST_SUBGROUP_EVENTS
    chosen = positive | negative
    clusters = None if test.clusters is None else test.clusters[chosen]
    metrics = {
        "auc": auc_interval(
            test.y_true[chosen], test.scores[model][chosen], level=evaluate.level, clusters=clusters
        )
        if enough
        else undefined(evaluate, few, int(chosen.sum()))
    }
    for name, success, among in (("sensitivity", called, positive), ("specificity", ~called, negative)):
        metrics[name] = (
            share(success, among, test.clusters, evaluate, why_empty=few)
            if int(among.sum()) >= LEAST_SUBGROUP_EVENTS
            else undefined(evaluate, few, int(among.sum()))
        )
    return metrics


def _warnings(
    test: ScoredCases, counts: ConfusionCounts, metrics: dict[str, Estimate], *, constant: bool
) -> tuple[str, ...]:
    found = []
    negative, positive = test.classes
    if constant:
        found.append("The model gives every case the same score: it cannot tell the classes apart.")
    elif counts.true_positive + counts.false_positive == 0:
        found.append(f"The model calls no case {positive} at its threshold.")
    elif counts.true_negative + counts.false_negative == 0:
        found.append(f"The model calls every case {positive} at its threshold; none is called {negative}.")
    auc = metrics["auc"]
    if auc.value == 1:
        found.append("The scores separate the classes perfectly: check for leakage before believing it.")
    if auc.ci_high is not None and auc.ci_high < 0.5:
        found.append("The AUC is significantly below 0.5: the labels may be swapped, or there is no signal.")
    return tuple(found)


def classification_report_text(evaluation: ModelEvaluation) -> str:
    """The classification report as aligned lines for a log."""
    lines = [f"{'':<16}{'precision':>10}{'recall':>10}{'F1':>10}{'cases':>8}"]
    for row in evaluation.classification_report:
        cells = "".join(f"{_short(value):>10}" for value in (row.precision, row.recall, row.f1))
        lines.append(f"{row.class_name[:15]:<16}{cells}{row.support:>8}")
    accuracy = evaluation.metrics["accuracy"]
    lines.append(f"{'accuracy':<16}{'':>20}{_short(accuracy):>10}{evaluation.n:>8}")
    return "\n".join(lines)


def confusion_matrix_text(evaluation: ModelEvaluation) -> str:
    """The confusion matrix as aligned lines for a log: rows truth, columns calls."""
    counts, (negative, positive) = evaluation.confusion, evaluation.classes
    width = max(len(negative), len(positive), 6) + 2
    lead = width + len("true ")
    return "\n".join(
        [
            f"{'':<{lead}}{'called ' + negative:>{width + 7}}{'called ' + positive:>{width + 7}}",
            f"{'true ' + negative:<{lead}}{counts.true_negative:>{width + 7}}{counts.false_positive:>{width + 7}}",
            f"{'true ' + positive:<{lead}}{counts.false_negative:>{width + 7}}{counts.true_positive:>{width + 7}}",
        ]
    )


def _short(estimate: Estimate) -> str:
    return "-" if estimate.value is None else f"{estimate.value:.3f}"
