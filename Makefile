# Everything that is done to Weir from a shell. `make` alone lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Cargo and Vite use every core already, and `check` and `test` share their artefacts in this order.
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The only place where the versions of the tools stand.
CARGO_DENY := 0.20.2
CARGO_MACHETE := 0.9.2
CARGO_FUZZ := 0.13.2

CARGO := cargo
DATA := .weir
WEIR_DEBUG := target/debug/weir
WEIR_RELEASE := target/release/weir
FUZZ_TARGETS := conversation handshake tags configuration query token
# What the web app is built from; a changed test must not rebuild it.
WEB_SOURCES := $(shell find frontend \( -name node_modules -o -name dist -o -name e2e -o -name 'test*' \) -prune \
	-o -type f ! -name '*.test.*' ! -name 'playwright*' ! -name '*.md' -print 2>/dev/null)

# The browser comes from the system (scripts/setup), not from Playwright.
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD := 1

## Use

.PHONY: run
run: setup-run build ## Everything up, with a demo stream: the page's address is printed
	@exec $(WEIR_RELEASE) up --demo --data-dir $(DATA)

.PHONY: demo
demo: setup-run build ## A test picture into a channel of a Weir that is up: make demo KEY=<stream key>
	@[ -n "$${KEY:-}" ] || { echo "say which channel: make demo KEY=<its stream key, from the dashboard>" >&2; exit 2; }
	@WEIR_DEMO_STREAM_KEY="$$KEY" exec $(WEIR_RELEASE) demo

.PHONY: build
build: web ## The release binary, with the web app in it
	@$(CARGO) build --release --locked

## Work

.PHONY: test
test: setup-test web ## Every test: web app, crates, and the real binary with Postgres, NATS, ffmpeg and a browser
	@cd frontend && npm test --silent
	@$(CARGO) test --workspace --locked

.PHONY: soak
soak: setup-test web ## Kill and stop everything at random under load, for long: make soak [KILLS=1000] [SEED=…] [MINUTES=…]; or watch a live Weir: make soak LIVE=<addresses> [MINUTES=60] [PID=…]
	@[ -z "$${LIVE:-}" ] || { WEIR_SOAK_LIVE="$$LIVE" WEIR_SOAK_MINUTES=$(MINUTES) WEIR_SOAK_PID=$(PID) \
		$(CARGO) test --locked --test soak -- --ignored --nocapture what_is_live; exit; }; \
	WEIR_SOAK_KILLS=$(or $(KILLS),1000) WEIR_SOAK_SEED=$(SEED) WEIR_SOAK_MINUTES=$(MINUTES) \
		$(CARGO) test --locked --test soak -- --nocapture

.PHONY: soak-media
soak-media: setup-test web ## Two live streams watched at each second for long, then `fuzz`: make soak-media [MINUTES=60] [FUZZ_MINUTES=10]
	@WEIR_SOAK_MINUTES=$(or $(MINUTES),60) $(CARGO) test --locked --test soak -- --ignored --nocapture two_streams
	@[ "$(FUZZ_MINUTES)" = 0 ] || $(MAKE) fuzz MINUTES=$(or $(FUZZ_MINUTES),10)

.PHONY: fuzz
fuzz: fuzz-tools ## Feed strangers' bytes to all that reads them, for so long each: make fuzz [MINUTES=10]
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p "ingest/fuzz/found/$$target"; \
		(cd ingest && $(CARGO) +nightly fuzz run "$$target" "fuzz/found/$$target" "fuzz/corpus/$$target" -- -dict=fuzz/rtmp.dict -max_len=8192 -verbosity=0 \
			-print_final_stats=1 -max_total_time=$$(( $(or $(MINUTES),10) * 60 ))); \
	done

.PHONY: check
check: setup-check fmt-check web-check clippy doc deny machete generated contract compose docs ## Everything that is not a test

.PHONY: fmt
fmt: node-modules ## Format all sources
	@$(CARGO) fmt --all
	@cd frontend && npm run --silent format

.PHONY: gen
gen: web ## Write the generated files again: openapi.json, asyncapi.yaml, the TypeScript client, the message catalogues
	@$(CARGO) build --locked
	@$(WEIR_DEBUG) openapi > openapi/openapi.json.new && mv openapi/openapi.json.new openapi/openapi.json
	@$(WEIR_DEBUG) asyncapi > openapi/asyncapi.yaml.new && mv openapi/asyncapi.yaml.new openapi/asyncapi.yaml
	@cd frontend && npm run --silent gen && npm run --silent i18n

.PHONY: bench
bench: setup-test build ## The benchmarks; docs/benchmarks.md says what each one measures
	@$(CARGO) bench --workspace --bench '*' --locked
	@$(CARGO) test --release --locked --package projections --test it -- --ignored --nocapture rates
	@node benches/glass-to-glass/run.mjs
	@node benches/glass-to-glass/run.mjs --loads 10

.PHONY: clean
clean: ## Remove what was built; the data in .weir stays
	@$(CARGO) clean
	@rm -rf frontend/dist frontend/node_modules

## The parts of `check`

.PHONY: fmt-check
fmt-check: ## Rust formatting
	@$(CARGO) fmt --all -- --check

.PHONY: web-check
web-check: node-modules ## ESLint, Prettier and tsc
	@cd frontend && npm run --silent lint && npm run --silent typecheck

.PHONY: clippy
clippy: web ## Clippy on every target, warnings denied
	@$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: doc
doc: web ## rustdoc, warnings denied
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

.PHONY: deny
deny: tools ## Licences, banned crates, sources, the arrows between our crates, and advisories where they can be fetched
	@cargo deny --log-level warn check --hide-inclusion-graph --allow unused-wrapper bans licenses sources
	@! $(CARGO) tree --locked --workspace --edges normal,build --prefix none | grep '^postgres-es ' \
		|| { echo "postgres-es may only be a dev-dependency (deny.toml)" >&2; exit 1; }
	@! $(CARGO) tree --locked --workspace --edges normal,build --prefix none --depth 1 --invert embedded | grep -Ev '^(embedded|weir) ' \
		|| { echo "embedded may only be a dev-dependency outside the binary (deny.toml)" >&2; exit 1; }
	@if timeout 120 cargo deny --log-level off fetch db 2>/dev/null; then \
		cargo deny --log-level warn check --disable-fetch --hide-inclusion-graph advisories; \
	else \
		printf '%s\n' '' 'WARNING: ADVISORIES WERE NOT CHECKED. Their database could not be fetched within two minutes, so that this says nothing' \
			'of known weaknesses in the libraries. Run `make deny` where https://github.com/rustsec/advisory-db can be reached.' '' >&2; \
	fi

.PHONY: machete
machete: tools ## Dependencies that nothing uses
	@cargo machete

.PHONY: generated
generated: web ## Generated files are what the sources make
	@$(CARGO) build --locked
	@scripts/check-generated $(WEIR_DEBUG)

.PHONY: contract
contract: setup-contract generated ## No answer of the API is a 500 or other than openapi.json says, whatever is asked
	@scripts/check-api $(WEIR_DEBUG)

.PHONY: compose
compose: node-modules ## compose.yaml parses, and only weir is published
	@node scripts/check-compose.mjs compose.yaml
	@if docker compose version >/dev/null 2>&1; then docker compose config --quiet; fi

.PHONY: docs
docs: ## Links between the documents lead somewhere
	@node scripts/check-docs.mjs

## Foundations

.PHONY: setup-run setup-test setup-contract setup-check
setup-run setup-test setup-contract setup-check: setup-%:
	@scripts/setup $*

.PHONY: tools
tools:
	@cargo deny --version 2>/dev/null | grep -qx 'cargo-deny $(CARGO_DENY)' \
		|| cargo install --quiet --locked cargo-deny@$(CARGO_DENY)
	@[ "$$(cargo machete --version 2>/dev/null)" = "$(CARGO_MACHETE)" ] \
		|| cargo install --quiet --locked cargo-machete@$(CARGO_MACHETE)

.PHONY: fuzz-tools
fuzz-tools:
	@cargo fuzz --version 2>/dev/null | grep -qx 'cargo-fuzz $(CARGO_FUZZ)' \
		|| cargo install --quiet --locked cargo-fuzz@$(CARGO_FUZZ)
	@rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal

.PHONY: node-modules
node-modules: frontend/node_modules/.package-lock.json

# npm writes this file itself; touched, because npm leaves it older than the lock at times.
frontend/node_modules/.package-lock.json: frontend/package-lock.json
	@cd frontend && npm ci --silent --no-audit --no-fund
	@touch $@

.PHONY: web
web: frontend/dist/index.html

frontend/dist/index.html: frontend/node_modules/.package-lock.json $(WEB_SOURCES)
	@cd frontend && npm run --silent build -- --logLevel warn
	@touch $@

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## " } \
		/^## / { printf "\n%s\n", substr($$0, 4) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
