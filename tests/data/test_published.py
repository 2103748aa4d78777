"""Splits that others published: recognised, kept or pooled as chosen, leaks counted and named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.data.manifest import ingest
from medcompare.data.published import leaks, subset_of
from medcompare.data.sources.resolve import list_unlabelled, resolve_source
from medcompare.data.split import split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medcompare.data.records import DatasetSplit
    from medcompare.data.sources.listing import ImageSource

Choice = Literal["keep", "pool"] | None


def draw(root: Path, names: Iterable[str], seed: int = 0) -> None:
    """Images of random pixels, no two alike."""
    rng = np.random.default_rng(seed)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / name)


def resolved(place: Path, published: Choice = None) -> ImageSource:
    """The listed images, with what to do about a split they come with."""
    return resolve_source(DataConfig(source=str(place)), demo_root=place / "unused", published=published)


def parts(*subsets: tuple[str, int]) -> list[str]:
    """Names of images of both classes in folders of a split."""
    return [
        f"{subset}/{label}/{label}{i:02d}.png"
        for subset, n in subsets
        for label in ("cancer", "normal")
        for i in range(n)
    ]


def partition(place: Path, published: Choice, **settings: str) -> tuple[DatasetSplit, pd.DataFrame]:
    """The split of the images in a folder or table, and its table."""
    store = ArtifactStore(place.parent / "store")
    manifest = ingest(resolved(place, published), DataConfig(source=str(place)), store)
    config = SplitConfig.model_validate({"published": published, **settings})
    found = split(manifest, config, seed=0, store=store)
    return found, pd.read_csv(io.BytesIO(store.read(found.assignments)), dtype=str, keep_default_na=False)


@pytest.mark.parametrize(
    ("name", "subset"),
    [
        *(
            (name, "train")
            for name in ("train", "Training", "TRAIN", "Training_Data", "train-set", "trainset")
        ),
        *(
            (name, "train")
            for name in ("01_train", "imagesTrain", "TrainingSet", "train images", "train2017")
        ),
        *((name, "val") for name in ("val", "valid", "Validation", "dev", "VALID", "val_set", "tuning")),
        *((name, "test") for name in ("test", "Testing", "TEST", "test-set", "Test Images", "holdout")),
        *(
            (name, None)
            for name in ("cancer", "testis", "trained", "no_test_done", "0", "", "devices", "set")
        ),
    ],
)
def test_usual_words_and_their_spellings(name: str, subset: str | None) -> None:
    """Capitals, digits, signs and words like 'set' do not count; words of other meaning are left alone."""
    assert subset_of(name) == subset


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        ("{subset}/{label}/{i}.png", ""),
        ("{label}/{subset}/{i}.png", ""),
        ("Brain MRI/{subset}/{label}/{i}.png", "Brain MRI"),
        ("archive/data/{label}/{subset}/{i}.png", "archive/data"),
        ("{subset}/{label}/patient{i}/1.png", ""),
    ],
)
def test_layouts(tmp_path: Path, pattern: str, place: str) -> None:
    """Subset above class, class above subset, folders around them: classes are the classes."""
    draw(
        tmp_path,
        [
            pattern.format(subset=subset, label=label, i=i)
            for subset in ("Training", "Testing")
            for label in ("cancer", "healthy")
            for i in range(2)
        ],
    )

    source = resolved(tmp_path, "keep")

    assert source.classes == ("healthy", "cancer")
    assert source.extra_columns == ("published_subset",)
    assert all(file.label in Path(file.path).parts for file in source.files)
    assert {file.extra[0]: "Training" in file.path for file in source.files} == {"train": True, "test": False}
    assert ("All images are in " + place in source.notes[0]) == bool(place)
    assert source.notes[-1] == (
        "The images came split into train (4 images), test (4 images): this split was kept (split.published)."
    )


def test_a_table_per_subset(tmp_path: Path) -> None:
    """Tables of the same columns are one split; an image in two of them is refused, one without labels is no part."""
    draw(tmp_path, [f"images/{i}.png" for i in range(12)])

    def write(name: str, rows: range, header: str = "image,diagnosis") -> None:
        lines = [f"images/{i}.png,{'cancer' if i % 2 else 'benign'}" for i in rows]
        (tmp_path / name).write_text("\n".join([header, *lines]), encoding="utf-8")

    write("train_labels.csv", range(6))
    write("test.csv", range(6, 11))
    source = resolved(tmp_path, "keep")

    assert source.name == tmp_path.name
    assert {file.path: file.extra for file in source.files} == {
        f"images/{i}.png": ("train" if i < 6 else "test",) for i in range(11)
    }
    assert source.notes[0] == "The folder holds test.csv, train_labels.csv, one table per subset: followed."
    assert "1 image file beside these not named there: ignored." in source.notes

    # Without labels all images of the folder are listed.
    assert len(list_unlabelled(DataConfig(source=str(tmp_path)), work=tmp_path / "unused").files) == 12

    write("test.csv", range(5, 11))
    with pytest.raises(DataError, match=r"train_labels\.csv: 'images/5\.png' is also in test\.csv"):
        resolved(tmp_path, "keep")
    write("test.csv", range(6, 11), header="image,id")
    with pytest.raises(DataError, match=r"one class only: images \(12\)"):
        resolved(tmp_path, "keep")


def test_the_choice_is_asked_for_and_subsets_are_no_classes(tmp_path: Path) -> None:
    """Both options are named, with the counts; 'pool' leaves no trace but a sentence."""
    draw(tmp_path, parts(("Training", 3), ("Testing", 2)))

    with pytest.raises(
        DataError,
        match=r"already: train \(6 images\), test \(4 images\).*--published-split keep; or .*--published-split pool",
    ):
        resolved(tmp_path)
    source = resolved(tmp_path, "pool")
    assert source.classes == ("normal", "cancer")
    assert source.extra_columns == ()
    assert "pooled and split again" in source.notes[-1]


def test_what_is_no_split_stays_a_class(tmp_path: Path) -> None:
    """A class called 'test' beside one that is no subset, and a split of which one part alone has classes."""
    draw(tmp_path / "one", [f"{label}/{i}.png" for label in ("test", "cancer") for i in range(2)])
    assert resolved(tmp_path / "one").classes == ("test", "cancer")

    draw(tmp_path / "two", [*parts(("train", 2)), "test/1.png", "test/2.png"])
    source = resolved(tmp_path / "two")
    assert source.classes == ("normal", "cancer")
    assert source.notes == (
        "2 images outside the class folders: ignored.",
        "Of a published split only one part has images with a class: train (4 images).",
    )


def test_other_folders_beside_a_split_are_left_out(tmp_path: Path) -> None:
    """They are counted; a split without folders of classes, or without test images, is refused."""
    draw(tmp_path / "a", [*parts(("train", 2), ("test", 2)), "extra/cancer/x.png"])
    assert (
        "1 image in extra, which is no part of the split: ignored." in resolved(tmp_path / "a", "keep").notes
    )

    draw(tmp_path / "b", ["train/1.png", "test/1.png"])
    with pytest.raises(DataError, match="is split into test, train, but these hold no folders of classes"):
        resolved(tmp_path / "b")

    draw(tmp_path / "c", parts(("train", 2), ("val", 2)))
    with pytest.raises(
        DataError, match=r"has no test images: .*cannot be kept; pool all.*--published-split pool"
    ):
        resolved(tmp_path / "c", "keep")


@pytest.mark.parametrize("header", ["split", "Subset", "FOLD", "partition", "subset"])
def test_column_of_a_table(tmp_path: Path, header: str) -> None:
    """Recognised by its name and its words, and no column of the data; other words stay a column."""
    draw(tmp_path, [f"{i}.png" for i in range(8)])
    rows = [f"{i}.png,{('cancer', 'normal')[i % 2]},{('TRAIN', 'Test')[i // 4]},x" for i in range(8)]
    (tmp_path / "t.csv").write_text("\n".join([f"path,label,{header},site", *rows]))

    source = resolved(tmp_path / "t.csv", "keep")

    assert source.extra_columns == ("site", "published_subset")
    assert [file.extra for file in source.files] == [("x", "train")] * 4 + [("x", "test")] * 4
    assert source.notes[0] == f"Column {header} of t.csv says which subset each image is in."
    (tmp_path / "t.csv").write_text(
        "\n".join(["path,label,fold", *(row[:-2] for row in rows)]).replace("Test", "2")
    )
    assert resolved(tmp_path / "t.csv").extra_columns == ("fold",)


def test_images_in_no_subset(tmp_path: Path) -> None:
    """A blank cell in the column of the split: it cannot be kept."""
    draw(tmp_path, [f"{i}.png" for i in range(8)])
    rows = [f"{i}.png,{('cancer', 'normal')[i % 2]},{('train', 'test', '')[i % 3]}" for i in range(8)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *rows]))

    with pytest.raises(DataError, match="has images in no subset"):
        resolved(tmp_path / "t.csv", "keep")
    assert resolved(tmp_path / "t.csv", "pool").extra_columns == ()


def test_the_published_test_images_are_kept(tmp_path: Path) -> None:
    """No other image is tested; validation comes from training, in both classes."""
    draw(tmp_path / "a", parts(("Training", 20), ("Testing", 5)))

    found, table = partition(tmp_path / "a", "keep")

    assert set(table.loc[table["subset"] == "test", "path"]) == {
        path for path in table["path"] if path.startswith("Testing/")
    }
    # An eighth of 20 images of each class, rounded: 2 or 3.
    assert [one.n_images for one in found.subsets][2] == 10
    assert sum(one.n_images for one in found.subsets) == 50
    assert all(2 <= n <= 3 for n in found.subsets[1].class_counts)
    assert found.method.startswith("The published test images, kept as they are; validation images drawn")
    assert found.notes == ("No patient and no copy of an image is in two subsets of the published split.",)
    assert "published_subset" not in table


def test_a_published_validation_subset_is_kept_too(tmp_path: Path) -> None:
    """All three subsets as published, image by image."""
    draw(tmp_path / "a", parts(("train", 8), ("valid", 3), ("test", 4)))

    found, table = partition(tmp_path / "a", "keep")

    of_folder = {"train": "train", "valid": "val", "test": "test"}
    assert [of_folder[path.split("/")[0]] for path in table["path"]] == list(table["subset"])
    assert found.method == "The published split, kept as it is"
    assert [one.target_fraction for one in found.subsets] == pytest.approx([16 / 30, 6 / 30, 8 / 30])


def test_copies_across_a_published_split(tmp_path: Path) -> None:
    """Counted and named, refused by default; removed from training where that is asked for."""
    draw(tmp_path / "a", parts(("Training", 12), ("Testing", 4)))
    for i in range(2):  # the same bytes
        copy = tmp_path / "a" / "Testing" / "cancer" / f"copy{i}.png"
        copy.write_bytes((tmp_path / "a" / "Training" / "cancer" / f"cancer0{i}.png").read_bytes())
    with Image.open(tmp_path / "a/Training/normal/normal05.png") as image:  # the same pixels
        image.save(tmp_path / "a/Testing/normal/again.bmp")

    with pytest.raises(DataError, match=r"split\.leaks=remove") as refused:
        partition(tmp_path / "a", "keep")
    found, table = partition(tmp_path / "a", "keep", leaks="remove")

    message = str(refused.value)
    assert "images of the published split (3 training) are copies" in message
    assert "concerns 3 of its 11 test images" in message
    assert "Training/cancer/cancer00.png with Testing/cancer/copy0.png" in message
    assert "Training/normal/normal05.png with Testing/normal/again.bmp" in message
    assert "--published-split pool" in message
    gone = {"Training/cancer/cancer00.png", "Training/cancer/cancer01.png", "Training/normal/normal05.png"}
    assert not gone & set(table["path"])
    assert len(table) == 32
    assert sum(path.startswith("Testing/") for path in table["path"]) == 11
    [note] = [note for note in found.notes if "Removed" in note]
    assert note.count("case-") == 3
    assert "png" not in note


def test_near_duplicates_across_a_published_split(tmp_path: Path) -> None:
    """A training image resized and recompressed in the test subset is a leak like a copy of its bytes."""
    rng = np.random.default_rng(5)
    for name in parts(("train", 12), ("test", 6)):
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        coarse.resize((128, 128), Image.Resampling.BICUBIC).save(tmp_path / "a" / name)
    with Image.open(tmp_path / "a/train/cancer/cancer03.png") as image:
        image.resize((100, 100)).save(tmp_path / "a/test/cancer/renamed.jpg", quality=70)

    with pytest.raises(
        DataError, match=r"1 training\) are .*train/cancer/cancer03\.png with test/cancer/renamed\.jpg"
    ):
        partition(tmp_path / "a", "keep")
    _, table = partition(tmp_path / "a", "keep", leaks="remove")

    assert "train/cancer/cancer03.png" not in set(table["path"])
    assert len(table) == 36


def test_patients_across_a_published_split(tmp_path: Path) -> None:
    """Of a patient in training and test all training images go, of one in training and validation those of training."""
    subsets = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
    patients = [
        *(f"P{i}" for i in range(24)),
        "P0",
        *(f"V{i}" for i in range(1, 8)),
        "P1",
        "V1",
        *(f"T{i}" for i in range(6)),
    ]
    draw(tmp_path / "a", [f"{i}.png" for i in range(40)])
    rows = [
        f"{i}.png,{('cancer', 'normal')[i % 2]},{patient},{subset}"
        for i, (patient, subset) in enumerate(zip(patients, subsets, strict=True))
    ]
    (tmp_path / "a" / "t.csv").write_text("\n".join(["path,label,patient_id,split", *rows]))

    with pytest.raises(DataError, match=r"2 training, 1 validation\) are .*concerns 2 of its 8 test images"):
        partition(tmp_path / "a" / "t.csv", "keep")
    found, table = partition(tmp_path / "a" / "t.csv", "keep", leaks="remove")

    assert {"0.png", "1.png", "25.png"}.isdisjoint(table["path"])
    assert len(table) == 37
    assert found.disjoint[-1] == ("patients", table["patient_id"].nunique())
    assert table.groupby("patient_id")["subset"].nunique().max() == 1


def test_too_few_training_images_for_validation(tmp_path: Path) -> None:
    """One training image of a class cannot be on two sides."""
    draw(tmp_path / "a", [*parts(("train", 1), ("test", 3)), *(f"train/normal/{i}.png" for i in range(5))])

    with pytest.raises(DataError, match="too few to draw validation images from"):
        partition(tmp_path / "a", "keep")


def test_a_published_subset_without_a_class(tmp_path: Path) -> None:
    """The remedy is another split, not another share."""
    draw(tmp_path / "a", [*parts(("train", 5), ("val", 2)), "test/cancer/1.png", "test/cancer/2.png"])

    with pytest.raises(DataError, match=r"test subset .* no image of class 'normal'.*--published-split pool"):
        partition(tmp_path / "a", "keep")


def test_leaks_by_hand() -> None:
    """Groups 0 (train, test), 1 (train, val), 2 (train), 3 (val, test), 4 (test, test)."""
    published = np.array(
        ["train", "test", "train", "val", "train", "val", "test", "test", "test"], dtype=object
    )
    of_group = np.array([0, 0, 1, 1, 2, 3, 3, 4, 4])

    assert np.flatnonzero(leaks(published, of_group)).tolist() == [0, 2, 5]


def test_a_split_with_its_own_validation_images_leaves_nothing_to_stratify(tmp_path: Path) -> None:
    """The option would do nothing, and is refused with what could be done."""
    subsets = ["train", "val", "test"] * 20
    draw(tmp_path / "a", [f"{i}.png" for i in range(60)])
    rows = [f"{i}.png,{('cancer', 'normal')[i // 3 % 2]},{subset},A" for i, subset in enumerate(subsets)]
    (tmp_path / "a" / "t.csv").write_text("\n".join(["path,label,split,site", *rows]))

    with pytest.raises(
        DataError, match=r"could be stratified by site\. Leave out --stratify-by, or pool all images"
    ):
        partition(tmp_path / "a" / "t.csv", "keep", stratify_by="site")
    found, _ = partition(tmp_path / "a" / "t.csv", "pool", stratify_by="site")

    assert found.stratified_by == "site"
