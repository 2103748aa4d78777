"""Tables of labels as people have them: columns by name, files by their names, every refusal with its command."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.sources.roles import joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from medcompare.data.sources.listing import ImageSource

LESIONS = ("nv", "bkl", "df", "mel", "bcc", "akiec")


def files(root: Path, names: Iterable[str]) -> None:
    """Files of these names; listing opens none of them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def write(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], encoding: str = "utf-8", **fmt: Any
) -> Path:
    """A CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, **fmt)
    writer.writerow(header)
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def resolved(place: Path, **data: Any) -> ImageSource:
    """The listed images."""
    return resolve_source(DataConfig(source=str(place), **data), demo_root=place / "unused")


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """Ids without ending, a diagnosis of six, two images of each lesion."""
    files(tmp_path, (f"images/LES_{i:04d}.jpg" for i in range(12)))
    rows = [(f"HAM_{i // 2}", f"LES_{i:04d}", LESIONS[i % 6], 30 + i) for i in range(12)]
    return write(tmp_path / "metadata.csv", ["lesion_id", "image_id", "dx", "age"], rows)


def test_headers_are_recognised_and_said(kaggle: Path) -> None:
    """Which column is what, ids without ending, lesions kept together."""
    source = resolved(kaggle, positive="mel,bcc,akiec", group_by="lesion_id")

    assert source.classes == ("bkl+df+nv", "akiec+bcc+mel")
    assert source.extra_columns == ("age", "original_class")
    first = source.files[0]
    assert (first.path, first.patient_id, first.extra) == ("images/LES_0000.jpg", "HAM_0", ("30", "nv"))
    assert source.has_patients
    table, groups = source.notes[:2]
    assert table == (
        "Table of images: column image_id names the image files; column dx names the class of each image; 12 names "
        f"without ending: taken as the one file of that name below {kaggle.parent.name}."
    )
    assert (
        groups
        == "Images with the same lesion_id stay in one subset; the report calls such a group a patient."
    )


def test_the_command_offers_classes_and_groups(kaggle: Path) -> None:
    """Filled in with the columns and classes of the table; for the folder, with its table."""
    with pytest.raises(DataError) as refused:
        resolved(kaggle)
    assert str(refused.value).endswith(
        f"\nTry: medcompare compare --data {kaggle} --group-by lesion_id --positive akiec,bcc,mel"
    )
    with pytest.raises(
        DataError, match=rf"Tables in it: metadata\.csv\. Try: medcompare compare --data {kaggle}$"
    ):
        resolved(kaggle.parent)
    for file in (kaggle.parent / "images").iterdir():
        file.rename(kaggle.parent / file.name)
    with pytest.raises(DataError, match=rf"12 images directly in it.*\nTables in it: .*--data {kaggle}$"):
        resolved(kaggle.parent)


def test_columns_by_option(tmp_path: Path) -> None:
    """Named columns go before recognised ones; names that are not there are refused with those that are."""
    files(tmp_path, ["a/1.png", "a/2.png", "b/1.png", "b/2.png"])
    rows = [("1.png", f"{k}/{i}.png", "x", ("cancer", "normal")[i - 1]) for k in "ab" for i in (1, 2)]
    table = write(tmp_path / "t.csv", ["path", "where", "label", "second reader"], rows)

    source = resolved(table, path_column="where", label_column="second reader")

    assert source.classes == ("normal", "cancer")
    assert [file.path for file in source.files] == ["a/1.png", "a/2.png", "b/1.png", "b/2.png"]
    assert source.extra_columns == ("path", "label")
    for option in ("path_column", "label_column", "group_by"):
        with pytest.raises(
            DataError, match="no column 'file'; columns there are: path, where, label, second reader"
        ):
            resolved(table, **{option: "file"})


@pytest.mark.parametrize("header", ["target", "label", "Malignant", "cancer"])
@pytest.mark.parametrize("ones", [("0", "1"), ("0.0", "1.0")])
def test_zero_and_one(tmp_path: Path, header: str, ones: tuple[str, str]) -> None:
    """In a column of such a name 1 is positive, and that is said; elsewhere it is asked."""
    files(tmp_path, (f"train/IM_{i}.jpg" for i in range(4)))
    rows = [(f"IM_{i}", f"P{i // 2}", ones[i % 2]) for i in range(4)]

    source = resolved(write(tmp_path / "t.csv", ["image_name", "patient_id", header], rows))

    assert source.classes == (f"{header}=0", f"{header}=1")
    with_blank = write(
        tmp_path / "u.csv", ["image_name", header], [*(r[::2] for r in rows[:3]), ("IM_3", "NaN")]
    )
    assert resolved(with_blank, exclude="NaN").classes == source.classes
    named = resolved(tmp_path / "t.csv", positive="0")
    assert named.classes == ones[::-1]
    assert source.has_patients
    assert f"column {header} holds 0 and 1: 1 was taken as positive" in " ".join(source.notes)
    with pytest.raises(DataError, match=r"which class of .*--positive 1"):
        resolved(
            write(
                tmp_path / "t.csv", ["image_name", "patient_id", "class"], [(*r[:2], r[2][0]) for r in rows]
            )
        )


def test_one_hot_columns(tmp_path: Path) -> None:
    """The column that holds the 1 is the class."""
    names = ["MEL", "NV", "BCC", "BKL"]
    files(tmp_path, (f"input/I{i}.jpg" for i in range(8)))
    rows = [(f"I{i}", *(float(i % 4 == k) for k in range(4))) for i in range(8)]
    table = write(tmp_path / "t.csv", ["image", *names], rows)

    source = resolved(table, positive="MEL,BCC")

    assert [file.extra for file in source.files] == [(names[i % 4],) for i in range(8)]
    assert source.classes == ("BKL+NV", "BCC+MEL")
    assert "columns MEL, NV, BCC, BKL hold one 1 per row" in " ".join(source.notes)
    with pytest.raises(DataError, match=r"--positive BCC,MEL$"):
        resolved(table)
    # A column of the class goes before flags of something else.
    flagged = [(*row[:1], LESIONS[i % 2], *(i % 2, 1 - i % 2)) for i, row in enumerate(rows)]
    assert resolved(
        write(tmp_path / "t.csv", ["image", "dx", "m", "f"], flagged), positive="bkl"
    ).classes == ("nv", "bkl")


def test_no_column_or_several(tmp_path: Path) -> None:
    """Candidates are shown with their values, and the command names one."""
    files(tmp_path, ["1.png", "2.png"])
    rows = [("1.png", "1.png", "a", "p"), ("2.png", "2.png", "b", "q")]
    with pytest.raises(
        DataError, match=r"2 columns name files: file, image\. Say which is meant\.\n.*--path-column file$"
    ):
        resolved(write(tmp_path / "t.csv", ["file", "image", "dx", "b"], rows))
    with pytest.raises(
        DataError, match=r"several columns could name the class: dx: a \(1\), b \(1\); target: p \(1\)"
    ):
        resolved(
            write(
                tmp_path / "t.csv",
                ["file", "x", "dx", "target"],
                [(r[0], i, *r[2:]) for i, r in enumerate(rows)],
            )
        )
    with pytest.raises(DataError, match="no column names the class; columns there are: file"):
        resolved(write(tmp_path / "t.csv", ["file"], [("1.png",), ("2.png",)]))


def test_values_of_patients_are_not_shown(tmp_path: Path) -> None:
    """Not under a name of patients, nor under any other where each has few images; what may be a class is."""
    n = 12
    files(tmp_path, [f"{i}.png" for i in range(n)])
    rows = [(f"{i}.png", f"Ada{i // 4}", f"Bob{i // 2}", f"Cid{i}", "ab"[i % 2]) for i in range(n)]
    with pytest.raises(DataError) as refused:
        resolved(write(tmp_path / "t.csv", ["file", "patient_id", "who", "name", "state"], rows))
    assert "these could name the class: state: a (6), b (6). Say which does" in str(refused.value)
    assert not any(name in str(refused.value) for name in ("Ada", "Bob", "Cid"))


def test_ambiguous_and_missing_files(tmp_path: Path) -> None:
    """Both files of one stem are named; for files that are nowhere, the folder is asked for."""
    files(tmp_path, ["a/1.png", "b/1.jpg", "a/2.png"])
    rows = [("1", "cancer"), ("2", "normal")]
    table = write(tmp_path / "t.csv", ["id", "dx"], rows)

    with pytest.raises(
        DataError,
        match=r"row 2: '1' is the name of several files: a/1\.png, b/1\.jpg; [^$]*--image-root .*/a ",
    ):
        resolved(table, path_column="id")
    source = resolved(table, path_column="id", image_root=str(tmp_path / "a"))
    assert [file.path for file in source.files] == ["1.png", "2.png"]
    assert source.root == tmp_path / "a"
    with pytest.raises(DataError, match=r"no such folder: .*nowhere\. Correct --image-root"):
        resolved(table, image_root=str(tmp_path / "nowhere"))
    away = write(
        tmp_path / "t.csv", ["path", "label"], [("D:\\study\\x9.png", "cancer"), ("D:\\x8.png", "b")]
    )
    with pytest.raises(
        DataError, match=r"2 of 2 files do not exist: .*made on another machine; .*not found below"
    ) as refused:
        resolved(away)
    assert str(refused.value).endswith(
        f"Try: medcompare compare --data {away} --image-root FOLDER_OF_THE_IMAGES"
    )


@pytest.mark.parametrize("start", ["D:\\study\\", "/mnt/lab/study/", "\\\\server\\share\\", "img\\"])
def test_tables_of_another_machine(tmp_path: Path, start: str) -> None:
    """Files are found by the end of the path, below the folder of the table or the one that is named."""
    names = [f"{k}/{i}.png" for k in ("benign", "cancer") for i in range(2)]
    files(tmp_path / "img", names)
    between = "\\" if "\\" in start else "/"
    rows = [(start + name.replace("/", between), name.split("/")[0]) for name in names]
    table = write(tmp_path / "t.csv", ["path", "label"], rows)

    source = resolved(table)

    assert [file.path for file in source.files] == [f"img/{name}" for name in names]
    said = any("4 names with paths of another machine: found by the end" in note for note in source.notes)
    assert said == (start != "img\\")


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("cp1252", ";"), ("utf-16", "\t"), ("utf-8-sig", ","), ("utf-8", "|")]
)
def test_spreadsheets(tmp_path: Path, encoding: str, delimiter: str) -> None:
    """German headers, separators, encodings, decimal commas."""
    files(tmp_path, ["bild1.png", "bild2.png"])
    rows = [("bild1.png", "bösartig", "1,5"), ("bild2.png", "gutartig", "12")]

    source = resolved(
        write(tmp_path / "t.csv", ["Datei", "Diagnose", "Größe"], rows, encoding, delimiter=delimiter),
        positive="bösartig",
    )

    assert source.classes == ("gutartig", "bösartig")
    assert [file.extra for file in source.files] == [("1.5",), ("12",)]
    assert "numbers of column Größe have a decimal comma" in " ".join(source.notes)


def test_workbook(tmp_path: Path) -> None:
    """Numbers and text of the one sheet."""
    import openpyxl

    files(tmp_path, ["1.png", "2.png"])
    book = openpyxl.Workbook()
    for row in (["id", "target"], [1, 1], [2, 0]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")

    source = resolved(tmp_path / "t.xlsx")

    assert [(file.path, file.label) for file in source.files] == [
        ("1.png", "target=1"),
        ("2.png", "target=0"),
    ]


def test_rows_without_label(tmp_path: Path) -> None:
    """Counted and named; left out where that is asked for."""
    files(tmp_path, (f"{i}.png" for i in range(6)))
    labels = ["cancer", "", "normal", "NaN", "normal", "n/a"]
    table = write(
        tmp_path / "t.csv", ["path", "label"], [(f"{i}.png", label) for i, label in enumerate(labels)]
    )

    with pytest.raises(
        DataError, match=r"3 of 6 images have no label \(empty or 'NaN', 'n/a'\): rows 3, 5, 7\. "
    ) as refused:
        resolved(table)
    source = resolved(table, exclude="NaN")

    assert str(refused.value).endswith(f"--data {table} --exclude NaN")
    assert [file.path for file in source.files] == ["0.png", "2.png", "4.png"]
    assert "Table of images: 3 of 6 images had no label and were left out (data.exclude)." in source.notes


def test_groups_of_several_columns(tmp_path: Path) -> None:
    """Rows that share a patient or a lesion, also by way of others, are one group."""
    assert joined([["a", "b", "c", "d"], ["1", "2", "2", "3"]]) == ["a", "b", "b", "d"]
    assert joined([["a", "b", "b", "c"], ["1", "1", "2", "2"]]) == ["a", "a", "a", "a"]
    # The same text in two columns is not the same group.
    assert joined([["a", "b"], ["b", "c"]]) == ["a", "b"]
    files(tmp_path, (f"{i}.png" for i in range(4)))
    rows = [(f"{i}.png", ("cancer", "x")[i % 2], f"P{i}", "AABC"[i]) for i in range(4)]
    table = write(tmp_path / "t.csv", ["path", "label", "Patient", "slide"], rows)

    assert [file.patient_id for file in resolved(table, group_by="slide").files] == ["A", "A", "B", "C"]
    source = resolved(table)
    assert [file.patient_id for file in source.files] == ["P0", "P1", "P2", "P3"]
    assert "column slide repeats (3 values in 4 rows)" in " ".join(source.notes)
