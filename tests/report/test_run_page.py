"""The page of a run in the orchestrator says what the report says, and nothing in it is read as markup."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from medcompare.base.formatting import format_estimate
from medcompare.report.results import results_json
from medcompare.report.run_page import escaped, run_page
from medcompare.report.vocabulary import view_of
from medcompare.runs.result import NoPdf
from tests.report.sample import make_assessment, make_inputs, make_manifest

REPORT = Path("runs/one/report.pdf")
IMAGE = re.compile(r"!\[((?:[^\]\\]|\\.)*)\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)")
SVG = "{http://www.w3.org/2000/svg}"


def rows_of(markdown: str) -> list[list[str]]:
    """Cells of every line of every table, as a reader sees them."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [
        [re.sub(r"\\(.)", r"\1", cell.strip().strip("*")) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>|x", r"&lt;b&gt;\|x"),
        ("a_b*", r"a\_b\*"),
        ("[click](https://evil.example)", r"\[click\](https://evil.example)"),
        ("# not a title\nnor a second line", r"\# not a title nor a second line"),
        ("A & B `code` {x} ~~y~~", r"A &amp; B \`code\` \{x\} \~\~y\~\~"),
        ("back\\slash", "back\\\\slash"),
        ("0.912 (0.871 to 0.942)", "0.912 (0.871 to 0.942)"),
    ],
)
def test_no_name_is_read_as_markup(text: str, shown: str) -> None:
    """Names of classes and data sets come from the images' owner."""
    assert escaped(text) == shown


def test_hostile_names_reach_the_page_as_text() -> None:
    """A data set and a reason with markup in them: no tag, no extra column, no link on any page."""
    hostile = "<b>|x](http://evil.example)"
    manifest = make_manifest(synthetic=False).model_copy(
        update={"name": hostile, "classes": ("a_b*", "<i>|c"), "rejected_by_reason": ((hostile, 3),)}
    )
    page = run_page(make_inputs(synthetic=False, manifest=manifest), report=REPORT, link=None)

    assert "<b>" not in page.data + page.verdict + page.figures
    assert r"&lt;b&gt;\|x\](http://evil.example)" in page.data
    assert ["Excluded: &lt;b&gt;|x](http://evil.example)", "3"] in rows_of(page.data)


def test_key_figures_are_those_of_the_report() -> None:
    """Word for word the table of page one, whose figures are those of results.json."""
    inputs = make_inputs()
    page = run_page(inputs, report=REPORT, link=None)

    [head, _, *rows] = rows_of(page.verdict)
    assert "EfficientNet-B0 minus ResNet-50" in page.verdict
    evaluations = view_of(inputs).evaluations
    assert head[0] == "Test subset"
    assert head[-2:] == ["Difference (CI)", "EfficientNet-B0 is"]  # no forest plot
    by_name = {row[0]: row[1:] for row in rows}
    assert list(by_name) == [
        "Found, of 100 cancer images",
        "False alarms, of 100 non_cancer images",
        "AUC",
        "Time per image",
        "Peak memory",
    ]
    assert by_name["Time per image"][:2] == ["48.2 ms (47.1 to 49.6)", "25.4 ms (24.8 to 26.1)"]
    pair = view_of(inputs).pair
    assert pair is not None
    expected = [format_estimate(one.metrics["auc"]) for one in evaluations]
    assert by_name["AUC"][:3] == [*expected, format_estimate(pair.differences["auc"], signed=True)]

    results = json.loads(results_json(inputs))
    for one, cell in zip(evaluations, by_name["AUC"], strict=False):
        [stored] = [e for e in results["assessment"]["evaluations"] if e["model"] == one.model]
        assert cell.startswith(f"{stored['metrics']['auc']['value']:.3f}")


def test_verdict_and_caveats_are_those_of_page_one() -> None:
    """Headline, sentence, notices, caveats and changes, in this order."""
    inputs = make_inputs(notices=("Synthetic_data.",), changes=("Data: 200 → 300 images (+100).",))
    page = run_page(inputs, report=REPORT, link=None)
    verdict = inputs.assessment.verdict

    lines = page.verdict.splitlines()
    assert lines[0] == f"# {escaped(verdict.headline)}"
    assert lines[2] == escaped(verdict.sentence)
    start = lines.index("## Before you rely on it")
    expected = ["- Synthetic\\_data.", *(f"- {escaped(text)}" for text in verdict.caveats)]
    assert lines[start + 2 : start + 2 + len(expected)] == expected
    assert lines[-3:] == ["## What changed since the previous run", "", "- Data: 200 → 300 images (+100)."]

    quiet = make_assessment()
    quiet = quiet.model_copy(update={"verdict": quiet.verdict.model_copy(update={"caveats": ()})})
    page = run_page(make_inputs(assessment=quiet), report=REPORT, link=None)
    assert "Before you rely on it" not in page.verdict
    assert "What changed" not in page.verdict


def test_with_and_without_a_link() -> None:
    """With an address a link; without one the place of the PDF and how to get a link."""
    inputs = make_inputs()
    linked = run_page(inputs, report=REPORT, link="https://reports.example/one/report.pdf").verdict
    unlinked = run_page(inputs, report=REPORT, link=None).verdict

    assert "**[Open the report (PDF)](https://reports.example/one/report.pdf)**" in linked
    assert str(REPORT) not in linked.replace("https://reports.example/one/report.pdf", "")
    assert f"The report lies at `{REPORT}` on the machine that ran." in unlinked
    assert "MEDCOMPARE_LINK_BASE" in unlinked
    assert "](http" not in unlinked


@pytest.mark.parametrize("link", [None, "https://reports.example/one/report.html"])
def test_a_page_without_a_pdf_says_why_and_what_makes_it(link: str | None) -> None:
    """The cause, which may hold data, stays in the log; linked are the HTML, and the PDF that may be made later."""
    no_pdf = NoPdf(cause="of Mustermann", how="its process was killed")
    text = run_page(make_inputs(), report=REPORT.with_suffix(".html"), link=link, no_pdf=no_pdf).verdict

    assert "**The run ended without the PDF of its report**: its process was killed." in text
    assert "`medcompare pdf one`, in the folder of runs on the machine that ran, makes it." in text
    assert (f"**[Open the report (HTML)]({link})**" if link else "`runs/one/report.html`") in text
    later = "Once made, it is [here](https://reports.example/one/report.pdf)."
    assert (later if link else "Once made, it lies beside the HTML.") in text
    assert "There is no PDF" not in text  # which would be wrong from then on
    assert "Mustermann" not in text


def test_pictures_are_drawn_on_white() -> None:
    """Both are whole SVG documents whose first element is a white sheet; each says in words what it shows."""
    inputs = make_inputs()
    images = IMAGE.findall(run_page(inputs, report=REPORT, link=None).figures)

    assert len(images) == 2
    for _, encoded in images:
        root = ET.fromstring(base64.b64decode(encoded))  # noqa: S314 - drawn by ourselves
        assert root.tag == f"{SVG}svg"
        first, (left, top, width, height) = root[0], root.attrib["viewBox"].split()
        assert (first.tag, first.attrib) == (
            f"{SVG}rect",
            {"x": left, "y": top, "width": width, "height": height, "fill": "#ffffff"},
        )
        assert (float(left), float(top)) == (-10, -10)  # a margin, as paper has
        assert (root.attrib["width"], root.attrib["height"]) == (f"{width}pt", f"{height}pt")
    for one in inputs.assessment.evaluations:
        found = f"{one.confusion.true_positive} of {one.n_positive} {one.classes[1]} found"
        assert escaped(found) in images[1][0]


def test_data_counts_are_those_of_the_manifest() -> None:
    """Found, usable, excluded by reason, identical files, patients; then the subsets."""
    data = run_page(make_inputs(), report=REPORT, link=None).data
    images, subsets = data.split("## Subsets")

    assert rows_of(images) == [
        ["What", "Number"],
        ["---", "---:"],
        ["Files found", "1,713"],
        ["Usable images", "1,690"],
        ["Excluded: identical file with the opposite label", "8"],
        ["Excluded: too small", "3"],
        ["Excluded: unreadable", "12"],
        ["Groups of identical files", "6"],
        ["... of them with opposite labels", "4"],
        ["Patients", "590"],
    ]
    turned = rows_of(subsets.split("##")[0])  # nine columns would not fit beside those of the page
    assert turned[:5] == [
        ["Subset", "Training", "Validation", "Test"],
        ["---", "---:", "---:", "---:"],
        ["Images", "1,181", "169", "340"],
        ["non_cancer", "706", "101", "203"],
        ["cancer", "475", "68", "137"],
    ]
    assert len(turned) == 10


def test_without_images_the_page_says_so() -> None:
    """Predictions were supplied: nothing is counted that nobody saw."""
    page = run_page(make_inputs(full=False), report=REPORT, link=None)

    assert (
        page.data == "The predictions were supplied; the images behind them were not seen by this software."
    )
