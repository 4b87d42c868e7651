package overlay

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// The layout of a bitmap file: two copies of the header, then two slots for each page.
const (
	headerMagic = "imsfs delta\n"
	version     = 1

	headerSize = pageSize
	headerSum  = 52 // the last field; zeros follow
	pagesAt    = 2 * headerSize
	pageStride = 2 * pageSize
	isClean    = 1
)

// header is the beginning of a bitmap file.
type header struct {
	seq   uint64 // grows with each header that is written
	size  int64  // of the disk
	limit int64  // the end of the part that shows the layers below
	clean bool   // nothing was written since sum was made
	sum   uint32 // of the numbers, sequence numbers and checksums of all pages; 0 if not clean
}

func (h header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b[4:], headerMagic)
	binary.LittleEndian.PutUint32(b[16:], version)
	binary.LittleEndian.PutUint32(b[20:], Unit)
	binary.LittleEndian.PutUint64(b[24:], h.seq)
	binary.LittleEndian.PutUint64(b[32:], uint64(h.size))
	binary.LittleEndian.PutUint64(b[40:], uint64(h.limit))
	if h.clean {
		binary.LittleEndian.PutUint32(b[48:], isClean)
	}
	binary.LittleEndian.PutUint32(b[headerSum:], h.sum)
	binary.LittleEndian.PutUint32(b, checksum(b[4:]))
	return b
}

// parseHeader reads one copy. broken is the rule it does not keep; an error is a delta of a newer imsfs.
func parseHeader(b []byte) (h header, broken string, err error) {
	switch {
	case string(b[4:16]) != headerMagic:
		return h, "it does not begin as a delta's bitmap", nil
	case binary.LittleEndian.Uint32(b) != checksum(b[4:]):
		return h, "its checksum does not match", nil
	}
	if v := binary.LittleEndian.Uint32(b[16:]); v != version {
		return h, "", fmt.Errorf("a delta of version %d, this imsfs knows %d: %w", v, version, errors.ErrUnsupported)
	}
	h = header{
		seq:   binary.LittleEndian.Uint64(b[24:]),
		size:  int64(binary.LittleEndian.Uint64(b[32:])),
		limit: int64(binary.LittleEndian.Uint64(b[40:])),
		clean: binary.LittleEndian.Uint32(b[48:]) == isClean,
		sum:   binary.LittleEndian.Uint32(b[headerSum:]),
	}
	switch {
	case binary.LittleEndian.Uint32(b[20:]) != Unit:
		return h, fmt.Sprintf("its unit is %d bytes, and must be %d", binary.LittleEndian.Uint32(b[20:]), Unit), nil
	case h.size < 0 || h.size > MaxSize:
		return h, fmt.Sprintf("a disk of %d bytes: there are none above %d", uint64(h.size), int64(MaxSize)), nil
	case h.limit < 0 || h.limit > h.size:
		return h, fmt.Sprintf("what is below shows up to %d, behind the disk's end at %d", uint64(h.limit), h.size), nil
	case binary.LittleEndian.Uint32(b[48:]) > isClean || !formats.IsZero(b[headerSum+4:]):
		return h, "its reserved bytes are not zero", nil
	}
	return h, "", nil
}

// pages is how many pages a disk of size bytes has.
func pages(size int64) int64 { return (units(size) + pageUnits - 1) / pageUnits }

// units is how many units a disk of size bytes has. The last may extend past its end.
func units(size int64) int64 { return (size + Unit - 1) / Unit }

// bitmapSize is the size of the bitmap file of a disk of size bytes.
func bitmapSize(size int64) int64 { return pagesAt + pages(size)*pageStride }
