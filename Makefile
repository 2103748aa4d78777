# Every job of this project, one command each. `make help` lists them.
# Set-up happens by itself and, once done, costs milliseconds: see .make/setup.sh.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PY := .venv/bin/python

# Arguments of the command itself:  make compare ARGS="--data my_images --preset quick"
ARGS ?=
# Where the server of `make serve` listens, and the reports (the port after it):  make serve SERVE_PORT=4300
SERVE_PORT ?= 4200
REPORTS_PORT ?=
# Tests side by side:  make test JOBS=1
JOBS ?= 2

# macOS: Homebrew's libraries are not where dlopen looks, and the system's sh drops an inherited DYLD_*.
ifeq ($(shell uname -s),Darwin)
  RUN := DYLD_FALLBACK_LIBRARY_PATH="/opt/homebrew/lib:/usr/local/lib:$$DYLD_FALLBACK_LIBRARY_PATH" $(PY)
else
  RUN := $(PY)
endif
# Bytecode is kept: else every process that a test starts compiles all of the project again, and pytest all tests.
PYTEST := PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest -q

.PHONY: help setup compare assess serve serve-stop serve-status test test-slow test-browser test-lowest docs catalogue check lint types format spelling coverage mutants lock clean distclean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

setup: ## create .venv with the exact versions of constraints.txt (every command below does)
	@TORCH_BACKEND="$(TORCH_BACKEND)" PYTHON="$(PYTHON)" sh .make/setup.sh

compare: setup ## run the comparison; ARGS="--data my_images" passes options on
	@$(RUN) -m flows.compare $(ARGS)

assess: setup ## statistics, verdict and report from predictions: ARGS="--predictions test.csv"
	@$(RUN) -m flows.assess $(ARGS)

serve: setup ## for a trial: server, worker and reports in the background; SERVE_PORT=4300 for another port
	@$(RUN) -m medcompare serve start --port $(SERVE_PORT) $(if $(REPORTS_PORT),--reports-port $(REPORTS_PORT))

serve-stop: setup ## stop them again; runs that are going end as cancelled
	@$(RUN) -m medcompare serve stop

serve-status: setup ## say what of it runs and answers
	@$(RUN) -m medcompare serve status --port $(SERVE_PORT)

test: setup ## run the tests (none that need minutes, a GPU, the internet or a browser)
	@$(PYTEST) --numprocesses=$(JOBS) --dist=loadfile $(ARGS)

test-slow: setup ## run the slow tests: simulations, trainings
	@$(PYTEST) -m slow $(ARGS)

test-browser: setup ## start a run from Prefect's page in a real Chromium; MEDCOMPARE_SCREENSHOTS=DIR keeps pictures
	@[ -d .make/axe ] || $(PY) -m uv pip install --quiet --target .make/axe --no-deps axe-playwright-python==0.1.8 # axe-core (MPL-2.0): for tests only
	@$(PYTEST) -m browser $(ARGS)

test-lowest: ## run the tests against the lowest versions of pyproject.toml, in an environment of its own
	@JOBS=$(JOBS) sh .make/lowest.sh $(ARGS)

docs: setup ## build the pages of docs/ into docs/_build/html; any warning is an error
	@rm -rf docs/api docs/_build # pages of modules that have since moved would stay
	@$(RUN) -m sphinx -W --keep-going -n -E -q -b html docs docs/_build/html && echo "docs: ok"

catalogue: setup ## bring the catalogues of the report's languages up to the code; names what is not translated
	@$(RUN) docs/catalogue.py

check: lint types test ## lint, types and tests: what must pass before a commit is shared

lint: setup ## ruff: rules and format; codespell
	@$(PY) -m ruff check --quiet . && echo "ruff check: ok"
	@$(PY) -m ruff format --quiet --check . && echo "ruff format: ok"
	@$(PY) -m codespell_lib && echo "codespell: ok"

types: setup ## mypy --strict on everything but the tests
	@$(PY) -m mypy

format: setup ## rewrite the layout of the code, and what ruff can fix safely
	@$(PY) -m ruff check --quiet --fix-only .
	@$(PY) -m ruff format .

coverage: setup ## tests with branch coverage, as text and in htmlcov/
	@$(PYTEST) --numprocesses=$(JOBS) --dist=loadfile --cov --cov-report=term --cov-report=html $(ARGS)

mutants: setup ## change the rule of the verdict in 1,500 small ways: which does no test notice? Takes an hour
	@$(PY) -m uv pip install --quiet --target .make/mutmut --no-deps mutmut==3.8.1 libcst setproctitle textual click coverage
	@PYTHONPATH=.make/mutmut:. $(PY) -m mutmut run $(ARGS); PYTHONPATH=.make/mutmut:. $(PY) -m mutmut results

lock: ## resolve constraints.txt for Python 3.11 to 3.14 on Linux and macOS; ARGS=--upgrade for newer versions
	@[ -x .venv/bin/python ] || $(MAKE) --no-print-directory setup # not always: ranges that exclude a pin would stop it
	@sh .make/lock.sh $(ARGS)

clean: ## remove caches and build products (never runs/, never .medcompare/)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* htmlcov mutants build dist *.egg-info docs/_build docs/api
	@find . -name __pycache__ -type d -not -path './.venv*/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv as well
	@rm -rf .venv .make/uv .make/mutmut .venv-lowest
