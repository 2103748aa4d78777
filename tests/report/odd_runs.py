"""Runs that reports went wrong on: odd tables of predictions, assessed and gathered as `flows.assess` does.

Every run is small enough to be assessed in about a second; its figures come from our own
statistics, so that pages and sentences are tested on what they will really be given.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from medcompare.config.schema import AssessConfig
from medcompare.config.settings_table import set_by_user
from medcompare.predictions.costs import CostMeasurement
from medcompare.predictions.table import PredictionTables, ScoredCases
from medcompare.report.collect import gather_assessment
from medcompare.runs.changes import Changes, HistoryContext
from medcompare.stats.assessment import assess
from tests.report.sample import make_provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from medcompare.report.inputs import ReportInputs

RESAMPLES = 200
GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa")


def long_name(stem: str, n_characters: int) -> str:
    """A name of exactly so many characters, as people give them to checkpoints."""
    filler = (
        " of-the-network_trained with focal loss, cosine schedule and stochastic weight averaging, fold 3"
    )
    return (stem + filler)[:n_characters]


def scores_of(
    y_true: np.ndarray, skills: Mapping[str, float], *, shared: float = 0.8, own: float = 0.5, seed: int = 3
) -> dict[str, np.ndarray]:
    """Probabilities of models that tend to err on the same cases; a larger skill separates better."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=y_true.size)
    return {
        model: expit(skill * (y_true - 0.5) + shared * common + own * rng.normal(size=y_true.size))
        for model, skill in skills.items()
    }


def truth(n: int, n_positive: int, *, seed: int = 1) -> np.ndarray:
    """So many positive cases among `n`, in random order."""
    labels = np.zeros(n, dtype=np.int64)
    labels[:n_positive] = 1
    return np.random.default_rng(seed).permutation(labels)


def cases(
    y_true: np.ndarray,
    scores: dict[str, np.ndarray],
    *,
    subset: Any = "test",
    classes: tuple[str, str] = ("benign", "malignant"),
    images_per_patient: int = 1,
    subgroups: Mapping[str, Sequence[str]] | None = None,
) -> ScoredCases:
    """A table of predictions; neighbouring cases of one class share a patient."""
    patient = None
    if images_per_patient > 1:
        position = dict.fromkeys((0, 1), 0)
        ids = []
        for label in y_true.tolist():
            ids.append(f"{subset}-p{label}-{position[label] // images_per_patient}")
            position[label] += 1
        patient = np.array(ids)
    return ScoredCases(
        case_id=tuple(f"{subset}{i:05d}" for i in range(y_true.size)),
        y_true=y_true,
        scores=scores,
        patient_id=patient,
        classes=classes,
        subset=subset,
        subgroups={
            column: np.array([levels[i % len(levels)] for i in range(y_true.size)])
            for column, levels in (subgroups or {}).items()
        },
    )


def costs(latencies: Mapping[str, float]) -> tuple[CostMeasurement, ...]:
    """Supplied costs."""
    return tuple(CostMeasurement(model=model, latency_ms_median=ms) for model, ms in latencies.items())


def inputs_of(
    test: ScoredCases,
    validation: ScoredCases | None = None,
    *,
    latencies: Mapping[str, float] | None = None,
    thresholds: dict[str, float] | None = None,
    display_names: Mapping[str, str] | None = None,
    n_earlier_looks: int = 0,
    evaluate: dict[str, Any] | None = None,
    decide: dict[str, Any] | None = None,
    report: dict[str, Any] | None = None,
) -> ReportInputs:
    """What the report of `flows.assess` would be made of."""
    subgroups = tuple(test.subgroups)
    config = AssessConfig.model_validate(
        {
            "predictions": Path("test.csv"),
            "validation": None if validation is None else Path("validation.csv"),
            "thresholds": thresholds or {},
            "evaluate": {"n_resamples": RESAMPLES, "subgroups": subgroups, **(evaluate or {})},
            "decide": decide or {},
            "report": report or {},
        }
    )
    assessment = assess(
        test,
        validation,
        costs(latencies or {}),
        display_names=display_names or {},
        thresholds=config.thresholds,
        evaluate=config.evaluate,
        rule=config.decide,
        seed=0,
        set_by_user=frozenset(set_by_user(config)),
    )
    tables = PredictionTables(test=test, validation=validation, costs=costs(latencies or {}), digest="")
    night = HistoryContext(
        changes=Changes(previous=None, current="odd run", causes=(), verdict_changed=None, sentences=()),
        runs=(),
        n_earlier_looks=n_earlier_looks,
    )
    return gather_assessment(
        config,
        run_name="odd run",
        assessment=assessment,
        tables=tables,
        provenance=make_provenance(),
        context=night,
    )


def _two_subsets(
    skills: Mapping[str, float], *, n: int, n_positive: int, **changes: Any
) -> tuple[ScoredCases, ScoredCases]:
    shared = {key: changes.pop(key) for key in ("shared", "own") if key in changes}
    tables = []
    for subset, seed in (("test", 1), ("val", 2)):
        y_true = truth(n, n_positive, seed=seed)
        tables.append(cases(y_true, scores_of(y_true, skills, seed=seed, **shared), subset=subset, **changes))
    return tables[0], tables[1]


def six() -> ReportInputs:
    """Six models, no cost, four of them clearly worse than the best two."""
    skills = {"alpha": 1.2, "beta": 1.4, "gamma": 1.6, "delta": 1.7, "epsilon": 3.0, "zeta": 3.1}
    return inputs_of(*_two_subsets(skills, n=400, n_positive=180))


def nine() -> ReportInputs:
    """Nine models without a validation file: 0.5 for all."""
    skills = {name: 1.4 + 0.15 * i for i, name in enumerate(GREEK[:9])}
    test, _ = _two_subsets(skills, n=260, n_positive=120)
    return inputs_of(test, latencies={name: 4.0 + 3 * i for i, name in enumerate(skills)})


def tiny12() -> ReportInputs:
    """Twelve cases, three of them positive: hardly anything can be estimated, in subgroups nothing."""
    test, _ = _two_subsets({"a": 4.0, "b": 4.0}, n=12, n_positive=3, subgroups={"site": ["north", "south"]})
    return inputs_of(test, latencies={"a": 20.0, "b": 5.0})


def never() -> ReportInputs:
    """A model that never calls a case positive."""
    y_true = truth(160, 70)
    scores = scores_of(y_true, {"usual": 2.4, "never": 2.2})
    scores["never"] *= 0.4
    return inputs_of(cases(y_true, scores))


def ident() -> ReportInputs:
    """Two names, the same scores."""
    y_true = truth(160, 70)
    scores = scores_of(y_true, {"one": 2.2})
    return inputs_of(cases(y_true, {"one": scores["one"], "two": scores["one"].copy()}))


def long() -> ReportInputs:
    """Names of 80 characters that differ at their ends only."""
    names = [long_name("ResNet", 79) + letter for letter in "AB"]
    skills = dict(zip(names, (2.0, 2.3), strict=True))
    test, val = _two_subsets(
        skills, n=200, n_positive=90, classes=(long_name("benign", 60), long_name("mal", 60))
    )
    return inputs_of(test, val, latencies=dict(zip(names, (20.0, 5.0), strict=True)))


def inject(*, cjk: bool = False) -> ReportInputs:
    """Markup, Arabic and, where asked for, Chinese in the names."""
    names = ['<script>alert("x")</script> & <b>bold</b>', "شبكة ريزنت" if not cjk else "恶性肿瘤模型"]
    levels = ["North <b>Hospital</b> of the old town, second floor, left ", "مستشفى الجنوب"]
    test, val = _two_subsets(
        dict(zip(names, (2.0, 2.3), strict=True)),
        n=240,
        n_positive=110,
        subgroups={"site": levels, "kind": ["a", "b", "c"]},
        classes=("良性", "恶性") if cjk else ("حميد", "خبيث"),
    )
    return inputs_of(test, val, latencies=dict(zip(names, (20.0, 5.0), strict=True)))


def big() -> ReportInputs:
    """Many cases: a small difference is shown, far below the margin."""
    skills = {"large": 2.60, "small": 2.45}
    test, val = _two_subsets(skills, n=4000, n_positive=1800, own=0.2)
    return inputs_of(test, val, latencies={"large": 20.0, "small": 5.0})


def rare() -> ReportInputs:
    """Few positives: 28 of 1,000."""
    test, val = _two_subsets({"large": 3.0, "small": 2.0}, n=1000, n_positive=28)
    return inputs_of(test, val, latencies={"large": 20.0, "small": 5.0})


def ni() -> ReportInputs:
    """A cheaper model that is not worse; thresholds given by the user."""
    test, _ = _two_subsets({"large": 2.9, "small": 3.0}, n=700, n_positive=340, own=0.3)
    return inputs_of(
        test,
        latencies={"large": 20.0, "small": 5.0},
        thresholds={"large": 0.5, "small": 0.5},
        n_earlier_looks=2,
    )


def good() -> ReportInputs:
    """A model that is clearly better, with patients, floors and a stated range."""
    test, val = _two_subsets(
        {"old": 1.8, "new": 3.4},
        n=900,
        n_positive=420,
        images_per_patient=2,
        subgroups={"sex": ["female", "male"]},
    )
    return inputs_of(
        test, val, latencies={"old": 20.0, "new": 5.0}, decide={"net_benefit_range": (0.05, 0.4)}
    )


def miscalibrated() -> ReportInputs:
    """Scores between 0.51 and 0.68, which rank well all the same."""
    test, val = _two_subsets({"usual": 2.4, "narrow": 2.4}, n=300, n_positive=140)
    for table in (test, val):
        table.scores["narrow"] = 0.51 + 0.17 * table.scores["narrow"]
    return inputs_of(test, val)


def many(n_models: int, *, paper: str = "A4") -> ReportInputs:
    """So many models with names of 80 characters, classes and levels of 60, and supplied costs."""
    names = [long_name(GREEK[i].capitalize(), 78) + f"{i:02d}" for i in range(n_models)]
    skills = {name: 1.6 + 0.2 * i for i, name in enumerate(names)}
    test, val = _two_subsets(
        skills,
        n=200,
        n_positive=90,
        classes=(long_name("benign", 60), long_name("malignant", 60)),
        subgroups={"site": [long_name("North", 60), "W" * 60]},
    )
    latencies = {name: 1234567.0 / (i + 1) for i, name in enumerate(names)}
    return inputs_of(test, val, latencies=latencies, report={"paper": paper})


RUNS: dict[str, Callable[[], ReportInputs]] = {
    "six": six,
    "nine": nine,
    "tiny12": tiny12,
    "never": never,
    "ident": ident,
    "long": long,
    "inject": inject,
    "big": big,
    "rare": rare,
    "ni": ni,
    "good": good,
    "miscalibrated": miscalibrated,
}
"""Every run that the report was seen to go wrong on, by the name the review gave it."""


@functools.cache
def run(name: str) -> ReportInputs:
    """One of `RUNS`, made once."""
    return RUNS[name]()
