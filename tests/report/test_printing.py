"""The PDF in a process of its own: what is left and what is said where it takes too long, dies or cannot be written."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil
import pytest
from PIL import Image
from pypdf import PdfReader

from medcompare.base.errors import ConfigError, DiskFullError, MedcompareError, ReportError, TrainingError
from medcompare.cli.app import main
from medcompare.cli.terminal import ExitStatus
from medcompare.report import render
from medcompare.report.fonts import font_faces
from medcompare.report.pdf import render_pdf
from medcompare.report.printing import HTML_NAME, PDF_NAME, WAITING_NAME, Waiting, make_pdf
from medcompare.report.render import RESULTS_NAME
from medcompare.runs.evidence import AttachedFile
from medcompare.runs.result import NoPdf
from tests.conftest import PROJECT_ROOT
from tests.report.sample import make_assessment, make_inputs

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "<html lang=en><title>t</title><body><p>\u00e4 page, \U000f1234</p>"
MADE_AT = datetime(2026, 11, 27, 3, tzinfo=UTC)
TOO_MUCH = f"<html lang=en><title>t</title><body>{'<p>x</p>' * 100_000}"
"""Some 2,000 pages."""


def page_in(
    folder: Path, html: str = PAGE, attached: tuple[AttachedFile, ...] = (), lost: str = "\U000f1234"
) -> Path:
    """`folder` with a report that waits for its PDF."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HTML_NAME).write_bytes(html.encode())
    waiting = Waiting(attached=attached, made_at=MADE_AT, lost=lost)
    (folder / WAITING_NAME).write_text(waiting.model_dump_json())
    return folder


def names_in(folder: Path) -> set[str]:
    """Names of the files in `folder`."""
    return {path.name for path in folder.iterdir()}


def test_the_file_is_that_of_this_process(tmp_path: Path) -> None:
    """Byte for byte, whatever process makes it; nothing waits any more."""
    attached = (AttachedFile(name="a.csv", content=b"n\n1\n", about="a table"),)
    folder = page_in(tmp_path, attached=attached)
    expected, document = render_pdf(PAGE, attached, made_at=MADE_AT, lost="\U000f1234")

    assert make_pdf(folder, time_limit_s=300) == len(document.pages) == 1
    assert (folder / PDF_NAME).read_bytes() == expected
    assert names_in(folder) == {HTML_NAME, PDF_NAME}


def test_one_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is named; what there is stays, and nothing else: not the files that fonts are kept in meanwhile."""
    (aside := tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(aside))
    folder = page_in(tmp_path / "run", f"{TOO_MUCH}<style>{font_faces('x')}</style>")
    with pytest.raises(
        TrainingError, match=r"making the PDF passed its time limit of 2 s.*raise report\.pdf_time_limit_s"
    ) as caught:
        make_pdf(folder, time_limit_s=2)

    assert caught.value.how == "it passed its time limit"
    assert names_in(folder) == {HTML_NAME, WAITING_NAME}
    assert names_in(aside) == set()
    assert processes_below() == []


def test_a_limit_shorter_than_the_start_holds_too(tmp_path: Path) -> None:
    """It counts from the beginning, also while the process imports what it needs."""
    with pytest.raises(TrainingError, match=r"passed its time limit of 0\.01 s"):
        make_pdf(page_in(tmp_path), time_limit_s=0.01)


def processes_below(*, at_work_s: float = 0) -> list[int]:
    """The processes that make a PDF, and have worked so long: copies of the one that waits to be copied."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            at_work = process.status() != psutil.STATUS_ZOMBIE and process.cpu_times().user >= at_work_s
            if at_work and "medcompare.report.printing" in process.cmdline()[-1]:
                found.append((process.ppid(), process.pid))
    return [pid for parent, pid in found if parent != os.getpid()]


@pytest.mark.parametrize(
    ("number", "how", "words"),
    [
        (
            signal.SIGKILL,
            "its process was killed",
            r"SIGKILL \(.*memory: end other programs, or give .* more memory\)",
        ),
        (signal.SIGSEGV, "its process crashed", r"SIGSEGV \(a crash in native code\)"),
    ],
    ids=["killed", "crashed"],
)
def test_one_that_dies_is_told_with_its_signal(
    tmp_path: Path, number: signal.Signals, how: str, words: str
) -> None:
    """As when memory runs out, or a library in C crashes; no word of it speaks of trainings."""
    folder = page_in(tmp_path, TOO_MUCH)

    def end_it() -> None:
        # In the midst of the work: one that dies while it starts is replaced.
        while not (found := processes_below(at_work_s=0.3)):
            time.sleep(0.05)
        os.kill(found[0], number)

    ender = threading.Thread(target=end_it)
    ender.start()
    with pytest.raises(TrainingError, match=f"making the PDF was ended by {words}") as caught:
        make_pdf(folder, time_limit_s=300)
    ender.join()

    assert caught.value.how == how
    assert "train." not in str(caught.value)
    assert names_in(folder) == {HTML_NAME, WAITING_NAME}


def test_where_memory_runs_out_the_pdf_ends_and_not_the_run(small_memory: Path, tmp_path: Path) -> None:
    """For real, in a control group, where the run is larger; the PDF can be made once there is more."""
    picture = io.BytesIO()
    Image.new("RGB", (8_000, 8_000)).save(picture, "PNG")  # 200 MB once it is unpacked
    shown = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode('ascii')}"
    folder = page_in(tmp_path, f"<html lang=en><title>t</title><body><img alt=x src='{shown}'>")
    run = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
        from medcompare.base.errors import TrainingError
        from medcompare.report.printing import make_pdf
        held = b"x" * (220 << 20)
        try:
            make_pdf(Path(sys.argv[2]))
        except TrainingError as error:
            print(error.how, error, sep="; ")
    """)
    done = subprocess.run(
        [sys.executable, "-c", run, str(small_memory), str(folder)],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == (
        "its process was killed, as memory ran out; making the PDF was ended by SIGKILL (Linux ended it, as the memory "
        "of its container or service ran out: end other programs, or give the machine or container more memory)\n"
    ), done.stderr
    assert names_in(folder) == {HTML_NAME, WAITING_NAME}
    assert main(["pdf", str(folder)]) == ExitStatus.SUCCESS
    assert names_in(folder) == {HTML_NAME, PDF_NAME}


def test_what_is_not_embedded_is_named(tmp_path: Path) -> None:
    """The refusal of the other process arrives as it is."""
    folder = page_in(tmp_path, "<html lang=en><title>t</title><body><img src='file:///etc/hostname' alt='x'>")
    with pytest.raises(
        ReportError, match="must not load file:///etc/hostname: everything has to be embedded"
    ):
        make_pdf(folder)

    assert names_in(folder) == {HTML_NAME, WAITING_NAME}


def test_a_fault_of_the_software_shows_no_data(tmp_path: Path) -> None:
    """Class and place of the error, and nothing of what was worked on."""
    folder = page_in(tmp_path)
    (folder / HTML_NAME).write_bytes(b"Mustermann \xff")
    with pytest.raises(TrainingError, match="making the PDF failed: UnicodeDecodeError") as caught:
        make_pdf(folder)

    assert "Mustermann" not in str(caught.value)
    assert caught.value.how == "an unexpected error in the software"


def test_a_full_disk_is_named(small_disk: Path) -> None:
    """How much is free and needed; no part of a PDF stays."""
    text = "".join(
        random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMN", k=1_500_000)
    )
    attached = (AttachedFile(name="a.txt", content=text.encode(), about="what does not compress"),)
    folder = page_in(small_disk / "run", attached=attached)
    with pytest.raises(DiskFullError, match=r"the disk is full: .* MB are to be written there") as caught:
        make_pdf(folder)

    assert NoPdf.because_of(caught.value).how == "no space left on the disk"
    assert names_in(folder) == {HTML_NAME, WAITING_NAME}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (False, r"has no report\.html: name the folder of a run without a PDF"),
        (True, r"has no report-waiting\.json: its report\.pdf is made already"),
    ],
)
def test_a_folder_without_what_is_needed_is_refused(tmp_path: Path, made: bool, words: str) -> None:  # noqa: FBT001 - a parameter of the test
    """One that is no run, and one whose PDF is there."""
    if made:
        make_pdf(page_in(tmp_path))
    with pytest.raises(ConfigError, match=words):
        make_pdf(tmp_path)


def test_all_but_the_pdf_is_written(tmp_path: Path) -> None:
    """An older PDF in the place of the new one goes; the command makes the new one, with the evidence inside."""
    assessment = make_assessment(n=120, n_models=1, probabilities=False, costs=False, subgroups=False)
    (tmp_path / PDF_NAME).write_bytes(b"%PDF of yesterday")
    inputs = make_inputs(full=False, assessment=assessment, settings=())
    files = render.write_report(inputs, tmp_path, pdf_time_limit_s=0.01)

    assert (files.pdf, files.n_pages) == (None, None)
    assert files.no_pdf is not None
    assert files.no_pdf.how == "it passed its time limit"
    assert names_in(tmp_path) == {HTML_NAME, RESULTS_NAME, WAITING_NAME}

    assert main(["pdf", str(tmp_path)]) == ExitStatus.SUCCESS
    assert names_in(tmp_path) == {HTML_NAME, RESULTS_NAME, PDF_NAME}
    attached = PdfReader(tmp_path / PDF_NAME).attachments
    assert attached[RESULTS_NAME] == [(tmp_path / RESULTS_NAME).read_bytes()]


def test_the_command_says_why_it_made_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, and the exit status of a failure."""
    folder = page_in(tmp_path / "a run", TOO_MUCH)

    assert main(["pdf", str(folder), "--time-limit-s", "1"]) == ExitStatus.FAILURE
    assert "error: making the PDF passed its time limit of 1 s" in capsys.readouterr().err
    assert main(["reproduce", str(folder / PDF_NAME)]) == ExitStatus.BAD_INPUT
    assert (
        f"the run ended without its PDF, which has the evidence inside; medcompare pdf '{folder}' makes it"
        in (capsys.readouterr().err)
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(12, "No memory", "/mnt/Mustermann"), ("[Errno 12] Cannot allocate memory", "Cannot allocate memory")),
        (DiskFullError("the disk is full: 1 MB"), ("the disk is full: 1 MB", "no space left on the disk")),
        (ReportError("x.png", how="it refers"), ("x.png", "it refers")),
    ],
    ids=["system", "disk", "report"],
)  # fmt: skip
def test_the_short_reason_names_no_file(error: MedcompareError | OSError, expected: tuple[str, str]) -> None:
    """The long one is for the log, the short one for mails and pages."""
    found = NoPdf.because_of(error)

    assert (found.cause, found.how) == expected
