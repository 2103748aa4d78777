#!/bin/sh
# Runs tests against the lowest versions that pyproject.toml allows. Needs uv and Python 3.11, the oldest that is
# supported; started by `make test-lowest`. Arguments are passed to pytest; without any, the tests of every room
# but the trainings, and one whole comparison.
#
# Reads    TORCH_BACKEND  as setup.sh does; torch itself is the same version as everywhere
set -eu

uv=uv
command -v uv >/dev/null 2>&1 || uv=.make/uv/bin/uv
# Only what a user installs is lowered: the tools of the tests stay at their pins.
tools='aiosmtpd|cryptography|hatchling|hypothesis|jsonschema|numpydoc|pypdf|pypdfium2|pytest|pytest-timeout|pytest-xdist|pyyaml|selenium|statsmodels|uv'
"$uv" venv --quiet --clear --no-project --python 3.11 .venv-lowest
# shellcheck disable=SC2046 # a list of words is meant
"$uv" pip install --quiet --python .venv-lowest/bin/python ${TORCH_BACKEND:+--torch-backend "$TORCH_BACKEND"} \
    --resolution lowest-direct --editable . $(grep -E "^($tools)==" constraints.txt)
if [ $# = 0 ]; then
    set -- tests/base tests/cli tests/config tests/contracts tests/data tests/models tests/notify tests/predictions \
        tests/report tests/runs tests/stats tests/flows/test_compare.py
fi
exec .venv-lowest/bin/python -m pytest -q --numprocesses="${JOBS:-2}" --dist=loadfile "$@"
