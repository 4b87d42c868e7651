package formattest

import (
	"bytes"
	"errors"
	iofs "io/fs"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// maxPieces bounds the extents that Hostile reads.
const maxPieces = 50

// Suspect is a driver whose fuzz target Hostile is.
type Suspect interface {
	formats.Driver
	formats.Checker
}

// Hostile is the body of a fuzz target: it checks, opens and reads a source that may be anything. Nothing may panic, errors
// must be of a known kind, bytes outside of Data must be zeros, and check must find damage in a file that cannot be opened or
// read. The result is nil if the source does not open; failed says that a read did.
func Hostile(t *testing.T, d Suspect, src formats.Source, opts formats.OpenOptions) (img formats.Image, failed bool) {
	t.Helper()
	damage := 0
	err := d.Check(t.Context(), src, opts, func(p formats.Problem) {
		if !p.Leak {
			damage++
		}
	})
	WantKnown(t, err)
	sound := err == nil && damage == 0
	img, err = formats.Set{Drivers: []formats.Driver{d}}.Open(t.Context(), src, d.Name(), opts)
	WantKnown(t, err)
	if err != nil {
		if sound && errors.Is(err, formats.ErrCorrupt) {
			t.Errorf("check finds nothing wrong, and open fails: %v", err)
		}
		return nil, true
	}
	if failed = ReadEverywhere(t, img); failed && sound {
		t.Error("check finds nothing wrong, and a read fails")
	}
	return img, failed
}

// WantKnown asserts that an error about a hostile file is of a kind that callers know.
func WantKnown(t *testing.T, err error) {
	t.Helper()
	for _, kind := range []error{formats.ErrCorrupt, errors.ErrUnsupported, iofs.ErrNotExist} {
		if errors.Is(err, kind) {
			return
		}
	}
	if err != nil {
		t.Errorf("an error of no known kind: %v", err)
	}
}

// ReadEverywhere reads at both ends of the first extents, and more at their starts. It reports whether anything failed.
func ReadEverywhere(t *testing.T, img formats.Image) (failed bool) {
	t.Helper()
	info := img.Info()
	for off, seen := int64(0), 0; off < info.Size && seen < maxPieces; seen++ {
		e, err := img.Extent(t.Context(), off, info.Size-off)
		WantKnown(t, err)
		if err != nil { // the next cluster may be better
			failed = true
			off = (off/info.ClusterSize + 1) * info.ClusterSize
			continue
		}
		for _, r := range []Range{{e.Off, e.Off + 512}, {e.End() - 512, e.End()}, {e.Off, e.Off + 100_000}} {
			r = Range{max(r.Off, e.Off), min(r.End, e.End())}
			p := bytes.Repeat([]byte{0xDB}, int(r.End-r.Off))
			err := img.ReadAt(t.Context(), p, r.Off)
			WantKnown(t, err)
			failed = failed || err != nil
			if err == nil && e.State != formats.Data && !formats.IsZero(p) {
				t.Errorf("%v reads as something else than zeros", e)
			}
		}
		off = e.End()
	}
	return failed
}
