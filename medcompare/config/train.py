"""Settings of training: the recipe, the options that change it, and what one model may have for itself."""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003 - read by pydantic
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from medcompare.base.errors import ConfigError
from medcompare.config.form import Settings, left_to_preset
from medcompare.models.zoo import check_model_name

AT_COMMAS = re.compile(r",\s*(?![^()]*\))")
"""A comma between transforms, not between the arguments of one."""

Schedule = Literal["constant", "cosine"]


class RecipeOverride(Settings):
    """Hyperparameters of one model that differ from its recipe; None keeps the recipe's."""

    optimizer: Literal["adam", "adamw", "sgd"] | None = Field(default=None, description="Optimizer.")
    learning_rate: float | None = Field(default=None, gt=0, le=10, description="Learning rate.")
    weight_decay: float | None = Field(default=None, ge=0, le=10, description="Weight decay.")
    weights_version: Literal["V1", "V2"] | None = Field(
        default=None, description="Version of the pretrained weights for this model."
    )
    warmup_epochs: int | None = Field(default=None, ge=0, le=100, description="As train.warmup_epochs.")
    schedule: Schedule | None = Field(default=None, description="As train.schedule.")
    frozen_epochs: int | None = Field(default=None, ge=0, le=1000, description="As train.frozen_epochs.")
    backbone_lr_factor: float | None = Field(
        default=None, gt=0, le=1, description="As train.backbone_lr_factor."
    )
    clip_norm: float | None = Field(default=None, gt=0, description="As train.clip_norm.")
    ema_decay: float | None = Field(default=None, gt=0, lt=1, description="As train.ema_decay.")
    label_smoothing: float | None = Field(default=None, ge=0, lt=1, description="As train.label_smoothing.")
    focal_gamma: float | None = Field(default=None, ge=0, le=10, description="As train.focal_gamma.")
    mixup_alpha: float | None = Field(default=None, ge=0, le=10, description="As train.mixup_alpha.")
    crop_scale_min: float | None = Field(default=None, gt=0, le=1, description="As train.crop_scale_min.")
    augmentation: tuple[str, ...] | None = Field(default=None, description="As train.augmentation.")

    @model_validator(mode="before")
    @classmethod
    def _no_budget_of_its_own(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic hands over anything
        for name in values if isinstance(values, dict) else ():
            section = "tune" if name in {"n_trials", "pruning", "tune"} else "train"
            if name not in cls.model_fields and (section == "tune" or name in TrainConfig.model_fields):
                field = section if name == "tune" else f"{section}.{name}"
                msg = (
                    f"{name} is the same for every model, as models with unequal budgets cannot be compared: set "
                    f"{field} for all"
                )
                raise ValueError(msg)
        return values


class TrainConfig(Settings):
    """How the networks are trained; what is left empty follows the preset."""

    image_size_px: int = Field(
        default=224,
        ge=32,
        le=1024,
        description="Side of the square the network sees, pixels.",
        json_schema_extra=left_to_preset("train.image_size_px"),
    )
    resize_px: int | None = Field(
        default=None,
        ge=32,
        le=1200,
        description="Shorter side before the centre crop at test time, pixels; not set: image_size_px x 256/224.",
    )
    epochs: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Most epochs to train.",
        json_schema_extra=left_to_preset("train.epochs"),
    )
    patience: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Stop after so many epochs without a better validation AUC.",
        json_schema_extra=left_to_preset("train.patience"),
    )
    batch_size: int = Field(
        default=32,
        ge=2,
        le=4096,
        description="Images per optimiser step.",
        json_schema_extra=left_to_preset("train.batch_size"),
    )
    crop_scale_min: float = Field(
        default=0.08,
        gt=0,
        le=1,
        description="Smallest share of the image RandomResizedCrop may keep.",
        json_schema_extra=left_to_preset("train.crop_scale_min"),
    )
    augmentation: tuple[str, ...] = Field(
        default=("RandomHorizontalFlip",),
        description="Random changes of training images after the crop, in this order: transforms of torchvision "
        "v2 by name, such as RandomVerticalFlip, RandomRotation(degrees=90) or ColorJitter(brightness=0.2). The report "
        "shows examples.",
    )
    warmup_epochs: int = Field(
        default=0, ge=0, le=100, description="Epochs at first over which the learning rate rises from near 0."
    )
    schedule: Schedule = Field(
        default="constant",
        description="Learning rate after the warm-up: 'constant', or falling to 0 as a 'cosine'.",
    )
    frozen_epochs: int = Field(
        default=0, ge=0, le=1000, description="Epochs at first in which only the new head is trained."
    )
    backbone_lr_factor: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Learning rate of the pretrained layers over that of the new head.",
    )
    clip_norm: float | None = Field(
        default=None, gt=0, description="Largest norm of the gradient of all weights; not set: not limited."
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Evaluate and keep moving averages of the weights, with this decay per step, such as 0.99; not "
        "set: the weights themselves.",
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of every label that is spread over both classes."
    )
    focal_gamma: float = Field(
        default=0.0, ge=0, le=10, description="Exponent of the focal loss; 0 is the cross-entropy."
    )
    mixup_alpha: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Parameter of mixup, such as 0.2: images and labels mixed; 0: not mixed.",
    )
    test_time_augmentation: Literal["none", "hflip", "dihedral"] = Field(
        default="none",
        description="Average the scores of an image and its mirror image ('hflip'), or of all eight of its turns and "
        "mirrors ('dihedral'). Takes 2 or 8 times as long for each image.",
    )
    class_weighting: Literal["balanced", "none"] = Field(
        default="balanced", description="Weights of the cross-entropy, from the training subset."
    )
    initial_weights: Literal["imagenet", "none"] = Field(
        default="imagenet",
        description="'imagenet': pretrained, the run stops where they cannot be had; "
        "'none': random initialisation, said on page one of the report.",
        json_schema_extra=left_to_preset("train.initial_weights"),
    )
    weights_version: Literal["V1", "V2"] = Field(
        default="V1", description="Version of the pretrained weights, as torchvision names them."
    )
    weights_dir: Path | None = Field(
        default=None, description="Folder searched first for pretrained weight files."
    )
    precision: Literal["auto", "same", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="'same': bfloat16 where the hardware has it natively, float16 on other GPUs, else float32; 'auto': "
        "for each network what is fastest on this hardware, measured before a long training. Predictions are always "
        "float32.",
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Compile the training steps of a network with torch.compile, which takes one to five minutes and a "
        "C++ compiler (on a GPU: triton). 'auto': where a training is long enough for that, and is measured to gain. "
        "Validation and predictions are never compiled.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="Device; 'auto': cuda, then mps, then cpu."
    )
    devices: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Devices that train each network together, each with its part of every batch: GPUs of one machine, "
        "or processes where the device is 'cpu'.",
    )
    max_parallel: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Trainings side by side; not set: as many as there are GPUs for; on a CPU few one after the other, "
        "each with all cores, and many side by side.",
    )
    num_workers: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="Data-loading processes per training; not set, or 'auto': by cores and device. The history does "
        "not depend on it.",
    )
    cache_gb: float = Field(
        default=20,
        ge=0,
        description="Most disk for decoded images below the store, gigabytes; 0: decoded again in every epoch. The "
        "history does not depend on it.",
    )
    timeout_minutes: float | None = Field(
        default=None, gt=0, description="Longest time one training may take, minutes; not set: no limit."
    )
    checkpoint_every_s: float = Field(
        default=300.0,
        ge=0,
        description="Save the state of a running training so often, seconds; one that is killed goes on from there. "
        "The result does not depend on it.",
    )
    recipes: dict[str, RecipeOverride] = Field(
        default={},
        description="Per model: hyperparameters that differ from its recipe, "
        'e.g. {"resnet50": {"learning_rate": 0.0001}}.',
    )

    @field_validator("recipes")
    @classmethod
    def _known_recipes(cls, value: dict[str, RecipeOverride]) -> dict[str, RecipeOverride]:
        for name in value:
            known_model(name)
        return dict(sorted(value.items()))

    @model_validator(mode="after")
    def _resize_not_smaller(self) -> Self:
        if self.resize_px is not None and self.resize_px < self.image_size_px:
            msg = (
                f"resize_px ({self.resize_px}) must not be smaller than image_size_px ({self.image_size_px})"
            )
            raise ValueError(msg)
        return self

    @field_validator("num_workers", mode="before")
    @classmethod
    def _automatic(cls, value: object) -> object:
        return None if value == "auto" else value

    @field_validator("augmentation", mode="before")
    @classmethod
    def _one_text(cls, value: object) -> object:
        return AT_COMMAS.split(value) if isinstance(value, str) else value

    def for_model(self, model: str) -> Self:
        """These settings with what `recipes` says of `model` laid on top."""
        override = self.recipes.get(model)
        given = {} if override is None else override.model_dump(exclude_none=True)
        return self.model_copy(update={name: given[name] for name in given if name in PER_MODEL})


class TuneConfig(Settings):
    """The search for hyperparameters before the trainings, the same for every model; without trials there is none."""

    n_trials: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Trials of each model, the first with its recipe as it is; 0: no search.",
        json_schema_extra=left_to_preset("tune.n_trials"),
    )
    epochs: int = Field(
        default=8, ge=1, le=1000, description="Most epochs of a trial, and not more than train.epochs."
    )
    pruning: Literal["median", "none"] = Field(
        default="median",
        description="'median': end a trial that is worse than the median of the earlier ones at the same epoch, from "
        "the third epoch on and once five came to their end; 'none': end none early.",
    )

    @field_validator("n_trials")
    @classmethod
    def _more_than_the_recipe(cls, value: int) -> int:
        if value == 1:
            msg = "1 trial searches nothing, as the first is the recipe itself: set 2 or more, or 0 for no search"
            raise ValueError(msg)
        return value

    @model_validator(mode="before")
    @classmethod
    def _no_model_of_its_own(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic hands over anything
        for name, value in values.items() if isinstance(values, dict) else ():
            if name not in cls.model_fields and isinstance(value, dict):
                inner = next(iter(value), "n_trials")
                msg = (
                    f"{name}.{inner}: the search is the same for every model, as models with unequal budgets cannot "
                    f"be compared: set tune.{inner if inner in cls.model_fields else 'n_trials'} for all"
                )
                raise ValueError(msg)
        return values


PER_MODEL = set(RecipeOverride.model_fields) & set(TrainConfig.model_fields) - {"weights_version"}
"""Settings of training that one model may have for itself."""

_CALL = re.compile(r"[A-Z][A-Za-z0-9]*(\(.*\))?")


def check_options(train: TrainConfig) -> None:
    """Raise a ValueError where options of `train`, or of one model in it, cannot go together."""
    for model in ("", *train.recipes):
        problem = _contradiction(train.for_model(model))
        if problem:
            msg = f"train.recipes.{model}: {problem}" if model else f"train.{problem}"
            raise ValueError(msg)


def too_long(options: TrainConfig, epochs: int) -> list[str]:
    """Options that leave a training of so many `epochs` none of the ordinary kind."""
    return [name for name in ("frozen_epochs", "warmup_epochs") if 0 < getattr(options, name) >= epochs]


def _contradiction(train: TrainConfig) -> str:
    if train.devices > train.batch_size:
        return f"devices ({train.devices}) must not be more than batch_size ({train.batch_size}), or some have no image"
    if train.devices > 1 and train.compile == "on":
        return (
            f"compile must be 'auto' or 'off' with {train.devices} devices, which are trained on uncompiled"
        )
    if train.devices > 1 and train.device == "mps":
        return "devices must be 1 with device 'mps', of which a machine has one"
    if train.focal_gamma and (train.mixup_alpha or train.label_smoothing):
        other = "mixup_alpha" if train.mixup_alpha else "label_smoothing"
        return f"focal_gamma and {other} exclude each other, as the focal loss is that of whole labels: set one to 0"
    if train.frozen_epochs and train.initial_weights == "none":
        return "frozen_epochs needs pretrained weights: what starts at random would stay so. Set it to 0"
    for name in too_long(train, train.epochs):
        return f"{name} ({getattr(train, name)}) must be smaller than epochs ({train.epochs})"
    for step in train.augmentation:
        if not _CALL.fullmatch(step):
            return f"augmentation: '{step}' is no transform; write a name such as RandomRotation(degrees=90)"
    return ""


def known_model(name: str) -> None:
    """Raise the ValueError that pydantic wants where there can be no network called `name`."""
    try:
        check_model_name(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
