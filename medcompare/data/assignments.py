"""The table of a split, read back: which image is in which subset."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medcompare.base.errors import DataError
from medcompare.base.file_names import file_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medcompare.base.record import Subset

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
"""Of the table of images; further columns are the user's."""
STANDARD_COLUMNS = (*IMAGE_COLUMNS, "subset")
NEEDED_COLUMNS = ("case_id", "path", "label", "sha256", "subset")
SUBSETS: tuple[Subset, ...] = ("train", "val", "test")
BY_CONTENT = "images-by-content"
"""Name of a folder, and in a bucket, of images that are named by the SHA-256 of their content."""


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One image of the split."""

    case_id: str
    path: str
    label: int
    patient_id: str
    sha256: str
    subset: str
    extra: tuple[tuple[str, str], ...]
    """Further columns of the user's manifest."""
    grey_range: tuple[float, float] | None = None
    """Values shown black and white, of an image with more than 8 bits per pixel."""


def file_of(row: ImageRow, data_root: Path) -> Path:
    """File of an image below `data_root`: by its name, or by its content where the folder is named so."""
    by_content = data_root.name == BY_CONTENT
    return data_root / row.sha256[:2] / row.sha256 if by_content else file_at(data_root, row.path)


def range_as_text(grey_range: tuple[float, float] | None) -> str:
    """``0,4095`` as it stands in the table; empty for None."""
    return "" if grey_range is None else ",".join(f"{value:.17g}" for value in grey_range)


def _range_of(text: str) -> tuple[float, float] | None:
    low, _, high = text.partition(",")
    return (float(low), float(high)) if text else None


def read_assignments(content: bytes) -> list[ImageRow]:
    """Rows of a split's table, sorted by case_id.

    Raises
    ------
    DataError
        If a column is missing or a label is not 0 or 1.
    """
    reader = csv.DictReader(io.StringIO(content.decode("utf-8")))
    columns = reader.fieldnames or []
    lacking = [name for name in NEEDED_COLUMNS if name not in columns]
    if lacking:
        msg = f"the split's table lacks column {', '.join(lacking)}; it has: {', '.join(columns)}"
        raise DataError(msg)
    further = [name for name in columns if name not in STANDARD_COLUMNS]
    rows = []
    for number, row in enumerate(reader, start=2):
        if row["label"] not in ("0", "1"):
            msg = f"the split's table, row {number}, column label: '{row['label']}' is neither 0 nor 1"
            raise DataError(msg)
        rows.append(
            ImageRow(
                case_id=row["case_id"],
                path=row["path"],
                label=int(row["label"]),
                patient_id=row.get("patient_id") or "",
                sha256=row["sha256"],
                subset=row["subset"],
                extra=tuple((name, row[name] or "") for name in further),
                grey_range=_range_of(row.get("grey_range") or ""),
            )
        )
    return sorted(rows, key=lambda row: row.case_id)


def rows_of(rows: Sequence[ImageRow], subset: Subset) -> list[ImageRow]:
    """The rows of `subset`.

    Raises
    ------
    DataError
        If there are none.
    """
    chosen = [row for row in rows if row.subset == subset]
    if not chosen:
        msg = f"the split's subset '{subset}' holds no images"
        raise DataError(msg)
    return chosen
