"""What a claim such as 92 % against 71 % accuracy looks like under each protocol: one page from real runs.

    python -m benchmarks.protocols --data my_images --positive cancer --weights-dir weights
    python -m benchmarks.protocols --data my_images --image-size 128 --epochs 8 --minutes 10

Every protocol of docs/protocols.md is run through the flow, and the page (``protocols.md`` with ``protocols.svg`` and
``.png``) is written anew after each, from the ``results.json`` of those that are finished. A finished protocol is not
run again: start the same command again after an interruption. All share one store, so that a training of one protocol
is reused by the next. Accuracy is counted at 0.5, as studies do; AUC does not depend on that.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from medcompare.base.formatting import format_duration, format_estimate, format_interval, format_number
from medcompare.models.weights import find_weights
from medcompare.models.zoo import find_model
from medcompare.report.figures.drawing import INK, MUTED, OKABE_ITO, RULE
from medcompare.report.results import read_results
from medcompare.stats.folds import corrected_mean
from medcompare.stats.records import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from medcompare.report.results import Results
    from medcompare.stats.in_detail import Shortcut
    from medcompare.stats.records import FoldRow

ROOT = Path(__file__).resolve().parents[1]
STUDY = ("resnet50", "efficientnet_b0")
LITE0 = ("efficientnet_lite0", "probe:efficientnet_lite0")
CLAIMED = 0.92 - 0.71
"""Accuracy of ResNet-50 less that of EfficientNet-B0 in the published study, on its own images."""
STOPPING_S = 30

PROTOCOLS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "published": ("the study's recipes, one training each", STUDY, ("--seeds", "1")),
    "lite0": ("a pretrained network: fine-tuned, and as a linear probe", LITE0, ("--seeds", "1")),
    "seeds": ("three trainings each", STUDY, ("--seeds", "3")),
    "folds": ("5 folds beside the test", STUDY, ("--seeds", "1", "--folds", "5")),
    "tuned": ("the same search for both", STUDY, ("--preset", "tuned")),
}
"""By name: what it is, models (the first minus the second is shown), and what is added to the command."""

QUICKER = ("evaluate.threshold_rule=fixed", "cost.budget_s=10", "cost.n_repeats=20")
"""Settings of every run: accuracy at 0.5, as studies count it, and a short measurement of cost."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network under one protocol."""

    protocol: str
    model: str
    name: str
    accuracy: Estimate
    auc: Estimate
    above: Estimate | None
    weights: str
    n_trainings: int
    took: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One finished protocol."""

    protocol: str
    seconds: float
    folder: Path
    results: Results
    rows: tuple[Row, ...]
    names: str
    accuracy: Estimate
    auc: Estimate


def weighted(sensitivity: Estimate, specificity: Estimate, prevalence: float) -> Estimate:
    """Accuracy, or its difference, from sensitivity and specificity, with the interval of a weighted sum.

    Each limit is as far away as both are together (square-and-add: Zou and Donner 2008, Stat Med 27:1693). The two
    rest on different cases; trainings that trade one for the other make the interval wider than need be.
    """
    parts = ((prevalence, sensitivity), (1 - prevalence, specificity))
    values = [one.value for _, one in parts]
    lows, highs = [one.ci_low for _, one in parts], [one.ci_high for _, one in parts]
    if None in {*values, *lows, *highs}:
        return Estimate(value=None, level=sensitivity.level, method="none", note="no interval of a part")
    value = sum(w * v for (w, _), v in zip(parts, values, strict=True) if v is not None)
    down, up = (
        math.hypot(
            *(w * ((one.value or 0) - (limit or 0)) for (w, one), limit in zip(parts, limits, strict=True))
        )
        for limits in (lows, highs)
    )
    return Estimate(
        value=value,
        ci_low=value - down,
        ci_high=value + up,
        level=sensitivity.level,
        method="sensitivity and specificity weighted by the prevalence of the test, square-and-add",
    )


def flipped(one: Estimate) -> Estimate:
    """The difference the other way round."""
    low, high = one.ci_low, one.ci_high
    return one.model_copy(
        update={
            "value": None if one.value is None else -one.value,
            "ci_low": None if high is None else -high,
            "ci_high": None if low is None else -low,
        }
    )


def accuracy_of_fold(row: FoldRow) -> float | None:
    """Share of the held-out cases that are called right."""
    if row.sensitivity.value is None or row.specificity.value is None:
        return None
    return (row.sensitivity.value * row.n_positive + row.specificity.value * (row.n - row.n_positive)) / row.n


def thumbnail(results: Results) -> list[Shortcut]:
    """The baseline, where it was computed."""
    return [one for one in results.assessment.shortcuts if one.kind == "thumbnail"]


def finished(protocol: str, run: Path, seconds: float) -> Finished:
    """What the page says of a run, from its ``results.json``."""
    results = read_results(run / "results.json")
    found, (first, second) = results.assessment, PROTOCOLS[protocol][1][:2]
    # A network that was not evaluated as it was trained is in no pair.
    pair = next((one for one in found.comparisons if {one.reference, one.candidate} == {first, second}), None)
    turn = flipped if pair is not None and pair.candidate != first else lambda one: one
    differences = {} if pair is None else pair.differences
    evaluations, budgets = (
        {one.model: one for one in found.evaluations},
        {one.model: one for one in results.budgets},
    )
    thumbnails = {m: d for one in thumbnail(results) for m, d in one.differences.items()}
    accuracy, auc = {}, {}
    for model, one in evaluations.items():
        over = one.over_seeds
        accuracy[model] = (
            weighted(over["sensitivity"], over["specificity"], found.prevalence)
            if over
            else one.metrics["accuracy"]
        )
        auc[model] = one.decisive("auc")
    none = Estimate(
        value=None, level=found.level, method="none", note="; ".join(found.verdict.left_out.values())
    )
    difference = auc_difference = none
    if differences:
        auc_difference = turn(differences["auc"])
        means = (differences["sensitivity"], differences["specificity"])
        difference = turn(
            weighted(*means, found.prevalence) if found.seed_comparisons else differences["accuracy"]
        )
    n_trainings = {one.model: one.n_trainings for one in results.budgets}
    folds = found.cross_validation
    if folds is not None:
        by_model = {m: [accuracy_of_fold(row) for row in folds.rows if row.model == m] for m in evaluations}
        ratio = held_out_per_training_image(results, folds.n_folds)
        level = found.level
        accuracy = {m: corrected_mean(v, ratio, level=level, lowest=0.0) for m, v in by_model.items()}
        auc, n_trainings = dict(folds.means), dict.fromkeys(evaluations, folds.n_folds * folds.n_repeats)
        minus = [
            None if a is None or b is None else a - b
            for a, b in zip(by_model[first], by_model[second], strict=True)
        ]
        difference = corrected_mean(minus, ratio, level=level)
        auc_difference = next((turn(d) for a, b, d in folds.differences if {a, b} == {first, second}), none)
    names = found.display_names
    return Finished(
        protocol=protocol,
        seconds=seconds,
        folder=run,
        results=results,
        rows=tuple(
            Row(
                protocol=protocol,
                model=model,
                name=names.get(model, model),
                accuracy=accuracy[model],
                auc=auc[model],
                above=thumbnails.get(model),
                weights=budgets[model].initial_weights,
                n_trainings=n_trainings[model],
                took=format_duration(budgets[model].seconds + budgets[model].search_seconds)
                if folds is None
                else "see below",
            )
            for model in PROTOCOLS[protocol][1]
        ),
        names=f"{names.get(first, first)} − {names.get(second, second)}",
        accuracy=difference,
        auc=auc_difference,
    )


def held_out_per_training_image(results: Results, n_folds: int) -> float:
    """Of the corrected interval over folds: as `medcompare.data.folds.fold_splits` cuts them."""
    if results.split is None:
        msg = "a run with folds has a split"
        raise ValueError(msg)
    n_train, n_val = (one.n_images for one in results.split.subsets[:2])
    inner = max(2, round((n_train + n_val) / n_val))
    return 1 / ((n_folds - 1) * (1 - 1 / inner))


def percent(one: Estimate, *, signed: bool = False) -> str:
    """An estimate in per cent, or in percentage points."""
    hundred = [None if v is None else 100 * v for v in (one.value, one.ci_low, one.ci_high)]
    if hundred[0] is None:
        return "not estimable"
    unit = f" point{'s' * (round(abs(hundred[0])) != 1)}" if signed else " %"
    interval = format_interval(hundred[1], hundred[2], digits=0, signed=signed)
    return f"{format_number(hundred[0], digits=0, signed=signed)}{unit} ({interval})"


def page(done: Sequence[Finished], asked: argparse.Namespace) -> Iterator[str]:
    """Lines of the page."""
    first = done[0].results
    found, trained = first.assessment, first.trained[0]
    images = 0 if first.split is None else sum(one.n_images for one in first.split.subsets)
    started = dict.fromkeys(f"{row.name} from {row.weights}" for one in done for row in one.rows)
    yield "# What the claim looks like under each protocol\n"
    yield (
        "The published study reports an accuracy of 92 % for ResNet-50 and 71 % for EfficientNet-B0: 21 points. "
        f"Here: {asked.data.name}, {images} images ({found.classes[1]} against {found.classes[0]}), of which {found.n} "
        f"are tested ({found.n_positive} {found.classes[1]}); {trained.image_size_px} px, at most {asked.epochs} "
        f"epoch{'s' * (asked.epochs > 1)}, on {trained.device}. Intervals are those of {100 * found.level:g} %, over "
        "test images and, where there are several, trainings. Accuracy is counted at a probability of 0.5, as "
        "studies do.\n"
    )
    yield f"**Started from:** {'; '.join(started)}.\n"
    for one in thumbnail(first):
        test = (
            "" if one.auc_test is None else f", {format_estimate(one.auc_test, digits=2)} on the test images"
        )
        yield (
            "**Baseline:** a linear model on 12 x 12 thumbnails has an AUC of "
            f"{format_estimate(one.auc, digits=2)} over all images{test}. A network that is not above it has shown "
            "nothing.\n"
        )
    yield "![AUC and differences in accuracy, by protocol](protocols.svg)\n"
    yield "| protocol | network | started from | accuracy | AUC | above thumbnails, first training | trainings | took |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in (row for run in done for row in run.rows):
        above = "–" if row.above is None else format_estimate(row.above, digits=2, signed=True)
        yield (
            f"| {row.protocol} | {row.name} | {row.weights} | {percent(row.accuracy)} | "
            f"{format_estimate(row.auc, digits=2)} | {above} | {row.n_trainings} | {row.took} |"
        )
    yield "\n| protocol | difference | in accuracy | in AUC | verdict | whole run took |"
    yield "|---|---|---|---|---|---|"
    yield "| *the study* | *ResNet-50 − EfficientNet-B0* | *+21 points (no interval)* | – | *ResNet-50* | – |"
    for run in done:
        yield (
            f"| {run.protocol} | {run.names} | {percent(run.accuracy, signed=True)} | "
            f"{format_estimate(run.auc, digits=2, signed=True)} | {run.results.assessment.verdict.sentence} | "
            f"{format_duration(run.seconds)} |"
        )
    yield (
        "\nA run reuses what an earlier one has trained, which its time does not hold. “folds” shows means over the "
        "folds with the corrected resampled t interval (Nadeau and Bengio 2003); its verdict rests on the held-out "
        "test, as that of “published” does. Where there are several trainings, accuracy is that of their mean "
        "sensitivity and specificity. “Above thumbnails” is the AUC of the first training less that of the baseline on "
        "the same test images.\n"
    )
    yield "| protocol | what it is | `python -m flows.compare` |\n|---|---|---|"
    for run in done:
        what, models, more = PROTOCOLS[run.protocol]
        yield f"| {run.protocol} | {what} | `--models {','.join(models)} {' '.join(more)}` |"
    yield f"\nAll of them with `--data {asked.data.name} {' '.join(f'--set {one}' for one in settings_of(asked))}`"
    yield "and, where no ImageNet weights were there, `--set train.initial_weights=none`."
    if any(run.protocol == "tuned" for run in done):
        yield f"Trials of each network: {asked.trials}; epochs of a trial: {min(asked.epochs, asked.trial_epochs)}."


def figure(done: Sequence[Finished]) -> Figure:
    """A forest of AUC by protocol and network beside the baseline, and of differences in accuracy beside the claim."""
    rows = [row for one in done for row in one.rows]
    colours = dict(zip(dict.fromkeys(row.model for row in rows), OKABE_ITO, strict=False))
    drawn = Figure(figsize=(10, 1.6 + 0.34 * len(rows)), layout="constrained")
    left, right = drawn.subplots(1, 2, width_ratios=(3, 2))
    for place, row in enumerate(rows):
        interval(left, row.auc, place, colours[row.model])
    for cut in thumbnail(done[0].results):
        if cut.auc.value is not None:
            left.axvline(cut.auc.value, color=INK, linewidth=1, linestyle=(0, (4, 2)))
            if cut.auc.ci_low is not None and cut.auc.ci_high is not None:
                left.axvspan(cut.auc.ci_low, cut.auc.ci_high, color=RULE, alpha=0.5, linewidth=0)
            left.annotate(
                f"thumbnails {cut.auc.value:.2f}", (cut.auc.value, 1), xycoords=("data", "axes fraction"),
                xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8,
            )  # fmt: skip
    left.set_yticks(range(len(rows)), [f"{row.protocol}: {row.name}" for row in rows])
    left.set(ylim=(len(rows) - 0.5, -0.5), xlabel="AUC")
    for place, one in enumerate(done):
        interval(right, one.accuracy, place, INK if one.protocol != "lite0" else MUTED, hundred=True)
    right.axvline(0, color=INK, linewidth=1)
    right.axvline(100 * CLAIMED, color=OKABE_ITO[1], linewidth=1, linestyle=(0, (4, 2)))
    right.annotate(
        "the study: +21", (100 * CLAIMED, 1), xycoords=("data", "axes fraction"),
        xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8, color=OKABE_ITO[1],
    )  # fmt: skip
    labels = [one.protocol if one.protocol != "lite0" else "lite0: fine-\ntuned − probe" for one in done]
    right.set_yticks(range(len(done)), labels)
    right.set(ylim=(len(done) - 0.5, -0.5), xlabel="accuracy of ResNet-50 −\nEfficientNet-B0, points")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, axis="x", color=RULE, linewidth=0.4)
        axes.set_axisbelow(True)
    return drawn


def interval(axes: Axes, one: Estimate, place: int, colour: str, *, hundred: bool = False) -> None:
    """A point with its interval in a row."""
    unit = 100 if hundred else 1
    if one.ci_low is not None and one.ci_high is not None:
        axes.plot([unit * one.ci_low, unit * one.ci_high], [place, place], color=colour, linewidth=2)
    if one.value is not None:
        axes.plot([unit * one.value], [place], "o", color=colour, markersize=6)
    else:
        where = axes.get_yaxis_transform()
        axes.text(0.02, place, "not estimable", transform=where, va="center", fontsize=8, color=MUTED)


def missing_weights(models: Sequence[str], folder: Path | None) -> list[str]:
    """Those of `models` whose pretrained weights are not on this machine; nothing is downloaded."""
    return [name for name in models if find_weights(find_model(name), "V1", folder) is None]


def settings_of(asked: argparse.Namespace) -> list[str]:
    """Settings of every run."""
    size = [f"train.image_size_px={asked.image_size}", f"train.epochs={asked.epochs}"]
    return [*QUICKER, *size, *asked.set]


def command_of(protocol: str, asked: argparse.Namespace) -> list[str]:
    """The flow's command for a protocol, without the name of the run."""
    _, models, more = PROTOCOLS[protocol]
    settings = [*settings_of(asked), f"train.device={asked.device}"]
    if protocol == "tuned":
        settings += [f"tune.n_trials={asked.trials}", f"tune.epochs={min(asked.epochs, asked.trial_epochs)}"]
    if missing_weights(models, asked.weights_dir):
        settings += ["train.initial_weights=none"]
    command = ["-m", "flows.compare", "--data", str(asked.data), "--models", ",".join(models), *more]
    command += ["--positive", asked.positive] if asked.positive else []
    command += ["--weights-dir", str(asked.weights_dir)] if asked.weights_dir else []
    command += ["--out", str(asked.out), "--store", str(asked.out / "store")]
    for setting in settings:
        command += ["--set", setting]
    return command


def run(command: Sequence[str], log: Path, seconds: float) -> str:
    """Run the flow; why it did not end well, or nothing."""
    with log.open("w", encoding="utf-8") as out:
        child = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=out, stderr=out)  # noqa: S603 - ours
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.send_signal(
                signal.SIGINT
            )  # the flow ends its trainings; finished ones are kept in the store
            try:
                child.wait(STOPPING_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            return "the time was up; start again to go on"
    end = log.read_text(encoding="utf-8")[-1500:]
    return "" if child.returncode == 0 else f"exit status {child.returncode}; the end of {log}:\n{end}"


def main() -> None:
    """Run what is not finished, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of two classes, or a table")
    parser.add_argument("--positive", default="", help="the positive class (default: 'cancer')")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/protocols"), help="receives runs, store and page"
    )
    parser.add_argument("--protocols", default=",".join(PROTOCOLS), help=f"default: {','.join(PROTOCOLS)}")
    parser.add_argument("--image-size", type=int, default=224, help="pixels (default 224)")
    parser.add_argument("--epochs", type=int, default=20, help="at most, of each training (default 20)")
    parser.add_argument("--trials", type=int, default=16, help="of the search of 'tuned' (default 16)")
    parser.add_argument("--trial-epochs", type=int, default=8, help="at most, of each trial (default 8)")
    parser.add_argument("--device", default="auto", help="as train.device (default auto)")
    parser.add_argument("--weights-dir", type=Path, help="folder with pretrained weights")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop after so many, keeping what is finished"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="for every run"
    )
    asked = parser.parse_args()
    wanted, started = asked.protocols.split(","), time.monotonic()
    if unknown := set(wanted) - set(PROTOCOLS):
        parser.error(f"no such protocol: {', '.join(sorted(unknown))}")
    asked.data, asked.out = asked.data.absolute(), asked.out.absolute()
    asked.weights_dir = asked.weights_dir and asked.weights_dir.absolute()
    asked.out.mkdir(parents=True, exist_ok=True)
    done: list[Finished] = []
    failed = False
    for name in wanted:
        if absent := missing_weights(PROTOCOLS[name][1], asked.weights_dir):
            print(f"{name}: no ImageNet weights of {', '.join(absent)} here: all start at random", flush=True)
        command = command_of(name, asked)
        # Other options are another run.
        folder = asked.out / f"{name}-{hashlib.sha256(json.dumps(command).encode()).hexdigest()[:8]}"
        timing, began = folder / "seconds.json", time.monotonic()
        if not timing.exists():
            left, log = 60 * asked.minutes - (began - started), folder.with_suffix(".log")
            problem = run([*command, "--name", folder.name], log, left) if left > 1 else "the time was up"
            if problem:
                failed = True
                print(f"{name}: not finished: {problem}", flush=True)
                continue
            timing.write_text(json.dumps(time.monotonic() - began), encoding="utf-8")
        done.append(finished(name, folder, json.loads(timing.read_text(encoding="utf-8"))))
        drawn = figure(done)
        for suffix in ("svg", "png"):
            drawn.savefig(asked.out / f"protocols.{suffix}", dpi=120)
        (asked.out / "protocols.md").write_text("\n".join(page(done, asked)) + "\n", encoding="utf-8")
        last = done[-1]
        print(
            f"{name}: {last.names} {percent(last.accuracy, signed=True)} of accuracy, AUC "
            f"{format_estimate(last.auc, signed=True)}; {format_duration(last.seconds)}",
            flush=True,
        )
    if done:
        print(asked.out / "protocols.md")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
