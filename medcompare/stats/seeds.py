"""Repeated trainings: whether the order of two models survives another training seed.

A prediction table may hold several trainings of a model, in columns ``MODEL@SEED``. The
verdict stays about one checkpoint; the seeds say how far it can be generalised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medcompare.stats.intervals.auc import auc_interval, roc_auc
from medcompare.stats.records import Estimate, SeedComparison, SeedRow
from medcompare.stats.resampling.bootstrap import bootstrap_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.cases import ScoredCases
    from medcompare.stats.records import PairedComparison

MIN_SEEDS = 3
"""With fewer trainings nothing is said about their spread."""

MAX_RESAMPLES = 2000
"""Every seed is resampled; beyond this the limits move less than the seeds themselves do."""


def seed_rows(test: ScoredCases, *, level: float) -> tuple[SeedRow, ...]:
    """AUC of every training seed, with its interval over patients.

    Parameters
    ----------
    test : ScoredCases
        The test subset; ``seed_scores`` counts.
    level : float
        Confidence level.

    Returns
    -------
    tuple of SeedRow
        By model, in the order of the file; empty where no seeds were given or the subset
        has one class only.
    """
    if not _has_both_classes(test):
        return ()
    return tuple(
        SeedRow(
            model=model, seed=seed, auc=auc_interval(test.y_true, scores, level=level, clusters=test.clusters)
        )
        for model, seeds in test.seed_scores.items()
        for seed, scores in seeds.items()
    )


def compare_seeds(
    test: ScoredCases, pairs: Sequence[PairedComparison], *, evaluate: EvaluateConfig, seed: int
) -> tuple[SeedComparison, ...]:
    """The difference in AUC of each pair, training by training.

    Seeds are paired by their names: ``a@1`` with ``b@1``. A pair counts as sensitive to
    the seed where three or more seeds are shared and the sign of the difference changes
    between them, or the mean difference is smaller than its standard deviation.

    Parameters
    ----------
    test : ScoredCases
        The test subset; ``seed_scores`` counts.
    pairs : sequence of PairedComparison
        Which model is the reference and which the candidate.
    evaluate : EvaluateConfig
        Level and resamples.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    tuple of SeedComparison
        Of the pairs that share two seeds or more.

    References
    ----------
    Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks
    (MLSys): all sources of variation, the seed among them.
    """
    if not _has_both_classes(test):
        return ()
    found = []
    for pair in pairs:
        reference, candidate = (test.seed_scores.get(m, {}) for m in (pair.reference, pair.candidate))
        shared = [name for name in reference if name in candidate]
        if len(shared) < 2:
            continue
        differences = [
            roc_auc(test.y_true, candidate[name]) - roc_auc(test.y_true, reference[name]) for name in shared
        ]
        spread = float(np.std(differences, ddof=1))
        mean = float(np.mean(differences))
        changes = min(differences) < 0 < max(differences)
        found.append(
            SeedComparison(
                reference=pair.reference,
                candidate=pair.candidate,
                seeds=tuple(shared),
                differences=tuple(differences),
                mean=_two_level(test, pair, shared, mean, evaluate=evaluate, seed=seed),
                standard_deviation=spread,
                sign_changes=changes,
                sensitive=len(shared) >= MIN_SEEDS and (changes or abs(mean) < spread),
            )
        )
    return tuple(found)


def _two_level(
    test: ScoredCases,
    pair: PairedComparison,
    shared: Sequence[str],
    mean: float,
    *,
    evaluate: EvaluateConfig,
    seed: int,
) -> Estimate:
    """Mean difference with an interval over seeds and patients, both resampled."""
    if test.clusters is not None and test.n_patients == 1:
        note = "no interval: all cases come from one patient"
        return Estimate(value=mean, level=evaluate.level, method="mean over seeds", n=test.n, note=note)
    models = [test.seed_scores[model][name] for model in (pair.reference, pair.candidate) for name in shared]
    n_resamples = min(evaluate.n_resamples, MAX_RESAMPLES)
    resampled = bootstrap_metrics(
        test.y_true,
        models,
        [0.0] * len(models),
        n_resamples=n_resamples,
        seed=seed,
        level=evaluate.level,
        clusters=test.clusters,
        score_is_probability=False,
    )
    areas = np.array([resampled.draws(i, "auc", stratified=True) for i in range(len(models))])
    differences = areas[len(shared) :] - areas[: len(shared)]
    rng = np.random.default_rng([seed, len(shared)])
    chosen = rng.integers(len(shared), size=(len(shared), n_resamples))
    means = np.take_along_axis(differences, chosen, axis=0).mean(axis=0)
    tail = (1 - evaluate.level) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return Estimate(
        value=mean,
        ci_low=float(low),
        ci_high=float(high),
        level=evaluate.level,
        method=f"bootstrap percentile (seeds and patients; {n_resamples} resamples)",
        n=test.n,
        note=f"{len(shared)} seeds: with so few the interval is rather too narrow"
        if len(shared) < 10
        else None,
    )


def _has_both_classes(test: ScoredCases) -> bool:
    return bool(test.y_true.any() and not test.y_true.all())
