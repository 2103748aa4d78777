"""Images in one file: read as the folder they hold, refused before anything is written where they could do harm."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig
from medcompare.data.sources.resolve import resolve_source, source_name

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.data.sources.listing import ImageSource

CONTENT = {
    "cancer/a.png": b"one",
    "cancer/b.png": b"two",
    "normal/c.png": b"three",
    "__MACOSX/cancer/._a.png": b"x",
    ".DS_Store": b"x",
}


def zipped(path: Path, content: dict[str, bytes], links: tuple[str, ...] = ()) -> Path:
    """A zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        for name in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return path


def tarred(path: Path, content: dict[str, bytes], mode: str = "w:gz", **special: bytes) -> Path:
    """A tar file; `special` members are of the kind given."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload] # any mode
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind in special.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc"
            archive.addfile(info)
    return path


def resolved(place: Path, **data: Any) -> ImageSource:
    """The listed images; archives are unpacked beside the archive."""
    given = {"published": data.pop("published", None)}
    return resolve_source(
        DataConfig(source=str(place), **data), demo_root=place.parent / "store" / "demo", **given
    )


def left_behind(folder: Path) -> list[str]:
    """What is in the folder but archives."""
    return sorted(path.name for path in folder.rglob("*") if path.suffix not in {".zip", ".gz"})


@pytest.mark.parametrize("around", ["", "study/"])
@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "TAR.XZ"])
def test_read_as_the_folder_within(tmp_path: Path, ending: str, around: str) -> None:
    """Files with their content, without what systems leave behind; named after the archive."""
    content = {around + name: data for name, data in CONTENT.items()}
    path = tmp_path / f"my set.{ending}"
    modes = {"tar": "w", "TAR.XZ": "w:xz"}
    place = zipped(path, content) if ending == "zip" else tarred(path, content, modes.get(ending, "w:gz"))

    source = resolved(place)

    assert {f.path: (source.root / f.path).read_bytes() for f in source.files} == {
        name: data for name, data in CONTENT.items() if name.endswith("g") and "_" not in name
    }
    assert source.classes == ("normal", "cancer")
    assert source.name == "my set" == source_name(DataConfig(source=str(place)))
    assert source.notes[0] == f"The images were unpacked from {path.name}."
    assert not list(tmp_path.rglob("._a.png"))


def test_unpacked_once_per_content(tmp_path: Path) -> None:
    """The second time nothing is written; other content goes to another folder."""
    place = zipped(tmp_path / "a.zip", CONTENT)
    first = resolved(place).root
    (first / "cancer" / "a.png").write_bytes(b"changed")
    os.utime(first, (0, 0))

    assert resolved(place).root == first
    assert first.stat().st_mtime > 0  # so that it is not deleted as long as runs read it
    assert (first / "cancer" / "a.png").read_bytes() == b"changed"
    assert resolved(zipped(place, {**CONTENT, "normal/d.png": b"x"})).root != first


def test_table_beside_one_folder(tmp_path: Path) -> None:
    """One table and the images it names."""
    rows = b"image_id,dx\n1,cancer\n2,normal\n"
    place = zipped(tmp_path / "a.zip", {"images/1.jpg": b"x", "images/2.jpg": b"y", "HAM_metadata.csv": rows})

    source = resolved(place)

    assert [(file.path, file.label) for file in source.files] == [
        ("images/1.jpg", "cancer"),
        ("images/2.jpg", "normal"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped.png",
        "/absolute.png",
        "cancer/../../x.png",
        "C:\\x.png",
        "..\\x.png",
        "\\\\host\\share\\x.png",
    ],
)
def test_members_that_lead_outside(tmp_path: Path, name: str) -> None:
    """The whole archive is refused, and nothing is written."""
    for place in (
        zipped(tmp_path / "a.zip", {**CONTENT, name: b"x"}),
        tarred(tmp_path / "a.tar.gz", {**CONTENT, name: b"x"}),
    ):
        with pytest.raises(DataError, match=r"1 of 4 members may not be unpacked: .*leads outside"):
            resolved(place)
        assert left_behind(tmp_path) == []


def test_links_and_devices(tmp_path: Path) -> None:
    """They are not followed, made or skipped, but refused."""
    with pytest.raises(DataError, match=r"cancer/link\.png \(a link or a device\)"):
        resolved(zipped(tmp_path / "a.zip", CONTENT, links=("cancer/link.png",)))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with pytest.raises(DataError, match=r"special \(a link or a device\)"):
            resolved(tarred(tmp_path / "a.tar.gz", CONTENT, special=kind))
    assert left_behind(tmp_path) == []


def test_bombs(tmp_path: Path) -> None:
    """Large out of proportion, and members larger than any image; twice the same name."""
    zeros = {"cancer/huge.png": bytes(30_000_000)}
    for place in (zipped(tmp_path / "a.zip", zeros), tarred(tmp_path / "a.tar.gz", zeros)):
        with pytest.raises(DataError, match=r"unpacks to more than 30 MB from 0\.0 MB: no images shrink"):
            resolved(place)
    noise = np.random.default_rng(0).bytes(1_200_000)
    with pytest.raises(DataError, match=r"cancer/x\.png \(1 MB, limit 1 \(data\.max_file_mb\)\)"):
        resolved(zipped(tmp_path / "a.zip", {**CONTENT, "cancer/x.png": noise}), max_file_mb=1)
    archive = zipfile.ZipFile(zipped(tmp_path / "a.zip", CONTENT), "a")
    with archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("cancer/a.png", b"other")
    with pytest.raises(DataError, match=r"cancer/a\.png \(twice\)"):
        resolved(tmp_path / "a.zip")
    assert left_behind(tmp_path) == []


def test_damaged_and_foreign(tmp_path: Path) -> None:
    """Cut off, no archive at all, or of a kind that is not read."""
    place = zipped(tmp_path / "a.zip", {"cancer/a.png": np.random.default_rng(0).bytes(9000)})
    content = place.read_bytes()
    for damaged in (content[:4000], b"text", content.replace(content[2000:2010], b"0123456789")):
        place.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.zip: cannot be unpacked .*is it complete"):
            resolved(place)
    (tmp_path / "a.7z").write_bytes(b"7z")
    with pytest.raises(DataError, match="archives of this kind are not read"):
        resolved(tmp_path / "a.7z")
    assert left_behind(tmp_path) == ["a.7z", "store"]  # the folder of the cache, with nothing in it


def test_arrays_of_medmnist(tmp_path: Path) -> None:
    """Pixels and labels as stored, and the split they come with."""
    rng = np.random.default_rng(0)
    images = {
        s: rng.integers(0, 256, (n, 28, 28, 3), dtype=np.uint8)
        for s, n in (("train", 6), ("val", 2), ("test", 4))
    }
    labels = {s: (np.arange(len(x)) % 2)[:, None].astype(np.uint8) for s, x in images.items()}
    np.savez_compressed(
        tmp_path / "pathmnist.npz",
        **{f"{s}_images": x for s, x in images.items()},
        **{f"{s}_labels": y for s, y in labels.items()},
    )

    with pytest.raises(
        DataError,
        match=r"train \(6 images\), val \(2 images\), test \(4 images\)\..*\n.*--data .*pathmnist.npz --",
    ):
        resolved(tmp_path / "pathmnist.npz")
    source = resolved(tmp_path / "pathmnist.npz", published="keep")

    assert source.classes == ("label=0", "label=1")
    assert source.name == "pathmnist"
    assert len(source.files) == 12
    for file in source.files:
        subset, i = file.path.split("/")[0], int(file.path.split("/")[1][:-4])
        with Image.open(source.root / file.path) as image:
            np.testing.assert_array_equal(np.asarray(image), images[subset][i])
        assert (file.label, file.extra) == (f"label={labels[subset][i, 0]}", (subset,))


def test_other_arrays(tmp_path: Path) -> None:
    """Without a split, one-hot labels, 16 bits of grey; what is not understood is refused with what is there."""
    path = tmp_path / "a.npz"
    grey = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8) * 200
    np.savez(path, X=grey, y=np.eye(2, dtype=int)[[0, 1, 1, 0]])
    source = resolved(path)
    assert [file.label[-1] for file in source.files] == ["0", "1", "1", "0"]
    with Image.open(source.root / source.files[3].path) as image:
        np.testing.assert_array_equal(np.asarray(image), grey[3])

    for arrays, message in (
        ({"a": grey, "b": grey}, "no arrays of images and labels; there are: a, b"),
        ({"images": grey.astype(float), "labels": np.zeros(4)}, "array images is float64 of shape"),
        ({"images": grey, "labels": np.zeros(3)}, "with 3 labels"),
        ({"images": grey, "labels": np.ones((4, 2))}, "gives images several labels"),
        ({"images": grey, "labels": np.array([{}, {}, {}, {}])}, "cannot be unpacked .*allow_pickle"),
        (
            {"images": np.zeros((9, 999, 999), np.uint8), "labels": np.zeros(9)},
            "unpacks to 9 MB; write the images",
        ),
    ):
        np.savez_compressed(path, **arrays)
        with pytest.raises(DataError, match=message):
            resolved(path)
