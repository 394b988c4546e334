# Wattlens: `make demo` shows it, `make test` proves it. Both set everything up in .venv on a fresh Debian or Ubuntu machine.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BOOTSTRAP := sh deploy/bootstrap.sh
PYTEST := $(BIN)/python -m pytest
INSTALL := $(BIN)/pip install --disable-pip-version-check -c constraints.txt
# How many tests run side by side: auto is three a core, as most wait for processes, and two with peers; 0: one after another.
WORKERS ?= auto
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
SECONDS ?= 60
# no: `make test-all` without torch and what is built on it; its tests are skipped with that reason.
TORCH ?= yes
# Further arguments of pytest.
ARGS ?=
export WATTLENS_TORCH := $(TORCH)

comma := ,
# Compiled modules are kept whatever the caller's environment asks: tests start hundreds of processes of the same code.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-all proof check format docs constraints clean
.DEFAULT_GOAL := help

help: ## Show what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo ## A simulated 8-GPU node, the real agent, a live view, a summary (SECONDS=60)
	$(BIN)/wattlens demo --for $(SECONDS)s

test: $(VENV)/.dev | prometheus ## The tests that need Python and Prometheus (minutes; WORKERS=0: one after another)
	$(PYTEST) $(SIDE_BY_SIDE) --hypothesis-profile=quick -m "not peer and not smoke and not proof and not gpu"

test-all: $(VENV)/.peers | prometheus peers ## Every peer as well; what CI runs
	$(PYTEST) $(SIDE_BY_SIDE) -m "not proof and not gpu" $(ARGS)

proof: $(VENV)/.peers | prometheus ## The long runs (two hours and more) and random examples of every law; figures go to benchmarks/README.md
	$(BIN)/python -m benchmarks all
	$(PYTEST) $(SIDE_BY_SIDE) -m "hypothesis and not proof" --hypothesis-profile=random
	$(PYTEST) -m proof --timeout 3600

check: $(VENV)/.dev ## Lint, format, types, import contracts, size, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select DOC102,DOC202,DOC403 .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python -m tools.plain_words
	$(BIN)/python -m tools.size
	$(BIN)/wattlens dashboards check

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev ## Write what is generated: dashboards, rules, metric and key tables, --help pages, sample report
	$(BIN)/wattlens dashboards build
	$(BIN)/python deploy/manifests.py build
	$(BIN)/python -m tools.docs
	$(BIN)/python -m benchmarks sample_report --out docs/sample-report

constraints: $(VENV)/.peers ## Write the exact versions of this environment to constraints.txt
	$(BIN)/pip freeze --exclude-editable | grep -Ev '^(torch|torchvision|nvidia-c|triton)|@' > constraints.txt

clean: ## Remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

$(VENV)/bin/python:
	@$(BOOTSTRAP) venv "$(PYTHON)" "$(VENV)"

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python compiler
	@echo "Installing Wattlens and its packages into $(VENV): about a minute and 700 MB"
	@$(INSTALL) -e '.[completion,facility,reports]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python compiler
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.peers: pyproject.toml constraints.txt | $(VENV)/.dev
	$(INSTALL) -e '.[dev,peers$(if $(filter yes,$(TORCH)),$(comma)peers-torch)]'
	@touch $@

.PHONY: compiler prometheus peers
compiler:
	@$(BOOTSTRAP) need cc gcc libc6-dev

prometheus:
	@$(BOOTSTRAP) want prometheus prometheus
	@$(BOOTSTRAP) want openssl openssl

peers:
	@$(BOOTSTRAP) peers
