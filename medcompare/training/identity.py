"""What identifies the result of a stage: small records that cache keys are made from.

Only what can change the answer stands here. Folders, thread counts, time limits and the
other models' settings do not; of the images, a training sees the training and validation
subsets alone (a changed test image retrains only where the split is drawn, which goes by the contents).
"""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING, Literal

from medcompare.base.devices import MemoryFormat, native_bfloat16_on_cpu
from medcompare.base.hardware import cpu_name
from medcompare.base.record import Record

if TYPE_CHECKING:
    from medcompare.base.artifacts import ArtifactStore
    from medcompare.base.hardware import ParallelPlan
    from medcompare.base.record import Subset
    from medcompare.config.schema import CostConfig
    from medcompare.config.train import TrainConfig
    from medcompare.data.records import DatasetSplit
    from medcompare.models.spec import ResolvedWeights
    from medcompare.training.records import TrainedModel
    from medcompare.training.requests import TrialRequest

NOT_IDENTITY = {
    "weights_dir",
    "weights_version",
    "max_parallel",
    "num_workers",
    "timeout_minutes",
    "checkpoint_every_s",
    "cache_gb",
    "recipes",
    "device",
    "test_time_augmentation",
}
"""Fields of `TrainConfig` that cannot change a training's result, are resolved below, or change predictions alone."""


class TrainingIdentity(Record):
    """Everything a training's result depends on, but its code."""

    settings: str
    override: str
    images: str
    weights: str
    seed: int
    device: Literal["cpu", "accelerator"]
    native_bfloat16: bool


class TrialIdentity(Record):
    """Everything the result of a trial depends on, but its code."""

    training: TrainingIdentity
    earlier: str
    searched: tuple[str, ...]
    pruning: Literal["median", "none"]


class PredictionIdentity(Record):
    """Everything predictions depend on, but their code."""

    checkpoint: str
    images: str
    classes: tuple[str, str]
    image_size_px: int
    resize_px: int
    class_weights: tuple[float, float]
    batch_size: int
    test_time_augmentation: str
    memory_format: MemoryFormat
    device: Literal["cpu", "accelerator"]
    seed: int


class SaliencyIdentity(Record):
    """Everything maps depend on, but their code."""

    predictions: PredictionIdentity
    cases: tuple[str, ...]


class CostIdentity(Record):
    """Everything a cost measurement depends on, but its code.

    The training's record counts whole: the cost repeats how long the training took.
    """

    trained: str
    settings: str
    machine: str


def images_digest(split: DatasetSplit, store: ArtifactStore, subsets: tuple[Subset, ...]) -> str:
    """Digest of the images of `subsets`: content, range of grey levels, label and subset, free of order and place."""
    table = csv.DictReader(io.StringIO(store.read(split.assignments).decode("utf-8")))
    rows = sorted(
        f"{row['sha256']} {row['label']} {row['subset']} {row['case_id']} {row.get('grey_range') or ''}"
        for row in table
        if row["subset"] in subsets
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def device_kind(plan: ParallelPlan) -> Literal["cpu", "accelerator"]:
    """What kind of device the trainings of `plan` use."""
    return "accelerator" if plan.n_gpus else "cpu"


def training_identity(
    model: str,
    train: TrainConfig,
    *,
    images: str,
    weights: ResolvedWeights,
    seed: int,
    plan: ParallelPlan,
) -> TrainingIdentity:
    """Identity of the training of `model` on images of the digest `images`."""
    override = train.recipes.get(model)
    return TrainingIdentity(
        settings=train.model_dump_json(exclude=NOT_IDENTITY),
        override=override.model_dump_json(exclude={"weights_version"}) if override else "",
        images=images,
        weights=weights.identity,
        seed=seed,
        device=device_kind(plan),
        native_bfloat16=native_bfloat16_on_cpu() and train.precision in {"auto", "same"},
    )


def trial_identity(request: TrialRequest, *, images: str, plan: ParallelPlan) -> TrialIdentity:
    """Identity of a trial on images of the digest `images`: of the earlier trials all but how long they took."""
    earlier = [one.model_dump_json(exclude={"elapsed_s", "device"}) for one in request.earlier]
    return TrialIdentity(
        training=training_identity(
            request.model, request.train, images=images, weights=request.weights, seed=request.seed, plan=plan
        ),
        earlier=hashlib.sha256("\n".join(earlier).encode()).hexdigest(),
        searched=request.searched,
        pruning=request.pruning,
    )


def prediction_identity(trained: TrainedModel, split: DatasetSplit, plan: ParallelPlan) -> PredictionIdentity:
    """Identity of the predictions of `trained` on the images of `split`."""
    return PredictionIdentity(
        checkpoint=trained.checkpoint.sha256,
        images=split.assignments.sha256,
        classes=split.classes,
        image_size_px=trained.image_size_px,
        resize_px=trained.resize_px,
        class_weights=trained.class_weights,
        batch_size=trained.batch_size,
        test_time_augmentation=trained.test_time_augmentation,
        memory_format=trained.memory_format,
        device=device_kind(plan),
        seed=trained.seed,
    )


def cost_identity(trained: TrainedModel, cost: CostConfig, plan: ParallelPlan) -> CostIdentity:
    """Identity of the cost of `trained` on this machine."""
    return CostIdentity(
        trained=hashlib.sha256(trained.model_dump_json().encode()).hexdigest(),
        settings=cost.model_dump_json(exclude={"fresh", "price_per_hour", "price_per_kwh", "currency"}),
        machine=f"{cpu_name()} {device_kind(plan)} {trained.device} {plan.n_parallel * plan.n_threads}",
    )
