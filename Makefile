# Every command creates the environment first when it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

$(VENV)/.done: pyproject.toml constraints.txt hatch_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable '.[live,onnx,train]'
	touch $@

.PHONY: demo test test-slow test-explore lint
demo: $(VENV)/.done
	$(BIN)/metst demo

test: $(VENV)/.done
	$(BIN)/python -m pytest

test-slow: $(VENV)/.done
	$(BIN)/python -m pytest -m slow

# Drawn examples that no run has seen before, five times as many as `make test` tries.
test-explore: $(VENV)/.done
	for round in 1 2 3 4 5; do HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -m hypothesis || exit; done

lint: $(VENV)/.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
