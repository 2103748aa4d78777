"""Training one network: seeded, repeatable, resumable; the best validation checkpoint wins.

Same machine, seed, precision and number of threads give the same history to the last
digit. Every epoch draws from generators seeded by (seed, epoch), whose state is saved with the rest,
so a training that was cut off, in the middle of an epoch too, ends exactly where an undisturbed one does.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.devices import pick_device
from medcompare.base.errors import PeerError, TrainingError
from medcompare.base.hardware import device_name, keep_freed_memory
from medcompare.base.language import message
from medcompare.data.assignments import read_assignments
from medcompare.models.registry import build_model, count_parameters
from medcompare.models.zoo import find_model
from medcompare.training import probe
from medcompare.training.batch_statistics import load_statistics, momenta, normalisations, statistics_of
from medcompare.training.checkpoints import ResumePoint, write_checkpoint
from medcompare.training.compilation import choose_compilation
from medcompare.training.epoch import (
    COMPARED_IMAGES,
    EpochProgress,
    NotFiniteError,
    compare_statistics,
    not_finite,
    remeasure,
    seed_epoch,
    train_one_epoch,
    validate_epoch,
)
from medcompare.training.events import EpochReporter
from medcompare.training.kernels import kernels_of
from medcompare.training.options import averaged, described_options, freeze, schedule_of
from medcompare.training.passes import GradientPasses, set_random_state
from medcompare.training.precision import choose_precision
from medcompare.training.preview import contact_sheet
from medcompare.training.ranks import joined
from medcompare.training.recipes import (
    FitSettings,
    class_weights_of,
    described_optimizer,
    optimizer_of,
    recipe_of,
)
from medcompare.training.records import BatchNormFacts, EpochLog, StepSpeed, TrainedModel, WhyCompiled
from medcompare.training.replay import keep_batch
from medcompare.training.scoring import Placement, make_repeatable
from medcompare.training.state import FitState, Keeper, Stateful, resume_key, resumed_state
from medcompare.training.stopping import stoppable
from medcompare.training.subsets import subsets_of
from medcompare.training.transforms import evaluation_resize_px

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from medcompare.training.dataset import BatchLoader
    from medcompare.training.events import EventHandler
    from medcompare.training.requests import TrainingRequest
    from medcompare.training.subsets import Subsets

SELECTION = message(
    "highest validation AUC; among equals the lowest validation loss, then the earliest epoch"
)
SELECTION_BY_LOSS = message("lowest validation loss, as the validation subset has one class only")


def fit(
    network: nn.Module,
    training: BatchLoader,
    validation: BatchLoader,
    sample: BatchLoader,
    settings: FitSettings,
    *,
    emit: EventHandler | None = None,
    resume_point: ResumePoint | None = None,
    stop: Callable[[Sequence[EpochLog]], bool] = lambda _: False,
) -> FitState:
    """Train `network` until the last epoch, until patience ends, or until `stop` says so.

    Seeds torch's global generator at the start of every epoch (dropout draws from it).

    Parameters
    ----------
    network : nn.Module
        Placed as `settings` say; changed in place. The best state is returned, not loaded.
    training, validation : BatchLoader
        The two subsets.
    sample : BatchLoader
        Training images without augmentation, which batch statistics are measured on.
    settings : FitSettings
        Recipe, limits, seed, precision.
    emit : callable, optional
        Gets ``progress`` and ``epoch`` events.
    resume_point : ResumePoint, optional
        Where to resume from and to save to.
    stop : callable, optional
        Asked after every epoch but the last, with the epochs so far.

    Returns
    -------
    FitState
        History, best epoch and best state.

    Raises
    ------
    TrainingError
        If a loss is not finite, or memory runs out for two images at once.
    StoppedError
        If the process is told to end within `stoppable`; what was done is saved.
    DataError
        If an image changed or cannot be read.
    DiskFullError
        If there is no room for a checkpoint.
    """
    options, head, ranks = settings.options, settings.spec.head, settings.placement.ranks
    optimizer = optimizer_of(
        network, settings.recipe, head=head, backbone_lr_factor=options.backbone_lr_factor
    )
    schedule, average = schedule_of(optimizer, options, training.n_steps), averaged(network, options)
    passes = GradientPasses(network, settings)
    scaler = passes.scaler if passes.scaler.is_enabled() else None
    found = (("optimizer", optimizer), ("schedule", schedule), ("average", average), ("scaler", scaler))
    parts: dict[str, Stateful] = {name: part for name, part in found if part is not None}
    judged = network if average is None else average.module

    def after_update() -> None:
        if schedule is not None:
            schedule.step()
        if average is not None:
            average.update_parameters(network)

    state = resumed_state(network, parts, resume_point, settings.spec.name)
    passes.images_at_once = settings.images_at_once or state.images_at_once
    keep = Keeper(network, parts, state, passes, settings, resume_point)
    for epoch in range(len(state.history) + 1, settings.epochs + 1):
        if epoch - state.last_better_auc_epoch > settings.patience or (state.history and stop(state.history)):
            break
        seed_epoch(settings.seed, epoch)
        last = state.history[-1] if state.history else None
        reporter = EpochReporter(
            emit,
            model=settings.spec.name,
            epoch=epoch,
            epochs=settings.epochs,
            steps=training.n_steps,
            val_auc=last.val_auc if last else None,
            mean_epoch_s=last.elapsed_s / last.epoch if last else None,
        )
        if options.frozen_epochs:
            freeze(network, head, frozen=epoch <= options.frozen_epochs)
        if state.progress is None:
            state.progress = EpochProgress(learning_rate=float(optimizer.param_groups[-1]["lr"]))
        else:
            set_random_state(state.random, settings.placement.device)
        progress = state.progress
        batches = training.shuffled(seed=settings.seed, epoch=epoch, n_done=progress.step, ranks=ranks)
        trained = train_one_epoch(
            network,
            optimizer,
            batches,
            settings,
            epoch=epoch,
            n_steps=training.n_steps,
            progress=progress,
            passes=passes,
            on_step=reporter.step,
            after_update=after_update,
            after_step=keep.if_due,
        )
        # Judged with statistics that belong to the weights; trained on with the library's own.
        # Those of frozen layers are the pretrained ones, which the head was trained on.
        running = {} if epoch <= options.frozen_epochs else statistics_of(judged)
        with keep.saved_where_stopped(judged, running):
            measured = remeasure(judged, sample, settings) if running else None
            validated = validate_epoch(judged, validation, settings)
        if not math.isfinite(validated.loss):
            raise TrainingError(not_finite("validation loss", settings, f"the end of epoch {epoch}"))
        state.elapsed_s = keep.elapsed_s()
        state.n_images_seen += trained.n_images
        log = EpochLog(
            epoch=epoch,
            learning_rate=progress.learning_rate,
            train_loss=trained.loss,
            val_loss=validated.loss,
            val_auc=validated.auc,
            val_balanced_accuracy=validated.balanced_accuracy,
            images_per_s=trained.n_images / trained.elapsed_s,
            elapsed_s=state.elapsed_s,
            sample_loss_training_mode=measured.loss if measured else None,
            remeasuring_s=measured.elapsed_s if measured else 0.0,
        )
        # Ranks agree but for their clocks.
        state.add(ranks.of_first(lambda log=log: log), judged, running)  # type: ignore[misc]
        load_statistics(judged, running)
        reporter.epoch_end(log)
        keep.if_due()
    state.images_at_once = passes.images_at_once
    if options.frozen_epochs:
        freeze(network, head, frozen=False)
    return state


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A training that is ready to begin: network, images and settings."""

    network: nn.Module
    subsets: Subsets
    settings: FitSettings
    resume_point: ResumePoint
    speeds: tuple[StepSpeed, ...]
    why_compiled: WhyCompiled

    def fit(
        self, *, emit: EventHandler | None, stop: Callable[[Sequence[EpochLog]], bool] = lambda _: False
    ) -> FitState:
        """Carry it out; see `fit`.

        Raises
        ------
        TrainingError, DataError, DiskFullError
            As `fit`.
        PeerError
            If a loss is not finite, on another rank than the first, which has the batch.
        """
        network, settings, point = self.network, self.settings, self.resume_point
        try:
            # Told to end, the first one saves; the others end when they lose it.
            with stoppable() if settings.placement.ranks.is_first else nullcontext():
                return fit(network, *self.subsets, settings, emit=emit, resume_point=point, stop=stop)
        except NotFiniteError as error:
            if not settings.placement.ranks.is_first:  # which keeps the batch, and says so
                raise PeerError(str(error)) from None
            store_root = point.folder.parents[1]
            raise keep_batch(error, network, self.subsets.training, settings, store_root) from None


@contextmanager
def prepared(request: TrainingRequest) -> Iterator[Prepared]:
    """Network, images and settings of `request`; sets threads and repeatable kernels of this process.

    On several devices, meets the other ranks, and leaves them at the end.

    Raises
    ------
    DataError, WeightsError, ConfigError, ArtifactError, PeerError
        As `build_model`, `pick_device`, the store and `joined` do.
    """
    train, spec, rank = request.train.for_model(request.model), find_model(request.model), request.rank
    if request.n_threads is not None:
        torch.set_num_threads(request.n_threads)
    keep_freed_memory()
    device = pick_device(train.device, index=request.device_index + (rank.number if rank else 0))
    make_repeatable(device)
    rows = read_assignments(ArtifactStore(request.store_root).read(request.split.assignments))
    subsets = subsets_of(rows, request, spec, device)
    with ExitStack() as stack:
        ranks = stack.enter_context(joined(rank, device))
        precision, memory_format, speeds = ranks.of_first(
            lambda: choose_precision(
                spec,
                # What one device does.
                train.model_copy(update={"batch_size": -(-train.batch_size // ranks.size)}),
                device,
                store=request.store_root,
                n_images=len(subsets.training.images) // ranks.size,
            )
        )
        compilation = choose_compilation(
            spec,
            train,
            device,
            (precision, memory_format),
            store=request.store_root,
            n_images=len(subsets.training.images),
            speeds=speeds,
        )
        how = f"{precision} {memory_format}"
        if compilation.compiled:
            how += " compiled"
            stack.enter_context(kernels_of(request.store_root, device))
        placement = Placement(device=device, memory_format=memory_format, ranks=ranks)
        network = build_model(spec, seed=request.seed, weights_path=request.weights.path)
        yield Prepared(
            network=placement.network(network),
            subsets=subsets,
            settings=FitSettings(
                spec=spec,
                recipe=recipe_of(spec, train),
                epochs=train.epochs,
                patience=train.patience,
                class_weights=class_weights_of(subsets.training.images.labels, train.class_weighting),
                seed=request.seed,
                placement=placement,
                precision=precision,
                options=train,
                compiled=compilation.compiled,
                images_at_once=request.images_at_once,
            ),
            resume_point=ResumePoint(request.store_root, resume_key(request, how, device.type)),
            speeds=speeds + compilation.speeds,
            why_compiled=compilation.why,
        )


def share_training(request: TrainingRequest) -> None:
    """Do the part of another rank than the first in one training; the first one reports and stores.

    Raises
    ------
    TrainingError, DataError, WeightsError, ConfigError, ArtifactError
        As `train_model`.
    """
    with prepared(request) as ready:
        _compare_kept(ready, ready.fit(emit=None))


def _compare_kept(ready: Prepared, state: FitState) -> None:
    """Add to the epoch that is kept what re-measuring its batch statistics changed; `ready` has its weights then."""
    if state.best is None or not state.best_running:
        return
    ready.network.load_state_dict(state.best_state)
    compared = compare_statistics(
        ready.network, state.best_running, ready.subsets.sample, ready.subsets.validation, ready.settings
    )
    state.history[state.best_epoch - 1] = state.best.model_copy(update=compared)
    state.elapsed_s += compared["comparison_s"] or 0.0


def train_model(request: TrainingRequest, *, emit: EventHandler | None = None) -> TrainedModel:
    """Carry out one training and store its best checkpoint.

    Parameters
    ----------
    request : TrainingRequest
        What to train, on what, with what.
    emit : callable, optional
        Gets ``progress`` and ``epoch`` events.

    Returns
    -------
    TrainedModel
        The best checkpoint and how it came about.

    Raises
    ------
    TrainingError, DataError, WeightsError, ConfigError, ArtifactError
        As `fit`, `build_model`, `pick_device` and the store do.
    """
    store = ArtifactStore(request.store_root)
    with prepared(request) as ready:
        settings, (training, validation, sample) = ready.settings, ready.subsets
        train, spec, placement = settings.options, settings.spec, settings.placement
        if spec.probe:
            state, optimizer = probe.fit_probe(ready.network, sample, validation, settings)
            selections = probe.SELECTION, probe.SELECTION_BY_LOSS
        else:
            state = ready.fit(emit=emit)
            _compare_kept(ready, state)
            optimizer = described_optimizer(settings.recipe)
            selections = SELECTION, SELECTION_BY_LOSS
    preview = None if spec.probe else store.write(contact_sheet(training.images, sample.images), ".png")
    checkpoint = write_checkpoint(store, state.best_state, model=spec.name, running=state.best_running)
    ready.resume_point.clear()
    return TrainedModel(
        model=spec.name,
        display_name=spec.display_name,
        checkpoint=checkpoint,
        history=tuple(state.history),
        best_epoch=state.best_epoch,
        selection=selections[state.history[-1].val_auc is None],
        probe=spec.probe,
        preview=preview,
        stopped_early=not spec.probe and len(state.history) < train.epochs,
        initial_weights=request.weights.initial,
        optimizer=optimizer,
        options=() if spec.probe else described_options(train),
        class_weights=settings.class_weights,
        image_size_px=train.image_size_px,
        resize_px=evaluation_resize_px(train.image_size_px, train.resize_px, spec.crop_pct),
        transforms=spec.transforms,
        batch_size=train.batch_size,
        n_parameters=count_parameters(ready.network),
        precision=settings.precision,
        memory_format=placement.memory_format,
        compiled=settings.compiled,
        why_compiled=ready.why_compiled,
        speeds=ready.speeds,
        device=device_name(placement.device),
        n_devices=placement.ranks.size,
        n_threads=torch.get_num_threads(),
        n_parallel=request.n_parallel,
        seed=request.seed,
        images_at_once=state.images_at_once,
        n_images_seen=state.n_images_seen,
        elapsed_s=state.elapsed_s,
        batch_norm=BatchNormFacts(
            n_layers=len(normalisations(ready.network)),
            momenta=momenta(ready.network),
            n_sample_images=len(sample.images),
            n_compared_images=min(COMPARED_IMAGES, len(sample.images)),
        )
        if state.best_running
        else None,
    )
