"""What changed from one night to the next: data, code, configuration, or only the seed.

Differences between two nights are described, not tested: two runs on overlapping images
are neither independent nor paired, so the sentences say whether the intervals overlap
and claim no significance.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from medcompare.base.formatting import (
    format_count,
    format_duration,
    format_estimate,
    format_number,
    format_time,
    join_words,
)
from medcompare.base.record import Record
from medcompare.runs.summary import RunSummary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medcompare.stats.records import Estimate

Cause = Literal["data", "code", "libraries", "machine", "configuration", "models", "seed"]

LOCATIONS = frozenset({"name", "out", "store", "seed", "models"})
"""Fields that say where results go, or that are compared by themselves."""

PRIVATE_FIELDS = frozenset(
    {
        "data.source",
        "train.weights_dir",
        "report.checklist_answers",
        "predictions",
        "validation",
        "costs",
    }
)
"""Fields that hold a path: said to have changed, never quoted, as the sentences are mailed."""

Figure = Literal["auc", "sensitivity", "specificity", "training_time_s"]
FIGURES: tuple[tuple[Figure, str], ...] = (
    ("auc", "AUC"),
    ("sensitivity", "sensitivity"),
    ("specificity", "specificity"),
)
SHOWN_FIELDS = 6


class FieldChange(Record):
    """One configuration field that differs."""

    field: str
    before: str
    after: str


class FigureChange(Record):
    """One figure of one model in both runs."""

    model: str
    display_name: str
    figure: Figure
    before: float | None
    after: float | None
    difference: float | None
    intervals_overlap: bool | None = Field(default=None, description="None where an interval is missing.")


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

    @property
    def only_seed(self) -> bool:
        """Whether nothing but the seed differs."""
        return self.causes == ("seed",)


def what_changed(previous: RunSummary | None, current: RunSummary) -> Changes:
    """Compare `current` with the run before it.

    Parameters
    ----------
    previous : RunSummary or None
        An earlier run of the same series; None where there is none.
    current : RunSummary
        The run that has just ended.

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
            sentences=("This is the first recorded run of its series: there is nothing to compare it with.",),
        )
    fields = tuple(changed_fields(previous, current))
    causes = tuple(_causes(previous, current, has_changed_fields=bool(fields)))
    figures = tuple(_figures(previous, current))
    changed = verdict_changed(previous, current)
    sentences = [
        _opening(previous, causes),
        *_cause_sentences(previous, current, causes, fields),
        *_verdict_sentences(previous, current, changed),
        *_figure_sentences(previous, current, figures),
        *_repeatability(causes, figures),
    ]
    return Changes(
        previous=previous.name,
        current=current.name,
        causes=causes,
        fields=fields,
        figures=figures,
        verdict_changed=changed,
        sentences=tuple(sentences),
    )


def verdict_changed(previous: RunSummary, current: RunSummary) -> bool | None:
    """Whether another recommendation was given; None where one of the runs has none."""
    if previous.verdict is None or current.verdict is None:
        return None
    return (previous.verdict.outcome, previous.verdict.model) != (
        current.verdict.outcome,
        current.verdict.model,
    )


def flat_config(run: RunSummary) -> dict[str, Any]:
    """Configuration of `run` by dotted field name."""

    def walk(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, dict) and value:
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(json.loads(run.config_json), ""))


def changed_fields(previous: RunSummary, current: RunSummary) -> Iterator[FieldChange]:
    """Configuration fields that differ, by name; places and the seed do not count."""
    before, after = flat_config(previous), flat_config(current)
    for field in sorted(before.keys() | after.keys()):
        if field in LOCATIONS or before.get(field) == after.get(field):
            continue
        if field in PRIVATE_FIELDS:
            yield FieldChange(field=field, before="a path", after="another path")
        else:
            yield FieldChange(field=field, before=_shown(before, field), after=_shown(after, field))


def _shown(config: dict[str, Any], field: str) -> str:
    if config.get(field) in (None, {}, []):
        return "not set"
    value = config[field]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return join_words(map(str, value)) if isinstance(value, list) else str(value)


def _causes(previous: RunSummary, current: RunSummary, *, has_changed_fields: bool) -> Iterator[Cause]:
    if _differ(previous.data_fingerprint, current.data_fingerprint):
        yield "data"
    if code_differs(previous, current):
        yield "code"
    if previous.versions and current.versions and previous.versions != current.versions:
        yield "libraries"
    if _differ(previous.machine, current.machine):
        yield "machine"
    if has_changed_fields:
        yield "configuration"
    models = [{row.model for row in run.models} for run in (previous, current)]
    if all(models) and models[0] != models[1]:  # a failed run has none, which is no change
        yield "models"
    if previous.seed != current.seed:
        yield "seed"


def _differ(before: str | None, after: str | None) -> bool:
    return before is not None and after is not None and before != after


def code_differs(previous: RunSummary, current: RunSummary) -> bool:
    """Whether the code differs; the digest decides, as it also sees what was never committed."""
    if previous.code_digest is not None and current.code_digest is not None:
        return previous.code_digest != current.code_digest
    return _differ(previous.code_commit, current.code_commit)


def _opening(previous: RunSummary, causes: tuple[Cause, ...]) -> str:
    since = f"Since the previous run ({format_time(previous.started_at[:19] + '+00:00')})"
    if not causes:
        return f"{since} nothing changed: same data, code, configuration and seed."
    if causes == ("seed",):
        return f"{since} only the seed changed."
    words = {
        "data": "the data",
        "code": "the code",
        "libraries": "library versions",
        "machine": "the machine",
        "configuration": "the configuration",
        "models": "the list of models",
        "seed": "the seed",
    }
    return f"{since} {join_words(words[cause] for cause in causes)} changed."


def _cause_sentences(
    previous: RunSummary, current: RunSummary, causes: tuple[Cause, ...], fields: tuple[FieldChange, ...]
) -> Iterator[str]:
    if "data" in causes:
        yield _data_sentence(previous, current)
    if "code" in causes:
        yield _code_sentence(previous, current)
    if "libraries" in causes:
        before, after = dict(previous.versions), dict(current.versions)
        moved = [
            f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]
        yield f"Libraries: {'; '.join(moved)}."
    if "machine" in causes:
        yield f"Machine: {previous.machine} → {current.machine}."
    if fields:
        listed = [f"{change.field}: {change.before} → {change.after}" for change in fields[:SHOWN_FIELDS]]
        more = len(fields) - SHOWN_FIELDS
        yield f"Configuration: {'; '.join(listed)}{f'; and {more} more' if more > 0 else ''}."
    if "models" in causes:
        old = {row.model: row.display_name for row in previous.models}
        new = {row.model: row.display_name for row in current.models}
        added = [name for model, name in new.items() if model not in old]
        gone = [name for model, name in old.items() if model not in new]
        parts = ([f"added {join_words(added)}"] if added else []) + (
            [f"left out {join_words(gone)}"] if gone else []
        )
        yield f"Models: {'; '.join(parts)}."
    if "seed" in causes:
        yield f"Seed: {previous.seed} → {current.seed}."


def _data_sentence(previous: RunSummary, current: RunSummary) -> str:
    before, after = previous.n_images, current.n_images
    if before is None or after is None:
        return "Data: other content."
    if before == after:
        return f"Data: as many images as before ({format_count(after)}), with other content or labels."
    difference = format_number(after - before, digits=0, signed=True)
    return f"Data: {format_count(before)} → {format_count(after)} images ({difference})."


def _code_sentence(previous: RunSummary, current: RunSummary) -> str:
    def named(run: RunSummary) -> str:
        if run.code_commit is None:
            return "no commit"
        return run.code_commit[:8] + (" with uncommitted edits" if run.code_dirty else "")

    if named(previous) == named(current):
        return f"Code: edited since, at the same commit ({named(current)})."
    return f"Code: {named(previous)} → {named(current)}."


def _verdict_sentences(previous: RunSummary, current: RunSummary, changed: bool | None) -> Iterator[str]:  # noqa: FBT001 - three-valued
    if changed is None or previous.verdict is None or current.verdict is None:
        return
    if changed:
        yield f"The verdict changed from “{previous.verdict.headline}” to “{current.verdict.headline}”."
    else:
        yield f"The verdict is the same: {current.verdict.headline}."


def _figures(previous: RunSummary, current: RunSummary) -> Iterator[FigureChange]:
    for row in current.models:
        earlier = previous.figures(row.model)
        if earlier is None:
            continue
        for name, _ in FIGURES:
            before, after = getattr(earlier, name), getattr(row, name)
            yield FigureChange(
                model=row.model,
                display_name=row.display_name,
                figure=name,
                before=before.value,
                after=after.value,
                difference=_difference(before.value, after.value),
                intervals_overlap=intervals_overlap(before, after),
            )
        yield FigureChange(
            model=row.model,
            display_name=row.display_name,
            figure="training_time_s",
            before=earlier.training_time_s,
            after=row.training_time_s,
            difference=_difference(earlier.training_time_s, row.training_time_s),
        )


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def intervals_overlap(before: Estimate, after: Estimate) -> bool | None:
    """Whether two intervals share a point; None where one of them has no limits."""
    limits = (before.ci_low, before.ci_high, after.ci_low, after.ci_high)
    if any(limit is None for limit in limits):
        return None
    low_before, high_before, low_after, high_after = (limit for limit in limits if limit is not None)
    return low_before <= high_after and low_after <= high_before


def _figure_sentences(
    previous: RunSummary, current: RunSummary, figures: tuple[FigureChange, ...]
) -> Iterator[str]:
    words = dict(FIGURES)
    for change in figures:
        if change.difference is None or change.difference == 0:
            continue
        if change.figure == "training_time_s":
            continue
        earlier, now = previous.figures(change.model), current.figures(change.model)
        if earlier is None or now is None:
            continue
        verb = "rose" if change.difference > 0 else "fell"
        text = (
            f"{words[change.figure]} of {change.display_name} {verb} by {format_number(abs(change.difference))}, "
            f"from {format_estimate(getattr(earlier, change.figure))} to {format_estimate(getattr(now, change.figure))}"
        )
        note = "; the two intervals do not overlap" if change.intervals_overlap is False else ""
        yield f"{text[0].upper()}{text[1:]}{note}."
    yield from _time_sentences(figures)


def _time_sentences(figures: tuple[FigureChange, ...]) -> Iterator[str]:
    worth_saying = 0.2
    for change in figures:
        before, after = change.before, change.after
        if change.figure != "training_time_s" or before is None or after is None or before == 0:
            continue
        if abs(after - before) / before > worth_saying:
            verb = "longer" if after > before else "shorter"
            yield (
                f"Training of {change.display_name} took {verb}: {format_duration(before)} before, "
                f"{format_duration(after)} now."
            )


def _repeatability(causes: tuple[Cause, ...], figures: tuple[FigureChange, ...]) -> Iterator[str]:
    moved = [change for change in figures if change.figure != "training_time_s" and change.difference]
    if not causes and moved:
        yield "Nothing that is recorded changed, yet the figures differ: the run did not repeat exactly."
    elif not causes:
        yield "The figures are the same to the last digit."


class NightContext(Record):
    """What a report says about the nights before: taken from the history just before rendering."""

    changes: Changes
    runs: tuple[RunSummary, ...]
    """The series up to and with this run, oldest first."""
    n_earlier_looks: int = 0
    """Earlier runs that evaluated the same test images with other settings or other code."""
