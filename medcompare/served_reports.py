"""The reports that may be shown: which there are, what each run found, and opening one safely.

A run folder also holds predictions with patient ids, so only the two report files can be
opened. Every file is opened step by step below the folder of the runs, and symbolic links
are not followed, so that no name leads out of it; ``latest``, which is a link, is read and
must name a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from medcompare.run_folder import LATEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

CONTENT_TYPES: Final = {"report.pdf": "application/pdf", "report.html": "text/html; charset=utf-8"}
"""All that is shown of a run."""

RESULTS = "results.json"
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,254}")
NEWEST_RUNS = 400
"""The list names so many; older reports open by their address."""


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One line of the page that lists the runs."""

    name: str
    started_at: datetime | None
    data_name: str | None
    headline: str | None
    files: tuple[str, ...]
    note: str | None = None


class Reports:
    """The runs below one folder, read afresh for every request.

    Parameters
    ----------
    out : Path
        Folder of the runs.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._summaries: dict[str, tuple[tuple[int, int, int], ListedRun]] = {}

    def open_report(self, run: str, file: str) -> tuple[BinaryIO, int, str]:
        """Open one report.

        Parameters
        ----------
        run : str
            Name of the run, or ``latest``.
        file : str
            ``report.pdf`` or ``report.html``.

        Returns
        -------
        tuple of file, int, str
            Open for reading, its size in bytes, and the name of the run.

        Raises
        ------
        FileNotFoundError
            If there is no such report, or it is not a plain file below the folder of the runs.
        """
        if file not in CONTENT_TYPES:
            raise FileNotFoundError(file)
        with self._opened_run(run) as (folder, name):
            stream, size, _ = _open_plain_file(folder, file)
        return stream, size, name

    def newest_first(self) -> tuple[ListedRun, ...]:
        """The runs that have a report, newest first, at most `NEWEST_RUNS`."""
        listed = []
        for name in sorted(self._names(), reverse=True):
            with contextlib.suppress(FileNotFoundError):
                listed.append(self._summary(name))
        moments = {run.name: run.started_at.timestamp() if run.started_at else 0.0 for run in listed}
        listed.sort(key=lambda run: moments[run.name], reverse=True)
        return tuple(listed[:NEWEST_RUNS])

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._out) as entries:
                return [
                    entry.name
                    for entry in entries
                    if RUN_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                ]
        except FileNotFoundError:
            return []

    def _summary(self, name: str) -> ListedRun:
        with self._opened_run(name) as (folder, _):
            files = tuple(file for file in CONTENT_TYPES if _is_plain_file(folder, file))
            if not files:
                raise FileNotFoundError(name)
            try:
                stream, size, found = _open_plain_file(folder, RESULTS)
            except FileNotFoundError:
                return _without_results(name, files, f"no {RESULTS}")
            with stream:
                mark = (found.st_mtime_ns, size, found.st_ino)
                known = self._summaries.get(name)
                if known is not None and known[0] == mark:
                    return known[1]
                run = summary_of_results(name, stream.read(), files)
        self._summaries[name] = (mark, run)
        return run

    def latest(self) -> str | None:
        """Name of the run that ``latest`` points to; None where there is none."""
        try:
            with self._opened_run(LATEST) as (_, name):
                return name
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _opened_run(self, name: str) -> Iterator[tuple[int, str]]:
        if not RUN_NAME.fullmatch(name):
            raise FileNotFoundError(name)
        try:
            out = os.open(self._out, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise FileNotFoundError(self._out) from error
        try:
            if name == LATEST:
                name = _target_of_latest(out)
            try:
                folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=out)
            except OSError as error:
                raise FileNotFoundError(name) from error
            try:
                yield folder, name
            finally:
                os.close(folder)
        finally:
            os.close(out)


def _target_of_latest(out: int) -> str:
    """Name of the run that ``latest`` points to; anything but a plain name is refused."""
    try:
        target = os.readlink(LATEST, dir_fd=out)
    except OSError as error:
        raise FileNotFoundError(LATEST) from error
    if not RUN_NAME.fullmatch(target) or target == LATEST:
        raise FileNotFoundError(LATEST)
    return target


def _open_plain_file(folder: int, name: str) -> tuple[BinaryIO, int, os.stat_result]:
    try:
        # Not blocking: a named pipe would otherwise hold the request for ever.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        raise FileNotFoundError(name) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(name)
    return os.fdopen(descriptor, "rb"), found.st_size, found


def _is_plain_file(folder: int, name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def summary_of_results(name: str, content: bytes, files: Sequence[str]) -> ListedRun:
    """What the page says of a run, from its ``results.json``.

    Only a few fields are read, and none is required: a file of an older or newer version is
    listed as far as it can be understood.
    """
    try:
        results = json.loads(content)
    except ValueError:
        return _without_results(name, files, f"{RESULTS} cannot be read")
    started_at = None
    with contextlib.suppress(ValueError):
        started_at = datetime.fromisoformat(_text(results, "provenance", "started_at") or "")
    return ListedRun(
        name=name,
        started_at=started_at.astimezone() if started_at else None,
        data_name=_text(results, "manifest", "name"),
        headline=_text(results, "assessment", "verdict", "headline"),
        files=tuple(files),
    )


def _without_results(name: str, files: Sequence[str], note: str) -> ListedRun:
    return ListedRun(name=name, started_at=None, data_name=None, headline=None, files=tuple(files), note=note)


def _text(results: Any, *keys: str) -> str | None:  # noqa: ANN401 - any JSON
    for key in keys:
        results = results.get(key) if isinstance(results, dict) else None
    return results if isinstance(results, str) else None
