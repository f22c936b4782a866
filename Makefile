# What a newcomer needs: `make help`.

CARGO ?= cargo
FUZZ_SECONDS ?= 60
SIZES ?= 10000 100000 1000000
PARTS ?= pages lookups
FAILOVERS ?= 100
KILLS ?= 1000
WATCHERS ?= 10000
HISTORIES ?= 2000
ROLLOUTS ?= 20
EXAMPLES ?= 30
# For scripts/target-dir.sh, which says where cargo builds into: never `target` outright.
export CARGO

.PHONY: help run test test-interface test-deploy test-image tools check audit bench bench-keymap \
	bench-instructions bench-http bench-http-short bench-in-flight bench-tools bench-watch failovers kills \
	watchers histories rollout-test dashboard man abuse thorough test-console bench-console \
	manifests image push deploy undeploy e2e fuzz fuzz-check demo clean
.DEFAULT_GOAL := help

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-zA-Z0-9_-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Serve on 127.0.0.1:8000
	$(CARGO) run --release

man: ## Write the man pages of all commands into cargo's target folder, below man
	@target=$$(scripts/target-dir.sh) && $(CARGO) run --quiet -- man "$$target/man" && echo "man -l $$target/man/kvstore.1"

# Modules of tests/http in whose tests no engine has a part, or one of its own, which run once: on memory.
WITHOUT_ENGINE = \
	bounds::full \
	bounds::slow \
	buffers::wire \
	check \
	command \
	disk \
	durable \
	errors \
	faces \
	framing \
	gateway \
	logs \
	manual \
	readme \
	refusals \
	shell \
	start \
	terminal \
	tls \
	tokens \
	transfer \
	watch::crowds \
	watch::folding

# Modules of tests/http that ask an engine for each kind of thing: all that a hardened node could refuse.
HARDENED = \
	bulk \
	conditions \
	entries \
	erase \
	expiry \
	watch

test: tools ## Run every test, every bench once, and the contract on every engine
	$(CARGO) test --all-targets
	$(CARGO) test --release --test abuse -- --test-threads 1
	for engine in durable node sentinel cluster; do \
		KVSTORE_TEST_ENGINE=$$engine $(CARGO) test --test http -- $(WITHOUT_ENGINE:%=--skip %::) || exit 1; \
		KVSTORE_TEST_ENGINE=$$engine $(CARGO) test --test linearizability contract:: || exit 1; \
	done
	KVSTORE_TEST_ENGINE=hardened $(CARGO) test --test http -- $(HARDENED:%=%::) $(WITHOUT_ENGINE:%=--skip %::)
	@$(MAKE) --no-print-directory test-interface test-deploy test-console test-image

test-interface: tools ## Test what /openapi.json says by program, with the binary that was built last: EXAMPLES (30)
	@target=$$(scripts/target-dir.sh) && { test -x "$$target/debug/kvstore" || test -x "$$target/release/kvstore"; } || \
		$(CARGO) build
	@venv=$$(scripts/venv.sh interface) && KVSTORE_TEST_EXAMPLES=$(EXAMPLES) "$$venv/bin/python" -m pytest -q tests/interface

test-deploy: tools ## Test the manifests, rules, dashboard and scripts, with the binary that was built last
	@target=$$(scripts/target-dir.sh) && { test -x "$$target/debug/kvstore" || test -x "$$target/release/kvstore"; } || \
		$(CARGO) build
	@venv=$$(scripts/venv.sh) && "$$venv/bin/python" -m pytest -q -n auto --maxprocesses 4 --dist loadgroup \
		tests/deploy --ignore tests/deploy/image

test-console: tools ## Test the console in Chromium, with the binary that was built last
	@scripts/packages.sh browser
	@target=$$(scripts/target-dir.sh) && { test -x "$$target/debug/kvstore" || test -x "$$target/release/kvstore"; } || \
		$(CARGO) build
	@venv=$$(scripts/venv.sh console) && "$$venv/bin/python" -m pytest -q -n 2 tests/console

test-image: ## Build the image on stand-ins for its bases, and run it
	@scripts/packages.sh python
	@scripts/packages.sh image || echo "The image is not tested in full: the tests that were left out are named below"
	@venv=$$(scripts/venv.sh) && "$$venv/bin/python" -m pytest -q -s -rs tests/deploy/image

image: ## Build the image IMAGE (kvstore:<version>) with podman, docker or buildah
	@scripts/image/build.sh

push: ## Push it to a registry as IMAGE
	@scripts/image/push.sh

tools: ## Install what the tests need and is missing, after saying what it is; INSTALL=no says it only
	@scripts/packages.sh test python

check: ## Check the format, lints, docs, and of dependencies the licences and advisories
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --test abuse -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny check licenses bans sources; \
	else \
		echo "cargo-deny is not installed: licences are not checked (cargo install cargo-deny --locked)"; \
	fi
	@scripts/audit.sh || test $$? = 3

audit: ## Look for advisories on dependencies; their database may take AUDIT_SECONDS (60) to come
	@scripts/audit.sh

bench: ## Time the key map and the store against rivals
	$(CARGO) bench --bench keymap --bench pages --bench store

bench-keymap: ## Time the key map: SIZES keys (10000 100000 1000000), PARTS (pages lookups groups deletes memory redis plot)
	$(CARGO) bench --bench pages -- $(SIZES) $(PARTS)

bench-instructions: ## Count the instructions of a request through all but the network; needs valgrind
	@scripts/packages.sh instructions
	$(CARGO) bench --bench instructions

bench-http: bench-tools ## Time HTTP against its limit and rivals: ROUNDS (5) of SECONDS (2), TARGETS, LOADS, WRITE=yes
	$(CARGO) build --release --example bare --bin kvstore
	@python3 scripts/bench/compare.py

bench-http-short: ## The same for a moment, without the rivals, to see that it works
	@scripts/packages.sh bench-short
	$(CARGO) build --release --example bare --bin kvstore
	@ROUNDS=1 SECONDS=1 TARGETS="bare bare-prom kvstore-1k" python3 scripts/bench/compare.py

bench-in-flight: ## Measure what bodies that do not end and answers that are not read take
	$(CARGO) build --release
	@python3 scripts/bench/in_flight.py

bench-watch: ## Measure what watches take and carry: MEASURES (latency sets stream start), ROUNDS (5), SECONDS (30), KEYS (1000000)
	$(CARGO) build --release --bin kvstore --example watching
	@target=$$(scripts/target-dir.sh) && \
		"$$target/release/examples/watching" "$$target/release/kvstore" $(MEASURES)

bench-console: ## Time the console in Chromium at KEYS (10000000) keys: first paint, keystrokes, scrolling
	@scripts/packages.sh python browser
	$(CARGO) build --release
	@venv=$$(scripts/venv.sh console) && "$$venv/bin/python" scripts/bench/console.py

bench-tools: ## Install what bench-http needs and is missing, likewise
	@scripts/packages.sh bench

failovers: tools ## Fail a Redis cluster over FAILOVERS times (100) under load, and say what was lost
	KVSTORE_TEST_FAILOVERS=$(FAILOVERS) $(CARGO) test --release --test engine -- --exact --nocapture \
		failover::after_each_of_many_failovers_the_indexes_equal_the_store

kills: tools ## Kill a server with a data directory KILLS times (1000) under load, and audit what it kept
	KVSTORE_TEST_KILLS=$(KILLS) $(CARGO) test --release --test http -- --exact --nocapture \
		durable::nothing_that_was_acknowledged_or_seen_is_gone_after_kills_under_load

watchers: tools ## Have WATCHERS (10000) clients watch and leave in all ways, and say what is still held for them
	KVSTORE_TEST_WATCHERS=$(WATCHERS) $(CARGO) test --release --test http -- --exact --nocapture \
		watch::crowds::after_many_have_watched_and_left_nothing_is_held_for_them

histories: tools ## Record HISTORIES (2000) of clients at once on each engine, half as many through kills, and check their order
	for engine in memory durable node hardened sentinel cluster; do \
		KVSTORE_TEST_HISTORIES=$(HISTORIES) KVSTORE_TEST_ENGINE=$$engine \
			$(CARGO) test --release --test linearizability -- --nocapture contract:: || exit 1; \
	done
	KVSTORE_TEST_HISTORIES=$(HISTORIES) $(CARGO) test --release --test linearizability -- --nocapture kills::

thorough: ## Test the key map, the store and the log at the sizes and numbers of cases that take minutes
	KVSTORE_TEST_THOROUGH=yes $(CARGO) test --release --lib

rollout-test: tools ## Replace three servers one by one, ROLLOUTS times (20), under load behind HAProxy
	KVSTORE_TEST_ROLLOUTS=$(ROLLOUTS) $(CARGO) test --release --test rollout -- --nocapture

abuse: ## Overload, hold up, starve and lie to the release binary for minutes, and print what others noticed of it
	KVSTORE_TEST_ABUSE=long $(CARGO) test --release --test abuse -- --nocapture --test-threads 1

dashboard: ## Write the Grafana dashboard from the list of its panels
	python3 scripts/dashboard/generate.py > k8s/components/monitoring/dashboard.json

manifests: ## Print the manifests of OVERLAY (single-node, multi-node, external, embedded) with COMPONENTS
	@scripts/manifests.sh

deploy: ## Deploy OVERLAY with IMAGE, COMPONENTS, NAMESPACE, HOST, INGRESS to kubectl's cluster, and wait
	@scripts/deploy.sh

undeploy: ## Remove what deploy made in NAMESPACE; PURGE=yes its data too
	@scripts/undeploy.sh

e2e: ## Try IMAGE on the cluster of KUBECONFIG: deploy, restart and scale under load, print a table, remove it
	@scripts/e2e.sh

fuzz: ## Fuzz the key map and data directories for FUZZ_SECONDS (60) each; needs clang's or gcc's C++
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install cargo-fuzz
	for target in keymap directory; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target --sanitizer none -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

fuzz-check: ## Check what is fuzzed as far as its build, which takes less than to fuzz it
	@# Nothing is linked, so any path does for the fuzzer itself: its C++ is not built.
	@target=$$(scripts/target-dir.sh) && CUSTOM_LIBFUZZER_PATH="$$target/none/libfuzzer.a" \
		$(CARGO) clippy --manifest-path fuzz/Cargo.toml --target-dir "$$target" -- -D warnings

demo: ## Load 4.5 million npm package names and search them
	$(CARGO) build --release
	scripts/demo.sh

clean: ## Remove what was built
	$(CARGO) clean
