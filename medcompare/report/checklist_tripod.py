"""TRIPOD+AI in our own words: 27 items, 52 with their sub-items."""

from __future__ import annotations

from medcompare.report.checklist_wording import ChecklistWording, item, sections

TRIPOD_AI = ChecklistWording(
    key="tripod_ai",
    name="TRIPOD+AI",
    reference=(
        "Collins GS et al. TRIPOD+AI statement: updated guidance for reporting clinical prediction models "
        "that use "
        "regression or machine learning methods. BMJ 2024;385:e078378. Item wording is ours; 27 items in "
        "52 lines."
    ),
    items=sections(
        (
            "Title and abstract",
            (
                item(
                    "1",
                    "The title names development or evaluation of a prediction model, the population and "
                    "the outcome.",
                    facts="title",
                    to_add="the target population",
                    topics="population",
                ),
                item("2", "Abstract that follows the TRIPOD+AI list for abstracts.", topics="abstract"),
            ),
        ),
        (
            "Introduction",
            (
                item(
                    "3a",
                    "Medical context, and why a model is wanted; models that exist.",
                    topics="background",
                ),
                item(
                    "3b",
                    "For whom the model is, who uses it, and at which point of care.",
                    topics="population intended_use users",
                ),
                item("3c", "Health inequalities known between groups of people."),
                item("4", "Aims, and whether a model is developed, evaluated or both.", topics="objectives"),
            ),
        ),
        (
            "Methods: data and participants",
            (
                item(
                    "5a",
                    "Sources of the data for development and for evaluation, why these, and whom they "
                    "represent.",
                    facts="data_source",
                    to_add="who collected the images, where and why, and whom they represent",
                    topics="data_provenance representativeness",
                ),
                item("5b", "Dates of data collection and follow-up.", topics="setting_dates"),
                item("6a", "Setting: level of care, number and place of centres.", topics="setting_dates"),
                item("6b", "Who was eligible.", topics="eligibility"),
                item("6c", "Treatments received, and how they were handled."),
                item(
                    "7",
                    "How data were prepared and checked, and whether alike in all groups.",
                    facts="preprocessing",
                ),
            ),
        ),
        (
            "Methods: outcome and predictors",
            (
                item(
                    "8a",
                    "The outcome: definition, when and how assessed, and why this one.",
                    topics="reference_standard",
                ),
                item("8b", "Who assessed the outcome, where judgement was needed.", topics="annotators"),
                item("8c", "Whether outcome assessors were blinded.", topics="outcome_blinding"),
                item("9a", "Which predictors were considered first, and how they were pre-selected."),
                item("9b", "Definition of every predictor, when and how measured.", topics="acquisition"),
                item("9c", "Who assessed predictors, where judgement was needed."),
            ),
        ),
        (
            "Methods: size and missing data",
            (
                item(
                    "10",
                    "How the study size came about, for development and evaluation, and why it suffices.",
                    facts="test_size",
                    to_add="how the sizes were decided on before the study",
                    topics="sample_size_rationale",
                ),
                item(
                    "11",
                    "What was done about missing data, and why data were left out.",
                    facts="missing_data",
                ),
            ),
        ),
        (
            "Methods: analysis",
            (
                item(
                    "12a",
                    "Which data served what: how they were partitioned.",
                    facts="partitions disjointness",
                ),
                item(
                    "12b",
                    "How predictors entered the analysis: rescaled, transformed.",
                    facts="preprocessing",
                ),
                item(
                    "12c",
                    "Type of model and why, all steps of building and tuning, internal validation.",
                    facts="architecture weights training selection software",
                    to_add="why models of this type were chosen",
                ),
                item(
                    "12d",
                    "How differences between clusters such as hospitals were examined.",
                    facts="subgroups",
                    to_add="which of these columns stand for hospitals or countries",
                ),
                item(
                    "12e",
                    "Measures and plots of performance and why; how models were compared.",
                    facts="metrics inference",
                ),
                item(
                    "12f",
                    "Any updating of the models after evaluation, such as recalibration.",
                    facts="recalibration",
                ),
                item("12g", "How predictions were computed in the evaluation.", facts="predictions"),
                item(
                    "13",
                    "Methods against unequal classes, why, and recalibration after them.",
                    facts="imbalance",
                ),
                item(
                    "14",
                    "What was done for fairness, and why.",
                    facts="subgroups",
                    to_add="what was done for fairness beyond showing subgroups, and why",
                    topics="fairness",
                ),
                item(
                    "15",
                    "What the model puts out, and how thresholds for classes were found.",
                    facts="threshold",
                    to_add="why this threshold suits the clinical use",
                    topics="threshold_rationale",
                ),
                item(
                    "16",
                    "How development and evaluation data differ in setting, eligibility, outcome or "
                    "predictors.",
                    facts="same_source",
                    to_add="any such difference within the data",
                ),
                item("17", "Ethics approval and consent.", topics="ethics"),
            ),
        ),
        (
            "Open science",
            (
                item("18a", "Who paid, and what part they took.", topics="funding"),
                item("18b", "Conflicts of interest.", topics="conflicts"),
                item("18c", "Where the protocol is, or that there is none.", topics="protocol"),
                item("18d", "Registration, or that there is none.", topics="registration"),
                item("18e", "Whether the data can be had.", topics="data_availability"),
                item(
                    "18f",
                    "Whether the code can be had.",
                    facts="code",
                    to_add="where the code can be had, and on what terms",
                    topics="code_availability",
                ),
            ),
        ),
        (
            "Patient and public involvement",
            (item("19", "How patients and the public took part, or that they did not."),),
        ),
        (
            "Results",
            (
                item(
                    "20a",
                    "Flow of participants, with and without the outcome; follow-up.",
                    facts="flow",
                    to_add="the flow of patients before their images were handed to this software",
                    topics="participant_flow",
                ),
                item(
                    "20b",
                    "Characteristics overall and by source, with events and missing data.",
                    facts="characteristics",
                    to_add="demographic and clinical characteristics",
                    topics="characteristics",
                ),
                item(
                    "20c",
                    "How evaluation data compare with development data.",
                    facts="class_balance",
                    to_add="demographic and clinical characteristics of each subset",
                    topics="characteristics",
                ),
                item("21", "Participants and events in each analysis.", facts="class_balance"),
                item(
                    "22",
                    "The full model, so that others can predict with it; limits on access.",
                    facts="checkpoints",
                    to_add="where the trained models can be had, and on what terms",
                    topics="model_availability",
                ),
                item(
                    "23a",
                    "Performance with intervals, overall and in key subgroups.",
                    facts="performance differences subgroups",
                ),
                item(
                    "23b",
                    "Differences in performance between clusters, where examined.",
                    facts="subgroups",
                    to_add="which of these columns stand for hospitals or countries",
                ),
                item(
                    "24", "Results of any updating: the new model and its performance.", facts="recalibration"
                ),
            ),
        ),
        (
            "Discussion",
            (
                item("25", "What the results mean, fairness and earlier studies included."),
                item(
                    "26",
                    "Limits, and what they do to bias, uncertainty and generality.",
                    facts="limits",
                    to_add="limits of the clinical data and of their generality",
                    topics="limitations",
                ),
                item("27a", "What to do with poor or missing input when the model is in use."),
                item("27b", "What users must do and know to use the model.", topics="users"),
                item("27c", "Next steps for research."),
            ),
        ),
    ),
)
