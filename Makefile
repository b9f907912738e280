# Everything a developer runs. Long builds and downloads live outside the checkout, in $(CACHE), and are made again
# when they are missing or when what they are made from has changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/alignment-operator
PYTHON ?= python3.11
VENV := $(CACHE)/venv
REQUIREMENTS := $(PYTHON) -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
    print(*p['dependencies'], *sum(p['optional-dependencies'].values(), []), sep='\n')"
# Of the contents alone: a fresh clone, or an edit elsewhere in pyproject.toml, installs nothing again.
VENV_KEY := $(shell { cat constraints.txt; $(REQUIREMENTS); } | sha256sum | cut -c1-12)
VENV_STAMP := $(VENV)/.complete-$(VENV_KEY)
BIN := $(VENV)/bin
CLUSTER := $(PYTHON) -m tests.cluster

# The project is run from the checkout, not installed, so that several checkouts can share one virtual environment.
export PYTHONPATH := $(CURDIR)/crds:$(CURDIR)/operator:$(CURDIR)/trainer_image:$(CURDIR)
NODES ?= 1
FAULTS ?= 100
ARGS ?=

.PHONY: help demo test chaos check generate format venv cluster-up cluster-down images bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo:  ## cluster, operator and the quickstart job, from a bare machine to a promoted model (KEEP=1 keeps the cluster)
	@$(PYTHON) -m tests.cluster.demo $(if $(KEEP),--keep) $(ARGS)

test: venv  ## every test, real cluster included (ARGS="-k name" narrows)
	@$(CLUSTER) prepare kueue
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest $(ARGS)

chaos: venv  ## seeded faults on the real cluster: kills, evictions, dead nodes, full disks, ... (SEED=N FAULTS=100)
	@$(CLUSTER) prepare
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --faults $(FAULTS) $(ARGS)

check: venv  ## lint, types, import contracts, generated files in sync; under a minute
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy crds/alignment_api operator/alignment_operator trainer_image/alignment_trainer tests
	@$(BIN)/lint-imports
	@$(BIN)/python -m alignment_api.crd.generate --check

generate: venv  ## CRD, chart copy and field reference from the API models
	@$(BIN)/python -m alignment_api.crd.generate

format: venv  ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

cluster-up:  ## a real Kubernetes on this machine (NODES=1|2); prints its KUBECONFIG
	@$(CLUSTER) up --nodes $(NODES)

cluster-down:  ## end it and remove everything it made
	@$(CLUSTER) down

images:  ## build the operator and trainer images (REGISTRY=host/path pushes them there)
	@$(CLUSTER) images $(if $(REGISTRY),--registry $(REGISTRY))

bench: venv  ## the benchmarks of tests/bench
	@$(CLUSTER) prepare
	@$(BIN)/python -m tests.bench $(ARGS)

venv: $(VENV_STAMP)

$(VENV_STAMP):
	@echo "virtual environment: installing the versions of constraints.txt (once, about two minutes)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(REQUIREMENTS) | $(BIN)/python -m pip install --quiet -c constraints.txt -r /dev/stdin
	@touch $@

clean:  ## remove the caches of this checkout (not the builds in the user's cache directory)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
