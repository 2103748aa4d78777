"""A process that has imported torch once and is copied for every job: a start takes milliseconds, not seconds.

`multiprocessing` has the same idea, but imports the program's main module, here Prefect, into every copy,
and gives all of them one environment and one standard output. macOS ends copies of a process
that used its own libraries, so there, and where no copy can be had, each job gets a new interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

from medcompare.base.code_identity import importing_this_code

if TYPE_CHECKING:
    from collections.abc import Mapping

IDLE_S = 600.0
"""Without a job for so long the process ends, to give its memory back; the next job starts another."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""For the process that is copied: only a process of one thread may be. Jobs set their own number of threads."""
_N_PIPES = 4

logger = logging.getLogger(__name__)


class Copy:
    """A copied process: what `subprocess.Popen` has of it, as far as it is used here."""

    def __init__(self, pipes: list[int], timeout_s: float | None) -> None:
        stdin, stdout, stderr, self._status = pipes
        self.stdin: IO[bytes] = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] = os.fdopen(stdout, "rb")
        self.stderr: IO[bytes] = os.fdopen(stderr, "rb")
        self._said = b""
        self._lock = threading.Lock()
        self.returncode: int | None = None
        if select.select([self._status], [], [], timeout_s)[0]:
            self._read()
        if not self._said.startswith(b"pid "):
            for pipe in (self.stdin, self.stdout, self.stderr):
                pipe.close()
            os.close(self._status)
            raise ConnectionResetError
        self.pid = int(self._said.split()[1])

    def poll(self) -> int | None:
        """Exit status as `subprocess` has it, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status.

        Raises
        ------
        subprocess.TimeoutExpired
            After `timeout` seconds.
        """
        with self._lock:
            if self.returncode is None:
                if not select.select([self._status], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
                self._read()
                _, _, ended = self._said.partition(b"exit ")
                # Where the process that would say it was killed itself, the copy is ended too.
                self.returncode = int(ended) if ended else -signal.SIGKILL
                os.close(self._status)
            return self.returncode

    def _read(self) -> None:
        self._said += os.read(self._status, 64)


Process = subprocess.Popen[bytes] | Copy

_servers: dict[tuple[str, str], tuple[subprocess.Popen[bytes], socket.socket]] = {}
_lock = threading.Lock()


def start_process(
    module: str, job: str, environment: Mapping[str, str], *, timeout_s: float | None = None
) -> Process:
    """Start job `job` of `module` in a process and a process group of its own.

    Parameters
    ----------
    module : str
        Module with a mapping ``JOBS``, and perhaps a tuple ``IMPORTED_ONCE`` of modules that its jobs import;
        its main calls `medcompare.training.worker.child.serve`.
    job : str
        Which of its jobs.
    environment : mapping
        All variables of the new process; they may not change where modules are imported from.
    timeout_s : float, optional
        How long the process to be copied may take to import what it imports, seconds.

    Returns
    -------
    subprocess.Popen or Copy
        With pipes to its standard input, output and error.
    """
    environment = importing_this_code(environment)
    if sys.platform == "linux":
        try:
            return _copied(module, job, environment, timeout_s)
        except OSError as error:
            logger.debug("no copy of a started process for %s: %s", job, error)
    return subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
        # -P: a file in the working folder must not shadow a library.
        [sys.executable, "-P", "-m", module, job],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=environment,
    )


def prepare(module: str) -> None:
    """Let a process import what the jobs of `module` need, where it can be copied: a job then begins at once."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError), _lock:
            _server(module, importing_this_code(os.environ))


def _copied(module: str, job: str, environment: Mapping[str, str], timeout_s: float | None) -> Copy:
    """Copy the process that has imported `module`, which is started where there is none.

    Raises
    ------
    OSError
        If it cannot be started or has ended.
    """
    pipes = [os.pipe() for _ in range(_N_PIPES)]
    ours = [pipes[0][1], *(pipe[0] for pipe in pipes[1:])]
    theirs = [pipes[0][0], *(pipe[1] for pipe in pipes[1:])]
    try:
        with _lock:
            control = _server(module, environment)
            socket.send_fds(control, [b"+"], theirs)
    except OSError:
        for end in ours:
            os.close(end)
        raise
    finally:
        for end in theirs:
            os.close(end)
    copy = Copy(ours, timeout_s)
    order = {"job": job, "environment": dict(environment), "folder": str(Path.cwd()), "umask": _umask()}
    with contextlib.suppress(BrokenPipeError):  # its exit status tells
        copy.stdin.write(json.dumps(order).encode() + b"\n")
        copy.stdin.flush()
    return copy


def _umask() -> int:
    """Of this process; `os.umask` could only tell by changing it, for all threads."""
    found = re.search(r"^Umask:\s*(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:  # Linux before 4.7
        raise FileNotFoundError
    return int(found[1], 8)


def _server(module: str, environment: Mapping[str, str]) -> socket.socket:
    key = module, environment["PYTHONPATH"]
    if key in _servers and _servers[key][0].poll() is not None:
        _servers.pop(key)[1].close()
    if key not in _servers:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
                [
                    sys.executable,
                    "-P",
                    "-c",
                    f"from {__package__}.child import wait_for_jobs as f; f({module!r})",
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the parent, which ends the jobs
                env={**environment, **ONE_THREAD},
            )
        _servers[key] = process, ours
    return _servers[key][1]


@atexit.register
def end_servers() -> None:
    """End the processes that wait to be copied; they end by themselves where this one is killed."""
    with _lock:
        while _servers:
            process, control = _servers.popitem()[1]
            control.close()
            process.wait()


def serve_copies(module: str) -> str | None:
    """Import `module` and what it names, then copy this process whenever asked, until the asker ends.

    Returns
    -------
    str, optional
        In each copy, the job to do; None in the process itself, at its end.
    """
    for name in (module, *getattr(importlib.import_module(module), "IMPORTED_ONCE", ())):
        importlib.import_module(name)
    gc.freeze()  # a collection in a copy would write to, and so double, the memory that they share
    control = socket.socket(fileno=os.dup(0))
    wake, ended = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # where all processes of a job get it, the copies save themselves
    signal.set_wakeup_fd(ended)
    statuses: dict[int, int] = {}
    while ready := select.select([control.fileno(), wake], [], [], None if statuses else IDLE_S)[0]:
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 1 << 10)
            _tell_who_ended(statuses)
        if control.fileno() in ready:
            message, pipes, _, _ = socket.recv_fds(control, 1, _N_PIPES)
            if not message:
                break
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                for other in (wake, ended, control.detach(), *statuses.values()):
                    os.close(other)
                return _become_the_job(pipes)
            for pipe in pipes[:3]:
                os.close(pipe)
            statuses[pid] = pipes[3]
    return None


def _become_the_job(pipes: list[int]) -> str:
    os.setsid()
    for number, pipe in enumerate(pipes[:3]):
        os.dup2(pipe, number)
        os.close(pipe)
    os.write(pipes[3], b"pid %d\n" % os.getpid())
    os.close(pipes[3])
    order = b""
    while not order.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            os._exit(1)
        order += part
    asked = json.loads(order)
    os.environ.clear()
    os.environ.update(asked["environment"])
    tempfile.tempdir = None  # chosen anew, from TMPDIR
    os.chdir(asked["folder"])
    os.umask(asked["umask"])
    return str(asked["job"])


def _tell_who_ended(statuses: dict[int, int]) -> None:
    for pid in list(statuses):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            with os.fdopen(statuses.pop(pid), "wb", 0) as pipe, contextlib.suppress(BrokenPipeError):
                pipe.write(b"exit %d\n" % os.waitstatus_to_exitcode(status))
