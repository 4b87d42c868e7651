package vmdk

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// sparseEncoder writes monolithicSparse in QEMU's layout: both directories, with room for all their
// tables, then the grains. Tables of zeros are holes.
type sparseEncoder struct{ written }

var _ formats.Encoder = (*sparseEncoder)(nil)

func newSparseEncoder(w written) *sparseEncoder {
	room := w.directorySectors() + int64(w.header.tables())*tableSectors
	w.header.flags |= flagRedundant
	w.header.rgdOffset = 1 + descriptorSectors
	w.header.gdOffset = w.header.rgdOffset + uint64(room)
	w.end = ceilDiv(int64(w.header.gdOffset)+room, grainSectors) * grainSectors
	w.header.overHead = uint64(w.end)
	return &sparseEncoder{w}
}

// Encode returns plain itself.
func (e *sparseEncoder) Encode(_, plain []byte, ci int64) ([]byte, error) {
	return plain, e.check(plain, ci)
}

func (e *sparseEncoder) Place(ci int64, n int) (int64, error) {
	if n != grainBytes {
		return 0, fmt.Errorf("vmdk: %d bytes for grain %d: it takes %d", n, ci, grainBytes)
	}
	return e.place(ci, grainSectors, func() {})
}

func (e *sparseEncoder) Finish(ctx context.Context, dst formats.Target) error {
	for _, at := range []uint64{e.header.rgdOffset, e.header.gdOffset} {
		if err := e.copy(ctx, dst, int64(at)); err != nil {
			return err
		}
	}
	if err := e.front(ctx, dst, e.header); err != nil {
		return err
	}
	return truncate(dst, e.end)
}

// copy writes a directory at a sector, which names all tables, and after it the tables that are not
// all zeros.
func (e *sparseEncoder) copy(ctx context.Context, dst formats.Target, at int64) error {
	first := at + e.directorySectors()
	b := make([]byte, e.directorySectors()*sector)
	for j := range int64(e.header.tables()) {
		binary.LittleEndian.PutUint32(b[j*gteSize:], uint32(first+j*tableSectors))
	}
	if err := put(ctx, dst, b, at, "grain directory"); err != nil {
		return err
	}
	for _, t := range e.tables {
		if err := put(ctx, dst, t.encode(), first+t.number*tableSectors, "grain table"); err != nil {
			return err
		}
	}
	return nil
}
