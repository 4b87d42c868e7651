package vhd

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

const (
	// maxRefs bounds the stored blocks that are looked at: 64 MiB of refs, more than 2 TiB of
	// blocks of 256 KiB.
	maxRefs = formats.MaxTables / 8
	// padding is the gap that writers leave between structures so that sectors begin on a page. A
	// smaller gap is not a leak.
	padding = 4096
)

// checker is one Check under way.
type checker struct {
	formats.Findings
	src  formats.Source
	page []byte // scratch
}

// leak reports [from, to) as lost, unless it is padding.
func (c *checker) leak(from, to int64) {
	if to-from >= padding {
		c.Leak(from, to-from)
	}
}

// finds runs a verification and reports whether it found anything.
func (c *checker) finds(verify func(finding)) bool {
	found := false
	verify(func(off int64, format string, args ...any) {
		found = true
		c.Damage(off, format, args...)
	})
	return found
}

func (Driver) Check(ctx context.Context, src formats.Source, _ formats.OpenOptions, report func(formats.Problem)) error {
	s, err := readSeals(ctx, src)
	if err != nil {
		return err
	}
	c := &checker{src: src, page: make([]byte, pageSize)}
	defer c.Report(report)
	foot, err := s.believe()
	switch {
	case errors.Is(err, formats.ErrCorrupt):
		c.Damage(s.end.at, "%s", s.dispute())
		return nil
	case err != nil:
		return err
	}
	if s.end.fault != "" {
		c.Damage(s.end.at, "footer: %s", s.end.fault)
	}
	end := s.dataEnd(src)
	if foot.diskType != typeFixed {
		c.copies(&s)
	}
	switch {
	case c.finds(func(r finding) { foot.verify(end, r) }):
		return nil
	case foot.diskType == typeFixed:
		c.leak(int64(min(max(foot.size(), foot.currentSize), uint64(end))), end)
		return nil
	}
	return c.blocks(ctx, &foot, end)
}

// copies compares the footer with its copy.
func (c *checker) copies(s *seals) {
	if s.front.fault != "" {
		c.Damage(0, "copy of the footer: %s", s.front.fault)
		return
	}
	if s.end.fault != "" {
		return
	}
	for _, f := range footerFields {
		got, want := s.front.bytes[f.off:f.off+f.size], s.end.bytes[f.off:f.off+f.size]
		if f.name != "checksum" && !bytes.Equal(got, want) {
			c.Damage(int64(f.off), "copy of the footer: %s is %x, must be %x to agree with the footer at the end", f.name, got, want)
		}
	}
}

// blocks checks the header and all it leads to, as far as it can be followed.
func (c *checker) blocks(ctx context.Context, foot *sealed, end int64) error {
	at, size := int64(foot.dataOffset), int64(foot.size())
	h, problem, err := readHeader(ctx, c.src, at)
	switch {
	case err != nil:
		return err
	case problem != "":
		c.Damage(at, "header: %s", problem)
		return nil
	case h.supported() != nil:
		return h.supported()
	case c.finds(func(r finding) { h.verify(at, size, end, r) }):
		return nil
	}
	t := newBAT(c.src, &h, at, size, end)
	refs, err := c.table(ctx, t, int64(h.maxTableEntries))
	if err != nil {
		return err
	}
	spans := slices.Clone(t.reserved)
	if foot.diskType == typeDifferencing {
		spans = append(spans, c.locators(&h, at, end)...)
	} else if err := c.bitmaps(ctx, t, refs); err != nil {
		return err
	}
	batmap, err := c.batmap(ctx, t)
	if err != nil {
		return err
	}
	return c.sweep(ctx, t, append(spans, batmap...), refs)
}
