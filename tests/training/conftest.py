"""Tiny learnable data in the shape a split leaves it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from medcompare.base.artifacts import ArtifactStore, sha256_of_bytes
from medcompare.base.record import SUBSETS
from medcompare.config.train import TrainConfig
from medcompare.data.records import DatasetSplit, SubsetSummary
from medcompare.models.spec import ModelSpec, Recipe
from medcompare.models.weights import ensure_weights
from medcompare.models.zoo import MODELS
from medcompare.training.requests import TrainingRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

COLUMNS = [
    "case_id",
    "path",
    "label",
    "patient_id",
    "sha256",
    "width_px",
    "height_px",
    "mode",
    "sex",
    "subset",
]


class TinyData(NamedTuple):
    """A split of small images: striped ones are positive."""

    split: DatasetSplit
    root: Path
    store: ArtifactStore
    rows: list[list[str]]

    def request(self, *, model: str = "test_cnn", seed: int = 1, **train: object) -> TrainingRequest:
        """A training on these images, from random weights."""
        settings: dict[str, object] = {
            "image_size_px": 32,
            "epochs": 3,
            "batch_size": 16,
            "crop_scale_min": 0.5,
        }
        settings |= {"initial_weights": "none", "device": "cpu"} | train
        config = TrainConfig.model_validate(settings)
        return TrainingRequest(
            model=model,
            train=config,
            split=self.split,
            data_root=self.root,
            store_root=self.store.root,
            weights=ensure_weights([model], config)[model],
            seed=seed,
            n_threads=1,
        )


def make_data(root: Path, *, n_images: int = 80, contrast: float = 0.35, seed: int = 0) -> TinyData:
    """Write images below `root` and the split's table into a store there."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(n_images):
        label = number % 2
        pixels = rng.integers(0, 256, (40, 40, 3)).astype(float)
        if label:
            pixels[::4] *= 1 - contrast
        path = root / "images" / f"{number}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        digest = sha256_of_bytes(path.read_bytes())
        subset = ("train", "train", "train", "val", "test")[number // 2 % 5]
        row = [f"case-{number:04d}", f"images/{number}.png", str(label), f"p{number // 4}", digest]
        rows.append([*row, "40", "40", "RGB", "f" if number % 3 else "m", subset])
    store = ArtifactStore(root / "store")
    return TinyData(split_of(rows, store), root, store, rows)


def split_of(rows: list[list[str]], store: ArtifactStore) -> DatasetSplit:
    """The split whose table holds `rows`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    summaries = []
    for subset in SUBSETS:
        labels = [int(row[2]) for row in rows if row[-1] == subset]
        counts = (labels.count(0), labels.count(1))
        share = len(labels) / len(rows)
        summaries.append(
            SubsetSummary(
                subset=subset,
                n_images=len(labels),
                class_counts=counts,
                fraction=share,
                target_fraction=share,
            )
        )
    return DatasetSplit(
        assignments=store.write(text.getvalue().encode(), ".csv"),
        subsets=tuple(summaries),
        classes=("normal", "cancer"),
        method="by hand",
        grouped_by=None,
        disjoint=(),
        n_duplicates_kept_together=0,
        seed=0,
        manifest_fingerprint="0",
    )


@pytest.fixture
def tiny(tmp_path: Path) -> TinyData:
    """Eighty images that a small network can learn."""
    return make_data(tmp_path)


@pytest.fixture
def tiny_of(tmp_path: Path) -> Callable[..., TinyData]:
    """Builder of other tiny data."""
    return lambda **options: make_data(tmp_path, **options)


@pytest.fixture
def resplit() -> Callable[[TinyData, list[list[str]]], TinyData]:
    """The same images with other rows in the split's table."""
    return lambda data, rows: data._replace(split=split_of(rows, data.store), rows=rows)


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[TrainingRequest, tuple[int, int]], None]:
    """Begin a training, and end it by a power cut after a step: (epoch, step)."""

    def begun(request: TrainingRequest, cut: tuple[int, int]) -> None:
        from medcompare.training import events
        from medcompare.training.loop import train_model

        def emit(event: Mapping[str, Any]) -> None:
            if event["event"] == "progress" and (event["epoch"], event["step"]) == cut:
                message = "power cut"
                raise OSError(message)

        monkeypatch.setattr(events, "PROGRESS_EVERY_S", 0.0)
        with pytest.raises(OSError, match="power cut"):
            train_model(request, emit=emit)

    return begun


def _build_random_cnn() -> nn.Module:
    """Batch normalisation, stochastic depth and dropout in four layers."""
    from torch import nn
    from torchvision.ops import StochasticDepth

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(
                nn.Conv2d(12, 12, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU()
            )
            self.depth = StochasticDepth(0.4, "row")

        def forward(self, x: Tensor) -> Tensor:
            added: Tensor = x + self.depth(self.branch(x))
            return added

    network = nn.Sequential(
        nn.Conv2d(3, 12, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        Residual(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.3),
    )
    network.add_module("head", nn.Linear(12, 1000))
    return network


# The code digest of a training covers the module of its builder, which has to be the package's.
_build_random_cnn.__module__ = MODELS["test_cnn"].build.__module__


@pytest.fixture
def random_cnn(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a small network that draws random numbers while it trains."""
    spec = ModelSpec(
        name="random_cnn",
        display_name="Random CNN",
        build=_build_random_cnn,
        head="head",
        n_parameters=14_728,
        recipe=Recipe(optimizer="adam", learning_rate=1e-2, weight_decay=0.0, source="tests"),
        source="tests",
    )
    monkeypatch.setitem(MODELS, spec.name, spec)
    return spec.name
