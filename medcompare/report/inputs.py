"""What the report is made of: one frozen record the flow fills, and nothing else.

The report computes no statistics. Whatever it prints is in `ReportInputs`, so the
flow that trains, the flow that assesses outside predictions, and the tests all reach
the same pages by the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from medcompare.base.record import NEGATIVE, POSITIVE, Record
from medcompare.config.schema import DecideConfig
from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit
from medcompare.predictions.saliency import SaliencyMaps
from medcompare.report.theme import Theme
from medcompare.runs.changes import Cause, DataChanges
from medcompare.runs.evidence import AttachedFile
from medcompare.runs.provenance import Provenance
from medcompare.runs.result import NoPdf
from medcompare.stats.in_detail import TrendControl
from medcompare.stats.records import Assessment, Estimate, Outcome
from medcompare.training.budget import Budget
from medcompare.training.records import TrainedModel
from medcompare.training.search import Search

Source = Literal["trained by medcompare", "predictions supplied"]
SetBy = Literal["user", "preset", "default"]
Paper = Literal["A4", "Letter"]


class SettingRow(Record):
    """One configuration field as it was used."""

    field: str = Field(description="Dotted name, e.g. 'train.epochs'.")
    value: str
    description: str = Field(default="", description="Meaning and unit.")
    set_by: SetBy


class RejectedRow(Record):
    """One file that was excluded at ingest."""

    name: str = Field(description="File name, or a pseudonym where the run pseudonymises.")
    label: str | None = Field(default=None, description="Class name, where it is known.")
    reason: str
    detail: str = ""


class CaseScore(Record):
    """What one model made of one case."""

    model: str
    score: float
    called_positive: bool


WITH_PICTURES = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class CaseMap(Record):
    """Where one model finds evidence for the positive class in one case."""

    model_config = WITH_PICTURES

    model: str
    jpeg: bytes = Field(description="The image under the colours of the map.")
    strongest_at: str | None = Field(description="e.g. 'upper left'; None: there is no such evidence.")


class HardCase(Record):
    """A test case that at least one model got wrong."""

    model_config = WITH_PICTURES

    case_id: str = Field(description="Pseudonym, as in the predictions table.")
    truth: Literal[0, 1] = Field(description="0 negative, 1 positive.")
    scores: tuple[CaseScore, ...] = Field(min_length=1)
    thumbnail_png: bytes | None = Field(default=None, description="PNG file; None: not shown.")
    maps: tuple[CaseMap, ...] = Field(default=(), description="None without a picture.")
    facts: tuple[str, ...] = Field(
        default=(),
        description="Patient by letter, where several of these cases are of one; levels of subgroups.",
    )


class ScoreDistribution(Record):
    """Counts of one model's test scores per bin and true class."""

    model: str
    edges: tuple[float, ...] = Field(min_length=2)
    negative: tuple[int, ...]
    positive: tuple[int, ...]
    logit: bool = Field(
        default=False,
        description="Bins are equally wide in logits; scores beyond their ends are in the first or last.",
    )

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        n_bins = len(self.edges) - 1
        if len(self.negative) != n_bins or len(self.positive) != n_bins:
            msg = f"score distribution of {self.model}: {n_bins} bins need {n_bins} counts per class"
            raise ValueError(msg)
        return self


class ScoreSteps(Record):
    """One model's test scores, counted between thresholds in equal steps: without ids, and in no order of cases."""

    model: str
    start: float = Field(description="The lowest threshold.")
    step: float = Field(gt=0, description="From one threshold to the next: 1, 2 or 5 times a power of ten.")
    negative: tuple[int, ...] = Field(description="Negative cases from each threshold up to the next.")
    positive: tuple[int, ...]


class TrendFigures(Record):
    """What one earlier or present run found for one model."""

    model: str
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    training_time_s: float | None = None


class TrendRun(Record):
    """One run in the history, oldest first in `ReportInputs.trend`."""

    run_name: str
    finished_at: str = Field(description="UTC, ISO 8601.")
    n_images: int | None = None
    headline: str = Field(description="Headline of the verdict of that run.")
    outcome: Outcome | None = Field(default=None, description="Of the verdict; null without one.")
    model: str | None = Field(default=None, description="The model that the verdict names.")
    figures: tuple[TrendFigures, ...]


class ChecklistItem(Record):
    """One item of a reporting checklist, in our own words."""

    number: str
    section: str = ""
    text: str
    status: Literal["filled by software", "filled by user", "missing", "not applicable"]
    answer: str = Field(default="", description="What was reported, or where it is reported.")
    open_topics: tuple[str, ...] = Field(
        default=(), description="Of a missing item: the shared answers that would fill or complete it."
    )


class ChecklistTable(Record):
    """A reporting checklist as filled in for this run."""

    name: str = Field(description="e.g. 'TRIPOD+AI'.")
    reference: str = Field(default="", description="Citation of the published checklist.")
    items: tuple[ChecklistItem, ...]


class ReportInputs(Record):
    """Everything `write_report` needs.

    Model names in every field are those of ``assessment.models``; cases and files carry
    pseudonyms where ``pseudonymised`` says so (the flow decides, the report only prints).
    """

    title: str
    organisation: str = ""
    theme: Theme = Field(default=Theme(), description="How the pages look; not in results.json.")
    paper: Paper = "A4"
    run_name: str
    source: Source
    synthetic: bool = Field(description="Generated demonstration data: said on every page.")
    assessment: Assessment
    rule: DecideConfig = Field(description="Margins and floors as numbers, for the drawn zones.")
    provenance: Provenance
    settings: tuple[SettingRow, ...] = ()
    notices: tuple[str, ...] = Field(
        default=(), description="Substitutions and limits for page one, e.g. random initialisation."
    )
    n_earlier_looks: int = Field(
        default=0, ge=0, description="Earlier runs that evaluated the same test cases, where they are known."
    )
    manifest: DatasetManifest | None = None
    rejected: tuple[RejectedRow, ...] = ()
    pseudonymised: bool = True
    split: DatasetSplit | None = None
    characteristics: tuple[Characteristic, ...] = Field(
        default=(), description="Further columns of the manifest, counted per subset and class."
    )
    trained: tuple[TrainedModel, ...] = ()
    budgets: tuple[Budget, ...] = Field(default=(), description="What each model was given to learn from.")
    searches: tuple[Search, ...] = Field(default=(), description="For hyperparameters, before the trainings.")
    further_trainings: tuple[TrainedModel, ...] = Field(
        default=(),
        description="Of the same models with other seeds; what is shown case by case is of `trained`.",
    )
    preview_png: bytes | None = Field(
        default=None,
        description="Contact sheet of augmented training images of the first model that has one.",
    )
    score_distributions: tuple[ScoreDistribution, ...] = Field(
        default=(), description="Test scores per model; without them the calibration's histogram is drawn."
    )
    score_steps: tuple[ScoreSteps, ...] = Field(
        default=(),
        description="For trying out other thresholds on the screen; in no other file than the HTML.",
    )
    hard_cases: tuple[HardCase, ...] = Field(
        default=(), description="False negatives first; the order is kept."
    )
    n_hard_cases: int | None = Field(
        default=None, ge=0, description="Misclassified cases in all; None: those listed are all."
    )
    saliency: tuple[SaliencyMaps, ...] = Field(
        default=(), description="Maps of the hard cases, and what of them random weights give too."
    )
    files: tuple[tuple[str, str], ...] = Field(
        default=(), description="(file name, what it holds) of other files in the run folder."
    )
    trend: tuple[TrendRun, ...] = ()
    trend_marks: tuple[tuple[Cause, ...], ...] = Field(
        default=(), description="What changed before each run of `trend`; empty: not marked."
    )
    trend_control: tuple[TrendControl, ...] = Field(
        default=(), description="Control charts over `trend`; empty: neither drawn nor told."
    )
    changes: tuple[str, ...] = Field(default=(), description="What changed since the previous run.")
    data_changes: DataChanges | None = Field(
        default=None,
        description="What changed in the images since the last run of the same data; null without one.",
    )
    checklists: tuple[ChecklistTable, ...] = ()
    evidence: tuple[AttachedFile, ...] = Field(
        default=(),
        description="Files inside the PDF, from which ``medcompare reproduce`` computes the numbers again.",
    )

    @model_validator(mode="after")
    def _models_known(self) -> Self:
        known = set(self.assessment.models)
        named = {
            "trained": [row.model for row in self.trained],
            "searches": [row.model for row in self.searches],
            "score_distributions": [row.model for row in self.score_distributions],
            "score_steps": [row.model for row in self.score_steps],
            "hard_cases": [score.model for case in self.hard_cases for score in case.scores],
            "maps": [one.model for case in self.hard_cases for one in case.maps],
            "saliency": [row.model for row in self.saliency],
        }
        for field, models in named.items():
            for model in models:
                if model not in known:
                    msg = f"{field} names the model {model!r}, the assessment has {sorted(known)}"
                    raise ValueError(msg)
        return self


class ReportFiles(Record):
    """What `write_report` wrote."""

    html: Path
    results: Path
    pdf: Path | None
    n_pages: int | None = Field(ge=1, description="Of the PDF.")
    no_pdf: NoPdf | None = Field(description="Why there is no PDF, where there is none.")


PAIR = 2
"""Models that are compared with each other alone: with margins, in one table."""

TENTHS = tuple(i / 10 for i in range(11))
LOGIT_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
CROWDED = 0.5
"""More scores than this share near 0 and 1 are shown by their logits."""


def count_scores(
    model: str, y_true: np.ndarray, y_score: np.ndarray, *, n_bins: int = 25
) -> ScoreDistribution:
    """Histogram of one model's scores per true class, for the drawn distribution.

    Parameters
    ----------
    model : str
        Name of the model, as in ``Assessment.models``.
    y_true : ndarray of shape (n_cases,)
        0 negative, 1 positive.
    y_score : ndarray of shape (n_cases,)
        Scores, larger means more likely positive. Scores within [0, 1] are binned over the tenths around them, or,
        where more than half would be in the first and last of the bins of [0, 1], over their logits: bars at both ends
        would hide all others. Scores beyond 0 and 1 are binned over their own range.
    n_bins : int, default=25
        Bins of equal width.

    Raises
    ------
    ValueError
        If the lengths differ, there is no case, or a score is not finite.
    """
    y_true, y_score = _checked(model, y_true, y_score)
    low, high = float(y_score.min()), float(y_score.max())
    within = low >= 0 and high <= 1
    logit = within and bool(np.mean(np.abs(y_score - 0.5) > 0.5 - 1 / n_bins) > CROWDED)
    if logit:
        low, high = _around(low, high, LOGIT_TICKS)
        logits = np.linspace(np.log(low / (1 - low)), np.log(high / (1 - high)), n_bins + 1)
        edges = 1 / (1 + np.exp(-logits))
        y_score = np.clip(y_score, edges[0], edges[-1])
    else:
        if within:
            low, high = _around(low, high, TENTHS)
        edges = np.histogram_bin_edges(y_score, bins=n_bins, range=(low, high))
    negative, _ = np.histogram(y_score[y_true == NEGATIVE], bins=edges)
    positive, _ = np.histogram(y_score[y_true == POSITIVE], bins=edges)
    return ScoreDistribution(
        model=model,
        edges=tuple(edges.tolist()),
        negative=tuple(negative.tolist()),
        positive=tuple(positive.tolist()),
        logit=logit,
    )


def _around(low: float, high: float, round_numbers: tuple[float, ...]) -> tuple[float, float]:
    """The closest two of some ascending numbers around `low` and `high`, or the first or last of them."""
    below = max((i for i, one in enumerate(round_numbers) if one <= low), default=0)
    last = len(round_numbers) - 1
    above = min((i for i, one in enumerate(round_numbers) if one >= high), default=last)
    below = min(below, last - 1)
    return round_numbers[below], round_numbers[max(above, below + 1)]


MOST_STEPS = 200
"""Thresholds that can be tried out: finer ones could not be told apart on a slider of a phone."""

FEWEST_CASES = 10
"""Of each class, before thresholds can be tried out: among fewer each step could be one known patient."""


def count_steps(model: str, y_true: np.ndarray, y_score: np.ndarray) -> ScoreSteps | None:
    """One model's scores counted in at most `MOST_STEPS` steps from a round number on.

    None with fewer than `FEWEST_CASES` cases of a class, or where all scores are equal. Raises as `count_scores` does.
    """
    y_true, y_score = _checked(model, y_true, y_score)
    low, high = float(y_score.min()), float(y_score.max())
    n_positive = int((y_true == POSITIVE).sum())
    if low == high or min(n_positive, y_true.size - n_positive) < FEWEST_CASES:
        return None
    # A step more is lost when the first threshold is rounded down.
    least = (high - low) / (MOST_STEPS - 1)
    power = 10.0 ** np.floor(np.log10(least))
    step = float(next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least))
    first = np.floor(low / step)
    place = np.floor(y_score / step + 1e-9).astype(np.int64) - int(first)
    n_steps = int(place.max()) + 1
    negative, positive = (
        np.bincount(place[y_true == label], minlength=n_steps) for label in (NEGATIVE, POSITIVE)
    )
    return ScoreSteps(
        model=model,
        start=float(first * step),
        step=step,
        negative=tuple(negative.tolist()),
        positive=tuple(positive.tolist()),
    )


def _checked(model: str, y_true: np.ndarray, y_score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_score = np.asarray(y_true), np.asarray(y_score, dtype=float)
    if y_true.shape != y_score.shape or y_true.ndim != 1 or y_true.size == 0:
        msg = f"scores of {model}: {y_true.shape} labels and {y_score.shape} scores do not go together"
        raise ValueError(msg)
    if not np.isfinite(y_score).all():
        msg = f"scores of {model}: not all are finite"
        raise ValueError(msg)
    return y_true, y_score
