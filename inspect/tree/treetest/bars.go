package treetest

import (
	"testing"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// bars counts the requests of opening, of a walk, and of reading one small file.
func bars(t *testing.T, c Case, files []tree.File) {
	tr, d := c.Open(t)
	opened := d.Cost()
	n := int64(len(files))
	within(t, "open", opened.Requests, orElse(c.Bars.Open, 32))
	if err := tree.Walk(t.Context(), tr, tr.Root(), func(_ tree.File, err error) error { return err }); err != nil {
		t.Fatal(err)
	}
	walked := minus(d.Cost(), opened)
	within(t, "walk", walked.Requests, orElse(c.Bars.Walk, 40+n/8))
	within(t, "bytes of a walk", walked.Bytes, orElse(c.Bars.WalkBytes, 4<<20+1200*n))
	t.Logf("%s: open %+v, walk of %d files %+v", c.Driver.Name(), opened, n, walked)
	for _, f := range files {
		if f.Attr.Type() != tree.TypeFile || f.Attr.Size == 0 || f.Attr.Size > disk.PageSize {
			continue
		}
		tr, d := c.Open(t)
		before := d.Cost()
		id, err := tree.Resolve(t.Context(), tr, tr.Root(), f.Path, false)
		if err == nil {
			_, err = sum(t.Context(), tr, tree.Attr{ID: id, Size: f.Attr.Size})
		}
		if err != nil {
			t.Fatal(err)
		}
		within(t, "small file", minus(d.Cost(), before).Requests, orElse(c.Bars.SmallFiles, 24))
		return
	}
}

func minus(a, b disk.Cost) disk.Cost {
	return disk.Cost{Requests: a.Requests - b.Requests, Bytes: a.Bytes - b.Bytes}
}

func orElse(bar, otherwise int64) int64 {
	if bar == 0 {
		return otherwise
	}
	return bar
}

func within(t *testing.T, what string, got, bar int64) {
	t.Helper()
	if got > bar {
		t.Errorf("%s: %d, at most %d", what, got, bar)
	}
}
