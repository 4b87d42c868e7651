package vmdk

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/imsfs/imsfs/formats/codec"
)

// maxBatch bounds the stored bytes that are read at once, unless one grain alone has more.
const maxBatch = 1 << 20

// slack is how much a codec may add to a grain that does not compress: zlib adds less than a
// thousandth.
const slack = 4096

// readCompressed fills p from the compressed grains from g on whose stored bytes can be read at
// once, and returns how much that was. p begins at offset in of grain g.
func (s *sparse) readCompressed(ctx context.Context, p []byte, g, in int64, entries []byte) (int64, error) {
	count := s.batch(entries, ceilDiv(in+int64(len(p)), s.grain))
	start := gte(entries, 0)
	stored := s.driver.buffers.Get(s.guess(entries, count))
	defer s.driver.buffers.Put(stored)
	if problem := s.misplaced(start, 1); problem != "" {
		return 0, s.file.corrupt(start*sector, "grain %d: %s", g, problem)
	}
	if err := s.file.read(ctx, *stored, start*sector, "grain"); err != nil {
		return 0, err
	}
	done := int64(0)
	for k := range count {
		n := min(int64(len(p))-done, s.grain-in)
		at := gte(entries, k)
		rest := (*stored)[min((at-start)*sector, int64(len(*stored))):] // empty for a grain past the file's end
		if err := s.grainInto(ctx, p[done:done+n], in, g+k, at, rest); err != nil {
			return 0, err
		}
		done, in = done+n, 0
	}
	return done, nil
}

// batch is the number of grains, at most most, that follow one another in the file closely enough
// to be read at once.
func (s *sparse) batch(entries []byte, most int64) int64 {
	for k := int64(1); k < most; k++ {
		if gap := gte(entries, k) - gte(entries, k-1); gap <= 0 || gap*sector > s.grain+slack || (gte(entries, k)-gte(entries, 0))*sector+s.grain > maxBatch {
			return k
		}
	}
	return most
}

// guess returns how many bytes to read for the count grains at the start of entries: up to the next
// grain if that is close, or as much as the last grain may take. It ends with the file.
func (s *sparse) guess(entries []byte, count int64) int64 {
	start, last := gte(entries, 0), gte(entries, count-1)
	end := last*sector + s.grain + slack
	if int64(len(entries)) > count*gteSize {
		if next := gte(entries, count) * sector; next > last*sector && next < end {
			end = next
		}
	}
	return max(0, min(end, s.file.Size())-start*sector)
}

// grainInto fills p with the bytes at offset in of grain g, which is stored at sector at. stored
// holds its stored bytes, or the first of them.
func (s *sparse) grainInto(ctx context.Context, p []byte, in, g, at int64, stored []byte) error {
	compressed, err := s.payload(g, at, stored)
	if err != nil {
		return err
	}
	if have := int64(len(stored)) - grainMarkerSize; compressed > have {
		whole := s.driver.buffers.Get(grainMarkerSize + compressed)
		defer s.driver.buffers.Put(whole)
		if err := s.file.read(ctx, *whole, at*sector, "grain"); err != nil {
			return err
		}
		stored = *whole
	}
	if err := s.decode(p, in, g, stored[grainMarkerSize:grainMarkerSize+compressed]); err != nil {
		return s.file.corrupt(at*sector, "grain %d: %v", g, err)
	}
	return nil
}

// payload checks the marker of grain g and returns the length of the compressed bytes after it, all
// of which lie in the file.
func (s *sparse) payload(g, at int64, stored []byte) (int64, error) {
	if len(stored) < grainMarkerSize {
		return 0, s.file.corrupt(at*sector, "grain %d: it must lie within the file", g)
	}
	lba, size := binary.LittleEndian.Uint64(stored), int64(binary.LittleEndian.Uint32(stored[8:]))
	switch {
	case size == 0:
		return 0, s.file.corrupt(at*sector, "grain %d: the marker before it is not a grain's: its size is 0", g)
	case lba != uint64(g)*s.header.grainSize:
		return 0, s.file.corrupt(at*sector, "grain %d: the marker before it is for sector %d, must be for %d", g, lba, uint64(g)*s.header.grainSize)
	case size > 2*s.grain:
		return 0, s.file.corrupt(at*sector, "grain %d: %d bytes compressed, at most twice the grain's %d are read", g, size, s.grain)
	case size > s.file.Size()-at*sector-grainMarkerSize:
		return 0, s.file.corrupt(at*sector, "grain %d: %d bytes compressed, must lie within the file", g, size)
	}
	return size, nil
}

// decode fills p with the bytes at offset in of grain g: straight if it is the whole grain.
func (s *sparse) decode(p []byte, in, g int64, compressed []byte) error {
	if int64(len(p)) == s.grain {
		return s.driver.zlib.DecodeFinished(p, compressed)
	}
	whole := s.driver.buffers.Get(s.grain)
	defer s.driver.buffers.Put(whole)
	err := s.driver.zlib.DecodeFinished(*whole, compressed)
	// Some writers cut the last grain off at the disk's end.
	if rest := s.length(g); rest < s.grain && errors.Is(err, codec.ErrLength) {
		if s.driver.zlib.DecodeFinished((*whole)[:rest], compressed) == nil {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	copy(p, (*whole)[in:])
	return nil
}

// encodeGrain closes the stored grain in b, whose first grainMarkerSize bytes are room for the
// marker and whose rest is compressed.
func encodeGrain(b []byte, lba uint64) []byte {
	binary.LittleEndian.PutUint64(b, lba)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-grainMarkerSize))
	return append(b, make([]byte, -len(b)&(sector-1))...)
}
