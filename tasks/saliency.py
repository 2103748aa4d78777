"""Maps of one trained model for the cases that the report shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.training.worker.elsewhere import brought_here
from medcompare.training.worker.process import run_saliency
from tasks.cache import GPU_TAG, RETRIES, STORED, content_key, redact_tracebacks
from tasks.gpu import on_the_machine

if TYPE_CHECKING:
    from medcompare.predictions.saliency import SaliencyMaps
    from medcompare.training.identity import SaliencyIdentity
    from medcompare.training.requests import SaliencyRequest


@redact_tracebacks
@task(
    name="saliency",
    task_run_name="saliency {model}",
    tags=[GPU_TAG],
    cache_policy=content_key(
        ignore=("request",), also=("medcompare.training.saliency",), model_argument="model"
    ),
    **RETRIES,
    **STORED,
)
def saliency(model: str, identity: SaliencyIdentity, request: SaliencyRequest) -> SaliencyMaps:  # noqa: ARG001 - the cache key
    """Grad-CAM of the cases that `request` names, and what of it random weights give too."""
    label, away = f"saliency {model}", request.elsewhere is not None
    with brought_here(request) as here, on_the_machine(here.store_root, label=label, on_cluster=away):
        return run_saliency(here)
