"""Settings of ``medcompare predict``: an export, new images, and where scores go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from medcompare.base.devices import DeviceSetting  # noqa: TC001 - read by pydantic
from medcompare.config.data import DataConfig
from medcompare.config.form import Settings, section


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
