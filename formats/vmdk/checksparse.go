package vmdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

// sparseCheck is the check of one sparse extent. All claims of places in the file are sorted, so
// that overlaps and leaks show: see claims.go and checkwalk.go.
type sparseCheck struct {
	*checker
	s         *sparse
	redundant *directory // nil if there is none that can be read
	shared    bool       // grain tables overlap, so that grains are not looked at
	first     bool       // this pass over the tables reports problems
	most      int64      // claims in memory at once

	held  formats.Findings // about headers and tables
	end   int64
	last  claim  // what ends there
	block []byte // a decoded grain
}

func newSparseCheck(c *checker) *sparseCheck {
	return &sparseCheck{checker: c, first: true, most: maxClaims}
}

// fault holds a finding, if this is the pass to report it.
func (k *sparseCheck) fault(off int64, format string, args ...any) {
	if k.first {
		k.held.Damage(off, "%s%s", k.prefix(), fmt.Sprintf(format, args...))
	}
}

// prefix is the name of a file that is not the one that was opened.
func (k *sparseCheck) prefix() string {
	if k.s == nil || k.s.file.name == "" {
		return ""
	}
	return shorten(k.s.file.name) + ": "
}

// hold holds an error that is about damage, and returns any other.
func (k *sparseCheck) hold(err error) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	if k.first {
		k.held.Add(f.problem)
	}
	return nil
}

func (k *sparseCheck) run(ctx context.Context, s *sparse) error {
	k.s = s
	if s.header.compressed() {
		k.block = make([]byte, s.grain)
	}
	if s.headerAt > 0 {
		if err := k.footer(ctx); err != nil {
			return err
		}
	}
	if err := k.copies(ctx); err != nil {
		return err
	}
	if k.shared = overlap(s.dir) || k.redundant != nil && overlap(k.redundant); k.shared {
		k.fault(s.dir.at, "grain directory: its tables overlap, so the grains are not checked")
	}
	return k.passes(ctx)
}

// footer compares the header with the footer, which is believed, and looks for the end-of-stream
// marker.
func (k *sparseCheck) footer(ctx context.Context) error {
	b := make([]byte, headerSize)
	if err := k.s.file.read(ctx, b, 0, "header"); err != nil {
		return err
	}
	implied := k.s.header
	implied.gdOffset = gdAtEnd
	want := implied.encode()
	for _, f := range fields {
		if g, w := b[f.off:f.off+f.size], want[f.off:f.off+f.size]; !bytes.Equal(g, w) && f.name != "pad" {
			k.fault(int64(f.off), "header: %s is %x, must be %x to agree with the footer", f.name, g, w)
		}
	}
	at := k.s.headerAt + headerSize
	if err := k.s.file.read(ctx, b, at, "end-of-stream marker"); err != nil {
		return err
	}
	if m := decodeMarker(b); m != (marker{kind: markerEOS}) {
		k.fault(at, "end-of-stream marker: %v, must be all zeros", m)
	}
	return nil
}

// copies compares directory and tables with the redundant ones.
func (k *sparseCheck) copies(ctx context.Context) error {
	s, h := k.s, &k.s.header
	if h.flags&flagRedundant == 0 {
		return nil
	}
	if !inside(h.rgdOffset, ceilDiv(h.tables()*gteSize, sector), uint64(s.file.Size()/sector)) {
		k.fault(s.headerAt+fieldOffset("rgdOffset"), "header: rgdOffset is %d, the redundant grain directory must lie within the file", h.rgdOffset)
		return nil
	}
	r, err := openDirectory(ctx, s.file, h, h.rgdOffset, "redundant grain table", 0)
	if err != nil {
		return err
	}
	k.redundant = r
	for j := range s.dir.len() {
		switch a, b := s.dir.entry(j), r.entry(j); {
		case a == 0 && b == 0:
		case a == 0 || b == 0:
			k.fault(r.at+j*gteSize, "redundant grain directory: table %d is at sector %d, in the grain directory at %d", j, b, a)
		case a == b:
			k.fault(r.at+j*gteSize, "redundant grain directory: table %d is the same as the grain directory's", j)
			k.shared = true
		default:
			if err := k.compare(ctx, j); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *sparseCheck) compare(ctx context.Context, j int64) error {
	a, err := k.s.dir.table(ctx, j)
	if err != nil {
		return k.ignore(err)
	}
	b, err := k.redundant.table(ctx, j)
	if err != nil {
		return k.ignore(err)
	}
	for i := range int64(len(a) / gteSize) {
		if x, y := gte(a, i), gte(b, i); x != y {
			k.fault(k.redundant.entry(j)*sector+i*gteSize, "redundant grain table %d: grain %d is at sector %d, in the grain table at %d", j, j*k.s.dir.perTable+i, y, x)
			return nil
		}
	}
	return nil
}

// ignore drops damage, which is found again where tables are walked.
func (k *sparseCheck) ignore(err error) error {
	if errors.Is(err, formats.ErrCorrupt) {
		return nil
	}
	return err
}

// overlap reports whether two tables share bytes. If they may, one table of a small file can stand
// for any number of grains.
func overlap(d *directory) bool {
	var starts []uint32
	for j := range d.len() {
		if e := d.entry(j); e != 0 {
			starts = append(starts, uint32(e))
		}
	}
	slices.Sort(starts)
	for i := range max(1, len(starts)) - 1 {
		if int64(starts[i+1])-int64(starts[i]) < d.tableSectors() {
			return true
		}
	}
	return false
}
