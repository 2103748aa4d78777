"""The trainings of a comparison: which there are, and how they are run and predicted with.

A training is identified by its model, its seed, the images it sees and how it is trained; each is a
task of its own in the cache, so that a further seed trains only what is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medcompare.base.artifacts import ArtifactStore
from medcompare.data.sources.listing import count
from medcompare.data.split import random_split
from medcompare.predictions.join import scored_cases
from medcompare.stats.shortcuts import beside_random_split
from medcompare.training.identity import images_digest, prediction_identity, training_identity
from medcompare.training.requests import PredictionRequest, TrainingRequest
from tasks.cache import map_cached, run_cached
from tasks.folds import cross_validate, fold_splits
from tasks.predict import predict
from tasks.train import train

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from medcompare.base.hardware import ParallelPlan
    from medcompare.config.schema import CompareConfig, EvaluateConfig
    from medcompare.data.records import DatasetManifest, DatasetSplit
    from medcompare.models.spec import ResolvedWeights
    from medcompare.predictions.cases import ScoredCases
    from medcompare.predictions.records import Predictions
    from medcompare.stats.records import Assessment, CrossValidation, RandomSplit
    from medcompare.training.records import TrainedModel

RANDOM = ", random split"


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training that is wanted."""

    model: str
    seed: int
    split: DatasetSplit
    name: str = ""
    """What tells it from the others of its model in lists of tasks, beside its seed."""


class Trainer:
    """Trains and predicts within one run.

    Parameters
    ----------
    config : CompareConfig
        Settings of the run.
    weights : mapping
        Initial weights by model.
    plan : ParallelPlan
        How trainings share the machine.
    data_root : Path
        Folder that the images' paths start from.
    """

    def __init__(
        self,
        config: CompareConfig,
        *,
        weights: Mapping[str, ResolvedWeights],
        plan: ParallelPlan,
        data_root: Path,
    ) -> None:
        self._config, self._weights, self._plan = config, weights, plan
        self._store = ArtifactStore(config.store)
        self.places = {"data_root": data_root, "store_root": config.store}

    def announcement(self, split: DatasetSplit) -> str:
        """What is going to be trained, in one line: so that its time is no surprise."""
        config, n_images = self._config, split.subsets[0].n_images
        seeds = "" if config.seeds == 1 else f", {config.seeds} times as long as with --seeds 1"
        if config.folds:
            more = count(len(config.models) * config.folds * config.fold_repeats, "training")
            seeds += f"; and {more} in {count(config.folds * config.fold_repeats, 'fold')}"
        more = f", and {len(config.models)} more on a random split" if config.split.random_beside else ""
        return (
            f"{count(len(config.models) * config.seeds, 'training')}: {count(len(config.models), 'model')} x "
            f"{count(config.seeds, 'seed')}, each at most {count(config.train.epochs, 'epoch')} of {n_images} "
            f"images{seeds}{more}; {self._plan.n_parallel} at a time"
        )

    def train(self, wanted: Iterable[Training]) -> list[TrainedModel]:
        """Trained models, in the order they are wanted; those that were trained before are reused."""
        wanted = list(wanted)
        images = {
            sha: images_digest(split, self._store, ("train", "val"))
            for sha, split in {one.split.assignments.sha256: one.split for one in wanted}.items()
        }
        return map_cached(
            train,
            self._config.store,
            [
                {
                    "model": one.model,
                    "variant": self._variant(one.seed) + one.name,
                    "identity": training_identity(
                        one.model,
                        self._config.train,
                        images=images[one.split.assignments.sha256],
                        weights=self._weights[one.model],
                        seed=one.seed,
                        plan=self._plan,
                    ),
                    "request": TrainingRequest(
                        model=one.model,
                        train=self._config.train,
                        split=one.split,
                        weights=self._weights[one.model],
                        seed=one.seed,
                        n_parallel=self._plan.n_parallel,
                        n_threads=self._plan.n_threads,
                        device_index=self._plan.device_index(position),
                        **self.places,
                    ),
                }
                for position, one in enumerate(wanted)
            ],
            max_workers=self._plan.n_parallel,
        )

    def predict(
        self, trained: TrainedModel, split: DatasetSplit, *, root: Path | None = None, name: str = ""
    ) -> Predictions:
        """Probabilities of a trained model for the validation and test images of `split`, which lie in `root`."""
        places = self.places if root is None else {**self.places, "data_root": root}
        return run_cached(
            predict,
            self._config.store,
            model=trained.model,
            variant=self._variant(trained.seed) + name,
            identity=prediction_identity(trained, split, self._plan),
            request=PredictionRequest(trained=trained, train=self._config.train, split=split, **places),
        )

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
        predictions = [
            self.predict(one, asked.split, name=asked.name)
            for one, asked in zip(self.train(wanted), wanted, strict=True)
        ]
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
        predictions = [self.predict(one, careless, name=RANDOM) for one in self.train(wanted)]
        random = scored_cases(predictions, self._store, "test")
        return beside_random_split(test, random, n_leaked=n_leaked, level=config.evaluate.level), ""

    def _variant(self, seed: int) -> str:
        return f" seed {seed}" if self._config.seeds > 1 else ""
