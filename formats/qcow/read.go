package qcow

import (
	"context"

	"github.com/imsfs/imsfs/formats"
)

// image is an open qcow file. All of it is immutable.
type image struct {
	*lookup
	driver *Driver
	src    formats.Source
	info   formats.Info
}

var _ formats.Image = (*image)(nil)

func (m *image) Info() formats.Info { return m.info }

// Extent goes as far as one L2 table.
func (m *image) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	s, err := m.refined(ctx, off, n)
	if err != nil {
		return formats.Extent{}, err
	}
	e := formats.Extent{Off: off, Len: s.n, State: s.state, Compressed: s.compressed}
	end := min(off+n, off-off%m.l2Span()+m.l2Span())
	for e.End() < end {
		s, err := m.refined(ctx, e.End(), end-e.End())
		if err != nil || s.state != e.State || s.compressed != e.Compressed {
			break // the next call returns the error
		}
		e.Len += s.n
	}
	return e, nil
}

// refined is at, but data that lies in a hole of the file is zeros.
func (l *lookup) refined(ctx context.Context, off, n int64) (stretch, error) {
	s, err := l.at(ctx, off, n)
	if err != nil || s.state != formats.Data || s.compressed {
		return s, err
	}
	e, err := l.holes.Refine(ctx, formats.Extent{Off: off, Len: s.n, State: s.state}, s.host)
	s.n, s.state = e.Len, e.State
	return s, err
}

func (m *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		s, err := m.at(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if err := m.read(ctx, p[:s.n], off, s); err != nil {
			return err
		}
		p, off = p[s.n:], off+s.n
	}
	return nil
}

// read fills p with the stretch that begins at off.
func (m *image) read(ctx context.Context, p []byte, off int64, s stretch) error {
	switch {
	case s.state != formats.Data:
		clear(p)
		return nil
	case !s.compressed:
		return readAt(ctx, m.src, p, s.host, "data")
	case int64(len(p)) == m.cluster():
		return m.driver.decode(ctx, m.src, p, s.host, s.length)
	}
	whole := m.driver.buffers.Get(m.cluster())
	defer m.driver.buffers.Put(whole)
	if err := m.driver.decode(ctx, m.src, *whole, s.host, s.length); err != nil {
		return err
	}
	copy(p, (*whole)[off%m.cluster():])
	return nil
}

// decode fills dst, a whole cluster, from its compressed bytes.
func (d *Driver) decode(ctx context.Context, src formats.Source, dst []byte, host, length int64) error {
	buf := d.buffers.Get(length)
	defer d.buffers.Put(buf)
	if err := readAt(ctx, src, *buf, host, "compressed cluster"); err != nil {
		return err
	}
	if err := d.deflate.Decode(dst, *buf); err != nil {
		return formats.Corrupt(name, host, "compressed cluster: %v", err)
	}
	return nil
}
