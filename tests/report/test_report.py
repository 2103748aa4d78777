"""The report as readers get it: the HTML and the PDF are opened and read."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import io
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import jinja2
import numpy as np
import pytest
from pypdf import PdfReader

from medcompare.base.language import in_language
from medcompare.report import render
from medcompare.report.pages import report as context
from medcompare.report.pages.data import data_section
from medcompare.report.pages.methods import methods_section, trend_section
from medcompare.report.pages.model import model_section
from medcompare.report.pages.report import build_context
from medcompare.report.pdf import render_pdf
from medcompare.report.printing import HTML_NAME
from medcompare.report.results import read_results
from medcompare.report.vocabulary import view_of
from medcompare.stats.in_detail import Shortcut
from medcompare.stats.records import Estimate, Outcome
from tests.report import odd_runs
from tests.report.sample import (
    SENTENCE,
    make_assessment,
    make_checklist,
    make_hard_cases,
    make_inputs,
    make_seeds,
    make_trend,
)

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.report.inputs import ReportFiles, ReportInputs

HOSTILE = 'A & B <script>alert("x")</script> {{ 7 * 7 }}'
POINTS_PER_MM = 72 / 25.4


class Reader(HTMLParser):
    """Collects what a checker of accessibility and self-containment looks at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.skipped = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Headings, images and every address."""
        self.tags.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "img":
            self.images.append(dict(attrs))
        self.addresses += [v for k, v in attrs if k in {"src", "href"} and v is not None]
        self.skipped += tag in {"style", "script"}

    def handle_endtag(self, tag: str) -> None:
        """Leave the style sheet or the script."""
        self.skipped -= tag in {"style", "script"}

    def handle_data(self, data: str) -> None:
        """Words on the page."""
        if not self.skipped:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All words with single spaces."""
        return " ".join(" ".join(self.words).split())


def html_of(inputs: ReportInputs) -> Reader:
    """Read the rendered HTML of `inputs`."""
    return Reader(render.render_html(build_context(inputs)))


def page_one_of(inputs: ReportInputs) -> context.PageOne:
    """Page one alone, without drawing the other pages."""
    return context._page_one(view_of(inputs))


def flat(text: str) -> str:
    """Text of a PDF without line breaks."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    """A whole synthetic run of two models, with trend and a checklist."""
    assessment = make_assessment()
    return make_inputs(
        assessment=assessment, trend=make_trend(assessment), changes=("Data: 10 images more.",),
        checklists=(make_checklist(12),),
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    """Its three files."""
    return render.write_report(inputs, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def pdf(files: ReportFiles) -> PdfReader:
    """Its PDF, opened."""
    return PdfReader(files.pdf)


@pytest.fixture(scope="module")
def texts(pdf: PdfReader) -> list[str]:
    """Text of its pages, without line breaks."""
    return [flat(sheet.extract_text()) for sheet in pdf.pages]


@pytest.fixture(scope="module")
def page(files: ReportFiles) -> Reader:
    """Its HTML, read."""
    return Reader(files.html.read_text(encoding="utf-8"))


def test_pdf_has_a_sensible_length(texts: list[str], files: ReportFiles) -> None:
    """Eight pages and more, and no more than it was made to need; no blank one."""
    assert files.n_pages == len(texts)
    assert 8 <= len(texts) <= 13
    assert min(len(text) for text in texts) > 150


def test_page_one_carries_verdict_numbers_limits_and_rule(texts: list[str], inputs: ReportInputs) -> None:
    """A reader who stops after page one has all that is needed to act, or not to."""
    first = texts[0]

    assert SENTENCE in first
    for evaluation in inputs.assessment.evaluations:
        auc, found = evaluation.metrics["auc"], evaluation.metrics["sensitivity"]
        assert f"{auc.value:.3f} ({auc.ci_low:.3f} to {auc.ci_high:.3f})" in first
        assert f"{100 * found.value:.1f} ({100 * found.ci_low:.1f} to {100 * found.ci_high:.1f})" in first
    for caveat in inputs.assessment.verdict.caveats:
        assert caveat in first
    assert first.index(SENTENCE) < first.index("What it means") < first.index("What limits this")
    assert first.index("What limits this") < first.index("Approved by")
    assert "1 Data and split" not in first
    assert "Margin, sensitivity 0.05 user" in texts[1]
    assert "not clinically justified" in texts[1]


def test_words_of_figures_are_text(texts: list[str], page: Reader) -> None:
    """They can be searched and copied: axes, legends and numbers."""
    for words in (
        "Observed share of positives",
        "Call everyone positive",
        "Threshold probability (preference)",
    ):
        assert words in " ".join(texts)
        assert words in page.text


def test_pdf_says_synthetic_on_every_page(texts: list[str]) -> None:
    """No page can be taken for a result on patients."""
    assert all("Synthetic demonstration data" in text for text in texts)


def test_pages_are_numbered_and_named(texts: list[str], inputs: ReportInputs) -> None:
    """Every page has its number and the run."""
    for number, text in enumerate(texts, start=1):
        assert f"Page {number} of {len(texts)}" in text
        assert inputs.run_name in text


def test_pdf_holds_both_confusion_matrices(texts: list[str], inputs: ReportInputs) -> None:
    """All eight counts stand together below their heading, with row percentages."""
    text = " ".join(texts)
    matrices = text[text.index("Confusion matrices") : text.index("Scores", text.index("Confusion matrices"))]

    for evaluation in inputs.assessment.evaluations:
        counts = evaluation.confusion
        for count in counts.model_dump().values():
            assert re.search(rf"\b{count}\b", matrices)
        share = f"{100 * counts.true_positive / evaluation.n_positive:.1f}"
        assert share in matrices


def test_checklists_are_gaps_in_the_pdf_and_a_table_beside_it(
    files: ReportFiles, inputs: ReportInputs, pdf: PdfReader, texts: list[str]
) -> None:
    """Only what is missing is printed; the table has every item, word for word, in the run folder and in the PDF."""
    content = (files.pdf.parent / "checklists.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    [checklist] = inputs.checklists

    assert pdf.attachments["checklists.csv"] == [content]
    assert [(row["item"], row["status"], row["answer"]) for row in rows] == [
        (item.number, item.status, item.answer) for item in checklist.items
    ]
    chapter = " ".join(texts).partition("What a person still has to add")[2]
    missing = [item.number for item in checklist.items if item.status == "missing"]
    assert re.findall(r"C (\d+)", chapter.replace("\u00a0", " ")) == missing != []
    assert chapter.count("Say where the data came from") == 1


def test_only_settings_that_are_no_defaults_are_printed(page: Reader, inputs: ReportInputs) -> None:
    """With their number; results.json has all."""
    defaults = [row.field for row in inputs.settings if row.set_by == "default"]
    others = [row.field for row in inputs.settings if row.set_by != "default"]

    assert f"{len(defaults)} settings are at their defaults" in page.text
    assert all(field in page.text for field in others)
    assert not any(f" {field} " in page.text for field in defaults)


def test_the_first_run_has_no_chapter_on_time() -> None:
    """There is nothing to compare it with."""
    first = make_inputs(trend=(), changes=("This is the first recorded run of its series.",))

    assert trend_section(view_of(first), 6) is None


def test_pdf_fonts_are_embedded(pdf: PdfReader) -> None:
    """Only our own fonts are used, and all travel with the file."""
    fonts = {}
    for sheet in pdf.pages:
        for reference in sheet["/Resources"].get("/Font", {}).values():
            font = reference.get_object()
            descendant = font["/DescendantFonts"][0].get_object()
            descriptor = descendant["/FontDescriptor"].get_object()
            fonts[str(font["/BaseFont"])] = any(f"/FontFile{kind}" in descriptor for kind in ("", "2", "3"))

    assert fonts
    assert all(fonts.values())
    assert all("Report" in name for name in fonts)


def test_pdf_metadata_and_outline(pdf: PdfReader, inputs: ReportInputs) -> None:
    """Title, author and date of the run; one bookmark per section."""
    assert pdf.metadata is not None
    assert pdf.metadata.title == f"{inputs.title}: {inputs.run_name}"
    assert pdf.metadata.author == inputs.organisation
    assert str(pdf.metadata.get("/CreationDate")).startswith("D:20261122")
    titles = [item["/Title"] for item in pdf.outline if not isinstance(item, list)]
    assert titles[0] == inputs.assessment.verdict.headline
    assert "Head to head" in " ".join(str(title) for title in titles)
    assert titles[1:3] == ["Contents", "The decision rule"]
    assert len(titles) == 11


def test_contents_name_the_page_of_every_chapter(pdf: PdfReader, texts: list[str]) -> None:
    """Each entry links to the page whose number it prints, where the chapter begins and the header names it."""
    links = {
        str(annotation["/Dest"])
        for reference in pdf.pages[1]["/Annots"]
        if (annotation := reference.get_object())["/Subtype"] == "/Link"
    }
    contents = texts[1].partition("The decision rule")[2].partition("0 Is the comparison valid")[0]
    entries = re.findall(r"(\d [A-Z][^.]+?) ?\.[. ]*(\d+)", contents)
    assert links >= {"verdict", "rule", "comparison", "methods"}
    assert len(links) == len(entries) + 2 == 10
    for name, number in entries:
        assert name in texts[int(number) - 1]
    assert "1 Data and split" in texts[1]
    assert "2 Head to head" in texts[2]
    assert "Table 1. What it means" in texts[0]
    numbers = [int(n) for n in re.findall(r"(?<!see )Table (\d+)\. ", " ".join(texts))]
    assert numbers == list(range(1, len(numbers) + 1))
    figures = [int(n) for n in re.findall(r"Figure (\d+)\. ", " ".join(texts))]
    assert figures == list(range(1, len(figures) + 1))


def test_pdf_refers_to_nothing_outside(pdf: PdfReader) -> None:
    """No link, no action and no file that leads out of the document."""
    for sheet in pdf.pages:
        for annotation in sheet.get("/Annots", []):
            assert "/URI" not in annotation.get_object().get("/A", {})


def test_html_is_self_contained(page: Reader, files: ReportFiles) -> None:
    """Every address is embedded data or a place on the page; one script, the one that the policy names."""
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert page.tags.count("script") == 1
    script = files.html.read_text(encoding="utf-8").partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in files.html.read_text(encoding="utf-8")
    assert not re.search(r"fetch|XMLHttp|WebSocket|import|localStorage|innerHTML|eval\(", script)
    assert "link" not in page.tags
    style = files.html.read_text(encoding="utf-8").partition("<style>")[2].partition("</style>")[0]
    assert re.findall(r"url\((?!data:)", style) == []
    assert "@import" not in style


def test_html_is_accessible(page: Reader) -> None:
    """One first-level heading, no level skipped, and words for every picture."""
    assert page.levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.levels, page.levels[1:], strict=False))
    assert page.images
    assert all(image.get("alt") for image in page.images)


def test_no_python_words_reach_the_reader(page: Reader) -> None:
    """What is missing is said in words."""
    assert not re.search(r"\b(None|nan|NaN)\b", page.text)


def test_html_prints_differences_with_true_minus(page: Reader, inputs: ReportInputs) -> None:
    """Candidate minus reference, signed, with its interval."""
    difference = inputs.assessment.comparisons[0].differences["specificity"]
    assert difference.value is not None
    expected = f"{difference.value:+.3f}".replace("-", "\u2212")
    low = f"{difference.ci_low:+.3f}".replace("-", "\u2212")

    assert f"{expected} ({low} to" in page.text


def test_results_stand_beside_the_report(files: ReportFiles, inputs: ReportInputs) -> None:
    """The numbers of the run, readable again."""
    assert read_results(files.results).full_assessment() == inputs.assessment


def test_hostile_text_is_text() -> None:
    """Markup in a title, a class or a file name is shown, not obeyed."""
    inputs = make_inputs(title=HOSTILE, organisation=HOSTILE, notices=(HOSTILE,), run_name="<b>run</b>")

    hostile = html_of(inputs)

    assert hostile.tags.count("script") == 1
    assert "b" not in hostile.tags
    assert hostile.text.count(HOSTILE) >= 3


def test_undefined_figures_are_words_with_a_reason() -> None:
    """A PPV that does not exist reads "not estimable", and the note says why."""
    read = html_of(make_inputs(assessment=make_assessment(undefined=True)))

    assert read.text.count("not estimable") >= 4
    assert "No case was predicted positive." in read.text
    assert not re.search(r"\b(None|nan)\b", read.text)


@pytest.mark.parametrize("outcome", [Outcome.INVALID, Outcome.NOT_ENOUGH_DATA])
def test_no_verdict_never_looks_like_one(outcome: Outcome) -> None:
    """An open outcome is labelled so, with favourite and size needed where they are known."""
    page_one = page_one_of(make_inputs(assessment=make_assessment(outcome=outcome)))

    assert not page_one.decided
    assert page_one.outcome != "Recommendation"
    if outcome is Outcome.NOT_ENOUGH_DATA:
        assert "If you had to decide today: ResNet-50" in page_one.extras[0]
        assert "About 630 cancer and 950 non_cancer cases" in page_one.next_steps[0]
    else:
        assert page_one.extras == page_one.next_steps == ()


@pytest.mark.parametrize("others", [("usual",), ("usual", "better")])
def test_constant_output_is_said_once(others: tuple[str, ...]) -> None:
    """A collapsed model is named with the verdict or among its limits, and not in a notice of the report's own."""
    y_true = odd_runs.truth(160, 70)
    scores = odd_runs.scores_of(y_true, dict(zip(others, (2.2, 3.0), strict=False)))
    scores["flat"] = np.full(y_true.size, 0.4)

    page = page_one_of(odd_runs.inputs_of(odd_runs.cases(y_true, scores)))

    said = [page.headline, page.sentence, *page.extras, *page.notices, *page.caveats]
    assert sum(bool(re.search("flat (gives|gave) .*the same (score|output)", text)) for text in said) == 1
    assert not any("flat" in notice for notice in page.notices)


def test_one_model_on_letter_paper() -> None:
    """Predictions supplied, one model, scores no probabilities, no costs: still a whole report."""
    assessment = make_assessment(n=120, n_models=1, probabilities=False, costs=False, subgroups=False)
    inputs = make_inputs(
        full=False,
        assessment=assessment,
        paper="Letter",
        synthetic=False,
        settings=(),
        score_distributions=(),
    )

    html = render.render_html(build_context(inputs))
    document = PdfReader(io.BytesIO(render_pdf(html)[0]))
    read = Reader(html)

    box = document.pages[0].mediabox
    assert (float(box.width), float(box.height)) == pytest.approx((612, 792), abs=1)
    assert all("Synthetic" not in sheet.extract_text() for sheet in document.pages)
    assert "The scores are not probabilities, so calibration and net benefit have no meaning" in read.text
    assert "No cost was measured or supplied" in read.text
    assert "The distribution of the scores was not recorded" in read.text
    assert "Head to head" not in read.text


def test_five_models_with_long_names() -> None:
    """All pairs, adjusted p-values, the favourite against the others on page one."""
    assessment = make_assessment(n=150, n_models=5, subgroups=False)
    verdict = assessment.verdict.model_copy(update={"reference": None, "candidate": None})
    inputs = make_inputs(assessment=assessment.model_copy(update={"verdict": verdict}), thumbnails=False)

    built = build_context(inputs)
    read = Reader(render.render_html(built))

    [table] = built.page_one.tables
    assert len(table.rows) == 5
    assert sum(bool(cell.svg) for row in table.rows for cell in row) == 4
    assert "p adjusted" in read.text
    assert "An ensemble of seven transformers with a name nobody could shorten" in read.text
    assert re.search(r"(missed|false alarm) by [^.]+, [^.]+ and ", read.text)


def test_seeds_long_lists_and_images_in_their_places() -> None:
    """Seeds have their figure, long lists of rejected files end with the methods."""
    assessment = make_assessment()
    seeds = assessment.model_copy(update={"seeds": make_seeds(assessment)})
    inputs = make_inputs(assessment=seeds)
    few = make_inputs(rejected=inputs.rejected[:3], assessment=seeds)
    many = make_inputs(rejected=inputs.rejected * 10, assessment=seeds)

    assert "Training seeds" in repr(model_section(view_of(inputs), 3).blocks)
    assert "listed at the end of the methods section" in repr(data_section(view_of(inputs), 1).blocks)
    assert "image file is truncated" in repr(data_section(view_of(few), 1).blocks)
    assert "80 more are in results.json" in repr(methods_section(view_of(many), 6).blocks)


def test_shortcuts_are_tabulated_beside_the_networks(inputs: ReportInputs) -> None:
    """AUC of each trivial model, what each network reaches more, and what a careless split would seem to gain."""
    half = Estimate(value=0.612, ci_low=0.55, ci_high=0.67, method="DeLong")
    more = Estimate(value=0.1, ci_low=0.05, ci_high=0.15, method="DeLong")
    models = inputs.assessment.models
    easy = Shortcut(
        kind="colours",
        auc=half,
        auc_test=half,
        differences=dict.fromkeys(models, more),
        careless_difference=more,
    )
    with_one = inputs.model_copy(
        update={"assessment": inputs.assessment.model_copy(update={"shortcuts": (easy,)})}
    )

    [found] = [
        block
        for block in data_section(view_of(with_one), 1).blocks
        if block.kind == "table" and block.caption == "Trivial models"
    ]
    assert [[f"{cell.text} {cell.interval}".strip() for cell in row] for row in found.rows] == [
        ["Colours: how many pixels of each", "0.612 (0.550 to 0.670)", *["+0.100 (+0.050 to +0.150)"] * 3]
    ]
    assert [column.head for column in found.columns[1:]] == [
        "AUC", *(f"{inputs.assessment.display_names[model]} more" for model in models), "Careless split more",
    ]  # fmt: skip
    assert "Trivial models" not in repr(data_section(view_of(inputs), 1).blocks)


def test_characteristics_are_tabulated_per_subset(inputs: ReportInputs) -> None:
    """Who is in which subset: counts, shares and quartiles; columns without a table are named (B13)."""
    section = data_section(view_of(inputs), 1)

    [table] = [
        block
        for block in section.blocks
        if block.kind == "table" and "Images that are cancer / all" in block.caption
    ]
    assert [[f"{cell.text} {cell.interval}".strip() for cell in row] for row in table.rows] == [
        ["sex: female", "275 / 675 (57.2%)", "40 / 100 (59.2%)", "77 / 180 (52.9%)", "0.05", "0.02"],
        ["sex: male", "195 / 495 (41.9%)", "28 / 69 (40.8%)", "58 / 158 (46.5%)", "", ""],
        ["sex: not given", "5 / 11 (0.9%)", "0 / 0 (0.0%)", "2 / 2 (0.6%)", "", ""],
        ["age, median (quartiles)", "63.0 (51.0 to 71.5)", "none given", "62.0 (50.0 to 72.0)", "", ""],
    ]
    assert [column.head for column in table.columns[1:]] == [
        "Training (n = 1,181)", "Validation (n = 169)", "Test (n = 340)", "Test, training", "Classes",
    ]  # fmt: skip
    assert "Not tabulated: site." in repr(section.blocks)
    assert "Characteristics of the subsets" not in repr(
        data_section(view_of(inputs.model_copy(update={"manifest": None, "split": None})), 1).blocks
    )


def test_data_section_says_what_is_known_of_patients(inputs: ReportInputs) -> None:
    """Three cases: no ids, one image each, several images each."""

    def told(n_patients: int | None, *, clustered: bool) -> str:
        assessment = inputs.assessment.model_copy(update={"n_patients": n_patients, "clustered": clustered})
        return repr(data_section(view_of(inputs.model_copy(update={"assessment": assessment})), 1).blocks)

    assert "No patient ids were given: all intervals assume one image per patient. If" in told(
        None, clustered=False
    )
    assert "The test subset holds 500 patients, one case each." in told(500, clustered=False)
    for text in (told(500, clustered=False), told(118, clustered=True)):
        assert "No patient ids" not in text
        assert "assume one image" not in text


def test_hard_cases_in_words() -> None:
    """Who missed what is said; the cut of a long list as well."""
    assessment = make_assessment()
    cases = make_hard_cases(assessment, thumbnails=False)

    read = html_of(make_inputs(hard_cases=cases, n_hard_cases=71))

    assert f"Of 71 cases that at least one model misclassified, shown: {len(cases)} (" in read.text
    assert "missed by both models" in read.text
    assert "false alarm by ResNet-50" in read.text


def test_template_refuses_what_the_context_lacks() -> None:
    """A misspelt field is an error, not an empty line on page one."""
    environment = render.template_environment()
    with pytest.raises(jinja2.UndefinedError, match="has no attribute 'verdct'"):
        environment.from_string("{{ report.verdct }}").render(report=page_one_of(make_inputs()))


def test_templates_do_no_arithmetic() -> None:
    """Numbers are finished before a template sees them."""
    for path in render.TEMPLATES.glob("*.j2"):
        for expression in re.findall(r"{[{%](.*?)[}%]}", path.read_text(encoding="utf-8")):
            without_strings = re.sub(r"'[^']*'", "", expression).strip("- ")
            assert not re.search(r"[*/%]|\d\s*[-+]|\|\s*(round|format|abs|sum)", without_strings), (
                f"{path.name}: {expression}"
            )


@pytest.mark.parametrize("address", ["https://example.org/a.png", "file:///etc/hostname"])
def test_pdf_loads_nothing(address: str) -> None:
    """A picture from elsewhere stops the rendering, be it a server or a file."""
    with pytest.raises(render.ReportError, match=r"must not load .*: everything has to be embedded"):
        render_pdf(f"<p>text</p><img src='{address}' alt='x'>")


def test_missing_templates_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An incomplete installation says what is missing."""
    monkeypatch.setattr(render, "TEMPLATES", tmp_path)
    with pytest.raises(render.ReportError, match=r"report\.html\.j2 is missing"):
        render.template_environment()


def test_failed_render_leaves_nothing(tmp_path: Path) -> None:
    """A number that is not finite stops before the first file."""
    assessment = make_assessment().model_copy(update={"prevalence": float("nan")})
    with pytest.raises(ValueError, match="not a finite number"):
        render.write_report(make_inputs(assessment=assessment), tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_failed_write_leaves_no_report(tmp_path: Path) -> None:
    """Where the HTML cannot be written, the results go again."""
    (tmp_path / HTML_NAME / "in the way").mkdir(parents=True)
    assessment = make_assessment(n=120, n_models=1, probabilities=False, costs=False, subgroups=False)
    with pytest.raises(OSError, match=r"report\.html"):
        render.write_report(make_inputs(full=False, assessment=assessment, settings=()), tmp_path)

    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_context_is_made_of_finished_words() -> None:
    """No float stands in the context except widths in millimetres."""
    built = build_context(make_inputs())

    def numbers(value: object, name: str) -> list[str]:
        if dataclasses.is_dataclass(value):
            return [n for f in dataclasses.fields(value) for n in numbers(getattr(value, f.name), f.name)]
        if isinstance(value, tuple):
            return [n for item in value for n in numbers(item, name)]
        return [name] if isinstance(value, float) else []

    assert set(numbers(built, "")) == {"width_mm"}


def test_page_and_counters_are_in_the_language_spoken() -> None:
    """The language of the document, the words around counters, and a class name that no rule may hyphenate."""
    with in_language("de"):
        html = render.render_html(build_context(make_inputs(full=False)))
    assert '<html lang="de">' in html
    assert 'content: "Seite " counter(page) " von " counter(pages) "";' in html
    assert 'caption::before { content: "Tabelle " counter(table) ". "; }' in html
    assert ">Zurück zum Inhalt<" in html
