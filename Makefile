# make run            set everything up and start the demo
# make test           set everything up and run every test
# make check          lint, types, contracts and units: a few minutes
# make bench-ceiling  the bare sender: what any forwarder on this machine can reach at most
# make bench-packets  how long a frame takes on each part of its way; ARGS=seal chooses
# make soak           minutes of load: 200 viewers, 10,000 joins, a storm of requests
# make dashboards     the boards and alerts below grafana/, anew from the catalog
# make observe        server, Prometheus and, where it is here, Grafana with the boards
# make wheel          the wheel, imported on each Python here, and audited
# make demo-media     make pyforward/media/demo.rtp anew
# make bench-traces   make the harness's packet traces anew
# make clean          remove what was made
#
# PYTHON=python3.12 chooses the interpreter; ARGS="--http-bind 127.0.0.1:9000" goes to the demo.

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
RUNBOOK_URL ?=
FUZZ_SECONDS ?= 10

export CARGO_TARGET_DIR ?= $(CURDIR)/native/target
# maturin is found on PATH, as it is in an isolated build.
export PATH := $(CURDIR)/$(BIN):$(PATH)
CARGO := cargo
MANIFEST := --manifest-path native/Cargo.toml
TIMED := sh scripts/timed

# Twice quiet: errors only. setuptools warns of what an editable install is.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
NATIVE_SOURCES := $(wildcard native/Cargo.* native/*/Cargo.toml native/*/src/*.rs \
	native/*/src/*/*.rs native/*/src/*/*/*.rs)
# Their compiled twins lie beside them and would hide what was changed.
CYTHON_SOURCES := $(wildcard pyforward/media/packetizers/*.py bench/pyforward_bench/statistics/*.py)
SH_FILES := .ci/run scripts/preflight scripts/timed scripts/test-tools scripts/wheel-check scripts/shell-check

.DEFAULT_GOAL := help
.PHONY: help run dashboards observe test check lint types contracts units native-lint native-test counts \
	counts-baseline bench-ceiling bench-packets soak wheel demo-media bench-traces tools clean

help:
	@head -n 13 Makefile | cut -c3-

run: $(VENV)/package
	@$(BIN)/pyforward demo $(ARGS)

# --- set-up ------------------------------------------------------------------------------------
# Each stamp is made anew when what it rests on changes, so a second run is quick.

$(VENV)/python:
	@sh scripts/preflight build
	@python=$$(sh scripts/preflight python "$(PYTHON)") && \
		sh scripts/preflight venv "$$python" && \
		"$$python" -m venv --clear $(VENV)
	@touch $@

$(VENV)/build-tools: $(VENV)/python pyproject.toml
	@echo "installing the build tools"
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --group build
	@touch $@

$(VENV)/package: $(VENV)/build-tools setup.py MANIFEST.in $(NATIVE_SOURCES) \
		$(CYTHON_SOURCES)
	@sh scripts/preflight build
	@echo "building the native engine (a few minutes) and installing the package"
	@$(PIP) install --no-build-isolation --editable .
	@touch $@

$(VENV)/dev: $(VENV)/package
	@echo "installing what the tests need"
	@$(PIP) install --group dev
	@touch $@

# --- the parts of a check ----------------------------------------------------------------------

lint: $(VENV)/dev
	@$(TIMED) ruff ruff check .
	@$(TIMED) ruff-format ruff format --check .
	@$(TIMED) shell sh scripts/shell-check $(SH_FILES)

types: $(VENV)/dev
	@$(TIMED) mypy mypy

contracts: $(VENV)/dev
	@$(TIMED) contracts $(BIN)/python -m pytest -q tests/contract

units: $(VENV)/dev
	@PYFORWARD_FUZZ_SECONDS=$(FUZZ_SECONDS) $(TIMED) units $(BIN)/python -m pytest -q tests/unit

native-lint: $(VENV)/python
	@$(TIMED) rustfmt $(CARGO) fmt $(MANIFEST) --all --check
	@$(TIMED) clippy $(CARGO) clippy $(MANIFEST) --workspace --all-targets --locked --quiet -- -D warnings

# The parsers' mutations share one test binary and run side by side, FUZZ_SECONDS each.
native-test: $(VENV)/python
	@PYFORWARD_FUZZ_SECONDS=$(FUZZ_SECONDS) RUST_TEST_THREADS=8 $(TIMED) cargo-test \
		$(CARGO) test $(MANIFEST) --workspace --locked --quiet

# What a frame costs in instructions: no clock, so that a busy machine tells the same as a quiet one.
COUNTS := $(CARGO) bench $(MANIFEST) --locked --quiet --package pyforward-core --bench counts

counts: $(VENV)/python
	@$(TIMED) counts $(COUNTS)

counts-baseline: $(VENV)/python
	@$(COUNTS) -- agree

check: lint types native-lint native-test counts contracts units

# --- everything --------------------------------------------------------------------------------

tools:
	@sh scripts/test-tools

# Most tests wait more than they compute, so that three files run at a time; those that count freezes,
# memory or time have the machine to themselves. pytest comes last, so that its closing line is the
# last one.
test: tools lint types native-lint native-test counts $(VENV)/dev
	@PYFORWARD_FUZZ_SECONDS=$(FUZZ_SECONDS) $(TIMED) pytest $(BIN)/python -m pytest \
		--numprocesses=3 --dist=loadfile -m 'not alone'
	@$(BIN)/python -m pytest -m alone

bench-ceiling: $(VENV)/python
	@$(CARGO) run $(MANIFEST) --release --locked --quiet --package pyforward-ceiling -- $(ARGS)

bench-packets: $(VENV)/python
	@$(CARGO) bench $(MANIFEST) --locked --quiet --package pyforward-core --bench packets -- $(ARGS)

# What takes minutes or measures time, so that no other test has to. docs/measurements.md keeps the
# figures of one run.
soak: $(VENV)/dev
	@$(TIMED) storm $(CARGO) test $(MANIFEST) --release --locked --quiet --package pyforward-core \
		--test loss -- --nocapture --ignored
	@$(TIMED) swarm $(BIN)/python -m pytest -q -s tests/soak

dashboards: $(VENV)/dev
	@PYTHONPATH=.:bench $(BIN)/python -m grafana.generate $(RUNBOOK_URL)
	@$(BIN)/python -m pyforward.metrics docs/metrics.md

observe: $(VENV)/package
	@$(BIN)/python scripts/observe.py $(ARGS)

wheel: $(VENV)/dev
	@$(TIMED) wheel sh scripts/wheel-check $(BIN)/python

demo-media: $(VENV)/dev
	@$(BIN)/python scripts/make_demo.py

bench-traces: $(VENV)/dev
	@$(BIN)/python scripts/make_traces.py

clean:
	rm -rf $(VENV) build dist *.egg-info pyforward/*.so pyforward/media/packetizers/*.so \
		bench/pyforward_bench/statistics/*.so .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache native/target
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
