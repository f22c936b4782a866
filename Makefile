# What a newcomer needs: `make help`.

CARGO ?= cargo
FUZZ_SECONDS ?= 60
SIZES ?= 10000 100000 1000000
PARTS ?= pages lookups
FAILOVERS ?= 100
ROLLOUTS ?= 20

.PHONY: help run test test-deploy test-image tools check bench bench-keymap bench-instructions bench-http \
	bench-http-short bench-tools \
	failovers rollout-test dashboard \
	manifests image push deploy undeploy e2e fuzz demo clean
.DEFAULT_GOAL := help

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Serve on 127.0.0.1:8000
	$(CARGO) run --release

test: tools ## Run every test, every bench once, and the contract on every engine
	$(CARGO) test --all-targets
	for engine in node sentinel cluster; do \
		KVSTORE_TEST_ENGINE=$$engine $(CARGO) test --test http || exit 1; \
	done
	@$(MAKE) --no-print-directory test-deploy test-image

test-deploy: tools target/venv ## Test the manifests, rules and dashboard, with the binary that was built last
	@test -x target/debug/kvstore || test -x target/release/kvstore || $(CARGO) build
	target/venv/bin/python -m pytest -q tests/deploy --ignore tests/deploy/image

test-image: target/venv ## Build the image on stand-ins for its bases, and run it
	@for tool in buildah curl debootstrap podman runc ss; do \
		PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null || missing=yes; \
	done; \
	test -z "$$missing" || { \
		apt-get update && \
		RUNLEVEL=1 apt-get install -y buildah curl debootstrap iproute2 podman runc; \
	} || echo "not installed: the image is not tested in full"
	target/venv/bin/python -m pytest -q -s -rs tests/deploy/image

image: ## Build the image IMAGE (kvstore:<version>) with podman, docker or buildah
	@scripts/image/build.sh

push: ## Push it to a registry as IMAGE
	@scripts/image/push.sh

target/venv: tests/deploy/requirements.txt
	python3 -m venv target/venv
	target/venv/bin/pip install -q -r tests/deploy/requirements.txt
	touch target/venv

tools:
	@for tool in curl haproxy ip openssl prometheus promtool python3 redis-server redis-cli setpriv; do \
		PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null || missing=yes; \
	done; \
	python3 -c 'import ensurepip' 2>/dev/null || missing=yes; \
	test -z "$$missing" || { \
		apt-get update && \
		RUNLEVEL=1 apt-get install -y curl haproxy iproute2 openssl prometheus python3-venv \
			redis-server util-linux; \
	}

check: ## Check the format, lints, docs and licences
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny check licenses bans sources; \
	else \
		echo "cargo-deny is not installed: licences are not checked (cargo install cargo-deny)"; \
	fi

bench: ## Time the key map and the store against rivals
	$(CARGO) bench --bench keymap --bench pages --bench store

bench-keymap: ## Time the key map: SIZES keys (10000 100000 1000000), PARTS (pages lookups deletes memory redis plot)
	$(CARGO) bench --bench pages -- $(SIZES) $(PARTS)

bench-instructions: ## Count the instructions of a request through all but the network; needs valgrind
	@command -v valgrind >/dev/null || { apt-get update && apt-get install -y valgrind; }
	$(CARGO) bench --bench instructions

bench-http: bench-tools ## Time HTTP against its limit and rivals: ROUNDS (5) of SECONDS (2), TARGETS, LOADS, WRITE=yes
	$(CARGO) build --release --example bare --bin kvstore
	@python3 scripts/bench/compare.py

bench-http-short: ## The same for a moment, without the rivals, to see that it works
	@command -v wrk >/dev/null || { apt-get update && apt-get install -y wrk; }
	$(CARGO) build --release --example bare --bin kvstore
	@ROUNDS=1 SECONDS=1 TARGETS="bare bare-prom kvstore-1k" python3 scripts/bench/compare.py

bench-tools:
	@for tool in wrk redis-server redis-cli webdis etcd nginx; do \
		PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null || missing=yes; \
	done; \
	test -z "$$missing" || { \
		apt-get update && \
		RUNLEVEL=1 apt-get install -y etcd-server nginx-light redis-server webdis wrk; \
	}

failovers: tools ## Fail a Redis cluster over FAILOVERS times (100) under load, and say what was lost
	KVSTORE_TEST_FAILOVERS=$(FAILOVERS) $(CARGO) test --release --test engine -- --exact --nocapture \
		failover::after_each_of_many_failovers_the_indexes_equal_the_store

rollout-test: tools ## Replace three servers one by one, ROLLOUTS times (20), under load behind HAProxy
	KVSTORE_TEST_ROLLOUTS=$(ROLLOUTS) $(CARGO) test --release --test rollout -- --nocapture

dashboard: ## Write the Grafana dashboard from the list of its panels
	python3 scripts/dashboard/generate.py > k8s/components/monitoring/dashboard.json

manifests: ## Print the manifests of OVERLAY (single-node, multi-node, external, embedded) with COMPONENTS
	@scripts/manifests.sh

deploy: ## Deploy OVERLAY with IMAGE, COMPONENTS, NAMESPACE, HOST to kubectl's cluster, and wait
	@scripts/deploy.sh

undeploy: ## Remove it again; PURGE=yes its data too
	@scripts/undeploy.sh

e2e: ## Deploy IMAGE to the cluster of KUBECONFIG, restart and scale it under load, and remove it
	@scripts/e2e.sh

fuzz: ## Fuzz the key map for FUZZ_SECONDS (60); needs clang's or gcc's C++
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install cargo-fuzz
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run keymap --sanitizer none -- -max_total_time=$(FUZZ_SECONDS)

demo: ## Load 4.5 million npm package names and search them
	$(CARGO) build --release
	scripts/demo.sh

clean: ## Remove what was built
	$(CARGO) clean
