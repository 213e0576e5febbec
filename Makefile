# Two commands: `make demo` shows the product, `make test` proves it. Both set up what they need.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup demo pocket test test-fast lint clean
help:
	@echo "make demo       set up, render sample effects, run raw videos -> catalogue -> model -> clips; open demo/report.html"
	@echo "make test       set up, lint, run every test"
	@echo "make test-fast  the same without the slow end-to-end tests"
	@echo "make pocket     train the pocket backbones, a hypernetwork and a small CLIP from nothing (hours on a CPU; goes on when killed)"
	@echo "make clean      remove the demo and the environment"

setup: $(STAMP)

# DeepSpeed builds from source against the installed torch, so it comes second and without build isolation.
# fastvideo, which some metrics are checked against, pins another torch and installs packages called `tests` and
# `examples`: it lies in a folder of its own, which one test alone looks into.
$(STAMP): requirements.lock requirements-beside.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v[:2] != (3, 11) and f"Python 3.11 is needed, {v[0]}.{v[1]} found: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the pinned environment into .venv (about 7 GB, a few minutes, once) ..."
	@grep -v '^deepspeed==' requirements.lock > .venv/first.txt
	@grep '^deepspeed==' requirements.lock > .venv/second.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -r .venv/first.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -r .venv/second.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/beside -r requirements-beside.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/video2lora sample demo/videos --categories 6 --per-category 6 --seed 0
	@$(BIN)/video2lora run demo/videos --workdir demo --set 'cluster.held_out_categories=["tint"]'

pocket: $(STAMP)
	@$(BIN)/video2lora pocket training/pocket --work pocket-work
	@$(BIN)/video2lora pocket training/pocket-wan --family wan --work pocket-work

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

# Two processes, each a whole file at a time, the longest first (tests/conftest.py).
TEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: lint
	@$(TEST)

test-fast: lint
	@$(TEST) -m "not slow"

clean:
	rm -rf demo .venv build *.egg-info
