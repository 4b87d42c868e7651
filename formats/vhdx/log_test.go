package vhdx

import (
	"bytes"
	"context"
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
		if bytes.Equal(p, formattest.Pattern(0, 512)) {
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
	want := formattest.Pattern(2*mib, mib)
	for i := range uint64(200) {
		data := formattest.Pattern(int64(i)*mib, logSector)
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
		t.Error("a read after the end was answered")
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
