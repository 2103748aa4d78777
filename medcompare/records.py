"""Records: everything that crosses a stage boundary, small, frozen and JSON-clean.

Tables and tensors stay on disk in the artifact store; a record carries an
`Artifact`, a digest-verified reference. Undefined numbers are ``None``, never NaN.
The records of the statistics stand in `medcompare.stats.records`.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Subset = Literal["train", "val", "test"]
SUBSETS: tuple[Subset, ...] = ("train", "val", "test")

NEGATIVE, POSITIVE = 0, 1
"""Label ids used everywhere: index into ``classes``; the positive class is last."""


class Record(BaseModel):
    """Base of all records: frozen, no unknown fields, numpy scalars become plain numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(Record):
    """Reference to a content-addressed file in the artifact store."""

    path: str = Field(description="Path relative to the store, with forward slashes.")
    sha256: str = Field(min_length=64, max_length=64)
    n_bytes: int = Field(ge=0)


class DatasetManifest(Record):
    """What ingest found: the usable images and what was set aside, and why.

    ``images`` is a CSV with columns ``case_id, path, label, patient_id, sha256,
    width_px, height_px, mode`` and any further columns of the user's manifest;
    ``label`` is 0 (negative) or 1 (positive); ``path`` is relative to ``root``;
    ``case_id`` is the pseudonym used in reports, derived from the content digest.
    ``rejected`` is a CSV with columns ``path, label, reason, detail``.
    """

    name: str = Field(description="Short name of the data set, for titles and run names.")
    synthetic: bool = Field(description="Generated demonstration data, not real images.")
    classes: tuple[str, str] = Field(description="(negative, positive) class names.")
    class_counts: tuple[int, int]
    n_found: int = Field(ge=0, description="Files found (or manifest rows).")
    n_images: int = Field(ge=0, description="Usable images.")
    n_patients: int | None = Field(description="None where no patient_id was given.")
    n_rejected: int = Field(ge=0)
    rejected_by_reason: tuple[tuple[str, int], ...] = Field(description="Sorted by reason.")
    n_duplicate_groups: int = Field(ge=0, description="Groups of byte-identical files found.")
    n_conflicting_groups: int = Field(
        ge=0, description="Of these, groups with opposite labels: set aside whole."
    )
    image_sizes: tuple[tuple[str, int], ...] = Field(
        description="('224x224', count), most frequent first, at most ten."
    )
    extra_columns: tuple[str, ...] = Field(description="Further manifest columns, for subgroups.")
    warnings: tuple[str, ...] = ()
    fingerprint: str = Field(description="SHA-256 over content digests and labels, order-free.")
    images: Artifact
    rejected: Artifact
    twins: Artifact | None = Field(
        default=None,
        description="CSV 'sha256, pixel_sha256' of files that differ in bytes but not in pixels: "
        "the split keeps them together. None where there are none.",
    )

    @model_validator(mode="after")
    def _counts_add_up(self) -> Self:
        if sum(self.class_counts) != self.n_images:
            msg = f"class_counts {self.class_counts} do not add up to n_images {self.n_images}"
            raise ValueError(msg)
        if self.n_images + self.n_rejected != self.n_found:
            msg = f"{self.n_images} usable + {self.n_rejected} rejected != {self.n_found} found"
            raise ValueError(msg)
        return self


class SubsetSummary(Record):
    """What one subset of the split holds."""

    subset: Subset
    n_images: int = Field(ge=0)
    class_counts: tuple[int, int]
    n_patients: int | None = None
    patients_by_class: tuple[int, int] | None = Field(
        default=None, description="Patients with at least one image of the class."
    )
    fraction: float = Field(ge=0, le=1, description="Achieved share of all images.")
    target_fraction: float = Field(ge=0, le=1)
    positive_fraction: float | None = Field(default=None, ge=0, le=1)


class DatasetSplit(Record):
    """The partition. ``assignments`` is a CSV: the manifest's columns plus ``subset``."""

    assignments: Artifact
    subsets: tuple[SubsetSummary, SubsetSummary, SubsetSummary]
    classes: tuple[str, str]
    method: str = Field(description="Plain-words description, printed in the report.")
    grouped_by: Literal["patient_id"] | None
    max_group_overlap: int = Field(
        ge=0, le=0, description="Patients on two sides, verified after the split: always 0."
    )
    n_duplicates_kept_together: int = Field(ge=0)
    seed: int
    notes: tuple[str, ...] = ()
    manifest_fingerprint: str


class EpochLog(Record):
    """One epoch of training."""

    epoch: int = Field(ge=1)
    learning_rate: float
    train_loss: float
    val_loss: float
    val_auc: float | None = Field(description="None where the subset has one class only.")
    val_balanced_accuracy: float
    images_per_s: float
    elapsed_s: float


class InitialWeights(Record):
    """Where a network's starting weights came from."""

    kind: Literal["imagenet", "none"]
    name: str = Field(description="e.g. 'ResNet50_Weights.IMAGENET1K_V1' or 'random initialisation'.")
    vintage: str | None = Field(description="V1 or V2; None for random initialisation.")
    sha256: str | None = None
    source: str | None = Field(default=None, description="weights-dir, hub cache or download.")


class TrainedModel(Record):
    """A finished training: its best checkpoint and how it came about."""

    model: str
    display_name: str
    checkpoint: Artifact
    history: tuple[EpochLog, ...]
    best_epoch: int
    selection: str = Field(description="How the checkpoint was chosen, in plain words.")
    stopped_early: bool
    initial_weights: InitialWeights
    optimizer: str = Field(description="e.g. 'Adam, learning rate 1e-05, weight decay 0'.")
    class_weights: tuple[float, float]
    image_size_px: int
    resize_px: int
    batch_size: int
    n_parameters: int
    precision: Literal["float32", "bfloat16"]
    memory_format: Literal["contiguous", "channels_last"]
    device: str
    n_threads: int
    n_parallel: int = Field(description="Trainings that ran side by side, this one included.")
    seed: int
    n_images_seen: int
    elapsed_s: float


class Predictions(Record):
    """Probabilities of one model on validation and test subsets.

    ``table`` is a CSV with columns ``case_id, y_true, patient_id, subset,
    probability`` (of the positive class) and the manifest's further columns, at full
    floating-point precision, sorted by subset and case_id.
    """

    model: str
    display_name: str
    classes: tuple[str, str]
    table: Artifact
    n_val: int
    n_test: int
    checkpoint_sha256: str
    elapsed_s: float


class CostMeasurement(Record):
    """What one model costs, measured alone on a named device."""

    model: str
    n_parameters: int | None = None
    flops: int | None = Field(default=None, description="Per image, one forward pass; 2 x MACs.")
    checkpoint_bytes: int | None = None
    latency_ms_median: float | None = Field(default=None, description="Per image, batch 1.")
    latency_ms_median_ci: tuple[float, float] | None = Field(
        default=None, description="95 % interval of the median (order statistics)."
    )
    latency_ms_p95: float | None = None
    throughput_images_per_s: float | None = Field(default=None, description="At throughput_batch.")
    throughput_batch: int | None = None
    peak_memory_bytes: int | None = Field(
        default=None, description="Peak of the measuring process (CPU) or of the allocator (GPU)."
    )
    training_images_per_s: float | None = Field(default=None, description="Measured alone.")
    training_time_s: float | None = Field(
        default=None, description="Wall time of the training as it ran (see training_conditions)."
    )
    training_conditions: str | None = None
    image_size_px: int | None = None
    n_repeats: int | None = None
    n_threads: int | None = None
    precision: str | None = None
    device: str | None = None
    other_load_cores: float | None = Field(
        default=None,
        ge=0,
        description="Processor cores that other programs kept busy meanwhile, which makes times longer: mean over "
        "inference or over the training steps, whichever is larger.",
    )


class Provenance(Record):
    """What is needed to repeat a run."""

    medcompare_version: str
    code_commit: str | None
    code_dirty: bool | None
    versions: tuple[tuple[str, str], ...]
    python: str
    platform: str
    cpu: str
    n_cores: int
    memory_bytes: int
    gpu: str | None
    started_at: str = Field(description="UTC, ISO 8601.")
    finished_at: str
    command: str = Field(description="How the run was started, without secrets.")
    config_sha256: str
