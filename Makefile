# `make` says what there is.

GO       ?= go
FUZZTIME ?= 30s
CHAOS    ?= 2m
LOAD     ?= 10000
GOVULNDB ?= https://vuln.go.dev
VULN     ?= ./...
LINT     := bin/golangci-lint
# Of make bench: how many cases, how often, how their ends are learned, and what is compared.
N        ?= 500
REPEATS  ?= 3
MODES    ?= sync,events,polling
SYSTEMS  ?= sqlite,postgres,river,node
# The build tags of make run: they leave out the stores that STORE does not name, as drivers.Tags does for what is deployed.
# value, since a password may hold a $.
STORE_IS  = $(firstword $(subst :, ,$(value STORE)))
RUN_TAGS  = grpcnotrace$(if $(filter firestore,$(STORE_IS)),,$(comma)nofirestore)$(if $(filter postgres postgresql,$(STORE_IS)),,$(comma)nopostgres)
comma    := ,
SCRIPTS   = $(shell git ls-files -co --exclude-standard '*.sh' '.ci/*')

.DEFAULT_GOAL := help
.PHONY: help run try drill test quick skipped system chaos load fresh sim mutate policy lint openapi fmt bench microbench cost coldstart fuzz cover vuln linked licenses sbom pictures tidy

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: ## every function on this machine, at http://localhost:8080 (PORT, DATA_DIR; all settings of deploy/docs/settings.md)
	@[ -e bin/local ] || echo "building bin/local; the first time takes a minute or two, later ones a few seconds"
	@$(GO) build -tags=$(RUN_TAGS) -o bin/local ./deploy/local
	@exec bin/local # nothing stands between a signal and it

try: ## one job of a described pipeline by hand: PIPELINES_FILE=… PIPELINE=name FORM=form.json CANCEL=1; without them, of the sample pipeline
	@$(GO) build -o bin/try ./deploy/local/try
	@bin/try

drill: ## disturb the running `make run` (or ENV=name, a deployed copy), and report each promise kept or broken; DRILL="--only freeze --json"
	@if [ -n "$(ENV)" ]; then deploy/gcp/drill.sh "$(ENV)" $(DRILL); else $(GO) build -o bin/drill ./deploy/test/drill && bin/drill $(DRILL); fi

# The tests of most packages wait for others more than they work: -p runs more of them at once than
# there are processors.
test: ## all tests; what is skipped says why and how to get it
	$(GO) test -race -shuffle=on -timeout=20m -p=4 ./...
	$(GO) test -count=1 -run=Memory ./deploy/local/machine ./functions/start ./shared/pipeline # not by the race detector, which takes memory itself
	cd deploy/bench && $(GO) test -race -shuffle=on ./...
	cd deploy/tools && $(GO) test ./...
	@$(MAKE) --no-print-directory skipped

quick: ## the tests that need no service and no browser, and do not wait for long
	$(GO) test -short -shuffle=on -p=4 ./...

# Each test that lacks something says so itself (go test -v); this says it once for all of them.
skipped:
	@platform="$$(gcloud info --format='value(installation.sdk_root)' 2>/dev/null)/platform"; \
	lacks() { echo "skipped: $$1 ($$2)"; }; \
	command -v node >/dev/null || lacks "the browser module and the pages' scripts" "apt-get install nodejs npm"; \
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || lacks "the pages in a browser" "apt-get install chromium"; \
	[ -d deploy/test/browser/node_modules/playwright-core ] || lacks "the pages in a browser, the types of the browser module" "npm ci --prefix deploy/test/browser"; \
	[ -d deploy/bench/peers/node/node_modules/pg ] || lacks "the Node server of the comparison" "npm ci --prefix deploy/bench/peers/node"; \
	[ -d deploy/test/browser/node_modules/@redocly/cli ] || lacks "the linter of openapi.yaml" "npm ci --prefix deploy/test/browser"; \
	command -v gcloud >/dev/null || lacks "the deploy scripts with the real gcloud" "https://cloud.google.com/sdk/docs/install"; \
	for tool in jq curl openssl; do command -v $$tool >/dev/null || lacks "the deploy scripts, which need $$tool" "apt-get install $$tool"; done; \
	ls "$$platform"/cloud-firestore-emulator/*.jar >/dev/null 2>&1 || lacks "the store and the system on Firestore's emulator" "gcloud components install cloud-firestore-emulator"; \
	ls "$$platform"/pubsub-emulator/lib/*.jar >/dev/null 2>&1 || lacks "the whole system" "gcloud components install pubsub-emulator"; \
	command -v java >/dev/null || lacks "both emulators" "apt-get install default-jre-headless"; \
	command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || \
		lacks "the store and the system on PostgreSQL" "apt-get install postgresql"

system: ## every function as processes, on each store, with Google's emulators and PostgreSQL between them
	$(GO) test -count=1 -v ./deploy/test/system

chaos: ## the same for CHAOS (2m) a store under killed instances, stopped servers, slow networks, full disks (SEED, CASES); INTENSITY=2 doubles the rate of faults and cases; CONTROL=1 only writes, on Firestore
	CHAOS=$(CHAOS) $(GO) test -count=1 -v -timeout=30m -run='^$(if $(CONTROL),TestChaosControl,TestChaos)$$' ./deploy/test/system

load: ## LOAD (10000) cases started at once, over SQLite
	LOAD=$(LOAD) $(GO) test -count=1 -v -timeout=15m -run='^TestLoad$$' ./deploy/test/system

fresh: ## how old progress is for 1 viewer and for 500 viewers of 16 cases, and how many times it is polled, over FRESH (1m) each, on PostgreSQL
	FRESH=$(or $(FRESH),1m) $(GO) test -count=1 -v -timeout=15m -run='^TestFresh$$' ./deploy/test/system

# In a simulated world one goroutine runs at a time: more processors only pass it around.
sim: ## the real code in a simulated world that fails: SEEDS=20000, or SECONDS_LIMIT=60; FIRST is the first seed, EXHAUST=5m every choice of faults
	GOMAXPROCS=1 GOGC=800 GODEBUG=asyncpreemptoff=1 $(GO) test -count=1 -timeout=0 -v -run '^(TestSimulation|TestKeptPlans$(if $(EXHAUST),|TestExhaustive))$$' ./deploy/test/sim \
		-args -seeds=$(or $(SEEDS),20000) -seconds=$(or $(SECONDS_LIMIT),0) -first=$(or $(FIRST),1) -exhaust=$(or $(EXHAUST),0)

mutate: ## each condition of the rules and the reconciler negated, each effect dropped: tests or the simulation must notice; ONLY is a part of a mutant's name, SEEDS=300
	cd deploy/tools && $(GO) run ./mutate -seeds=$(or $(SEEDS),300) -only='$(ONLY)'

policy: ## checks per case and lag of policies of when to look, over kinds of runs: deploy/bench/policy/results.md and frontier.svg are written anew
	cd deploy/bench && $(GO) run ./policy

lint: $(LINT) ## gofmt, go vet, golangci-lint, shellcheck, redocly
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then echo "not as gofmt writes it (make fmt): $$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	cd deploy/bench && $(GO) vet ./...
	cd deploy/tools && $(GO) vet ./...
	$(LINT) run --allow-parallel-runners ./...
	cd deploy/bench && ../../$(LINT) run --allow-parallel-runners ./...
	cd deploy/tools && ../../$(LINT) run --allow-parallel-runners ./...
	@if command -v shellcheck >/dev/null; then echo shellcheck $(SCRIPTS); shellcheck $(SCRIPTS); \
	else echo "shellcheck is not installed: $(SCRIPTS) not checked (apt-get install shellcheck)"; fi
	@$(MAKE) --no-print-directory openapi

# It asks nobody: neither for a newer version nor for its own statistics.
openapi: ## functions/openapi.yaml by the linter of Redocly
	@if [ -d deploy/test/browser/node_modules/@redocly/cli ]; then \
		REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true node deploy/test/browser/node_modules/@redocly/cli/bin/cli.js \
			lint --config=deploy/test/browser/redocly.yaml functions/openapi.yaml; \
	else echo "redocly is not installed: functions/openapi.yaml not checked (npm ci --prefix deploy/test/browser)"; fi

fmt: $(LINT) ## write every file as gofmt and goimports do
	$(LINT) fmt ./...

bench: ## beside what else one would use, on the same cases: N=500 REPEATS=3 MODES=sync,events,polling SYSTEMS=sqlite,postgres,river,node
	@command -v node >/dev/null && [ -e deploy/bench/peers/node/node_modules/.package-lock.json ] || npm ci --prefix deploy/bench/peers/node --no-audit --no-fund --loglevel=error
	cd deploy/bench && $(GO) build -o ../../bin/bench ./peers
	@cd deploy/bench/peers && exec ../../../bin/bench -n=$(N) -repeats=$(REPEATS) -modes=$(MODES) -systems=$(SYSTEMS)

microbench: ## all benchmarks of packages (BENCHFLAGS="-count=10"); compare two outputs with benchstat
	$(GO) test -run='^$$' -bench=. -benchmem $(BENCHFLAGS) ./...

cost: ## what a million cases cost, by store, way to end and viewers, counted by running one; the alternatives beside it
	@cd deploy/bench/cost && $(GO) test -count=1 -run='^TestCost$$' -args -print # in its folder, so that what it prints is shown

coldstart: ## from the start of a process to its first answer, each function beside a hello-world; the size and the inits of what is deployed
	cd deploy/bench && $(GO) run ./coldstart

# A package that does not compile must not look like one without targets.
fuzz: SHELL := /bin/bash
fuzz: .SHELLFLAGS := -o pipefail -c
fuzz: ## each fuzz target for FUZZTIME (30s)
	@$(GO) test -list '^Fuzz' -json ./... | \
	sed -n 's/.*"Package":"\([^"]*\)".*"Output":"\(Fuzz[A-Za-z0-9_]*\)\\n".*/\1 \2/p' | while read -r package target; do \
		echo "$$package $$target"; \
		$(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1s "$$package" || exit 1; \
	done

cover: ## the rules and the reconciler are covered to 95 % at least, each by its own tests
	@for package in cases schedule reconcile; do \
		$(GO) test -coverprofile=$$package.out ./shared/$$package >/dev/null || exit 1; \
		total="$$($(GO) tool cover -func=$$package.out | awk '/^total:/ { sub(/%/, "", $$3); print $$3 }')"; \
		echo "shared/$$package: $$total %"; \
		awk -v total="$$total" 'BEGIN { exit !(total >= 95) }' || { echo "shared/$$package is below 95 %: go tool cover -html=$$package.out" >&2; exit 1; }; \
	done

vuln: ## known vulnerabilities in what is linked (asks vuln.go.dev, or GOVULNDB)
	cd deploy/tools && $(GO) build -trimpath -o ../../bin/govulncheck golang.org/x/vuln/cmd/govulncheck
	bin/govulncheck -db=$(GOVULNDB) $(VULN)

linked: ## the list of what is linked into what is deployed, deploy/test/contract/testdata/linked.md; a test holds it to the code
	$(GO) test -count=1 -run='^TestLinked$$' ./deploy/test/contract -args -update

licenses: bin/licenses ## the list of modules and their licences, deploy/tools/licenses.csv; a test holds it to go.mod
	bin/licenses ./deploy/test/system/program >bin/licenses.csv
	mv bin/licenses.csv deploy/tools/licenses.csv

sbom: bin/cyclonedx-gomod ## bin/casewatch.cdx.json: what is linked into what is deployed, with hashes and licences, in CycloneDX
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build -trimpath -o bin/program ./deploy/test/system/program
	bin/cyclonedx-gomod bin -json -std -licenses -version "$$(git describe --always --dirty 2>/dev/null || echo unknown)" -output bin/casewatch.cdx.json bin/program
	@rm -f bin/program

pictures: ## the pictures of the README, taken from the real pages: deploy/docs/pictures
	$(GO) build -o bin/local ./deploy/local
	CHROMIUM="$$(command -v chromium || command -v google-chrome)" node deploy/test/browser/pictures.mjs

tidy: ## go.mod of the module and of the tools
	$(GO) mod tidy
	cd deploy/bench && $(GO) mod tidy
	cd deploy/tools && $(GO) mod tidy
	cd deploy/tools/sbom && $(GO) mod tidy

bin/licenses: $(wildcard deploy/tools/sbom/*)
	cd deploy/tools/sbom && $(GO) build -trimpath -o ../../../bin/licenses .

bin/cyclonedx-gomod: deploy/tools/sbom/go.mod deploy/tools/sbom/go.sum
	cd deploy/tools/sbom && $(GO) build -trimpath -o ../../../bin/cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
	@touch $@

# The linters are pinned in a module of their own, so that nothing of them comes near what is deployed.
$(LINT): deploy/tools/go.mod deploy/tools/go.sum
	cd deploy/tools && $(GO) build -trimpath -o ../../$(LINT) github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $(LINT)
