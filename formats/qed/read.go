package qed

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// image is an open QED file.
type image struct {
	*reader
	backing *formats.Backing // nil if there is none
}

var _ formats.Image = (*image)(nil)

// Extent ends with its page of a table at the latest.
func (m *image) Extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	found, err := m.find(ctx, off, n, m.holes.Known())
	if err != nil {
		return formats.Extent{}, err
	}
	e := formats.Extent{Off: off, Len: found.n, State: found.state}
	if e.State != formats.Data {
		return e, nil
	}
	return m.holes.Refine(ctx, e, found.at)
}

// ReadAt reads clusters that are neighbours in the file at once.
func (m *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		found, err := m.find(ctx, off, int64(len(p)), true)
		if err != nil {
			return err
		}
		part := p[:found.n]
		if found.state != formats.Data {
			clear(part)
		} else if err := m.src.ReadAt(ctx, part, found.at); err != nil {
			return fmt.Errorf("qed: data at %#x: %w", found.at, err)
		}
		p, off = p[found.n:], off+found.n
	}
	return nil
}
