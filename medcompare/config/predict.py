"""Settings of ``medcompare predict``: an export, new images, and where scores go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from medcompare.base.devices import DeviceSetting  # noqa: TC001 - read by pydantic
from medcompare.config.data import DataConfig
from medcompare.config.form import Settings, section

OF_TRAINING = (
    "label_column",
    "positive",
    "exclude",
    "max_rejected_fraction",
    "min_side_px",
    "intensity_range",
    "near_duplicates",
)
"""Fields of ``data`` that say which images are trained on and how they are labelled."""


class PredictConfig(Settings):
    """Scores of new images by an exported network."""

    export: Path = Field(description="Folder that medcompare export wrote.")
    data: DataConfig = section(DataConfig)
    scores: Path = Field(
        default=Path("scores.csv"),
        description="Table to write, CSV: one row per image. {date} in the name becomes the day, as in "
        "scores-{date}.csv.",
    )
    engine: Literal["auto", "onnxruntime", "torch"] = Field(
        default="auto",
        description="What computes: 'onnxruntime', which needs no torch, or 'torch'. auto: onnxruntime where it is "
        "installed and the device is the CPU.",
    )
    device: DeviceSetting = Field(
        default="cpu",
        description="Where torch computes: 'cpu', 'cuda', 'mps', or 'auto' for the best there is.",
    )
    batch_size: int = Field(default=32, ge=1, le=4096, description="Images in one pass of the network.")
    n_threads: int | None = Field(
        default=None, ge=1, le=256, description="Images read and decoded at once. Not set: as many as cores."
    )

    @field_validator("data")
    @classmethod
    def _without_settings_of_training(cls, data: DataConfig) -> DataConfig:
        for name in OF_TRAINING:
            if getattr(data, name) != type(data).model_fields[name].get_default():
                msg = (
                    f"data.{name} has no effect here: the export says how images are prepared, no labels are read; "
                    "leave it out"
                )
                raise ValueError(msg)
        return data
