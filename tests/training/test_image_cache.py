"""Decoded pixels on disk: what is found is what would be computed, and no more than allowed."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.config.train import TrainConfig
from medcompare.data.assignments import ImageRow
from medcompare.training.augmentation import augmentations
from medcompare.training.dataset import EvaluationImages, SubsetImages, TrainingImages
from medcompare.training.image_cache import FOLDER, image_cache, key_of
from medcompare.training.loop import train_model
from medcompare.training.transforms import training_limit_px

if TYPE_CHECKING:
    from pathlib import Path

ROOM = 10**7


def rows_in(folder: Path, *, side_px: int = 50, n_images: int = 4) -> list[ImageRow]:
    """Images of noise, and their rows."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(n_images):
        path = folder / f"Anna Smith {number}.png"
        Image.fromarray(rng.integers(0, 256, (side_px, side_px + 20, 3), dtype=np.uint8)).save(path)
        digest = sha256_of_bytes(path.read_bytes())
        rows.append(
            ImageRow(
                case_id=f"c{number}",
                path=path.name,
                label=0,
                patient_id="Smith",
                sha256=digest,
                subset="train",
                extra=(),
            )
        )
    return rows


def training(folder: Path, *, scale: float = 0.25, **source: Any) -> TrainingImages:
    """Crops of 32 px."""
    config = TrainConfig(crop_scale_min=scale)
    steps = augmentations(config, 32)
    rows = rows_in(folder, **source)
    return TrainingImages(rows, folder, size_px=32, crop_scale_min=scale, augmentations=steps, seed=1)


def evaluation(folder: Path, **source: Any) -> EvaluationImages:
    """Their centres."""
    return EvaluationImages(rows_in(folder, **source), folder, size_px=32, resize_px=37)


def entries(store: Path) -> list[Path]:
    """Files of the cache."""
    return sorted(path for path in (store / FOLDER).rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", [training, evaluation])
def test_what_is_kept_is_what_would_be_computed(tmp_path: Path, kind: Any) -> None:
    """Byte for byte, when it is written, when it is read, and without the files it was made from."""
    images = kind(tmp_path)
    plain = [images[3, index] for index in range(4)]
    images.keep_in(image_cache(tmp_path / "store", ROOM))
    written = [images[3, index] for index in range(4)]
    again = kind(tmp_path)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    again.keep_in(image_cache(tmp_path / "store", ROOM))
    found = [again[3, index] for index in range(4)]

    assert all(torch.equal(a, b) for a, b in zip(plain, written, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))
    assert len(entries(tmp_path / "store")) == 4


def test_subsets_and_seeds_share_what_is_kept_and_other_forms_do_not(tmp_path: Path) -> None:
    """The name holds content, grey range and form; neither file nor patient is in names or bytes."""
    store = tmp_path / "store"
    for images in (training(tmp_path), training(tmp_path), evaluation(tmp_path)):
        images.keep_in(image_cache(store, ROOM))
        _ = [images[1, index] for index in range(4)]
    row = rows_in(tmp_path, n_images=1)[0]
    grey = replace(row, grey_range=(0.0, 4095.0))

    assert len(entries(store)) == 8
    assert len({key_of(row, "a"), key_of(row, "b"), key_of(grey, "a")}) == 3
    assert key_of(replace(row, path="other", patient_id="p", subset="val"), "a") == key_of(row, "a")
    kept = b"".join(path.name.encode() + path.read_bytes() for path in entries(store))
    assert b"Anna" not in kept
    assert b"Smith" not in kept


def test_a_damaged_entry_is_said_and_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One byte changed, an end cut off, nothing left: never pixels that are not the image's."""
    store = tmp_path / "store"
    plain = training(tmp_path)
    expected = [plain[1, index] for index in range(4)]
    plain.keep_in(image_cache(store, ROOM))
    _ = [plain[1, index] for index in range(4)]
    changed, cut, empty, whole = entries(store)
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-5])
    empty.write_bytes(b"")
    sizes = whole.stat().st_size
    images = training(tmp_path)
    images.keep_in(image_cache(store, ROOM))

    assert all(torch.equal(images[1, index], expected[index]) for index in range(4))
    assert caplog.text.count("is damaged and is made again") == 3
    assert [path.stat().st_size for path in entries(store)] == [sizes] * 4


def test_the_limit_is_kept_and_the_least_used_go_first(tmp_path: Path) -> None:
    """Four images of 10.5 kB: two fit; of the full cache of a run before, those that are wanted again stay."""
    store, size = tmp_path / "store", 3 * 50 * 70
    images = training(tmp_path)
    images.keep_in(image_cache(store, 2 * size + 100))
    _ = [images[1, index] for index in range(4)]
    assert len(entries(store)) == 2

    images.keep_in(image_cache(store, ROOM))
    _ = [images[1, index] for index in range(4)]
    names = list(images.names())
    for age, name in enumerate(names):  # the first was used last
        path = store / FOLDER / name[:2] / name
        os.utime(path, (path.stat().st_atime, 1_000_000 - age))
    image_cache(store, 4 * size + 100, wanted=[names[3]])

    assert {path.name for path in entries(store)} == {names[0], names[3]}
    assert image_cache(store, 0) is None


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once; the images come from their files."""
    images = training(tmp_path)
    expected = images[1, 0]
    cache = image_cache(tmp_path / "store", ROOM)
    (tmp_path / "store" / FOLDER).rmdir()
    (tmp_path / "store" / FOLDER).write_bytes(b"a file where a folder should be")
    images.keep_in(cache)

    assert torch.equal(images[1, 0], expected)
    _ = images[1, 1]
    assert caplog.text.count("is not filled further: Not a directory") == 1


def test_large_images_are_reduced_to_what_the_smallest_crop_can_use(tmp_path: Path) -> None:
    """32 px from a quarter of the area: 64 px suffice; with the cache and without it the same."""
    assert training_limit_px(32, 0.25) == 64
    assert training_limit_px(224, 0.08) == 792
    images = training(tmp_path, side_px=100, n_images=1)
    kept = images.prepared(images.read(0))
    expected = v2.functional.resize(
        images.read(0), [64, 77], interpolation=v2.InterpolationMode.BICUBIC, antialias=True
    )
    assert torch.equal(kept, expected)
    uncached = images[1, 0]
    images.keep_in(image_cache(tmp_path / "store", ROOM))
    assert torch.equal(images[1, 0], uncached)
    assert torch.equal(images[1, 0], uncached)


def test_the_base_class_keeps_nothing(tmp_path: Path) -> None:
    """Each kind of subset has its own form."""
    with pytest.raises(NotImplementedError):
        SubsetImages(rows_in(tmp_path), tmp_path, size_px=32)[1, 0]


def test_a_training_is_the_same_with_the_cache_and_without(tiny: Any) -> None:
    """And a second one finds every image: training, validation and the sample, of which two forms are kept."""
    without, filling, filled = (train_model(tiny.request(epochs=2, cache_gb=room)) for room in (0, 1, 1))

    assert without.checkpoint == filling.checkpoint == filled.checkpoint
    assert len(entries(tiny.store.root)) == 48 + 48 + 16
