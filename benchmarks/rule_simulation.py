"""How the decision rule behaves where the truth is known: simulated, and written to the docs.

    python -m benchmarks.rule_simulation                 # 600 studies per row, half an hour on 2 cores
    python -m benchmarks.rule_simulation --studies 100 --no-page

Every study goes through the same function as a real assessment: thresholds from a
validation subset, intervals, comparison, rule. B is cheaper than A, and C cheaper than B.
Scores are not taken as probabilities, which spares the calibration: the rule does not rest on it.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medcompare.base.hardware import usable_cores
from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.costs import CostMeasurement
from medcompare.stats.assessment import assess
from medcompare.stats.intervals.auc import auc_difference
from medcompare.stats.intervals.proportions import proportion
from medcompare.stats.records import Assessment, Outcome
from tests.stats.simulated import draw_study

if TYPE_CHECKING:
    from medcompare.predictions.cases import ScoredCases

PAGE = Path(__file__).parent.parent / "docs" / "verdicts.md"
BEGIN, END = "<!-- simulation: begin -->", "<!-- simulation: end -->"
SETTINGS = EvaluateConfig(n_resamples=200)  # the rule rests on none of them
COSTS = tuple(
    CostMeasurement(model=model, latency_ms_median=cost) for model, cost in (("a", 40), ("b", 20), ("c", 10))
)
POSITIVE_SHARE = 0.4
SIGNIFICANT = 0.05  # of the naive test
OWN_SHARE = 0.7  # of a model's own noise that images of a patient share, where it has patients of its own
UNDECIDED = {
    Outcome.NOT_ENOUGH_DATA: "not enough data",
    Outcome.THRESHOLDS_NOT_COMPARABLE: "thresholds not comparable",
}
OTHER = "neither, invalid"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Truth, and how the study is made."""

    aucs: tuple[float, ...]
    n: int
    rule: DecideConfig = field(default_factory=DecideConfig)
    words: str = ""
    images_per_patient: int | None = None
    own_patient_share: float = 0.0
    n_validation: int | None = None
    correlation: float = 0.5

    @property
    def head(self) -> str:
        """First cells of the row."""
        truth = " / ".join(f"{auc:.2f}" for auc in self.aucs)
        return f"| {truth}{self.words and ', '}{self.words} | {self.n:,} "

    def wrong(self, model: str | None) -> bool:
        """Whether `model` is truly worse than the best by the margin or more."""
        if model is None:
            return False
        loss = max(self.aucs) - self.aucs["abc".index(model)]
        return loss >= self.rule.margin_auc - 1e-9


SHARED = Setting(
    aucs=(0.90, 0.85), n=600, images_per_patient=4, words="4 images per patient, patients alike for both"
)
OWN = replace(
    SHARED, own_patient_share=OWN_SHARE, words="4 images per patient, each model with patients of its own"
)
SMALL = Setting(aucs=(0.90, 0.85), n=1000, n_validation=40, words="thresholds from 40 validation cases")
FLOORS = DecideConfig(sensitivity_floor=0.8, specificity_floor=0.5)
PAIRS = (
    *(Setting(aucs=(0.90, 0.85), n=n) for n in (100, 300, 1000)),
    *(Setting(aucs=(0.90, 0.90), n=n) for n in (300, 1000, 3000)),
    Setting(aucs=(0.90, 0.93), n=1000),
    *(Setting(aucs=(0.90, 0.87), n=n) for n in (300, 1000)),
    *(Setting(aucs=(0.90, 0.87), n=n, rule=DecideConfig(guard="veto"), words="veto") for n in (300, 1000)),
    Setting(aucs=(0.50, 0.50), n=1000),
    SHARED,
    *(replace(OWN, aucs=aucs) for aucs in ((0.90, 0.85), (0.90, 0.87), (0.90, 0.90))),
    *(replace(SMALL, aucs=aucs) for aucs in ((0.90, 0.85), (0.90, 0.87), (0.90, 0.90))),
    *(
        Setting(aucs=aucs, n=1000, rule=FLOORS, words="floors of 0.8 and 0.5")
        for aucs in ((0.90, 0.85), (0.90, 0.87))
    ),
)
SEVERAL = (
    *(Setting(aucs=(0.90, 0.85, 0.85), n=n) for n in (300, 1000)),
    *(Setting(aucs=(0.90, 0.90, 0.85), n=n) for n in (300, 1000)),
    *(Setting(aucs=(0.90, 0.87, 0.87), n=n) for n in (300, 1000)),
    Setting(aucs=(0.90, 0.90, 0.90), n=1000),
    *(
        Setting(aucs=aucs, n=1000, rule=FLOORS, words="floors of 0.8 and 0.5")
        for aucs in ((0.90, 0.85, 0.85), (0.90, 0.87, 0.87))
    ),
    replace(OWN, aucs=(0.90, 0.87, 0.87)),
    replace(SMALL, aucs=(0.90, 0.87, 0.87)),
)


def study(setting: Setting, seed: int) -> tuple[str, tuple[bool, ...]]:
    """What the rule takes; whether "not significant" and "higher F1" take B; p < 0.05 by patient, by image."""
    aucs = dict(zip("abc", setting.aucs, strict=False))

    def draw(n: int, subset: Literal["val", "test"]) -> ScoredCases:
        n_positive = round(n * POSITIVE_SHARE)
        drawn = draw_study(
            aucs,
            n_negative=n - n_positive,
            n_positive=n_positive,
            seed=seed,
            subset=subset,
            correlation=setting.correlation,
            images_per_patient=setting.images_per_patient,
            own_patient_share=setting.own_patient_share,
        )
        patients = None if setting.images_per_patient is None else drawn.patient_id
        return replace(drawn, scores_are_probabilities=False, patient_id=patients)

    test = draw(setting.n, "test")
    found = assess(
        test,
        draw(setting.n_validation or setting.n, "val"),
        [cost for cost in COSTS if cost.model in aucs],
        display_names={},
        evaluate=SETTINGS,
        rule=setting.rule,
        thresholds={},
        seed=seed,
    )
    p_value = found.comparisons[0].differences["auc"].p_value
    by_image = auc_difference(test.y_true, test.scores["a"], test.scores["b"]).p_value
    significant = [p is not None and p < SIGNIFICANT for p in (p_value, by_image)]
    return taken(setting, found), (naive_test(found), higher_f1(found), *significant)


def taken(setting: Setting, found: Assessment) -> str:
    """Which model the verdict takes, in a word; or why none."""
    verdict = found.verdict
    if verdict.outcome in {Outcome.USE_MODEL, Outcome.PREFER_CHEAPER}:
        return f"wrong {verdict.model}" if setting.wrong(verdict.model) else str(verdict.model)
    return UNDECIDED.get(verdict.outcome, OTHER)


def naive_test(found: Assessment) -> bool:
    """Whether "no significant difference, so take the cheaper" takes B."""
    difference = found.comparisons[0].differences["auc"]
    return difference.p_value is not None and (
        difference.p_value > SIGNIFICANT or (difference.value or 0) > 0
    )


def higher_f1(found: Assessment) -> bool:
    """Whether B has the higher F1."""
    a, b = (one.metrics["f1"].value or 0 for one in found.evaluations[:2])
    return b > a


def percent(count: int, n: int) -> str:
    """Share with one decimal."""
    return f"{100 * count / n:.1f} %"


def table(settings: tuple[Setting, ...], n_studies: int, pool: ProcessPoolExecutor) -> list[str]:
    """Rows of Markdown; of several models what is taken, of pairs also what popular rules would take."""
    pairs = len(settings[0].aucs) == 2
    heads = [
        "truth (AUC A / B" + (")" if pairs else " / C)"),
        "cases",
        "takes one truly worse by the margin or more",
    ]
    heads += [f"takes {name}" for name in ("A", "B", "C")[: len(settings[0].aucs)]]
    heads += [*UNDECIDED.values(), OTHER]
    if pairs:
        heads += [
            "“p > 0.05, so the cheaper” takes B",
            "“higher F1” takes B",
            "p < 0.05",
            "p < 0.05 by image",
        ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for setting in settings:
        results = list(pool.map(partial(study, setting), range(n_studies), chunksize=10))
        counts = Counter(result[0] for result in results)
        wrong = sum(count for name, count in counts.items() if name.startswith("wrong"))
        limit = proportion(wrong, n_studies, method="clopper-pearson").ci_high or 0.0
        cells = [f"{percent(wrong, n_studies)} (at most {100 * limit:.1f} %)"]
        cells += [
            percent(counts[name] + counts[f"wrong {name}"], n_studies) for name in "abc"[: len(setting.aucs)]
        ]
        cells += [percent(counts[name], n_studies) for name in (*UNDECIDED.values(), OTHER)]
        if pairs:
            cells += [percent(sum(flags[i] for _, flags in results), n_studies) for i in range(4)]
        lines.append(f"{setting.head}| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Simulate, print, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=600, help="studies per row (default: 600)")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="default: one per core")
    parser.add_argument("--no-page", action="store_true", help="print only")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Spawned: forked children would inherit the threads of numpy's libraries.
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        tables = [table(settings, arguments.studies, pool) for settings in (PAIRS, SEVERAL)]
    if not arguments.no_page:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        words = (
            f"`python -m benchmarks.rule_simulation --studies {arguments.studies}`: {arguments.studies} simulated "
            "studies per row; “at most” is the upper 95 % limit of the share. The margin is 0.03, B is cheaper than A "
            "and C than B, thresholds come from as many validation cases as the test has unless a row says otherwise."
        )
        text = "\n".join([words, "", *tables[0], "", "Three models:", "", *tables[1]])
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
