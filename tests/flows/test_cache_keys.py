"""The key of a cached result: all it rests on is in it, code and inputs, and nothing else.

What a result rests on is judged apart from what makes the keys: the work of every cached task is
really done on a small example, also in its child process, and the modules whose functions run are
recorded; the fields of all inputs are found by reflection and changed one at a time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.code_identity import NOT_FOLLOWED, code_behind
from medcompare.base.hardware import ParallelPlan
from medcompare.base.record import Artifact
from medcompare.config.data import DataConfig, DemoConfig
from medcompare.config.train import TrainConfig, TuneConfig
from medcompare.data.assignments import read_assignments
from medcompare.data.fingerprint import fingerprint
from medcompare.data.records import DatasetSplit
from medcompare.data.sources.resolve import resolve_source
from medcompare.models.weights import ensure_weights
from medcompare.models.zoo import MODELS
from medcompare.predictions.join import scored_cases
from medcompare.predictions.table import digest_of
from medcompare.training.identity import (
    SaliencyIdentity,
    cost_identity,
    images_digest,
    prediction_identity,
    training_identity,
    trial_identity,
)
from medcompare.training.records import TrainedModel
from medcompare.training.requests import (
    CostRequest,
    PredictionRequest,
    SaliencyRequest,
    TrainingRequest,
    TrialRequest,
)
from medcompare.training.search import Trial, searched, trial_epochs
from medcompare.training.worker.process import run_prediction, run_saliency, run_training
from tasks.assess import assess_predictions
from tasks.cache import CodeOf
from tasks.cross_validate import cross_validate
from tasks.decide import decide
from tasks.evaluate import evaluate
from tasks.evaluate_external import evaluate_external
from tasks.external import external_set
from tasks.folds import fold_splits
from tasks.ingest import ingest
from tasks.measure_cost import measure_cost
from tasks.predict import predict
from tasks.saliency import saliency
from tasks.split import split
from tasks.train import train
from tasks.tune import tune
from tests.contracts.test_records import example
from tests.flows.conftest import make_two_classes
from tests.flows.small_runs import small_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prefect import Task

    from medcompare.config.schema import CostConfig, EvaluateConfig
    from medcompare.data.sources.listing import ImageSource
    from medcompare.predictions.cases import ScoredCases
    from medcompare.predictions.records import Predictions

ROOT = Path(__file__).resolve().parents[2]
MODEL = "test_cnn"
PLAN = ParallelPlan(n_parallel=1, n_threads=1, n_gpus=0)

TASKS: dict[str, Task[..., Any]] = {
    "ingest": ingest,
    "split": split,
    "train": train,
    "tune": tune,
    "predict": predict,
    "saliency": saliency,
    "evaluate": evaluate,
    "measure cost": measure_cost,
    "decide": decide,
    "assess": assess_predictions,
    "external set": external_set,
    "evaluate external set": evaluate_external,
    "folds": fold_splits,
    "cross-validate": cross_validate,
}

# What each result rests on, stated by hand: a module that joins or leaves must be added here with a thought.
IMAGES_TO_NETWORK = """
    tasks.{task} base base.artifacts base.record base.devices base.file_names base.language base.phrase
    data data.assignments data.decoding data.dicom data.reading models models.registry models.spec models.zoo.tiny
    training training.batch_statistics training.checkpoints training.dataset training.image_cache
    training.ranks training.scoring training.transforms
"""
TRAINING = (
    " training.augmentation training.loop training.epoch training.records training.state training.recipes"
    " training.options training.compilation training.kernels training.passes training.precision training.preview"
    " training.probe training.replay"
    " training.subsets"
)
PREDICTION = " training.inference training.options predictions predictions.records"
STATISTICS = (
    "tasks.{task} base base.record base.language base.formatting base.phrase predictions predictions.cases "
    "predictions.costs stats stats.records stats.arrays stats.evaluation stats.*"
)
VERDICT = "stats.assessment stats.comparison stats.verdict.rule stats.verdict.sentences"
TABLES = "base.artifacts predictions.records predictions.join"
RESTS_ON = {
    "ingest": "tasks.{task} base base.artifacts base.record base.file_names base.language data data.records "
    "data.manifest data.validation data.decoding data.dicom data.intensity data.assignments data.confounders "
    "data.reading "
    "data.exclusions data.copies data.quality "
    "data.disguises data.file_facts data.variants data.perceptual_hash data.phase_correlation "
    "data.measured data.measuring data.groups "
    "training",  # the room of the progress bar
    "split": "tasks.{task} base base.artifacts base.record base.language data data.records data.split data.draw "
    "data.tables data.published data.spelling data.columns data.groups base.hosts",
    "train": IMAGES_TO_NETWORK + TRAINING,
    "tune": IMAGES_TO_NETWORK + TRAINING + " training.search training.tuning",
    "predict": IMAGES_TO_NETWORK + PREDICTION + " training.records",
    "saliency": IMAGES_TO_NETWORK + PREDICTION + " training.saliency predictions.saliency",
    "evaluate": f"{STATISTICS} {TABLES}",
    # It times steps of a training, and names the machine.
    "measure cost": IMAGES_TO_NETWORK
    + " training.augmentation training.cost training.cost_instruments training.timing training.epoch"
    + " training.options training.kernels training.passes training.recipes training.records"
    + " predictions predictions.costs base.hardware",
    # The shortcuts look at the files and at what belongs together.
    "decide": f"{STATISTICS} {TABLES} {VERDICT} data data.records data.tables data.split data.draw data.published "
    "data.spelling data.assignments data.file_facts data.columns data.groups base.hosts base.file_names",
    "assess": f"{STATISTICS} {VERDICT}",
    "external set": "tasks.{task} base base.artifacts base.record base.language base.formatting data data.records "
    "data.tables data.split data.draw data.external data.copies data.columns data.decoding data.dicom "
    "data.disguises data.file_facts data.groups "
    "data.measured data.perceptual_hash data.phase_correlation data.published data.quality data.reading data.spelling "
    "data.validation base.file_names base.hosts",
    "evaluate external set": f"{STATISTICS} {TABLES} stats.external stats.comparison data data.records",
    "folds": "tasks.{task} base base.artifacts base.record base.language base.hosts data data.records "
    "data.tables data.split data.draw data.folds data.columns data.groups data.published data.spelling",
    "cross-validate": STATISTICS.replace("stats.evaluation", "stats.folds") + f" {TABLES} stats.thresholds",
}


NOT_IN_EVALUATION = f"{VERDICT} stats.verdict.explanations stats.verdict.cost_order stats.verdict.criteria"
"""Modules of the statistics that an evaluation must not rest on: others may join or leave as they are written."""

BEHIND_EXCLUDED = {
    "medcompare.training.worker.child",
    "medcompare.training.worker.fork_server",
    "medcompare.config.form",
}
"""Imported by excluded modules only: they pass values on and name fields."""


def full_names(names: str, task: str) -> set[str]:
    """Full names of modules named in short, separated by blanks."""
    found = names.replace("{task}", TASKS[task].fn.__module__.removeprefix("tasks.")).split()
    return {name if name.startswith("tasks.") else f"medcompare.{name}" for name in found}


def code_of(task: str) -> CodeOf:
    """The part of its cache policy that looks at code."""
    policies = TASKS[task].cache_policy.policies  # type: ignore[union-attr] # of a compound policy
    return next(policy for policy in policies if isinstance(policy, CodeOf))


def key_of(task: str, job: Mapping[str, Any]) -> str:
    """The cache key of `task` for these arguments, as Prefect gets it."""
    one = TASKS[task]
    key = one.cache_policy.compute_key(SimpleNamespace(task=one), dict(job), {})  # type: ignore[arg-type] # all that our policies look at
    assert key is not None
    return str(key)


TRACE = "MEDCOMPARE_TEST_TRACE"

TRACER = """
import os, sys, threading
_seen = set()
def _executed(frame, event, _):
    if event != "call":
        return
    name = frame.f_globals.get("__name__", "")
    if name in _seen or name.partition(".")[0] not in ("medcompare", "tasks"):
        return
    outer = frame
    while outer is not None:  # what runs while a module is imported is not the work
        owner = outer.f_globals.get("__name__", "").partition(".")[0]
        if outer.f_code.co_name == "<module>" and owner in ("medcompare", "tasks", "flows"):
            return
        outer = outer.f_back
    _seen.add(name)
    with open(os.environ["MEDCOMPARE_TEST_TRACE"], "a") as file:
        file.write(name + "\\n")
def _start():
    threading.setprofile(_executed)
    sys.setprofile(_executed)
if __name__ == "sitecustomize" and sys.platform == "linux":
    # Jobs are copies of a process that imports torch, which would be slow when traced.
    os.register_at_fork(after_in_child=_start)
else:
    _start()
"""


@contextmanager
def recorded(folder: Path) -> Iterator[set[str]]:
    """Modules of ours whose functions run meanwhile, in this process and in those it starts."""
    folder.mkdir(exist_ok=True)
    log = folder / "executed.txt"
    log.write_text("")
    (folder / "sitecustomize.py").write_text(TRACER)
    found: set[str] = set()
    before = sys.getprofile(), os.environ.get("PYTHONPATH")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), before[1]])))
        patch.setenv(TRACE, str(log))
        exec(compile(TRACER, "tracer", "exec"), {"__name__": "tracer"})  # noqa: S102 - the text above
        try:
            yield found
        finally:
            sys.setprofile(before[0])
            threading.setprofile(None)
    found.update(name for name in log.read_text().split() if name != "__main__")


# The jobs, as `flows.compare` and `flows.assess` make them of what they are given.


def ingest_job(*, source: ImageSource, data: DataConfig, store: Path) -> dict[str, Any]:
    """Arguments of the task."""
    rules = (
        data.max_rejected_fraction,
        data.min_side_px,
        data.max_file_mb,
        data.near_duplicates,
        data.intensity_range,
    )
    return {
        "fingerprint": fingerprint(source, DataConfig()),
        "rules": rules,
        "source": source,
        "data": data,
        "store": store,
    }


def train_job(
    *,
    train: TrainConfig,
    split: DatasetSplit,
    weights: Any,
    seed: int,
    plan: ParallelPlan,
    root: Path,
    store: Path,
) -> dict[str, Any]:
    """Arguments of the task."""
    images = images_digest(split, ArtifactStore(store), ("train", "val"))
    request = TrainingRequest(
        model=weights.model,
        train=train,
        split=split,
        weights=weights,
        seed=seed,
        n_parallel=plan.n_parallel,
        n_threads=plan.n_threads,
        data_root=root,
        store_root=store,
    )
    identity = training_identity(weights.model, train, images=images, weights=weights, seed=seed, plan=plan)
    return {"model": weights.model, "identity": identity, "request": request}


def tune_job(
    *,
    earlier: tuple[Trial, ...],
    train: TrainConfig,
    tune: TuneConfig,
    split: DatasetSplit,
    weights: Any,
    seed: int,
    plan: ParallelPlan,
    root: Path,
    store: Path,
) -> dict[str, Any]:
    """Arguments of the task."""
    epochs = trial_epochs(tune, train)
    request = TrialRequest.model_construct(
        model=weights.model,
        train=train.model_copy(update={"epochs": epochs}),
        split=split,
        weights=weights,
        seed=seed,
        n_parallel=plan.n_parallel,
        n_threads=plan.n_threads,
        device_index=0,
        data_root=root,
        store_root=store,
        earlier=earlier,
        searched=searched(train, [weights.model], epochs),
        pruning=tune.pruning,
    )
    identity = trial_identity(
        request, images=images_digest(split, ArtifactStore(store), ("train", "val")), plan=plan
    )
    return {"model": weights.model, "identity": identity, "request": request, "variant": " trial"}


def predict_job(
    *,
    trained: TrainedModel,
    train: TrainConfig,
    split: DatasetSplit,
    plan: ParallelPlan,
    root: Path,
    store: Path,
) -> dict[str, Any]:
    """Arguments of the task."""
    request = PredictionRequest.model_construct(
        trained=trained,
        train=train,
        split=split,
        data_root=root,
        store_root=store,
        n_threads=1,
        device_index=0,
    )
    return {"model": trained.model, "identity": prediction_identity(trained, split, plan), "request": request}


def saliency_job(*, cases: tuple[str, ...], **given: Any) -> dict[str, Any]:
    """Arguments of the task."""
    job = predict_job(**given)
    identity = SaliencyIdentity(predictions=job["identity"], cases=cases)
    request = SaliencyRequest.model_construct(**vars(job["request"]), cases=cases)
    return {"model": job["model"], "identity": identity, "request": request}


def cost_job(
    *,
    trained: TrainedModel,
    train: TrainConfig,
    cost: CostConfig,
    split: DatasetSplit,
    plan: ParallelPlan,
    root: Path,
    store: Path,
) -> dict[str, Any]:
    """Arguments of the task."""
    request = CostRequest.model_construct(
        trained=trained,
        train=train,
        cost=cost,
        split=split,
        data_root=root,
        store_root=store,
        n_threads=1,
        device_index=0,
    )
    return {"model": trained.model, "identity": cost_identity(trained, cost, plan), "request": request}


def evaluate_job(
    *, predictions: Predictions, config: EvaluateConfig, seed: int, store: Path
) -> dict[str, Any]:
    """Arguments of the task."""
    return {
        "model": predictions.model,
        "predictions": predictions,
        "config": config,
        "seed": seed,
        "store": store,
    }


def assess_job(*, test: ScoredCases, validation: ScoredCases, **others: Any) -> dict[str, Any]:
    """Arguments of the task."""
    return {
        "digest": digest_of([test, validation], others["costs"]),
        "test": test,
        "validation": validation,
        **others,
    }


OUTSIDE_AND_FOLDS = ("external set", "evaluate external set", "folds", "cross-validate")

JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "ingest": ingest_job,
    "split": dict,
    "train": train_job,
    "tune": tune_job,
    "predict": predict_job,
    "saliency": saliency_job,
    "evaluate": evaluate_job,
    "measure cost": cost_job,
    "decide": dict,
    "assess": assess_job,
    **dict.fromkeys(OUTSIDE_AND_FOLDS, dict),
}


@dataclass
class Stages:
    """Every stage, done once: what it was given, what it gave, and which modules ran."""

    store: Path
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    executed: dict[str, set[str]] = field(default_factory=dict)

    def do(self, name: str, /, **given: Any) -> Any:
        """Do the stage called `name`."""
        job = JOBS[name](**given)
        with recorded(self.store / "trace") as executed:
            self.results[name] = TASKS[name].fn(**job)
        self.given[name], self.executed[name] = given, executed
        return self.results[name]


@pytest.fixture(scope="module")
def stages(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Stages:  # noqa: ARG001 - must be up
    """All stages, on small images."""
    root = tmp_path_factory.mktemp("stages")
    changes = {"train": {"epochs": 1, "recipes": {MODEL: {"learning_rate": 0.003}}}}
    config = small_config(make_two_classes(root / "two-classes"), root, models=(MODEL,), **changes)
    store = config.store.absolute()
    store.mkdir()
    done = Stages(store)
    source = resolve_source(config.data, demo_root=store / "demo")
    manifest = done.do("ingest", source=source, data=config.data, store=store)
    parts = done.do("split", manifest=manifest, config=config.split, seed=0, store=store)
    places = {"split": parts, "plan": PLAN, "root": source.root, "store": store}
    weights = ensure_weights(config.models, config.train)[MODEL]
    trained = done.do("train", train=config.train, weights=weights, seed=0, **places)
    longer = config.train.model_copy(update={"epochs": 2})
    search = {"train": longer, "tune": TuneConfig(epochs=1), "weights": weights, "seed": 0, **places}
    recipe = tune.fn(**tune_job(earlier=(), **search))
    done.do("tune", earlier=(recipe,), **search)
    predictions = done.do("predict", trained=trained, train=config.train, **places)
    cases = tuple(row.case_id for row in read_assignments(ArtifactStore(store).read(parts.assignments)))[:3]
    done.do("saliency", trained=trained, train=config.train, cases=cases, **places)
    evaluation = done.do("evaluate", predictions=predictions, config=config.evaluate, seed=0, store=store)
    cost = done.do("measure cost", trained=trained, train=config.train, cost=config.cost, **places)
    rule = {
        "evaluate": config.evaluate,
        "rule": config.decide,
        "seed": 0,
        "set_by_user": ("decide.margin_auc",),
    }
    found = {"predictions": (predictions,), "evaluations": (evaluation,), "costs": (cost,)}
    told = {"not_evaluated_as_trained": {MODEL: "why"}, "not_converged": {MODEL: "why"}}
    done.do("decide", **found, **rule, **told, manifest=manifest, split=parts, external=(), store=store)
    outside = make_two_classes(root / "outside", seed=6)
    other = config.data.model_copy(update={"source": str(outside)})
    source = resolve_source(other, demo_root=store / "demo")
    apart = done.do(
        "external set",
        name="b",
        manifest=ingest.fn(**ingest_job(source=source, data=other, store=store)),
        split=parts,
        near_duplicates=True,
        config=config.split,
        store=store,
    )
    inside = {"internal": (predictions,), "evaluations": (evaluation,), "costs": (cost,)}
    judged = {"evaluate": config.evaluate, "rule": config.decide, "seed": 0, "split": apart}
    done.do("evaluate external set", name="b", predictions=(predictions,), **inside, **judged, store=store)
    done.do("folds", split=parts, manifest=manifest, n_folds=2, n_repeats=1, seed=0, store=store)
    done.do(
        "cross-validate",
        predictions=((predictions,), (predictions,)),
        n_train=(40, 40),
        pairs=((MODEL, MODEL),),
        n_repeats=1,
        evaluate=config.evaluate,
        store=store,
    )
    tables = {
        name: with_everything(scored_cases((predictions,), ArtifactStore(store), subset))
        for name, subset in (("test", "test"), ("validation", "val"))
    }
    done.do("assess", **tables, costs=(cost,), thresholds={}, **rule)
    return done


def with_everything(cases: ScoredCases) -> ScoredCases:
    """`cases` with patients, subgroups and a training seed, so that each can be changed."""
    (scores,) = cases.scores.values()
    return dataclasses.replace(
        cases,
        patient_id=np.array([f"{cases.subset} {case}" for case in cases.case_id]),
        subgroups={"sex": np.array(["f", "m"] * (cases.n // 2) + ["f"] * (cases.n % 2))},
        judged={MODEL: MODEL},
        seed_scores={MODEL: {"1": scores.copy()}},
    )


# Code.


@pytest.mark.parametrize("task", TASKS)
def test_what_runs_is_in_the_key(stages: Stages, task: str) -> None:
    """Of the modules whose functions run, each is in the key or excluded with its reason."""
    executed = stages.executed[task]
    keyed = set(code_behind(*code_of(task).modules(TASKS[task], {"model": MODEL})).modules)

    assert executed - keyed - set(NOT_FOLLOWED) - BEHIND_EXCLUDED == set()
    # The record of what ran is no empty one: the heart of each task is in it.
    heart = {
        "ingest": {"data.manifest", "data.decoding"},
        "split": {"data.split"},
        "train": {
            "training.loop",
            "training.dataset",
            "models.registry",
            "models.zoo.tiny",
            "training.events",
        },
        "tune": {"training.tuning", "training.search", "training.loop"},
        "predict": {"training.inference", "training.dataset", "training.scoring"},
        "saliency": {"training.saliency", "training.inference", "training.dataset"},
        "evaluate": {"predictions.join", "stats.evaluation"},
        "measure cost": {"training.cost", "training.epoch", "base.hardware"},
        "decide": {"predictions.join", "stats.verdict.rule"},
        "assess": {"stats.assessment", "stats.verdict.rule", "predictions.cases"},
        "external set": {"data.external", "data.copies"},
        "evaluate external set": {"stats.external", "stats.evaluation", "predictions.join"},
        "folds": {"data.folds", "data.draw"},
        "cross-validate": {"stats.folds", "stats.thresholds", "predictions.join"},
    }
    assert {f"medcompare.{name}" for name in heart[task]} <= executed


def test_the_equivalent_of_a_network_is_in_the_key_of_its_cost_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file and its library change what a cost says, and no training."""
    with_one = dataclasses.replace(MODELS[MODEL], maintained_equivalent="convnext_tiny")
    monkeypatch.setitem(MODELS, MODEL, with_one)
    modules = {
        task: code_of(task).modules(TASKS[task], {"model": MODEL}) for task in ("measure cost", "train")
    }

    assert "medcompare.models.zoo.convnext" in modules["measure cost"]
    assert "medcompare.models.zoo.convnext" not in modules["train"]
    both = code_behind(*code_of("measure cost").modules(measure_cost, {"model": "efficientnet_b0"}))
    assert {"efficientnet-pytorch", "torchvision", "torch"} <= set(both.libraries)


KEYS_OF_A_COPY = """
import json, sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
import flows
from medcompare.base.code_identity import PACKAGE_ROOT, code_digest
from tasks.cache import CodeOf

TASKS = {name: getattr(import_module(module), task) for name, (module, task) in json.loads(sys.argv[1]).items()}

here = Path.cwd()
assert PACKAGE_ROOT == here / "medcompare", PACKAGE_ROOT

def keys():
    code_digest.cache_clear()
    return {
        name: next(policy for policy in task.cache_policy.policies if isinstance(policy, CodeOf))
        .compute_key(SimpleNamespace(task=task), {"model": "test_cnn"}, {})
        for name, task in TASKS.items()
    }

def changed_by(path, edit):
    before = path.read_text("utf-8")
    path.write_text(edit(before), "utf-8")
    after = keys()
    path.write_text(before, "utf-8")
    return sorted(name for name in after if after[name] != first[name])

first, in_place = keys(), json.loads(sys.argv[2])
found = {"in another folder": sorted(name for name in first if first[name] != in_place[name])}
for path in sorted(one for top in ("medcompare", "tasks", "flows") for one in (here / top).rglob("*.py")):
    parts = path.relative_to(here).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    found[name] = changed_by(path, lambda text: text + "\\n\\ndef _added():\\n    return 1\\n")
reading = here / "medcompare" / "predictions" / "join.py"
found["test and validation exchanged"] = changed_by(
    reading, lambda text: text.replace('table["subset"] == subset', 'table["subset"] != subset')
)
found["a comment and a docstring"] = changed_by(
    reading, lambda text: "# why\\n" + text.replace("From the", "Other words:", 1)
)
assert keys() == first
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def changed_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Module -> tasks whose key changes with an edit of it, tried one by one on a copy of the tree."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("medcompare", "tasks", "flows"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (copy / "tasks").glob("*.py"):
        path.write_text(f"# a line above\n{path.read_text('utf-8')}", "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy), "PREFECT_HOME": str(copy / "prefect")}
    names = {name: (task.fn.__module__, task.fn.__name__) for name, task in TASKS.items()}
    in_place = {
        name: code_of(name).compute_key(SimpleNamespace(task=task), {"model": "test_cnn"}, {})  # type: ignore[arg-type] # as above
        for name, task in TASKS.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", KEYS_OF_A_COPY, json.dumps(names), json.dumps(in_place)],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: set(tasks) for name, tasks in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize("task", TASKS)
def test_editing_what_a_result_rests_on_changes_its_key(changed_keys: dict[str, set[str]], task: str) -> None:
    """Module by module: each that the result rests on changes the key, and no other does."""
    changing = {name for name, tasks in changed_keys.items() if task in tasks and " " not in name}

    stated = full_names(RESTS_ON[task], task)
    assert stated - changing == {"medcompare.stats.*"} & stated
    others = changing - stated
    if "medcompare.stats.*" in stated:
        if task == "evaluate":
            assert not others & full_names(NOT_IN_EVALUATION, task)
        others = {name for name in others if not name.startswith("medcompare.stats.")}
    assert others == set()


def test_exchanging_test_and_validation_is_noticed(changed_keys: dict[str, set[str]]) -> None:
    """An edit in the reading of predictions changes the keys of all that reads them; its wording does not."""
    assert changed_keys["test and validation exchanged"] == {
        "evaluate",
        "decide",
        "evaluate external set",
        "cross-validate",
    }
    assert changed_keys["a comment and a docstring"] == set()


def test_the_folder_of_the_project_is_in_no_key(changed_keys: dict[str, set[str]]) -> None:
    """Nor are lines that do nothing: a project that was moved or cloned anew trains nothing again."""
    assert changed_keys["in another folder"] == set()


def test_exclusions_are_of_modules_that_exist() -> None:
    """An exclusion of what is gone would hide the next module of that name."""
    missing = [
        name for name in NOT_FOLLOWED if not (ROOT / name.replace(".", "/")).with_suffix(".py").exists()
    ]

    assert [name for name in missing if not (ROOT / name.replace(".", "/") / "__init__.py").exists()] == []
    assert all(NOT_FOLLOWED.values())


# Inputs.

FACTS = {"images_per_s", "n_threads", "n_parallel", "source", "licence"}
"""Fields of a result that tell how the stored work was done, as times do; they stay true when it is reused."""

PLACES = {"root": "where the images lie; their digests are in the key", "store": "where results are kept"}
SPLIT_RECORD = "of the split, only the assigned images reach a network"
SPEED = "changes when and how fast, not what"
RESOLVED = "resolved before: the device, weights or recipe it leads to is in the key"
BY_CHECKPOINT = "the checkpoint is in the key, and its shapes"

SETTINGS_OF_TRAINING = {
    "train.weights_dir": RESOLVED,
    "train.weights_version": RESOLVED,
    "train.device": RESOLVED,
    "train.max_parallel": SPEED,
    "train.num_workers": SPEED,
    "train.cache_gb": SPEED,
    "train.timeout_minutes": SPEED,
    "train.checkpoint_every_s": "a training goes on from there to the same bytes",
    "train.test_time_augmentation": "of predictions and their cost, in whose keys it is, with what was trained",
    "train.recipes.weights_version": RESOLVED,
}
PLAN_OF_TRAINING = {
    "plan.n_parallel": SPEED,
    "plan.n_threads": SPEED,
    "plan.n_devices": "that of the settings, which is in the key of a training",
}


def _fields(
    prefix: str, record: type[BaseModel], reason: str, *, but: tuple[str, ...] = ()
) -> dict[str, str]:
    """Every field of `record` but some, nested ones included, with the same `reason`."""
    found = {}
    for name, info in record.model_fields.items():
        inner = _record_in(info.annotation)
        if name in but or inner is Artifact:
            continue
        found |= {f"{prefix}.{name}": reason} if inner is None else _fields(f"{prefix}.{name}", inner, reason)
    return found


def _record_in(annotation: Any) -> type[BaseModel] | None:
    """The record that an annotation names, within a tuple, a dict or beside None too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _record_in(part))), None)


NOT_IN_KEY_OF_PREDICTION = {
    **_fields("train", TrainConfig, BY_CHECKPOINT),
    **_fields("split", DatasetSplit, SPLIT_RECORD, but=("classes",)),
    **_fields(
        "trained",
        TrainedModel,
        BY_CHECKPOINT,
        but=(
            "model",
            "image_size_px",
            "resize_px",
            "class_weights",
            "batch_size",
            "memory_format",
            "seed",
            "test_time_augmentation",
            "speeds",
            "options",
        ),
    ),
    "trained.options": BY_CHECKPOINT,
    "trained.preview": "a picture for the report",
    "trained.speeds": BY_CHECKPOINT,
    **PLAN_OF_TRAINING,
    **PLACES,
}

NOT_IN_KEY: dict[str, dict[str, str]] = {
    "ingest": {
        "data.source": "the fingerprint holds what it led to",
        "data.positive": "the fingerprint holds the classes, in order, and the label of each image",
        "data.exclude": "the fingerprint holds the images that are left",
        **{
            f"data.{name}": "the fingerprint holds path, label and group of each image"
            for name in ("image_root", "path_column", "label_column", "group_by", "patient_pattern")
        },
        "data.file_timeout_s": "a limit that is passed stops the run and leaves no result",
        "data.timeout_minutes": "a limit that is passed stops the run and leaves no result",
        **_fields("data.demo", DemoConfig, "the fingerprint holds the images made by it"),
        "store": PLACES["store"],
    },
    "split": {"store": PLACES["store"]},
    "train": {
        **SETTINGS_OF_TRAINING,
        **_fields("split", DatasetSplit, SPLIT_RECORD),
        "weights.path": "the digest of the file is in the key",
        "weights.initial.source": "where the weights were found; their digest is in the key",
        "weights.initial.licence": "of the file, whose digest is in the key",
        **PLAN_OF_TRAINING,
        **PLACES,
    },
    "tune": {
        **SETTINGS_OF_TRAINING,
        "train.epochs": "more than a trial has, whose number is in the key",
        "tune.n_trials": "more or fewer trials leave each as it is",
        "earlier.elapsed_s": "how long it took",
        "earlier.device": "the kind of device is in the key",
        **_fields("split", DatasetSplit, SPLIT_RECORD),
        "weights.path": "the digest of the file is in the key",
        "weights.initial.source": "where the weights were found; their digest is in the key",
        "weights.initial.licence": "of the file, whose digest is in the key",
        **PLAN_OF_TRAINING,
        **PLACES,
    },
    "predict": NOT_IN_KEY_OF_PREDICTION,
    "saliency": NOT_IN_KEY_OF_PREDICTION,
    "evaluate": {"store": PLACES["store"]},
    "measure cost": {
        "cost.fresh": "asks for a measurement whatever the key",
        **dict.fromkeys(
            ("cost.price_per_hour", "cost.price_per_kwh", "cost.currency"), "what the report multiplies by"
        ),
        **_fields("train", TrainConfig, "the training it led to is in the key as a whole"),
        **_fields("split", DatasetSplit, SPLIT_RECORD),
        "split.assignments": "the training with these images is in the key as a whole",
        "plan.n_devices": "of trainings; cost is measured on one",
        **PLACES,
    },
    "decide": {"store": PLACES["store"]},
    **{name: {"store": PLACES["store"]} for name in OUTSIDE_AND_FOLDS},
    "assess": {
        f"{subset}.{name}": "tells how a file was read, of which the cases are in the key"
        for subset in ("test", "validation")
        for name in ("rows", "unused", "notes")
    },
}
"""Stage -> what it is given that is not in its key -> why the result does not depend on it."""


def changes(
    value: Any, store: ArtifactStore, annotation: Any = None, metadata: Any = ()
) -> Iterator[tuple[str, Any]]:
    """(name below `value`, `value` with that changed), one by one, however deep."""
    if isinstance(value, Artifact):  # another file
        lines = store.read(value).splitlines(keepends=True)
        yield "", store.write(b"".join(lines[: len(lines) // 2]), Path(value.path).suffix)
    elif isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            for below, changed in changes(getattr(value, name), store, info.annotation, info.metadata):
                yield f".{name}{below}", value.model_copy(update={name: changed})
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for one in dataclasses.fields(value):
            for below, changed in changes(getattr(value, one.name), store):
                yield f".{one.name}{below}", dataclasses.replace(value, **{one.name: changed})
    elif isinstance(value, dict) and value:
        key, inner = next(iter(value.items()))
        for below, changed in changes(inner, store):
            yield below, {**value, key: changed}
    elif (
        isinstance(value, tuple)
        and value
        and (isinstance(value[0], BaseModel | tuple) or dataclasses.is_dataclass(value[0]))
    ):
        for below, changed in changes(value[0], store):
            yield below, (changed, *value[1:])
    else:
        yield "", altered(value, annotation, metadata)


def altered(value: Any, annotation: Any, metadata: Any) -> Any:  # noqa: PLR0911 - one kind after the other
    """Another value of the same kind."""
    if isinstance(value, np.ndarray):
        other = value.copy()
        other[0] = "other" if other.dtype.kind == "U" else 1 - other[0]
        return other
    choices = [choice for part in (annotation, *get_args(annotation)) for choice in literal_choices(part)]
    if choices:
        return next((choice for choice in choices if choice != value), None)
    if isinstance(value, bool):
        return not value
    if isinstance(value, Enum):
        return next(one for one in type(value) if one is not value)
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else value / 2 + 0.01
    if isinstance(value, Path):
        copy = value / "elsewhere"
        if (value / "objects").exists():  # a store has to be one
            shutil.copytree(value / "objects", copy / "objects", dirs_exist_ok=True)
        return copy
    if isinstance(value, str):
        return next(iter(set(MODELS) - {value})) if value in MODELS else f"{value}x"
    if isinstance(value, tuple):
        inner = get_args(next(iter(get_args(annotation)), None))
        empty = (("other", 1),) if int in inner else ("other",)
        return (*value[:-1], altered(value[-1], None, ())) if value else empty
    if isinstance(value, dict):
        return {"other": 0.5}
    if annotation is not None:
        return example(annotation, list(metadata))
    return "other"


def literal_choices(annotation: Any) -> tuple[Any, ...]:
    """Choices of a ``Literal``."""
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def varied(stages: Stages, stage: str) -> Iterator[tuple[str, str, Any]]:
    """(argument, full name, changed argument) for every field of what `stage` is given."""
    for name, value in stages.given[stage].items():
        for below, changed in changes(value, ArtifactStore(stages.store)):
            yield name, f"{name}{below}", changed


@pytest.mark.parametrize("stage", TASKS)
def test_every_input_is_in_the_key_or_excused(stages: Stages, stage: str) -> None:
    """Each field of each input, changed alone, changes the key, but for those named with a reason."""
    given = stages.given[stage]
    first = key_of(stage, JOBS[stage](**given))

    unchanged = {
        full
        for name, full, changed in varied(stages, stage)
        if key_of(stage, JOBS[stage](**{**given, name: changed})) == first
    }

    assert unchanged == set(NOT_IN_KEY[stage])


def test_a_changed_image_changes_every_key(stages: Stages, tmp_path: Path) -> None:
    """One image is mirrored: it is read again, and a split that goes by content is another one."""
    given = stages.given
    data = given["ingest"]["data"].model_copy(
        update={"source": str(shutil.copytree(given["train"]["root"], tmp_path / "images"))}
    )

    def keys() -> dict[str, str]:
        source = resolve_source(data, demo_root=tmp_path / "demo")
        job = ingest_job(**{**given["ingest"], "source": source, "data": data})
        to_split = {**given["split"], "manifest": ingest.fn(**job)}
        parts = split.fn(**to_split)
        jobs = {name: JOBS[name](**{**given[name], "split": parts}) for name in ("train", "predict")}
        return {name: key_of(name, job) for name, job in {"ingest": job, "split": to_split, **jobs}.items()}

    before, image = keys(), next(Path(data.source).rglob("*.png"))
    assert keys() == before
    with Image.open(image) as pixels:
        pixels.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    after = keys()
    assert {name for name, key in after.items() if key == before[name]} == set()


WORK: dict[str, Callable[[dict[str, Any]], Any]] = {
    "ingest": lambda job: ingest.fn(**job),
    # In a process of its own, as in a run: this one has threads, and must not be forked by loaders.
    "train": lambda job: run_training(job["request"]),
    "predict": lambda job: run_prediction(job["request"]),
    "saliency": lambda job: run_saliency(job["request"]),
    "assess": lambda job: assess_predictions.fn(**job),
}
"""The work of the stages that leave inputs out of their keys; a cost differs by itself."""

NOT_TRIED = {
    "weights.path",
    "plan.n_threads",
    "trained.checkpoint",
    "trained.speeds",
}
"""Files that do not exist elsewhere, sums of threads, which differ in the last digit, an empty list."""


@pytest.mark.parametrize("stage", WORK)
def test_what_is_excused_changes_no_result(stages: Stages, stage: str) -> None:
    """All excused fields changed at once give the same result, which so holds none of them."""
    given = dict(stages.given[stage])
    for name, value in given.items():
        for below in sorted(NOT_IN_KEY[stage]):
            if below.partition(".")[0] == name and below not in NOT_TRIED and below not in PLACES:
                value = dict(changes(value, ArtifactStore(stages.store)))[below.removeprefix(name)]  # noqa: PLW2901
        given[name] = value

    again = WORK[stage](JOBS[stage](**given))

    assert lasting(again.model_dump(mode="json")) == lasting(stages.results[stage].model_dump(mode="json"))


def lasting(result: Any) -> Any:
    """`result` without the `FACTS` of how it was come by."""
    if isinstance(result, dict):
        return {
            name: lasting(value)
            for name, value in result.items()
            if name not in FACTS and not name.endswith("_s")
        }
    return [lasting(one) for one in result] if isinstance(result, list) else result
