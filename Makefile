# `make help` lists the targets. PYTHON and VENV choose the interpreter and the environment's folder.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made

.PHONY: help .venv demo test test-long test-slurm lint clean

help:
	@echo 'make .venv   the environment, from launch/requirements.txt'
	@echo 'make demo    train a small VAE on the digits, evaluate it and write its report'
	@echo 'make test    the tests, on two cores'
	@echo 'make test-long   what takes minutes: processes that are killed, four of them, the container'
	@echo 'make test-slurm  launch/slurm.sbatch under a real Slurm, which is installed where it can be'
	@echo 'make lint    ruff check and ruff format --check'
	@echo 'make clean   remove the environment and what tools left behind (runs/ stays)'
	@echo 'With another Python: make test PYTHON=python3.12 VENV=/tmp/venv'

.venv: $(MADE)

# The stamp goes first and is written last: an interrupted install is not taken for an environment.
$(MADE): pyproject.toml launch/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo 'vae_jax needs Python 3.11 or newer, and $(PYTHON) is not: name one with PYTHON=/path/to/python' >&2; exit 1; }
	@rm -f $@
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q -r launch/requirements.txt
	@$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

demo: .venv
	@$(BIN)/python -m vae_jax.main --config=configs/digits.py --workdir=runs/digits

test: .venv
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-long: .venv
	$(BIN)/python -m pytest -q -n 4 -m long

test-slurm: .venv
	$(BIN)/python -m pytest -q -rs -m slurm tests/test_slurm.py

lint: .venv
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
