package convert_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
	"github.com/imsfs/imsfs/formats/raw"
)

const mib = 1 << 20

func TestRunWritesEveryDataClusterOnceInOrder(t *testing.T) {
	for seed := range seeds() {
		rng := rand.New(rand.NewPCG(seed, 7))
		size := 512 * (1 + rng.Int64N(20*mib/512))
		img := newFakeImage(rng, size, int64(4096)<<rng.IntN(10), []string{"", "zstd"}[rng.IntN(2)])
		enc := &fakeEncoder{cluster: int64(4096) << rng.IntN(10)}
		workers := 1 + rng.IntN(8)
		name := fmt.Sprintf("seed=%d size=%d from=%d to=%d workers=%d", seed, size, img.info.ClusterSize, enc.cluster, workers)

		var target fakeTarget
		if err := convert.Run(t.Context(), img, enc, &target, convert.Config{Workers: workers}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := nonZero(img.bytes, enc.cluster); !slices.Equal(enc.placed, want) {
			t.Fatalf("%s: placed clusters\n%v, want\n%v", name, enc.placed, want)
		}
		if !bytes.Equal(enc.decode(t, &target, size), img.bytes) {
			t.Fatalf("%s: the target holds another disk", name)
		}
		if enc.finished != 1 {
			t.Fatalf("%s: finished %d times", name, enc.finished)
		}
	}
}

func TestRunDecodesNoCompressedClusterTwice(t *testing.T) {
	img := newFakeImage(rand.New(rand.NewPCG(1, 1)), 64*mib, 4*mib, "zstd")
	img.onRead = func(_ context.Context, off int64) error {
		if off%(4*mib) != 0 {
			return fmt.Errorf("read at %d inside a compressed cluster", off)
		}
		return nil
	}
	if err := convert.Run(t.Context(), img, &fakeEncoder{cluster: 64 << 10}, &fakeTarget{}, convert.Config{Workers: 3}); err != nil {
		t.Fatal(err)
	}
}

func TestRunReportsProgress(t *testing.T) {
	img := newFakeImage(rand.New(rand.NewPCG(2, 1)), 32*mib+512, 64<<10, "")
	var data int64
	for e, err := range formats.Extents(t.Context(), img, 0, img.info.Size) {
		if err != nil {
			t.Fatal(err)
		}
		if e.State == formats.Data {
			data += e.Len
		}
	}
	var reports []int64
	progress := func(done, total int64) { // called by one goroutine at a time: the race detector looks
		if total != data {
			t.Errorf("total = %d, want the bytes of data, %d", total, data)
		}
		reports = append(reports, done)
	}
	if err := convert.Run(t.Context(), img, &fakeEncoder{cluster: 64 << 10}, &fakeTarget{}, convert.Config{Workers: 4, Progress: progress}); err != nil {
		t.Fatal(err)
	}
	if len(reports) < 10 || reports[0] != 0 || reports[len(reports)-1] != data || !slices.IsSorted(reports) {
		t.Errorf("reports %v, want an ascent from 0 to %d", reports, data)
	}
}

var errPlanned = errors.New("planned")

func TestRunFails(t *testing.T) {
	// All data, units of 1 MiB: the fault is in the 8th of 16.
	const at = 7*mib + 128<<10
	failAt := func(want int64) func(int64) error {
		return func(ci int64) error {
			if ci == want {
				return errPlanned
			}
			return nil
		}
	}
	tests := []struct {
		name  string
		plan  func(*fakeImage, *fakeEncoder, *fakeTarget)
		names string // what the error must say
	}{
		{"read", func(i *fakeImage, _ *fakeEncoder, _ *fakeTarget) {
			i.onRead = func(_ context.Context, off int64) error { return failAt(7 * mib)(off) }
		}, fmt.Sprint(7 * mib)},
		{"encode", func(_ *fakeImage, e *fakeEncoder, _ *fakeTarget) { e.encode = failAt(at / (64 << 10)) }, fmt.Sprint(at)},
		{"place", func(_ *fakeImage, e *fakeEncoder, _ *fakeTarget) { e.placeAt = failAt(at / (64 << 10)) }, fmt.Sprint(at)},
		{"write", func(_ *fakeImage, e *fakeEncoder, f *fakeTarget) {
			var n atomic.Int64
			f.onWrite = func(context.Context, int64) error {
				if n.Add(1) == 100 {
					return errPlanned
				}
				return nil
			}
		}, "writing the disk's bytes at "},
	}
	for _, tt := range tests {
		for _, workers := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("%s/workers=%d", tt.name, workers), func(t *testing.T) {
				img, enc, target := fullImage(16*mib), &fakeEncoder{cluster: 64 << 10}, &fakeTarget{}
				tt.plan(img, enc, target)
				err := convert.Run(t.Context(), img, enc, target, convert.Config{Workers: workers})
				if !errors.Is(err, errPlanned) || !strings.Contains(err.Error(), tt.names) {
					t.Errorf("error %v, want the planned one with %q", err, tt.names)
				}
				if enc.finished != 0 {
					t.Error("finished a broken target")
				}
				// A unit that was not placed keeps all others from their turn.
				if most := int64(8 + workers); tt.name != "write" && img.reads.Load() > most {
					t.Errorf("%d units were read, want at most %d: the rest is pointless", img.reads.Load(), most)
				}
				if !slices.IsSorted(enc.placed) {
					t.Errorf("placed out of order: %v", enc.placed)
				}
			})
		}
	}
}

func TestRunFailsWhenTheExtentsCannotBeRead(t *testing.T) {
	img := brokenExtents{fullImage(16 * mib)}
	for _, progress := range []func(int64, int64){nil, func(int64, int64) {}} {
		enc := &fakeEncoder{cluster: 64 << 10}
		err := convert.Run(t.Context(), img, enc, &fakeTarget{}, convert.Config{Progress: progress})
		if !errors.Is(err, errPlanned) || enc.finished != 0 {
			t.Errorf("error %v, finished %d, want the planned error and no finish", err, enc.finished)
		}
	}
}

type brokenExtents struct{ *fakeImage }

func (b brokenExtents) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	if off >= 4*mib {
		return formats.Extent{}, errPlanned
	}
	return b.fakeImage.Extent(ctx, off, min(n, 4*mib-off))
}

// fullImage has data everywhere.
func fullImage(size int64) *fakeImage {
	f := &fakeImage{
		info:  formats.Info{Format: "fake", Size: size, ClusterSize: 64 << 10},
		bytes: bytes.Repeat([]byte{0xa5}, int(size)),
		where: slices.Repeat([]formats.State{formats.Data}, int((size+grain-1)/grain)),
	}
	return f
}

func TestRunStopsWhenCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		img, enc := fullImage(16*mib), &fakeEncoder{cluster: 64 << 10}
		img.onRead = func(ctx context.Context, off int64) error {
			if off < 4*mib {
				return nil
			}
			<-ctx.Done() // a slow source that heeds its context
			return ctx.Err()
		}
		result := make(chan error)
		go func() { result <- convert.Run(ctx, img, enc, &fakeTarget{}, convert.Config{Workers: 2}) }()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		if enc.finished != 0 {
			t.Error("finished a broken target")
		}
	})
}

func TestRunHoldsNoMoreUnitsThanWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 3
		img, enc := fullImage(32*mib), &fakeEncoder{cluster: 64 << 10}
		release := make(chan struct{})
		img.onRead = func(_ context.Context, off int64) error {
			if off == 0 {
				<-release // everybody else has to wait for the first unit's turn
			}
			return nil
		}
		result := make(chan error)
		go func() { result <- convert.Run(t.Context(), img, enc, &fakeTarget{}, convert.Config{Workers: workers}) }()
		synctest.Wait()
		if got := img.reads.Load(); got != workers {
			t.Errorf("%d units are in memory, want %d", got, workers)
		}
		close(release)
		if err := <-result; err != nil {
			t.Error(err)
		}
		if got := img.reads.Load(); got != 32 {
			t.Errorf("%d units were read in all, want 32", got)
		}
	})
}

func TestRunWritesOutsideTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		img, enc := fullImage(8*mib), &fakeEncoder{cluster: mib}
		release := make(chan struct{})
		target := &fakeTarget{onWrite: func(_ context.Context, off int64) error {
			if off == 0 {
				<-release
			}
			return nil
		}}
		result := make(chan error)
		go func() { result <- convert.Run(t.Context(), img, enc, target, convert.Config{Workers: 2}) }()
		synctest.Wait()
		if got := len(enc.placed); got != 8 {
			t.Errorf("%d clusters are placed while the first is being written, want all 8", got)
		}
		close(release)
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func TestRunWritesNeighboursAtOnce(t *testing.T) {
	img := fullImage(16*mib + 512)
	clear(img.bytes[5*mib : 5*mib+128<<10]) // splits the sixth unit at its start
	clear(img.bytes[9*mib+128<<10 : 9*mib+192<<10])
	enc, err := raw.Driver{}.Create(img.info.Size, formats.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var writes atomic.Int64
	target := &fakeTarget{onWrite: func(context.Context, int64) error { writes.Add(1); return nil }}
	if err := convert.Run(t.Context(), img, enc, target, convert.Config{Workers: 2}); err != nil {
		t.Fatal(err)
	}
	if got := writes.Load(); got != 17+1 {
		t.Errorf("%d writes, want one for each of 17 units and one more for the hole", got)
	}
	if !bytes.Equal(target.bytes, img.bytes) {
		t.Error("the target holds another disk")
	}
}

// emptyDisk has data in a few places only.
type emptyDisk struct {
	size  int64
	data  []int64 // offsets of single grains, ascending
	calls atomic.Int64
}

func (d *emptyDisk) Info() formats.Info {
	return formats.Info{Format: "fake", Size: d.size, ClusterSize: 64 << 10}
}

func (d *emptyDisk) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	d.calls.Add(1)
	for _, at := range d.data {
		switch {
		case off < at:
			return formats.Extent{Off: off, Len: min(n, at-off)}, nil
		case off < at+grain:
			return formats.Extent{Off: off, Len: min(n, at+grain-off), State: formats.Data}, nil
		}
	}
	return formats.Extent{Off: off, Len: n}, nil
}

func (d *emptyDisk) ReadAt(_ context.Context, p []byte, off int64) error {
	d.calls.Add(1)
	clear(p)
	for _, at := range d.data {
		if at >= off && at < off+int64(len(p)) {
			p[at-off] = 1
		}
	}
	return nil
}

func TestRunCostsByDataNotBySize(t *testing.T) {
	const size = 1 << 60
	disk := &emptyDisk{size: size, data: []int64{0, 5 * mib, 1 << 40, size - grain}}
	enc := &fakeEncoder{cluster: 64 << 10}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := convert.Run(t.Context(), disk, enc, &fakeTarget{}, convert.Config{Workers: 2}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := disk.calls.Load(); got > 12 {
		t.Errorf("%d calls for four grains of data", got)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 16*mib {
		t.Errorf("%d bytes were allocated, want a few units", got)
	}
	if want := []int64{0, 5 * mib >> 16, 1 << 24, size>>16 - 1}; !slices.Equal(enc.placed, want) {
		t.Errorf("placed %v, want %v", enc.placed, want)
	}
}

func TestRunReusesItsBuffers(t *testing.T) {
	allocated := func(size int64) uint64 {
		img := fullImage(size)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := convert.Run(t.Context(), img, &fakeEncoder{cluster: mib}, discard{}, convert.Config{Workers: 2}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	small, large := allocated(8*mib), allocated(128*mib)
	if large > small+mib {
		t.Errorf("a disk of 8 MiB took %d bytes of memory, one of 128 MiB %d", small, large)
	}
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (discard) Truncate(int64) error                   { return nil }
