"""Processes that compute for threads: Pillow's filters, and most of Python, run in one thread at a time.

A pool of `multiprocessing` starts anew whatever program runs here, which for a flow is Prefect (seconds and 200 MB
for each process), and breaks as a whole where a decoder crashes. Here that costs the one call.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from medcompare.base.code_identity import importing_this_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class WorkerDiedError(Exception):
    """A process ended within a call."""


class Workers:
    """Up to `n` processes, each started when it is first needed; they end with this one, however it ends.

    Parameters
    ----------
    n : int
        Processes; 0: calls are made in the calling thread.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(n):
            self._idle.put(None)
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes; one that is busy ends with what it is doing."""
        for process in self._all:
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr] # a pipe

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 - what `function` returns
        """`function` of `arguments`, in a process that is free; to be called from several threads.

        Raises
        ------
        WorkerDiedError
            If the process ended.
        Exception
            What `function` raises.
        """
        if self.n == 0:
            return function(*arguments)
        process = self._idle.get()
        try:
            process = process or self._start()
            pickle.dump((function, arguments), process.stdin, protocol=5)  # type: ignore[arg-type] # a pipe
            process.stdin.flush()  # type: ignore[union-attr]
            result, failure = pickle.load(process.stdout)  # type: ignore[arg-type] # noqa: S301 - from our own process
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            process = None
            raise WorkerDiedError from error
        finally:
            self._idle.put(process)
        if failure is not None:
            raise failure
        return result

    def map(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """`function` of each of `calls`, in order; few are held at once."""
        waiting: deque[Any] = deque()
        with ThreadPoolExecutor(max(self.n, 1)) as pool:
            for arguments in calls:
                waiting.append(pool.submit(self.call, function, *arguments))
                if len(waiting) > 2 * self.n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - this file
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One thread each: the processes are as many as the cores.
            env=importing_this_code({**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
        )
        self._all.append(process)
        return process


def _serve() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # whoever asks decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = function(*arguments), None
        except Exception as error:  # noqa: BLE001 - raised where it was asked
            answer = None, error
        try:
            pickle.dump(answer, answers, protocol=5)
            answers.flush()
        except BrokenPipeError:
            os._exit(0)  # nobody is left to hear it


if __name__ == "__main__":
    _serve()
