// Package rawmap is the format of the map that may lie beside a raw disk: which of its blocks hold
// anything but zeros. With it a raw file is as sparse on a file system without holes, or across a
// network, as it was where the map was made: its zeros are never read.
//
// A map is trusted: bytes that it calls zeros are never read. So it is only used if its own SHA-256
// is right and it was made of a file of exactly this size and modification time.
// docs/formats/rawmap.md has the layout and discusses that trust.
//
// It is not a driver: a raw disk with a map is a raw disk (formats/raw) whose source knows holes
// (formats.Sparse).
package rawmap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/imsfs/imsfs/formats"
)

const (
	name = "rawmap"
	// Suffix is the ending of a map's name, after the name of its raw disk.
	Suffix = ".map"
	// BlockSize is what one bit stands for.
	BlockSize = 2 << 20
	// MaxSize is the largest raw disk that has a map, 1 PiB: 64 MiB of bits.
	MaxSize = formats.MaxTables * 8 * BlockSize

	magic      = "IMSFSMAP"
	version    = 1
	headerSize = 32
)

// ErrStale is the kind (errors.Is) of every error about a map of another state of the file.
var ErrStale = errors.New("the map was made of another state of the file")

// Stale makes an error of kind ErrStale.
func Stale(format string, args ...any) error { return &staleError{fmt.Sprintf(format, args...)} }

type staleError struct{ text string }

func (e *staleError) Error() string        { return e.text }
func (e *staleError) Is(target error) bool { return target == ErrStale }

// Map says which blocks of a raw disk hold data. It is safe for concurrent use after it is made.
type Map struct {
	size    int64
	modTime int64
	bits    []byte // block 0 is the lowest bit of the first byte
}

// New makes a map, of zeros so far, of a file of size bytes that was last modified at a time, in
// nanoseconds since 1970.
func New(size, modTime int64) (*Map, error) {
	if size <= 0 || size > MaxSize {
		return nil, fmt.Errorf("a file of %d bytes: a map is of 1 to %d", size, int64(MaxSize))
	}
	return &Map{size, modTime, make([]byte, bitsLen(size))}, nil
}

func blocks(size int64) int64  { return (size + BlockSize - 1) / BlockSize }
func bitsLen(size int64) int64 { return (blocks(size) + 7) / 8 }

// Set says that a block holds data; one call at a time, before the map is used.
func (m *Map) Set(block int64) { m.bits[block/8] |= 1 << (block % 8) }

func (m *Map) data(block int64) bool { return m.bits[block/8]>>(block%8)&1 == 1 }

// Fits returns nil if the map was made of a file of this size and time, or an error that is
// ErrStale and says what differs.
func (m *Map) Fits(size, modTime int64) error {
	switch {
	case m.size != size:
		return Stale("it was made of a file of %d bytes, and this one has %d", m.size, size)
	case m.modTime != modTime:
		return Stale("the file was written to since it was made")
	}
	return nil
}

// Hole implements formats.Sparse: it reports whether the bytes at off are zeros, and how many of
// the n are alike.
func (m *Map) Hole(off, n int64) (hole bool, length int64) {
	block, last := off/BlockSize, (off+n-1)/BlockSize
	data := m.data(block)
	same := byte(0)
	if data {
		same = 0xff
	}
	for block++; block <= last && m.data(block) == data; block++ {
		for block%8 == 0 && block+8 <= last && m.bits[block/8] == same {
			block += 8
		}
		if m.data(block) != data {
			break
		}
	}
	return !data, min(n, block*BlockSize-off)
}

// Data is the number of bytes in blocks with data.
func (m *Map) Data() int64 {
	var n int64
	for _, b := range m.bits {
		n += int64(bits.OnesCount8(b))
	}
	n *= BlockSize
	if last := blocks(m.size) - 1; m.data(last) {
		n -= (last+1)*BlockSize - m.size
	}
	return n
}

// Bytes is the map as it is in its file.
func (m *Map) Bytes() []byte {
	b := make([]byte, 0, headerSize+len(m.bits)+sha256.Size)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, BlockSize)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.modTime))
	b = append(b, m.bits...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Parse reads a map. Anything that Bytes would not make is formats.ErrCorrupt.
func Parse(ctx context.Context, src formats.Source) (*Map, error) {
	if src.Size() < headerSize+1+sha256.Size {
		return nil, formats.Corrupt(name, 0, "%d bytes are too few for a map", src.Size())
	}
	header := make([]byte, headerSize)
	if err := src.ReadAt(ctx, header, 0); err != nil {
		return nil, err
	}
	size := int64(binary.LittleEndian.Uint64(header[16:]))
	switch le := binary.LittleEndian; {
	case string(header[:8]) != magic:
		return nil, formats.Corrupt(name, 0, "it does not begin with %q", magic)
	case le.Uint32(header[8:]) != version:
		return nil, formats.Corrupt(name, 8, "version %d: only %d is known", le.Uint32(header[8:]), version)
	case le.Uint32(header[12:]) != BlockSize:
		return nil, formats.Corrupt(name, 12, "blocks of %d bytes: they must have %d", le.Uint32(header[12:]), BlockSize)
	case size <= 0 || size > MaxSize:
		return nil, formats.Corrupt(name, 16, "a file of %d bytes: a map is of 1 to %d", size, int64(MaxSize))
	case src.Size() != headerSize+bitsLen(size)+sha256.Size:
		return nil, formats.Corrupt(name, 16, "%d bytes: the map of a file of %d has %d", src.Size(), size, headerSize+bitsLen(size)+sha256.Size)
	}
	body := make([]byte, src.Size())
	if err := src.ReadAt(ctx, body, 0); err != nil {
		return nil, err
	}
	end := len(body) - sha256.Size
	if sum := sha256.Sum256(body[:end]); !bytes.Equal(sum[:], body[end:]) || !bytes.Equal(header, body[:headerSize]) {
		return nil, formats.Corrupt(name, int64(end), "its SHA-256 does not match the bytes before it")
	}
	m := &Map{size, int64(binary.LittleEndian.Uint64(header[24:])), body[headerSize:end]}
	if spare := blocks(size) % 8; spare != 0 && m.bits[len(m.bits)-1]>>spare != 0 {
		return nil, formats.Corrupt(name, int64(end-1), "bits after the last of %d blocks are set", blocks(size))
	}
	return m, nil
}
