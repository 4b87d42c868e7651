package zvhd2

import (
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// report takes one finding: where in the source, and the sentence. Open keeps the first, Check all.
type report func(off int64, format string, args ...any)

// first is a report that keeps the first finding as an error.
type first struct{ err error }

func (f *first) report(off int64, format string, args ...any) {
	if f.err == nil {
		f.err = formats.Corrupt(name, off, format, args...)
	}
}

// checkSeal says what keeps the bytes from being a footer at all, "" if they are one: cookie and checksum.
func checkSeal(b []byte) string {
	f := decodeFooter(b)
	if string(f.cookie[:]) != cookie {
		return fmt.Sprintf("cookie is %q, must be %q", f.cookie[:], cookie)
	}
	sum := footerSum(b)
	// Old versions of the vendor's tool summed before they set hidden.
	old := f.hidden != 0 && string(f.creatorApp[:3]) == "tap" && (f.creatorVersion == 0x0000_0001 || f.creatorVersion == 0x0001_0001)
	if f.checksum == sum || old && f.checksum == sum+uint32(f.hidden) {
		return ""
	}
	return fmt.Sprintf("checksum is %#08x, must be %#08x", f.checksum, sum)
}

// supported refuses by name the variants that the footer announces and this package does not read.
func (f *footer) supported() error {
	switch {
	case f.version != fileVersion:
		return fmt.Errorf("zvhd2: version %s is not read, only %s: %w", formatVersion(f.version), formatVersion(fileVersion), errors.ErrUnsupported)
	case f.zvhd2Version == 0:
		return fmt.Errorf("zvhd2: zvhd2_version 0, a file without an index that can only be read from end to end, is not read: %w", errors.ErrUnsupported)
	case f.zvhd2Version != zvhd2Version:
		return fmt.Errorf("zvhd2: zvhd2_version %d is not read, only %d: %w", f.zvhd2Version, zvhd2Version, errors.ErrUnsupported)
	case f.compressMethod > methodZstd:
		return fmt.Errorf("zvhd2: compress_method %d is not read, only 0 (zlib) and 1 (zstd): %w", f.compressMethod, errors.ErrUnsupported)
	}
	return nil
}

// final tells the final footer from the header and its copy, whose index fields are all zeros. A bitmap is in
// every whole file.
func (f *footer) final() bool { return f.bitmapLBA != 0 || f.indexLBA != 0 || f.bitmapSegNum != 0 }

// rule is what a field must say. Rules are tried in order; a later one may rest on the earlier ones.
type rule struct {
	field string
	got   uint64
	ok    bool
	must  string
}

// verify reports every field of the final footer at offset at that breaks a rule. Sums and products are of values
// below 2^61 once the earlier rules hold, and harmless while they do not.
func (f *footer) verify(at int64, report report) {
	for _, r := range append(f.diskRules(), f.tableRules(uint64(at))...) {
		if !r.ok {
			report(at+fieldOffset(r.field), "footer: %s is %d, must be %s", r.field, r.got, r.must)
		}
	}
}

// diskRules are about the disk.
func (f *footer) diskRules() []rule {
	blocks := ceilDiv(f.originalSize, uint64(f.blockSize))
	current := roundUp(f.originalSize, currentSizeUnit)
	return []rule{
		{"features", uint64(f.features), f.features == featuresReserved, "2"},
		{"data_offset", f.dataOffset, f.dataOffset == noDataOffset, "all ones"},
		{"type", uint64(f.diskType), f.diskType == diskType, "4"},
		{"original_size", f.originalSize, f.originalSize > 0 && f.originalSize%512 == 0 && f.originalSize <= formats.MaxDiskSize,
			fmt.Sprintf("a multiple of 512 up to %d", int64(formats.MaxDiskSize))},
		{"current_size", f.currentSize, f.currentSize == current, fmt.Sprintf("original_size rounded up to a whole GiB, %d", current)},
		{"block_size", uint64(f.blockSize), validBlockSize(f.blockSize), "a power of two from 1 MiB to 32 MiB"},
		{"max_blk_num", uint64(f.maxBlkNum), uint64(f.maxBlkNum) == blocks, fmt.Sprintf("original_size in blocks of block_size, %d", blocks)},
		{"index_contains_zero_blk", uint64(f.indexContainsZeroBlk), f.indexContainsZeroBlk <= 1, "0 or 1"},
		{"non_zero_blk_num", uint64(f.nonZeroBlkNum), f.nonZeroBlkNum <= f.maxBlkNum, "at most max_blk_num"},
	}
}

// tableRules are about where the tables lie in a file whose final footer is at offset end.
func (f *footer) tableRules(end uint64) []rule {
	bitmapSegs := ceilDiv(uint64(f.maxBlkNum), bitsPerSeg)
	indexSegs := ceilDiv(f.entries(), entriesPerSeg)
	indexEnd := f.indexLBA + uint64(f.indexSize)
	return []rule{
		{"index_seg_size", uint64(f.indexSegSize), f.indexSegSize == indexSegSize, "524288"},
		{"bitmap_seg_size", uint64(f.bitmapSegSize), f.bitmapSegSize == bitmapSegSize, "4096"},
		{"index_seg_num", uint64(f.indexSegNum), uint64(f.indexSegNum) >= indexSegs, fmt.Sprintf("at least %d for %d entries", indexSegs, f.entries())},
		{"bitmap_seg_num", uint64(f.bitmapSegNum), uint64(f.bitmapSegNum) == bitmapSegs, fmt.Sprintf("%d for max_blk_num", bitmapSegs)},
		{"index_size", uint64(f.indexSize), uint64(f.indexSize) == uint64(f.indexSegNum)*indexSegSize, "index_seg_num whole segments"},
		{"bitmap_size", uint64(f.bitmapSize), uint64(f.bitmapSize) == uint64(f.bitmapSegNum)*bitmapSegSize, "bitmap_seg_num whole segments"},
		{"index_lba", f.indexLBA, f.indexLBA%unit == 0 && inside(f.indexLBA, uint64(f.indexSize), unit, end),
			fmt.Sprintf("a multiple of 4096 with index_size bytes between the header and the final footer at %d", end)},
		{"bitmap_lba", f.bitmapLBA, f.bitmapLBA%unit == 0 && inside(f.bitmapLBA, uint64(f.bitmapSize), max(unit, indexEnd), end),
			fmt.Sprintf("a multiple of 4096 with bitmap_size bytes between the index and the final footer at %d", end)},
		{"non_zero_blk_num", uint64(f.nonZeroBlkNum), (uint64(f.nonZeroBlkNum)+1)*unit <= f.indexLBA, "no more than the units of the data area"},
		{"max_blk_num", uint64(f.maxBlkNum), tableBytes(f.maxBlkNum, f.entries()) <= formats.MaxTables,
			fmt.Sprintf("such that bitmap and index, with %d entries, take at most %d bytes in memory", f.entries(), formats.MaxTables)},
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

// inside tells whether [off, off+n) lies in [from, to), without overflowing.
func inside(off, n, from, to uint64) bool { return off >= from && off <= to && n <= to-off }

// maxChunkSize is the limit we set for the bytes of a chunk on disk. Codecs grow incompressible data by less
// than a hundredth, so twice the block is generous.
func maxChunkSize(blockSize uint32) int64 { return 2 * int64(blockSize) }
