# Two commands are all a newcomer needs: `make demo` and `make test`.
# Each makes .venv with Python 3.11 and installs what it needs, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.PHONY: demo test test-slow lint format bench clean help

help:
	@echo "make demo       both stages on generated lesions; opens nothing, writes runs/demo/report.html"
	@echo "make test       lint, types, import floors and the quick tests"
	@echo "make test-slow  the tests that take longer (kills, resumes, whole runs)"
	@echo "make bench      the tables of docs/reference/benchmarks.md (needs LESION_DATA; over an hour)"

demo: $(VENV)/.run
	$(BIN)/lesion demo --out runs/demo

test: lint
	$(BIN)/python -m pytest

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/phantom_speed.py
	$(BIN)/python benchmarks/crop_speed.py
	$(BIN)/python benchmarks/allocator.py
	$(BIN)/python benchmarks/qa_speed.py
	$(BIN)/python benchmarks/stack_features.py
	$(BIN)/python benchmarks/audit_duplicates.py
	$(BIN)/python benchmarks/audit_real.py
	$(BIN)/python benchmarks/stack.py
	$(BIN)/python benchmarks/real_data.py
	$(BIN)/python benchmarks/recipe.py
	$(BIN)/python benchmarks/segmenters.py
	$(BIN)/python benchmarks/shipped_classifier.py
	$(BIN)/python benchmarks/focus.py --jobs 2
	$(BIN)/python benchmarks/additions.py --jobs 2
	$(BIN)/python benchmarks/serve_load.py

clean:
	rm -rf $(VENV) build *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 was not found; say PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# The stamps are of setup.cfg: a changed dependency installs anew, nothing else does.
$(VENV)/.run: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[offline]'
	@touch $@

$(VENV)/.dev: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[offline,synthesis,boost,serve,export,test,dev]'
	@touch $(VENV)/.run $@
