package vdi

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// pageSize is how much of the block map is read at once: 16 GiB of a disk in blocks of 1 MiB.
const pageSize = 64 << 10

// entries returns those of block ci and of the following blocks, up to the end of their page of the
// block map.
func (m *image) entries(ctx context.Context, ci int64) (entries, error) {
	at := ci * entrySize &^ (pageSize - 1)
	page, err := m.bmap.Get(ctx, int64(m.offsetBmap)+at, int(min(pageSize, m.mapSize()-at)), "block map")
	if err != nil {
		return nil, err
	}
	return entries(page[ci*entrySize-at:]), nil
}

// entries are neighbouring entries of the block map.
type entries []byte

func (e entries) len() int64        { return int64(len(e) / entrySize) }
func (e entries) at(i int64) uint32 { return binary.LittleEndian.Uint32(e[i*entrySize:]) }

func stateOf(entry uint32) formats.State {
	switch entry {
	case unallocated:
		return formats.Unallocated
	case discarded:
		return formats.Zero
	}
	return formats.Data
}

// run returns the length of the run at the start of the entries, up to limit: blocks in the same
// state, and if inFile neighbours in the file.
func (e entries) run(limit int64, inFile bool) int64 {
	first := e.at(0)
	state := stateOf(first)
	n := int64(1)
	for n < min(limit, e.len()) && stateOf(e.at(n)) == state {
		if inFile && state == formats.Data && e.at(n) != first+uint32(n) {
			break
		}
		n++
	}
	return n
}

// Extent ends with its page of the block map at the latest.
func (m *image) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	size := int64(m.blockSize)
	ci := off / size
	list, err := m.entries(ctx, ci)
	if err != nil {
		return formats.Extent{}, err
	}
	run := list.run((off+n-1)/size-ci+1, m.holes.Known())
	e := formats.Extent{Off: off, Len: min(n, (ci+run)*size-off), State: stateOf(list.at(0))}
	if e.State != formats.Data {
		return e, nil
	}
	return m.holes.Refine(ctx, e, m.block(list.at(0))+off%size)
}

// ReadAt reads blocks that are neighbours in the file at once.
func (m *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	size := int64(m.blockSize)
	for len(p) > 0 {
		ci, in := off/size, off%size
		list, err := m.entries(ctx, ci)
		if err != nil {
			return err
		}
		run := list.run((in+int64(len(p))-1)/size+1, true)
		n := min(int64(len(p)), run*size-in)
		if err := m.readRun(ctx, p[:n], ci, list[:run*entrySize], in); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readRun fills p from offset in of a run of blocks.
func (m *image) readRun(ctx context.Context, p []byte, ci int64, run entries, in int64) error {
	first := run.at(0)
	if stateOf(first) != formats.Data {
		clear(p)
		return nil
	}
	for i := range run.len() {
		if m.missing(ci+i, run.at(i)) {
			return formats.Corrupt(name, int64(m.offsetBmap)+(ci+i)*entrySize, "%s", m.outside(ci+i, run.at(i)))
		}
	}
	at := m.block(first) + in
	if err := m.src.ReadAt(ctx, p, at); err != nil {
		return fmt.Errorf("vdi: block %d at %#x: %w", ci, at, err)
	}
	return nil
}

// outside is the sentence about an entry whose block is missing.
func (h *header) outside(ci int64, entry uint32) string {
	return fmt.Sprintf("block map entry of block %d is %#x: its block at %#x must lie within the file of %d bytes", ci, entry, h.block(entry), h.fileSize)
}
