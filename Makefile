# Everything a fresh machine needs is done by the target that needs it, once.
#
#   make demo    load a pretrained potential, fine-tune it, use it
#   make test    ruff, mypy, pytest
#   make fuzz    a thousand damaged files for every reader of data
#   make docs    the site, in site/; make notebooks runs the tutorials again first
#   make test-cuda   every architecture, weight and recipe on a GPU
#   make test-export   every architecture that can be, as an artefact; machine code too
#   make test-docs   the site, built and looked at in a headless Chromium of the system
#
# Overridable: PYTHON (3.11 or later), VENV, PIP_ARGS, for example a CPU build of torch:
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
# one process per core; a file or class stays in one, which shares what is costly to set up; in the
# order of tests/conftest.py
PYTEST_ARGS ?= -n auto --dist loadscope --no-loadscope-reorder

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install $(PIP_ARGS)
INSTALLED := $(VENV)/.installed
INSTALLED_TEST := $(VENV)/.installed-test
INSTALLED_DOCS := $(VENV)/.installed-docs

.DEFAULT_GOAL := help
.PHONY: help demo demo-seeds test test-cuda test-export fuzz lint docs test-docs notebooks scatter release-weights clean

help:
	@sed -n 's/^#   //p' Makefile

# torch goes first: its version decides which build of the others fits
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt torch
	$(PIP) -c constraints.txt -e .
	touch $@

# the package is there already, so this adds only what the extras name
$(INSTALLED_TEST): $(INSTALLED)
	$(PIP) -c constraints.txt "geometric-zoo[test,datagen]"
	touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(PIP) -c constraints.txt "geometric-zoo[docs]"
	touch $@

# on small molecules a second thread has too little to do and waits at a barrier for each operation,
# a thousand times longer where another program runs on its core
demo demo-seeds test test-cuda test-export fuzz notebooks: export OMP_NUM_THREADS ?= 1

demo: $(INSTALLED)
	$(BIN)/python -m zoo.apps.demo

demo-seeds: $(INSTALLED)
	$(BIN)/python -m zoo.apps.demo --seeds 3

lint: $(INSTALLED_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -P -m pytest $(PYTEST_ARGS)

test-export: $(INSTALLED_TEST)
	$(BIN)/python -P -m pytest -m export tests/apps $(PYTEST_ARGS)

test-cuda: $(INSTALLED_TEST)
	$(BIN)/python -P -m pytest -m cuda tests/cuda $(PYTEST_ARGS)

fuzz: $(INSTALLED_TEST)
	$(BIN)/python -P -m pytest -m fuzz tests/datasets/test_fuzz.py $(PYTEST_ARGS)

docs: $(INSTALLED_DOCS)
	$(BIN)/python -m mkdocs build --strict

# the browser is found by name or in CHROMIUM; without one the tests that need it are skipped
test-docs: docs $(INSTALLED_TEST)
	$(BIN)/python -P -m pytest -m browser tests/site -rs

# needs the extra datagen, which the tests install
notebooks: $(INSTALLED_TEST)
	$(BIN)/python docs/_notebooks.py

# optional: its source can't be built in isolation, and building takes about ten minutes
scatter: $(INSTALLED)
	$(PIP) setuptools wheel
	$(PIP) --no-build-isolation torch-scatter

# release/sha256/<digest>, verified, with manifests, cards and an index: put this tree on any static
# host and its address into checkpoints/_urls.yaml
release-weights: $(INSTALLED)
	$(BIN)/python -c "from zoo import hub; print('\n'.join(hub.release('release').written))"

clean:
	rm -rf build dist release site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find zoo tests -name __pycache__ -type d -prune -exec rm -rf {} +
