# The verbs. Each does the set-up it needs; a second call does not install again.
# Everything here is a convenience over commands that README.md lists as well.

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# The first of these that is Python 3.11 to 3.13 makes the environment; make PYTHON=... names another.
PYTHON ?= python3 python3.11 python3.12 python3.13 python
# The wheels of an offline kit (make offline-kit) are for some of these versions.
SUITS := import glob, sys; wheels = glob.glob("wheels/tensorflow-*"); tag = "-cp%d%d-" % sys.version_info[:2]; \
    sys.exit(not (3, 11) <= sys.version_info < (3, 14) or bool(wheels) and not any(tag in wheel for wheel in wheels))
# With the folder wheels/ of an offline kit nothing is asked of the network.
OFFLINE := $(if $(wildcard wheels/*.whl),--no-index --find-links wheels)
# A machine with an NVIDIA driver gets TensorFlow's CUDA libraries too; an offline kit has none.
comma := ,
EXTRAS := test,tensorboard$(if $(OFFLINE),,$(if $(shell command -v nvidia-smi 2>/dev/null),$(comma)cuda))
# make train RUN=NAME names the new run; make curves, diagnose and replay take the runs that are meant.
RUN :=
# make train DEVICES=2 or WORKERS=2: two devices of one process, or two processes, take every step together.
DEVICES :=
WORKERS :=
HOSTS :=
# make check EX=03 checks one exercise of docs/exercises.
EX :=
WALKTHROUGHS := $(filter-out %/__init__.py,$(wildcard layers_explained/*.py))

# $(call train,OPTIONS,SCRIPT): train, then draw, diagnose and report that very run. train_loop.py writes the folder of its run
# into the file that $GLASSBOX_RUN_FILE names; after --help it is empty, and there is nothing to draw.
define train
@note=$$(mktemp) && trap 'rm -f "$$note"' EXIT INT TERM && \
GLASSBOX_RUN_FILE=$$note $(PY) $(if $(WORKERS),-m core.run.launch --workers $(WORKERS),train_loop.py) \
$(1) $(if $(RUN),--run $(RUN)) $(if $(DEVICES),--devices $(DEVICES)) $(ARGS) && \
if [ -s "$$note" ]; then folder=$$(cat "$$note") && $(PY) analysis/curves.py "$$folder" && $(PY) $(2) "$$folder" && \
$(PY) analysis/report.py "$$folder"; fi
endef

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo
	@echo "  Options go in ARGS, names in RUN:  make train RUN=first ARGS='--recipe modern --epochs 5'"

doctor: ## is this machine ready? what is missing and what to do, in ten seconds; before make setup too
	@for suits in '$(SUITS)' 'import sys; sys.exit(sys.version_info < (3, 8))'; do \
	for python in $(PY) $(PYTHON) none; do $$python -c "$$suits" 2>/dev/null && break 2; done; done; \
	if [ $$python = none ]; then echo "no Python 3 among: $(PYTHON); install Python 3.11, 3.12 or 3.13"; exit 1; fi; \
	$$python core/doctor.py $(ARGS)

setup: $(READY) ## a virtual environment in .venv with everything this project needs

train: $(READY) ## train the recipe classic, draw its curves, say what happened, write report.html (RUN=NAME names it)
	$(call train,,analysis/diagnose.py --summary)

# What to type on each of several machines that train together: make workers HOSTS="a b" (docs/devices.md).
workers: $(READY)
	@$(PY) -m core.run.launch --hosts $(if $(HOSTS),$(HOSTS),$(error make workers HOSTS="a b": name the machines)) $(ARGS)

test: $(READY) ## run the tests, several files at once (some minutes)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

debug: $(READY) ## pdb at the first line of train_step: eager, tiny batch, built-in data; nothing is kept
	@runs=$$(mktemp -d) && trap 'rm -rf "$$runs"' EXIT INT TERM && \
	$(PY) train_loop.py --recipe debug --pdb --runs-dir "$$runs" $(ARGS)

modern: $(READY) ## train the recipe modern: batch normalization and augmentation (longer)
	$(call train,--recipe modern,analysis/diagnose.py --summary)

fast: $(READY) ## train the recipe fast: the network of the speed records, and its point on the Pareto front
	$(call train,--recipe fast,analysis/benchmarks/pareto_front.py)

curves: $(READY) ## draw the latest run again (RUN=NAME: another, RUN='ONE TWO': both in one figure)
	@$(PY) analysis/curves.py $(RUN) $(ARGS)

diagnose: $(READY) ## what is wrong with the latest run, on what evidence, and what to try (RUN=NAME: another)
	@$(PY) analysis/diagnose.py $(RUN) $(ARGS)

report: $(READY) ## one HTML page about the latest run (RUN=NAME: another, RUN='ONE TWO': compared)
	@$(PY) analysis/report.py $(RUN) $(ARGS)

replay: $(READY) ## take a step of the latest run again (RUN=NAME ARGS='--step N'; --pdb stops inside it)
	@$(PY) analysis/replay.py $(RUN) $(ARGS)

faults: $(READY) ## record the fault collection in runs/faults and score the diagnoses on it (20 minutes)
	@$(PY) analysis/diagnosis/faults.py --out runs/faults $(ARGS)
	@$(PY) analysis/diagnosis/faults.py --score --out runs/faults

study: $(READY) ## what each architecture choice buys, measured (hours; ARGS=--small: ten minutes; it resumes)
	@$(PY) analysis/study.py $(ARGS)

lessons: $(READY) ## run every command of the lessons and compare with the numbers they state (five minutes)
	@$(PY) tests/run_lessons.py $(ARGS)

check: $(READY) ## check exercise EX=NN (ARGS=--hint, --reset); without EX, watch all and show progress
	@$(PY) docs/exercises/check.py $(EX) $(ARGS) || [ $$? = 1 ]

offline-kit: $(READY) ## a folder for machines without network: project, wheels, data, checksums (1.5 GB)
	@$(PY) docs/offline_kit.py $(ARGS)

throughput: $(READY) ## images a second, this loop beside Keras fit (and PyTorch, if installed)
	@$(PY) analysis/benchmarks/throughput.py $(ARGS)

layers: $(READY) ## run every walkthrough of layers_explained and draw its figure
	@set -e; for name in $(WALKTHROUGHS); do $(PY) $$name $(ARGS); done

$(READY): pyproject.toml
	@for python in $(PYTHON) none; do $$python -c '$(SUITS)' 2>/dev/null && break; done; \
	if [ $$python = none ]; then \
	    echo "no Python 3.11, 3.12 or 3.13 $(if $(OFFLINE),that wheels/ is for )among: $(PYTHON); install one, or name it: \
	make PYTHON=/path/to/python3"; exit 1; fi; \
	echo "setting up $(VENV) with $$python [$(EXTRAS)]$(if $(OFFLINE), from wheels/): a minute or some, once"; \
	$$python -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check $(OFFLINE) --editable ".[$(EXTRAS)]"
	@touch $@

.PHONY: help doctor setup train workers test debug modern fast curves diagnose report replay faults study lessons check
.PHONY: offline-kit throughput layers
