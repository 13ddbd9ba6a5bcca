# `make run` and `make test` need nothing but Python 3.11 or newer: they set everything up themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check clean

run: $(VENV)/.installed
	$(BIN)/sweepdiag run

test: $(VENV)/.installed
	./scripts/test

check: $(VENV)/.installed
	./scripts/check

clean:
	rm -rf $(VENV)

# constraints.txt holds the versions that the tests ran with; torch among them, for the CPU.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	touch $@
