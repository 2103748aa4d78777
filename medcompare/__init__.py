"""medcompare: a fair comparison of medical image classifiers.

Map of the package (pure code: nothing here imports Prefect)::

    config, presets      what the user can set: one pydantic model
    records, *_records   what flows between stages: the base, and one module beside each stage
    errors               what can go wrong
    artifacts            content-addressed files: atomic write, verified read
    code_identity        digest of the code behind a stage, for correct caching
    data/                demo data, ingest and validation, split, torch dataset
    models/              the table of networks, their recipes and weights
    training, prediction, cost      the torch side
    stats/               the statistics and the verdict; never imports torch
    report/              records -> figures -> HTML and PDF
"""

__version__ = "0.1.0"
