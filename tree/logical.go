package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect"
	"github.com/imsfs/imsfs/inspect/disk"
)

// logical is a logical volume of an image. Its extents are found again at each opening, so that
// nothing keeps the image's disk open in between. The disk must never change, because an open layout
// remembers what it has read.
type logical struct {
	disk DiskFile
	part part
}

func (l logical) Size() int64 { return l.part.size }

// Allocated returns an upper limit, because the exact number takes a look at every extent.
func (l logical) Allocated() int64 { return min(l.part.size, l.disk.Allocated()) }

func (l logical) Open(ctx context.Context) (OpenDisk, error) {
	d, err := l.disk.Open(ctx)
	if err != nil {
		return nil, err
	}
	src, err := l.find(ctx, d)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return openLogical{d, src}, nil
}

func (l logical) find(ctx context.Context, d OpenDisk) (disk.Source, error) {
	ctx, cancel := context.WithTimeout(ctx, maxLook)
	defer cancel()
	layout, err := inspect.Open(ctx, wholeReads{d}, inspect.Options{})
	if err != nil {
		return nil, err
	}
	s, ok := layout.Slice(l.part.id)
	if !ok || s.Source() == nil || s.Size != l.part.size {
		return nil, fmt.Errorf("logical volume %s: it is not there any more: %w", l.part.id, iofs.ErrNotExist)
	}
	return s.Source(), nil
}

// openLogical is an open logical volume.
type openLogical struct {
	disk OpenDisk
	src  disk.Source
}

func (l openLogical) Size() int64  { return l.src.Size() }
func (l openLogical) Close() error { return l.disk.Close() }

func (l openLogical) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	_, n := clip(off, int64(len(p)), l.Size())
	if n == 0 {
		return 0, io.EOF
	}
	if err := l.src.ReadAt(ctx, p[:n], off); err != nil {
		return 0, err
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (l openLogical) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	hole, length, err := disk.Hole(ctx, l.src, off, min(n, l.Size()-off))
	e := formats.Extent{Off: off, Len: length, State: formats.Data}
	if hole {
		e.State = formats.Zero
	}
	return e, err
}
