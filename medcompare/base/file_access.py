"""Who may read what we write: patients' images, their predictions and reports are nobody else's business.

The umask does it, so that it holds for every file, whoever writes it: our own code, Prefect, SQLite, the
libraries, and the processes that we start. No file is therefore given a mode of its own, but where a library
gives it one (`follow_umask`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import stat
import threading
import uuid
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FileAccess = Literal["owner", "group"]

UMASKS: dict[FileAccess, int] = {"owner": 0o077, "group": 0o027}
"""Folders 700 and files 600; or 750 and 640: the group reads and does not write, as two owners of one
store would lock each other out."""

ACCESS = (
    "Who may read the runs and the cache: 'owner' alone (folders 700, files 600), or also the 'group' of the "
    "folders (750 and 640)."
)

_lock = threading.Lock()
_active: list[int] = []
_before = 0


def keep_private() -> None:
    """Let this process, and those that it starts, write for their owner alone from now on."""
    os.umask(UMASKS["owner"])


def access_of(folder: Path) -> FileAccess:
    """Who may read `folder`; the owner alone where it does not exist, or where everybody may."""
    try:
        mode = folder.stat().st_mode & 0o777
    except OSError:
        return "owner"
    return "group" if mode & UMASKS["owner"] and not mode & UMASKS["group"] else "owner"


@contextlib.contextmanager
def files_readable_by(access: FileAccess) -> Iterator[None]:
    """Write for `access` within the block; the umask of before comes back after it.

    A process has one umask: of several blocks at a time, in threads, the strictest holds.
    """
    global _before  # noqa: PLW0603 - one process, one umask
    mask = UMASKS[access]
    with _lock:
        _active.append(mask)
        was = os.umask(_strictest())
        if len(_active) == 1:
            _before = was
    try:
        yield
    finally:
        with _lock:
            _active.remove(mask)
            os.umask(_strictest() if _active else _before)


def _strictest() -> int:
    mask = 0
    for one in _active:
        mask |= one
    return mask


def open_lock(path: Path) -> int:
    """Descriptor of the file at `path`, made where it is missing, to be locked with ``flock``; close it to let go."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path` alone, after waiting for it; the kernel frees it when its process dies."""
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def new_part(path: Path) -> Path:
    """An empty hidden file beside `path`, to be filled and renamed to it; made with the umask's mode."""
    part = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    return part


def follow_umask(path: Path) -> None:
    """Give the file at `path` the mode that the umask leaves.

    safetensors writes a temporary file that its owner alone may read, and renames it.
    """
    part = new_part(path)
    try:
        path.chmod(stat.S_IMODE(part.stat().st_mode))
    finally:
        part.unlink()


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`, so that a file renamed there outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def access_warning(folder: Path, access: FileAccess) -> str | None:
    """What the mode of an existing `folder` takes from `access`, with the command that mends it.

    Folders that are there are never changed: they may be the user's, or be shared on purpose.
    """
    if not folder.is_dir():
        return None
    mode = folder.stat().st_mode & 0o777
    name = shlex.quote(str(folder))
    if mode & 0o007:
        return f"{folder} can be read by everybody on this machine (mode {mode:03o}): chmod -R o-rwx {name}"
    if access == "group" and mode & 0o050 != 0o050:
        return (
            f"{folder} cannot be read by its group (mode {mode:03o}), though file_access is 'group': "
            f"chmod -R g+rX {name}"
        )
    return None


def who_may_read(store: Path, out: Path) -> tuple[str, str | None]:
    """Whether others can read the store or a run below `out`, in words; the command that closes them, if so."""
    runs = sorted(out.iterdir()) if out.is_dir() else []
    found = [
        folder
        for folder in (store, *(run for run in runs if (run / "results.json").is_file()))
        if access_warning(folder, "owner")
    ]
    if not found:
        return "cache and runs are closed to other users of this machine", None
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    close = " ".join(shlex.quote(str(folder)) for folder in (store, out) if folder.is_dir())
    return f"{found[0]}{more} can be read by everybody on this machine", f"chmod -R o-rwx {close}"
