# Two commands for everybody: `make demo` and `make test`. They set up what they need in .venv.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ROOMS := ddtp chain provider holder receiver demo

.PHONY: demo test lint format spec lock tools clean

demo: .make/core
	@$(BIN)/ddtp demo $(ARGS)

# All tests, a file of them on each core; `make test ARGS="tests/test_grant.py -x"` runs some, in their order.
test: .make/dev tools
	@$(BIN)/python -m pytest $(or $(ARGS),-n auto --dist loadfile)

lint: .make/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .make/dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# What of the specification is written by programs: the table of all refusals, and the vectors.
spec: .make/dev
	@$(BIN)/python -m ddtp.words.table > spec/errors.md
	@$(BIN)/python -m tests.making

# Programs of other people that some tests run beside ours; those tests are skipped where they cannot be had.
tools:
	@sh tests/tools.sh

# Install exactly what the lock files name, each file checked by its hash, then this tree itself.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version.split()[0])'
	@echo "setting up .venv (once)" >&2
	@$(PYTHON) -m venv .venv

.make/core: pyproject.toml requirements/core.txt requirements/build.txt | $(BIN)/python
	@mkdir -p .make
	@$(PIP) install --require-hashes -r requirements/core.txt
	@$(PIP) install --require-hashes -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q $(ROOMS) || true # so that the first command starts as fast as the second
	@touch $@

.make/dev: requirements/dev.txt .make/core | $(BIN)/python
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

# Choose versions anew; `make lock UPGRADE=` only adds what is missing. The files carry no address: pip asks whatever
# index it is set up with.
UPGRADE ?= --upgrade
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet $(UPGRADE)
lock: .make/core
	@$(PIP) install uv
	@$(LOCK) pyproject.toml --group dev --extra uvloop --extra evm --extra report -o requirements/dev.txt
	@$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/core.txt
	@echo hatchling | $(LOCK) - -c requirements/dev.txt -o requirements/build.txt

clean:
	@rm -rf .make .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
