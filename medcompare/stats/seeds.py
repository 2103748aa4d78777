"""Repeated trainings: what a model reaches on average over training seeds, and how sure that is.

A prediction table may hold several trainings of a model, in columns ``MODEL@SEED``. The verdict then
rests on the mean over trainings, with an interval at two levels: another draw of patients, and another
draw of seeds. What is shown case by case (curves, confusion, errors) is that of one checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import scipy

from medcompare.base.language import t
from medcompare.stats.comparison import adjusted, with_differences
from medcompare.stats.estimates import OverTrainings
from medcompare.stats.intervals.auc import auc_interval
from medcompare.stats.records import Ensemble, Estimate, SeedComparison, SeedRow
from medcompare.stats.resampling.bootstrap import bootstrap_metrics
from medcompare.stats.subgroups import share
from medcompare.stats.thresholds import choose_threshold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.cases import ScoredCases
    from medcompare.stats.records import ModelEvaluation, PairedComparison

Figure = Literal["auc", "sensitivity", "specificity"]
FIGURES: tuple[Figure, ...] = get_args(Figure)

MIN_SEEDS = 3
"""With fewer trainings nothing is said about a changing order."""

MAX_RESAMPLES = 2000
"""Every seed is resampled; beyond this the limits move less than the seeds themselves do."""


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """Every training of the models that were trained more than once, on the test subset.

    Attributes
    ----------
    test : ScoredCases
        The test subset; ``seed_scores`` has two seeds or more of each model here.
    thresholds : dict
        By model and seed; each chosen on validation with the scores of that training.
    values, draws : dict
        By figure, model and seed: in the sample, and in each resample of patients (the same for all).
    evaluate : EvaluateConfig
        Level of the intervals.
    """

    test: ScoredCases
    thresholds: Mapping[str, Mapping[str, float]]
    values: Mapping[Figure, Mapping[str, Mapping[str, float]]]
    draws: Mapping[Figure, Mapping[str, Mapping[str, NDArray[np.float64]]]]
    evaluate: EvaluateConfig

    def means(self, model: str) -> dict[str, Estimate]:
        """Mean of each figure over the trainings of `model`; empty where it was trained once."""
        if model not in self.thresholds:
            return {}
        seeds = list(self.thresholds[model])
        return {
            figure: self._mean(
                [self.values[figure][model][seed] for seed in seeds],
                np.array([self.draws[figure][model][seed] for seed in seeds]),
                lowest=0.0,
            )
            for figure in FIGURES
        }

    def difference(self, reference: str, candidate: str) -> SeedComparison | None:
        """Candidate minus reference over the seeds both have; None where these are fewer than two."""
        known = self.thresholds
        shared = [seed for seed in known.get(reference, {}) if seed in known.get(candidate, {})]
        if len(shared) < 2:
            return None
        found = {}
        for figure in FIGURES:
            of = self.values[figure]
            values = [of[candidate][seed] - of[reference][seed] for seed in shared]
            draws = self.draws[figure]
            found[figure] = (
                values,
                self._mean(
                    values,
                    np.array([draws[candidate][seed] - draws[reference][seed] for seed in shared]),
                    lowest=-1.0,
                ),
            )
        differences, mean = found["auc"]
        spread = float(np.std(differences, ddof=1))
        changes = min(differences) < 0 < max(differences)
        return SeedComparison(
            reference=reference,
            candidate=candidate,
            seeds=tuple(shared),
            differences=tuple(differences),
            mean=mean,
            sensitivity=found["sensitivity"][1],
            specificity=found["specificity"][1],
            standard_deviation=spread,
            sign_changes=changes,
            sensitive=len(shared) >= MIN_SEEDS and (changes or abs(float(np.mean(differences))) < spread),
        )

    def _mean(self, values: Sequence[float], draws: NDArray[np.float64], *, lowest: float) -> Estimate:
        """Mean over seeds, its interval over seeds and patients.

        The variance of the mean is that over resampled patients, these seeds given, plus that between
        seeds divided by their number; the degrees of freedom are Satterthwaite's (1946, Biometrics Bull
        2:110). To resample three seeds as well would make the interval too narrow: see
        docs/statistics-simulations.md.
        """
        n_seeds, mean, level = len(values), float(np.mean(values)), self.evaluate.level
        between = float(np.var(values, ddof=1)) / n_seeds
        total = float(np.nanvar(draws.mean(axis=0), ddof=1)) + between
        error = float(np.sqrt(total))
        freedom = np.inf if between == 0 else (n_seeds - 1) * (total / between) ** 2
        reach = float(scipy.stats.t.ppf((1 + level) / 2, freedom)) * error
        return Estimate(
            value=mean,
            ci_low=max(lowest, mean - reach),
            ci_high=min(1.0, mean + reach),
            level=level,
            method=t(
                "mean of {n} trainings; patients resampled, variance between seeds added ({n_resamples} resamples)",
                n=n_seeds,
                n_resamples=draws.shape[1],
            ),
            p_value=None
            if lowest == 0 or error == 0
            else min(1.0, 2 * float(scipy.stats.t.sf(abs(mean) / error, freedom))),
            n=self.test.n,
            trainings=OverTrainings(
                n=n_seeds, standard_deviation=float(np.std(values, ddof=1)), standard_error=error
            ),
        )


def trainings(
    test: ScoredCases,
    validation: ScoredCases | None,
    evaluations: Sequence[ModelEvaluation],
    *,
    evaluate: EvaluateConfig,
    seed: int,
) -> Trainings | None:
    """The trainings of the models that were trained twice or more.

    Parameters
    ----------
    test, validation : ScoredCases
        The two subsets; ``seed_scores`` counts. A training without scores on validation takes the threshold of
        the checkpoint that is evaluated.
    evaluations : sequence of ModelEvaluation
        Of the checkpoints that are evaluated.
    evaluate : EvaluateConfig
        Level, resamples and rule of the threshold.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Trainings or None
        None where no model was trained twice, or nothing can be resampled: one class, one patient, too few cases.

    References
    ----------
    Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks
    (MLSys): all sources of variation, the seed among them.
    """
    repeated = {
        one.model: test.seed_scores[one.model]
        for one in evaluations
        if len(test.seed_scores.get(one.model, {})) > 1
    }
    if not repeated or not has_both_classes(test) or (test.clusters is not None and test.n_patients == 1):
        return None
    points = {one.model: one.operating_point for one in evaluations}
    thresholds: dict[str, dict[str, float]] = {}
    for model, scores in repeated.items():
        thresholds[model] = {}
        for name in scores:
            known = None if validation is None else validation.seed_scores.get(model, {}).get(name)
            if validation is None or known is None or points[model].chosen_on != "validation":
                thresholds[model][name] = points[model].threshold
            else:
                alone = replace(validation, scores={model: known}, seed_scores={})
                thresholds[model][name] = choose_threshold(model, alone, evaluate).threshold
    names = [(model, name) for model, scores in repeated.items() for name in scores]
    resampled = bootstrap_metrics(
        test.y_true,
        [repeated[model][name] for model, name in names],
        [thresholds[model][name] for model, name in names],
        n_resamples=min(evaluate.n_resamples, MAX_RESAMPLES),
        seed=seed,
        level=evaluate.level,
        clusters=test.clusters,
        score_is_probability=False,
    )
    if resampled.few is not None:
        return None
    values: dict[Figure, dict[str, dict[str, float]]] = {f: {m: {} for m in repeated} for f in FIGURES}
    draws: dict[Figure, dict[str, dict[str, NDArray[np.float64]]]] = {
        f: {m: {} for m in repeated} for f in FIGURES
    }
    for i, (model, name) in enumerate(names):
        for figure in FIGURES:
            values[figure][model][name] = resampled.value(i, figure)
            draws[figure][model][name] = resampled.draws(i, figure, stratified=True)
    return Trainings(test=test, thresholds=thresholds, values=values, draws=draws, evaluate=evaluate)


def seed_rows(test: ScoredCases, found: Trainings | None, *, evaluate: EvaluateConfig) -> tuple[SeedRow, ...]:
    """AUC of every training seed, with its interval over patients, and what it does at its own threshold.

    Parameters
    ----------
    test : ScoredCases
        The test subset; ``seed_scores`` counts.
    found : Trainings or None
        Thresholds of each; without them there is the AUC alone.
    evaluate : EvaluateConfig
        Level and method of the intervals.

    Returns
    -------
    tuple of SeedRow
        By model, in the order of the file; empty where no seeds were given or the subset
        has one class only.
    """
    if not has_both_classes(test):
        return ()
    rows = []
    for model, seeds in test.seed_scores.items():
        for name, scores in seeds.items():
            auc = auc_interval(test.y_true, scores, level=evaluate.level, clusters=test.clusters)
            threshold = None if found is None else found.thresholds.get(model, {}).get(name)
            at = {} if threshold is None else at_threshold(test, scores, threshold, evaluate)
            rows.append(SeedRow(model=model, seed=name, auc=auc, threshold=threshold, **at))
    return tuple(rows)


def at_threshold(
    test: ScoredCases, scores: NDArray[np.float64], threshold: float, evaluate: EvaluateConfig
) -> dict[str, Estimate]:
    """Sensitivity and specificity at a threshold.

    Parameters
    ----------
    test : ScoredCases
        Truth and patients.
    scores : ndarray of shape (n_cases,)
        What is held against `threshold`.
    threshold : float
        At or above it a case is called positive.
    evaluate : EvaluateConfig
        Level and method of the intervals.

    Returns
    -------
    dict of str to Estimate
        Keys ``sensitivity`` and ``specificity``.
    """
    positive, called = test.y_true == 1, scores >= threshold
    empty = t("undefined: no such case")
    return {
        "sensitivity": share(called, positive, test.clusters, evaluate, why_empty=empty),
        "specificity": share(~called, ~positive, test.clusters, evaluate, why_empty=empty),
    }


def ensembles(
    test: ScoredCases, validation: ScoredCases | None, *, evaluate: EvaluateConfig
) -> tuple[Ensemble, ...]:
    """What the mean of the trainings' probabilities would reach, at a threshold of its own.

    Another object than any single training, and as many times as dear; nothing is decided by it.

    Parameters
    ----------
    test, validation : ScoredCases
        The two subsets; ``seed_scores`` counts.
    evaluate : EvaluateConfig
        Level, and rule of the threshold.

    Returns
    -------
    tuple of Ensemble
        Of the models with two trainings or more; empty where scores are not probabilities.
    """
    if not test.scores_are_probabilities or not has_both_classes(test):
        return ()
    rows = []
    for model, seeds in test.seed_scores.items():
        if len(seeds) < 2:
            continue
        alone = None
        if validation is not None and seeds.keys() <= validation.seed_scores.get(model, {}).keys():
            mean = np.mean([validation.seed_scores[model][name] for name in seeds], axis=0)
            alone = replace(validation, scores={model: mean}, seed_scores={})
        point, scores = choose_threshold(model, alone, evaluate), np.mean(list(seeds.values()), axis=0)
        rows.append(
            Ensemble(
                model=model,
                seeds=tuple(seeds),
                operating_point=point,
                auc=auc_interval(test.y_true, scores, level=evaluate.level, clusters=test.clusters),
                **at_threshold(test, scores, point.threshold, evaluate),
            )
        )
    return tuple(rows)


def resting_on_seeds(
    pairs: Sequence[PairedComparison], found: Trainings | None
) -> tuple[tuple[PairedComparison, ...], tuple[SeedComparison, ...]]:
    """Pairs whose differences are the means over seeds, where both models have two or more, and these means.

    The differences of the two checkpoints that are evaluated stay beside them, as ``auc_one_training``.
    """
    means = [] if found is None else [found.difference(pair.reference, pair.candidate) for pair in pairs]
    known = tuple(mean for mean in means if mean is not None)
    if not known:
        return tuple(pairs), ()
    changed = [
        pair
        if mean is None
        else with_differences(
            pair, {"auc": mean.mean, "sensitivity": mean.sensitivity, "specificity": mean.specificity}
        )
        for pair, mean in zip(pairs, means, strict=True)
    ]
    return adjusted(changed) if len(pairs) > 1 else tuple(changed), known


def has_both_classes(test: ScoredCases) -> bool:
    """Whether anything can be ranked."""
    return bool(test.y_true.any() and not test.y_true.all())
