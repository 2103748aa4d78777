"""What changed between two nights, and nothing that must stay on the machine."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from medcompare.runs.changes import DataChanges, intervals_overlap, what_changed
from medcompare.stats.records import Estimate, Outcome
from tests.runs.sample_runs import CONFIG, estimate, figures, summary, verdict

if TYPE_CHECKING:
    from medcompare.runs.summary import RunSummary


def _config(**fields: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    for name, value in fields.items():
        section, _, field = name.partition("__")
        if field:
            config[section][field] = value
        else:
            config[section] = value
    return config


def test_the_first_run_has_nothing_to_compare_with() -> None:
    """No causes, no figures, one sentence."""
    changes = what_changed(None, summary())

    assert changes.previous is None
    assert changes.causes == ()
    assert changes.verdict_changed is None
    assert changes.sentences == (
        "This is the first recorded run of its series: there is nothing to compare it with.",
    )


def test_nothing_changed() -> None:
    """Two nights alike: the sentences say so, down to the figures."""
    changes = what_changed(summary(1), summary(2))

    assert changes.causes == ()
    assert changes.verdict_changed is False
    assert changes.sentences == (
        "Since the previous run (1 November 2026, 02:00 UTC) nothing changed: same data, code, configuration and seed.",
        "The verdict is the same: Prefer EfficientNet-B0.",
        "The metrics are the same to the last digit.",
    )


def test_only_the_seed_changed() -> None:
    """The seed alone is told apart from a change of configuration."""
    changes = what_changed(summary(1), summary(2, config=_config(seed=7), seed=7))

    assert changes.causes == ("seed",)
    assert (
        changes.sentences[0] == "Since the previous run (1 November 2026, 02:00 UTC) only the seed changed."
    )
    assert changes.sentences[1] == "Seed: 0 → 7."


@pytest.mark.parametrize(
    ("later", "causes", "sentence"),
    [
        ({"data_fingerprint": "e" * 64, "n_images": 1903}, ("data",), "Data: 851 → 1,903 images (+1,052)."),
        ({"data_fingerprint": "e" * 64, "n_images": 840}, ("data",), "Data: 851 → 840 images (−11)."),
        (
            {"data_fingerprint": "e" * 64},
            ("data",),
            "Data: as many images as before (851), with other content or labels.",
        ),
        ({"data_fingerprint": "e" * 64, "n_images": None}, ("data",), "Data: other content."),
        ({"code_digest": "d" * 64, "code_commit": "b" * 40}, ("code",), "Code: aaaaaaaa → bbbbbbbb."),
        (
            {"code_digest": "d" * 64, "code_dirty": True},
            ("code",),
            "Code: aaaaaaaa → aaaaaaaa with uncommitted edits.",
        ),
        ({"code_digest": "d" * 64}, ("code",), "Code: edited since, at the same commit (aaaaaaaa)."),
        ({"code_digest": None, "code_commit": "b" * 40}, ("code",), "Code: aaaaaaaa → bbbbbbbb."),
        (
            {"versions": (("numpy", "2.5.0"), ("torch", "2.15.0"))},
            ("libraries",),
            "Libraries: numpy 2.4.0 → 2.5.0.",
        ),
        ({"machine": "another"}, ("machine",), "Machine: a processor → another."),
        (
            {
                "models": (
                    figures("resnet50", "ResNet-50", 0.91),
                    figures("convnext_tiny", "ConvNeXt-Tiny", 0.9),
                )
            },
            ("models",),
            "Models: added ConvNeXt-Tiny; left out EfficientNet-B0.",
        ),
    ],
)
def test_each_cause_is_named(later: dict[str, Any], causes: tuple[str, ...], sentence: str) -> None:
    """One difference gives one cause and one sentence."""
    changes = what_changed(summary(1), summary(2, **later))

    assert changes.causes == causes
    assert changes.sentences[1] == sentence


def test_what_changed_in_the_images_is_told_where_it_is_known() -> None:
    """Beside the number of images, of the same two runs only."""
    later = summary(2, data_fingerprint="e" * 64, n_images=853)
    data = DataChanges(
        previous=summary(1).name,
        previous_at=summary(1).started_at,
        n_before=851,
        n_after=853,
        n_added=3,
        n_removed=1,
        n_relabelled=2,
        n_other_patient=0,
    )

    told = what_changed(summary(1), later, data).sentences[1]
    of_another = what_changed(summary(1), later, data.model_copy(update={"previous": "another"})).sentences[1]

    assert told == "Data: 851 → 853 images (+2). Images: 3 added, 1 removed and 2 relabelled."
    assert of_another == "Data: 851 → 853 images (+2)."


def test_a_commit_that_changes_no_code_is_no_change() -> None:
    """A commit of documentation leaves the digest, and so the answer, alone."""
    assert what_changed(summary(1), summary(2, code_commit="b" * 40)).causes == ()


def test_changed_fields_are_listed_with_both_values() -> None:
    """Values of the configuration, in words, sorted by field."""
    later = _config(train__epochs=30, train__batch_size=16, evaluate__subgroups=["sex", "site"])
    changes = what_changed(summary(1), summary(2, config=later))

    assert changes.causes == ("configuration",)
    assert [(change.field, change.before, change.after) for change in changes.fields] == [
        ("evaluate.subgroups", "not set", "sex and site"),
        ("train.batch_size", "32", "16"),
        ("train.epochs", "20", "30"),
    ]
    assert changes.sentences[1] == (
        "Configuration: evaluate.subgroups: not set → sex and site; train.batch_size: 32 → 16; train.epochs: 20 → 30."
    )


def test_many_fields_are_cut_short_in_the_sentence_only() -> None:
    """The record lists all, the sentence six."""
    later = _config(**{f"train__field{k}": True for k in range(8)})
    changes = what_changed(summary(1), summary(2, config=later))

    assert len(changes.fields) == 8
    assert changes.sentences[1].endswith("train.field5: not set → yes; and 2 more.")


def test_places_are_no_change_and_paths_are_never_quoted() -> None:
    """Where results go does not count; a path that counts is not printed."""
    assert (
        what_changed(summary(1), summary(2, config=_config(out="/mnt/x", store="/mnt/y", name="b"))).causes
        == ()
    )

    changes = what_changed(summary(1), summary(2, config=_config(data__source="/mnt/Jane_Doe/images")))

    assert changes.causes == ("configuration",)
    assert changes.sentences[1] == "Configuration: data.source: a path → another path."
    assert "Jane" not in changes.model_dump_json()


def test_a_changed_verdict_is_said_and_flagged() -> None:
    """Another outcome or another model is another verdict; other words alone are not."""
    other = verdict(outcome=Outcome.NOT_ENOUGH_DATA, model=None, headline="Not enough data")
    changes = what_changed(summary(1), summary(2, verdict=other))

    assert changes.verdict_changed is True
    assert "The verdict changed from “Prefer EfficientNet-B0” to “Not enough data”." in changes.sentences
    assert what_changed(summary(1), summary(2, verdict=verdict(model="resnet50"))).verdict_changed is True
    assert (
        what_changed(summary(1), summary(2, verdict=verdict(sentence="Other words."))).verdict_changed
        is False
    )


def test_without_a_verdict_nothing_is_claimed_about_it() -> None:
    """A failed run neither keeps nor changes the verdict."""
    changes = what_changed(summary(1), summary(2, status="failed"))

    assert changes.verdict_changed is None
    assert changes.causes == ()
    assert not any("verdict" in sentence for sentence in changes.sentences)


def test_figures_that_moved_are_said_with_intervals() -> None:
    """Differences are after minus before; intervals that do not overlap are pointed out."""
    later = (
        figures("resnet50", "ResNet-50", 0.93),
        figures("efficientnet_b0", "EfficientNet-B0", 0.75, training_time_s=1300.0),
    )
    changes = what_changed(summary(1), summary(2, data_fingerprint="e" * 64, models=later))

    found = {(row.model, row.figure): row for row in changes.figures}
    assert found["resnet50", "auc"].difference == pytest.approx(0.02)
    assert found["resnet50", "auc"].intervals_overlap is True
    assert found["efficientnet_b0", "auc"].difference == pytest.approx(-0.15)
    assert found["efficientnet_b0", "auc"].intervals_overlap is False
    assert found["resnet50", "specificity"].difference == 0
    assert changes.sentences[-3:] == (
        "AUC of ResNet-50 rose by 0.020, from 0.910 (0.860 to 0.960) to 0.930 (0.880 to 0.980).",
        (
            "AUC of EfficientNet-B0 fell by 0.150, from 0.900 (0.850 to 0.950) to 0.750 (0.700 to 0.800); "
            "the two intervals do not overlap."
        ),
        "Training of EfficientNet-B0 took longer: 10\u202fmin 00\u202fs before, 21\u202fmin 40\u202fs now.",
    )


def test_figures_that_moved_without_a_cause_are_a_warning() -> None:
    """Same inputs, other figures: the run did not repeat, and that is said."""
    later = (figures("resnet50", "ResNet-50", 0.911), figures("efficientnet_b0", "EfficientNet-B0", 0.90))

    changes = what_changed(summary(1), summary(2, models=later))

    assert changes.causes == ()
    assert changes.sentences[-1].startswith("Nothing that is recorded changed, yet the metrics differ")


def test_several_causes_are_joined() -> None:
    """The opening sentence names every cause."""
    changes = what_changed(summary(1), summary(2, data_fingerprint="e" * 64, machine="another", seed=1))

    assert changes.sentences[0].endswith("UTC) the data, the machine and the seed changed.")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (estimate(0.8, 0.05), estimate(0.9, 0.05), True),  # touch at 0.85
        (estimate(0.8, 0.04), estimate(0.9, 0.04), False),
        (estimate(0.9, 0.04), estimate(0.8, 0.04), False),
        (estimate(0.8, 0.2), estimate(0.8, 0.01), True),
        (Estimate(value=0.8, method="by hand"), estimate(0.8), None),
        (Estimate(value=None, method="by hand", note="one class only"), estimate(0.8), None),
    ],
)
def test_overlap_of_intervals(before: Estimate, after: Estimate, expected: bool | None) -> None:  # noqa: FBT001 - parametrised
    """Touching counts as overlap; a missing limit leaves the question open."""
    assert intervals_overlap(before, after) is expected


def test_undefined_figures_make_no_sentence() -> None:
    """A figure without a value has no difference, never NaN."""
    undefined = Estimate(value=None, method="by hand", note="one class only")

    def run(night: int, **changes: Any) -> RunSummary:
        return summary(night, models=(figures("resnet50", "ResNet-50", **({"auc": 0.9} | changes)),))

    changes = what_changed(run(1), run(2, auc=undefined, training_time_s=None))

    assert [row.difference for row in changes.figures] == [None, 0.0, 0.0, None]
    assert not any("AUC" in sentence for sentence in changes.sentences)
