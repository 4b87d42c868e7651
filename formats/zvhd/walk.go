package zvhd

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/zstream"
)

// beforeFirst stands for the chunk before the first one: the header. No other ref ends there.
var beforeFirst = ref{off: 0, size: unit}

// readHead reads the chunk header at the offset. end is true if the header's copy is there instead,
// after the last chunk.
func readHead(ctx context.Context, src formats.Source, at int64) (h zstream.ChunkHead, end bool, problem string, err error) {
	if at > src.Size()-unit {
		return h, false, fmt.Sprintf("the file of %d bytes ends where a chunk or the copy of the header must stand: it is truncated", src.Size()), nil
	}
	var b [zstream.ChunkHeaderSize]byte
	if err := src.ReadAt(ctx, b[:], at); err != nil {
		return h, false, "", fmt.Errorf("zvhd: chunk at %#x: %w", at, err)
	}
	if string(b[:len(cookie)]) == cookie {
		return h, true, "", nil
	}
	h, problem = zstream.DecodeChunkHead(b[:])
	if problem != "" {
		return h, false, "chunk: " + problem, nil
	}
	if h.Size() > maxChunkSize || h.Size() > src.Size()-at {
		return h, false, fmt.Sprintf("chunk of block %d: compressed size is %d, must be such that the chunk lies within the file of %d bytes and takes at most %d",
			h.Block, h.Compressed, src.Size(), maxChunkSize), nil
	}
	return h, false, "", nil
}

// nextRef finds the chunk after last. Its block must be after last's and be one of the disk's.
func nextRef(ctx context.Context, src formats.Source, last ref, blocks int64) (r ref, end bool, problem string, err error) {
	h, end, problem, err := readHead(ctx, src, last.end())
	if err != nil || end || problem != "" {
		return ref{}, end, problem, err
	}
	r = ref{off: last.end(), block: h.Block, size: uint32(h.Size())}
	return r, false, order(last, r, blocks), nil
}

// order says why a chunk's block number cannot follow that of the last one.
func order(last, r ref, blocks int64) (problem string) {
	switch {
	case int64(r.block) >= blocks:
		return fmt.Sprintf("chunk of block %d: the disk has %d blocks", r.block, blocks)
	case last != beforeFirst && r.block <= last.block:
		return fmt.Sprintf("chunk of block %d: it stands after that of block %d, and blocks must ascend", r.block, last.block)
	}
	return ""
}
