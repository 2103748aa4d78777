"""Processes of our own: what they say, how they die, and that none is left behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from medcompare.base.errors import ArtifactError, ConfigError, DataError, DiskFullError, TrainingError
from medcompare.training.worker import causes
from medcompare.training.worker.child import all_ended, run_child, serve

ROOT = Path(__file__).resolve().parents[2]

JOBS = """
import json, logging, os, signal, subprocess, sys, tempfile, time
from medcompare.base import errors
from medcompare.training.worker.child import serve

def echo(request, emit):
    print("stray output of a library")
    emit({"event": "progress", "step": 1})
    logging.getLogger("medcompare.somewhere").warning("beware of %s", "dogs")
    return json.dumps({"asked": json.loads(request), "threads": os.environ.get("OMP_NUM_THREADS")})

def where(request, emit):
    umask = os.umask(0)
    return json.dumps([os.getcwd(), umask, tempfile.gettempdir(), os.getppid(), sorted(os.listdir("/proc/self/fd"))])

def fail(request, emit):
    name, message, options = json.loads(request)
    raise getattr(errors, name)(message, **options)

def crash(request, emit):
    {}["Mustermann 1957-03-01"]

def gpu(request, emit):
    raise RuntimeError(json.loads(request))

def disk(request, emit):
    found = json.loads(request)
    number = found["number"] if isinstance(found, dict) else found[0]
    raise OSError(number, os.strerror(number))

def die(request, emit):
    sys.stderr.write("last output\\n")
    sys.stderr.flush()
    os.kill(os.getpid(), json.loads(request))

def leave(request, emit):
    os._exit(7)

def family(request, emit):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    emit({"event": "progress", "pids": [os.getpid(), child.pid]})
    time.sleep(120)

def hog(request, emit):
    held = []
    while True:
        held.append(b"x" * (1 << 22))

def orphan(request, emit):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    emit({"event": "progress", "pids": [child.pid]})
    return "{}"

JOBS = dict(
    echo=echo, fail=fail, crash=crash, gpu=gpu, disk=disk, die=die, leave=leave, family=family, orphan=orphan,
    where=where, hog=hog,
)
if __name__ == "__main__":
    sys.exit(serve(JOBS, sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the jobs of these tests are found."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "sample_jobs.py").write_text(JOBS)
    return {"PYTHONPATH": str(folder)}


def alive(pid: int) -> bool:
    """Whether a process still runs (one that ended and waits to be collected does not)."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() != "" and not done.stdout.strip().startswith("Z")


def gone_soon(pids: list[int]) -> bool:
    """Whether all of `pids` end within a few seconds."""
    for _ in range(400):
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_result_events_and_logs_come_back(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """In the caller's thread; what a library prints disturbs nothing."""
    events: list[tuple[Any, int]] = []
    answer = run_child(
        "sample_jobs",
        "echo",
        json.dumps({"a": "ü"}),
        label="echo",
        on_event=lambda event: events.append((event, threading.get_ident())),
        environment={**environment, "OMP_NUM_THREADS": "3"},
    )

    assert json.loads(answer) == {"asked": {"a": "ü"}, "threads": "3"}
    assert events == [({"event": "progress", "step": 1}, threading.get_ident())]
    assert "beware of dogs" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every job gets a new interpreter")
def test_a_job_is_a_copy_in_the_callers_place(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by one process, which lives as long as the caller; with its folder, umask and nothing open but its pipes."""
    monkeypatch.chdir(tmp_path)
    os.umask(0o027)
    scratch = {**environment, "TMPDIR": str(tmp_path)}
    first, second = (
        json.loads(run_child("sample_jobs", "where", "{}", label="t", environment=scratch)) for _ in range(2)
    )

    assert first == second
    assert first[:3] == [str(tmp_path), 0o027, str(tmp_path)]
    # Its events have a pipe of their own; the last is the listing itself.
    assert len(first[4]) == 3 + 1 + 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every job gets a new interpreter")
def test_where_the_copied_process_is_killed_its_jobs_may_be_tried_again(environment: dict[str, str]) -> None:
    """As where they are killed themselves; the next job starts another process to copy, and the old job is gone."""
    pids: list[int] = []

    def kill(event: Any) -> None:
        pids.extend(event["pids"])
        os.kill(_parent_of(event["pids"][0]), signal.SIGKILL)

    with pytest.raises(TrainingError, match="SIGKILL") as caught:
        run_child("sample_jobs", "family", "{}", label="t", on_event=kill, environment=environment)

    assert caught.value.transient
    assert gone_soon(pids)
    assert run_child("sample_jobs", "orphan", "{}", label="t", environment=environment) == "{}"


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize(
    ("name", "options", "kind", "transient"),
    [
        ("DataError", {}, DataError, None),
        ("ArtifactError", {}, ArtifactError, None),
        ("TrainingError", {"transient": True}, TrainingError, True),
        ("TrainingError", {}, TrainingError, False),
    ],
)
def test_errors_keep_their_class(
    environment: dict[str, str], name: str, options: dict[str, bool], kind: type, *, transient: bool | None
) -> None:
    """So that the retry rule and the exit status see what happened."""
    with pytest.raises(kind, match=r"^image x is gone$") as caught:
        run_child(
            "sample_jobs",
            "fail",
            json.dumps([name, "image x is gone", options]),
            label="t",
            environment=environment,
        )
    assert getattr(caught.value, "transient", None) == transient


def test_an_unforeseen_error_is_reported_with_its_place_and_no_data(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Its class and where it was raised; what was being worked on stands neither there nor in the log."""
    with pytest.raises(
        TrainingError, match=r"(?s)t failed: KeyError\n.*in serve\n  sample_jobs, line \d+, in crash"
    ) as caught:
        run_child("sample_jobs", "crash", "{}", label="t", environment=environment)
    assert not caught.value.transient
    assert "Mustermann" not in str(caught.value) + caplog.text


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79 GiB of which 1 GiB is free.\nMore",
            r"^t failed: CUDA out of memory \(tried to allocate 2\.00 GiB\): lower train\.batch_size, [^\n]*$",
        ),
        (
            "CUDA error: all devices are busy\nMore",
            r"^t failed: CUDA error: all devices are busy: nvidia-smi [^\n]*$",
        ),
    ],
)
def test_what_a_gpu_says_is_kept(message: str, words: str, environment: dict[str, str]) -> None:
    """With a remedy, and worth another try: another program may have left the GPU by then."""
    with pytest.raises(TrainingError, match=words) as caught:
        run_child("sample_jobs", "gpu", json.dumps(message), label="t", environment=environment)
    assert caught.value.transient


def test_a_drive_that_is_gone_may_heal(environment: dict[str, str]) -> None:
    """Errors of the operating system are worth another try."""
    with pytest.raises(TrainingError, match="Host is down") as caught:
        run_child("sample_jobs", "disk", f"[{errno.EHOSTDOWN}]", label="t", environment=environment)
    assert caught.value.transient


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (
            errno.EROFS,
            ConfigError,
            r"cannot be written to \(Read-only file system\): let this user write there",
        ),
        (errno.ENOSPC, DiskFullError, r"the disk is full: .* MB free"),
    ],
)
def test_a_disk_that_takes_nothing_is_named_and_not_tried_again(
    environment: dict[str, str], tmp_path: Path, number: int, kind: type[Exception], words: str
) -> None:
    """The store of the request; neither error is worth another try at once."""
    request = json.dumps({"store_root": str(tmp_path), "number": number})
    with pytest.raises(kind, match=words) as caught:
        run_child("sample_jobs", "disk", request, label="t", environment=environment)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "ended by SIGKILL .*running out of memory"),
        (signal.SIGTERM, "ended by SIGTERM .*from outside"),
        (signal.SIGBUS, "ended by SIGBUS .*train.num_workers to 0"),
        (signal.SIGSEGV, "ended by SIGSEGV .*native code"),
    ],
)
def test_death_by_a_signal_names_it(environment: dict[str, str], number: int, words: str) -> None:
    """With a remedy and the last output; it may be tried again."""
    with pytest.raises(TrainingError, match=f"training of x was {words}.*last output") as caught:
        run_child("sample_jobs", "die", json.dumps(number), label="training of x", environment=environment)
    assert caught.value.transient


def test_an_exit_without_a_result_is_an_error(environment: dict[str, str]) -> None:
    """Even a silent one."""
    with pytest.raises(TrainingError, match="ended with exit status 7 and no result"):
        run_child("sample_jobs", "leave", "{}", label="t", environment=environment)


def test_an_unknown_job_is_refused(environment: dict[str, str]) -> None:
    """The known ones are listed."""
    with pytest.raises(TrainingError, match=r"exit status 2.*expected one job of echo, fail"):
        run_child("sample_jobs", "nonsense", "{}", label="t", environment=environment)


def test_a_module_that_cannot_start_says_why() -> None:
    """Its last output is in the message."""
    with pytest.raises(TrainingError, match="No module named"):
        run_child("no_such_module_at_all", "job", "{}", label="t")


def test_the_time_limit_kills_the_whole_family(environment: dict[str, str]) -> None:
    """Child and grandchild; the setting to change is named."""
    pids: list[int] = []
    with pytest.raises(
        TrainingError, match=r"passed its time limit of 2 s.*raise train\.timeout_minutes"
    ) as caught:
        run_child(
            "sample_jobs",
            "family",
            "{}",
            label="t",
            timeout_s=2,
            time_limit_name="train.timeout_minutes",
            on_event=lambda event: pids.extend(event["pids"]),
            environment=environment,
        )

    assert not caught.value.transient
    assert len(pids) == 2
    assert gone_soon(pids)


def test_a_grandchild_that_outlives_the_child_is_ended(environment: dict[str, str]) -> None:
    """It holds the pipe open, but neither delays the result nor survives it."""
    pids: list[int] = []
    started = time.monotonic()
    answer = run_child(
        "sample_jobs",
        "orphan",
        "{}",
        label="t",
        on_event=lambda event: pids.extend(event["pids"]),
        environment=environment,
    )

    assert answer == "{}"
    assert time.monotonic() - started < 10
    assert gone_soon(pids)


def test_an_error_of_the_callers_handler_ends_the_child(environment: dict[str, str]) -> None:
    """As a cancellation does that is raised while events are handled."""
    pids: list[int] = []

    def handler(event: Any) -> None:
        pids.extend(event["pids"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child("sample_jobs", "family", "{}", label="t", on_event=handler, environment=environment)
    assert gone_soon(pids)


def test_all_end_and_none_begins(environment: dict[str, str]) -> None:
    """From another thread, as on Ctrl-C; what was stopped is not tried again, and nothing is started meanwhile."""
    pids: list[int] = []
    failures: list[TrainingError] = []

    def work() -> None:
        try:
            run_child(
                "sample_jobs",
                "family",
                "{}",
                label="training of x",
                on_event=lambda event: pids.extend(event["pids"]),
                environment=environment,
            )
        except TrainingError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(pids) < 4:
        time.sleep(0.02)
    with all_ended() as count:
        for thread in threads:
            thread.join(timeout=20)
        with pytest.raises(TrainingError, match=r"^t was stopped$"):
            run_child("sample_jobs", "echo", "{}", label="t", environment=environment)

    assert count == 2
    assert [str(error) for error in failures] == ["training of x was stopped"] * 2
    assert not any(error.transient for error in failures)
    assert gone_soon(pids)
    with all_ended() as count:
        assert count == 0
    assert run_child("sample_jobs", "orphan", "{}", label="t", environment=environment) == "{}"


def test_a_child_does_not_outlive_its_parent(environment: dict[str, str], tmp_path: Path) -> None:
    """The parent is killed without a chance to clean up; child and grandchild end by themselves."""
    out = tmp_path / "pids"
    parent = textwrap.dedent(f"""
        import json
        from pathlib import Path
        from medcompare.training.worker.child import run_child
        run_child("sample_jobs", "family", "{{}}", label="t",
                  on_event=lambda event: Path({str(out)!r}).write_text(json.dumps(event["pids"]) + " "))
    """)
    paths = os.pathsep.join([str(ROOT), environment["PYTHONPATH"]])
    process = subprocess.Popen([sys.executable, "-c", parent], env={**os.environ, "PYTHONPATH": paths})
    while not (out.exists() and out.read_text().endswith(" ")):
        time.sleep(0.02)
    pids = json.loads(out.read_text())
    if sys.platform == "linux":
        pids.append(_parent_of(pids[0]))  # which is copied for every job
        assert pids[-1] != process.pid
    assert all(alive(pid) for pid in pids)
    process.kill()
    process.wait()

    assert gone_soon(pids)


def test_serve_wants_exactly_one_job(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, before anything is read."""
    assert serve({"a": lambda request, _: request}, []) == 2
    assert "expected one job of a" in capsys.readouterr().err


def test_a_kill_for_lack_of_memory_is_told_from_others() -> None:
    """Linux counts it: for certain in this container; else it is only likely."""
    words = causes.memory_ran_out
    counted = causes.oom_kills()
    if counted is None:
        pytest.skip("this system does not count kills for lack of memory")
    here, everywhere = counted

    assert words(None) == words(counted) == ""
    assert words((here - 1, 0)) == "Linux ended it, as the memory of its container or service ran out"
    assert words((here, everywhere - 1)) == "Linux ended a process of this machine, as memory ran out"


def test_what_the_system_ended_for_lack_of_memory_says_so(
    environment: dict[str, str], small_memory: Path
) -> None:
    """For real, in a control group: the cause for certain, what to lower, and that it may be tried again."""
    parent = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
        from medcompare.base.errors import TrainingError
        from medcompare.training.worker.child import run_child
        try:
            run_child("sample_jobs", "hog", "{}", label="training of x")
        except TrainingError as error:
            print(error.transient, error)
    """)
    paths = os.pathsep.join([str(ROOT), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", parent, str(small_memory)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == (
        "True training of x was ended by SIGKILL (Linux ended it, as the memory of its container or service ran out: "
        "lower train.batch_size, train.num_workers or train.max_parallel)\n"
    ), done.stderr


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("DataLoader worker (pid 4711) is killed by signal: Killed. ", "is killed by signal: Killed"),
        ("DataLoader worker (pid(s) 17, 18) exited unexpectedly", "exited unexpectedly"),
    ],
)
def test_a_loading_process_that_died_is_named(said: str, why: str) -> None:
    """In torch's words, with the setting to lower."""
    words = causes.words_of_loader(RuntimeError(said))

    assert words is not None
    assert words.startswith(f"a data-loading process ended ({why}), often for lack of memory")
    assert "train.num_workers" in words
    assert causes.words_of_loader(RuntimeError("something else")) is None
