"""How often two models that differ by training noise alone are told apart: simulated, for docs/protocols.md.

    python -m benchmarks.training_noise                  # 1,000 studies per row, about ten minutes on 2 cores

Two kinds of network have the same AUC on average; each training of either is off by chance, as another
seed would be. Every study goes through the same function as a real assessment: thresholds from validation, the
comparison, the rule. B is cheaper, so that "use A" needs a proof that A is better.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import TYPE_CHECKING, Literal

import numpy as np

from medcompare.base.hardware import usable_cores
from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.costs import CostMeasurement
from medcompare.stats.assessment import assess
from medcompare.stats.intervals.proportions import proportion
from medcompare.stats.records import Outcome
from tests.stats.simulated import draw_study

if TYPE_CHECKING:
    from medcompare.predictions.cases import ScoredCases

SETTINGS = EvaluateConfig(n_resamples=500, threshold_rule="youden")
COSTS = (CostMeasurement(model="a", latency_ms_median=40), CostMeasurement(model="b", latency_ms_median=20))
AUC = 0.90
NOMINAL = 0.025
"""Of the difference in AUC, in one direction, at the default level of 95 %."""


def drawn(
    aucs: dict[str, float], n: int, n_seeds: int, seed: int, subset: Literal["val", "test"]
) -> ScoredCases:
    """Cases with the scores of every training, of which the first is the one that is judged."""
    cases = draw_study(aucs, n_negative=n // 2, n_positive=n // 2, seed=seed, subset=subset, correlation=0.7)
    by_model = {m: {str(k): cases.scores[f"{m}@{k}"] for k in range(n_seeds)} for m in "ab"}
    return replace(
        cases,
        scores={m: by_model[m]["0"] for m in "ab"},
        seed_scores=by_model if n_seeds > 1 else {},
        scores_are_probabilities=False,
    )


def study(n: int, spread: float, n_seeds: int, seed: int) -> tuple[bool, bool]:
    """Whether the verdict is "use A", and whether the interval of the difference in AUC says that A is better."""
    rng = np.random.default_rng([seed, n_seeds])
    names = [f"{model}@{k}" for model in "ab" for k in range(n_seeds)]
    aucs = {name: float(np.clip(AUC + rng.normal(0, spread), 0.55, 0.995)) for name in names}
    found = assess(
        drawn(aucs, n, n_seeds, seed, "test"),
        drawn(aucs, n, n_seeds, seed, "val"),
        COSTS,
        display_names={},
        evaluate=SETTINGS,
        rule=DecideConfig(),
        thresholds={},
        seed=seed,
    )
    high = found.comparisons[0].differences["auc"].ci_high
    use_a = found.verdict.outcome is Outcome.USE_MODEL and found.verdict.model == "a"
    return use_a, high is not None and high < 0


def row(n: int, spread: float, n_seeds: int, *, n_studies: int, pool: ProcessPoolExecutor) -> str:
    """One row of the table."""
    found = list(pool.map(partial(study, n, spread, n_seeds), range(n_studies), chunksize=10))
    cells = []
    for decided in zip(*found, strict=True):
        share = proportion(sum(decided), n_studies, level=0.95)
        cells.append(f"{100 * sum(decided) / n_studies:.1f} % (at most {100 * (share.ci_high or 0):.1f})")
    return f"| {n:,} | {spread:g} | {n_seeds} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    n_studies = parser.parse_args().studies
    print(
        "| test cases | SD of the true AUC between trainings | trainings each | “use A” | A called better |"
    )
    print("|---|---|---|---|---|")
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        for n, spread, n_seeds in product((400, 2000), (0.0, 0.01, 0.02), (1, 3)):
            print(row(n, spread, n_seeds, n_studies=n_studies, pool=pool), flush=True)


if __name__ == "__main__":
    main()
