package chain

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/imsfs/imsfs/formats/rawmap"
	"github.com/imsfs/imsfs/lazyload/source"
)

// rawFormat is the driver whose disks may have a map beside them.
const rawFormat = "raw"

// findMap makes the source use the map beside a raw disk, if there is one. One that is bad or stale is not used, and noted:
// the disk is right without it.
func (s *Source) findMap(ctx context.Context) {
	m, err := s.readMap(ctx)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
	case err != nil:
		s.mapNote = fmt.Sprintf("%s%s is not used: %v", s.path, rawmap.Suffix, err)
	default:
		s.holes = m
		s.mapNote = s.path + rawmap.Suffix
	}
}

func (s *Source) readMap(ctx context.Context) (_ *rawmap.Map, err error) {
	path := s.path + rawmap.Suffix
	made, err := source.Identify(ctx, path) // refuses devices, which opening might change
	if err != nil {
		return nil, err
	}
	file, err := source.Open(ctx, path)
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
	if made.ModTime < id.ModTime {
		return nil, rawmap.Stale("it is older than the file")
	}
	return m, nil
}

// MapNote tells of the map beside a raw disk: its path if it is used, a sentence why if it is not, "" if there is none.
func (s *Source) MapNote() string { return s.mapNote }

// Hole implements formats.Sparse: what the file system knows, and where that is nothing, what the map says.
func (s *Source) Hole(ctx context.Context, off, n int64) (hole bool, length int64, err error) {
	hole, length, err = s.File.Hole(ctx, off, n)
	if err != nil || hole || s.holes == nil {
		return hole, length, err
	}
	hole, length = s.holes.Hole(off, length)
	return hole, length, nil
}

// Allocated implements formats.Sparse.
func (s *Source) Allocated() int64 {
	if s.holes == nil {
		return s.File.Allocated()
	}
	return min(s.File.Allocated(), s.holes.Data())
}
