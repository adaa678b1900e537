# `make demo` and `make test` need Python 3.11+ and make, nothing else: each sets up what it uses in .venv.

# The first Python that runs and is new enough; a shim that only exists does not count.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test bench fuzz lint lock clean

help:  ## show this
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

demo: $(STAMP)  ## record, prove and tamper on real signatures, without network
	@$(BIN)/hubledger demo

test: $(STAMP)  ## run every test that this machine can run
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(STAMP)  ## measure the figures of docs/benchmarks.md (NAMES="record audit …")
	@$(BIN)/python -m tests.bench $(NAMES)

fuzz: $(STAMP)  ## bend what comes from outside, for a minute (FUZZ_SECONDS=3600, FUZZ_SEED=n)
	@$(BIN)/python -m tests.fuzz

lint: $(STAMP)  ## style, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock:  ## pin every dependency again, with hashes (needs uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --extra hf --extra kms --extra notify --extra oms --extra publish --extra server --group dev \
		--custom-compile-command "make lock" --quiet pyproject.toml -o requirements.lock

clean:  ## remove what make made
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .bench .fuzz

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hubledger needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute)…"
	@rm -f $(STAMP)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)
