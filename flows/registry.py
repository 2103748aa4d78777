"""One night of the registry: champion, challenger and drift on new images, with history, page and mail.

Trigger      the deployment ``registry``, by a schedule that you set; ``medcompare registry night`` does the same.
Caching      none: what a night found is kept by the registry, and images that were new once are not new again.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from prefect import State, flow
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.lifecycle import parameter
from medcompare.base.errors import redact
from medcompare.base.file_access import files_readable_by
from medcompare.base.language import in_language
from medcompare.config.errors import validated
from medcompare.config.registry import NightConfig
from medcompare.handover.night import SUBJECTS
from medcompare.handover.night import night as one_night
from medcompare.handover.night_end import failed_at, finished, logged
from medcompare.handover.nights_page import told
from medcompare.handover.registry import ModelRegistry
from tasks.mail import mail


@flow(
    name="registry",
    description="Let a challenger meet the champion, and watch for drift.",
    flow_run_name=lambda: f"night of {parameter('config', 'registry', 'model') or 'medcompare'}",
    persist_result=False,
    # Done below instead, so that a bad value reads the same here and on the command line.
    validate_parameters=False,
)
def night(config: NightConfig) -> State[dict[str, Any]]:
    """Score, compare, decide, record, mail, log in MLflow; a night that fails is recorded and mailed too."""
    logger, at, settings = get_run_logger(), datetime.now(UTC), None
    with ExitStack() as block:
        try:
            settings = validated(NightConfig, config)
            block.enter_context(in_language(settings.language))
            with files_readable_by("owner"):
                registry = ModelRegistry(settings.registry, settings.store)
                found = one_night(settings, registry, at=at)
                run, changes, page = finished(settings, registry, found)
        except Exception as error:  # noqa: BLE001 - nothing of the data may reach the server
            if settings is not None:
                mail(failed_at(settings, at, error), settings.store)
            raise redact(error) from None
        for line in told(found):
            logger.info("%s", line)
        mail(run, settings.store, changes=changes)
        logged(registry, found, run, page)
        facts = {
            "decision": found.headline,
            "alarm": [SUBJECTS[one] for one in found.alarm.changed],
            "page": str(page),
        }
        return Completed(message=found.headline, data=facts)
