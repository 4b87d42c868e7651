package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// mapping tells which parts of qemu-img map's output can be compared for a format.
type mapping int

const (
	// mapsAll compares depth, present, zero and data.
	mapsAll mapping = iota
	// mapsPresence compares all but present, because QEMU calls a hole present in formats without
	// backing files.
	mapsPresence
	// mapsBlocks compares as mapsPresence, but QEMU reports a whole block as data, and the program the
	// holes in it as zeros.
	mapsBlocks
	// mapsNothing compares nothing, because QEMU reports all of the disk as data.
	mapsNothing
)

// mapExtent is an extent as both programs print it.
type mapExtent struct {
	Start, Length       int64
	Depth               int
	Present, Zero, Data bool
}

func (e mapExtent) String() string {
	return fmt.Sprintf("[%#x, +%#x) depth %d present %v zero %v data %v", e.Start, e.Length, e.Depth, e.Present, e.Zero, e.Data)
}

// compareMaps compares two maps, as far as mapping allows.
func compareMaps(t *testing.T, how mapping, ours, theirs string) {
	t.Helper()
	a, b := readMap(t, how, ours), readMap(t, how, theirs)
	if how == mapsNothing {
		if a[len(a)-1].end() != b[len(b)-1].end() {
			t.Errorf("the map ends at %#x, qemu-img's at %#x", a[len(a)-1].end(), b[len(b)-1].end())
		}
		return
	}
	if how == mapsBlocks {
		a = withoutHoles(a, b)
	}
	for i := range max(len(a), len(b)) {
		if i < len(a) && i < len(b) && a[i] == b[i] {
			continue
		}
		t.Errorf("the maps differ from extent %d on:\n%s\nqemu-img's:\n%s", i, listed(a[i:]), listed(b[i:]))
		return
	}
}

func (e mapExtent) end() int64 { return e.Start + e.Length }

// readMap parses a map and joins equal neighbours.
func readMap(t *testing.T, how mapping, text string) []mapExtent {
	t.Helper()
	var list, joined []mapExtent
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	var end int64
	for _, e := range list {
		if e.Start != end || e.Length <= 0 {
			t.Fatalf("extent %v, and the one in front ends at %#x", e, end)
		}
		end = e.end()
		// A hole of the file, in a format without holes, is zero and data at once for QEMU: our
		// zero.
		e.Data = e.Data && !e.Zero
		if how == mapsPresence || how == mapsBlocks {
			e.Present = true
		}
		if n := len(joined); n > 0 {
			same := e
			same.Start, same.Length = joined[n-1].Start, joined[n-1].Length
			if same == joined[n-1] {
				joined[n-1].Length += e.Length
				continue
			}
		}
		joined = append(joined, e)
	}
	if len(joined) == 0 {
		t.Fatalf("an empty map: %s", text)
	}
	return joined
}

// withoutHoles returns map a with those zeros as data that lie in data of map b.
func withoutHoles(a, b []mapExtent) []mapExtent {
	var joined []mapExtent
	for _, e := range a {
		for _, other := range b {
			piece := e
			piece.Start, piece.Length = max(e.Start, other.Start), min(e.end(), other.end())-max(e.Start, other.Start)
			if piece.Length <= 0 {
				continue
			}
			if e.Zero && other.Data && e.Depth == other.Depth {
				piece.Zero, piece.Data = false, true
			}
			if n := len(joined); n > 0 && joined[n-1].Zero == piece.Zero && joined[n-1].Depth == piece.Depth {
				joined[n-1].Length += piece.Length
				continue
			}
			joined = append(joined, piece)
		}
	}
	return joined
}

// listed returns the first few extents of a list, one a line.
func listed(list []mapExtent) string {
	var b strings.Builder
	for _, e := range list[:min(len(list), 8)] {
		fmt.Fprintf(&b, "  %v\n", e)
	}
	return b.String()
}
