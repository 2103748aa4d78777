"""Tables as programs write them: read where one reading is possible, refused in one sentence where not."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shlex
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medcompare.base.errors import DataError, InputError
from medcompare.config.schema import AssessConfig
from medcompare.data.spelling import (
    likelihood_of_disease,
    positive_options,
    respelled,
    respelled_in_both,
    same_id,
)
from medcompare.predictions.table import read_prediction_table, read_tables, write_prediction_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medcompare.predictions.cases import ScoredCases

TABLE = pd.DataFrame(
    {
        "case_id": ["x1", "x2", "x3", "x4"],
        "y_true": [0, 1, 0, 1],
        "patient_id": ["Jö", "007", "Jö", "p"],
        "a": [0.125, 0.875, 0.25, 0.5],
        "b": [0.0625, 0.75, 0.375, 1.0],
    }
)
PLAIN = TABLE.to_csv(index=False)


def frame(**columns: object) -> pd.DataFrame:
    """The table with columns replaced or added."""
    return TABLE.assign(**columns)


def excel(table: pd.DataFrame, **sheets: pd.DataFrame) -> bytes:
    """A workbook as pandas writes it."""
    out = io.BytesIO()
    with pd.ExcelWriter(out, engine="openpyxl") as writer:
        for name, each in {"Sheet1": table, **sheets}.items():
            each.to_excel(writer, sheet_name=name, index=False)
    return out.getvalue()


def long_format(table: pd.DataFrame) -> pd.DataFrame:
    """One row per case and model."""
    fixed = [name for name in table.columns if name not in {"a", "b"}]
    return table.melt(id_vars=fixed, value_vars=["a", "b"], var_name="model", value_name="score")


def r_write_csv(table: pd.DataFrame) -> str:
    """As R's write.csv: quoted, row names from 1."""
    return table.set_axis(range(1, len(table) + 1)).to_csv(quoting=2, index_label="")


def savetxt(table: pd.DataFrame) -> str:
    """As numpy.savetxt with a header."""
    out = io.StringIO()
    np.savetxt(out, table.to_numpy(), fmt="%s", delimiter=",", header=",".join(table.columns))
    return out.getvalue()


SAME: dict[str, tuple[Callable[[], str | bytes], str]] = {
    # How it is written, and the note that says so.
    "UTF-8 with mark": (lambda: PLAIN.encode("utf-8-sig"), ""),
    "UTF-16": (lambda: PLAIN.encode("utf-16"), "UTF-16 text"),
    "UTF-16 without mark": (lambda: PLAIN.replace("Jö", "Jo").encode("utf-16-be"), "UTF-16 text"),
    "UTF-32": (lambda: PLAIN.encode("utf-32"), "UTF-32 text"),
    "Windows-1252": (lambda: PLAIN.encode("cp1252"), "Windows-1252 text"),
    "CRLF and blank rows": (lambda: PLAIN.replace("\n", "\r\n\r\n"), ""),
    "old Macintosh": (lambda: PLAIN.replace("\n", "\r"), ""),
    "blanks": (lambda: PLAIN.replace(",", " , "), ""),
    "German Excel": (lambda: TABLE.to_csv(index=False, sep=";", decimal=",").encode("cp1252"), "decimal comma"),
    "tabs": (lambda: TABLE.to_csv(index=False, sep="\t"), "separated by tabs"),
    "bars": (lambda: TABLE.to_csv(index=False, sep="|"), "separated by bars"),
    "sep=,": (lambda: "sep=,\r\n" + PLAIN, "names the separator"),
    "sep=;": (lambda: '"sep=;"\n' + TABLE.to_csv(index=False, sep=";"), "names the separator"),
    "decimal comma in quotes": (lambda: TABLE.to_csv(index=False, decimal=","), "decimal comma"),
    "comment": (lambda: "# run 7, 2026\n\n" + PLAIN, "comment lines before the header were passed over"),
    "comment below": (lambda: PLAIN + "# 4 rows\n", "row 6 is a comment"),
    "numpy.savetxt": (lambda: savetxt(TABLE), "the header stands in a comment line"),
    "pandas' index": (TABLE.to_csv, "numbers the rows was passed over"),
    "pandas' index, saved again": (
        lambda: TABLE.rename_axis("Unnamed: 0").reset_index().to_csv(index=False),
        "'Unnamed: 0', which numbers the rows",
    ),
    "pandas' index of cases": (
        lambda: TABLE.set_index("case_id").to_csv(index_label=""),
        "which has no name, was taken as case_id",
    ),
    "R": (lambda: r_write_csv(TABLE), "numbers the rows was passed over"),
    "R's write.table": (
        lambda: r_write_csv(TABLE).replace('"",', "", 1).replace(",", " "), "numbers the rows was passed over",
    ),
    "R's write.table with commas": (lambda: r_write_csv(TABLE).replace('"",', "", 1), "numbers the rows"),
    "numpy.savetxt with blanks": (
        lambda: savetxt(TABLE).replace(",", " ").replace("# ", "", 1), "separated by blanks",
    ),
    "pandas' to_string": (lambda: TABLE.to_string(index=False), "separated by blanks"),
    "a separator too many": (lambda: PLAIN.replace("\n", ",\n"), ""),
    "Excel": (lambda: excel(TABLE), "Excel workbook"),
    "Excel, an empty sheet": (lambda: excel(TABLE, Sheet2=pd.DataFrame()), "Excel workbook"),
    "percent": (lambda: frame(a=["12.5%", "87.5%", "25%", "50 %"]).to_csv(index=False), "percent signs were read"),
    "German percent": (
        lambda: frame(a=["12,5%", "87,5%", "25%", "50 %"]).to_csv(index=False, sep=";", decimal=","),
        "percent signs were read",
    ),
    "rounding": (lambda: frame(b=[0.0625, 0.75, 0.375, 1.0000001]).to_csv(index=False), "one score outside [0, 1]"),
    "other names": (
        lambda: PLAIN.replace("case_id", "filename").replace("patient_id", "Patient ID").replace("y_true", "truth"),
        "column 'Patient ID' was taken as patient_id",
    ),
    "true and false": (lambda: frame(y_true=TABLE["y_true"] == 1).to_csv(index=False), ""),
    "long": (lambda: long_format(TABLE).to_csv(index=False), "'model' names the model, 'score' holds its score"),
    "long, shuffled": (
        lambda: long_format(TABLE).sample(frac=1, random_state=1)[["score", "y_true", "model", "patient_id", "case_id"]]
        .to_csv(index=False),
        "rows were joined by case",
    ),
    "long, German": (
        lambda: long_format(TABLE).to_csv(index=False, sep=";", decimal=",").encode("cp1252"), "rows were joined",
    ),
}  # fmt: skip


def read(folder: Path, content: str | bytes, **how: object) -> ScoredCases:
    """`content` as a table of predictions, whatever the file is called."""
    path = folder / "predictions.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_prediction_table(path, **how)  # type: ignore[arg-type]


def same(one: ScoredCases, other: ScoredCases) -> bool:
    """Whether two readings agree in everything but where it stood and what was said."""
    return one.classes == other.classes and write_prediction_table(one) == write_prediction_table(other)


@pytest.mark.parametrize(("content", "note"), SAME.values(), ids=SAME.keys())
def test_one_table_however_it_is_written(
    tmp_path: Path, content: Callable[[], str | bytes], note: str
) -> None:
    """The same numbers to the last bit, and a note where the file was not plain CSV."""
    text = content()
    utf16 = isinstance(text, bytes) and text.startswith(b"\0")
    expected = read(tmp_path, PLAIN.replace("Jö", "Jo") if utf16 else PLAIN)

    cases = read(tmp_path, text)

    assert [list(values) for values in expected.scores.values()] == [list(TABLE["a"]), list(TABLE["b"])]
    assert {m: v.tolist() for m, v in cases.scores.items()} == {
        m: v.tolist() for m, v in expected.scores.items()
    }
    assert same(cases, expected)
    found = [each for each in cases.notes if not each.startswith("models: a, b")]
    assert (note in " ".join(found)) if note else not found


def test_parquet(tmp_path: Path) -> None:
    """Read where pyarrow is installed, an index of cases included; otherwise the message says how."""
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    for table in (TABLE, TABLE.set_index("case_id").rename_axis(None)):
        out = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pandas(table), out)
        cases = read(tmp_path, out.getvalue())
        assert same(cases, read(tmp_path, PLAIN))
        assert cases.notes[0] == "the file is a Parquet file"


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not installed by default: the message gives the command."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)

    with pytest.raises(
        DataError, match=r"Parquet needs pyarrow, .*: python -m pip install pyarrow; or write it as CSV"
    ):
        read(tmp_path, b"PAR1....PAR1")


def test_excel_cells(tmp_path: Path) -> None:
    """Numbers as ids, a percent format, dates, a heading above the table's first row left blank."""
    book = openpyxl.Workbook()
    sheet = book.active
    rows = [
        [],
        ["case_id", "y_true", "patient_id", "a"],
        [1, 0, 7, 0.25],
        [2, True, 8.5, 0.5],
        [3, "1", "007", 1],
    ]
    for row in rows:
        sheet.append(row)
    sheet["D3"].number_format = "0.0%"
    hidden = book.create_sheet("lookup")
    hidden.append(["x"])
    hidden.sheet_state = "hidden"
    out = io.BytesIO()
    book.save(out)

    cases = read(tmp_path, out.getvalue())

    assert cases.case_id == ("1", "2", "3")
    assert cases.rows == (3, 4, 5)
    assert cases.y_true.tolist() == [0, 1, 1]
    assert cases.patient_id is not None
    assert cases.patient_id.tolist() == ["7", "8.5", "007"]
    assert cases.scores["a"].tolist() == [0.25, 0.5, 1.0]


def zipped(**members: bytes) -> bytes:
    """A zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "/"), content)
    return out.getvalue()


def arrays() -> bytes:
    """What numpy.savez writes."""
    out = io.BytesIO()
    np.savez(out, p=np.zeros(3))
    return out.getvalue()


FOREIGN: dict[str, tuple[Callable[[], bytes], str]] = {
    "old Excel": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"old or encrypted Excel workbook; save it as \.xlsx"),
    "gzip": (lambda: gzip.compress(PLAIN.encode()), r"with gzip; unpack it first: gunzip \S+predictions\.csv"),
    "pickle": (lambda: pickle.dumps(TABLE), "pickle .*not safe to open; write it as CSV .*to_csv"),
    "JSON": (lambda: json.dumps({"a": [1]}).encode(), "this is JSON; write it as CSV"),
    "npy": (lambda: b"\x93NUMPY\x01\x00", "NumPy array, which has no column names; write it as CSV"),
    "npz": (arrays, "NumPy arrays, not an Excel workbook; save the table as"),
    "LibreOffice": (lambda: zipped(mimetype=b"application/vnd.oasis"), "OpenDocument file, not an Excel workbook"),
    "archive": (lambda: zipped(a=b"x"), "this is an archive, not an Excel workbook"),
    "two sheets": (lambda: excel(TABLE, Sheet2=TABLE), "2 sheets hold something: Sheet1, Sheet2; keep one"),
    "broken workbook": (lambda: zipped(xl_workbook=b"<"), "cannot be read as an Excel workbook .*save"),
    "half a workbook": (lambda: excel(TABLE)[:900], "begins like an Excel workbook but is damaged"),
    "HTML": (lambda: b"<html>", "this is HTML or XML; save the table as CSV"),
    "PDF": (lambda: b"%PDF-1.7", "this is a PDF"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_no_table_is_named(tmp_path: Path, content: Callable[[], bytes], message: str) -> None:
    """What the file is, and what to do."""
    with pytest.raises(DataError, match=message):
        read(tmp_path, content())


LONG = "case_id,y_true,model,score\nx,0,a,.1\ny,1,a,.9\n"
BAD_LONG = {
    "missing": (LONG + "x,0,b,.2\n", r"b has no score for 1 of 2 cases, the first in row 3; every model"),
    "twice": (LONG + "x,0,a,.2\n", r"column 'case_id', row 4: a scores the case of row 2 a second time"),
    "contradiction": (LONG + "x,1,b,.2\ny,1,b,.3\n", r"'y_true', row 4 differs from row 2, which is the same case"),
    "several scores": ("case_id,y_true,m,a\nx,0,u,.1\nx,0,v,.2\n", r"'x' is also in row 2; .*a column 'model'"),
    "clash": (LONG.replace("model,score", "model,score,a").replace("\nx", ",\nx").replace("\ny", ",s\ny")[:-1] + ",s\n",
              r"row 2 has 5|a model is named 'a', and so is a column"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_LONG.values(), ids=BAD_LONG.keys())
def test_a_row_per_case_and_model(tmp_path: Path, text: str, message: str) -> None:
    """Every model must score every case once, and the truth of a case is one."""
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_seeds_and_scanners_in_long_tables(tmp_path: Path) -> None:
    """A column seed makes MODEL@SEED; a model of scanner is no model where cases do not repeat."""
    text = "case_id,y_true,model,seed,score\nx,0,a,1,.1\ny,1,a,1,.9\nx,0,a,2,.2\ny,1,a,2,.8\n"
    cases = read(tmp_path, text)
    assert cases.judged == {"a": "a@1"}
    assert {seed: values.tolist() for seed, values in cases.seed_scores["a"].items()} == {
        "1": [0.1, 0.9],
        "2": [0.2, 0.8],
    }

    assert read(tmp_path, "case_id,y_true,model,score\nx,0,GE,.1\ny,1,Philips,.9\n").models == ("score",)


def test_percentages_and_thousands(tmp_path: Path) -> None:
    """0 to 100 is divided only where the user says so; 1,234 is not guessed at."""
    table = frame(a=TABLE["a"] * 100, b=TABLE["b"] * 100).to_csv(index=False)
    with pytest.raises(
        DataError, match=r"every column of scores lies between 0 and 100: .*--scores-are-percentages"
    ):
        read(tmp_path, table)
    assert same(read(tmp_path, table, scores_are_percentages=True), read(tmp_path, PLAIN))

    logits = "case_id;y_true;a\nx;0;1,234\ny;1;2,345\n"
    with pytest.raises(DataError, match=r"row 2: is '1,234' 1\.234 or 1234\? Write all numbers with"):
        read(tmp_path, logits, scores_are_probabilities=False)
    assert read(tmp_path, logits.replace("2,345", "2,34"), scores_are_probabilities=False).scores[
        "a"
    ].tolist() == [1.234, 2.34]
    thousands = "case_id;y_true;a\nx;0;1.234\ny;1;999\n"
    with pytest.raises(DataError, match=r"row 2: is '1\.234' 1\.234 or 1234\? Write all numbers with"):
        read(tmp_path, thousands, scores_are_probabilities=False)
    with pytest.raises(DataError, match="'a' has percent signs, which are read without"):
        read(tmp_path, "case_id,y_true,a\nx,0,3%\ny,1,40%\n", scores_are_percentages=True)
    with pytest.raises(DataError, match=r"row 2: 1\.00001 is outside \[0, 1\]"):
        read(tmp_path, "case_id,y_true,a\nx,0,1.00001\ny,1,.5\n")


def test_the_positive_class_as_a_spreadsheet_writes_it(tmp_path: Path) -> None:
    """1 and 1.0 are the same class."""
    text = "case_id,y_true,a\nx,0.0,.1\ny,1.0,.2\n"

    assert read(tmp_path, text, positive=["1"]).classes == ("0.0", "1.0")
    with pytest.raises(DataError, match=r"never holds the positive class '2'; it holds: 0\.0, 1\.0"):
        read(tmp_path, text, positive=["2"])


def config(folder: Path, test: pd.DataFrame, validation: pd.DataFrame, **fields: object) -> AssessConfig:
    """A configuration that reads these tables."""
    test.to_csv(folder / "t.csv", index=False)
    validation.to_csv(folder / "v.csv", index=False)
    return AssessConfig.model_validate(
        {"predictions": folder / "t.csv", "validation": folder / "v.csv", **fields}
    )


OTHER = frame(case_id=["v1", "v2", "v3", "v4"], a=[0.1, 0.9, 0.3, 0.7], b=[0.2, 0.8, 0.4, 0.6])


def test_one_person_under_two_spellings(tmp_path: Path) -> None:
    """In both tables, and in one: counted on page one, never named; others are not suspected."""
    ours, theirs = (
        TABLE.assign(patient_id=["7", "0012", "P01", "x"]),
        OTHER.assign(patient_id=["7.0", "12", "p1 ", "y"]),
    )
    (caveat,) = read_tables(config(tmp_path, ours, theirs)).caveats
    assert caveat.startswith("3 patients seem to stand in both tables under different spellings")
    assert "0012" not in caveat

    (caveat,) = read_tables(
        config(
            tmp_path, TABLE.assign(patient_id=["7", "7.0", "8", "9"]), OTHER.assign(patient_id=list("wxyz"))
        )
    ).caveats
    assert caveat.startswith("One patient seems to stand in the test table under several spellings")

    (caveat,) = read_tables(
        config(tmp_path, TABLE, OTHER.assign(patient_id=list("wxyz"), case_id=["X1", "v2", "v3", "x 03"]))
    ).caveats
    assert caveat.startswith("2 cases seem to stand in both tables")

    apart = OTHER.assign(patient_id=["70", "17", "7.1", "p11"])
    assert read_tables(config(tmp_path, ours, apart)).caveats == ()
    # The same spelling in both is no question: the verdict is then not valid.
    assert read_tables(config(tmp_path, TABLE, OTHER)).caveats == ()


def test_thresholds_of_probabilities(tmp_path: Path) -> None:
    """50 is no threshold of a probability."""
    with pytest.raises(
        DataError, match=r"--threshold a=50: thresholds of probabilities lie between 0 and 1; .*docs/pred"
    ):
        read_tables(config(tmp_path, TABLE, OTHER, thresholds={"a": 50}))


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("7", "7.0", True), ("7", "0007", True), ("P01", "p1", True), ("'P1'", "P 1", True), ("\uff21B", "ab", True),
        ("7", "7.5", False), ("P1", "P10", False), ("10", "1", False), ("0", "00", True), ("a-1", "a1", False),
        ("1,0", "1", True), ("1.0.0", "1", False), ("Straße", "STRASSE", True),
    ],
)  # fmt: skip
def test_spellings(one: str, other: str, *, agree: bool) -> None:
    """Capitals, blanks, leading zeros, quotation marks and '.0' make no other person."""
    assert (same_id(one) == same_id(other)) is agree
    assert respelled([one, other, other]) == int(agree)
    assert respelled_in_both([one], [other]) == int(agree)


@pytest.mark.parametrize(
    ("healthy", "ill"),
    [
        ("benign", "malignant"), ("no", "yes"), ("0", "1"), ("normal", "tumour tissue"), ("non_cancer", "cancer"),
        ("noncancer", "cancer"), ("no tumor", "glioma tumor"), ("healthy", "pneumonia"), ("Negative", "Positive"),
        ("nv", "mel"), ("control", "case"), ("notumor", "tumor"), ("without disease", "disease"), ("absent", "present"),
    ],
)  # fmt: skip
def test_the_likelier_positive_class_is_offered_first(healthy: str, ill: str) -> None:
    """Both are always offered, since sensitivity of the wrong class is worse than one more question."""
    expected = f"--positive {shlex.quote(ill)}, or --positive {shlex.quote(healthy)}"

    assert positive_options([healthy, ill]) == positive_options([ill, healthy]) == expected
    assert likelihood_of_disease(healthy) < likelihood_of_disease(ill)


def test_benign_is_never_offered_alone(tmp_path: Path) -> None:
    """Tried with the reported case: folders called benign and malignant."""
    text = "case_id,y_true,a\nx,benign,.1\ny,malignant,.2\n"

    with pytest.raises(DataError, match=r"--positive malignant, or --positive benign$"):
        read(tmp_path, text)


# Properties. Every example writes one small file into the same folder.
BOUNDED = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CELL = st.one_of(
    st.sampled_from(
        ["", "0", "1", "0.5", "1.0", "50%", "0,5", "nan", "x", "case_id", "y_true", "#", '"', "sep=;", "@1"]
    ),
    st.text(max_size=4),
    st.floats().map(str),
)


@BOUNDED
@given(
    content=st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_any_bytes_are_a_table_or_one_error(tmp_path: Path, content: bytes) -> None:
    """No traceback, whatever somebody hands over."""
    for start in (b"", b"case_id,y_true,a\n", b"PK\x03\x04", b"\xff\xfe"):
        try:
            read(tmp_path, start + content)
        except InputError as error:
            assert str(error).startswith(str(tmp_path))  # noqa: PT017 - a table is right as well


@BOUNDED
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=6), min_size=1, max_size=6),
    header=st.permutations(["case_id", "y_true", "a", "patient_id", "model", "score"]),
    separator=st.sampled_from(",;\t|"),
    positive=st.sampled_from([(), ("1",), ("x",), ("1", "0")]),
)
def test_any_cells_are_a_table_or_one_error(
    tmp_path: Path, rows: list[list[str]], header: list[str], separator: str, positive: tuple[str, ...]
) -> None:
    """As above, with something like a header, so that every later check is reached."""
    lines = [separator.join(row) for row in [header, *rows]]
    try:
        cases = read(tmp_path, "\n".join(lines).encode("utf-8", "replace"), positive=positive)
    except InputError as error:
        assert str(error).startswith(str(tmp_path))  # noqa: PT017 - a table is right as well
    else:
        assert cases.n <= len(rows)
        for scores in cases.scores.values():
            assert ((scores >= 0) & (scores <= 1)).all()


SCORES = st.floats(0, 1).filter(lambda value: value not in {0.0, 1.0})
NAMES = st.text("abcdefghij -_.é", min_size=1, max_size=6).map(lambda name: f"m{name}".strip())


@st.composite
def studies(draw: st.DrawFn) -> pd.DataFrame:
    """Random studies of 2 to 8 cases."""
    n = draw(st.integers(2, 8))
    ids = draw(
        st.lists(
            st.text("pqrs 0123", min_size=1, max_size=5).map(lambda t: f"c{t}".strip()),
            min_size=n,
            max_size=n,
            unique=True,
        )
    )
    table = {"case_id": ids, "y_true": draw(st.lists(st.sampled_from([0, 1]), min_size=n, max_size=n))}
    if draw(st.booleans()):
        table["patient_id"] = draw(st.lists(st.sampled_from(["p", "q", "r"]), min_size=n, max_size=n))
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        table[name] = draw(st.lists(SCORES, min_size=n, max_size=n, unique=True))
    return pd.DataFrame(table)


@BOUNDED
@given(table=studies(), data=st.data())
def test_order_of_rows_and_columns_changes_nothing(
    tmp_path: Path, table: pd.DataFrame, data: st.DataObject
) -> None:
    """Neither do separator and encoding; what is written reads back to the same cases."""
    first = read(tmp_path, table.to_csv(index=False))
    rows = data.draw(st.permutations(range(len(table))))
    columns = data.draw(st.permutations(list(table.columns)))
    separator = data.draw(st.sampled_from(",;\t|"))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))

    text = table.iloc[rows][columns].to_csv(index=False, sep=separator, lineterminator="\r\n")
    again = read(tmp_path, text.encode(encoding))

    assert again.case_id == first.case_id == tuple(sorted(table["case_id"]))
    assert again.y_true.tolist() == first.y_true.tolist()
    assert {m: v.tobytes() for m, v in again.scores.items()} == {
        m: v.tobytes() for m, v in first.scores.items()
    }
    assert (again.patient_id is None) == (first.patient_id is None)
    if first.patient_id is not None and again.patient_id is not None:
        assert again.patient_id.tolist() == first.patient_id.tolist()
    assert same(read(tmp_path, write_prediction_table(first)), first)
