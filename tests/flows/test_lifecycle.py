"""A run in the history, on its page and beside the run before it; failed and crashed runs too."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.schemas.objects import StateType

from flows.lifecycle import RunLifecycle
from medcompare.base.code_identity import PACKAGE_ROOT
from medcompare.base.errors import ConfigError, DataError
from medcompare.base.formatting import format_estimate
from medcompare.cli.app import main
from medcompare.cli.running import print_result
from medcompare.cli.terminal import ExitStatus
from medcompare.runs.history import history_path, list_runs
from medcompare.stats.records import Estimate, Outcome
from tests.flows.conftest import set_mail_server
from tests.flows.small_runs import Done, logged, run, small_assessment, small_config
from tests.notify.mail_servers import Mailbox, mail_server

if TYPE_CHECKING:
    from medcompare.runs.summary import RunSummary
    from tests.flows.small_runs import Assessed, First

pytestmark = pytest.mark.timeout(900)  # real trainings, on a machine that may be busy


ROOT = Path(__file__).resolve().parents[2]


def results_of(done: Done) -> dict[str, Any]:
    """``results.json`` of a run."""
    found: dict[str, Any] = json.loads(Path(done.result.results).read_text())
    return found


def row_of(done: Done, store: Path) -> RunSummary:
    """The run in the history."""
    [row] = [one for one in list_runs(history_path(store)) if one.run_id == str(done.flow_run_id)]
    return row


def one_class_only(images: Path) -> Path:
    """`images` without one of the classes."""
    for path in (images / "non_cancer").iterdir():
        path.unlink()
    (images / "non_cancer").rmdir()
    return images


@pytest.fixture(scope="module")
def second(first: First, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """The next run on a copy of the store, with another margin, and asked for a random split; and its store."""
    root = tmp_path_factory.mktemp("second")
    images = first.copy(root)
    changes = {"decide": {"margin_auc": 0.05}, "split": {"test_fraction": 0.3, "random_beside": True}}
    return run(small_config(images, root, **changes)), root / "store"


def test_the_run_is_found_by_name_tag_and_verdict(first: First) -> None:
    """What the list of runs shows: flow, day and data set; the verdict beside the state."""
    headline = results_of(first)["assessment"]["verdict"]["headline"]
    on_server = first.run

    assert on_server.expected_start_time is not None
    started = on_server.expected_start_time.astimezone()
    assert on_server.name == f"compare {started:%Y-%m-%d %H:%M} two-classes"
    assert on_server.tags == ["two-classes"]
    assert on_server.state is not None
    assert (on_server.state.name, on_server.state.message) == ("Completed", headline)
    assert first.result.headline == headline


def test_the_page_of_the_run_shows_the_figures_of_the_report(first: First) -> None:
    """Verdict, data and pictures as Markdown; the progress of both trainings ends at the last epoch."""
    results, artifacts = results_of(first), first.artifacts

    assert set(artifacts) == {
        "verdict",
        "data",
        "figures",
        "training-test-cnn",
        "training-efficientnet-b0",
    }
    assert {key: [one.type for one in found] for key, found in artifacts.items()} == {
        key: ["progress" if key.startswith("training-") else "markdown"] for key in artifacts
    }
    verdict = str(artifacts["verdict"][0].data)
    assert verdict.startswith(f"# {results['assessment']['verdict']['headline']}\n")
    for model in results["assessment"]["evaluations"]:
        # Where an interval has a note, its letter follows.
        assert f"| {format_estimate(Estimate(**model['metrics']['auc']))} " in verdict
    assert first.result.pdf in verdict
    data = str(artifacts["data"][0].data)
    assert "| Files found | 80 |\n| Usable images | 80 |" in data
    assert "| Subset | Training | Validation | Test |" in data
    assert "| Images | 49 | 7 | 24 |" in data
    assert str(artifacts["figures"][0].data).count("(data:image/svg+xml;base64,") == 2
    for trained in results["trained"]:
        [bar] = artifacts[f"training-{trained['model'].replace('_', '-')}"]
        last = trained["history"][-1]
        assert bar.data == 100 * last["epoch"] / 2
        assert f"epoch {last['epoch']} of 2" in str(bar.description)
        assert f"validation AUC {last['val_auc']:.3f}" in str(bar.description)


def test_a_link_is_shown_where_somebody_serves_the_runs(first: First, odd: Assessed) -> None:
    """The address stands on the page and as an artifact of its own; the place on the machine does not."""
    link = "https://reports.example/One%20night/report.pdf"

    assert f"**[Open the report (PDF)]({link})**" in str(odd.artifacts["verdict"][0].data)
    assert str(odd.artifacts["report"][0].data) == f"[Report (PDF)]({link})"
    assert str(odd.root) not in str(odd.artifacts["verdict"][0].data)
    row = row_of(odd, odd.root / "store")
    assert odd.run.name == "One night"  # as its settings ask for
    assert (row.kind, row.status, row.series) == ("assess", "completed", "assess predictions_test")
    # Recomputed from the supplied table alone: the same figures as the run that made it.
    auc = {one["model"]: one["metrics"]["auc"] for one in results_of(first)["assessment"]["evaluations"]}
    assert {one.model: one.auc.value for one in row.models} == {
        model: pytest.approx(value["value"], abs=1e-12) for model, value in auc.items()
    }


def test_how_tables_were_read_stands_in_the_report(unmailed: Assessed) -> None:
    """An example of the documentation, and a patient under another spelling: said in log, methods and on page one."""
    results = results_of(unmailed)
    assert results["assessment"]["notes"][-5:] == [
        "Test table: cells are separated by semicolons.",
        "Test table: column 'Patient' was taken as patient_id.",
        "Test table: models: resnet50, efficientnet_b0.",
        "Test table: numbers have a decimal comma.",
        "Validation table: models: resnet50, efficientnet_b0.",
    ]
    assert any(text.startswith("One patient seems to stand in both tables") for text in results["notices"])
    html = Path(unmailed.result.html).read_text("utf-8")
    assert "3 patients, one case each" in html
    assert "No patient ids were" not in html
    assert "Test table: numbers have a decimal comma." in unmailed.log
    assert "One patient seems to stand in both tables" in unmailed.log


def test_the_history_remembers_what_the_report_says(first: First) -> None:
    """One row, with the verdict and every figure of ``results.json``."""
    results = results_of(first)
    [row] = list_runs(history_path(first.root / "store"))

    assert (row.run_id, row.status, row.series) == (
        str(first.flow_run_id),
        "completed",
        "compare two-classes",
    )
    assert row.verdict is not None
    assert row.verdict.headline == results["assessment"]["verdict"]["headline"]
    assert {one.model: one.auc.value for one in row.models} == {
        one["model"]: one["metrics"]["auc"]["value"] for one in results["assessment"]["evaluations"]
    }
    assert (row.n_images, row.n_positive, row.data_fingerprint) == (
        80,
        40,
        results["manifest"]["fingerprint"],
    )
    assert row.files is not None
    assert Path(row.files.pdf).read_bytes().startswith(b"%PDF")
    assert row.failure is None
    assert results["trend"] == []
    assert results["changes"] == [
        "This is the first recorded run of its series: there is nothing to compare it with."
    ]


def test_the_next_run_says_what_changed_and_that_the_test_images_were_seen(
    first: First, second: tuple[Done, Path]
) -> None:
    """Two runs in the trend; the changed margin is named; an earlier look is admitted to."""
    done, store = second
    results = results_of(done)

    assert len(results["trend"]) == len(results["trend_marks"]) == 2
    assert results["trend_marks"] == [[], ["configuration"]]
    data = results["data_changes"]
    assert (data["previous"], data["n_before"], data["n_after"]) == (first.result.run_name, 80, 80)
    assert (data["n_added"], data["n_removed"], data["n_relabelled"], data["drift"]) == (0, 0, 0, [])
    assert results_of(first)["data_changes"] is None
    changes = "\n".join(results["changes"])
    assert re.search(r"decide\.margin_auc.*0\.03.*0\.05", changes)
    [looks] = [text for text in results["notices"] if text.startswith("The same test images")]
    assert "evaluated in one earlier run with other settings" in looks
    assert not [text for text in results_of(first)["notices"] if text.startswith("The same test images")]
    page = str(done.artifacts["verdict"][0].data)
    assert "The same test images were evaluated in one earlier run" in page
    assert "## What changed since the previous run" in page
    assert [one.status for one in list_runs(history_path(store))] == ["completed", "completed"]


def test_a_random_split_of_single_images_is_no_other_split(second: tuple[Done, Path]) -> None:
    """Without patients and copies nothing is trained for it, and the report says why."""
    done, _ = second
    assessment = results_of(done)["assessment"]

    assert assessment["random_split"] == []
    assert assessment["notes"][-1].startswith("split.random_beside: no patients are known")
    assert {done.tasks[f"train {model}"] for model in ("test_cnn", "efficientnet_b0")} == {"Cached"}
    assert not [name for name in done.tasks if "random split" in name]


def test_a_failed_run_is_recorded_with_stage_and_cause(images: Path, tmp_path: Path) -> None:
    """One class only: the row says where, what and how to go on; nothing looks like a report."""
    done = run(small_config(one_class_only(images), tmp_path))

    with pytest.raises(DataError, match="one class only"):
        _ = done.result
    row = row_of(done, tmp_path / "store")
    assert (row.status, row.verdict, row.models, row.files) == ("failed", None, (), None)
    assert row.failure is not None
    assert (row.failure.stage, row.failure.kind) == ("checks before work", "DataError")
    assert "one class only" in row.failure.cause
    assert (
        row.failure.remedy
        == "Change the input or the setting that the log of the run names: the same input fails again."
    )
    assert done.run.state_type == StateType.FAILED
    assert done.artifacts == {}


def test_a_bad_parameter_reads_as_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong values of a deployment fail the run at once, without a traceback; history and mail tell of it."""
    mailbox, store = Mailbox(), tmp_path / "store"
    with mail_server(mailbox) as port:
        set_mail_server(monkeypatch, port, when="failure")
        done = run({"train": {"epochs": 0}, "out": str(tmp_path / "runs"), "store": str(store)})

    sentence = "train.epochs: input should be greater than or equal to 1 (given: 0)"
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        _ = done.result
    assert done.run.state is not None
    assert (done.run.state.name, done.run.state.message) == ("Failed", sentence)
    assert "Traceback" not in caplog.text
    assert done.tasks == {"mail": "Completed"}
    row = row_of(done, store)
    assert (row.status, row.series, row.data_name) == ("failed", "compare demo", "demo")
    assert row.failure is not None
    assert (row.failure.stage, row.failure.cause) == ("reading the settings", sentence)
    assert json.loads(row.config_json)["train"] == {"epochs": 0}
    [(_, message)] = mailbox.mails
    assert str(message["Subject"]) == "demo: the run failed in reading the settings"
    text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "ConfigError: a setting is wrong" in text
    assert "epochs" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_the_code_that_counts_is_in_the_row(first: First) -> None:
    """Digest of the package and the configuration as it was, without secrets."""
    [row] = list_runs(history_path(first.root / "store"))

    assert re.fullmatch("[0-9a-f]{64}", str(row.code_digest))
    assert json.loads(row.config_json)["evaluate"]["n_resamples"] == 200
    assert "smtp" not in row.model_dump_json().lower()
    assert PACKAGE_ROOT.name == "medcompare"


def test_a_wrong_web_address_costs_the_link_not_the_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The report exists by then: page and mail go out without a link, and the log names the variable."""
    monkeypatch.setenv("MEDCOMPARE_LINK_BASE", "javascript:alert(1)")

    assert RunLifecycle._link("one", "report.pdf") is None
    assert "MEDCOMPARE_LINK_BASE: 'javascript:alert(1)' is not an address" in caplog.text


def test_a_run_without_its_pdf_says_so_everywhere(
    first: First, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """State, page, history, mail and log; verdict and HTML are there, and one command makes the PDF."""
    mailbox, how = Mailbox(), "it passed its time limit"
    with mail_server(mailbox) as port, logged() as log:
        set_mail_server(monkeypatch, port)
        done = run(small_assessment(first, tmp_path, report={"pdf_time_limit_s": 0.01}))

    result = done.result
    assert done.run.state is not None
    assert done.run.state.is_completed()
    assert done.run.state.name == "Completed without PDF"
    assert done.run.state.message == f"{result.headline}. The run ended without a PDF: {how}"
    assert done.tasks == {
        "assess": "Completed",
        "report": "Completed",
        "publish": "Completed",
        "mail": "Completed",
    }
    assert result.pdf is None
    page = str(done.artifacts["verdict"][0].data)
    assert f"**The run ended without the PDF of its report**: {how}." in page
    assert f"The report lies at `{Path(result.html).absolute()}`" in page
    assert (
        "no PDF: making the PDF passed its time limit of 0.01 s and was ended; raise report.pdf_time_limit_s"
        in (log.getvalue())
    )
    row = row_of(done, tmp_path / "store")
    assert (row.status, row.no_pdf and row.no_pdf.how) == ("completed", how)
    [(_, message)] = mailbox.mails
    assert str(message["Subject"]).endswith("(no PDF)")
    assert list(message.iter_attachments()) == []

    # Where it ran, the terminal says it last, and a script sees it by the exit status.
    assert print_result(result) == ExitStatus.NO_PDF
    assert print_result(result, accepted=set(Outcome) - {result.outcome}) == ExitStatus.OTHER_VERDICT
    printed = capsys.readouterr()
    assert f"Report      {result.html}" in printed.out
    assert f"To make the PDF: medcompare pdf {result.folder}" in printed.err
    assert main(["pdf", result.folder]) == ExitStatus.SUCCESS
    assert main(["reproduce", f"{result.folder}/report.pdf"]) == ExitStatus.SUCCESS
    assert "numbers agree" in capsys.readouterr().out


PRINTING = """
import logging, sys
import flows
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging

setup_logging()
if sys.argv[1] == "prepared":
    from flows.lifecycle import ignore_broken_pipes

    ignore_broken_pipes()
get_logger("night").info("one line")
sys.stdin.readline()
for _ in range(2):
    get_logger("night").info("nobody reads this")
    logging.getLogger("medcompare.train").info("nor this")
print("went on")
"""


@pytest.mark.parametrize(("how", "ended"), [("prepared", (0, "went on\n")), ("as Prefect is", (1, ""))])
def test_lines_nobody_reads_end_nothing(how: str, ended: tuple[int, str]) -> None:
    """The other end of the pipe closes, as when a worker is killed; unprepared, the process ends there and then."""
    with subprocess.Popen(
        [sys.executable, "-c", PRINTING, how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert "one line" in process.stderr.readline()
        process.stderr.close()
        process.stdin.write("\n")
        process.stdin.close()
        printed = process.stdout.read()
        assert (process.wait(60), printed) == ended
