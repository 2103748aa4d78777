"""What a model predicted."""

from __future__ import annotations

from medcompare.records import Artifact, Record


class Predictions(Record):
    """Probabilities of one model on validation and test subsets.

    ``table`` is a CSV with columns ``case_id, y_true, patient_id, subset,
    probability`` (of the positive class) and the manifest's further columns, at full
    floating-point precision, sorted by subset and case_id.
    """

    model: str
    display_name: str
    classes: tuple[str, str]
    table: Artifact
    n_val: int
    n_test: int
    checkpoint_sha256: str
    elapsed_s: float
