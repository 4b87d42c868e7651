package btrfs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// maxCompressed is the largest compressed extent, before and after.
const maxCompressed = 128 << 10

// extent is a part of a file, [start, end). inline is the data if it is in the tree; logical is 0
// in a hole.
type extent struct {
	start, end  int64
	zero        bool
	compression byte
	inline      []byte
	logical     int64 // of the whole extent on the disk, of which this is a part
	length      int64 // likewise
	offset      int64 // of this part in the decoded extent
	decoded     int64 // length of the decoded extent
}

// at returns the extent with byte off of a file. Bytes in no extent are a hole up to the next one.
func (f *fileSystem) at(ctx context.Context, i inode, off int64) (extent, error) {
	c, err := f.find(ctx, i.tree, key{i.number, kindExtent, uint64(off)})
	if err != nil {
		return extent{}, err
	}
	hole := extent{start: off, end: i.size(), zero: true}
	for range 3 { // the item before off, or of another kind; the one after it
		k, b, ok := c.item()
		if !ok || k.object > i.number || k.object == i.number && k.kind > kindExtent {
			return hole, nil
		}
		if k.object == i.number && k.kind == kindExtent {
			if int64(k.offset) > off {
				hole.end = min(hole.end, int64(k.offset))
				return hole, nil
			}
			e, err := f.parse(k, b)
			if err != nil || e.end > off {
				return e, err
			}
		}
		if err := c.next(ctx); err != nil {
			return extent{}, err
		}
	}
	return hole, nil
}

// parse reads an extent item. All sums are below 2^63.
func (f *fileSystem) parse(k key, b []byte) (extent, error) {
	bad := func(rule string, args ...any) (extent, error) {
		return extent{}, disk.Corrupt(name, fmt.Sprintf("inode %d, extent at %d", k.object, k.offset), rule, args...)
	}
	if len(b) < 21 || int64(k.offset) < 0 {
		return bad("an item of %d bytes", len(b))
	}
	e := extent{start: int64(k.offset), decoded: int64(le.Uint64(b[8:])), compression: b[16]}
	if b[17] != 0 || le.Uint16(b[18:]) != 0 || e.compression > 3 {
		return extent{}, disk.Unsupported(name, "encryption %d, encoding %d, compression %d", b[17], le.Uint16(b[18:]), e.compression)
	}
	switch b[20] {
	case 0:
		e.inline, e.end = b[21:], e.start+e.decoded
		if e.start != 0 || e.decoded < 0 || e.decoded > f.super.nodeSize || e.compression == 0 && e.decoded > int64(len(e.inline)) {
			return bad("%d bytes inline, %d decoded", len(e.inline), e.decoded)
		}
		return e, nil
	case 1, 2:
	default:
		return bad("type %d", b[20])
	}
	if len(b) < 53 {
		return bad("an item of %d bytes", len(b))
	}
	e.logical, e.length = int64(le.Uint64(b[21:])), int64(le.Uint64(b[29:]))
	e.offset = int64(le.Uint64(b[37:]))
	n := int64(le.Uint64(b[45:]))
	e.zero = e.logical == 0 || b[20] == 2
	if n <= 0 || e.start+n < e.start || e.offset < 0 || e.offset+n < n || e.length < 0 || e.logical < 0 {
		return bad("%d bytes at %d", n, e.offset)
	}
	e.end = e.start + n
	switch limit := e.length; {
	case e.zero:
	case e.compression != 0 && (e.length > maxCompressed || e.decoded < 0 || e.decoded > maxCompressed):
		return bad("%d bytes compressed, %d decoded: at most %d are possible", e.length, e.decoded, maxCompressed)
	default:
		if e.compression != 0 {
			limit = e.decoded
		}
		if e.offset+n > limit {
			return bad("[%d, +%d) of %d bytes", e.offset, n, limit)
		}
	}
	return e, nil
}

// fill reads the bytes at off of a file, all of which are before its end.
func (f *fileSystem) fill(ctx context.Context, i inode, p []byte, off int64) error {
	for len(p) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := f.at(ctx, i, off)
		if err != nil {
			return err
		}
		n := min(int64(len(p)), e.end-off)
		if err := f.part(ctx, e, p[:n], off-e.start); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// part reads the bytes at off of an extent.
func (f *fileSystem) part(ctx context.Context, e extent, p []byte, off int64) error {
	switch {
	case e.zero:
		clear(p)
		return nil
	case e.inline != nil && e.compression == 0:
		copy(p, e.inline[off:])
		return nil
	case e.compression == 0:
		return f.data(ctx, p, e.logical+e.offset+off)
	}
	packed := e.inline
	if packed == nil {
		packed = make([]byte, e.length)
		if err := f.data(ctx, packed, e.logical); err != nil {
			return err
		}
	}
	if off+e.offset == 0 && int64(len(p)) == e.decoded {
		return f.decode(e, p, packed)
	}
	plain := make([]byte, e.decoded)
	if err := f.decode(e, plain, packed); err != nil {
		return err
	}
	copy(p, plain[e.offset+off:])
	return nil
}

// data reads logical addresses from the first copy.
func (f *fileSystem) data(ctx context.Context, p []byte, logical int64) error {
	for len(p) > 0 {
		c, room, err := f.place(logical)
		if err != nil {
			return err
		}
		n := min(int64(len(p)), room)
		if err := f.src.ReadAt(ctx, p[:n], c.copies[0]+logical-c.logical); err != nil {
			return err
		}
		p, logical = p[n:], logical+n
	}
	return nil
}

// decode decodes an extent. The last sector of a file may be cut short: the rest is zeros.
func (f *fileSystem) decode(e extent, plain, packed []byte) error {
	var n int
	var err error
	switch e.compression {
	case 1:
		n, err = f.driver.zlib.DecodeUpTo(plain, packed)
	case 2:
		n, err = lzo(plain, packed, f.super.sectorSize)
	case 3:
		n, err = f.driver.zstd.DecodeFrame(plain, packed)
	}
	if err != nil {
		return disk.Corrupt(name, fmt.Sprintf("compressed extent %d", e.logical), "%v", err)
	}
	if int64(n) <= e.decoded-f.super.sectorSize {
		return disk.Corrupt(name, fmt.Sprintf("compressed extent %d", e.logical), "%d bytes decoded, not %d", n, e.decoded)
	}
	clear(plain[n:])
	return nil
}

func (f *fileSystem) ReadAt(ctx context.Context, id tree.ID, p []byte, off int64) (int, error) {
	i, err := f.file(ctx, id)
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, errors.New("btrfs: read at a negative offset")
	}
	n := int(max(0, min(int64(len(p)), i.size()-off)))
	if err := f.fill(ctx, i, p[:n], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// file returns the inode of a regular file.
func (f *fileSystem) file(ctx context.Context, id tree.ID) (inode, error) {
	i, err := f.inode(ctx, id)
	switch {
	case err != nil:
		return i, err
	case i.kind() == tree.TypeDir:
		return i, tree.ErrIsDir
	case i.kind() != tree.TypeFile:
		return i, tree.ErrNotFile
	}
	return i, nil
}

// Extent returns holes and preallocated extents as zeros.
func (f *fileSystem) Extent(ctx context.Context, id tree.ID, off, n int64) (formats.Extent, error) {
	i, err := f.file(ctx, id)
	if err != nil {
		return formats.Extent{}, err
	}
	e, err := f.at(ctx, i, off)
	if err != nil {
		return formats.Extent{}, err
	}
	x := formats.Extent{Off: off, Len: min(n, e.end-off), State: formats.Data}
	if e.zero {
		x.State = formats.Zero
	}
	return x, nil
}
