package overlay

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// flat is a base in memory, zeros where it has none.
type flat []byte

func (f flat) Size() int64 { return int64(len(f)) }

func (f flat) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	n := copy(p, f[min(off, int64(len(f))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Extent: the base's unit is 1 KiB, so that nothing is aligned with ours.
func (f flat) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	end := min((off/1024+1)*1024, off+n)
	e := formats.Extent{Off: off, Len: end - off, State: formats.Data}
	if formats.IsZero(f[off:end]) {
		e.State = formats.Zero
	}
	return e, nil
}

// newFlat is a base of size bytes, of which every other 24 KiB are zeros.
func newFlat(r *rand.Rand, size int64) flat {
	f := make(flat, size)
	for off := 0; off < len(f); off += 48 << 10 {
		random(r, f[off:min(off+24<<10, len(f))])
	}
	return f
}

func random(r *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
}

// seed is printed, and set again by the environment.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	s, err := strconv.ParseUint(os.Getenv("IMSFS_SEED"), 10, 64)
	if err != nil {
		s = rand.Uint64()
	}
	t.Logf("IMSFS_SEED=%d", s)
	return rand.New(rand.NewPCG(s, s))
}

// exerciser does to a disk and to flat bytes the same.
type exerciser struct {
	t     *testing.T
	r     *rand.Rand
	disk  *Disk
	files []Files // of the stack
	fresh func() Files
	base  Base
	want  []byte
	most  int64 // the largest size
}

func newExerciser(t *testing.T, r *rand.Rand, base flat, size, most int64, fresh func() Files) *exerciser {
	x := &exerciser{t: t, r: r, files: []Files{fresh()}, fresh: fresh, want: make([]byte, size), most: most}
	if base != nil {
		x.base = base
		copy(x.want, base)
	}
	must(t, Create(x.files[0], size, size))
	x.open()
	return x
}

func (x *exerciser) open() {
	x.t.Helper()
	d, err := Open(x.files, x.base, false)
	must(x.t, err)
	x.disk = d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place is a range of the disk: short or long, aligned or not.
func (x *exerciser) place() (off, n int64) {
	size := int64(len(x.want))
	off, n = x.r.Int64N(size), 1+x.r.Int64N(64<<10)
	if x.r.IntN(2) == 0 {
		n = 1 + x.r.Int64N(2*Unit)
	}
	if x.r.IntN(2) == 0 {
		off, n = off/Unit*Unit, (n+Unit-1)/Unit*Unit
	}
	return off, min(n, size-off)
}

// step does one thing. The rare ones are those that touch everything.
func (x *exerciser) step() {
	ctx := x.t.Context()
	off, n := x.place()
	switch what := x.r.IntN(1000); {
	case what < 400:
		p := make([]byte, n)
		random(x.r, p[:min(n, 64)])
		random(x.r, p[max(n-64, 0):])
		_, err := x.disk.WriteAt(ctx, p, off)
		must(x.t, err)
		copy(x.want[off:], p)
	case what < 750:
		x.compare(off, n)
	case what < 860:
		must(x.t, x.disk.Zero(ctx, off, n))
		clear(x.want[off:][:n])
	case what < 900:
		must(x.t, x.disk.Discard(ctx, off, n))
		end := off + n
		if end < int64(len(x.want)) {
			end = end / Unit * Unit
		}
		if first := units(off) * Unit; first < end {
			clear(x.want[first:end])
		}
	case what < 950:
		x.extent(off)
	case what < 985:
		must(x.t, x.disk.Flush())
	case what < 991:
		must(x.t, x.disk.Close())
		x.open()
	case what < 996:
		x.resize(1 + x.r.Int64N(x.most))
	case len(x.files) > 2 && x.r.IntN(2) == 0:
		x.fold()
	default:
		x.freeze()
	}
}

func (x *exerciser) compare(off, n int64) {
	x.t.Helper()
	got := make([]byte, n)
	if _, err := x.disk.ReadAt(x.t.Context(), got, off); err != nil {
		x.t.Fatal(err)
	}
	if !bytes.Equal(got, x.want[off:][:n]) {
		x.t.Fatalf("%d bytes at %d are not what was written", n, off)
	}
}

func (x *exerciser) extent(off int64) {
	x.t.Helper()
	e, err := x.disk.Extent(x.t.Context(), off, int64(len(x.want))-off)
	must(x.t, err)
	if e.Off != off || e.Len < 1 || e.End() > int64(len(x.want)) {
		x.t.Fatalf("extent %+v at %d of %d", e, off, len(x.want))
	}
	if e.State != formats.Data && !formats.IsZero(x.want[off:e.End()]) {
		x.t.Fatalf("extent %+v is not zeros", e)
	}
}

func (x *exerciser) resize(size int64) {
	must(x.t, x.disk.Resize(size))
	was := int64(len(x.want))
	if size < was {
		x.want = x.want[:size:size]
	}
	x.want = append(x.want, make([]byte, max(size-was, 0))...)
	if got := x.disk.Size(); got != size {
		x.t.Fatalf("its size is %d, want %d", got, size)
	}
}

// freeze puts a delta on top; every other time the disk is then rebased on what was frozen.
func (x *exerciser) freeze() {
	size := int64(len(x.want))
	f := x.fresh()
	must(x.t, Create(f, size, size))
	frozen, err := x.disk.Freeze(f)
	must(x.t, err)
	x.files = append([]Files{f}, x.files...)
	if len(x.files) < 5 {
		return
	}
	base := make(flat, size)
	_, err = frozen.ReadAt(x.t.Context(), base, 0)
	must(x.t, err)
	if !bytes.Equal(base, x.want) {
		x.t.Fatal("what was frozen is not what was written")
	}
	x.changed(frozen, base)
	_, err = x.disk.Rebase(base)
	must(x.t, err)
	x.files, x.base = x.files[:1], base
}

// fold makes one of the two lowest deltas that stand still; every other time it is ended before it counts.
func (x *exerciser) fold() {
	var ended error
	if x.r.IntN(2) == 0 {
		ended = io.ErrUnexpectedEOF
	}
	if err := x.disk.Fold(x.t.Context(), func() error { return ended }); err != ended {
		x.t.Fatalf("a fold: %v, want %v", err, ended)
	}
	if ended == nil {
		upper := len(x.files) - 2
		x.files = slices.Delete(x.files, upper, upper+1)
	}
	x.compare(0, int64(len(x.want)))
}

// changed: what did not change is the old base's.
func (x *exerciser) changed(frozen *Frozen, now flat) {
	var old flat
	if x.base != nil {
		old = x.base.(flat)
	}
	for from := int64(0); ; {
		at, n := frozen.Changed(from)
		same := min(at, int64(len(old)))
		if from < same && !bytes.Equal(now[from:same], old[from:same]) || at > max(from, same) && !formats.IsZero(now[max(from, same):at]) {
			x.t.Fatalf("from %d to %d nothing is said to have changed", from, at)
		}
		if n == 0 {
			return
		}
		from = at + n
	}
}

// steps is how many operations TestModel makes; the environment may say another number. test/exercise_test.go makes as many through
// a mount.
func steps() int {
	if n, err := strconv.Atoi(os.Getenv("IMSFS_STEPS")); err == nil {
		return n
	}
	if testing.Short() {
		return 5_000
	}
	return 60_000
}

// TestModel: many operations, also on the rare paths, against bytes in memory.
func TestModel(t *testing.T) {
	r, all := seed(t), steps()
	for _, c := range []struct {
		name string
		base flat
		size int64
		n    int
	}{
		{"over a base", newFlat(r, 1<<20+512), 1<<20 + 512, all / 2},
		{"over a smaller base", newFlat(r, 100<<10+512), 1 << 20, all / 4},
		{"over nothing", nil, 1<<20 + 3*512, all / 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newExerciser(t, r, c.base, c.size, 2<<20, newFiles)
			for range c.n {
				x.step()
			}
			x.compare(0, int64(len(x.want)))
			must(t, x.disk.Close())
		})
	}
}

// TestModelOnFiles is the same on real files, opened again by number.
func TestModelOnFiles(t *testing.T) {
	r := seed(t)
	dir, err := OpenDir(t.TempDir())
	must(t, err)
	base := newFlat(r, 300<<10)
	must(t, dir.Create(1, 1<<20, 1<<20))
	f, err := dir.Open(1)
	must(t, err)
	d, err := Open([]Files{f}, base, false)
	must(t, err)
	want := make([]byte, 1<<20)
	copy(want, base)
	x := &exerciser{t: t, r: r, disk: d, base: base, want: want}
	for i := range 2000 {
		off, n := x.place()
		switch {
		case i%100 == 99:
			must(t, x.disk.Close())
			f, err := dir.Open(1)
			must(t, err)
			x.disk, err = Open([]Files{f}, base, false)
			must(t, err)
		case i%40 == 39:
			must(t, x.disk.Flush())
		case i%5 == 4:
			must(t, x.disk.Zero(t.Context(), off, n))
			clear(want[off:][:n])
		case i%2 == 0:
			random(r, want[off:][:n])
			_, err := x.disk.WriteAt(t.Context(), want[off:][:n], off)
			must(t, err)
		default:
			x.compare(off, n)
		}
	}
	x.compare(0, 1<<20)
	must(t, x.disk.Close())
	must(t, dir.Remove(1))
	if left, err := dir.List(); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
