# Two commands are all the set-up: `make demo` turns the whole loop once, `make test` runs the whole suite.
# `make` alone lists everything.

PYTHON ?= python3
# cpu, cu130 ... or auto: which build of torch uv picks, where the network has it. Empty: the index's own.
TORCH_BACKEND ?=
# make demo KEEP=1 leaves everything running.
KEEP ?=
# where the demo keeps its data; a folder that is in use is left alone and the next name taken.
DATA ?= data/demo

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# A worker per core, a file of tests on one worker: what a module shares is made once.
SPREAD := -n $(shell nproc 2>/dev/null || echo 2) --dist loadfile --no-loadscope-reorder
CODE := infra services shared training tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help install browser demo demo-real test test-fast test-real test-gpu check format compose constraints bench-gateway clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## the environment in .venv, with the ratchet command

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which with PYTHON=..."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv does not work here; on Debian: apt-get install python3-venv"; exit 1; }
	@test -x $(UV) || $(BIN)/pip install --quiet uv
	$(UV) pip install --compile-bytecode --python $(BIN)/python $(if $(TORCH_BACKEND),--torch-backend=$(TORCH_BACKEND)) -c constraints.txt -e . --group dev
	@touch $@

browser: ## Chromium for the browser tests, from the system's packages
	@sh infra/install-browser.sh

demo: install ## the whole loop once, on this machine's CPU: ask, correct, train, judge, promote
	@$(BIN)/ratchet demo --data $(DATA) $(if $(KEEP),--keep)

demo-real: install browser ## the same through Kafka, PostgreSQL, Argilla, vLLM, Prometheus and Alertmanager, installed here
	@RATCHET_STACK_SERVERS_DIR=$${RATCHET_STACK_SERVERS_DIR:-data/stack/servers} $(BIN)/ratchet demo --real --data $(DATA)-real $(if $(KEEP),--keep)

test: install browser ## every test but those on real servers and GPUs
	$(BIN)/python -m pytest $(SPREAD)
	@echo "Left out: tests/real, which starts the real servers; run it by make test-real"

test-fast: install ## the tests that take under two minutes together
	$(BIN)/python -m pytest $(SPREAD) -m "not slow"

test-real: install browser ## the tests that install and start the real servers (tests/real); vLLM's at the end, by themselves
	RATCHET_TEST_REAL=1 $(BIN)/python -m pytest tests/real --durations=10 --ignore=tests/real/vllm
	RATCHET_TEST_REAL=1 $(BIN)/python -m pytest tests/real/vllm --durations=5

test-gpu: install ## the tests that need a GPU (tests/gpu)
	RATCHET_TEST_GPU=1 $(BIN)/python -m pytest tests/gpu -s

bench-gateway: install ## the gateway beside TensorZero, LiteLLM, Portkey and nginx, each installed here; about 6 minutes
	$(BIN)/python -m benchmarks.gateway

check: install ## ruff, mypy and the import rules
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## lay the code out and mend what ruff can mend
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

compose: install ## write docker-compose.yml again, from infra/compose and the native stack's configuration
	$(BIN)/python -m infra.compose

constraints: $(UV) ## pin every version again, in constraints.txt
	$(UV) pip compile --quiet --upgrade --universal --no-emit-index-url --no-annotate --no-header --group dev pyproject.toml -o constraints.txt

clean: ## remove the environment and every cache; data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis
