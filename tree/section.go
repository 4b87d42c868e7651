package tree

import (
	"context"
	"io"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload"
)

// Section returns n bytes of a disk from off on as a disk of its own, for example a partition. What
// lies outside the disk is left out: a partition table may claim anything. A section can be read
// only.
func Section(f DiskFile, off, n int64) DiskFile { return section{f, off, n} }

type section struct {
	disk   DiskFile
	off, n int64
}

func (s section) Size() int64 { _, n := clip(s.off, s.n, s.disk.Size()); return n }

// Allocated returns an upper limit, because the exact number takes a look at every extent.
func (s section) Allocated() int64 { return min(s.Size(), s.disk.Allocated()) }

func (s section) Open(ctx context.Context) (OpenDisk, error) {
	d, err := s.disk.Open(ctx)
	if err != nil {
		return nil, err
	}
	open := openSection{disk: d}
	open.off, open.n = clip(s.off, s.n, d.Size())
	if v, ok := d.(Viewer); ok {
		return viewSection{open, v}, nil
	}
	return open, nil
}

// clip returns the part of a range that lies within size bytes.
func clip(off, n, size int64) (int64, int64) {
	if off < 0 || n <= 0 || off >= size {
		return 0, 0
	}
	return off, min(n, size-off)
}

// openSection is an open section: n bytes of a disk from off on.
type openSection struct {
	disk   OpenDisk
	off, n int64
}

func (s openSection) Size() int64  { return s.n }
func (s openSection) Close() error { return s.disk.Close() }

func (s openSection) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	_, n := clip(off, int64(len(p)), s.n)
	if n == 0 {
		return 0, io.EOF
	}
	got, err := s.disk.ReadAt(ctx, p[:n], s.off+off)
	if err == nil && got < len(p) {
		err = io.EOF
	}
	return got, err
}

func (s openSection) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	e, err := s.disk.Extent(ctx, s.off+off, min(n, s.n-off))
	e.Off -= s.off
	return e, err
}

// viewSection is a section of a disk that shares its memory.
type viewSection struct {
	openSection
	viewer Viewer
}

func (s viewSection) View(ctx context.Context, scratch []byte, off int64) (*lazyload.View, error) {
	_, n := clip(off, int64(len(scratch)), s.n)
	v, err := s.viewer.View(ctx, scratch[:n], s.off+off)
	if err == nil {
		v.FreshOff -= s.off
	}
	return v, err
}
