"""What the maps of evidence show, what they do not, and whether they depend on what was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.base.formatting import format_percent, join_words
from medcompare.base.language import t, tn
from medcompare.models.spec import MIN_CELLS
from medcompare.predictions.saliency import MAX_RANDOM_SHARE
from medcompare.report.blocks import Image, Paragraph, picture_uri
from medcompare.report.hard_cases import mapped_models
from medcompare.report.overlays import scale_png

if TYPE_CHECKING:
    from medcompare.predictions.saliency import SaliencyMaps
    from medcompare.report.blocks import Block
    from medcompare.report.inputs import CaseMap, HardCase
    from medcompare.report.vocabulary import View

SCALE_MM = 44.0


def map_image(view: View, case: HardCase, found: CaseMap, *, width_mm: float) -> Image:
    """One map, with its place in words for who cannot see it."""
    said = {
        "model": view.name(found.model),
        "positive": view.assessment.classes[1],
        "case": case.case_id,
    }
    alt = (
        t("Map: no evidence of {model} for {positive} in case {case}", **said)
        if found.strongest_at is None
        else t(
            "Map: evidence of {model} for {positive} in case {case} is strongest in the {place} of the image",
            place=t(found.strongest_at),
            **said,
        )
    )
    return Image(src=picture_uri(found.jpeg, "jpeg"), alt=alt, width_mm=width_mm)


def saliency_blocks(view: View) -> list[Block]:
    """What to know of the maps before they are looked at; empty where the networks are not there to make any."""
    if view.inputs.source != "trained by medcompare" or not any(
        case.thumbnail_png for case in view.inputs.hard_cases
    ):
        return []
    by_model = {one.model: one for one in view.inputs.saliency}
    without = [model for model in mapped_models(view.assessment) if model not in by_model]
    found = [by_model[model] for model in view.styles if model in by_model]
    shown = [one for one in found if one.readable]
    texts = _checks(view, found)
    if without:
        texts.append(
            t(
                "No maps of {models}: Grad-CAM needs a grid of features that the network pools, of at least {n} × "
                "{n} cells; most networks have one for every 32 × 32 pixels of an image, and transformers none.",
                models=join_words(view.name(model) for model in without),
                n=MIN_CELLS,
            )
        )
    legend: list[Block] = _legend(view, shown) if shown else []
    return [*legend, Paragraph(" ".join(texts), "note")]


def _legend(view: View, shown: list[SaliencyMaps]) -> list[Block]:
    positive = view.assessment.classes[1]
    grids = join_words(
        t(
            "{model} {n} × {n} cells, one every {step:,.0f} of {side:,} pixels",
            model=view.name(one.model),
            n=one.cells,
            step=one.step_px,
            side=one.image_size_px,
        )
        for one in shown
    )
    averaged = {row.model for row in view.inputs.trained if row.test_time_augmentation != "none"}
    what = t(
        "Maps beside an image show where a network finds evidence for {positive} (Grad-CAM, {library}), on one scale "
        "per model: colour is full from what half of its maps here reach. The line encloses what is at least half as "
        "strong as the strongest place of that image; the faded edge is not seen by the network. The maps are coarse "
        "and drawn smoothly ({grids}): they show nothing finer.",
        positive=positive,
        library=shown[0].library,
        grids=grids,
    )
    if averaged & {one.model for one in shown}:
        what += " " + t("Maps are of each image as it is; scores are means over its views.")
    return [
        Paragraph(what),
        Image(
            src=picture_uri(scale_png()),
            alt=t("Scale of the maps: from clear for none through violet and green to yellow"),
            width_mm=SCALE_MM,
            caption=t("Evidence: none (left) to what half of the maps of that model reach, or more (right)"),
        ),
        Paragraph(
            t(
                "A map shows where a score comes from, not why, and not whether it is right. It does not prove "
                "that a network looks at the disease; what counts against {positive} is not drawn; and a place "
                "without colour may still matter. No case should be decided by its map.",
                positive=positive,
            ),
            "warning",
        ),
    ]


def _checks(view: View, found: list[SaliencyMaps]) -> list[str]:
    """Whether maps depend on what was learned: of which models they do, do not, or it is not known."""
    flat = [view.name(one.model) for one in found if one.random_share_median is None]
    left_out = t("Maps of {models} are left out: they do not vary over the image.", models=join_words(flat))
    texts = [left_out] if flat else []
    limit = format_percent(MAX_RANDOM_SHARE, digits=0)
    for readable in (True, False):
        listed = [_share(view, one) for one in found if one.readable == readable and one.random_shares]
        shares = join_words(filter(None, listed))
        if not shares:
            continue
        n = max(sum(share is not None for share in one.random_shares) for one in found)
        how = tn(
            "median and range over {n} case, squared rank correlation with {n_random} such networks, after Adebayo et "
            "al. 2018",
            "median and range over {n:,} cases, squared rank correlation with {n_random} such networks, after Adebayo "
            "et al. 2018",
            n,
            n_random=found[0].n_random,
        )
        texts.append(
            t(
                "Checked: networks of the same kind with random weights give less than {limit} of the variation of "
                "the maps, which so depend on what was learned: {shares} ({how}).",
                limit=limit,
                shares=shares,
                how=how,
            )
            if readable
            else t(
                "Left out are maps that must not be read: networks of the same kind with random weights give {limit} "
                "of their variation or more, so that they show the image and not what was learned: {shares} ({how}).",
                limit=limit,
                shares=shares,
                how=how,
            )
        )
    return texts


def _share(view: View, one: SaliencyMaps) -> str:
    """What of its maps random weights give; empty where it is not known."""
    values = (one.random_share_median, one.random_share_lowest, one.random_share_highest)
    if None in values:
        return ""
    median, lowest, highest = (format_percent(value or 0.0, digits=0) for value in values)
    return t(
        "{model} {median} ({lowest} to {highest})",
        model=view.name(one.model),
        median=median,
        lowest=lowest,
        highest=highest,
    )
