"""The numbers of a report computed again from the evidence inside its PDF, and what is said of one that was altered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medcompare import __version__
from medcompare.base.language import in_language
from medcompare.cli.app import main
from medcompare.cli.reproduce import reproduced
from medcompare.cli.terminal import ExitStatus
from medcompare.config.schema import DecideConfig, EvaluateConfig
from medcompare.predictions.cases import ScoredCases
from medcompare.report.pdf import render_pdf
from medcompare.report.results import results_json
from medcompare.runs.evidence import AttachedFile, EvidenceSettings, evidence_of, read_cases
from tests.report import odd_runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medcompare.report.inputs import ReportInputs


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    """A run of twelve cases: every kind of figure, and many that are not estimable."""
    return odd_runs.run("tiny12")


def pdf_with(
    inputs: ReportInputs,
    folder: Path,
    *,
    older: Callable[[dict[str, Any]], None] | None = None,
    **changes: Callable[[str], str],
) -> Path:
    """A small page that prints the digests of the evidence, which is then changed by the stem of its name.

    `older` takes out of the results what the version that made them did not have.
    """
    record = json.loads(results_json(inputs))
    if older is not None:
        older(record)
    results = AttachedFile(name="results.json", content=json.dumps(record).encode(), about="every number")
    files = (results, *inputs.evidence)
    html = "<html lang=en><title>t</title><body>" + "".join(f"<p>{one.sha256}</p>" for one in files)
    altered = [
        one.model_copy(update={"content": changes[stem](one.content.decode()).encode()})
        if (stem := one.name.partition(".")[0]) in changes
        else one
        for one in files
    ]
    path = folder / "report.pdf"
    path.write_bytes(render_pdf(html, altered)[0])
    return path


def numbers_in(value: Any) -> int:
    """How many numbers a JSON value holds."""
    if isinstance(value, dict | list):
        return sum(numbers_in(one) for one in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def test_all_numbers_agree(inputs: ReportInputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each that stands in the assessment is compared; the images are not needed."""
    path = pdf_with(inputs, tmp_path)

    assert main(["reproduce", str(path)]) == ExitStatus.SUCCESS
    said = capsys.readouterr().out
    assert main(["reproduce", str(path.parent)]) == ExitStatus.SUCCESS  # the folder of the run
    assert capsys.readouterr().out == said

    written = json.loads(results_json(inputs))
    n = numbers_in(written["assessment"]) + numbers_in(written["quantities"])
    assert n > 1000
    assert f"{path}: all {n:,} numbers agree" in said


def test_a_german_report_is_computed_again_in_german(tmp_path: Path) -> None:
    """Words are those of the report's language, whatever that of the terminal."""
    with in_language("de"):
        path = pdf_with(odd_runs.tiny12(), tmp_path)

    found = reproduced(path)

    assert (found.differing, found.n_numbers > 1000) == ((), True)


def test_an_altered_result_is_named(
    inputs: ReportInputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what the report has and what comes out; that its file was exchanged is said too."""
    auc = inputs.assessment.evaluations[0].metrics["auc"].value

    def better(text: str) -> str:
        record = json.loads(text)
        record["assessment"]["evaluations"][0]["metrics"]["auc"]["value"] = 0.999
        return json.dumps(record)

    assert main(["reproduce", str(pdf_with(inputs, tmp_path, results=better))]) == ExitStatus.FAILURE
    said = capsys.readouterr().out
    assert (
        f"evaluations[0].metrics.auc.value: the report has 0.999, computed again it is {json.dumps(auc)}"
        in said
    )
    assert "results.json: the report does not print the SHA-256 of this file" in said
    assert "1 of " in said


def test_what_an_older_report_does_not_have_is_no_disagreement(
    inputs: ReportInputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A field of every model, a metric and a row of the table that came later are named as not in that report."""

    def older(record: dict[str, Any]) -> None:
        for one in record["assessment"]["evaluations"]:
            del one["confusion_at_half"]
            del one["metrics"]["mcc"]
        # What reports of before said once more in sentences.
        record["assessment"]["verdict"] |= {
            "reasons": ["AUC 0.9."],
            "lines": [{"topic": "cost", "text": "1 ms."}],
        }
        row = record["quantities"].pop(0)
        gone.append(f"{row['quantity']} {row['models']} {row['subset']}")

    gone: list[str] = []
    path = pdf_with(inputs, tmp_path, older=older)
    found = reproduced(path)

    assert main(["reproduce", str(path)]) == ExitStatus.SUCCESS
    said = capsys.readouterr().out.splitlines()
    assert found.differing == ()
    assert [place for place, _ in found.new] == [
        "evaluations[].metrics.mcc", "evaluations[].confusion_at_half", f"quantities.{gone[0]}",
    ]  # fmt: skip
    assert dict(found.new)["evaluations[].confusion_at_half"] == 2 * 4
    assert said[0] == f"made by medcompare {__version__}, computed again by {__version__}"
    assert said[2].startswith(
        "evaluations[].confusion_at_half: not in that report, this version computes it (8 "
    )
    assert said[-1].endswith(
        f"all {found.n_numbers:,} numbers of that report agree, and the words of the verdict"
    )


def test_an_older_report_that_was_altered_is_still_caught(inputs: ReportInputs, tmp_path: Path) -> None:
    """What is missing excuses nothing that is there."""

    def older(record: dict[str, Any]) -> None:
        del record["assessment"]["evaluations"][0]["confusion_at_half"]
        record["assessment"]["evaluations"][0]["confusion"]["true_positive"] += 1

    found = reproduced(pdf_with(inputs, tmp_path, older=older))

    assert [place for place, _, _ in found.differing] == ["evaluations[0].confusion.true_positive"]
    assert [place for place, _ in found.new] == ["evaluations[].confusion_at_half"]


def test_patients_and_interventions_are_computed_again(tmp_path: Path) -> None:
    """Agreement by patient and interventions avoided, with their intervals: altered, they are named."""
    inputs = odd_runs.run("good")

    def altered(text: str) -> str:
        record = json.loads(text)["assessment"]
        record["comparisons"][0]["patients"]["both_wrong"] += 1
        record["head_to_head"]["net_benefit_at"][1]["interventions_avoided"]["candidate"]["ci_low"] += 0.01
        return json.dumps(json.loads(text) | {"assessment": record})

    assert reproduced(pdf_with(inputs, tmp_path)).differing == ()
    assert [place for place, _, _ in reproduced(pdf_with(inputs, tmp_path, results=altered)).differing] == [
        "comparisons[0].patients.both_wrong",
        "head_to_head.net_benefit_at[1].interventions_avoided.candidate.ci_low",
    ]


def test_altered_scores_change_the_numbers(
    inputs: ReportInputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The score of one positive case: figures of the model that was scored so come out otherwise."""

    def lower(text: str) -> str:
        lines = text.splitlines()
        i = next(i for i, line in enumerate(lines) if line.split(",")[1] == "1")
        cells = lines[i].split(",")
        lines[i] = ",".join([*cells[:-1], "0.0001"])
        return "\n".join(lines)

    assert main(["reproduce", str(pdf_with(inputs, tmp_path, predictions_test=lower))]) == ExitStatus.FAILURE
    said = capsys.readouterr().out
    assert "evaluations[1].metrics." in said
    assert "evaluations[0].metrics.auc" not in said
    assert "predictions_test.csv: the report does not print" in said


def test_an_exchanged_file_is_noticed_where_the_numbers_agree(
    inputs: ReportInputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One blank more changes no number, but it is not the file that the report names."""
    path = pdf_with(inputs, tmp_path, evidence=lambda text: text + " ")

    assert main(["reproduce", str(path)]) == ExitStatus.FAILURE
    said = capsys.readouterr().out
    assert "evidence.json: the report does not print" in said
    assert "0 of " in said


@pytest.mark.parametrize(
    ("stem", "change"),
    [
        ("evidence", lambda text: text.replace("set_by_user", "set_by")),
        ("predictions_test", lambda text: text.replace("y_true", "truth")),
        ("predictions_test", lambda text: text.replace("case 0003,", "case 0003,x")),
        ("results", lambda _: "{}"),
    ],
    ids=["a setting of another name", "a column of another name", "a truth that is no number", "no results"],
)
def test_evidence_that_cannot_be_read_is_one_error(
    stem: str,
    change: Callable[[str], str],
    inputs: ReportInputs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No traceback, and no figure that was not computed."""
    assert main(["reproduce", str(pdf_with(inputs, tmp_path, **{stem: change}))]) == ExitStatus.BAD_INPUT, (
        capsys.readouterr()
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {tmp_path / 'report.pdf'}: the evidence inside")


@pytest.mark.parametrize(
    ("content", "words"), [(b"no PDF", "cannot be read as a PDF"), (None, "no evidence inside")]
)
def test_other_files_are_refused(
    content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what is missing, and where a report with it is found."""
    path = tmp_path / "x.pdf"
    path.write_bytes(content or render_pdf("<html lang=en><title>t</title><p>x")[0])

    assert main(["reproduce", str(path)]) == ExitStatus.BAD_INPUT
    assert words in capsys.readouterr().err


IDS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=30, unique=True)


@given(IDS, st.lists(st.integers(0, 4), min_size=30, max_size=30))
def test_ids_are_replaced_and_keep_their_order(ids: list[str], patients: list[int]) -> None:
    """Of both subsets: draws and clusters stay as they were, scores to the last bit, and no id is left."""
    names = [f"Mustermann/{one}" for one in ids]
    owners = np.array([f"MRN-{patients[i]}" for i in range(len(ids))], dtype=np.str_)
    scores = np.random.default_rng(0).random(len(ids))
    test = ScoredCases(
        case_id=tuple(sorted(names)),
        y_true=np.array([i % 2 for i in range(len(ids))], dtype=np.int64),
        scores={"a": scores},
        patient_id=owners,
        classes=("benign", "malignant"),
        subset="test",
        subgroups={"sex": np.array(["f", "=1"] * len(ids), dtype=np.str_)[: len(ids)]},
        seed_scores={"a": {"0": scores, "7": scores / 3}},
        judged={"a": "a@0"},
    )
    evaluate, rule = EvaluateConfig(), DecideConfig()
    files = {
        one.name: one.content.decode()
        for one in evidence_of(test, test, medcompare_version="1", evaluate=evaluate, rule=rule, seed=0)
    }

    assert not any("Mustermann" in text or "MRN" in text for text in files.values())
    settings = EvidenceSettings.model_validate_json(files["evidence.json"])
    for name, subset in (("predictions_test.csv", "test"), ("predictions_validation.csv", "val")):
        read = read_cases(files[name], subset, settings)
        assert list(read.case_id) == sorted(read.case_id)
        assert (read.clusters is None) == (test.clusters is None)
        if read.clusters is not None:
            np.testing.assert_array_equal(read.clusters, test.clusters)
        np.testing.assert_array_equal(read.subgroups["sex"], test.subgroups["sex"])
        np.testing.assert_array_equal(read.scores["a"], scores)
        np.testing.assert_array_equal(read.seed_scores["a"]["7"], scores / 3)
        assert (read.judged, read.classes, read.n_patients) == (test.judged, test.classes, test.n_patients)
