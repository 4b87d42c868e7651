# Every target is one command that does its own set-up. `make` lists them.

GO          ?= go
FUZZTIME    ?= 30s
SOAK        ?= 100
STEPS       ?= 1000000
VM_DISK     ?= yes
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help build demo test vm-test lint fuzz soak bench setup

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

build: ## build bin/imsfs
	$(GO) build -trimpath -o bin/imsfs ./cmd/imsfs

demo: ## make a disk, convert, serve, register and loop-mount it, compare every byte
	@test/setup.sh demo
	@$(MAKE) --no-print-directory build
	@test/demo.sh

test: ## run all tests, with the race detector, over real mounts
	@test/setup.sh test
	$(GO) vet ./...
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	IMSFS_REQUIRE_TOOLS=1 $(GO) test -race -count 1 -timeout 20m ./...
	IMSFS_REQUIRE_TOOLS=1 $(GO) test -count 1 -timeout 20m ./formats/... ./lazyload/...

vm-test: ## build a Debian, boot it from a volume, commit, boot that; VM_DISK=PATH keeps the disk for the next run
	@test/setup.sh vm-test
	IMSFS_REQUIRE_TOOLS=1 IMSFS_VM=$(VM_DISK) $(GO) test -count 1 -timeout 20m -run '^TestVM$$' -v ./test

lint: ## vet, staticcheck and a tidy go.mod
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff

fuzz: ## run every fuzz target for FUZZTIME (30s)
	@test/fuzz.sh $(FUZZTIME)

soak: ## kill the server SOAK (100) times while it loads and volumes are written; a million operations on a volume, and on its deltas
	@test/setup.sh test
	IMSFS_STEPS=$(STEPS) $(GO) test -count 1 -timeout 30m -run 'TestModel$$' -v ./lazyload/overlay
	IMSFS_REQUIRE_TOOLS=1 IMSFS_ROUNDS=$(SOAK) $(GO) test -count 1 -timeout 60m -run 'KilledWhileLoading|VolumeKilled|VolumeExercised' -v ./test

bench: ## measure beside qemu-storage-daemon and print a table of ratios
	@test/setup.sh bench
	@$(MAKE) --no-print-directory build
	$(GO) run ./test/bench
