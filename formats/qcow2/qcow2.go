// Package qcow2 reads, checks and writes qcow2, QEMU's image format, versions 2 and 3: clusters
// found through two levels of tables, perhaps compressed on their own, perhaps of 32 subclusters,
// with internal snapshots that share them. docs/formats/qcow2.md describes every byte; the names
// here are the format's own.
//
// header.go and extensions.go decode the first cluster, features.go refuses features that are not
// read, snapshots.go the snapshot table, geometry.go and entry.go the arithmetic of the tables.
// lookup.go finds a byte of the disk. open.go and read.go (the image), check.go and create.go use
// them.
package qcow2

import (
	"context"
	"encoding/binary"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

const (
	name  = "qcow2"
	magic = 0x514649fb // "QFI" and 0xfb
)

// Driver is the formats.Driver of qcow2.
type Driver struct {
	zstd    *codec.Zstd
	deflate *codec.Deflate
	buffers codec.Buffers // of a compressed or a decoded cluster, for all images
}

var (
	_ formats.Driver  = (*Driver)(nil)
	_ formats.Checker = (*Driver)(nil)
)

// New makes a driver that decodes with z, which may serve others too.
func New(z *codec.Zstd) *Driver { return &Driver{zstd: z, deflate: codec.NewDeflate()} }

func (d *Driver) Name() string { return name }

// Probe claims a source with the magic number and any version but 1, which is the format qcow. Open
// refuses versions that are not read.
func (d *Driver) Probe(ctx context.Context, src formats.Source) (bool, error) {
	var b [8]byte
	if src.Size() < int64(len(b)) {
		return false, nil
	}
	if err := src.ReadAt(ctx, b[:], 0); err != nil {
		return false, err
	}
	return binary.BigEndian.Uint32(b[:]) == magic && binary.BigEndian.Uint32(b[4:]) != 1, nil
}

// decode fills dst, a whole cluster, from the compressed bytes with which src begins.
func (d *Driver) decode(dst, src []byte, compression uint8) error {
	if compression == compressionZstd {
		return d.zstd.DecodePrefix(dst, src)
	}
	return d.deflate.Decode(dst, src)
}
