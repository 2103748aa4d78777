"""Closing sections: trend over runs, methods, configuration, provenance, checklists."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    capital,
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
from medcompare.data.spelling import without_formula
from medcompare.report.blocks import (
    Bullets,
    Cell,
    Heading,
    Paragraph,
    Section,
    code,
    image_of,
    model_tables,
    table,
    words,
)
from medcompare.report.pages.data import MAX_INLINE_ROWS, rejected_blocks
from medcompare.report.results import SCHEMA_VERSION
from medcompare.report.trend import control_words, trend_figure
from medcompare.report.vocabulary import GLOSSARY, metric_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medcompare.report.blocks import Block, Table
    from medcompare.report.inputs import ChecklistTable
    from medcompare.report.vocabulary import View
    from medcompare.training.records import TrainedModel


CHECKLISTS_NAME = "checklists.csv"


def trend_section(view: View, number: int) -> Section | None:
    """What changed since the last run, and the figures over past runs."""
    runs, changes = view.inputs.trend, view.inputs.changes
    if not runs:  # the first run of its series
        return None
    blocks: list[Block] = []
    if changes:
        blocks += [Heading("What changed since the previous run"), Bullets(changes)]
    control = view.inputs.trend_control
    figure = trend_figure(runs, view.styles, marks=view.inputs.trend_marks, control=control)
    caption = (
        f"Bars: confidence intervals; oldest run on the left. {control_words(runs, view.styles, control)}"
    )
    blocks.append(image_of(figure, caption=caption))
    rows = []
    for run in reversed(runs):
        n_images = "unknown" if run.n_images is None else format_count(run.n_images)
        for i, figures in enumerate(run.figures):
            duration = figures.training_time_s
            rows.append(
                (
                    Cell(run.run_name, again=i > 0),
                    Cell(n_images, again=i > 0),
                    view.label(figures.model) if figures.model in view.styles else figures.model,
                    format_estimate(figures.auc),
                    "not recorded" if duration is None else format_duration(duration),
                    Cell(run.headline, again=i > 0),
                )
            )
    heads = (
        words("Run", "20%"),
        "Images",
        words("Model", "20%"),
        "AUC",
        "Training time",
        words("Verdict"),
    )
    blocks.append(table("Runs, newest first", heads, rows))
    lead = "The same comparison over time; a change of data or code is a new comparison."
    return Section(number=number, anchor="trend", title="Over time", lead=lead, blocks=tuple(blocks))


def methods_section(view: View, number: int) -> Section:
    """How the figures were computed, and all that is needed to repeat the run."""
    assessment = view.assessment
    sampling = "resampled by patient" if assessment.clustered else "resampled by case within classes"
    method_text = (
        f"All intervals are two-sided at {view.level}. "
        f"Bootstrap figures use {format_count(assessment.n_resamples)} resamples ({sampling}), "
        f"seed {assessment.seed}. The rule of the recommendation ended at step "
        f"{assessment.verdict.step}. Figures without a margin are exploratory."
    )
    blocks: list[Block] = [Heading("Statistics"), Paragraph(method_text)]
    if assessment.verdict.reasons:
        blocks.append(Bullets(assessment.verdict.reasons, in_columns=True))
    blocks.append(_method_table(view))
    if assessment.notes:
        blocks.append(Bullets(assessment.notes))
    terms = table("Terms", (words("Term", "22%"), words("Meaning")), GLOSSARY, titled=False)
    blocks += [Heading("How to read the terms"), terms]
    if view.inputs.trained:
        blocks += [Heading("Training"), Paragraph(_training_text(view)), *_training_tables(view)]
    if view.inputs.settings:
        n_default = sum(row.set_by == "default" for row in view.inputs.settings)
        text = f"{format_count(n_default)} settings are at their defaults; results.json lists all with their meaning."
        blocks += [Heading("Configuration"), Paragraph(text)]
        if n_default < len(view.inputs.settings):
            blocks.append(_settings_table(view))
    blocks += [Heading("Provenance"), _provenance_table(view)]
    if len(view.inputs.rejected) > MAX_INLINE_ROWS:
        blocks += rejected_blocks(view)
    if view.inputs.files:
        heads = (code("File", "34%"), words("Content"))
        blocks.append(table("Other files in the run folder", heads, view.inputs.files))
    if view.inputs.evidence:
        inside = (code("File", "26%"), words("Content", "30%"), code("SHA-256"))
        rows = [(one.name, one.about, one.sha256) for one in view.inputs.evidence]
        blocks += [
            table("Files inside the PDF", inside, rows),
            Paragraph(
                "medcompare reproduce report.pdf computes the numbers again from these files, without images or "
                "networks. They name no file and no patient."
            ),
        ]
    return Section(
        number=number,
        anchor="methods",
        title="Methods, configuration and provenance",
        lead=f"Every number is in results.json at full precision (schema {SCHEMA_VERSION}).",
        blocks=tuple(blocks),
    )


def _method_table(view: View) -> Table:
    """Which method gave which interval; those of differences are below their table."""
    names: dict[str, dict[str, None]] = {}
    for one in view.evaluations:
        for key, estimate in one.metrics.items():
            if estimate.value is not None:
                names.setdefault(estimate.method, {})[metric_name(key, short=True)] = None
    rows = [(capital(method), ", ".join(found)) for method, found in names.items()]
    return table("Interval methods of each model", (words("Method", "46%"), words("Figures")), rows)


def _training_text(view: View) -> str:
    """How networks are made ready for evaluation; only what holds for these."""
    trained = view.inputs.trained
    sentences = []
    sizes = sorted({t.batch_norm.n_sample_images for t in trained if t.batch_norm})
    if sizes:
        n_images = join_words(format_count(n) for n in sizes)
        sentences.append(
            "After each epoch, and for the checkpoint that was kept, the mean and variance of every "
            f"batch-normalisation layer were measured again on {n_images} training images without augmentation "
            "(Wu and Johnson 2021), with dropout and stochastic depth off: validation, test figures and the "
            "recommendation rest on these statistics, whatever running averages the network\u2019s library keeps."
        )
    without = [view.name(t.model) for t in trained if t.batch_norm is None]
    if without:
        sentences.append(
            f"Without batch normalisation that was trained there is nothing to re-measure: {join_words(without)}."
        )
    if any(t.log_odds_shift for t in trained):
        sentences.append(
            "What class weights add to the log-odds in training, the log of their ratio, is subtracted from every "
            "prediction, so that probabilities are those of the training subset\u2019s share of positive images."
        )
    return " ".join(sentences) or "No class weights, and no batch normalisation: nothing is corrected."


def _training_tables(view: View) -> list[Table]:
    order = list(view.styles)
    trained = sorted(view.inputs.trained, key=lambda row: order.index(row.model))

    def weights(row: TrainedModel) -> str:
        if row.initial_weights.kind == "none":
            return "random initialisation"
        version = f" ({row.initial_weights.version})" if row.initial_weights.version else ""
        return f"{row.initial_weights.name}{version}"

    def speeds(row: TrainedModel) -> str:
        found = (
            f"{one.precision}, {one.memory_format.replace('_', ' ')} {format_significant(one.images_per_s)}"
            for one in row.speeds
        )
        return "; ".join(found) or "set, or by rule"

    def row(label: str, write: Callable[[TrainedModel], str]) -> tuple[str, ...]:
        return (label, *(write(one) for one in trained))

    rows = [
        row("Initial weights", weights),
        row("Licence of the weights", lambda t: t.initial_weights.licence or "does not apply"),
        row("Resizing, crop; normalisation", lambda t: t.transforms or "not recorded"),
        row("Optimiser", lambda t: t.recipe),
        row("Class weights", lambda t: ", ".join(format_significant(w) for w in t.class_weights)),
        row(
            "Subtracted from the log-odds for the class weights",
            lambda t: format_number(t.log_odds_shift, signed=True),
        ),
        row("Image side (resized to), pixels", lambda t: f"{t.image_size_px} ({t.resize_px})"),
        row("Batch size", lambda t: format_count(t.batch_size)),
        row("Epochs run, epoch kept", lambda t: f"{len(t.history)}, {t.best_epoch}"),
        row("Stopped early", lambda t: "yes" if t.stopped_early else "no"),
        row("Images seen", lambda t: format_count(t.n_images_seen)),
        row("Parameters", lambda t: format_parameters(t.n_parameters)),
        row("Precision, memory format", lambda t: f"{t.precision}, {t.memory_format.replace('_', ' ')}"),
        row("Chosen from, images per second", speeds),
        row("Device, threads, side by side", lambda t: f"{t.hardware}, {t.n_threads}, {t.n_parallel}"),
        row("Seed", lambda t: str(t.seed)),
        row("Time", lambda t: format_duration(t.elapsed_s)),
        row("Checkpoint SHA-256, first 16", lambda t: t.checkpoint.sha256[:16]),
    ]
    columns = view.columns((t.model for t in trained), kind="text")
    return model_tables(
        "Training as it ran", words("Property", "24%"), columns, rows, dense=True, titled=False
    )


def _settings_table(view: View) -> Table:
    rows = [
        (
            Cell(row.field, strong=row.set_by == "user"),
            row.value or "not set",
            row.set_by,
            row.description,
        )
        for row in view.inputs.settings
        if row.set_by != "default"
    ]
    heads = (code("Field", "28%"), code("Value", "20%"), words("Set by", "9%"), words("Meaning"))
    return table("Settings that are no defaults", heads, rows, titled=False, fine=True)


def _provenance_table(view: View) -> Table:
    provenance = view.inputs.provenance
    state = {True: "with uncommitted changes", False: "clean", None: "state unknown"}[provenance.code_dirty]
    commit = "unknown" if provenance.code_commit is None else f"{provenance.code_commit} ({state})"
    rows = [
        ("medcompare", provenance.medcompare_version),
        ("Code", commit),
        ("Started", format_time(provenance.started_at)),
        ("Finished", format_time(provenance.finished_at)),
        ("Command", provenance.command),
        ("Python, platform", f"{provenance.python}, {provenance.platform}"),
        (
            "Processor",
            f"{provenance.cpu}, {format_count(provenance.n_cores)} cores, {format_bytes(provenance.memory_bytes)}",
        ),
        ("GPU", provenance.gpu or "none"),
        ("Configuration SHA-256", provenance.config_sha256),
        ("Versions", ", ".join(f"{name} {version}" for name, version in provenance.versions)),
    ]
    if view.inputs.manifest is not None:
        rows.append(("Data fingerprint", view.inputs.manifest.fingerprint))
    return table("Provenance", (words("Property", "24%"), code("Value")), rows, titled=False)


def checklist_section(view: View, number: int) -> Section | None:
    """Reporting checklists, as far as software and user filled them."""
    if not view.inputs.checklists:
        return None
    gaps = {one.name: _gaps(one) for one in view.inputs.checklists}
    # First, so that no page is turned for them.
    blocks: list[Block] = [
        Paragraph(f"Nothing to add to {one.name}. {_tally(one)}")
        for one in view.inputs.checklists
        if not gaps[one.name].items
    ]
    for one in view.inputs.checklists:
        if gaps[one.name].items:
            blocks += [Heading(one.name), Paragraph(_tally(one)), gaps[one.name]]
    return Section(
        number=number,
        anchor="checklists",
        title="Reporting checklists",
        lead=f"What a person still has to add. All items with their answers are in {CHECKLISTS_NAME}, in the run "
        "folder and inside the PDF.",
        blocks=tuple(blocks),
    )


def _tally(checklist: ChecklistTable) -> str:
    counts = Counter(item.status for item in checklist.items)
    tally = ", ".join(f"{format_count(count)} {status}" for status, count in counts.items())
    n = len(checklist.items)
    items = "1 item" if n == 1 else f"{format_count(n)} items"
    return f"{checklist.reference} {items}: {tally}.".strip()


def _gaps(checklist: ChecklistTable) -> Bullets:
    """What is still to be written by a person."""
    missing = [item for item in checklist.items if item.status == "missing"]
    return Bullets(tuple(f"{item.number}: {item.text}" for item in missing), in_columns=True)


def checklists_csv(checklists: Sequence[ChecklistTable]) -> bytes:
    """Every item of every checklist with its answer, to be filled in further: UTF-8 with the mark Excel needs."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(("checklist", "item", "section", "what to report", "status", "answer"))
    for one in checklists:
        for item in one.items:
            texts = (one.name, item.number, item.section, item.text, item.status, item.answer)
            writer.writerow([without_formula(text) for text in texts])
    return target.getvalue().encode("utf-8-sig")
