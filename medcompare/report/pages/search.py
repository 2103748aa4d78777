"""Blocks on the search for hyperparameters: what was searched, every trial, and what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import join_words
from medcompare.base.language import localised, message, t, tn
from medcompare.report.blocks import Cell, Heading, Paragraph, image_of, model_tables, muted, words
from medcompare.report.figures.runs import draw_trials
from medcompare.training.search import N_RANDOM, N_UNPRUNED, PRUNED_FROM

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.report.blocks import Block, Row
    from medcompare.report.vocabulary import View
    from medcompare.training.search import Search, TrialSettings

SETTINGS: tuple[tuple[str, Callable[[TrialSettings], str]], ...] = (
    (message("Learning rate"), lambda s: localised(f"{s.learning_rate:g}")),
    (message("Weight decay"), lambda s: localised(f"{s.weight_decay:g}")),
    (message("Epochs of the head alone"), lambda s: str(s.frozen_epochs)),
    (message("Label smoothing"), lambda s: localised(f"{s.label_smoothing:g}")),
    (message("Smallest crop (share of the area)"), lambda s: localised(f"{s.crop_scale_min:g}")),
    (message("Augmentation after the crop"), lambda s: ", ".join(s.augmentation) or t("none")),
)
PRUNING = {
    "median": message(
        "A trial ends where its best epoch is below the median of the earlier whole trials at the same epoch, from "
        "epoch {first} on and once {n_whole} trials came to their end (Golovin et al. 2017)."
    ),
    "none": message("No trial is ended early."),
}


def search_blocks(view: View) -> list[Block]:
    """The search of each model; empty where there was none."""
    order = list(view.styles)
    found = sorted(view.inputs.searches, key=lambda one: order.index(one.model))
    if not found:
        return []
    one, probes = found[0], [row.display_name for row in view.inputs.trained if row.probe]
    allowed = {
        "trials": tn("{n} trial", "{n:,} trials", len(one.trials)),
        "epochs": tn("{n} epoch", "{n:,} epochs", one.epochs_allowed),
    }
    sentences = [
        t(
            "Each network had {trials} of at most {epochs} on the training subset, judged on the "
            "validation subset{size} alone; no test image was looked at.",
            size=_size_of_validation(view),
            **allowed,
        )
        if len(found) > 1
        else t(
            "The network had {trials} of at most {epochs} on the training subset, judged on the "
            "validation subset{size} alone; no test image was looked at.",
            size=_size_of_validation(view),
            **allowed,
        ),
        t(
            "The first trial is the recipe as it is; the others were drawn by Optuna ({how}): {settings}.",
            how=_how_drawn(one),
            settings="; ".join(t(each) for each in one.searched),
        ),
        t(PRUNING[one.pruning], first=PRUNED_FROM, n_whole=N_UNPRUNED),
        t("Chosen was {selection}.", selection=t(one.selection)),
        t(
            "As the best of several, the validation figures are too high; those of the test subset are not. All "
            "trainings use what was chosen, whatever their seed."
        ),
    ]
    if probes:
        sentences.append(
            t(
                "Not searched: {models}, as a linear probe has none of these hyperparameters; it tries its penalties "
                "on the same subset.",
                models=join_words(probes),
            )
        )
    rows: list[Row] = [
        (t(label), *(_chosen(search, write) for search in found))
        for label, write in ((message("Trial that was chosen"), None), *SETTINGS)
    ]
    return [
        Heading(t("Search for hyperparameters")),
        Paragraph(" ".join(sentences), "note"),
        image_of(
            draw_trials(found, view.styles),
            caption=t("Each mark is a trial at its best epoch; the line is the best whole trial so far."),
        ),
        *model_tables(
            t("Settings that were chosen, and those of the recipe where they differ"),
            words(t("Setting"), "28%"),
            view.columns((search.model for search in found), kind="text"),
            rows,
            dense=True,
        ),
    ]


def _size_of_validation(view: View) -> str:
    """Images of the validation subset in brackets, where they are known."""
    split = view.inputs.split
    return "" if split is None else tn(" ({n} image)", " ({n:,} images)", split.subsets[1].n_images)


def _how_drawn(search: Search) -> str:
    """How settings came about: the same seeds are drawn from for every network."""
    if len(search.trials) > N_RANDOM:
        return t(
            "TPE sampler, seed {seed}; up to trial {last} at random, alike for all networks",
            seed=str(search.seed),
            last=N_RANDOM,
        )
    return t(
        "at random, the same settings for every network with the same ranges, seed {seed}",
        seed=str(search.seed),
    )


def _chosen(search: Search, write: Callable[[TrialSettings], str] | None) -> Cell:
    """One setting of the trial that was chosen, beside that of the first trial."""
    if write is None:
        said = {"chosen": search.chosen, "n_trials": len(search.trials)}
        return Cell(
            t("{chosen} of {n_trials} (the recipe)", **said)
            if search.chosen == 1
            else t("{chosen} of {n_trials} (recipe: trial 1)", **said)
        )
    chosen, recipe = write(search.best.settings), write(search.trials[0].settings)
    return (
        muted(chosen)
        if chosen == recipe
        else Cell(t("{chosen} (recipe: {recipe})", chosen=chosen, recipe=recipe))
    )
