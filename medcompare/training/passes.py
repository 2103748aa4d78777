"""Forward and backward passes over a batch, in parts of it once memory has run out."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import torch
from torch.nn.parallel import DistributedDataParallel

from medcompare.base.errors import MemoryRanOutError, TrainingError
from medcompare.training.batch_statistics import normalisations
from medcompare.training.dataset import batch_starts
from medcompare.training.kernels import compiled
from medcompare.training.options import mixed, training_loss
from medcompare.training.ranks import WholeBatch, parts
from medcompare.training.scoring import autocast

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medcompare.training.dataset import Batch
    from medcompare.training.recipes import FitSettings

LEAST_IMAGES = 2
"""A batch of one image has no variance for batch normalisation to divide by."""

_CPU_WORDS = "DefaultCPUAllocator: can't allocate memory"
_MPS_WORDS = "MPS backend out of memory"

logger = logging.getLogger(__name__)


class GradientPasses:
    """Computes the gradient of a batch's loss.

    Where memory runs out, the batch is gone through in parts of half as many images, of a quarter and so on,
    from then on. Each part's loss has the weight of its images, so that the sum of the gradients is that of the
    whole batch; only batch normalisation sees fewer images at a time, and dropout draws differently. On several devices
    the training ends for that, and begins anew with fewer images at once: one that has run out cannot ask the others,
    which wait for its numbers.

    Parameters
    ----------
    network : nn.Module
        Its gradients are replaced at every call.
    settings : FitSettings
        Class weights, options, precision, placement.
    images_at_once : int, optional
        Images of one pass on each device, where memory ran out before; None: whole batches.
    """

    def __init__(
        self, network: nn.Module, settings: FitSettings, *, images_at_once: int | None = None
    ) -> None:
        self.images_at_once = images_at_once
        self._network = network
        self._settings = settings
        self._device, self._ranks = settings.placement.device, settings.placement.ranks
        self._copies = self._ranks.copies(network)
        self._by_kernels = compiled(network, settings.spec.name) if settings.compiled else None
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=settings.precision == "float16")
        """Keeps small gradients above float16's smallest numbers, and leaves out a step whose gradients overflow."""
        self._class_weights = torch.tensor(settings.class_weights, device=self._device)

    def __call__(self, batch: Batch) -> Tensor:
        """Loss of `batch`, class-weighted mean, detached; the gradients stand in the network.

        Of several ranks each gets the same: loss and gradient of the whole batch.

        Raises
        ------
        MemoryRanOutError
            If memory runs out on one of several devices.
        TrainingError
            If memory runs out even for two images at once.
        """
        before = random_state(self._device)
        while True:
            self._network.zero_grad(set_to_none=True)
            try:
                return self._ranks.summed(self._whole(batch))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                words = str(error).split(". ", 1)[0][:200]
            # Outside the handler: the traceback held all that the passes had allocated.
            if self._ranks.size > 1:
                raise MemoryRanOutError(words, transient=True)
            self._halve(len(batch.labels), words)
            set_random_state(before, self._device)

    def _whole(self, batch: Batch) -> Tensor:
        """The share of this rank in the loss of `batch`."""
        settings, size = self._settings, self._ranks.size
        of_all = batch.of_all or batch.labels.tolist()
        labels = batch.labels.to(self._device, non_blocking=True)
        inputs = settings.placement.inputs(batch.images, settings.spec)
        if settings.options.mixup_alpha and len(labels):
            inputs, labels = mixed(inputs, labels, settings.options)
        at_once = None if self.images_at_once is None else self.images_at_once * size
        if size == 1 and (at_once is None or at_once >= len(inputs)):
            return self._part(inputs, labels, share=None)
        # Mixing exchanges weights within the rows of a rank, whose sum stays.
        weight = sum(settings.class_weights[label] for label in of_all)
        # As many passes on each rank: batch normalisation waits for all in each of them.
        rows = parts(len(inputs), len(batch_starts(len(of_all), at_once or len(of_all))))
        losses = []
        for part in rows:
            with contextlib.nullcontext() if part is rows[-1] else self._without_sum():
                share = self._weight(labels[part]) / weight
                losses.append(self._part(inputs[part], labels[part], share=share))
        return torch.stack(losses).sum()

    def _without_sum(self) -> contextlib.AbstractContextManager[None]:
        """Within it, gradients are left to be added up over the ranks in a later pass."""
        copies = self._copies
        return copies.no_sync() if isinstance(copies, DistributedDataParallel) else contextlib.nullcontext()

    def _part(self, inputs: Tensor, labels: Tensor, *, share: Tensor | None) -> Tensor:
        settings, size = self._settings, self._ranks.size
        with (
            WholeBatch() if size > 1 else contextlib.nullcontext(),
            autocast(self._device, settings.precision),
        ):
            logits = self._forward(inputs)
        if len(labels):
            loss = training_loss(logits.float(), labels, self._class_weights, settings.options)
        else:  # the other ranks wait for the gradients of this one
            loss = logits.float().sum()
        if share is not None:
            loss = loss * share
        # The gradients of the ranks are averaged.
        self.scaler.scale(loss * size if size > 1 else loss).backward()
        return loss.detach()

    def _forward(self, inputs: Tensor) -> Tensor:
        """Logits; compiled where that is asked for, for the one number of images that kernels are made for."""
        whole = self._network.training and len(inputs) == self._settings.options.batch_size
        logits: Tensor = (self._by_kernels if whole and self._by_kernels else self._copies)(inputs)
        return logits

    def _weight(self, labels: Tensor) -> Tensor:
        """What the mean over `labels` divides by: the sum of the weights of their classes."""
        weights = labels @ self._class_weights if labels.ndim > 1 else self._class_weights[labels]
        return weights.sum()

    def _halve(self, n_images: int, words: str) -> None:
        before = min(self.images_at_once or n_images, n_images)
        if before <= LEAST_IMAGES:
            msg = (
                f"{self._settings.spec.name}: memory ran out even for {before} images at once ({words}): lower "
                "train.image_size_px or train.max_parallel, or end other programs that use the memory"
            )
            raise TrainingError(msg, transient=True)
        self.images_at_once = max(LEAST_IMAGES, (before + 1) // 2)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning(
            "%s: memory ran out for %d images at once (%s): going on with %d at a time, added up to the same batch%s",
            self._settings.spec.name,
            before,
            words,
            self.images_at_once,
            f"; batch normalisation sees only {self.images_at_once} at a time from now on, which changes the result"
            if normalisations(self._network)
            else "",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory, of the device or of the machine, has run out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in (_CPU_WORDS, _MPS_WORDS)
    )


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of the generators that a network on `device` may draw from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Let the generators go on from `state`."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    if "mps" in state:
        torch.mps.set_rng_state(state["mps"])
