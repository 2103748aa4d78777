"""Images of a night as one version sees them: scores, features and simple statistics."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.errors import DataError
from medcompare.base.file_names import file_at
from medcompare.base.hardware import usable_cores
from medcompare.data.reading import read_each
from medcompare.data.sources.listing import count
from medcompare.data.sources.resolve import list_unlabelled, resolve_source
from medcompare.handover.images import load_image
from medcompare.handover.networks import load_network, positive_score
from medcompare.handover.records import FEATURES
from medcompare.handover.rules import FeatureSpace

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.config.data import DataConfig
    from medcompare.handover.registry import Version

BATCH = 32
MAX_READERS = 16


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images as one network saw them; arrays of one length."""

    sha256: NDArray[np.uint64]
    patient: NDArray[np.int64]
    y_true: NDArray[np.int64]
    """-1 where there is no label."""
    score: NDArray[np.float64]
    distance: NDArray[np.float64]
    features: NDArray[np.float32]
    statistics: NDArray[np.float64]
    n_not_scored: int = 0

    def chosen(self, keep: NDArray[np.bool_]) -> Images:
        """Those of `keep`."""
        names = [one.name for one in fields(self) if one.name != "n_not_scored"]
        return replace(self, **{name: getattr(self, name)[keep] for name in names})


STATISTICS = (
    "brightness (mean grey level)",
    "contrast (standard deviation of the grey levels)",
    "fine detail (share left after blurring)",
    "share of red in the colours",
    "share of blue in the colours",
)
_GREY = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601, as `medcompare.runs.data_changes`."""


def _statistics(crop: NDArray[np.uint8]) -> list[float]:
    pixels = crop.astype(np.float64)
    grey = np.tensordot(_GREY, pixels, axes=1)
    colours = pixels.mean(axis=(1, 2))
    contrast, total = float(grey.std()), max(float(colours.sum()), 1.0)
    detail = float((grey - ndimage.gaussian_filter(grey, 1.0)).std())
    return [float(grey.mean()), contrast, detail / max(contrast, 1.0), colours[0] / total, colours[2] / total]


def _number(text: str) -> int:
    """63 bits of a digest."""
    return int(sha256_of_bytes(text.encode(errors="surrogateescape"))[:16], 16) >> 1


def scored_by(
    version: Version, data: DataConfig, *, labelled: bool, store: Path
) -> tuple[Images, tuple[str, ...]]:
    """The images of `data` as `version` sees them, in the order of their names; and what is to be said of them.

    Raises
    ------
    DataError
        If they cannot be listed, none can be scored, or their classes are not those of the network.
    """
    classes = version.export.classes
    if labelled and not data.positive:
        data = data.model_copy(update={"positive": (classes[1],)})
    source: Any = (
        resolve_source(data, demo_root=store / "demo")
        if labelled
        else list_unlabelled(data, work=store / "registry" / "work")
    )
    if labelled and set(source.classes) != set(classes):
        msg = (
            f"{source.name}: the classes are {source.classes}, and the network tells {classes} apart: name them alike, "
            "or set data.positive"
        )
        raise DataError(msg)
    network = load_network(version.folder, version.export)
    space = FeatureSpace.read(version.folder / FEATURES)
    load = partial(load_image, how=version.export.preprocessing)
    loaded = read_each(
        lambda one: load(file_at(source.root, one.path)),
        source.files,
        [one.path for one in source.files],
        n_threads=min(usable_cores(), MAX_READERS),
        file_timeout_s=data.file_timeout_s,
        stage="scoring the images",
    )
    rows: list[tuple[int, int, int]] = []
    parts: list[tuple[NDArray[Any], ...]] = []
    crops: list[NDArray[np.uint8]] = []
    n_not = 0

    def flush() -> None:
        if crops:
            logits, features = network(np.stack(crops))
            parts.append(
                (
                    positive_score(logits),
                    space.distances(features),
                    features.astype(np.float32),
                    np.array([_statistics(crop) for crop in crops]),
                )
            )
            crops.clear()

    for file, image in zip(source.files, loaded, strict=True):
        if image.crop is None:
            n_not += 1
            continue
        label = int(file.label == classes[1]) if labelled else -1
        rows.append((int(image.sha256[:16], 16), _number(file.patient_id or image.sha256), label))
        crops.append(image.crop)
        if len(crops) == BATCH:
            flush()
    flush()
    if not parts:
        msg = f"{source.name}: none of {count(len(source.files), 'image')} can be scored"
        raise DataError(msg)
    score, distance, features, statistics = (np.concatenate(one) for one in zip(*parts, strict=True))
    shas, patients, labels = zip(*rows, strict=True)
    images = Images(
        sha256=np.array(shas, np.uint64),
        patient=np.array(patients, np.int64),
        y_true=np.array(labels, np.int64),
        score=score,
        distance=distance,
        features=features,
        statistics=statistics,
        n_not_scored=n_not,
    )
    # The second copy of a file says nothing new.
    _, first = np.unique(images.sha256, return_index=True)
    return images.chosen(np.isin(np.arange(len(shas)), first)), tuple(source.notes)
