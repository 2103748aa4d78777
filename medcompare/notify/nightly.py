"""What follows a run: comparison with the run before, and mail.

The order matters. A run is in the history before it works, so that a crash leaves a
trace; its report is on the disk before it is mailed; and a mail that fails never fails
the run.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import MedcompareError
from medcompare.notify.message import build_failure_mail, build_report_mail, should_mail
from medcompare.notify.outbox import PAUSES_S, OutboxError, outbox_folder, queue, send_waiting
from medcompare.notify.send import send
from medcompare.runs.changes import Changes, HistoryContext, what_changed
from medcompare.runs.data_changes import data_changes
from medcompare.runs.history import earlier_runs, history_path, list_runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medcompare.notify.settings import MailConfig
    from medcompare.runs.summary import RunSummary


TREND_RUNS = 30

logger = logging.getLogger(__name__)


def look_back(store: Path, run: RunSummary) -> HistoryContext:
    """What changed since the last completed run of the series, and of the same data, and the series itself.

    The series has at most `TREND_RUNS`, `run` included, which need not be recorded yet.

    Raises
    ------
    HistoryError
        If the history cannot be read.
    """
    runs = list_runs(history_path(store), status="completed")
    earlier = earlier_runs(runs, run)
    looks = {
        (other.config_sha256, other.code_digest)
        for other in runs
        if other.kind == run.kind and _same_test(other, run)
    } - {(run.config_sha256, run.code_digest)}
    data = data_changes(runs, run, ArtifactStore(store))
    return HistoryContext(
        changes=what_changed(earlier[0] if earlier else None, run, data),
        data=data,
        runs=(*reversed(earlier[: TREND_RUNS - 1]), run),
        n_earlier_looks=len(looks),
    )


def _same_test(other: RunSummary, run: RunSummary) -> bool:
    """Whether two runs evaluated the same test images, as far as the records tell."""
    if other.test_images is not None and run.test_images is not None:
        return other.test_images == run.test_images
    # Predictions that were supplied; and records of before: the same images and seed give the same split.
    known = run.data_fingerprint is not None
    return known and (other.data_fingerprint, other.seed) == (run.data_fingerprint, run.seed)


def mail_about(
    run: RunSummary,
    config: MailConfig,
    store: Path,
    *,
    changes: Changes | None = None,
    pdf: Path | None = None,
    link: str | None = None,
    now: datetime | None = None,
    pauses_s: Sequence[float] = PAUSES_S,
) -> None:
    """Mail about `run` where the settings ask for it, and send what waits from earlier runs.

    Nothing is raised: a run must not fail because of a mail; the log says what went wrong. `link` is
    the web address of the report, or of the run where it failed; `pauses_s` are those between attempts.
    """
    now, folder, message = now or datetime.now(UTC), outbox_folder(store), None
    try:
        if should_mail(config, run, changes):
            message = (
                build_report_mail(run, changes, config, pdf=pdf, now=now, link=link)
                if run.status == "completed"
                else build_failure_mail(run, config, now=now, link=link)
            )
            queue(message, config.recipients, folder, now=now)
        send_waiting(config, folder, now=now, pauses_s=pauses_s)
    except OutboxError as error:
        # Where the disk is full, the mail that says so is tried once without being kept.
        logger.warning("%s; the mail is sent without being kept", error)
        if message is not None:
            for fault in set(send(message, config, config.recipients).values()):
                logger.warning("mail: %s; %s", fault.detail, fault.remedy)
    except MedcompareError:
        logger.exception("no mail was sent; the report is in the folder of the run")
