"""Facts on development: how images were prepared, and how the networks were made and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    format_bytes,
    format_flops,
    format_number,
    format_parameters,
    format_significant,
    format_time,
    join_words,
)
from medcompare.base.language import localised, message, t, tn
from medcompare.report.checklists.facts import (
    Answer,
    RunRecords,
    by_model,
    code_version,
    digest,
    fact,
)

if TYPE_CHECKING:
    from medcompare.training.records import TrainedModel


@fact(message("how the images were prepared"))
def preprocessing(run: RunRecords) -> Answer | None:
    """Transforms at evaluation; the same code runs on every image."""
    after = [] if run.manifest is None else [t("Every file was decoded once and checked before use.")]
    after.append(t("The same steps were applied to every image of every group."))
    return by_model(
        run,
        lambda row: t(
            "decoded as RGB, shorter side resized to {resize_px} px, centre crop of {crop_px} px, channels "
            "standardised with the network's own means and standard deviations",
            resize_px=row.resize_px,
            crop_px=row.image_size_px,
        ),
        after=" ".join(after),
    )


@fact(message("the architecture of the models"))
def architecture(run: RunRecords) -> Answer | None:
    """Networks, their size and what one image costs."""
    flops = {cost.model: cost.flops for cost in run.assessment.costs}

    def describe(row: TrainedModel) -> str:
        work, size = flops.get(row.model), row.image_size_px
        parameters = t("{n} parameters", n=format_parameters(row.n_parameters))
        per_image = [] if work is None else [t("{flops} per image", flops=format_flops(work))]
        layers = t("input 3 x {px} x {px}, output layer replaced by one for two classes", px=size)
        return ", ".join([parameters, *per_image, layers])

    return by_model(run, describe, after=t("Layers: as published; built by {code}.", code=code_version(run)))


@fact(message("the initial weights"))
def weights(run: RunRecords) -> Answer | None:
    """Initial weights."""

    def describe(row: TrainedModel) -> str:
        start = row.initial_weights
        if start.kind == "none":
            return t("random initialisation, seed {seed}", seed=row.seed)
        return f"{start.name}{f', SHA-256 {digest(start.sha256)}' if start.sha256 else ''}"

    return by_model(run, describe)


@fact(message("how the models were trained"))
def training(run: RunRecords) -> Answer | None:
    """Augmentation, hyperparameters and stopping."""

    def describe(row: TrainedModel) -> str:
        facts = {
            "recipe": row.recipe,
            "batch_size": row.batch_size,
            "epochs": tn("{n} epoch", "{n:,} epochs", len(row.history)),
            "weights": ", ".join(map(format_significant, row.class_weights)),
            "precision": row.precision,
            "seed": row.seed,
            "hardware": row.hardware,
        }
        if row.stopped_early:
            return t(
                "{recipe}, batch {batch_size}, {epochs} (stopped early), class weights {weights}, "
                "{precision}, seed {seed}, {hardware}",
                **facts,
            )
        return t(
            "{recipe}, batch {batch_size}, {epochs} (ran all its epochs), class weights {weights}, "
            "{precision}, seed {seed}, {hardware}",
            **facts,
        )

    scale, patience = run.setting("train.crop_scale_min"), run.setting("train.patience")
    steps = run.setting("train.augmentation") or t("random horizontal flip")
    if scale:
        before = [
            t(
                "Augmentation: random resized crop keeping at least {scale} of the area, then {steps}.",
                scale=localised(scale),
                steps=steps,
            )
        ]
    else:
        before = [t("Augmentation: random resized crop, then {steps}.", steps=steps)]
    before += [
        t(
            "Hyperparameters of {model}: best trial of {n_trials} on the validation subset ({searched}).",
            model=one.display_name,
            n_trials=len(one.trials),
            searched="; ".join(one.searched),
        )
        for one in run.searches
    ]
    after = []
    if patience:
        epochs = tn("{n} epoch", "{n:,} epochs", int(patience))
        after.append(t("Rule for stopping early: {epochs} without a better validation AUC.", epochs=epochs))
    after.append(
        t("All settings: section \u201c{section}\u201d.", section=t("Methods, configuration and provenance"))
    )
    return by_model(run, describe, before=" ".join(before), after=" ".join(after))


@fact(message("how the final models were picked"))
def selection(run: RunRecords) -> Answer | None:
    """How the checkpoint was chosen."""
    return by_model(
        run,
        lambda row: t(
            "{selection}; epoch {best} of {n_epochs} kept",
            selection=t(row.selection).rstrip("."),
            best=row.best_epoch,
            n_epochs=len(row.history),
        ),
    )


@fact(message("whether models were combined"))
def ensemble(run: RunRecords) -> Answer | None:
    """Single networks only."""
    known = by_model(
        run,
        lambda row: t("one network, one checkpoint (epoch {epoch})", epoch=row.best_epoch),
        before=t("No ensemble."),
    )
    return known and Answer(text=known.text, missing=known.missing, applies=False)


@fact(message("software and versions"))
def software(run: RunRecords) -> Answer:
    """Software and hardware of this run."""
    provenance = run.provenance
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions)
    text = t(
        "{code}; Python {python}; {versions}; {platform}; {cpu}, {n_cores} cores, {memory}; GPU: {gpu}.",
        code=code_version(run),
        python=provenance.python,
        versions=versions,
        platform=provenance.platform,
        cpu=provenance.cpu,
        n_cores=provenance.n_cores,
        memory=format_bytes(provenance.memory_bytes),
        gpu=provenance.gpu or t("none"),
    )
    return Answer(text=text, missing="" if run.trained else t("software that built and ran the models"))


@fact(message("what was done about unequal classes"))
def imbalance(run: RunRecords) -> Answer | None:
    """Class weights in training."""

    def describe(row: TrainedModel) -> str:
        negative, positive = row.class_weights
        if negative == positive:
            return t("both classes weigh the same, nothing was done about unequal classes")
        shown = [
            f"{format_significant(w)} ({name})"
            for w, name in zip(row.class_weights, run.assessment.classes, strict=True)
        ]
        return t(
            "cross-entropy weighted {weights} so that the rarer class counts as much as the other; "
            "{shift} is subtracted from the predicted log-odds for it",
            weights=join_words(shown),
            shift=format_number(row.log_odds_shift, signed=True),
        )

    return by_model(run, describe)


@fact(message("how the predictions were computed"))
def predictions(run: RunRecords) -> Answer | None:
    """Which file, run by which code, gave the probabilities."""
    return by_model(
        run,
        lambda row: t("checkpoint SHA-256 {digest}", digest=digest(row.checkpoint.sha256)),
        before=t(
            "One probability of {positive} per image, from the frozen checkpoint, run by {code}.",
            positive=run.assessment.classes[1],
            code=code_version(run),
        ),
    )


@fact(message("the trained models"))
def checkpoints(run: RunRecords) -> Answer | None:
    """The trained models as files."""
    return by_model(
        run,
        lambda row: f"{format_bytes(row.checkpoint.n_bytes)}, SHA-256 {digest(row.checkpoint.sha256)}",
        after=t("Loaded by {code}.", code=code_version(run)),
    )


@fact(message("the code"))
def code(run: RunRecords) -> Answer:
    """The code of this run."""
    return Answer(
        text=t(
            "Analysis by {code}; configuration SHA-256 {digest}.",
            code=code_version(run),
            digest=digest(run.provenance.config_sha256),
        )
    )


@fact(message("which outputs are kept"))
def stored_outputs(run: RunRecords) -> Answer:
    """What is kept, so that an auditor can check it."""
    parts = [
        t(
            "Every number of the report is in results.json beside it at full precision, with methods and numbers of "
            "cases"
        )
    ]
    if run.trained:
        digests = join_words(f"{row.display_name} {digest(row.checkpoint.sha256)}" for row in run.trained)
        parts.append(
            t(
                "predictions are kept per image; checkpoints are kept under their SHA-256 ({digests})",
                digests=digests,
            )
        )
    provenance = run.provenance
    parts.append(
        t(
            "configuration SHA-256 {digest}, finished {time}.",
            digest=digest(provenance.config_sha256),
            time=format_time(provenance.finished_at),
        )
    )
    return Answer(text="; ".join(parts))
