package treetest

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// The bars of one damaged image.
const (
	mutantTime   = 8 * time.Second
	mutantMemory = 64 << 20
	mutantReads  = 256 << 20
)

// Mutate opens and reads runs damaged copies of an image: 1 to 40 bytes changed, most of them in
// the metadata that reading the sound image needs. It fails at a panic, more than 8 s, more than 64
// MiB over the sound image, and an error that is not ErrCorrupt, ErrUnsupported or a limit.
// IMSFS_MUTANTS sets another number of runs.
func Mutate(t *testing.T, d tree.Driver, image string, runs int) {
	t.Helper()
	if s := os.Getenv("IMSFS_MUTANTS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		runs = n
	}
	src := formattest.OpenFile(t, image)
	hot := Metadata(t, d, src)
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 11))
		var edits []Edit
		for range 1 + r.IntN(1+r.IntN(40)) {
			edits = append(edits, randomEdit(r, hot, src.Size()))
		}
		if err := Try(t.Context(), d, &Edited{Source: src, Edits: edits}); err != nil {
			t.Errorf("run %d, %v: %v", run, edits, err)
		}
	}
}

// Fuzz makes f a fuzz target of a driver: an input is a list of changes to the metadata of an
// image, 6 bytes each. The image is one that formattest.Tool's programs made, or a committed one.
func Fuzz(f *testing.F, d tree.Driver, image string) {
	f.Helper()
	src := formattest.OpenFile(f, image)
	hot := Metadata(f, d, src)
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 0, 255})
	f.Add([]byte{0, 0, 4, 0, 2, 1, 0, 0, 5, 0, 1, 128})
	f.Fuzz(func(t *testing.T, input []byte) {
		var edits []Edit
		for ; len(input) >= 6 && len(edits) < 40; input = input[6:] {
			edits = append(edits, Edit{hot.at(int64(binary.BigEndian.Uint32(input))), input[4], input[5]})
		}
		if err := Try(t.Context(), d, &Edited{Source: src, Edits: edits}); err != nil {
			t.Error(err)
		}
	})
}

// Edit changes one byte.
type Edit struct {
	Off   int64
	Kind  byte // modulo 4: set, flip, add, set the byte and the next 3
	Value byte
}

func (e Edit) apply(p []byte, off int64) {
	length := int64(1)
	if e.Kind%4 == 3 {
		length = 4
	}
	for at := e.Off; at < e.Off+length; at++ {
		if at < off || at >= off+int64(len(p)) {
			continue
		}
		switch b := &p[at-off]; e.Kind % 4 {
		case 1:
			*b ^= e.Value
		case 2:
			*b += e.Value
		default:
			*b = e.Value
		}
	}
}

// Edited is a source with changed bytes.
type Edited struct {
	formats.Source
	Edits []Edit
}

// ReadAt reads the changed bytes.
func (e *Edited) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := e.Source.ReadAt(ctx, p, off); err != nil {
		return err
	}
	for _, edit := range e.Edits {
		edit.apply(p, off)
	}
	return nil
}

// Try opens an image and reads everything in it. The error is a fault of the driver, not of the
// image.
func Try(ctx context.Context, d tree.Driver, src formats.Source) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, mutantTime)
	defer cancel()
	ctx = disk.WithBudget(ctx, disk.NewBudget(disk.Cost{Bytes: mutantReads}))
	before := heap()
	tr, err := d.Open(ctx, disk.New(src), tree.Options{ReplayLimit: mutantMemory / 4})
	if err == nil {
		err = Dump(ctx, io.Discard, tr)
	}
	if grown := int64(heap()) - int64(before); grown > 4*mutantMemory { // garbage included
		debug.FreeOSMemory()
		if grown = int64(heap()) - int64(before); grown > mutantMemory {
			return fmt.Errorf("%d MiB of memory", grown>>20)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("it takes more than %v", mutantTime)
	}
	if err != nil && !harmless(err) {
		return err
	}
	return nil
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// ranges are parts of an image, in ascending order.
type ranges []span

type span struct{ off, n int64 }

// at returns the offset of byte number i, counted round and round.
func (r ranges) at(i int64) int64 {
	total := int64(0)
	for _, s := range r {
		total += s.n
	}
	for i %= max(1, total); len(r) > 0; r = r[1:] {
		if i < r[0].n {
			return r[0].off + i
		}
		i -= r[0].n
	}
	return 0
}

func randomEdit(r *rand.Rand, hot ranges, size int64) Edit {
	e := Edit{Off: r.Int64N(size), Kind: byte(r.IntN(4)), Value: byte(r.Uint32())}
	if r.IntN(8) > 0 {
		s := hot[r.IntN(len(hot))] // small structures as often as large ones
		e.Off = s.off + r.Int64N(s.n)
	}
	return e
}

// Metadata returns the parts of an image that a driver reads as metadata when everything is read.
func Metadata(t testing.TB, d tree.Driver, src formats.Source) ranges {
	t.Helper()
	noted := &noter{Source: disk.New(src)}
	tr, err := d.Open(t.Context(), noted, tree.Options{})
	if err == nil {
		err = Dump(t.Context(), io.Discard, tr)
	}
	if err != nil {
		t.Fatalf("the sound image: %v", err)
	}
	if len(noted.seen) == 0 {
		t.Fatal("the driver reads no metadata by ReadMeta")
	}
	slices.SortFunc(noted.seen, func(a, b span) int { return cmp.Compare(a.off, b.off) })
	return slices.Compact(noted.seen)
}

// noter is a source that notes the ranges of metadata that are read.
type noter struct {
	disk.Source
	mu   sync.Mutex
	seen ranges
}

func (n *noter) ReadMeta(ctx context.Context, p []byte, off int64) error {
	if len(p) > 0 {
		n.mu.Lock()
		n.seen = append(n.seen, span{off, int64(len(p))})
		n.mu.Unlock()
	}
	return n.Source.ReadMeta(ctx, p, off)
}
