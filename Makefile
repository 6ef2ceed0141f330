# Everything runs in .venv inside the clone. `make` alone lists the targets.

PYTHON    ?= python3
JOBS      ?= 2
PROFILE   ?= quick
OUT       ?= build/verify
SOURCES   := ecpo mpo soft_q
PIP_FLAGS ?=
PEERS_PYTHON ?=
SUITES    ?= pendulum-20k halfcheetah-100k hopper-50k

VENV := .venv
BIN  := $(VENV)/bin
PEERS := $(if $(PEERS_PYTHON),--peers-python $(PEERS_PYTHON))
PIP  := $(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt

# One thread a process: the work is spread over processes, and BLAS threads on top of that only slow it down.
export OMP_NUM_THREADS := 1

.PHONY: help verify test lint types bench reference-runs power mutants clean distclean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | awk -F '\t' '{ printf "  make %-10s %s\n", $$1, $$2 }'
	@echo "  settings: PYTHON=$(PYTHON) JOBS=$(JOBS) PROFILE=$(PROFILE) OUT=$(OUT) PIP_FLAGS=$(PIP_FLAGS)"

verify: $(VENV)/.stamp-verify ## judge every claim and write the page (no torch needed)
	@status=0; \
	$(BIN)/exactrl verify --profile $(PROFILE) --jobs $(JOBS) --out "$(OUT)" || status=$$?; \
	case $$status in \
	  0|3) $(BIN)/exactrl report source $(SOURCES) --verdicts "$(OUT)" --out "$(OUT)/sources" >/dev/null || status=$$?; \
	       echo "The page: $(abspath $(OUT))/index.html; a page for each source: $(abspath $(OUT))/sources" ;; \
	  *) echo "exactrl verify stopped with exit status $$status: no new page" >&2 ;; \
	esac; \
	exit $$status

test: lint types ## lint, types, then all tests with branch coverage
	$(BIN)/python -m pytest -n $(JOBS) --cov --cov-branch --cov-report=term --cov-fail-under=95

lint: $(VENV)/.stamp-test ## ruff over the whole repository
	$(BIN)/python -m ruff check .

types: $(VENV)/.stamp-test ## mypy in strict mode on exactrl and proofs_checks
	$(BIN)/python -m mypy

bench: $(VENV)/.stamp-test ## measure speed beside named peers (PEERS_PYTHON: one with stable_baselines3 and sbx-rl)
	@for script in trajectories soft_iteration mpo_estep; do \
	  echo "benchmarks/$$script.py"; \
	  $(BIN)/python "benchmarks/$$script.py" || exit 1; \
	done
	$(BIN)/python benchmarks/deep_throughput.py $(PEERS)


reference-runs: $(VENV)/.stamp-test ## go on with the queue of learning runs (hours; stop it whenever you like)
	$(BIN)/python benchmarks/reference_runs.py --jobs $(JOBS) --only $(SUITES) $(PEERS)

power: $(VENV)/.stamp-verify ## measure what share of planted falsehoods the search finds
	$(BIN)/python -m proofs_checks.power --write --jobs $(JOBS)

mutants: $(VENV)/.stamp-test ## change the formulas a little, everywhere, and see whether a test notices (15 minutes)
	$(PIP) mutmut
	rm -rf mutants
	$(BIN)/mutmut run --max-children $(JOBS)
	$(BIN)/mutmut results

clean: ## remove build products and caches, keep .venv
	rm -rf build dist mutants *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage .coverage.*
	find . -path "./$(VENV)" -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv as well
	rm -rf "$(VENV)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "exactrl needs Python 3.11 or newer, and '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)" >&2; \
	  echo "Name another interpreter: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv "$(VENV)" || { \
	  rm -rf "$(VENV)"; \
	  echo "'$(PYTHON) -m venv' failed; some systems ship it as a package of its own (python3-venv)" >&2; \
	  exit 1; }

# The backend goes first and from the pins as well, so that nothing is built with an unpinned one.
$(VENV)/.stamp-verify: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) setuptools
	$(PIP) --no-build-isolation -e '.[proofs,reports]'
	@touch $@

# The test environment is the verify environment and more; which torch and which MuJoCo, constraints.txt says.
$(VENV)/.stamp-test: $(VENV)/.stamp-verify
	$(PIP) --no-build-isolation -e '.[all]'
	@touch $@
