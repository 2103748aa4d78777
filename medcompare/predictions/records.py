"""What a model predicted."""

from __future__ import annotations

from pydantic import Field

from medcompare.base.record import Artifact, Record


class Predictions(Record):
    """Probabilities of one model on validation and test subsets.

    ``table`` is a CSV with columns ``case_id, y_true, patient_id, subset, probability`` (of the
    positive class), ``probability_running`` (the same with the library's running batch statistics; empty
    without batch normalisation) and the manifest's further columns, at full floating-point
    precision, sorted by subset and case_id.
    """

    model: str
    display_name: str
    classes: tuple[str, str]
    table: Artifact
    n_val: int
    n_test: int
    checkpoint_sha256: str
    seed: int = Field(default=0, ge=0, description="Seed of the training.")
    has_running: bool = Field(description="Whether the running batch statistics were predicted with too.")
    log_odds_sd: float = Field(ge=0, description="Standard deviation of the test cases' log-odds.")
    log_odds_shift: float = Field(
        description="Subtracted from every log-odds: what the class weights of the training had added."
    )
