"""Champions and challengers in MLflow's model registry: exports as versions, roles as aliases, every night as a run.

The figures of all nights are also those of one run, a step per night, because MLflow draws curves within a run.
No name of an image and no id of a patient goes there: exports hold none, and of a night only figures are logged.
Nothing is sent to MLflow's makers. `mlflow-skinny` is enough (the extra ``registry``); its pages need ``mlflow``.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

from medcompare.base.errors import ConfigError, DataError, RegistryError
from medcompare.base.hosts import is_loopback
from medcompare.base.language import t
from medcompare.handover.mlflow_client import NotThere, connect, first_call
from medcompare.handover.records import Export, read_export

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        return t("version {number} ({name})", number=self.number, name=self.export.display_name)


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
        If MLflow is not installed.
    RegistryError
        If it does not answer, or not as an MLflow server. Every method raises this too.
    """

    def __init__(self, settings: RegistrySettings, store: Path) -> None:
        self.model, self._folder = settings.model, (store / "registry").absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._identity: str | None = None
        self.uri = settings.uri or f"sqlite:///{self._folder / 'mlflow.db'}"
        self._client = connect(self.uri)
        with first_call():
            found = self._client.get_experiment_by_name(self.model)
        local = None if settings.uri else (self._folder / "artifacts").as_uri()
        self._experiment = (
            self._client.create_experiment(self.model, artifact_location=local, tags=_EXPERIMENT)
            if found is None
            else found.experiment_id
        )

    @property
    def folder(self) -> Path:
        """Where copies of versions and what was found at night are kept.

        Named after this very model: another server, or a model that was deleted and made anew, also has a version 1.
        """
        if self._identity is None:
            self._identity = self.recall("id") or uuid4().hex[:8]
            self.remember(id=self._identity)
        return self._folder / f"{self.model}-{self._identity}"

    @property
    def page(self) -> str | None:
        """Address of the model in the pages of the server; None where the registry is a database."""
        if urlsplit(self.uri).scheme not in {"http", "https"}:
            return None
        return f"{self.uri}/#/models/{self.model}?workflowType=machine_learning"

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
            artifacts = str(self._client.get_run(run).info.artifact_uri)
            check_reached(self.uri, artifacts)
            self._client.log_artifacts(run, str(export_folder), EXPORT)
            if report is not None:
                self._client.log_artifact(run, str(report))
            for key in _PARAMETERS:
                self._client.log_param(run, key, getattr(export, key))
            self._client.log_metric(run, "threshold", export.threshold.threshold)
        if self._registered() is None:
            self._client.create_registered_model(self.model, description=_ABOUT)
        made = self._client.create_model_version(
            self.model, f"{artifacts}/{EXPORT}", run_id=run, tags={"registered_by": by}, description=about
        )
        role: Role = "champion" if champion is None else "challenger"
        self._client.set_registered_model_alias(self.model, role, str(made.version))
        return self.version(str(made.version)), role

    def _registered(self) -> Any:  # noqa: ANN401 - of a library without types
        """The model as MLflow has it; None where it has none of that name."""
        try:
            return self._client.get_registered_model(self.model)
        except NotThere:
            return None

    def role(self, role: Role) -> Version | None:
        """The version in that role, None where there is none."""
        model = self._registered()
        number = None if model is None else model.aliases.get(role)
        # A change of the champion that was cut off may have left it another role.
        if number is None or (role != "champion" and number == model.aliases.get("champion")):
            return None
        return self.version(str(number))

    def version(self, number: str) -> Version:
        """A registered version, copied here and checked; a copy that is here already is not asked for again.

        Raises
        ------
        ConfigError
            If there is none of that number.
        DataError
            If its files are missing or were altered.
        """
        copy = self.folder / f"v{number}" / EXPORT
        if not copy.is_dir():
            run = self._known(number).run_id
            copy.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=copy.parent) as part:  # a copy that is cut off is none
                self._client.download_artifacts(run, EXPORT, part)
                (Path(part) / EXPORT).rename(copy)
        return Version(number=number, folder=copy, export=read_export(copy))

    def _known(self, number: str) -> Any:  # noqa: ANN401 - of a library without types
        """What MLflow has of a version; a ConfigError where it has none of that number."""
        known = {str(one.version): one for one in self._client.search_model_versions(f"name='{self.model}'")}
        if number not in known:
            there = ", ".join(sorted(known, key=int)) or "none"
            msg = f"{self.model} has no version {number}; there are: {there}"
            raise ConfigError(msg)
        return known[number]

    @property
    def looks(self) -> int:
        """Comparisons of the present champion so far."""
        return int(self.recall("looks") or 0)

    def remember(self, **tags: object) -> None:
        """Keep facts with the model, such as ``looks``."""
        for name, value in tags.items():
            self._client.set_registered_model_tag(self.model, f"medcompare.{name}", str(value))

    def recall(self, name: str) -> str | None:
        """What `remember` kept; None where there is nothing."""
        model = self._registered()
        found = None if model is None else model.tags.get(f"medcompare.{name}")
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
        self._known(number)
        new, old = self.version(number), self.role("champion")
        if old is not None and old.number == number:
            msg = f"{old.name} is the champion already"
            raise ConfigError(msg)
        # In an order in which a server that dies in between leaves one champion, and the one before in reach.
        if old is not None and action == "promote":
            self._client.set_registered_model_alias(self.model, "previous", old.number)
        self._client.set_registered_model_alias(self.model, "champion", number)
        self.remember(looks=0)
        used = {number, old and old.number}
        for role, of in self._registered().aliases.items():
            if (role == "challenger" and of in used) or (role == "previous" and action == "roll back"):
                self._client.delete_registered_model_alias(self.model, role)
        done = {"promote": "Promoted", "roll back": "Rolled back to"}[action]
        said = f"{done} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by {by}: {because}"
        self._client.set_model_version_tag(self.model, number, "champion", said)
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


def check_reached(uri: str, artifacts: str) -> None:
    """Raise a RegistryError where the server `uri` would have files put into a folder that is not on its machine."""
    server, place = urlsplit(uri), urlsplit(artifacts)
    if place.scheme in {"", "file"} and server.hostname and not is_loopback(server.hostname):
        msg = (
            f"the registry {uri} keeps files in a folder of its own machine and passes none on: start it with "
            "--serve-artifacts and --artifacts-destination, and take another name, --set registry.model=NAME"
        )
        raise RegistryError(msg)


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
