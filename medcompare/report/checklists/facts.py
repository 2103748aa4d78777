"""What a fact of the checklists is, and the words that facts share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from medcompare.base.formatting import ELLIPSIS, format_count, format_estimate, join_words
from medcompare.base.language import t
from medcompare.report.vocabulary import base_metric, metric_name

if TYPE_CHECKING:
    from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit
    from medcompare.predictions.saliency import SaliencyMaps
    from medcompare.report.inputs import SettingRow
    from medcompare.runs.provenance import Provenance
    from medcompare.stats.records import Assessment, Estimate, ModelEvaluation, PairedComparison
    from medcompare.training.records import TrainedModel
    from medcompare.training.search import Search


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """Everything the software knows about one run; the defaults say that a record does not exist."""

    assessment: Assessment
    provenance: Provenance
    manifest: DatasetManifest | None = None
    split: DatasetSplit | None = None
    characteristics: tuple[Characteristic, ...] = ()
    trained: tuple[TrainedModel, ...] = ()
    searches: tuple[Search, ...] = ()
    saliency: tuple[SaliencyMaps, ...] = ()
    settings: tuple[SettingRow, ...] = ()
    n_earlier_looks: int = 0
    """Earlier runs that evaluated the same test cases."""

    def setting(self, name: str) -> str:
        """Value of a configuration field in words, empty where it is not known."""
        return next((row.value for row in self.settings if row.field == name), "")

    def name(self, model: str) -> str:
        """Display name of a model."""
        return self.assessment.display_names.get(model, model)

    @property
    def names(self) -> str:
        """All models, as words."""
        return join_words(self.name(model) for model in self.assessment.models)

    @property
    def cases(self) -> str:
        """What the rows of the test subset are called."""
        return t("cases") if self.manifest is None and self.split is None else t("images")

    @property
    def pair(self) -> PairedComparison | None:
        """The comparison the verdict is about, otherwise the first."""
        return self.assessment.pair_of_verdict()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the records say on one point."""

    text: str
    missing: str = ""
    """What would have to be added for the answer to be complete."""
    applies: bool = True
    """False where the records show that the point does not arise in this run."""


Fact = Callable[[RunRecords], Answer | None]
"""None: the records say nothing on this point."""

AnyFact = TypeVar("AnyFact", bound=Fact)

FACTS: dict[str, tuple[Fact, str]] = {}
"""Name to (fact, what is missing where no record holds it); filled by `facts_data` and `facts_results`."""


def fact(what: str) -> Callable[[AnyFact], AnyFact]:
    """Register a function under its name as a fact on `what`, a message of the catalogue."""

    def register(function: AnyFact) -> AnyFact:
        FACTS[function.__name__] = (function, what)
        return function

    return register


def by_model(
    run: RunRecords, describe: Callable[[TrainedModel], str], *, before: str = "", after: str = ""
) -> Answer | None:
    """One sentence per trained model, or per group of models that share it; models trained elsewhere are missing."""
    if not run.trained:
        return None
    described: dict[str, list[str]] = {}
    for row in run.trained:
        described.setdefault(describe(row), []).append(row.display_name)
    sentences = [f"{join_words(names)}: {words}." for words, names in described.items()]
    trained_here = {row.model for row in run.trained}
    others = [run.name(model) for model in run.assessment.models if model not in trained_here]
    return Answer(
        text=" ".join(part for part in (before, *sentences, after) if part),
        missing=t("the same for {models}", models=join_words(others)) if others else "",
    )


def counted(names: tuple[str, str], counts: tuple[int, int]) -> str:
    """Counts of both classes, the positive one first: "48 cancer, 72 benign"."""
    return f"{format_count(counts[1])} {names[1]}, {format_count(counts[0])} {names[0]}"


def digest(sha256: str) -> str:
    """Start of a SHA-256: enough to compare by eye; results.json holds all of it."""
    return f"{sha256[:16]}{ELLIPSIS}"


def code_version(run: RunRecords) -> str:
    """Version and commit of this software."""
    provenance = run.provenance
    version, commit = provenance.medcompare_version, provenance.code_commit
    if not commit:
        return f"medcompare {version}"
    if provenance.code_dirty:
        return t(
            "medcompare {version}, commit {commit} with uncommitted changes", version=version, commit=commit
        )
    return t("medcompare {version}, commit {commit}", version=version, commit=commit)


def test_counts(run: RunRecords) -> str:
    """The test subset in numbers."""
    one = run.assessment
    classes = counted(one.classes, (one.n_negative, one.n_positive))
    sizes = {"n": one.n, "cases": run.cases, "classes": classes}
    if one.n_patients is None:
        return t("{n:,} {cases} ({classes})", **sizes)
    return t("{n:,} {cases} ({classes}) of {n_patients:,} patients", **sizes, n_patients=one.n_patients)


def subgroup_sizes(run: RunRecords) -> str:
    """Sizes of the reported subgroups: "by sex: female 60 (20 cancer), ..."."""
    columns: dict[str, list[str]] = {}
    for row in run.assessment.evaluations[0].subgroups if run.assessment.evaluations else ():
        positive = f"{format_count(row.n_positive)} {run.assessment.classes[1]}"
        size = f"{row.level} {format_count(row.n)} ({positive})"
        columns.setdefault(row.column, []).append(size)
    return "; ".join(
        t("by {column}: {levels}", column=column, levels=", ".join(levels))
        for column, levels in columns.items()
    )


def metrics_of(evaluation: ModelEvaluation, metrics: Iterable[tuple[str, str]]) -> str:
    """Metrics of one model with intervals: "AUC 0.912 (0.871 to 0.942), ..."."""
    return ", ".join(
        f"{label} {format_estimate(evaluation.metrics[key]) if key in evaluation.metrics else t('not computed')}"
        for key, label in metrics
    )


def measure(key: str) -> str:
    """Short name of a metric, without the method or remark behind it."""
    return metric_name(base_metric(key), short=True).split(" (", maxsplit=1)[0]


def methods_of(estimates: Iterable[tuple[str, Estimate]]) -> str:
    """Which method gave which interval: "Wilson for sensitivity and specificity; ..."."""
    names: dict[str, dict[str, None]] = {}
    for key, estimate in estimates:
        if estimate.value is not None:
            names.setdefault(estimate.method, {})[measure(key)] = None
    return "; ".join(
        t("{method} for {metrics}", method=method, metrics=join_words(listed))
        for method, listed in names.items()
    )
