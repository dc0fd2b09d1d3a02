# Everything needs Python 3.11 or newer and nothing else; name another one with PYTHON=….
PYTHON ?= python3
PY := .venv/bin/python
# Many an image of a container sets it, and then each of some hundred processes compiles every module it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run up setup setup-dev deploy audit format check test bench bench-archive faults mutants fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## one task, from two dropped files to the archived video, on this machine
	@$(PY) -m local demo

up: setup ## the same with its page, staying up for your own files and API calls
	@$(PY) -m local up

setup: ## .venv with what running and deploying need
	@$(PYTHON) local/prepare.py

setup-dev: ## .venv with what testing needs as well
	@$(PYTHON) local/prepare.py --dev

STAGE ?=
deploy: setup ## to AWS: checks, shows the difference, asks, deploys, looks whether it is ready; STAGE=dev
	@$(PY) -m infra.deploy $(if $(STAGE),--stage $(STAGE))

format: setup-dev ## format the code, and mend what the linter can
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format --quiet .

audit: setup-dev ## template and code against the rules of cdk-nag, cfn-guard, checkov, cfn-lint and bandit
	@$(PY) -m infra.audit

check: setup-dev ## format, lint, dead code, types
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m ruff check .
	@$(PY) -m vulture
	@$(PY) -m mypy

test: setup-dev ## check, and every test; the template is deployed to the embedded cloud
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m ruff check .
	@$(PY) -m vulture
	@$(PY) -m tests

bench: setup-dev ## what is measured, into docs/performance.md; the last line says how it stands against the goals
	@$(PY) -m bench --write

bench-archive: setup-dev ## what it costs to bring a film into the archive, against other ways; some ten minutes
	@$(PY) -m bench.archive --emulator

faults: N ?= 1000
faults: setup-dev ## N random schedules of faults a provider, and what they cost; N=10000 takes a while
	@$(PY) -m tests.faults random --runs $(N)

mutants: setup-dev ## small changes of our own source, and what catches each; N=60 SEED=7 a random sample
	@$(PY) -m tests.mutation $(if $(N),--sample $(N)) $(if $(SEED),--seed $(SEED))

fuzz: N ?= 100
fuzz: setup-dev ## Schemathesis against the embedded run, N cases a route and phase; 0 server errors, 0 breaks of the schema
	@$(PY) -m bench.fuzz $(N)

clean: ## remove all that was made, but for the videos in out/
	rm -rf .venv build cdk.out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
