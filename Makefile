# One command for each thing a person does here. Needs make, git and Python 3.11 or newer; chaos, matrix and cluster
# PostgreSQL too, and cluster Redis.

VENV    := .venv
BIN     := $(VENV)/bin
OLDEST  := .venv-oldest
SOURCES := kling_provider scripts benchmarks dags
UV      := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraint constraints/newest.txt

LOCK    := $(BIN)/uv pip compile --quiet --universal --upgrade --no-annotate --no-emit-index-url --python-version 3.11 \
	--custom-compile-command "make lock"
SHIPPED := --extra simulator --extra s3
TESTED  := $(SHIPPED) --extra dev
OLDER   := 3.0 3.1 3.2

# Of pytest. Half of their time they wait for a server or a process, so two cores are enough.
PROCESSES ?= 4

# The first of these that is new enough and can make virtual environments; PYTHON=... overrides.
CANDIDATES := python3.13 python3.12 python3.11 python3
USABLE     := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
# Airflow 3.0 refuses Python 3.13.
BEFORE_3_13 := import sys; from scripts.matrix import find_python; \
	print(sys.executable if sys.version_info < (3, 13) else find_python("3.12"))
PYTHON     ?= $(shell for p in $(CANDIDATES); do $$p -c '$(USABLE)' 2>/dev/null && echo $$p && break; done)

# With it set, each of Airflow's processes would compile all of Airflow again.
unexport PYTHONDONTWRITEBYTECODE
# An active other environment must not receive what is meant for ours.
unexport VIRTUAL_ENV
unexport PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help venv demo ui test test-oldest test-live test-live-oldest test-lowest matrix storm chaos cluster interop bench reference docs lint lint-ruff lint-format lint-types format build release-check audit lock clean

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-24s %s\n", $$1, $$2}'

venv: $(VENV)/.dev ## Make .venv with everything that development needs

demo: $(VENV)/.demo ## One picture becomes a video: PICTURE=..., PROMPT=..., MODEL=...; needs no Kling account
	@$(BIN)/python -m scripts.demo

ui: $(VENV)/.demo ## The same Airflow, kept open in the browser until Ctrl-C
	@$(BIN)/python -m scripts.demo --ui

test: $(VENV)/.dev ## All tests but the live ones, with coverage; ARGS=... goes to pytest
	$(BIN)/python -m pytest -m "not live" -n $(PROCESSES) --dist worksteal --cov --cov-report=term $(ARGS)

test-oldest: $(OLDEST)/.dev ## The same tests on the oldest Airflow that is supported (3.0.6)
	$(OLDEST)/bin/python -m pytest -m "not live" -n $(PROCESSES) --dist worksteal $(ARGS)

test-lowest: $(VENV)/.dev ## The same tests on the lowest versions that pyproject.toml allows
	$(BIN)/python -m scripts.matrix --cells 'lowest-*'

matrix: $(VENV)/.dev ## The same tests on every Airflow, Python and database; an hour or two; ARGS="--list", ARGS="--cells '3.2-*'"
	$(BIN)/python -m scripts.matrix $(ARGS)

storm: $(VENV)/.dev ## 100 submits against an account with 5 slots, on a real Airflow; ARGS="--tasks 30 --slots 3"
	$(BIN)/python -m scripts.storm $(ARGS)

chaos: $(VENV)/.dev ## 200 videos while everything dies, and the accounts: SEED=1 VIDEOS=200 GATEWAY=official DATABASE=postgres
	$(BIN)/python -m scripts.chaos --seed $(or $(SEED),1) --videos $(or $(VIDEOS),200) \
		--gateway $(or $(GATEWAY),official) --database $(or $(DATABASE),postgres) $(ARGS)

cluster: $(VENV)/.cluster ## kling_batch and chaos on two Celery workers and two triggerers, with PostgreSQL and Redis
	$(BIN)/python -m scripts.cluster $(ARGS)

interop: $(VENV)/.dev ## Clients nobody here wrote, unchanged, against the simulator; fetches them, keeps nothing
	@$(BIN)/python -m scripts.interop

bench: $(VENV)/.dev ## What waiting costs, against the others, half an hour; ARGS="--quick" or ARGS="--rows mix-1000 lone"
	$(BIN)/python -m benchmarks $(ARGS)

reference: $(VENV)/.demo ## Write docs/api/ anew, from the tables in kling_provider/api
	$(BIN)/python -m kling_provider.api --markdown docs/api

docs: $(VENV)/.dev ## The site of the documentation, into site/; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean

test-live: $(VENV)/.dev ## The tests that need a live scheduler and triggerer
	$(BIN)/python -m pytest -m live $(ARGS)

test-live-oldest: $(OLDEST)/.dev ## What a video may cost, live on the oldest Airflow (3.0.6)
	$(OLDEST)/bin/python -m pytest -m live tests/live/test_pay_once.py tests/live/test_chaos.py $(ARGS)

lint: lint-ruff lint-format lint-types ## Style, format and types, as the CI checks them

lint-ruff: $(VENV)/.dev
	$(BIN)/ruff check .

lint-format: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint-types: $(VENV)/.dev
	$(BIN)/mypy --strict $(SOURCES)

format: $(VENV)/.dev ## Rewrite the files the way lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/.dev ## Source distribution and wheel into dist/, the same bytes from the same commit
	$(BIN)/python -m scripts.release build

release-check: $(VENV)/.dev ## Everything that can be known before a release; docs/releasing.md is the recipe
	$(BIN)/python -m scripts.release check

audit: $(VENV)/.demo ## Look the locked versions up among the known vulnerabilities; needs the network
	$(BIN)/uv tool run pip-audit --progress-spinner off --strict --disable-pip --no-deps --requirement constraints/newest.txt

lock: $(VENV)/.demo ## Pin the newest versions that fit, and the lowest that are allowed, in constraints/
	$(LOCK) $(TESTED) --extra bench --extra docs --extra cluster pyproject.toml --output-file constraints/newest.txt
	for airflow in $(OLDER); do \
		$(LOCK) $(TESTED) --constraint constraints/$$airflow.in pyproject.toml --output-file constraints/$$airflow.txt \
			|| exit 1; \
	done
	$(LOCK) $(SHIPPED) --resolution lowest-direct --constraint constraints/3.0.in --constraint constraints/lowest.in \
		pyproject.toml --output-file $(VENV)/lowest.txt
	$(LOCK) $(TESTED) --constraint $(VENV)/lowest.txt pyproject.toml --output-file constraints/lowest.txt

clean: ## Remove everything the other commands have made, the demo's Airflow and videos too
	rm -rf $(VENV) $(OLDEST) .matrix .airflow build dist site *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f benchmarks/results/quick.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two steps, so that the demo does not wait for the tools of development.

$(VENV)/.demo: pyproject.toml setup.cfg constraints/newest.txt
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer with the venv module is needed; looked for: $(CANDIDATES)."; \
		echo "Install it (Debian, Ubuntu: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12"; \
		exit 1; }
	@$(PYTHON) -c '$(USABLE)' || { \
		echo "$(PYTHON) is older than Python 3.11 or has no venv module; name another: make PYTHON=/path/to/python3.12"; \
		exit 1; }
	@echo "Installing into $(VENV), once; half a minute to a minute."
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(UV) --editable '.[simulator]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing the tools of development, once."
	@$(UV) --editable '.[simulator,s3,dev,bench,docs]'
	@touch $@

$(VENV)/.cluster: $(VENV)/.dev
	@echo "Installing Celery, once."
	@$(UV) --editable '.[simulator,s3,dev,bench,docs,cluster]'
	@touch $@

$(OLDEST)/.dev: $(VENV)/.demo constraints/3.0.txt
	@echo "Installing the oldest Airflow into $(OLDEST), once."
	@python=$$($(BIN)/python -c '$(BEFORE_3_13)') && $(BIN)/uv venv --quiet --clear --python "$$python" $(OLDEST)
	@$(BIN)/uv pip install --quiet --python $(OLDEST)/bin/python --compile-bytecode \
		--constraint constraints/3.0.txt --editable '.[simulator,s3,dev]'
	@touch $@
