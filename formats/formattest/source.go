package formattest

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/imsfs/imsfs/formats"
)

// Bytes is a source in memory.
type Bytes []byte

func (b Bytes) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 || off > int64(len(b))-int64(len(p)) {
		return fmt.Errorf("read of [%d, +%d) in a source of %d bytes: %w", off, len(p), len(b), io.ErrUnexpectedEOF)
	}
	copy(p, b[off:])
	return nil
}

func (b Bytes) Size() int64 { return int64(len(b)) }

// Sparse is a source of any size that is zeros but for its parts: a huge file that costs no memory.
type Sparse Disk

func (s Sparse) ReadAt(_ context.Context, p []byte, off int64) error {
	if off < 0 || off > s.Bytes-int64(len(p)) {
		return fmt.Errorf("read of [%d, +%d) in a source of %d bytes: %w", off, len(p), s.Bytes, io.ErrUnexpectedEOF)
	}
	Disk(s).Fill(p, off)
	return nil
}

func (s Sparse) Size() int64 { return s.Bytes }

// Counting counts the reads of a source.
type Counting struct {
	formats.Source
	calls, bytes atomic.Int64
}

// ReadAt counts and passes on.
func (c *Counting) ReadAt(ctx context.Context, p []byte, off int64) error {
	c.calls.Add(1)
	c.bytes.Add(int64(len(p)))
	return c.Source.ReadAt(ctx, p, off)
}

// Calls is the number of reads so far.
func (c *Counting) Calls() int64 { return c.calls.Load() }

// Read is the number of bytes asked for so far.
func (c *Counting) Read() int64 { return c.bytes.Load() }

// Faulty fails one read, and leaves rubbish in the buffer, as a failed read may.
type Faulty struct {
	formats.Source
	// At is the number of the read that fails, from 1.
	At  int64
	Err error

	calls atomic.Int64
}

// ReadAt fails if its turn has come.
func (f *Faulty) ReadAt(ctx context.Context, p []byte, off int64) error {
	if f.calls.Add(1) != f.At {
		return f.Source.ReadAt(ctx, p, off)
	}
	for i := range p {
		p[i] = 0xEE
	}
	return f.Err
}

// Hit reports whether the planned fault came about.
func (f *Faulty) Hit() bool { return f.calls.Load() >= f.At }

// Shrinking is a source whose file lost its tail while it was open: Size stays, reads after End
// fail.
type Shrinking struct {
	formats.Source
	End int64
}

// ReadAt fails after End.
func (s *Shrinking) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off+int64(len(p)) > s.End {
		return fmt.Errorf("the file ends at %d: %w", s.End, io.ErrUnexpectedEOF)
	}
	return s.Source.ReadAt(ctx, p, off)
}
