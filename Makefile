# One word for each thing that is done here; `make` alone lists them.
# The work is in tools/ and in the program itself, so that nothing has to be learnt twice.

PYTHON ?= python3
ARGS ?=
SEEDS ?= 100
SEED ?= 0
BIN := .venv/bin
# bytecode is kept, whatever the environment says: without it every start of the program takes twice the processor time
export PYTHONDONTWRITEBYTECODE :=
ROUNDS ?= 50
LONG_ROUNDS ?= 3
# of these `make test` leaves out what needs Docker, and what takes long; `make image-test` and `make faults` have it
TESTS := src/quantum tests --ignore=tests/images --ignore=tests/faults/at_length
# tests of the running program come after the others and one by one, so that they have the machine for themselves
SHARED := --numprocesses=logical --maxprocesses=4 --dist=loadgroup
COVERED := --cov=quantum.domain --cov=quantum.application --cov-branch

SCALE ?= 1
PARTS ?=

.DEFAULT_GOAL := help
.PHONY: help run deep frontend check test sbom audit faults simulate bench bench-rivals bench-detect images image-test up clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: ## install what is missing, then watch this machine: ARGS="--port 9000" goes to `quantum run`
	@$(PYTHON) -m tools.prepare
	@exec env -u QUANTUM_SKIP_WEB $(BIN)/quantum run $(ARGS)

deep: ## install TensorFlow as well (2 GB), which trains deep models; `make run` keeps it
	@$(PYTHON) -m tools.prepare --deep

frontend: ## build the dashboard, if its sources have changed
	@$(PYTHON) -m tools.prepare --dashboard

check: ## style, types and architecture, in under a minute
	@$(PYTHON) -m tools.prepare --dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/test_documents.py

test: ## every test, with real parts; a part that is missing is installed or is a failure. ARGS="-k name" picks some
	@$(PYTHON) -m tools.prepare --dev
ifeq ($(strip $(ARGS)),)
	@status=0; set -x; \
	$(BIN)/python -m tests.compiling || status=1; \
	$(BIN)/pytest $(TESTS) -m "not system" $(SHARED) $(COVERED) --cov-report= || status=1; \
	$(BIN)/pytest $(TESTS) -m system $(COVERED) --cov-append --cov-report=term-missing:skip-covered --cov-fail-under=100 || status=1; \
	exit $$status
else
	$(BIN)/pytest $(TESTS) $(ARGS)
endif

sbom: ## a bill of materials of the locked packages (CycloneDX) in dist/sbom.cdx.json
	@$(PYTHON) -m tools.supply sbom

audit: ## licences of the locked packages, and what OSV knows of their defects, which needs the network
	@$(PYTHON) -m tools.prepare --dev
	@$(BIN)/python -m tools.licences
	@$(PYTHON) -m tools.supply audit

faults: ## do every short harm of docs/reliability.md ROUNDS=50 times, each of a minute LONG_ROUNDS=3 times, and count
	@$(PYTHON) -m tools.prepare --dev
	TEST_KILLS=$(ROUNDS) TEST_FAULT_ROUNDS=$(ROUNDS) TEST_LONG_ROUNDS=$(LONG_ROUNDS) TEST_OUTAGE_S=60 TEST_LOCKED_S=30 \
	TEST_NOISE_S=8 TEST_OVERLOAD_S=60 $(BIN)/pytest -o faulthandler_timeout=14400 \
	tests/system/test_kill.py tests/system/test_roles.py tests/faults tests/adapters/test_dead_letters.py $(ARGS)

simulate: ## play SEEDS=100 stories of crashes and faults in virtual time, the first that of SEED=0, and judge each
	@$(PYTHON) -m tools.prepare --dev
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --seed $(SEED)

bench: ## the project's own benchmarks, as JSON
	@$(PYTHON) -m tools.prepare
	@$(BIN)/quantum bench ingest --json
	@$(BIN)/quantum bench detect --json

bench-rivals: ## Quantum beside VictoriaMetrics, Prometheus and InfluxDB, writes docs/performance.json: SCALE=0.2 is quicker
	@$(PYTHON) -m tools.prepare
	@$(BIN)/python -m tools.rivals --scale $(SCALE)

bench-detect: ## the detectors beside river, PyOD and scikit-learn, into docs/detection.json: PARTS="nab deep" takes these anew
	@$(PYTHON) -m tools.prepare
	@$(BIN)/python -m tools.detection $(PARTS)

images: ## build the image quantum:dev with Docker
	docker build $(ARGS) --file deploy/images/Dockerfile --tag quantum:dev .

image-test: images ## run the image with Docker as it is deployed, and check what it may and keeps
	@$(PYTHON) -m tools.prepare --dev
	$(BIN)/pytest tests/images

up: ## Quantum and PostgreSQL in containers, with Docker Compose: http://127.0.0.1:8470
	docker compose up --build --detach --wait
	@echo "Quantum is ready: http://127.0.0.1:8470  (docker compose down stops it)"

clean: ## remove everything that was built or installed here; data in quantum-data/ stays
	rm -rf .venv .tools dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	rm -rf src/quantum/static frontend/node_modules frontend/.angular
