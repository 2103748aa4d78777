"""What changed from one run of a series to the next: data, code, configuration, or only the seed.

Differences between two runs are described, not tested: two runs on overlapping images
are neither independent nor paired, so the sentences say whether the intervals overlap
and claim no significance.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from medcompare.base.formatting import (
    format_duration,
    format_estimate,
    format_number,
    format_time,
    join_words,
)
from medcompare.base.language import message, t, tn
from medcompare.base.record import Record
from medcompare.runs.summary import RunSummary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medcompare.runs.summary import ModelFigures
    from medcompare.stats.records import Estimate

Cause = Literal["data", "code", "libraries", "machine", "configuration", "models", "seed"]

LOCATIONS = frozenset({"name", "out", "store", "seed", "models"})
"""Fields that say where results go, or that are compared by themselves."""

PRIVATE_FIELDS = frozenset(
    {
        "data.source",
        "train.weights_dir",
        "report.checklist_answers",
        "report.theme",
        "predictions",
        "validation",
        "costs",
    }
)
"""Fields that hold a path: said to have changed, never quoted, as the sentences are mailed."""

Figure = Literal["auc", "sensitivity", "specificity", "training_time_s"]
METRICS: tuple[tuple[Figure, str], ...] = (
    ("auc", message("AUC")),
    ("sensitivity", message("Sensitivity")),
    ("specificity", message("Specificity")),
)
WORDS: dict[Cause, str] = {
    "data": message("the data"),
    "code": message("the code"),
    "libraries": message("library versions"),
    "machine": message("the machine"),
    "configuration": message("the configuration"),
    "models": message("the list of models"),
    "seed": message("the seed"),
}
SHOWN_FIELDS = 6
SHOWN_TIME_CHANGE = 0.2


class FieldChange(Record):
    """One configuration field that differs."""

    field: str
    before: str
    after: str


class FigureChange(Record):
    """One metric, or the training time, of one model in both runs."""

    model: str
    display_name: str
    figure: Figure
    before: float | None
    after: float | None
    difference: float | None
    intervals_overlap: bool | None = Field(default=None, description="None where an interval is missing.")


class Drift(Record):
    """One statistic of the images that were added, or removed, beside those that were there."""

    images: Literal["added", "removed"] = Field(
        description="'added': beside all images of the earlier run; 'removed': beside those that stayed."
    )
    statistic: str = Field(description="With its unit.")
    n: tuple[int, int] = Field(description="Images measured: of these, and of those beside them.")
    medians: tuple[float, float]
    difference: float | None = Field(
        description="Standardised difference of the means, in standard deviations; null where neither varies."
    )
    distance: float = Field(
        ge=0, le=1, description="Kolmogorov-Smirnov: largest difference of the two distribution functions."
    )
    p_value: float = Field(ge=0, le=1, description="Two-sample Kolmogorov-Smirnov test, adjusted by Holm.")
    drifted: bool


class Relabelled(Record):
    """An image whose label is another one than in the earlier run."""

    case_id: str
    before: str
    after: str


class DataChanges(Record):
    """What is different in the images since the last run of the same data."""

    previous: str = Field(description="Name of the earlier run.")
    previous_at: str = Field(description="Its start, UTC, ISO 8601.")
    n_before: int = Field(ge=0)
    n_after: int = Field(ge=0)
    n_added: int = Field(ge=0, description="Images whose content the earlier run did not use.")
    n_removed: int = Field(ge=0, description="Images of the earlier run whose content this one does not use.")
    n_relabelled: int = Field(ge=0)
    n_other_patient: int = Field(ge=0, description="Images that are now filed under another patient.")
    added: tuple[str, ...] = Field(default=(), description="Case ids, at most 20.")
    removed: tuple[str, ...] = Field(default=(), description="Case ids in the earlier run, at most 20.")
    relabelled: tuple[Relabelled, ...] = Field(default=(), description="At most 20.")
    drift: tuple[Drift, ...] = ()
    test: str = Field(default="", description="How drift was tested; empty: it was not.")
    note: str = Field(default="", description="Why something could not be compared.")

    @property
    def counts(self) -> str:
        """``12 images added, 3 removed``; empty where nothing of it changed."""
        parts = (
            (self.n_added, message("{n:,} added")),
            (self.n_removed, message("{n:,} removed")),
            (self.n_relabelled, message("{n:,} relabelled")),
            (self.n_other_patient, message("{n:,} filed under another patient")),
        )
        return join_words(t(words, n=n) for n, words in parts if n)


class Changes(Record):
    """What differs between two runs, and in plain sentences."""

    previous: str | None = Field(description="Name of the earlier run; None: there is none.")
    current: str
    causes: tuple[Cause, ...] = Field(
        description="In what the runs differ; empty: in nothing that is recorded."
    )
    fields: tuple[FieldChange, ...] = ()
    figures: tuple[FigureChange, ...] = ()
    verdict_changed: bool | None = Field(description="None where one of the runs has no verdict.")
    sentences: tuple[str, ...]


def what_changed(
    previous: RunSummary | None, current: RunSummary, data: DataChanges | None = None
) -> Changes:
    """Compare `current` with the run before it.

    Parameters
    ----------
    previous : RunSummary or None
        An earlier run of the same series; None where there is none.
    current : RunSummary
        The run that has just ended.
    data : DataChanges, optional
        What changed in the images, where that is known.

    Returns
    -------
    Changes
        With sentences for the report and the mail, which hold no path and no file name.
    """
    if previous is None:
        return Changes(
            previous=None,
            current=current.name,
            causes=(),
            verdict_changed=None,
            sentences=(
                t("This is the first recorded run of its series: there is nothing to compare it with."),
            ),
        )
    fields = tuple(_changed_fields(previous, current))
    causes = dict(_causes(previous, current, fields))
    metrics = dict(_metrics(previous, current))
    times = dict(_times(previous, current))
    order = [row.model for row in current.models]
    if "data" in causes and data is not None and data.previous == previous.name and data.counts:
        causes["data"] += " " + t("Images: {counts}.", counts=data.counts)
    sentences = [_opening(previous, tuple(causes)), *causes.values()]
    verdict_changed = None
    if previous.verdict is not None and current.verdict is not None:
        before, after = previous.verdict, current.verdict
        verdict_changed = (before.outcome, before.model) != (after.outcome, after.model)
        sentences.append(
            t(
                "The verdict changed from “{before}” to “{after}”.",
                before=before.headline,
                after=after.headline,
            )
            if verdict_changed
            else t("The verdict is the same: {headline}.", headline=after.headline)
        )
    sentences += [sentence for sentence in (*metrics.values(), *times.values()) if sentence]
    if not causes:
        sentences.append(
            t("Nothing that is recorded changed, yet the metrics differ: the run did not repeat exactly.")
            if any(change.difference for change in metrics)
            else t("The metrics are the same to the last digit.")
        )
    return Changes(
        previous=previous.name,
        current=current.name,
        causes=tuple(causes),
        fields=fields,
        figures=tuple(sorted((*metrics, *times), key=lambda change: order.index(change.model))),
        verdict_changed=verdict_changed,
        sentences=tuple(sentences),
    )


def _flat_config(run: RunSummary) -> dict[str, Any]:
    """Configuration of `run` by dotted field name."""

    def walk(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, dict) and value:
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(json.loads(run.config_json), ""))


def _changed_fields(previous: RunSummary, current: RunSummary) -> Iterator[FieldChange]:
    """Configuration fields that differ, by name; places and the seed do not count."""
    before, after = _flat_config(previous), _flat_config(current)
    for field in sorted((before.keys() | after.keys()) - LOCATIONS):
        old, new = before.get(field), after.get(field)
        if old != new and field in PRIVATE_FIELDS:
            yield FieldChange(field=field, before=t("a path"), after=t("another path"))
        elif old != new:
            yield FieldChange(field=field, before=_shown(old), after=_shown(new))


def _shown(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value in (None, {}, []):
        return t("not set")
    if isinstance(value, bool):
        return t("yes") if value else t("no")
    return join_words(map(str, value)) if isinstance(value, list) else str(value)


def _causes(
    previous: RunSummary, current: RunSummary, fields: tuple[FieldChange, ...]
) -> Iterator[tuple[Cause, str]]:
    """What differs, each with its sentence."""
    if _differ(previous.data_fingerprint, current.data_fingerprint):
        yield "data", _data_sentence(previous.n_images, current.n_images)
    # The digest decides, as it also sees what was never committed.
    digests = previous.code_digest, current.code_digest
    if _differ(*(digests if all(digests) else (previous.code_commit, current.code_commit))):
        before, after = _commit(previous), _commit(current)
        edited = t("Code: edited since, at the same commit ({commit}).", commit=after)
        yield (
            "code",
            edited if before == after else t("Code: {before} → {after}.", before=before, after=after),
        )
    if previous.versions and current.versions and previous.versions != current.versions:
        old, new = dict(previous.versions), dict(current.versions)
        absent = t("absent")
        moved = [
            f"{name} {old.get(name, absent)} → {new.get(name, absent)}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
        yield "libraries", t("Libraries: {versions}.", versions="; ".join(moved))
    if _differ(previous.machine, current.machine):
        yield "machine", t("Machine: {before} → {after}.", before=previous.machine, after=current.machine)
    if fields:
        listed = [f"{change.field}: {change.before} → {change.after}" for change in fields[:SHOWN_FIELDS]]
        more = len(fields) - SHOWN_FIELDS
        listed += [tn("and {n} more", "and {n:,} more", more)] if more > 0 else []
        yield "configuration", t("Configuration: {fields}.", fields="; ".join(listed))
    names = [{row.model: row.display_name for row in run.models} for run in (previous, current)]
    if all(names) and names[0].keys() != names[1].keys():  # a failed run has none, which is no change
        added, gone = (
            [one[model] for model in one if model not in other] for one, other in (names[::-1], names)
        )
        parts = [t("added {models}", models=join_words(added))] if added else []
        parts += [t("left out {models}", models=join_words(gone))] if gone else []
        yield "models", t("Models: {changes}.", changes="; ".join(parts))
    if previous.seed != current.seed:
        yield "seed", t("Seed: {before} → {after}.", before=str(previous.seed), after=str(current.seed))


def _differ(before: str | None, after: str | None) -> bool:
    return before is not None and after is not None and before != after


def _opening(previous: RunSummary, causes: tuple[Cause, ...]) -> str:
    when = format_time(previous.started_at[:19] + "+00:00")
    if not causes:
        return t(
            "Since the previous run ({when}) nothing changed: same data, code, configuration and seed.",
            when=when,
        )
    if causes == ("seed",):
        return t("Since the previous run ({when}) only the seed changed.", when=when)
    things = join_words(t(WORDS[cause]) for cause in causes)
    return t("Since the previous run ({when}) {things} changed.", when=when, things=things)


def _data_sentence(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return t("Data: other content.")
    if before == after:
        return t("Data: as many images as before ({n:,}), with other content or labels.", n=after)
    difference = format_number(after - before, digits=0, signed=True)
    return t(
        "Data: {before:,} → {after:,} images ({difference}).",
        before=before,
        after=after,
        difference=difference,
    )


def _commit(run: RunSummary) -> str:
    if run.code_commit is None:
        return t("no commit")
    commit = run.code_commit[:8]
    return t("{commit} with uncommitted edits", commit=commit) if run.code_dirty else commit


def _change(
    row: ModelFigures,
    figure: Figure,
    before: float | None,
    after: float | None,
    *,
    overlap: bool | None = None,
) -> FigureChange:
    return FigureChange(
        model=row.model,
        display_name=row.display_name,
        figure=figure,
        before=before,
        after=after,
        difference=None if before is None or after is None else after - before,
        intervals_overlap=overlap,
    )


def _in_both(previous: RunSummary, current: RunSummary) -> Iterator[tuple[ModelFigures, ModelFigures]]:
    earlier = {row.model: row for row in previous.models}
    yield from ((earlier[row.model], row) for row in current.models if row.model in earlier)


def _metrics(previous: RunSummary, current: RunSummary) -> Iterator[tuple[FigureChange, str | None]]:
    """Every metric of every model of both runs, with a sentence where it moved."""
    for earlier, row in _in_both(previous, current):
        for figure, name in METRICS:
            before, after = getattr(earlier, figure), getattr(row, figure)
            change = _change(row, figure, before.value, after.value, overlap=intervals_overlap(before, after))
            if not change.difference:
                yield change, None
                continue
            said = t(
                message("{metric} of {model} rose by {difference}, from {before} to {after}")
                if change.difference > 0
                else message("{metric} of {model} fell by {difference}, from {before} to {after}"),
                metric=t(name),
                model=row.display_name,
                difference=format_number(abs(change.difference)),
                before=format_estimate(before),
                after=format_estimate(after),
            )
            apart = change.intervals_overlap is False
            yield change, f"{said}; {t('the two intervals do not overlap')}." if apart else f"{said}."


def _times(previous: RunSummary, current: RunSummary) -> Iterator[tuple[FigureChange, str | None]]:
    """Training times, with a sentence where one changed much."""
    for earlier, row in _in_both(previous, current):
        before, after = earlier.training_time_s, row.training_time_s
        sentence = None
        if before and after is not None and abs(after - before) / before > SHOWN_TIME_CHANGE:
            longer = message("Training of {model} took longer: {before} before, {now} now.")
            shorter = message("Training of {model} took shorter: {before} before, {now} now.")
            took = {"before": format_duration(before), "now": format_duration(after)}
            sentence = t(longer if after > before else shorter, model=row.display_name, **took)
        yield _change(row, "training_time_s", before, after), sentence


def intervals_overlap(before: Estimate, after: Estimate) -> bool | None:
    """Whether two intervals share a point; None where one of them has no limits."""
    limits = before.ci_low, before.ci_high, after.ci_low, after.ci_high
    known = [limit for limit in limits if limit is not None]
    if len(known) < len(limits):
        return None
    low_before, high_before, low_after, high_after = known
    return low_before <= high_after and low_after <= high_before


class HistoryContext(Record):
    """What a report says about the nights before: taken from the history just before rendering."""

    changes: Changes
    data: DataChanges | None = None
    """The images beside those of the last run of the same data; None without one."""
    runs: tuple[RunSummary, ...]
    """The series up to and with this run, oldest first."""
    n_earlier_looks: int = 0
    """Earlier runs that evaluated the same test images with other settings or other code."""
