"""What is checked before any work starts, so that bad input costs seconds, not hours."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medcompare.base.errors import ConfigError, DataError, InputError
from medcompare.base.file_access import files_readable_by
from medcompare.base.shared_store import SharedStore, share, shared_store_of
from medcompare.config.data import DEMO
from medcompare.config.train import TrainConfig
from medcompare.data.sources.command import OPTIONS, check_columns, command
from medcompare.data.sources.resolve import resolve_source
from medcompare.models.weights import ensure_weights
from medcompare.runs.cluster import cluster_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from medcompare.config.data import DataConfig
    from medcompare.config.schema import AssessConfig, CompareConfig
    from medcompare.data.sources.listing import ImageSource
    from medcompare.models.spec import ResolvedWeights
    from medcompare.runs.cluster import Cluster

TABLE_OPTIONS = ("image_root", "path_column", "label_column")
MIN_FREE_BYTES = 500_000_000
"""Checkpoints of the default pair take about 110 MB, and are written twice while saving."""


class Checked(NamedTuple):
    """What a comparison works with."""

    weights: dict[str, ResolvedWeights]
    """Initial weights by model, downloaded where that was needed."""
    source: ImageSource | None
    """The listed images; None for the demonstration data, which are generated inside the run."""
    external: dict[str, ImageSource]
    """The listed images of other hospitals, by name."""
    cluster: Cluster | None
    """Where to train and predict; None: on this machine."""


def check_before_work(config: CompareConfig) -> Checked:
    """Refuse what cannot end well: data, output folders, disk, names without a font, then weights.

    Returns
    -------
    Checked

    Raises
    ------
    InputError
        Naming the file or field, and the remedy.
    """
    with files_readable_by(config.file_access), nothing_left(config.out, config.store):
        check_folders(config)
        cluster = cluster_of(config.runner, config.train.device, n_devices=config.train.devices)
        check_shared_store(config)
        source = None if config.data.source == DEMO else locate_images(config)
        external = {name: locate_external(config, name) for name in config.external}
        if config.report.theme is not None:
            from medcompare.data.sources.demo import CLASS_NAMES
            from medcompare.report.fonts import require_fonts
            from medcompare.report.theme import read_theme

            classes = CLASS_NAMES if source is None else source.classes
            require_fonts(read_theme(config.report.theme, classes).words)
        if source is not None:
            # Drawing is imported late: a refusal of the folder comes without it.
            from medcompare.report.fonts import require_fonts, words_of_report

            words = words_of_report(
                title=config.report.title, organisation=config.report.organisation, classes=source.classes
            )
            require_fonts(words)
        train = config.train
        steps = {step for model in ("", *train.recipes) for step in train.for_model(model).augmentation}
        if not steps <= set(TrainConfig().augmentation):  # else torch stays out of this process
            from medcompare.training.augmentation import check_augmentation

            check_augmentation(train)
        return Checked(ensure_weights(config.models, train), source, external, cluster)


_ahead: list[tuple[CompareConfig, Checked]] = []


def check_ahead(config: CompareConfig) -> None:
    """`check_before_work` for the run this process starts next, which gets the result from `checked`.

    Raises
    ------
    InputError
        As `check_before_work`.
    """
    _ahead[:] = [(config, check_before_work(config))]


def checked(config: CompareConfig) -> Checked:
    """What `check_ahead` found for the same settings, once; else what is found now.

    A folder is listed and weights are hashed once where the command line has just done both.

    Raises
    ------
    InputError
        As `check_before_work`.
    """
    found = [result for known, result in _ahead if known == config]
    _ahead.clear()  # a process that serves many runs must look again for each
    return found[0] if found else check_before_work(config)


@contextmanager
def nothing_left(*folders: Path) -> Iterator[None]:
    """Remove those of `folders` that were made within the block, where it refuses the input."""
    missing = {
        path
        for folder in folders
        for path in (folder.absolute(), *folder.absolute().parents)
        if not path.exists()
    }
    try:
        yield
    except InputError:
        for path in sorted(missing, reverse=True):  # the inner ones first
            with suppress(OSError):  # another run has written there meanwhile
                path.rmdir()
        raise


def locate_images(config: CompareConfig) -> ImageSource:
    """The listed and labelled images of `config`; raises DataError in plain words."""
    refuse_table_options(config.data, config.data.model_fields_set, "data")
    source = resolve_source(config.data, demo_root=config.store / "demo", published=config.split.published)
    check_columns(source, config.data, config.split, config.evaluate.subgroups or ())
    return source


def refuse_table_options(data: DataConfig, given: Iterable[str], section: str) -> None:
    """Raise DataError where a folder was `given` an option that only a table has use for."""
    wrong = [field for field in TABLE_OPTIONS if field in given and getattr(data, field) is not None]
    if wrong and Path(data.source).expanduser().is_dir():
        msg = f"{section}.{wrong[0]} is for tables, and {data.source} is a folder: leave it out, or name a table"
        raise DataError(msg)


def external_data(config: CompareConfig, name: str) -> DataConfig:
    """Settings of an external set: those of the main data, for another place, and what was set for it alone."""
    given = {field: value for field, value in config.external[name] if value is not None}
    return config.data.model_copy(update={"image_root": None, **given})


def locate_external(config: CompareConfig, name: str) -> ImageSource:
    """The listed and labelled images of an external set; all of them, also where they came split.

    Raises
    ------
    DataError
        Naming the set.
    """
    data = external_data(config, name)
    refuse_table_options(data, config.external[name].model_fields_set, f"external.{name}")
    try:
        return resolve_source(data, demo_root=config.store / "demo", published="pool")
    except DataError as error:
        # Options in the error are those of the main data: here they are settings of the set.
        what, _, tried = str(error).partition("\nTry: ")
        for option, field in OPTIONS.items():
            what = what.replace(f"{option} ", f"external.{name}.{field}=").replace(
                option, f"external.{name}.{field}"
            )
        words, as_it_is = shlex.split(tried, comments=True), shlex.split(command(data, None))
        added = [
            f"--set {shlex.quote(f'external.{name}.{OPTIONS[option]}={value}')}"
            for (option, value) in itertools.pairwise(words)
            if option in OPTIONS and (option, value) not in itertools.pairwise(as_it_is)
        ]
        msg = (
            f"--external {name}: {what.rstrip('.')}. Where --set external.{name}.FIELD=VALUE says nothing else, it is "
            "read as the main data are."
        )
        if added:
            msg += f"\nTry: --external {shlex.quote(f'{name}={data.source}')} {' '.join(added)}"
        raise DataError(msg) from None


def check_folders(config: CompareConfig | AssessConfig) -> None:
    """Raise ConfigError unless ``out`` and ``store`` can be written and have room."""
    for field, folder in (("out", config.out), ("store", config.store)):
        check_folder(field, folder)


def check_shared_store(config: CompareConfig) -> None:
    """Raise ConfigError unless the bucket of the store, where there is one, can be read and written to.

    The folder of the store is its copy from then on, also where the next run does not name it.
    """
    known = shared_store_of(config.store)
    if config.shared_store is None:
        if known is not None and config.runner.engine != "local":
            msg = (
                f"shared_store: {config.store} is the copy of {known.address}; workers of a cluster need to be told: "
                f"--set shared_store={known.address}"
            )
            raise ConfigError(msg)
        return
    if known is None or known.address != config.shared_store:
        SharedStore(config.shared_store).check()
    share(config.store, config.shared_store)


def check_mail_to(mail_to: Sequence[str]) -> None:
    """Raise ConfigError where a run is to be mailed about and no mail server is named."""
    if not mail_to:
        return
    from tasks.mail import mail_settings

    if mail_settings() is None:
        msg = (
            "mail_to: no mail server is set up: set MEDCOMPARE_SMTP_HOST and what belongs to it (docs/nightly.md), "
            "or leave mail_to empty"
        )
        raise ConfigError(msg)


def check_folder(field: str, folder: Path) -> None:
    """Raise ConfigError unless `folder` can be made, written and has room."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        msg = f"{field}: {existing} is a file, a folder is needed: choose another with --{field}"
        raise ConfigError(msg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{field}: cannot create {folder} ({error.strerror}): choose another with --{field}"
        raise ConfigError(msg) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = f"{field}: {folder} cannot be written to: let this user write there or choose another with --{field}"
        raise ConfigError(msg)
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        msg = (
            f"{field}: only {free / 1e6:.0f} MB free where {folder} lies, {MIN_FREE_BYTES / 1e6:.0f} MB are "
            f"needed: free some space or choose another folder with --{field}"
        )
        raise ConfigError(msg)
