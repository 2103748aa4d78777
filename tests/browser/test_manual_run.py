"""A run started by hand from Prefect's page: the form, what it refuses, and what the run leaves to read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from flows.serving import ask
from medcompare.config.presets import DEMO
from medcompare.config.schema import CompareConfig

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from pathlib import Path

    from tests.browser.pages import Pages

# Bringing everything up and the one real run are part of the first tests that ask for them.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

SECTIONS = ("data", "split", "train", "tune", "evaluate", "decide", "cost", "report")
TYPED = {
    "data.demo.n_patients": 40,
    "data.demo.image_size_px": 64,
    "train.image_size_px": 32,
    "train.epochs": 1,
    "train.batch_size": 16,
    "evaluate.n_resamples": 500,
    "cost.n_repeats": 10,
}
KEYS = {"verdict", "data", "figures", "report", "training-resnet50", "training-efficientnet-b0"}
RUN_LIMIT_S = 480


def filled_by_a_preset() -> list[str]:
    """Dotted names of the plain fields that a preset fills."""
    names = [
        f"{section}.{name}" if isinstance(values, dict) else section
        for section, values in DEMO.items()
        for name in (values if isinstance(values, dict) else [section])
    ]
    return [
        name for name in names if name != "train.recipes"
    ]  # merged with the preset's, not put in its place


def fetch(address: str) -> HTTPResponse:
    """Answer of a web page of ours."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answer: HTTPResponse = opener.open(address, timeout=20)
    return answer


# --- the form --------------------------------------------------------------------------------------


def test_the_form_shows_every_section_with_its_meaning(pages: Pages) -> None:
    """Folded at first; unfolded, each has all its fields, and each field its description."""
    pages.open_form()
    pages.shot("01-form")
    assert len(pages.all("input, textarea, select")) < 20
    names = {
        f"{section}.{name}": field.description
        for section in SECTIONS
        for name, field in CompareConfig.model_fields[section].annotation.model_fields.items()  # type: ignore[union-attr]
    }

    for name in names:
        pages.field(name)
    shown = " ".join(pages.text().split())
    pages.shot("01-form-unfolded")

    sections = [CompareConfig.model_fields[section].description for section in SECTIONS]
    assert [text for text in (*sections, *names.values()) if text.split("\n")[0] not in shown] == []  # type: ignore[union-attr]


def test_what_is_one_of_several_is_a_drop_down(pages: Pages) -> None:
    """Nothing has to be known by heart."""
    pages.open_form()

    assert pages.choices("preset") == ["published", "tuned", "quick", "demo"]
    assert pages.choices("train.device") == ["auto", "cpu", "cuda", "mps"]
    assert pages.choices("evaluate.threshold_rule") == [
        "target_sensitivity",
        "youden",
        "fixed",
        "cost_ratio",
    ]
    assert pages.choices("decide.guard") == ["strict", "veto"]
    assert pages.choices("report.paper") == ["A4", "Letter"]


def test_what_a_preset_fills_is_empty(pages: Pages) -> None:
    """What the form shows it sends: a default shown there would override the preset."""
    pages.open_form()

    assert {name: pages.value(name) for name in ("preset", *filled_by_a_preset())} == dict.fromkeys(
        ("preset", *filled_by_a_preset()), ""
    )
    assert pages.value("data.source") == "demo"


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "typed", "reason"),
    [
        ("train.epochs", "0", "0 is less than the minimum of 1"),
        ("split.test_fraction", "2", "2 is greater than or equal to the maximum of 0.9"),
    ],
)
def test_a_value_out_of_range_makes_no_run(pages: Pages, name: str, typed: str, reason: str) -> None:
    """The page names field, value and limit, and the form stays as it was filled in."""
    before = ask(pages.place, "/flow_runs/count", {})
    pages.open_form()
    pages.type(name, typed)
    pages.submit()

    pages.wait_for_text(f"Validation failed for field 'config.{name}'. Failure reason: {reason}")
    pages.shot(f"02-refused-{name}")
    assert pages.value(name) == typed
    assert ask(pages.place, "/flow_runs/count", {}) == before


@pytest.mark.parametrize(
    ("values", "validate"),
    [
        ({"train.image_size_px": "64", "train.resize_px": "32"}, True),
        ({"train.epochs": "0"}, False),
    ],
    ids=["fields that contradict each other", "the form's own check switched off"],
)
def test_what_the_form_lets_through_fails_at_once(
    pages: Pages, copy_of_checkout: Path, values: dict[str, str], *, validate: bool
) -> None:
    """Before any work, with the sentence of the command line."""
    options = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "flows.compare", *options],
        cwd=copy_of_checkout,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    sentence = done.stderr.strip().splitlines()[-1].removeprefix("error: ")
    assert (done.returncode, [name for name in values if name.split(".")[1] in sentence]) == (2, [*values])

    pages.open_form()
    for name, value in values.items():
        pages.type(name, value)
    if not validate:
        pages.click(pages.all("input[type=checkbox].p-checkbox__input")[0])
    run = pages.submitted_run()

    assert pages.wait_for_end(seconds=90) == "Failed"
    assert "Traceback" not in pages.wait_for_text(sentence)
    pages.shot(f"03-failed-{'contradiction' if validate else 'unchecked'}-logs")
    pages.open_tab("Details")
    pages.wait_for_text("State Message")
    pages.shot(f"03-failed-{'contradiction' if validate else 'unchecked'}-details")
    # The page cuts long messages: the server's is asked.
    found = ask(pages.place, f"/flow_runs/{run}")
    assert found["state"]["message"].endswith(sentence)
    assert found["total_run_time"] < 30
    tasks = ask(pages.place, "/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    assert [one["name"] for one in tasks] == ["mail"]  # which looks whether anybody wants to hear of it


# --- a run -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(pages: Pages) -> str:
    """Id of a small real run, started with the form and followed on its page to its end."""
    pages.open_form()
    for name, value in TYPED.items():
        pages.type(name, str(value))
    pages.choose("train.initial_weights", "none")
    pages.shot("04-filled-in")
    run_id = pages.submitted_run()
    # Nobody loads a page again: it follows the run by itself.
    ended = pages.wait_for_end_in_list(run_id, seconds=RUN_LIMIT_S)
    pages.shot("05-ended")
    assert ended == "Completed"
    return run_id


@pytest.fixture
def page(pages: Pages, run: str) -> Pages:
    """The page of the run that has ended."""
    pages.open_run(run)
    pages.wait_for_end(seconds=30)
    return pages


@pytest.fixture(scope="module")
def folder(run: str, copy_of_checkout: Path) -> Path:
    """The folder that the run has written."""
    folders = (path for path in (copy_of_checkout / "runs").iterdir() if not path.is_symlink())
    found = [path for path in folders if (path / "report.pdf").is_file()]
    assert len(found) == 1, f"run {run} is the only one that has a report: {found}"
    return found[0]


@pytest.fixture(scope="module")
def headline(folder: Path) -> str:
    """The recommendation, as the results of the run word it."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return str(results["assessment"]["verdict"]["headline"])


def test_the_run_does_what_was_typed_and_the_preset_the_rest(pages: Pages, run: str, folder: Path) -> None:
    """A field left empty is not sent; the preset fills it."""
    sent = ask(pages.place, f"/flow_runs/{run}")["parameters"]["config"]
    used = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    for name, value in TYPED.items():
        inside_sent, inside_used = sent, used
        for part in name.split("."):
            inside_sent, inside_used = inside_sent[part], inside_used[part]
        assert (inside_sent, inside_used) == (value, value), name
    assert "preset" not in sent
    assert used["preset"] == "demo"
    for name in ("patience", "crop_scale_min"):
        assert name not in sent["train"]
        assert used["train"][name] == DEMO["train"][name]
    assert used["train"]["recipes"]["resnet50"]["learning_rate"] == 5e-4
    assert used["models"] == ["resnet50", "efficientnet_b0"]


def test_name_and_tags_say_what_ran(page: Pages) -> None:
    """Who started it, when, and on which images."""
    heading = page.all(".page-heading-flow-run")[0].text.splitlines()

    assert [line for line in heading if re.fullmatch(r"manual \d{4}-\d\d-\d\d \d\d:\d\d demo", line)]
    assert {"demo", "manual"} <= set(heading)
    page.shot("06-run")


def test_the_recommendation_stands_beside_the_state(page: Pages, headline: str) -> None:
    """Without opening anything else."""
    page.open_tab("Details")
    shown = page.wait_for_text("State Message").split("State Message\n")[1]
    page.shot("07-details")

    message = shown.splitlines()[0].removesuffix(" See More").removesuffix("...")
    assert message
    assert headline.startswith(message)


def test_the_logs_tell_the_story(page: Pages, headline: str) -> None:
    """Images, every epoch, the classification report of each model, the recommendation."""
    page.open_tab("Logs")
    shown = page.wait_for_text(f"verdict: {headline}")
    page.shot("08-logs")

    assert re.search(r"\d+ files found, \d+ usable .* of 40 patients", shown)
    for model in ("ResNet-50", "EfficientNet-B0"):
        assert re.search(rf"{model} epoch 1 of 1, training loss [\d.]+, validation loss [\d.]+", shown)
        report = shown[shown.index(f"{model} on the test subset, at threshold") :]
        assert re.match(r".*\n +precision +recall +F1 +cases\nnon_cancer +[-\d.]+ +[\d.]+", report)
        assert "true cancer" in report
    assert "Traceback" not in shown
    # Costs measured on a busy machine are doubted; nothing else is.
    assert shown.count("WARNING") == len(re.findall(r"per image, \d+ passes; (?:cut short|disturbed)", shown))


def test_the_tab_lists_what_there_is_to_read(page: Pages) -> None:
    """Recommendation, data, pictures, report, and how far each training came."""
    found = page.artifacts()
    page.shot("09-artifacts")

    assert set(found) == KEYS
    for key in (key for key in KEYS if key.startswith("training")):
        page.driver.get(found[key])
        # Words and bar come with answers of their own.
        page.wait_for_text("epoch 1 of 1")
        page.wait_for_text("Progress: 100%")
        page.shot(f"10-{key}")


def test_the_recommendation_has_a_page(page: Pages, folder: Path, headline: str) -> None:
    """Headline, warnings, the table of key figures, and a link to the report that opens."""
    page.driver.get(page.artifacts()["verdict"])
    shown = page.wait_for_text("What it means: values with 95% confidence intervals")
    page.shot("11-verdict")

    assert page.all("h1")[0].text == headline
    assert "The images are synthetic" in shown
    table = [[cell.text for cell in row.find_elements("css selector", "th, td")] for row in page.all("tr")]
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    compared = bool(results["assessment"]["comparisons"])
    assert table[0][:3] == ["Test subset", "ResNet-50", "EfficientNet-B0"]
    assert table[0][3] == ("Difference (CI)" if compared else "Required of the interval")
    rows = {row[0]: row[1:] for row in table[1:]}
    assert {"Found, of 100 cancer images", "False alarms, of 100 non_cancer images", "AUC"} <= rows.keys()
    assert all(re.fullmatch(r"[01]\.\d{3} \([01]\.\d{3} to [01]\.\d{3}\)", text) for text in rows["AUC"][:2])
    auc = [one["metrics"]["auc"]["value"] for one in results["assessment"]["evaluations"]]
    assert [text.split()[0] for text in rows["AUC"][:2]] == [f"{value:.3f}" for value in auc]

    link = page.driver.find_element("partial link text", "PDF").get_property("href")
    with fetch(str(link)) as answer:
        assert (answer.status, answer.headers.get_content_type()) == (200, "application/pdf")
        content = answer.read()
    assert content[:5] == b"%PDF-"
    assert content == (folder / "report.pdf").read_bytes()


def test_the_link_to_the_report_is_an_artifact_too(page: Pages) -> None:
    """For whoever looks for a file, not for words."""
    page.driver.get(page.artifacts()["report"])
    page.wait_for_text("Report (PDF)")
    page.shot("12-report")

    link = page.driver.find_element("link text", "Report (PDF)").get_property("href")
    with fetch(str(link)) as answer:
        assert answer.read(5) == b"%PDF-"


def test_the_pictures_are_drawn(page: Pages) -> None:
    """Curves and confusion matrices, on the page itself."""
    page.driver.get(page.artifacts()["figures"])
    page.wait_for_text("Confusion matrices")
    widths = "return [...document.querySelectorAll('article img')].map(i => i.complete ? i.naturalWidth : 0)"
    drawn = page.wait(
        lambda driver: len(found := driver.execute_script(widths)) == 2 and all(found) and found,
        "two pictures that have loaded",
    )
    page.shot("13-figures")

    assert min(drawn) > 300


def test_the_images_are_counted(page: Pages) -> None:
    """Found, excluded and used; the subsets as they came out."""
    page.driver.get(page.artifacts()["data"])
    shown = page.wait_for_text("Subsets")
    page.shot("14-data")

    assert re.search(r"^Patients 40$", shown, flags=re.MULTILINE)
    assert re.search(r"Subset\s+Training\s+Validation\s+Test\s", shown)
    assert re.search(r"^Images \d+ \d+ \d+$", shown, flags=re.MULTILINE)
