"""What changes from step to step, and how a training that was cut off goes on from it."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from medcompare.base.code_identity import code_digest
from medcompare.models.zoo import find_model
from medcompare.training.batch_statistics import load_statistics
from medcompare.training.checkpoints import state_on_cpu
from medcompare.training.epoch import EpochProgress
from medcompare.training.identity import NOT_IDENTITY
from medcompare.training.passes import random_state
from medcompare.training.records import EpochLog
from medcompare.training.stopping import StoppedError, stop_asked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch import Tensor, nn

    from medcompare.training.checkpoints import ResumePoint
    from medcompare.training.passes import GradientPasses
    from medcompare.training.recipes import FitSettings
    from medcompare.training.requests import TrainingRequest

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """What a training needs besides the network to go on as if nothing had happened: optimiser, schedule, averages."""

    def state_dict(self) -> dict[str, Any]:
        """State to save."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:  # noqa: ANN401 - torch's signatures differ
        """Take the saved state on."""


def is_better(new: EpochLog, best: EpochLog | None) -> bool:
    """Whether `new` replaces the best checkpoint: higher validation AUC, then lower loss."""
    if best is None:
        return True
    if new.val_auc is None or best.val_auc is None:
        return new.val_loss < best.val_loss
    return (new.val_auc, -new.val_loss) > (best.val_auc, -best.val_loss)


def has_progressed(new: EpochLog, best: EpochLog | None) -> bool:
    """Whether `new` resets the patience: a truly higher AUC, not merely a lower loss."""
    if best is None:
        return True
    if new.val_auc is None or best.val_auc is None:
        return new.val_loss < best.val_loss
    return new.val_auc > best.val_auc


@dataclass(kw_only=True)
class FitState:
    """Everything that changes while a training runs, but network and optimiser; what a retry resumes from."""

    history: list[EpochLog]
    best_epoch: int
    best_state: dict[str, Tensor]
    """With re-measured batch statistics."""
    best_running: dict[str, Tensor]
    """The running statistics of that epoch; empty without batch normalisation."""
    last_better_auc_epoch: int
    n_images_seen: int
    elapsed_s: float
    images_at_once: int | None = None
    """Images of one pass, where memory ran out for a whole batch."""
    progress: EpochProgress | None = None
    """Of the epoch that is under way; None between two."""
    random: dict[str, Tensor] = field(default_factory=dict)
    """State of the generators when it was saved, which the rest of that epoch draws from."""

    @property
    def best(self) -> EpochLog | None:
        """The best epoch so far, None before the first."""
        return self.history[self.best_epoch - 1] if self.best_epoch else None

    def add(self, log: EpochLog, judged: nn.Module, running: Mapping[str, Tensor]) -> None:
        """Add a finished epoch, with a copy of the network where it is the best so far."""
        best = self.best
        self.history.append(log)
        self.progress = None
        if has_progressed(log, best):
            self.last_better_auc_epoch = log.epoch
        if is_better(log, best):
            self.best_epoch, self.best_state = log.epoch, state_on_cpu(judged)
            self.best_running = {name: value.cpu() for name, value in running.items()}


def resume_key(request: TrainingRequest, precision: str, device_type: str) -> str:
    """Digest of all that determines a training, code included: whose state may be resumed."""
    train = request.train
    override = train.recipes.get(request.model)
    facts = {
        "model": request.model,
        "train": train.model_dump(
            mode="json",
            exclude=NOT_IDENTITY,
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
    progress = EpochProgress(**saved["progress"]) if saved["progress"] else None
    where = f", step {progress.step} of the next" if progress else ""
    logger.info("%s: resuming after epoch %d%s", model, len(history), where)
    return FitState(
        history=history,
        best_epoch=saved["best_epoch"],
        best_state=saved["best_state"],
        best_running=saved["best_running"],
        last_better_auc_epoch=saved["last_better_auc_epoch"],
        n_images_seen=saved["n_images_seen"],
        elapsed_s=saved["elapsed_s"],
        images_at_once=saved["images_at_once"],
        progress=progress,
        random=saved["random"],
    )


class Keeper:
    """Saves a running training every ``checkpoint_every_s`` seconds, and before it ends because it was told to.

    Parameters
    ----------
    network, parts, state, passes
        The training, whose changing state they hold.
    settings : FitSettings
        How often, and where the network is placed.
    resume_point : ResumePoint or None
        Where it is saved, by the first rank for all; None: nowhere.
    """

    def __init__(  # noqa: PLR0917 - what a training consists of
        self,
        network: nn.Module,
        parts: Mapping[str, Stateful],
        state: FitState,
        passes: GradientPasses,
        settings: FitSettings,
        resume_point: ResumePoint | None,
    ) -> None:
        self._network, self._parts, self._state, self._passes = network, parts, state, passes
        self._device, self._every_s = settings.placement.device, settings.options.checkpoint_every_s
        self._point = resume_point if settings.placement.ranks.is_first else None
        self._elapsed_before, self._started = state.elapsed_s, time.perf_counter()
        self._saved_at = self._started

    def elapsed_s(self) -> float:
        """Time the training has taken, what it took before it was cut off included, seconds."""
        return self._elapsed_before + time.perf_counter() - self._started

    def if_due(self) -> None:
        """Save, if the last time is long enough ago, or if the process is told to end.

        Raises
        ------
        StoppedError
            If it is.
        """
        to_end = stop_asked()
        if to_end or time.perf_counter() - self._saved_at >= self._every_s:
            self.save()
        if to_end:
            raise StoppedError

    @contextmanager
    def saved_where_stopped(self, judged: nn.Module, running: Mapping[str, Tensor]) -> Iterator[None]:
        """Save where `StoppedError` ends the block, in which batch statistics alone change, with those of before."""
        try:
            yield
        except StoppedError:
            load_statistics(judged, running)
            self.save()
            raise

    def save(self) -> None:
        """Save. To be called when all parts belong together."""
        if self._point is None:
            return
        self._state.elapsed_s = self.elapsed_s()
        self._state.images_at_once = self._passes.images_at_once
        self._point.save(saved_state(self._network, self._parts, self._state, self._device))
        self._saved_at = time.perf_counter()


def saved_state(
    network: nn.Module, parts: Mapping[str, Stateful], state: FitState, device: torch.device
) -> dict[str, Any]:
    """`state` with that of network, `parts` and generators, as `resumed_state` wants it."""
    return {
        "network": state_on_cpu(network),
        **{name: part.state_dict() for name, part in parts.items()},
        "history": [log.model_dump_json() for log in state.history],
        "best_epoch": state.best_epoch,
        "best_state": state.best_state,
        "best_running": state.best_running,
        "last_better_auc_epoch": state.last_better_auc_epoch,
        "n_images_seen": state.n_images_seen,
        "elapsed_s": state.elapsed_s,
        "images_at_once": state.images_at_once,
        "progress": asdict(state.progress) if state.progress else None,
        "random": random_state(device),
    }
