// Package disk reads the bytes of a disk for everything that looks inside it: partition tables,
// volume managers and file systems.
//
// A Disk keeps the pages of metadata that were read last, so that a remote image is asked rarely,
// and counts its requests. A part of a disk is a Source again, and so is a logical volume: a
// file-system driver does not know where its bytes are. All bytes are hostile input.
package disk

import (
	"context"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
)

// Source gives the bytes of a disk, a partition or a logical volume. It is safe for concurrent use.
// Both methods fill p or return an error; a range past the end is io.ErrUnexpectedEOF, and the
// error of a context that ended is that context's. They never keep p.
type Source interface {
	// ReadAt reads the data of files straight into p. Only a read shorter than a page goes through
	// the pages, because small files have neighbours.
	formats.Source
	// ReadMeta reads metadata through the pages.
	ReadMeta(ctx context.Context, p []byte, off int64) error
}

// Slice returns n bytes of src at off as a source. It shares the pages and counters of src.
func Slice(src Source, off, n int64) (Source, error) {
	if !Within(off, n, src.Size()) {
		return nil, fmt.Errorf("slice: [%d, +%d) is not inside the disk (%d bytes): %w", off, n, src.Size(), ErrCorrupt)
	}
	if s, ok := src.(*section); ok { // a slice of a slice costs one step
		return &section{s.src, s.off + off, n}, nil
	}
	return &section{src, off, n}, nil
}

// Within reports whether the n bytes at off are inside size bytes. No value overflows.
func Within(off, n, size int64) bool {
	return off >= 0 && n >= 0 && off <= size && n <= size-off
}

type section struct {
	src       Source
	off, size int64
}

func (s *section) Size() int64 { return s.size }

func (s *section) ReadAt(ctx context.Context, p []byte, off int64) error {
	if !Within(off, int64(len(p)), s.size) {
		return pastEnd(off, len(p), s.size)
	}
	return s.src.ReadAt(ctx, p, s.off+off)
}

func (s *section) ReadMeta(ctx context.Context, p []byte, off int64) error {
	if !Within(off, int64(len(p)), s.size) {
		return pastEnd(off, len(p), s.size)
	}
	return s.src.ReadMeta(ctx, p, s.off+off)
}

func (s *section) Hole(ctx context.Context, off, n int64) (bool, int64, error) {
	return Hole(ctx, s.src, s.off+off, n)
}

// Hole reports whether the bytes at off are a hole of the source, and how far that state runs: at
// least 1 byte and at most n. A source that does not know its holes has none.
func Hole(ctx context.Context, src formats.Source, off, n int64) (hole bool, length int64, err error) {
	if h, ok := src.(holes); ok {
		return h.Hole(ctx, off, n)
	}
	return false, n, nil
}

// holes is the part of formats.Sparse that a slice of a disk can have as well.
type holes interface {
	Hole(ctx context.Context, off, n int64) (hole bool, length int64, err error)
}

func pastEnd(off int64, n int, size int64) error {
	return fmt.Errorf("read: [%d, +%d) is past the end of the disk (%d bytes): %w", off, n, size, io.ErrUnexpectedEOF)
}
