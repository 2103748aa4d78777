"""A store that machines share through a bucket: its folder is this machine's copy, the bucket what all have.

The folder remembers its bucket, as a clone remembers its origin, so whatever opens the folder finds it, the process of
a training too. Objects appear whole (S3, Google Cloud Storage and Azure do that), and are named by their content or
checked against a digest by whoever reads them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from medcompare.base.errors import ConfigError, SharedStoreError
from medcompare.base.file_access import new_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FILE = "shared-store.json"
COPIES = "MEDCOMPARE_COPIES"
"""Environment variable of a worker: the folder of its copies of shared stores."""

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
PACKAGES = {
    **dict.fromkeys(("http", "https"), "aiohttp"),
    "s3": "s3fs",
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs"), "adlfs"),
}
"""What fsspec needs beside itself, by the scheme of the address."""
BUCKETS = ("s3", "gs", "gcs", "az", "abfs", "memory")
"""Schemes whose objects appear whole; ``memory`` is fsspec's, for tests."""
AT_ONCE = 32
"""Objects copied side by side: copying waits for the network."""


def is_address(text: str) -> bool:
    """Whether `text` is an address such as ``s3://bucket/folder``, not a path."""
    return ADDRESS.match(text) is not None


def holds_credentials(address: str) -> bool:
    """Whether a user, a password or a query stands in `address`, which would be kept with the run."""
    parts = urlsplit(address)
    return bool(parts.username or parts.password or parts.query)


def missing_package(address: str) -> str:
    """What to do where fsspec cannot read `address`, as a sentence."""
    package = PACKAGES.get(urlsplit(address).scheme.lower())
    remedy = (
        f"install it: python -m pip install {package}" if package else f"there are: {', '.join(PACKAGES)}"
    )
    return f"addresses of this kind need a package that is not there; {remedy}"


class SharedStore:
    """Files in a bucket below one address.

    Parameters
    ----------
    address : str
        Such as ``s3://bucket/folder``; credentials come in the way of the service, from the environment.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def has(self, name: str) -> bool:
        """Whether there is a file `name`."""
        with self._spoken("read"):
            return bool(self._system.exists(self._path(name)))

    def names(self, folder: str) -> list[str]:
        """Names of the files below `folder`, sorted."""
        with self._spoken("read"):
            found = self._system.find(self._path(folder))
            return sorted(str(path)[len(self._path("")) :] for path in found)

    def put(self, files: Mapping[str, Path]) -> None:
        """Copy `files`, by their name in the bucket."""
        with self._spoken("written to"):
            self._system.put(
                [str(path) for path in files.values()],
                [self._path(name) for name in files],
                batch_size=AT_ONCE,
            )

    def get(self, files: Mapping[str, Path]) -> None:
        """Copy to `files`, by their name in the bucket; each appears whole.

        Raises
        ------
        FileNotFoundError
            If one of them is not there.
        SharedStoreError
            If the bucket cannot be read.
        """
        parts = {}
        try:
            for name, path in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                parts[name] = new_part(path)
            with self._spoken("read", missing=True):
                self._system.get(
                    [self._path(name) for name in files],
                    [str(part) for part in parts.values()],
                    batch_size=AT_ONCE,
                )
            for name, path in files.items():
                parts[name].replace(path)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)

    def delete(self, names: Iterable[str]) -> None:
        """Delete files that are there."""
        with self._spoken("written to"):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._system.rm_file(self._path(name))

    def check(self) -> None:
        """Write, read and delete a small file.

        Raises
        ------
        ConfigError
            If that is not possible, with the reason.
        """
        name = f"check-{uuid.uuid4().hex}"
        try:
            with self._spoken("written to"):
                self._system.pipe_file(self._path(name), b"medcompare")
                self._system.cat_file(self._path(name))
                self._system.rm_file(self._path(name))
        except SharedStoreError as error:
            msg = f"shared_store: {error}"
            raise ConfigError(msg) from None

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """A file system of fsspec and the path of the store there."""
        import fsspec

        # Another machine may have written since: nothing is answered from an earlier list.
        system, path = fsspec.core.url_to_fs(self.address, use_listings_cache=False)
        return system, path.rstrip("/")

    @property
    def _system(self) -> Any:  # noqa: ANN401 - a file system of fsspec
        return self._place[0]

    def _path(self, name: str) -> str:
        return f"{self._place[1]}/{name}"

    @contextlib.contextmanager
    def _spoken(self, what: str, *, missing: bool = False) -> Iterator[None]:
        """Errors of any service as one of ours; what they say may hold a key, so only their class is repeated."""
        try:
            yield
        except ImportError:
            msg = f"{self.address}: {missing_package(self.address)}"
            raise SharedStoreError(msg) from None
        except Exception as error:
            if missing and isinstance(error, FileNotFoundError):
                raise
            known = type(error).__module__.partition(".")[0]
            if not isinstance(error, OSError | ValueError) and known not in {
                "aiohttp",
                "botocore",
                "aiobotocore",
                "gcsfs",
                "google",
                "adlfs",
                "azure",
            }:
                raise
            msg = (
                f"{self.address} cannot be {what} ({type(error).__name__}): does the bucket exist, does the service "
                "answer, and may these credentials (such as AWS_PROFILE or AWS_ACCESS_KEY_ID) read and write there?"
            )
            raise SharedStoreError(msg) from None


def share(folder: Path, address: str) -> None:
    """Let `folder` be this machine's copy of the store at `address` from now on.

    Raises
    ------
    ConfigError
        If it is the copy of another one.
    """
    known = shared_store_of(folder)
    if known is not None and known.address != address.rstrip("/"):
        msg = f"store: {folder} is the copy of {known.address}, not of {address}: choose another folder with --store"
        raise ConfigError(msg)
    if known is None:
        folder.mkdir(parents=True, exist_ok=True)
        part = new_part(folder / FILE)
        part.write_text(json.dumps({"address": address.rstrip("/")}), encoding="utf-8")
        part.replace(folder / FILE)


def shared_store_of(folder: Path) -> SharedStore | None:
    """The store that `folder` is a copy of; None for one of this machine alone."""
    try:
        return SharedStore(json.loads((folder / FILE).read_text(encoding="utf-8"))["address"])
    except (FileNotFoundError, NotADirectoryError):
        return None


def local_copy(address: str) -> Path:
    """Folder of the copy that a worker has of the store at `address`, for work away from the machine of the run."""
    root = os.environ.get(COPIES)
    copies = Path(root) if root else Path.home() / ".cache" / "medcompare"
    folder = copies / re.sub(r"[^A-Za-z0-9._-]+", "-", address.rstrip("/"))
    share(folder, address)
    return folder
