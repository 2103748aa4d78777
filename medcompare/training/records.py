"""What a training leaves behind."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from medcompare.base.language import message, t
from medcompare.base.phrase import Phrase
from medcompare.base.record import Artifact, Record
from medcompare.models.spec import InitialWeights

VIEWS = {
    "none": "",
    "hflip": message(", scores averaged over each image and its mirror image"),
    "dihedral": message(", scores averaged over eight turns and mirrors of each image"),
}
"""What is averaged, by ``train.test_time_augmentation``."""


class EpochLog(Record):
    """One epoch of training."""

    epoch: int = Field(ge=1)
    learning_rate: float = Field(description="Of the head, at the start of the epoch.")
    train_loss: float
    val_loss: float
    val_auc: float | None = Field(description="None where the subset has one class only.")
    val_balanced_accuracy: float
    images_per_s: float
    elapsed_s: float
    sample_loss_training_mode: float | None = Field(
        default=None,
        description="Loss of the sample, each image normalised within its batch; None without batch normalisation.",
    )
    sample_loss: float | None = Field(
        default=None,
        description="Loss of the same images in evaluation mode, statistics re-measured; this and the next three are "
        "of the epoch that is kept alone.",
    )
    sample_loss_running: float | None = Field(
        default=None, description="The same with the library's running statistics; None: not finite."
    )
    val_loss_running: float | None = None
    val_auc_running: float | None = None
    remeasuring_s: float = Field(default=0.0, description="Time of re-measuring the batch statistics.")
    comparison_s: float = Field(
        default=0.0, description="Time of the figures that show what re-measuring changed."
    )


class BatchNormFacts(Record):
    """How a network's batch statistics came about."""

    n_layers: int = Field(ge=1)
    momenta: tuple[float, ...] = Field(
        description="Weight of each new batch in the library's running statistics."
    )
    n_sample_images: int = Field(ge=2, description="Training images the statistics were measured on.")
    n_compared_images: int = Field(
        ge=2, description="Of these, images whose losses in training and evaluation mode are compared."
    )


WhyCompiled = Literal["set", "rule", "no compiler", "short", "failed", "measured"]
"""What decided whether a network was compiled: the setting; that no single device trains it in steps; that there is no
compiler; that the training is short beside compiling; that torch could not; or the measured speed."""


class StepSpeed(Record):
    """Training steps in one precision and memory layout, on noise."""

    precision: Literal["float32", "bfloat16", "float16"]
    memory_format: Literal["contiguous", "channels_last"]
    compiled: bool = False
    compile_s: float = Field(default=0.0, description="Time of compiling, where no kernel was kept.")
    first_s: float = Field(description="Time of the first step, which may build kernels.")
    images_per_s: float = Field(gt=0, description="Median of the steps after it.")


class TrainedModel(Record):
    """A finished training: its best checkpoint and how it came about."""

    model: str
    display_name: str
    checkpoint: Artifact
    history: tuple[EpochLog, ...]
    best_epoch: int
    selection: str = Field(description="How the checkpoint was chosen, in plain words, as in the catalogue.")
    probe: bool = Field(
        default=False, description="Whether only a linear head was fitted, on frozen features."
    )
    preview: Artifact | None = Field(
        default=None, description="Contact sheet of augmented training images, PNG."
    )
    stopped_early: bool
    initial_weights: InitialWeights
    optimizer: Phrase = Field(description="e.g. 'Adam, learning rate 1e-05, weight decay 0'.")
    options: tuple[Phrase, ...] = Field(
        default=(), description="What is on besides, e.g. 'mixup, alpha 0.2'."
    )
    class_weights: tuple[float, float]
    image_size_px: int
    resize_px: int
    transforms: Phrase | None = Field(
        default=None, description="How an image becomes an input: interpolation, mean, SD."
    )
    batch_size: int
    images_at_once: int | None = Field(
        default=None,
        description="Images of one pass, on each device, where memory ran out for a whole batch, whose gradient was "
        "added up from several passes; None: whole batches.",
    )
    n_parameters: int
    precision: Literal["float32", "bfloat16", "float16"]
    memory_format: Literal["contiguous", "channels_last"]
    compiled: bool = Field(default=False, description="Whether whole batches were for compiled kernels.")
    why_compiled: WhyCompiled = Field(default="set", description="What decided that.")
    speeds: tuple[StepSpeed, ...] = Field(
        default=(),
        description="What precision, memory layout and compiling were chosen from; empty: set, or by rule.",
    )
    device: str
    n_devices: int = Field(
        default=1, description="Of this kind, each with a process and a copy of the network."
    )
    n_threads: int = Field(description="Of each process.")
    n_parallel: int = Field(description="Trainings that ran side by side, this one included.")
    seed: int
    test_time_augmentation: Literal["none", "hflip", "dihedral"] = Field(
        default="none",
        description="Views of each image whose scores are averaged; of its predictions, not of the training.",
    )
    n_images_seen: int
    elapsed_s: float
    batch_norm: BatchNormFacts | None = Field(
        default=None,
        description="None: no batch normalisation that was trained, so that nothing was re-measured.",
    )

    @property
    def recipe(self) -> str:
        """Optimiser and options in words, with those of its predictions."""
        options = ", ".join(map(str, self.options))
        words = f"{self.optimizer}; {options}" if options else str(self.optimizer)
        return words + t(VIEWS[self.test_time_augmentation])

    @property
    def hardware(self) -> str:
        """Its devices in words, such as ``2 x NVIDIA A100``."""
        return self.device if self.n_devices == 1 else f"{self.n_devices} x {self.device}"

    @property
    def log_odds_shift(self) -> float:
        """What the class weights added to the log-odds of the positive class."""
        negative, positive = self.class_weights
        return math.log(positive / negative)

    @property
    def kept(self) -> EpochLog:
        """The epoch whose checkpoint was kept."""
        return self.history[self.best_epoch - 1]
