package zvhd2

import (
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/zstream"
)

// report takes one finding: an offset in the source, and the sentence. Open keeps the first, Check
// all.
type report func(off int64, format string, args ...any)

// first is a report that keeps the first finding as an error.
type first struct{ err error }

func (f *first) report(off int64, format string, args ...any) {
	if f.err == nil {
		f.err = formats.Corrupt(name, off, format, args...)
	}
}

// supported refuses by name the variants that are not read.
func (f *footer) supported() error {
	switch {
	case f.OtherVersion() != "":
		return fmt.Errorf("zvhd2: %s: %w", f.OtherVersion(), errors.ErrUnsupported)
	case f.zvhd2Version == 0:
		return fmt.Errorf("zvhd2: zvhd2_version 0, a file without an index that can only be read from end to end, is not read: %w", errors.ErrUnsupported)
	case f.zvhd2Version != zvhd2Version:
		return fmt.Errorf("zvhd2: zvhd2_version %d is not read, only %d: %w", f.zvhd2Version, zvhd2Version, errors.ErrUnsupported)
	case f.compressMethod > methodZstd:
		return fmt.Errorf("zvhd2: compress_method %d is not read, only 0 (zlib) and 1 (zstd): %w", f.compressMethod, errors.ErrUnsupported)
	}
	return nil
}

// final reports whether this is the final footer. The index fields of the header and its copy are
// all zeros, and every whole file has a bitmap.
func (f *footer) final() bool { return f.bitmapLBA != 0 || f.indexLBA != 0 || f.bitmapSegNum != 0 }

// verify reports every field of the final footer at offset at that breaks a rule. Sums and products
// are of values below 2^61 once the earlier rules hold, and harmless while they do not.
func (f *footer) verify(at int64, report report) {
	for _, r := range append(f.diskRules(), f.tableRules(uint64(at))...) {
		if !r.OK {
			report(at+zstream.FieldOffset(fields, r.Field), "footer: %s is %d, must be %s", r.Field, r.Got, r.Must)
		}
	}
}

// diskRules are about the disk.
func (f *footer) diskRules() []zstream.Rule {
	blocks := ceilDiv(f.OriginalSize, uint64(f.blockSize))
	return append(f.Rules(), []zstream.Rule{
		zstream.Must("block_size", uint64(f.blockSize), validBlockSize(f.blockSize), "a power of two from 1 MiB to 32 MiB"),
		zstream.Must("max_blk_num", uint64(f.maxBlkNum), uint64(f.maxBlkNum) == blocks, fmt.Sprintf("original_size in blocks of block_size, %d", blocks)),
		zstream.Must("index_contains_zero_blk", uint64(f.indexContainsZeroBlk), f.indexContainsZeroBlk <= 1, "0 or 1"),
		zstream.Must("non_zero_blk_num", uint64(f.nonZeroBlkNum), f.nonZeroBlkNum <= f.maxBlkNum, "at most max_blk_num"),
	}...)
}

// tableRules are about where the tables lie in a file whose final footer is at offset end.
func (f *footer) tableRules(end uint64) []zstream.Rule {
	bitmapSegs := ceilDiv(uint64(f.maxBlkNum), bitsPerSeg)
	indexSegs := ceilDiv(f.entries(), entriesPerSeg)
	indexEnd := f.indexLBA + uint64(f.indexSize)
	return []zstream.Rule{
		zstream.Must("index_seg_size", uint64(f.indexSegSize), f.indexSegSize == indexSegSize, "524288"),
		zstream.Must("bitmap_seg_size", uint64(f.bitmapSegSize), f.bitmapSegSize == bitmapSegSize, "4096"),
		zstream.Must("index_seg_num", uint64(f.indexSegNum), uint64(f.indexSegNum) >= indexSegs, fmt.Sprintf("at least %d for %d entries", indexSegs, f.entries())),
		zstream.Must("bitmap_seg_num", uint64(f.bitmapSegNum), uint64(f.bitmapSegNum) == bitmapSegs, fmt.Sprintf("%d for max_blk_num", bitmapSegs)),
		zstream.Must("index_size", uint64(f.indexSize), uint64(f.indexSize) == uint64(f.indexSegNum)*indexSegSize, "index_seg_num whole segments"),
		zstream.Must("bitmap_size", uint64(f.bitmapSize), uint64(f.bitmapSize) == uint64(f.bitmapSegNum)*bitmapSegSize, "bitmap_seg_num whole segments"),
		zstream.Must("index_lba", f.indexLBA, f.indexLBA%unit == 0 && inside(f.indexLBA, uint64(f.indexSize), unit, end),
			fmt.Sprintf("a multiple of 4096 with index_size bytes between the header and the final footer at %d", end)),
		zstream.Must("bitmap_lba", f.bitmapLBA, f.bitmapLBA%unit == 0 && inside(f.bitmapLBA, uint64(f.bitmapSize), max(unit, indexEnd), end),
			fmt.Sprintf("a multiple of 4096 with bitmap_size bytes between the index and the final footer at %d", end)),
		zstream.Must("non_zero_blk_num", uint64(f.nonZeroBlkNum), (uint64(f.nonZeroBlkNum)+1)*unit <= f.indexLBA, "no more than the units of the data area"),
		zstream.Must("max_blk_num", uint64(f.maxBlkNum), tableBytes(f.maxBlkNum, f.entries()) <= formats.MaxTables,
			fmt.Sprintf("such that bitmap and index, with %d entries, take at most %d bytes in memory", f.entries(), formats.MaxTables)),
	}
}

// entries is the number of index entries that mean anything.
func (f *footer) entries() uint64 {
	if f.indexContainsZeroBlk != 0 && f.nonZeroBlkNum > 0 {
		return uint64(f.maxBlkNum)
	}
	return uint64(f.nonZeroBlkNum)
}

func validBlockSize(n uint32) bool {
	return n >= minBlockSize && n <= maxBlockSize && n&(n-1) == 0
}

// inside reports whether [off, off+n) lies in [from, to), without overflowing.
func inside(off, n, from, to uint64) bool { return off >= from && off <= to && n <= to-off }

// maxChunkSize is the limit we set for the bytes of a chunk on disk. Codecs grow incompressible
// data by less than a hundredth, so twice the block is generous.
func maxChunkSize(blockSize uint32) int64 { return 2 * int64(blockSize) }
