"""Facts on data and development: what came in, how it was split, how the networks were made."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    format_bytes,
    format_flops,
    format_number,
    format_parameters,
    format_percent,
    format_significant,
    format_time,
    join_words,
)
from medcompare.report.checklists.facts import (
    Answer,
    RunRecords,
    by_model,
    code_version,
    counted,
    digest,
    fact,
    subgroup_sizes,
    test_counts,
)

if TYPE_CHECKING:
    from medcompare.data.records import DatasetSplit
    from medcompare.training.records import TrainedModel

SAYS_AI = re.compile(
    r"artificial intelligence|\bAI\b|deep.learning|machine.learning|neural|\bCNNs?\b|transformer",
    re.IGNORECASE,
)
"""What a title must hold to say that AI was studied; "image classifier" alone may be a person."""

SUBSET_WORDS = {"train": "training", "val": "tuning (validation)", "test": "test"}


@fact("a title")
def title(run: RunRecords) -> Answer:
    """The report's title, and one that would satisfy the item."""
    negative, positive = run.assessment.classes
    kind = "deep-learning image classifiers" if run.trained else "classifiers"
    given = run.setting("report.title")
    text = f"Title of this report: \u201c{given}\u201d. " if given else ""
    text += (
        f"A title that says so: \u201cOffline comparison of {kind} ({run.names}) for {positive} versus "
        f"{negative}: AUC, sensitivity and specificity\u201d."
    )
    missing = [] if SAYS_AI.search(given) else ["a title that says so"]
    missing += [] if run.trained else ["the kind of AI behind the models"]
    return Answer(text=text, missing="; ".join(missing))


@fact("the source of the data")
def data_source(run: RunRecords) -> Answer:
    """What was read; where it came from before that, no record says."""
    manifest = run.manifest
    if manifest is None:
        file = run.setting("predictions")
        table = f" ({PurePath(file).name})" if file else ""
        return Answer(text=f"Predictions made elsewhere were read from a table{table}: {test_counts(run)}.")
    kind = "generated demonstration images, not real ones; " if manifest.synthetic else ""
    return Answer(
        text=f"Data set \u201c{manifest.name}\u201d: {kind}{manifest.n_images:,} usable images "
        f"({counted(manifest.classes, manifest.class_counts)}); SHA-256 over contents and labels "
        f"{digest(manifest.fingerprint)}."
    )


@fact("how the images were prepared")
def preprocessing(run: RunRecords) -> Answer | None:
    """Transforms at evaluation; the same code runs on every image."""
    checked = "" if run.manifest is None else "Every file was decoded once and checked before use. "
    return by_model(
        run,
        lambda row: (
            f"decoded as RGB, shorter side resized to {row.resize_px} px, centre crop of {row.image_size_px} px, "
            "channels standardised with the network's own means and standard deviations"
        ),
        after=f"{checked}The same steps were applied to every image of every group.",
    )


@fact("what was done about missing data")
def missing_data(run: RunRecords) -> Answer:
    """What was excluded, and that no score is missing."""
    scored = f"All {run.assessment.n:,} test {run.cases} have a label and a score from every model."
    manifest = run.manifest
    if manifest is None:
        return Answer(
            text=f"{scored} A table with gaps is refused, nothing is imputed.",
            missing="what was left out before the table of predictions was made",
        )
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in manifest.rejected_by_reason)
    copies = "".join(
        f"{files:,} files are copies in {groups:,} groups ({kind}). "
        for kind, groups, files in manifest.copies_by_kind
    )
    return Answer(
        text=f"{manifest.n_rejected:,} of {manifest.n_found:,} files were excluded"
        f"{f' ({reasons})' if reasons else ''}; {manifest.n_duplicate_groups:,} groups of identical files, "
        f"{manifest.n_conflicting_groups:,} of them with opposite labels and left out entirely. "
        f"{copies}"
        f"Nothing was imputed. {scored}"
    )


def _subsets(split: DatasetSplit, *, shares: bool = False) -> str:
    """Sizes of all subsets, with wanted and achieved shares where asked for."""
    parts = []
    for row in split.subsets:
        patients = "" if row.n_patients is None else f", {row.n_patients:,} patients"
        share = f", {format_percent(row.fraction)} of all (wanted {format_percent(row.target_fraction)})"
        parts.append(
            f"{SUBSET_WORDS[row.subset]} {row.n_images:,} images "
            f"({counted(split.classes, row.class_counts)}{patients}){share if shares else ''}"
        )
    return "; ".join(parts)


@fact("how the data were partitioned")
def partitions(run: RunRecords) -> Answer | None:
    """Subsets, shares and class balance."""
    split = run.split
    if split is None:
        return None
    return Answer(
        text=f"{split.method.rstrip('.')}. Seed {split.seed}. Subsets: {_subsets(split, shares=True)}."
    )


@fact("cases and events in each subset")
def class_balance(run: RunRecords) -> Answer:
    """Cases and events in each analysis."""
    if run.split is None:
        return Answer(text=f"Evaluation: {test_counts(run)}.", missing="the same for the development data")
    return Answer(text=f"Subsets: {_subsets(run.split)}.")


@fact("at which level the subsets are disjoint")
def disjointness(run: RunRecords) -> Answer | None:
    """Level at which subsets are disjoint, as verified after the split."""
    split = run.split
    if split is None:
        return None
    same = f"Copies of images ({split.n_duplicates_kept_together:,}), as far as found, were kept on one side."
    if split.grouped_by is None:
        return Answer(
            text=f"Disjoint by image. {same}",
            missing="whether a patient has images in two subsets (no patient ids were given)",
        )
    return Answer(
        text=f"Disjoint by patient ({split.grouped_by}): patients in more than one subset, counted after "
        f"the split: 0. {same}"
    )


@fact("how development and evaluation data differ")
def same_source(run: RunRecords) -> Answer | None:
    """Development and evaluation data are parts of one data set."""
    if run.split is None or run.manifest is None:
        return None
    return Answer(
        text=f"All subsets are parts of one data set (\u201c{run.manifest.name}\u201d), divided at random "
        f"(seed {run.split.seed}): the split itself makes no difference between them."
    )


@fact("the flow of cases")
def flow(run: RunRecords) -> Answer:
    """From files to subsets."""
    manifest = run.manifest
    if manifest is None:
        return Answer(
            text=f"Scored by every model: {test_counts(run)}.", missing="how these cases were arrived at"
        )
    subsets = "" if run.split is None else f"; {_subsets(run.split)}"
    return Answer(
        text=f"Files found {manifest.n_found:,}; excluded {manifest.n_rejected:,}; usable {manifest.n_images:,}"
        f"{subsets}. Diagram: section \u201cData and split\u201d."
    )


@fact("characteristics of the cases")
def characteristics(run: RunRecords) -> Answer:
    """Class counts per subset, subgroup sizes in the test subset, and the columns that are tabulated."""
    text = class_balance(run).text
    if groups := subgroup_sizes(run):
        text += f" Test subset {groups}."
    tabulated = list(dict.fromkeys(row.column for row in run.characteristics))
    if tabulated:
        text += (
            f" Counted per subset and class in section \u201cData and split\u201d: {', '.join(tabulated)}."
        )
    columns = run.manifest.extra_columns if run.manifest is not None else ()
    if others := [column for column in columns if column not in tabulated]:
        text += f" Columns of the data that are not tabulated: {', '.join(others)}."
    return Answer(text=text)


@fact("the architecture of the models")
def architecture(run: RunRecords) -> Answer | None:
    """Networks, their size and what one image costs."""
    flops = {cost.model: cost.flops for cost in run.assessment.costs}

    def describe(row: TrainedModel) -> str:
        work = flops.get(row.model)
        return (
            f"{format_parameters(row.n_parameters)} parameters"
            f"{'' if work is None else f', {format_flops(work)} per image'}, input 3 x {row.image_size_px} x "
            f"{row.image_size_px}, output layer replaced by one for two classes"
        )

    return by_model(run, describe, after=f"Layers: as published; built by {code_version(run)}.")


@fact("the initial weights")
def weights(run: RunRecords) -> Answer | None:
    """Initial weights."""

    def describe(row: TrainedModel) -> str:
        start = row.initial_weights
        if start.kind == "none":
            return f"random initialisation, seed {row.seed}"
        return f"{start.name}{f', SHA-256 {digest(start.sha256)}' if start.sha256 else ''}"

    return by_model(run, describe)


@fact("how the models were trained")
def training(run: RunRecords) -> Answer | None:
    """Augmentation, hyperparameters and stopping."""

    def describe(row: TrainedModel) -> str:
        stopped = "stopped early" if row.stopped_early else "ran all its epochs"
        return (
            f"{row.recipe}, batch {row.batch_size}, {len(row.history)} epochs ({stopped}), class weights "
            f"{', '.join(map(format_significant, row.class_weights))}, {row.precision}, seed {row.seed}, {row.hardware}"
        )

    scale, patience = run.setting("train.crop_scale_min"), run.setting("train.patience")
    share = f" keeping at least {scale} of the area" if scale else ""
    steps = run.setting("train.augmentation") or "random horizontal flip"
    tuning = "".join(
        f" Hyperparameters of {one.display_name}: best of {len(one.trials)} trials on the validation subset "
        f"({'; '.join(one.searched)})."
        for one in run.searches
    )
    rule = f"Rule for stopping early: {patience} epochs without a better validation AUC. " if patience else ""
    return by_model(
        run,
        describe,
        before=f"Augmentation: random resized crop{share}, then {steps}.{tuning}",
        after=f"{rule}All settings: section \u201cMethods, configuration and provenance\u201d.",
    )


@fact("how the final models were picked")
def selection(run: RunRecords) -> Answer | None:
    """How the checkpoint was chosen."""
    return by_model(
        run, lambda row: f"{row.selection.rstrip('.')}; epoch {row.best_epoch} of {len(row.history)} kept"
    )


@fact("whether models were combined")
def ensemble(run: RunRecords) -> Answer | None:
    """Single networks only."""
    known = by_model(
        run, lambda row: f"one network, one checkpoint (epoch {row.best_epoch})", before="No ensemble."
    )
    return known and Answer(text=known.text, missing=known.missing, applies=False)


@fact("software and versions")
def software(run: RunRecords) -> Answer:
    """Software and hardware of this run."""
    provenance = run.provenance
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions)
    return Answer(
        text=f"{code_version(run)}; Python {provenance.python}; {versions}; {provenance.platform}; "
        f"{provenance.cpu}, {provenance.n_cores} cores, {format_bytes(provenance.memory_bytes)}; "
        f"GPU: {provenance.gpu or 'none'}.",
        missing="" if run.trained else "software that built and ran the models",
    )


@fact("what was done about unequal classes")
def imbalance(run: RunRecords) -> Answer | None:
    """Class weights in training."""

    def describe(row: TrainedModel) -> str:
        negative, positive = row.class_weights
        if negative == positive:
            return "both classes weigh the same, nothing was done about unequal classes"
        shown = [
            f"{format_significant(w)} ({name})"
            for w, name in zip(row.class_weights, run.assessment.classes, strict=True)
        ]
        return (
            f"cross-entropy weighted {join_words(shown)} so that the rarer class counts as much as the other; "
            f"{format_number(row.log_odds_shift, signed=True)} is subtracted from the predicted log-odds for it"
        )

    return by_model(run, describe)


@fact("how the predictions were computed")
def predictions(run: RunRecords) -> Answer | None:
    """Which file, run by which code, gave the probabilities."""
    return by_model(
        run,
        lambda row: f"checkpoint SHA-256 {digest(row.checkpoint.sha256)}",
        before=f"One probability of {run.assessment.classes[1]} per image, from the frozen checkpoint, run by "
        f"{code_version(run)}.",
    )


@fact("the trained models")
def checkpoints(run: RunRecords) -> Answer | None:
    """The trained models as files."""
    return by_model(
        run,
        lambda row: f"{format_bytes(row.checkpoint.n_bytes)}, SHA-256 {digest(row.checkpoint.sha256)}",
        after=f"Loaded by {code_version(run)}.",
    )


@fact("the code")
def code(run: RunRecords) -> Answer:
    """The code of this run."""
    return Answer(
        text=f"Analysis by {code_version(run)}; configuration SHA-256 {digest(run.provenance.config_sha256)}."
    )


@fact("which outputs are kept")
def stored_outputs(run: RunRecords) -> Answer:
    """What is kept, so that an auditor can check it."""
    text = (
        "Every number of the report is in results.json beside it at full precision, with methods and numbers "
        "of cases"
    )
    if run.trained:
        digests = join_words(f"{row.display_name} {digest(row.checkpoint.sha256)}" for row in run.trained)
        text += f"; predictions are kept per image; checkpoints are kept under their SHA-256 ({digests})"
    return Answer(
        text=f"{text}; configuration SHA-256 {digest(run.provenance.config_sha256)}, finished "
        f"{format_time(run.provenance.finished_at)}."
    )
