package overlay

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
)

// yielding is a base whose reads let others go first: so that they come between a unit's reading and its writing.
type yielding struct{ flat }

func (y yielding) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := y.flat.ReadAt(ctx, p, off)
	runtime.Gosched()
	return n, err
}

// TestParallel: writers, each with every fourth sector, so that they meet in units, beside readers, flushes, freezes and folds. What a
// sector has is what its own writer wrote last.
func TestParallel(t *testing.T) {
	const size, sector, writers, rounds = 2 << 20, 512, 4, 12
	r := seed(t)
	x := newExerciser(t, r, newFlat(r, size), size, size, newFiles)
	x.base = yielding{x.base.(flat)}
	x.open()
	d := x.disk
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			p := make([]byte, sector)
			for round := range uint64(rounds) {
				for off := int64(w) * sector; off < size; off += writers * sector {
					binary.LittleEndian.PutUint64(p, round<<32|uint64(off))
					p[sector-1] = byte(round)
					if _, err := d.WriteAt(t.Context(), p, off); err != nil {
						t.Error(err)
						return
					}
				}
				if err := d.Flush(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		p := make([]byte, 64<<10)
		for i := range 400 {
			off := int64(i) * 4096 % (size - int64(len(p)))
			if _, err := d.ReadAt(t.Context(), p, off); err != nil {
				t.Error(err)
			}
			if _, err := d.Extent(t.Context(), off, size-off); err != nil {
				t.Error(err)
			}
			if i%100 == 50 {
				f := newFiles()
				if err := Create(f, size, size); err != nil {
					t.Error(err)
				}
				if _, err := d.Freeze(f); err != nil {
					t.Error(err)
				}
			}
			if i%100 == 99 && i > 100 {
				if err := d.Fold(t.Context(), func() error { return nil }); err != nil {
					t.Error(err)
				}
			}
		}
	})
	group.Wait()
	got, want := make([]byte, size), make([]byte, size)
	_, err := d.ReadAt(t.Context(), got, 0)
	must(t, err)
	for off := 0; off < size; off += sector {
		binary.LittleEndian.PutUint64(want[off:], (rounds-1)<<32|uint64(off))
		want[off+sector-1] = rounds - 1
	}
	if !bytes.Equal(got, want) {
		t.Error("a write was lost")
	}
}

// TestMeetInUnit: writers who are the first in a unit, each with a sector of its own, at the same time.
func TestMeetInUnit(t *testing.T) {
	const size, sector = 2 << 20, 512
	x := newExerciser(t, seed(t), newFlat(seed(t), size), size, size, newFiles)
	x.base = yielding{x.base.(flat)}
	x.open()
	for off := int64(0); off < size; off += sector {
		binary.LittleEndian.PutUint64(x.want[off:], uint64(off+1))
	}
	for u := int64(0); u < size; u += Unit {
		var group sync.WaitGroup
		for off := u; off < u+Unit; off += sector {
			group.Go(func() {
				if _, err := x.disk.WriteAt(t.Context(), x.want[off:][:sector], off); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	x.compare(0, size)
}

func BenchmarkWrite4K(b *testing.B) {
	dir, err := OpenDir(b.TempDir())
	must(b, err)
	must(b, dir.Create(1, 64<<20, 0))
	f, err := dir.Open(1)
	must(b, err)
	d, err := Open([]Files{f}, nil, false)
	must(b, err)
	p := make([]byte, Unit)
	write := func(i int) {
		if _, err := d.WriteAt(b.Context(), p, int64(i*7919%(64<<20/Unit))*Unit); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 64 << 20 / Unit {
		write(i)
	}
	b.SetBytes(Unit)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		write(i)
		i++
	}
	must(b, d.Close())
}
