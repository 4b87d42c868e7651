package chain

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/rawmap"
	"github.com/imsfs/imsfs/lazyload/source"
)

// rawFormat is the driver whose disks may have a map beside them.
const rawFormat = "raw"

// findMap makes the source use the map beside a raw disk, if there is one. A map that is damaged or
// stale is not used but noted: the disk is right without it.
func (s *Source) findMap(ctx context.Context, sources source.Opener) {
	at := s.at.Dir().Join(s.at.Base() + rawmap.Suffix)
	m, err := s.readMap(ctx, sources, at)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
	case err != nil:
		s.mapNote = fmt.Sprintf("%s is not used: %v", at, err)
	default:
		s.holes = m
		s.mapNote = at.String()
	}
}

func (s *Source) readMap(ctx context.Context, sources source.Opener, at source.Location) (_ *rawmap.Map, err error) {
	file, err := sources.Open(ctx, at)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	m, err := rawmap.Parse(ctx, file)
	if err != nil {
		return nil, err
	}
	id := s.Identity()
	if err := m.Fits(id.Size, id.ModTime); err != nil {
		return nil, err
	}
	if file.Identity().ModTime < id.ModTime {
		return nil, rawmap.Stale("it is older than the file")
	}
	return m, nil
}

// MapNote describes the map beside a raw disk: its location if it is used, a sentence that says why
// if it is not, and "" if there is none.
func (s *Source) MapNote() string { return s.mapNote }

// Hole implements formats.Sparse. It reports holes of the source, and those of the map.
func (s *Source) Hole(ctx context.Context, off, n int64) (hole bool, length int64, err error) {
	length = n
	if sparse, ok := s.Object.(formats.Sparse); ok {
		hole, length, err = sparse.Hole(ctx, off, n)
	}
	if err != nil || hole || s.holes == nil {
		return hole, length, err
	}
	hole, length = s.holes.Hole(off, length)
	return hole, length, nil
}

// Allocated implements formats.Sparse.
func (s *Source) Allocated() int64 {
	n := s.Size()
	if sparse, ok := s.Object.(formats.Sparse); ok {
		n = sparse.Allocated()
	}
	if s.holes == nil {
		return n
	}
	return min(n, s.holes.Data())
}
