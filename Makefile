# `make demo` and `make test` set up all that they need, in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PACKAGING := setup.cfg pyproject.toml

.PHONY: demo test test-all lint format clean

demo: $(VENV)/demo.stamp  ## train the quickstart recipe on generated pictures
	$(BIN)/hieraseg run recipes/quickstart.yaml

test: $(VENV)/test.stamp  ## run the tests
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 8 --dist worksteal

test-all: $(VENV)/test.stamp  ## run the slow tests, too
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(VENV)/test.stamp  ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hieraseg needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Byte code is compiled on all cores, which pip does on one. A few files of packages cannot be.
$(VENV)/demo.stamp: EXTRAS := weights
$(VENV)/test.stamp: EXTRAS := dev,weights
$(VENV)/demo.stamp $(VENV)/test.stamp: $(BIN)/python $(PACKAGING)
	$(BIN)/python -m pip install --no-compile --editable '.[$(EXTRAS)]'
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib framework plugins > /dev/null 2>&1 || true
	touch $@
