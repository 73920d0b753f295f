# Everything a person or CI runs. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help prerequisites programs provision build fmt lint generate verify test test-fast model oracle fuzz mutants demo lab-up lab-down lab-status bench run image clean

# Tests wait for servers more than they compute: four a core, of those that this shell may use.
export RUST_TEST_THREADS ?= $(shell cores=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? cores * 4 : 16)))
PROGRAMS := $(or $(CARGO_TARGET_DIR),target)/debug
E2E := $(PROGRAMS)/waypost-e2e
ENGINE ?= $(shell command -v podman || command -v docker || command -v buildah)
IMAGE ?= waypost:dev

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

prerequisites: ## Say which programs are missing or too old (every target that builds runs this first)
	@e2e/prerequisites

# The whole workspace and one test: dependencies get the features that the tests need, so that
# nothing is compiled twice.
programs: prerequisites
	@cargo build --workspace --bins --test tidy --locked

provision: programs ## Build and install the lab's servers into the cache folder, once per machine
	@$(E2E) provision >/dev/null

build: prerequisites ## Build the program, optimised: target/release/waypost
	cargo build --release --bin waypost

fmt: prerequisites ## Format all sources
	cargo fmt --all
	gofmt -w e2e/controlplane e2e/health e2e/oracle e2e/tied

lint: prerequisites ## Check formatting, clippy, go vet, and that one TLS provider is used
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@tree=$$(cargo tree --workspace --target all --prefix none --format '{p}' --locked); \
	  if grep '^ring ' <<<"$$tree"; then echo "lint: ring is in the tree; aws-lc-rs is to be the only TLS provider" >&2; exit 1; fi
	@unformatted=$$(gofmt -l e2e/controlplane e2e/health e2e/oracle e2e/tied); \
	  if [ -n "$$unformatted" ]; then echo "lint: run make fmt for $$unformatted" >&2; exit 1; fi
	cd e2e/health && go vet ./...
	cd e2e/oracle && go vet ./...
	cd e2e/tied && go vet ./...

generate: programs ## Write what is generated: CRDs, admission policies, reference pages, and Go's answers for tests
	$(PROGRAMS)/waypost-generate
	cd e2e/oracle && go run . -corpus ../../template/tests/corpus
	cd e2e/oracle && go run ./paths ../../tests/json-path/corpus.json

verify: programs ## Check that what is generated is current
	$(PROGRAMS)/waypost-generate --check
	cd e2e/oracle && go run . -corpus ../../template/tests/corpus -check
	cd e2e/oracle && go run ./paths -check ../../tests/json-path/corpus.json

test: programs ## Run all tests; the control plane's first build takes some minutes, once per machine
	@$(E2E) provision --tests >/dev/null
	cargo test --workspace --locked

test-fast: prerequisites ## Run the tests that need no servers
	cargo test --workspace --lib --bins --locked

model: prerequisites ## Play random sequences of edits, faults and races (CASES=2000) against the models of the tests
	WAYPOST_MODEL_CASES=$(or $(CASES),2000) cargo test --workspace --lib --locked model_

oracle: prerequisites ## Compare the template engine with Go's own, function by function; CASES=100000 SEED=7 for that many random templates
ifdef CASES
	cargo build --workspace --example oracle --locked
	cd e2e/oracle && go build -o $(abspath $(PROGRAMS))/oracle .
	$(PROGRAMS)/examples/oracle $(abspath $(PROGRAMS))/oracle $(CASES) $(or $(SEED),1)
else
	cargo test --workspace --test oracle --locked -- --nocapture
endif

fuzz: prerequisites ## Look for inputs that break parsers, templates, paths, rewrites and decoding: FUZZ_SECONDS=60 each; ONLY=target for one
	@fuzz/run

mutants: programs ## Bring known faults back, one at a time, and say whether the tests notice; ONLY=word for some of them, RESUME=1 without those caught last time
	@$(E2E) mutants $(if $(ONLY),--only "$(ONLY)") $(if $(RESUME),--resume)

demo: provision ## Show a secret on its way, on real servers; KEEP=1 leaves them running
	@$(E2E) demo

lab-up: provision ## Start real servers that keep running, and print how to use them
	@$(E2E) lab up

lab-down: programs ## Stop them
	@$(E2E) lab down

lab-status: programs ## Say whether they run, and how to use them
	@$(E2E) lab status

bench: provision ## Measure on real servers; prints a table and JSON; ONLY=template, fleet, propagation or publishing for a part
	$(if $(filter template,$(ONLY)),,cargo build --release --bin waypost)
	$(if $(ONLY),BENCH_ONLY=$(ONLY)) cargo run --quiet --release --package waypost-e2e -- bench

run: lab-up ## Run the controller of this checkout against the running lab
	KUBECONFIG=$$($(E2E) lab controller-kubeconfig) $(PROGRAMS)/waypost controller --log-format text

image: ## Build the container image (IMAGE=name:tag) with podman, docker or buildah
	@if [ -z "$(ENGINE)" ]; then echo "image: install podman, docker or buildah, or name one: make image ENGINE=..." >&2; exit 1; fi
	@$(ENGINE) info >/dev/null 2>&1 || { echo "image: $(ENGINE) is here but its engine does not answer: start it, or name another: make image ENGINE=..." >&2; exit 1; }
	$(ENGINE) build --tag $(IMAGE) --file Containerfile .

clean: ## Remove what cargo built; the lab's servers stay in the cache folder
	cargo clean
