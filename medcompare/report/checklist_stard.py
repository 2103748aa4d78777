"""STARD-AI in our own words: 40 items, 48 with their sub-items."""

from __future__ import annotations

from medcompare.report.checklist_wording import ChecklistWording, item, sections

STARD_AI = ChecklistWording(
    key="stard_ai",
    name="STARD-AI",
    reference=(
        "Sounderajah V et al. The STARD-AI reporting guideline for diagnostic accuracy studies using "
        "artificial "
        "intelligence. Nat Med 2025;31:3283-3289. Item wording is ours; 40 items in 48 lines."
    ),
    items=sections(
        (
            "Title and abstract",
            (
                item(
                    "1",
                    "Title or abstract says: accuracy of an AI test, with at least one measure.",
                    facts="title",
                ),
                item("2", "Abstract with design, methods, results and conclusion.", topics="abstract"),
            ),
        ),
        (
            "Introduction",
            (
                item(
                    "3",
                    "Background, intended use of the test, whether it is new, and how it fits the workflow.",
                    topics="background intended_use",
                ),
                item("4", "Aims and hypotheses.", topics="objectives"),
            ),
        ),
        (
            "Methods: design, ethics and participants",
            (
                item(
                    "5",
                    "Whether data collection was planned before or after test and reference standard.",
                    topics="design",
                ),
                item("6", "Ethics approval, or why none was needed.", topics="ethics"),
                item("7", "Who and which data were eligible, step by step.", topics="eligibility"),
                item("8", "How eligible people were found."),
                item("9", "Where and when they were found.", topics="setting_dates"),
                item("10", "Whether they form a consecutive, random or convenience series."),
            ),
        ),
        (
            "Methods: data",
            (
                item(
                    "11",
                    "Source of the data: routine care, collected for the study, or open.",
                    facts="data_source",
                    to_add="who collected the images, where, and whether as routine, for the study or "
                    "from open data",
                    topics="data_provenance",
                ),
                item("12", "Who annotated the data, with what experience, and how.", topics="annotators"),
                item(
                    "13",
                    "Devices that took the images; software and version that made the test.",
                    facts="software",
                    to_add="make and model of the devices that took the images",
                    topics="acquisition",
                ),
                item(
                    "14",
                    "Acquisition protocol and preparation of the data.",
                    facts="preprocessing",
                    to_add="how the images were acquired",
                    topics="acquisition",
                ),
            ),
        ),
        (
            "Methods: tests",
            (
                item(
                    "15a",
                    "The AI test in enough detail to repeat it.",
                    facts="architecture weights predictions",
                ),
                item(
                    "15b",
                    "How it was developed, with the size of each subset.",
                    facts="partitions training selection",
                ),
                item(
                    "15c",
                    "Cut-offs of the AI test, why, and whether set beforehand or explored.",
                    facts="threshold",
                    to_add="why this threshold suits the clinical use, and whether earlier looks at the "
                    "same test "
                    "data came first",
                    topics="threshold_rationale",
                ),
                item("15d", "Who is to use the test, and what they must know.", topics="users"),
                item(
                    "16a",
                    "The reference standard in enough detail to repeat it.",
                    topics="reference_standard",
                ),
                item("16b", "Why this reference standard was chosen.", topics="reference_standard_rationale"),
                item("16c", "Cut-offs of the reference standard, why, and whether set beforehand."),
                item("17a", "What those who ran or read the AI test knew of the patient and the truth."),
                item(
                    "17b",
                    "What those who judged the truth knew of the patient and the AI's result.",
                    topics="outcome_blinding",
                ),
            ),
        ),
        (
            "Methods: analysis",
            (
                item("18", "How accuracy was estimated and compared.", facts="metrics inference"),
                item(
                    "19",
                    "What was done with results that are neither positive nor negative.",
                    facts="indeterminate",
                    to_add="how cases with an undecided reference standard were handled",
                ),
                item("20", "What was done about missing results.", facts="missing_data"),
                item("21", "Analyses of how accuracy varies, planned or explored.", facts="robustness"),
                item(
                    "22",
                    "Intended size of the study, and how it was found.",
                    facts="test_size",
                    to_add="how the size was decided on before the study",
                    topics="sample_size_rationale",
                ),
                item(
                    "23",
                    "How errors, bias and fairness were examined.",
                    facts="failures subgroups",
                    to_add="what was done about bias and fairness beyond showing errors and subgroups",
                    topics="fairness",
                ),
            ),
        ),
        (
            "Results: participants and data",
            (
                item(
                    "24",
                    "Flow of participants, as a diagram.",
                    facts="flow",
                    to_add="the flow of patients before their images were handed to this software",
                    topics="participant_flow",
                ),
                item(
                    "25",
                    "Characteristics of training, validation and test subsets.",
                    facts="characteristics",
                    to_add="demographic, clinical and technical characteristics of each subset",
                    topics="characteristics",
                ),
                item("26a", "How severe the disease was in those who had it."),
                item("26b", "What those without the disease had instead."),
                item("27", "Time and treatment between the AI test and the reference standard."),
                item(
                    "28",
                    "Whether the data have the share and mix of disease of the intended use.",
                    topics="representativeness",
                ),
                item("29", "How external data differ from those of development.", topics="external_testing"),
            ),
        ),
        (
            "Results: tests",
            (
                item(
                    "30",
                    "Results of the AI test against the reference standard, cross-tabulated.",
                    facts="cross_table",
                ),
                item("31", "Accuracy with intervals.", facts="performance differences"),
                item("32", "Harm from the AI test or the reference standard."),
            ),
        ),
        (
            "Discussion",
            (
                item(
                    "33",
                    "Limits: bias, uncertainty, generality.",
                    facts="limits",
                    to_add="limits of the clinical data and of their generality",
                    topics="limitations",
                ),
                item("34", "What follows for practice, intended use included.", topics="implications"),
                item("35", "Ethical questions of using the test, fairness included."),
            ),
        ),
        (
            "Other information",
            (
                item("36", "Registration: number and registry.", topics="registration"),
                item("37", "Where the protocol can be read.", topics="protocol"),
                item("38", "Who paid, and what part they took.", topics="funding"),
                item("39", "Commercial interests.", topics="conflicts"),
                item(
                    "40a",
                    "Whether data and code can be had, and limits on their use.",
                    facts="code",
                    to_add="where data and code can be had, and on what terms",
                    topics="code_availability data_availability",
                ),
                item("40b", "Whether outputs are kept and can be audited.", facts="stored_outputs"),
            ),
        ),
    ),
)
