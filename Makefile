# Needs Python (3.10 or newer) and make. Everything else comes from the package registries.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint format clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(VENV)/.ready ## create .venv from the pinned constraints

# Remade only when the package's requirements change, so the second run is quick.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

demo: $(VENV)/.ready ## fetch, annotate and look at real footage
	$(BIN)/whim demo

test: $(VENV)/.ready ## all tests that fit ten minutes on two cores
	$(BIN)/whim models pull --quiet
	$(BIN)/python -m pytest -m 'not slow'

test-slow: $(VENV)/.ready ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.ready ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what make made here (the weight cache stays: `whim doctor` says where)
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
