"""CLAIM 2024 in our own words: 44 items."""

from __future__ import annotations

from medcompare.report.checklist_wording import ChecklistWording, item, sections

CLAIM = ChecklistWording(
    key="claim",
    name="CLAIM 2024",
    reference=(
        "Tejani AS et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 update. "
        "Radiol Artif Intell 2024;6(4):e240300. Item wording is ours."
    ),
    items=sections(
        (
            "Title and abstract",
            (
                item("1", "The title says that AI was studied, and which kind.", facts="title"),
                item("2", "Abstract with design, methods, results and conclusion.", topics="abstract"),
            ),
        ),
        (
            "Introduction",
            (
                item(
                    "3",
                    "Why the study matters, what is done today, and where the AI is meant to be used.",
                    topics="background intended_use",
                ),
                item("4", "Aims, and hypotheses where there are any.", topics="objectives"),
            ),
        ),
        (
            "Methods: design",
            (
                item(
                    "5",
                    "Whether the data were gathered before or after the study was planned.",
                    topics="design",
                ),
                item("6", "What kind of study it is: feasibility, new model, comparison, trial."),
            ),
        ),
        (
            "Methods: data",
            (
                item(
                    "7",
                    "Where the data come from, with links where they are public.",
                    facts="data_source",
                    to_add="who collected the images, where, and links to public data",
                    topics="data_provenance",
                ),
                item("8", "Who and what was eligible, and how cases were selected.", topics="eligibility"),
                item("9", "How images were prepared before the model saw them.", facts="preprocessing"),
                item("10", "How parts of images or of the data were singled out, if they were."),
                item("11", "How identities were removed."),
                item("12", "What was done about missing or unusable data.", facts="missing_data"),
                item("13", "How the images were acquired: devices and protocol.", topics="acquisition"),
            ),
        ),
        (
            "Methods: reference standard",
            (
                item("14", "What the truth is, and how it was established.", topics="reference_standard"),
                item("15", "Why this reference standard was chosen.", topics="reference_standard_rationale"),
                item("16", "Who labelled the data, and how qualified they were.", topics="annotators"),
                item("17", "How the test cases were labelled, and with which tools."),
                item("18", "How far labellers agreed, and how disagreement was settled."),
            ),
        ),
        (
            "Methods: partitions",
            (
                item(
                    "19",
                    "How cases were put into training, tuning (validation) and test subsets, in which "
                    "shares, and how "
                    "unequal classes were dealt with.",
                    facts="partitions imbalance",
                ),
                item(
                    "20",
                    "At which level the subsets are disjoint: patient, examination or image.",
                    facts="disjointness",
                ),
                item(
                    "21",
                    "How large the test subset had to be, and why.",
                    facts="test_size",
                    to_add="how the size was decided on before the study",
                    topics="sample_size_rationale",
                ),
            ),
        ),
        (
            "Methods: model",
            (
                item("22", "The model in enough detail to build it again.", facts="architecture"),
                item("23", "Software and versions.", facts="software"),
                item("24", "Where the initial weights came from.", facts="weights"),
            ),
        ),
        (
            "Methods: training",
            (
                item(
                    "25",
                    "How the model was trained: augmentation, hyperparameters, when it stopped.",
                    facts="training",
                ),
                item("26", "How the final model was picked.", facts="selection"),
                item("27", "How several models were combined, if they were.", facts="ensemble"),
            ),
        ),
        (
            "Methods: evaluation",
            (
                item(
                    "28",
                    "Which measures of performance were used, and at which threshold.",
                    facts="metrics threshold",
                ),
                item("29", "How uncertainty and significance were assessed.", facts="inference"),
                item("30", "How robust the findings are to other choices or conditions.", facts="robustness"),
                item(
                    "31", "How the model's decisions were explained, and how the explanations were checked."
                ),
                item(
                    "32",
                    "Performance on held-out data of the same source, and its gap to training.",
                    facts="internal_test",
                ),
                item(
                    "33",
                    "Performance on data from elsewhere, or why there are none.",
                    topics="external_testing",
                ),
                item("34", "Trial registration, where it applies.", topics="registration"),
            ),
        ),
        (
            "Results: data",
            (
                item(
                    "35",
                    "How many patients or examinations were included and left out, as a flow.",
                    facts="flow",
                    to_add="the flow of patients before their images were handed to this software",
                    topics="participant_flow",
                ),
                item(
                    "36",
                    "Who the patients were, in each subset.",
                    facts="characteristics",
                    to_add="demographic and clinical characteristics of each subset",
                    topics="characteristics",
                ),
            ),
        ),
        (
            "Results: performance",
            (
                item("37", "Final performance, overall and in subgroups.", facts="performance subgroups"),
                item("38", "Diagnostic accuracy with intervals.", facts="performance differences"),
                item("39", "Where the model fails: matrices and wrong cases.", facts="cross_table failures"),
            ),
        ),
        (
            "Discussion",
            (
                item(
                    "40",
                    "Limits of the study.",
                    facts="limits",
                    to_add="limits of the clinical data and of their generality",
                    topics="limitations",
                ),
                item("41", "What follows for practice.", topics="implications"),
            ),
        ),
        (
            "Other information",
            (
                item(
                    "42",
                    "Where the full protocol or further technical detail can be read.",
                    topics="protocol",
                ),
                item(
                    "43",
                    "Whether code, trained models and data can be had, and on what terms.",
                    facts="code",
                    to_add="where code, trained models and data can be had, and on what terms",
                    topics="code_availability model_availability data_availability",
                ),
                item("44", "Who paid, and what part they took.", topics="funding"),
            ),
        ),
    ),
)
