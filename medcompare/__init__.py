"""medcompare: a fair comparison of medical image classifiers.

The package is pure code (nothing here imports Prefect), laid out in rooms. A room imports only from rooms above it:

``base``         records, errors, stored files, number formats, hardware, locks, digest of the code
``models``       what a network is (`spec`), the table of networks (`zoo`), their pretrained weights
``config``       everything a user can set: schema, presets, form, and who set each field
``data``         images: sources, decoding, validation, manifest, split, tables of users
``predictions``  tables of predictions and costs, where training and statistics meet
``training``     from a split to a trained network, its predictions and its cost; the only room with torch
``stats``        intervals, resampling, calibration, comparison and the verdict; no torch
``runs``         what a run leaves behind: folder, summary, history, changes, provenance, pruning
``report``       from records to pages, figures, checklists, HTML and PDF
``handover``     a trained network as a folder to hand over, and scores of new images from it
``notify``       mail: settings, message, sending
``cli``          the command line

Above them, ``tasks/`` wraps the stages for Prefect and ``flows/`` wires them.
``tests/contracts/test_architecture.py`` holds the table of allowed imports and this map.
"""

__version__ = "0.1.0"
