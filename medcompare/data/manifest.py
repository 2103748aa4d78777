"""From listed files to a manifest: every image decoded once, every rejection accounted for.

Rules that decide which images stay:

* A file that cannot be used is excluded with its reason; too many of them stop the run.
* Files with the same bytes, or the same pixels, but opposite labels are excluded whole: one
  of the labels is wrong and nothing here can say which.
* The same holds for two near-duplicates with opposite labels.
* Copies with the same label stay (they may be meant), but the split keeps them together.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from medcompare.base.artifacts import sha256_of_bytes
from medcompare.base.errors import DataError
from medcompare.base.file_names import file_at
from medcompare.data.assignments import range_as_text
from medcompare.data.confounders import confounder_warnings
from medcompare.data.copies import (
    COPY_COLUMNS,
    Thumbnails,
    copies_by_kind,
    copy_table,
    copy_warnings,
)
from medcompare.data.exclusions import (
    Examined,
    Rejected,
    exclude_conflicts,
    exclude_near_conflicts,
    file_digest,
    pairs_of_near_duplicates,
    pairs_of_variants,
    pixel_digest,
    shas_by_pixels,
    usable_and_rejected,
)
from medcompare.data.file_facts import is_kept, write_file_facts
from medcompare.data.intensity import in_one_range
from medcompare.data.quality import MASK, centre_warning
from medcompare.data.reading import BYTES_PER_MB, read_each
from medcompare.data.records import ORIGINAL, PUBLISHED, DatasetManifest
from medcompare.data.validation import image_warnings, measure_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from medcompare.base.artifacts import ArtifactStore
    from medcompare.base.record import Artifact
    from medcompare.config.data import DataConfig
    from medcompare.data.sources.listing import ImageSource

IMAGE_COLUMNS = (
    "case_id",
    "path",
    "label",
    "patient_id",
    "sha256",
    "width_px",
    "height_px",
    "mode",
    "grey_range",
)
REJECTED_COLUMNS = ("path", "label", "reason", "detail")

N_NAMED_PATHS = 5
N_IMAGE_SIZES = 10
CASE_ID_DIGITS = 8


def ingest(
    source: ImageSource,
    data: DataConfig,
    store: ArtifactStore,
    *,
    progress: Callable[[int, int], None] | None = None,
    n_threads: int | None = None,
) -> DatasetManifest:
    """Decode every image of `source` once and write the tables of used and rejected files.

    Parameters
    ----------
    source : ImageSource
        Listed files, from `medcompare.data.sources.resolve.resolve_source`.
    data : DataConfig
        ``min_side_px``, ``max_rejected_fraction``, ``intensity_range`` and the limits of reading are used.
    store : ArtifactStore
        Receives the tables.
    progress : callable, optional
        Called with (files done, files in all) after each file, from the calling thread.
    n_threads : int, optional
        Decoding threads; None: as many as cores. The result does not depend on it.

    Returns
    -------
    DatasetManifest
        Depends on content, labels and relative paths, not on where the folder lies.

    Raises
    ------
    DataError
        If more than ``max_rejected_fraction`` of the files must be excluded, a class has no
        usable image left, or the files are not read in time.
    """
    n_threads = n_threads or os.cpu_count() or 1
    thumbnails = Thumbnails(store.root) if data.near_duplicates else None
    examined = _examine(source, data, progress, n_threads, thumbnails)
    usable, rejected = usable_and_rejected(examined, source, data)
    n_groups, n_conflicting, usable, conflicts = exclude_conflicts(usable, source)
    rejected += conflicts
    near = pairs_of_near_duplicates(usable, thumbnails, n_threads) if thumbnails else []
    usable, conflicts = exclude_near_conflicts(usable, near, source)
    rejected += conflicts
    _check_rejected(rejected, source, data.max_rejected_fraction)
    class_counts = (sum(item.label == 0 for item in usable), sum(item.label == 1 for item in usable))
    for name, count in zip(source.classes, class_counts, strict=True):
        if count == 0:
            msg = f"no usable image of class '{name}' is left in {source.root}. {_reasons(rejected)}"
            raise DataError(msg)
    usable, of_range = in_one_range(usable, data.intensity_range)
    usable.sort(key=_content_key)
    case_ids = _case_ids([file_digest(item) for item in usable])
    sizes = Counter(f"{item.measurement.width_px}x{item.measurement.height_px}" for item in usable)
    variants, (agree, tested) = pairs_of_variants(usable, thumbnails) if thumbnails else ([], (0, 0))
    copies = copy_table(shas_by_pixels(usable), {"near-duplicate": near, "augmented copy": variants})
    by_kind = copies_by_kind(copies)
    warnings = [
        *source.notes,
        *of_range,
        *_content_warnings(usable),
        *copy_warnings(by_kind, agree=agree, tested=tested),
    ]
    warnings += confounder_warnings(
        y=[item.label for item in usable],
        classes=source.classes,
        paths=[item.file.path for item in usable],
        sizes=[(item.measurement.width_px, item.measurement.height_px) for item in usable],
        formats=[item.measurement.format or "" for item in usable],
        modes=[item.measurement.mode for item in usable],
        columns={
            name: [item.file.extra[i] for item in usable]
            for i, name in enumerate(source.extra_columns)
            if name not in {PUBLISHED, ORIGINAL}
        },
        patients=[item.file.patient_id or "" for item in usable] if source.has_patients else None,
    )
    return DatasetManifest(
        name=source.name,
        synthetic=source.synthetic,
        classes=source.classes,
        class_counts=class_counts,
        n_found=len(source.files),
        n_images=len(usable),
        n_patients=len({item.file.patient_id for item in usable}) if source.has_patients else None,
        n_patients_found=len({file.patient_id for file in source.files}) if source.has_patients else None,
        n_rejected=len(rejected),
        rejected_by_reason=tuple(sorted(Counter(item.reason for item in rejected).items())),
        n_duplicate_groups=n_groups,
        n_conflicting_groups=n_conflicting,
        image_sizes=tuple(sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0]))[:N_IMAGE_SIZES]),
        extra_columns=source.extra_columns,
        warnings=tuple(warnings),
        fingerprint=_fingerprint(usable, source),
        images=_write_images(usable, case_ids, source, store),
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
        file_facts=store.write(write_file_facts(item.measurement for item in usable), ".npy"),
    )


def _examine(
    source: ImageSource,
    data: DataConfig,
    progress: Callable[[int, int], None] | None,
    n_threads: int,
    thumbnails: Thumbnails | None,
) -> list[Examined]:
    label_of = {name: label for label, name in enumerate(source.classes)}
    n_files = len(source.files)
    examined: list[Examined] = []
    # Pillow decodes without holding the interpreter lock, so threads do as well as processes.
    measurements = read_each(
        partial(measure_file, max_bytes=data.max_file_mb * BYTES_PER_MB),
        [file_at(source.root, file.path) for file in source.files],
        [file.path for file in source.files],
        n_threads=n_threads,
        file_timeout_s=data.file_timeout_s,
        timeout_minutes=data.timeout_minutes,
        stage="validating the images",
    )
    for file, measurement in zip(source.files, measurements, strict=True):
        kept = measurement.sha256 is not None and is_kept(measurement.sha256, n_files)
        number = thumbnails.add(measurement.thumbnail) if thumbnails and measurement.thumbnail else -1
        examined.append(
            Examined(
                file=file,
                label=label_of[file.label],
                measurement=replace(
                    measurement,
                    thumbnail=b"",
                    small_picture=measurement.small_picture if kept else b"",
                ),
                thumbnail=number,
            )
        )
        if progress is not None:
            progress(len(examined), n_files)
    return examined


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


def _content_warnings(usable: Sequence[Examined]) -> list[str]:
    counts = Counter(phrase for item in usable for phrase in image_warnings(item.measurement))
    warnings = [
        f"{count} image{'' if count == 1 else 's'} {phrase}." for phrase, count in sorted(counts.items())
    ]
    warnings += centre_warning((item.measurement.width_px, item.measurement.height_px) for item in usable)
    patients_of: defaultdict[str, set[str]] = defaultdict(set)
    for item in usable:
        if item.file.patient_id is not None:
            patients_of[pixel_digest(item)].add(item.file.patient_id)
    shared = sum(len(patients) > 1 for patients in patients_of.values())
    if shared:
        warnings.append(
            f"{shared} image{'' if shared == 1 else 's'} filed under more than one patient: "
            "these patients are kept together in the split; please check the patient ids."
        )
    return warnings


def _content_key(item: Examined) -> tuple[str, str, tuple[str, ...], str]:
    """Order of the table: by content first, so that renaming files moves no row."""
    return file_digest(item), item.file.patient_id or "", item.file.extra, item.file.path


def _case_ids(digests: Sequence[str]) -> list[str]:
    """Short pseudonyms from sorted content digests; copies of a file get ``-2``, ``-3``, ..."""
    distinct = sorted(set(digests))
    n_digits = CASE_ID_DIGITS
    while len({digest[:n_digits] for digest in distinct}) < len(distinct):
        n_digits += 1
    seen: Counter[str] = Counter()
    case_ids = []
    for digest in digests:
        seen[digest] += 1
        suffix = f"-{seen[digest]}" if seen[digest] > 1 else ""
        case_ids.append(f"case-{digest[:n_digits]}{suffix}")
    return case_ids


def _fingerprint(usable: Iterable[Examined], source: ImageSource) -> str:
    rows = sorted(
        _csv_bytes([(file_digest(item), item.label, item.file.patient_id or "", *item.file.extra)])
        for item in usable
    )
    head = _csv_bytes([(*source.classes, "patient_id" if source.has_patients else "", *source.extra_columns)])
    return sha256_of_bytes(b"".join([head, *rows]))


def _write_images(
    usable: Sequence[Examined], case_ids: Sequence[str], source: ImageSource, store: ArtifactStore
) -> Artifact:
    rows = (
        (
            case_id,
            item.file.path,
            item.label,
            item.file.patient_id or "",
            file_digest(item),
            item.measurement.width_px,
            item.measurement.height_px,
            item.measurement.mode,
            range_as_text(item.measurement.grey_range),
            *item.file.extra,
        )
        for case_id, item in zip(case_ids, usable, strict=True)
    )
    return _write_table((*IMAGE_COLUMNS, *source.extra_columns), rows, store)


def _write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], store: ArtifactStore) -> Artifact:
    return store.write(_csv_bytes([columns, *rows]), ".csv")


def _csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
