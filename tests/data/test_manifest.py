"""From listed files to a manifest: everything counted, nothing lost, nothing depends on place."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from PIL import Image

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig
from medcompare.data.copies import KIND_WORDS, Kind
from medcompare.data.exclusions import REASON_WORDS
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.tables import read_images, read_rejected
from medcompare.data.validation import Reason, measure_file

if TYPE_CHECKING:
    from medcompare.data.records import DatasetManifest

REAL_DATA = Path(os.environ.get("MEDCOMPARE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def picture(seed: int, form: str = "PNG", size: int = 40) -> bytes:
    """A noise image that differs for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=form)
    return buffer.getvalue()


def add(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten good images, six of cancer and four without."""
    for i in range(10):
        add(tmp_path / "images" / ("cancer" if i < 6 else "non_cancer") / f"img{i}.png", picture(i))
    return tmp_path / "images"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    return ArtifactStore(tmp_path / "store")


def take_in(place: Path, store: ArtifactStore, **changes: object) -> DatasetManifest:
    """Ingest the folder or file, allowing any share of rejections unless told."""
    data = DataConfig.model_validate({"source": str(place), "max_rejected_fraction": 1.0, **changes})
    return ingest(resolve_source(data, demo_root=place), data, store)


def test_good_folder(folder: Path, store: ArtifactStore) -> None:
    """Counts, classes and table of a faultless folder."""
    manifest = take_in(folder, store)

    assert manifest.classes == ("non_cancer", "cancer")
    assert manifest.class_counts == (4, 6)
    assert (manifest.n_found, manifest.n_images, manifest.n_rejected) == (10, 10, 0)
    assert manifest.n_patients is None
    assert manifest.image_sizes == (("40x40", 10),)
    assert (manifest.n_duplicate_groups, manifest.n_conflicting_groups) == (0, 0)
    assert manifest.warnings == ()
    assert (manifest.copies, manifest.copies_by_kind) == (None, ())
    table = read_images(manifest, store)
    assert list(table.columns) == [
        "case_id", "path", "label", "patient_id", "sha256", "width_px", "height_px", "mode", "grey_range",
    ]  # fmt: skip
    assert set(table["path"]) == {file.relative_to(folder).as_posix() for file in folder.rglob("*.png")}
    assert all(
        label == path.startswith("cancer") for label, path in zip(table["label"], table["path"], strict=True)
    )
    assert table["case_id"].is_unique
    assert all(
        case_id == f"case-{sha[:8]}" for case_id, sha in zip(table["case_id"], table["sha256"], strict=True)
    )
    assert len(read_rejected(manifest, store)) == 0


def test_manifest_columns_travel(folder: Path, store: ArtifactStore) -> None:
    """Patients and further columns stand in the table as the user wrote them."""
    rows = [
        f"{p.relative_to(folder).as_posix()},{p.parent.name},00{i // 2},NA\n"
        for i, p in enumerate(sorted(folder.rglob("*.png")))
    ]
    add(folder / "m.csv", ("path,label,patient_id,site\n" + "".join(rows)).encode())

    manifest = take_in(folder / "m.csv", store)

    assert manifest.n_patients == 5
    assert manifest.extra_columns == ("site",)
    table = read_images(manifest, store)
    assert set(table["patient_id"]) == {"000", "001", "002", "003", "004"}
    assert set(table["site"]) == {"NA"}


def test_each_defect_is_counted_with_its_reason(folder: Path, store: ArtifactStore) -> None:
    """One file per defect, found once each, with the path and a detail."""
    add(folder / "cancer" / "cut.jpg", picture(20, "JPEG")[:-300])
    add(folder / "cancer" / "empty.png", b"")
    add(folder / "cancer" / "text.png", b"text")
    add(folder / "non_cancer" / "tiny.png", picture(21, size=31))
    add(folder / "non_cancer" / "same.png", picture(0))

    manifest = take_in(folder, store)

    assert manifest.rejected_by_reason == (
        ("empty file", 1),
        ("not an image", 1),
        ("opposite labels", 2),
        ("too small", 1),
        ("truncated", 1),
    )
    assert (manifest.n_found, manifest.n_images, manifest.n_rejected) == (15, 9, 6)
    table = read_rejected(manifest, store)
    assert table[["path", "label", "reason"]].to_numpy().tolist() == [
        ["cancer/cut.jpg", "cancer", "truncated"],
        ["cancer/empty.png", "cancer", "empty file"],
        ["cancer/img0.png", "cancer", "opposite labels"],
        ["cancer/text.png", "cancer", "not an image"],
        ["non_cancer/same.png", "non_cancer", "opposite labels"],
        ["non_cancer/tiny.png", "non_cancer", "too small"],
    ]
    assert table["detail"][2] == "identical to non_cancer/same.png"


def test_copies_of_one_class_stay(folder: Path, store: ArtifactStore) -> None:
    """They are counted as a group, kept, and told apart by their pseudonyms."""
    add(folder / "cancer" / "copy a.png", picture(0))
    add(folder / "cancer" / "copy b.png", picture(0))

    manifest = take_in(folder, store)

    assert (manifest.n_duplicate_groups, manifest.n_conflicting_groups, manifest.n_rejected) == (1, 0, 0)
    table = read_images(manifest, store)
    copies = table[table["sha256"].duplicated(keep=False)]
    first = f"case-{copies['sha256'].iloc[0][:8]}"
    assert copies["case_id"].tolist() == [first, f"{first}-2", f"{first}-3"]


def test_same_pixels_in_other_bytes(folder: Path, store: ArtifactStore) -> None:
    """A picture saved again is no second picture: kept together, or excluded with opposite labels."""
    add(folder / "cancer" / "again.bmp", picture(0, "BMP"))
    add(folder / "non_cancer" / "again too.bmp", picture(1, "BMP"))

    manifest = take_in(folder, store)

    assert (manifest.n_duplicate_groups, manifest.n_conflicting_groups) == (0, 0)
    assert manifest.rejected_by_reason == (("opposite labels", 2),)
    assert "same pixels as cancer/img1.png" in set(read_rejected(manifest, store)["detail"])
    assert manifest.copies_by_kind == (("same pixels", 1, 2),)
    assert manifest.copies is not None
    lines = store.read(manifest.copies).decode().splitlines()
    expected = {
        measure_file(folder / "cancer" / name, max_bytes=100_000).sha256 for name in ("img0.png", "again.bmp")
    }
    assert lines[0] == "sha256,copy_group,kind"
    assert {line.split(",")[0] for line in lines[1:]} == expected
    assert (
        "Files that differ in bytes but show the same pixels as another: 2 (groups: 1)"
        in manifest.warnings[0]
    )


def test_image_under_two_patients_is_said(folder: Path, store: ArtifactStore) -> None:
    """A copy filed under another patient is a question to the user."""
    add(folder / "cancer" / "copy.png", picture(0))
    rows = [
        f"{p.relative_to(folder).as_posix()},{p.parent.name},{p.stem}\n"
        for p in sorted(folder.rglob("*.png"))
    ]
    add(folder / "m.csv", ("path,label,patient_id\n" + "".join(rows)).encode())

    warnings = take_in(folder / "m.csv", store).warnings

    assert any(sentence.startswith("1 image filed under more than one patient") for sentence in warnings)


def test_conversions_are_said(folder: Path, store: ArtifactStore) -> None:
    """What is changed before the networks see it is in the warnings, with its count."""
    for i in range(2):
        buffer = io.BytesIO()
        Image.new("RGBA", (40, 40), (i, 0, 0, 99)).save(buffer, format="PNG")
        add(folder / "cancer" / f"alpha{i}.png", buffer.getvalue())

    assert "2 images with transparency, which is dropped." in take_in(folder, store).warnings


def test_too_many_rejections_stop_the_run(folder: Path, store: ArtifactStore) -> None:
    """The message counts reasons and names the first files; the limit itself is allowed."""
    for i in range(2):
        add(folder / "cancer" / f"bad{i}.png", b"text")

    with pytest.raises(
        DataError,
        match=r"2 of 12 files .*16\.7%; data.max_rejected_fraction is 10\.0%.*Excluded: not an image \(2\). "
        r"First files: cancer/bad0.png \(not an image: no known image format in 4 bytes\); "
        r"cancer/bad1.png \(not an image\)\. Repair",
    ):
        take_in(folder, store, max_rejected_fraction=0.1)
    assert take_in(folder, store, max_rejected_fraction=2 / 12).n_rejected == 2


def test_class_without_usable_images(folder: Path, store: ArtifactStore) -> None:
    """Nothing is left of one class."""
    for path in (folder / "non_cancer").glob("*.png"):
        path.write_bytes(b"text")

    with pytest.raises(DataError, match=r"no usable image of class 'non_cancer' is left.*not an image \(4\)"):
        take_in(folder, store)


def test_independent_of_place_and_processes(folder: Path, tmp_path: Path, store: ArtifactStore) -> None:
    """A copy elsewhere, decoded in two processes, gives the same manifest to the byte."""
    shutil.copytree(folder, tmp_path / "other" / "images")
    data = DataConfig(source=str(tmp_path / "other" / "images"))

    there = ArtifactStore(tmp_path / "another store")
    alone = ingest(resolve_source(data, demo_root=tmp_path), data, there, n_workers=2)

    assert alone == take_in(folder, store)


def test_fingerprint_knows_content_not_names(folder: Path, store: ArtifactStore) -> None:
    """Renaming changes nothing; relabelling does."""
    before = take_in(folder, store)
    (folder / "cancer" / "img0.png").rename(folder / "cancer" / "zebra.png")
    renamed = take_in(folder, store)
    (folder / "cancer" / "zebra.png").rename(folder / "non_cancer" / "zebra.png")
    relabelled = take_in(folder, store)

    assert renamed.fingerprint == before.fingerprint
    assert read_images(renamed, store)["sha256"].equals(read_images(before, store)["sha256"])
    assert relabelled.fingerprint != before.fingerprint


def test_progress_reports_every_file(folder: Path, store: ArtifactStore) -> None:
    """Progress counts up to the number of files."""
    calls: list[tuple[int, int]] = []
    data = DataConfig(source=str(folder))
    ingest(resolve_source(data, demo_root=folder), data, store, progress=lambda *c: calls.append(c))

    assert calls == [(i, 10) for i in range(1, 11)]


def test_source_notes_become_warnings(folder: Path, store: ArtifactStore) -> None:
    """What the listing left out stands in the manifest."""
    add(folder / "notes.txt", b"")

    assert take_in(folder, store).warnings == ("1 file not an image by name (1 .txt): ignored.",)


def test_oral_oscc_as_published(store: ArtifactStore) -> None:
    """The facts known of this public data set: 851 files, 6 identical groups, 4 of them contradictory."""
    place = REAL_DATA / "oral-oscc-224"
    if not place.is_dir():
        pytest.skip("the public data set oral-oscc-224 is not here")

    manifest = take_in(place, store, max_rejected_fraction=0.05)

    assert manifest.n_found == 851
    assert (manifest.n_duplicate_groups, manifest.n_conflicting_groups) == (6, 4)
    assert manifest.rejected_by_reason == (("opposite labels", 8),)
    assert manifest.class_counts == (286, 557)
    assert any("'100x'" in sentence for sentence in manifest.warnings)


def test_catalogue_has_every_reason_and_kind() -> None:
    """What is stored in English and translated where it is shown is marked for the catalogue."""
    assert set(REASON_WORDS) == set(get_args(Reason))
    assert set(KIND_WORDS) == set(get_args(Kind))
