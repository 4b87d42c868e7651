// Package qcow reads and checks version 1 of QEMU's image format: clusters found through two levels
// of tables, perhaps compressed on their own. Its successor is formats/qcow2. docs/formats/qcow.md
// describes every byte; the names here are the format's own.
//
// header.go has the header, lookup.go finds the bytes of the disk through the tables. open.go and
// read.go (the image) and check.go use both.
package qcow

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

const name = "qcow"

// Driver implements formats.Driver and formats.Checker for qcow.
type Driver struct {
	deflate *codec.Deflate
	buffers codec.Buffers // of a compressed or a decoded cluster, for all images
}

var (
	_ formats.Driver  = (*Driver)(nil)
	_ formats.Checker = (*Driver)(nil)
)

// New makes a driver.
func New() *Driver { return &Driver{deflate: codec.NewDeflate()} }

func (d *Driver) Name() string { return name }

// Probe claims a source with the magic number and version 1: the later versions are another format.
func (d *Driver) Probe(ctx context.Context, src formats.Source) (bool, error) {
	var b [8]byte
	if src.Size() < int64(len(b)) {
		return false, nil
	}
	if err := src.ReadAt(ctx, b[:], 0); err != nil {
		return false, err
	}
	return binary.BigEndian.Uint32(b[:]) == magic && binary.BigEndian.Uint32(b[4:]) == version, nil
}

func readAt(ctx context.Context, src formats.Source, p []byte, off int64, what string) error {
	if err := src.ReadAt(ctx, p, off); err != nil {
		return fmt.Errorf("qcow: %s at %#x: %w", what, off, err)
	}
	return nil
}
