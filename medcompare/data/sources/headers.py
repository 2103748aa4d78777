"""Patient, sex and age from the headers of DICOM files, for listings that do not say so themselves."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from medcompare.base.file_names import file_at
from medcompare.base.formatting import join_words
from medcompare.base.language import t, tn
from medcompare.data.dicom import may_be_dicom, read_header
from medcompare.data.reading import read_each

if TYPE_CHECKING:
    from medcompare.config.data import DataConfig
    from medcompare.data.sources.listing import Listing

COLUMNS = ("sex", "age")


def _pseudonym(patient_id: str) -> str:
    """The same for the same id, on every machine; the id itself goes into no table."""
    return f"patient-{hashlib.sha256(patient_id.encode()).hexdigest()[:12]}"


def with_headers(listing: Listing, data: DataConfig) -> Listing:
    """`listing` with what the headers of its DICOM files say, where it has no such column.

    Patient ids become pseudonyms. They count only where every image has one: without one, images of a patient cannot
    be told from others.
    """
    places = [file_at(listing.root, file.path) for file in listing.files]
    chosen = [i for i, place in enumerate(places) if may_be_dicom(place)]
    read = read_each(
        read_header,
        [places[i] for i in chosen],
        [listing.files[i].path for i in chosen],
        n_threads=os.cpu_count() or 1,
        file_timeout_s=data.file_timeout_s,
        timeout_minutes=data.timeout_minutes,
        stage="reading the headers of DICOM files",
    )
    headers = {i: header for i, header in zip(chosen, read, strict=True) if header is not None}
    if not headers:
        return listing
    notes = []
    files = list(listing.files)
    has_patients = listing.has_patients
    if not has_patients:
        n_known = sum(bool(header.patient_id) for header in headers.values())
        has_patients = n_known == len(files)
        if has_patients:
            files = [
                replace(file, patient_id=_pseudonym(headers[i].patient_id)) for i, file in enumerate(files)
            ]
            notes.append(t("Patients were told apart by the patient id in the header of each DICOM file."))
        else:
            notes.append(
                tn(
                    "{n} of {n_all:,} images has no patient id in a DICOM header: patients were not told apart, so "
                    "one person may be on both sides of the split.",
                    "{n:,} of {n_all:,} images have no patient id in a DICOM header: patients were not told apart, so "
                    "one person may be on both sides of the split.",
                    len(files) - n_known,
                    n_all=len(files),
                )
            )
    known = {
        name: [getattr(headers[i], name) if i in headers else "" for i in range(len(files))]
        for name in COLUMNS
    }
    added = [name for name in COLUMNS if any(known[name]) and name not in listing.extra_columns]
    files = [
        replace(file, extra=(*file.extra, *(known[name][i] for name in added)))
        for i, file in enumerate(files)
    ]
    if added:
        columns = join_words(added).capitalize()
        notes.append(t("{columns} were read from the headers of DICOM files.", columns=columns))
    return replace(
        listing,
        files=tuple(files),
        has_patients=has_patients,
        extra_columns=(*listing.extra_columns, *added),
        notes=(*listing.notes, *notes),
    )
