"""Closing sections: trend over runs, methods, configuration, provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    format_bytes,
    format_count,
    format_duration,
    format_estimate,
    format_number,
    format_parameters,
    format_significant,
    format_time,
    join_words,
)
from medcompare.base.language import message, t
from medcompare.config.settings_table import NOT_SET, spoken_value
from medcompare.report.blocks import (
    Bullets,
    Cell,
    Column,
    Heading,
    Paragraph,
    Section,
    code,
    image_of,
    model_tables,
    table,
    words,
)
from medcompare.report.figures.verdicts import verdict_words
from medcompare.report.pages.data import MAX_INLINE_ROWS, rejected_blocks
from medcompare.report.results import SCHEMA_VERSION
from medcompare.report.trend import control_words, trend_figure
from medcompare.report.vocabulary import GLOSSARY, metric_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from medcompare.config.settings_table import SetBy
    from medcompare.report.blocks import Block, Table
    from medcompare.report.vocabulary import View
    from medcompare.training.records import TrainedModel


LONGEST_NARROW = 8
"""Characters of a word that a narrow column of the settings holds."""

SET_BY: dict[SetBy, str] = {
    "user": message("user"),
    "preset": message("preset"),
    "default": message("default"),
}


def trend_section(view: View, number: int) -> Section | None:
    """What changed since the last run, and the figures over past runs."""
    runs, changes = view.inputs.trend, view.inputs.changes
    if not runs:  # the first run of its series
        return None
    blocks: list[Block] = []
    if changes:
        blocks += [Heading(t("What changed since the previous run")), Bullets(changes)]
    control = view.inputs.trend_control
    figure = trend_figure(runs, view.styles, marks=view.inputs.trend_marks, control=control)
    bars = t("Bars: confidence intervals; oldest run on the left.")
    said = bars, verdict_words(runs, view.styles), control_words(runs, view.styles, control)
    caption = " ".join(part for part in said if part)
    blocks.append(image_of(figure, caption=caption))
    rows = []
    for run in reversed(runs):
        n_images = t("unknown") if run.n_images is None else format_count(run.n_images)
        for i, figures in enumerate(run.figures):
            duration = figures.training_time_s
            rows.append(
                (
                    Cell(run.run_name, again=i > 0),
                    Cell(n_images, again=i > 0),
                    view.label(figures.model) if figures.model in view.styles else figures.model,
                    format_estimate(figures.auc),
                    t("not recorded") if duration is None else format_duration(duration),
                    Cell(run.headline, again=i > 0),
                )
            )
    heads = (
        words(t("Run"), "19%"),
        Column(t("Images"), "7%"),
        words(t("Model"), "18%"),
        Column(t("AUC"), "20%"),
        Column(t("Training time"), "12%"),
        words(t("Verdict")),
    )
    blocks.append(table(t("Runs, newest first"), heads, rows))
    lead = t("The same comparison over time; a change of data or code is a new comparison.")
    return Section(number=number, anchor="trend", title=t("Over time"), lead=lead, blocks=tuple(blocks))


def methods_section(view: View, number: int) -> Section:
    """How the figures were computed, and all that is needed to repeat the run."""
    assessment = view.assessment
    method_text = t(
        "All intervals are two-sided at {level}. Bootstrap figures use {n_resamples:,} resamples ({how}), seed "
        "{seed}. The rule of the recommendation ended at step {step}. Figures without a margin are exploratory.",
        level=view.level,
        n_resamples=assessment.n_resamples,
        how=t("resampled by patient") if assessment.clustered else t("resampled by case within classes"),
        seed=str(assessment.seed),
        step=assessment.verdict.step,
    )
    blocks: list[Block] = [Heading(t("Statistics")), Paragraph(method_text)]
    blocks += [Paragraph(text) for text in assessment.verdict.remarks]
    blocks += [Heading(t("Interval methods of each model"), level=4), _interval_methods(view)]
    if assessment.notes:
        blocks.append(Bullets(assessment.notes))
    terms = tuple(f"{t(term)}: {t(meaning)}" for term, meaning in GLOSSARY)
    blocks += [Heading(t("How to read the terms")), Bullets(terms, in_columns=True)]
    if view.inputs.trained:
        blocks += [Heading(t("Training")), Paragraph(_training_text(view)), *_training_tables(view)]
    if view.inputs.settings:
        n_default = sum(row.set_by == "default" for row in view.inputs.settings)
        text = t(
            "{n:,} settings are at their defaults; results.json lists all with their meaning.", n=n_default
        )
        blocks += [Heading(t("Configuration")), Paragraph(text)]
        if n_default < len(view.inputs.settings):
            blocks.append(_settings_table(view))
    blocks += [Heading(t("Provenance")), _provenance_table(view)]
    if len(view.inputs.rejected) > MAX_INLINE_ROWS:
        blocks += [Heading(t("Excluded files")), *rejected_blocks(view)]
    if view.inputs.files:
        listed = "; ".join(f"{name} ({about})" for name, about in view.inputs.files)
        blocks.append(Paragraph(t("In the run folder, beside this report: {files}.", files=listed)))
    if view.inputs.evidence:
        inside = (code(t("File"), "26%"), words(t("Content"), "31%"), code(t("SHA-256")))
        rows = [(one.name, t(one.about), one.sha256) for one in view.inputs.evidence]
        blocks += [
            table(t("Files inside the PDF"), inside, rows),
            Paragraph(
                t(
                    "medcompare reproduce report.pdf computes the numbers again from these files, without images or "
                    "networks. They name no file and no patient."
                )
            ),
        ]
    return Section(
        number=number,
        anchor="methods",
        title=t("Methods, configuration and provenance"),
        lead=t(
            "Every number is in results.json at full precision (schema {version}).",
            version=SCHEMA_VERSION,
        ),
        blocks=tuple(blocks),
    )


def _interval_methods(view: View) -> Bullets:
    """Which method gave which interval; those of differences are below their table."""
    names: dict[str, dict[str, None]] = {}
    for one in view.evaluations:
        for key, estimate in one.metrics.items():
            if estimate.value is not None:
                names.setdefault(estimate.method, {})[metric_name(key, short=True)] = None
    texts = (f"{', '.join(found)}: {method}" for method, found in names.items())
    return Bullets(tuple(texts), in_columns=True)


def _training_text(view: View) -> str:
    """How networks are made ready for evaluation; only what holds for these."""
    trained = view.inputs.trained
    sentences = []
    sizes = sorted({one.batch_norm.n_sample_images for one in trained if one.batch_norm})
    if sizes:
        n_images = join_words(format_count(n) for n in sizes)
        sentences.append(
            t(
                "After each epoch, and for the checkpoint that was kept, the mean and variance of every "
                "batch-normalisation layer were measured again on {n_images} training images without "
                "augmentation (Wu and Johnson 2021), with dropout and stochastic depth off: validation, test "
                "figures and the recommendation rest on these statistics, whatever running averages the "
                "network\u2019s library keeps.",
                n_images=n_images,
            )
        )
    without = [view.name(one.model) for one in trained if one.batch_norm is None]
    if without:
        sentences.append(
            t(
                "Without batch normalisation that was trained there is nothing to re-measure: {models}.",
                models=join_words(without),
            )
        )
    if any(one.log_odds_shift for one in trained):
        sentences.append(
            t(
                "What class weights add to the log-odds in training, the log of their ratio, is subtracted from "
                "every prediction, so that probabilities are those of the training subset\u2019s share of positive "
                "images."
            )
        )
    return " ".join(sentences) or t("No class weights, and no batch normalisation: nothing is corrected.")


STEPS_COMPILED = {
    (True, "set"): message("yes, as set"),
    (True, "measured"): message("yes, as that was measured to be faster"),
    (False, "set"): message("no, as set"),
    (False, "measured"): message("no, as that was measured to gain nothing"),
    (False, "rule"): message("no: neither probes nor trainings on several devices are"),
    (False, "no compiler"): message("no: there is no compiler"),
    (False, "short"): message("no: the training is short beside compiling"),
    (False, "failed"): message("no: torch could not compile the network"),
}
"""By `TrainedModel.compiled` and `TrainedModel.why_compiled`."""


def _training_tables(view: View) -> list[Table]:
    order = list(view.styles)
    trained = sorted(view.inputs.trained, key=lambda row: order.index(row.model))

    def weights(row: TrainedModel) -> str:
        if row.initial_weights.kind == "none":
            return t("random initialisation")
        version = f" ({row.initial_weights.version})" if row.initial_weights.version else ""
        return f"{row.initial_weights.name}{version}"

    compiled = f", {t('compiled')}"

    def speeds(row: TrainedModel) -> str:
        found = (
            f"{one.precision}, {one.memory_format.replace('_', ' ')}{compiled * one.compiled} "
            f"{format_significant(one.images_per_s)}"
            for one in row.speeds
        )
        return "; ".join(found) or t("set, or by rule")

    def row(label: str, write: Callable[[TrainedModel], str]) -> tuple[str, ...]:
        return (label, *(write(one) for one in trained))

    # What each model was given is in the table of equal chances, where there is one.
    given = [
        row(t("Optimiser"), lambda one: one.recipe),
        row(t("Batch size"), lambda one: format_count(one.batch_size)),
    ]
    rows = [
        row(t("Initial weights"), weights),
        row(
            t("Licence of the weights"),
            lambda one: t(one.initial_weights.licence or message("does not apply")),
        ),
        row(t("Resizing, crop; normalisation"), lambda one: str(one.transforms or t("not recorded"))),
        *(() if view.inputs.budgets else given),
        row(t("Class weights"), lambda one: ", ".join(format_significant(w) for w in one.class_weights)),
        row(
            t("Subtracted from the log-odds for the class weights"),
            lambda one: format_number(one.log_odds_shift, signed=True),
        ),
        row(t("Image side (resized to), pixels"), lambda one: f"{one.image_size_px} ({one.resize_px})"),
        row(t("Epochs run, epoch kept"), lambda one: f"{len(one.history)}, {one.best_epoch}"),
        row(t("Stopped early"), lambda one: t("yes") if one.stopped_early else t("no")),
        row(t("Images seen"), lambda one: format_count(one.n_images_seen)),
        *(
            ()
            if view.assessment.costs
            else (row(t("Parameters"), lambda one: format_parameters(one.n_parameters)),)
        ),
        row(
            t("Precision, memory format"),
            lambda one: f"{one.precision}, {one.memory_format.replace('_', ' ')}",
        ),
        row(t("Steps compiled"), lambda one: t(STEPS_COMPILED[one.compiled, one.why_compiled])),
        row(t("Chosen from, images per second"), speeds),
        row(
            t("Device, threads, side by side"),
            lambda one: f"{one.hardware}, {one.n_threads}, {one.n_parallel}",
        ),
        row(t("Seed"), lambda one: str(one.seed)),
        row(t("Time"), lambda one: format_duration(one.elapsed_s)),
        row(t("Checkpoint SHA-256, first 16"), lambda one: one.checkpoint.sha256[:16]),
    ]
    columns = view.columns((one.model for one in trained), kind="text")
    return model_tables(
        t("Training as it ran"), words(t("Property"), "24%"), columns, rows, dense=True, titled=False
    )


def _settings_table(view: View) -> Table:
    rows = [
        (
            Cell(row.field, strong=row.set_by == "user"),
            spoken_value(row.value or NOT_SET),
            t(SET_BY[row.set_by]),
            t(row.description),
        )
        for row in view.inputs.settings
        if row.set_by != "default"
    ]
    longest = max(len(t(one)) for one in SET_BY.values())
    heads = (
        code(t("Field"), "25%"),
        code(t("Value"), "13%"),
        words(t("Set by"), "8%" if longest <= LONGEST_NARROW else "13%"),
        words(t("Meaning")),
    )
    return table(t("Settings that are no defaults"), heads, rows, titled=False, fine=True)


def _provenance_table(view: View) -> Table:
    provenance = view.inputs.provenance
    states = {True: t("with uncommitted changes"), False: t("clean"), None: t("state unknown")}
    state = states[provenance.code_dirty]
    commit = t("unknown") if provenance.code_commit is None else f"{provenance.code_commit} ({state})"
    rows = [
        ("medcompare", provenance.medcompare_version),
        (t("Code"), commit),
        (t("Started"), format_time(provenance.started_at)),
        (t("Finished"), format_time(provenance.finished_at)),
        (t("Command"), provenance.command),
        (t("Python, platform"), f"{provenance.python}, {provenance.platform}"),
        (
            t("Processor"),
            t(
                "{cpu}, {n_cores:,} cores, {memory}",
                cpu=provenance.cpu,
                n_cores=provenance.n_cores,
                memory=format_bytes(provenance.memory_bytes),
            ),
        ),
        (t("GPU"), provenance.gpu or t("none")),
        (t("Configuration SHA-256"), provenance.config_sha256),
        (t("Versions"), ", ".join(f"{name} {version}" for name, version in provenance.versions)),
    ]
    if view.inputs.manifest is not None:
        rows.append((t("Data fingerprint"), view.inputs.manifest.fingerprint))
    return table(t("Provenance"), (words(t("Property"), "24%"), code(t("Value"))), rows, titled=False)
