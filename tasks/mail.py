"""Mail what is to be mailed about a run, and what waits from earlier ones."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from medcompare.base.errors import ConfigError
from medcompare.notify import nightly
from medcompare.notify.settings import mail_config_from_environment
from tasks.cache import redact_tracebacks
from tasks.mail_block import mail_config_from_block

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.notify.settings import MailConfig
    from medcompare.runs.changes import Changes
    from medcompare.runs.summary import RunSummary

logger = logging.getLogger("medcompare.mail")


# No retries here: the pauses between attempts are the mail's own, and what is left waits in the outbox.
@redact_tracebacks
@task(name="mail", task_run_name="mail", cache_policy=NO_CACHE, persist_result=False)
def mail(
    run: RunSummary,
    store: Path,
    changes: Changes | None = None,
    pdf: Path | None = None,
    link: str | None = None,
    to: tuple[str, ...] = (),
) -> None:
    """Mail about `run` where the settings ask for it, or `to` those named; a run never fails because of a mail."""
    settings = mail_settings()
    if settings is not None:
        if to:
            settings = settings.model_copy(update={"recipients": to})
        nightly.mail_about(run, settings, store, changes=changes, pdf=pdf, link=link)


def mail_settings() -> MailConfig | None:
    """Settings from the environment, else from the block; None where neither is there, or both are wrong."""
    try:
        return mail_config_from_environment(os.environ) or mail_config_from_block()
    except ConfigError:
        logger.exception("no mail can be sent: the settings are wrong")
        return None
