# The verbs. Each does the set-up it needs; a second call does not install again.
# Everything here is a convenience over commands that README.md lists as well.

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# The first of these that is Python 3.11 to 3.13 makes the environment; make PYTHON=... names another.
PYTHON ?= python3 python3.11 python3.12 python3.13 python
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
# A machine with an NVIDIA driver gets TensorFlow's CUDA libraries too.
comma := ,
EXTRAS := test,tensorboard$(if $(shell command -v nvidia-smi 2>/dev/null),$(comma)cuda)

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo
	@echo "  Options go in ARGS:  make train ARGS='--recipe modern --epochs 5'"

setup: $(READY) ## a virtual environment in .venv with everything this project needs

train: $(READY) ## train the default recipe, draw its curves, say what happened
	@$(RUN) train_loop.py $(ARGS)
	@$(RUN) analysis/curves.py
	@$(RUN) analysis/diagnose.py --summary

test: $(READY) ## run the tests (some minutes)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m pytest $(ARGS)

debug: $(READY) ## pdb at the first line of train_step: eager, tiny batch, built-in data
	@$(RUN) train_loop.py --recipe debug --pdb $(ARGS)

modern: $(READY) ## train the recipe with batch norm and augmentation (longer)
	@$(RUN) train_loop.py --recipe modern $(ARGS)
	@$(RUN) analysis/curves.py
	@$(RUN) analysis/diagnose.py --summary

fast: $(READY) ## the speed records' network, and where it lands on the front of accuracy against minutes
	@$(RUN) train_loop.py --recipe fast $(ARGS)
	@$(RUN) analysis/curves.py
	@$(RUN) analysis/front.py

curves: $(READY) ## draw the latest run again (ARGS='RUN1 RUN2' to overlay runs)
	@$(RUN) analysis/curves.py $(ARGS)

diagnose: $(READY) ## what is wrong with the latest run, on what evidence, and what to try
	@$(RUN) analysis/diagnose.py $(ARGS)

replay: $(READY) ## take a step of a run again (ARGS='RUN --step N', with --pdb to stop inside it)
	@$(RUN) analysis/replay.py $(ARGS)

zoo: $(READY) ## record the disease zoo again in runs/zoo and score the detectors on it (some minutes)
	@$(RUN) analysis/zoo.py --out runs/zoo $(ARGS)
	@$(RUN) analysis/zoo.py --score --out runs/zoo

throughput: $(READY) ## images a second, this loop beside Keras fit (and PyTorch, if installed)
	@$(RUN) analysis/throughput.py $(ARGS)

layers: $(READY) ## run every essay of layers_explained and draw its figure
	@set -e; for page in docs/layers/*.md; do $(RUN) layers_explained/$$(basename $$page .md).py $(ARGS); done

$(READY): pyproject.toml
	@for python in $(PYTHON) none; do $$python -c '$(SUITS)' 2>/dev/null && break; done; \
	if [ $$python = none ]; then \
	    echo "no Python 3.11, 3.12 or 3.13 among: $(PYTHON); install one, or name it: make PYTHON=/path/to/python3"; exit 1; fi; \
	echo "setting up $(VENV) with $$python [$(EXTRAS)]: a minute or some, once"; \
	$$python -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@touch $@

.PHONY: help setup train test debug modern fast curves diagnose replay zoo throughput layers
