"""Tables of predictions: what is read, what is refused and with which words, what is written."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medcompare.base.errors import DataError
from medcompare.config.schema import AssessConfig, EvaluateConfig
from medcompare.predictions.cases import ScoredCases
from medcompare.predictions.table import (
    check_apart,
    read_prediction_table,
    read_tables,
    write_prediction_table,
)

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "case_id,y_true,a,b\nx1,0,0.1,0.2\nx2,1,0.9,0.8\nx3,0,0.3,0.5\n"


def written(folder: Path, text: str | bytes, name: str = "test.csv") -> Path:
    """`text` as a file."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_good_table(tmp_path: Path) -> None:
    """Every column lands where it belongs, with its exact values."""
    text = "case_id,y_true,patient_id,sex,a,b\nx1,0,p1,f,0.1,2e-1\nx2,1,p1,m,.9,1\nx3,1,p2,f,0,0.5\n"

    cases = read_prediction_table(written(tmp_path, text), subgroups=["sex"])

    assert cases.case_id == ("x1", "x2", "x3")
    assert cases.y_true.tolist() == [0, 1, 1]
    assert {name: values.tolist() for name, values in cases.scores.items()} == {
        "a": [0.1, 0.9, 0.0],
        "b": [0.2, 1.0, 0.5],
    }
    assert cases.patient_id is not None
    assert cases.patient_id.tolist() == ["p1", "p1", "p2"]
    assert cases.subgroups["sex"].tolist() == ["f", "m", "f"]
    assert cases.classes == ("negative", "positive")
    assert cases.clusters is not None
    assert cases.clusters.tolist() == [0, 0, 1]
    assert (cases.n, cases.n_patients, cases.units(0), cases.units(1)) == (3, 2, 1, 2)


def test_byte_order_mark_and_blanks(tmp_path: Path) -> None:
    """What spreadsheets put in: a byte-order mark, CRLF, blanks around cells, a blank last row."""
    text = "\ufeffcase_id, y_true ,a\r\n x1 ,0, 0.25\r\nx2,1,0.5\r\n\r\n"

    cases = read_prediction_table(written(tmp_path, text))

    assert cases.case_id == ("x1", "x2")
    assert cases.scores["a"].tolist() == [0.25, 0.5]


def test_positive_class_by_name(tmp_path: Path) -> None:
    """Names of classes become 0 and 1 as the user says, never by alphabet."""
    text = "case_id,y_true,a\nx1,malignant,0.1\nx2,benign,0.9\n"

    cases = read_prediction_table(written(tmp_path, text), positive=["benign"])

    assert cases.classes == ("malignant", "benign")
    assert cases.y_true.tolist() == [0, 1]


@pytest.mark.parametrize("columns", ["a", "a,b", "a@1,a@2,a@3,b", "a,a@1,a@2,b@7"])
def test_round_trip_is_exact(tmp_path: Path, columns: str) -> None:
    """Written and read again, every score is the same bit by bit, seeds among them."""
    rng = np.random.default_rng(5)
    names = columns.split(",")
    rows = [
        ",".join(
            [
                f"c{i:02d}",
                str(i % 2),
                f"p{i // 2}",
                "left" if i % 3 else "",
                *map(repr, rng.random(len(names)).tolist()),
            ]
        )
        for i in range(40)
    ]
    text = "\n".join([f"case_id,y_true,patient_id,side,{columns}", *rows]) + "\n"
    first = read_prediction_table(written(tmp_path, text), subgroups=["side"])

    again = read_prediction_table(
        written(tmp_path, write_prediction_table(first), "again.csv"), subgroups=["side"]
    )

    assert write_prediction_table(first).decode() == text
    assert again.case_id == first.case_id
    assert again.judged == first.judged
    for name, values in first.scores.items():
        assert values.tobytes() == again.scores[name].tobytes()
    for model, seeds in first.seed_scores.items():
        assert {s: v.tobytes() for s, v in seeds.items()} == {
            s: v.tobytes() for s, v in again.seed_scores[model].items()
        }


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    """What a spreadsheet would compute begins with an apostrophe, numbers do not, and all reads back."""
    levels = ["=1+1", "+cmd", "-x", "@SUM", "'=already", "-5.5", "plain", "it's"]
    rng = np.random.default_rng(0)
    cases = ScoredCases(
        case_id=tuple(f"={i}" for i in range(8)),
        y_true=np.tile([0, 1], 4),
        scores={"net": rng.random(8)},
        patient_id=np.array([f"-P{i}" for i in range(8)]),
        subgroups={"=ward": np.array(levels)},
        classes=("negative", "positive"),
        subset="test",
    )

    written_rows = list(csv.reader(write_prediction_table(cases).decode().splitlines()))
    again = read_prediction_table(
        written(tmp_path, write_prediction_table(cases).decode()), subgroups=["=ward"], models=["net"]
    )

    assert written_rows[0] == ["case_id", "y_true", "patient_id", "'=ward", "net"]
    assert [row[3] for row in written_rows[1:]] == [
        "'=1+1", "'+cmd", "'-x", "'@SUM", "''=already", "-5.5", "plain", "it's",
    ]  # fmt: skip
    assert [row[0] for row in written_rows[1:]] == [f"'={i}" for i in range(8)]
    assert again.subgroups["=ward"].tolist() == levels
    assert again.patient_id is not None
    assert again.patient_id.tolist() == [f"-P{i}" for i in range(8)]


def test_seeds_of_a_model(tmp_path: Path) -> None:
    """MODEL@SEED columns are seeds; the plain column is judged, or the first seed without one."""
    text = "case_id,y_true,a@1,a,b@x,b@y\nx1,0,0.1,0.2,0.3,0.4\nx2,1,0.5,0.6,0.7,0.8\n"

    cases = read_prediction_table(written(tmp_path, text))

    assert cases.models == ("a", "b")
    assert cases.judged == {"a": "a", "b": "b@x"}
    assert cases.scores["a"].tolist() == [0.2, 0.6]
    assert cases.scores["b"].tolist() == [0.3, 0.7]
    assert {m: list(seeds) for m, seeds in cases.seed_scores.items()} == {"a": ["1"], "b": ["x", "y"]}
    assert cases.only(["b"]).models == ("b",)
    assert list(cases.only(["b"]).seed_scores) == ["b"]


BAD = {
    "empty": ("", r"test\.csv: the file is empty; expected a header with case_id, y_true"),
    "blank": ("\n , \n", r"the file is empty"),
    "header only": ("case_id,y_true,a\n", r"there is a header but no row"),
    "no case_id": (
        "nr,y_true,a\nx,0,0.1\n",
        r"no column 'case_id'; .*: nr, y_true, a.*A table without ids gets them",
    ),
    "two ids": (
        "id,image,y_true,a\nx,y,0,0.1\n",
        r"no column 'case_id', and id, image could all be meant; rename one",
    ),
    "no header": (
        "x.png,0.3,0.7\ny.png,0.1,0.9\n",
        r"no column 'case_id'.* Is the header missing\? The first line should",
    ),
    "no y_true": (
        "case_id,label,a\nx,0,0.1\n",
        r"no column 'y_true'; .*case_id, label, a. If 'label' is the truth .* rename it",
    ),
    "no model": ("case_id,y_true\nx,0\n", r"no column holds the scores of a model"),
    "nameless": ("case_id,y_true,a,\nx,0,0.1,2\n", r"row 1: column 4 has no name"),
    "twice": ("case_id,y_true,a,a\nx,0,0.1,0.2\n", r"two columns are named 'a'"),
    "blanks": ("case_id y_true a\nx 0 0.1 0.2\ny 1 0.1 0.2\n", r"row 2 has 4 cells, the header has 3"),
    "short row": ("case_id,y_true,a\nx,0,0.1\n\ny,0\n", r"row 4 has 2 cells, the header has 3"),
    "NaN": (
        "case_id,y_true,a,b\nx,0,0.1,0\ny,1,0.2,NaN\n",
        r"column 'b', row 3: 'NaN' is not a finite number",
    ),
    "infinite": ("case_id,y_true,a\nx,0,inf\n", r"column 'a', row 2: 'inf' is not a finite number"),
    "overflow": ("case_id,y_true,a\nx,0,1e999\n", r"row 2: '1e999' is not a finite"),
    "above 1": ("case_id,y_true,a\nx,0,0.1\ny,1,1.01\n", r"'a', row 3: 1.01 is outside \[0, 1\].*--scores"),
    "below 0": ("case_id,y_true,a\nx,0,-0.1\n", r"column 'a', row 2: -0.1 is outside \[0, 1\]"),
    "comma and point": (
        "case_id;y_true;a\nx;0;0,5\ny;1;0.5\n",
        r"row 2: '0,5' has a decimal comma, but .* row 3 a point",
    ),
    "some percent": (
        "case_id,y_true,a\nx,0,5%\ny,1,0.5\n",
        r"'a', row 3: only some of the cells have a percent sign",
    ),
    "percentages": (
        "case_id,y_true,a\nx,0,5.5\ny,1,99\n",
        r"row 2: 5.5 is outside .*between 0 and 100: .*--scores-are-perc",
    ),
    "model or not": (
        "case_id,y_true,a,b\nx,0,0.5,high\ny,1,0.5,0.2\n",
        r"'b', row 2: 'high' is not a number; .*--models",
    ),
    "three classes": (
        "case_id,y_true,p0,p1,p2\nx,0,.2,.2,.6\ny,1,.1,.5,.4\nz,1,.3,.3,.4\n",
        r"probabilities of 3 classes",
    ),
    "underscore": (
        "case_id,y_true,a\nx,0,0_5\n",
        r"no column holds the scores .*; 'a' holds '0_5' in row 2, no number",
    ),
    "patient nan": (
        "case_id,y_true,patient_id,a\nx,0,p,0.5\ny,1,nan,0.5\nz,1,NaN,.1\n",
        r"'patient_id', row 3: 'nan' stands for no value \(and 1 more\); give every case its patient",
    ),
    "shortened id": (
        "case_id,y_true,patient_id,a\nx,0,1.23457E+11,0.5\n",
        r"row 2 holds a number that a spreadsheet shortened, such as 1\.2E\+11, so that several ids may",
    ),
    "one class in two spellings": (
        "case_id,y_true,a\nx,Cancer,0.5\ny,cancer,0.2\n",
        r"are these names of classes\?",
    ),
    "no ids, truth unclear": (
        ",no,yes,label\n0,0.5,0.5,yes\n",
        r"columns there are: no, yes, label\. A table without ids gets",
    ),
    "a target beside a predicted label": (
        "filename,label,prob,target\na,yes,0.9,yes\n",
        r"If 'target' is the truth and not a prediction, rename it to y_true$",
    ),
    "no ids": ("y_true,y_score\n0,0.5\n", r"A table without ids gets them in Python with table\.insert\(0"),
    "only numbers": ("1,0.25\n0,0.5\n", r"Is the header missing\?"),
    "16 bits": (
        "case_id,y_true,a\nx,0,1.0005\n",
        r"1\.0005 is outside .* compute it with 32 bits instead of 16",
    ),
    "case null": (
        "case_id,y_true,a\nnull,0,0.5\n",
        r"'case_id', row 2: 'null' stands for no value; give every case",
    ),
    "truth nan": (
        "case_id,y_true,a\nx,0,0.5\ny,nan,0.2\n",
        r"'y_true', row 3: 'nan' stands for no value; give every case its true",
    ),
    "missing cell": ("case_id,y_true,a,b\nx,0,0.5,\n", r"'b', row 2 is empty; every model must be scored"),
    "duplicate": (
        "case_id,y_true,a\nx,0,0.5\n\nx,1,0.6\n",
        r"column 'case_id', row 4: 'x' is also in row 2",
    ),
    "no id": ("case_id,y_true,a\n,0,0.5\n", r"column 'case_id', row 2 is empty"),
    "no patient": ("case_id,y_true,patient_id,a\nx,0,,0.5\n", r"'patient_id', row 2 is empty; give every"),
    "no label": ("case_id,y_true,a\nx,,0.5\n", r"column 'y_true', row 2 is empty"),
    "third label": (
        "case_id,y_true,a\nx,0,0.5\ny,2,0.5\nz,1,0.5\n",
        r"column 'y_true', row 3: '2' is neither 0 nor 1$",
    ),
    "numbered from 1": (
        "case_id,y_true,a\nx,1,0.5\ny,2,0.4\n",
        r"'2' is neither 0 nor 1; .* --positive 1, or --positive 2$",
    ),
    "a score for the truth": (
        "case_id,y_true,a\n" + "".join(f"x{i},0.{i},0.5\n" for i in range(10, 40)),
        r"'0\.10' is neither 0 nor 1, and there are 30 different values: is this column the truth\?$",
    ),
    "percentages beside probabilities": (
        "case_id,y_true,a,b\nx,0,8,0.08\ny,1,93.5,0.9\n",
        r"row 2: 8 is outside \[0, 1\], and other columns are not: percentages .* Write all from 0 to 1",
    ),
    "a decimal comma without quotes": (
        "case_id,y_true,a\nx,0,0,08\n",
        r"row 2 has 4 cells, .* such as a decimal comma, into quotation marks$",
    ),
    "names": (
        "case_id,y_true,a\nx,benign,0.5\ny,cancer,0.5\n",
        r"'benign' .*which is positive: --positive cancer, or --positive benign",
    ),
    "other subset": (
        "case_id,y_true,subset,a\nx,0,test,0.5\ny,1,val,0.5\n",
        r"'subset', row 3: 'val' where 'test'",
    ),
    "open quote": ('case_id,y_true,a\nx,0,"0.5\n', r"row 2 is not CSV .*quotation mark"),
    "nameless seed": ("case_id,y_true,a@\nx,0,0.5\n", r"row 1: column 'a@': write MODEL@SEED"),
    "nameless model": ("case_id,y_true,@1\nx,0,0.5\n", r"row 1: column '@1': write MODEL@SEED"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """One message names the file, the column and the row as a person counts them."""
    with pytest.raises(DataError, match=message) as caught:
        read_prediction_table(written(tmp_path, text))

    assert str(caught.value).startswith(str(tmp_path / "test.csv"))
    assert "\n" not in str(caught.value)


def test_probabilities_are_not_divided_as_percentages(tmp_path: Path) -> None:
    """Ten scores of which none is above 1, beside a model in percent: the option would make 0.9 of them 0.009."""
    rows = "".join(f"x{i},{i % 2},{9 * i}.5,0.{i}5\n" for i in range(10))
    table = written(tmp_path, f"case_id,y_true,a,b\n{rows}")

    with pytest.raises(DataError, match=r"no value of column 'b' is above 1: .* leave out --scores-are-perc"):
        read_prediction_table(table, scores_are_percentages=True)
    scores = read_prediction_table(table, scores_are_percentages=True, models=["a"]).scores["a"]
    assert scores.tolist() == pytest.approx([(9 * i + 0.5) / 100 for i in range(10)], abs=1e-15)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, not text, or a folder."""
    with pytest.raises(DataError, match="no such file"):
        read_prediction_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="row 3 is not text in UTF-8"):
        read_prediction_table(written(tmp_path, b"case_id,y_true,a\nx,0,0.5\n\x81,1,0.5\n"))
    with pytest.raises(DataError, match="row 2 holds bytes that are not text"):
        read_prediction_table(written(tmp_path, b"case_id,y_true,a\nx,0,0.5\x00\n"))
    with pytest.raises(DataError, match="cannot be read"):
        read_prediction_table(tmp_path)


def test_third_class_and_absent_positive_class(tmp_path: Path) -> None:
    """With names, the positive classes must occur; all others are negative, which is said."""
    text = "case_id,y_true,a\nx,benign,0.5\ny,cancer,0.5\nz,other,0.1\n"

    twins = "case_id,y_true,a\nx,cancer,0.5\ny,Cancer,0.2\n"
    with pytest.raises(
        DataError, match="row 3: 'Cancer' and 'cancer' seem to be one class; write them alike"
    ):
        read_prediction_table(written(tmp_path, twins), positive=["cancer"])
    cases = read_prediction_table(written(tmp_path, text), positive=["cancer"])
    assert cases.classes == ("not cancer", "cancer")
    assert cases.y_true.tolist() == [0, 1, 0]
    assert "positive: cancer (1); negative: benign (1), other (1)" in " ".join(cases.notes)
    cases = read_prediction_table(written(tmp_path, text), positive=["other", "cancer"])
    assert (cases.classes, cases.y_true.tolist()) == (("benign", "cancer+other"), [0, 1, 1])
    with pytest.raises(
        DataError, match="never holds the positive class 'tumour'; it holds: benign, cancer, other"
    ):
        read_prediction_table(written(tmp_path, text), positive=["tumour"])


def test_subgroup_column_must_exist(tmp_path: Path) -> None:
    """A misspelt subgroup is refused with the columns there are."""
    with pytest.raises(DataError, match="there is no subgroup column 'sx'; columns there are: case_id"):
        read_prediction_table(written(tmp_path, GOOD), subgroups=["sx"])


def test_scores_that_are_not_probabilities(tmp_path: Path) -> None:
    """Any finite number is taken once the user says what it is."""
    text = "case_id,y_true,a\nx,0,-3.5\ny,1,12\n"

    cases = read_prediction_table(written(tmp_path, text), scores_are_probabilities=False)

    assert cases.scores["a"].tolist() == [-3.5, 12.0]
    assert not cases.scores_are_probabilities


def assess_config(folder: Path, test: str, validation: str | None = None, **fields: object) -> AssessConfig:
    """A configuration that reads these texts."""
    return AssessConfig.model_validate(
        {
            "predictions": written(folder, test),
            "validation": None if validation is None else written(folder, validation, "validation.csv"),
            **fields,
        }
    )


def test_validation_and_test_belong_together(tmp_path: Path) -> None:
    """Another model, a missing one, a shared case: each refused, naming the file."""
    apart = GOOD.replace("x", "v")
    for text, message in (
        (apart.replace("a,b", "a,c"), r"validation\.csv: row 1: .*misses b and has c besides"),
        (
            apart.replace("v2", "x2"),
            r"validation\.csv: column 'case_id', row 3: case 'x2' also stands in .*test\.csv \(1 such case\)",
        ),
    ):
        with pytest.raises(DataError, match=message):
            read_tables(assess_config(tmp_path, GOOD, text))

    tables = read_tables(assess_config(tmp_path, GOOD, apart))
    assert tables.validation is not None
    assert tables.validation.models == tables.test.models == ("a", "b")


def test_validation_of_the_judged_seed(tmp_path: Path) -> None:
    """The lowest seed is judged, wherever its column stands, and thresholds come from the same one."""
    test = "case_id,y_true,a@10,a@2\nx1,0,0.1,0.2\nx2,1,0.9,0.8\n"
    validation = "case_id,y_true,a@2,a@10\nv1,0,0.4,0.3\nv2,1,0.6,0.5\n"

    tables = read_tables(assess_config(tmp_path, test, validation))

    assert tables.validation is not None
    assert tables.test.judged == {"a": "a@2"}
    assert tables.validation.scores["a"].tolist() == [0.4, 0.6]
    with pytest.raises(DataError, match="misses a@2"):
        read_tables(assess_config(tmp_path, test, validation.replace("a@2,a@10", "a@3,a@10")))


def test_classes_of_the_two_files(tmp_path: Path) -> None:
    """'benign' in one file and 'normal' in the other are not the same negative class."""
    test = "case_id,y_true,a\nx1,benign,0.1\nx2,cancer,0.2\n"
    validation = "case_id,y_true,a\nv1,normal,0.1\nv2,cancer,0.2\n"

    with pytest.raises(DataError, match=r"holds normal and cancer, but that of .* holds benign and cancer"):
        read_tables(assess_config(tmp_path, test, validation, positive=["cancer"]))


def test_subgroups_only_in_the_test_file(tmp_path: Path) -> None:
    """Subgroups are about the test; the validation file may lack or hold the column."""
    test = "case_id,y_true,a,sex\nx1,0,0.1,f\nx2,1,0.2,m\n"
    evaluate = EvaluateConfig(subgroups=("sex",))
    for validation in ("case_id,y_true,a\nv1,0,0.1\n", "case_id,y_true,a,sex\nv1,0,0.1,f\n"):
        tables = read_tables(assess_config(tmp_path, test, validation, evaluate=evaluate))

        assert tables.validation is not None
        assert tables.validation.models == ("a",)
        assert tables.test.subgroups["sex"].tolist() == ["f", "m"]


def test_threshold_of_an_unknown_model(tmp_path: Path) -> None:
    """A threshold must name a model of the file."""
    with pytest.raises(DataError, match=r"--threshold c: .*test\.csv has no column of that name; .* a, b"):
        read_tables(assess_config(tmp_path, GOOD, thresholds={"c": 0.5}))


def test_digest_covers_content_and_reading(tmp_path: Path) -> None:
    """Equal tables have equal digests; one digit, or what a result calls things, changes it."""
    digest = read_tables(assess_config(tmp_path, GOOD)).digest

    assert read_tables(assess_config(tmp_path, GOOD)).digest == digest
    assert read_tables(assess_config(tmp_path, GOOD.replace("0.5", "0.6"))).digest != digest
    assert read_tables(assess_config(tmp_path, GOOD, scores_are_probabilities=False)).digest != digest
    # How it is written down is no content; what classes and models are called is.
    assert read_tables(assess_config(tmp_path, GOOD.replace(",", ";"))).digest == digest
    named = GOOD.replace(",0,", ",benign,").replace(",1,", ",cancer,")
    digests = {
        read_tables(assess_config(tmp_path, text, positive=["cancer"])).digest
        for text in (named, named.replace("benign", "healthy"), named.replace("a,b", "a,c"))
    }
    assert len(digests | {digest}) == 4


def test_check_apart_counts(tmp_path: Path) -> None:
    """The number of shared cases is said."""
    cases = read_prediction_table(written(tmp_path, GOOD))

    with pytest.raises(DataError, match=r"case 'x1' also stands in t\.csv \(3 such cases\)"):
        check_apart(cases, cases, test_path=tmp_path.__class__("t.csv"), validation_path=tmp_path)


def test_unclustered_where_no_patient_repeats() -> None:
    """One case per patient is no clustering; without patients nothing is known."""
    fields = {
        "case_id": ("a", "b"),
        "y_true": np.array([0, 1]),
        "scores": {"m": np.array([0.1, 0.2])},
        "classes": ("n", "p"),
        "subset": "test",
    }

    assert ScoredCases(**fields, patient_id=np.array(["p", "q"])).clusters is None
    assert ScoredCases(**fields, patient_id=None).clusters is None
    assert ScoredCases(**fields, patient_id=None).n_patients is None
