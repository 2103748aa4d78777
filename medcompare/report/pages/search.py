"""Blocks on the search for hyperparameters: what was searched, every trial, and what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import capital, format_count, join_words
from medcompare.report.blocks import Cell, Heading, Paragraph, image_of, model_tables, muted, words
from medcompare.report.figures.runs import draw_trials
from medcompare.training.search import N_RANDOM, N_UNPRUNED, PRUNED_FROM

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.report.blocks import Block, Row
    from medcompare.report.vocabulary import View
    from medcompare.training.search import Search, TrialSettings

SETTINGS: tuple[tuple[str, Callable[[TrialSettings], str]], ...] = (
    ("Learning rate", lambda s: f"{s.learning_rate:g}"),
    ("Weight decay", lambda s: f"{s.weight_decay:g}"),
    ("Epochs of the head alone", lambda s: str(s.frozen_epochs)),
    ("Label smoothing", lambda s: f"{s.label_smoothing:g}"),
    ("Smallest crop (share of the area)", lambda s: f"{s.crop_scale_min:g}"),
    ("Augmentation after the crop", lambda s: ", ".join(s.augmentation) or "none"),
)
PRUNING = {
    "median": f"A trial ends where its best epoch is below the median of the earlier whole trials at the same epoch, "
    f"from epoch {PRUNED_FROM} on and once {N_UNPRUNED} trials came to their end (Golovin et al. 2017)",
    "none": "No trial is ended early",
}


def search_blocks(view: View) -> list[Block]:
    """The search of each model; empty where there was none."""
    order = list(view.styles)
    found = sorted(view.inputs.searches, key=lambda one: order.index(one.model))
    if not found:
        return []
    one, probes = found[0], [t.display_name for t in view.inputs.trained if t.probe]
    n_images = (
        ""
        if view.inputs.split is None
        else f" ({format_count(view.inputs.split.subsets[1].n_images)} images)"
    )
    same = "Each network had" if len(found) > 1 else "The network had"
    # The same seeds are drawn from for every network.
    how = f"at random, the same settings for every network with the same ranges, seed {one.seed}"
    if len(one.trials) > N_RANDOM:
        how = f"TPE sampler, seed {one.seed}; up to trial {N_RANDOM} at random, alike for all networks"
    text = (
        f"{same} {len(one.trials)} trials of at most {one.epochs_allowed} epochs on the training subset, judged on the "
        f"validation subset{n_images} alone; no test image was looked at. The first trial is the recipe as it is; "
        f"the others were drawn by Optuna ({how}): {'; '.join(one.searched)}. "
        f"{PRUNING[one.pruning]}. Chosen was {one.selection}. As the best of several, the validation figures are "
        "too high; those of the test subset are not. All trainings use what was chosen, whatever their seed."
    )
    if probes:
        text += (
            f" Not searched: {join_words(probes)}, as a linear probe has none of these hyperparameters; it tries its "
            "penalties on the same subset."
        )
    rows: list[Row] = [
        (label, *(_chosen(search, write) for search in found))
        for label, write in (("Trial that was chosen", None), *SETTINGS)
    ]
    return [
        Heading("Search for hyperparameters"),
        Paragraph(text, "note"),
        image_of(
            draw_trials(found, view.styles),
            caption=capital(
                "each mark is a trial at its best epoch; the line is the best whole trial so far."
            ),
        ),
        *model_tables(
            "Settings that were chosen, and those of the recipe where they differ",
            words("Setting", "28%"),
            view.columns((search.model for search in found), kind="text"),
            rows,
            dense=True,
        ),
    ]


def _chosen(search: Search, write: Callable[[TrialSettings], str] | None) -> Cell:
    """One setting of the trial that was chosen, beside that of the first trial."""
    if write is None:
        what = "the recipe" if search.chosen == 1 else "recipe: trial 1"
        return Cell(f"{search.chosen} of {len(search.trials)} ({what})")
    chosen, recipe = write(search.best.settings), write(search.trials[0].settings)
    return muted(chosen) if chosen == recipe else Cell(f"{chosen} (recipe: {recipe})")
