package vhdx

import (
	"context"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

// image is an open VHDX file. It is immutable but for the tables it holds.
type image struct {
	info formats.Info
	src  formats.Source // with the log replayed
	geometry
	layout *layout
	bat    bat
	holes  formats.Holes
}

var _ formats.Image = (*image)(nil)

func (m *image) Info() formats.Info {
	info := m.info
	info.Details = slices.Clone(info.Details)
	if b := info.Backing; b != nil {
		info.Backing = &formats.Backing{Paths: slices.Clone(b.Paths), Format: b.Format, ID: b.ID}
	}
	return info
}

// piece is a part of one block whose bytes are all in one state and, if they are data, lie together
// in the file.
type piece struct {
	off, n int64 // in the disk
	state  formats.State
	file   int64 // where the data is
}

func (p *piece) end() int64 { return p.off + p.n }

// join appends q, which follows, if it is one with p in the file too.
func (p *piece) join(q piece) bool {
	if p.state != q.state || p.state == formats.Data && p.file+p.n != q.file {
		return false
	}
	p.n += q.n
	return true
}

// Extent ends with the BAT's page or, where sectors count, with the block.
func (m *image) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	var pg page
	p, err := m.refined(ctx, &pg, off, n)
	if err != nil {
		return formats.Extent{}, err
	}
	for end := off + n; p.end() < end && p.end()%m.blockSize == 0; {
		index := m.index(p.end() / m.blockSize)
		if !pg.has(index) || pg.entry(index).state() == partiallyPresent {
			break
		}
		next, err := m.refined(ctx, &pg, p.end(), end-p.end())
		if err != nil || next.state != p.state { // the error is for those who ask for that block
			break
		}
		p.n += next.n
	}
	return formats.Extent{Off: off, Len: p.n, State: p.state}, nil
}

// refined is piece, but data that lies in a hole of the file is zeros.
func (m *image) refined(ctx context.Context, pg *page, off, n int64) (piece, error) {
	p, err := m.piece(ctx, pg, off, n)
	if err != nil || p.state != formats.Data {
		return p, err
	}
	e, err := m.holes.Refine(ctx, formats.Extent{Off: off, Len: p.n, State: p.state}, p.file)
	p.n, p.state = e.Len, e.State
	return p, err
}

// ReadAt reads blocks that are neighbours in the file as one.
func (m *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	var pg page
	run := piece{off: off}
	for end := off + int64(len(p)); run.end() < end; {
		next, err := m.piece(ctx, &pg, run.end(), end-run.end())
		switch {
		case err != nil:
			return err
		case run.n == 0:
			run = next
		case !run.join(next):
			if err := m.fill(ctx, p[run.off-off:run.end()-off], run); err != nil {
				return err
			}
			run = next
		}
	}
	return m.fill(ctx, p[run.off-off:], run)
}

func (m *image) fill(ctx context.Context, p []byte, run piece) error {
	if run.state != formats.Data {
		clear(p)
		return nil
	}
	return m.src.ReadAt(ctx, p, run.file)
}

// piece finds the part that starts at off and is at most n bytes long.
func (m *image) piece(ctx context.Context, pg *page, off, n int64) (piece, error) {
	block := off / m.blockSize
	index := m.index(block)
	if err := m.bat.load(ctx, pg, index); err != nil {
		return piece{}, err
	}
	e := pg.entry(index)
	in := off - block*m.blockSize
	p := piece{off: off, n: min(n, m.blockSize-in)}
	if fault := m.payloadFault(block, e); fault != "" {
		return p, formats.Corrupt(name, m.bat.at(index), "BAT: payload block %d: %s", block, fault)
	}
	switch e.state() {
	case notPresent:
	case fullyPresent:
		p.state, p.file = formats.Data, int64(e.offset())+in
	case partiallyPresent:
		set, run, err := m.sectors(ctx, block, in, p.n)
		if err != nil {
			return p, err
		}
		p.n = run
		if set {
			p.state, p.file = formats.Data, int64(e.offset())+in
		}
	default:
		p.state = formats.Zero
	}
	return p, nil
}

// payloadFault says why the entry of a payload block is wrong, or "".
func (m *image) payloadFault(block int64, e entry) string {
	switch e.state() {
	case notPresent, undefined, zero, unmapped, unmappedOld:
		return ""
	case fullyPresent:
		return m.placeFault(e, m.used(block), m.blockSize)
	case partiallyPresent:
		if !m.parent {
			return "state 7, partially present, on a disk without a parent"
		}
		return m.placeFault(e, m.used(block), m.blockSize)
	}
	return stateFault(e)
}
