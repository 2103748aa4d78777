"""Every figure of one model on the test subset, at its frozen threshold.

What cannot be computed is present with no value and a note that says why: a collapsed
class, a single class in the subset, scores that are not probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.language import t
from medcompare.stats.arrays import checked_scores, plain, says_nothing
from medcompare.stats.calibration.agreement import calibration
from medcompare.stats.calibration.usable import usable_probabilities
from medcompare.stats.intervals.auc import auc_interval
from medcompare.stats.intervals.predictive import likelihood_ratios, predictive_values_at_prevalence
from medcompare.stats.records import (
    ClassReport,
    ConfusionCounts,
    Curve,
    Estimate,
    ModelEvaluation,
    OperatingPoint,
)
from medcompare.stats.resampling.bootstrap import BootstrapResult, bootstrap_metrics
from medcompare.stats.resampling.percentile import percentile_estimate
from medcompare.stats.subgroups import share, subgroup_evaluations, undefined
from medcompare.stats.thresholds import HABIT, choose_threshold
from medcompare.stats.utility import DECISION_GRID, decision_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.cases import ScoredCases
    from medcompare.stats.records import Calibration
    from medcompare.stats.weighted_metrics import MetricName

FPR_GRID = np.linspace(0, 1, 101)
MAX_CLASS_NAME = 18
"""Longer names, in characters, are letters in the texts for the log."""
CHANCE_AUC = 0.5
MAX_CORNERS = 2001
"""Of a precision-recall curve; more cannot be distinguished on paper."""


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
    scores, positive = checked_scores(test.scores[model], test.n), test.y_true == 1
    point = operating_point or choose_threshold(
        model, validation, evaluate, scores_are_probabilities=test.scores_are_probabilities
    )
    constant = says_nothing(scores, positive)
    predicted = scores >= point.threshold
    counts = confusion_counts(positive, predicted)
    why_not = _why_nothing_can_be_resampled(test)
    both = bool(positive.any() and not positive.all())
    resampled = None if why_not else _bootstrap(test, model, point, evaluate, seed)
    metrics = _metrics(test, model, predicted, evaluate, resampled=resampled, why_not=why_not)
    now, before = (None, None) if why_not else _calibration(test, validation, model, evaluate, seed)
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
        confusion_at_half=confusion_counts(positive, scores >= HABIT)
        if test.scores_are_probabilities
        else None,
        metrics=metrics,
        classification_report=_classification_report(
            test, predicted, evaluate, resampled=resampled, why_not=why_not
        ),
        roc=Curve(x=(), y=()) if resampled is None else resampled.roc_band(0, FPR_GRID),
        precision_recall=_precision_recall(positive, scores) if both else Curve(x=(), y=()),
        precision_band=None if resampled is None else resampled.precision_band(0, FPR_GRID[1:]),
        calibration=now,
        calibration_as_predicted=before,
        decision_curve=_decision_curve(test, validation, model, evaluate, resampled),
        subgroups=subgroup_evaluations(test, model, predicted, evaluate),
        constant_output=constant,
        warnings=_warnings(test, counts, metrics, constant=constant),
    )


def confusion_counts(positive: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> ConfusionCounts:
    """Counts by true and predicted class."""
    return ConfusionCounts(
        true_negative=int((~predicted & ~positive).sum()),
        false_positive=int((predicted & ~positive).sum()),
        false_negative=int((~predicted & positive).sum()),
        true_positive=int((predicted & positive).sum()),
    )


def _why_nothing_can_be_resampled(test: ScoredCases) -> str:
    """Empty where there are two classes and, with patients, at least two of them."""
    if not (test.y_true.any() and not test.y_true.all()):
        return t("undefined: the subset has one class only")
    if test.clusters is not None and test.n_patients == 1:
        return t("not computed: all cases come from one patient")
    return ""


def _bootstrap(
    test: ScoredCases, model: str, point: OperatingPoint, evaluate: EvaluateConfig, seed: int
) -> BootstrapResult:
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


def _metrics(
    test: ScoredCases,
    model: str,
    predicted: NDArray[np.bool_],
    evaluate: EvaluateConfig,
    *,
    resampled: BootstrapResult | None,
    why_not: str,
) -> dict[str, Estimate]:
    positive, clusters = test.y_true == 1, test.clusters
    negative_name, positive_name = test.classes

    def rate(success: NDArray[np.bool_], among: NDArray[np.bool_], why_empty: str) -> Estimate:
        return share(success, among, clusters, evaluate, why_empty=why_empty)

    def drawn(name: MetricName) -> Estimate:
        return undefined(evaluate, why_not, test.n) if resampled is None else resampled.metric(0, name)

    sensitivity = rate(predicted, positive, t("undefined: no {name} case", name=positive_name))
    specificity = rate(~predicted, ~positive, t("undefined: no {name} case", name=negative_name))
    if evaluate.stated_prevalence is None:
        note = t("no prevalence was stated (evaluate.stated_prevalence)")
        at_prevalence = undefined(evaluate, note), undefined(evaluate, note)
    else:
        at_prevalence = predictive_values_at_prevalence(
            sensitivity, specificity, evaluate.stated_prevalence, evaluate.level
        )
    ratios = likelihood_ratios(predicted, positive, clusters, level=evaluate.level)
    return {
        "auc": undefined(evaluate, why_not, test.n)
        if resampled is None
        else auc_interval(test.y_true, test.scores[model], level=evaluate.level, clusters=clusters),
        "average_precision": drawn("average_precision"),
        "accuracy": rate(predicted == positive, np.ones(test.n, dtype=np.bool_), t("no case")),
        "balanced_accuracy": drawn("balanced_accuracy"),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": rate(positive, predicted, t("undefined: no positive prediction")),
        "npv": rate(~positive, ~predicted, t("undefined: no negative prediction")),
        "ppv_at_prevalence": at_prevalence[0],
        "npv_at_prevalence": at_prevalence[1],
        "likelihood_ratio_positive": ratios[0],
        "likelihood_ratio_negative": ratios[1],
        "f1": drawn("f1"),
        "mcc": drawn("mcc"),
        "brier": drawn("brier")
        if test.scores_are_probabilities
        else undefined(evaluate, t("undefined: the scores are not probabilities"), test.n),
    }


def _classification_report(
    test: ScoredCases,
    predicted: NDArray[np.bool_],
    evaluate: EvaluateConfig,
    *,
    resampled: BootstrapResult | None,
    why_not: str,
) -> tuple[ClassReport, ClassReport]:
    """Precision, recall and F1 of each class; of the negative one by exchanging the classes."""
    positive, clusters = test.y_true == 1, test.clusters
    rows = []
    for label, (truth, call) in enumerate(((~positive, ~predicted), (positive, predicted))):
        name = test.classes[label]
        if resampled is None:
            f1 = undefined(evaluate, why_not, test.n)
        elif label == 1:
            f1 = resampled.metric(0, "f1")
        else:
            f1 = _f1_of_negative_class(truth, call, resampled)
        rows.append(
            ClassReport(
                class_name=name,
                support=int(truth.sum()),
                precision=share(
                    truth,
                    call,
                    clusters,
                    evaluate,
                    why_empty=t("undefined: no case was predicted {name}", name=name),
                ),
                recall=share(
                    call, truth, clusters, evaluate, why_empty=t("undefined: no {name} case", name=name)
                ),
                f1=f1,
            )
        )
    return rows[0], rows[1]


def _f1_of_negative_class(
    truth: NDArray[np.bool_], call: NDArray[np.bool_], resampled: BootstrapResult
) -> Estimate:
    """F1 with the classes exchanged: the harmonic mean of NPV and specificity, resample by resample."""
    of_positive = resampled.metric(0, "f1")
    if resampled.few is not None:
        return of_positive
    value = 2 * int((truth & call).sum()) / int(truth.sum() + call.sum())
    rates = np.stack([resampled.draws(0, name, stratified=False) for name in ("specificity", "npv")])
    defined = ~np.isnan(rates)
    total = np.where(defined, rates, 0.0).sum(axis=0)
    # Without a case predicted negative, or without a negative case, F1 is 0; without both, undefined.
    draws = np.divide(2 * np.prod(rates, axis=0), total, out=np.zeros(total.shape), where=total > 0)
    draws = np.where(defined.any(axis=0), draws, np.nan)
    return percentile_estimate(
        value, draws, level=resampled.level, method=of_positive.method, n=int(truth.size)
    )


def _precision_recall(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
    """Step-wise curve over all thresholds (evenly spaced in recall, of many), from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    recall = hits[last] / positive.sum()
    precision = hits[last] / (last + 1)
    if recall.size > MAX_CORNERS:
        # A million corners would be 40 MB of results.json for a curve a few hundred dots wide.
        steps = np.searchsorted(recall, np.linspace(0, 1, MAX_CORNERS), side="left")
        kept = np.unique(np.append(steps, recall.size - 1))
        recall, precision = recall[kept], precision[kept]
    return Curve(x=plain(recall), y=plain(precision))


def _calibration(
    test: ScoredCases, validation: ScoredCases | None, model: str, evaluate: EvaluateConfig, seed: int
) -> tuple[Calibration | None, Calibration | None]:
    """Of the probabilities in use and, where these were recalibrated, of the scores as predicted."""
    if not test.scores_are_probabilities:
        return None, None

    def of(probability: NDArray[np.float64], how: str | None) -> Calibration:
        return calibration(
            test.y_true,
            probability,
            level=evaluate.level,
            seed=seed,
            clusters=test.clusters,
            n_resamples=evaluate.n_resamples,
            recalibration=how,
        )

    probability, how = usable_probabilities(test, validation, model, evaluate)
    return of(probability, how), None if how is None else of(test.scores[model], None)


def _decision_curve(
    test: ScoredCases,
    validation: ScoredCases | None,
    model: str,
    evaluate: EvaluateConfig,
    resampled: BootstrapResult | None,
) -> Curve | None:
    """With a band, unless too few cases were resampled; at the stated prevalence, where there is one."""
    if not test.scores_are_probabilities:
        return None
    both = bool(test.y_true.any() and not test.y_true.all())
    return decision_curve(
        test.y_true,
        usable_probabilities(test, validation, model, evaluate)[0],
        DECISION_GRID,
        plan=None if resampled is None or resampled.few is not None else resampled.unstratified_plan,
        level=evaluate.level,
        prevalence=evaluate.stated_prevalence if both else None,
    )


def _warnings(
    test: ScoredCases, counts: ConfusionCounts, metrics: dict[str, Estimate], *, constant: bool
) -> tuple[str, ...]:
    found = []
    negative, positive = test.classes
    if constant:
        found.append(t("The model gives (nearly) every case the same score: nothing can be told from it."))
    elif counts.true_positive + counts.false_positive == 0:
        found.append(t("The model predicts no case as {positive} at its threshold.", positive=positive))
    elif counts.true_negative + counts.false_negative == 0:
        found.append(
            t(
                "The model predicts every case as {positive} at its threshold, and none as {negative}.",
                positive=positive,
                negative=negative,
            )
        )
    auc = metrics["auc"]
    if auc.value == 1:
        found.append(
            t(
                "The scores separate the classes perfectly, which real images hardly ever allow: look for a "
                "leak, such as test images seen in training or a mark that gives the class away."
            )
        )
    if auc.ci_high is not None and auc.ci_high < CHANCE_AUC:
        found.append(
            t("The AUC is below that of a coin toss: the labels may be swapped, or there is no signal.")
        )
    return tuple(found)


def classification_report_text(evaluation: ModelEvaluation) -> str:
    """The classification report as aligned lines for a log: classes, then overall figures."""
    rows, (names, lines) = evaluation.classification_report, _tags(evaluation)
    width = max(len("balanced accuracy"), *map(len, names.values())) + 2
    lines += [f"{'':<{width}}{'precision':>9}  {'recall':>9}  {'F1':>9}  {'cases':>9}"]
    for row in rows:
        cells = "  ".join(f"{_short(value):>9}" for value in (row.precision, row.recall, row.f1))
        lines.append(f"{names[row.class_name]:<{width}}{cells}  {row.support:>9,}")
    for name in ("accuracy", "balanced_accuracy"):
        estimate = evaluation.metrics[name]
        lines.append(f"{name.replace('_', ' '):<{width}}{_short(estimate):>9}  {_limits(estimate)}".rstrip())
    return "\n".join(lines)


def confusion_matrix_text(evaluation: ModelEvaluation) -> str:
    """The confusion matrix as aligned lines for a log: rows true, columns predicted, as in the report."""
    counts, (names, lines) = evaluation.confusion, _tags(evaluation)
    negative, positive = (names[name] for name in evaluation.classes)
    rows = (
        (f"true {positive}", counts.true_positive, counts.false_negative),
        (f"true {negative}", counts.false_positive, counts.true_negative),
    )
    heads = (f"predicted {positive}", f"predicted {negative}")
    lead = max(len(row[0]) for row in rows)
    lines += [f"{'':<{lead}}  {heads[0]}  {heads[1]}"]
    lines += [f"{name:<{lead}}  {a:>{len(heads[0])},}  {b:>{len(heads[1])},}" for name, a, b in rows]
    return "\n".join(lines)


def _tags(evaluation: ModelEvaluation) -> tuple[dict[str, str], list[str]]:
    """What the texts call each class, and lines that explain it: letters where names would not fit 80 columns."""
    if max(map(len, evaluation.classes)) <= MAX_CLASS_NAME:
        return {name: name for name in evaluation.classes}, []
    tags = dict(zip(evaluation.classes, ("(b)", "(a)"), strict=True))
    return tags, [f"{tag} {name}" for name, tag in sorted(tags.items(), key=lambda item: item[1])]


def _short(estimate: Estimate) -> str:
    return "-" if estimate.value is None else f"{estimate.value:.3f}"


def _limits(estimate: Estimate) -> str:
    if estimate.ci_low is None or estimate.ci_high is None or estimate.level is None:
        return ""
    return f"({100 * estimate.level:g}% interval {estimate.ci_low:.3f} to {estimate.ci_high:.3f})"
