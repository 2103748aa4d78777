"""What every record of ours is made of; each kind of record stands beside the code it belongs to.

Records cross a stage boundary: small, frozen and JSON-clean. Tables and tensors stay on
disk in the artifact store; a record carries an `Artifact`, a digest-verified reference.
Undefined numbers are ``None``, never NaN. This module is in every cache key, so it stays small.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Subset = Literal["train", "val", "test"]
SUBSETS: tuple[Subset, ...] = ("train", "val", "test")

NEGATIVE, POSITIVE = 0, 1
"""Label ids used everywhere: index into ``classes``; the positive class is last."""


class Record(BaseModel):
    """Base of all records: frozen, no unknown fields, numpy scalars become plain numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(Record):
    """Reference to a content-addressed file in the artifact store."""

    path: str = Field(description="Path relative to the store, with forward slashes.")
    sha256: str = Field(min_length=64, max_length=64)
    n_bytes: int = Field(ge=0)
