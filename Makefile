# medley: `make help` lists what can be done.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Build caches live outside the checkout, keyed by their lock files: another clean clone on this machine builds little.
MEDLEY_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/medley
LOCKS := $(shell cat Cargo.lock rust-toolchain.toml 2>/dev/null | sha256sum | cut -c1-16)
export MEDLEY_CACHE
export CARGO_TARGET_DIR ?= $(MEDLEY_CACHE)/target/$(LOCKS)

CLUSTER_BIN = $(CARGO_TARGET_DIR)/debug/cluster
# Tests that need a real control plane, and those that need a real node.
FAKE_TESTS := schema conformance_real cluster registry_api cluster_fake cluster_lifecycle
# Of these, what any cluster can answer.
CURRENT_TESTS := schema conformance_real
NODE_TESTS := charts_node cluster_node node
# A FHIR server of PyPI, kept as long as its list of versions stays the same.
FHIR_PEER := $(MEDLEY_CACHE)/peers/fhir-$(shell sha256sum tests/peers/fhir/requirements.txt | cut -c1-16)
# A FHIR server of another make: HAPI's library, of Maven Central.
HAPI_PEER := $(MEDLEY_CACHE)/peers/hapi-$(shell cat tests/peers/hapi/pom.xml tests/peers/hapi/src/main/java/*.java | sha256sum | cut -c1-16)
# An HL7 server, likewise.
HL7_PEER := $(MEDLEY_CACHE)/peers/hl7-$(shell sha256sum tests/peers/hl7/requirements.txt | cut -c1-16)
# A DICOM service, likewise.
DICOM_PEER := $(MEDLEY_CACHE)/peers/dicom-$(shell sha256sum tests/peers/dicom/requirements.txt | cut -c1-16)
# A gRPC server, likewise.
GRPC_PEER := $(MEDLEY_CACHE)/peers/grpc-$(shell sha256sum tests/peers/grpc/requirements.txt | cut -c1-16)
# A Python environment with what a list names.
define VENV
rm -rf $(1)
python3 -m venv $(1)
$(1)/bin/python -m pip install --quiet --disable-pip-version-check -r $(2)
touch $(1)/done
endef
PICK = $(foreach t,$(1),--test $(t))

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build everything that the tests use
	cargo build --locked --workspace --all-targets

.PHONY: test
test: lint programs test-fast test-plans test-peers test-example test-cluster test-node ## All tests; sets up all they need (root and Linux for the real node)
	@echo 'make test: all tiers passed'

.PHONY: lint
lint: ## Format, clippy, licences and banned crates
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	cargo fmt --all --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --manifest-path fuzz/Cargo.toml -p medley-laws --all-targets --quiet -- -D warnings
	scripts/deny.sh

.PHONY: programs
programs: ## Build the local cluster's programs (once per machine)
	cargo run --locked --quiet -p medley-harness --bin cluster -- build

.PHONY: test-fast
test-fast: programs ## Tests without a cluster: units, laws, simulator, schema drift, charts
	MEDLEY_CLUSTER_BIN=$$($(CLUSTER_BIN) build) cargo test --locked --workspace

.PHONY: test-plans
test-plans: ## Random plans in the simulator (MEDLEY_PLANS=500000: a night's worth)
	MEDLEY_PLANS=$${MEDLEY_PLANS:-20000} cargo test --locked -p medley --test converge plans:: -- --nocapture

.PHONY: test-codecs
test-codecs: ## Every reader of foreign bytes under more than a million generated inputs, panics and memory (MEDLEY_CODEC_CASES: of each)
	MEDLEY_CODEC_CASES=$${MEDLEY_CODEC_CASES:-100000} cargo test --locked --manifest-path fuzz/Cargo.toml -p medley-laws -- --nocapture

.PHONY: fuzz
fuzz: ## The same readers under bytes that coverage picks, with libFuzzer (TARGET=dicom: only that one; SECONDS=60 for each; a C++ compiler)
	scripts/fuzz.sh $(or $(TARGET),all) $(or $(SECONDS),60)

.PHONY: test-mutants
test-mutants: ## Deliberate bugs, one at a time: do the tests notice each? (takes an hour; MUTANT=text: only those of that name)
	cargo run --locked --quiet -p medley-harness --bin mutants -- --scratch $(CARGO_TARGET_DIR)/mutants $(if $(MUTANT),--only '$(MUTANT)')

.PHONY: test-peers
test-peers: programs $(FHIR_PEER)/done $(HAPI_PEER)/done $(HL7_PEER)/done $(GRPC_PEER)/done $(DICOM_PEER)/done ## Tests against real servers of other projects, and of alerts with promtool (python3 with venv, network namespaces; from PyPI, Maven Central and Debian, once)
	scripts/servers.sh
	MEDLEY_FHIR_PYTHON=$(FHIR_PEER)/bin/python MEDLEY_HAPI=$(HAPI_PEER) MEDLEY_HL7_PYTHON=$(HL7_PEER)/bin/python \
		MEDLEY_GRPC_PYTHON=$(GRPC_PEER)/bin/python \
		cargo test --locked --test fhir_peer --test hl7_peer --test grpc_peer --test mirrors -- --ignored
	cargo test --locked --quiet --test dicom_peer --no-run
	MEDLEY_DICOM_PYTHON=$(DICOM_PEER)/bin/python scripts/dicom-peers.sh \
		cargo test --locked --offline --test dicom_peer -- --ignored
	MEDLEY_CLUSTER_BIN=$$($(CLUSTER_BIN) build) scripts/monitoring-peers.sh \
		cargo test --locked --test monitoring --test influxdb_peer --test prometheus_peer -- --ignored

$(FHIR_PEER)/done: tests/peers/fhir/requirements.txt
	$(call VENV,$(FHIR_PEER),$<)

$(HAPI_PEER)/done: tests/peers/hapi/pom.xml $(wildcard tests/peers/hapi/src/main/java/*.java)
	scripts/servers.sh
	rm -rf $(HAPI_PEER)
	mvn --quiet --batch-mode --file $< -Dpeer.directory=$(HAPI_PEER) compile dependency:copy-dependencies -DoutputDirectory=$(HAPI_PEER)/dependency
	touch $@

$(HL7_PEER)/done: tests/peers/hl7/requirements.txt
	$(call VENV,$(HL7_PEER),$<)

$(GRPC_PEER)/done: tests/peers/grpc/requirements.txt
	$(call VENV,$(GRPC_PEER),$<)

$(DICOM_PEER)/done: tests/peers/dicom/requirements.txt
	$(call VENV,$(DICOM_PEER),$<)

.PHONY: test-example
test-example: programs ## Tests of an example's own program, and the directory of services on a real node (root, Linux)
	cd examples/ct-quality/analysis && go vet ./... && go test ./...
	ONCE=1 $(MAKE) --no-print-directory demo-directory

.PHONY: test-cluster
test-cluster: programs ## Tests on a real control plane with fake nodes (no root); CLUSTER=current: on the cluster of KUBECONFIG
	cargo test --locked --workspace --no-run --quiet
ifeq ($(CLUSTER),current)
	@test -n "$$KUBECONFIG" || { echo 'CLUSTER=current needs KUBECONFIG, the cluster to use; it is never taken from a default' >&2; exit 1; }
	cargo test --locked --workspace $(call PICK,$(CURRENT_TESTS)) -- --ignored
else
	$(CLUSTER_BIN) run fake --name test-fake --wait 600 -- cargo test --locked --workspace $(call PICK,$(FAKE_TESTS)) -- --ignored --test-threads=4
endif

.PHONY: test-node
test-node: programs image ## Tests on a real node (root, Linux)
	cargo test --locked --workspace --no-run --quiet
	$(CLUSTER_BIN) run node --name test-node --wait 600 -- cargo test --locked --workspace $(call PICK,$(NODE_TESTS)) -- --ignored --test-threads=1

.PHONY: bench-foundation
bench-foundation: programs ## Figures of runs, calls, takeover and idling on a control plane with fake nodes (root for all rows)
	cargo bench --locked --bench foundation --no-run
	$(CLUSTER_BIN) run fake --name bench --wait 600 -- cargo bench --locked --bench foundation

.PHONY: bench-coordination
bench-coordination: programs ## Figures of whole workflows beside the least that any engine could cost (root; SECTIONS="pods writes latency calls large memory")
	cargo bench --locked --bench coordination --no-run
	$(CLUSTER_BIN) run fake --name bench --wait 600 -- cargo bench --locked --bench coordination -- $(SECTIONS)

.PHONY: bench-scheduling
bench-scheduling: ## Figures of decisions about capacity, in one thread and without a cluster (SECTIONS="pass shares plan")
	cargo bench --locked --bench scheduling -- $(SECTIONS)

# Sections that need a real node.
ON_NODE := kill away
.PHONY: bench-discovery
bench-discovery: programs ## Figures of answers to queries, of probes on a control plane with fake nodes, and of DNS on a real node (root; SECTIONS="rank change probe answers kill away"; MEDLEY_PROBE_MINUTES=10: probe for longer than 2)
	cargo bench --locked --bench discovery --bench discovery_node --no-run
ifneq ($(if $(SECTIONS),$(filter-out $(ON_NODE),$(SECTIONS)),all),)
	$(CLUSTER_BIN) run fake --name bench --wait 600 -- cargo bench --locked --bench discovery -- $(filter-out $(ON_NODE),$(SECTIONS))
endif
ifneq ($(if $(SECTIONS),$(filter $(ON_NODE),$(SECTIONS)),all),)
	$(CLUSTER_BIN) run node --name bench --wait 600 -- cargo bench --locked --bench discovery_node -- $(filter $(ON_NODE),$(SECTIONS))
endif

.PHONY: bench-admission
bench-admission: programs ## Figures of admission on a control plane with fake nodes (SECTIONS="load stat calls")
	cargo bench --locked --bench admission --no-run
	$(CLUSTER_BIN) run fake --name bench --wait 600 -- cargo bench --locked --bench admission -- $(SECTIONS)

.PHONY: image
image: ## Build the operator's image as dist/medley.tar, without Docker (RELEASE=1: as shipped)
	RELEASE=$(RELEASE) scripts/image.sh

.PHONY: crds
crds: ## Write crds/, the chart's copies and docs/reference/ from the types
	cargo run --locked --quiet --bin medley -- crds --out crds --docs docs/reference
	cargo run --locked --quiet --bin medley -- crds --out charts/medley-crds/files

.PHONY: demo
demo: ## A real CT study through a workflow on a real local cluster (ONCE=1: check the result and clean up)
	scripts/demo.sh

.PHONY: demo-directory
demo-directory: $(FHIR_PEER)/done $(HL7_PEER)/done ## Archives, a FHIR server and an HL7 feed that come, go and drift, found by what they can do (root, Linux; ONCE=1: check and clean up)
	MEDLEY_FHIR_PYTHON=$(FHIR_PEER)/bin/python MEDLEY_HL7_PYTHON=$(HL7_PEER)/bin/python scripts/demo-directory.sh

.PHONY: demo-down
demo-down: ## Remove either demo
	scripts/demo-down.sh
