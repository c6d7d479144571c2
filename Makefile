# The one door for people and CI. `make` alone explains it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CRATES := rookery-cluster rookery-actors rookery-node rookery-loadtest
SERVER := -p rookery-node --bin rookery --features jemalloc
# Extra arguments for what a target starts: `make run ARGS='--help'`.
ARGS ?=

# Where `make cluster` keeps its data, and how many nodes it starts.
CLUSTER ?= data-cluster
NODES ?= 3

.PHONY: help run build release test test-node test-cluster chaos lint bench load cluster cluster-stop clean tools

help: ## Explain the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' \
	  | while IFS=$$'\t' read -r target text; do printf '  make %-12s %s\n' "$$target" "$$text"; done

run: tools ## Build the server with optimizations and start it: a durable chat server in ./data, on 127.0.0.1:8080
	@cargo run --release --locked $(SERVER) -- serve $(ARGS)

build: tools ## Build everything, without optimizations
	@cargo build --workspace --locked

release: tools ## Build the server and the load harness with optimizations
	@cargo build --release --locked $(SERVER)
	@cargo build --release --locked -p rookery-loadtest

test: tools ## Install and start Kafka, MongoDB's protocol, Redis and S3, and run all tests there are
	@deploy/test/run

test-node: tools ## Run the tests of one node on the embedded adapters, of actors on many nodes, and of membership: a part of `make test`
	@deploy/install-tools test redis
	@deploy/test/install-clients
	@cargo test --workspace --locked $(ARGS)

test-cluster: tools ## Run the tests of three processes on real services, and of these: the other part of it
	@deploy/test/run --workspace --test cluster --test services

chaos: tools ## Break nodes and services of a cluster under load for a minute and a half: a fixed seed and a fresh one
	@deploy/test/chaos $(ARGS)

lint: tools ## Check format, clippy and docs with warnings as errors, and that each crate builds alone
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	@for crate in $(CRATES); do cargo check --locked -p "$$crate"; done
	@cargo check --locked -p rookery-actors --no-default-features

cluster: tools ## Start three nodes on a real Kafka, Redis, S3 and MongoDB-protocol server, print where they are, leave them
	@deploy/services/install & cargo build --release --locked $(SERVER) && wait
	@deploy/cluster/start "$${CARGO_TARGET_DIR:-target}/release/rookery" $(CLUSTER) $(NODES)

cluster-stop: ## Stop what `make cluster` started; ./data-cluster stays
	@deploy/cluster/stop $(CLUSTER)

bench: tools ## Run the micro-benchmarks that guard the hot paths
	@cargo bench --workspace --locked --bench '*' -- $(ARGS)

load: release ## Print the load table of the README: every scenario against this server, on this machine
	@cargo run --release --locked -p rookery-loadtest -- table $(ARGS)

clean: ## Remove what was built; ./data stays
	@cargo clean

tools:
	@deploy/install-tools build
