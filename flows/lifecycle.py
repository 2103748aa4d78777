"""One run, from start to end, as the history, the mail and Prefect see it."""

from __future__ import annotations

import contextlib
import logging
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed

from flows.preflight import check_folders, check_mail_to
from flows.recover import recover
from medcompare.base.errors import EXPECTED_ERRORS, ConfigError, MedcompareError, redact
from medcompare.base.file_access import access_of, access_warning, files_readable_by
from medcompare.base.language import in_language, message
from medcompare.base.store_lock import store_in_use
from medcompare.config.errors import validated
from medcompare.config.form import without_shown_defaults
from medcompare.config.schema import AssessConfig, CompareConfig
from medcompare.notify import nightly
from medcompare.report.run_page import Pictures
from medcompare.runs.folder import default_run_name, held_name, now
from medcompare.runs.history import HistoryError, history_path, record_run, this_host
from medcompare.runs.prefect_server import TEMPORARY_SERVER
from medcompare.runs.report_server import for_others, report_link
from medcompare.runs.stages import in_stage, remedy_of, stage_of
from medcompare.runs.summary import RunFiles, completed_run, failed_run, failure_of, start_of_run
from tasks.cache import unlinked
from tasks.mail import mail
from tasks.publish import publish
from tasks.report import write_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prefect.client.schemas.objects import State
    from pydantic import BaseModel

    from medcompare.report.inputs import ReportFiles, ReportInputs
    from medcompare.runs.changes import HistoryContext
    from medcompare.runs.result import RunResult
    from medcompare.runs.summary import RunKind, RunSummary

Config = TypeVar("Config", CompareConfig, AssessConfig)

logger = logging.getLogger("medcompare.lifecycle")


class RunLifecycle:
    """Start, look back, end or failure of one run.

    Parameters
    ----------
    started : RunSummary
        As `medcompare.runs.summary.start_of_run` gives it.
    store : Path
        The store, which holds history and outbox.
    mail_to : tuple of str
        Recipients in place of those of the mail settings.
    """

    def __init__(self, started: RunSummary, store: Path, mail_to: tuple[str, ...] = ()) -> None:
        self._started, self._store, self._mail_to = started, store, mail_to
        self._completed: RunSummary | None = None
        self._context: HistoryContext | None = None
        self._pictures: Pictures | None = None

    def start(self) -> None:
        """Record the run before it works, so that a crash leaves a trace; recover runs that crashed before.

        Raises
        ------
        HistoryError
            If the history cannot be written.
        """
        try:
            for sentence in recover(self._store):
                logger.warning("%s", sentence)
        except HistoryError:
            raise
        except Exception:
            logger.warning("runs that crashed could not be recovered", exc_info=True)
        record_run(history_path(self._store), self._started)

    def look_back(self, *, folder: Path, **results: Any) -> HistoryContext:  # noqa: ANN401 - as `completed_run` takes them
        """What changed since the run before, and the runs so far, this one as the last."""
        names = {"pdf": "report.pdf", "html": "report.html", "results": "results.json"}
        self._completed = completed_run(
            self._started,
            files=RunFiles(
                folder=str(folder), **{field: str(folder / name) for field, name in names.items()}
            ),
            finished_at=datetime.now(UTC),
            **results,
        )
        self._context = nightly.look_back(self._store, self._completed)
        return self._context

    def report(self, inputs: ReportInputs, folder: Path, pdf_time_limit_s: float) -> ReportFiles:
        """Write the report; the pictures of the run's page are drawn meanwhile."""
        self._pictures = Pictures(inputs)
        with in_stage(message("report")):
            return write_report(unlinked(inputs), folder, pdf_time_limit_s, self._pictures)

    def end(self, inputs: ReportInputs, result: RunResult) -> None:
        """Record the end, show the run's page, mail; the report must be in its folder.

        Raises
        ------
        HistoryError
            If the end cannot be recorded.
        RuntimeError
            If `look_back` was not called before.
        """
        if self._completed is None or self._context is None:
            msg = "look_back comes before end"
            raise RuntimeError(msg)
        run = self._completed.model_copy(
            update={"finished_at": datetime.now(UTC).isoformat(), "no_pdf": result.no_pdf}
        )
        record_run(history_path(self._store), run)
        report = Path(result.pdf or result.html).absolute()
        link = self._link(result.run_name, report.name)
        try:
            publish(unlinked(inputs), report, link, result.no_pdf, self._pictures)
        except Exception:
            logger.warning("the page of the run could not be written", exc_info=True)
        changes, pdf = self._context.changes, Path(result.pdf) if result.pdf else None
        mail(run, self._store, changes=changes, pdf=pdf, link=for_others(link), to=self._mail_to)

    @staticmethod
    def _link(run_name: str, file: str) -> str | None:
        try:
            return report_link(run_name, os.environ, file=file)
        except ConfigError as error:
            logger.warning("%s; page and mail carry no link", error)
            return None

    def failed(self, error: BaseException) -> None:
        """Record why the run did not complete, and mail about it where that was asked for and nobody knows."""
        failure = failure_of(error, stage_of(error), remedy=remedy_of(error))
        is_failure = isinstance(error, Exception | SystemExit)
        run = failed_run(
            self._started,
            failure=failure,
            finished_at=datetime.now(UTC),
            status="failed" if is_failure else "interrupted",
        )
        try:
            record_run(history_path(self._store), run)
        except (MedcompareError, OSError) as other:
            logger.warning("the failure could not be recorded: %s", other)
        # Whoever interrupts or cancels a run knows of it; `recover` goes on with one that the system has ended.
        if is_failure:
            mail(run, self._store, link=for_others(runtime.flow_run.ui_url), to=self._mail_to)


def run_recorded(
    model: type[Config],
    given: object,
    *,
    kind: RunKind,
    data_name: str,
    work: Callable[[Config, str, RunLifecycle], RunResult],
) -> State[Any]:
    """Final state of a whole run: settings, name, record, `work`, and how it ended.

    Parameters
    ----------
    model : type
        `CompareConfig` or `AssessConfig`.
    given : object
        Nested values by name, or an instance of `model`.
    kind, data_name
        As in `medcompare.runs.summary.start_of_run`.
    work : callable
        Gets the settings, the name of the run and its `RunLifecycle`.

    Returns
    -------
    State
        With the headline, or the sentence of an error in `EXPECTED_ERRORS`, as the message that the UI shows;
        a caller gets the result, or the error. Other errors are raised, without data in them.
    """
    failure = store = None
    try:
        given_config, started_at = _accepted(model, given, kind=kind, data_name=data_name), now()
        store = given_config.store
        # Addresses are kept in no file of the run, and are no change of its settings.
        config = given_config.model_copy(update={"mail_to": ()})
        config.model_fields_set.discard("mail_to")
        with (
            in_language(config.report.language),
            files_readable_by(config.file_access),
            held_name(config.out, config.name, started_at=started_at, data_name=data_name) as name,
            recorded(
                config,
                kind=kind,
                name=name,
                data_name=data_name,
                started_at=started_at,
                mail_to=given_config.mail_to,
            ) as lifecycle,
        ):
            result = work(config, name, lifecycle)
    except EXPECTED_ERRORS as error:
        return Failed(message=str(error), data=error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below
        failure = redact(error, store)
    if isinstance(failure, EXPECTED_ERRORS):
        return Failed(message=str(failure), data=failure)
    if failure is not None:
        raise failure  # here, where the first error is not its context
    if result.no_pdf is None:
        return Completed(message=result.headline, data=result)
    return Completed(
        name="Completed without PDF",
        message=f"{result.headline}. The run ended without a PDF: {result.no_pdf.how}",
        data=result,
    )


def _accepted(model: type[Config], given: object, *, kind: RunKind, data_name: str) -> Config:
    """`given` as settings of type `model`; where they are refused, history and mail say so.

    Nobody checks a deployment's parameters before the flow does: without this, a run
    that was set up wrongly would fail unnoticed.
    """
    if deployment_name() is not None and isinstance(given, dict):
        given = without_shown_defaults(model, given)
    try:
        with in_stage(message("reading the settings")):
            return validated(model, given)
    except ConfigError as error:
        started_at, named = now(), parameter("config", "store")
        store = Path(named) if named else model.model_fields["store"].default
        started = _start(
            given if isinstance(given, dict) else {"config": given},
            kind=kind,
            name=default_run_name(started_at, data_name),
            data_name=data_name,
            seed=0,
            started_at=started_at,
        )
        with files_readable_by(access_of(history_path(store))):  # as the records of the runs before
            RunLifecycle(started, store).failed(error)
        raise


def without_traceback(record: logging.LogRecord) -> bool:
    """Log an error of ours as its sentence: the call stack does not help whoever must fix the input."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, MedcompareError):
        record.msg, record.args, record.exc_info = str(error), (), None
    return True


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(without_traceback)


def _start(
    config: BaseModel | dict[str, Any],
    *,
    kind: RunKind,
    name: str,
    data_name: str,
    seed: int,
    started_at: datetime,
) -> RunSummary:
    """Summary of this flow run as it begins, in the series of its deployment."""
    return start_of_run(
        config,
        run_id=str(runtime.flow_run.id),
        name=name,
        kind=kind,
        data_name=data_name,
        seed=seed,
        started_at=started_at,
        host=this_host(),
        pid=os.getpid(),
        series=f"{deployment_name() or kind} {data_name}",
    )


@contextlib.contextmanager
def recorded(
    config: CompareConfig | AssessConfig,
    *,
    kind: RunKind,
    name: str,
    data_name: str,
    started_at: datetime,
    mail_to: tuple[str, ...] = (),
) -> Iterator[RunLifecycle]:
    """Record the run of the block: started, completed or failed.

    Parameters
    ----------
    config : CompareConfig or AssessConfig
        Settings of the run.
    kind, name, data_name, started_at
        As in `medcompare.runs.summary.start_of_run`.
    mail_to : tuple of str
        Recipients in place of those of the mail settings.
    """
    if deployment_name() is not None:  # a worker reads what we print
        ignore_broken_pipes()
    started = _start(
        config, kind=kind, name=name, data_name=data_name, seed=config.seed, started_at=started_at
    )
    lifecycle = RunLifecycle(started, config.store, mail_to)
    try:
        with in_stage(message("checks before work")):
            check_mail_to(mail_to)
            check_folders(config)
        for folder in (config.store, config.out):
            if warning := access_warning(folder, config.file_access):
                logger.warning("%s", warning)
        with store_in_use(config.store):  # housekeeping waits
            _tag(data_name)
            lifecycle.start()
            yield lifecycle
    except BaseException as error:
        lifecycle.failed(redact(error) if isinstance(error, Exception) else error)
        raise


def ignore_broken_pipes() -> None:
    """Drop lines for the terminal once nobody reads them; the server's log gets them all the same.

    The worker reads what its runs print. Where it is killed, rich, through which Prefect prints, would end
    the thread that prints next, a training among them, and the run would crash half done.
    """
    for known in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in known.handlers if isinstance(known, logging.Logger) else ():
            if console := getattr(handler, "console", None):
                # The hook that rich offers; by itself it raises SystemExit.
                console.on_broken_pipe = partial(setattr, console, "quiet", True)  # noqa: FBT003 - setattr's own order


def title(data_name: str) -> str:
    """Name of a flow run such as ``nightly 2026-11-22 oral-oscc-224``.

    One that no schedule started is not alone on its day: it has the time of day, too, or the
    name that its settings give it.
    """
    named = parameter("config", "name")
    if named:
        return named
    start = (runtime.flow_run.scheduled_start_time or datetime.now(UTC)).astimezone()
    context = FlowRunContext.get()
    on_schedule = context is not None and context.flow_run is not None and context.flow_run.auto_scheduled
    moment = f"{start:%Y-%m-%d}" if on_schedule else f"{start:%Y-%m-%d %H:%M}"
    return f"{deployment_name() or runtime.flow_run.flow_name} {moment} {data_name}"


def deployment_name() -> str | None:
    """Name of the deployment that this flow run is of, if any; a run's own server knows none and is not asked."""
    return None if TEMPORARY_SERVER in os.environ else runtime.deployment.name


def parameter(*path: str) -> str | None:
    """A parameter of this flow run as it was given, which may be anything; None where it is not there."""
    value: Any = dict(runtime.flow_run.parameters)
    for name in path:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return None if value is None else str(value)


def _tag(data_name: str) -> None:
    """Let the UI find the runs of a data set."""
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(runtime.flow_run.id, tags=sorted({*runtime.flow_run.tags, data_name}))
    except Exception:
        logger.warning("the run could not be tagged", exc_info=True)
