"""Input that does harm, by intent or accident: refused or escaped, named, bounded; originals are left alone.

Archives are in test_archive.py, addresses in test_remote.py, single image files in test_reading.py.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import openpyxl
import pydicom
import pytest
from PIL import Image

from medcompare.base.artifacts import ArtifactStore
from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig
from medcompare.data.manifest import ingest
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.tables import read_images
from medcompare.data.validation import measure_file
from tests.data.test_dicom import content, dataset

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(60)  # several of these used to hang


def picture(path: Path, seed: int = 0) -> Path:
    """A small image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


def resolved(place: Path | str, store: Path, **data: object) -> object:
    """The listing, or the error."""
    config = DataConfig.model_validate({"source": str(place), **data})
    return resolve_source(config, demo_root=store / "demo")


def tree(root: Path) -> dict[str, str]:
    """What is below `root`: kind, time, and digest of every regular file."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat()
        digest = (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        )
        found[str(path)] = f"{mode.st_mode} {mode.st_mtime_ns} {mode.st_size} {digest}"
    return found


# --- what is given with --data -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.zip", "a.npz", "a.tar.gz", "a.png", "a"])
def test_pipes_sockets_and_devices_as_data(tmp_path: Path, name: str) -> None:
    """They are not opened; a link to one neither."""
    (tmp_path / "1").mkdir()
    os.mkfifo(tmp_path / "1" / name)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / name).symlink_to("/dev/zero")
    (tmp_path / "3").mkdir()
    here = Path.cwd()
    os.chdir(tmp_path / "3")  # the name of a socket has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
    os.chdir(here)
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / name).symlink_to(name)

    for number in "123":
        with pytest.raises(
            DataError, match=r"neither a folder nor a regular file|is a (pipe|device|socket), not a file"
        ):
            resolved(tmp_path / number / name, tmp_path / "store")
    with pytest.raises(DataError, match="no such folder or file"):
        resolved(tmp_path / "4" / name, tmp_path / "store")


SLIDE = b"II*\0" + bytes(100)


@pytest.mark.parametrize(
    ("name", "start", "said"),
    [
        ("scan.svs", SLIDE, "Its ending is that of whole-slide images; cut patches"),
        ("scan.ndpi", SLIDE, "Its ending is that of whole-slide images; cut patches"),
        ("brain.nii", bytes(344) + b"n+1\0", "It is a NIfTI volume: cut it into slices"),
        (
            "brain.nii.gz",
            b"\x1f\x8b",
            r"It is a gzip archive: unpack it; a NIfTI volume \(\.nii\.gz\) is to be cut",
        ),
        ("brain.mha", b"ObjectType", "Its ending is that of volumes such as NIfTI"),
        ("report.pdf", b"%PDF-1.4", "It is a PDF: save the images in it as PNG"),
        ("model.h5", b"\x89HDF", "It is an HDF5 file: save its arrays as images"),
        ("IM0001.dcm", bytes(128) + b"DICM", "is one image or DICOM file. Give the folder that holds"),
        ("IM0001", bytes(128) + b"DICM", "is one image or DICOM file. Give the folder that holds"),
        ("table.csv", bytes(128) + b"DICM", "this is a DICOM file; give a table with the names of images"),
        ("table.csv", b"\x89PNG\r\n", "this is an image; give a table"),
        ("table.csv", b"%PDF-1.4", "this is a PDF; save the table as CSV"),
        ("notes.odt", b"PK\x03\x04", "It is a zip archive: unpack it"),
        ("notes.docx", b"text", "is a file, but not a CSV manifest"),
    ],
)
def test_a_single_file_of_another_kind(tmp_path: Path, name: str, start: bytes, said: str) -> None:
    """It is named as what it is, with the remedy."""
    (tmp_path / name).write_bytes(start)
    with pytest.raises(DataError, match=said):
        resolved(tmp_path / name, tmp_path / "store")


def test_a_single_image(tmp_path: Path) -> None:
    """The folder two above is what was meant where there are classes."""
    place = picture(tmp_path / "set" / "cancer" / "a.png")
    with pytest.raises(
        DataError, match=rf"is one image .*\nTry: medcompare compare --data {tmp_path / 'set'}$"
    ):
        resolved(place, tmp_path / "store")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("x" * 5000, "cannot be read .File name too long"),
        ("a\\x00b", "no such folder or file"),
        ("../../etc/nowhere", "no such folder or file"),
    ],
)
def test_odd_places(tmp_path: Path, place: str, said: str) -> None:
    """Too long for a name, with a NUL byte, of nowhere."""
    with pytest.raises(DataError, match=said):
        resolved(place, tmp_path / "store")


def test_the_home_of_nobody(tmp_path: Path) -> None:
    """It is a fault of a setting."""
    with pytest.raises(ValueError, match="begins with the home of a user who is not there"):
        resolved("~nobody-of-that-name/x", tmp_path)


# --- folders -----------------------------------------------------------------------------------------


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    """Its images must not be missing without a word; tried as another user, since root may read all."""
    if os.geteuid() != 0:
        pytest.skip("changing the user needs root")
    picture(tmp_path / "set" / "normal" / "a.png")
    shut = picture(tmp_path / "set" / "cancer" / "shut" / "b.png").parent
    picture(tmp_path / "set" / "cancer" / "c.png").chmod(0o000)
    script = (
        "import sys\nfrom pathlib import Path\nfrom medcompare.data.sources.folder import walk\n"
        "from medcompare.data.validation import measure_file\n"
        "found = measure_file(Path(sys.argv[1]) / 'cancer' / 'c.png', max_bytes=99999)\n"
        "print(found.reason, '|', found.detail)\n"
        "try:\n    list(walk(Path(sys.argv[1])))\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp/") and folder != Path("/tmp"):  # noqa: S108 - pytest's own folders
            folder.chmod(0o755)
    shut.chmod(0o000)

    code = (
        f"import os, medcompare.data.sources.folder, medcompare.data.validation\nos.setuid(65534)\n{script}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "set")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "cannot be opened | Permission denied" in done.stdout
    assert (
        f"DataError the folder {shut} cannot be listed (Permission denied). Make it readable" in done.stdout
    )


def test_originals_and_everything_outside_stay_as_they_are(tmp_path: Path) -> None:
    """Digest, time and mode of every file before and after; nothing is written but below the store."""
    for i in range(6):
        picture(tmp_path / "home" / "set" / ("cancer" if i % 2 else "normal") / f"{i}.png", i)
    home = tmp_path / "home"
    os.mkfifo(home / "set" / "cancer" / "pipe.png")
    (home / "set" / "cancer" / "loop").symlink_to(home / "set")
    (home / "set" / "cancer" / "folder.png").mkdir()
    (home / "set" / "normal" / "out.png").symlink_to(home / "secret.txt")
    (home / "secret.txt").write_text("secret")
    with zipfile.ZipFile(home / "set.zip", "w") as file:
        for path in (home / "set").rglob("[0-9].png"):
            file.write(path, path.relative_to(home / "set"))
    before = tree(home)

    for place in (home / "set", home / "set.zip"):
        data = DataConfig(source=str(place), max_rejected_fraction=0.9)
        store = ArtifactStore(tmp_path / "store")
        manifest = ingest(resolve_source(data, demo_root=tmp_path / "store" / "demo"), data, store)
        assert manifest.n_images == 6

    assert tree(home) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "store"]


NAMES = {
    "new line": "a\nb",
    "quotes": "a'\"b",
    "HTML": "<img src=x onerror=alert(1)>",
    "right to left": "a\u202egnp.exe",
    "isolate": "a\u2066b\u2069",
    "line separator": "a\u2028b",
    "C1": "a\x9bb",
    "formula": "=cmd|calc",
    "escape": "\x1b[31mred",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_are_shown_in_one_line_as_they_stand(tmp_path: Path, name: str) -> None:
    """Classes, files, columns and their values, from folders and from tables; the files are still found."""
    for i in range(4):
        picture(tmp_path / "set" / name / f"{name}{i}.png", i)
        picture(tmp_path / "set" / "normal" / f"{i}.png", 10 + i)
    table = io.StringIO()
    rows = [
        (path.relative_to(tmp_path), path.parent.name, name)
        for path in sorted((tmp_path / "set").rglob("*.png"))
    ]
    csv.writer(table).writerows([("path", "label", name), *rows])
    (tmp_path / "t.csv").write_text(table.getvalue(), encoding="utf-8", newline="")

    for place, positive in ((tmp_path / "set", name), (tmp_path / "t.csv", name)):
        if place.suffix and any(ord(mark) < 32 and mark != "\n" for mark in name):
            with pytest.raises(DataError, match="bytes that are not text"):
                resolved(place, tmp_path / "store")
            continue
        with pytest.raises(DataError) as asked:
            resolved(place, tmp_path / "store")
        said = str(asked.value).replace("\nTry: ", " Try: ")
        data = DataConfig(source=str(place), positive=_shown(positive))
        source = resolve_source(data, demo_root=tmp_path)
        store = ArtifactStore(tmp_path / "store")
        manifest = ingest(source, data, store)
        texts = [
            said,
            *manifest.classes,
            *manifest.extra_columns,
            *manifest.warnings,
            *read_images(manifest, store)["path"],
        ]
        assert manifest.n_images == 8
        assert not [text for text in texts if not _is_plain(text)]


def _is_plain(text: str) -> bool:
    marks = {*range(32), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)}
    return not marks.intersection(map(ord, text))


def _shown(name: str) -> tuple[str, ...]:
    return ("".join(c if _is_plain(c) else "".join(f"\\x{b:02x}" for b in c.encode()) for c in name),)


# --- tables ------------------------------------------------------------------------------------------

MEASURED = """
import resource, sys, time
from pathlib import Path
from medcompare.base.errors import DataError
from medcompare.data.table_file import read_table_file
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_table_file(Path(sys.argv[1]), expected="x")
except DataError as error:
    print(error, "|", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def refusal_of_table(path: Path) -> tuple[str, int]:
    """What is said of a table, and the megabytes that it took."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    said, _, peak = done.stdout.rpartition("|")
    return said, int(peak)


def test_a_line_of_500_megabytes(tmp_path: Path) -> None:
    """It is not read to its end."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"path,label\na.png,x\n")
    os.truncate(path, 500_000_000)

    said, peak = refusal_of_table(path)

    assert "row 3 is longer than 1 million bytes: this is no table" in said
    assert peak < 40


def test_a_million_columns(tmp_path: Path) -> None:
    """In a line that is too long, in one that is not, and in a workbook."""
    (tmp_path / "t.csv").write_text(",".join(map(str, range(1_000_000))) + "\n1\n")
    (tmp_path / "u.csv").write_text("a,b\nx" + "," * 900_000 + "y\n")
    (tmp_path / "v.csv").write_text("," * 900_000 + "b\n1\n")
    book = openpyxl.Workbook()
    assert book.active is not None
    for number in range(1, 7000):
        book.active.cell(number, 1, "x")
    book.active.cell(2, 16_384, "x")
    book.save(tmp_path / "w.xlsx")

    for name, words in (
        ("t.csv", "row 1 is longer than 1 million bytes"),
        ("u.csv", "row 2 has 900001 cells, the header has 2"),
        ("v.csv", "row 1 has 900,001 columns, at most 5,000 are read"),
        ("w.xlsx", "cannot be read as an Excel workbook .ValueError"),
    ):
        said, peak = refusal_of_table(tmp_path / name)
        assert words.replace(".V", "(V") in said
        assert peak < 400


def test_a_table_larger_than_any(tmp_path: Path) -> None:
    """Refused by its size."""
    (tmp_path / "t.csv").write_bytes(b"path,label\n")
    os.truncate(tmp_path / "t.csv", 3 * 2**30)
    said, peak = refusal_of_table(tmp_path / "t.csv")
    assert "3,221 MB, at most 1,074; keep the columns that are needed" in said
    assert peak < 30


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_long_tables_are_not_long_lines(tmp_path: Path, ends: str) -> None:
    """Lines may end as on any system, also where a piece that is read at once ends within one."""
    rows = [f"images/{i:06}.png,{'cancer' if i % 2 else 'normal'},{'x' * 40}" for i in range(40_000)]
    path = tmp_path / "t.csv"
    path.write_text(ends.join(["path,label,note", *rows]), newline="")
    from medcompare.data.table_file import read_table_file

    assert read_table_file(path, expected="x").columns["path"][-1] == "images/039999.png"


def test_paths_that_lead_out(tmp_path: Path) -> None:
    """A table of the user may name any file of his; one that came in an archive must not."""
    for i in range(2):
        picture(tmp_path / "elsewhere" / f"{i}.png", i)
    (tmp_path / "study").mkdir()
    rows = "path,label\n../elsewhere/0.png,cancer\n../elsewhere/1.png,normal\n"
    (tmp_path / "study" / "t.csv").write_text(rows)
    source = resolve_source(DataConfig(source=str(tmp_path / "study" / "t.csv")), demo_root=tmp_path / "demo")
    assert [file.path for file in source.files] == ["../elsewhere/0.png", "../elsewhere/1.png"]

    for target in (
        "/etc/passwd",
        "../../../../../../../../../../../../etc/passwd",
        str(tmp_path / "elsewhere/0.png"),
    ):
        with zipfile.ZipFile(tmp_path / "sent.zip", "w") as file:
            file.writestr("images/a.png", b"x")
            file.writestr("images/b.png", b"x")
            file.writestr("t.csv", f"path,label\nimages/a.png,cancer\n{target},normal\n")
        with pytest.raises(
            DataError, match=r"sent\.zip: its table names 1 file outside the images that came with it"
        ):
            resolved(tmp_path / "sent.zip", tmp_path / "store")


# --- archives and files that grow --------------------------------------------------------------------


def test_a_zip_of_zips(tmp_path: Path) -> None:
    """The inner ones are named, not unpacked."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("cancer/a.png", b"x")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as file:
        for name in ("part1.zip", "part2.zip"):
            file.writestr(name, inner.getvalue())
    with pytest.raises(
        DataError, match=r"2 \.zip.* 2 files of a kind that is not read: archives; unpack them"
    ):
        resolved(tmp_path / "outer.zip", tmp_path / "store")


def test_names_of_gigabytes_in_a_tar(tmp_path: Path) -> None:
    """Python's tarfile would read the name whole before anybody could look at it; nor follow it for ever."""
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        head = tarfile.TarInfo("././@LongLink")
        head.type, head.size = kind, 2**33
        (tmp_path / "a.tar").write_bytes(head.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        with pytest.raises(DataError, match=r"a\.tar: cannot be unpacked .a header of 8,589,934,592 bytes"):
            resolved(tmp_path / "a.tar", tmp_path / "store")
    head = tarfile.TarInfo("x")
    head.type, head.size = tarfile.XHDTYPE, 0
    (tmp_path / "a.tar").write_bytes(head.tobuf() * 3000 + bytes(1024))
    with pytest.raises(DataError, match=r"a\.tar: cannot be unpacked"):
        resolved(tmp_path / "a.tar", tmp_path / "store")


def test_names_that_are_the_same_file(tmp_path: Path) -> None:
    """Written another way, they would overwrite each other; names that differ in capitals are two files."""
    for other in ("cancer//a.png", "./cancer/a.png", "cancer/./a.png", "cancer\\a.png"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.writestr("cancer/a.png", b"x")
            file.writestr(other, b"y")
        with pytest.raises(DataError, match=r"\(twice\)"):
            resolved(tmp_path / "a.zip", tmp_path / "store")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in ("cancer/a.png", "cancer/A.png", "normal/a.png"):
            file.writestr(name, name)
    source = resolve_source(DataConfig(source=str(tmp_path / "a.zip")), demo_root=tmp_path / "store" / "demo")
    assert sorted((source.root / file.path).read_text() for file in source.files) == [
        "cancer/A.png",
        "cancer/a.png",
        "normal/a.png",
    ]


def test_a_deflated_dicom_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That pydicom inflates such a file whole must do no harm; one of ordinary size is read."""
    made = dataset(np.arange(1600).reshape(40, 40), pydicom.uid.DeflatedExplicitVRLittleEndian)
    good = content(made)
    (tmp_path / "good.dcm").write_bytes(good)
    start = 144 + int.from_bytes(good[140:144], "little")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = b"".join([deflater.compress(bytes(2**24)), deflater.flush()])
    (tmp_path / "bomb.dcm").write_bytes(good[:start] + zeros)
    monkeypatch.setattr("medcompare.data.dicom.MAX_INFLATED_BYTES", 10_000_000)  # 800 take seconds

    assert measure_file(tmp_path / "good.dcm", max_bytes=10**8).span == (0, 1599)
    found = measure_file(tmp_path / "bomb.dcm", max_bytes=10**8)
    assert (found.reason, found.detail) == ("damaged", "a deflated DICOM file of more than 10 MB")


@pytest.mark.parametrize("implicit", [True, False])
def test_dicom_without_preamble(tmp_path: Path, implicit: bool) -> None:  # noqa: FBT001
    """Found by its first element, with the same picture; also beside files that are no images."""
    syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
    for i in range(4):
        made = dataset(np.random.default_rng(i).integers(0, 4096, (40, 40)), syntax, PatientID=f"P{i // 2}")
        whole = content(made)
        place = tmp_path / "set" / ("cancer" if i % 2 else "normal") / f"IM{i}"
        place.parent.mkdir(parents=True, exist_ok=True)
        start = 144 + int.from_bytes(whole[140:144], "little")
        place.write_bytes(whole[start:])
        assert place.read_bytes()[:4] == b"\x08\x00\x16\x00"
        (tmp_path / "whole.dcm").write_bytes(whole)
        with_meta, without = (measure_file(p, max_bytes=10**6) for p in (tmp_path / "whole.dcm", place))
        assert with_meta.pixel_sha256 == without.pixel_sha256
        assert with_meta.span == without.span
    (tmp_path / "set" / "normal" / "notes").write_bytes(b"\x08\x00 no image")

    source = resolve_source(DataConfig(source=str(tmp_path / "set")), demo_root=tmp_path)

    assert len(source.files) == 4
    assert source.has_patients
