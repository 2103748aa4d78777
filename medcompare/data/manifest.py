"""From listed files to a manifest: every image decoded once, every rejection accounted for.

Rules that decide which images stay:

* A file that cannot be used is excluded with its reason; too many of them stop the run.
* Files with the same bytes, or the same pixels, but opposite labels are excluded whole: one
  of the labels is wrong and nothing here can say which.
* The same holds for two near-duplicates with opposite labels.
* Copies with the same label stay (they may be meant), but the split keeps them together.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from medcompare.base.errors import DataError
from medcompare.base.file_access import new_part
from medcompare.base.language import tn
from medcompare.data.assignments import IMAGE_COLUMNS, range_as_text
from medcompare.data.confounders import confounder_warnings
from medcompare.data.copies import COPY_COLUMNS, copies_by_kind, copy_table, copy_warnings, near_duplicates
from medcompare.data.exclusions import (
    Images,
    Rejected,
    exclude_conflicts,
    exclude_near_conflicts,
    pairs_of_variants,
    same,
    shas_by_pixels,
    usable_and_rejected,
)
from medcompare.data.file_facts import is_kept, write_file_facts
from medcompare.data.fingerprint import digest_of
from medcompare.data.intensity import Ranges, in_one_range
from medcompare.data.measured import Measured
from medcompare.data.measuring import measure_files
from medcompare.data.quality import MASK, centre_warning
from medcompare.data.records import ORIGINAL, PUBLISHED, DatasetManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.base.record import Artifact
    from medcompare.config.data import DataConfig
    from medcompare.data.sources.listing import ImageSource

REJECTED_COLUMNS = ("path", "label", "reason", "detail")

N_NAMED_PATHS = 5
N_IMAGE_SIZES = 10
CASE_ID_DIGITS = 8


def ingest(
    source: ImageSource,
    data: DataConfig,
    store: ArtifactStore,
    *,
    expected: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    comparing: Callable[[int, int], None] | None = None,
    n_workers: int | None = None,
) -> DatasetManifest:
    """Decode every image of `source` once and write the tables of used and rejected files.

    Parameters
    ----------
    source : ImageSource
        Listed files, from `medcompare.data.sources.resolve.resolve_source`.
    data : DataConfig
        ``min_side_px``, ``max_rejected_fraction``, ``intensity_range`` and the limits of reading are used.
    store : ArtifactStore
        Receives the tables, and keeps what was measured for the next time.
    expected : str, optional
        Digest of the source (`medcompare.data.fingerprint`) under which the result will be kept.
    progress : callable, optional
        Called with (files done, files in all) after each file, from the calling thread.
    comparing : callable, optional
        Called with (pairs done, pairs in all) while images that look alike are compared.
    n_workers : int, optional
        Processes that decode and compare; None: as many as cores where there is much to do. The result does not
        depend on it.

    Returns
    -------
    DatasetManifest
        Depends on content, labels and relative paths, not on where the folder lies.

    Raises
    ------
    DataError
        If more than ``max_rejected_fraction`` of the files must be excluded, a class has no
        usable image left, the files are not read in time, or they are not those of `expected`.
    """
    with contextlib.closing(Measured(store.root)) as kept:
        files = measure_files(source, data, kept, progress=progress, n_workers=n_workers)
        if expected is not None and digest_of(source, files) != expected:
            msg = f"images in {source.root} changed while they were being checked. Start again when they are complete."
            raise DataError(msg)
        usable, rejected = usable_and_rejected(files, source, kept, data)
        del files
        n_groups, n_conflicting, usable, conflicts = exclude_conflicts(usable)
        rejected += conflicts
        near: list[tuple[str, str]] = []
        if data.near_duplicates:
            pixels, first = np.unique(usable.pixels, return_index=True)
            near = near_duplicates(
                pixels, usable.number[first], kept, progress=comparing, n_workers=n_workers
            )
            usable, conflicts = exclude_near_conflicts(usable, near)
            rejected += conflicts
        _check_rejected(rejected, source, data.max_rejected_fraction)
        for label, name in enumerate(source.classes):
            if not (usable.label == label).any():
                msg = f"no usable image of class '{name}' is left in {source.root}. {_reasons(rejected)}"
                raise DataError(msg)
        usable = usable.take(_order(usable))
        usable, ranges, of_range = in_one_range(usable, kept, data.intensity_range)
        variants, (agree, tested) = pairs_of_variants(usable, kept) if data.near_duplicates else ([], (0, 0))
        file_facts = store.write(_file_facts(usable, kept, ranges), ".npy")
    n_positive = int(usable.label.sum())
    sizes, counts = np.unique(np.stack([usable.width_px, usable.height_px]), axis=1, return_counts=True)
    by_size = [(f"{w}x{h}", n) for (w, h), n in zip(sizes.T.tolist(), counts.tolist(), strict=True)]
    copies = copy_table(
        shas_by_pixels(usable, [*near, *variants]), {"near-duplicate": near, "augmented copy": variants}
    )
    by_kind = copies_by_kind(copies)
    warnings = [
        *source.notes,
        *of_range,
        *_content_warnings(usable),
        *copy_warnings(by_kind, agree=agree, tested=tested),
    ]
    columns = {
        name: [file.extra[i] for file in usable.files()]
        for i, name in enumerate(source.extra_columns)
        if name not in {PUBLISHED, ORIGINAL}
    }
    patients = [file.patient_id or "" for file in usable.files()] if source.has_patients else None
    warnings += confounder_warnings(
        y=usable.label.tolist(),
        classes=source.classes,
        paths=[file.path for file in usable.files()],
        sizes=list(zip(usable.width_px.tolist(), usable.height_px.tolist(), strict=True)),
        formats=usable.format.astype(str).tolist(),
        modes=usable.mode.astype(str).tolist(),
        columns=columns,
        patients=patients,
    )
    return DatasetManifest(
        name=source.name,
        synthetic=source.synthetic,
        classes=source.classes,
        class_counts=(len(usable) - n_positive, n_positive),
        n_found=len(source.files),
        n_images=len(usable),
        n_patients=None if patients is None else len(set(patients)),
        n_patients_found=len({file.patient_id for file in source.files}) if source.has_patients else None,
        n_rejected=len(rejected),
        rejected_by_reason=tuple(sorted(Counter(item.reason for item in rejected).items())),
        n_duplicate_groups=n_groups,
        n_conflicting_groups=n_conflicting,
        image_sizes=tuple(sorted(by_size, key=lambda pair: (-pair[1], pair[0]))[:N_IMAGE_SIZES]),
        extra_columns=source.extra_columns,
        warnings=tuple(warnings),
        fingerprint=_fingerprint(usable),
        images=_write_table((*IMAGE_COLUMNS, *source.extra_columns), _image_rows(usable, ranges), store),
        rejected=_write_table(
            REJECTED_COLUMNS,
            (
                (item.path, item.label, item.reason, item.detail)
                for item in sorted(rejected, key=lambda r: r.path)
            ),
            store,
        ),
        copies_by_kind=by_kind,
        copies=_write_table(COPY_COLUMNS, copies, store) if copies else None,
        file_facts=file_facts,
    )


def _check_rejected(rejected: Sequence[Rejected], source: ImageSource, max_fraction: float) -> None:
    # Masks belong to many a published set: they are no sign that the images are damaged.
    n_masks = sum(item.reason == MASK for item in rejected)
    n_bad, n_images = len(rejected) - n_masks, len(source.files) - n_masks
    fraction = n_bad / max(n_images, 1)
    if fraction > max_fraction:
        msg = (
            f"{n_bad} of {n_images} files in {source.root} cannot be used "
            f"({fraction:.1%}; data.max_rejected_fraction is {max_fraction:.1%}). {_reasons(rejected)} "
            "Repair or remove them, or raise data.max_rejected_fraction."
        )
        if any(item.reason == "near-duplicate with opposite label" for item in rejected):
            msg += " Not to look for near-duplicates: --set data.near_duplicates=false."
        raise DataError(msg)


def _reasons(rejected: Sequence[Rejected]) -> str:
    if not rejected:
        return ""
    counts = sorted(Counter(item.reason for item in rejected).items(), key=lambda pair: (-pair[1], pair[0]))
    reasons = ", ".join(f"{reason} ({count})" for reason, count in counts)
    first = sorted(rejected, key=lambda item: (item.reason != counts[0][0], item.path))[:N_NAMED_PATHS]
    # The detail of one says what to do about all of that reason.
    named = "; ".join(
        f"{item.path} ({item.reason}{'' if place else f': {item.detail}'})"
        for place, item in enumerate(first)
    )
    more = "; ..." if len(rejected) > len(first) else ""
    return f"Excluded: {reasons}. First files: {named}{more}."


def _content_warnings(usable: Images) -> list[str]:
    counts: Counter[str] = Counter()
    for which, n in enumerate(np.bincount(usable.said, minlength=len(usable.phrases)).tolist()):
        counts.update(dict.fromkeys(usable.phrases[which], n))
    warnings = [
        tn("{n} image {what}.", "{n:,} images {what}.", count, what=phrase)
        for phrase, count in sorted(counts.items())
        if count
    ]
    warnings += centre_warning(zip(usable.width_px.tolist(), usable.height_px.tolist(), strict=True))
    shared = sum(
        len({usable.file(i).patient_id for i in group} - {None}) > 1 for group in same(usable.pixels)
    )
    if shared:
        warnings.append(
            tn(
                "{n} image filed under more than one patient: these patients are kept together in the split; please "
                "check the patient ids.",
                "{n:,} images filed under more than one patient: these patients are kept together in the split; please "
                "check the patient ids.",
                shared,
            )
        )
    return warnings


def _order(usable: Images) -> NDArray[np.intp]:
    """Order of the table: by content first, so that renaming files moves no row."""
    order = np.argsort(usable.sha256, kind="stable")
    ordered = usable.sha256[order]

    def key(i: int) -> tuple[str, tuple[str, ...], str]:
        file = usable.file(i)
        return file.patient_id or "", file.extra, file.path

    for group in same(usable.sha256):
        start = int(np.searchsorted(ordered, usable.sha256[group[0]]))
        order[start : start + len(group)] = sorted(group.tolist(), key=key)
    return order


def _case_ids(digests: NDArray[np.bytes_]) -> Iterator[str]:
    """Short pseudonyms from sorted content digests; copies of a file get ``-2``, ``-3``, ..."""
    distinct = np.unique(digests)
    n_digits = CASE_ID_DIGITS
    while len(np.unique(distinct.astype(f"S{n_digits}"))) < len(distinct):
        n_digits += 1
    for digest, copies in groupby(digests.tolist()):
        name = f"case-{digest[:n_digits].decode()}"
        yield from (f"{name}-{k}" if k > 1 else name for k, _ in enumerate(copies, 1))


def _fingerprint(usable: Images) -> str:
    """Digest of the rows (content, label, patient, further columns), sorted; `usable` is sorted by content."""
    source = usable.source
    head = (*source.classes, "patient_id" if source.has_patients else "", *source.extra_columns)
    digest = hashlib.sha256(_csv_bytes([head]))
    rows = (
        (sha.decode(), label, file.patient_id or "", *file.extra)
        for sha, label, file in zip(
            usable.sha256.tolist(), usable.label.tolist(), usable.files(), strict=True
        )
    )
    for _, group in groupby(rows, key=lambda row: row[0]):
        digest.update(b"".join(sorted(_csv_bytes([row]) for row in group)))
    return digest.hexdigest()


def _file_facts(usable: Images, kept: Measured, ranges: Ranges) -> bytes:
    n_files = len(usable.source.files)
    which = np.array([is_kept(sha.decode(), n_files) for sha in usable.sha256.tolist()], dtype=bool)
    return write_file_facts(map(ranges.shown, kept.measurements(usable.number[which], small=True)))


def _image_rows(usable: Images, ranges: Ranges) -> Iterator[tuple[object, ...]]:
    columns = (usable.label, usable.width_px, usable.height_px)
    texts = (usable.sha256, usable.mode)
    values = zip(*(column.tolist() for column in (*columns, *texts)), strict=True)
    for i, (case_id, file, (label, width, height, sha, mode)) in enumerate(
        zip(_case_ids(usable.sha256), usable.files(), values, strict=True)
    ):
        grey_range = range_as_text(ranges.of_image.get(i))
        yield (
            case_id, file.path, label, file.patient_id or "", sha.decode(), width, height, mode.decode(), grey_range,
            *file.extra
        )  # fmt: skip


def _write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], store: ArtifactStore) -> Artifact:
    store.root.mkdir(parents=True, exist_ok=True)
    part = new_part(store.root / "table.csv")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        return store.write_file(part, ".csv")
    finally:
        part.unlink(missing_ok=True)


def _csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
