# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)

ROUNDS ?= 3
WRITE ?=
BENCH := .venv-bench/bin/python

.PHONY: demo test test-slow lint lock check-lock mutants bench bench-growth bench-gpu clean

$(BIN)/python:
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --upgrade "pip>=25.1"

.venv/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e .
	touch $@

.venv/.dev: .venv/.run
	$(PIP) install --quiet -c constraints.txt --group dev
	touch $@

demo: .venv/.run      ## install, fit a VAE to scikit-learn's digits, evaluate it, write a sheet of samples
	$(BIN)/vael fit digits -o $(RUN)
	$(BIN)/vael evaluate $(RUN)
	$(BIN)/vael sample $(RUN) -n 64

test: .venv/.dev      ## install, run the fast tests on one torch thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

test-slow: .venv/.dev ## the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

lint: .venv/.dev      ## style, types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

mutants: .venv/.dev   ## plant the mistakes of tools/mutants.toml one at a time; a test must fail for each
	$(BIN)/python tools/mutants.py

check-lock: .venv/.dev ## the pins that keep an install small and importable
	$(BIN)/python tools/check_lock.py

lock: .venv/.dev      ## rewrite constraints.txt
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --quiet -o constraints.txt

# The packages that vael is measured beside live apart from the development environment. One that cannot be installed
# leaves its rows out.
.venv-bench/.done: pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH) -m pip --disable-pip-version-check install --quiet -c constraints.txt -e .
	-$(BENCH) -m pip --disable-pip-version-check install --quiet -c constraints.txt -r benchmarks/requirements.txt
	touch $@

bench: .venv-bench/.done ## speed beside Pythae, plain loops, JAX, Lightning and the floor; ROUNDS=7 for figures to quote
	$(BENCH) benchmarks/speed --rounds $(ROUNDS) $(addprefix --write ,$(WRITE))

bench-growth: .venv-bench/.done ## time and memory against examples, features, latents, batch and draws
	$(BENCH) benchmarks/speed/growth.py $(addprefix --write ,$(WRITE))

bench-gpu: .venv-bench/.done ## the same on a GPU, timed by its own events
	$(BENCH) benchmarks/speed/gpu.py --rounds $(ROUNDS) $(addprefix --write ,$(WRITE))

clean:
	rm -rf .venv .venv-bench build dist .pytest_cache .mypy_cache .ruff_cache
