"""How the decision rule behaves where the truth is known: simulated, and written to the docs.

    python -m benchmarks.rule_simulation                 # 600 studies per row, several minutes
    python -m benchmarks.rule_simulation --studies 100 --no-page

Every study goes through the same function as a real assessment: thresholds from a
validation subset of the same size, intervals, comparison, rule. B is the cheaper model.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from medcompare.config import DecideConfig, EvaluateConfig
from medcompare.cost_records import CostMeasurement
from medcompare.stats.assessment import assess
from medcompare.stats.proportions import proportion
from medcompare.stats.records import Assessment, Outcome
from medcompare.stats.simulated import draw_study

PAGE = Path(__file__).parent.parent / "docs" / "verdicts.md"
BEGIN, END = "<!-- simulation: begin -->", "<!-- simulation: end -->"
SETTINGS = EvaluateConfig(n_resamples=200)  # the rule rests on none of them
COSTS = (CostMeasurement(model="a", latency_ms_median=40), CostMeasurement(model="b", latency_ms_median=20))
POSITIVE_SHARE = 0.4
SIGNIFICANT = 0.05
SIGNIFICANT = 0.05  # of the naive test
HEADS = (
    "truth (AUC A / B)",
    "cases",
    "takes B",
    "takes A",
    "not enough data",
    "neither, invalid",
    "“p > 0.05, so the cheaper” takes B",
    "“higher F1” takes B",
)
TAKES_B, TAKES_A, UNDECIDED, OTHER = "B", "A", "not enough data", "neither or invalid"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Truth, and the size of the study."""

    auc_a: float
    auc_b: float
    n: int
    rule: DecideConfig = DecideConfig()  # noqa: RUF009 - frozen
    images_per_patient: int | None = None
    correlation: float = 0.5

    @property
    def words(self) -> str:
        """First cells of the row."""
        truth = f"{self.auc_a:.2f} / {self.auc_b:.2f}"
        size = f"{self.n}"
        if self.images_per_patient:
            size += f" ({self.images_per_patient} per patient)"
        guard = "" if self.rule.guard == "strict" else f", {self.rule.guard}"
        return f"| {truth}{guard} | {size} "


ROWS = (
    *(Setting(auc_a=0.90, auc_b=0.85, n=n) for n in (100, 300, 1000)),
    Setting(auc_a=0.90, auc_b=0.85, n=600, images_per_patient=4),
    *(Setting(auc_a=0.90, auc_b=0.90, n=n) for n in (300, 1000, 3000)),
    Setting(auc_a=0.90, auc_b=0.93, n=1000),
    *(Setting(auc_a=0.90, auc_b=0.87, n=n) for n in (300, 1000)),
    *(Setting(auc_a=0.90, auc_b=0.87, n=n, rule=DecideConfig(guard="veto")) for n in (300, 1000)),
    Setting(auc_a=0.50, auc_b=0.50, n=1000),
)


def study(setting: Setting, seed: int) -> tuple[str, bool, bool]:
    """What the rule takes, and whether "not significant" and "higher F1" would take B."""
    n_positive = round(setting.n * POSITIVE_SHARE)
    draw = partial(
        draw_study,
        {"a": setting.auc_a, "b": setting.auc_b},
        n_negative=setting.n - n_positive,
        n_positive=n_positive,
        seed=seed,
        correlation=setting.correlation,
        images_per_patient=setting.images_per_patient,
    )
    test = draw()
    if setting.images_per_patient is None:
        test = replace(test, patient_id=None)
    found = assess(
        test,
        draw(subset="val"),
        COSTS,
        display_names={},
        evaluate=SETTINGS,
        rule=setting.rule,
        thresholds={},
        seed=seed,
    )
    return taken(found), naive_test(found), higher_f1(found)


def taken(found: Assessment) -> str:
    """Which model the verdict takes, in one word."""
    verdict = found.verdict
    if verdict.outcome in {Outcome.USE_MODEL, Outcome.PREFER_CHEAPER}:
        return TAKES_B if verdict.model == "b" else TAKES_A
    return UNDECIDED if verdict.outcome is Outcome.NOT_ENOUGH_DATA else OTHER


def naive_test(found: Assessment) -> bool:
    """Whether "no significant difference, so take the cheaper" takes B."""
    difference = found.comparisons[0].differences["auc"]
    return difference.p_value is not None and (
        difference.p_value > SIGNIFICANT or (difference.value or 0) > 0
    )


def higher_f1(found: Assessment) -> bool:
    """Whether B has the higher F1."""
    a, b = (one.metrics["f1"].value or 0 for one in found.evaluations)
    return b > a


def table(n_studies: int) -> str:
    """All rows, as Markdown."""
    lines = [
        (
            "| truth (AUC A / B) | cases | takes B | takes A | not enough data | neither, invalid "
            "| “p > 0.05, so the cheaper” takes B | “higher F1” takes B |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    # Spawned: forked children would inherit the threads of numpy's libraries.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for setting in ROWS:
            results = list(pool.map(partial(study, setting), range(n_studies), chunksize=20))
            counts = Counter(result[0] for result in results)
            shares = [counts[key] for key in (TAKES_B, TAKES_A, UNDECIDED, OTHER)]
            shares += [sum(result[1] for result in results), sum(result[2] for result in results)]
            first, *others = (f"{100 * share / n_studies:.1f} %" for share in shares)
            limit = proportion(shares[0], n_studies, method="clopper-pearson").ci_high or 0.0
            lines.append(f"{setting.words}| {first} (at most {100 * limit:.1f} %) | {' | '.join(others)} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Simulate, print, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=600, help="studies per row (default: 600)")
    parser.add_argument("--no-page", action="store_true", help="print only")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    text = table(arguments.studies)
    if not arguments.no_page:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        words = (
            f"{arguments.studies} simulated studies per row; “at most” is the upper 95 % limit of the share."
        )
        PAGE.write_text(f"{before}{BEGIN}\n{words}\n\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
