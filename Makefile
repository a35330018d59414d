# Every target sets up what it needs: `make demo` on a fresh clone just works.
# Needs python3 (3.11 or newer, with venv), and the network the first time.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Compiled kernels (see docs/decisions/0003-kernel-cache.md) and C programs of the benchmarks.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cerebrum

# The environment is fresh when the file named after the content of these two exists.
READY := $(VENV)/.ready-$(shell cat requirements.lock pyproject.toml | cksum | tr ' ' -)

# The same environment with what training needs on top: torch, environments, peers (gigabytes).
LEARN := $(VENV)/.learn-$(shell cat requirements-learn.lock requirements.lock | cksum | tr ' ' -)

# Arguments for pytest, and for `cerebrum demo`: make test ARGS='tests/engine -x'
ARGS ?=
# Test processes; more than one only helps once the kernels are compiled: make test JOBS=2
JOBS ?= 0
PYTEST = $(PY) -m pytest -n $(JOBS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-nojit test-slow test-faults test-chaos test-kubernetes demo-kubernetes kubernetes kubernetes-build check lint format types contracts audit bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## a workflow and a batch on two clusters of local processes
	$(VENV)/bin/cerebrum demo $(ARGS)

demo-kubernetes: $(READY) ## the same as pods of two Kubernetes clusters; one is cut off and returns
	@$(PY) -m tests.kubernetes.demo $(ARGS)

test: $(LEARN) ## the default test suite, under ten minutes
	$(PYTEST) $(ARGS)

test-nojit: $(READY) ## the engine's tests with the kernels run as plain Python
	NUMBA_DISABLE_JIT=1 $(PYTEST) tests/engine $(ARGS)

test-slow: $(LEARN) ## what takes long: clusters, published tables, packaging
	$(PYTEST) -m "slow and not kubernetes" $(ARGS)

test-faults: $(READY) ## the federation's own code in the fault simulator: ARGS='--seeds 0:300'
	$(PY) -m tests.faults --seeds $(or $(SEEDS),0:300) $(ARGS)

test-chaos: $(READY) ## kill -9 at every named point and at random, on real processes
	$(PY) -m tests.chaos.killing $(ARGS)

test-kubernetes: kubernetes-build ## on real control planes, or the one of CEREBRUM_TEST_KUBECONFIG
	$(PYTEST) -m kubernetes $(ARGS)

kubernetes: $(READY) ## a cluster on loopback until Ctrl-C: ARGS='--nodes 10'
	$(PY) -m tests.kubernetes $(ARGS)

kubernetes-build: $(READY) ## etcd, Kubernetes, kwok and Helm from source, once per version
	@$(PY) -m tests.kubernetes.build $(if $(CEREBRUM_TEST_KUBECONFIG),kubectl) >/dev/null

check: lint types contracts test ## everything a change must pass

lint: $(READY) ## style and likely bugs
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(READY) ## repair what lint can repair
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(LEARN) ## pyright, strict
	PYRIGHT_PYTHON_GLOBAL_NODE=0 $(PY) -m pyright  # on the locked Node.js, whatever else is here

contracts: $(READY) ## which room may import which
	$(VENV)/bin/lint-imports

audit: $(READY) ## known vulnerabilities of the locked dependencies; needs the network
	$(PY) -m pip_audit --strict --disable-pip --require-hashes --progress-spinner off \
		-r requirements-learn.lock

bench: $(LEARN) ## list the benchmarks; make bench ONLY=name runs one, ONLY=all runs them all
	@$(PY) -m benchmarks $(if $(ONLY),--only $(ONLY),--list)

LOCK = $(VENV)/bin/uv pip compile pyproject.toml --extra dev --universal --fork-strategy fewest \
	--python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
	--quiet $(if $(UPGRADE),--upgrade)

lock: $(READY) ## write both lock files anew; UPGRADE=1 takes the newest versions
	$(LOCK) -o requirements.lock
	$(LOCK) --extra learn-dev -c requirements.lock -o requirements-learn.lock

$(LEARN): $(READY) requirements-learn.lock
	@echo "Adding torch and what else training needs, from requirements-learn.lock" >&2
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes -r requirements-learn.lock >&2
	@rm -f $(VENV)/.learn-*
	@touch $@

clean: ## remove the environment, the caches and what builds left behind
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf $(CACHE)/kernels $(CACHE)/benchmarks
	find cerebrum tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"Cerebrum needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	@echo "Setting up $(VENV) from requirements.lock" >&2
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements.lock >&2
	@$(PY) -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable . >&2
	@rm -f $(VENV)/.ready-*
	@touch $@
