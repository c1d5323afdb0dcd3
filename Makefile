# Needs Python 3.11 or later, make and a package index; makes and uses .venv/ in this folder.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: browser screenshots demo test test-all test-fast check count format bench clean

demo: .venv/.user            ## install, then draw clips, index, evaluate and search them
	$(BIN)/earsight demo demo

test: check browser          ## format, lint, types, tests and doctests
	$(BIN)/pytest -n auto --dist worksteal -m "not long and not online"

test-fast: .venv/.dev        ## most of it in two minutes, without a network and a browser
	$(BIN)/pytest -n auto --dist worksteal \
		-m "not long and not online and not browser and not network and not slow"

test-all: check browser      ## the same as test, with the long repetitions
	$(BIN)/pytest -n auto --dist worksteal -m "not online"

count:                       ## lines, files a folder, import circles, long functions
	@$(PYTHON) tools/count.py

browser:                     ## Chromium for the tests of the page, where it can be installed
	@sh tests/install_browser.sh

screenshots: .venv/.dev browser  ## draw clips, and make docs/pictures/page-*.png of the page
	PYTHONPATH=tests/support $(BIN)/python docs/screenshots.py

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.bench          ## measure against peers and floors, write docs/benchmarks.md
	$(BIN)/python -m benchmarks

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Earsight needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.user: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@ .venv/.user

.venv/.bench: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e ".[bench]"
	@touch $@

clean:
	rm -rf .venv demo .mypy_cache .ruff_cache .pytest_cache
