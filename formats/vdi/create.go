package vdi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

const (
	createBlockSize = 1 << 20
	createMapAt     = 0x200
	dataAlign       = 1 << 20 // as VirtualBox does: blocks of the file lie as those of the disk
	createText      = "<<< imsfs VirtualBox Disk Image >>>\n"
	maxCreateSize   = maxBlocks * createBlockSize
	finishPage      = 1 << 20
)

// encoder writes a dynamic image of 1 MiB blocks, which are stored as they are, in the disk's
// order.
type encoder struct {
	size   int64
	blocks int64
	dataAt int64
	id     uuid
	placed []uint32 // the blocks of the disk that are in the file
}

var _ formats.Encoder = (*encoder)(nil)

func (Driver) Options() []formats.Option { return []formats.Option{formats.UUIDOption()} }

func (Driver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	if err := formats.CheckSet(name, Driver{}.Options(), opts.Set); err != nil {
		return nil, err
	}
	if err := formats.CheckSector(name, opts); err != nil {
		return nil, err
	}
	switch {
	case size <= 0 || size%formats.SectorSize != 0:
		return nil, fmt.Errorf("vdi: a disk of %d bytes: the size must be a positive multiple of %d", size, formats.SectorSize)
	case size > maxCreateSize:
		return nil, formats.TooLarge("vdi: a disk of %d bytes: at most %d are written, the most that qemu takes in blocks of 1 MiB", size, int64(maxCreateSize))
	case opts.Level != 0:
		return nil, fmt.Errorf("vdi: compression level %d: the format does not compress", opts.Level)
	}
	blocks := (size + createBlockSize - 1) / createBlockSize
	id := uuid(opts.UUID).swapped()
	if id == (uuid{}) {
		id = derived(binary.LittleEndian.AppendUint64(nil, uint64(size)))
	}
	return &encoder{
		size:   size,
		blocks: blocks,
		dataAt: (createMapAt + blocks*entrySize + dataAlign - 1) &^ (dataAlign - 1),
		id:     id,
	}, nil
}

// derived is a UUID of version 8 (RFC 9562), in the stored form. VirtualBox wants two that are not
// zero.
func derived(from []byte) uuid {
	sum := sha256.Sum256(append([]byte("imsfs vdi\x00"), from...))
	id := uuid(sum[:16])
	id[7] = id[7]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

func (e *encoder) ClusterSize() int64 { return createBlockSize }

// Encode stores a block as it is, and whole.
func (e *encoder) Encode(_, plain []byte, ci int64) ([]byte, error) {
	if len(plain) != createBlockSize || ci < 0 || ci >= e.blocks {
		return nil, fmt.Errorf("vdi: %d bytes for block %d: blocks are %d bytes and there are %d", len(plain), ci, createBlockSize, e.blocks)
	}
	return plain, nil
}

func (e *encoder) Place(ci int64, n int) (int64, error) {
	last := int64(-1)
	if len(e.placed) > 0 {
		last = int64(e.placed[len(e.placed)-1])
	}
	switch {
	case ci <= last || ci >= e.blocks:
		return 0, fmt.Errorf("vdi: block %d after block %d: blocks are placed in ascending order and there are %d", ci, last, e.blocks)
	case n != createBlockSize:
		return 0, fmt.Errorf("vdi: %d bytes for block %d: blocks are %d bytes", n, ci, createBlockSize)
	}
	e.placed = append(e.placed, uint32(ci))
	return e.end() - createBlockSize, nil
}

// end is where the file ends.
func (e *encoder) end() int64 { return e.dataAt + int64(len(e.placed))*createBlockSize }

func (e *encoder) Finish(ctx context.Context, dst formats.Target) error {
	if _, err := dst.WriteAt(e.header(), 0); err != nil {
		return fmt.Errorf("vdi: writing the header: %w", err)
	}
	if err := e.writeMap(ctx, dst); err != nil {
		return err
	}
	if err := dst.Truncate(e.end()); err != nil {
		return fmt.Errorf("vdi: setting the file's size to %d: %w", e.end(), err)
	}
	return nil
}

// header is what VirtualBox writes for a new image, up to the block map.
func (e *encoder) header() []byte {
	b := make([]byte, createMapAt)
	copy(b, createText)
	le := binary.LittleEndian
	le.PutUint32(b[atSignature:], signature)
	le.PutUint32(b[atVersion:], version)
	le.PutUint32(b[atHeaderSize:], newHeaderEnd-atHeaderSize)
	le.PutUint32(b[atImageType:], typeDynamic)
	le.PutUint32(b[atOffsetBmap:], createMapAt)
	le.PutUint32(b[atOffsetData:], uint32(e.dataAt))
	le.PutUint32(b[atSectorSize:], formats.SectorSize)
	le.PutUint64(b[atDiskSize:], uint64(e.size))
	le.PutUint32(b[atBlockSize:], createBlockSize)
	le.PutUint32(b[atBlocksInImage:], uint32(e.blocks))
	le.PutUint32(b[atBlocksAllocated:], uint32(len(e.placed)))
	copy(b[atUUIDImage:], e.id[:])
	lastSnap := derived(e.id[:])
	copy(b[atUUIDLastSnap:], lastSnap[:])
	le.PutUint32(b[atLCHSSectorSize:], formats.SectorSize)
	return b
}

// writeMap writes the block map a page at a time: only the entries of stored blocks are in memory.
func (e *encoder) writeMap(ctx context.Context, dst formats.Target) error {
	page := make([]byte, min(finishPage, e.blocks*entrySize))
	next := 0 // of placed
	for first := int64(0); first < e.blocks; first += finishPage / entrySize {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(finishPage/entrySize, e.blocks-first)
		for i := range n * entrySize {
			page[i] = 0xff
		}
		for ; next < len(e.placed) && int64(e.placed[next]) < first+n; next++ {
			binary.LittleEndian.PutUint32(page[(int64(e.placed[next])-first)*entrySize:], uint32(next))
		}
		if _, err := dst.WriteAt(page[:n*entrySize], createMapAt+first*entrySize); err != nil {
			return fmt.Errorf("vdi: writing the block map: %w", err)
		}
	}
	return nil
}
