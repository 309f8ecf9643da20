# The two commands are `make run` and `make test`; README.md has the same without make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes of one thread each do more than one of two threads: see benchmarks/README.md.
ONE_CORE := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=600 --nbval-kernel-startup-timeout=180
NOTEBOOK_TESTS := $(ONE_CORE) $(BIN)/pytest -n 2 --dist loadscope $(NBVAL)
COLAB_VENV := .venv-colab
NEWEST_VENV := .venv-newest
BUILD_VENV := .venv-build
# What `make lesson` takes as NAME: a lesson with its solution, or the report of a study.
NAMES := $(basename $(notdir $(wildcard notebooks/*.ipynb))) $(patsubst studies/%/report.ipynb,%,$(wildcard studies/*/report.ipynb))
NAMED = $(wildcard notebooks/$(NAME).ipynb notebooks/solutions/$(NAME).ipynb studies/$(NAME)/report.ipynb)

.DEFAULT_GOAL := help
.PHONY: help install run test lint digits lessons lesson names units lab full margins render weights evidence \
  site bench test-colab test-newest mutants wheel release-models lock stamp
.NOTPARALLEL:

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

install: $(VENV)/installed  ## the locked environment, in .venv; the others do so themselves

run: $(VENV)/installed  ## every notebook, quick; installs what it needs first
	$(BIN)/aelib run --jobs 2

test: lint digits lessons units  ## everything that CI runs, in under 30 minutes

lint: $(VENV)/installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

digits: $(VENV)/installed  ## four lessons on the drawn digits
	$(BIN)/aelib run 00 03 07 08 -p dataset digits --out runs/digits --force --jobs 2

lessons: $(VENV)/installed  ## every lesson, solution and report of a study, as a test
	$(NOTEBOOK_TESTS) notebooks/*.ipynb notebooks/solutions/*.ipynb studies/*/report.ipynb

lesson: $(VENV)/installed  ## one of them: make lesson NAME=04_sparse
	$(if $(NAMED),,$(error NAME must be one of: $(NAMES). Received: NAME=$(NAME)))
	$(NOTEBOOK_TESTS) $(NAMED)

names:  ## the names that `make lesson` takes
	@echo $(NAMES)

units: $(VENV)/installed  ## the tests of the library, the command and the checkout
	$(ONE_CORE) $(BIN)/pytest -n 3 --dist loadfile --count-skips tests

lab: $(VENV)/installed  ## JupyterLab with the notebooks
	$(BIN)/jupyter lab notebooks

# Its numbers are kept in results/. Missed aims (see README) do not stop it.
full: $(VENV)/installed  ## published sizes on real data; hours
	-$(BIN)/aelib run --profile full
	mkdir -p results
	for folder in runs/full/*/; do cp $$folder/results.json results/$$(basename $$folder).json; done
	$(BIN)/python tools/results_table.py results results/README.md

# Datasets that the notebooks were written for; 10 needs faces.
margins: $(VENV)/installed  ## every claim over five seeds and two datasets: results/margins.csv; two hours
	-$(BIN)/aelib grid 00 01 02 03 04 05 06 07 08 09 11 12 13 -p seed 0:5 -p dataset mnist -p dataset digits
	-$(BIN)/aelib grid 10 -p seed 0:5
	cp runs/grid/margins.csv results/margins.csv

render: $(VENV)/installed  ## runs every notebook and report on the real MNIST and stores the outputs
	$(BIN)/python tools/render.py
	$(BIN)/python tools/render.py studies/*/report.ipynb
	$(BIN)/python tools/gallery.py
	$(BIN)/python tools/picture.py
	$(BIN)/python tools/live.py

evidence: $(VENV)/installed  ## every study, full, and its table into results/; hours
	for study in studies/*/; do name=$$(basename $$study); \
	  $(BIN)/aelib grid $$study --profile full && cp runs/studies/$$name-full/runs.csv results/$$name.csv || exit 1; \
	done

# Under the oldest Keras of the range: later ones open what it writes, but not the reverse.
weights: $(COLAB_VENV)/installed  ## trains the models that lessons show, if they are not there
	$(COLAB_VENV)/bin/python tools/make_weights.py $(NAMES)

# A warning is an error. What is there already is used again: `rm -r build` for a fresh one.
site: $(VENV)/installed  ## the lessons, the library and the claims as pages: build/site/index.html
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/doctrees . build/site
	@echo "Open build/site/index.html"

bench: $(VENV)/installed  ## how fast training is, beside plain Keras, PyTorch and JAX
	$(BIN)/python benchmarks/fit_speed.py
	$(BIN)/python benchmarks/first_fit.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/drawing_speed.py
	$(BIN)/python benchmarks/workers.py

test-colab: $(COLAB_VENV)/installed  ## the library's tests under what Colab ships
	$(COLAB_VENV)/bin/pytest tests --ignore=tests/runner

test-newest:  ## the same under the newest TensorFlow and Keras, installed afresh
	$(PYTHON) -m venv --clear $(NEWEST_VENV)
	$(NEWEST_VENV)/bin/pip install -q -e '.[test]'
	$(NEWEST_VENV)/bin/pytest tests --ignore=tests/runner

# CONTRIBUTING.md has what it found. Some hours; with SAMPLE=60 a part of the changes.
mutants: $(VENV)/installed  ## how many small changes to the mathematical modules the tests notice
	$(BIN)/pip install -q -e '.[mutation]'
	$(ONE_CORE) $(BIN)/python tools/mutants.py $(if $(SAMPLE),--sample $(SAMPLE))

# With TAG, as in a release, the tag must name the version.
wheel:  ## wheel and source archive in dist/: make wheel [TAG=v0.2.0]
	$(PYTHON) -m venv --clear $(BUILD_VENV)
	$(BUILD_VENV)/bin/pip install -q build twine
	rm -rf dist
	$(BUILD_VENV)/bin/python -m build -q
	$(BUILD_VENV)/bin/twine check --strict dist/*
	$(if $(TAG),test -f dist/aelib-$(TAG:v%=%).tar.gz)

# Once for each release; under the oldest Keras, as above.
release-models: $(COLAB_VENV)/installed  ## small models that every later release must open: tests/releases
	$(COLAB_VENV)/bin/python tools/make_release_model.py

lock:  ## requirements.txt and environment.yml from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra test --universal --no-annotate --no-header -q -o requirements.txt
	$(PYTHON) tools/environment.py > environment.yml

stamp: $(VENV)/installed  ## writes the public address everywhere: make stamp REPO=owner/name
	$(BIN)/python tools/stamp.py $(REPO)

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -r requirements.txt
	$(BIN)/pip install -q --no-deps -e .
	touch $@

$(COLAB_VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(COLAB_VENV)
	$(COLAB_VENV)/bin/pip install -q -e '.[test]' tensorflow==2.20.0 keras==3.13.2
	touch $@
