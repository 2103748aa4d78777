"""The images of one training: those it learns from, is judged by, and measures batch statistics on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from medcompare.base.errors import DataError
from medcompare.data.assignments import rows_of
from medcompare.training.augmentation import augmentations
from medcompare.training.dataset import BatchLoader, EvaluationImages, TrainingImages, loaders_of
from medcompare.training.transforms import STREAM_SAMPLE, evaluation_resize_px, random_stream

if TYPE_CHECKING:
    import torch

    from medcompare.data.assignments import ImageRow
    from medcompare.models.spec import ModelSpec
    from medcompare.training.requests import TrainingRequest

MIN_TRAINING_IMAGES = 2
SAMPLE_IMAGES = 512
"""At most so many training images batch statistics are measured on; docs/batch-statistics.md has the measurement."""


class Subsets(NamedTuple):
    """Loaders of one training."""

    training: BatchLoader
    validation: BatchLoader
    sample: BatchLoader
    """Training images without augmentation."""


def subsets_of(
    rows: list[ImageRow], request: TrainingRequest, spec: ModelSpec, device: torch.device
) -> Subsets:
    """Loaders of the images in `rows`.

    Raises
    ------
    DataError
        If there are too few images to learn from.
    """
    train = request.train.for_model(request.model)
    rows_of_training = rows_of(rows, "train")
    sampled = random_stream(request.seed, STREAM_SAMPLE).permutation(len(rows_of_training))
    validation_images, sample_images = (
        EvaluationImages(
            chosen,
            request.data_root,
            size_px=train.image_size_px,
            resize_px=evaluation_resize_px(train.image_size_px, train.resize_px, spec.crop_pct),
            interpolation=spec.interpolation,
        )
        for chosen in (
            rows_of(rows, "val"),
            # A probe is fitted on all of them.
            [rows_of_training[i] for i in sampled[: None if spec.probe else SAMPLE_IMAGES]],
        )
    )
    training_images = TrainingImages(
        rows_of_training,
        request.data_root,
        size_px=train.image_size_px,
        crop_scale_min=train.crop_scale_min,
        augmentations=augmentations(train, train.image_size_px, spec.interpolation),
        seed=request.seed,
    )
    if len(training_images) < MIN_TRAINING_IMAGES:
        n_images = len(training_images)
        msg = (
            f"the training subset holds too few images, {n_images}; at least {MIN_TRAINING_IMAGES} are needed"
        )
        raise DataError(msg)
    training, validation, sample = loaders_of(
        (training_images, validation_images, sample_images),
        train,
        device,
        store=request.store_root,
        batch_size=train.batch_size,
        n_parallel=request.n_parallel * (request.rank.n if request.rank else 1),
    )
    # The same few images several times in each epoch: read by this process.
    return Subsets(training, validation, BatchLoader(sample.images, batch_size=sample.batch_size))
