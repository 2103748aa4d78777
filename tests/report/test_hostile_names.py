"""Names that would do harm, from a table of predictions to the HTML, the PDF and what is attached to it."""

from __future__ import annotations

import csv
import re
from html import unescape
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tinyhtml5

from medcompare.base.errors import DataError
from medcompare.base.file_names import shown
from medcompare.config.schema import AssessConfig, CompareConfig
from medcompare.predictions.layout import read_columns
from medcompare.predictions.table import read_prediction_table, write_prediction_table
from medcompare.report import render
from medcompare.report.collect import setting_rows
from medcompare.report.pages.report import build_context
from medcompare.report.pdf import render_pdf
from tests.report.odd_runs import inputs_of, scores_of, truth
from tests.report.test_layout import missing_glyphs, squeezed, text_of, texts_outside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODELS = {
    '<script>alert("x")</script>': '<script>alert("x")</script>',
    "=cmd\u202egnp\n{{ 7*7 }}\u200b{% raw %}": "=cmd\\xe2\\x80\\xaegnp\\x0a{{ 7*7 }}\\xe2\\x80\\x8b{% raw %}",
}
"""As a table has them, and as they are shown."""
CLASSES = ("benign\u2028<i>", "</td></table>malignant")
LEVELS = ("}</style><style>*{display:none}", "=1+1", "W" * 255, "\u2067a\x9bb")
COLUMN = "site' onload=\"alert(1)"
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u2028-\u202e\u2060-\u2069\ufeff]")


def harmless(text: str) -> str:
    """As long as it is shown, of letters and blanks."""
    return re.sub(r"[^\w ]", "x", shown(text))


def table_at(path: Path, name: Callable[[str], str]) -> Path:
    """Sixty cases, every name made by `name`."""
    y_true = truth(60, 28)
    scores = scores_of(y_true, {name(model): 2.0 + k for k, model in enumerate(MODELS)})
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case_id", "y_true", "patient_id", name(COLUMN), *map(name, MODELS)])
        for i, label in enumerate(y_true.tolist()):
            ids = (name(f"@SUM({i})\n<b>"), name(CLASSES[label]), name(f"\u202ep{i // 2}-{label}"))
            rows.writerow([*ids, name(LEVELS[i % 4]), *(one[i] for one in scores.values())])
    return path


def html_of(path: Path, name: Callable[[str], str]) -> str:
    """The report of the table at `path`."""
    test = read_prediction_table(
        table_at(path, name),
        positive=[shown(name(CLASSES[1]))],
        subgroups=[name(COLUMN)],
        models=[shown(name(model)) for model in MODELS],
    )
    return render.render_html(build_context(inputs_of(test, report={"pseudonymise": False})))


def tags(html: str) -> list[str]:
    """Of the whole tree but the insides of drawings, whose lines depend on the widths of letters."""
    tree = tinyhtml5.parse(re.sub(r"<svg.*?</svg>", "<svg></svg>", html, flags=re.DOTALL))
    return [str(element.tag).rpartition("}")[2] for element in tree.iter()]


def test_names_are_read_in_one_line_and_written_without_formulas(tmp_path: Path) -> None:
    """Also ids, levels and classes; what is written is read again as it was."""
    path = table_at(tmp_path / "t.csv", str)
    read = {
        "positive": [CLASSES[1]],
        "subgroups": [COLUMN],
        "models": tuple(MODELS.values()),
    }

    test = read_prediction_table(path, **read)  # type: ignore[arg-type]
    (tmp_path / "again.csv").write_bytes(write_prediction_table(test))
    again = read_prediction_table(tmp_path / "again.csv", **read | {"positive": []})  # type: ignore[arg-type]

    assert test.models == tuple(MODELS.values())
    assert test.classes == ("benign\\xe2\\x80\\xa8<i>", CLASSES[1])
    assert set(test.subgroups[COLUMN]) == {*LEVELS[:3], "\\xe2\\x81\\xa7a\\xc2\\x9bb"}
    assert "@SUM(7)\\x0a<b>" in test.case_id
    assert (again.case_id, again.models) == (test.case_id, test.models)
    np.testing.assert_array_equal(again.subgroups[COLUMN], test.subgroups[COLUMN])
    cells = [
        cell for row in csv.reader((tmp_path / "again.csv").read_text("utf-8").splitlines()) for cell in row
    ]
    assert {"'=1+1", "'@SUM(7)\\x0a<b>", f"'{list(MODELS.values())[1]}"} <= {*cells}
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]


def test_two_names_that_would_be_shown_alike_are_refused(tmp_path: Path) -> None:
    """A line break, and the four characters that stand for one."""
    (tmp_path / "t.csv").write_text('case_id,y_true,"a\nb",a\\x0ab\n1,0,0.1,0.2\n', encoding="utf-8")

    with pytest.raises(DataError, match=r"two columns are named 'a\\x0ab'; rename or remove one"):
        read_columns(tmp_path / "t.csv")


def test_the_page_has_the_elements_that_it_has_with_harmless_names(tmp_path: Path) -> None:
    """No name becomes an element, a style or a sum; each stands in the text as it is shown."""
    path = tmp_path / "t.csv"
    html = html_of(path, str)

    assert tags(html) == tags(html_of(path, harmless))
    assert not HIDDEN.search(html)
    words = unescape(re.sub(r"<[^>]+>", "", html))
    assert all(name in words for name in (*MODELS.values(), LEVELS[0], CLASSES[1]))


@pytest.mark.slow
def test_the_printed_page_keeps_them_in_their_boxes(tmp_path: Path) -> None:
    """Nothing outside the margins, no empty box; the PDF says the names."""
    content = render_pdf(html_of(tmp_path / "t.csv", str))[0]

    assert texts_outside(content) == []
    assert missing_glyphs(content) == 0
    text = squeezed(text_of(content))
    assert all(squeezed(name) in text for name in MODELS.values())
    assert not HIDDEN.search(text)


def test_names_with_a_slash_are_printed_whole() -> None:
    """Only of paths the folders are left out."""
    compare = CompareConfig.model_validate(
        {
            "models": ["timm/lcnet_050", "timm/resnet10t"],
            "data": {"source": "/mnt/jane/set", "positive": ["yes/no", "a\nb"]},
            "split": {"hold_out": "site=A/B"},
        }
    )
    assess = AssessConfig.model_validate({"predictions": "/mnt/jane/t.csv", "positive": ["</td>x"]})

    values = {row.field: row.value for row in (*setting_rows(compare), *setting_rows(assess))}

    assert values["data.source"] == "set"
    assert values["predictions"] == "t.csv"
    assert values["data.positive"] == "yes/no, a\\x0ab"
    assert values["split.hold_out"] == "site=A/B"
    assert values["positive"] == "</td>x"
    assert {row.field: row.value for row in setting_rows(compare)}[
        "models"
    ] == "timm/lcnet_050, timm/resnet10t"
