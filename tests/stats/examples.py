"""Every sentence a verdict can be, each from a small simulated study.

``python -m tests.stats.examples`` prints the table that ``docs/verdicts.md`` holds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.costs import CostMeasurement
from medcompare.stats.assessment import assess
from tests.stats.simulated import draw_study

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from medcompare.predictions.cases import ScoredCases
    from medcompare.stats.records import Assessment, Verdict

NAMES = {"a": "Model A", "b": "Model B", "c": "Model C"}
COSTS: dict[str, tuple[CostMeasurement, ...]] = {
    "b cheaper": (
        CostMeasurement(model="a", latency_ms_median=40, n_parameters=23_000_000),
        CostMeasurement(model="b", latency_ms_median=20, n_parameters=4_000_000),
        CostMeasurement(model="c", latency_ms_median=10, n_parameters=2_000_000),
    ),
    "trade-off": (
        CostMeasurement(model="a", latency_ms_median=40, n_parameters=4_000_000),
        CostMeasurement(model="b", latency_ms_median=20, n_parameters=23_000_000),
        CostMeasurement(model="c", latency_ms_median=20, n_parameters=24_000_000),
    ),
    "similar": tuple(CostMeasurement(model=model, latency_ms_median=20) for model in "abc"),
    "unknown": (),
}
RULE = DecideConfig()
SETTINGS = EvaluateConfig(n_resamples=200)
"""Few resamples: the verdict rests on none of them but net benefit."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A study that ends in the sentence `kind`.

    Attributes
    ----------
    kind : str
        Key of `medcompare.stats.verdict.sentences.SENTENCES`.
    aucs : mapping
        True AUC by model.
    n : (int, int)
        Negatives and positives of the test subset.
    costs : str
        Key of `COSTS`.
    thresholds : mapping
        Given by the user; without them they come from a validation subset.
    tamper : str
        What is done to the data to make the comparison invalid, or the models alike.
    no_validation : bool
        Leave the validation subset away.
    not_as_trained, not_converged : mapping
        What training found about a model.
    """

    kind: str
    aucs: Mapping[str, float]
    n: tuple[int, int] = (300, 200)
    costs: str = "b cheaper"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    rule: DecideConfig = RULE
    correlation: float = 0.5
    seed: int = 0
    n_seeds: int = 0
    tamper: Literal[
        "", "one class", "identical", "swapped", "patients", "copied", "constant", "squared", "perfect"
    ] = ""
    no_validation: bool = False
    not_as_trained: Mapping[str, str] = field(default_factory=dict)
    not_converged: Mapping[str, str] = field(default_factory=dict)


large = partial(Example, n=(900, 600), correlation=0.9)
"""A larger study of models that err on the same cases."""

EXAMPLES = (
    Example(kind="invalid", aucs={"a": 0.9, "b": 0.9}, tamper="one class"),
    Example(kind="invalid", aucs={"a": 0.9, "b": 0.9}, tamper="identical"),
    Example(kind="invalid", aucs={"a": 0.9, "b": 0.9}, tamper="swapped"),
    Example(kind="invalid", aucs={"a": 0.9, "b": 0.9}, tamper="patients"),
    Example(kind="invalid", aucs={"a": 0.9, "b": 0.9}, tamper="copied"),
    Example(
        kind="not_as_trained",
        aucs={"a": 0.9, "b": 0.6},
        not_as_trained={
            "b": "On the same 500 images its loss is 0.21 in training mode and 0.69 in evaluation mode."
        },
    ),
    Example(kind="constant_output", aucs={"a": 0.9, "b": 0.6}, tamper="constant"),
    Example(kind="few_units", aucs={"a": 0.9, "b": 0.9}, n=(40, 20)),
    Example(kind="neither", aucs={"a": 0.58, "b": 0.55}),
    Example(kind="single_inadequate", aucs={"a": 0.58}),
    Example(kind="unproven", aucs={"a": 0.72, "b": 0.70}, n=(60, 40)),
    Example(kind="only_adequate", aucs={"a": 0.9, "b": 0.58}),
    Example(kind="single_model", aucs={"a": 0.9}),
    Example(
        kind="equal_but_unproven",
        aucs={"a": 0.755, "b": 0.76},
        n=(400, 260),
        correlation=0.98,
        costs="similar",
        seed=6,
    ),
    Example(
        kind="better_but_unproven",
        aucs={"a": 0.9, "b": 0.93},
        n=(400, 260),
        correlation=0.9,
        rule=DecideConfig(sensitivity_floor=0.9),
        seed=11,
    ),
    Example(kind="candidate_unproven", aucs={"a": 0.755, "b": 0.75}, n=(300, 200), correlation=0.95, seed=3),
    Example(kind="worse_by_margin", aucs={"a": 0.92, "b": 0.82}),
    Example(kind="better_and_cheaper", aucs={"a": 0.90, "b": 0.94}, n=(900, 600)),
    large(kind="cheaper", aucs={"a": 0.93, "b": 0.93}),
    Example(
        kind="cheaper_but_slightly_worse", aucs={"a": 0.935, "b": 0.925}, n=(3000, 2000), correlation=0.9
    ),
    Example(kind="same_ranking", aucs={"a": 0.9, "b": 0.9}, tamper="squared"),
    Example(kind="same_ranking", aucs={"a": 0.9, "b": 0.9}, tamper="perfect", seed=2),
    Example(kind="same_ranking_choose", aucs={"a": 0.9, "b": 0.9}, tamper="squared", costs="unknown"),
    large(kind="choose_trade_off", aucs={"a": 0.93, "b": 0.93}, costs="trade-off"),
    large(kind="choose_similar", aucs={"a": 0.93, "b": 0.93}, costs="similar"),
    large(kind="choose_unknown", aucs={"a": 0.93, "b": 0.93}, costs="unknown"),
    large(kind="operating_points", aucs={"a": 0.92, "b": 0.92}, thresholds={"a": 0.3, "b": 0.6}),
    large(
        kind="better_but_misses_more",
        aucs={"a": 0.9, "b": 0.93},
        thresholds={"a": 0.3, "b": 0.6},
        costs="similar",
    ),
    Example(
        kind="same_ranking_misses_more",
        aucs={"a": 0.97, "b": 0.9},
        n=(40, 400),
        tamper="squared",
        thresholds={"a": 0.4, "b": 0.3},
    ),
    large(kind="guard_void", aucs={"a": 0.93, "b": 0.93}, no_validation=True),
    Example(
        kind="guard_void",
        aucs={"a": 0.97, "b": 0.97},
        n=(600, 200),
        correlation=0.9,
        thresholds={"a": 0.0002, "b": 0.0002},
    ),
    Example(
        kind="guard_lost",
        aucs={"a": 0.99, "b": 0.99},
        n=(900, 200),
        correlation=0.9,
        thresholds={"a": 0.2, "b": 0.1},
    ),
    Example(
        kind="thresholds_lost",
        aucs={"a": 0.99, "b": 0.99},
        n=(900, 200),
        correlation=0.9,
        thresholds={"a": 0.2, "b": 0.1},
        costs="similar",
    ),
    large(
        kind="net_benefit",
        aucs={"a": 0.92, "b": 0.94},
        thresholds={"a": 0.3, "b": 0.6},
        rule=DecideConfig(net_benefit_range=(0.35, 0.5)),
    ),
    Example(
        kind="misses_more",
        aucs={"a": 0.95, "b": 0.94},
        n=(250, 1200),
        correlation=0.96,
        thresholds={"a": 0.4, "b": 0.45},
    ),
    Example(kind="guard_unproven", aucs={"a": 0.93, "b": 0.93}, n=(600, 120), correlation=0.9, seed=3),
    Example(
        kind="thresholds_unproven",
        aucs={"a": 0.93, "b": 0.93},
        n=(600, 150),
        correlation=0.9,
        costs="unknown",
    ),
    Example(kind="better_not_shown_equal", aucs={"a": 0.9, "b": 0.85}),
    Example(kind="cannot_tell", aucs={"a": 0.9, "b": 0.85}, n_seeds=3),
    Example(kind="better", aucs={"a": 0.9, "b": 0.85}, costs="trade-off"),
    Example(kind="cannot_tell", aucs={"a": 0.9, "b": 0.9}, n=(60, 40)),
    Example(
        kind="cannot_tell",
        aucs={"a": 0.9, "b": 0.9},
        n=(60, 40),
        not_converged={"b": "Its validation AUC still rose by 0.04 over the last 3 of 5 epochs."},
    ),
    Example(kind="perfect_unproven", aucs={"a": 0.9, "b": 0.9}, n=(60, 60), tamper="perfect"),
    Example(kind="some_remain", aucs={"a": 0.9, "b": 0.9, "c": 0.75}),
    large(
        kind="thresholds_of_several",
        aucs={"a": 0.93, "b": 0.93, "c": 0.93},
        thresholds={"a": 0.3, "b": 0.6, "c": 0.45},
    ),
    large(
        kind="cheapest_unproven",
        aucs={"a": 0.93, "b": 0.93, "c": 0.8},
        rule=DecideConfig(sensitivity_floor=0.93),
    ),
    large(
        kind="choice_unproven",
        aucs={"a": 0.93, "b": 0.93, "c": 0.8},
        costs="trade-off",
        rule=DecideConfig(sensitivity_floor=0.93),
    ),
    Example(
        kind="best_unproven",
        aucs={"a": 0.95, "b": 0.85, "c": 0.8},
        rule=DecideConfig(sensitivity_floor=0.92),
        seed=3,
    ),
    Example(kind="cannot_tell_several", aucs={"a": 0.9, "b": 0.9, "c": 0.88}),
    large(kind="choose_several", aucs={"a": 0.93, "b": 0.93, "c": 0.8}, costs="trade-off"),
    large(kind="choose_several_unknown", aucs={"a": 0.93, "b": 0.93, "c": 0.8}, costs="unknown"),
    large(kind="cheapest_of_several", aucs={"a": 0.93, "b": 0.93, "c": 0.8}),
    Example(kind="best_of_several", aucs={"a": 0.95, "b": 0.85, "c": 0.8}),
)


def assessed(example: Example) -> Assessment:
    """The study of `example`, through the same code as every other assessment."""
    test, validation = _drawn(example, "test", example.n), _drawn(example, "val", (300, 200))
    if example.tamper == "one class":
        test = replace(test, y_true=np.zeros_like(test.y_true))
    elif example.tamper == "identical":
        test = replace(test, scores={"a": test.scores["a"], "b": test.scores["a"].copy()})
    elif example.tamper == "swapped":
        test = replace(test, y_true=1 - test.y_true)
    elif example.tamper == "patients" and test.patient_id is not None:
        validation = replace(validation, patient_id=test.patient_id)
    elif example.tamper == "constant":
        test = replace(test, scores={**test.scores, "b": np.full(test.n, 0.5)})
    elif example.tamper == "squared":
        test, validation = (
            replace(one, scores={"a": one.scores["a"], "b": one.scores["a"] ** 2})
            for one in (test, validation)
        )
    elif example.tamper == "perfect":
        test, validation = (
            replace(one, scores={m: (one.y_true + s) / 2 for m, s in one.scores.items()})
            for one in (test, validation)
        )
    elif example.tamper == "copied":
        validation = replace(validation, y_true=test.y_true, scores=test.scores)
    if example.n_seeds:
        # Trainings with the opposite order, as small networks on little data give them.
        again = [
            draw_study(
                dict(zip("ab", (0.87, 0.89 if k else 0.85), strict=True)),
                n_negative=example.n[0],
                n_positive=example.n[1],
                seed=example.seed + 100 + k,
            )
            for k in range(example.n_seeds)
        ]
        test = replace(
            test,
            seed_scores={m: {str(k): one.scores[m] for k, one in enumerate(again, 1)} for m in test.models},
        )
    return assess(
        test,
        None if example.thresholds or example.no_validation else validation,
        [cost for cost in COSTS[example.costs] if cost.model in example.aucs],
        display_names=NAMES,
        evaluate=SETTINGS,
        rule=example.rule,
        thresholds=example.thresholds,
        seed=0,
        not_evaluated_as_trained=example.not_as_trained,
        not_converged=example.not_converged,
    )


def _drawn(example: Example, subset: Literal["test", "val"], n: tuple[int, int]) -> ScoredCases:
    return draw_study(
        example.aucs,
        n_negative=n[0],
        n_positive=n[1],
        seed=example.seed,
        subset=subset,
        correlation=example.correlation,
        images_per_patient=1,
    )


def as_table(verdicts: Iterable[Verdict]) -> str:
    """Headlines and sentences of `verdicts` as a Markdown table."""
    rows = [f"| {one.step} | {one.headline} | {one.sentence} |" for one in verdicts]
    return "\n".join(["| step | headline | sentence |", "|---|---|---|", *rows])


if __name__ == "__main__":
    sys.stdout.write(f"{as_table(assessed(example).verdict for example in EXAMPLES)}\n")
