"""Facts on data and development: what came in, how it was split, how the networks were made."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from medcompare.report.checklist_run import Known, RunRecords, by_model, counted, digest, test_counts
from medcompare.report.formatting import (
    format_bytes,
    format_count,
    format_flops,
    format_number,
    format_parameters,
    format_percent,
    format_significant,
    format_time,
    join_words,
)

if TYPE_CHECKING:
    from medcompare.data.records import SubsetSummary
    from medcompare.report.checklist_run import Fact
    from medcompare.training_records import TrainedModel

SAYS_AI = re.compile(
    r"artificial intelligence|\bAI\b|deep.learning|machine.learning|neural|\bCNNs?\b|transformer",
    re.IGNORECASE,
)
"""What a title must hold to say that AI was studied; "image classifier" alone may be a person."""

SUBSET_WORDS = {"train": "training", "val": "tuning (validation)", "test": "test"}


def title(run: RunRecords) -> Known:
    """The report's title, and one that would satisfy the item."""
    negative, positive = run.assessment.classes
    kind = "deep-learning image classifiers" if run.trained else "classifiers"
    given = run.settings.get("report.title")
    text = f"Title of this report: \u201c{given}\u201d. " if given else ""
    text += (
        f"A title that says so: \u201cOffline comparison of {kind} ({run.names}) for {positive} versus "
        f"{negative}: "
        "AUC, sensitivity and specificity\u201d."
    )
    gaps = [] if given and SAYS_AI.search(given) else ["a title that says so"]
    gaps += [] if run.trained else ["the kind of AI behind the models"]
    return Known(text=text, lacking="; ".join(gaps))


def data_source(run: RunRecords) -> Known:
    """What was read; where it came from before that, no record says."""
    manifest = run.manifest
    if manifest is None:
        file = run.settings.get("predictions")
        table = f" ({PurePath(file).name})" if file else ""
        return Known(text=f"Predictions made elsewhere were read from a table{table}: {test_counts(run)}.")
    kind = "generated demonstration images, not real ones; " if manifest.synthetic else ""
    return Known(
        text=f"Data set \u201c{manifest.name}\u201d: {kind}{format_count(manifest.n_images)} usable images "
        f"({counted(manifest.classes, manifest.class_counts)}); SHA-256 over contents and labels "
        f"{digest(manifest.fingerprint)}."
    )


def preprocessing(run: RunRecords) -> Known | None:
    """Transforms at evaluation; the same code runs on every image."""
    known = by_model(
        run,
        lambda row: (
            f"decoded as RGB, shorter side resized to {row.resize_px} px, centre crop of "
            f"{row.image_size_px} px, "
            "channels standardised with the network's own means and standard deviations"
        ),
    )
    if known is None:
        return None
    checked = "" if run.manifest is None else " Every file was decoded once and checked before use."
    return Known(
        text=f"{known.text}{checked} The same steps were applied to every image of every group.",
        lacking=known.lacking,
    )


def missing_data(run: RunRecords) -> Known:
    """What was set aside, and that no score is missing."""
    scored = (
        f"All {format_count(run.assessment.n)} test {run.cases} have a label and a score from every model."
    )
    manifest = run.manifest
    if manifest is None:
        return Known(
            text=f"{scored} A table with gaps is refused, nothing is imputed.",
            lacking="what was left out before the table of predictions was made",
        )
    reasons = ", ".join(f"{reason}: {format_count(count)}" for reason, count in manifest.rejected_by_reason)
    return Known(
        text=f"{format_count(manifest.n_rejected)} of {format_count(manifest.n_found)} files were set aside"
        f"{f' ({reasons})' if reasons else ''}; {format_count(manifest.n_duplicate_groups)} groups of "
        f"identical files, "
        f"{format_count(manifest.n_conflicting_groups)} of them with opposite labels and left out whole. "
        f"Nothing was imputed. {scored}"
    )


def _subset(classes: tuple[str, str], row: SubsetSummary) -> str:
    patients = "" if row.n_patients is None else f", {format_count(row.n_patients)} patients"
    return (
        f"{SUBSET_WORDS[row.subset]} {format_count(row.n_images)} images "
        f"({counted(classes, row.class_counts)}{patients})"
    )


def partitions(run: RunRecords) -> Known | None:
    """Subsets, shares and class balance."""
    split = run.split
    if split is None:
        return None
    parts = [
        f"{_subset(split.classes, row)}, {format_percent(row.fraction)} of all (wanted "
        f"{format_percent(row.target_fraction)})"
        for row in split.subsets
    ]
    return Known(text=f"{split.method.rstrip('.')}. Seed {split.seed}. Subsets: {'; '.join(parts)}.")


def class_balance(run: RunRecords) -> Known:
    """Cases and events in each analysis."""
    split = run.split
    if split is None:
        return Known(text=f"Evaluation: {test_counts(run)}.", lacking="the same for the development data")
    return Known(text=f"Subsets: {'; '.join(_subset(split.classes, row) for row in split.subsets)}.")


def disjointness(run: RunRecords) -> Known | None:
    """Level at which subsets are disjoint, as verified after the split."""
    split = run.split
    if split is None:
        return None
    same = (
        f"Identical images ({format_count(split.n_duplicates_kept_together)}) were kept on one side; images "
        "that are merely alike were not searched for."
    )
    if split.grouped_by is None:
        return Known(
            text=f"Disjoint by image. {same}",
            lacking="whether a patient has images in two subsets (no patient ids were given)",
        )
    return Known(
        text=f"Disjoint by patient ({split.grouped_by}): patients in more than one subset, counted after "
        f"the split: "
        f"{split.max_group_overlap}. {same}"
    )


def same_source(run: RunRecords) -> Known | None:
    """Development and evaluation data are parts of one data set."""
    if run.split is None or run.manifest is None:
        return None
    return Known(
        text=f"All subsets are parts of one data set (\u201c{run.manifest.name}\u201d), divided at random "
        f"(seed {run.split.seed}): the split itself makes no difference between them."
    )


def flow(run: RunRecords) -> Known:
    """From files to subsets."""
    manifest = run.manifest
    if manifest is None:
        return Known(
            text=f"Scored by every model: {test_counts(run)}.", lacking="how these cases were arrived at"
        )
    text = (
        f"Files found {format_count(manifest.n_found)}; set aside {format_count(manifest.n_rejected)}; "
        f"usable {format_count(manifest.n_images)}"
    )
    if run.split is not None:
        text += f"; {'; '.join(_subset(run.split.classes, row) for row in run.split.subsets)}"
    return Known(text=f"{text}. Diagram: section \u201cData and split\u201d.")


def characteristics(run: RunRecords) -> Known:
    """Class counts per subset, subgroup sizes in the test subset, and the columns that are tabulated."""
    text = class_balance(run).text
    groups = subgroup_sizes(run)
    text = f"{text} Test subset {groups}." if groups else text
    tabulated = list(dict.fromkeys(row.column for row in run.characteristics))
    if tabulated:
        text += (
            f" Counted per subset and class in section \u201cData and split\u201d: {', '.join(tabulated)}."
        )
    columns = run.manifest.extra_columns if run.manifest is not None else ()
    others = [column for column in columns if column not in tabulated]
    if others:
        text += f" Columns of the data that are not tabulated: {', '.join(others)}."
    return Known(text=text)


def subgroup_sizes(run: RunRecords) -> str:
    """Sizes of the reported subgroups: "by sex: female 60 (20 cancer), ..."."""
    columns: dict[str, list[str]] = {}
    positive = run.assessment.classes[1]
    for row in run.assessment.evaluations[0].subgroups if run.assessment.evaluations else ():
        columns.setdefault(row.column, []).append(
            f"{row.level} {format_count(row.n)} ({format_count(row.n_positive)} {positive})"
        )
    return "; ".join(f"by {column}: {', '.join(levels)}" for column, levels in columns.items())


def architecture(run: RunRecords) -> Known | None:
    """Networks, their size and what one image costs."""
    flops = {cost.model: cost.flops for cost in run.assessment.costs}

    def describe(row: TrainedModel) -> str:
        work = flops.get(row.model)
        per_image = "" if work is None else f", {format_flops(work)} per image"
        return (
            f"{format_parameters(row.n_parameters)} parameters{per_image}, input 3 x {row.image_size_px} x "
            f"{row.image_size_px}, output layer replaced by one for two classes"
        )

    known = by_model(run, describe)
    if known is None:
        return None
    return Known(
        text=f"{known.text} Layers: as published; built by {code_version(run)}.", lacking=known.lacking
    )


def weights(run: RunRecords) -> Known | None:
    """Initial weights."""

    def describe(row: TrainedModel) -> str:
        start = row.initial_weights
        if start.kind == "none":
            return f"random initialisation, seed {row.seed}"
        return f"{start.name}{f', SHA-256 {digest(start.sha256)}' if start.sha256 else ''}"

    return by_model(run, describe)


def training(run: RunRecords) -> Known | None:
    """Augmentation, hyperparameters and stopping."""

    def describe(row: TrainedModel) -> str:
        stopped = "stopped early" if row.stopped_early else "ran all its epochs"
        return (
            f"{row.optimizer}, batch {row.batch_size}, {len(row.history)} epochs ({stopped}), class weights "
            f"{', '.join(format_significant(w) for w in row.class_weights)}, {row.precision}, seed "
            f"{row.seed}, {row.device}"
        )

    known = by_model(run, describe)
    if known is None:
        return None
    scale = run.settings.get("train.crop_scale_min")
    share = f" keeping at least {scale} of the area" if scale else ""
    patience = run.settings.get("train.patience")
    rule = f" Rule for stopping early: {patience} epochs without a better validation AUC." if patience else ""
    return Known(
        text=f"Augmentation: random resized crop{share}, random horizontal flip. {known.text}{rule} "
        "All settings: section \u201cMethods, configuration and provenance\u201d.",
        lacking=known.lacking,
    )


def selection(run: RunRecords) -> Known | None:
    """How the checkpoint was chosen."""
    return by_model(
        run, lambda row: f"{row.selection.rstrip('.')}; epoch {row.best_epoch} of {len(row.history)} kept"
    )


def ensemble(run: RunRecords) -> Known | None:
    """Single networks only."""
    known = by_model(run, lambda row: f"one network, one checkpoint (epoch {row.best_epoch})")
    return known and Known(text=f"No ensemble. {known.text}", lacking=known.lacking, applies=False)


def software(run: RunRecords) -> Known:
    """Software and hardware of this run."""
    provenance = run.provenance
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions)
    machine = (
        f"{provenance.cpu}, {provenance.n_cores} cores, {format_bytes(provenance.memory_bytes)}; "
        f"GPU: {provenance.gpu or 'none'}"
    )
    return Known(
        text=f"{code_version(run)}; Python {provenance.python}; {versions}; {provenance.platform}; "
        f"{machine}.",
        lacking="" if run.trained else "software that built and ran the models",
    )


def code_version(run: RunRecords) -> str:
    """Version and commit of this software."""
    provenance = run.provenance
    commit = f", commit {provenance.code_commit}" if provenance.code_commit else ""
    changed = " with uncommitted changes" if provenance.code_commit and provenance.code_dirty else ""
    return f"medcompare {provenance.medcompare_version}{commit}{changed}"


def imbalance(run: RunRecords) -> Known | None:
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


def predictions(run: RunRecords) -> Known | None:
    """Which file, run by which code, gave the probabilities."""
    positive = run.assessment.classes[1]
    known = by_model(run, lambda row: f"checkpoint SHA-256 {digest(row.checkpoint.sha256)}")
    return known and Known(
        text=f"One probability of {positive} per image, from the frozen checkpoint, run by "
        f"{code_version(run)}. {known.text}",
        lacking=known.lacking,
    )


def checkpoints(run: RunRecords) -> Known | None:
    """The trained models as files."""
    known = by_model(
        run, lambda row: f"{format_bytes(row.checkpoint.n_bytes)}, SHA-256 {digest(row.checkpoint.sha256)}"
    )
    return known and Known(text=f"{known.text} Loaded by {code_version(run)}.", lacking=known.lacking)


def code(run: RunRecords) -> Known:
    """The code of this run."""
    return Known(
        text=f"Analysis by {code_version(run)}; configuration SHA-256 {digest(run.provenance.config_sha256)}."
    )


def stored_outputs(run: RunRecords) -> Known:
    """What is kept, so that an auditor can check it."""
    text = (
        "Every figure of the report stands at full precision in results.json beside it, with methods "
        "and numbers of cases"
    )
    if run.trained:
        digests = join_words(f"{row.display_name} {digest(row.checkpoint.sha256)}" for row in run.trained)
        text += f"; predictions are kept per image; checkpoints are kept under their SHA-256 ({digests})"
    return Known(
        text=f"{text}; configuration SHA-256 {digest(run.provenance.config_sha256)}, finished "
        f"{format_time(run.provenance.finished_at)}."
    )


DATA_FACTS: dict[str, tuple[Fact, str]] = {
    "title": (title, "a title"),
    "data_source": (data_source, "the source of the data"),
    "preprocessing": (preprocessing, "how the images were prepared"),
    "missing_data": (missing_data, "what was done about missing data"),
    "partitions": (partitions, "how the data were partitioned"),
    "class_balance": (class_balance, "cases and events in each subset"),
    "disjointness": (disjointness, "at which level the subsets are disjoint"),
    "same_source": (same_source, "how development and evaluation data differ"),
    "flow": (flow, "the flow of cases"),
    "characteristics": (characteristics, "characteristics of the cases"),
    "architecture": (architecture, "the architecture of the models"),
    "weights": (weights, "the initial weights"),
    "training": (training, "how the models were trained"),
    "selection": (selection, "how the final models were picked"),
    "ensemble": (ensemble, "whether models were combined"),
    "software": (software, "software and versions"),
    "imbalance": (imbalance, "what was done about unequal classes"),
    "predictions": (predictions, "how the predictions were computed"),
    "checkpoints": (checkpoints, "the trained models"),
    "code": (code, "the code"),
    "stored_outputs": (stored_outputs, "which outputs are kept"),
}
"""Name to (fact, what is lacking where no record holds it)."""
