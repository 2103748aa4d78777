"""Modes of files and folders: what they are, and what they were meanwhile."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER, GROUP = (0o700, 0o600), (0o750, 0o640)


def modes_below(*folders: Path) -> dict[Path, int]:
    """Mode of every folder and file; links have none of their own."""
    found = {}
    for folder in folders:
        # Not rglob, which raises where a folder goes away while it is listed.
        for parent, _, names in os.walk(folder):
            for path in (Path(parent), *(Path(parent, name) for name in names)):
                with contextlib.suppress(FileNotFoundError):
                    mode = path.lstat().st_mode
                    if not stat.S_ISLNK(mode):
                        found[path] = stat.S_IMODE(mode)
    return found


def wrong(modes: dict[Path, int], expected: tuple[int, int]) -> dict[str, str]:
    """Paths whose mode is not the one of a folder or of a file."""
    folder, file = expected
    return {
        str(path): f"{mode:o}" for path, mode in modes.items() if mode != (folder if path.is_dir() else file)
    }


def too_open(seen: dict[Path, int], expected: tuple[int, int]) -> dict[str, str]:
    """Paths that anybody more could enter or read than a folder or file of this kind allows."""
    return {str(path): f"{mode:o}" for path, mode in seen.items() if mode & ~expected[0]}


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """The umask of the block."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def watched(*folders: Path) -> Iterator[dict[Path, int]]:
    """Every mode that any path, temporary ones too, was seen with meanwhile: the bits of all looks together."""
    seen: dict[Path, int] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            for path, mode in modes_below(*folders).items():
                seen[path] = seen.get(path, 0) | mode

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
        assert thread.is_alive(), "nobody has watched to the end"
    finally:
        ended.set()
        thread.join()
