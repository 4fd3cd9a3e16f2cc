# What there is to do. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: help demo test load check schemas clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## build, then 20 seconds of sample traffic through a whole pipeline on this machine
	@sh .ci/demo.sh

test: ## every test; on Apache Kafka too where Java and Maven are there
	@sh .ci/test.sh

load: ## measure latency and throughput on Apache Kafka, about 20 minutes; ARGS holds its arguments (--help, agents, backlog --rounds 5)
	@sh .ci/packages.sh default-jre-headless maven
	cargo bench --quiet --locked --profile loadtest --bench loadtest -- $(ARGS)

check: ## formatting, clippy and docs, warnings denied
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

schemas: ## write the derived files under schemas/ anew
	cargo run --quiet --locked -- schema topologies/campaign.yaml --dir schemas

clean: ## remove everything that was built or fetched
	cargo clean
	rm -rf .kafka
