package blockstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Digest is one hash over all bytes of a disk. docs/blockstore.md defines it in ten lines of
// Python.
type Digest [sha256.Size]byte

// String returns the digest in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// digestTag is the first input of the hash. Its number is the version of the definition.
const digestTag = "imsfs digest 1\n"

// DigestOf returns the digest of a disk of size bytes from the IDs of all its segments, in order.
func DigestOf(size int64, segments iter.Seq[SegmentID]) Digest {
	h := sha256.New()
	h.Write([]byte(digestTag))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(size)))
	for id := range segments {
		h.Write(id[:])
	}
	return Digest(h.Sum(nil))
}

// Plain is a disk that DigestPlain reads. It must be safe for concurrent use.
type Plain interface {
	Size() int64
	// ReadAt fills p with the bytes at off, or returns an error.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Hole returns how many of the n bytes from off on are known to be zeros without being
	// read.
	Hole(ctx context.Context, off, n int64) (int64, error)
}

// piece is the number of bytes read at once. It is as large as the largest clusters, so that each
// cluster is decoded once.
const piece = 2 << 20

// DigestPlain computes the digest of a disk from its bytes, on all processors. It skips holes.
// After each part it calls progress, unless it is nil, with the number of bytes done. The calls do
// not overlap.
func DigestPlain(ctx context.Context, disk Plain, progress func(done int64)) (Digest, error) {
	size := disk.Size()
	if size < 0 || size > MaxDiskSize {
		return Digest{}, fmt.Errorf("a disk of %d bytes: at most %d have a digest", size, int64(MaxDiskSize))
	}
	var mu sync.Mutex // progress and sum
	var sum int64
	done := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		if sum += n; progress != nil {
			progress(sum)
		}
	}
	ids := make([]SegmentID, Segments(size))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for seg := 0; seg < len(ids) && groupCtx.Err() == nil; seg++ {
		off := int64(seg) * SegmentSize
		hole, err := disk.Hole(groupCtx, off, size-off)
		if n := int(hole / SegmentSize); err == nil && n > 0 {
			for i := range n {
				ids[seg+i] = ZeroSegmentID
			}
			done(int64(n) * SegmentSize)
			seg += n - 1
			continue
		}
		group.Go(func() error {
			if err != nil {
				return err
			}
			n := min(SegmentSize, size-off)
			ids[seg], err = hashSegment(groupCtx, disk, off, n)
			done(n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Digest{}, err
	}
	if err := ctx.Err(); err != nil { // the walk may have ended early without an error
		return Digest{}, err
	}
	return DigestOf(size, slices.Values(ids)), nil
}

// hashSegment returns the ID of the segment that has the disk's n bytes at off.
func hashSegment(ctx context.Context, disk Plain, off, n int64) (SegmentID, error) {
	segment := make(Segment, 0, SegmentBlocks)
	buf := make([]byte, min(piece, n))
	for pos := int64(0); pos < n; {
		hole, err := disk.Hole(ctx, off+pos, n-pos)
		if err != nil {
			return SegmentID{}, err
		}
		zeros := hole / BlockSize
		if hole == n-pos { // with the disk's last block, a short one perhaps
			zeros = Blocks(hole)
		}
		for range zeros {
			segment = append(segment, Entry{State: Zero})
		}
		if zeros > 0 {
			pos = int64(len(segment)) * BlockSize
			continue
		}
		p := buf[:min(piece, n-pos)]
		if err := disk.ReadAt(ctx, p, off+pos); err != nil {
			return SegmentID{}, err
		}
		for block := range slices.Chunk(p, BlockSize) {
			segment = append(segment, EntryOf(block))
		}
		pos += int64(len(p))
	}
	return segment.ID(), nil
}
