"""Figures about runs rather than cases: learning curves, cost and seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from medcompare.base.formatting import format_number, format_significant, shorten
from medcompare.base.language import localised, t, tn
from medcompare.report.figures.drawing import (
    INK,
    LEGEND_ROW_MM,
    MUTED,
    PAGE_WIDTH_MM,
    RULE,
    SPLIT_IMAGE_MM,
    Drawing,
    ModelStyle,
    draw,
    legend_columns,
    offset,
    plot_interval,
    title_by,
)
from medcompare.report.inputs import PAIR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medcompare.stats.records import Estimate
    from medcompare.training.records import TrainedModel
    from medcompare.training.search import Search

LOG_FROM_RATIO = 5.0
"""A cost axis becomes logarithmic when the models differ by more than this factor."""
MAX_BESIDE = 3
"""More models than these need the width of the page in accuracy against cost."""
FLAT = 0.25
"""Share of the height of an axis; a learning curve below it could not be read."""
FIRST_PANEL = 1.3
"""Width of the panel of the cost that decides, others being 1."""


def shared_scales(trained: Sequence[TrainedModel]) -> dict[str, tuple[float, float]]:
    """Limits of the axes of loss and validation AUC that hold the curves of all trainings.

    Empty where some curve would be less than `FLAT` of the height: a network that learns in another range of the
    loss then has axes of its own.
    """
    scales: dict[str, tuple[float, float]] = {}
    for name, fields in (("loss", ("train_loss", "val_loss")), ("auc", ("val_auc",))):
        ends = []
        for one in trained:
            known = [
                value for row in one.history for field in fields if (value := getattr(row, field)) is not None
            ]
            if known:
                ends.append((min(known), max(known)))
        if not ends:
            continue
        low, high = min(a for a, _ in ends), max(b for _, b in ends)
        room = 0.05 * (high - low) or 0.05
        if min(b - a for a, b in ends) < FLAT * (high - low):
            return {}
        scales[name] = low - room, high + room
    return scales


def draw_learning_curves(
    trained: TrainedModel,
    style: ModelStyle,
    *,
    scales: Mapping[str, tuple[float, float]] | None = None,
    width_mm: float = 85.0,
) -> Drawing:
    """Loss and validation AUC per epoch, with the epoch whose checkpoint was kept; at least one epoch.

    `scales` are the limits of the axes, as `shared_scales` gives them.
    """
    lone = "o" if len(trained.history) == 1 else ""

    def line(axes: Axes, field: str, **look: Any) -> None:  # noqa: ANN401 - as in `Axes.plot`
        """A curve over the epochs that have a value."""
        known = [(row.epoch, value) for row in trained.history if (value := getattr(row, field)) is not None]
        axes.plot([epoch for epoch, _ in known], [value for _, value in known], **look)

    def fill(figure: Figure) -> None:
        loss, auc = figure.subplots(2, 1, sharex=True)
        line(loss, "train_loss", color=MUTED, marker=lone, linestyle=(0, (4, 1.5)), label=t("training"))
        line(loss, "val_loss", color=style.colour, marker=lone, label=t("validation"))
        line(auc, "val_auc", color=style.colour, marker=style.marker, markersize=2.6)
        for axes in (loss, auc):
            axes.axvline(trained.best_epoch, color=INK, linewidth=0.9, linestyle=(0, (3, 1.5)))
            axes.grid(visible=True, axis="y", color=RULE, linewidth=0.35)
        loss.set_ylabel(t("Loss"))
        loss.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
        auc.set(
            xlabel=t("Epoch; checkpoint kept from epoch {epoch} (dashed)", epoch=trained.best_epoch),
            ylabel=t("Validation AUC"),
        )
        auc.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        for axes, name in ((loss, "loss"), (auc, "auc")):
            if scales and name in scales:
                axes.set_ylim(scales[name])
        title_by(figure, style)

    best = next((r for r in trained.history if r.epoch == trained.best_epoch), None)
    said = {
        "model": style.name,
        "epochs": tn("{n} epoch", "{n:,} epochs", len(trained.history)),
        "epoch": trained.best_epoch,
    }
    alt = t("Learning curves of {model} over {epochs}; checkpoint of epoch {epoch} kept.", **said)
    if best is not None and best.val_auc is not None:
        alt = t(
            "Learning curves of {model} over {epochs}; checkpoint of epoch {epoch} kept, validation AUC "
            "{auc}.",
            auc=format_number(best.val_auc),
            **said,
        )
    return draw(fill, width_mm=width_mm, height_mm=60.0, alt=alt)


@dataclass(frozen=True, kw_only=True)
class CostPanel:
    """One kind of cost of the models that it is known of."""

    label: str
    points: Sequence[tuple[ModelStyle, Estimate, float, tuple[float, float] | None]]
    """Style, AUC, cost and interval of the cost of each model."""
    more_is_better: bool = False
    """Then the axis runs from right to left: what is cheaper is on the left of every panel."""


def draw_accuracy_and_cost(panels: Sequence[CostPanel]) -> Drawing:
    """AUC against kinds of cost side by side; of the first, which decides, the models of the legend."""
    styles = [style for style, _, _, _ in panels[0].points]
    beside = len(styles) <= MAX_BESIDE
    n_across = legend_columns([style.label for style in styles], width_mm=SPLIT_IMAGE_MM)

    def fill(figure: Figure) -> None:
        ratios = [FIRST_PANEL, *(1.0 for _ in panels[1:])]
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=ratios)[0]
        for one, panel in zip(axes, panels, strict=True):
            _cost_panel(one, panel)
        low, high = axes[0].get_ylim()
        axes[0].set_ylim(low, min(high, 1.005))
        axes[0].set_ylabel(t("AUC"))
        better = t("\u2196 better: cheaper and more accurate")
        figure.suptitle(better, x=0.02, ha="left", fontsize="medium", weight="normal", color=MUTED)
        handles, labels = axes[0].get_legend_handles_labels()
        place: dict[str, Any] = {"loc": "outside right center"}
        if beside:
            place = {"loc": "outside lower left", "ncols": n_across}
        figure.legend(handles=handles, labels=labels, **place)

    alt = " ".join(
        t(
            "AUC against {cost}. {models}.",
            cost=panel.label,
            models="; ".join(
                t(
                    "{model}: cost {cost}, AUC {auc}",
                    model=style.name,
                    cost=format_significant(cost),
                    auc=format_number(auc.value),
                )
                for style, auc, cost, _ in panel.points
                if auc.value is not None
            ),
        )
        for panel in panels
    )
    rows = -(-len(styles) // n_across) if beside else 0
    return draw(
        fill,
        width_mm=SPLIT_IMAGE_MM if beside else PAGE_WIDTH_MM,
        height_mm=62.0 + LEGEND_ROW_MM * rows,
        alt=alt,
    )


def _cost_panel(axes: Axes, panel: CostPanel) -> None:
    costs = [cost for _, _, cost, _ in panel.points]
    if logarithmic := min(costs) > 0 and max(costs) / min(costs) > LOG_FROM_RATIO:
        axes.set_xscale("log")
    for style, auc, cost, interval in panel.points:
        if auc.value is None:
            continue
        plot_interval(axes, auc, cost, color=style.colour, linewidth=1.1)
        if interval is not None:
            axes.plot(interval, [auc.value] * 2, color=style.colour, linewidth=1.1)
        axes.plot([cost], [auc.value], style.marker, color=style.colour, markersize=6.5, label=style.label)
    if len(costs) > PAIR:
        axes.plot(*zip(*frontier(panel), strict=True), color=MUTED, linewidth=0.7, zorder=1)
    reach = [x for _, _, cost, interval in panel.points for x in (cost, *(interval or ()))]
    if logarithmic:
        axes.set_xlim(min(reach) / 1.5, max(reach) * 1.5)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, max(reach) * 1.12)
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10]))
    if panel.more_is_better:
        axes.invert_xaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: localised(f"{value:,.6g}")))
    axes.set_xlabel(panel.label)
    axes.grid(visible=True, color=RULE, linewidth=0.35)


def frontier(panel: CostPanel) -> list[tuple[float, float]]:
    """Corners of the steps through the models that no other beats in both cost and AUC, the cheapest first."""
    sign = -1 if panel.more_is_better else 1
    corners: list[tuple[float, float]] = []
    known = [(cost, auc.value) for _, auc, cost, _ in panel.points if auc.value is not None]
    for cost, auc in sorted(known, key=lambda one: (sign * one[0], -one[1])):
        if not corners:
            corners.append((cost, auc))
        elif auc > corners[-1][1]:
            corners += [(cost, corners[-1][1]), (cost, auc)]
    return corners


def draw_strips(
    found: Sequence[tuple[str, str, Estimate]], styles: dict[str, ModelStyle], *, what: str
) -> Drawing:
    """Strip plot of the AUC of every training: (model, name, AUC), the names along the axis called `what`."""
    names = list(dict.fromkeys(name for _, name, _ in found))

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        for m, style in enumerate(styles.values()):
            for model, name, auc in found:
                if model != style.model or auc.value is None:
                    continue
                x = names.index(name) + offset(m, len(styles), 0.3)
                plot_interval(axes, auc, x, color=style.colour, linewidth=1)
                axes.plot([x], [auc.value], style.marker, color=style.colour, markersize=4.5)
            axes.plot([], [], style.marker, color=style.colour, label=style.label)
        axes.set_xticks(range(len(names)), [shorten(name, 14) for name in names])
        axes.set(xlabel=what, ylabel=t("AUC"), xlim=(-0.6, len(names) - 0.4))
        axes.grid(visible=True, axis="y", color=RULE, linewidth=0.35)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))

    return draw(
        fill,
        width_mm=PAGE_WIDTH_MM,
        height_mm=max(48.0, LEGEND_ROW_MM * len(styles) + 6),
        alt=t("AUC of each model, {n} times: {what}.", n=len(names), what=what),
    )


def draw_trials(searches: Sequence[Search], styles: dict[str, ModelStyle]) -> Drawing:
    """Best validation score of every trial and of all so far; hollow where it was pruned, ringed where chosen."""
    by_model = {one.model: one for one in searches}
    shown = [style for style in styles.values() if style.model in by_model]
    n_trials = max(len(one.trials) for one in searches)
    has_auc = any(auc is not None for one in searches for trial in one.trials for auc in trial.val_auc)

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        for m, style in enumerate(shown):
            search = by_model[style.model]
            best_so_far, steps = -float("inf"), []
            for trial in search.trials:
                x = trial.number + offset(m, len(shown), 0.25)
                if trial.state == "not finite":
                    axes.plot([x], [0.02], "x", color=style.colour, transform=axes.get_xaxis_transform())
                else:
                    score, whole = trial.rank[0], trial.state == "complete"
                    face = style.colour if whole else "white"
                    axes.plot([x], [score], style.marker, color=style.colour, mfc=face, markersize=4.5)
                    best_so_far = max(best_so_far, score) if whole else best_so_far
                    if trial.number == search.chosen:
                        axes.plot([x], [score], "o", color=INK, mfc="none", markersize=9)
                steps.append((x, best_so_far))
            known = [(x, y) for x, y in steps if y > -float("inf")]
            axes.step(*zip(*known, strict=True), where="post", color=style.colour, linewidth=0.7)
            axes.plot([], [], style.marker, color=style.colour, label=style.label)
        axes.plot([], [], "o", color=MUTED, mfc="white", label=t("pruned"))
        axes.plot([], [], "o", color=INK, mfc="none", markersize=8, label=t("chosen"))
        axes.set(
            xlabel=t("Trial; the first is the recipe"),
            ylabel=t("Validation AUC") if has_auc else t("Validation loss, negative"),
            xlim=(0.4, n_trials + 0.6),
        )
        axes.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True))
        axes.grid(visible=True, axis="y", color=RULE, linewidth=0.35)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))

    spoken = "; ".join(
        t(
            "{model}: best {score} in trial {trial}, {n_pruned} pruned",
            model=one.display_name,
            score=format_number(one.best.rank[0]),
            trial=one.chosen,
            n_pruned=one.n_pruned,
        )
        for one in searches
    )
    height_mm = max(48.0, LEGEND_ROW_MM * (len(shown) + 2) + 6)
    return draw(
        fill,
        width_mm=PAGE_WIDTH_MM,
        height_mm=height_mm,
        alt=t("Trials of each model. {models}.", models=spoken),
    )
