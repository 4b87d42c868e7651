package vhd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

const (
	// maxHeld bounds the findings that are held back until all are known, to report them in file order.
	maxHeld = 10_000
	// maxRefs bounds the stored blocks that are looked at: 64 MiB of refs, more than 2 TiB of blocks of 256 KiB.
	maxRefs = formats.MaxTables / 8
	// padding is what writers leave between structures to have sectors begin on a page: less is no leak.
	padding = 4096
)

// checker is one Check under way.
type checker struct {
	src  formats.Source
	held []formats.Problem
	lost int    // findings beyond maxHeld
	page []byte // scratch
}

// hold is a report of damage.
func (c *checker) hold(off int64, format string, args ...any) { c.add(off, false, format, args...) }

// leak reports [from, to) as lost, unless it is padding.
func (c *checker) leak(from, to int64) {
	if to-from >= padding {
		c.add(from, true, "%d bytes belong to nothing", to-from)
	}
}

func (c *checker) add(off int64, leak bool, format string, args ...any) {
	if len(c.held) == maxHeld {
		c.lost++
		return
	}
	c.held = append(c.held, formats.Problem{Off: off, Text: fmt.Sprintf(format, args...), Leak: leak})
}

func (c *checker) release(out func(formats.Problem)) {
	slices.SortStableFunc(c.held, func(a, b formats.Problem) int { return cmp.Compare(a.Off, b.Off) })
	for _, p := range c.held {
		out(p)
	}
	if c.lost > 0 {
		out(formats.Problem{Off: c.src.Size(), Text: fmt.Sprintf("%d more problems are not listed", c.lost)})
	}
}

// finds runs a verification and tells whether it found anything.
func (c *checker) finds(verify func(finding)) bool {
	found := false
	verify(func(off int64, format string, args ...any) {
		found = true
		c.hold(off, format, args...)
	})
	return found
}

// Check is the formats.Checker method.
func (Driver) Check(ctx context.Context, src formats.Source, _ formats.OpenOptions, report func(formats.Problem)) error {
	s, err := readSeals(ctx, src)
	if err != nil {
		return err
	}
	c := &checker{src: src, page: make([]byte, pageSize)}
	defer c.release(report)
	foot, err := s.believe()
	switch {
	case errors.Is(err, formats.ErrCorrupt):
		c.hold(s.end.at, "%s", s.dispute())
		return nil
	case err != nil:
		return err
	}
	if s.end.fault != "" {
		c.hold(s.end.at, "footer: %s", s.end.fault)
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
		c.hold(0, "copy of the footer: %s", s.front.fault)
		return
	}
	if s.end.fault != "" {
		return
	}
	for _, f := range footerFields {
		got, want := s.front.bytes[f.off:f.off+f.size], s.end.bytes[f.off:f.off+f.size]
		if f.name != "checksum" && !bytes.Equal(got, want) {
			c.hold(int64(f.off), "copy of the footer: %s is %x, must be %x to agree with the footer at the end", f.name, got, want)
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
		c.hold(at, "header: %s", problem)
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
