package disk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/inspect/disk"
)

// image is a source in memory that notes its requests and can fail from an offset on.
type image struct {
	bytes []byte
	bad   int64 // reads that touch it fail; 0 is none

	mu       sync.Mutex
	requests []int64 // lengths
	gate     chan struct{}
	reached  chan struct{}
}

var errBad = errors.New("bad sector")

func (i *image) Size() int64 { return int64(len(i.bytes)) }

func (i *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	i.mu.Lock()
	i.requests = append(i.requests, int64(len(p)))
	gate := i.gate
	i.mu.Unlock()
	if gate != nil {
		i.reached <- struct{}{}
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if i.bad > 0 && off <= i.bad && i.bad < off+int64(len(p)) {
		return errBad
	}
	copy(p, i.bytes[off:])
	return nil
}

func random(n int) *image {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return &image{bytes: b}
}

func TestReadsAreTheImages(t *testing.T) {
	img := random(40*disk.PageSize + 777)
	d := disk.New(img)
	slice, err := disk.Slice(d, 1000, 30*disk.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := disk.Slice(slice, 24, 20*disk.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	sources := []struct {
		src  disk.Source
		base int64
	}{{d, 0}, {slice, 1000}, {inner, 1024}}
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		s := sources[r.IntN(len(sources))]
		off := r.Int64N(s.src.Size())
		p := make([]byte, 1+r.Int64N(min(s.src.Size()-off, 5*disk.PageSize)))
		read := s.src.ReadAt
		if r.IntN(2) == 0 {
			read = s.src.ReadMeta
		}
		if err := read(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, img.bytes[s.base+off:][:len(p)]) {
			t.Fatalf("[%d, +%d) of the slice at %d differs", off, len(p), s.base)
		}
	}
}

func TestRangesOutsideAreRefused(t *testing.T) {
	d := disk.New(random(3 * disk.PageSize))
	slice, err := disk.Slice(d, disk.PageSize, disk.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range []disk.Source{d, slice} {
		for _, off := range []int64{-1, src.Size(), src.Size() - 1, 1<<63 - 1} {
			for _, read := range []func(context.Context, []byte, int64) error{src.ReadAt, src.ReadMeta} {
				if err := read(t.Context(), make([]byte, 2), off); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("2 bytes at %d of %d: %v", off, src.Size(), err)
				}
			}
		}
	}
	for _, r := range [][2]int64{{-1, 1}, {0, 3*disk.PageSize + 1}, {1, 1<<63 - 1}, {1<<63 - 1, 1}, {0, -1}} {
		if _, err := disk.Slice(d, r[0], r[1]); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("slice %v: %v", r, err)
		}
	}
}

func TestAPageIsReadOnce(t *testing.T) {
	d := disk.New(random(8 * disk.PageSize))
	p := make([]byte, 512)
	for off := int64(0); off < disk.PageSize; off += 512 {
		if err := d.ReadMeta(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Cost(); got != (disk.Cost{Requests: 1, Bytes: disk.PageSize}) {
		t.Errorf("32 reads of one page cost %+v", got)
	}
}

func TestSequentialReadsGrow(t *testing.T) {
	img := random(256 * disk.PageSize)
	d := disk.New(img)
	p := make([]byte, 4096)
	for off := int64(0); off < img.Size(); off += 4096 {
		if err := d.ReadMeta(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Cost(); got.Requests > 24 || got.Bytes != img.Size() {
		t.Errorf("256 pages in sequence cost %+v", got)
	}
}

func TestScatteredReadsDoNotReadAhead(t *testing.T) {
	img := random(256 * disk.PageSize)
	d := disk.New(img)
	for number := int64(255); number >= 0; number -= 5 {
		if err := d.ReadMeta(t.Context(), make([]byte, 4), number*disk.PageSize); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Cost(); got != (disk.Cost{Requests: 52, Bytes: 52 * disk.PageSize}) {
		t.Errorf("52 scattered pages cost %+v", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	img := random(2 * disk.CacheSize)
	d := disk.New(img)
	for off := int64(0); off < img.Size(); off += disk.PageSize {
		if err := d.ReadMeta(t.Context(), make([]byte, 8), off); err != nil {
			t.Fatal(err)
		}
	}
	before := d.Cost().Requests
	if err := d.ReadMeta(t.Context(), make([]byte, 8), 0); err != nil {
		t.Fatal(err)
	}
	if d.Cost().Requests != before+1 {
		t.Error("the first page is still kept after twice the cache was read")
	}
	if err := d.ReadMeta(t.Context(), make([]byte, 8), img.Size()-8); err != nil {
		t.Fatal(err)
	}
	if d.Cost().Requests != before+1 {
		t.Error("the last page is not kept")
	}
}

func TestManyReadersShareARequest(t *testing.T) {
	img := random(4 * disk.PageSize)
	img.gate, img.reached = make(chan struct{}), make(chan struct{}, 1)
	d := disk.New(img)
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			p := make([]byte, 100)
			if err := d.ReadMeta(t.Context(), p, int64(i)*100); err != nil {
				t.Error(err)
			} else if !bytes.Equal(p, img.bytes[i*100:][:100]) {
				t.Errorf("reader %d has other bytes", i)
			}
		})
	}
	<-img.reached
	close(img.gate)
	wait.Wait()
	if got := d.Cost().Requests; got != 1 {
		t.Errorf("20 readers of one page made %d requests", got)
	}
}

func TestACancelledReaderFailsAlone(t *testing.T) {
	img := random(4 * disk.PageSize)
	img.gate, img.reached = make(chan struct{}), make(chan struct{}, 2)
	d := disk.New(img)
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- d.ReadMeta(ctx, make([]byte, 8), 0) }()
	<-img.reached
	go func() { second <- d.ReadMeta(t.Context(), make([]byte, 8), 8) }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled reader: %v", err)
	}
	<-img.reached // the second reader reads for itself
	close(img.gate)
	if err := <-second; err != nil {
		t.Errorf("the other reader: %v", err)
	}
}

func TestABadSectorAheadHarmsNobody(t *testing.T) {
	img := random(16 * disk.PageSize)
	img.bad = 9 * disk.PageSize
	d := disk.New(img)
	for number := range int64(16) {
		err := d.ReadMeta(t.Context(), make([]byte, 8), number*disk.PageSize)
		if want := number == 9; errors.Is(err, errBad) != want {
			t.Errorf("page %d: %v", number, err)
		}
	}
}

func TestBudget(t *testing.T) {
	d := disk.New(random(64 * disk.PageSize))
	outer := disk.NewBudget(disk.Cost{})
	ctx := disk.WithBudget(t.Context(), outer)
	b := disk.NewBudget(disk.Cost{Requests: 3, Bytes: 10 * disk.PageSize})
	bounded := disk.WithBudget(ctx, b)
	var err error
	number := int64(0)
	for ; err == nil; number += 7 {
		err = d.ReadMeta(bounded, make([]byte, 8), number*disk.PageSize)
	}
	if !errors.Is(err, disk.ErrBudget) || b.Spent().Requests != 3 {
		t.Errorf("%v after %+v", err, b.Spent())
	}
	if err := d.ReadMeta(bounded, make([]byte, 8), 0); err != nil {
		t.Errorf("a page that is kept is free: %v", err)
	}
	big := disk.WithBudget(ctx, disk.NewBudget(disk.Cost{Bytes: 1 << 20}))
	if err := d.ReadAt(big, make([]byte, 1<<20), 0); err != nil {
		t.Error(err)
	}
	if err := d.ReadAt(big, make([]byte, disk.PageSize), 0); !errors.Is(err, disk.ErrBudget) {
		t.Errorf("past the limit of bytes: %v", err)
	}
	if got, want := outer.Spent(), d.Cost(); got != want {
		t.Errorf("the outer budget has %+v, the disk %+v", got, want)
	}
}

func TestAnEndedContextEndsCachedReads(t *testing.T) {
	d := disk.New(random(disk.PageSize))
	ctx, cancel := context.WithCancel(t.Context())
	if err := d.ReadMeta(ctx, make([]byte, 8), 0); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := d.ReadMeta(ctx, make([]byte, 8), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a cached page of an ended context: %v", err)
	}
}
