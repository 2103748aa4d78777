"""Images behind an address: an archive over https, a tree in a bucket; copied below the cache through fsspec.

What was copied before and is unchanged by size and version (ETag or time) is not copied again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from medcompare.base.artifacts import sha256_of_bytes, write_atomically
from medcompare.base.errors import DataError
from medcompare.base.file_access import locked, new_part
from medcompare.base.shared_store import holds_credentials, missing_package
from medcompare.data.dicom import may_be_dicom
from medcompare.data.reading import BYTES_PER_MB, read_each
from medcompare.data.sources import archive
from medcompare.data.sources.folder import is_junk, what_to_do
from medcompare.data.sources.listing import IMAGE_SUFFIXES, TABLE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medcompare.config.data import DataConfig

VERSIONS = ("ETag", "etag", "LastModified", "last_modified", "updated", "mtime", "created")
"""Names by which file systems give something that changes with the content."""

FACTS = ".copied.json"
N_THREADS = 8
"""Copying waits for the network, not for the processor."""


def name_of(source: str) -> str:
    """The last part of the address without its ending."""
    parts = urlsplit(source)
    return archive.name_of(Path(PurePosixPath(parts.path).name or parts.netloc))


def fetched(data: DataConfig, root: Path) -> Path:
    """File or folder below `root` with what ``data.source`` leads to.

    Raises
    ------
    DataError
        If the address holds credentials, its scheme is not known or needs a package, or it cannot be read.
    """
    import fsspec

    source = data.source
    address = urlsplit(source)
    if holds_credentials(source):
        _refuse(
            source,
            "an address with a user, a password or a query would be kept with the run; give credentials in the way of "
            "the service, such as AWS_PROFILE",
        )
    try:
        system, path = fsspec.core.url_to_fs(source)
    except (ImportError, ValueError):
        _refuse(source, missing_package(source))
    root.mkdir(parents=True, exist_ok=True)
    try:
        system.invalidate_cache()  # a process that serves nights would list what was there yesterday
        with locked(root / ".being-written.lock"):
            if archive.is_archive(Path(path)):
                return _file(system, path, root, source)
            if address.scheme.lower().startswith("http"):
                _refuse(source, f"over http only archives are read: {', '.join(archive.ENDINGS)}")
            return _tree(system, path.rstrip("/"), root, data)
    except (OSError, ValueError) as error:
        _refuse(
            source, f"cannot be read ({type(error).__name__}); is the address right, and may you read it?"
        )
    except Exception as error:
        if type(error).__module__.split(".")[0] in {"aiohttp", "botocore", "aiobotocore", "gcsfs", "google"}:
            _refuse(source, f"cannot be read ({type(error).__name__}); may you read it?")
        raise


def _refuse(source: str, what: str) -> NoReturn:
    msg = (
        f"{source.partition('?')[0] if '@' not in source else source.partition('://')[0] + '://...'}: {what}"
    )
    raise DataError(msg) from None


def _version(info: Mapping[str, Any]) -> str | None:
    """Size and version of a file as its system tells them; None where it tells no version."""
    known = next((str(info[name]) for name in VERSIONS if info.get(name)), None)
    return None if known is None else f"{info.get('size')} {known}"


def _bounded(max_bytes: int) -> Any:  # noqa: ANN401 - a callback of fsspec
    """Stops a copy that goes on for longer than was said: a server may send without end."""
    import fsspec

    class Bounded(fsspec.Callback):  # type: ignore[misc] # fsspec ships no annotations
        def call(self, *_: object, **__: object) -> None:
            if self.value > max_bytes:
                msg = "more bytes than were announced, or than there is room for"
                raise OSError(msg)

    return Bounded()


def _copy(system: Any, path: str, target: Path, max_bytes: int) -> None:  # noqa: ANN401 - a file system of fsspec
    target.parent.mkdir(parents=True, exist_ok=True)
    part = new_part(target)
    try:
        system.get_file(path, str(part), callback=_bounded(max_bytes))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _file(system: Any, path: str, root: Path, source: str) -> Path:  # noqa: ANN401 - a file system of fsspec
    info = system.info(path)
    version = _version(info)
    target = root / sha256_of_bytes(f"{source} {version}".encode())[:16] / PurePosixPath(path).name
    if (info.get("size") or 0) > shutil.disk_usage(root).free:
        _refuse(source, f"is larger ({info['size'] / 1e9:,.0f} GB) than there is room for")
    if version is None or not target.is_file():
        _copy(system, path, target, info.get("size") or shutil.disk_usage(root).free // 2)
    os.utime(target.parent)  # `medcompare prune` deletes what was not read for long
    return target


def _tree(system: Any, path: str, root: Path, data: DataConfig) -> Path:  # noqa: ANN401 - a file system of fsspec
    folder = root / f"{name_of(data.source)}-{sha256_of_bytes(data.source.encode())[:16]}"
    wanted: dict[str, tuple[str, str | None]] = {}
    strange: Counter[str] = Counter()
    for name, info in system.find(path, detail=True).items():
        relative = PurePosixPath(name.removeprefix(path).lstrip("/"))
        suffix = relative.suffix.lower()
        if any(is_junk(part) for part in relative.parts if part != ".."):
            continue
        if not (suffix in IMAGE_SUFFIXES | TABLE_SUFFIXES or may_be_dicom(Path(relative))):
            strange[suffix] += 1
            continue
        if (
            ".." in relative.parts
            or "\\" in str(relative)
            or (info.get("size") or 0) > data.max_file_mb * BYTES_PER_MB
        ):
            _refuse(data.source, f"{relative} leads outside, or is larger than data.max_file_mb")
        wanted[str(relative)] = (name, _version(info))
    if not wanted:
        others = "".join(f" {sentence}" for sentence in what_to_do(strange))
        _refuse(data.source, others.strip() or "holds no images; is the address right, and may you read it?")
    facts = folder / FACTS
    known: dict[str, str] = json.loads(facts.read_text("utf-8")) if facts.is_file() else {}
    for gone in known.keys() - wanted.keys():
        (folder / gone).unlink(missing_ok=True)
    missing = [
        key
        for key, (_, version) in wanted.items()
        if version is None or known.get(key) != version or not (folder / key).is_file()
    ]
    copied = read_each(
        lambda key: _copy(system, wanted[key][0], folder / key, data.max_file_mb * BYTES_PER_MB),
        missing,
        missing,
        n_threads=N_THREADS,
        file_timeout_s=data.file_timeout_s,
        timeout_minutes=data.timeout_minutes,
        stage="copying the images",
    )
    for _ in copied:
        pass
    folder.mkdir(parents=True, exist_ok=True)
    now = {key: version for key, (_, version) in wanted.items() if version is not None}
    write_atomically(facts, json.dumps(now).encode())
    return folder
