"""Section on data: what came in, what was excluded, how it was split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import (
    capital,
    format_count,
    format_number,
    format_p,
    format_percent,
    format_significant,
    format_time,
    join_words,
)
from medcompare.base.language import localised, message, t, tn
from medcompare.data.records import MAX_LEVELS, PUBLISHED
from medcompare.report.blocks import (
    Bullets,
    Cell,
    Column,
    Heading,
    Notes,
    Paragraph,
    Section,
    code,
    muted,
    table,
    words,
)
from medcompare.report.pages.flow import SUBSET_NAMES, flow_of_cases, flow_of_images
from medcompare.report.vocabulary import format_patients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medcompare.data.records import Characteristic, DatasetManifest, DatasetSplit
    from medcompare.report.blocks import Block, Row
    from medcompare.report.vocabulary import View

MAX_INLINE_ROWS = 10
"""Longer lists of rejected files are at the end of the methods section."""

MAX_REJECTED_ROWS = 150
"""Still longer lists go on in ``results.json`` only."""


def data_section(view: View, number: int) -> Section:
    """Flow of cases, subsets, image sizes, rejected files."""
    inputs = view.inputs
    blocks: list[Block] = []
    how: tuple[str, ...] = () if inputs.manifest is None else (_what_images_are(inputs.manifest),)
    if inputs.split is not None:
        how = (*how, f"{inputs.split.method.rstrip('.')}.", *_split_facts(inputs.split))
    if how:
        blocks.append(Bullets(how, in_columns=True))
    if inputs.manifest is not None:
        lead = t("Every image was decoded once; what could not be used was excluded, counted and listed.")
        blocks.append(flow_of_images(view, inputs.manifest))
    else:
        lead = t("The predictions were supplied; the images behind them were not seen by this software.")
        blocks.append(flow_of_cases(view))
    if inputs.split is not None:
        blocks += _characteristics(view, inputs.split)
    if inputs.manifest is not None:
        blocks += _data_changes(view)
        blocks += [Paragraph(warning, "warning") for warning in inputs.manifest.warnings]
    blocks += [*_shortcuts(view), *_random_split(view)]
    if not inputs.assessment.clustered:
        text = format_patients(inputs.assessment)
        if inputs.assessment.n_patients is None:
            text += " " + t("If patients contribute several images, the intervals are too narrow.")
        blocks.append(Paragraph(text, "note"))
    if 0 < len(inputs.rejected) <= MAX_INLINE_ROWS:
        blocks += rejected_blocks(view)
    elif inputs.rejected:
        n = len(inputs.rejected)
        text = t("The {n:,} excluded files are listed at the end of the methods section.", n=n)
        blocks.append(Paragraph(text))
    return Section(number=number, anchor="data", title=t("Data and split"), lead=lead, blocks=tuple(blocks))


def _columns(manifest: DatasetManifest) -> tuple[str, ...]:
    """Further columns but that of a published split, which the subsets themselves show."""
    return tuple(column for column in manifest.extra_columns if column != PUBLISHED)


def _characteristics(view: View, split: DatasetSplit) -> list[Block]:
    """Further columns of the manifest per subset; which of them are not tabulated, and why."""
    inputs = view.inputs
    columns = () if inputs.manifest is None else _columns(inputs.manifest)
    if not columns:
        return []
    totals = [summary.n_images for summary in split.subsets]
    blocks: list[Block] = [Heading(t("Characteristics of the subsets"))]
    if inputs.characteristics:
        subsets = [
            f"{t(SUBSET_NAMES[one.subset])} (n = {format_count(one.n_images)})" for one in split.subsets
        ]
        blocks.append(
            table(
                t(
                    "Images that are {positive} / all images (share of all images of the subset)",
                    positive=split.classes[1],
                ),
                (
                    words(t("Column of the data"), "25%"),
                    *(Column(one, "19.1%") for one in subsets),
                    Column(t("Test, training"), "9.5%"),
                    Column(t("Classes"), "8%"),
                ),
                [_characteristic_row(row, totals) for row in inputs.characteristics],
            )
        )
        text = t(
            "The last two columns: standardised differences, in standard deviations, between test and "
            "training images and between {positive} and {negative}. By custom a difference above 0.1 is "
            "worth a look: between the subsets it says that the test is of other patients than the training, "
            "between the classes that a network may have learned the column in place of the disease.",
            positive=split.classes[1],
            negative=split.classes[0],
        )
        blocks.append(Paragraph(text, "note"))
    tabulated = {row.column for row in inputs.characteristics}
    others = [column for column in columns if column not in tabulated]
    if others:
        text = t(
            "Not tabulated: {columns}. Such a column is blank, has a value of its own for every patient "
            "or image, or has more than {n} values that are not numbers.",
            columns=join_words(others),
            n=MAX_LEVELS,
        )
        blocks.append(Paragraph(text, "note"))
    return blocks


def _characteristic_row(row: Characteristic, totals: Sequence[int]) -> Row:
    if row.quartiles is not None:
        cells = [
            muted(t("none given"))
            if each is None
            else Cell(
                format_significant(each[1]),
                interval=t(
                    "({low} to {high})", low=format_significant(each[0]), high=format_significant(each[2])
                ),
            )
            for each in row.quartiles
        ]
    else:
        cells = [
            Cell(
                f"{format_count(positive)} / {format_count(negative + positive)}",
                interval=f"({format_percent((negative + positive) / total)})" if total else "",
            )
            for (negative, positive), total in zip(row.counts, totals, strict=True)
        ]
    name = t("median (quartiles)") if row.level is None else row.level or t("not given")
    differences = [
        "" if each is None else localised(f"{each:.2f}")
        for each in (row.difference_test, row.difference_class)
    ]
    return (f"{row.column}{',' if row.level is None else ':'} {name}", *cells, *differences)


def _data_changes(view: View) -> list[Block]:
    """Images added, removed and relabelled since the last run of the same data, and whether their kind drifted."""
    data = view.inputs.data_changes
    if data is None:
        return []
    what = t("{before:,} images then, {after:,} now", before=data.n_before, after=data.n_after)
    if data.counts:
        what = f"{what}; {data.counts}"
    elif data.n_before == data.n_after:
        what = t("the same images with the same labels")
    text = t(
        "Compared with run {run} of {time}: {changes}.",
        run=data.previous,
        time=format_time(data.previous_at[:19] + "+00:00"),
        changes=what,
    )
    blocks: list[Block] = [
        Heading(t("What changed since the last run of the same data")),
        Paragraph(f"{text} {t(data.note)}".strip()),
    ]
    named = [
        t(what, cases=_listed(cases, n))
        for what, cases, n in (
            (message("Added: {cases}."), data.added, data.n_added),
            (message("Removed: {cases}."), data.removed, data.n_removed),
            (
                message("Relabelled: {cases}."),
                [f"{one.case_id} ({one.before} \u2192 {one.after})" for one in data.relabelled],
                data.n_relabelled,
            ),
        )
        if n
    ]
    if named:
        blocks.append(Bullets(tuple(named)))
    if data.drift:
        heads = (
            words(t("Statistic"), "30%"),
            t("Images"),
            t("Median"),
            t("Beside: median (images)"),
            t("Difference"),
            t("KS distance"),
            t("p (Holm)"),
        )
        rows: list[Row] = [
            (
                capital(t(one.statistic)),
                t(IMAGES[one.images], n=one.n[0]),
                format_significant(one.medians[0]),
                f"{format_significant(one.medians[1])} ({format_count(one.n[1])})",
                "" if one.difference is None else format_number(one.difference, digits=2, signed=True),
                format_number(one.distance, digits=2),
                Cell(format_p(one.p_value), strong=one.drifted),
            )
            for one in data.drift
        ]
        note = t(
            "Added images beside all of the earlier run, removed images beside those that stayed. Difference: of the "
            "means, in standard deviations. {test}. Bold: adjusted p below 0.01, and a distance of at least 0.1.",
            test=capital(t(data.test)),
        )
        blocks += [table(t("Drift of image statistics"), heads, rows), Paragraph(note, "note")]
    elif data.n_added or data.n_removed:
        text = t(
            "Drift was not tested: fewer than five images came or went, or the earlier run measured none."
        )
        blocks.append(Paragraph(text, "note"))
    return blocks


IMAGES = {"added": message("{n:,} added"), "removed": message("{n:,} removed")}


def _listed(cases: Sequence[str], n: int) -> str:
    listed = ", ".join(cases)
    return t("{cases} and {n:,} more", cases=listed, n=n - len(cases)) if n > len(cases) else listed


SHORTCUTS = {
    "file": message("File: size, format, mode, words of the name, further columns"),
    "colours": message("Colours: how many pixels of each"),
    "thumbnail": message("Thumbnail of 12 × 12 pixels"),
}


def _shortcuts(view: View) -> list[Block]:
    """What a linear model reaches without seeing the disease, beside the networks."""
    found = view.assessment.shortcuts
    if not found:
        return []
    names = view.assessment.display_names
    tested = [model for model in view.assessment.models if all(model in one.differences for one in found)]
    careless = any(one.careless_difference is not None for one in found)
    notes = Notes()
    rows: list[Row] = [
        (
            t(SHORTCUTS[one.kind]),
            notes.cell(one.auc),
            *(notes.cell(one.differences[model], signed=True) for model in tested),
            *([notes.cell(one.careless_difference, signed=True)] if one.careless_difference else []),
        )
        for one in found
    ]
    heads = [
        "AUC",
        *(t("{model} more", model=names[model]) for model in tested),
        *([t("Careless split more")] if careless else []),
    ]
    text = t(
        "A linear model saw only what each row names. Where it reaches a high AUC, a network may reach "
        "one in the same way, and elsewhere fail. AUC: 5-fold cross-validation over all images, patients "
        "and copies kept together; the networks beside it on the test images."
    )
    if careless:
        last = t(
            "Last column: what the same model would seem to gain from folds that ignore patients and copies."
        )
        text = f"{text} {last}"
    return [
        Heading(t("How easy is this data set without seeing the disease?")),
        table(
            t("Trivial models"), (words(t("The model sees"), "34%"), *heads), rows, notes=notes, titled=False
        ),
        Paragraph(text, "note"),
    ]


def _random_split(view: View) -> list[Block]:
    """How much better the networks would have seemed after a careless split."""
    found = view.assessment.random_split
    if not found:
        return []
    notes = Notes()
    rows: list[Row] = [
        (
            view.label(one.model),
            notes.cell(one.auc),
            notes.cell(one.auc_random),
            notes.cell(one.difference, signed=True),
        )
        for one in found
    ]
    heads = (words(t("Network"), "34%"), t("AUC, this split"), t("AUC, random split"), t("Random split more"))
    split = view.inputs.split
    text = t(
        "The same networks were trained and tested once more after a random split by single images, of the same sizes "
        "and classes. Its test images with a patient or a copy in training or validation: {n}.",
        n=format_count(found[0].n_leaked)
        if split is None
        else t("{n:,} of {n_all:,}", n=found[0].n_leaked, n_all=split.subsets[2].n_images),
    )
    if all(one.difference.value is None for one in found):
        last = t("How much better the networks would have seemed cannot be said from so few cases.")
    else:
        last = t(
            "Last column: random minus this split, with its {level} interval; one that holds 0 shows no "
            "difference. What a random split seems to add is no accuracy on new patients. The interval takes "
            "the two test subsets as independent and leaves out the chance of the trainings.",
            level=view.level,
        )
    return [
        Heading(t("How optimistic would a careless split have been?")),
        table(t("The same networks after a random split"), heads, rows, notes=notes, titled=False),
        Paragraph(f"{text} {last}", "note"),
    ]


def _split_facts(split: DatasetSplit) -> tuple[str, ...]:
    facts = []
    if split.disjoint:
        looked_up = "; ".join(f"{t(kind)}: {format_count(n)}" for kind, n in split.disjoint)
        facts.append(
            t(
                "Verified in the finished table, which training and test read: each is in one subset only "
                "({looked_up}).",
                looked_up=looked_up,
            )
        )
    if split.n_duplicates_kept_together:
        facts.append(t("Copies of images kept in one subset: {n:,}.", n=split.n_duplicates_kept_together))
    facts.append(t("Seed of the split: {seed}.", seed=split.seed))
    return (*facts, *split.notes)


def _what_images_are(manifest: DatasetManifest) -> str:
    sizes = ", ".join(f"{size} ({format_count(count)})" for size, count in manifest.image_sizes) or t(
        "not recorded"
    )
    return t(
        "Classes: {negative} (negative), {positive} (positive). Image sizes in pixels (count): {sizes}.",
        negative=manifest.classes[0],
        positive=manifest.classes[1],
        sizes=sizes.replace("x", " \u00d7 "),
    )


def rejected_blocks(view: View) -> list[Block]:
    """Every file that was excluded, with its reason; empty without any."""
    rejected = view.inputs.rejected
    if not rejected:
        return []
    names = t("pseudonyms") if view.inputs.pseudonymised else t("file names")
    caption = t("Excluded files: {n:,} ({names})", n=len(rejected), names=names)
    shown = rejected[:MAX_REJECTED_ROWS]
    heads = [code(t("File"), "18%"), words(t("Class"), "12%"), words(t("Reason"), "33%")]
    rows: list[Row] = [(row.name, row.label or t("unknown"), t(row.reason)) for row in shown]
    if any(row.detail for row in shown):
        heads.append(words(t("Detail")))
        rows = [(*cells, t(one.detail) or "\u2013") for cells, one in zip(rows, shown, strict=True)]
    blocks: list[Block] = [table(caption, heads, rows, fine=True)]
    if len(rejected) > len(rows):
        rest = tn(
            "{n} more is in results.json.", "{n:,} more are in results.json.", len(rejected) - len(rows)
        )
        blocks.append(Paragraph(rest, "note"))
    return blocks
