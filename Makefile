# Two commands do everything: `make demo` starts the gateway, `make test` checks it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A process of tests a core and one more, since a third of the time they wait for others; four at most, as each has servers
# of its own. The tests of one file stay together, and the files that take longest begin first (tests/conftest.py).
SIDE_BY_SIDE := --numprocesses=$(shell expr $$(nproc || getconf _NPROCESSORS_ONLN) + 1) --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

.PHONY: demo test ready compiled test-compiled soak bench peers profile perf faults suites pictures lint format lock generated clean

demo: $(VENV)/installed
	$(BIN)/hapax serve

test: ready
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

# What tests and measures need: programs, and the compiled gateway.
ready: $(VENV)/installed-for-tests
	scripts/setup-tests.sh
	$(MAKE) --no-print-directory compiled

# The gateway as its image has it, below .compiled: mypyc makes C of its hot path. Takes a C compiler and a minute.
compiled: .compiled/installed

# The suite again, with the compiled gateway in the process of the tests: nine minutes.
test-compiled: ready
	PYTHONPATH=.compiled/site:. $(BIN)/python -P -m pytest $(SIDE_BY_SIDE) -m "not as_python" $(ARGS)

# The long proofs of docs/soak.md, whose figures it prints: three quarters of an hour at most. Last come the tests that
# say how soon something happens, which `make test` believes on any machine (tests/rigs/clock.py), as strict as they are.
soak: ready
	HAPAX_SOAK=1 HAPAX_ON_TIME=1 HAPAX_SOAK_REPEATS=$${HAPAX_SOAK_REPEATS:-1000} $(BIN)/python -m pytest -s -o timeout=1200 \
	  tests/soak tests/limits/test_redis.py $(ARGS)
	HAPAX_ON_TIME=1 HAPAX_SOAK_REPEATS=100 $(BIN)/python -m pytest -s -o timeout=1200 tests/accounts/test_ledger_killed.py
	$(if $(ARGS),,HAPAX_ON_TIME=1 $(BIN)/python -m pytest tests/spec/faults tests/spec/test_faults_of_state.py \
	  tests/spec/test_shared_limits.py $$(grep -rl --include='test_*.py' at_most tests))

lint: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every figure in docs/performance.md, after a look whether a request has come to cost more, and what single flight
# and stored answers cost one.
bench: ready
	$(BIN)/python -m bench.guard
	$(BIN)/python -m bench.features
	$(BIN)/python -m bench --check $(ARGS)

# Where the time of a request goes.
profile: $(VENV)/installed-for-tests
	$(BIN)/python -m bench.profile

# The same of the compiled gateway with the kernel's part, by Linux's perf, which must be there (Debian: linux-perf).
perf: ready
	$(BIN)/python -m bench.perf

# The same beside other people's gateways, which it installs below .peers: twenty minutes. ARGS="--write docs/performance.md"
# puts the tables into the document, ARGS=--curves measures and draws curves instead.
peers: ready
	scripts/setup-peers.sh
	$(BIN)/python -m bench --peers $(ARGS)

# The SDKs' own tests and methods, without and with the gateway between them and a mock: some minutes.
# ARGS=--write puts the tables into docs/clients.md.
suites: ready
	scripts/setup-suites.sh $(BIN)/python
	$(BIN)/python -m tests.suites $(ARGS)

# The fault catalogue, one row a fault; writes docs/faults.md.
faults: ready
	$(BIN)/python -m tests.spec.faults

# The pictures of the page in the documents, of a gateway with simulated providers; ARGS=FOLDER makes all views there.
pictures: ready
	$(BIN)/python -m tests.ui.pictures $(ARGS)

format: $(VENV)/installed-for-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Files made from the code; a test compares them.
generated: $(VENV)/installed-for-tests
	$(BIN)/python -m proxy.settings.schema > config/hapax.schema.json
	$(BIN)/python -m proxy.settings.reference > docs/configuration.md
	$(BIN)/python -m deploy.grafana.generator

# The newest versions the ranges in pyproject.toml allow.
lock: $(VENV)/installed-for-tests
	scripts/lock.sh

$(VENV)/installed: requirements/runtime.lock pyproject.toml
	scripts/setup-venv.sh $(PYTHON) $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/runtime.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/installed-for-tests: $(VENV)/installed requirements/test.lock
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/test.lock
	touch $@

.compiled/installed: $(VENV)/installed-for-tests scripts/compiled.py pyproject.toml $(shell find proxy -name '*.py')
	rm -rf .compiled
	HAPAX_COMPILED=1 $(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir .compiled .
	$(BIN)/pip install --quiet --no-deps --target .compiled/site .compiled/*.whl
	touch $@

clean:
	rm -rf $(VENV) .compiled .peers .suites .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/clients/node_modules
