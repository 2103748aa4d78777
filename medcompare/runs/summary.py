"""What is remembered of a run: small enough for a table, enough to say what changed.

One `RunSummary` per run goes into the history (`medcompare.runs.history`); the mail, the trend
page and the comparison of two nights are all made from these records.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.code_identity import PACKAGE_ROOT
from medcompare.base.language import message
from medcompare.base.record import Artifact, Record
from medcompare.base.source_code import read_source
from medcompare.config.data import DEMO
from medcompare.runs.result import NoPdf
from medcompare.stats.records import Estimate, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

    from medcompare.data.records import DatasetManifest
    from medcompare.runs.provenance import Provenance
    from medcompare.stats.records import Assessment
    from medcompare.training.records import TrainedModel

RunStatus = Literal["running", "completed", "failed", "interrupted", "crashed"]
RunKind = Literal["compare", "assess", "night"]


def utc_text(moment: datetime) -> str:
    """`moment` as ISO 8601 in UTC with microseconds: such texts sort by time.

    Raises
    ------
    ValueError
        If `moment` has no time zone: it could mean any of several instants.
    """
    if moment.tzinfo is None:
        msg = f"the moment {moment.isoformat()} has no time zone: use datetime.now(UTC)"
        raise ValueError(msg)
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _normalised_moment(text: str) -> str:
    try:
        return utc_text(datetime.fromisoformat(text))
    except ValueError as error:
        msg = f"'{text}' is not a moment in ISO 8601 with a time zone ({error})"
        raise ValueError(msg) from None


UtcText = Annotated[str, AfterValidator(_normalised_moment)]
"""A moment as text; any time zone is taken, UTC is stored, so that texts sort by time."""


class ModelFigures(Record):
    """What one run found for one model."""

    model: str
    display_name: str
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    training_time_s: float | None = Field(default=None, ge=0)
    latency_ms_median: float | None = Field(default=None, ge=0, description="Per image, batch 1.")
    latency_ms_median_ci: tuple[float, float] | None = None


class VerdictSummary(Record):
    """The recommendation, as it goes into a subject line and a mail."""

    outcome: Outcome
    model: str | None
    headline: str
    sentence: str
    caveats: tuple[str, ...] = ()


class Failure(Record):
    """Why a run did not complete."""

    stage: str = Field(description="e.g. 'ingest', 'training of ResNet-50'.")
    kind: str = Field(description="Class of the error, e.g. 'DataError'.")
    cause: str = Field(
        description="The whole message; it may name files and never leaves the machine as it is."
    )
    public: str = Field(
        default="", description="Constant sentence about errors of this kind, which may be mailed."
    )
    remedy: str | None = Field(default=None, description="What to do about it: a constant, as it is mailed.")


class RunFiles(Record):
    """Where the files of a finished run are."""

    folder: str
    pdf: str
    html: str
    results: str


class RunSummary(Record):
    """One run in the history."""

    run_id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$", description="Unique; recording it again replaces it."
    )
    name: str
    kind: RunKind = "compare"
    series: str = Field(description="Runs of one series are compared with each other.")
    status: RunStatus
    started_at: UtcText
    finished_at: UtcText | None = None
    host: str | None = Field(
        default=None, description="Machine of the run, to tell whether it is still going."
    )
    pid: int | None = Field(default=None, ge=1)
    data_name: str
    synthetic: bool = False
    data_fingerprint: str | None = None
    data_place: str | None = Field(
        default=None, description="SHA-256 of where the images are: data of the same place are the same data."
    )
    classes: tuple[str, str] | None = None
    images: Artifact | None = Field(default=None, description="Table of the usable images, in the store.")
    file_facts: Artifact | None = Field(default=None, description="See `DatasetManifest.file_facts`.")
    test_images: str | None = Field(default=None, description="Digest of the images of the test subset.")
    n_images: int | None = Field(default=None, ge=0)
    n_patients: int | None = Field(default=None, ge=0)
    n_positive: int | None = Field(default=None, ge=0)
    code_commit: str | None = None
    code_dirty: bool | None = None
    code_digest: str | None = Field(default=None, description="See `package_digest`.")
    versions: tuple[tuple[str, str], ...] = Field(default=(), description="(library, version).")
    machine: str | None = Field(default=None, description="Processor and, where there is one, GPU.")
    config_sha256: str
    config_json: str = Field(description="Configuration as canonical JSON, without secrets.")
    seed: int
    models: tuple[ModelFigures, ...] = ()
    verdict: VerdictSummary | None = None
    files: RunFiles | None = None
    no_pdf: NoPdf | None = Field(default=None, description="Why a completed run has no PDF.")
    failure: Failure | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.status != "running" and self.finished_at is None:
            msg = f"run '{self.run_id}' is {self.status} and needs finished_at"
            raise ValueError(msg)
        if self.status == "completed" and self.verdict is None:
            msg = f"run '{self.run_id}' is completed and needs a verdict"
            raise ValueError(msg)
        if self.status in {"failed", "interrupted", "crashed"} and self.failure is None:
            msg = f"run '{self.run_id}' is {self.status} and needs a failure with stage and cause"
            raise ValueError(msg)
        return self

    @property
    def duration_s(self) -> float | None:
        """Wall time, None while the run is going."""
        if self.finished_at is None:
            return None
        return (
            datetime.fromisoformat(self.finished_at) - datetime.fromisoformat(self.started_at)
        ).total_seconds()


def canonical_json(config: BaseModel | dict[str, Any]) -> str:
    """`config` as JSON with sorted keys: equal configurations give equal text."""
    plain: Any = config if isinstance(config, dict) else json.loads(config.model_dump_json())
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, default=str)


@cache
def package_digest(root: Path = PACKAGE_ROOT) -> str:
    """SHA-256 over the syntax trees of all modules below `root`.

    Comments, docstrings and layout do not count. Unlike a commit, it also sees edits that
    were never committed, and is there where the checkout is not.
    """
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        try:
            source = read_source(text).digest
        except SyntaxError:  # being edited while a run begins, in a module that the run does not use
            source = text
        digest.update(f"{path.relative_to(root).as_posix()}\n{source}\n".encode())
    return digest.hexdigest()


def _model_figures(assessment: Assessment, trained: Sequence[TrainedModel]) -> Iterator[ModelFigures]:
    costs = {cost.model: cost for cost in assessment.costs}
    times = {row.model: row.elapsed_s for row in trained}
    for evaluation in assessment.evaluations:
        cost = costs.get(evaluation.model)
        yield ModelFigures(
            model=evaluation.model,
            display_name=evaluation.display_name,
            auc=evaluation.decisive("auc"),
            sensitivity=evaluation.decisive("sensitivity"),
            specificity=evaluation.decisive("specificity"),
            training_time_s=times.get(evaluation.model, cost.training_time_s if cost else None),
            latency_ms_median=cost.latency_ms_median if cost else None,
            latency_ms_median_ci=cost.latency_ms_median_ci if cost else None,
        )


def start_of_run(
    config: BaseModel | dict[str, Any],
    *,
    run_id: str,
    name: str,
    kind: RunKind,
    data_name: str,
    seed: int,
    started_at: datetime,
    host: str,
    pid: int,
    series: str | None = None,
) -> RunSummary:
    """Summary of a run that begins: record it, so that a crash leaves a trace.

    `config` are the settings, or the values as given where they are none, without secrets. Host and
    process tell whether the run is still going. Runs of one `series` are compared with each other, by
    default those of the kind and the data set.
    """
    text = canonical_json(config)
    return RunSummary(
        run_id=run_id,
        name=name,
        kind=kind,
        series=series or f"{kind} {data_name}",
        status="running",
        started_at=utc_text(started_at),
        host=host,
        pid=pid,
        data_name=data_name,
        config_sha256=sha256_of_bytes(text.encode()),
        config_json=text,
        seed=seed,
        code_digest=package_digest(),
    )


def completed_run(
    begun: RunSummary,
    *,
    assessment: Assessment,
    provenance: Provenance,
    files: RunFiles,
    finished_at: datetime,
    manifest: DatasetManifest | None = None,
    trained: Sequence[TrainedModel] = (),
    data_fingerprint: str | None = None,
    test_images: str | None = None,
) -> RunSummary:
    """Summary of a run that ended well; where predictions were supplied there is no `manifest`, but their digest."""
    verdict = assessment.verdict
    return _with(
        begun,
        {
            "status": "completed",
            "finished_at": utc_text(finished_at),
            "data_name": manifest.name if manifest else begun.data_name,
            "synthetic": manifest.synthetic if manifest else begun.synthetic,
            "data_fingerprint": manifest.fingerprint if manifest else data_fingerprint,
            **_data_of(begun, manifest),
            "test_images": test_images,
            "n_images": manifest.n_images if manifest else assessment.n,
            "n_patients": manifest.n_patients if manifest else assessment.n_patients,
            "n_positive": manifest.class_counts[1] if manifest else assessment.n_positive,
            "code_commit": provenance.code_commit,
            "code_dirty": provenance.code_dirty,
            "versions": provenance.versions,
            "machine": " + ".join(part for part in (provenance.cpu, provenance.gpu) if part),
            "models": tuple(_model_figures(assessment, trained)),
            "verdict": VerdictSummary(
                **{name: getattr(verdict, name) for name in VerdictSummary.model_fields}
            ),
            "files": files,
        },
    )


def _data_of(begun: RunSummary, manifest: DatasetManifest | None) -> dict[str, object]:
    """What the next run on the same data is compared with."""
    if manifest is None:
        return {}
    source = str(json.loads(begun.config_json).get("data", {}).get("source"))
    place = source if source == DEMO or "://" in source else str(Path(source).expanduser().absolute())
    return {
        "data_place": sha256_of_bytes(place.encode(errors="surrogateescape")),
        "classes": manifest.classes,
        "images": manifest.images,
        "file_facts": manifest.file_facts,
    }


def failed_run(
    begun: RunSummary,
    *,
    failure: Failure,
    finished_at: datetime,
    status: Literal["failed", "interrupted", "crashed"] = "failed",
) -> RunSummary:
    """Summary of a run that ended in an error, was told to end, or whose process is gone."""
    return _with(begun, {"status": status, "finished_at": utc_text(finished_at), "failure": failure})


def failure_of(error: BaseException, stage: str, *, remedy: str | None = None) -> Failure:
    """`error`, raised in `stage`, as a record."""
    kind = getattr(error, "kind", type(error).__name__)
    public = getattr(error, "how", "") or getattr(error, "public", "")
    if isinstance(error, OSError) and error.errno is not None:
        public = os.strerror(error.errno)
    # What is no `Exception` comes from outside: Ctrl-C, SIGTERM, a cancellation, the end of the worker.
    if not isinstance(error, Exception):
        public = cause = message("the run was stopped from outside")
    else:
        cause = str(error) or kind
    return Failure(stage=stage, kind=kind, cause=cause, public=public, remedy=remedy)


def _with(run: RunSummary, values: dict[str, object]) -> RunSummary:
    """`run` with other values, validated (pydantic's own copy would not)."""
    return RunSummary.model_validate({name: getattr(run, name) for name in RunSummary.model_fields} | values)
