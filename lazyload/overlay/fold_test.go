package overlay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestFoldIsCut ends a fold by a power cut at each change that it makes of a file, and once more in the next one that takes it up: the
// disk reads the same before, after, and when a fold came to its end.
func TestFoldIsCut(t *testing.T) {
	for name, resize := range map[string][]int64{"one size": nil, "grown": {900 << 10}, "shrunk": {300<<10 + 512}, "shrunk and grown": {200<<10 + 1024, 700 << 10}} {
		t.Run(name, func(t *testing.T) {
			r := seed(t)
			for at := 0; ; at++ {
				x := piled(t, r, resize)
				if done := foldCut(x, at); done {
					if at < 6 {
						t.Errorf("a fold made %d changes", at)
					}
					return
				}
				foldCut(x, r.IntN(at+1))
				foldWhole(x)
			}
		})
	}
}

// piled is a disk of three deltas; between the freezes, and behind them, it was written to, and resized behind the first.
func piled(t *testing.T, r *rand.Rand, resize []int64) *exerciser {
	t.Helper()
	const size = 500 << 10
	x := newExerciser(t, r, newFlat(r, size), size, size, newFiles)
	for level := range 3 {
		if level > 0 {
			x.freeze()
		}
		for range 15 {
			off, n := x.place()
			if r.IntN(3) == 0 {
				must(t, x.disk.Zero(t.Context(), off, n))
				clear(x.want[off:][:n])
				continue
			}
			random(r, x.want[off:][:n])
			_, err := x.disk.WriteAt(t.Context(), x.want[off:][:n], off)
			must(t, err)
		}
		if level == 1 {
			for _, size := range resize {
				x.resize(size)
			}
		}
	}
	must(t, x.disk.Flush())
	return x
}

// foldCut folds until a change, and cuts the power then. It tells whether the fold came to its end before.
func foldCut(x *exerciser, at int) (done bool) {
	x.t.Helper()
	err := x.cut(at, func() error {
		err := x.disk.Fold(x.t.Context(), func() error { return nil })
		x.compare(0, int64(len(x.want))) // who had it open goes on
		return err
	})
	x.open()
	x.compare(0, int64(len(x.want)))
	return err == nil
}

// foldWhole folds to the end, and looks whether the upper delta is really needed no more, also when the disk is made larger.
func foldWhole(x *exerciser) {
	x.t.Helper()
	must(x.t, x.disk.Fold(x.t.Context(), func() error { return nil }))
	x.files = []Files{x.files[0], x.files[2]}
	x.compare(0, int64(len(x.want)))
	x.open()
	x.compare(0, int64(len(x.want)))
	x.resize(int64(len(x.want)) + 100<<10)
	x.compare(0, int64(len(x.want)))
	if d := x.disk.stack.deltas[1]; !d.clean {
		x.t.Error("the delta is not sealed")
	}
}

// TestFoldIsEnded: who is told to end leaves all as it was, and what there is too little of is refused.
func TestFoldIsEnded(t *testing.T) {
	x := piled(t, seed(t), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.disk.Fold(ctx, func() error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a fold that was ended: %v", err)
	}
	x.compare(0, int64(len(x.want)))
	foldWhole(x)
	if err := x.disk.Fold(t.Context(), func() error { return fmt.Errorf("there was one") }); err == nil {
		t.Error("the delta that takes writes was folded")
	}
}

// TestFoldOfManyPages: more than one flush, on real files; the delta that is left has all of it.
func TestFoldOfManyPages(t *testing.T) {
	const size, step = (2*foldPages + 3) * pageUnits * Unit, pageUnits * Unit
	dir, err := OpenDir(t.TempDir())
	must(t, err)
	open := func(n uint64) Files {
		f, err := dir.Open(n)
		must(t, err)
		return f
	}
	for n := range uint64(3) {
		must(t, dir.Create(n, size, size))
	}
	d, err := Open([]Files{open(0)}, nil, false)
	must(t, err)
	place := func(i int) int64 { return int64(i)*step + int64(i)*Unit }
	for level, every := range []int{3, 1} {
		for i := 0; i*step < size; i += every {
			_, err := d.WriteAt(t.Context(), []byte(fmt.Sprintf("%d, %d", level, i)), place(i))
			must(t, err)
		}
		_, err := d.Freeze(open(uint64(level) + 1))
		must(t, err)
	}
	must(t, d.Fold(t.Context(), func() error { return dir.Remove(1) }))
	must(t, d.Close())
	d, err = Open([]Files{open(2), open(0)}, nil, false)
	must(t, err)
	for i := 0; i*step < size; i++ {
		p, want := make([]byte, 16), make([]byte, 16)
		copy(want, fmt.Sprintf("%d, %d", 1, i))
		_, err := d.ReadAt(t.Context(), p, place(i))
		if must(t, err); string(p) != string(want) {
			t.Fatalf("page %d has %q", i, p)
		}
	}
	must(t, d.Close())
}
