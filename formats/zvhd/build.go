package zvhd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/imsfs/imsfs/formats"
)

// slack is how far past its last bit the decoder may read: into the shortest block that can follow.
const slack = 4

// builder writes an index, from front to back.
type builder struct {
	write   func([]byte) error
	written int64
	page    []byte   // entries of the group under way
	first   []uint32 // of each group, its first block
	stored  int64
}

// BuildIndex decodes on its own. Readers beside it find the milestones that it has passed.
func (m *image) BuildIndex(ctx context.Context, write func(p []byte) error) error {
	room := capacity(m.src.Size(), m.walked.blocks)
	_, top, tail := indexSize(room)
	b := &builder{write: write, page: make([]byte, unit)}
	from := streamStart
	for last := beforeFirst; ; b.stored++ {
		r, end, problem, err := nextRef(ctx, m.src, last, m.walked.blocks)
		switch {
		case err != nil:
			return err
		case problem != "":
			return formats.Corrupt(name, last.end(), "%s", problem)
		case end:
			return b.finish(ctx, top, tail, m.sum)
		case b.stored == room:
			return fmt.Errorf("zvhd: the file has more than the %d stored blocks that an index can have: %w", room, errors.ErrUnsupported)
		}
		s := &scan{from: from, to: pieces}
		if err := m.scanChunk(ctx, s, nil, 0, b.stored, r); err != nil {
			return err
		}
		if err := b.add(r, s); err != nil {
			return err
		}
		m.places.addMilestone(pos(b.stored+1, 0), s.next())
		from, last = s.next(), r
	}
}

// add writes the windows of a block and notes its entry.
func (b *builder) add(r ref, s *scan) error {
	k := b.stored % groupLen
	if k == 0 {
		b.first = append(b.first, r.block)
	}
	e := entry(b.page[k*entrySize:][:entrySize])
	e.putRef(r)
	for p := range pieces {
		at := s.places[p]
		window := at.Window[:windowLen(b.stored, uint32(at.Plain))]
		end := min(s.ends[p+1]+slack, (s.places[pieces].Bit+7)/8)
		e.putPlace(p, indexed{uint32(at.Bit), uint32(at.Plain), uint32(end), crc32.Checksum(window, castagnoli)})
		if err := b.put(window); err != nil {
			return err
		}
		if err := b.pad(windowAt(b.stored, p) + windowSize); err != nil {
			return err
		}
	}
	if k == groupLen-1 {
		return b.endGroup()
	}
	return nil
}

// endGroup writes the page of the group under way.
func (b *builder) endGroup() error {
	if err := b.pad(int64(len(b.first))*groupSize - unit); err != nil {
		return err
	}
	sealPage(b.page)
	defer clear(b.page)
	return b.put(b.page)
}

// finish writes the page of a group that is not full, the groups' first blocks and the last page.
func (b *builder) finish(ctx context.Context, topAt, tailAt int64, sum [32]byte) error {
	if b.stored%groupLen != 0 {
		if err := b.endGroup(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.pad(topAt); err != nil {
		return err
	}
	le := binary.LittleEndian
	var top []byte
	for _, block := range b.first {
		top = le.AppendUint32(top, block)
	}
	if err := b.put(top); err != nil {
		return err
	}
	if err := b.pad(tailAt); err != nil {
		return err
	}
	clear(b.page)
	copy(b.page, indexMagic)
	le.PutUint32(b.page[16:], indexVersion)
	le.PutUint32(b.page[20:], pieces)
	le.PutUint64(b.page[24:], uint64(b.stored))
	copy(b.page[32:], sum[:])
	le.PutUint32(b.page[64:], crc32.Checksum(top, castagnoli))
	sealPage(b.page)
	return b.put(b.page)
}

func (b *builder) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	b.written += int64(len(p))
	return b.write(p)
}

// pad writes zeros up to the offset.
func (b *builder) pad(to int64) error {
	zeros := make([]byte, min(to-b.written, 1<<20))
	for b.written < to {
		if err := b.put(zeros[:min(to-b.written, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return nil
}
