"""Train one model in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.training.worker.elsewhere import brought_here
from medcompare.training.worker.process import run_training
from tasks.cache import GPU_TAG, RETRIES, STORED, content_key, redact_tracebacks
from tasks.gpu import with_devices
from tasks.progress_bar import shown

if TYPE_CHECKING:
    from medcompare.training.identity import TrainingIdentity
    from medcompare.training.records import TrainedModel
    from medcompare.training.requests import TrainingRequest


@redact_tracebacks
@task(
    name="train",
    task_run_name="train {model}{variant}",
    tags=[GPU_TAG],
    # `identity` holds what can change the result; `request` repeats it with folders and threads,
    # and `variant` names it.
    cache_policy=content_key(
        ignore=("request", "variant"), also=("medcompare.training.loop",), model_argument="model"
    ),
    **RETRIES,
    **STORED,
)
def train(
    model: str,
    identity: TrainingIdentity,  # noqa: ARG001 - the cache key
    request: TrainingRequest,
    variant: str = "",
) -> TrainedModel:
    """Train `model`; the best checkpoint stands in the artifact store. `variant` tells its trainings apart."""
    away = request.elsewhere is not None
    with (
        brought_here(request) as here,
        with_devices(here, label=f"train {model}{variant}", on_cluster=away) as placed,
        shown(model, variant, away=away) as on_event,
    ):
        return run_training(placed, on_event=on_event)
