# Two commands do everything on a fresh machine (Debian, Python 3.11, make): `make run` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: setup run test check unit clean

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml client/pyproject.toml
	@scripts/setup "$(PYTHON)"

run: setup
	@$(BIN)/floodmark dev --data data --flights examples/flights/flights-2013-01.csv.gz

check: setup ## format, lint, types and import rules
	@scripts/check

unit: setup ## the tests alone
	@scripts/test

test: setup ## everything that must hold before a change lands
	@scripts/check
	@scripts/test

clean:
	rm -rf .venv data dist build .pytest_cache .mypy_cache .ruff_cache
