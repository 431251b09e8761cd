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
EXTRAS := test$(if $(shell command -v nvidia-smi 2>/dev/null),$(comma)cuda)

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo
	@echo "  Options go in ARGS:  make train ARGS='--recipe modern --epochs 5'"

setup: $(READY) ## a virtual environment in .venv with everything this project needs

train: $(READY) ## train the default recipe, draw its curves, say what happened
	@$(RUN) train_loop.py $(ARGS)
	@$(RUN) analysis/curves.py

test: $(READY) ## run the tests (some minutes)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m pytest $(ARGS)

debug: $(READY) ## pdb at the first line of train_step: eager, tiny batch, built-in data
	@$(RUN) train_loop.py --recipe debug --pdb $(ARGS)

modern: $(READY) ## the same for the recipe with batch norm and augmentation (longer)
	@$(RUN) train_loop.py --recipe modern $(ARGS)
	@$(RUN) analysis/curves.py

curves: $(READY) ## draw the latest run again (ARGS='RUN1 RUN2' to overlay runs)
	@$(RUN) analysis/curves.py $(ARGS)

throughput: $(READY) ## images a second, this loop and Keras fit side by side
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

.PHONY: help setup train test debug modern curves throughput layers
