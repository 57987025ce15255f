# `make` prints this list. Every target works on a fresh machine with Python 3.11, pip and make.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ARGS ?=

.PHONY: help serve test check fix bench docs clean

help: ## Print this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

serve: $(VENV)/.serve ## Install, get the embedded model, start the platform (options: ARGS='--port 9000')
	@exec $(BIN)/yangfan serve $(ARGS)

test: $(VENV)/.dev ## Run the whole suite (options: ARGS='-k chat')
	@$(BIN)/pytest $(ARGS)

check: $(VENV)/.dev ## Format, lint, types, imports, generated files
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/pyright && $(BIN)/lint-imports && $(BIN)/codespell
	@$(BIN)/python scripts/unasync.py --check && $(BIN)/python scripts/coverage_table.py --check

fix: $(VENV)/.dev ## Repair what `make check` can repair by itself
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format . && $(BIN)/python scripts/unasync.py && $(BIN)/python scripts/coverage_table.py

bench: $(VENV)/.dev ## Measure, side by side, and print the tables (options: ARGS='--quick')
	@$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(VENV)/.dev ## Write the generated pages of docs/reference
	@$(BIN)/python scripts/coverage_table.py

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "yangfan needs Python 3.11 or newer; name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make $(VENV): install python3-venv, or free some disk space" >&2; exit 1; }

$(VENV)/.serve: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) ..."
	@$(INSTALL) --editable '.[server,llama]' || { echo "cannot install: is a package index reachable, and is there disk space? (pip's own words are above)" >&2; exit 1; }
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) ..."
	@$(INSTALL) --editable '.[server,llama,dev]' || { echo "cannot install: is a package index reachable, and is there disk space? (pip's own words are above)" >&2; exit 1; }
	@touch $@ $(VENV)/.serve
