"""Train one model in a process of its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from prefect import task

from medcompare import progress
from medcompare.models.zoo import MODELS
from medcompare.training_process import run_training
from tasks.gpu import on_the_machine
from tasks.policies import GPU_TAG, RETRIES, STORED, TORCH, content_key
from tasks.progress_bar import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medcompare.stage_inputs import TrainingIdentity
    from medcompare.training_records import TrainedModel
    from medcompare.training_requests import TrainingRequest

logger = logging.getLogger("medcompare.train")


@task(
    name="train",
    task_run_name="train {model}",
    tags=[GPU_TAG],
    # `identity` holds what can change the result; `request` repeats it with folders and threads.
    cache_policy=content_key(
        "medcompare.training", ignore=("request",), libraries=TORCH, model_argument="model"
    ),
    **RETRIES,
    **STORED,
)
def train(model: str, identity: TrainingIdentity, request: TrainingRequest) -> TrainedModel:  # noqa: ARG001 - identity is the cache key
    """Train `model`; the best checkpoint stands in the artifact store."""
    name = MODELS[model].display_name
    bar = ProgressBar(model, name)

    def on_event(event: Mapping[str, Any]) -> None:
        progress.report(name, event)
        is_epoch = event["event"] == "epoch"
        line = progress.epoch_line(name, event)
        if is_epoch:
            logger.info("%s", line)
        bar.show(progress.share_done(event), line, now=is_epoch)

    with on_the_machine(request.store_root, label=f"train {model}"):
        try:
            return run_training(request, on_event=on_event)
        finally:
            progress.finished(name)
