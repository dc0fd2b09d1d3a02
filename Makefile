# Everything needs Python 3.11 or newer and nothing else; name another one with PYTHON=….
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: run up test check clean setup bench-archive faults mutants

run: setup ## one task, from two dropped files to the archived video, on this machine
	@$(PY) -m local demo

up: setup ## the same, staying up for your own files
	@$(PY) -m local up

# The fault simulation has a process of its own: it replaces AWS, the wire and the clock under the handlers.
test: check ## every test; the template is deployed to the embedded cloud
	@$(PY) -m pytest --ignore tests/faults
	@$(PY) -m pytest tests/faults

check: setup ## lint and types
	@$(PY) -m ruff check .
	@$(PY) -m mypy

bench-archive: setup ## what it costs to bring a film into the archive, against other ways; some ten minutes
	@$(PY) -m bench.archive --emulator

faults: N ?= 1000
faults: setup ## N random schedules of faults a provider, and what they cost; N=10000 takes a while
	@$(PY) -m tests.faults random --runs $(N)

mutants: setup ## small changes of our own source, and what catches each; N=60 SEED=7 a random sample
	@$(PY) -m tests.mutation $(if $(N),--sample $(N)) $(if $(SEED),--seed $(SEED))

setup:
	@$(PYTHON) local/prepare.py

clean: ## all that was made, but for the videos in out/
	rm -rf .venv build cdk.out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
