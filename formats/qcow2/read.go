package qcow2

import (
	"context"
	"slices"

	"github.com/imsfs/imsfs/formats"
)

// image is an open qcow2 file, or a snapshot in one. All of it is immutable.
type image struct {
	*lookup
	driver      *Driver
	src         formats.Source
	data        formats.Source // src, or an external data file
	info        formats.Info
	compression uint8
}

var _ formats.Image = (*image)(nil)

func (m *image) Info() formats.Info {
	info := m.info
	info.Details = slices.Clone(info.Details)
	info.Snapshots = slices.Clone(info.Snapshots)
	return info
}

// Extent goes on as long as that costs no read of an L2 table.
func (m *image) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	s, err := m.refined(ctx, off, n)
	if err != nil {
		return formats.Extent{}, err
	}
	e := formats.Extent{Off: off, Len: s.n, State: s.state, Compressed: s.compressed}
	same := kind{s.state, s.compressed}
	for e.End() < off+n {
		pos := e.End()
		if pos%m.pageSpan() == 0 {
			more, err := m.wholeTables(ctx, pos, off+n-pos, same)
			if err != nil {
				return formats.Extent{}, err
			}
			if e.Len += more; more == 0 {
				break
			}
			continue
		}
		s, err := m.refined(ctx, pos, min(off+n, pos-pos%m.pageSpan()+m.pageSpan())-pos)
		if err != nil || same != (kind{s.state, s.compressed}) {
			break // the next call returns the error
		}
		e.Len += s.n
	}
	return e, m.learn(ctx, e)
}

// refined is at, but data that lies in a hole of the file is zeros.
func (m *image) refined(ctx context.Context, off, n int64) (stretch, error) {
	s, err := m.at(ctx, off, n)
	if err != nil || s.state != formats.Data || s.compressed {
		return s, err
	}
	e, err := m.holes.Refine(ctx, formats.Extent{Off: off, Len: s.n, State: s.state}, s.host)
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
		return readAt(ctx, m.data, p, s.host, "data")
	case int64(len(p)) == m.cluster():
		return m.decode(ctx, p, off, s)
	}
	whole := m.driver.buffers.Get(m.cluster())
	defer m.driver.buffers.Put(whole)
	if err := m.decode(ctx, *whole, off, s); err != nil {
		return err
	}
	copy(p, (*whole)[off%m.cluster():])
	return nil
}

// decode fills dst, a whole cluster, with the compressed one that holds the disk's byte at off.
func (m *image) decode(ctx context.Context, dst []byte, off int64, s stretch) error {
	buf := m.driver.buffers.Get(s.length)
	defer m.driver.buffers.Put(buf)
	if err := readAt(ctx, m.src, *buf, s.host, "compressed cluster"); err != nil {
		return err
	}
	if err := m.driver.decode(dst, *buf, m.compression); err != nil {
		return corrupt(s.host, "compressed cluster of the disk's bytes at %d: %v", off&^(m.cluster()-1), err)
	}
	return nil
}
