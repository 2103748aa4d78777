"""What is known of the images: those found, and how they are split."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medcompare.base.record import Artifact, Record, Subset

PUBLISHED = "published_subset"
"""Column of the table of images that holds the subset of each in a split that came with them."""

ORIGINAL = "original_class"
"""Column of the class that an image had before classes were put together."""


class DatasetManifest(Record):
    """What ingest found: the usable images and what was excluded, and why.

    ``images`` is a CSV with columns ``case_id, path, label, patient_id, sha256,
    width_px, height_px, mode, grey_range`` and any further columns of the user's manifest;
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
    n_patients_found: int | None = Field(
        default=None, description="Patients of the files found, usable or not; None where that is not known."
    )
    n_rejected: int = Field(ge=0)
    rejected_by_reason: tuple[tuple[str, int], ...] = Field(description="Sorted by reason.")
    n_duplicate_groups: int = Field(ge=0, description="Groups of byte-identical files found.")
    n_conflicting_groups: int = Field(
        ge=0, description="Of these, groups with opposite labels: excluded entirely."
    )
    image_sizes: tuple[tuple[str, int], ...] = Field(
        description="('224x224', count), most frequent first, at most ten."
    )
    extra_columns: tuple[str, ...] = Field(description="Further manifest columns, for subgroups.")
    warnings: tuple[str, ...] = ()
    fingerprint: str = Field(description="SHA-256 over content digests and labels, order-free.")
    images: Artifact
    rejected: Artifact
    copies_by_kind: tuple[tuple[str, int, int], ...] = Field(
        default=(),
        description="(kind, groups, files) of images that are copies of a file with other bytes: "
        "'same pixels', 'near-duplicate' or 'augmented copy'.",
    )
    copies: Artifact | None = Field(
        default=None,
        description="CSV 'sha256, copy_group, kind' of these files: the split keeps a group together. "
        "None where there are none.",
    )

    file_facts: Artifact | None = Field(
        default=None,
        description="What the files tell without the picture: an array of `medcompare.data.file_facts`. "
        "None where they were not measured.",
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
    stratified_by: str | None = Field(
        default=None, description="Column that was stratified by beside the class."
    )
    disjoint: tuple[tuple[str, int], ...] = Field(
        description="(kind, number) of patients, and of groups of copies, that were looked up in the finished table: "
        "each is in one subset only, otherwise the run fails."
    )
    n_duplicates_kept_together: int = Field(ge=0)
    shared: tuple[tuple[str, int], ...] = Field(
        default=(),
        description="(kind, number) of images and patient ids of an external set that are also in the main data.",
    )
    seed: int
    notes: tuple[str, ...] = ()
    manifest_fingerprint: str


Quartiles = tuple[float, float, float]
MAX_LEVELS = 8
"""A column with more values is summarised where they are numbers, else not tabulated."""


class Characteristic(Record):
    """One row of the table of characteristics: a value of a further column, or a column of numbers."""

    column: str = Field(description="Column of the user's manifest.")
    level: str | None = Field(description="Its value; empty: blank there. None: a column of numbers.")
    counts: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] = Field(
        description="(negative, positive) images in the training, validation and test subset."
    )
    quartiles: tuple[Quartiles | None, Quartiles | None, Quartiles | None] | None = Field(
        default=None, description="Of a column of numbers, over images; null in a subset without any."
    )
    difference_test: float | None = Field(
        default=None,
        ge=0,
        description="Standardised difference between test and training images; in the first row of a column.",
    )
    difference_class: float | None = Field(
        default=None, ge=0, description="The same between images of the two classes, all subsets together."
    )
