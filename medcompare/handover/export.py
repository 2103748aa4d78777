"""From a finished run to a folder that can be handed over; refused where its scores are not those of the run."""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from medcompare import __version__
from medcompare.base.code_identity import library_versions
from medcompare.base.devices import pick_device
from medcompare.base.errors import ConfigError
from medcompare.base.file_names import file_at
from medcompare.base.store_lock import store_in_use
from medcompare.config.data import FULL_INTENSITY
from medcompare.data.assignments import rows_of
from medcompare.handover.card import write_card
from medcompare.handover.likeness import TrainingImages, is_unlike, pixel_statistics
from medcompare.handover.networks import load_network, positive_score
from medcompare.handover.parity import SAME_ENGINE, difference, insist_on, parity_of_engines, said
from medcompare.handover.records import (
    DESCRIPTION,
    FEATURES,
    GRAPH,
    WEIGHTS,
    Export,
    Licences,
    Likeness,
    Preprocessing,
    Share,
    write_digests,
)
from medcompare.handover.rules import fitted_recalibration, referral_band
from medcompare.handover.source_run import open_run
from medcompare.handover.torch_network import Graph, TorchNetwork, write_graph, write_weights
from medcompare.models.registry import build_model
from medcompare.models.zoo import find_model
from medcompare.training.checkpoints import load_checkpoint
from medcompare.training.dataset import BatchLoader, EvaluationImages
from medcompare.training.scoring import make_repeatable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from medcompare.base.devices import DeviceSetting
    from medcompare.data.assignments import ImageRow
    from medcompare.handover.networks import FloatArray, Network
    from medcompare.handover.source_run import SourceRun
    from medcompare.models.spec import ModelSpec
    from medcompare.training.records import TrainedModel

MAX_TRAINING = 5000
"""Training images that the likeness is fitted to, drawn at random: a mean needs no more."""

DEFAULT_ERROR, DEFAULT_QUANTILE = 0.05, 0.99
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pillow",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "safetensors",
)


def export_run(
    run: Path,
    to: Path | None,
    *,
    model: str | None = None,
    store: Path | None = None,
    device: DeviceSetting = "cpu",
    max_error: float = DEFAULT_ERROR,
    quantile: float = DEFAULT_QUANTILE,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Path, Export]:
    """Write one network of a finished run as a folder.

    Parameters
    ----------
    run : Path
        Folder of the run.
    to : Path or None
        Folder to make; None: ``exports/RUN-MODEL``.
    model : str, optional
        Name of the network; None: the one that the verdict recommends.
    store : Path, optional
        Where the run kept its networks; None: as the run says.
    device : str
        Where torch computes. onnxruntime computes on the CPU.
    max_error : float
        Largest share of wrong validation calls on either side of the band that is referred to a person.
    quantile : float
        Of the validation distances, beyond which an image counts as unlike the training images.
    tell : callable, optional
        Called with a sentence about what is done.

    Returns
    -------
    Path, Export
        The folder, which appears whole or not at all, and what it says of itself.

    Raises
    ------
    ConfigError
        If a package is missing, no network is chosen, or the folder exists.
    DataError
        If the run, its network or its images cannot be used.
    ExportError
        If torch gives other scores than the run, or onnxruntime than torch.
    """
    _require_packages()
    source = open_run(run, model, store=store)
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in source.trained.model)
    to = to or _default_folder(source.results.run_name, plain)
    if to.exists():
        msg = f"{to} exists: choose another folder with --to, or remove it"
        raise ConfigError(msg)
    partial = to.with_name(f".{to.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        msg = f"--to {to}: cannot be written ({error.strerror}): choose another folder"
        raise ConfigError(msg) from None
    try:
        with store_in_use(source.store.root):
            export = _fill(partial, source, device=device, max_error=max_error, quantile=quantile, tell=tell)
        partial.rename(to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return to, export


def _default_folder(run_name: str, model: str) -> Path:
    return Path("exports") / f"{run_name}-{model}"


def _require_packages() -> None:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        msg = (
            f"medcompare export needs packages that are not installed ({', '.join(missing)}): "
            "python -m pip install 'medcompare[export]'"
        )
        raise ConfigError(msg)


def _fill(
    folder: Path,
    source: SourceRun,
    *,
    device: DeviceSetting,
    max_error: float,
    quantile: float,
    tell: Callable[[str], None],
) -> Export:
    trained, spec = source.trained, find_model(source.trained.model)
    place = pick_device(device, given_as="--device")
    make_repeatable(place)
    how = preprocessing_of(source, spec)
    network = build_model(spec, seed=trained.seed)
    load_checkpoint(source.store, trained.checkpoint, network, model=spec.name)
    write_weights(network, folder / WEIGHTS)
    graph = Graph(network, spec, how, trained.test_time_augmentation)
    in_torch = TorchNetwork(graph, place)

    def seen(
        subset: Literal["train", "val", "test"],
    ) -> tuple[list[ImageRow], FloatArray, tuple[FloatArray, FloatArray]]:
        rows = (
            _sampled(rows_of(source.rows, subset), trained.seed)
            if subset == "train"
            else rows_of(source.rows, subset)
        )
        tell(f"scoring {len(rows)} {subset} images with {in_torch.name}")
        logits, features, pixels = _over(in_torch, _crops(rows, source, spec))
        return rows, positive_score(logits), (features, pixels)

    train_rows, _, train_seen = seen("train")
    val_rows, _, val_seen = seen("val")
    test_rows, test_score, test_seen = seen("test")
    labels = np.array([row.label for row in train_rows])
    training = TrainingImages.fitted(train_seen, labels, val_seen, quantile=quantile)
    training.write(folder / FEATURES)

    by_image = source.scores
    in_run = dict(zip(by_image["test"].case_id, by_image["test"].scores[trained.model], strict=True))
    point, how_per_patient = source.evaluation.operating_point, source.config.evaluate.per_patient
    parity = [
        difference(
            "torch now against the run, test images",
            test_score,
            np.array([in_run[row.case_id] for row in test_rows]),
            threshold=point.threshold,
            tolerance=SAME_ENGINE,
        )
    ]
    tell(said(parity[0]))
    insist_on(parity)
    tell(f"writing {spec.display_name} (seed {trained.seed}) as ONNX")
    write_graph(graph, folder / GRAPH, size_px=how.size_px)
    in_torch = TorchNetwork(graph, place)  # writing took it to the CPU
    cases = {subset: table.per_patient(how_per_patient) for subset, table in by_image.items()}
    calibration = source.evaluation.calibration
    export = Export(
        medcompare_version=__version__,
        model=spec.name,
        display_name=trained.display_name,
        run=source.results.run_name,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=trained.seed,
        n_seeds=1 + sum(one.model == spec.name for one in source.results.further_trainings),
        classes=source.evaluation.classes,
        preprocessing=how,
        test_time_augmentation=trained.test_time_augmentation,
        threshold=point,
        per_patient=how_per_patient,
        recalibration=fitted_recalibration(
            calibration.recalibration if calibration else None, cases["val"], spec.name
        ),
        referral=referral_band(
            cases["val"],
            cases["test"],
            spec.name,
            threshold=point.threshold,
            max_error=max_error,
            unit="image" if how_per_patient == "none" else "patient",
        ),
        likeness=Likeness(
            n_training=len(train_rows),
            quantile=quantile,
            n_validation=len(val_rows),
            test_flagged=Share(k=int(is_unlike(training.distances(*test_seen)).sum()), n=len(test_rows)),
        ),
        data_name=source.results.manifest.name if source.results.manifest else "",
        data_fingerprint=source.results.manifest.fingerprint if source.results.manifest else "",
        checkpoint_sha256=trained.checkpoint.sha256,
        n_features=train_seen[0].shape[1],
        initial_weights=trained.initial_weights,
        licences=_licences(network, trained),
        parity=(),
        libraries=library_versions(LIBRARIES),
    )
    other = load_network(folder, export, engine="onnxruntime")
    tell(f"scoring the test images with {other.name}, from file to score")
    parity += parity_of_engines(
        other,
        in_torch,
        files=[file_at(source.data_root, row.path) for row in test_rows],
        in_torch_scores=test_score,
        export=export,
        scratch=folder,
    )
    for one in parity[1:]:
        tell(said(one))
    insist_on(parity)
    export = export.model_copy(update={"parity": tuple(parity)})
    (folder / DESCRIPTION).write_text(export.model_dump_json(indent=1) + "\n", encoding="utf-8")
    write_card(folder, export, source)
    write_digests(folder)
    return export


def preprocessing_of(source: SourceRun, spec: ModelSpec) -> Preprocessing:
    """What was done to the images of a run, for images that it never saw."""
    trained, data = source.trained, source.config.data
    ranges = {row.grey_range for row in source.rows} - {None}
    by_type = data.intensity_range == FULL_INTENSITY
    negative, positive = np.log(trained.class_weights).tolist()
    return Preprocessing(
        resize_px=trained.resize_px,
        size_px=trained.image_size_px,
        interpolation=spec.interpolation,
        grey_range=next(iter(ranges)) if ranges and not by_type else None,
        deep_images="type" if by_type else "range" if ranges else "refused",
        min_side_px=data.min_side_px,
        max_file_mb=data.max_file_mb,
        mean=spec.mean,
        std=spec.std,
        log_class_weights=(negative, positive),
    )


def _sampled(rows: list[ImageRow], seed: int) -> list[ImageRow]:
    if len(rows) <= MAX_TRAINING:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), MAX_TRAINING, replace=False)
    return [rows[i] for i in sorted(chosen.tolist())]


def _crops(rows: Sequence[ImageRow], source: SourceRun, spec: ModelSpec) -> Iterator[NDArray[np.uint8]]:
    """Batches of the run's own images in the run's own way."""
    trained = source.trained
    images = EvaluationImages(
        rows,
        source.data_root,
        size_px=trained.image_size_px,
        resize_px=trained.resize_px,
        interpolation=spec.interpolation,
    )
    for batch in BatchLoader(images, batch_size=trained.batch_size).in_order():
        yield batch.images.numpy()


def _over(
    network: Network, batches: Iterator[NDArray[np.uint8]]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Logits, features and pixel statistics."""
    found = [(*network(crops), pixel_statistics(crops)) for crops in batches]
    logits, features, pixels = (np.concatenate(one) for one in zip(*found, strict=True))
    return logits, features, pixels


def _licences(network: nn.Module, trained: TrainedModel) -> Licences:
    package = type(network).__module__.partition(".")[0].replace("_", "-")
    with contextlib.suppress(metadata.PackageNotFoundError):
        facts = metadata.metadata(package).json
        stated = str(facts.get("license_expression") or facts.get("license") or "").partition("\n")[0]
        package = f"{package}: {stated or 'see its own files'}"
    initial = trained.initial_weights
    return Licences(
        architecture=package,
        initial_weights="none: random initialisation"
        if initial.kind == "none"
        else f"{initial.name}: {initial.licence or 'unknown'}",
    )
