"""Figures about runs rather than cases: learning curves, cost and seeds."""

from __future__ import annotations

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
    offset,
    plot_interval,
    title_by,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medcompare.stats.records import Estimate
    from medcompare.training.records import TrainedModel
    from medcompare.training.search import Search

LOG_FROM_RATIO = 5.0
"""A cost axis becomes logarithmic when the models differ by more than this factor."""
MAX_BESIDE = 3
"""More models than these need the width of the page in accuracy against cost."""


def draw_learning_curves(trained: TrainedModel, style: ModelStyle, *, width_mm: float = 85.0) -> Drawing:
    """Loss and validation AUC per epoch, with the epoch whose checkpoint was kept; at least one epoch."""
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


def draw_accuracy_and_cost(
    points: Sequence[tuple[ModelStyle, Estimate, float, tuple[float, float] | None]], *, cost_label: str
) -> Drawing:
    """AUC against the deciding cost; `points` holds style, AUC, cost and interval of the cost of each model."""
    beside = len(points) <= MAX_BESIDE
    place: dict[str, Any] = (
        {"loc": "upper left", "bbox_to_anchor": (0.0, -0.2)}
        if beside
        else {"loc": "center left", "bbox_to_anchor": (1.02, 0.5)}
    )

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        costs = [cost for _, _, cost, _ in points]
        logarithmic = min(costs) > 0 and max(costs) / min(costs) > LOG_FROM_RATIO
        if logarithmic:
            axes.set_xscale("log")
        for style, auc, cost, interval in points:
            if auc.value is None:
                continue
            plot_interval(axes, auc, cost, color=style.colour, linewidth=1.1)
            if interval is not None:
                axes.plot(interval, [auc.value] * 2, color=style.colour, linewidth=1.1)
            axes.plot(
                [cost], [auc.value], style.marker, color=style.colour, markersize=6.5, label=style.label
            )
        _cost_limits(axes, points, logarithmic=logarithmic)
        low, high = axes.get_ylim()
        axes.set_ylim(low, min(high, 1.005))
        axes.set(xlabel=cost_label, ylabel=t("AUC"))
        axes.grid(visible=True, color=RULE, linewidth=0.35)
        axes.legend(**place)
        axes.text(
            0.0,
            1.02,
            t("\u2196 better: cheaper and more accurate"),
            transform=axes.transAxes,
            color=MUTED,
        )

    spoken = "; ".join(
        t(
            "{model}: cost {cost}, AUC {auc}",
            model=style.name,
            cost=format_significant(cost),
            auc=format_number(auc.value),
        )
        for style, auc, cost, _ in points
        if auc.value is not None
    )
    height_mm = 62.0 + (LEGEND_ROW_MM * len(points) if beside else 0.0)
    return draw(
        fill,
        width_mm=SPLIT_IMAGE_MM if beside else PAGE_WIDTH_MM,
        height_mm=height_mm,
        alt=t("AUC against {cost}. {models}.", cost=cost_label, models=spoken),
    )


def _cost_limits(
    axes: Axes,
    points: Sequence[tuple[ModelStyle, Estimate, float, tuple[float, float] | None]],
    *,
    logarithmic: bool,
) -> None:
    reach = [x for _, _, cost, interval in points for x in (cost, *(interval or ()))]
    if logarithmic:
        axes.set_xlim(min(reach) / 1.5, max(reach) * 1.5)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, max(reach) * 1.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: localised(f"{value:,.6g}")))


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
