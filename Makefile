# Two commands do all the set-up: `make run` and `make test`. Each makes its own environment in .venv, from locked dependencies.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.run
DEV_STAMP := $(VENV)/.dev

.PHONY: run demo test quick lint types contracts check bench simulate crash files docs lock clean

run: $(RUN_STAMP) ## watch this machine with the shipped playbooks; proposes, does not act
	AIOS_MODE_MAX=$${AIOS_MODE_MAX:-suggest} $(BIN)/aios run

demo: $(RUN_STAMP) ## break a small real service and watch it heal
	$(BIN)/aios demo

test: $(DEV_STAMP) ## the whole test suite
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not systemd'
	$(BIN)/pytest -m systemd

quick: $(DEV_STAMP) ## without the slow tests and without a real systemd: two minutes or so
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not slow and not systemd' -x

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP)
	$(BIN)/mypy

contracts: $(DEV_STAMP) ## imports go down the floors, and brains stay pure
	$(BIN)/lint-imports --no-cache

check: lint types contracts test

bench: $(DEV_STAMP) ## every benchmark, as JSON; history alone takes minutes and 2.5 GB below BENCH_DIR (BENCH_EVENTS=1000000: a tenth)
	$(BIN)/python -m tests.bench

HOURS ?= 100
SEED ?= 1
simulate: $(DEV_STAMP) ## simulated hours with faults: make simulate HOURS=100 SEED=7
	$(BIN)/python -m tests.simulation --hours $(HOURS) --seed $(SEED)

KILLS ?= 1000
crash: $(DEV_STAMP) ## a real daemon killed at so many random moments and at every call of its journal: make crash KILLS=1000
	CRASH_KILLS=$(KILLS) $(BIN)/pytest tests/integration/test_daemon_crash.py tests/integration/test_daemon_crash_calls.py tests/integration/test_daemon_crash_recovery.py

files: $(DEV_STAMP) ## every file of aios/ with the sentence that it says of itself
	@$(BIN)/python -m tests.docs.files

docs: $(DEV_STAMP) ## write the generated references again
	$(BIN)/python -m aios.cli.docs

lock: ## after a change of dependencies in pyproject.toml (needs uv)
	uv pip compile -q pyproject.toml --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 -o requirements.lock
	uv pip compile -q pyproject.toml --group dev --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 -o requirements-dev.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "aios needs Python 3.11 to 3.14 with venv; on Debian: apt-get install python3 python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): $(VENV)/pyvenv.cfg requirements.lock pyproject.toml
	@echo "installing AIOS into $(VENV): once, about a minute"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) requirements-dev.lock
	@echo "installing what the tests need into $(VENV): once, about a minute"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
