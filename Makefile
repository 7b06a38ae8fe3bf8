# Facility Pulse. `make` lists what there is; everything runs in .venv, which is made when it is needed.

VENV := .venv
PY := $(VENV)/bin/python
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --quiet --progress-bar off --only-binary=:all:
LOCAL := $(VENV)/local.stamp
DEV := $(VENV)/dev.stamp

# A venv that was left half made, or whose Python is gone, is made anew.
$(shell $(PY) -c 'import pip' 2>/dev/null || rm -f $(PY) $(LOCAL) $(DEV))

# Most tests wait for other processes, so more of them than processors may run at once.
WORKERS ?= 3
# What `make test TESTS=…`, `make run SIMULATE=…` and `make bench BENCH=…` pass on.
TESTS ?=
SIMULATE ?=
BENCH ?=
# `make smoke` finds a running local stack by itself; SMOKE=… passes options on.
API ?=
IDENTITY ?=
SMOKE ?=
PACKAGE ?=
OPTIONS ?=

.DEFAULT_GOAL := help
.PHONY: help run up down status load-directory backlog dead-letters replay test soak check bench test-sqlserver smoke databases package costs bicep clean

help: ## shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(LOCAL) ## starts the whole system and drives it with simulated front-ends; Ctrl-C stops it
	@SESSION_TTL_SECONDS=$${SESSION_TTL_SECONDS:-15} exec $(PY) -m emulators.stack run --exit-with-parent --simulate -- $(SIMULATE)

up: $(LOCAL) ## starts the whole system in the background; returns when it is healthy
	@exec $(PY) -m emulators.stack up

down: ## stops it; returns when no process is left
	@[ ! -x $(PY) ] || exec $(PY) -m emulators.stack down

status: $(LOCAL) ## shows what runs, whether it is healthy, and where
	@exec $(PY) -m emulators.stack status

load-directory: $(LOCAL) ## DIR=…: loads a directory from one CSV per core table
	@[ -n "$(DIR)" ] || { echo "usage: make load-directory DIR=folder-with-csv-files" >&2; exit 2; }
	@exec $(PY) -m emulators.stack load-directory "$(DIR)"

backlog: $(LOCAL) ## how many changes wait for browsers and SQL, and for how long
	@exec $(PY) -m emulators.stack operate backlog

dead-letters: $(LOCAL) ## what was set aside, with the reason; SOURCE=… narrows it
	@exec $(PY) -m emulators.stack operate dead-letters $(if $(SOURCE),--source $(SOURCE))

replay: $(LOCAL) ## puts what was set aside back to where it came from; SOURCE=…, IDS=… narrow it
	@exec $(PY) -m emulators.stack operate replay $(if $(SOURCE),--source $(SOURCE)) $(IDS)

test: $(DEV) ## passes all tests; TESTS=tests/unit narrows them
	@exec $(PY) -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

soak: $(DEV) ## the long forms of the tests of truth: thousands of random steps, stalls at full size (about 20 minutes)
	@SOAK=1 exec $(PY) -m pytest -m soak $(TESTS)

check: $(DEV) ## lint, format and types
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy

bench: $(DEV) ## the benchmarks, with a table and plots
	@exec $(PY) -m bench $(BENCH)

test-sqlserver: $(DEV) ## TEST_SQL_SERVER=<ODBC connection string>: the store tests on a real SQL Server
	@[ -n "$$TEST_SQL_SERVER" ] || { echo "usage: TEST_SQL_SERVER='Driver=…;Server=…' make test-sqlserver" >&2; exit 2; }
	@exec $(PY) -m pytest tests/integration -k sqlserver

smoke: $(LOCAL) ## API=https://…/api: sends a heartbeat through a running system and waits for its push
	@exec $(PY) -m tools.smoke $(API) $(if $(IDENTITY),--identity $(IDENTITY)) $(SMOKE)

databases: $(LOCAL) ## migrates the databases in Azure and lets the app in; a hook of azd (docs/deploy.md)
	@exec $(PY) -m tools.databases $(OPTIONS)

package: $(LOCAL) ## PACKAGE=file.zip: what the app runs from where nothing is built in Azure (docs/deploy.md)
	@exec $(PY) -m tools.package $(or $(PACKAGE),facility-pulse.zip) --with-dependencies

costs: $(LOCAL) ## recomputes costs, scaling table and limits in docs/ from bench/results and tools/prices.json
	@exec $(PY) -m tools.costs

bicep: ## compiles and lints infra/ with Microsoft's Bicep CLI, where it is installed
	@for file in infra/main.bicep infra/modules/*.bicep; do bicep lint "$$file" || exit 1; done
	@bicep build infra/main.bicep --stdout >/dev/null

clean: down ## stops the system and deletes its data, logs and caches; .venv stays
	rm -rf .local .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A pyenv shim may be on the PATH and refuse, so a candidate counts only if it runs, is 3.13 and can make a venv.
$(PY):
	@for python in $(PYTHON) python3.13 python3 "$$HOME"/.pyenv/versions/3.13.*/bin/python "$$(uv python find 3.13 2>/dev/null)"; do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then \
	    echo "making $(VENV) with $$python"; exec "$$python" -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo "Python 3.13 with venv is needed and none of $(PYTHON) python3.13, python3, ~/.pyenv and uv has it." >&2; \
	echo "Install it, or name it: make PYTHON=/path/to/python3.13 ..." >&2; exit 1

$(LOCAL): requirements.txt requirements-local.txt | $(PY)
	@echo "installing requirements-local.txt"
	@$(PIP) -r requirements-local.txt
	@touch $@

$(DEV): requirements-dev.txt $(LOCAL)
	@echo "installing requirements-dev.txt"
	@$(PIP) -r requirements-dev.txt
	@touch $@
