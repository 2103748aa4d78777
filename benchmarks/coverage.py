"""Do 95 % intervals cover in 95 %, and do tests reject in 5 %? Simulated, and written to the docs.

    python -m benchmarks.coverage                # 2000 studies per row, a few minutes
    python -m benchmarks.coverage --studies 500

Truth is known by construction: scores are normal, decisions cut a normal at the quantile
of their probability, and images of one patient share a part of their noise.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from medcompare.stats.intervals.auc import auc_difference, auc_interval
from medcompare.stats.intervals.proportions import clustered_proportion, proportion
from medcompare.stats.paired import paired_proportion_difference
from medcompare.stats.resampling.bootstrap import bootstrap_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.stats.records import Estimate

PAGE = Path(__file__).parent.parent / "docs" / "statistics-simulations.md"
SHARED = 0.5
"""Correlation of the two models' noise."""

Study = tuple[np.ndarray, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: a setting, a procedure and what came out."""

    setting: str
    procedure: str
    percent: float
    n_studies: int

    @property
    def error(self) -> float:
        """Standard error of the percentage."""
        share = self.percent / 100
        return 100 * math.sqrt(max(share * (1 - share), 0.25 / self.n_studies) / self.n_studies)


def covers(estimate: Estimate, truth: float) -> bool:
    """Whether the interval holds the truth; no interval counts as a failure."""
    if estimate.ci_low is None or estimate.ci_high is None:
        return False
    return estimate.ci_low <= truth <= estimate.ci_high


def rejects(estimate: Estimate) -> bool:
    """Whether a difference is declared at 5 %."""
    return estimate.p_value is not None and estimate.p_value < 0.05  # noqa: PLR2004 - the nominal level


def correlated(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw standard normal noise of two models, correlated between them."""
    shared = rng.normal(size=shape)
    return math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * rng.normal(size=(2, *shape))


def images_of_patients(rng: np.random.Generator, n_patients: int, n_images: int, icc: float) -> np.ndarray:
    """Draw noise of shape (2, patients * images), correlated within patients."""
    between = correlated(rng, (n_patients, 1))
    within = correlated(rng, (n_patients, n_images))
    return (math.sqrt(icc) * between + math.sqrt(1 - icc) * within).reshape(2, -1)


def share(
    studies: int, seed: int, one_study: Callable[[np.random.Generator], tuple[bool, ...]]
) -> np.ndarray:
    """Percentage of studies in which each thing happens."""
    rng = np.random.default_rng(seed)
    happened: np.ndarray = np.asarray([one_study(rng) for _ in range(studies)])
    return 100 * np.asarray(happened.mean(axis=0))


def rows(setting: str, procedures: tuple[str, ...], percent: np.ndarray, studies: int) -> list[Row]:
    """One row per procedure."""
    return [
        Row(setting=setting, procedure=name, percent=float(value), n_studies=studies)
        for name, value in zip(procedures, percent, strict=True)
    ]


def auc_coverage(studies: int) -> list[Row]:
    """Logit-DeLong interval of one AUC."""
    found = []
    for m, n, area in ((25, 25, 0.95), (50, 50, 0.98), (100, 100, 0.95), (30, 300, 0.85), (12, 12, 0.8)):
        y = np.repeat([1, 0], [m, n])
        shift = math.sqrt(2) * stats.norm.ppf(area)

        def study(
            rng: np.random.Generator, y: np.ndarray = y, shift: float = shift, area: float = area
        ) -> tuple[bool]:
            return (covers(auc_interval(y, rng.normal(size=y.size) + shift * y), area),)

        percent = share(studies, 1, study)
        found += rows(f"AUC {area}, {m} + {n} cases", ("DeLong (logit)",), percent, studies)
    return found


def paired_coverage(studies: int) -> list[Row]:
    """Tango's and Newcombe's intervals of a paired difference, unclustered."""
    found = []
    for n, p, q in ((20, 0.90, 0.85), (50, 0.90, 0.85), (50, 0.98, 0.96), (200, 0.90, 0.85)):
        cut = np.asarray(stats.norm.ppf([p, q]))[:, None]

        def study(
            rng: np.random.Generator, n: int = n, cut: np.ndarray = cut, truth: float = q - p
        ) -> tuple[bool, bool]:
            right = correlated(rng, (n,)) < cut
            return (
                covers(paired_proportion_difference(*right), truth),
                covers(paired_proportion_difference(*right, method="newcombe"), truth),
            )

        percent = share(studies, 2, study)
        found += rows(f"{p} against {q}, {n} cases", ("Tango", "Newcombe"), percent, studies)
    return found


def clustered_coverage(studies: int) -> list[Row]:
    """Intervals with several images per patient, beside those that ignore patients."""
    found = []
    for n_patients, icc in ((15, 0.3), (40, 0.0), (40, 0.3), (40, 0.7), (100, 0.7)):
        patients = np.repeat(np.arange(n_patients), 4)
        cut = np.asarray(stats.norm.ppf([0.9, 0.85]))[:, None]

        def study(
            rng: np.random.Generator,
            n_patients: int = n_patients,
            icc: float = icc,
            cut: np.ndarray = cut,
            patients: np.ndarray = patients,
        ) -> tuple[bool, ...]:
            right = images_of_patients(rng, n_patients, 4, icc) < cut
            return (
                covers(clustered_proportion(right[0], patients), 0.9),
                covers(proportion(int(right[0].sum()), right[0].size), 0.9),
                covers(paired_proportion_difference(*right, clusters=patients), -0.05),
                covers(paired_proportion_difference(*right), -0.05),
            )

        percent = share(studies, 3, study)
        setting = f"{n_patients} patients, 4 images each, latent ICC {icc}"
        names = (
            "proportion, clustered Wilson",
            "proportion, Wilson ignoring patients",
            "difference, clustered Tango",
            "difference, Tango ignoring patients",
        )
        found += rows(setting, names, percent, studies)
    return found


def clustered_auc_coverage(studies: int) -> list[Row]:
    """Interval of one AUC with several images per patient."""
    found = []
    for n_patients, icc in ((40, 0.3), (40, 0.7), (100, 0.7)):
        patients = np.repeat(np.arange(n_patients), 4)
        y = patients % 2
        shift = math.sqrt(2) * stats.norm.ppf(0.85)

        def study(
            rng: np.random.Generator,
            setting: tuple[int, float] = (n_patients, icc),
            patients: np.ndarray = patients,
            signal: np.ndarray = shift * y,
            y: np.ndarray = y,
        ) -> tuple[bool, bool]:
            score = images_of_patients(rng, setting[0], 4, setting[1])[0] + signal
            return covers(auc_interval(y, score, clusters=patients), 0.85), covers(
                auc_interval(y, score), 0.85
            )

        percent = share(studies, 4, study)
        setting = f"AUC 0.85, {n_patients} patients, 4 images each, ICC {icc}"
        found += rows(setting, ("Obuchowski (logit)", "DeLong (logit) ignoring patients"), percent, studies)
    return found


def bootstrap_coverage(studies: int) -> list[Row]:
    """Percentile intervals of a single model's F1 and MCC, with and without stratification."""
    found = []
    sensitivity, specificity = 0.85, 0.9
    for n, prevalence in ((300, 0.3), (1000, 0.05)):
        tp, fp = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
        fn, tn = prevalence - tp, 1 - prevalence - fp
        f1 = 2 * tp / (2 * tp + fp + fn)
        mcc = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tn + fn) * prevalence * (1 - prevalence))

        def study(
            rng: np.random.Generator,
            n: int = n,
            prevalence: float = prevalence,
            f1: float = f1,
            mcc: float = mcc,
        ) -> tuple[bool, ...]:
            y = rng.random(n) < prevalence
            if y.sum() in (0, n):
                return False, False, False
            calls = rng.random(n) < np.where(y, sensitivity, 1 - specificity)
            seed = int(rng.integers(2**31))
            result = bootstrap_metrics(y, [calls * 1.0], [0.5], n_resamples=1000, seed=seed)
            low, high = np.nanquantile(result.draws(0, "f1", stratified=True), [0.025, 0.975])
            return (
                covers(result.metric(0, "f1"), f1),
                covers(result.metric(0, "mcc"), mcc),
                bool(low <= f1 <= high),
            )

        names = ("F1, as reported", "MCC, as reported", "F1, stratified (not reported)")
        percent = share(studies // 2, 7, study)
        found += rows(f"{n} cases, prevalence {prevalence}", names, percent, studies // 2)
    return found


def false_positives(studies: int) -> list[Row]:
    """Tests of two equal models, without clusters."""
    found = []
    for n in (50, 100, 300):
        y = np.repeat([1, 0], [n, n])

        def study(rng: np.random.Generator, n: int = n, y: np.ndarray = y) -> tuple[bool, bool]:
            noise = correlated(rng, (2 * n,))
            right = noise[:, :n] < stats.norm.ppf(0.85)
            return (
                rejects(auc_difference(y, *(noise + 1.5 * y))),
                rejects(paired_proportion_difference(*right)),
            )

        percent = share(studies, 5, study)
        found += rows(
            f"{n} + {n} cases", ("AUC, DeLong", f"sensitivity of {n}, McNemar mid-p"), percent, studies
        )
    return found


def clustered_false_positives(studies: int) -> list[Row]:
    """Tests of two equal models with several images per patient."""
    found = []
    for n_patients, n_images, icc in ((60, 4, 0.0), (60, 4, 0.3), (60, 4, 0.7), (60, 8, 0.7), (30, 4, 0.7)):
        patients = np.repeat(np.arange(n_patients), n_images)
        y = patients % 2

        def study(
            rng: np.random.Generator,
            size: tuple[int, int] = (n_patients, n_images),
            icc: float = icc,
            patients: np.ndarray = patients,
            y: np.ndarray = y,
        ) -> tuple[bool, ...]:
            noise = images_of_patients(rng, *size, icc)
            scores = noise + 1.5 * y
            right = noise < stats.norm.ppf(0.85)
            return (
                rejects(auc_difference(y, *scores, clusters=patients)),
                rejects(auc_difference(y, *scores)),
                rejects(paired_proportion_difference(*right, clusters=patients)),
                rejects(paired_proportion_difference(*right)),
            )

        percent = share(studies, 6, study)
        names = (
            "AUC, Obuchowski",
            "AUC, DeLong ignoring patients",
            "accuracy, Obuchowski",
            "accuracy, McNemar mid-p ignoring patients",
        )
        found += rows(f"{n_patients} patients, {n_images} images each, ICC {icc}", names, percent, studies)
    return found


TABLES: dict[str, Callable[[int], list[Row]]] = {
    "Coverage: one AUC": auc_coverage,
    "Coverage: paired difference of proportions": paired_coverage,
    "Coverage: several images per patient": clustered_coverage,
    "Coverage: AUC with several images per patient": clustered_auc_coverage,
    "Coverage: bootstrap of a single model": bootstrap_coverage,
    "False positives: two equal models": false_positives,
    "False positives: two equal models, several images per patient": clustered_false_positives,
}


def write_page(studies: int) -> None:
    """Simulate everything and write the page."""
    lines = [
        "# Coverage and error rates, simulated",
        "",
        f"Written by `python -m benchmarks.coverage`; {studies} studies per row, so a true 95 % shows as",
        f"95 ± {100 * math.sqrt(0.95 * 0.05 / studies):.1f} (one standard error; half as many studies for the",
        "bootstrap). Nominal are 95 % for intervals and 5 % for false positives.",
        "The rows that ignore patients are there as a warning: nothing in the report is made that way",
        "where patients are known. Within patients each model has an effect of its own here, beside the",
        "one they share. How the rule behaves where the truth is known is in `verdicts.md`.",
    ]
    for title, simulate in TABLES.items():
        start = time.perf_counter()
        found = simulate(studies)
        what = "coverage" if title.startswith("Coverage") else "rejected"
        lines += ["", f"## {title}", "", f"| setting | procedure | {what} (%) |", "|---|---|---|"]
        lines += [
            f"| {row.setting} | {row.procedure} | {row.percent:.1f} ± {row.error:.1f} |" for row in found
        ]
        print(f"{title}: {time.perf_counter() - start:.0f} s")
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Simulate, and write the page of the docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies per row (default 2000)")
    write_page(parser.parse_args().studies)
    print(f"written to {PAGE.name}")


if __name__ == "__main__":
    main()
