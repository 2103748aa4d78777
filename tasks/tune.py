"""One trial of the search for hyperparameters, in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.training.worker.elsewhere import brought_here
from medcompare.training.worker.process import run_trial
from tasks.cache import GPU_TAG, RETRIES, STORED, content_key, redact_tracebacks
from tasks.gpu import with_devices
from tasks.progress_bar import shown

if TYPE_CHECKING:
    from medcompare.training.identity import TrialIdentity
    from medcompare.training.requests import TrialRequest
    from medcompare.training.search import Trial


@redact_tracebacks
@task(
    name="tune",
    task_run_name="tune {model}{variant}",
    tags=[GPU_TAG],
    # As of `tasks.train.train`.
    cache_policy=content_key(
        ignore=("request", "variant"), also=("medcompare.training.tuning",), model_argument="model"
    ),
    **RETRIES,
    **STORED,
)
def tune(
    model: str,
    identity: TrialIdentity,  # noqa: ARG001 - the cache key
    request: TrialRequest,
    variant: str,
) -> Trial:
    """Carry out one trial of `model`; `variant` tells it from the others."""
    away = request.elsewhere is not None
    with (
        brought_here(request) as here,
        with_devices(here, label=f"tune {model}{variant}", on_cluster=away) as placed,
        shown(model, variant, away=away) as on_event,
    ):
        return run_trial(placed, on_event=on_event)
