package zvhd2

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/zstream"
)

// seals are the two footers of a file: the header at 0 and the final footer in the last unit. A
// footer with a fault must not be used.
type seals struct {
	header, final           footer
	headerFault, finalFault string
	finalAt                 int64
}

// readSeals reads both footers. A file too small for one has it at fault.
func readSeals(ctx context.Context, src formats.Source) (seals, error) {
	s := seals{finalAt: max(0, src.Size()-unit)}
	var err error
	if s.header, s.headerFault, err = readSeal(ctx, src, 0); err != nil {
		return s, err
	}
	if s.final, s.finalFault, err = readSeal(ctx, src, s.finalAt); err != nil {
		return s, err
	}
	if s.finalFault == "" && !s.final.final() {
		s.finalFault = "bitmap_lba, index_lba and bitmap_seg_num are 0, as in a header"
	}
	return s, nil
}

func readSeal(ctx context.Context, src formats.Source, at int64) (f footer, fault string, err error) {
	if src.Size()-at < footerSize {
		return f, fmt.Sprintf("the file has %d bytes", src.Size()), nil
	}
	b := make([]byte, footerSize)
	if err := src.ReadAt(ctx, b, at); err != nil {
		return f, "", fmt.Errorf("zvhd2: footer at %#x: %w", at, err)
	}
	return decodeFooter(b), zstream.Fault(b, cookie), nil
}

func (d *Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	s, err := readSeals(ctx, src)
	if err != nil {
		return nil, err
	}
	if s.finalFault != "" {
		return nil, s.unfinished(ctx, src)
	}
	if err := s.final.supported(); err != nil {
		return nil, err
	}
	t, err := load(ctx, src, &s.final, s.finalAt)
	if err != nil {
		return nil, err
	}
	return newImage(d, src, s.final, t), nil
}

// load verifies the final footer at offset at and the tables it names.
func load(ctx context.Context, src formats.Source, f *footer, at int64) (*tables, error) {
	var found first
	if f.verify(at, found.report); found.err != nil {
		return nil, found.err
	}
	t, err := loadBitmap(ctx, src, f, found.report)
	if err != nil || found.err != nil {
		return nil, cmp.Or(err, found.err)
	}
	if err := t.loadIndex(ctx, src, f, found.report); err != nil || found.err != nil {
		return nil, cmp.Or(err, found.err)
	}
	if a, b, ok := overlap(t.refs); ok {
		return nil, formats.Corrupt(name, b.off, "the chunk of block %d overlaps that of block %d, [%#x, +%d)", b.block, a.block, a.off, a.size)
	}
	return t, nil
}

// unfinished is the error about a file without a good final footer.
func (s *seals) unfinished(ctx context.Context, src formats.Source) error {
	if s.headerFault != "" {
		return formats.Corrupt(name, s.finalAt, "final footer: %s (and header: %s)", s.finalFault, s.headerFault)
	}
	if err := s.header.supported(); err != nil {
		return err
	}
	var whole int64
	for _, err := range walk(ctx, src, &s.header) {
		if err != nil {
			return err
		}
		whole++
	}
	return formats.Corrupt(name, s.finalAt, "final footer: %s: %s", s.finalFault, truncated(whole))
}

func truncated(whole int64) string {
	return fmt.Sprintf("the file is truncated or its end is damaged; its header is good and %d whole chunks are present", whole)
}

// walk yields the whole chunks that follow the header one upon another, without the index, as far
// as they go.
func walk(ctx context.Context, src formats.Source, header *footer) iter.Seq2[ref, error] {
	return func(yield func(ref, error) bool) {
		largest := maxChunkSize(maxBlockSize)
		if validBlockSize(header.blockSize) {
			largest = maxChunkSize(header.blockSize)
		}
		for at := int64(unit); at+unit <= src.Size(); {
			r, whole, err := readRef(ctx, src, at, largest)
			if err != nil {
				yield(ref{}, err)
				return
			}
			if !whole || !yield(r, nil) {
				return
			}
			at = r.end()
		}
	}
}

// readRef reports whether a whole chunk, header to trailer, is at the offset.
func readRef(ctx context.Context, src formats.Source, at, largest int64) (r ref, whole bool, err error) {
	var b [zstream.ChunkHeaderSize]byte
	if err := src.ReadAt(ctx, b[:], at); err != nil {
		return r, false, fmt.Errorf("zvhd2: chunk at %#x: %w", at, err)
	}
	h, problem := zstream.DecodeChunkHead(b[:])
	if problem != "" || h.Size() > largest || at+h.Size() > src.Size() {
		return r, false, nil
	}
	r = ref{off: at, block: h.Block, size: uint32(h.Size())}
	trailer := b[:len(zstream.ChunkTrailer)]
	if err := src.ReadAt(ctx, trailer, r.end()-int64(len(trailer))); err != nil {
		return r, false, fmt.Errorf("zvhd2: end of the chunk at %#x: %w", at, err)
	}
	return r, string(trailer) == zstream.ChunkTrailer, nil
}

// info describes an image by its verified final footer.
func (f *footer) info() formats.Info {
	return formats.Info{
		Format:      name,
		Size:        int64(f.CurrentSize),
		ClusterSize: int64(f.blockSize),
		Allocated:   int64(f.nonZeroBlkNum) * int64(f.blockSize),
		Compression: f.codecName(),
		Details: append(f.Details(), []formats.Detail{
			{Key: "block_size", Value: strconv.FormatUint(uint64(f.blockSize), 10)},
			{Key: "max_blk_num", Value: strconv.FormatUint(uint64(f.maxBlkNum), 10)},
			{Key: "non_zero_blk_num", Value: strconv.FormatUint(uint64(f.nonZeroBlkNum), 10)},
			{Key: "index_contains_zero_blk", Value: strconv.Itoa(int(f.indexContainsZeroBlk))},
			{Key: "compress_method", Value: f.codecName()},
		}...),
	}
}

func (f *footer) codecName() string {
	if f.compressMethod == methodZlib {
		return "zlib"
	}
	return "zstd"
}
