"""Cross-validated figures: the spread over folds, and an interval that knows that folds share training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from medcompare.base.language import t
from medcompare.stats.intervals.auc import auc_interval
from medcompare.stats.records import CrossValidation, Estimate, FoldRow
from medcompare.stats.seeds import at_threshold
from medcompare.stats.thresholds import choose_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.cases import ScoredCases


def cross_validation(
    folds: Sequence[tuple[ScoredCases, ScoredCases, int]],
    pairs: Sequence[tuple[str, str]],
    *,
    n_repeats: int,
    evaluate: EvaluateConfig,
) -> CrossValidation:
    """Figures of every model on every held-out fold.

    Parameters
    ----------
    folds : sequence of (ScoredCases, ScoredCases, int)
        Held-out cases, validation cases and number of training images, repetition by repetition.
    pairs : sequence of (str, str)
        (reference, candidate) of the differences.
    n_repeats : int
        How often the folds were drawn.
    evaluate : EvaluateConfig
        Level, and rule of the threshold.

    Returns
    -------
    CrossValidation
    """
    n_folds = len(folds) // n_repeats
    rows = []
    for place, (held_out, validation, _) in enumerate(folds):
        for model, scores in held_out.scores.items():
            point = choose_threshold(model, validation, evaluate)
            rows.append(
                FoldRow(
                    model=model,
                    repeat=place // n_folds + 1,
                    fold=place % n_folds + 1,
                    n=held_out.n,
                    n_positive=int(held_out.y_true.sum()),
                    auc=auc_interval(
                        held_out.y_true, scores, level=evaluate.level, clusters=held_out.clusters
                    ),
                    **at_threshold(held_out, scores, point.threshold, evaluate),
                )
            )
    ratio = sum(held_out.n for held_out, _, _ in folds) / sum(n_train for _, _, n_train in folds)
    aucs = {model: [row.auc.value for row in rows if row.model == model] for model in folds[0][0].scores}
    return CrossValidation(
        n_folds=n_folds,
        n_repeats=n_repeats,
        rows=tuple(rows),
        means={
            model: corrected_mean(found, ratio, level=evaluate.level, lowest=0.0)
            for model, found in aucs.items()
        },
        differences=tuple(
            (a, b, corrected_mean(_minus(aucs[b], aucs[a]), ratio, level=evaluate.level)) for a, b in pairs
        ),
    )


def _minus(ones: Sequence[float | None], others: Sequence[float | None]) -> list[float | None]:
    return [None if a is None or b is None else a - b for a, b in zip(ones, others, strict=True)]


def corrected_mean(
    values: Sequence[float | None], ratio: float, *, level: float, lowest: float = -1.0
) -> Estimate:
    """Mean over folds with the corrected resampled t interval.

    Parameters
    ----------
    values : sequence of float or None
        One per fold; with None there is no mean.
    ratio : float
        Held-out images per training image.
    level : float
        Confidence level.
    lowest : float, default=-1
        Smallest possible value; the largest is 1.

    Returns
    -------
    Estimate

    Notes
    -----
    The variance of the mean of J folds is ``(1 / J + ratio) * s**2``, with J - 1 degrees of freedom: the
    trainings share images, so that ``s**2 / J`` would be too small.

    References
    ----------
    Nadeau & Bengio (2003), Machine Learning 52:239; for repetitions Bouckaert & Frank (2004), PAKDD.
    """
    known = [value for value in values if value is not None]
    if len(known) < max(2, len(values)):
        note = t("not estimable: a fold has no AUC")
        return Estimate(value=None, level=level, method="none", note=note)
    mean, n = float(np.mean(known)), len(known)
    error = float(np.sqrt((1 / n + ratio) * np.var(known, ddof=1)))
    reach = float(scipy.stats.t.ppf((1 + level) / 2, n - 1)) * error
    return Estimate(
        value=mean,
        ci_low=max(lowest, mean - reach),
        ci_high=min(1.0, mean + reach),
        level=level,
        method=t("corrected resampled t (Nadeau and Bengio), {n} folds", n=n),
    )
