"""One night: note the begin, compare with the night before, note the end, mail.

The order matters. A run is in the history before it works, so that a crash leaves a
trace; its report is on the disk before it is mailed; and a mail that fails never fails
the run.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from medcompare.base.errors import MedcompareError
from medcompare.notify.message import build_failure_mail, build_report_mail, should_mail
from medcompare.notify.outbox import OutboxError, deliver, outbox_folder, send_waiting
from medcompare.notify.send import BACK_OFF_S, send
from medcompare.runs.changes import Changes, NightContext, what_changed
from medcompare.runs.history import (
    history_path,
    last_completed,
    list_runs,
    series_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from medcompare.notify.outbox import OutboxReport
    from medcompare.notify.settings import MailConfig
    from medcompare.runs.summary import RunSummary


TREND_RUNS = 30

logger = logging.getLogger(__name__)


def look_back(store: Path, run: RunSummary, *, n_runs: int = TREND_RUNS) -> NightContext:
    """What changed since the last completed run of the series, and the series itself.

    Parameters
    ----------
    store : Path
        The store, which holds the history.
    run : RunSummary
        The run that is about to be reported; it need not be recorded yet.
    n_runs : int
        Longest series, `run` included.

    Raises
    ------
    HistoryError
        If the history cannot be read.
    """
    path = history_path(store)
    previous = last_completed(path, series=run.series, before=run)
    # The same images and the same seed give the same split, and so the same test images.
    looks = {
        (other.config_sha256, other.code_digest)
        for other in list_runs(path, status="completed")
        if (other.data_fingerprint, other.seed, other.kind) == (run.data_fingerprint, run.seed, run.kind)
    } - {(run.config_sha256, run.code_digest)}
    return NightContext(
        changes=what_changed(previous, run),
        runs=series_until(path, run, n_runs=n_runs),
        n_earlier_looks=len(looks) if run.data_fingerprint is not None else 0,
    )


def mail_about(
    run: RunSummary,
    config: MailConfig,
    store: Path,
    *,
    changes: Changes | None = None,
    pdf: Path | None = None,
    link: str | None = None,
    private: Iterable[str] = (),
    now: datetime | None = None,
    back_off_s: Sequence[float] = BACK_OFF_S,
) -> OutboxReport | None:
    """Mail about `run` where the settings ask for it, and send what waits from earlier runs.

    Parameters
    ----------
    run : RunSummary
        A run that has ended, well or not.
    config : MailConfig
        Server, recipients, and when to mail.
    store : Path
        The store, which holds the outbox.
    changes : Changes, optional
        As `look_back` gives them; for runs that completed.
    pdf : Path, optional
        The report.
    link : str, optional
        Web address of the report, or of the run where it failed.
    private : iterable of str
        Words that must not be mailed, see `medcompare.base.discretion.discreet`.
    now : datetime, optional
        With a time zone.
    back_off_s : sequence of float
        Pauses between attempts, seconds.

    Returns
    -------
    OutboxReport or None
        None where the mail could not even be kept; the log says why. Nothing is raised: a
        run must not fail because of a mail.
    """
    now = now or datetime.now(UTC)
    folder = outbox_folder(store)
    message = None
    try:
        if not should_mail(config, run, changes):
            report = send_waiting(config, folder, now=now, back_off_s=back_off_s)
        else:
            message = (
                build_report_mail(run, changes, config, pdf=pdf, now=now, link=link)
                if run.status == "completed"
                else build_failure_mail(run, config, now=now, link=link, private=private)
            )
            report = deliver(message, config, folder, now=now, back_off_s=back_off_s)
    except OutboxError as error:
        # A full disk must not keep its own news: without a place to keep the mail, it is tried once.
        logger.warning("%s; the mail is tried without being kept", error)
        if message is not None:
            send(message, config, back_off_s=back_off_s)
        return None
    except MedcompareError:
        logger.exception("no mail was sent; the report stands in the folder of the run")
        return None
    for sentence in report.sentences:
        logger.log(logging.WARNING if report.n_waiting or report.n_refused else logging.INFO, "%s", sentence)
    return report
