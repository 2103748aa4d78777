"""Settings of ``medcompare registry``: which registry, the frozen reference set, the new images of a night."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from medcompare.config.data import DataConfig
from medcompare.config.form import Settings, section
from medcompare.config.schema import DecideConfig, EvaluateConfig

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class RegistrySettings(Settings):
    """Where champions and challengers are kept, and who may replace one."""

    uri: str | None = Field(
        default=None,
        description="Address of an MLflow server, or of its database; not set: an SQLite file in the folder of the "
        "cache.",
    )
    model: ModelName = Field(default="medcompare", description="Name of the model in the registry.")
    promote: Literal["ask", "auto"] = Field(
        default="ask",
        description="'ask': a person promotes and rolls back, and is told when; 'auto': the night does it.",
    )


class NightConfig(Settings):
    """One night: champion, challenger and the champion before on the reference set and on new images."""

    registry: RegistrySettings = section(RegistrySettings)
    reference: DataConfig = section(DataConfig)
    data: DataConfig = section(DataConfig)
    labelled: bool = Field(
        default=True,
        description="Whether the new images have labels. Without, drift is watched and nobody is promoted.",
    )
    out: Path = Field(default=Path("runs"), description="Folder that receives the page of all nights.")
    store: Path = Field(default=Path(".medcompare"), description="Folder of the cache, with the history.")
    evaluate: EvaluateConfig = section(EvaluateConfig)
    decide: DecideConfig = section(DecideConfig)
