"""What pages say and draw holds for the records of the run, on every odd run that the review saw go wrong."""

from __future__ import annotations

import functools
import re
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.report.blocks import Image, SplitRow, Table
from medcompare.report.checklists.facts import RunRecords
from medcompare.report.checklists.fill import fill_checklists
from medcompare.report.figures.decision import shown_height
from medcompare.report.matrices import agreement_row
from medcompare.report.pages.checklists import checklists_csv
from medcompare.report.pages.compare import oriented
from medcompare.report.pages.cost import cost_section
from medcompare.report.pages.head_to_head import head_to_head_section
from medcompare.report.pages.model import _calibration
from medcompare.report.pages.net_benefit import net_benefit_blocks
from medcompare.report.pages.report import ReportContext, _page_one, build_context
from medcompare.report.pages.search import search_blocks
from medcompare.report.pages.training import learning_remarks
from medcompare.report.vocabulary import view_of
from medcompare.stats.records import Curve, Estimate
from medcompare.stats.utility import shown_range
from medcompare.training.records import BatchNormFacts
from tests.report import odd_runs
from tests.report.sample import make_inputs, make_search, make_trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from medcompare.report.inputs import ReportInputs
    from medcompare.stats.records import Assessment

QUICK = ("tiny12", "never", "rare", "ni", "miscalibrated", "trained", "looked at")
"""The other runs are read in the slow tests."""


@functools.cache
def run(name: str) -> ReportInputs:
    """An odd run, or one that trained here: with and without earlier looks at its test cases."""
    if name in {"trained", "looked at"}:
        looks = 2 if name == "looked at" else 0
        inputs = make_inputs()
        records = RunRecords(
            assessment=inputs.assessment,
            manifest=inputs.manifest,
            split=inputs.split,
            trained=inputs.trained,
            provenance=inputs.provenance,
            n_earlier_looks=looks,
        )
        checklists = fill_checklists(records)
        return inputs.model_copy(update={"n_earlier_looks": looks, "checklists": checklists})
    return odd_runs.run(name)


def strings(node: Any) -> Iterator[str]:
    """Every text of a page, without the drawings themselves."""
    if isinstance(node, str):
        if not node.startswith("data:"):
            yield node
    elif is_dataclass(node):
        for each in fields(node):
            yield from strings(getattr(node, each.name))
    elif isinstance(node, dict):
        yield from strings(tuple(node.values()))
    elif isinstance(node, (tuple, list)):
        for each in node:
            yield from strings(each)


@functools.cache
def context_of(name: str) -> ReportContext:
    """The whole report, formatted."""
    return build_context(run(name))


@functools.cache
def words(name: str) -> str:
    """The whole report as text, with its checklists."""
    answers = checklists_csv(run(name).checklists).decode()
    return "\n".join([*strings(context_of(name)), answers])


def origins(r: ReportInputs) -> set[str]:
    """Where the thresholds came from."""
    return {one.operating_point.chosen_on for one in r.assessment.evaluations}


def excludes(estimate: Estimate, ideal: float) -> bool:
    """Whether an interval shows that a figure is not ideal."""
    low, high = estimate.ci_low, estimate.ci_high
    return low is not None and high is not None and (high < ideal or low > ideal)


def off(r: ReportInputs) -> bool:
    """Whether any probabilities are shown to be miscalibrated."""
    return any(
        excludes(one.calibration.slope, 1) or excludes(one.calibration.in_the_large, 0)
        for one in r.assessment.evaluations
        if one.calibration is not None
    )


def supplied(r: ReportInputs) -> bool:
    """Whether predictions, and so costs, were made elsewhere."""
    return r.source == "predictions supplied"


def two(r: ReportInputs) -> bool:
    """Whether a single pair is judged."""
    return len(r.assessment.evaluations) == 2


def better(r: ReportInputs) -> bool:
    """Whether the interval of a difference in AUC excludes zero."""
    return any(excludes(pair.differences["auc"], 0) for pair in r.assessment.comparisons)


def not_worse(r: ReportInputs) -> bool:
    """Whether a loss of AUC as large as the margin is ruled out for one of a pair."""
    margin = r.rule.margin_auc
    return any(
        (low is not None and low > -margin) or (high is not None and high < margin)
        for pair in r.assessment.comparisons
        for low, high in [(pair.differences["auc"].ci_low, pair.differences["auc"].ci_high)]
    )


def first_look(r: ReportInputs) -> bool:
    """Whether it is known that the thresholds met the test cases once."""
    return bool(r.trained) and origins(r) == {"validation"} and not r.n_earlier_looks


EXACTLY: dict[str, Callable[[ReportInputs], bool]] = {
    r"Frozen, then applied once": first_look,
    r"applied once": first_look,
    r"from the frozen checkpoint": lambda r: bool(r.trained),
    r"chosen on the validation subset, then applied unchanged": lambda r: "validation" in origins(r),
    r"given by the user; whether they were set before": lambda r: "user" in origins(r),
    r"of 0\.5, a convention": lambda r: "convention" in origins(r),
    r"had been evaluated in \d+ earlier run": lambda r: r.n_earlier_looks > 0,
    r"measured one at a time|Measured, not assumed": lambda r: bool(r.assessment.costs) and not supplied(r),
    r"As supplied with the predictions": lambda r: bool(r.assessment.costs) and supplied(r),
    r"as supplied \(in bold": lambda r: bool(r.assessment.costs) and supplied(r),
    r"No cost was measured or supplied": lambda r: not r.assessment.costs,
    r"\(disturbed\)": lambda r: any(cost.disturbed for cost in r.assessment.costs),
    r"There was no time \(cost\.budget_s\)": lambda r: any(cost.cut_short for cost in r.assessment.costs),
    r"To measure again, with nothing else running: python -m": lambda r: (
        not supplied(r) and any(cost.disturbed or cost.cut_short for cost in r.assessment.costs)
    ),
    r"which is maintained, takes \d": lambda r: any(cost.equivalent_model for cost in r.assessment.costs),
    r"within the margin either way": lambda r: two(r) and r.assessment.verdict.cheaper is None,
    r"no worse than the margin": lambda r: two(r) and r.assessment.verdict.cheaper is not None,
    r"simultaneous": lambda r: len(r.assessment.comparisons) > 1,
    r"p adjusted after Holm": lambda r: len(r.assessment.comparisons) > 1,
    r"are miscalibrated \(see above\)": lambda r: (
        off(r) and any(one.decision_curve is not None for one in r.assessment.evaluations)
    ),
    r"The sample is synthetic|Synthetic demonstration data": lambda r: r.synthetic,
}
"""Phrases that are in the report exactly where their condition holds."""

ONLY: dict[str, Callable[[ReportInputs], bool]] = {
    r"\bnot reached\b": lambda r: any(
        one.operating_point.chosen_on == "validation" and not one.operating_point.reached
        for one in r.assessment.evaluations
    ),
    r"ran all its epochs": lambda r: any(not one.stopped_early for one in r.trained),
    r"\(stopped early\)": lambda r: any(one.stopped_early for one in r.trained),
    r"Rule for stopping early": lambda r: bool(r.trained),
    r"Not worse, and cheap": lambda r: not_worse(r) and bool(r.assessment.costs),
    r"No relevant difference": not_worse,
    r"tells \S.* from \S.* better": better,
    r"known to within": lambda _: False,
    r"[Ss]topped after": lambda _: False,
    r"recalibrated on validation \(": lambda r: any(
        one.calibration is not None and one.calibration.recalibration for one in r.assessment.evaluations
    ),
    r"Do not use th(is|ese) threshold": lambda r: "validation" in origins(r),
    r"Do not read these outputs as probabilities": off,
}
"""Phrases that may stand in it only there."""

NAMES = (*odd_runs.RUNS, "trained", "looked at")
EVERY_RUN = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def blocks_of(node: Any, kind: type[Any]) -> Iterator[Any]:
    """Every block of a kind, also where it is beside another."""
    if isinstance(node, kind):
        yield node
    elif is_dataclass(node):
        for each in fields(node):
            yield from blocks_of(getattr(node, each.name), kind)
    elif isinstance(node, tuple):
        for each in node:
            yield from blocks_of(each, kind)


@pytest.mark.parametrize("name", EVERY_RUN)
def test_nothing_is_left_empty(name: str) -> None:
    """No None or nan in words or alternative texts; what is not estimable has a note that says why; no empty panel."""
    report = context_of(name)
    tables = list(blocks_of(report, Table))
    notes = {letter for table in tables for letter, text in table.notes if text}

    assert re.findall(r".{0,40}\b(?:None|nan|NaN|inf|Infinity|null)\b.{0,40}", words(name)) == []
    assert len(tables) > 10
    for table in tables:
        assert table.rows
        cells = [cell for row in table.rows for cell in row[1:]]
        assert {cell.text for cell in cells} - {"", "\u2013"}, table.caption
        assert all(cell.note in notes for cell in cells if cell.text == "not estimable"), table.caption
        if re.match(r"Differences with \d", table.caption):
            # How a difference was computed is a note of its name, if it was.
            figures = [row for row in table.rows if row[3].text]  # the others name a criterion
            done = [bool(row[0].note) for row in figures]
            assert done == [row[3].text != "not estimable" for row in figures]
    for image in blocks_of(report, Image):
        # Of a forest plot every row is drawn.
        assert not image.alt.startswith("Forest") or "not estimable" not in image.alt


def test_what_is_not_drawn_is_said_with_its_reason() -> None:
    """Twelve cases: the Brier score and the AUC are not drawn, and so is cost; each says why."""
    report = context_of("tiny12")
    few = "not estimable: 3 positive cases, at least 10 are needed"

    [table] = report.page_one.tables
    auc = {row[0].text: row for row in table.rows}["AUC"]
    assert [cell.text for cell in auc[1:4]] == ["not estimable"] * 3
    assert few in [text for letter, text in table.notes if letter == auc[3].note]
    [differences] = [
        one for one in blocks_of(report.sections, Table) if one.caption.startswith("Differences with 95%")
    ]
    by_name = {row[0].text: row for row in differences.rows}
    brier, sensitivity = by_name["Brier (lower is better)"], by_name["Sensitivity"]
    assert (brier[3].text, brier[4].text, brier[4].svg) == ("not estimable", "\u2013", "")
    assert few in [text for letter, text in differences.notes if letter == brier[3].note]
    assert sensitivity[3].text == "0.000"
    assert sensitivity[4].svg
    assert not any(image.alt.startswith("Subgroup") for image in blocks_of(report.sections, Image))
    assert f"AUC: {few}, so accuracy is not drawn against cost." in words("tiny12")


@pytest.mark.parametrize("name", EVERY_RUN)
def test_phrases_stand_where_their_conditions_hold(name: str) -> None:
    """A phrase of its own kind of run never slips into another, and is never left out of its own."""
    text, inputs = words(name), run(name)

    found = {phrase: bool(re.search(phrase, text)) for phrase in EXACTLY}
    assert found == {phrase: bool(holds(inputs)) for phrase, holds in EXACTLY.items()}
    said = [phrase for phrase, holds in ONLY.items() if re.search(phrase, text) and not holds(inputs)]
    assert said == []


@pytest.mark.parametrize("phrase", EXACTLY)
def test_conditions_are_met_and_missed(phrase: str) -> None:
    """A condition that all runs meet, or none, would test nothing."""
    assert {bool(EXACTLY[phrase](run(name))) for name in NAMES} == {True, False}


def curves_of(assessment: Assessment) -> list[Curve]:
    """Net benefit of the models and of everyone."""
    return [assessment.treat_all, *(one.decision_curve for one in assessment.evaluations)]


def test_axis_of_a_decision_curve_ends_where_nothing_is_gained() -> None:
    """At 2.8% positive: not to 50%, where the models are two spikes at the left edge (A6)."""
    assessment = run("rare").assessment
    low, high = shown_range(curves_of(assessment), None)
    inside = [
        (x, y)
        for one in assessment.evaluations
        for x, y in zip(one.decision_curve.x, one.decision_curve.y, strict=True)
        if x <= 0.5
    ]

    assert low == 0.01
    assert max((y for x, y in inside if x > high), default=0.0) <= 0.02 * max(y for _, y in inside)


@pytest.mark.parametrize("name", ["rare", "miscalibrated"])
def test_models_stay_in_view_of_a_decision_curve(name: str) -> None:
    """Down to as much harm as there is gain: at 2.8% positive the models left the axes at once (A6)."""
    assessment = run(name).assessment
    across = shown_range(curves_of(assessment), None)
    bottom, top = shown_height(assessment.evaluations, assessment.treat_all, across)
    shown = [
        y
        for one in assessment.evaluations
        for x, y in zip(one.decision_curve.x, one.decision_curve.y, strict=True)
        if across[0] <= x <= across[1]
    ]

    upper = [
        y
        for one in assessment.evaluations
        for x, y in zip(one.decision_curve.x, one.decision_curve.y_high, strict=True)
        if across[0] <= x <= across[1]
    ]

    assert top == pytest.approx(1.08 * max(upper))
    assert -top <= bottom <= -0.18 * top
    assert all(y > bottom for y in shown if y > -top / 1.08)


@pytest.mark.parametrize(
    ("nets", "expected"),
    [
        ((0.02, 0.01), (-0.003888, 0.0216)),
        ((0.02, -0.01), (-0.0108, 0.0216)),
        ((0.02, -0.5), (-0.0216, 0.0216)),
        ((-0.1, -0.2), (-0.01, 0.01)),
    ],
)
def test_height_of_a_decision_curve(nets: tuple[float, float], expected: tuple[float, float]) -> None:
    """Worked by hand: 18% of the top below zero, else 1.08 of the harm, at most the top; no gain: 0.01."""
    [one, _] = run("rare").assessment.evaluations
    one = one.model_copy(update={"decision_curve": Curve(x=(0.01, 0.05, 0.9), y=(*nets, -9.0))})
    everyone = Curve(x=(0.01, 0.05), y=(0.0, -7.0))

    assert shown_height([one], everyone, (0.0, 0.1)) == pytest.approx(expected)


def test_several_models_are_compared_with_the_best() -> None:
    """Other minus best, with the simultaneous interval, computed here from the figures of the models (B3)."""
    inputs = run("six")
    auc = {one.model: one.metrics["auc"].value for one in inputs.assessment.evaluations}
    best = max(auc, key=lambda model: auc[model])
    [table] = _page_one(view_of(inputs)).tables

    assert f"differences of AUC from {best}, the highest (simultaneous 95% intervals" in table.caption
    shown = {row[0].text: f"{row[-3].text} {row[-3].interval}" for row in table.rows}
    assert shown[best].strip() == "\u2013"
    for pair in inputs.assessment.comparisons:
        if best not in {pair.reference, pair.candidate}:
            continue
        turned = oriented(pair, second=best)
        wide, alone = turned.difference("auc", simultaneous=True), turned.difference("auc")
        assert wide.value == pytest.approx(auc[turned.first] - auc[best], abs=1e-9)
        assert wide.ci_low < alone.ci_low < alone.ci_high < wide.ci_high
        parts = re.fullmatch(r"(\S+) \((\S+) to (\S+?)\)", shown[turned.first]).groups()
        numbers = [float(text.replace("\u2212", "-")) for text in parts]
        assert numbers == pytest.approx([wide.value, wide.ci_low, wide.ci_high], abs=5.1e-4)


def test_costs_are_called_measured_only_if_they_were() -> None:
    """Lead and caption agree on who measured (B9)."""
    theirs = cost_section(view_of(run("ni")), 5)
    ours = cost_section(view_of(run("trained")), 5)

    assert theirs.lead == "As supplied with the predictions; not measured by this software."
    captions = [[each.caption for each in one.blocks if isinstance(each, Table)] for one in (theirs, ours)]
    assert "Cost per model, as supplied" in captions[0][0]
    assert ours.lead.startswith("Measured")
    assert "Cost per model, measured one at a time" in captions[1][0]


def cells_of(name: str) -> dict[str, list[str]]:
    """Rows of the table of costs, by their first cell."""
    tables = [each for each in cost_section(view_of(run(name)), 5).blocks if isinstance(each, Table)]
    return {row[0].text: [cell.text for cell in row[1:]] for row in tables[0].rows}


def test_the_table_of_costs_tells_what_was_done_and_with_what() -> None:
    """Counts done and planned, intervals, libraries and what the maintained one takes: as in the records."""
    rows = cells_of("trained")

    assert rows["Timed passes"][:2] == ["60 of 60 planned", "23 of 60 planned"]
    assert rows["Measuring took"][:2] == ["12.3 of 60\u202fs allowed", "52.3 of 60\u202fs allowed"]
    assert rows["Processor cores busy with other programs"][:2] == ["0.1", "2.1 (disturbed)"]
    assert rows["Implementation"][:2] == ["torchvision 0.29.2", "efficientnet-pytorch 0.7.1"]
    assert rows["Same architecture in a maintained library"][:2] == ["\u2013", "torchvision 0.29.2"]
    assert rows["Latency there, batch 1, median (interval)"][:2] == ["\u2013", "18.4\u202fms (18.1 to 18.8)"]
    assert rows["Throughput, images per second, median (interval)"][0] == "24.1 (23.6 to 24.5)"


def test_supplied_costs_that_state_no_implementation_are_said_not_to() -> None:
    """On page one and in the chapter; and a median without an interval is shown as one."""
    rows, page = cells_of("ni"), _page_one(view_of(run("ni")))
    key = {row[0].text: row[1:] for row in page.tables[0].rows}

    assert set(rows["Implementation"]) - {""} == {"not stated"}
    assert all(
        text.endswith("ms (no interval)")
        for text in rows["Latency per image, batch 1, median (interval)"][:2]
    )
    assert [f"{cell.text} {cell.interval}" for cell in key["Time per image"][:2]] == [
        "20.0\u202fms (no interval)",
        "5.00\u202fms (no interval)",
    ]


@pytest.mark.parametrize("name", ["ni", "miscalibrated"])
def test_probability_of_more_accuracy_is_said_once(name: str) -> None:
    """One number, one wording, with what it is about and its prior (B14)."""
    [pair] = run(name).assessment.comparisons
    estimate = pair.probability_candidate_more_accurate

    [line] = {line for line in words(name).splitlines() if "is right more often than" in line}
    assert f"each at its threshold: {100 * estimate.value:.0f}% ({estimate.method})." in line
    assert "prior" in estimate.method
    assert "really" not in words(name)


def test_decision_curves_of_miscalibrated_models_are_warned_of() -> None:
    """Scores between 0.51 and 0.68: the model is named below its curve (B15)."""
    view = view_of(run("miscalibrated"))
    _, _, image = net_benefit_blocks(view)

    names = re.search(r"those of (.*) are miscalibrated", image.caption).group(1)
    assert "narrow" in names
    for one in view.evaluations:
        shown = excludes(one.calibration.slope, 1) or excludes(one.calibration.in_the_large, 0)
        assert (one.display_name in names) == shown


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ((0.32, 0.67), "training loss is 0.320, the validation loss 0.670, about that of guessing"),
        ((0.32, 0.50), "training loss is 0.320, the validation loss 0.500. Possible causes: overfitting"),
        ((0.68, 0.69), "the validation loss 0.690, about that of guessing"),
        ((0.50, 0.55), None),
    ],
)
def test_learning_curves_that_call_for_a_sentence(losses: tuple[float, float], said: str | None) -> None:
    """At the epoch kept, with its numbers and possible causes; other epochs do not count (B15)."""
    trained = make_trained("a", "Model A")
    history = tuple(
        row.model_copy(
            update=dict(zip(("train_loss", "val_loss"), losses, strict=True))
            if row.epoch == trained.best_epoch
            else {"train_loss": 0.1, "val_loss": 0.9}
        )
        for row in trained.history
    )
    remarks = learning_remarks([trained.model_copy(update={"history": history})])

    assert len(remarks) == (said is not None)
    if said is not None:
        assert said in remarks[0]
        assert remarks[0].startswith("Model A: at the epoch kept")


def test_short_memory_is_told_of_the_model_it_befell() -> None:
    """How many images at once; where batch normalisation saw fewer, that a difference may come from that."""
    trained = make_inputs().trained[0]
    short = trained.model_copy(update={"images_at_once": 8, "batch_norm": None})
    facts = BatchNormFacts(n_layers=1, momenta=(0.1,), n_sample_images=99, n_compared_images=99)
    remark = f"{short.display_name}: memory ran out for {short.batch_size} images at once"

    plain, normalised = (
        next(text for text in learning_remarks([one]) if text.startswith(remark))
        for one in (short, short.model_copy(update={"batch_norm": facts}))
    )
    assert plain.endswith("was added up from passes over 8 at most.")
    assert f"saw 8 images at a time, not {short.batch_size} as in other trainings" in normalised
    assert not any("memory" in text for text in learning_remarks([trained]))


def test_page_one_carries_what_forbids_the_use_of_a_model() -> None:
    """Threshold not held and outputs that are no probabilities: with their numbers, on page one (B12)."""
    page = _page_one(view_of(run("miscalibrated")))
    narrow = next(one for one in run("miscalibrated").assessment.evaluations if one.model == "narrow")

    [text] = [text for text in page.caveats if text.startswith("Do not read these outputs as probabilities")]
    assert f"narrow are under-confident (slope {narrow.calibration.slope.value:.3f}" in text


def test_a_search_is_told_with_what_was_chosen_beside_the_recipe() -> None:
    """Trials, epochs, space, subset and rule; of each model the settings chosen; of a probe, why it has none."""
    inputs = make_inputs()
    trained = [inputs.trained[0], inputs.trained[1].model_copy(update={"probe": True})]
    search = make_search(trained[0].model, trained[0].display_name)
    assert search_blocks(view_of(inputs)) == []

    blocks = search_blocks(
        view_of(inputs.model_copy(update={"searches": (search,), "trained": tuple(trained)}))
    )

    said = " ".join(text for block in blocks for text in strings(block))
    assert "had 4 trials of at most 3 epochs on the training subset, judged on the validation subset" in said
    assert "no test image was looked at" in said
    assert "learning rate from 1e-05 to 0.01; augmentation weak, as set or strong" in said
    assert f"Not searched: {trained[1].display_name}, as a linear probe has none" in said
    assert "4 of 4 (recipe: trial 1)" in said
    assert "0.00032 (recipe: 1e-05)" in said
    assert "RandomHorizontalFlip, RandomVerticalFlip (recipe: RandomHorizontalFlip)" in said
    (image,) = (block for block in blocks if isinstance(block, Image))
    assert "best 0.910 in trial 4, 1 pruned" in image.alt


def test_bands_are_pointwise_and_the_curve_is_measured() -> None:
    """Both captions name the kind of band; ICI, E50 and E90 stand in the table as in the record."""
    view = view_of(odd_runs.run("miscalibrated"))
    curves = [
        b for b in head_to_head_section(view, 1).blocks if "operating points" in getattr(b, "caption", "")
    ]
    (split,) = (block for block in _calibration(view) if isinstance(block, SplitRow))
    (numbers,) = (block for block in split.beside if block.kind == "table")

    assert "pointwise 95% bootstrap" in curves[0].caption
    assert "pointwise 95% interval" in split.image.caption
    rows = {row[0].text: row[1:] for row in numbers.rows}
    for key, head in (("integrated_calibration_index", "ICI"), ("e50", "E50"), ("e90", "E90")):
        (cells,) = (cells for name, cells in rows.items() if name.startswith(head))
        values = [getattr(one.calibration, key).value for one in view.evaluations]
        assert [cell.text for cell in cells] == [f"{value:.3f}" for value in values]


def test_agreement_is_told_by_case_and_by_patient() -> None:
    """A third matrix where patients have several cases, with the counts of the records and what counts as right."""
    by_name = {name: view_of(odd_runs.run(name)) for name in ("good", "ni")}
    by_patient, alone = (agreement_row(view, view.pair) for view in by_name.values())
    table = by_name["good"].pair.patients

    assert len(alone.matrices) == 2
    assert "patient" not in alone.caption
    third = by_patient.matrices[2]
    assert [[cell.count for cell in row] for row in third.cells] == [
        [str(table.both_correct), str(table.only_reference_correct)],
        [str(table.only_candidate_correct), str(table.both_wrong)],
    ]
    assert third.title == "Patients (n = 450)"
    assert third.lines[0].startswith(f"Difference in patients {table.difference.value:+.3f} (")
    assert "A patient counts as right where all cases of that patient are." in by_patient.caption
