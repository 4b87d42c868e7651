package vhdx

import (
	"errors"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// TestHostileLogs: what cannot be replayed keeps the file from being opened.
func TestHostileLogs(t *testing.T) {
	fresh := small.build().copies()
	one := func(change func(e *built)) func(f *file) {
		return func(f *file) {
			e := built{sequence: 1, last: uint64(len(f.b)), updates: []update{{off: builtBAT, data: f.batSector(0, 0)}}}
			change(&e)
			f.log(0, e.bytes())
		}
	}
	raw := func(change func(b []byte)) func(f *file) {
		return func(f *file) {
			b := built{sequence: 1, last: uint64(len(f.b)), updates: []update{{off: builtBAT, data: f.batSector(0, 0)}}}.bytes()
			change(b)
			sealEntry(b)
			f.log(0, b)
		}
	}
	for _, c := range []struct {
		name   string
		change func(f *file)
		kind   error
		words  string
	}{
		{"length 0", raw(func(b []byte) { le.PutUint32(b[8:], 0) }), formats.ErrCorrupt, "entry_length is 0"},
		{"length odd", raw(func(b []byte) { le.PutUint32(b[8:], 8193) }), formats.ErrCorrupt, "entry_length is 8193"},
		{"length huge", raw(func(b []byte) { le.PutUint32(b[8:], 1<<32-4096) }), formats.ErrCorrupt, "entry_length is 4294963200"},
		{"tail odd", raw(func(b []byte) { le.PutUint32(b[12:], 5) }), formats.ErrCorrupt, "tail is 5"},
		{"tail outside", raw(func(b []byte) { le.PutUint32(b[12:], mib) }), formats.ErrCorrupt, "tail is 1048576"},
		{"sequence 0", raw(func(b []byte) { le.PutUint64(b[16:], 0) }), formats.ErrCorrupt, "sequence_number is 0"},
		{"many descriptors", raw(func(b []byte) { le.PutUint32(b[24:], 1<<31) }), formats.ErrCorrupt, "descriptor_count is 2147483648"},
		{"descriptors over data", raw(func(b []byte) { le.PutUint32(b[24:], 200) }), formats.ErrCorrupt, "descriptor 1: signature"},
		{"descriptor of another entry", raw(func(b []byte) { b[64+24]++ }), formats.ErrCorrupt, "descriptor 0: sequence_number is 2"},
		{"descriptor's signature", raw(func(b []byte) { b[64] = 'x' }), formats.ErrCorrupt, "descriptor 0: signature"},
		{"odd offset", one(func(e *built) { e.updates[0].off++ }), formats.ErrCorrupt, "multiples of 4096"},
		{"odd zeros", one(func(e *built) { e.updates[0] = update{off: builtBAT, zeros: 5} }), formats.ErrCorrupt, "multiples of 4096"},
		{"data of another entry", raw(func(b []byte) { b[logSector+4]++ }), formats.ErrCorrupt, "sector 1"},
		{"data's signature", raw(func(b []byte) { b[logSector]++ }), formats.ErrCorrupt, "sector 1"},
		{"too short for its data", raw(func(b []byte) { le.PutUint32(b[8:], logSector) }), formats.ErrCorrupt, "need 2 sectors, it has 1"},
		{"checksum", func(f *file) { chosen(f, 0, 1, 0); f.b[builtLog+4]++ }, formats.ErrCorrupt, "log: not empty, and no entry is whole: checksum"},
		{"signature", func(f *file) { chosen(f, 0, 1, 0); f.b[builtLog]++ }, formats.ErrCorrupt, "signature"},
		{"GUID", func(f *file) { chosen(f, 0, 1, 0); f.b[builtLog+32]++ }, formats.ErrCorrupt, "no entry is whole"},
		{"gap", func(f *file) { chosen(f, 0, 1, 0, 0, 0); f.b[builtLog+20]++ }, formats.ErrCorrupt, "no sequence of entries is complete"},
		{"tail in the middle of an entry", func(f *file) { chosen(f, 0, 1, 0, 0); f.retail(1, logSector) }, formats.ErrCorrupt, "no sequence of entries is complete"},
		{"tail ahead", func(f *file) { chosen(f, 0, 1, 1, 0); f.retail(1, 4*logSector) }, formats.ErrCorrupt, "starts at 0x4000"},
		{"two heads", func(f *file) { chosen(f, 0, 5, 0); chosen(f, 64*kib, 5, 0) }, formats.ErrCorrupt, "two sequences end with the sequence_number 5"},
		{"truncated", one(func(e *built) { e.flushed = 1 << 30 }), formats.ErrCorrupt, "it is truncated"},
		{"huge file", one(func(e *built) { e.last = 1 << 62 }), formats.ErrCorrupt, "last_file_offset is 4611686018427387904"},
		{"after the end", one(func(e *built) { e.updates[0].off = 1 << 40 }), formats.ErrCorrupt, "lies outside of the file"},
		{"zeros after the end", one(func(e *built) { e.updates[0] = update{off: builtBAT, zeros: 1<<64 - 4096} }), formats.ErrCorrupt, "lies outside of the file"},
		{"over the identifier", one(func(e *built) { e.updates[0].off = 0 }), formats.ErrCorrupt, "overlaps the headers"},
		{"over a header", one(func(e *built) { e.updates[0] = update{off: 128 * kib, zeros: 4096} }), formats.ErrCorrupt, "overlaps the headers"},
		{"over itself", one(func(e *built) { e.updates[0].off = builtLog + 8192 }), formats.ErrCorrupt, "overlaps the log"},
		{"more descriptors than are replayed", many, formats.ErrCorrupt, "more than 32768 descriptors"},
		{"version", func(f *file) { chosen(f, 0, 1, 0); f.header(func(h []byte) { h[64] = 1 }) }, errors.ErrUnsupported, "log of version 1"},
		{"too long", func(f *file) {
			f.b = append(f.b, make([]byte, 17*mib)...)
			chosen(f, 0, 1, 0)
			f.header(func(h []byte) { le.PutUint32(h[68:], 17*mib); le.PutUint64(h[72:], uint64(len(f.b)-17*mib)) })
		}, errors.ErrUnsupported, "log of 17825792 bytes"},
		{"after the file", func(f *file) { chosen(f, 0, 1, 0); f.header(func(h []byte) { le.PutUint64(h[72:], 1<<40) }) }, formats.ErrCorrupt, "the log at 0x10000000000"},
		{"in the BAT", func(f *file) { chosen(f, 0, 1, 0); f.header(func(h []byte) { le.PutUint64(h[72:], builtBAT) }) }, formats.ErrCorrupt, "overlaps the"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fresh()
			c.change(f)
			_, err := Driver{}.Open(t.Context(), formattest.Bytes(f.b), formats.OpenOptions{})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("Open = %v, want %q", err, c.words)
			}
		})
	}
}

// retail gives the n-th entry of two sectors another tail.
func (f *file) retail(n int, tail uint32) {
	b := f.b[builtLog+2*n*logSector:][:2*logSector]
	le.PutUint32(b[12:], tail)
	sealEntry(b)
}

// many has more zero descriptors than are replayed.
func many(f *file) {
	var entries [][]byte
	for i := range uint64(3) {
		e := built{sequence: 1 + i, last: uint64(len(f.b))}
		for range maxDescriptors/2 - 100 {
			e.updates = append(e.updates, update{off: builtBAT + 512*kib, zeros: 4096})
		}
		entries = append(entries, e.bytes())
	}
	f.b = append(f.b, make([]byte, 2*mib)...)
	at := uint64(len(f.b) - 2*mib)
	f.header(func(h []byte) {
		le.PutUint32(h[68:], 2*mib)
		le.PutUint64(h[72:], at)
		copy(h[48:], logGUID[:])
	})
	for _, e := range entries {
		at += uint64(copy(f.b[at:], e))
	}
}

// TestOverlappingEntriesAreBounded: checksums are only made as long as there is a budget for them.
func TestOverlappingEntriesAreBounded(t *testing.T) {
	r := ring(append(built{sequence: 1, pad: 2}.bytes(), make([]byte, mib-3*logSector)...))
	budget := 4 * logSector
	if _, fault := r.decode(0, &budget); fault != "" {
		t.Error(fault)
	}
	if _, fault := r.decode(0, &budget); fault != "entries overlap" {
		t.Errorf("fault = %q", fault)
	}
}

// BenchmarkHostileLog scans the log that costs most: each sector is an entry whose padding is the rest.
func BenchmarkHostileLog(b *testing.B) {
	r := make(ring, maxLog)
	for pos := 0; pos < len(r); pos += logSector {
		copy(r[pos:], built{sequence: 1, pad: 0}.bytes())
		le.PutUint32(r[pos+8:], maxLog)
	}
	for b.Loop() {
		if _, _, fault := scan(r, logGUID).active(); fault == "" {
			b.Fatal("no fault")
		}
	}
}
