package overlay

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkDisk measures writes and reads of 4 KiB at random places of a delta of 1 GiB on real files.
func BenchmarkDisk(b *testing.B) {
	const size = 1 << 30
	dir, err := OpenDir(b.TempDir())
	must(b, err)
	must(b, dir.Create(1, size, size))
	f, err := dir.Open(1)
	must(b, err)
	d, err := Open([]Files{f}, nil, false)
	must(b, err)
	defer func() { must(b, d.Close()) }()
	p, r := make([]byte, Unit), rand.New(rand.NewPCG(1, 1))
	at := func() int64 { return r.Int64N(size/Unit) * Unit }
	for off := int64(0); off < size; off += 1 << 20 {
		_, err := d.WriteAt(b.Context(), make([]byte, 1<<20), off)
		must(b, err)
	}
	must(b, d.Flush())
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"write", func() error { _, err := d.WriteAt(b.Context(), p, at()); return err }},
		{"read", func() error { _, err := d.ReadAt(b.Context(), p, at()); return err }},
		{"write and flush", func() error {
			_, err := d.WriteAt(b.Context(), p, at())
			must(b, err)
			return d.Flush()
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(Unit)
			for b.Loop() {
				must(b, c.do())
			}
		})
	}
}
