"""Programs in the background: started, watched until they answer, stopped, and never mistaken.

Each program leads a process group of its own, writes to a log of its own and leaves a pid
file. A pid file is believed only while a process of that number has the same command line
and began when the file says: numbers are given out again, and files outlive a power cut.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from medcompare.base.artifacts import write_atomically
from medcompare.base.errors import MedcompareError
from medcompare.base.file_access import open_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

LOOPBACK = "127.0.0.1"
CLOCK_TOLERANCE_S = 60.0
"""The clock may be set while a program runs, and its time of start moves with it."""
POLL_S = 0.2
TAIL_LINES = 15


class BackgroundError(MedcompareError):
    """A program in the background did not start, or stands in the way."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program in the background.

    Parameters
    ----------
    name : str
        Plain word, also the name of its files.
    command : tuple of str
        Program and arguments.
    folder : Path
        Where pid file and log go.
    cwd : Path
        Its working folder.
    environment : mapping of str to str
        Its whole environment.
    port : int, optional
        The port it listens on.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    cwd: Path
    environment: Mapping[str, str] = field(repr=False)
    port: int | None = None

    @property
    def pid_file(self) -> Path:
        """File with the process id, the time of start and the command line."""
        return self.folder / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """File that receives its output."""
        return self.folder / f"{self.name}.log"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a pid file says."""

    pid: int
    created: float
    command: tuple[str, ...]
    port: int | None


def read_pid_file(path: Path) -> Recorded | None:
    """Content of a pid file; None where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Recorded(
            pid=int(found["pid"]),
            created=float(found["created"]),
            command=tuple(str(word) for word in found["command"]),
            port=None if found["port"] is None else int(found["port"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        return None


def running_process(path: Path) -> tuple[psutil.Process, Recorded] | None:
    """The live process that the pid file at `path` means; None where it is gone or another's number.

    Parameters
    ----------
    path : Path
        The pid file.

    Returns
    -------
    tuple of Process and Recorded, or None
        None also for a process that has ended and only waits for its parent.
    """
    recorded = read_pid_file(path)
    if recorded is None:
        return None
    try:
        process = psutil.Process(recorded.pid)
        with process.oneshot():
            ended = process.status() == psutil.STATUS_ZOMBIE
            same_start = abs(process.create_time() - recorded.created) <= CLOCK_TOLERANCE_S
            # The first word may differ: an interpreter may start itself anew under another path.
            same_command = tuple(process.cmdline()[1:]) == recorded.command[1:]
    except psutil.Error:
        return None
    return (process, recorded) if same_start and same_command and not ended else None


def start_program(program: Program) -> psutil.Process:
    """Start `program` in a session of its own, with its output in its log.

    The log of the last time, which may tell why it ended, is kept beside it as ``.log.1``.

    Raises
    ------
    BackgroundError
        If the command cannot be started, or has ended at once.
    """
    program.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        program.log.replace(program.log.with_suffix(".log.1"))
    try:
        with program.log.open("ab") as log:
            # Nobody waits for it here: it outlives this process.
            child = subprocess.Popen(  # noqa: S603 - commands of our own
                program.command,
                cwd=program.cwd,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        msg = f"{program.name}: {program.command[0]} cannot be started ({error.strerror or error})"
        raise BackgroundError(msg) from None
    try:
        process = psutil.Process(child.pid)
        created = process.create_time()
    except psutil.Error:
        msg = f"{program.name} ended at once; the end of {program.log}:\n{tail(program.log)}"
        raise BackgroundError(msg) from None
    record = {"pid": child.pid, "created": created, "command": program.command, "port": program.port}
    write_atomically(program.pid_file, (json.dumps(record) + "\n").encode())
    return process


def wait_until(
    program: Program, process: psutil.Process, is_ready: Callable[[], bool], *, timeout_s: float
) -> None:
    """Wait until `is_ready`, while `process` lives.

    Raises
    ------
    BackgroundError
        With the end of its log, if it ended, or did not answer within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not is_ready():
        if not _alive(process):
            msg = f"{program.name} ended while it started; the end of {program.log}:\n{tail(program.log)}"
            raise BackgroundError(msg)
        if time.monotonic() > deadline:
            msg = (
                f"{program.name} did not answer within {timeout_s:.0f} seconds; "
                f"the end of {program.log}:\n{tail(program.log)}"
            )
            raise BackgroundError(msg)
        time.sleep(POLL_S)


def stop_program(pid_file: Path, *, grace_s: float, kill_group_s: float = 5.0) -> str | None:
    """Stop the program of `pid_file` and everything in its process group, then remove the file.

    SIGTERM first; what still lives after `grace_s` seconds, descendants in other process groups
    included, is killed.

    Parameters
    ----------
    pid_file : Path
        Written by `start_program`.
    grace_s : float
        Seconds to end by itself.
    kill_group_s : float
        Seconds to wait for the killed to disappear.

    Returns
    -------
    str or None
        What happened, in plain words; None where nothing ran.

    Raises
    ------
    BackgroundError
        If a process lives on although it was killed.
    """
    running = running_process(pid_file)
    if running is None:
        stale = pid_file.exists()
        pid_file.unlink(missing_ok=True)
        return "was not running; its old pid file is gone" if stale else None
    process, recorded = running
    family = _family(process)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    _, alive = psutil.wait_procs([process], timeout=grace_s)
    # Asked again: it may have started others meanwhile, and orphans keep its process group.
    _kill(
        {one for one in {*family, *_family(process), *_group(recorded.pid)} if _alive(one)},
        wait_s=kill_group_s,
    )
    pid_file.unlink(missing_ok=True)
    how = f"killed after {grace_s:.0f} s" if alive else "ended"
    return f"process {recorded.pid} {how}"


def end_processes(processes: Sequence[psutil.Process], *, grace_s: float) -> None:
    """End `processes` and all they started: SIGTERM first, SIGKILL after `grace_s` seconds.

    Raises
    ------
    BackgroundError
        If a process lives on although it was killed.
    """
    families = {one for process in processes for one in _family(process)}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(processes, timeout=grace_s)
    _kill({one for one in families if _alive(one)}, wait_s=5.0)


def _kill(processes: set[psutil.Process], *, wait_s: float) -> None:
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    _, waited_for = psutil.wait_procs(processes, timeout=wait_s)
    # A dead orphan that nobody collects, as in a container without an init, does no harm.
    immortal = [one for one in waited_for if _alive(one)]
    if immortal:
        msg = f"process {', '.join(str(one.pid) for one in immortal)} cannot be ended: look at it with ps"
        raise BackgroundError(msg)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _group(leader: int) -> list[psutil.Process]:
    """Living processes of the session that `leader` began."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def tail(path: Path, *, n_lines: int = TAIL_LINES) -> str:
    """The last lines of a log, each indented."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"    (no log: {error.strerror})"
    return "\n".join(f"    {line}" for line in lines[-n_lines:]) or "    (nothing was written)"


def port_is_free(port: int) -> bool:
    """Whether a program can listen on `port` of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As servers do: connections that are just being closed do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def who_listens(port: int) -> str:
    """The program that listens on `port`, as far as the system tells this user."""
    with contextlib.suppress(psutil.Error, PermissionError):
        for connection in psutil.net_connections(kind="inet"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}"
    return "another program"


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold `folder` alone; freed by the kernel when this process ends, however it ends.

    Raises
    ------
    BackgroundError
        If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(folder / ".lock")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = "another make serve or make serve-stop is at work in this folder: wait until it has ended"
            raise BackgroundError(msg) from None
        yield
    finally:
        os.close(descriptor)


def run_to_end(program: Program, *, timeout_s: float) -> None:
    """Run `program` in the foreground until it ends, with its output in its log.

    Raises
    ------
    BackgroundError
        If its exit status is not 0, or it takes longer than `timeout_s` seconds.
    """
    program.folder.mkdir(parents=True, exist_ok=True)
    try:
        with program.log.open("wb") as log:
            code = subprocess.run(  # noqa: S603 - commands of our own
                program.command,
                cwd=program.cwd,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            ).returncode
    except subprocess.TimeoutExpired:
        msg = f"{program.name} took longer than {timeout_s:.0f} seconds; the end of {program.log}:\n{tail(program.log)}"
        raise BackgroundError(msg) from None
    if code:
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with status {code}"
        msg = f"{program.name} {ended}; the end of {program.log}:\n{tail(program.log)}"
        raise BackgroundError(msg)
