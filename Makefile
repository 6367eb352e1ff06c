# What one does with this repository. Every target works on a Debian machine that
# has Go, git and make; what else is needed, `deps` installs.

export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
FUZZTIME ?= 10s

# Property tests draw the same cases every time, but for `make soak`.
export RAPID_SEED ?= 1

.PHONY: build demo test check system guest fuzz bench soak deps

build: ## the one binary, bin/tunbridge
	go build -trimpath -o bin/tunbridge ./cmd/tunbridge

demo: deps build ## real hosts, one controller, every claim shown; needs root
	$(SUDO) ./bin/tunbridge demo

test: deps ## every test; those that need root only as root
	go run ./test/report -timeout 10m ./...

system: deps ## the tests with namespaces and real traffic; needs root, nothing is skipped
	CI=true go run ./test/report -count=1 -timeout 10m ./test/...

guest: deps ## a machine with a kernel of its own, which QEMU emulates; needs root
	@./scripts/deps guest
	CI=true go run ./test/report -tags guest -count=1 -run TestQEMU ./test/system

check: ## format, vet, static analysis, layout
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not formatted: $$files"; exit 1; }
	go vet -tags guest ./...
	go run $(STATICCHECK) -tags guest ./...
	go test -count=1 .

fuzz: ## every fuzz target for FUZZTIME
	./scripts/fuzz $(FUZZTIME)

bench: deps build ## benchmarks of packages, then of the whole
	go test -run '^$$' -bench . -benchmem ./...
	go run ./test/bench
	go run ./test/bench api
	go run ./test/bench dhcp
	@[ "$$(id -u)" != 0 ] || go run ./test/bench metadata # its guests are namespaces

soak: export RAPID_SEED = 0
soak: export TUNBRIDGE_SOAK = 1
soak: deps ## an hour or more of the same
	@./scripts/deps guest
	./scripts/fuzz 5m
	CI=true go run ./test/report -tags guest -count=20 -timeout 3h ./test/...

deps: ## the Debian packages that demo and tests run
	@./scripts/deps
