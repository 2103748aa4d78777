"""Batches: verified images, the same whoever loads them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.errors import DataError
from medcompare.config.train import TrainConfig
from medcompare.data.assignments import ImageRow, read_assignments, rows_of
from medcompare.training.augmentation import augmentations
from medcompare.training.dataset import (
    BatchLoader,
    EvaluationImages,
    PackedRows,
    SubsetImages,
    TrainingImages,
    batch_starts,
)
from medcompare.training.image_cache import image_cache

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "case_id,path,label,patient_id,sha256,width_px,height_px,mode,site,subset"


def rows_in(folder: Path, n_images: int = 7) -> list[ImageRow]:
    """Images of different sizes, and their rows."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(n_images):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)).save(path)
        digest = sha256_of_bytes(path.read_bytes())
        rows.append(
            ImageRow(
                case_id=f"c{number}",
                path=path.name,
                label=number % 2,
                patient_id="",
                sha256=digest,
                subset="train",
                extra=(),
            )
        )
    return rows


def training_images(folder: Path, *, seed: int = 3, crop_scale_min: float = 0.3) -> TrainingImages:
    """Random crops of them."""
    return TrainingImages(
        rows_in(folder),
        folder,
        size_px=32,
        crop_scale_min=crop_scale_min,
        augmentations=augmentations(TrainConfig(crop_scale_min=crop_scale_min), 32),
        seed=seed,
    )


def epoch_of(images: SubsetImages, epoch: int, **options: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All images and labels of one shuffled epoch."""
    loader = BatchLoader(images, batch_size=3, **options)
    batches = list(loader.shuffled(seed=3, epoch=epoch))
    assert len(batches) == loader.n_steps
    return torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])


def test_an_epoch_is_the_same_whoever_loads_it(tmp_path: Path) -> None:
    """Decoded anew, from a cache that fills or is full, by two processes: byte for byte; the next epoch differs."""
    first, labels = epoch_of(training_images(tmp_path), 1)
    kept = training_images(tmp_path)
    kept.keep_in(image_cache(tmp_path / "store", 10**6))

    assert torch.equal(epoch_of(kept, 1)[0], first)
    assert torch.equal(epoch_of(kept, 1)[0], first)
    assert torch.equal(epoch_of(training_images(tmp_path), 1, num_workers=2)[0], first)
    assert torch.equal(epoch_of(kept, 1, num_workers=2)[0], first)
    assert not torch.equal(epoch_of(kept, 2)[0], first)
    assert not torch.equal(epoch_of(training_images(tmp_path, seed=4), 1)[0], first)
    assert sorted(labels.tolist()) == [0, 0, 0, 0, 1, 1, 1]


def test_every_image_appears_once_per_epoch(tmp_path: Path) -> None:
    """In an order of its own each epoch."""
    images = EvaluationImages(rows_in(tmp_path), tmp_path, size_px=32, resize_px=37)
    in_order = torch.cat([batch.images for batch in BatchLoader(images, batch_size=3).in_order()])
    shuffled = epoch_of(images, 1)[0]

    assert not torch.equal(in_order, shuffled)
    assert sorted(map(str, in_order.tolist())) == sorted(map(str, shuffled.tolist()))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_changed_image_is_named(tmp_path: Path, num_workers: int) -> None:
    """Also where another process finds it: the message comes without that process's traceback."""
    images = training_images(tmp_path)
    (tmp_path / "4.png").write_bytes((tmp_path / "5.png").read_bytes())

    with pytest.raises(DataError, match=r"^image 4\.png changed since ingest"):
        epoch_of(images, 1, num_workers=num_workers)


def test_a_process_ends_with_images_left_to_load(tmp_path: Path) -> None:
    """Loading processes do not end at SIGTERM, which is how Python ends those that are left."""
    script = """
import sys
from pathlib import Path
from tests.training.test_dataset import BatchLoader, training_images
batches = BatchLoader(training_images(Path(sys.argv[1])), batch_size=3, num_workers=1).shuffled(seed=3, epoch=1)
print(len(next(batches).images))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


def test_a_lost_image_is_named(tmp_path: Path) -> None:
    """With the folder it was looked for in."""
    images = training_images(tmp_path)
    (tmp_path / "2.png").unlink()

    with pytest.raises(DataError, match=r"image 2\.png is gone from"):
        images.read(2)


def test_an_image_that_does_not_decode_is_named(tmp_path: Path) -> None:
    """Even though its digest is right."""
    (tmp_path / "0.png").write_bytes(b"x")
    row = rows_in(tmp_path, 1)[0]
    (tmp_path / "0.png").write_bytes(b"x")
    broken = ImageRow(**{**row.__dict__, "sha256": sha256_of_bytes(b"x")})

    with pytest.raises(DataError, match=r"image 0\.png cannot be decoded"):
        EvaluationImages([broken], tmp_path, size_px=32, resize_px=37).read(0)


def test_what_a_subset_shows_is_for_its_kind_to_say(tmp_path: Path) -> None:
    """The base class shows nothing."""
    with pytest.raises(NotImplementedError):
        SubsetImages(rows_in(tmp_path), tmp_path, size_px=32)[(1, 0)]


@pytest.mark.parametrize(
    ("n_images", "batch_size", "spans"),
    [
        (6, 3, [(0, 3), (3, 6)]),
        (7, 3, [(0, 3), (3, 7)]),
        (8, 3, [(0, 3), (3, 6), (6, 8)]),
        (1, 3, [(0, 1)]),
        (2, 3, [(0, 2)]),
        (4, 3, [(0, 4)]),
    ],
)
def test_a_rest_of_one_image_joins_the_batch_before(
    n_images: int, batch_size: int, spans: list[tuple[int, int]]
) -> None:
    """A rest of two stands alone."""
    assert batch_starts(n_images, batch_size) == spans


def test_the_table_of_a_split_is_read_in_order_of_cases() -> None:
    """Whatever the order of its lines; the user's own columns come along."""
    lines = [HEADER, "b,2.png,1,p1,dd,4,4,RGB,Oslo,val", "a,1.png,0,,cc,4,4,RGB,,train"]
    rows = read_assignments("\n".join(lines).encode())

    assert [row.case_id for row in rows] == ["a", "b"]
    assert rows[0].patient_id == ""
    assert rows[1].extra == (("site", "Oslo"),)
    assert rows_of(rows, "val") == [rows[1]]


def test_a_table_that_lacks_columns_is_refused() -> None:
    """Those that lack, and those there are."""
    with pytest.raises(DataError, match="lacks column label, subset; it has: case_id, path, sha256"):
        read_assignments(b"case_id,path,sha256\n")


def test_a_label_that_is_no_label_is_refused() -> None:
    """With its row."""
    with pytest.raises(DataError, match="row 2, column label: 'cancer' is neither 0 nor 1"):
        read_assignments(f"{HEADER}\na,1.png,cancer,,cc,4,4,RGB,,train\n".encode())


def test_an_empty_subset_is_refused() -> None:
    """Named."""
    with pytest.raises(DataError, match="subset 'test' holds no images"):
        rows_of([], "test")


def test_packed_rows_are_the_rows() -> None:
    """One by one, from the end, as a part, and all."""
    rows = [
        ImageRow(
            case_id=f"c{i}",
            path=f"\u6076/\udcff{i}.png",  # a name that is not UTF-8, as Python hands it on
            label=i % 2,
            patient_id="",
            sha256=64 * str(i),
            subset="train",
            extra=(("site", "A,\n\u00e9"),) * i,
            grey_range=(0.1, 4095.0) if i else None,
        )
        for i in range(4)
    ]
    packed = PackedRows(rows)
    assert list(packed) == rows
    assert packed[1:3] == rows[1:3]
    assert packed[-1] == rows[-1]
    with pytest.raises(IndexError):
        packed[4]
