# Loops for people. `make help` lists them. Everything that is built or fetched lives in $(TIDEGATE_CACHE), outside the clone, so that a second
# clone and the next landing reuse it; RocksDB, a quarter of an hour, is built once because there is one Cargo profile (release) and one target directory.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

export TIDEGATE_CACHE ?= $(HOME)/.cache/tidegate
export CARGO_TARGET_DIR ?= $(TIDEGATE_CACHE)/target
# The pure core has a directory of its own: its dependencies carry other features, and would rebuild the others at every turn.
core := CARGO_TARGET_DIR=$(TIDEGATE_CACHE)/check
bin := $(CARGO_TARGET_DIR)/bin

# How long `make demo` plays; empty: until Ctrl-C.
SECONDS ?=
unexport SECONDS

# $(call phase,name,command): name before, duration after.
define phase
@echo "==> $(1)"; begun=$$EPOCHSECONDS; $(2); echo "<== $(1): $$((EPOCHSECONDS - begun)) s"
endef

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup-build ## a simulated shop, decided live, without Kafka: make demo SECONDS=20
	@cargo build --release --locked
	@install -D $(CARGO_TARGET_DIR)/release/tidegate $(bin)/tidegate
	@$(bin)/tidegate demo $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: check
check: setup-check fmt-check ## quick loop: format, lints, unit tests and properties of the core, without Kafka and RocksDB
	$(call phase,clippy of the core,$(core) cargo clippy --release --locked --no-default-features --all-targets --quiet -- -D warnings)
	$(call phase,tests of the core,$(core) cargo test --release --locked --no-default-features --quiet)

.PHONY: test
test: setup fmt-check clippy unit binaries validate system docs deny ## everything that guards a landing

.PHONY: soak
soak: setup binaries ## the long versions: 50 kills, the deliberate bugs that must be caught, more cases per property
	$(call phase,properties,PROPTEST_CASES=20000 TIDEGATE_SIM_SEEDS=5000 cargo test --release --locked --quiet)
	$(call phase,system suite (long),SOAK=1 tests/system/run)

.PHONY: bench
bench: setup binaries ## throughput and latency beside plain librdkafka on one broker; reported, not asserted: make bench ARGS=--quick
	@benches/run $(ARGS)

.PHONY: forecasts
forecasts: setup-check ## how often what is said to run out is really bought next, over a year of real orders in ../shared/data
	@$(core) cargo test --release --locked --no-default-features --quiet --test forecasts -- --nocapture

.PHONY: fmt
fmt: ## format the sources
	@cargo fmt

# The parts of `make test`, each of them callable alone.

.PHONY: setup setup-build setup-check
setup: ## install what is missing (as root on Debian), or say what is
	$(call phase,setup,deploy/local/setup)
setup-build:
	@deploy/local/setup rust cc native
setup-check:
	@deploy/local/setup rust cc

.PHONY: fmt-check clippy unit binaries validate system docs deny
fmt-check:
	$(call phase,format,cargo fmt --check)

clippy:
	$(call phase,clippy,cargo clippy --release --locked --all-targets --all-features --quiet -- -D warnings)
	$(call phase,clippy without Kafka and RocksDB,$(core) cargo clippy --release --locked --no-default-features --all-targets --quiet -- -D warnings)

unit:
	$(call phase,unit and integration tests,cargo test --release --locked --quiet)

# Two programs: the one that people run, and the one with kill points that the system suite runs.
binaries:
	$(call phase,build with kill points,cargo build --release --locked --quiet --features failpoints)
	@install -D $(CARGO_TARGET_DIR)/release/tidegate $(bin)/tidegate-failpoints
	$(call phase,build,cargo build --release --locked --quiet)
	@install -D $(CARGO_TARGET_DIR)/release/tidegate $(bin)/tidegate

validate:
	$(call phase,shipped configuration and flows,$(bin)/tidegate validate --config deploy/local/tidegate.yaml)

system:
	$(call phase,system suite on a real broker,tests/system/run)

docs:
	$(call phase,documentation,RUSTDOCFLAGS='-D warnings' cargo doc --release --locked --no-deps --document-private-items --quiet)

# Built once, unoptimized (two minutes instead of ten), beside the other caches.
deny_bin := $(TIDEGATE_CACHE)/tools/bin/cargo-deny
$(deny_bin):
	$(call phase,cargo-deny,CARGO_TARGET_DIR=$(TIDEGATE_CACHE)/tools/target cargo install cargo-deny --version 0.20.2 --locked --debug --quiet --root $(TIDEGATE_CACHE)/tools)
	@rm -rf $(TIDEGATE_CACHE)/tools/target
deny: $(deny_bin)
	$(call phase,licences and sources of dependencies,$(deny_bin) --offline --all-features check --hide-inclusion-graph bans licenses sources)
