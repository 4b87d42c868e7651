package vhd

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

const (
	newBlockSize = 2 << 20
	newBATAt     = footerSize + headerSize
	// pageAlign is where the sectors of a block begin: reads and writes of whole pages stay such in
	// the file.
	pageAlign = 4096
)

// Create writes a Timestamp that the format cannot hold as the nearest that it can.
func (Driver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	c, err := choose(size, opts)
	if err != nil {
		return nil, err
	}
	f := c.footer(opts)
	if c.diskType == typeFixed {
		return fixedEncoder{c.size, f}, nil
	}
	blocks := (c.size + newBlockSize - 1) / newBlockSize
	e := &encoder{
		footer: f,
		header: header{dataOffset: noOffset, tableOffset: newBATAt, version: fileVersion, maxTableEntries: uint32(blocks), blockSize: newBlockSize},
		blocks: blocks,
		table:  bytes.Repeat([]byte{0xff}, int(roundUp(blocks*entrySize, sectorSize))),
		last:   -1,
	}
	e.end = newBATAt + int64(len(e.table))
	return e, nil
}

// encoder writes a dynamic disk.
type encoder struct {
	footer footer
	header header
	blocks int64
	table  []byte // the BAT
	last   int64  // block placed
	end    int64  // of the blocks placed so far
}

var _ formats.Encoder = (*encoder)(nil)

func (*encoder) ClusterSize() int64 { return newBlockSize }

// Encode returns the block's bitmap, in which all sectors count as used, and its sectors.
func (e *encoder) Encode(dst, plain []byte, ci int64) ([]byte, error) {
	if len(plain) != newBlockSize || ci < 0 || ci >= e.blocks {
		return nil, fmt.Errorf("vhd: %d bytes for block %d: blocks are %d bytes and there are %d", len(plain), ci, newBlockSize, e.blocks)
	}
	dst = dst[:0]
	for range bitmapSize(newBlockSize) {
		dst = append(dst, 0xff)
	}
	return append(dst, plain...), nil
}

func (e *encoder) Place(ci int64, n int) (int64, error) {
	bitmap := bitmapSize(newBlockSize)
	switch {
	case ci <= e.last || ci >= e.blocks:
		return 0, fmt.Errorf("vhd: block %d after block %d: blocks are placed in ascending order and there are %d", ci, e.last, e.blocks)
	case int64(n) != bitmap+newBlockSize:
		return 0, fmt.Errorf("vhd: a chunk of %d bytes for block %d: all have %d", n, ci, bitmap+newBlockSize)
	}
	off := roundUp(e.end+bitmap, pageAlign) - bitmap
	binary.BigEndian.PutUint32(e.table[ci*entrySize:], uint32(off/sectorSize)) // 2040 GiB of blocks end before 2^32 sectors
	e.last, e.end = ci, off+int64(n)
	return off, nil
}

func (e *encoder) Finish(ctx context.Context, dst formats.Target) error {
	foot := e.footer.encode()
	for _, part := range []struct {
		what string
		at   int64
		b    []byte
	}{
		{"copy of the footer", 0, foot}, {"header", footerSize, e.header.encode()}, {"BAT", newBATAt, e.table}, {"footer", e.end, foot},
	} {
		if err := put(ctx, dst, part.b, part.at, part.what); err != nil {
			return err
		}
	}
	return resize(dst, e.end+footerSize)
}

// fixedEncoder writes a fixed disk of size bytes: clusters of zeros, which the caller leaves out,
// become holes.
type fixedEncoder struct {
	size   int64
	footer footer
}

var _ formats.Encoder = fixedEncoder{}

func (fixedEncoder) ClusterSize() int64 { return fixedCluster }

// Encode returns plain itself, without the bytes after the disk's end.
func (e fixedEncoder) Encode(_, plain []byte, ci int64) ([]byte, error) {
	if len(plain) != fixedCluster || ci < 0 || ci >= (e.size+fixedCluster-1)/fixedCluster {
		return nil, fmt.Errorf("vhd: %d bytes for cluster %d of a disk of %d bytes: clusters are %d bytes", len(plain), ci, e.size, fixedCluster)
	}
	return plain[:min(fixedCluster, e.size-ci*fixedCluster)], nil
}

func (fixedEncoder) Place(ci int64, _ int) (int64, error) { return ci * fixedCluster, nil }

func (e fixedEncoder) Finish(ctx context.Context, dst formats.Target) error {
	if err := put(ctx, dst, e.footer.encode(), e.size, "footer"); err != nil {
		return err
	}
	return resize(dst, e.size+footerSize)
}

func put(ctx context.Context, dst formats.Target, b []byte, at int64, what string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := dst.WriteAt(b, at); err != nil {
		return fmt.Errorf("vhd: writing the %s at %#x: %w", what, at, err)
	}
	return nil
}

func resize(dst formats.Target, size int64) error {
	if err := dst.Truncate(size); err != nil {
		return fmt.Errorf("vhd: setting the file's size to %d: %w", size, err)
	}
	return nil
}
