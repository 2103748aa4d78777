"""Scores of new images by an exported network: in bounded memory, and going on where it was killed.

Rows are written in the order of the images, batch by batch, into a hidden table beside the one that is asked for,
which is renamed at the end. A later call on the same images, export and engine keeps the whole batches of that table.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import numpy as np

from medcompare.base.artifacts import sha256_of_file, write_atomically
from medcompare.base.errors import ConfigError, DataError, InputError, cannot_write
from medcompare.base.file_names import file_at
from medcompare.base.hardware import usable_cores
from medcompare.data.reading import read_each
from medcompare.data.sources.listing import count
from medcompare.data.sources.resolve import list_unlabelled
from medcompare.data.spelling import with_formula, without_formula
from medcompare.handover.images import LoadedImage, load_image
from medcompare.handover.likeness import TrainingImages, is_unlike, pixel_statistics
from medcompare.handover.networks import load_network, positive_score
from medcompare.handover.records import DIGESTS, FEATURES, Export, read_export
from medcompare.handover.rules import in_band, reached, recalibrated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from medcompare.config.predict import PredictConfig
    from medcompare.data.sources.listing import Listing, SourceFile
    from medcompare.handover.networks import Network
    from medcompare.handover.records import Preprocessing

    Batch = list[tuple[SourceFile, LoadedImage]]

COLUMNS = (
    "image",
    "patient_id",
    "sha256",
    "score",
    "probability",
    "decision",
    "refer",
    "distance",
    "unlike_training",
    "not_scored",
)
PATIENT_COLUMNS = (
    "patient_id",
    "n_images",
    "n_not_scored",
    "score",
    "probability",
    "decision",
    "refer",
    "n_unlike_training",
    "rule",
)
YES_NO = ("no", "yes")
N_NAMED = 5
MAX_READERS = 16
OTHER_TABLES = frozenset({".xlsx", ".xls", ".xlsm", ".ods", ".parquet", ".json", ".feather"})


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What became of the images."""

    table: Path
    patients: Path | None
    engine: str
    n_images: int
    n_resumed: int
    """Of these, scored by an earlier call."""
    unit: Literal["image", "patient"]
    """What decisions are about."""
    counts: dict[str, int]
    """Of these by decision, and ``refer``; of the images ``unlike_training`` and ``not_scored``."""
    unread: tuple[tuple[str, str], ...]
    """(image, reason) of the first that could not be scored."""
    images_per_s: float
    notes: tuple[str, ...]


def predict(
    config: PredictConfig, *, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Scores:
    """Score the images of ``config.data`` and write the table of them, and that of their patients.

    Parameters
    ----------
    config : PredictConfig
        Export, images, where to write, engine.
    progress : callable, optional
        Called with (images done, images in all).

    Raises
    ------
    DataError
        If the export is damaged or the images cannot be listed. An image that cannot be scored is a row.
    ConfigError
        If a table exists or cannot be written, or the engine is not installed.
    """
    out = Path(str(config.scores).replace("{date}", f"{datetime.now(UTC):%Y-%m-%d}")).absolute()
    part, patients = out.with_name(f".{out.name}.partial"), out.with_name(f"{out.stem}_patients{out.suffix}")
    if out.is_dir():
        msg = f"--out {out} is a folder: name a file in it, such as {out / 'scores.csv'}"
        raise ConfigError(msg)
    if out.suffix.lower() in OTHER_TABLES:
        msg = f"--out {out.name}: scores are written as CSV; name it {out.stem}.csv, which spreadsheets open"
        raise ConfigError(msg)
    _refuse_existing(out)
    export = read_export(config.export)
    work = out.with_name(f".{out.name}.work")
    try:
        listing = _listed(config, export, work)
        if listing.has_patients and not part.exists():  # which a call leaves that was killed at its very end
            _refuse_existing(patients)
        network = load_network(config.export, export, engine=config.engine, device=config.device)
        training = TrainingImages.read(config.export / FEATURES)
    except InputError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    key = _identity(config, network, listing)
    started = time.perf_counter()
    try:
        with _opened(part, out) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                msg = f"another call is writing {out}: wait for it, or choose another table with --out"
                raise ConfigError(msg) from None
            n_done = _resumed(file, key, n_images=len(listing.files), batch_size=config.batch_size)
            rows = partial(_rows, export=export, network=network, training=training)
            _score(
                file,
                listing,
                n_done=n_done,
                config=config,
                how=export.preprocessing,
                rows=rows,
                progress=progress,
            )
    except OSError as error:  # of writing, at the end of the block too: an image that cannot be read is a row
        raise cannot_write(error, out.parent) from None
    elapsed_s = time.perf_counter() - started
    counts, unread = _finished(part, out, export, patients if listing.has_patients else None)
    shutil.rmtree(work, ignore_errors=True)
    return Scores(
        table=out,
        patients=patients if listing.has_patients else None,
        engine=network.name,
        n_images=len(listing.files),
        n_resumed=n_done,
        unit="image" if export.per_patient == "none" else "patient",
        counts=counts,
        unread=unread,
        images_per_s=(len(listing.files) - n_done) / elapsed_s,
        notes=listing.notes,
    )


def _refuse_existing(table: Path) -> None:
    if table.exists():
        msg = f"{table} exists: choose another table with --out, or remove it"
        raise ConfigError(msg)


def _opened(part: Path, out: Path) -> IO[bytes]:
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        return part.open("a+b")
    except OSError as error:
        msg = f"--out {out}: cannot be written ({error.strerror}): choose another place"
        raise ConfigError(msg) from None


def _listed(config: PredictConfig, export: Export, work: Path) -> Listing:
    """The images, with their patients where the export needs them."""
    command = f"medcompare predict {config.export}"
    try:
        listing = list_unlabelled(config.data, work=work)
    except DataError as error:
        raise DataError(str(error).replace("medcompare compare", command)) from None
    if export.per_patient != "none" and not listing.has_patients:
        msg = (
            f"the threshold of this export is one of patients ({export.per_patient} of the scores of their images), "
            f"and patients are not known. Give a column patient_id, --group-by COLUMN, or a pattern: {command} --data "
            f"{config.data.source} --set data.patient_pattern='patient\\d+'"
        )
        raise DataError(msg)
    return listing


def _identity(config: PredictConfig, network: Network, listing: Listing) -> str:
    """Digest of all that rows depend on; of files as much as tells whether they were changed."""
    digest = hashlib.sha256()
    export = sha256_of_file(config.export / DIGESTS)
    digest.update(json.dumps([export, network.name, config.batch_size, str(listing.root)]).encode())
    for file in listing.files:
        try:
            now = file_at(listing.root, file.path).stat()
            facts = now.st_size, now.st_mtime_ns
        except OSError:
            facts = 0, 0
        digest.update(json.dumps([file.path, file.patient_id, *facts]).encode())
    return digest.hexdigest()


def _resumed(file: IO[bytes], key: str, *, n_images: int, batch_size: int) -> int:
    """Images whose rows are kept; `file` then ends behind them. Its first line is the key, the second the header."""
    file.seek(0)
    first = file.readline()
    if first != f"{key}\n".encode():
        file.seek(0)
        file.truncate()
        file.write(f"{key}\n{','.join(COLUMNS)}\n".encode())
        file.flush()
        return 0
    file.readline()
    ends = [file.tell()]
    # A row may hold line breaks in no cell: `shown` and `without_formula` leave none in names.
    while file.readline().endswith(b"\n"):
        ends.append(file.tell())
    n_rows = len(ends) - 1
    kept = n_rows if n_rows == n_images else n_rows // batch_size * batch_size
    file.truncate(ends[kept])
    file.seek(0, 2)
    return kept


def _score(
    file: IO[bytes],
    listing: Listing,
    *,
    n_done: int,
    config: PredictConfig,
    how: Preprocessing,
    rows: Callable[[Batch], Iterator[tuple[str, ...]]],
    progress: Callable[[int, int], None],
) -> None:
    rest, n_all = listing.files[n_done:], len(listing.files)
    load = partial(load_image, how=how)
    loaded = read_each(
        lambda one: load(file_at(listing.root, one.path)),
        rest,
        [one.path for one in rest],
        n_threads=config.n_threads or min(usable_cores(), MAX_READERS),
        file_timeout_s=config.data.file_timeout_s,
        stage="scoring the images",
    )
    progress(n_done, n_all)
    for batch in _batches(zip(rest, loaded, strict=True), config.batch_size):
        file.write("".join(_csv_lines(rows(batch))).encode())
        file.flush()
        n_done += len(batch)
        progress(n_done, n_all)


def _batches(items: Iterable[tuple[SourceFile, LoadedImage]], size: int) -> Iterator[Batch]:
    batch: Batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _rows(
    batch: Batch, *, export: Export, network: Network, training: TrainingImages
) -> Iterator[tuple[str, ...]]:
    crops = [image.crop for _, image in batch if image.crop is not None]
    scores: Iterator[tuple[str, ...]] = iter(())
    if crops:
        logits, features = network(np.stack(crops))
        score, distance = positive_score(logits), training.distances(features, pixel_statistics(crops))
        by_image = export.per_patient == "none"
        calls = _calls(score, export) if by_image else [("", "", "")] * len(crops)
        scores = (
            (repr(one), *call, f"{away:.6g}", YES_NO[int(odd)], "")
            for one, call, away, odd in zip(
                score.tolist(), calls, distance.tolist(), is_unlike(distance).tolist(), strict=True
            )
        )
    for source, image in batch:
        cells = next(scores) if image.crop is not None else ("",) * 6 + (image.why_not,)
        yield source.path, source.patient_id or "", image.sha256, *cells


def _calls(score: np.ndarray, export: Export) -> list[tuple[str, str, str]]:
    """(probability, decision, refer) of each score."""
    probability = recalibrated(score, export.recalibration)
    positive = reached(score, export.threshold.threshold)
    asked = in_band(score, export.referral.low, export.referral.high)
    return [
        (repr(p), export.classes[int(c)], YES_NO[int(a)])
        for p, c, a in zip(probability.tolist(), positive.tolist(), asked.tolist(), strict=True)
    ]


def _csv_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines: list[str] = []

    class _Lines:
        write = staticmethod(lines.append)

    writer = csv.writer(_Lines, lineterminator="\n")
    for row in rows:
        writer.writerow([without_formula(" ".join(cell.split("\n"))) for cell in row])
    yield from lines


def _finished(
    part: Path, out: Path, export: Export, patients: Path | None
) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """Write the table of patients, and rename that of images without its key; what is in it."""
    counts = Counter(dict.fromkeys((*export.classes, "refer", "unlike_training", "not_scored"), 0))
    unread: list[tuple[str, str]] = []
    whole = out.with_name(f".{out.name}.whole")
    with part.open(encoding="utf-8", newline="") as file, whole.open("w", encoding="utf-8", newline="") as to:
        file.readline()
        shutil.copyfileobj(file, to)
    for row in _read(whole):
        counts.update([row["decision"]] if row["decision"] else [])
        counts["refer"] += row["refer"] == "yes"
        counts["unlike_training"] += row["unlike_training"] == "yes"
        if row["not_scored"]:
            counts["not_scored"] += 1
            if len(unread) < N_NAMED:
                unread.append((row["image"], row["not_scored"]))
    if patients is not None:
        write_atomically(patients, _patient_table(whole, export))
        if export.per_patient != "none":
            for row in _read(patients):
                counts.update([row["decision"]] if row["decision"] else [])
                counts["refer"] += row["refer"] == "yes"
    whole.replace(out)
    part.unlink()
    return dict(counts), tuple(unread)


def _read(table: Path) -> Iterator[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: with_formula(cell) for name, cell in row.items()}


def _patient_table(table: Path, export: Export) -> bytes:
    """One row per patient, from the table of images."""
    scores: dict[str, list[float]] = {}
    unlike: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    for row in _read(table):
        of_patient = scores.setdefault(row["patient_id"], [])
        unread[row["patient_id"]] += bool(row["not_scored"])
        unlike[row["patient_id"]] += row["unlike_training"] == "yes"
        if row["score"]:
            of_patient.append(float(row["score"]))
    mean = export.per_patient == "mean"
    rule = "mean of the images" if mean else "largest of the images"
    if export.per_patient == "none":
        rule += ": positive where one image is; not tested in the run, which judged images"
    rows: list[Sequence[str]] = [PATIENT_COLUMNS]
    for patient in sorted(scores):
        values = scores[patient]
        cells: tuple[str, ...] = ("", "", "", "yes")
        if values:
            score = sum(values) / len(values) if mean else max(values)
            probability, decision, refer = _calls(np.array([score]), export)[0]
            # An image that could not be read may be the one that counts.
            cells = repr(score), probability, decision, "yes" if unread[patient] else refer
        n = len(values) + unread[patient]
        rows.append((patient, str(n), str(unread[patient]), *cells, str(unlike[patient]), rule))
    return "".join(_csv_lines(rows)).encode()


def sentences(scores: Scores, *, named: bool = True) -> list[str]:
    """What a person should know, line by line; files are `named` where the lines stay on the machine."""
    c = scores.counts
    decisions = [
        f"{n} {name}" for name, n in c.items() if name not in {"refer", "unlike_training", "not_scored"}
    ]
    lines = [
        f"{count(scores.n_images, 'image')} with {scores.engine}, {scores.images_per_s:.1f} per second"
        + (f"; {scores.n_resumed} of them were scored before" if scores.n_resumed else ""),
        f"{scores.unit}s: {', '.join(decisions)}; {c['refer']} for a person (refer)",
        f"{count(c['unlike_training'], 'image')} unlike the training images",
    ]
    if c["not_scored"]:
        lines.append(f"{count(c['not_scored'], 'image')} could not be scored: see the column not_scored")
        lines += [f"  {name}: {reason}" for name, reason in scores.unread if named]
    return lines
