"""Work in a process of its own: events come back, and it never outlives its parent.

A pool of `concurrent.futures` would not do: it has one environment for all its processes, whereas each
training gets thread counts and a scratch folder of its own; where a process is killed, it breaks as a
whole and loses what that process last said; and it leaves processes that load data running.
Prefect's context in a child would load Prefect there, and its logging would ask the server from every training.

The parent writes one line of JSON to the child's standard input and keeps the pipe
open; the child answers with one JSON object per line. When the pipe closes, because the
parent ended in whatever way, the child ends itself and all its own children. Each child
leads a process group, so that a time limit or Ctrl-C ends data-loading processes too.

SIGTERM is how a child is told to end: by the parent, after Ctrl-C, a cancellation or a SIGTERM of its own, or by
whoever ends all processes of a job. A training saves itself first (`medcompare.training.stopping`).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from medcompare.base import errors
from medcompare.base.errors import MedcompareError, TrainingError, UnexpectedError, redact
from medcompare.base.hardware import oom_kills
from medcompare.base.language import message
from medcompare.training.worker.causes import (
    LESS_MEMORY,
    death,
    memory_ran_out,
    store_of,
    words_of_device,
    words_of_loader,
)
from medcompare.training.worker.fork_server import serve_copies, start_process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

    from medcompare.training.worker.fork_server import Process

Event = Mapping[str, Any]
EventHandler = Callable[[Event], None]
Job = Callable[[str, EventHandler], str]
"""What a child does: request (JSON) and a way to send events in, result (JSON) out."""

POLL_S = 0.25
EXIT_GRACE_S = 15.0
STOP_GRACE_S = 20.0
"""For a step and a checkpoint. Kubernetes and SLURM kill after 30 s by default: the rest is for the run's record."""
STDERR_LINES = 30
logger = logging.getLogger(__name__)

_live: dict[int, Process] = {}
_stopped: set[int] = set()
_ending: list[bool] = []
_lock = threading.Lock()


def run_child(
    module: str,
    job: str,
    request: str,
    *,
    label: str,
    on_event: EventHandler | None = None,
    timeout_s: float | None = None,
    time_limit_name: str = "timeout_s",
    less_memory: str = LESS_MEMORY,
    environment: Mapping[str, str] | None = None,
    on_start: Callable[[int], None] | None = None,
) -> str:
    """Run ``python -m module job`` with `request` and return its result.

    Parameters
    ----------
    module : str
        Module whose main calls `serve`.
    job : str
        Which of its jobs.
    request : str
        JSON without line breaks.
    label : str
        Plain words for messages, e.g. ``training of resnet50``.
    on_event : callable, optional
        Called in this thread with every event but ``log`` (logged here), ``result`` and ``error``.
    timeout_s : float, optional
        Wall-clock limit, seconds; the whole process group is killed when it passes.
    time_limit_name : str
        The setting the message names when the limit passes.
    less_memory : str
        What the message of a kill for lack of memory tells to do.
    environment : mapping, optional
        Variables to add to this process's own.
    on_start : callable, optional
        Gets the child's process id.

    Returns
    -------
    str
        The result as JSON.

    Raises
    ------
    MedcompareError
        The child's own error, with its class where it is one of `medcompare.base.errors`.
    TrainingError
        If the child died (transient where a signal ended it), passed its time limit or was stopped.
    """
    killed_before = oom_kills()
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    with _started(module, job, environment, label, timeout_s) as process:
        if on_start is not None:
            on_start(process.pid)
        conversation = _Conversation(process, on_event)
        conversation.ask(request)
        in_time = conversation.listen(deadline)
        if in_time and not _ended_by_itself(process):
            logger.warning("%s: the process did not end by itself and was killed", label)
        _kill_group(process)
        conversation.drain()
        with _lock:
            was_stopped = process.pid in _stopped
    if not in_time:
        msg = (
            f"{label} passed its time limit of {timeout_s:g} s and was ended; "
            f"raise {time_limit_name} or give it less to do"
        )
        raise TrainingError(msg, how=message("it passed its time limit"))
    if conversation.result is not None:
        return conversation.result
    if was_stopped:  # also where the child has said so itself: it is not to be tried again
        msg = f"{label} was stopped"
        raise TrainingError(msg, how=message("it was stopped"))
    if conversation.error is not None:
        _raise_reported(conversation.error, label)
    ran_out = memory_ran_out(killed_before)
    raise death(label, process.wait(), conversation.last_words, ran_out=ran_out, less_memory=less_memory)


def terminate(pids: Iterable[int]) -> None:
    """Kill those of the children `pids` that live, with their own children."""
    with _lock:
        processes = [_live[pid] for pid in tuple(pids) if pid in _live]
        _stopped.update(process.pid for process in processes)
    for process in processes:
        _kill_group(process)


@contextlib.contextmanager
def all_ended() -> Iterator[int]:
    """End every live child, as `_end` does, and let none begin within the block; yields how many there were.

    A child that all processes of a job were told to end with is tried again otherwise, in the middle of the end.
    """
    with _lock:
        _ending.append(True)
        processes = list(_live.values())
        _stopped.update(process.pid for process in processes)
    try:
        _end(processes)
        yield len(processes)
    finally:
        with _lock:
            _ending.pop()


@contextlib.contextmanager
def _started(
    module: str, job: str, environment: Mapping[str, str] | None, label: str, timeout_s: float | None
) -> Iterator[Process]:
    """A started and registered child; dead with all its children when the block ends."""
    with _lock:
        if _ending:
            msg = f"{label} was stopped"
            raise TrainingError(msg)
        process = start_process(module, job, {**os.environ, **(environment or {})}, timeout_s=timeout_s)
        _live[process.pid] = process
    try:
        yield process
    except BaseException:  # Ctrl-C, a cancellation or SIGTERM, to the run
        _end([process])
        raise
    finally:
        _kill_group(process)
        process.wait()
        with _lock:
            _live.pop(process.pid, None)
            _stopped.discard(process.pid)
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()


class _Conversation:
    """One request to a child and everything it says; events are handled in the caller's thread."""

    def __init__(self, process: Process, on_event: EventHandler | None) -> None:
        self.result: str | None = None
        self.error: Event | None = None
        self.last_words: deque[str] = deque(maxlen=STDERR_LINES)
        self._process = process
        self._on_event = on_event
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read_events, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def ask(self, request: str) -> None:
        """Send the request; the pipe stays open, its end would end the child."""
        stdin = self._process.stdin
        # A child that died at once is reported by its exit status, not by this pipe.
        with contextlib.suppress(BrokenPipeError):
            if stdin is not None:
                stdin.write(request.encode() + b"\n")
                stdin.flush()

    def listen(self, deadline: float) -> bool:
        """Handle events until the child falls silent for good; False where `deadline` came first."""
        while time.monotonic() <= deadline:
            try:
                line = self._lines.get(timeout=POLL_S)
            except queue.Empty:
                # A grandchild may hold the pipe open after the child has died.
                if self._process.poll() is not None:
                    return True
                continue
            if line is None:
                return True
            self._handle(line)
        return False

    def drain(self) -> None:
        """Handle what was said before the end; the process group must be dead."""
        for reader in self._readers:
            reader.join(timeout=EXIT_GRACE_S)
        while not self._lines.empty():
            line = self._lines.get()
            if line is not None:
                self._handle(line)

    def _handle(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            # The last line of a child that was killed while it wrote.
            logger.debug("unreadable event: %r", line)
            return
        kind = event["event"]
        if kind == "result":
            self.result = json.dumps(event["record"])
        elif kind == "error":
            self.error = event
        elif kind == "log":
            logger.log(event["level"], "%s", event["message"])
        elif self._on_event is not None:
            self._on_event(event)

    def _read_events(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.last_words.append(line.decode(errors="replace").rstrip())


def _ended_by_itself(process: Process) -> bool:
    try:
        process.wait(timeout=EXIT_GRACE_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(processes: Sequence[Process]) -> None:
    """Tell each of `processes` to end, which a training does when it is saved; kill what is left, with its children."""
    deadline = time.monotonic() + STOP_GRACE_S
    try:
        for process in processes:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)  # it alone: it still needs those that load data for it
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
    finally:  # also after a second Ctrl-C
        for process in processes:
            _kill_group(process)


def _kill_group(process: Process) -> None:
    # EPERM is what macOS answers for a group whose members have all ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _raise_reported(event: Event, label: str) -> NoReturn:
    kind = getattr(errors, event["type"], None)
    if not (isinstance(kind, type) and issubclass(kind, MedcompareError)):
        kind = TrainingError
    if issubclass(kind, TrainingError):
        failed = f"{label} failed: " if event.get("unforeseen") else ""
        raise kind(failed + event["message"], transient=event["transient"], how=event["how"])
    raise kind(event["message"], how=event["how"])


class _ForwardLogs(logging.Handler):
    """Sends the child's log records to the parent."""

    def __init__(self, emit: EventHandler) -> None:
        super().__init__()
        self._emit_event = emit

    def emit(self, record: logging.LogRecord) -> None:
        self._emit_event({"event": "log", "level": record.levelno, "message": record.getMessage()})


def serve(jobs: Mapping[str, Job], arguments: list[str]) -> int:
    """Child's side: read the request, do the job named in `arguments`, send events and the result.

    Parameters
    ----------
    jobs : mapping of str to callable
        Jobs by name.
    arguments : list of str
        Exactly one: the name of the job.

    Returns
    -------
    int
        Exit status: 0 with a result, 1 with an error, 2 for an unknown job.
    """
    if len(arguments) != 1 or arguments[0] not in jobs:
        sys.stderr.write(f"expected one job of {', '.join(jobs)}, got {arguments}\n")
        return 2
    # Events get the pipe to themselves: what a library prints goes to standard error.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            events.write(json.dumps(event) + "\n")
            events.flush()

    request = _read_request()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    package_logger = logging.getLogger("medcompare")
    package_logger.addHandler(_ForwardLogs(emit))
    package_logger.setLevel(logging.INFO)
    unforeseen: Event = {
        "event": "error",
        "type": "TrainingError",
        "unforeseen": True,
        "how": UnexpectedError.public,
    }
    try:
        result = jobs[arguments[0]](request, emit)
    except Exception as error:  # noqa: BLE001 - a process boundary: everything is reported to the parent
        told = redact(error, store_of(request))
        if isinstance(told, OSError):  # such as a network drive that does not answer, which may heal
            how = os.strerror(told.errno) if told.errno is not None else unforeseen["how"]
            emit({**unforeseen, "message": f"{type(told).__name__}: {told}", "transient": True, "how": how})
        elif isinstance(told, UnexpectedError):
            device = words_of_device(error) or words_of_loader(error)
            emit({**unforeseen, "message": device or str(told), "transient": device is not None})
        else:
            more = {"transient": getattr(told, "transient", False), "how": getattr(told, "how", "")}
            emit({"event": "error", "type": type(told).__name__, "message": str(told), **more})
        return 1
    emit({"event": "result", "record": json.loads(result)})
    return 0


def wait_for_jobs(module: str) -> NoReturn:
    """Import `module` once and do each of its jobs in a copy of this process."""
    job = serve_copies(module)
    status = 0 if job is None else serve(importlib.import_module(module).JOBS, [job])
    sys.stderr.flush()
    os._exit(status)  # the interpreter would take two seconds to take torch apart


def _read_request() -> str:
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        part = os.read(0, 1 << 16)
        if not part:
            sys.exit(1)
        parts.append(part)
    return b"".join(parts).decode()


def _die_with_parent() -> None:
    """Wait for the end of standard input, then end this process and its children."""
    # os.read, not sys.stdin: a lock held by this thread would block the interpreter's exit.
    while os.read(0, 1 << 10):
        pass
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
