"""The flow of the images: what each box says, and that the boxes add up."""

from __future__ import annotations

from medcompare.data.records import SubsetSummary
from medcompare.report.pages.flow import flow_of_cases, flow_of_images
from medcompare.report.vocabulary import view_of
from tests.report.sample import make_inputs, make_manifest, make_split


def test_every_box_counts_classes_and_patients() -> None:
    """By hand from the sample: 23 of 1,713 files excluded by reason and class; the patients of the subsets add up."""
    manifest = make_manifest(synthetic=False).model_copy(update={"n_patients_found": 593})
    subsets = tuple(
        one.model_copy(update={"patients_by_class": counts})
        for one, counts in zip(make_split().subsets, ((260, 160), (40, 20), (80, 40)), strict=True)
    )
    inputs = make_inputs(manifest=manifest, split=make_split().model_copy(update={"subsets": subsets}))

    flow = flow_of_images(view_of(inputs), manifest)

    found, usable = flow.steps
    # 6 + 2 + 4 rejected files are of the first class, by turns.
    assert (found.number, found.lines) == ("1,713", ("1,022 non_cancer", "691 cancer", "593 patients"))
    assert found.aside_title == "Excluded: 23"
    assert found.aside == (
        "8 identical file with the opposite label (4 non_cancer and 4 cancer)",
        "3 too small (2 non_cancer and 1 cancer)",
        "12 unreadable (6 non_cancer and 6 cancer)",
        "3 patients without an image left",
    )
    assert (usable.number, usable.lines) == (
        "1,690",
        (
            "1,010 non_cancer of 380 patients",
            "680 cancer of 220 patients",
            "590 patients, 10 of both classes",
        ),
    )
    assert usable.aside == ()
    assert [(end.title, end.number, end.lines[:3]) for end in flow.ends] == [
        (
            "Training",
            "1,181",
            (
                "706 non_cancer of 260 patients",
                "475 cancer of 160 patients",
                "413 patients, 7 of both classes",
            ),
        ),
        (
            "Validation",
            "169",
            ("101 non_cancer of 40 patients", "68 cancer of 20 patients", "59 patients, 1 of both classes"),
        ),
        (
            "Test",
            "340",
            ("203 non_cancer of 80 patients", "137 cancer of 40 patients", "118 patients, 2 of both classes"),
        ),
    ]


def test_what_a_kept_split_lost_is_a_step_of_its_own() -> None:
    """Images removed because their patient is in the test subset leave between usable and split."""
    manifest, split = make_manifest(synthetic=False), make_split()
    train = split.subsets[0]
    fewer = SubsetSummary.model_validate(
        train.model_dump() | {"n_images": train.n_images - 5, "class_counts": (704, 472), "n_patients": 411}
    )
    inputs = make_inputs(split=split.model_copy(update={"subsets": (fewer, *split.subsets[1:])}))

    flow = flow_of_images(view_of(inputs), manifest)

    assert [step.title for step in flow.steps] == ["Files found", "Usable images", "In the split"]
    assert flow.steps[1].lines == ("1,010 non_cancer", "680 cancer", "590 patients")
    assert flow.steps[1].aside_title == "Removed from training and validation: 5"
    assert flow.steps[1].aside == (
        "2 non_cancer",
        "3 cancer",
        "their patient, or a copy, is in another subset",
    )
    assert flow.steps[2].number == "1,685"
    assert flow.steps[2].lines[2].startswith("588 patients")


def test_supplied_predictions_have_one_box() -> None:
    """Cases, classes and prevalence; nothing is known of images."""
    flow = flow_of_cases(view_of(make_inputs(full=False)))

    assert [step.title for step in flow.steps] == ["Cases scored by every model"]
    assert flow.ends == ()
