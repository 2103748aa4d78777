"""Settings of the data: which images, what counts as usable, and how they are split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from medcompare.base.hosts import Names  # noqa: TC001 - read by pydantic
from medcompare.config.form import Settings, left_to_preset, section

ChoiceOfSplit = Literal["keep", "pool"]

AUTO_INTENSITY, FULL_INTENSITY = "auto", "full"
_LIMITS = re.compile(r"(-?\d+(?:\.\d+)?) *, *(-?\d+(?:\.\d+)?)")


def intensity_limits(setting: str) -> tuple[float, float] | None:
    """The two values that ``data.intensity_range`` names; None where it names none."""
    found = _LIMITS.fullmatch(setting.strip())
    return (float(found[1]), float(found[2])) if found else None


DEMO = "demo"
"""Value of ``data.source`` that means the embedded demonstration data."""


AS_MAIN = "Not set: as in the main data."

SafeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$")]


class DemoConfig(Settings):
    """Size and difficulty of the demonstration data, where source is 'demo'."""

    n_patients: int = Field(
        default=490, ge=20, le=5000, description="Patients to generate (half of them cancer)."
    )
    images_per_patient: int = Field(default=4, ge=1, le=50, description="Images per patient, on average.")
    image_size_px: int = Field(default=96, ge=32, le=1024, description="Side of a patch, pixels.")
    seed: int = Field(default=20, ge=0, le=2**31 - 1, description="Seed of the generator.")


class DataConfig(Settings):
    """Which images, and what counts as usable."""

    source: str = Field(
        default=DEMO,
        description="Folder with one sub-folder per class, or a table with columns path,label and optionally "
        "patient_id; an archive of these, .npz, or an address such as s3://bucket/folder; 'demo' for the embedded "
        "demonstration data.",
    )
    image_root: str | None = Field(
        default=None,
        description="Folder that the paths of a table start from. Not set: the folder of the table.",
    )
    path_column: str | None = Field(
        default=None,
        description="Column of a table that names the image files. Not set: 'path', or one recognised by its name "
        "and by the files there are.",
    )
    label_column: str | None = Field(
        default=None,
        description="Column that names the class. Not set: 'label', or one recognised by its name.",
    )
    group_by: Names = Field(
        default=(),
        description="Columns of which images with the same value stay in one subset, beside that of the patient.",
    )
    patient_pattern: str | None = Field(
        default=None,
        description="Regular expression that finds the patient in the path of an image, such as patient\\d+: its first "
        "group, or all of it. For images without patient ids.",
    )
    positive: Names = Field(
        default=(),
        description="Classes that are positive, all others are negative. Empty: 'cancer' where one of two classes is "
        "called so, otherwise an error that lists the classes. Never guessed.",
    )
    exclude: Names = Field(default=(), description="Classes to leave out.")
    max_rejected_fraction: float = Field(
        default=0.05, ge=0, le=1, description="Share of excluded files that stops the run."
    )
    min_side_px: int = Field(
        default=32, ge=1, le=10_000, description="Images with a shorter side are excluded, pixels."
    )
    intensity_range: str = Field(
        default=AUTO_INTENSITY,
        description="Values shown black and white where images have more than 8 bits per pixel, the same for all: "
        "'auto' from the bits that the data set uses, 'full' for the range of the type (65535), or two numbers such as "
        "0,4095.",
    )
    near_duplicates: bool = Field(
        default=True,
        description="Look for images that show the same though cropped, resized, recompressed, turned or brightened, "
        "and for augmented copies by name: kept in one subset, and excluded where their labels differ.",
    )
    max_file_mb: int = Field(
        default=400, ge=1, le=100_000, description="Larger image files are excluded unread, megabytes."
    )
    file_timeout_s: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="Longest time to check one image, seconds: a network drive that is gone stops the run.",
    )
    timeout_minutes: float = Field(
        default=720.0,
        gt=0,
        le=100_000,
        description="Longest time for listing, for reading and for validating all images, minutes each.",
    )
    demo: DemoConfig = section(DemoConfig)

    @field_validator("source", "image_root")
    @classmethod
    def _names_a_home(cls, value: str | None) -> str | None:
        try:
            Path(value or "").expanduser()
        except RuntimeError:
            msg = "begins with the home of a user who is not there; write the whole path"
            raise ValueError(msg) from None
        return value

    @field_validator("intensity_range")
    @classmethod
    def _is_a_range(cls, value: str) -> str:
        limits = intensity_limits(value)
        if value not in {AUTO_INTENSITY, FULL_INTENSITY} and (limits is None or limits[0] >= limits[1]):
            msg = "is 'auto', 'full' or two numbers, the smaller first, such as 0,4095"
            raise ValueError(msg)
        return value


class ExternalConfig(Settings):
    """Images of another hospital, and what is to be read otherwise there than in the main data."""

    source: str = Field(description="Folder, table, archive or address, as of the main data.")
    image_root: str | None = Field(
        default=None,
        description="Folder that the paths of its table start from. Not set: the folder of the table.",
    )
    path_column: str | None = Field(
        default=None, description=f"Column of its table that names the files. {AS_MAIN}"
    )
    label_column: str | None = Field(
        default=None, description=f"Column of its table that names the class. {AS_MAIN}"
    )
    group_by: Names | None = Field(
        default=None, description=f"Columns of which images with the same value belong together. {AS_MAIN}"
    )
    patient_pattern: str | None = Field(
        default=None,
        description=f"Regular expression that finds the patient in the path of an image. {AS_MAIN}",
    )
    positive: Names | None = Field(
        default=None, description=f"Its classes that are positive, all others are negative. {AS_MAIN}"
    )
    exclude: Names | None = Field(default=None, description=f"Its classes to leave out. {AS_MAIN}")


def as_external(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over anything
    """A place alone, as most sets are given."""
    return {"source": value} if isinstance(value, str) else value


ExternalSets = dict[
    SafeName,
    Annotated[ExternalConfig, BeforeValidator(as_external, json_schema_input_type=str | ExternalConfig)],
]


class SplitConfig(Settings):
    """How many images are held out for the test and for validation, and whether a published split is kept."""

    published: ChoiceOfSplit | None = Field(
        default=None,
        description="Where the images come split into training and test: 'keep' these test images, or 'pool' all and "
        "split them again. Not set: such images are refused.",
    )
    leaks: Literal["refuse", "remove"] = Field(
        default="refuse",
        description="Where a published split that is kept has copies of an image, or a patient, in two subsets: "
        "'refuse' it, or 'remove' these images from training and validation.",
    )

    hold_out: str | None = Field(
        default=None,
        description="Test images by a column of the data in place of a draw, e.g. 'site=B' or 'site=B,C': another "
        "hospital, scanner or year. Copies and patients on both sides are refused or removed as split.leaks says.",
    )
    stratify_by: str | None = Field(
        default=None,
        description="Column of the data, such as the site, whose values are spread evenly over the subsets, as far as "
        "patients and copies that stay together allow, beside the classes.",
    )
    random_beside: bool = Field(
        default=False,
        description="Also train each network on a random split by single images, of the same sizes, to show how much "
        "better it would seem with patients and copies on both sides. Costs one more training of each network.",
    )
    test_fraction: float = Field(
        default=0.2,
        gt=0,
        lt=0.9,
        description="Share of all images held out for the one final test.",
        json_schema_extra=left_to_preset("split.test_fraction"),
    )
    validation_fraction: float = Field(
        default=0.125,
        gt=0,
        lt=0.9,
        description="Share of the remaining images used for checkpoint choice, early stopping and "
        "thresholds (0.125 of 80% gives 70/10/20).",
        json_schema_extra=left_to_preset("split.validation_fraction"),
    )

    @model_validator(mode="after")
    def _one_test_subset(self) -> Self:
        if self.hold_out is not None and self.published == "keep":
            msg = "hold_out names test images and published='keep' keeps others: choose one of the two"
            raise ValueError(msg)
        return self
