package vhdx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// chosen builds a log in which entry n would make block n the one block of small's first four that is block 0's bytes,
// with sequence numbers from the given one on and tails as told (an index of the entries).
func chosen(f *file, pos int, first uint64, tails ...int) {
	ring := len(f.b[builtLog:][:mib])
	var entries [][]byte
	for i, tail := range tails {
		e := built{sequence: first + uint64(i), last: uint64(len(f.b))}
		for n := range int64(4) {
			state := uint64(notPresent)
			if n == int64(i) {
				state = uint64(f.at[0]) | fullyPresent
			}
			if n == 0 {
				e.updates = append(e.updates, update{off: builtBAT, data: f.batSector(0, state)})
			} else {
				le.PutUint64(e.updates[0].data[n*8:], state)
			}
		}
		e.tail = uint32((pos + 2*logSector*tail) % ring)
		entries = append(entries, e.bytes())
	}
	f.log(pos, entries...)
}

// whichBlock finds the block that has block 0's bytes.
func whichBlock(t *testing.T, img formats.Image) int64 {
	t.Helper()
	found := int64(-1)
	for n := range int64(4) {
		p := make([]byte, 512)
		if err := img.ReadAt(t.Context(), p, n*mib); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(p, pattern(0, 512)) {
			if found >= 0 {
				t.Errorf("both block %d and block %d have them", found, n)
			}
			found = n
		}
	}
	return found
}

func TestReplay(t *testing.T) {
	for _, c := range []struct {
		name  string
		pos   int
		tails []int
		want  int64
	}{
		{"one entry", 0, []int{0}, 0},
		{"all entries", 4096 * 7, []int{0, 0, 0}, 2},
		{"the last alone", 0, []int{0, 1, 2, 3}, 3},
		{"round the end", mib - 4096, []int{0, 0}, 1},
		{"round the end between entries", mib - 8192, []int{0, 1, 1}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := small.build()
			chosen(f, c.pos, 100, c.tails...)
			img := openSource(t, formattest.Bytes(f.b))
			if got := whichBlock(t, img); got != c.want {
				t.Errorf("block %d, want %d", got, c.want)
			}
			if d := img.Info().Details; !strings.HasPrefix(detail(d, "log"), "replayed in memory") {
				t.Errorf("details: %v", d)
			}
			if found := problems(t, formattest.Bytes(f.b)); countDamage(found) > 0 {
				t.Errorf("check: %v", found)
			}
		})
	}
}

func detail(list []formats.Detail, key string) string {
	for _, d := range list {
		if d.Key == key {
			return d.Value
		}
	}
	return ""
}

func countDamage(found []formats.Problem) (n int) {
	for _, p := range found {
		if !p.Leak {
			n++
		}
	}
	return n
}

// TestNewestSequence: an older sequence with the same GUID may still stand elsewhere in the log.
func TestNewestSequence(t *testing.T) {
	f := small.build()
	chosen(f, 64*kib, 7, 0, 0, 0) // makes block 2 the one
	chosen(f, 0, 20, 0, 0)        // makes block 1 the one
	if got := whichBlock(t, openSource(t, formattest.Bytes(f.b))); got != 1 {
		t.Errorf("block %d, want 1", got)
	}
	torn := bytes.Clone(f.b)
	torn[builtLog+3*logSector+100]++ // in the head: what is before it was never complete without it
	if got := whichBlock(t, openSource(t, formattest.Bytes(torn))); got != 0 {
		t.Errorf("with a torn head: block %d, want 0", got)
	}
}

// TestCleanLogs are not looked into.
func TestCleanLogs(t *testing.T) {
	for name, change := range map[string]func(f *file){
		"GUID of zeros": func(f *file) {
			chosen(f, 0, 1, 0, 0)
			f.header(func(h []byte) { clear(h[48:64]); h[64] = 1 })
		},
		"entries of another GUID": func(f *file) {
			chosen(f, 0, 1, 0, 0)
			f.header(func(h []byte) { h[48]++ })
		},
		"named and never written": func(f *file) { f.log(0) },
		"no log":                  func(f *file) { f.header(func(h []byte) { le.PutUint32(h[68:], 0) }) },
	} {
		t.Run(name, func(t *testing.T) {
			f := small.build()
			change(f)
			img := openSource(t, formattest.Bytes(f.b))
			if got := whichBlock(t, img); got != 0 {
				t.Errorf("block %d, want 0", got)
			}
			if got := detail(img.Info().Details, "log"); got != "empty" {
				t.Errorf("log: %s", got)
			}
		})
	}
}

// TestReplayGrowsTheFile: what was lost of the file's end reads as zeros where the log says that the file is longer.
func TestReplayGrowsTheFile(t *testing.T) {
	f := small.build()
	size := int64(len(f.b))
	end := bytes.Repeat([]byte("end "), logSector/4)
	f.log(0, built{sequence: 1, flushed: uint64(size), last: uint64(size + mib - 5), updates: []update{
		{off: builtBAT, data: f.batSector(3, uint64(size)|fullyPresent)},
		{off: uint64(size + mib - logSector), data: end},
		{off: uint64(size + mib - 2*logSector), zeros: logSector},
	}}.bytes())
	img := openSource(t, formattest.Bytes(f.b))
	got := make([]byte, mib)
	if err := img.ReadAt(t.Context(), got, 3*mib); err != nil {
		t.Fatal(err)
	}
	if want := append(make([]byte, mib-logSector), end...); !bytes.Equal(got, want) {
		t.Error("wrong bytes")
	}
}

// TestManyDescriptors has an entry whose descriptors take several sectors, in front of its data and round the log's end.
func TestManyDescriptors(t *testing.T) {
	f := small.build()
	e := built{sequence: 1 << 40, tail: mib - 2*logSector, last: uint64(len(f.b)), pad: 3}
	want := pattern(2*mib, mib)
	for i := range uint64(200) {
		data := pattern(int64(i)*mib, logSector)
		copy(want[i*logSector:], data)
		e.updates = append(e.updates, update{off: uint64(f.at[2]) + i*logSector, data: data}, update{off: uint64(f.at[0]), zeros: logSector})
	}
	f.log(mib-2*logSector, e.bytes())
	img := openSource(t, formattest.Bytes(f.b))
	got := make([]byte, mib)
	if err := img.ReadAt(t.Context(), got, 2*mib); err != nil || !bytes.Equal(got, want) {
		t.Errorf("wrong bytes, or %v", err)
	}
	if err := img.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got[:logSector], make([]byte, logSector)) || got[logSector] == 0 {
		t.Errorf("not just one sector of zeros, or %v", err)
	}
}

// TestLaterWritesWin reads every range of a few bytes over writes that lie upon another.
func TestLaterWritesWin(t *testing.T) {
	src := formattest.Bytes(bytes.Repeat([]byte("s"), 3*logSector))
	r := &replayed{src: src, size: 5 * logSector, writes: []write{
		{off: 0, end: logSector, data: bytes.Repeat([]byte("a"), logSector)},
		{off: 0, end: 2 * logSector},
		{off: logSector, end: 2 * logSector, data: bytes.Repeat([]byte("b"), logSector)},
		{off: 4 * logSector, end: 5 * logSector, data: bytes.Repeat([]byte("c"), logSector)},
	}}
	var want []byte
	for _, c := range []string{"\x00", "b", "s", "\x00", "c"} {
		want = append(want, bytes.Repeat([]byte(c), logSector)...)
	}
	for off := 0; off < len(want); off += 511 {
		for _, n := range []int{1, 500, 5000, len(want) - off} {
			p := bytes.Repeat([]byte("?"), min(n, len(want)-off))
			if err := r.ReadAt(t.Context(), p, int64(off)); err != nil || !bytes.Equal(p, want[off:][:len(p)]) {
				t.Fatalf("ReadAt(off=%d, n=%d): wrong bytes or %v", off, len(p), err)
			}
		}
	}
	if err := r.ReadAt(context.Background(), make([]byte, 2), r.size-1); err == nil {
		t.Error("a read behind the end was answered")
	}
}

// TestHostileLogs: what cannot be replayed keeps the file from being opened.
func TestHostileLogs(t *testing.T) {
	whole := small.build()
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
		{"behind the end", one(func(e *built) { e.updates[0].off = 1 << 40 }), formats.ErrCorrupt, "lies outside of the file"},
		{"zeros behind the end", one(func(e *built) { e.updates[0] = update{off: builtBAT, zeros: 1<<64 - 4096} }), formats.ErrCorrupt, "lies outside of the file"},
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
		{"behind the file", func(f *file) { chosen(f, 0, 1, 0); f.header(func(h []byte) { le.PutUint64(h[72:], 1<<40) }) }, formats.ErrCorrupt, "the log at 0x10000000000"},
		{"in the BAT", func(f *file) { chosen(f, 0, 1, 0); f.header(func(h []byte) { le.PutUint64(h[72:], builtBAT) }) }, formats.ErrCorrupt, "overlaps the"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := whole.clone()
			c.change(f)
			_, err := Driver{}.Open(t.Context(), formattest.Bytes(f.b), formats.OpenOptions{})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("Open = %v, want %q", err, c.words)
			}
		})
	}
}

// TestChainLongerThanTheLog: entries whose numbers go on round and round cannot all be whole.
func TestChainLongerThanTheLog(t *testing.T) {
	s := &logScan{ring: make(ring, mib), entries: map[int]logEntry{
		0: {pos: 0, length: 640 * kib, sequence: 1}, 640 * kib: {pos: 640 * kib, length: 640 * kib, sequence: 2}, 256 * kib: {pos: 256 * kib, length: 4096, sequence: 3},
	}}
	if _, _, fault := s.active(); !strings.Contains(fault, "no sequence of entries is complete") {
		t.Errorf("fault = %q", fault)
	}
}

// TestGapEndsASequence: what was written behind a gap was never carried out, so the sequence before it counts.
func TestGapEndsASequence(t *testing.T) {
	f := small.build()
	chosen(f, 0, 1, 0, 0, 0)
	f.b[builtLog+2*logSector+20]++
	if got := whichBlock(t, openSource(t, formattest.Bytes(f.b))); got != 0 {
		t.Errorf("block %d, want 0", got)
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

// BenchmarkHostileLog scans the log that costs most: each sector is an entry whose padding is the rest.
func BenchmarkHostileLog(b *testing.B) {
	r := make(ring, maxLog)
	for pos := 0; pos < len(r); pos += logSector {
		copy(r[pos:], built{sequence: 1, pad: 0}.bytes())
		le.PutUint32(r[pos+8:], maxLog)
	}
	for b.Loop() {
		if _, _, fault := scan(r, logGUID).active(); fault == "" {
			b.Fatal(fmt.Sprint("no fault"))
		}
	}
}
