"""Images of a night as each version sees them: scores, features and simple statistics.

A place is listed once; a file is read and decoded once for all versions that prepare images alike.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.errors import DataError
from medcompare.base.file_names import file_at
from medcompare.base.hardware import usable_cores
from medcompare.data.reading import read_each
from medcompare.data.sources.listing import count
from medcompare.data.sources.resolve import list_unlabelled, resolve_source
from medcompare.handover.images import load_image
from medcompare.handover.likeness import TrainingImages, pixel_statistics
from medcompare.handover.networks import load_network, positive_score
from medcompare.handover.records import FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.config.data import DataConfig
    from medcompare.data.sources.listing import ImageSource, Listing
    from medcompare.handover.records import Preprocessing
    from medcompare.handover.registry import Role, Version

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
    """From the training images of that network; beyond 1 it counts as unlike them."""
    features: NDArray[np.float32]
    statistics: NDArray[np.float64]
    n_not_scored: int = 0

    def chosen(self, keep: NDArray[np.bool_]) -> Images:
        """Those of `keep`."""
        names = [one.name for one in fields(self) if one.name != "n_not_scored"]
        return replace(self, **{name: getattr(self, name)[keep] for name in names})


def _number(text: str) -> int:
    """63 bits of a digest."""
    return int(sha256_of_bytes(text.encode(errors="surrogateescape"))[:16], 16) >> 1


def scored_by(
    versions: Mapping[Role, Version], data: DataConfig, *, labelled: bool, store: Path
) -> tuple[dict[Role, Images], tuple[str, ...]]:
    """The images of `data` as each version sees them, in the order of their names; and what is to be said of them.

    Parameters
    ----------
    versions : mapping
        By role; they tell the same classes apart, as the registry sees to.
    data : DataConfig
        Where the images are.
    labelled : bool
        Whether they have labels.
    store : Path
        Where archives are unpacked.

    Raises
    ------
    DataError
        If they cannot be listed, none can be scored, or their classes are not those of the networks.
    """
    classes = next(iter(versions.values())).export.classes
    source = _listed(data, classes, labelled=labelled, store=store)
    alike: dict[Preprocessing, dict[Role, Version]] = {}
    for role, version in versions.items():
        alike.setdefault(_decoding(version.export.preprocessing), {})[role] = version
    found: dict[Role, Images] = {}
    for group in alike.values():
        found |= _scored_alike(group, source, labelled=labelled, file_timeout_s=data.file_timeout_s)
    return found, tuple(source.notes)


def _listed(
    data: DataConfig, classes: tuple[str, str], *, labelled: bool, store: Path
) -> ImageSource | Listing:
    if not labelled:
        return list_unlabelled(data, work=store)
    if not data.positive:
        data = data.model_copy(update={"positive": (classes[1],)})
    source = resolve_source(data, demo_root=store / "demo")
    if set(source.classes) != set(classes):
        msg = (
            f"{source.name}: the classes are {source.classes}, and the network tells {classes} apart: name them alike, "
            "or set data.positive"
        )
        raise DataError(msg)
    return source


def _decoding(how: Preprocessing) -> Preprocessing:
    """`how` without what is inside the graph: equal where two networks are given the same pixels."""
    return how.model_copy(update={"mean": (), "std": (), "log_class_weights": (0.0, 0.0)})


def _scored_alike(
    versions: Mapping[Role, Version], source: ImageSource | Listing, *, labelled: bool, file_timeout_s: float
) -> dict[Role, Images]:
    """Images as versions see them that are given the same pixels: one pass over the files."""
    first = next(iter(versions.values())).export
    networks = {
        role: (load_network(one.folder, one.export), TrainingImages.read(one.folder / FEATURES))
        for role, one in versions.items()
    }
    load = partial(load_image, how=first.preprocessing)
    loaded = read_each(
        lambda one: load(file_at(source.root, one.path)),
        source.files,
        [one.path for one in source.files],
        n_threads=min(usable_cores(), MAX_READERS),
        file_timeout_s=file_timeout_s,
        stage="scoring the images",
    )
    rows: list[tuple[int, int, int]] = []
    seen: dict[Role, list[tuple[NDArray[Any], ...]]] = {role: [] for role in versions}
    statistics: list[NDArray[np.float64]] = []
    crops: list[NDArray[np.uint8]] = []

    def flush() -> None:
        if crops:
            pixels = pixel_statistics(crops)
            statistics.append(pixels)
            for role, (network, training) in networks.items():
                logits, features = network(np.stack(crops))
                distance = training.distances(features, pixels)
                seen[role].append((positive_score(logits), distance, features.astype(np.float32)))
            crops.clear()

    for file, image in zip(source.files, loaded, strict=True):
        if image.crop is None:
            continue
        label = int(file.label == first.classes[1]) if labelled else -1
        rows.append((int(image.sha256[:16], 16), _number(file.patient_id or image.sha256), label))
        crops.append(image.crop)
        if len(crops) == BATCH:
            flush()
    flush()
    if not rows:
        msg = f"{source.name}: none of {count(len(source.files), 'image')} can be scored"
        raise DataError(msg)
    shas, patients, labels = zip(*rows, strict=True)
    sha256 = np.array(shas, np.uint64)
    # The second copy of a file says nothing new.
    chosen = np.isin(np.arange(len(rows)), np.unique(sha256, return_index=True)[1])
    found: dict[Role, Images] = {}
    for role, parts in seen.items():
        score, distance, features = (np.concatenate(one) for one in zip(*parts, strict=True))
        found[role] = Images(
            sha256=sha256,
            patient=np.array(patients, np.int64),
            y_true=np.array(labels, np.int64),
            score=score,
            distance=distance,
            features=features,
            statistics=np.concatenate(statistics),
            n_not_scored=len(source.files) - len(rows),
        ).chosen(chosen)
    return found
