package vhdx

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// checker is one Check under way. It ends when Findings is full, because a hostile file can have
// millions of wrong entries.
type checker struct{ formats.Findings }

// Check looks at all structures, with the log replayed in memory, and at the place of every block.
// The format has no rules for payload. A log that can be replayed is not damage.
func (Driver) Check(ctx context.Context, src formats.Source, _ formats.OpenOptions, report func(formats.Problem)) error {
	c := &checker{}
	m, err := load(ctx, src, c.Damage)
	if err != nil {
		return err
	}
	if err := c.copies(ctx, src, m); err != nil {
		return err
	}
	if m != nil {
		if err := c.blocks(ctx, m); err != nil {
			return err
		}
	}
	full := c.Full()
	c.Report(report)
	if full {
		report(formats.Problem{Off: src.Size(), Text: fmt.Sprintf("after %d problems nothing more was looked at", formats.MaxFindings)})
	}
	return nil
}

// copies reports copies that are lost: load needs one of each and says nothing of the other.
func (c *checker) copies(ctx context.Context, src formats.Source, m *image) error {
	hs, err := readHeaders(ctx, src)
	if err != nil {
		return err
	}
	for i, fault := range hs.faults {
		if fault != "" && hs.faults[1-i] == "" {
			c.Damage(headerAt[i], "header: %s", fault)
		}
	}
	if m == nil { // the tables count as the log leaves them
		return nil
	}
	if log := m.layout.log; log.end > m.src.Size() {
		c.Damage(log.off, "log: [%#x, %#x) lies outside of the file of %d bytes", log.off, log.end, m.src.Size())
	}
	ts, err := readRegionTables(ctx, m.src, true)
	if err != nil {
		return err
	}
	for i, fault := range ts.faults {
		if fault != "" && ts.faults[1-i] == "" {
			c.Damage(tableAt[i], "region table: %s", fault)
		}
	}
	if ts.faults == [2]string{} && string(ts.raw[0]) != string(ts.raw[1]) {
		c.Damage(tableAt[1], "region table: it differs from the one at %#x", tableAt[0])
	}
	return nil
}

// blocks looks at every entry of the BAT and then for space that none of them names.
func (c *checker) blocks(ctx context.Context, m *image) error {
	s := newSpace(m)
	var pg page
	bitmapNeeded := int64(-1) // the first payload block of the chunk that is partially present
	for index := int64(0); index < m.entries() && !c.Full(); index++ {
		if index%entriesPerPage == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := m.bat.load(ctx, &pg, index); err != nil {
			return err
		}
		e, chunk, in := pg.entry(index), index/(m.ratio()+1), index%(m.ratio()+1)
		if in == m.ratio() {
			c.bitmapBlock(m, s, index, e, bitmapNeeded)
			bitmapNeeded = -1
			continue
		}
		block := chunk*m.ratio() + in
		if block >= m.blocks() { // a chunk that the disk does not fill
			continue
		}
		c.payloadBlock(m, s, index, block, e)
		if e.state() == partiallyPresent && bitmapNeeded < 0 {
			bitmapNeeded = block
		}
	}
	if !c.Full() {
		s.leaks(func(p formats.Problem) bool { c.Add(p); return !c.Full() })
	}
	return nil
}

func (c *checker) payloadBlock(m *image, s *space, index, block int64, e entry) {
	if fault := m.payloadFault(block, e); fault != "" {
		c.Damage(m.bat.at(index), "BAT: payload block %d: %s", block, fault)
		return
	}
	switch {
	case e.present() && !s.take(int64(e.offset()), m.blockSize):
		c.Damage(m.bat.at(index), "BAT: payload block %d: [%#x, +%d) overlaps another block", block, e.offset(), m.blockSize)
	case e.state() == undefined || e.state() == unmapped:
		if e.offset() != 0 && m.placeFault(e, m.used(block), m.blockSize) == "" {
			s.keep(int64(e.offset()), m.blockSize)
		}
	}
}

// bitmapBlock checks a sector bitmap block. A disk without a parent does not have any, and its
// entries are ignored: qemu before 8.0 leaves all kinds of values in them.
func (c *checker) bitmapBlock(m *image, s *space, index int64, e entry, neededBy int64) {
	if !m.parent || e.state() == notPresent && neededBy < 0 {
		return
	}
	fault := m.bitmapFault(e)
	switch {
	case fault != "" && neededBy >= 0:
		c.Damage(m.bat.at(index), "BAT: sector bitmap of payload block %d, which is partially present: %s", neededBy, fault)
	case fault != "":
		c.Damage(m.bat.at(index), "BAT: sector bitmap of chunk %d: %s", index/(m.ratio()+1), fault)
	case !s.take(int64(e.offset()), mib):
		c.Damage(m.bat.at(index), "BAT: sector bitmap of chunk %d: [%#x, +%d) overlaps another block", index/(m.ratio()+1), e.offset(), mib)
	}
}
