# Every target is one command that does its own set-up. `make` lists them.

GO          ?= go
FUZZTIME    ?= 30s
SOAK        ?= 100
STEPS       ?= 1000000
FLIPS       ?= 700
VM_DISK     ?= yes
# The race detector looks at what goroutines share, so it runs -short, and what one goroutine computes is tested without it, below. The
# compression library, which would take it ten times as long, is left out; test/main_test.go builds the program likewise.
RACE         = -race -gcflags=github.com/klauspost/compress/...=-race=false
# What tests of these names do is the work of one command after the other: no race can be in it, and it takes the race detector long.
# The drivers of inspect/tree start no goroutine either: what several readers share is inspect/disk, which is among the others.
COMPUTING    = ^Test(EveryPair|EveryTargetHoldsEveryShape|ImagesOfQemuImg|ChainsOfQemuImg|ConvertAgainstQemu|GoldenOutputs|HostileNamesInImages|PayloadsDecodeWithOthersTools)$$
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

test: ## run all tests over real mounts, with the race detector what has to do with more than one goroutine
	@test/setup.sh test
	$(GO) vet ./...
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	IMSFS_REQUIRE_TOOLS=1 $(GO) test $(RACE) -short -skip '$(COMPUTING)' -count 1 -timeout 20m $$($(GO) list ./... | grep -v '/inspect/tree/')
	IMSFS_REQUIRE_TOOLS=1 $(GO) test -count 1 -timeout 20m ./formats/... ./lazyload/... ./blockstore/... ./lifecycle/... ./inspect/...
	IMSFS_REQUIRE_TOOLS=1 $(GO) test -run '$(COMPUTING)|^TestVolumeExercised$$' -count 1 -timeout 20m ./test

vm-test: ## build a Debian, boot it from a volume, commit, boot that (CI does, after test); VM_DISK=PATH keeps the disk for the next run
	@test/setup.sh vm-test
	IMSFS_REQUIRE_TOOLS=1 IMSFS_VM=$(VM_DISK) $(GO) test -count 1 -timeout 20m -run '^TestVM$$' -v ./test

lint: ## vet, staticcheck and a tidy go.mod
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff

fuzz: ## run every fuzz target for FUZZTIME (30s)
	@test/fuzz.sh $(FUZZTIME)

soak: ## kill the server SOAK (100) times; a million operations on a volume, and on its deltas; flip FLIPS (700) bits in each state
	@test/setup.sh test
	IMSFS_STEPS=$(STEPS) $(GO) test -count 1 -timeout 30m -run 'TestModel$$' -v ./lazyload/overlay
	IMSFS_FLIPS=$(FLIPS) $(GO) test -count 1 -timeout 60m -run 'TestFlippedBit$$' -v ./blockstore/kv ./lazyload/overlay
	IMSFS_REQUIRE_TOOLS=1 IMSFS_STEPS=$(STEPS) $(GO) test -count 1 -timeout 60m -run 'VolumeExercised' -v ./test
	IMSFS_REQUIRE_TOOLS=1 IMSFS_ROUNDS=$(SOAK) $(GO) test -count 1 -timeout 60m -run 'KilledWhileLoading|VolumeKilled' -v ./test

bench: ## measure beside qemu-storage-daemon and print a table of ratios
	@test/setup.sh bench
	@$(MAKE) --no-print-directory build
	$(GO) run ./test/bench
