"""Champions and challengers in MLflow's model registry: exports as versions, roles as aliases, every night as a run.

The figures of all nights are also those of one run, a step per night, because MLflow draws curves within a run.
No name of an image and no id of a patient goes there: exports hold none, and of a night only figures are logged.
Nothing is sent to MLflow's makers. `mlflow-skinny` is enough (the extra ``registry``); its pages need ``mlflow``.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from medcompare.base.errors import ConfigError, DataError
from medcompare.handover.records import Export, read_export

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medcompare.config.registry import RegistrySettings

Role = Literal["champion", "challenger", "previous"]
ROLES: tuple[Role, ...] = ("champion", "challenger", "previous")
EXPORT = "export"
"""Folder of the artifacts of a version."""
NIGHTS = "All nights"
"""Name of the run that has the figures of all nights."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One registered export."""

    number: str
    folder: Path
    """A local copy, checked against its digests."""
    export: Export

    @property
    def name(self) -> str:
        """For people, such as ``version 2 (ResNet-50)``."""
        return f"version {self.number} ({self.export.display_name})"


class ModelRegistry:
    """One model of the registry.

    Parameters
    ----------
    settings : RegistrySettings
        Address and name.
    store : Path
        Where the database lies if there is no address, and copies of the versions.

    Raises
    ------
    ConfigError
        If MLflow is not installed, or does not answer.
    """

    def __init__(self, settings: RegistrySettings, store: Path) -> None:
        # Before the import: usage figures go nowhere, and no bar is drawn over what we print.
        os.environ |= {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError:
            msg = "the registry needs MLflow: python -m pip install 'medcompare[registry]'"
            raise ConfigError(msg) from None
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.model, self._folder = settings.model, (store / "registry").absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        self.uri = settings.uri or f"sqlite:///{self._folder / 'mlflow.db'}"
        self._missing = MlflowException
        try:
            self._client: Any = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            found = self._client.get_experiment_by_name(self.model)
            local = None if settings.uri else (self._folder / "artifacts").as_uri()
            self._experiment = (
                self._client.create_experiment(self.model, artifact_location=local, tags=_EXPERIMENT)
                if found is None
                else found.experiment_id
            )
        except Exception as error:
            msg = f"the registry {self.uri} does not answer ({type(error).__name__}): check registry.uri, or start it"
            raise ConfigError(msg) from error

    @property
    def folder(self) -> Path:
        """Where copies of versions and what was found at night are kept."""
        return self._folder / self.model

    def add(
        self, export_folder: Path, *, by: str, because: str, report: Path | None = None
    ) -> tuple[Version, Role]:
        """Register the export in `export_folder`: as the champion where there is none, else as the challenger.

        Parameters
        ----------
        export_folder : Path
            What ``medcompare export`` wrote.
        by, because : str
            Who decides, and why.
        report : Path, optional
            PDF of the comparison, to be kept beside the export.

        Raises
        ------
        ConfigError
            If `report` is no PDF.
        DataError
            If it is no export, or was altered; or if the classes are not those of the champion.
        """
        export = read_export(export_folder)
        champion = self.role("champion")
        if champion is not None and champion.export.classes != export.classes:
            msg = (
                f"{export_folder} tells {export.classes} apart, and the champion {champion.export.classes}: register "
                "it as another model, --set registry.model=NAME"
            )
            raise DataError(msg)
        if export.per_patient != "none":
            msg = f"{export_folder} judges patients (evaluate.per_patient={export.per_patient}); the registry compares "
            msg += "models that judge images"
            raise DataError(msg)
        if report is not None and not _is_pdf(report):
            msg = f"--report {report} is no PDF: give report.pdf of the run that was exported"
            raise ConfigError(msg)
        about = f"{export.display_name}, from the comparison {export.run}. {because}"
        with _run(self, f"Export: {export.display_name}", by=by, note=about) as run:
            self._client.log_artifacts(run, str(export_folder), EXPORT)
            if report is not None:
                self._client.log_artifact(run, str(report))
            for key in _PARAMETERS:
                self._client.log_param(run, key, getattr(export, key))
            self._client.log_metric(run, "threshold", export.threshold.threshold)
            source = f"{self._client.get_run(run).info.artifact_uri}/{EXPORT}"
        with contextlib.suppress(self._missing):  # it is there
            self._client.create_registered_model(self.model, description=_ABOUT)
        number = str(
            self._client.create_model_version(
                self.model, source, run_id=run, tags={"registered_by": by}, description=about
            ).version
        )
        role: Role = "champion" if champion is None else "challenger"
        self._client.set_registered_model_alias(self.model, role, number)
        return self.version(number), role

    def role(self, role: Role) -> Version | None:
        """The version in that role, None where there is none."""
        try:
            found = self._client.get_model_version_by_alias(self.model, role)
        except self._missing:
            return None
        return self.version(str(found.version))

    def version(self, number: str) -> Version:
        """A registered version, copied here and checked.

        Raises
        ------
        ConfigError
            If there is none of that number.
        DataError
            If its files are missing or were altered.
        """
        try:
            found = self._client.get_model_version(self.model, number)
        except self._missing:
            known = sorted(
                int(one.version) for one in self._client.search_model_versions(f"name='{self.model}'")
            )
            msg = f"{self.model} has no version {number}; there are: {', '.join(map(str, known)) or 'none'}"
            raise ConfigError(msg) from None
        folder = self.folder / f"v{number}"
        if not (folder / EXPORT).is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            self._client.download_artifacts(found.run_id, EXPORT, str(folder))
        return Version(number=number, folder=folder / EXPORT, export=read_export(folder / EXPORT))

    @property
    def looks(self) -> int:
        """Comparisons of the present champion so far."""
        return int(self._client.get_registered_model(self.model).tags.get("medcompare.looks", 0))

    def remember(self, **tags: object) -> None:
        """Keep facts with the model, such as ``looks``."""
        for name, value in tags.items():
            self._client.set_registered_model_tag(self.model, f"medcompare.{name}", str(value))

    def recall(self, name: str) -> str | None:
        """What `remember` kept."""
        found = self._client.get_registered_model(self.model).tags.get(f"medcompare.{name}")
        return None if found is None else str(found)

    def crown(
        self, number: str, *, action: Literal["promote", "roll back"], by: str, because: str
    ) -> Version:
        """Make version `number` the champion; `by` whom and why stays with it.

        Raises
        ------
        ConfigError
            If there is no such version, or it is the champion already.
        """
        new, old = self.version(number), self.role("champion")
        if old is not None and old.number == number:
            msg = f"{old.name} is the champion already"
            raise ConfigError(msg)
        self._client.set_registered_model_alias(self.model, "champion", number)
        for role in ("challenger", "previous"):
            now = self.role(role)
            if now is not None and (now.number == number or role == "previous"):
                self._client.delete_registered_model_alias(self.model, role)
        if old is not None and action == "promote":
            self._client.set_registered_model_alias(self.model, "previous", old.number)
        done = {"promote": "Promoted", "roll back": "Rolled back to"}[action]
        said = f"{done} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by {by}: {because}"
        self._client.set_model_version_tag(self.model, number, "champion", said)
        self.remember(looks=0)
        with _run(self, f"{done} version {number}", by=by, note=said):
            pass
        return new

    def log_night(
        self,
        name: str,
        *,
        night: int,
        at: datetime,
        note: str,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        record: str,
        page: str,
    ) -> None:
        """Log one night as a run, and its figures as a step of the run of all nights.

        Parameters
        ----------
        name : str
            Of the run.
        night : int
            Which one it is, from 1 on: the step.
        at : datetime
            When it began.
        note : str
            What was decided and why.
        tags, metrics : mapping
            Of the night.
        record, page : str
            The night as JSON; the page of all nights, which replaces that of the night before.
        """
        from mlflow.entities import Metric

        nights = self.recall("nights_run")
        if nights is None:
            with _run(
                self, NIGHTS, by=_NOBODY, note="A step per night; nights.html is the page of them."
            ) as nights:
                self.remember(nights_run=nights)
        moment = int(at.timestamp() * 1000)
        with _run(self, name, by=_NOBODY, note=note, tags={**tags, "mlflow.parentRunId": nights}) as run:
            for one, step in ((run, 0), (nights, night)):
                found = [Metric(key, value, moment, step) for key, value in metrics.items()]
                self._client.log_batch(one, metrics=found)
            self._client.log_text(run, record, "night.json")
            self._client.log_text(nights, page, "nights.html")


_PARAMETERS = ("run", "model", "data_fingerprint", "checkpoint_sha256", "medcompare_version", "seed")
_ABOUT = (
    "Registered by medcompare: the alias champion is the version in use, challenger the one that meets it every night, "
    "previous the champion before. A research tool, not a medical device."
)
_EXPERIMENT = {
    "mlflow.note.content": "Exports, nights and promotions of medcompare. The run 'All nights' has the curves."
}
_NOBODY = "medcompare"
"""Who logs a night."""


def _is_pdf(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(5) == b"%PDF-"
    return False


class _run:  # noqa: N801 - used as a function
    """A run of MLflow that ends as finished, or as failed."""

    def __init__(
        self, registry: ModelRegistry, name: str, *, by: str, note: str, tags: Mapping[str, str] | None = None
    ) -> None:
        self._client, self._id = registry._client, ""  # noqa: SLF001 - of this module
        self._experiment, self._name = registry._experiment, name  # noqa: SLF001
        self._tags = {
            "mlflow.user": by,
            "mlflow.note.content": note,
            "mlflow.source.name": "medcompare registry",
            "mlflow.source.type": "LOCAL",
            **(tags or {}),
        }

    def __enter__(self) -> str:
        self._id = self._client.create_run(self._experiment, run_name=self._name, tags=self._tags).info.run_id
        return self._id

    def __exit__(self, kind: object, *_: object) -> None:
        self._client.set_terminated(self._id, status="FINISHED" if kind is None else "FAILED")
