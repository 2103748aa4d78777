"""Two sides from the classes that people have: named, counted, said; never guessed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.base.errors import DataError
from medcompare.config.data import DataConfig
from medcompare.data.sources.resolve import resolve_source
from medcompare.data.spelling import likely_positive, side_name

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.data.sources.listing import ImageSource


def folders(root: Path, **n_images: int) -> Path:
    """A folder per class with as many files; listing opens none of them."""
    for name, n in n_images.items():
        (root / name).mkdir(parents=True)
        for i in range(n):
            (root / name / f"{i}.png").write_bytes(b"x")
    return root


def resolved(place: Path, **data: Any) -> ImageSource:
    """The listed images."""
    return resolve_source(DataConfig(source=str(place), **data), demo_root=place / "unused")


@pytest.mark.parametrize("positive", ["mel,bcc,akiec", " akiec , BCC,mel", ["mel", "bcc", "akiec"]])
def test_several_classes_on_one_side(tmp_path: Path, positive: Any) -> None:
    """The rest is negative, counts are said, and the class of each image is kept as a column."""
    source = resolved(folders(tmp_path, nv=6, bkl=2, mel=3, bcc=2, akiec=1), positive=positive)

    assert source.classes == ("bkl+nv", "akiec+bcc+mel")
    assert source.extra_columns == ("original_class",)
    assert Counter((file.label, file.extra) for file in source.files) == {
        ("bkl+nv", ("nv",)): 6,
        ("bkl+nv", ("bkl",)): 2,
        ("akiec+bcc+mel", ("mel",)): 3,
        ("akiec+bcc+mel", ("bcc",)): 2,
        ("akiec+bcc+mel", ("akiec",)): 1,
    }
    assert source.notes == (
        "Positive: akiec (1), bcc (2), mel (3); negative: bkl (2), nv (6) (classes of the data).",
    )


def test_classes_left_out(tmp_path: Path) -> None:
    """Their images are not listed; with two classes left nothing is put together."""
    source = resolved(folders(tmp_path, nv=6, bkl=2, mel=3), positive="mel", exclude="bkl")

    assert source.classes == ("nv", "mel")
    assert len(source.files) == 9
    assert source.extra_columns == ()
    assert source.notes == ("Left out by class (data.exclude): bkl (2).",)


@pytest.mark.parametrize(
    ("classes", "options"),
    [
        ({"nv": 4, "mel": 3, "bcc": 2, "df": 1}, "--positive bcc,mel"),
        (
            {"glioma": 4, "meningioma": 3, "no_tumor": 2, "pituitary": 1},
            "--positive glioma,meningioma,pituitary",
        ),
        ({"normal": 4, "grade1": 3, "grade2": 2}, "--positive grade1,grade2"),
        ({"A": 4, "B": 3, "C": 2}, "--positive A  # and others"),
        ({"benign": 2, "malignant": 2}, "--positive malignant"),
        ({"no": 2, "yes": 2}, "--positive yes"),
        ({"0": 2, "1": 2}, "--positive 1"),
        ({"Bengin cases": 2, "left": 2}, "--positive 'Bengin cases'"),
        ({"left": 2, "right": 2}, "--positive left  # or --positive right"),
    ],
)
def test_the_command_that_would_go_on(tmp_path: Path, classes: dict[str, int], options: str) -> None:
    """Filled in with the names and counts of the user; what is benign is never offered alone."""
    with pytest.raises(DataError) as refused:
        resolved(folders(tmp_path / "my images", **classes))

    sentence, command = str(refused.value).split("\n")
    assert all(f"{name} ({n})" in sentence for name, n in classes.items())
    assert command == f"Try: medcompare compare --data '{tmp_path / 'my images'}' {options}"


def test_two_questions_in_one_message(tmp_path: Path) -> None:
    """Split and classes are asked for at once, and what was given already is in the command."""
    for subset in ("train", "test"):
        folders(tmp_path / subset, nv=2, mel=2, bcc=2, other=1)

    with pytest.raises(DataError, match=r"is split already: .* holds 3 classes: ") as refused:
        resolved(tmp_path, exclude="other")

    assert str(refused.value).endswith(
        f"--data {tmp_path} --exclude other --published-split keep --positive bcc,mel"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"positive": "melanoma"},
            r"no class 'melanoma' in .*bkl \(2\), mel \(3\), nv \(6\)\. Correct --positive",
        ),
        ({"positive": "mel", "exclude": "scc"}, r"no class 'scc' in .*Correct --exclude"),
        ({"positive": "mel", "exclude": "mel"}, r"no class 'mel' in .*Found: bkl \(2\), nv \(6\)"),
        ({"positive": "mel,nv,bkl"}, r"every class of .* is positive: bkl \(2\), mel \(3\), nv \(6\)"),
        ({"exclude": "nv,bkl"}, r"holds one class only: mel \(3\)"),
        ({}, r"holds 3 classes: .*--exclude A,B leaves classes out"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, data: dict[str, str], message: str) -> None:
    """Named classes that are not there, and sides without images."""
    with pytest.raises(DataError, match=message):
        resolved(folders(tmp_path, nv=6, bkl=2, mel=3), **data)


def test_spellings_of_one_class(tmp_path: Path) -> None:
    """Capitals and blanks make no class; the most frequent spelling is kept, and that is said."""
    folders(tmp_path, **{"Benign": 2, "benign": 3, "BE NIGN": 1, "malignant": 4, "Malignant": 4})

    source = resolved(tmp_path, positive="MALIGNANT")

    assert source.classes == ("benign", "Malignant")
    assert Counter(file.label for file in source.files) == {"benign": 6, "Malignant": 8}
    assert source.notes == (
        "Malignant (4), malignant (4) differ only in capitals or blanks: they were taken as one class, Malignant.",
        "benign (3), Benign (2), BE NIGN (1) differ only in capitals or blanks: they were taken as one class, benign.",
    )


def test_a_class_with_a_comma_is_named_in_a_list(tmp_path: Path) -> None:
    """A text is split at commas, a list is not."""
    folders(tmp_path, **{"in situ, left": 2, "none": 2})

    assert resolved(tmp_path, positive=["in situ, left"]).classes == ("none", "in situ, left")


def test_names_of_sides() -> None:
    """Names of classes joined where they fit a table, else their number."""
    names = [f"class{i}" for i in range(9)]
    assert side_name(names, "positive") == "positive (9 classes)"
    assert side_name(["a name that is longer than any column of a table"], "negative").startswith("a name")
    assert side_name(["mel", "bcc"], "positive") == "mel+bcc"
    assert likely_positive(names) == ()
    assert likely_positive(["0.0", "1.0"]) == ("1.0",)
