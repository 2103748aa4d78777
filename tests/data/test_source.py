"""Listing and labelling of folders and manifests, and every refusal with its remedy."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig, SplitConfig
from medcompare.data.fingerprint import fingerprint
from medcompare.data.sources.command import check_columns
from medcompare.data.sources.resolve import resolve_source, source_name

if TYPE_CHECKING:
    from medcompare.data.sources.listing import ImageSource


def png(shade: int = 0) -> bytes:
    """A grey PNG of 40 x 40 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, shade, shade)).save(buffer, format="PNG")
    return buffer.getvalue()


def add(path: Path, content: bytes = b"x") -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def resolve(location: Path, *positive: str, **settings: Any) -> ImageSource:
    """`resolve_source` of a folder or file."""
    data = DataConfig(source=str(location), positive=positive, **settings)
    return resolve_source(data, demo_root=location / "unused")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two images each."""
    for name in ("cancer", "non_cancer"):
        for i in range(2):
            add(tmp_path / "images" / name / f"{i}.png", png(10 * i + len(name)))
    return tmp_path / "images"


class TestFolder:
    """A folder with one sub-folder per class."""

    def test_lists_and_labels(self, folder: Path) -> None:
        """Files are sorted, labelled by sub-folder, and the positive class comes last."""
        source = resolve(folder)

        assert source.classes == ("non_cancer", "cancer")
        assert [(file.path, file.label) for file in source.files] == [
            ("cancer/0.png", "cancer"),
            ("cancer/1.png", "cancer"),
            ("non_cancer/0.png", "non_cancer"),
            ("non_cancer/1.png", "non_cancer"),
        ]
        assert source.name == "images"
        assert not source.has_patients
        assert not source.synthetic
        assert source.notes == ()

    def test_nested_folders_and_capital_endings(self, folder: Path) -> None:
        """Sub-folders of a class belong to it; .JPG and .TIFF count."""
        add(folder / "cancer" / "slide 1" / "deep" / "A.JPG")
        add(folder / "cancer" / "B.Tiff")

        paths = [file.path for file in resolve(folder).files]

        assert "cancer/slide 1/deep/A.JPG" in paths
        assert "cancer/B.Tiff" in paths

    def test_litter_is_ignored_silently(self, folder: Path) -> None:
        """Hidden files and what operating systems leave behind are no images and no news."""
        for name in (".DS_Store", "Thumbs.db", "._0.png", ".hidden/x.png", "__MACOSX/cancer/x.png"):
            add(folder / name)
            add(folder / "cancer" / name)

        source = resolve(folder)

        assert len(source.files) == 4
        assert source.notes == ()

    def test_other_files_are_counted(self, folder: Path) -> None:
        """Files of other kinds, loose images and empty sub-folders are said."""
        add(folder / "cancer" / "notes.txt")
        add(folder / "README")
        add(folder / "loose.png")
        (folder / "unused").mkdir()

        source = resolve(folder)

        assert len(source.files) == 4
        assert source.notes == (
            "2 files not an image by name (1 no ending, 1 .txt): ignored.",
            "1 image outside the class folders: ignored.",
            "Sub-folders without images: unused.",
        )

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("a.svs", "1 file of a kind that is not read: whole-slide images; cut patches"),
            ("a.nii.gz", "1 file of a kind that is not read: volumes such as NIfTI"),
            ("a.HEIC", "1 file of a kind that is not read: photographs and documents"),
            ("a.npy", "1 file of a kind that is not read: arrays; save each image"),
        ],
    )
    def test_other_kinds_are_named_with_the_remedy(self, folder: Path, name: str, said: str) -> None:
        """Beside images in a note, alone in the refusal."""
        add(folder / "cancer" / name)
        assert any(note.startswith(said) for note in resolve(folder).notes)

        add(folder.parent / "other" / "cancer" / name)
        with pytest.raises(DataError, match=said):
            resolve(folder.parent / "other")

    def test_linked_class_folder_is_followed_once(self, folder: Path) -> None:
        """A class may be a link to another disk; a link back up must not loop."""
        moved = folder.parent / "elsewhere"
        shutil.move(folder / "cancer", moved)
        (folder / "cancer").symlink_to(moved)
        (moved / "loop").symlink_to(folder)

        assert len(resolve(folder).files) == 4

    def test_no_such_folder(self, tmp_path: Path) -> None:
        """A place that is not there is named."""
        with pytest.raises(DataError, match=r"no such folder or file: .*nowhere.*one sub-folder per class"):
            resolve(tmp_path / "nowhere")

    def test_empty_folder(self, tmp_path: Path) -> None:
        """Nothing in it."""
        with pytest.raises(
            DataError, match=r"holds no images in sub-folders\. Expected one sub-folder per class"
        ):
            resolve(tmp_path)

    def test_images_without_class_folders(self, tmp_path: Path) -> None:
        """All images in one heap: the remedy is said."""
        add(tmp_path / "a.png")
        add(tmp_path / "b.svs")

        with pytest.raises(DataError, match=r"1 image directly in it: move them .*other kinds: 1 \.svs"):
            resolve(tmp_path)

    def test_one_class(self, folder: Path) -> None:
        """One class only; the empty sub-folder may be the reason and is named."""
        shutil.rmtree(folder / "cancer")
        (folder / "cancer").mkdir()

        with pytest.raises(
            DataError, match=r"one class only: non_cancer \(2\); sub-folders without images: cancer"
        ):
            resolve(folder)

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("labels.jsonl", r"columns path,label; labels in another form \(labels\.jsonl\) are not read"),
            ("test.csv", r"Tables in it: train\.csv, test\.csv\. Try: .*/train\.csv"),
        ],
    )
    def test_one_class_and_labels_elsewhere(self, folder: Path, name: str, said: str) -> None:
        """A file that may hold the labels is named, and never the table of the test images to train on."""
        shutil.rmtree(folder / "cancer")
        (folder / name).write_text("path\n", encoding="utf-8")
        if name == "test.csv":
            (folder / "train.csv").write_text("path,label\n", encoding="utf-8")

        with pytest.raises(DataError, match=f"(?s)one class only.*{said}"):
            resolve(folder)

    def test_folders_of_patients_around_those_of_classes(self, tmp_path: Path) -> None:
        """As a well-known set of patches has them: they stay together, and no sentence says who they are."""
        for patient in range(8860, 8872):
            for label in (0, 1):
                add(tmp_path / f"{patient}/{label}/x1.png")

        source = resolve(tmp_path, "1")

        assert source.classes == ("0", "1")
        assert {file.patient_id for file in source.files} == set(map(str, range(8860, 8872)))
        assert all(file.label == file.path.split("/")[1] for file in source.files)
        assert source.extra_columns == ()
        (note,) = source.notes
        assert note.startswith(
            "The folders of the classes lie in 12 numbered ones: these were taken as patients"
        )

    def test_folders_of_hospitals_around_those_of_classes(self, tmp_path: Path) -> None:
        """They become a column."""
        for hospital in ("leeds", "york"):
            for label in ("benign", "malignant"):
                add(tmp_path / f"train/{hospital}/{label}/1.png")

        source = resolve(tmp_path, "malignant")

        assert source.classes == ("benign", "malignant")
        assert source.extra_columns == ("folder",)
        assert {file.extra for file in source.files} == {("leeds",), ("york",)}
        assert "(leeds, york): these were taken as the column folder" in source.notes[-1]

    @pytest.mark.parametrize(
        ("pattern", "classes"),
        [
            ("{label}/{other}/{i}.png", {"benign", "malignant"}),  # magnifications below the classes
            ("{label}/patient{i}/{other}.png", {"benign", "malignant"}),
            ("kind{i}/left/{label}{other}.png", {"kind0", "kind1", "kind2"}),
        ],
    )
    def test_other_folders_below_the_classes(self, tmp_path: Path, pattern: str, classes: set[str]) -> None:
        """The outermost folders stay the classes."""
        for label in ("benign", "malignant"):
            for other in ("40X", "100X"):
                for i in range(3):
                    add(tmp_path / pattern.format(label=label, other=other, i=i))

        source = resolve(tmp_path, max(classes), exclude=["kind0"] if len(classes) > 2 else [])

        assert {file.label for file in source.files} == classes - {"kind0"}

    def test_three_classes(self, folder: Path) -> None:
        """All classes are listed with their counts."""
        add(folder / "unsure" / "a.png")

        with pytest.raises(DataError, match=r"3 classes: cancer \(2\), non_cancer \(2\), unsure \(1\)"):
            resolve(folder)

    def test_many_classes_are_listed_in_part(self, tmp_path: Path) -> None:
        """A folder that is no data set at all does not fill the screen."""
        for i in range(23):
            add(tmp_path / f"folder{i:02d}" / "a.png")

        with pytest.raises(DataError, match=r"holds 23 classes: .*folder19 \(1\) and 3 more\."):
            resolve(tmp_path)

    def test_not_a_manifest(self, tmp_path: Path) -> None:
        """Something else in place of a folder."""
        with pytest.raises(DataError, match="is a file, but not a CSV manifest"):
            resolve(add(tmp_path / "images.doc"))

    def test_device_file(self) -> None:
        """Something that is neither folder nor file."""
        with pytest.raises(DataError, match="neither a folder nor a regular file"):
            resolve(Path("/dev/null"))


class TestPositiveClass:
    """The positive class is named, never guessed."""

    @pytest.fixture
    def other_names(self, folder: Path) -> Path:
        """The same images under names that do not say which is positive."""
        (folder / "cancer").rename(folder / "tumour tissue")
        (folder / "non_cancer").rename(folder / "normal")
        return folder

    def test_unnamed(self, other_names: Path) -> None:
        """The classes are listed for --positive."""
        with pytest.raises(
            DataError,
            match=r"tissue \(2\). Name it: --positive 'tumour tissue', or --positive normal",
        ):
            resolve(other_names)

    @pytest.mark.parametrize(
        ("name", "classes"),
        [("normal", ("tumour tissue", "normal")), ("tumour tissue", ("normal", "tumour tissue"))],
    )
    def test_named(self, other_names: Path, name: str, classes: tuple[str, str]) -> None:
        """Either may be it, and stands last."""
        assert resolve(other_names, name).classes == classes

    def test_named_against_the_default(self, folder: Path) -> None:
        """A named class goes before 'cancer'."""
        assert resolve(folder, "non_cancer").classes == ("cancer", "non_cancer")

    def test_absent(self, folder: Path) -> None:
        """A misspelt class is an error that lists the classes."""
        with pytest.raises(DataError, match=r"no class 'tumour' in .*Found: cancer \(2\), non_cancer \(2\)"):
            resolve(folder, "tumour")


class TestManifest:
    """A CSV manifest."""

    @pytest.fixture
    def csv_file(self, folder: Path) -> Path:
        """A manifest with patients and two further columns."""
        return add(
            folder / "study.csv",
            b"\xef\xbb\xbfpath,label,patient_id,sex,site\n"
            b"cancer/0.png,cancer,007,f,A\n"
            b'cancer/1.png,cancer,7,m,"B, east"\n'
            b"\n"
            b"./non_cancer/0.png,non_cancer,8,f,\n"
            b"non_cancer\\1.png , non_cancer ,9,m,A\n",
        )

    def test_reads_all_columns(self, csv_file: Path) -> None:
        """Values stay text, paths are made plain, further columns are kept in order."""
        source = resolve(csv_file)

        assert source.name == "study"
        assert source.has_patients
        assert source.extra_columns == ("sex", "site")
        assert [(f.path, f.label, f.patient_id, f.extra) for f in source.files] == [
            ("cancer/0.png", "cancer", "007", ("f", "A")),
            ("cancer/1.png", "cancer", "7", ("m", "B, east")),
            ("non_cancer/0.png", "non_cancer", "8", ("f", "")),
            ("non_cancer/1.png", "non_cancer", "9", ("m", "A")),
        ]

    def test_absolute_paths_and_paths_above(self, folder: Path) -> None:
        """Both spellings of a file outside the manifest's folder work."""
        lists = add(
            folder / "lists" / "m.csv",
            f"path,label\n{folder}/cancer/0.png,cancer\n../non_cancer/0.png,non_cancer\n".encode(),
        )

        assert [f.path for f in resolve(lists).files] == ["../cancer/0.png", "../non_cancer/0.png"]

    def test_folder_with_manifest_follows_it(self, folder: Path, csv_file: Path) -> None:
        """A manifest.csv in the folder is followed, and that is said, with what it leaves out."""
        csv_file.rename(folder / "manifest.csv")
        add(folder / "cancer" / "new.png")

        source = resolve(folder)

        assert source.name == "images"
        assert source.has_patients
        assert len(source.files) == 4
        assert "was followed" in source.notes[0]
        assert source.notes[-1] == "1 image file beside manifest.csv not named there: ignored."

    def test_unnamed_column_is_ignored(self, folder: Path) -> None:
        """The row numbers that some programs write as a first column do no harm."""
        path = add(folder / "m.csv", b",path,label\n0,cancer/0.png,cancer\n1,non_cancer/0.png,non_cancer\n")

        source = resolve(path)

        assert source.extra_columns == ()
        assert source.notes[0] == "A column of m.csv without a name was ignored."

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            pytest.param("", "is empty; expected a header with the columns path,label", id="empty"),
            pytest.param("path,label\n", "there is a header but no row below it", id="no rows"),
            pytest.param(
                "path,kind\ncancer/0.png,cancer\nnon_cancer/0.png,normal\n",
                r"m\.csv: no column is called label, .* could name the class: kind: cancer \(1\), normal \(1\)\. "
                r"Say which does\.\nTry: .*m\.csv --label-column kind$",
                id="no label",
            ),
            pytest.param(
                "file,image,label\na,a,b\n",
                r"no column names files below .*; columns there are: file, image, label\. Say which is meant\.\n"
                "Try: .* --path-column file$",
                id="no path",
            ),
            pytest.param("path,label,label\na,b,c\n", "two columns are named 'label'", id="column twice"),
            pytest.param("path,label,sha256\na,b,c\n", "'sha256' is reserved for results", id="reserved"),
            pytest.param(
                "path,label\ncancer/0.png,cancer\na,b,c\n",
                "row 3 has 3 cells, the header has 2",
                id="ragged",
            ),
            pytest.param('path,label\n"a"b,c\n', "row 2 is not CSV", id="bad quotes"),
            pytest.param(
                "path,label\ncancer/0.png,cancer\nno/where.png,cancer\n",
                r"1 of 2 files do not exist: row 3: no/where.png; these files were not found below .*; paths are",
                id="missing file",
            ),
            pytest.param(
                "path,label\n" + "".join(f"{i}9.png,cancer\n" for i in range(5)),
                r"5 of 5 files .*row 2: 09.png; row 3: 19.png; row 4: 29.png and 2 more",
                id="many missing files",
            ),
            pytest.param(
                "path,label\ncancer/0.png,cancer\ncancer/../cancer/0.png,cancer\n",
                "'path', row 3: 'cancer/0.png' is also in row 2; remove one",
                id="same file twice",
            ),
            pytest.param(
                "path,label\ncancer/0.png,\ncancer/1.png,\n",
                r"2 of 2 images have no label: rows 2, 3\. Fill them in, or leave them out",
                id="no labels",
            ),
            pytest.param("path,label\n,cancer\n", "'path', row 2 is empty; fill it in", id="empty path"),
            pytest.param(
                "path,label,patient_id\ncancer/0.png,cancer,p\nnon_cancer/0.png,non_cancer,\n",
                "'patient_id', row 3 is empty; give every image a patient .*, or remove the column",
                id="patient missing",
            ),
            pytest.param(
                "path,label,patient_id\ncancer/0.png,cancer,p\nnon_cancer/0.png,non_cancer,NaN\n",
                "'patient_id', row 3: 'NaN' stands for no value; give every image a patient",
                id="patient nan",
            ),
            pytest.param(
                "path,label\ncancer/0.png,cancer\nnon_cancer/0.png,#N/A\n",
                r"1 of 2 images have no label \(empty or '#N/A'\): rows 3",
                id="label nan",
            ),
            pytest.param("path,label\ncancer/0.png,cancer\n", "one class only", id="one class"),
        ],
    )
    def test_faults(self, folder: Path, content: str, message: str) -> None:
        """Every fault names file, row or column, and remedy."""
        path = add(folder / "m.csv", content.encode())

        with pytest.raises(DataError, match=message):
            resolve(path)

    @pytest.mark.parametrize(
        ("content", "note"),
        [
            ("sep=,\r\npath,label\r\nROWS", "the line 'sep=,' names the separator"),
            ("path;label\nROWS", "cells are separated by semicolons"),
            ("path\tlabel\nROWS", "cells are separated by tabs"),
        ],
    )
    def test_dialects(self, folder: Path, content: str, note: str) -> None:
        """What spreadsheets write is read, and said; so are UTF-16 and Windows-1252."""
        (folder / "cancer/0.png").rename(folder / "cancer/\u00fc.png")
        separator = next(mark for mark in ";\t," if mark in content.split("\n")[-2])
        rows = f"cancer/\u00fc.png{separator}cancer\nnon_cancer/0.png{separator}non_cancer\n"
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
            path = add(folder / f"{encoding}.csv", content.replace("ROWS", rows).encode(encoding))

            source = resolve(path)

            assert [file.path for file in source.files] == ["cancer/\u00fc.png", "non_cancer/0.png"]
            assert note in " ".join(source.notes)

    def test_one_patient_in_several_spellings(self, folder: Path) -> None:
        """P01, p1 and 'P1 ' are asked about by number, never by id; P10 is somebody else."""
        rows = [("cancer/0", "P01"), ("cancer/1", "p1"), ("non_cancer/0", "P10"), ("non_cancer/1", "p10")]
        text = "path,label,patient_id\n" + "".join(f"{f}.png,{f.split('/')[0]},{p}\n" for f, p in rows)

        source = resolve(add(folder / "m.csv", text.encode()))

        (note,) = source.notes
        assert note.startswith("2 patients seem to be in the table of images under several spellings")
        assert "P01" not in note
        text = text.replace("p1\n", "P01\n").replace("p10\n", "P10\n")
        assert resolve(add(folder / "m.csv", text.encode())).notes == ()


class TestSourceName:
    """What a run is called before its images can be read."""

    @pytest.mark.parametrize(
        ("source", "name"),
        [
            ("demo", "demo"),
            ("/data/oral-oscc-224", "oral-oscc-224"),
            ("/data/oral-oscc-224/", "oral-oscc-224"),
            ("/data/Bilder für Müller", "Bilder f-r M-ller"),
            ("/data/night.csv", "night"),
            ("/data/oral/manifest.csv", "oral"),
            ("/data/oral/Labels.CSV", "oral"),
            ("/data/oral/cases.txt", "cases"),
            ("/data/" + "x" * 100, "x" * 60),
            ("/data/ß", hashlib.sha256("ß".encode()).hexdigest()[:8]),
        ],
    )
    def test_of_what_does_not_exist(self, source: str, name: str) -> None:
        """The name needs neither folder nor file."""
        assert source_name(DataConfig(source=source)) == name

    def test_is_the_name_of_the_listed_source(self, folder: Path) -> None:
        """Folder, manifest beside the images, manifest in the folder: title, tag and report agree."""
        rows = b"path,label\ncancer/0.png,cancer\nnon_cancer/0.png,non_cancer\n"
        assert source_name(DataConfig(source=str(folder))) == resolve(folder).name == folder.name
        named = add(folder / "night.csv", rows)
        assert source_name(DataConfig(source=str(named))) == resolve(named).name == "night"
        add(folder / "manifest.csv", rows)
        assert source_name(DataConfig(source=str(folder))) == resolve(folder).name == folder.name


class TestFingerprint:
    """What a cached ingest is keyed on."""

    def test_independent_of_place(self, folder: Path, tmp_path: Path) -> None:
        """A copy elsewhere has the same digest."""
        shutil.copytree(folder, tmp_path / "copy" / "images")

        first, second = (
            fingerprint(resolve(folder), DataConfig()),
            fingerprint(resolve(tmp_path / "copy" / "images"), DataConfig()),
        )

        assert first == second
        assert first.n_files == 4
        assert first.n_bytes == sum(path.stat().st_size for path in folder.rglob("*.png"))

    def test_independent_of_row_order(self, folder: Path) -> None:
        """Manifest rows in another order change nothing."""
        rows = [b"cancer/0.png,cancer\n", b"non_cancer/0.png,non_cancer\n", b"cancer/1.png,cancer\n"]
        first = fingerprint(resolve(add(folder / "m.csv", b"path,label\n" + b"".join(rows))), DataConfig())
        second = fingerprint(
            resolve(add(folder / "m.csv", b"path,label\n" + b"".join(reversed(rows)))), DataConfig()
        )

        assert first == second

    @pytest.mark.parametrize(
        "change", ["one byte", "moved to the other class", "renamed", "added", "positive class"]
    )
    def test_sensitive_to_content(self, folder: Path, change: str) -> None:
        """Everything that could change the manifest changes the digest."""
        before = fingerprint(resolve(folder), DataConfig()).digest
        positive: tuple[str, ...] = ()
        if change == "one byte":
            add(folder / "cancer" / "0.png", png(99))
        elif change == "moved to the other class":
            (folder / "cancer" / "0.png").rename(folder / "non_cancer" / "2.png")
        elif change == "renamed":
            (folder / "cancer" / "0.png").rename(folder / "cancer" / "zero.png")
        elif change == "added":
            add(folder / "cancer" / "2.png", png(50))
        else:
            positive = ("non_cancer",)

        assert fingerprint(resolve(folder, *positive), DataConfig()).digest != before

    def test_unreadable_file_counts(self, folder: Path) -> None:
        """A file that vanishes after listing is ingest's business, not an error here."""
        source = resolve(folder)
        before = fingerprint(source, DataConfig()).digest
        (folder / "cancer" / "0.png").unlink()

        assert fingerprint(source, DataConfig()).digest != before


def test_images_of_any_ending_count(tmp_path: Path) -> None:
    """What is an image by its first bytes is used, aloud; a pipe is not opened, and text stays out."""
    for name in ("cancer", "non_cancer"):
        for i in range(4):
            add(tmp_path / name / f"{i}.{'jfif' if i % 2 else 'png'}", png(i))
    add(tmp_path / "cancer" / "without", png(9))
    add(tmp_path / "cancer" / "notes.txt", b"text")
    os.mkfifo(tmp_path / "cancer" / "pipe")

    source = resolve(tmp_path)

    assert len(source.files) == 9
    assert "5 images of other endings (4 .jfif, 1 no ending): used." in source.notes
    assert "2 files not an image by name (1 .txt, 1 no ending): ignored." in source.notes


@pytest.mark.parametrize(
    ("split", "subgroups", "what", "options"),
    [
        (
            {"stratify_by": "sight"},
            (),
            "'sight' to stratify by (--stratify-by)",
            "--stratify-by site",
        ),
        (
            {"hold_out": "ward=B", "stratify_by": "grade"},
            (),
            "'ward' to hold out by (--hold-out)",
            "--hold-out grade=B --stratify-by grade",
        ),
        (
            {},
            ("patient_id", "grades"),
            "'grades' for subgroups (evaluate.subgroups)",
            "--set evaluate.subgroups=grade",
        ),
    ],
    ids=["stratify", "hold out", "subgroups"],
)
def test_a_setting_that_names_no_column_is_refused(
    tmp_path: Path, split: dict[str, str], subgroups: tuple[str, ...], what: str, options: str
) -> None:
    """Before any image is read, with the columns that there are and a command that goes on."""
    for i in range(4):
        add(tmp_path / f"{i}.png", png(i))
    rows = [f"{i}.png,{('cancer', 'benign')[i % 2]},p{i},A,1" for i in range(4)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,label,patient_id,site,grade", *rows]))
    data = DataConfig(source=str(table), positive=("cancer",))
    source = resolve_source(data, demo_root=tmp_path)

    check_columns(source, data, SplitConfig(stratify_by="site", hold_out="grade=1"), ("site", "patient_id"))
    with pytest.raises(DataError) as refused:
        check_columns(source, data, SplitConfig(**split), subgroups)

    assert str(refused.value) == (
        f"t: there is no column {what}; columns there are: site, grade.\n"
        f"Try: medcompare compare --data {table} --positive cancer {options}"
    )


def test_without_further_columns_the_command_leaves_the_option_out(folder: Path) -> None:
    """A folder of classes has none to stratify by."""
    data = DataConfig(source=str(folder))

    with pytest.raises(DataError, match=r"columns there are: none\.\nTry: medcompare compare --data \S+$"):
        check_columns(resolve(folder), data, SplitConfig(stratify_by="site"), ())
