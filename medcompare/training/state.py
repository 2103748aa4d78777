"""What changes from epoch to epoch, and how a training that was cut off goes on from it."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from medcompare.base.code_identity import code_digest
from medcompare.models.zoo import find_model
from medcompare.training.checkpoints import state_on_cpu
from medcompare.training.records import EpochLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from medcompare.training.checkpoints import ResumePoint
    from medcompare.training.requests import TrainingRequest

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """What a training needs besides the network to go on as if nothing had happened: optimiser, schedule, averages."""

    def state_dict(self) -> dict[str, Any]:
        """State to save."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:  # noqa: ANN401 - torch's signatures differ
        """Take the saved state on."""


@dataclass(kw_only=True)
class FitState:
    """Everything that changes from epoch to epoch; what a retry resumes from."""

    history: list[EpochLog]
    best_epoch: int
    best_state: dict[str, Tensor]
    """With re-measured batch statistics."""
    best_running: dict[str, Tensor]
    """The running statistics of that epoch; empty without batch normalisation."""
    last_better_auc_epoch: int
    n_images_seen: int
    elapsed_s: float

    @property
    def best(self) -> EpochLog | None:
        """The best epoch so far, None before the first."""
        return self.history[self.best_epoch - 1] if self.best_epoch else None


def resume_key(request: TrainingRequest, precision: str, device_type: str) -> str:
    """Digest of all that determines a training, code included: whose state may be resumed."""
    train = request.train
    override = train.recipes.get(request.model)
    facts = {
        "model": request.model,
        "train": train.model_dump(
            mode="json",
            exclude={"weights_dir", "num_workers", "max_parallel", "timeout_minutes", "recipes", "device"},
        ),
        "recipe": override.model_dump(mode="json") if override else None,
        "split": request.split.assignments.sha256,
        "weights": request.weights.identity,
        "seed": request.seed,
        "precision": precision,
        "device": device_type,
        "code": code_digest("medcompare.training.loop", find_model(request.model).build.__module__),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def resumed_state(
    network: nn.Module, parts: Mapping[str, Stateful], resume_point: ResumePoint | None, model: str
) -> FitState:
    """State to go on from, loaded into `network` and `parts`; a blank one where none was saved."""
    saved = resume_point.load() if resume_point is not None else None
    if saved is None:
        return FitState(
            history=[],
            best_epoch=0,
            best_state={},
            best_running={},
            last_better_auc_epoch=0,
            n_images_seen=0,
            elapsed_s=0.0,
        )
    network.load_state_dict(saved["network"])
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    history = [EpochLog.model_validate_json(line) for line in saved["history"]]
    logger.info("%s: resuming after epoch %d", model, len(history))
    return FitState(
        history=history,
        best_epoch=saved["best_epoch"],
        best_state=saved["best_state"],
        best_running=saved["best_running"],
        last_better_auc_epoch=saved["last_better_auc_epoch"],
        n_images_seen=saved["n_images_seen"],
        elapsed_s=history[-1].elapsed_s,
    )


def saved_state(network: nn.Module, parts: Mapping[str, Stateful], state: FitState) -> dict[str, Any]:
    """`state` with that of network and `parts`, as `resumed_state` wants it."""
    return {
        "network": state_on_cpu(network),
        **{name: part.state_dict() for name, part in parts.items()},
        "history": [log.model_dump_json() for log in state.history],
        "best_epoch": state.best_epoch,
        "best_state": state.best_state,
        "best_running": state.best_running,
        "last_better_auc_epoch": state.last_better_auc_epoch,
        "n_images_seen": state.n_images_seen,
    }
