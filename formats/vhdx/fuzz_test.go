package vhdx

import (
	"bytes"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// seed is a file without the megabytes of zeros between its structures and without its payload.
type seed struct {
	header, regions, table, items, bat, log []byte
	size                                    uint8 // MiB
}

func makeSeed(f *file) seed {
	trim := func(off, n int64) []byte { return bytes.TrimRight(f.b[off:off+n], "\x00") }
	return seed{
		header: trim(headerAt[1], headerSize), regions: trim(tableAt[0], tableSize),
		table: trim(builtMetadata, tableSize), items: trim(builtMetadata+tableSize, mib-tableSize),
		bat: trim(builtBAT, mib), log: trim(builtLog, mib), size: uint8(len(f.b) / mib),
	}
}

// source puts the parts where the builder has them. Checksums are made right, or the fuzzer would hardly get past them.
func (s seed) source() formats.Source {
	head := fit(s.header, headerSize)
	table := fit(s.regions, tableSize)
	log := ring(fit(s.log, mib))
	le.PutUint32(head[4:], checksum(head))
	le.PutUint32(table[4:], checksum(table))
	for pos := 0; pos < len(s.log) && pos < len(log); pos += logSector {
		b := log.sector(pos)
		if n := int(le.Uint32(b[8:])); string(b[:4]) == "loge" && n <= len(log) && n%logSector == 0 {
			le.PutUint32(b[4:], log.checksum(logEntry{pos: pos, length: n}))
		}
	}
	return formattest.Sparse{Bytes: int64(s.size)*mib + 512, Parts: []formattest.Part{
		{Off: 0, Data: []byte(identifier)}, {Off: headerAt[1], Data: head}, {Off: tableAt[0], Data: table},
		{Off: builtLog, Data: log}, {Off: builtMetadata, Data: fit(s.table, tableSize)},
		{Off: builtMetadata + tableSize, Data: fit(s.items, mib-tableSize)}, {Off: builtBAT, Data: fit(s.bat, mib)},
		{Off: builtBlocks, Data: []byte("bits of a sector bitmap, as it happens")},
	}}
}

// fit cuts b, or leaves the rest to the zeros.
func fit(b []byte, n int) []byte {
	out := make([]byte, n)
	copy(out, b)
	return out
}

// FuzzOpen opens hostile files, walks their extents, reads in each and checks them. Nothing may panic, and errors
// must be of a kind that callers know.
func FuzzOpen(f *testing.F) {
	dirty, _ := dirtyFile()
	laps := small.build()
	chosen(laps, mib-4096, 3, 0, 0, 1)
	for _, built := range []*file{small.build(), child.build(), dirty, laps} {
		s := makeSeed(built)
		f.Add(s.header, s.regions, s.table, s.items, s.bat, s.log, s.size)
	}
	f.Fuzz(func(t *testing.T, header, regions, table, items, bat, log []byte, size uint8) {
		formattest.Hostile(t, Driver{}, seed{header, regions, table, items, bat, log, size}.source(), formats.OpenOptions{})
	})
}

// TestFuzzSeedsOpen keeps the seeds from rotting.
func TestFuzzSeedsOpen(t *testing.T) {
	for _, d := range []disk{small, child} {
		s := makeSeed(d.build())
		openSource(t, s.source())
		if n := len(s.header) + len(s.regions) + len(s.table) + len(s.items) + len(s.bat) + len(s.log); n > 64<<10 {
			t.Errorf("a seed of %d bytes", n)
		}
	}
}
