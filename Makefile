.DEFAULT_GOAL := help
PYTHON ?= python

.PHONY: help
help:  ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: install
install:  ## install the package and all tools into the active environment
	$(PYTHON) -m pip install -e ".[dev]"

.PHONY: test
test:  ## run the tests on SQLite and PostgreSQL, on all cores
	$(PYTHON) -m pytest -n auto

.PHONY: quick
quick:  ## run the tests that are neither slow nor kill processes
	$(PYTHON) -m pytest -n auto -m "not slow and not faults"

.PHONY: faults
faults:  ## kill, freeze, cut off and starve real workers, at ordinary size
	$(PYTHON) -m pytest -n auto -m faults

.PHONY: coverage
coverage:  ## run the tests, report branch coverage, fail if it is too low
	$(PYTHON) -m coverage erase
	$(PYTHON) -m coverage run -m pytest -n auto
	PYTHON=$(PYTHON) .ci/coverage

.PHONY: docs
docs:  ## run the examples in the documentation
	$(PYTHON) -m pytest tests/test_docs.py

.PHONY: lint
lint:  ## ruff, its formatter, and the import contracts
	ruff check
	ruff format --check
	lint-imports

.PHONY: types
types:  ## mypy, strict, on both packages
	mypy

.PHONY: migrations
migrations:  ## fail if a model change has no migration
	$(PYTHON) -W error -m django makemigrations --check --dry-run --settings tests.settings

.PHONY: check
check: lint types migrations  ## all gates but the tests

.PHONY: format
format:  ## let ruff repair and format the code
	ruff check --fix
	ruff format

.PHONY: bench
bench:  ## run all benchmarks, with small numbers (see benchmarks/README.md)
	$(PYTHON) -m benchmarks --quick

.PHONY: demo
demo:  ## run the example shop's demo
	$(PYTHON) example_project/manage.py demo

.PHONY: tox
tox:  ## run the tests on every Python and Django found here
	$(PYTHON) -m tox run

.PHONY: ci
ci:  ## everything a change has to pass, from an empty environment
	.ci/run
