"""Closing sections: trend over runs, methods, configuration, provenance, checklists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    capital,
    format_bytes,
    format_count,
    format_duration,
    format_estimate,
    format_level,
    format_number,
    format_parameters,
    format_significant,
    format_time,
    join_words,
)
from medcompare.report.blocks import (
    Bullets,
    Cell,
    Column,
    Heading,
    Paragraph,
    Section,
    Table,
    image_of,
    model_tables,
    text_rows,
)
from medcompare.report.pages.data import MAX_INLINE_ROWS, rejected_blocks
from medcompare.report.results import SCHEMA_VERSION
from medcompare.report.trend import trend_figure
from medcompare.report.vocabulary import GLOSSARY, metric_name

if TYPE_CHECKING:
    from medcompare.report.blocks import Block
    from medcompare.report.inputs import ChecklistTable
    from medcompare.report.vocabulary import View
    from medcompare.training.records import TrainedModel


def trend_section(view: View, number: int) -> Section | None:
    """What changed since the last run, and the figures over past runs."""
    runs, changes = view.inputs.trend, view.inputs.changes
    if not runs and not changes:
        return None
    blocks: list[Block] = []
    if changes:
        blocks += [Heading(text="What changed since the previous run"), Bullets(items=changes)]
    if runs:
        blocks.append(
            image_of(
                trend_figure(runs, view.styles, marks=view.inputs.trend_marks),
                caption="Bars: confidence intervals; oldest run on the left.",
            )
        )
        rows = []
        for run in reversed(runs):
            for i, figures in enumerate(run.figures):
                duration = figures.training_time_s
                rows.append(
                    (
                        run.run_name if i == 0 else "",
                        ("unknown" if run.n_images is None else format_count(run.n_images)) if i == 0 else "",
                        view.label(figures.model) if figures.model in view.styles else figures.model,
                        format_estimate(figures.auc),
                        "not recorded" if duration is None else format_duration(duration),
                        run.headline if i == 0 else "",
                    )
                )
        blocks.append(
            Table(
                caption="Runs, newest first",
                columns=(
                    Column(head="Run", kind="text", width="20%"),
                    Column(head="Images"),
                    Column(head="Model", kind="text", width="20%"),
                    Column(head="AUC"),
                    Column(head="Training time"),
                    Column(head="Verdict", kind="text"),
                ),
                rows=text_rows(rows),
                dense=True,
            )
        )
    lead = "The same comparison over time; a change of data or code is a new comparison."
    return Section(number=number, anchor="trend", title="Over time", lead=lead, blocks=tuple(blocks))


def methods_section(view: View, number: int) -> Section:
    """How the figures were computed, and all that is needed to repeat the run."""
    assessment = view.inputs.assessment
    level = format_level(assessment.level)
    sampling = "resampled by patient" if assessment.clustered else "resampled by case within classes"
    method_text = (
        f"All intervals are two-sided at {level}. "
        f"Bootstrap figures use {format_count(assessment.n_resamples)} resamples ({sampling}), "
        f"seed {assessment.seed}. The rule of the recommendation ended at step "
        f"{assessment.verdict.step}. Figures without a margin are exploratory."
    )
    blocks: list[Block] = [Heading(text="Statistics"), Paragraph(text=method_text)]
    if assessment.verdict.reasons:
        blocks.append(Bullets(items=assessment.verdict.reasons))
    blocks += [_method_table(view)]
    if assessment.notes:
        blocks.append(Bullets(items=assessment.notes))
    blocks += [Heading(text="How to read the terms"), _glossary()]
    if view.inputs.trained:
        blocks += [Heading(text="Training"), Paragraph(text=_training_text(view)), *_training_tables(view)]
    if view.inputs.settings:
        blocks += [Heading(text="Configuration"), _settings_table(view)]
    blocks += [Heading(text="Provenance"), _provenance_table(view)]
    if len(view.inputs.rejected) > MAX_INLINE_ROWS:
        blocks += rejected_blocks(view)
    if view.inputs.files:
        blocks.append(
            Table(
                caption="Other files in the run folder",
                columns=(Column(head="File", kind="code", width="34%"), Column(head="Content", kind="text")),
                rows=text_rows(view.inputs.files),
                dense=True,
            )
        )
    return Section(
        number=number,
        anchor="methods",
        title="Methods, configuration and provenance",
        lead=f"Every number is in results.json at full precision (schema {SCHEMA_VERSION}).",
        blocks=tuple(blocks),
    )


def _method_table(view: View) -> Table:
    """Which method gave which interval, for single figures and for differences."""
    single: dict[str, list[str]] = {}
    paired: dict[str, list[str]] = {}
    for evaluation in view.evaluations:
        for key, estimate in evaluation.metrics.items():
            if estimate.value is not None:
                _remember(single, estimate.method, metric_name(key, short=True))
    if view.pair is not None:
        for key, estimate in view.pair.differences.items():
            if estimate.value is not None:
                _remember(paired, estimate.method, metric_name(key, short=True))
    rows = [("One model", capital(method), ", ".join(names)) for method, names in single.items()]
    rows += [("Difference", capital(method), ", ".join(names)) for method, names in paired.items()]
    return Table(
        caption="Interval methods",
        columns=(
            Column(head="Of", kind="text", width="14%"),
            Column(head="Method", kind="text", width="36%"),
            Column(head="Figures", kind="text"),
        ),
        rows=text_rows(rows),
        dense=True,
    )


def _remember(methods: dict[str, list[str]], method: str, name: str) -> None:
    names = methods.setdefault(method, [])
    if name not in names:
        names.append(name)


def _glossary() -> Table:
    return Table(
        caption="Terms",
        columns=(Column(head="Term", kind="text", width="22%"), Column(head="Meaning", kind="text")),
        rows=text_rows(GLOSSARY),
        dense=True,
        titled=False,
    )


def _training_text(view: View) -> str:
    """How networks are made ready for judgement; only what holds for these."""
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
            f"Without batch normalisation there is nothing to re-measure: {join_words(without)}."
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

    lines: list[tuple[str, list[str]]] = [
        ("Initial weights", [weights(t) for t in trained]),
        ("Optimiser", [t.optimizer for t in trained]),
        ("Class weights", [", ".join(format_significant(w) for w in t.class_weights) for t in trained]),
        (
            "Subtracted from the log-odds for the class weights",
            [format_number(t.log_odds_shift, signed=True) for t in trained],
        ),
        ("Image side (resized to), pixels", [f"{t.image_size_px} ({t.resize_px})" for t in trained]),
        ("Batch size", [format_count(t.batch_size) for t in trained]),
        ("Epochs run, epoch kept", [f"{len(t.history)}, {t.best_epoch}" for t in trained]),
        ("Stopped early", ["yes" if t.stopped_early else "no" for t in trained]),
        ("Images seen", [format_count(t.n_images_seen) for t in trained]),
        ("Parameters", [format_parameters(t.n_parameters) for t in trained]),
        (
            "Precision, memory format",
            [f"{t.precision}, {t.memory_format.replace('_', ' ')}" for t in trained],
        ),
        ("Device, threads, side by side", [f"{t.device}, {t.n_threads}, {t.n_parallel}" for t in trained]),
        ("Seed", [str(t.seed) for t in trained]),
        ("Time", [format_duration(t.elapsed_s) for t in trained]),
        ("Checkpoint SHA-256, first 16", [t.checkpoint.sha256[:16] for t in trained]),
    ]
    return model_tables(
        caption="Training as it ran",
        corner=Column(head="Property", kind="text", width="24%"),
        models=[view.model_column(t.model, kind="text") for t in trained],
        rows=text_rows([(label, *cells) for label, cells in lines]),
        dense=True,
        titled=False,
        kind="text",
    )


def _settings_table(view: View) -> Table:
    return Table(
        caption="Every setting, and who set it",
        titled=False,
        fine=True,
        columns=(
            Column(head="Field", kind="code", width="28%"),
            Column(head="Value", kind="code", width="20%"),
            Column(head="Set by", kind="text", width="9%"),
            Column(head="Meaning", kind="text"),
        ),
        rows=tuple(
            (
                Cell(text=row.field, strong=row.set_by == "user"),
                Cell(text=row.value or "not set"),
                Cell(text=row.set_by, muted=row.set_by == "default"),
                Cell(text=row.description),
            )
            for row in view.inputs.settings
        ),
        dense=True,
    )


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
    return Table(
        caption="Provenance",
        columns=(Column(head="Property", kind="text", width="24%"), Column(head="Value", kind="code")),
        rows=text_rows(rows),
        dense=True,
        titled=False,
    )


def checklist_section(view: View, number: int) -> Section | None:
    """Reporting checklists, as far as software and user filled them."""
    if not view.inputs.checklists:
        return None
    blocks: list[Block] = []
    for checklist in view.inputs.checklists:
        blocks += [
            Heading(text=checklist.name),
            Paragraph(text=_tally(checklist)),
            _checklist_table(checklist),
        ]
    return Section(
        number=number,
        anchor="checklists",
        title="Reporting checklists",
        lead="Blanks are left blank: what neither software nor user supplied is marked missing.",
        blocks=tuple(blocks),
    )


def _tally(checklist: ChecklistTable) -> str:
    counts: dict[str, int] = {}
    for item in checklist.items:
        counts[item.status] = counts.get(item.status, 0) + 1
    tally = ", ".join(f"{format_count(count)} {status}" for status, count in counts.items())
    count = len(checklist.items)
    items = "1 item" if count == 1 else f"{format_count(count)} items"
    return f"{checklist.reference} {items}: {tally}.".strip()


def _checklist_table(checklist: ChecklistTable) -> Table:
    return Table(
        caption=checklist.name,
        columns=(
            Column(head="Item", kind="text", width="5%"),
            Column(head="What to report", kind="text", width="28%"),
            Column(head="Status", kind="text", width="11%"),
            Column(head="Answer", kind="text"),
        ),
        rows=tuple(
            (
                Cell(text=item.number),
                Cell(text=item.text),
                Cell(text=item.status, strong=item.status == "missing"),
                Cell(text=item.answer or "\u2013"),
            )
            for item in checklist.items
        ),
        dense=True,
        fine=True,
        titled=False,
    )
