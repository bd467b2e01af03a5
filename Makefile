# Every command creates the environment first when it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SITE := build/site
SUPPLY := build/supply

$(VENV)/.done: pyproject.toml constraints.txt hatch_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --group docs --editable '.[live,onnx,pandas,plot,train,web]'
	touch $@

.PHONY: demo test test-slow test-explore fuzz lint docs examples pictures release-check lock audit test-versions
demo: $(VENV)/.done
	$(BIN)/metst demo

# Each file of tests runs in one process, beside others: its fixtures are made once.  In the order of the files the long
# ones come first; the order of pytest-xdist goes by numbers of tests, and a file with few and long ones would be left over.
test: $(VENV)/.done
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.done
	$(BIN)/python -m pytest -m slow

# Drawn examples that no run has seen before, five times as many as `make test` tries.
test-explore: $(VENV)/.done
	for round in 1 2 3 4 5; do HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -m hypothesis || exit; done

# Each door for some minutes: what breaks one becomes a file of the corpus, which `make test` sends through it.
MINUTES ?= 30
fuzz: $(VENV)/.done
	$(BIN)/python -m pip install --quiet --group fuzz
	$(BIN)/python tests/fuzz/campaign.py --minutes $(MINUTES)

lint: $(VENV)/.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site: broken links, a stale picture of the house and anything that a page would load from elsewhere are errors.
docs: $(VENV)/.done
	$(BIN)/python docs/make_architecture.py --check
	$(BIN)/sphinx-build --quiet --fail-on-warning --fresh-env --doctree-dir build/doctrees docs $(SITE)
	! grep -rEn --include='*.html' --include='*.css' \
	  '<(script|img|iframe)[^>]+src="(https?:)?//|<link[^>]+href="(https?:)?//|@import|url\(["'"'"']?(https?:)?//' $(SITE)
	@echo $(SITE)/index.html

examples: $(VENV)/.done
	set -e; for script in examples/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done
	$(BIN)/python .ci/notebooks examples/*.ipynb

pictures: $(VENV)/.done
	$(BIN)/python docs/make_pictures.py

release-check: $(VENV)/.done $(SUPPLY)/.done
	.ci/release-check

# What is delivered: tools of their own environment, for locks, audit, the bill of materials and other versions.
$(SUPPLY)/.done: pyproject.toml
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(SUPPLY)/bin/python -m pip install --quiet --group supply
	touch $@

# Hashes of all that an installation brings, for the versions in constraints.txt and every platform.  PyTorch and what it
# brings are not in it (the override takes it out): each machine takes the build for its processor.
LOCK = $(SUPPLY)/bin/uv pip compile pyproject.toml --quiet --no-annotate --universal --python-version 3.11 \
  --generate-hashes --constraint constraints.txt --custom-compile-command 'make lock'
lock: $(SUPPLY)/.done
	$(LOCK) --output-file locks/plain.txt
	echo "torch ; python_version < '3'" | $(LOCK) --all-extras --override - --output-file locks/extras.txt

# Asks the registry what is known of the locked versions: the only step here that needs it to answer more than files.
audit: $(SUPPLY)/.done
	for file in locks/plain.txt locks/extras.txt; do \
	  $(SUPPLY)/bin/pip-audit --strict --require-hashes --disable-pip --requirement $$file || exit; done

test-versions: $(SUPPLY)/.done
	.ci/versions
