package zvhd2

import (
	"context"
	"fmt"
	"math"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
	"github.com/imsfs/imsfs/formats/zstream"
)

// encoder writes the same as the vendor's tool: 2 MiB blocks, zstd, an index of the stored blocks.
// footer is the header for offset 0; the final footer is derived from it.
type encoder struct {
	footer footer
	zstd   *codec.ZstdEncoder
	refs   []ref
	end    int64 // of the last chunk placed
}

var (
	_ formats.Encoder   = (*encoder)(nil)
	_ formats.Estimator = (*encoder)(nil)
)

func (*Driver) Options() []formats.Option {
	return []formats.Option{formats.UUIDOption(), formats.TimestampOption()}
}

func (d *Driver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	if err := formats.CheckSet(name, d.Options(), opts.Set); err != nil {
		return nil, err
	}
	if err := formats.CheckSector(name, opts); err != nil {
		return nil, err
	}
	blocks := ceilDiv(uint64(max(size, 0)), defaultBlockSize)
	switch {
	case size <= 0 || size%512 != 0:
		return nil, fmt.Errorf("zvhd2: a disk of %d bytes: the size must be a positive multiple of 512", size)
	case blocks > math.MaxUint32 || tableBytes(uint32(blocks), 0) > formats.MaxTables:
		return nil, formats.TooLarge("zvhd2: a disk of %d bytes: at most %d are written", size, maxCreateSize)
	}
	z, err := codec.NewZstdEncoder(opts.Level, defaultBlockSize)
	if err != nil {
		return nil, fmt.Errorf("zvhd2: %w", err)
	}
	e := &encoder{zstd: z, end: unit, footer: footer{
		Header:         zstream.New(cookie, size, opts),
		zvhd2Version:   zvhd2Version,
		blockSize:      defaultBlockSize,
		maxBlkNum:      uint32(blocks),
		compressMethod: methodZstd,
	}}
	e.footer.Checksum = zstream.Sum(e.footer.encode())
	return e, nil
}

// maxCreateSize is the largest disk whose bitmap is within formats.MaxTables: whole segments of it.
const maxCreateSize = formats.MaxTables / 12 / (bitmapSegSize / 8) * bitsPerSeg * defaultBlockSize

// Room is 0, because only compressing the disk shows its size.
func (*encoder) Room(int64) int64 { return 0 }

func (e *encoder) ClusterSize() int64 { return int64(e.footer.blockSize) }

func (e *encoder) Encode(dst, plain []byte, ci int64) ([]byte, error) {
	if int64(len(plain)) != e.ClusterSize() || ci < 0 || ci >= int64(e.footer.maxBlkNum) {
		return nil, fmt.Errorf("zvhd2: %d bytes for block %d: blocks are %d bytes and there are %d", len(plain), ci, e.ClusterSize(), e.footer.maxBlkNum)
	}
	dst = append(dst[:0], make([]byte, zstream.ChunkHeaderSize)...)
	return zstream.EncodeChunk(e.zstd.Encode(dst, plain), uint32(ci)), nil
}

func (e *encoder) Place(ci int64, n int) (int64, error) {
	last := int64(-1)
	if len(e.refs) > 0 {
		last = int64(e.refs[len(e.refs)-1].block)
	}
	switch {
	case ci <= last || ci >= int64(e.footer.maxBlkNum):
		return 0, fmt.Errorf("zvhd2: block %d after block %d: blocks are placed in ascending order and there are %d", ci, last, e.footer.maxBlkNum)
	case n <= 0 || n%unit != 0 || int64(n) > maxChunkSize(e.footer.blockSize):
		return 0, fmt.Errorf("zvhd2: a chunk of %d bytes for block %d: it must be whole units of 4096, at most %d", n, ci, maxChunkSize(e.footer.blockSize))
	case tableBytes(e.footer.maxBlkNum, uint64(len(e.refs)+1)) > formats.MaxTables:
		return 0, fmt.Errorf("zvhd2: %d stored blocks are all that fit an index of at most %d bytes in memory", len(e.refs), formats.MaxTables)
	}
	r := ref{off: e.end, block: uint32(ci), size: uint32(n)}
	e.refs = append(e.refs, r)
	e.end = r.end()
	return r.off, nil
}

func (e *encoder) Finish(ctx context.Context, dst formats.Target) error {
	f := e.footer
	if err := put(ctx, dst, f.encode(), 0, "header"); err != nil {
		return err
	}
	// The vendor's tool counts on in the header it keeps in memory and writes it as it stands: with
	// a stale checksum.
	f.nonZeroBlkNum = uint32(len(e.refs))
	if err := put(ctx, dst, f.encode(), e.end, "copy of the header"); err != nil {
		return err
	}
	f.indexSegSize, f.bitmapSegSize = indexSegSize, bitmapSegSize
	f.indexLBA = uint64(e.end + unit)
	f.indexSegNum = uint32(ceilDiv(f.entries(), entriesPerSeg))
	f.indexSize = f.indexSegNum * indexSegSize
	f.bitmapLBA = f.indexLBA + uint64(f.indexSize)
	f.bitmapSegNum = uint32(ceilDiv(uint64(f.maxBlkNum), bitsPerSeg))
	f.bitmapSize = f.bitmapSegNum * bitmapSegSize
	f.Checksum = zstream.Sum(f.encode())
	if err := e.writeIndex(ctx, dst, int64(f.indexLBA)); err != nil {
		return err
	}
	if err := e.writeBitmap(ctx, dst, &f); err != nil {
		return err
	}
	at := int64(f.bitmapLBA) + int64(f.bitmapSize)
	if err := put(ctx, dst, f.encode(), at, "final footer"); err != nil {
		return err
	}
	if err := dst.Truncate(at + unit); err != nil {
		return fmt.Errorf("zvhd2: setting the file's size to %d: %w", at+unit, err)
	}
	return nil
}

func (e *encoder) writeIndex(ctx context.Context, dst formats.Target, at int64) error {
	seg := make([]byte, indexSegSize)
	for refs := e.refs; len(refs) > 0; at += indexSegSize {
		clear(seg)
		n := min(len(refs), entriesPerSeg)
		for i, r := range refs[:n] {
			encodeRef(seg[i*entrySize:], r)
		}
		if err := put(ctx, dst, seg, at, "index"); err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}

func (e *encoder) writeBitmap(ctx context.Context, dst formats.Target, f *footer) error {
	bitmap := make([]byte, f.bitmapSize)
	for _, r := range e.refs {
		bitmap[r.block/8] |= 1 << (r.block % 8)
	}
	return put(ctx, dst, bitmap, int64(f.bitmapLBA), "bitmap")
}

func put(ctx context.Context, dst formats.Target, b []byte, at int64, what string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := dst.WriteAt(b, at); err != nil {
		return fmt.Errorf("zvhd2: writing the %s at %#x: %w", what, at, err)
	}
	return nil
}
