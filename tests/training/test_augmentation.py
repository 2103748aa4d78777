"""Transforms of torchvision by name: as torchvision draws them, repeatable, refused before any work; their preview."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from medcompare.base.errors import ConfigError
from medcompare.config.train import TrainConfig
from medcompare.data.assignments import read_assignments, rows_of
from medcompare.training.augmentation import (
    OfTorchvision,
    RandomHorizontalFlip,
    augmentations,
    check_augmentation,
)
from medcompare.training.dataset import EvaluationImages, TrainingImages
from medcompare.training.loop import train_model
from medcompare.training.preview import GAP_PX, N_DRAWS, THUMBNAIL_PX, contact_sheet
from medcompare.training.transforms import random_stream

IMAGE = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)


def test_a_transform_is_torchvisions_with_the_numbers_of_the_stream() -> None:
    """The same call under the seed that the stream gives; the global generator is left alone."""
    step = OfTorchvision("ColorJitter(brightness=(0.5, 1.5), hue=0.2)")
    torch.manual_seed(int(random_stream(3, 0, 1, 2).integers(2**32)))
    expected = v2.ColorJitter(brightness=(0.5, 1.5), hue=0.2)(IMAGE)
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    found = step(IMAGE, random_stream(3, 0, 1, 2))

    assert torch.equal(found, expected)
    assert torch.equal(torch.rand(1), before)
    assert torch.equal(step(IMAGE, random_stream(3, 0, 1, 2)), found)


def test_steps_are_in_the_order_of_the_list_and_the_default_is_the_studys() -> None:
    """A list without the mirror has none; RandomVerticalFlip(1.0) turns every image upside down."""
    assert [type(step).__name__ for step in augmentations(TrainConfig(), 32)] == [
        "RandomResizedCrop",
        "RandomHorizontalFlip",
    ]
    train = TrainConfig(augmentation=("RandomVerticalFlip(1.0)", "RandomHorizontalFlip"))
    _, upside_down, mirrored = augmentations(train, 32)
    assert torch.equal(upside_down(IMAGE, np.random.default_rng(0)), IMAGE.flip(1))
    assert isinstance(mirrored, RandomHorizontalFlip)
    assert len(augmentations(TrainConfig(augmentation=()), 32)) == 1


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("RandomVerticalFlipp", "no such transform; did you mean RandomVerticalFlip"),
        ("RandomRotation", "missing 1 required positional argument: 'degrees'"),
        ("RandomRotation(angle=3)", "unexpected keyword argument 'angle'"),
        ("RandomRotation(degrees=-3)", "degrees"),
        ("RandomRotation(degrees=open('x'))", "malformed node"),
        ("CenterCrop(4)", "must leave size and kind"),
        ("Resize", "cannot be used"),
        ("Normalize(mean=(0,0,0), std=(1,1,1))", "cannot be used"),
    ],
)
def test_what_torchvision_cannot_do_is_refused_before_any_work(written: str, message: str) -> None:
    """Also where one model's recipe names it; the words are torchvision's, and no code is run."""
    with pytest.raises(
        ConfigError, match=f"(?s)train.augmentation: .* cannot be used: .*{message}|{message}"
    ):
        check_augmentation(TrainConfig.model_validate({"recipes": {"resnet50": {"augmentation": [written]}}}))


def test_the_contact_sheet_shows_what_the_network_sees(tiny: Any) -> None:
    """Two rows of each class: the plain crop, then the crops of epochs 1 to 7, made as large as a thumbnail."""
    rows = rows_of(read_assignments(tiny.store.read(tiny.split.assignments)), "train")
    train = TrainConfig(crop_scale_min=0.5)
    training = TrainingImages(
        rows, tiny.root, size_px=32, crop_scale_min=0.5, augmentations=augmentations(train, 32), seed=1
    )
    plain = EvaluationImages(rows, tiny.root, size_px=32, resize_px=36)
    sheet = Image.open(io.BytesIO(contact_sheet(training, plain)))
    step = THUMBNAIL_PX + GAP_PX
    negative = training.labels.index(0)

    assert sheet.size == ((1 + N_DRAWS) * step + GAP_PX, 4 * step - GAP_PX)
    for column, tile in ((0, plain[0, negative]), (3, training[3, negative])):
        left = column * step + (GAP_PX if column else 0)
        expected = Image.fromarray(tile.permute(1, 2, 0).contiguous().numpy())
        expected = expected.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
        assert np.array_equal(
            np.asarray(sheet)[:THUMBNAIL_PX, left : left + THUMBNAIL_PX], np.asarray(expected)
        )


def test_a_training_keeps_the_sheet_and_a_probe_has_none(tiny: Any) -> None:
    """A probe sees its images as they are."""
    trained = train_model(tiny.request(epochs=1))
    assert trained.preview is not None
    assert tiny.store.read(trained.preview).startswith(b"\x89PNG")
    assert train_model(tiny.request(model="probe:test_cnn")).preview is None
