# `make` prints this list. Every target works on a fresh machine with Python 3.11, pip and make.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help serve test test-large vllm-test ray-test lm-eval-test fuzz kill-storm batch-storm data-storm data-memory check fix bench docs clean

help: ## Print this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

serve: $(VENV)/.serve ## Install, get the embedded models, start the platform (options: ARGS='--port 9000')
	@exec $(BIN)/yangfan serve $(ARGS)

test: $(VENV)/.dev ## Run the whole suite (options: ARGS='-k chat')
	@$(BIN)/pytest -m 'not large' -n logical --maxprocesses 4 --dist loadscope $(ARGS)

test-large: $(VENV)/.dev ## Ask real models what `make test` asks small ones
	@$(BIN)/pytest -m large $(ARGS)

vllm-test: $(VENV)/.dev ## Test the vllm engine with the real vLLM (VLLM_PYTHON=/opt/vllm/bin/python)
	@$(BIN)/pytest tests/engines/test_vllm.py --vllm-python=$(VLLM_PYTHON) $(ARGS)

ray-test: $(VENV)/.dev ## Install Ray, and clean on a cluster of two nodes on this machine
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ray]'
	@$(BIN)/pytest tests/operators/pipeline/test_cluster.py $(ARGS)

lm-eval-test: $(VENV)/.dev ## Have lm-eval ask our endpoints, from an environment of its own (.venv/lm-eval, made if it is not there)
	@test -x $(VENV)/lm-eval/bin/lm_eval || { $(PYTHON) -m venv $(VENV)/lm-eval && $(VENV)/lm-eval/bin/pip install --quiet 'lm-eval[api]==0.4.13' transformers==5.24.0; }
	@$(BIN)/pytest tests/conformance/test_lm_eval.py --lm-eval=$(VENV)/lm-eval/bin/lm_eval $(ARGS)

fuzz: $(VENV)/.dev ## Send damaged and generated calls to a server, and print counts (options: ARGS='--calls 5000')
	@$(BIN)/python -m tests.fuzz $(ARGS)

kill-storm: $(VENV)/.dev ## Kill workers and the server 500 times, and count what is left (options: ARGS='--kills 50')
	@$(BIN)/python -m tests.kill_storm $(ARGS)

data-storm: $(VENV)/.dev ## Kill imports, cleanings and exports 20 times, and compare what is left with undisturbed ones
	@$(BIN)/python -m tests.data_storm $(ARGS)

data-memory: $(VENV)/.dev ## Import and export a file of 1 GB, and print the memory of the worker (options: ARGS='--gigabytes 10 --kills 2')
	@$(BIN)/python -m tests.data_memory $(ARGS)

batch-storm: $(VENV)/.dev ## Kill a batch of 10,000 lines ten times, and count its results (options: ARGS='--lines 500')
	@$(BIN)/python -m tests.batch_storm $(ARGS)

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

# Debian without python3-venv cannot put pip into a virtual environment, but its own pip can install there.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "yangfan: Python 3.11 or newer is needed; name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --quiet --python $(VENV)/bin/python install pip; } \
	  || { rm -rf $(VENV); echo "yangfan: cannot make $(VENV); free some disk space, or install python3-venv" >&2; exit 1; }

$(VENV)/.serve: $(VENV)/bin/python pyproject.toml constraints.txt
	@$(call install,server$(comma)llama$(comma)data$(comma)knowledge$(comma)prompts)
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@$(call install,server$(comma)postgresql$(comma)llama$(comma)transformers$(comma)diffusers$(comma)openvino$(comma)data$(comma)knowledge$(comma)pictures$(comma)prompts$(comma)tuning$(comma)otel$(comma)dev)
	@touch $@ $(VENV)/.serve

comma := ,
define install
echo "yangfan: installing into $(VENV) ..." >&2; \
$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
  --editable '.[$(1)]' >$(VENV)/install.log 2>&1 \
  || { echo "yangfan: cannot install; is a package index reachable, and is there disk space? pip's words: $(VENV)/install.log" >&2; exit 1; }
endef
