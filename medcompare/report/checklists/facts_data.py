"""Facts on data: what came in, and how it was split."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    format_count,
    format_percent,
)
from medcompare.base.language import message, t, tn
from medcompare.config.report import TITLE
from medcompare.report.checklists.facts import (
    Answer,
    RunRecords,
    counted,
    digest,
    fact,
    subgroup_sizes,
    test_counts,
)

if TYPE_CHECKING:
    from medcompare.data.records import DatasetSplit

SAYS_AI = re.compile(
    r"artificial intelligence|\bAI\b|deep.learning|machine.learning|neural|\bCNNs?\b|transformer"
    r"|intelligenz|\bKI\b|maschinelle. lernen|neuronal",
    re.IGNORECASE,
)
"""What a title must hold to say that AI was studied; "image classifier" alone may be a person."""

SUBSET_WORDS = {
    "train": message("training"),
    "val": message("tuning (validation)"),
    "test": message("test"),
}


@fact(message("a title"))
def title(run: RunRecords) -> Answer:
    """The report's title, and one that would satisfy the item."""
    negative, positive = run.assessment.classes
    kind = t("deep-learning image classifiers") if run.trained else t("classifiers")
    given = run.setting("report.title")
    given = t(TITLE) if given == TITLE else given
    parts = [t("Title of this report: \u201c{title}\u201d.", title=given)] if given else []
    parts.append(
        t(
            "A title that says so: \u201cOffline comparison of {kind} ({models}) for {positive} versus {negative}: "
            "AUC, sensitivity and specificity\u201d.",
            kind=kind,
            models=run.names,
            positive=positive,
            negative=negative,
        )
    )
    missing = [] if SAYS_AI.search(given) else [t("a title that says so")]
    missing += [] if run.trained else [t("the kind of AI behind the models")]
    return Answer(text=" ".join(parts), missing="; ".join(missing))


@fact(message("the source of the data"))
def data_source(run: RunRecords) -> Answer:
    """What was read; where it came from before that, no record says."""
    manifest = run.manifest
    if manifest is None:
        file, cases = PurePath(run.setting("predictions")).name, test_counts(run)
        if not file:
            return Answer(text=t("Predictions made elsewhere were read from a table: {cases}.", cases=cases))
        text = t(
            "Predictions made elsewhere were read from a table ({file}): {cases}.", file=file, cases=cases
        )
        return Answer(text=text)
    facts = {
        "name": manifest.name,
        "n_images": manifest.n_images,
        "classes": counted(manifest.classes, manifest.class_counts),
        "digest": digest(manifest.fingerprint),
    }
    if manifest.synthetic:
        text = t(
            "Data set \u201c{name}\u201d: generated demonstration images, not real ones; {n_images:,} usable images "
            "({classes}); SHA-256 over contents and labels {digest}.",
            **facts,
        )
    else:
        text = t(
            "Data set \u201c{name}\u201d: {n_images:,} usable images ({classes}); SHA-256 over contents and labels "
            "{digest}.",
            **facts,
        )
    return Answer(text=text)


@fact(message("what was done about missing data"))
def missing_data(run: RunRecords) -> Answer:
    """What was excluded, and that no score is missing."""
    scored = t(
        "All {n:,} test {cases} have a label and a score from every model.",
        n=run.assessment.n,
        cases=run.cases,
    )
    manifest = run.manifest
    if manifest is None:
        return Answer(
            text=f"{scored} {t('A table with gaps is refused, nothing is imputed.')}",
            missing=t("what was left out before the table of predictions was made"),
        )
    reasons = ", ".join(
        f"{t(reason)}: {format_count(count)}" for reason, count in manifest.rejected_by_reason
    )
    facts = {
        "n_rejected": manifest.n_rejected,
        "n_found": manifest.n_found,
        "n_groups": manifest.n_duplicate_groups,
        "n_conflicting": manifest.n_conflicting_groups,
    }
    if reasons:
        excluded = t(
            "Excluded files: {n_rejected:,} of {n_found:,} ({reasons}); groups of identical files: {n_groups:,}, of "
            "which with opposite labels and left out entirely: {n_conflicting:,}.",
            **facts,
            reasons=reasons,
        )
    else:
        excluded = t(
            "Excluded files: {n_rejected:,} of {n_found:,}; groups of identical files: {n_groups:,}, of which with "
            "opposite labels and left out entirely: {n_conflicting:,}.",
            **facts,
        )
    copies = [
        t(
            "Copies ({kind}): {n_files:,} (groups: {n_groups:,}).",
            n_files=files,
            n_groups=groups,
            kind=t(kind),
        )
        for kind, groups, files in manifest.copies_by_kind
    ]
    return Answer(text=" ".join([excluded, *copies, t("Nothing was imputed."), scored]))


def _subsets(split: DatasetSplit, *, shares: bool = False) -> str:
    """Sizes of all subsets, with wanted and achieved shares where asked for."""
    parts = []
    for row in split.subsets:
        inside = counted(split.classes, row.class_counts)
        if row.n_patients is not None:
            inside += f", {tn('{n} patient', '{n:,} patients', row.n_patients)}"
        part = t(
            "{subset} {n_images:,} images ({classes})",
            subset=t(SUBSET_WORDS[row.subset]),
            n_images=row.n_images,
            classes=inside,
        )
        if shares:
            share, wanted = format_percent(row.fraction), format_percent(row.target_fraction)
            part += f", {t('{share} of all (wanted {wanted})', share=share, wanted=wanted)}"
        parts.append(part)
    return "; ".join(parts)


@fact(message("how the data were partitioned"))
def partitions(run: RunRecords) -> Answer | None:
    """Subsets, shares and class balance."""
    split = run.split
    if split is None:
        return None
    subsets = _subsets(split, shares=True)
    facts = t("Seed {seed}. Subsets: {subsets}.", seed=split.seed, subsets=subsets)
    return Answer(text=f"{split.method.rstrip('.')}. {facts}")


@fact(message("cases and events in each subset"))
def class_balance(run: RunRecords) -> Answer:
    """Cases and events in each analysis."""
    if run.split is None:
        return Answer(
            text=t("Evaluation: {cases}.", cases=test_counts(run)),
            missing=t("the same for the development data"),
        )
    return Answer(text=t("Subsets: {subsets}.", subsets=_subsets(run.split)))


@fact(message("at which level the subsets are disjoint"))
def disjointness(run: RunRecords) -> Answer | None:
    """Level at which subsets are disjoint, as verified after the split."""
    split = run.split
    if split is None:
        return None
    same = t(
        "Copies of images ({n:,}), as far as found, were kept on one side.",
        n=split.n_duplicates_kept_together,
    )
    if split.grouped_by is None:
        return Answer(
            text=f"{t('Disjoint by image.')} {same}",
            missing=t("whether a patient has images in two subsets (no patient ids were given)"),
        )
    by_patient = t(
        "Disjoint by patient ({column}): patients in more than one subset, counted after the split: 0.",
        column=split.grouped_by,
    )
    return Answer(text=f"{by_patient} {same}")


@fact(message("how development and evaluation data differ"))
def same_source(run: RunRecords) -> Answer | None:
    """Development and evaluation data are parts of one data set."""
    if run.split is None or run.manifest is None:
        return None
    return Answer(
        text=t(
            "All subsets are parts of one data set (“{name}”), divided at random (seed {seed}): the split "
            "itself makes no difference between them.",
            name=run.manifest.name,
            seed=run.split.seed,
        )
    )


@fact(message("the flow of cases"))
def flow(run: RunRecords) -> Answer:
    """From files to subsets."""
    manifest = run.manifest
    if manifest is None:
        return Answer(
            text=t("Scored by every model: {cases}.", cases=test_counts(run)),
            missing=t("how these cases were arrived at"),
        )
    subsets = [] if run.split is None else [_subsets(run.split)]
    files = t(
        "Files found {n_found:,}; excluded {n_rejected:,}; usable {n_images:,}",
        n_found=manifest.n_found,
        n_rejected=manifest.n_rejected,
        n_images=manifest.n_images,
    )
    diagram = t("Diagram: section \u201c{section}\u201d.", section=t("Data and split"))
    return Answer(text=f"{'; '.join([files, *subsets])}. {diagram}")


@fact(message("characteristics of the cases"))
def characteristics(run: RunRecords) -> Answer:
    """Class counts per subset, subgroup sizes in the test subset, and the columns that are tabulated."""
    parts = [class_balance(run).text]
    if groups := subgroup_sizes(run):
        parts.append(t("Test subset {groups}.", groups=groups))
    tabulated = list(dict.fromkeys(row.column for row in run.characteristics))
    if tabulated:
        parts.append(
            t(
                "Counted per subset and class in section \u201c{section}\u201d: {columns}.",
                section=t("Data and split"),
                columns=", ".join(tabulated),
            )
        )
    columns = run.manifest.extra_columns if run.manifest is not None else ()
    if others := [column for column in columns if column not in tabulated]:
        parts.append(t("Columns of the data that are not tabulated: {columns}.", columns=", ".join(others)))
    return Answer(text=" ".join(parts))
