package qcow2

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// seed is an image without the zeros that fill its clusters up: small inputs are what a fuzzer gets on with.
type seed struct {
	head, table, refs, l1, l2, data []byte
	cut                             uint16 // what of the last cluster is missing
}

func seedOf(image []byte) seed {
	bits := decodeHeader(image).clusterBits
	part := func(from, to int64) []byte {
		return bytes.TrimRight(image[min(from<<bits, int64(len(image))):min(to<<bits, int64(len(image)))], "\x00")
	}
	return seed{part(0, 1), part(builtTable, builtRefs), part(builtRefs, builtL1), part(builtL1, builtL2), part(builtL2, builtData), part(builtData, 1<<20), 0}
}

// source puts the parts where build does, or, where the header is nonsense, where a file of the smallest clusters has them.
func (s seed) source() formats.Source {
	bits := uint32(minClusterBits)
	if len(s.head) >= offSize {
		if b := binary.BigEndian.Uint32(s.head[offClusterBits:]); b >= minClusterBits && b <= maxClusterBits {
			bits = b
		}
	}
	src := formattest.Sparse{}
	for i, p := range [][]byte{s.head, s.table, s.refs, s.l1, s.l2, s.data} {
		off := int64(i) << bits
		if i < builtData {
			p = p[:min(len(p), 1<<bits)]
		}
		src.Parts = append(src.Parts, formattest.Part{Off: off, Data: p})
		src.Bytes = off + (int64(len(p))+1<<bits-1)&^(1<<bits-1)
	}
	src.Bytes -= int64(s.cut) & (1<<bits - 1)
	return src
}

// small are images whose data take few bytes.
func small(t testing.TB) map[string]*builder {
	all := variants(t)
	zstd := build(t, 3, 12, incompatCompression, 8<<12)
	zstd.compressed(3, pattern(3, 1<<12))
	zstd.compressed(4, pattern(4, 1<<12))
	sub := build(t, 3, 14, incompatExtendedL2, 8<<14)
	sub.entry(0, uint64(sub.add(pattern(1, 1024)))|flagCopied, 3|1<<37)
	sub.compressed(1, pattern(2, 1<<14))
	snapshot := build(t, 3, 9, 0, 30*512)
	snapshot.data(0, pattern(0, 512))
	snapshot.snapshotAt(builtL1<<9, 1, 16, 30*512)
	return map[string]*builder{"512 bytes": all["512 bytes"], "version 2": all["version 2"], "zstd": zstd, "subclusters": sub, "snapshot": snapshot}
}

// FuzzOpen opens hostile files, walks their extents, reads in each and checks them. Nothing may panic, and errors
// must be of a kind that callers know.
func FuzzOpen(f *testing.F) {
	for _, b := range small(f) {
		s := seedOf(b.bytes())
		f.Add(s.head, s.table, s.refs, s.l1, s.l2, s.data, s.cut)
		f.Add(s.head[:len(s.head)/2], s.table, s.refs, s.l1, s.l2, s.data[:len(s.data)/2], uint16(100))
	}
	d := newDriver() // for all runs, as making a decoder takes longer than all the rest
	f.Fuzz(func(t *testing.T, head, table, refs, l1, l2, data []byte, cut uint16) {
		src := seed{head, table, refs, l1, l2, data, cut}.source()
		img, _ := formattest.Hostile(t, d, src, formats.OpenOptions{})
		if img == nil {
			return
		}
		for _, s := range img.Info().Snapshots[:min(3, len(img.Info().Snapshots))] {
			img, err := formats.Set{Drivers: []formats.Driver{d}}.Open(t.Context(), src, name, formats.OpenOptions{Snapshot: s.ID})
			formattest.WantKnown(t, err)
			if err == nil {
				formattest.ReadEverywhere(t, img)
			}
		}
	})
}

// TestFuzzSeedsOpen keeps the seeds from rotting.
func TestFuzzSeedsOpen(t *testing.T) {
	for name, b := range small(t) {
		s := seedOf(b.bytes())
		if n := len(s.head) + len(s.l2) + len(s.data); n > 20<<10 {
			t.Errorf("%s: a seed of %d bytes", name, n)
		}
		img, err := newDriver().Open(t.Context(), s.source(), formats.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range b.disk.Parts {
			p := make([]byte, min(512, len(part.Data)))
			if err := img.ReadAt(t.Context(), p, part.Off); err != nil || !bytes.Equal(p, part.Data[:len(p)]) {
				t.Errorf("%s: at %d: wrong bytes or %v", name, part.Off, err)
			}
		}
	}
}
