package zvhd

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/zstream"
)

// maxOpenWalk is how many chunks are looked at to open a file that does not end in a header.
const maxOpenWalk = 1 << 16

// seals are the header and the last unit, where its copy should be. One with a fault must not be
// used.
type seals struct {
	header, tail           header
	headerFault, tailFault string
	tailAt                 int64
	sum                    [32]byte // of both, as they are, and the file's size
}

// readSeals reads both. A file too small for one has it at fault.
func readSeals(ctx context.Context, src formats.Source) (seals, error) {
	s := seals{tailAt: max(0, src.Size()-unit)}
	hash := sha256.New()
	var err error
	if s.header, s.headerFault, err = readSeal(ctx, src, 0, hash); err != nil {
		return s, err
	}
	if s.tail, s.tailFault, err = readSeal(ctx, src, s.tailAt, hash); err != nil {
		return s, err
	}
	hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(src.Size())))
	hash.Sum(s.sum[:0])
	if s.tailFault == "" && s.tailAt < unit {
		s.tailFault = fmt.Sprintf("the file of %d bytes has no room for both", src.Size())
	}
	return s, nil
}

func readSeal(ctx context.Context, src formats.Source, at int64, sum interface{ Write([]byte) (int, error) }) (h header, fault string, err error) {
	if src.Size()-at < headerSize {
		return h, fmt.Sprintf("the file has %d bytes", src.Size()), nil
	}
	b := make([]byte, headerSize)
	if err := src.ReadAt(ctx, b, at); err != nil {
		return h, "", fmt.Errorf("zvhd: header at %#x: %w", at, err)
	}
	_, err = sum.Write(b)
	return decodeHeader(b), zstream.Fault(b, cookie), err
}

// believed returns the header, or its copy if the header is damaged, and its offset.
func (s *seals) believed() (h *header, at int64, err error) {
	switch {
	case s.headerFault == "":
		return &s.header, 0, nil
	case s.tailFault == "":
		return &s.tail, s.tailAt, nil
	}
	return nil, 0, formats.Corrupt(name, 0, "header: %s (and its copy at %#x: %s)", s.headerFault, s.tailAt, s.tailFault)
}

// Open reads the header and its copy, and no chunk. The copy at the file's end shows that the file
// was not cut short. If there is none, the chunks are followed, up to maxOpenWalk of them, to the
// place where it may be.
func (d *Driver) Open(ctx context.Context, src formats.Source, opts formats.OpenOptions) (formats.Image, error) {
	if err := formats.NoSnapshot(name, opts); err != nil {
		return nil, err
	}
	s, err := readSeals(ctx, src)
	if err != nil {
		return nil, err
	}
	h, at, err := s.believed()
	if err != nil {
		return nil, err
	}
	if err := h.supported(); err != nil {
		return nil, err
	}
	var first error
	h.verify(at, func(off int64, format string, args ...any) {
		if first == nil {
			first = formats.Corrupt(name, off, format, args...)
		}
	})
	if first != nil {
		return nil, first
	}
	m := &image{
		info: h.info(), src: src, sum: s.sum, inflate: d.inflate, chunks: d.chunks(src),
		walked: newWalked(src, h.blocks()), places: newPlaces(), turn: make(chan struct{}, 1),
	}
	if s.tailFault != "" {
		return m, m.walked.findEnd(ctx, &s)
	}
	return m, nil
}

func (d *Driver) chunks(src formats.Source) chunkReader { return chunkReader{src, &d.buffers} }

// findEnd returns an error unless the copy of the header is after the chunks, though not at the
// file's end.
func (d *walked) findEnd(ctx context.Context, s *seals) error {
	_, more, err := d.at(ctx, maxOpenWalk)
	if err == nil && !more {
		return nil
	}
	if err != nil && !errors.Is(err, formats.ErrCorrupt) {
		return err
	}
	_, n, _ := d.known(-1)
	why := "more were not looked at"
	if err != nil {
		why = err.Error()
	}
	return formats.Corrupt(name, s.tailAt, "copy of the header: %s: %s (%s)", s.tailFault, truncated(n), why)
}

func truncated(chunks int64) string {
	return fmt.Sprintf("the file is truncated or its end is damaged; its header is good and %d chunks follow it", chunks)
}

// info describes an image by its verified header.
func (h *header) info() formats.Info {
	return formats.Info{
		Format:      name,
		Size:        int64(h.CurrentSize),
		ClusterSize: pieceSize,
		Allocated:   formats.Unknown,
		Compression: "zlib",
		Details: append(h.Details(), []formats.Detail{
			{Key: "block_size", Value: strconv.Itoa(blockSize)},
		}...),
	}
}
