// Package volume makes disks of the members of volume managers: the linear, striped and mirrored
// volumes of LVM2.
package volume

import (
	"context"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/inspect/disk"
)

// Member is a slice that a volume manager uses.
type Member struct {
	ID  string
	Src disk.Source
}

// Volume is a disk made of members.
type Volume struct {
	Group, Name string
	Size        int64
	Src         disk.Source // nil if Err is set
	Err         error       // why it cannot be read
}

// segment is a run of a volume that lies on stripes: one, or several by turns.
type segment struct {
	off, size  int64
	stripeSize int64
	stripes    []stripe
}

type stripe struct {
	src disk.Source
	off int64
}

// mapped is a volume as a source. Its segments are in order and without gaps.
type mapped struct {
	segments []segment
	size     int64
}

func (m *mapped) Size() int64 { return m.size }

func (m *mapped) ReadAt(ctx context.Context, p []byte, off int64) error {
	return m.read(p, off, func(s disk.Source, p []byte, off int64) error { return s.ReadAt(ctx, p, off) })
}

func (m *mapped) ReadMeta(ctx context.Context, p []byte, off int64) error {
	return m.read(p, off, func(s disk.Source, p []byte, off int64) error { return s.ReadMeta(ctx, p, off) })
}

func (m *mapped) read(p []byte, off int64, read func(disk.Source, []byte, int64) error) error {
	if !disk.Within(off, int64(len(p)), m.size) {
		return fmt.Errorf("read: [%d, +%d) is past the end of the volume (%d bytes): %w", off, len(p), m.size, io.ErrUnexpectedEOF)
	}
	for _, s := range m.segments {
		for len(p) > 0 && off < s.off+s.size {
			src, at, n := s.place(off - s.off)
			q := p[:min(int64(len(p)), n)]
			if err := read(src, q, at); err != nil {
				return err
			}
			p, off = p[len(q):], off+int64(len(q))
		}
	}
	return nil
}

// place returns where an offset of the segment is, and how many bytes follow there.
func (s segment) place(off int64) (disk.Source, int64, int64) {
	left := s.size - off
	if len(s.stripes) == 1 {
		return s.stripes[0].src, s.stripes[0].off + off, left
	}
	row, within := off/s.stripeSize, off%s.stripeSize
	st := s.stripes[row%int64(len(s.stripes))]
	return st.src, st.off + row/int64(len(s.stripes))*s.stripeSize + within, min(left, s.stripeSize-within)
}
