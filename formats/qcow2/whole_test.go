package qcow2

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// oneTableForAll is a file in which all entries of a large L1 table name one L2 table, and fill sets that table's entries: 1 EiB
// in 20 MiB.
func oneTableForAll(fill func(i int) uint64) formattest.Sparse {
	const clusterBits, entries = 21, 2 << 20
	const cluster = 1 << clusterBits
	h := header{
		version: 3, clusterBits: clusterBits, size: 1 << 60, l1Size: entries, l1Table: cluster, refcountTable: cluster, refcountSize: 1,
		refcountOrder: 4, length: fullHeaderSize,
	}
	const l2At = cluster + entries*8
	l1, l2 := make([]byte, entries*8), make([]byte, cluster)
	for i := range entries {
		binary.BigEndian.PutUint64(l1[i*8:], l2At|flagCopied)
	}
	for i := range cluster / 8 {
		binary.BigEndian.PutUint64(l2[i*8:], fill(i))
	}
	return formattest.Sparse{Bytes: l2At + 2*cluster, Parts: []formattest.Part{{Off: 0, Data: h.encode()}, {Off: cluster, Data: l1}, {Off: l2At, Data: l2}}}
}

func TestADiskIsWalkedInTheTimeOfItsFile(t *testing.T) {
	const dataAt = 1<<22 + 1<<24
	for name, entry := range map[string]uint64{"data": dataAt | flagCopied, "zeros": flagZero, "nothing": 0, "compressed": flagCompressed | dataAt} {
		t.Run(name, func(t *testing.T) {
			src := &formattest.Counting{Source: oneTableForAll(func(int) uint64 { return entry })}
			img, err := New(nil).Open(t.Context(), src, formats.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			for off := int64(0); off < 1<<60; asked++ {
				e, err := img.Extent(t.Context(), off, 1<<60-off)
				if err != nil {
					t.Fatal(err)
				}
				off = e.End()
			}
			if asked > 100 || src.Calls() > 1000 {
				t.Errorf("%d extents and %d reads", asked, src.Calls())
			}
		})
	}
	t.Run("what cannot be summed up can be given up", func(t *testing.T) {
		img, err := New(nil).Open(t.Context(), oneTableForAll(func(i int) uint64 { return uint64(i%2) * (dataAt | flagCopied) }), formats.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		for _, err := range formats.Extents(ctx, img, 0, 1<<60) {
			if n++; n == 1000 {
				cancel()
			}
			if n > 1001 || n == 1001 && !errors.Is(err, context.Canceled) {
				t.Fatalf("extent %d, %v", n, err)
			}
		}
	})
}

// TestKnownPagesAreOfTheRightKind: two tables by turns, one of data and one of zeros, are not taken for each other.
func TestKnownPagesAreOfTheRightKind(t *testing.T) {
	w := &whole{}
	data, zero := kind{state: formats.Data}, kind{state: formats.Zero}
	w.add(0, data)
	w.add(64, zero)
	if !w.is(0, data) || w.is(0, zero) || w.is(64, data) || w.is(128, data) {
		t.Error("a page is taken for another")
	}
	if w.table(0, 128, 64, data) || !w.table(64, 64, 64, zero) || w.table(64, 64, 64, data) {
		t.Error("a table is taken for another")
	}
	for i := range int64(2 * maxWhole) {
		w.add(i*64, data)
	}
	if len(w.pages) > maxWhole {
		t.Errorf("%d pages are remembered", len(w.pages))
	}
}
