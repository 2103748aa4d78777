"""Copies of pictures: every planted one is found, and different pictures are not taken for copies."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.fft import dctn

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig, DemoConfig
from medcompare.data import perceptual_hash
from medcompare.data.copies import copy_table, near_duplicates
from medcompare.data.groups import groups_of
from medcompare.data.manifest import ingest
from medcompare.data.measured import Measured
from medcompare.data.perceptual_hash import (
    candidates,
    coefficients,
    hashed,
    hashes,
    turned,
    turned_back,
    turned_hashes,
)
from medcompare.data.phase_correlation import SAME, agreements
from medcompare.data.sources.demo import write_demo_data
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.tables import read_rejected
from medcompare.data.validation import measure_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.data.records import DatasetManifest

Changed = "Callable[[Image.Image, np.random.Generator], Image.Image]"


def picture(seed: int, size: int = 128) -> Image.Image:
    """Clouds of several sizes in two colours: no two seeds alike."""
    rng = np.random.default_rng(seed)
    grey = sum(
        scale * ndimage.gaussian_filter(rng.normal(size=(size, size)), scale, mode="reflect")
        for scale in (1, 3, 9)
    )
    grey = 128 + 45 * (grey - np.mean(grey)) / np.std(grey)
    colours = grey[:, :, None] * rng.uniform(0.8, 1.1, 3)
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


def saved(image: Image.Image, form: str = "PNG", **options: int) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Written as JPEG and read again."""
    return Image.open(io.BytesIO(saved(image, "JPEG", quality=quality)))


def cropped(image: Image.Image, rng: np.random.Generator, share: float = 0.9) -> Image.Image:
    """A part anywhere in the image, not enlarged again."""
    side = round(image.width * share)
    left, top = rng.integers(0, image.width - side + 1, 2).tolist()
    return image.crop((left, top, left + side, top + side))


def tinted(image: Image.Image) -> Image.Image:
    """More red, less green, a little more blue."""
    return image.convert("RGB", (1.15, 0, 0, 0, 0, 0.9, 0, 0, 0, 0, 1.05, 0))


CHANGES: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "recompressed": lambda image, _: jpeg(image, 50),
    "half the size": lambda image, _: image.resize((64, 64)),
    "another aspect": lambda image, _: image.resize((128, 100)),
    "cropped to 95 %": lambda image, rng: cropped(image, rng, 0.95),
    "cropped to 90 %": cropped,
    "mirrored": lambda image, _: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image, _: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned by 90°": lambda image, _: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 270°, mirrored": lambda image, _: image.transpose(Image.Transpose.TRANSVERSE),
    "brighter": lambda image, _: image.point(lambda value: value * 1.15 + 6),
    "gamma": lambda image, _: image.point(lambda value: 255 * (value / 255) ** 0.7),
    "tinted": lambda image, _: tinted(image),
    "all at once": lambda image, rng: jpeg(
        tinted(cropped(image, rng, 0.93)).transpose(Image.Transpose.ROTATE_180), 60
    ),
}


def thumbnails(images: list[Image.Image]) -> NDArray[np.uint8]:
    """As ingest makes them from files."""
    return np.stack(
        [np.frombuffer(measure_image(saved(image)).thumbnail, np.uint8).reshape(64, 64) for image in images]
    )


def pairs_among(images: list[Image.Image], *, n_workers: int = 0) -> list[tuple[int, int]]:
    """Numbers of the images that are found to show the same, by way of a store of measurements."""
    kept = Measured(None)
    measured = [measure_image(saved(image)) for image in images]
    for one in measured:
        kept.add(str(one.sha256), one, b"", None)
    kept.flush()
    place = {str(one.pixel_sha256): i for i, one in enumerate(measured)}
    pixels = np.array(sorted(place), dtype="S64")
    number = kept.numbers([str(one.sha256) for one in measured])
    numbers = np.array([number[str(measured[place[digest.decode()]].sha256)] for digest in pixels])
    found = near_duplicates(pixels, numbers, kept, n_workers=n_workers)
    assert near_duplicates(pixels, numbers, kept) == found  # what was compared is known now
    assert all(a < b for a, b in found)
    return sorted((min(place[a], place[b]), max(place[a], place[b])) for a, b in found)


@pytest.mark.parametrize("change", CHANGES)
def test_every_planted_copy_is_found_and_nothing_else(change: str) -> None:
    """Of 30 pictures the first 12 stand again, changed: 12 pairs."""
    rng = np.random.default_rng(len(change))
    originals = [picture(seed) for seed in range(30)]

    pairs = pairs_among(originals + [CHANGES[change](image, rng) for image in originals[:12]])

    assert pairs == [(i, 30 + i) for i in range(12)]


def test_a_part_is_found_whichever_comes_first() -> None:
    """The order of two pictures is that of their digests, which is chance; different ones are hardly looked at."""
    originals = [picture(seed) for seed in range(20)]
    rng = np.random.default_rng(4)
    whole, parts = thumbnails(originals), thumbnails([cropped(one, rng) for one in originals])

    assert (agreements(whole, parts) >= SAME).all()
    assert (agreements(parts, whole) == agreements(whole, parts)).all()
    assert (agreements(whole, parts[::-1]) == 0).all()


def test_different_pictures_are_no_copies(tmp_path: Path) -> None:
    """Neither drawn tissue of one stain, nor discs on noise, nor empty fields, nor stripes of one width."""
    write_demo_data(tmp_path / "demo", DemoConfig(n_patients=20, images_per_patient=3))
    data = DataConfig(source=str(tmp_path / "demo"))
    demo = ingest(resolve_source(data, demo_root=tmp_path), data, ArtifactStore(tmp_path / "store"))
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64] / 64
    drawn = [np.full((64, 64), 40 + i) + rng.normal(0, 1.5, (64, 64)) for i in range(20)]
    for _ in range(60):
        angle, phase, (cx, cy), r = (
            rng.uniform(0, np.pi),
            rng.uniform(0, 6),
            rng.uniform(0.3, 0.7, 2),
            rng.uniform(0.1, 0.3),
        )
        stripes = np.sin(60 * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        drawn.append(128 + 40 * stripes + rng.normal(0, 10, x.shape))
        drawn.append(90 + 80 * (np.hypot(x - cx, y - cy) < r) + rng.normal(0, 10, x.shape))

    assert demo.copies_by_kind == ()
    assert pairs_among([Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)) for grey in drawn]) == []


def take_in(folder: Path, store: ArtifactStore, **changes: object) -> DatasetManifest:
    """Ingest, however many files are excluded."""
    data = DataConfig.model_validate({"source": str(folder), "max_rejected_fraction": 1.0, **changes})
    return ingest(resolve_source(data, demo_root=folder), data, store)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures of each class; of two there are JPEGs in the same class, of one a JPEG in the other."""
    root = tmp_path / "images"
    for i in range(16):
        place = root / ("cancer" if i < 8 else "non_cancer")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.png").write_bytes(saved(picture(i)))
    (root / "cancer" / "again 0.jpg").write_bytes(saved(picture(0), "JPEG", quality=70))
    (root / "cancer" / "again 0.bmp").write_bytes(saved(picture(0), "BMP"))
    (root / "cancer" / "again 1.jpg").write_bytes(saved(picture(1).resize((90, 90)), "JPEG", quality=70))
    (root / "non_cancer" / "also 2.jpg").write_bytes(saved(picture(2).rotate(90), "JPEG", quality=70))
    return root


def test_copies_are_kept_or_excluded_by_label(folder: Path, tmp_path: Path) -> None:
    """With one label they form a group, with two both go; the table holds file, group and kind."""
    store = ArtifactStore(tmp_path / "store")

    manifest = take_in(folder, store)

    assert manifest.rejected_by_reason == (("near-duplicate with opposite label", 2),)
    assert read_rejected(manifest, store)[["path", "detail"]].to_numpy().tolist() == [
        ["cancer/2.png", "shows the same as non_cancer/also 2.jpg"],
        ["non_cancer/also 2.jpg", "shows the same as cancer/2.png"],
    ]
    assert manifest.copies_by_kind == (("same pixels", 1, 2), ("near-duplicate", 2, 5))
    assert any(
        sentence.startswith(
            "Near-duplicates of another image (cropped, resized, recompressed, turned or brightened): 5 ("
        )
        for sentence in manifest.warnings
    )


def test_too_many_conflicts_name_the_setting(folder: Path, tmp_path: Path) -> None:
    """Where near-duplicates stop the run, the message says how to go on without the search."""
    with pytest.raises(
        DataError, match=r"near-duplicate with opposite label \(2\).*data\.near_duplicates=false"
    ):
        take_in(folder, ArtifactStore(tmp_path / "store"), max_rejected_fraction=0.01)


def test_names_change_nothing(folder: Path, tmp_path: Path) -> None:
    """Groups depend on content only."""
    store = ArtifactStore(tmp_path / "store")
    before = take_in(folder, store)
    for path in sorted(folder.rglob("*.*")):
        path.rename(path.with_name(f"x{hash(path.name) % 999}{path.name}"))

    assert take_in(folder, store).copies == before.copies


def test_search_can_be_left_out(folder: Path, tmp_path: Path) -> None:
    """Then only equal pixels count."""
    manifest = take_in(folder, ArtifactStore(tmp_path / "store"), near_duplicates=False)

    assert manifest.rejected_by_reason == ()
    assert manifest.copies_by_kind == (("same pixels", 1, 2),)


def test_groups_and_table() -> None:
    """A chain is one group, named by its smallest digest; each kind has rows of its own."""
    near = [("c", "b"), ("a", "b"), ("x", "y")]

    assert groups_of(near) == {"a": "a", "b": "a", "c": "a", "x": "x", "y": "x"}
    assert groups_of([]) == {}
    assert copy_table(
        {"a": {"1", "2"}, "b": {"3"}, "c": {"4"}, "d": {"5"}},
        {"near-duplicate": near[:1], "augmented copy": [("a", "x")]},
    ) == [
        ("1", "a", "same pixels"),
        ("2", "a", "same pixels"),
        ("3", "b", "near-duplicate"),
        ("4", "b", "near-duplicate"),
    ]


def test_coefficients_are_those_of_the_cosine_transform() -> None:
    """Of the whole picture they are scipy's, up to the averaging over a pixel; signs, hence hashes, are the same."""
    pictures = thumbnails([picture(seed) for seed in range(5)])

    ours = coefficients(pictures)

    theirs = dctn(pictures.astype(float), axes=(1, 2), norm="ortho")[:, :8, :8] / 64
    assert ours == pytest.approx(theirs, rel=0.06, abs=1e-3)
    assert (hashes(ours) == hashes(theirs.astype(np.float32))).all()


def test_crops_are_asked_for_as_cut() -> None:
    """Coefficients of a crop are those of the cropped picture, enlarged."""
    whole = picture(3).convert("L").resize((64, 64))
    share, right, down = 0.75, 1.0, -1.0
    cut = whole.crop((16, 0, 64, 48)).resize((64, 64), Image.Resampling.BOX)

    ours = coefficients(np.asarray(whole)[None], (share, right, down))

    assert ours == pytest.approx(coefficients(np.asarray(cut)[None]), abs=1)


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_picture_has_the_same_upright_form(turn: int) -> None:
    """Whatever way it lies; and every turn can be undone."""
    image = thumbnails([picture(8)])[0]
    lying = turned(image, turn)

    assert (turned_back(lying, turn) == image).all()
    one, other = hashed(np.ascontiguousarray(np.stack([image, lying])))
    upright = [turned(x, int(each["upright"])) for x, each in ((image, one), (lying, other))]
    assert (upright[0] == upright[1]).all()
    assert turned_hashes(one["asked"][:1], turn) == other["asked"][:1]
    found = candidates(hashed(np.ascontiguousarray(np.stack([image, lying]))))
    assert any((turned(lying, int(back)) == image).all() for back in found.turn)


def test_search_finds_what_comparing_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted lists find the pairs within 6 bits, in chunks and threads as in one go."""
    rng = np.random.default_rng(2)
    stored = rng.integers(0, 2**63, 3000, dtype=np.uint64)
    asked = stored.copy()
    for i in range(len(asked)):
        asked[i] ^= np.bitwise_or.reduce(
            np.uint64(1) << rng.choice(63, i % 7, replace=False).astype(np.uint64)
        )

    index = perceptual_hash._Index(stored)
    found = {(int(a), int(b)) for who, other, _ in index.near(asked) for a, b in zip(who, other, strict=True)}

    everything = np.bitwise_count(asked[:, None] ^ stored) <= 6
    wanted = set(zip(*(axis.tolist() for axis in np.nonzero(everything)), strict=True))
    assert len(wanted - found) <= 0.01 * len(wanted)
    pictures = hashed(thumbnails([picture(seed % 20, 64 + seed // 20) for seed in range(40)]))
    in_one_go = candidates(pictures)
    monkeypatch.setattr("medcompare.data.perceptual_hash.CHUNK", 7)
    for one, other in zip(candidates(pictures, n_threads=2), in_one_go, strict=True):
        assert (one == other).all()
