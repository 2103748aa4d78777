"""Probabilities of one trained model on the validation and test subsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.training.worker.elsewhere import brought_here
from medcompare.training.worker.process import run_prediction
from tasks.cache import GPU_TAG, RETRIES, STORED, content_key, redact_tracebacks
from tasks.gpu import on_the_machine

if TYPE_CHECKING:
    from medcompare.predictions.records import Predictions
    from medcompare.training.identity import PredictionIdentity
    from medcompare.training.requests import PredictionRequest


@redact_tracebacks
@task(
    name="predict",
    task_run_name="predict {model}{variant}",
    tags=[GPU_TAG],
    cache_policy=content_key(
        ignore=("request", "variant"),
        also=("medcompare.training.inference", "medcompare.training.records"),
        model_argument="model",
    ),
    **RETRIES,
    **STORED,
)
def predict(
    model: str,
    identity: PredictionIdentity,  # noqa: ARG001 - the cache key
    request: PredictionRequest,
    variant: str = "",
) -> Predictions:
    """Predict with the checkpoint that `request` names; `variant` tells the trainings of a model apart."""
    label, away = f"predict {model}{variant}", request.elsewhere is not None
    with brought_here(request) as here, on_the_machine(here.store_root, label=label, on_cluster=away):
        return run_prediction(here)
