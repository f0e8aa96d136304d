# One command each; `make help` lists them. Needs Python >= 3.11, make and pip; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := platform trainers dashboards tests docs
.DEFAULT_GOAL := help
.PHONY: help setup demo test browser test-long check format bench chaos evidence gpu-evidence pictures clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## install everything into .venv (again only when the requirements change)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("rml needs Python 3.11 or newer; try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[weights,dev]'
	@touch $@

demo: $(STAMP) ## the embedded study end to end: Ray, MLflow, table (minutes, no download)
	$(BIN)/rml demo

check: $(STAMP) ## formatting, lint and types of code and tests
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)

# One process per core with one thread each; then what starts Ray, which wants the machine for itself.
test: check ## check, then every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile -m "not ray and not browser and not long"
	$(BIN)/python -m pytest -m "ray and not long"

test-long: $(STAMP) ## what takes minutes on a cluster of this machine
	$(BIN)/python -m pytest -m long

browser: $(STAMP) ## the live page at every size, theme and page, in the Chromium of this machine (minutes)
	$(BIN)/python -m pytest -m browser tests/integration/browser

format: $(STAMP) ## let ruff format and mend what it can
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: $(STAMP) ## speed and memory as ratios measured in one run (about ten minutes)
	$(BIN)/python -m rml_benchmarks all

chaos: $(STAMP) ## a small grid while processes, nodes, files and MLflow fail, compared with itself left alone (hours)
	$(BIN)/rml chaos tests/distributed/faults/scenes.yaml $(or $(ARGS),--rounds 100)

evidence: $(STAMP) ## the evidence on drawn scenes: train what is missing, then table, statistics, figures, report, records
	$(BIN)/python -m rml_benchmarks.evidence $(or $(ARGS),search_spaces/evidence_scenes.yaml)

# Neither the network nor Ray nor MLflow is needed, so a machine without .venv takes the Python that it has.
gpu-evidence: ## on one GPU: step times at the paper's sizes, then the medium ladder (ARGS="--minutes 180 --to DIR")
	PYTHONPATH=tests/benchmarks:trainers $(or $(wildcard $(BIN)/python),$(PYTHON)) -m rml_benchmarks.gpu_evidence $(ARGS)

pictures: demo ## the README's pictures, drawn again from the demo's runs
	$(BIN)/python docs/pictures/draw.py

clean: ## remove the virtual environment, caches and build output (never ./outputs)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
