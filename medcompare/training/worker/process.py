"""Training, prediction, maps and cost measurement, each in a process of its own.

The parent's side (`run_training`, `run_prediction`, `run_saliency`, `run_cost_measurement`,
`plan_parallel`) never imports torch. ``python -m medcompare.training.worker.process JOB`` is
the child's side; see `medcompare.training.worker.child` for what passes between them.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from medcompare.base.errors import ConfigError, MemoryRanOutError, TrainingError
from medcompare.base.hardware import (
    DeviceSummary,
    ParallelPlan,
    may_have_gpu,
    parallel_plan,
    usable_cores,
)
from medcompare.base.record import Record
from medcompare.predictions.costs import CostMeasurement
from medcompare.predictions.records import Predictions
from medcompare.predictions.saliency import SaliencyMaps
from medcompare.training.records import TrainedModel
from medcompare.training.requests import (
    CostRequest,
    PredictionRequest,
    Rank,
    SaliencyRequest,
    TrainingRequest,
    TrialRequest,
)
from medcompare.training.search import Trial
from medcompare.training.worker.child import EventHandler, run_child, serve
from medcompare.training.worker.together import run_together

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.config.train import TrainConfig

MODULE = "medcompare.training.worker.process"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SPINS = "10000"
"""How often a thread of GNU's OpenMP looks for its next piece of work before it sleeps, not the library's 300,000.
Where others use the cores as well, a thread that looks for so long keeps one from the thread it waits for: two took six
times the processor time. With 1,000 a single image took longer on quiet cores, with 10,000 it did not
(docs/overhead.md)."""

MAX_PATH_BYTES = 54
"""Of a store that has room for scratch folders: processes that load data hand images on through sockets below them,
whose paths may have 104 bytes (macOS; Linux: 108). With a longer one nothing arrives, and the training would hang."""

logger = logging.getLogger(__name__)

AnyRequest = TypeVar("AnyRequest", TrainingRequest, PredictionRequest, SaliencyRequest, CostRequest)


def run_training(request: TrainingRequest, *, on_event: EventHandler | None = None) -> TrainedModel:
    """Train one network in a process of its own.

    Parameters
    ----------
    request : TrainingRequest
        What to train, on what, with what.
    on_event : callable, optional
        Called in this thread with a mapping: ``event`` is ``"progress"`` (at most five a
        second) or ``"epoch"`` (one at the end of each, with the whole `EpochLog` under
        ``log``); both carry ``model, epoch, epochs, step, steps, loss, val_auc,
        images_per_s, eta_s`` (None while unknown).

    Returns
    -------
    TrainedModel
        With its checkpoint in the artifact store.

    Raises
    ------
    TrainingError
        Loss not finite, process killed, time limit passed. Where ``transient``, the same
        request may be tried again and resumes from the last saved state.
    DataError
        If an image changed since it was validated or cannot be read.
    """
    label = f"training of {request.model}"
    return _run_limited("train", request, TrainedModel, label=label, on_event=on_event)


def run_trial(request: TrialRequest, *, on_event: EventHandler | None = None) -> Trial:
    """Carry out one trial of a search for hyperparameters in a process of its own; events are those of `run_training`.

    Raises
    ------
    TrainingError, DataError
        As `run_training`, but for a loss that is not finite, which is a result here.
    """
    label = f"trial {len(request.earlier) + 1} of {request.model}"
    return _run_limited("trial", request, Trial, label=label, on_event=on_event)


def run_prediction(request: PredictionRequest) -> Predictions:
    """Probabilities of one trained model, computed in a process of its own.

    Raises
    ------
    TrainingError, DataError
        As `run_training`.
    """
    return _run("predict", request, Predictions, label=f"prediction with {request.trained.model}")


def run_saliency(request: SaliencyRequest) -> SaliencyMaps:
    """Maps of single cases of one trained model, computed in a process of its own.

    Raises
    ------
    TrainingError, DataError
        As `run_training`.
    """
    return _run("saliency", request, SaliencyMaps, label=f"maps of {request.trained.model}")


def run_cost_measurement(request: CostRequest, *, timeout_s: float | None = None) -> CostMeasurement:
    """Cost of one trained model, measured in a process of its own.

    Call it with nothing else running: the figures are those of a machine to itself.

    Parameters
    ----------
    request : CostRequest
        The trained model, how to measure, and images for a few training steps.
    timeout_s : float, optional
        Wall-clock limit, seconds, after which the process is taken for stuck; without one,
        `hard_limit_s` of ``cost.budget_s``.

    Raises
    ------
    TrainingError
        If the process is killed, or passes its time limit.
    DataError
        If an image changed since it was validated or cannot be read.
    """
    return _run(
        "cost",
        request,
        CostMeasurement,
        label=f"cost measurement of {request.trained.model}",
        timeout_s=hard_limit_s(request.cost.budget_s) if timeout_s is None else timeout_s,
        time_limit_name="cost.budget_s",
    )


def hard_limit_s(budget_s: float) -> float:
    """Seconds after which a measurement of cost is taken for stuck.

    A convention: the process starts, reads files and always does its least, all of which a
    loaded machine takes long for; within two minutes and five budgets it does, unless it hangs.
    """
    return 120 + 5 * budget_s


def plan_parallel(n_models: int, train: TrainConfig, *, on_cluster: bool = False) -> ParallelPlan:
    """How many trainings run side by side, and with how many threads each.

    Parameters
    ----------
    n_models : int
        Trainings to run.
    train : TrainConfig
        ``device``, ``devices``, ``max_parallel`` and ``batch_size`` count.
    on_cluster : bool, default=False
        Whether they run elsewhere, so that this machine need not have the devices.

    Returns
    -------
    ParallelPlan
        On a CPU the cores are shared out; on GPUs each training has ``devices`` of them.

    Raises
    ------
    ConfigError
        If a device is asked for that this machine does not have, or more of them than it has.
    """
    n_gpus = 0
    if train.device != "cpu" and (train.device != "auto" or may_have_gpu()):
        answer = run_child(
            MODULE, "devices", train.model_dump_json(), label="look for devices", timeout_s=120
        )
        n_gpus = DeviceSummary.model_validate_json(answer).n_accelerators
    n_cores, n_devices = usable_cores(), 1 if on_cluster else train.devices
    if n_devices > (n_gpus or n_cores):
        there = n_gpus or n_cores
        kind = ("GPU" if n_gpus else "core") + "s" * (there != 1)
        msg = (
            f"train.devices is {n_devices}, but this machine has {there} {kind} to use: set it to {there} at most, "
            f"such as --set train.devices={there}"
        )
        raise ConfigError(msg)
    return parallel_plan(
        n_models,
        max_parallel=train.max_parallel,
        n_cores=n_cores,
        n_gpus=n_gpus,
        n_devices=n_devices,
        batch_size=train.batch_size,
    )


Result = TypeVar("Result", bound=Record)


def _run_limited(
    job: str, request: TrainingRequest, result: type[Result], *, label: str, on_event: EventHandler | None
) -> Result:
    """`_run` with its share of the cores, and with the time that the settings allow; a rank for each device.

    Where memory runs out on one of several devices, all begin again from the last checkpoint with fewer images at once.
    """
    minutes = request.train.timeout_minutes
    n_ranks = request.n_devices
    threads = max(1, (request.n_threads or usable_cores() // request.n_parallel) // n_ranks)
    while True:
        try:
            return _run(
                job,
                request.model_copy(update={"n_threads": threads}),
                result,
                label=label,
                n_ranks=n_ranks,
                on_event=on_event,
                timeout_s=None if minutes is None else 60 * minutes,
            )
        except MemoryRanOutError as error:
            before = request.images_at_once or -(-request.train.batch_size // n_ranks)
            if before == 1:
                msg = (
                    f"{label}: memory ran out even for one image at once on each of {n_ranks} devices ({error}): lower "
                    "train.image_size_px or train.max_parallel, or end other programs that use the memory"
                )
                raise TrainingError(msg, transient=True) from None
            request = request.model_copy(update={"images_at_once": (before + 1) // 2})
            logger.warning(
                "%s: memory ran out on a device for %d images at once (%s): all %d begin again from the last "
                "checkpoint with %d at a time, added up to the same batch",
                *(label, before, error, n_ranks, request.images_at_once),
            )


def _run(
    job: str,
    request: AnyRequest,
    result: type[Result],
    *,
    label: str,
    n_ranks: int = 1,
    on_event: EventHandler | None = None,
    timeout_s: float | None = None,
    time_limit_name: str = "train.timeout_minutes",
) -> Result:
    store, n_threads = request.store_root.resolve(), request.n_threads or usable_cores()
    store.mkdir(parents=True, exist_ok=True)
    request = request.model_copy(
        update={"store_root": store, "data_root": request.data_root.resolve(), "n_threads": n_threads}
    )
    place = store if len(os.fsencode(store)) <= MAX_PATH_BYTES else None
    # The parent owns the scratch folder, so that nothing is left where the child is killed.
    with tempfile.TemporaryDirectory(dir=place, prefix="scratch-", ignore_cleanup_errors=True) as scratch:
        environment = {name: str(n_threads) for name in THREAD_VARIABLES} | {"TMPDIR": scratch}
        if not any(name in os.environ for name in WAITING):
            environment["GOMP_SPINCOUNT"] = SPINS

        def ask(number: int, on_start: Callable[[int], None] | None = None) -> str:
            asked, name = request, label
            if n_ranks > 1:
                rank = Rank(number=number, n=n_ranks, meeting=Path(scratch) / "ranks")
                asked = request.model_copy(update={"rank": rank})
                name = f"{label}, process {number + 1} of {n_ranks}"
            return run_child(
                MODULE,
                job,
                asked.model_dump_json(),
                label=name,
                on_event=None if number else on_event,
                timeout_s=timeout_s,
                time_limit_name=time_limit_name,
                environment=environment,
                on_start=on_start,
            )

        answer = ask(0) if n_ranks == 1 else run_together(n_ranks, ask)
    return result.model_validate_json(answer)


def _train(request: str, emit: EventHandler) -> str:
    from medcompare.training.loop import share_training, train_model

    asked = TrainingRequest.model_validate_json(request)
    if asked.rank is not None and asked.rank.number:
        share_training(asked)
        return "null"
    return train_model(asked, emit=emit).model_dump_json()


def _trial(request: str, emit: EventHandler) -> str:
    from medcompare.training.tuning import run_trial

    return run_trial(TrialRequest.model_validate_json(request), emit=emit).model_dump_json()


def _predict(request: str, emit: EventHandler) -> str:  # noqa: ARG001 - the signature of a job
    from medcompare.training.inference import predict_subsets

    return predict_subsets(PredictionRequest.model_validate_json(request)).model_dump_json()


def _saliency(request: str, emit: EventHandler) -> str:  # noqa: ARG001 - the signature of a job
    from medcompare.training.saliency import saliency_maps

    return saliency_maps(SaliencyRequest.model_validate_json(request)).model_dump_json()


def _cost(request: str, emit: EventHandler) -> str:  # noqa: ARG001 - the signature of a job
    from medcompare.training.cost import measure_cost

    return measure_cost(CostRequest.model_validate_json(request)).model_dump_json()


def _devices(request: str, emit: EventHandler) -> str:  # noqa: ARG001 - the signature of a job
    from medcompare.base.hardware import summarise_devices
    from medcompare.config.train import TrainConfig

    return summarise_devices(TrainConfig.model_validate_json(request).device).model_dump_json()


IMPORTED_ONCE = (
    "medcompare.training.loop",
    "medcompare.training.inference",
    "medcompare.training.cost",
    "torchvision.models",
    "torch._dynamo",  # optimisers import it when they are made, which takes seconds
)
"""For `medcompare.training.worker.fork_server`."""
JOBS = {
    "train": _train,
    "trial": _trial,
    "predict": _predict,
    "saliency": _saliency,
    "cost": _cost,
    "devices": _devices,
}

if __name__ == "__main__":
    sys.exit(serve(JOBS, sys.argv[1:]))
