"""What the orchestrator's page of a run shows: verdict, key figures, data, pictures.

The same words and figures as in the report, as Markdown and images, so that page and
report can never disagree.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from medcompare.base.formatting import format_count, format_percent
from medcompare.base.language import t
from medcompare.base.record import Record
from medcompare.report.blocks import Column, Table, svg_uri, table, words
from medcompare.report.figures.confusion import draw_confusion_matrices
from medcompare.report.figures.curves import draw_roc_and_precision_recall
from medcompare.report.pages.data import data_section
from medcompare.report.pages.decision import decision_tables
from medcompare.report.pages.flow import SUBSET_NAMES
from medcompare.report.vocabulary import view_of
from medcompare.runs.result import remake_command

if TYPE_CHECKING:
    from pathlib import Path

    from medcompare.data.records import DatasetSplit
    from medcompare.report.blocks import Cell
    from medcompare.report.figures.drawing import Drawing
    from medcompare.report.inputs import ReportInputs
    from medcompare.runs.result import NoPdf


MAX_COLUMNS = 6
"""Beside the page's own columns there is room for so many."""

MARGIN = 10.0
"""Around a picture, points."""

OPENING = re.compile(
    r'<svg width="[\d.]+pt" height="[\d.]+pt" viewBox="0 0 (?P<width>[\d.]+) (?P<height>[\d.]+)"(?P<rest>[^>]*)>'
)


class RunPage(Record):
    """The page of one run."""

    verdict: str
    """Markdown."""
    data: str
    """Markdown."""
    figures: str
    """Markdown with embedded images."""


class Pictures:
    """The pictures of a run's page, drawn when they are first asked for: the PDF need not be there yet."""

    def __init__(self, inputs: ReportInputs) -> None:
        self._view = view_of(inputs)

    @cached_property
    def markdown(self) -> str:
        """ROC and precision-recall curves and confusion matrices, embedded."""
        evaluations, styles = self._view.evaluations, self._view.styles
        roc = draw_roc_and_precision_recall(
            evaluations, styles, prevalence=self._view.inputs.assessment.prevalence
        )
        return (
            f"## {t('ROC and precision-recall curves')}\n\n{_image(roc)}\n\n"
            f"## {t('Confusion matrices')}\n\n{_image(draw_confusion_matrices(evaluations, styles))}"
        )


def run_page(
    inputs: ReportInputs,
    *,
    report: Path,
    link: str | None,
    no_pdf: NoPdf | None = None,
    pictures: Pictures | None = None,
) -> RunPage:
    """The page of a run.

    `report` is the path of the PDF on the machine that ran, or of the HTML where `no_pdf` says why the run ended
    without, and `link` its web address if any. `pictures` may have been drawn before.
    """
    view = view_of(inputs)
    verdict = inputs.assessment.verdict
    lines = [f"# {escaped(verdict.headline)}", "", escaped(verdict.sentence), ""]
    if no_pdf is not None:
        lines += [_without_pdf(no_pdf, report.parent.name, link), ""]
    if link is not None:
        opening = t("Open the report ({kind})", kind=report.suffix.lstrip(".").upper())
        lines += [f"**[{opening}]({link})**", ""]
    else:
        lines += [
            t(
                "The report lies at `{path}` on the machine that ran. For a link here, serve the folder of runs "
                "(`medcompare reports`) and set `MEDCOMPARE_LINK_BASE`.",
                path=report,
            ),
            "",
        ]
    if inputs.notices or verdict.caveats:
        lines += [f"## {t('Before you rely on it')}", ""]
        lines += [f"- {escaped(text)}" for text in (*inputs.notices, *verdict.caveats)]
        lines += [""]
    for figures in decision_tables(view):
        lines += [f"## {escaped(figures.caption)}", "", table_markdown(figures), ""]
    if inputs.changes:
        lines += [f"## {t('What changed since the previous run')}", ""]
        lines += [f"- {escaped(text)}" for text in inputs.changes]
    return RunPage(
        verdict="\n".join(lines),
        data=_data(inputs),
        figures=(pictures or Pictures(inputs)).markdown,
    )


def _without_pdf(no_pdf: NoPdf, run_name: str, link: str | None) -> str:
    """That the run ended without a PDF, in words that stay true when the PDF has been made: nothing renews the page."""
    ended = t(
        "**The run ended without the PDF of its report**: {how}. The log says more. `{command}`, in the folder of runs "
        "on the machine that ran, makes it.",
        how=escaped(t(no_pdf.how)),
        command=remake_command(run_name),
    )
    if link is None:
        return f"{ended} {t('Once made, it lies beside the HTML.')}"
    return f"{ended} {t('Once made, it is [here]({link}).', link=link.rpartition('/')[0] + '/report.pdf')}"


def _data(inputs: ReportInputs) -> str:
    """Images found, excluded and used, as tables."""
    parts = []
    if inputs.manifest is not None:
        manifest = inputs.manifest
        rows = [(t("Files found"), manifest.n_found), (t("Usable images"), manifest.n_images)]
        rows += [
            (t("Excluded: {reason}", reason=t(reason)), count)
            for reason, count in manifest.rejected_by_reason
        ]
        rows += [
            (t("Groups of identical files"), manifest.n_duplicate_groups),
            (t("... of them with opposite labels"), manifest.n_conflicting_groups),
        ]
        rows += [
            (t("Groups of copies: {kind}", kind=t(kind)), groups)
            for kind, groups, _ in manifest.copies_by_kind
        ]
        if manifest.n_patients is not None:
            rows.append((t("Patients"), manifest.n_patients))
        counts = "\n".join(f"| {escaped(what)} | {format_count(count)} |" for what, count in rows)
        parts.append(f"## {escaped(manifest.name)}\n\n| {t('What')} | {t('Number')} |\n|---|---:|\n{counts}")
    section = data_section(view_of(inputs), 1)
    tables = [] if inputs.split is None else [_subset_table(inputs.split)]
    tables += [block for block in section.blocks if isinstance(block, Table)]
    parts += [f"## {escaped(one.caption)}\n\n{table_markdown(one)}" for one in tables]
    return "\n\n".join(parts) or escaped(section.lead)


def _subset_table(split: DatasetSplit) -> Table:
    """What the report draws as a flow."""
    negative, positive = split.classes
    with_patients = any(summary.n_patients is not None for summary in split.subsets)
    names = [Column(name, kind="name") for name in (negative, positive)]
    heads: list[Column | str] = [t("Images"), *names, t("Positive"), t("Share of images"), t("Target share")]
    if with_patients:
        heads += [t("Patients"), Column(t("Patients with {positive}", positive=positive), kind="name")]
    rows = []
    for one in split.subsets:
        row = [
            t(SUBSET_NAMES[one.subset]),
            format_count(one.n_images),
            *(format_count(count) for count in one.class_counts),
            t("no images") if one.positive_fraction is None else format_percent(one.positive_fraction),
            format_percent(one.fraction),
            format_percent(one.target_fraction),
        ]
        if with_patients:
            row.append(t("unknown") if one.n_patients is None else format_count(one.n_patients))
            row.append(
                t("unknown") if one.patients_by_class is None else format_count(one.patients_by_class[1])
            )
        rows.append(row)
    return table(t("Subsets"), (words(t("Subset")), *heads), rows, dense=False)


def table_markdown(one: Table) -> str:
    """A table of the report as Markdown, with its notes below; turned on its side where the page is too narrow."""
    shown = [i for i, column in enumerate(one.columns) if column.kind != "figure"]
    kinds: list[str] = [one.columns[i].kind for i in shown]
    rows = [[escaped(one.columns[i].head) for i in shown]]
    rows += [[_cell(row[i]) for i in shown] for row in one.rows]
    if len(kinds) > MAX_COLUMNS and len(rows) < len(kinds):
        rows = [list(column) for column in zip(*rows, strict=True)]
        kinds = ["text"] + ["number"] * (len(rows[0]) - 1)
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|" + "|".join("---:" if kind in {"number", "name"} else "---" for kind in kinds) + "|"
    notes = [f"\n{letter}: {escaped(text)}" for letter, text in one.notes if letter]
    return "\n".join([head, rule, *body, *notes])


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    if cell.strong and text:
        text = f"**{text}**"
    return " ".join(part for part in (text, escaped(cell.interval), cell.note and f"({cell.note})") if part)


def escaped(text: str) -> str:
    """`text` so that Markdown and HTML print it as it is, on one line.

    Names of classes and data sets come from the images' owner, not from us.
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", " ".join(text.split()))


def _image(drawing: Drawing) -> str:
    # Drawn for white paper: on a dark page its ink would be lost. With a margin, as paper has.
    svg = OPENING.sub(_on_paper, drawing.svg, count=1)
    return f"![{escaped(drawing.alt)}]({svg_uri(svg)})"


def _on_paper(opening: re.Match[str]) -> str:
    width, height = (float(opening[side]) + 2 * MARGIN for side in ("width", "height"))
    box = f'width="{width:g}pt" height="{height:g}pt" viewBox="{-MARGIN:g} {-MARGIN:g} {width:g} {height:g}"'
    paper = f'<rect x="{-MARGIN:g}" y="{-MARGIN:g}" width="{width:g}" height="{height:g}" fill="#ffffff"/>'
    return f"<svg {box}{opening['rest']}>{paper}"
