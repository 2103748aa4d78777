"""Nights in a row: begun, compared, recorded, mailed; and what happens when one goes wrong."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from medcompare.base.errors import DataError
from medcompare.notify.nightly import look_back, mail_about
from medcompare.notify.outbox import outbox_folder, waiting
from medcompare.report.figures.drawing import styles_of
from medcompare.report.trend import trend_figure, trend_marks, trend_runs
from medcompare.runs.history import history_path, list_runs, record_run, this_host
from medcompare.runs.summary import failed_run, failure_of
from medcompare.stats.records import Outcome
from tests.notify.mail_servers import Mailbox, config, free_port, mail_server
from tests.notify.sample_mails import PDF, attachments, body_text
from tests.runs.sample_runs import figures, summary, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.runs.summary import RunSummary

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """A report on the disk."""
    path = tmp_path / "report.pdf"
    path.write_bytes(PDF)
    return path


def _night(store: Path, run: RunSummary, port: int, pdf: Path, when: tuple[str, ...]) -> None:
    record_run(history_path(store), summary(int(run.run_id[4:]), status="running", host=this_host(), pid=1))
    context = look_back(store, run)
    record_run(history_path(store), run)
    mail_about(run, config(port, when=when), store, changes=context.changes, pdf=pdf, now=NOW)


def test_five_nights_of_changing_data(tmp_path: Path, pdf: Path) -> None:
    """Mail only on the first verdict and when it changes; the trend holds all five, with their causes."""
    not_enough = verdict(outcome=Outcome.NOT_ENOUGH_DATA, model=None, headline="Not enough data")
    nights = [
        summary(
            night,
            data_fingerprint=f"{min(night, 4):064d}",
            n_images=100 * min(night, 4),
            seed=int(night == 5),
            verdict=not_enough if night < 3 else verdict(),
            models=(figures("resnet50", "ResNet-50", 0.8 + 0.02 * night),),
        )
        for night in range(1, 6)
    ]
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        for run in nights:
            _night(tmp_path, run, port, pdf, ("verdict_change", "failure"))

    assert [str(message["Subject"]) for _, message in mailbox.mails] == [
        "oral: Not enough data",
        "oral: Prefer EfficientNet-B0 (verdict changed)",
    ]
    text = body_text(mailbox.mails[1][1])
    assert "Data: 200 → 300 images (+100)." in text
    assert "The verdict changed from “Not enough data” to “Prefer EfficientNet-B0”." in text
    assert list(attachments(mailbox.mails[0][1]).values()) == [PDF]

    context = look_back(tmp_path, nights[-1])
    assert context.changes.causes == ("seed",)
    assert [run.n_images for run in trend_runs(context.runs)] == [100, 200, 300, 400, 400]
    assert trend_marks(context.runs) == ((), ("data",), ("data",), ("data",), ("seed",))
    styles = styles_of(["resnet50"], {"resnet50": "ResNet-50"})
    assert (
        "over 5 runs" in trend_figure(trend_runs(context.runs), styles, marks=trend_marks(context.runs)).alt
    )


def test_a_failed_night_is_recorded_and_mailed_and_compared_over(tmp_path: Path, pdf: Path) -> None:
    """The failure is mailed with stage and kind; the next night is compared with the last good one."""
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        _night(tmp_path, summary(1), port, pdf, ("failure",))
        begun = summary(2, status="running", host=this_host(), pid=1)
        record_run(history_path(tmp_path), begun)
        failure = failure_of(DataError("/data/p_17/scan.png cannot be read: truncated file"), "ingest")
        failed = failed_run(begun, failure=failure, finished_at=NOW)
        record_run(history_path(tmp_path), failed)
        mail_about(failed, config(port, when=("failure",)), tmp_path, now=NOW)
        context = look_back(tmp_path, summary(3))

    [(_, message)] = mailbox.mails
    assert message["Subject"] == "oral: the run failed in ingest"
    assert "DataError: images, manifest or prediction table cannot be used" in body_text(message)
    assert context.changes.previous == summary(1).name
    assert [run.run_id for run in context.runs] == ["run-1", "run-3"]


def test_a_dead_mail_server_never_fails_a_night(
    tmp_path: Path, pdf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The mail waits and goes with the next night, also when that one is not to be mailed itself."""
    port = free_port()
    slow = config(port, when=("always",))
    record_run(history_path(tmp_path), summary(1))
    mail_about(summary(1), slow, tmp_path, pdf=pdf, now=NOW, pauses_s=(0.01,))
    assert len(waiting(outbox_folder(tmp_path))) == 1
    assert "wait in the outbox" in caplog.text

    mailbox = Mailbox()
    with mail_server(mailbox, port=port):
        quiet = config(port, when=("failure",))
        mail_about(summary(2), quiet, tmp_path, pdf=pdf, now=NOW + timedelta(days=1))

    assert waiting(outbox_folder(tmp_path)) == []
    assert len(mailbox.mails) == 1


def test_a_mail_that_cannot_be_kept_is_tried_without(
    tmp_path: Path, pdf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk does not keep its own news: the mail goes out once, whole, and nothing is on the disk."""
    outbox_folder(tmp_path).write_text("in the way, as a full disk would be")
    failure = failure_of(OSError(errno.ENOSPC, "of patient 4711"), "report")
    failed = failed_run(summary(2, status="running"), failure=failure, finished_at=NOW)
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        mail_about(summary(1), config(port), tmp_path, pdf=pdf, now=NOW)
        mail_about(failed, config(port), tmp_path, now=NOW)

    assert [str(message["Subject"]) for _, message in mailbox.mails] == [
        "oral: Prefer EfficientNet-B0",
        "oral: the run failed in report",
    ]
    assert mailbox.mails[0][0] == ("board@hospital.example", "chief@hospital.example")
    assert list(attachments(mailbox.mails[0][1]).values()) == [PDF]
    assert "No space left on device" in body_text(mailbox.mails[1][1])
    assert "4711" not in body_text(mailbox.mails[1][1])
    assert caplog.text.count("the mail is sent without being kept") == 2
    assert outbox_folder(tmp_path).read_text() == "in the way, as a full disk would be"


def test_neither_kept_nor_sent_fails_no_run(
    tmp_path: Path, pdf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No outbox and no server, or a report that is gone: logged, not raised."""
    outbox_folder(tmp_path).write_text("in the way")
    mail_about(summary(), config(free_port()), tmp_path, pdf=pdf, now=NOW, pauses_s=())
    assert "sent without being kept" in caplog.text

    outbox_folder(tmp_path).unlink()
    pdf.unlink()
    mail_about(summary(), config(free_port()), tmp_path, pdf=pdf, now=NOW, pauses_s=())
    assert "no mail was sent; the report is in the folder of the run" in caplog.text
    assert waiting(outbox_folder(tmp_path)) == []


def test_nothing_to_mail_and_no_outbox_is_quiet_to_the_server(tmp_path: Path, pdf: Path) -> None:
    """Where the settings ask for no mail about this run, none is tried either."""
    outbox_folder(tmp_path).mkdir()
    (outbox_folder(tmp_path) / ".lock").mkdir()  # cannot be opened for writing
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        quiet = config(port, when=("failure",))
        mail_about(summary(), quiet, tmp_path, pdf=pdf, now=NOW)

    assert mailbox.mails == []


def test_earlier_looks_at_the_same_test_images_are_counted(tmp_path: Path) -> None:
    """Once per different settings or code; the same again, other images, seeds, kinds and failures do not count."""
    other = {"train": {"epochs": 3}}
    for run in (
        summary(1),  # exactly as tonight
        summary(2, config=other),
        summary(3, config=other),  # the same look again
        summary(4, code_digest="d" * 64),
        summary(5, config={"seed": 7}, seed=7),
        summary(6, config={"x": 1}, data_fingerprint="e" * 64),
        summary(7, config={"x": 2}, kind="assess"),
        summary(8, config={"x": 3}, status="failed"),
        summary(9, config={"x": 4}, series="by hand"),  # another series looks at the same images
    ):
        record_run(history_path(tmp_path), run)

    assert look_back(tmp_path, summary(10)).n_earlier_looks == 3
    assert look_back(tmp_path, summary(10, config=other)).n_earlier_looks == 3
    assert look_back(tmp_path, summary(10, seed=7, config={"seed": 7})).n_earlier_looks == 0
    assert look_back(tmp_path, summary(10, data_fingerprint=None)).n_earlier_looks == 0


def test_another_split_of_the_same_images_is_no_earlier_look(tmp_path: Path) -> None:
    """The test images themselves decide where they are recorded, whatever else was changed or added."""
    for night, test_images in ((1, "a"), (2, "b")):
        run = summary(
            night, test_images=test_images, config={"night": night}, data_fingerprint=f"{night:064d}"
        )
        record_run(history_path(tmp_path), run)

    again = summary(3, test_images="a", data_fingerprint=f"{2:064d}")

    assert look_back(tmp_path, again).n_earlier_looks == 1
    assert look_back(tmp_path, again.model_copy(update={"test_images": "c"})).n_earlier_looks == 0


def test_the_begin_of_a_run_is_replaced_by_its_end(tmp_path: Path) -> None:
    """One run, one row."""
    record_run(history_path(tmp_path), summary(1, status="running", host=this_host(), pid=1))
    record_run(history_path(tmp_path), summary(1))

    assert [run.status for run in list_runs(history_path(tmp_path))] == ["completed"]
