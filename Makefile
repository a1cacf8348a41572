# What a developer types. Builds go outside the clone, unless CARGO_TARGET_DIR says otherwise.

SHELL := bash
PATH := $(PATH):$(HOME)/.cargo/bin
TRANSLOAD_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/transload
CARGO_TARGET_DIR ?= $(TRANSLOAD_CACHE)/target
TRANSLOAD_RUN_DIR ?=
export PATH TRANSLOAD_CACHE CARGO_TARGET_DIR

services := connectors/testkit/services
# Where `make services-up` puts the services when TRANSLOAD_RUN_DIR does not say.
run_dir = $(or $(TRANSLOAD_RUN_DIR),$(TRANSLOAD_CACHE)/services)

.DEFAULT_GOAL := help
.PHONY: help demo test test-crash test-faults test-bigquery-live bench-bigquery bench-cancel bench-memory lint docs check bench fuzz detection-report services-up services-down clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## Move a small table, with no server and no account
	@scripts/demo.sh

test: ## Run every test (Rust, Python, Node) against real servers
	@scripts/test.sh

test-faults: ## Run 200 seeded fault runs against the BigQuery emulator (takes long)
	@scripts/seeds.sh faults 200

test-crash: ## Kill runners at 300 random moments while the source changes (takes long)
	@scripts/seeds.sh crash 300

test-bigquery-live: ## Run the BigQuery tests against a real project (needs credentials)
	@scripts/bigquery_live.sh

check: lint docs ## Run lint and docs

lint: ## Check formatting and lints
	@for script in $$(git ls-files '*.sh') .ci/run; do bash -n "$$script" || exit 1; done
	bash scripts/counts_test.sh
	cargo fmt --all --check
	cargo clippy --workspace --lib --bins --examples --all-features -- -D warnings
	# Tests may unwrap and print: a test that cannot prepare itself must fail loudly.
	cargo clippy --workspace --tests --all-features -- -D warnings -A clippy::unwrap_used -A clippy::expect_used \
		-A clippy::print_stdout -A clippy::print_stderr -A unreachable_pub

docs: ## Build the API documentation; a warning is an error
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

bench: ## Compare with other tools (takes long)
	@benches/compare/run.sh

bench-bigquery: ## Time PostgreSQL to the BigQuery emulator beside its two halves
	@benches/bigquery/run.sh

bench-cancel: ## Cancel runs at random moments and print the slowest stop
	@benches/cancel/run.sh

bench-memory: ## Fail if runs at once pass their memory budget
	@benches/memory/run.sh

detection-report: ## Compare type detection with other tools on labelled columns
	@benches/detection/run.sh

fuzz: ## Fuzz the decoders for half a minute (the first build takes minutes)
	@scripts/fuzz.sh 30

services-up: ## Start PostgreSQL and the BigQuery emulator and leave them running
	@$(services)/install.sh
	@TRANSLOAD_RUN_DIR="$(run_dir)" $(services)/up.sh >/dev/null
	@echo "running; now: source $(run_dir)/env"

services-down: ## Stop them
	@$(services)/down.sh "$(run_dir)"

clean: ## Remove what builds have made (not the installed services)
	cargo clean
	rm -rf bindings-node/node_modules bindings-node/dist bindings-node/*.node
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
