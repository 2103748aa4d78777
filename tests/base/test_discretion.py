"""Mailed messages keep our own words and lose everybody else's."""

from __future__ import annotations

import pytest

from medcompare.base.discretion import discreet, vocabulary

KEEP = ("resnet50", "efficientnet_b0", "ResNet-50")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "/data/My Patients/Jane Middle Doe.png cannot be read: truncated file",
            "(a file) cannot be read: truncated file",
        ),
        (
            "manifest row 12: images/p001/IMG_0045.jpg: no such file",
            "manifest row 12: (a file): no such file",
        ),
        ("there is no folder /mnt/Jane Doe/images", "there is no folder (a file)"),
        ("C:\\Users\\Jane\\scan 1.tif: cannot be read", "(a file): cannot be read"),
        ("No such file or directory: 'Doe, Jane 1962.jpeg'", "No such file or directory: (a value)"),
        ("patient 'P-0123' stands on two sides", "patient (a value) stands on two sides"),
        ("patient 123 stands on two sides", "patient (a value) stands on two sides"),
        ("patient ISIC_0012345 and 7654321 differ", "patient (a value) and (a value) differ"),
        ("smith_john has no image", "(a value) has no image"),
        ("Jane Doe, born 1962-03-04, jane@doe.example", "(a value), (a value), (a value)"),
        ("Zoë O'Hara-Müller has no image", "(a value) has no image"),
        ("0049 cannot be read", "(a value) cannot be read"),
        ("see https://host.example/jane for more", "see (an address) for more"),
    ],
)
def test_names_from_the_data_go(text: str, expected: str) -> None:
    """Paths, file names, quoted values, ids and words that we never use."""
    assert discreet(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "training of resnet50: loss is not finite in epoch 3, step 120 (learning rate 1e-05)",
        "training of ResNet-50 was killed (SIGKILL): out of memory?",
        "No space left on device (28)",
        "CUDA out of memory: tried to allocate 2.50 GiB of 79.11 GiB",
        "set 'train.epochs' lower or give --weights-dir DIR",
        "train.epochs: must be at least 1",
        "precision bfloat16 is not supported",
        "images of 224x224 pixels are too small",
    ],
)
def test_our_own_words_stay(text: str) -> None:
    """What helps the reader and comes from us is mailed as it is."""
    assert discreet(text, keep=KEEP) == text


def test_models_stay_only_when_they_are_known() -> None:
    """A word with digits that nobody vouches for goes."""
    assert (
        discreet("unknown model 'resnet51'; known: resnet50", keep=KEEP)
        == "unknown model (a value); known: resnet50"
    )


def test_private_words_go_even_where_we_use_them() -> None:
    """The caller knows ids that look like ordinary words."""
    assert discreet("training of model failed", private=("model",)) == "training of (a value) failed"
    assert discreet("training of model failed", private=("",)) == "training of model failed"


def test_several_lines_become_one() -> None:
    """A message fits a line of a mail, and a subject."""
    assert discreet("training\n  failed\r\nhere") == "training failed here"


def test_the_vocabulary_holds_our_words_and_the_systems() -> None:
    """Texts of the package, of the operating system's errors, and fields of the configuration."""
    assert {"sensitivity", "permission", "enoent", "sigkill", "image_size_px", "valueerror"} <= vocabulary()
    assert not {"jane", "doe", "smith"} & vocabulary()
