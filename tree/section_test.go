package tree

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
)

const (
	flatSize    = 1<<20 + 512
	flatCluster = 64 << 10
)

// flat is a compressed image whose bytes are those of a slice; its second half is a hole.
type flat []byte

func newFlat() flat {
	f := make(flat, flatSize)
	for i := 0; i < flatSize/2; i += 8 {
		binary.LittleEndian.PutUint64(f[i:], uint64(i)+1)
	}
	return f
}

func (f flat) Info() formats.Info {
	return formats.Info{Format: "flat", Size: int64(len(f)), ClusterSize: flatCluster}
}

func (f flat) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	half := int64(flatSize / 2)
	if off < half {
		return formats.Extent{Off: off, Len: min(n, half-off), State: formats.Data, Compressed: true}, nil
	}
	return formats.Extent{Off: off, Len: n, State: formats.Zero}, nil
}

func (f flat) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, f[off:])
	return nil
}

// sharing is a disk that shares its memory, plain is one that does not.
type sharing struct{ *lazyload.Disk }

func (d sharing) Allocated() int64                       { return d.Size() / 2 }
func (d sharing) Open(context.Context) (OpenDisk, error) { return open{d.Disk}, nil }

type open struct{ *lazyload.Disk }

func (open) Close() error { return nil }

type plain struct{ sharing }

func (d plain) Open(context.Context) (OpenDisk, error) {
	return struct{ OpenDisk }{open{d.Disk}}, nil
}

func TestSectionIsThatPartOfTheDisk(t *testing.T) {
	model := newFlat()
	loader := lazyload.New(lazyload.Config{})
	disk := loader.Open(model)
	t.Cleanup(func() { disk.Close(); must(t, loader.Close()) })
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name      string
		off, n    int64
		from, end int64 // of the part that it must be
	}{
		{"the whole disk", 0, flatSize, 0, flatSize},
		{"a partition", 63 * 512, 300 << 10, 63 * 512, 63*512 + 300<<10},
		{"over the border of data and hole", flatSize/2 - 1000, 2000, flatSize/2 - 1000, flatSize/2 + 1000},
		{"past the end", flatSize - 512, 1 << 40, flatSize - 512, flatSize},
		{"an overflow", flatSize - 512, 1<<63 - 1, flatSize - 512, flatSize},
		{"outside", flatSize, 512, 0, 0},
		{"before the beginning", -512, 1024, 0, 0},
		{"nothing", 512, -1, 0, 0},
	} {
		for kind, file := range map[string]DiskFile{"sharing": sharing{disk}, "plain": plain{sharing{disk}}} {
			t.Run(c.name+"/"+kind, func(t *testing.T) {
				want := model[c.from:c.end]
				s := Section(file, c.off, c.n)
				if s.Size() != int64(len(want)) || s.Allocated() > s.Size() {
					t.Fatalf("size %d, allocated %d; want %d", s.Size(), s.Allocated(), len(want))
				}
				d, err := s.Open(t.Context())
				must(t, err)
				defer d.Close()
				checkReads(t, rng, d, want)
				checkExtents(t, d, c.from)
			})
		}
	}
}

// checkReads compares reads at random places, also past the end, with the bytes that must be there.
func checkReads(t *testing.T, rng *rand.Rand, d OpenDisk, want []byte) {
	t.Helper()
	for range 200 {
		off, n := rng.Int64N(int64(len(want))+1000), rng.IntN(100<<10)
		part := want[min(off, int64(len(want))):]
		part = part[:min(n, len(part))]
		p := make([]byte, n)
		got, err := d.ReadAt(t.Context(), p, off)
		if !bytes.Equal(p[:got], part) || (err != nil) != (got < n) || err != nil && !errors.Is(err, io.EOF) {
			if n > 0 || got != 0 {
				t.Fatalf("ReadAt(%d, %d) = %d, %v; want %d bytes", off, n, got, err, len(part))
			}
		}
		v, ok := d.(Viewer)
		if !ok {
			continue
		}
		view, err := v.View(t.Context(), p, off)
		must(t, err)
		if all := bytes.Join(view.Slices, nil); !bytes.Equal(all, part) || view.Len != len(part) {
			t.Fatalf("View(%d, %d) has %d bytes, want %d", off, n, len(all), len(part))
		}
		if at, fresh := Fresh(view, d.Size()); len(fresh) > 0 && !bytes.Equal(fresh, want[at:][:len(fresh)]) {
			t.Fatalf("the fresh cluster of View(%d, %d) has other bytes at %d", off, n, at)
		}
		view.Release()
	}
}

// checkExtents checks that the extents tile the section, and end where data ends.
func checkExtents(t *testing.T, d OpenDisk, from int64) {
	t.Helper()
	for off := int64(0); off < d.Size(); {
		e, err := d.Extent(t.Context(), off, d.Size()-off)
		must(t, err)
		if e.Off != off || e.Len <= 0 || e.End() > d.Size() {
			t.Fatalf("the extent at %d is %v, in %d bytes", off, e, d.Size())
		}
		if data := from+off < flatSize/2; data != (e.State == formats.Data) {
			t.Errorf("the extent at %d is %v", off, e)
		}
		off = e.End()
	}
}

func TestFreshClusterIsClipped(t *testing.T) {
	model := newFlat()
	loader := lazyload.New(lazyload.Config{})
	defer loader.Close()
	for _, c := range []struct {
		name                  string
		off, n, read, at, len int64
	}{
		{"inside", 0, flatSize, 1000, 0, flatCluster},
		{"begins before the section", 4096, flatCluster, 0, 0, flatCluster - 4096},
		{"ends after the section", 0, 10000, 0, 0, 10000},
		{"both", 512, 1024, 0, 0, 1024},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := loader.Open(model)
			defer disk.Close()
			d, err := Section(sharing{disk}, c.off, c.n).Open(t.Context())
			must(t, err)
			v, err := d.(Viewer).View(t.Context(), make([]byte, 512), c.read)
			must(t, err)
			defer v.Release()
			off, p := Fresh(v, d.Size())
			if off != c.at || int64(len(p)) != c.len || !bytes.Equal(p, model[c.off+off:][:len(p)]) {
				t.Errorf("%d bytes at %d, want %d at %d", len(p), off, c.len, c.at)
			}
		})
	}
}
