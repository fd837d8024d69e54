# Commands of the project; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAGES := data train export infer sv
PROJECTS := $(STAGES:%=projects/%)
READY := $(VENV)/.ready

DIRECTORY ?= demo-run
SEED ?=
STRAIN ?=

.DEFAULT_GOAL := help
.PHONY: help demo server test lint format coverage bench constraints clean

help:  ## List the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY)  ## Install, then train a small search and find an event in real strain [DIRECTORY= SEED= STRAIN=]
	@# With SEED or STRAIN it refuses a directory that was made with others.
	@test -e $(DIRECTORY)/run.sh -a -z "$(SEED)$(STRAIN)" || \
	  $(BIN)/aframe-init offline --mode sandbox --preset demo --directory $(DIRECTORY) \
	  $(if $(SEED),--seed $(SEED)) $(if $(STRAIN),--strain $(STRAIN))
	@bash $(DIRECTORY)/run.sh
	@echo "The report: $(DIRECTORY)/results/report.html"

server: $(READY)  ## Make .venv-server, the environment of a Triton server (CPU or GPU, Linux)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-server
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(VENV)-server/bin/python \
	  --requirement projects/infer/server.txt

test: $(READY)  ## Install, then run all tests
	@echo "Running the tests on two processes"
	@# Hundreds of processes load our code; with PYTHONDONTWRITEBYTECODE each would compile it.
	-@$(BIN)/python -m compileall -q aframe projects
	@# One thread each: threads of several processes that wait for one another cost minutes.
	@# Where it sees CI pytest shows all that differs, which of two files of bytes takes it hours.
	env -u CI -u BUILD_NUMBER OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup $(TESTS)

lint: $(READY)  ## Check format, style, types and spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(READY)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

coverage: $(READY)  ## Run the tests and show the branches they miss
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup --cov --cov-branch --cov-report=term-missing:skip-covered $(TESTS)

bench: $(READY)  ## Measure speed, as ratios within one run
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

constraints: $(READY)  ## Write constraints.txt anew from what the projects ask for
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --all-extras --group pyproject.toml:dev \
	  $(if $(UPGRADE),--upgrade) --output-file constraints.txt \
	  pyproject.toml $(PROJECTS:%=%/pyproject.toml)
	@sed -i -E '/^(-e |aframe|\.)/d; s|^\./.*||' constraints.txt

clean:  ## Remove the environment and what tools left
	rm -rf $(VENV) $(VENV)-server .pytest_cache .ruff_cache .mypy_cache .hypothesis

# The environment, made anew when a version or a dependency changed.
$(READY): constraints.txt pyproject.toml $(PROJECTS:%=%/pyproject.toml)
	@echo "Installing into $(VENV): 7 GB and some minutes, once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: error: aframe needs Python 3.11 or newer; name one with PYTHON=" >&2; exit 2; }
	@# A Debian without python3-venv makes an environment without pip, which its own pip can fill.
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --without-pip --clear $(VENV)
	@pip="$(BIN)/python -m pip"; $$pip --version >/dev/null 2>&1 || pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	  $$pip --version >/dev/null 2>&1 || \
	  { echo "make: error: this Python has neither venv nor pip; on Debian: apt install python3-venv" >&2; exit 2; }; \
	  $$pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --constraint constraints.txt \
	  --build-constraint constraints.txt --group pyproject.toml:dev \
	  --editable . $(PROJECTS:%=--editable %) --editable 'projects/train[tune]'
	@touch $@
