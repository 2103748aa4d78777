"""The trainings of a comparison: which there are, and how they are run and predicted with.

A training is identified by its model, its seed, the images it sees and how it is trained; each is a
task of its own in the cache, so that a further seed trains only what is new.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.hardware import ParallelPlan, parallel_plan, usable_cores
from medcompare.data.sources.listing import count
from medcompare.data.split import random_split
from medcompare.models.zoo import PROBE, find_model
from medcompare.predictions.join import scored_cases
from medcompare.stats.shortcuts import beside_random_split
from medcompare.training.identity import (
    SaliencyIdentity,
    images_digest,
    prediction_identity,
    training_identity,
    trial_identity,
)
from medcompare.training.requests import (
    Elsewhere,
    PredictionRequest,
    SaliencyRequest,
    TrainingRequest,
    TrialRequest,
)
from medcompare.training.search import (
    Search,
    best_of,
    searched,
    trial_epochs,
    with_settings,
    words_of_space,
)
from medcompare.training.worker.elsewhere import code_of_work, publish
from tasks.cache import map_cached, run_cached
from tasks.cross_validate import cross_validate
from tasks.folds import fold_splits
from tasks.predict import predict
from tasks.saliency import saliency
from tasks.train import train
from tasks.tune import tune

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from medcompare.config.schema import CompareConfig, EvaluateConfig
    from medcompare.data.records import DatasetManifest, DatasetSplit
    from medcompare.models.spec import ResolvedWeights
    from medcompare.predictions.cases import ScoredCases
    from medcompare.predictions.records import Predictions
    from medcompare.predictions.saliency import SaliencyMaps
    from medcompare.runs.cluster import Cluster
    from medcompare.stats.in_detail import RandomSplit
    from medcompare.stats.records import Assessment, CrossValidation
    from medcompare.training.records import TrainedModel
    from medcompare.training.search import Trial

logger = logging.getLogger("medcompare.tune")
RANDOM = ", random split"


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training that is wanted."""

    model: str
    seed: int
    split: DatasetSplit
    name: str = ""
    """What tells it from the others of its model in lists of tasks, beside its seed."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predictions that are wanted of a trained model."""

    trained: TrainedModel
    split: DatasetSplit
    root: Path | None = None
    """Folder of the images, where it is not that of the main data."""
    name: str = ""


class Trainer:
    """Trains and predicts within one run.

    Parameters
    ----------
    config : CompareConfig
        Settings of the run.
    weights : mapping
        Initial weights by model.
    plan : ParallelPlan
        How trainings share this machine, where there is no `cluster`.
    data_root : Path
        Folder that the images' paths start from.
    cluster : Cluster, optional
        Where they are trained and predict instead.
    """

    def __init__(
        self,
        config: CompareConfig,
        *,
        weights: Mapping[str, ResolvedWeights],
        plan: ParallelPlan,
        data_root: Path,
        cluster: Cluster | None = None,
    ) -> None:
        self._config, self._weights, self._cluster = config, weights, cluster
        self.plan = plan
        """How trainings share the machines."""
        self._store = ArtifactStore(config.store)
        self.settings = config.train
        """How models are trained: as configured, with what `tune` has found."""
        self.searches: tuple[Search, ...] = ()
        self.places = {"data_root": data_root.resolve(), "store_root": config.store.resolve()}
        """Folders of this machine."""
        self._sharing: dict[str, Any] = {
            "n_parallel": plan.n_parallel,
            "n_threads": plan.n_threads,
            "n_gpus": plan.n_gpus,
        }
        self._elsewhere = None
        self._published: set[str] = set()
        if cluster is not None:
            self.plan = ParallelPlan(
                n_parallel=cluster.n_slots,
                n_threads=cluster.n_threads or 1,
                n_gpus=cluster.n_gpus,
                n_devices=config.train.devices,
            )
            self._sharing = {"n_parallel": cluster.n_per_machine, "n_threads": cluster.n_threads}
            self._elsewhere = Elsewhere(
                shared_store=config.shared_store, file_access=config.file_access, code=code_of_work()
            )

    def _sent(self, split: DatasetSplit, root: Path) -> None:
        """Copy what the workers of a cluster need of `split` to their bucket, once."""
        if self._cluster is not None and split.assignments.sha256 not in self._published:
            publish(self._config.store, split, root, self._weights.values())
            self._published.add(split.assignments.sha256)

    def announcement(self, split: DatasetSplit) -> str:
        """What is going to be trained, in one line: so that its time is no surprise."""
        config, n_images = self._config, split.subsets[0].n_images
        seeds = "" if config.seeds == 1 else f", {config.seeds} times as long as with --seeds 1"
        if config.folds:
            more = count(len(config.models) * config.folds * config.fold_repeats, "training")
            seeds += f"; and {more} in {count(config.folds * config.fold_repeats, 'fold')}"
        if config.tune.n_trials:
            trials = count(len(self._tuned) * config.tune.n_trials, "trial")
            epochs = trial_epochs(config.tune, config.train)
            seeds += f"; before them {trials} of hyperparameters, each at most {count(epochs, 'epoch')}"
        more = f", and {len(config.models)} more on a random split" if config.split.random_beside else ""
        places = self._cluster.words if self._cluster else f"{self.plan.n_parallel} at a time"
        if config.train.devices > 1:
            places += f", each on {config.train.devices} devices"
        return (
            f"{count(len(config.models) * config.seeds, 'training')}: {count(len(config.models), 'model')} x "
            f"{count(config.seeds, 'seed')}, each at most {count(config.train.epochs, 'epoch')} of {n_images} "
            f"images{seeds}{more}; {places}"
        )

    @property
    def _tuned(self) -> list[str]:
        """Models that hyperparameters are searched for: a probe has none of them."""
        return [model for model in self._config.models if not model.startswith(PROBE)]

    def tune(self, split: DatasetSplit) -> None:
        """Say what is going to be trained; search hyperparameters where asked for, reusing trials done before.

        A trial knows those before it, so each model does one at a time; different models side by side.
        """
        config, models = self._config, self._tuned
        logger.info("%s", self.announcement(split))
        if not config.tune.n_trials:
            return
        plan, sharing = self.plan, self._sharing
        if self._cluster is None:
            plan = parallel_plan(
                len(models),
                max_parallel=config.train.max_parallel,
                n_cores=usable_cores(),
                n_gpus=plan.n_gpus,
                n_devices=plan.n_devices,
                batch_size=config.train.batch_size,
            )
            sharing = {**sharing, "n_parallel": plan.n_parallel, "n_threads": plan.n_threads}
        self._sent(split, self.places["data_root"])
        epochs = trial_epochs(config.tune, config.train)
        names, images = (
            searched(config.train, models, epochs),
            images_digest(split, self._store, ("train", "val")),
        )
        found: dict[str, tuple[Trial, ...]] = dict.fromkeys(models, ())
        for number in range(1, config.tune.n_trials + 1):
            requests = [
                TrialRequest(
                    model=model,
                    train=config.train.model_copy(update={"epochs": epochs}),
                    split=split,
                    weights=self._weights[model],
                    seed=config.seed,
                    device_index=plan.device_index(position),
                    earlier=found[model],
                    searched=names,
                    pruning=config.tune.pruning,
                    elsewhere=self._elsewhere,
                    **sharing,
                    **self.places,
                )
                for position, model in enumerate(models)
            ]
            jobs = [
                {
                    "model": request.model,
                    "variant": f" trial {number}",
                    "identity": trial_identity(request, images=images, plan=plan),
                    "request": request,
                }
                for request in requests
            ]
            done = map_cached(tune, config.store, jobs, max_workers=plan.n_parallel, cluster=self._cluster)
            for model, trial in zip(models, done, strict=True):
                found[model] += (trial,)
                name = find_model(model).display_name
                logger.info("trial %d of %d of %s: %s", number, config.tune.n_trials, name, trial.words)
        for model, trials in found.items():
            best = best_of(trials, model)
            self.settings = with_settings(self.settings, model, best.number, best.parameters)
            logger.info("%s: trial %d is chosen", find_model(model).display_name, best.number)
            self.searches += (
                Search(
                    model=model,
                    display_name=find_model(model).display_name,
                    trials=trials,
                    chosen=best.number,
                    epochs_allowed=epochs,
                    pruning=config.tune.pruning,
                    seed=config.seed,
                    searched=words_of_space(names, epochs),
                ),
            )

    def train(self, wanted: Iterable[Training]) -> list[TrainedModel]:
        """Trained models, in the order they are wanted; those that were trained before are reused."""
        wanted = list(wanted)
        for one in wanted:
            self._sent(one.split, self.places["data_root"])
        images = {
            sha: images_digest(split, self._store, ("train", "val"))
            for sha, split in {one.split.assignments.sha256: one.split for one in wanted}.items()
        }
        found = map_cached(
            train,
            self._config.store,
            [
                {
                    "model": one.model,
                    "variant": self._variant(one.seed) + one.name,
                    "identity": training_identity(
                        one.model,
                        self.settings,
                        images=images[one.split.assignments.sha256],
                        weights=self._weights[one.model],
                        seed=one.seed,
                        plan=self.plan,
                    ),
                    "request": TrainingRequest(
                        model=one.model,
                        train=self.settings,
                        split=one.split,
                        weights=self._weights[one.model],
                        seed=one.seed,
                        device_index=self.plan.device_index(position),
                        elsewhere=self._elsewhere,
                        **self._sharing,
                        **self.places,
                    ),
                }
                for position, one in enumerate(wanted)
            ],
            max_workers=self.plan.n_parallel,
            cluster=self._cluster,
        )
        # Predictions alone depend on it: a training serves every choice.
        views = {"test_time_augmentation": self._config.train.test_time_augmentation}
        return [one.model_copy(update=views) for one in found]

    def predict(self, wanted: Iterable[Prediction]) -> list[Predictions]:
        """Probabilities of trained models for validation and test images, in the order they are wanted.

        On this machine one after the other, as each takes all its cores.
        """
        jobs: list[dict[str, Any]] = []
        for one in wanted:
            root = one.root or self.places["data_root"]
            self._sent(one.split, root)
            jobs.append(
                {
                    "model": one.trained.model,
                    "variant": self._variant(one.trained.seed) + one.name,
                    "identity": prediction_identity(one.trained, one.split, self.plan),
                    "request": PredictionRequest(
                        trained=one.trained,
                        train=self.settings,
                        split=one.split,
                        elsewhere=self._elsewhere,
                        n_threads=None if self._cluster is None else self._cluster.n_threads,
                        **{**self.places, "data_root": root.resolve()},
                    ),
                }
            )
        if self._cluster is None:
            return [run_cached(predict, self._config.store, **job) for job in jobs]
        return map_cached(predict, self._config.store, jobs, cluster=self._cluster)

    def saliency(
        self, trained: Iterable[TrainedModel], split: DatasetSplit, cases: tuple[str, ...]
    ) -> tuple[SaliencyMaps, ...]:
        """Maps of test `cases` of those `trained` models that have any, where their predictions were made."""
        jobs = [
            {
                "model": one.model,
                "identity": SaliencyIdentity(
                    predictions=prediction_identity(one, split, self.plan), cases=cases
                ),
                "request": SaliencyRequest(
                    trained=one,
                    train=self.settings,
                    split=split,
                    cases=cases,
                    elsewhere=self._elsewhere,
                    n_threads=None if self._cluster is None else self._cluster.n_threads,
                    **self.places,
                ),
            }
            for one in trained
            if cases and find_model(one.model).has_maps(one.image_size_px)
        ]
        return tuple(map_cached(saliency, self._config.store, jobs, cluster=self._cluster))

    def folds(self, split: DatasetSplit, manifest: DatasetManifest) -> tuple[DatasetSplit, ...]:
        """A split per fold, where folds are asked for: the same for every model."""
        config = self._config
        if config.folds is None:
            return ()
        return run_cached(
            fold_splits,
            config.store,
            split=split,
            manifest=manifest,
            n_folds=config.folds,
            n_repeats=config.fold_repeats,
            seed=config.seed,
            store=config.store,
        )

    def cross_validated(
        self, folds: Sequence[DatasetSplit], assessment: Assessment, evaluate: EvaluateConfig
    ) -> CrossValidation:
        """Train every model on every fold, with one seed, and judge it on the images held out there."""
        config = self._config
        wanted = [
            Training(model=model, seed=config.seed, split=fold, name=f" fold {i}")
            for i, fold in enumerate(folds, 1)
            for model in config.models
        ]
        predictions = self.predict(
            Prediction(trained=one, split=asked.split, name=asked.name)
            for one, asked in zip(self.train(wanted), wanted, strict=True)
        )
        n = len(config.models)
        return run_cached(
            cross_validate,
            config.store,
            predictions=tuple(tuple(predictions[i : i + n]) for i in range(0, len(predictions), n)),
            n_train=tuple(fold.subsets[0].n_images for fold in folds),
            pairs=tuple((pair.reference, pair.candidate) for pair in assessment.comparisons),
            n_repeats=config.fold_repeats,
            evaluate=evaluate.model_copy(update={"subgroups": ()}),
            store=config.store,
        )

    def beside_random_split(
        self, test: ScoredCases, split: DatasetSplit, manifest: DatasetManifest
    ) -> tuple[tuple[RandomSplit, ...], str]:
        """What each network would have seemed to reach after a random split by images; and why nothing is known.

        Trains each network once more; scores of this run are in `test`.
        """
        config, seed = self._config, self._config.seed
        found = random_split(split, manifest, seed=seed, store=self._store)
        if found is None:
            return (), (
                "split.random_beside: no patients are known and no copies were found, so that a random split by images "
                "is no other split: nothing was trained for it."
            )
        careless, n_leaked = found
        wanted = [Training(model=model, seed=seed, split=careless, name=RANDOM) for model in config.models]
        predictions = self.predict(
            Prediction(trained=one, split=careless, name=RANDOM) for one in self.train(wanted)
        )
        random = scored_cases(predictions, self._store, "test")
        return beside_random_split(test, random, n_leaked=n_leaked, level=config.evaluate.level), ""

    def _variant(self, seed: int) -> str:
        return f" seed {seed}" if self._config.seeds > 1 else ""
