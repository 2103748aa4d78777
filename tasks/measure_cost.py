"""What one model costs, measured with nothing else running."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect import task

from medcompare.training.worker.process import run_cost_measurement
from tasks.cache import GPU_TAG, RETRIES, STORED, content_key, redact_tracebacks
from tasks.gpu import on_the_machine

if TYPE_CHECKING:
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.training.identity import CostIdentity
    from medcompare.training.requests import CostRequest


logger = logging.getLogger("medcompare.cost")


@redact_tracebacks
@task(
    name="measure cost",
    task_run_name="measure cost of {model}",
    tags=[GPU_TAG],
    cache_policy=content_key(
        ignore=("request",),
        also=("medcompare.training.cost", "medcompare.base.hardware"),
        model_argument="model",
        with_equivalent=True,
    ),
    **RETRIES,
    **STORED,
)
def measure_cost(model: str, identity: CostIdentity, request: CostRequest) -> CostMeasurement:  # noqa: ARG001 - the cache key
    """Measure the checkpoint that `request` names; call it while nothing else runs."""
    name = request.trained.display_name
    with on_the_machine(request.store_root, alone=True, label=f"measuring the cost of {name}"):
        logger.info("measuring %s alone", name)
        return run_cost_measurement(request)
