"""How long the statistics take, beside the plain scikit-learn loop.

    python -m benchmarks.statistics_speed
    python -m benchmarks.statistics_speed --growth 10000 100000 1000000   # whole assessments

Prints medians of several runs. The plain loop resamples cases and calls scikit-learn's
metrics once per resample; it is timed on fewer resamples and extrapolated linearly,
which is fair because each of its resamples costs the same.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn import metrics

from medcompare.base.hardware import usable_cores
from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.stats.assessment import assess
from medcompare.stats.calibration.agreement import calibration
from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.resampling.bootstrap import bootstrap_metrics
from medcompare.stats.utility import probability_of_benefit
from medcompare.stats.weighted_metrics import METRICS
from tests.stats.simulated import draw_study

if TYPE_CHECKING:
    from collections.abc import Callable

THRESHOLD, PREVALENCE = 0.5, 0.3


def sample(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels (three in ten positive) and the probabilities of two correlated models."""
    rng = np.random.default_rng(seed)
    y = rng.random(n) < PREVALENCE
    shared = rng.normal(size=n)
    logits = np.stack([shared + rng.normal(size=n) + gain * y - 0.8 for gain in (1.6, 1.4)])
    return y, 1 / (1 + np.exp(-logits))


def seconds(work: Callable[[], object], n_runs: int) -> list[float]:
    """Time several runs after one that warms up."""
    work()
    times = []
    for _ in range(n_runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def all_intervals(y: np.ndarray, p: np.ndarray, *, n_resamples: int, seed: int = 0) -> None:
    """Resample, and compute the intervals of both models and of their differences, of every metric."""
    found = bootstrap_metrics(y, p, np.full(2, THRESHOLD), n_resamples=n_resamples, seed=seed)
    for name in METRICS:
        found.metric(0, name), found.metric(1, name), found.difference(0, 1, name)


def plain_loop(y: np.ndarray, p: np.ndarray, n_resamples: int) -> np.ndarray:
    """Bootstrap as one would write it: scikit-learn's metrics for every resample."""
    rng = np.random.default_rng(0)
    figures = np.empty((n_resamples, 2, len(METRICS)))
    for b in range(n_resamples):
        chosen = rng.integers(0, y.size, y.size)
        truth = y[chosen]
        for i, scores in enumerate(p[:, chosen]):
            calls = scores >= THRESHOLD
            figures[b, i] = [
                metrics.roc_auc_score(truth, scores),
                metrics.average_precision_score(truth, scores),
                metrics.accuracy_score(truth, calls),
                metrics.balanced_accuracy_score(truth, calls),
                metrics.recall_score(truth, calls),
                metrics.recall_score(truth, calls, pos_label=0),
                metrics.precision_score(truth, calls),
                metrics.precision_score(truth, calls, pos_label=0),
                metrics.f1_score(truth, calls),
                metrics.matthews_corrcoef(truth, calls),
                metrics.brier_score_loss(truth, scores),
            ]
    return figures


def peak_megabytes() -> float:
    """Peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def whole_assessment(n: int, n_resamples: int) -> tuple[float, float]:
    """Wall and processor seconds of everything a report says about two models."""
    test, validation = (
        replace(
            draw_study(
                {"a": 0.9, "b": 0.88},
                n_negative=n - 3 * n // 10,
                n_positive=3 * n // 10,
                seed=1,
                subset=subset,
            ),
            patient_id=None,
        )
        for subset in ("test", "val")
    )
    wall, used = time.perf_counter(), time.process_time()
    assess(
        test, validation, (), display_names={}, evaluate=EvaluateConfig(n_resamples=n_resamples),
        rule=DecideConfig(), thresholds={}, seed=0,
    )  # fmt: skip
    return time.perf_counter() - wall, time.process_time() - used


def growth(sizes: list[int], n_resamples: int) -> None:
    """Print how an assessment grows with the number of cases, smallest first: the peak is the process's."""
    print(f"assessment of two models, {n_resamples} resamples, {usable_cores()} cores")
    before = None
    for n in sorted(sizes):
        wall, used = whole_assessment(n, n_resamples)
        times = (
            "" if before is None else f"  {used / before[1]:.1f} times the work for {n / before[0]:.0f} times"
        )
        print(
            f"  {n:>9,} cases {wall:8.1f} s  {used:8.1f} s of processor  peak {peak_megabytes():6.0f} MB{times}"
        )
        before = n, used


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="cases (default 10000)")
    parser.add_argument("--resamples", type=int, default=5_000, help="bootstrap samples (default 5000)")
    parser.add_argument("--loop-resamples", type=int, default=40, help="of the plain loop (default 40)")
    parser.add_argument("--runs", type=int, default=5, help="timed runs (default 5)")
    parser.add_argument(
        "--growth", type=int, nargs="+", metavar="N", help="only: whole assessments of so many cases"
    )
    options = parser.parse_args()
    if options.growth:
        growth(options.growth, options.resamples)
        return
    y, p = sample(options.n)
    cuts = np.full(2, THRESHOLD)
    before = peak_megabytes()

    ours = seconds(lambda: all_intervals(y, p, n_resamples=options.resamples), options.runs)
    after = peak_megabytes()
    loop = seconds(lambda: plain_loop(y, p, options.loop_resamples), 3)
    ours_each = statistics.median(ours) / (2 * options.resamples)
    loop_each = statistics.median(loop) / options.loop_resamples
    print(f"two models, {len(METRICS)} metrics, n = {options.n}, {options.resamples} resamples of two kinds")
    print(
        f"  bootstrap, all intervals and differences   {statistics.median(ours):8.2f} s  (worst {max(ours):.2f})"
    )
    print(f"  peak memory {after:.0f} MB, of which {before:.0f} MB before it started")
    print(
        f"  plain scikit-learn loop, one kind          {loop_each * options.resamples:8.0f} s  "
        f"extrapolated from {options.loop_resamples} resamples in {statistics.median(loop):.2f} s"
    )
    print(
        f"  per resample: {ours_each * 1e3:.3f} ms against {loop_each * 1e3:.1f} ms, {loop_each / ours_each:.0f} times"
    )

    result = bootstrap_metrics(y, p, cuts, n_resamples=options.resamples, seed=0)
    band = seconds(lambda: result.roc_band(0, np.linspace(0, 1, 101)), 3)
    agree = seconds(lambda: calibration(y, p[0], seed=0, n_resamples=options.resamples), 3)
    benefit = seconds(
        lambda: probability_of_benefit(
            y, p[0], p[1], np.linspace(0.05, 0.5, 46), seed=0, n_resamples=options.resamples
        ),
        3,
    )
    patients = np.arange(options.n) // 4
    clustered = seconds(
        lambda: bootstrap_metrics(y, p, cuts, n_resamples=options.resamples, seed=0, clusters=patients), 3
    )
    print(f"  the same, resampling {options.n // 4} patients        {statistics.median(clustered):8.2f} s")
    print(f"  ROC band of one model, 101 points          {statistics.median(band):8.2f} s")
    print(f"  calibration of one model                   {statistics.median(agree):8.2f} s")
    print(f"  probability of benefit, 46 thresholds      {statistics.median(benefit):8.2f} s")
    for n in (10_000, 100_000, 1_000_000):
        labels, scores = sample(n)
        delong = seconds(lambda: auc_difference(labels, scores[0], scores[1]), options.runs)  # noqa: B023 - called at once
        print(f"DeLong difference, n = {n:>9,}               {statistics.median(delong):8.3f} s")
    print(f"peak memory of the whole benchmark {peak_megabytes():.0f} MB")


if __name__ == "__main__":
    main()
