"""Blocks on the training of the models: learning curves, batch statistics, several seeds."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from medcompare.base.formatting import capital, format_count, format_duration, format_number, join_words
from medcompare.base.language import localised, message, t
from medcompare.report.blocks import (
    Cell,
    Heading,
    Image,
    ImageRow,
    Notes,
    Paragraph,
    image_of,
    model_tables,
    muted,
    picture_uri,
    table,
    words,
)
from medcompare.report.figures.runs import draw_learning_curves, draw_strips, shared_scales
from medcompare.report.pages.search import search_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medcompare.report.blocks import Block, Row, Table
    from medcompare.report.vocabulary import View
    from medcompare.stats.records import Estimate
    from medcompare.training.budget import Budget
    from medcompare.training.records import TrainedModel

FAR_BELOW = 0.7
"""A training loss below this share of the validation loss is worth a sentence: a convention."""

NEAR_GUESSING = 0.03
"""Distance from ln 2, the loss of a network that says 0.5 to every case: a convention."""


def learning_remarks(trained: Sequence[TrainedModel]) -> list[str]:
    """Remarks on loss curves, where the validation loss is far above or near that of guessing, and on short memory."""
    remarks = []
    for one in trained:
        if one.images_at_once is not None:
            said = {"n": one.images_at_once, "batch_size": one.batch_size}
            remark = t(
                "{model}: memory ran out for {batch_size} images at once; the gradient of each batch was added up from "
                "passes over {n} at most.",
                model=one.display_name,
                **said,
            )
            if one.batch_norm:
                seen = t(
                    "Batch normalisation saw {n} images at a time, not {batch_size} as in other trainings, so that a "
                    "difference between the models may come from that; a smaller train.batch_size for all gives them "
                    "the same chances.",
                    **said,
                )
                remark = f"{remark} {seen}"
            remarks.append(remark)
        kept = next((row for row in one.history if row.epoch == one.best_epoch), None)
        if kept is None or kept.val_loss <= 0:
            continue
        losses = {
            "model": one.display_name,
            "training": format_number(kept.train_loss),
            "validation": format_number(kept.val_loss),
        }
        numbers = t(
            "{model}: at the epoch kept the training loss is {training}, the validation loss {validation}.",
            **losses,
        )
        guessing = abs(kept.val_loss - math.log(2)) < NEAR_GUESSING
        if guessing:
            numbers = t(
                "{model}: at the epoch kept the training loss is {training}, the validation loss {validation}, about "
                "that of guessing (ln 2 = 0.693).",
                **losses,
            )
        if kept.train_loss < FAR_BELOW * kept.val_loss:
            causes = t(
                "Possible causes: overfitting; batch-normalisation statistics that lag behind the weights, so that the "
                "network is evaluated otherwise than it was trained; a validation subset unlike the training subset."
            )
            remarks.append(f"{numbers} {causes}")
        elif guessing:
            causes = t(
                "Possible causes: too few epochs or images; a learning rate that does not suit; probabilities near 0.5 "
                "whatever the ranking."
            )
            remarks.append(f"{numbers} {causes}")
    return remarks


def learning_blocks(view: View) -> list[Block]:
    """Curves of every training, what they call for, and what batch statistics do; empty without training."""
    order = list(view.styles)
    trained = sorted(
        (one for one in view.inputs.trained if one.history), key=lambda one: order.index(one.model)
    )
    if not trained:
        return []
    curved = [one for one in trained if not one.probe]
    scales = shared_scales(curved)
    images = tuple(
        image_of(draw_learning_curves(one, view.styles[one.model], scales=scales)) for one in curved
    )
    selection = sorted({one.selection for one in curved})
    blocks = _preview(view)
    if images:
        caption = capital(" ".join(t(one) for one in selection))
        blocks += [Heading(t("Learning curves")), ImageRow(images=images, caption=caption)]
    blocks += [Paragraph(_probe_words(one), "note") for one in trained if one.probe]
    blocks += [Paragraph(text, "note") for text in learning_remarks(curved)]
    if any(one.batch_norm for one in trained):
        blocks += _batch_statistics(view, trained)
    return [*search_blocks(view), *blocks, *_equal_chances(view)]


def _trials(budget: Budget) -> str:
    """What was allowed."""
    if budget.n_trials:
        return f"{format_count(budget.n_trials)}; {budget.trial_epochs}"
    return (
        t("does not apply: penalties are tried in each training")
        if budget.probe
        else t("none: the recipe as it is")
    )


def _used(budget: Budget) -> str:
    """What of it was used: pruned trials count as trials."""
    if not budget.n_trials:
        return t("no trials")
    return t(
        "{n:,} of {n_allowed:,} epochs in {time}; {n_pruned:,} pruned",
        n=budget.search_epochs_run,
        n_allowed=budget.n_trials * budget.trial_epochs,
        time=format_duration(budget.search_seconds),
        n_pruned=budget.n_pruned,
    )


CHANCES: tuple[tuple[str, Callable[[Budget], str]], ...] = (
    (message("Trainings, each with another seed"), lambda b: format_count(b.n_trainings)),
    (
        message("Images of training, of validation"),
        lambda b: f"{format_count(b.n_training_images)}, {format_count(b.n_validation_images)}",
    ),
    (message("Image side (pixels), batch size"), lambda b: f"{b.image_size_px}, {b.batch_size}"),
    (message("Epochs allowed; without gain to stop"), lambda b: f"{b.epochs_allowed}; {b.patience}"),
    (message("Trials of hyperparameters; epochs allowed in each"), _trials),
    (
        message("Epochs run, images seen, in all"),
        lambda b: f"{format_count(b.epochs_run)}, {format_count(b.n_images_seen)}",
    ),
    (
        message("Time of all trainings"),
        lambda b: t("{time} on {device}", time=format_duration(b.seconds), device=b.device),
    ),
    (message("Used by the trials"), _used),
    (message("Recipe"), lambda b: b.recipe),
    (message("Checkpoint"), lambda b: t(b.selection)),
    (message("Initial weights"), lambda b: b.initial_weights),
    (message("Implementation"), lambda b: b.implementation or t("not recorded")),
)


def _equal_chances(view: View) -> list[Table]:
    """What every model was given: the first rows are the same for all, or the run fails."""
    found = view.inputs.budgets
    if not found:
        return []
    tried = any(one.n_trials for one in found)
    rows = [
        (t(label), *(write(one) for one in found)) for label, write in CHANCES if tried or write is not _used
    ]
    return model_tables(
        t(
            "Equal chances: what each model was given (rows down to the trials must be alike, or the run "
            "fails)"
        ),
        words(t("Given"), "28%"),
        view.columns((one.model for one in found), kind="text"),
        rows,
        dense=True,
    )


PREVIEW_MM = 168.0
"""Width of the contact sheet: that of the text."""


def _preview(view: View) -> list[Block]:
    """Training images as the networks saw them, where there is a contact sheet."""
    png, shown = view.inputs.preview_png, next((one for one in view.inputs.trained if one.preview), None)
    if png is None:
        return []
    model = "" if shown is None else shown.model
    settings = {row.field: row.value for row in view.inputs.settings}
    searched = next((one.best.settings for one in view.inputs.searches if one.model == model), None)
    smallest, steps = (
        settings.get(f"train.recipes.{model}.{name}", settings.get(f"train.{name}", "?"))
        for name in ("crop_scale_min", "augmentation")
    )
    if searched is not None:
        smallest, steps = f"{searched.crop_scale_min:g}", ", ".join(searched.augmentation)
    caption = t(
        "Four training images, two of each class: first as in evaluation, then as {model} saw them in its "
        "first seven epochs. A random crop keeps at least {smallest} of the area; then {steps}. Check "
        "that what tells the classes apart is still there: a lesion that a crop leaves out, or a colour "
        "that is changed, is learnt wrongly.",
        model=view.name(model) if model else t("a network"),
        smallest=localised(smallest),
        steps=steps,
    )
    image = Image(src=picture_uri(png), alt=t("Augmented training images"), width_mm=PREVIEW_MM)
    return [Heading(t("Augmented training images")), ImageRow(images=(image,), caption=caption)]


def _probe_words(one: TrainedModel) -> str:
    """What a probe is, and what it chose."""
    auc = t("none") if one.kept.val_auc is None else format_number(one.kept.val_auc)
    return t(
        "{model}: {recipe} ({selection}). Validation AUC {auc}, loss {loss}. All other weights are those it started "
        "from.",
        model=one.display_name,
        recipe=one.recipe,
        selection=t(one.selection),
        auc=auc,
        loss=format_number(one.kept.val_loss),
    )


BATCH_STATISTICS = (
    message("Weight of a new batch in the library\u2019s running statistics"),
    message("Loss of the sample, training mode"),
    message("Loss of the sample, evaluation, statistics re-measured"),
    message("Loss of the sample, evaluation, running statistics"),
    message("Validation AUC, statistics re-measured"),
    message("Validation AUC, running statistics"),
    message("Test AUC, statistics re-measured (as evaluated)"),
    message("Test AUC, running statistics"),
    message("Difference of test AUC"),
    message("Time of re-measuring, of the whole training"),
)


def _batch_statistics(view: View, trained: list[TrainedModel]) -> list[Table]:
    """What the running statistics of each library would have made of the same checkpoint."""
    notes = Notes()

    def cell(estimate: Estimate | None, missing: str, *, signed: bool = False) -> Cell:
        return muted(missing) if estimate is None else notes.cell(estimate, signed=signed)

    columns = []
    for one in trained:
        if one.batch_norm is None:
            columns.append(
                [
                    muted(t("none that was trained")),
                    *[muted(t("does not apply"))] * (len(BATCH_STATISTICS) - 1),
                ]
            )
            continue
        evaluation = next(e for e in view.evaluations if e.model == one.model)
        kept, running = one.kept, evaluation.running_statistics
        numbers = (
            kept.sample_loss_training_mode,
            kept.sample_loss,
            kept.sample_loss_running,
            kept.val_auc,
            kept.val_auc_running,
        )
        seconds = sum(log.remeasuring_s for log in one.history)
        columns.append(
            [
                Cell(join_words(localised(f"{m:.3g}") for m in one.batch_norm.momenta)),
                *(muted(t("not finite")) if n is None else Cell(format_number(n)) for n in numbers),
                cell(evaluation.metrics.get("auc"), t("not computed")),
                cell(None if running is None else running.auc, t("not recorded")),
                cell(None if running is None else running.difference, t("not recorded"), signed=True),
                Cell(
                    t(
                        "{time} of {whole}",
                        time=format_duration(seconds),
                        whole=format_duration(one.elapsed_s),
                    )
                ),
            ]
        )
    sample, compared = (
        join_words(
            format_count(n)
            for n in sorted({getattr(one.batch_norm, name) for one in trained if one.batch_norm})
        )
        for name in ("n_sample_images", "n_compared_images")
    )
    return model_tables(
        t(
            "Batch statistics at the epoch that was kept; measured on {sample} training images without "
            "augmentation, losses on the first {compared} of them",
            sample=sample,
            compared=compared,
        ),
        words(t("Metric"), "46%"),
        view.columns(one.model for one in trained),
        list(zip(map(t, BATCH_STATISTICS), *columns, strict=True)),
        notes=notes,
        dense=True,
    )


def seed_blocks(view: View) -> list[Block]:
    """Several trainings of each model; empty where there was one."""
    seeds, compared = view.assessment.seeds, view.assessment.seed_comparisons
    if not seeds:
        return []
    blocks: list[Block] = [Heading(t("Training seeds"))]
    if any(row.auc.value is not None for row in seeds):
        caption = t(
            "Each mark is one training on the same images, with its interval over patients; the verdict "
            "rests on the means."
        )
        blocks.append(
            image_of(
                draw_strips(
                    [(row.model, row.seed, row.auc) for row in seeds], view.styles, what=t("Training seed")
                ),
                caption=caption,
            )
        )
    else:
        why = seeds[0].auc.note
        blocks.append(Paragraph(t("No AUC of any seed to draw: {reason}.", reason=why and t(why)), "note"))
    if compared:
        notes = Notes()
        rows = [
            (
                f"{view.label(row.candidate)} \u2212 {view.label(row.reference)}",
                format_count(len(row.seeds)),
                notes.cell(row.mean, signed=True),
                format_number(row.standard_deviation),
                Cell(t("yes") if row.sensitive else t("no"), strong=row.sensitive),
            )
            for row in compared
        ]
        heads = (
            words(t("Pair")),
            t("Seeds"),
            t("Mean"),
            t("SD between seeds"),
            words(t("Order depends on the seed")),
        )
        caption = t("Difference of AUC over the seeds, candidate minus reference")
        blocks.append(table(caption, heads, rows, notes=notes))
    blocks += _figures_of_seeds(view)
    return blocks


def _figures_of_seeds(view: View) -> list[Block]:
    """Mean and spread over the trainings of each model, and the ensemble of them, which is another object."""
    notes = Notes()
    rows: list[Row] = []
    for one in view.evaluations:
        values = [
            r.auc.value for r in view.assessment.seeds if r.model == one.model and r.auc.value is not None
        ]
        if len(values) < 2 or not one.over_seeds:
            continue
        mark = view.mark(one.model)
        figures = [notes.cell(one.over_seeds[key]) for key in ("auc", "sensitivity", "specificity")]
        spread = t(
            "{low:.3f} to {high:.3f}, SD {sd:.3f}",
            low=min(values),
            high=max(values),
            sd=statistics.stdev(values),
        )
        rows.append(
            (
                Cell(view.label(one.model), mark=mark),
                t("mean of {n} trainings", n=len(values)),
                *figures,
                spread,
            )
        )
        rows += [
            (
                muted(view.label(each.model)),
                muted(t("ensemble of {n}: another object", n=len(each.seeds))),
                *(notes.cell(getattr(each, key)) for key in ("auc", "sensitivity", "specificity")),
                muted(t("{n} times the cost", n=len(each.seeds))),
            )
            for each in view.assessment.ensembles
            if each.model == one.model
        ]
    if not rows:
        return []
    heads = (
        words(t("Model"), "18%"),
        words(t("Figures of"), "21%"),
        t("AUC"),
        t("Sensitivity"),
        t("Specificity"),
        words(t("AUC of single trainings")),
    )
    title = t(
        "Means over trainings, each at its own threshold, with intervals over patients and seeds; and "
        "the mean of the trainings\u2019 probabilities (ensemble), which no verdict rests on"
    )
    return [table(title, heads, rows, notes=notes)]
