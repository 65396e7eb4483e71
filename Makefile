# AmendBench: each target is one command; `amendbench` in $(VENV)/bin does the same without make.

PYTHON  ?= python3
VENV    ?= .venv
TASK    ?=
SUITE   ?= embedded
METHODS ?=
METHOD  ?=
SCENARIOS ?=
SEEDS   ?= 3
JOBS    ?=
DEVICE  ?= cpu
RESULTS ?= results
REPORTS ?= reports
FRESH   ?=
ENSEMBLE ?=
ENGINE  ?= local
CLUSTER ?=
STUDY   ?=

READY := $(VENV)/.ready
BENCH := $(VENV)/bin/amendbench

which   = $(if $(TASK),--task '$(TASK)') --suite '$(SUITE)'
chosen  = $(if $(SCENARIOS),--scenarios '$(SCENARIOS)') $(if $(METHODS),--methods '$(METHODS)') $(if $(METHOD),--method '$(METHOD)')
where   = --results '$(RESULTS)' --reports '$(REPORTS)'
how     = $(if $(JOBS),--jobs '$(JOBS)') --device '$(DEVICE)'
engine  = --engine '$(ENGINE)' $(if $(CLUSTER),--cluster '$(CLUSTER)')

.DEFAULT_GOAL := help
.PHONY: help setup bench report status collect check speed verify tune study claims test long nightly docs lint clean

help: ## show this help
	@echo 'make bench TASK=class-forget    run a task of a suite and print its board'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  bench takes TASK, SUITE=embedded, SCENARIOS, METHODS (a,b), METHOD=mine.py:name, SEEDS=3, JOBS, DEVICE=cpu, RESULTS, REPORTS, FRESH=1, ENSEMBLE=32, ENGINE=slurm, CLUSTER'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo '$(PYTHON) is older than Python 3.11: make setup PYTHON=python3.12'; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[vision,tune,data,text,lrp,gan,slurm,speed,docs,dev]'
	@touch $@

setup: $(READY) ## make the environment in .venv

bench: $(READY) ## run what is not cached, then print and render the board
	@$(BENCH) bench $(which) $(chosen) --seeds '$(SEEDS)' $(how) $(where) $(engine) $(if $(FRESH),--fresh) $(if $(ENSEMBLE),--ensemble '$(ENSEMBLE)')

report: $(READY) ## render reports/ from results/
	@$(BENCH) report $(where)

status: $(READY) ## say what is done, running, failed and left
	@$(BENCH) status $(which) $(chosen) --seeds '$(SEEDS)' --device '$(DEVICE)' --results '$(RESULTS)'

collect: $(READY) ## print the board of what was submitted (ENGINE=slurm) and render the reports
	@$(BENCH) collect $(where)

check: $(READY) ## the regression gate: run a small set of cells again and compare with the committed records
	@$(BENCH) check --results '$(RESULTS)' $(if $(JOBS),--jobs '$(JOBS)')

speed: $(READY) ## time hot paths beside the plain way of writing them
	@$(BENCH) speed --device '$(DEVICE)' $(where)

verify: $(READY) ## score stored predictions again and check every record
	@$(BENCH) verify --results '$(RESULTS)'

tune: $(READY) ## choose hyper-parameters on the selection split and write them to the suite
	@$(BENCH) tune $(which) $(chosen) $(how) --results '$(RESULTS)'

study: $(READY) ## run a study (STUDY=svd-samples) and write its page; without STUDY a list of them
	@$(BENCH) study $(if $(STUDY),'$(STUDY)' $(how) $(where) $(if $(FRESH),--fresh),--list)

claims: $(READY) ## check the papers' claims over the records and write reports/claims.md
	@$(BENCH) claims $(where)

test: $(READY) ## run the tests
	$(VENV)/bin/python -m pytest -n auto --dist worksteal --benchmark-disable -m 'not long'

long: $(READY) ## the tests that take longest: the gate with regressions, cells twice, runs that are killed, tasks of a cluster
	$(VENV)/bin/python -m pytest -n auto --dist worksteal --benchmark-disable -m long

nightly: $(READY) ## the long profiles: a hundred kills, 10,000 hostile inputs, every cell of a seed twice
	AMENDBENCH_TESTS=nightly $(VENV)/bin/python -m pytest -n auto --dist worksteal --benchmark-disable -m nightly

docs: $(READY) ## build the documentation's site in build/docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

lint: $(READY) ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean: ## remove the environment and what tools left; results/, reports/ and the cache stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
