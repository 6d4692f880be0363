# What people type. `make test` is what CI runs (.ci/run), on a machine that has cargo, Node and gcc at least.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help run test check fmt fuzz bench tools web-packages

help: ## list what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: ## start a relay that works with no configuration
	cargo run --release --locked

test: tools web-packages ## install what the tests need, then run all of them
	@echo "== formatting"
	cargo fmt --all --check
	@echo "== lints"
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@echo "== build"
	cargo build --workspace --bins --locked
	@echo "== Rust tests"
	cargo test --workspace --locked
	@echo "== the page: types"
	cd web && npm run --silent check
	@echo "== the page: tests"
	cd web && npm run --silent test
	@echo "== the page in a browser, at a real relay"
	cd web && npm run --silent test:browser

check: web-packages ## formatting, lints and types; no tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cd web && npm run --silent check

# Of each target.
SECONDS ?= 60
fuzz: ## look for input that breaks a decoder; SECONDS=60 of each
	@command -v cargo-fuzz >/dev/null || { echo "cargo install cargo-fuzz, which needs a C++ compiler"; exit 1; }
	@for target in $$(cargo fuzz list --fuzz-dir fuzz); do \
		echo "== $$target"; \
		mkdir -p fuzz/corpus-new/$$target fuzz/corpus/$$target; \
		cargo fuzz run -s none --fuzz-dir fuzz $$target fuzz/corpus-new/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1; \
	done

fmt: ## format the Rust sources
	cargo fmt --all

bench: ## measure a relay on this machine; BENCH="--help" tells more
	cargo build --release --locked -p roundtable-relay -p roundtable-load
	@"$${CARGO_TARGET_DIR:-target}/release/roundtable-bench" $(BENCH)

bench-loss: ## how a call looks and sounds through a lossy link; BENCH="--help" tells more
	cargo build --release --locked -p roundtable-relay -p roundtable-publisher
	cargo bench --locked -p roundtable-tests --bench loss -- $(BENCH)

# apt only for what is missing; as root, or with sudo.
tools:
	@missing=(); \
	command -v ffmpeg >/dev/null || missing+=(ffmpeg); \
	command -v chromium >/dev/null || missing+=(chromium); \
	command -v node >/dev/null || missing+=(nodejs); \
	command -v npm >/dev/null || missing+=(npm); \
	command -v gcc >/dev/null || missing+=(gcc libc6-dev); \
	if (( $${#missing[@]} )); then \
		echo "== installing $${missing[*]}"; \
		sudo=; if [[ $$(id -u) != 0 ]]; then sudo="sudo -E"; fi; \
		export DEBIAN_FRONTEND=noninteractive; \
		$$sudo apt-get -o DPkg::Lock::Timeout=120 -qq update; \
		$$sudo apt-get -o DPkg::Lock::Timeout=120 -qq install -y --no-install-recommends "$${missing[@]}"; \
	fi

# Once per lock file.
web-packages: web/node_modules/.package-lock.json
web/node_modules/.package-lock.json: web/package-lock.json web/package.json
	@echo "== npm packages"
	cd web && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@
