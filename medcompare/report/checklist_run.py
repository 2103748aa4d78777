"""What a run recorded, as the facts of the checklists look it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medcompare.report.formatting import ELLIPSIS, format_count, format_estimate, join_words
from medcompare.report.vocabulary import base_metric, metric_name

if TYPE_CHECKING:
    from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit
    from medcompare.provenance import Provenance
    from medcompare.stats.records import Assessment, Estimate, ModelEvaluation, PairedComparison
    from medcompare.training_records import TrainedModel

DIGEST_SHOWN = 16


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """Everything the software knows about one run."""

    assessment: Assessment
    manifest: DatasetManifest | None
    split: DatasetSplit | None
    characteristics: tuple[Characteristic, ...]
    trained: tuple[TrainedModel, ...]
    provenance: Provenance
    settings: dict[str, str]
    """Configuration field (dotted name) to its value in words."""
    n_earlier_looks: int = 0
    """Earlier runs that evaluated the same test cases."""

    def name(self, model: str) -> str:
        """Display name of a model."""
        return self.assessment.display_names.get(model, model)

    @property
    def names(self) -> str:
        """All models, as words."""
        return join_words(self.name(model) for model in self.assessment.models)

    @property
    def cases(self) -> str:
        """What one row of the test subset is called."""
        return "cases" if self.manifest is None and self.split is None else "images"

    @property
    def pair(self) -> PairedComparison | None:
        """The comparison the verdict is about, otherwise the first."""
        comparisons = self.assessment.comparisons
        wanted = (self.assessment.verdict.reference, self.assessment.verdict.candidate)
        return next(
            (c for c in comparisons if (c.reference, c.candidate) == wanted), next(iter(comparisons), None)
        )


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the records say on one point."""

    text: str
    lacking: str = ""
    """What would have to be added for the point to be answered wholly."""
    applies: bool = True
    """False where the records show that the point does not arise in this run."""


Fact = Callable[[RunRecords], Known | None]
"""None: the records say nothing on this point."""


def by_model(run: RunRecords, describe: Callable[[TrainedModel], str]) -> Known | None:
    """One sentence per trained model, one for several that share it; models trained elsewhere are lacking."""
    if not run.trained:
        return None
    described: dict[str, list[str]] = {}
    for row in run.trained:
        described.setdefault(describe(row), []).append(row.display_name)
    text = " ".join(f"{join_words(names)}: {words}." for words, names in described.items())
    trained_here = {row.model for row in run.trained}
    others = [run.name(model) for model in run.assessment.models if model not in trained_here]
    return Known(text=text, lacking=f"the same for {join_words(others)}" if others else "")


def counted(names: tuple[str, str], counts: tuple[int, int]) -> str:
    """Counts of both classes, the positive one first: "48 cancer, 72 benign"."""
    return f"{format_count(counts[1])} {names[1]}, {format_count(counts[0])} {names[0]}"


def digest(sha256: str) -> str:
    """Start of a SHA-256: enough to compare by eye; results.json holds all of it."""
    return f"{sha256[:DIGEST_SHOWN]}{ELLIPSIS}"


def test_counts(run: RunRecords) -> str:
    """The test subset in numbers."""
    assessment = run.assessment
    patients = "" if assessment.n_patients is None else f" of {format_count(assessment.n_patients)} patients"
    classes = counted(assessment.classes, (assessment.n_negative, assessment.n_positive))
    return f"{format_count(assessment.n)} {run.cases} ({classes}){patients}"


def figures(evaluation: ModelEvaluation, metrics: Iterable[tuple[str, str]]) -> str:
    """Figures of one model with intervals: "AUC 0.912 (0.871 to 0.942), ..."."""
    absent = "not computed"
    return ", ".join(
        f"{label} {format_estimate(evaluation.metrics[key]) if key in evaluation.metrics else absent}"
        for key, label in metrics
    )


def measure(key: str) -> str:
    """Short name of a metric, without the method or remark behind it."""
    return metric_name(base_metric(key), short=True).split(" (", maxsplit=1)[0]


def methods_of(estimates: Iterable[tuple[str, Estimate]]) -> str:
    """Which method gave which interval: "Wilson for sensitivity and specificity; ..."."""
    names: dict[str, list[str]] = {}
    for key, estimate in estimates:
        if estimate.value is not None and measure(key) not in names.setdefault(estimate.method, []):
            names[estimate.method].append(measure(key))
    return "; ".join(f"{method} for {join_words(listed)}" for method, listed in names.items() if listed)
