"""Settings of ``medcompare registry``: which registry, the frozen reference set, the new images of a night."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from medcompare.base.language import Language  # noqa: TC001 - read by pydantic
from medcompare.base.shared_store import holds_credentials
from medcompare.config.data import DataConfig
from medcompare.config.form import Settings, section
from medcompare.config.schema import DecideConfig, EvaluateConfig

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
"""Of a server, and of the databases that MLflow keeps a registry in."""


def _checked_uri(uri: str) -> str:
    if holds_credentials(uri) or "@" in uri:
        msg = (
            "an address with a user, a password or a query would be kept with the night; give them as "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, those of a database as its client reads them "
            "(PGUSER, PGPASSWORD), or start an MLflow server in front of it"
        )
        raise ValueError(msg)
    try:
        parts = urlsplit(uri)
        of_server = parts.scheme in {"http", "https"}
        place = parts.hostname and (parts.port or True) if of_server else parts.path.strip("/")
        known = parts.scheme.partition("+")[0] in SCHEMES and place and not parts.fragment
    except ValueError:  # the port is no number
        known = False
    if not known:
        msg = (
            f"'{uri}' is no address of a registry: write http://HOST:5000 of an MLflow server, or that of its "
            "database, such as sqlite:////folder/mlflow.db"
        )
        raise ValueError(msg)
    return uri.rstrip("/")


RegistryUri = Annotated[str, AfterValidator(_checked_uri)]


class RegistrySettings(Settings):
    """Where champions and challengers are kept, and who may replace one."""

    uri: RegistryUri | None = Field(
        default=None,
        description="Address of an MLflow server, such as http://127.0.0.1:5000, or of its database; not set: an "
        "SQLite file in the folder of the cache. User and password are read from MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD.",
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
    language: Language = Field(
        default="en", description="Language of the page of all nights and of the mails."
    )
    out: Path = Field(default=Path("runs"), description="Folder that receives the page of all nights.")
    store: Path = Field(default=Path(".medcompare"), description="Folder of the cache, with the history.")
    evaluate: EvaluateConfig = section(EvaluateConfig)
    decide: DecideConfig = section(DecideConfig)
