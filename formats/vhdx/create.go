package vhdx

import (
	"crypto/sha256"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

const (
	// clusterSize is a choice, not a fact of the format: the granularity at which written files are
	// sparse, within a block too.
	clusterSize  = 64 * kib
	blockOption  = "block_size"
	sectorOption = "logical_sector_size"
)

// Where a written file has what.
const (
	writtenLog      = 1 * mib
	writtenMetadata = 2 * mib
	writtenBAT      = 3 * mib
)

// encoder writes dynamic disks. Blocks lie in the file in the disk's order, so that one bit a block
// describes all of the BAT. Clusters of zeros in a block are holes.
type encoder struct {
	geometry
	id     guid // as CreateOptions has it; the others are derived from it
	placed bitmap
	count  int64 // blocks placed
	last   int64 // cluster placed last, -1 before the first
}

var _ formats.Encoder = (*encoder)(nil)

func (Driver) Options() []formats.Option {
	return []formats.Option{
		{Key: blockOption, Help: "a power of two from 1MiB to 256MiB; by the disk's size as qemu-img if not given: 8MiB up to 1 GiB, 16MiB up to 100 GiB, 32MiB up to 32 TiB, else 64MiB"},
		{Key: sectorOption, Help: "512 or 4096; as the source has it if not given"},
		formats.UUIDOption(),
	}
}

// Create ignores the time, which the format does not record.
func (Driver) Create(size int64, opts formats.CreateOptions) (formats.Encoder, error) {
	switch {
	case size <= 0 || size%formats.SectorSize != 0:
		return nil, fmt.Errorf("vhdx: a disk of %d bytes: the size must be a positive multiple of %d", size, formats.SectorSize)
	case size > maxDiskSize:
		return nil, formats.TooLarge("vhdx: a disk of %d bytes: the format holds at most 64 TiB (%d bytes)", size, int64(maxDiskSize))
	case opts.Level != 0:
		return nil, fmt.Errorf("vhdx: compression level %d: VHDX is not compressed", opts.Level)
	}
	if err := formats.CheckSet(name, Driver{}.Options(), opts.Set); err != nil {
		return nil, err
	}
	blockSize := usualBlockSize(size)
	if text, ok := opts.Set[blockOption]; ok {
		if blockSize, ok = formats.ParseSize(text); !ok || !powerOfTwo(blockSize, minBlockSize, maxBlockSize) {
			return nil, fmt.Errorf("vhdx: %s=%q: must be a power of two from 1MiB to 256MiB", blockOption, text)
		}
	}
	sector, err := sectorSize(size, opts)
	if err != nil {
		return nil, err
	}
	e := &encoder{geometry: geometry{size: size, blockSize: blockSize, sector: sector}, id: guid(opts.UUID).swapped(), last: -1}
	e.placed = make(bitmap, e.blocks()/64+1)
	return e, nil
}

// KeepsSectorSize implements formats.SectorKeeper.
func (Driver) KeepsSectorSize() {}

// sectorSize returns the size of the sectors of a disk of size bytes.
func sectorSize(size int64, opts formats.CreateOptions) (int64, error) {
	sector := max(opts.SectorSize, formats.SectorSize)
	if text, ok := opts.Set[sectorOption]; ok {
		if sector, ok = formats.ParseSize(text); !ok || sector != formats.SectorSize && sector != formats.LargeSectorSize {
			return 0, fmt.Errorf("vhdx: %s=%q: must be 512 or 4096", sectorOption, text)
		}
	}
	if size%sector != 0 {
		return 0, fmt.Errorf("vhdx: a disk of %d bytes in sectors of %d: the size must be a multiple of them", size, sector)
	}
	return sector, nil
}

// usualBlockSize is qemu-img's rule.
func usualBlockSize(size int64) int64 {
	switch {
	case size > 32*tib:
		return 64 * mib
	case size > 100<<30:
		return 32 * mib
	case size > 1<<30:
		return 16 * mib
	}
	return 8 * mib
}

func (e *encoder) ClusterSize() int64 { return clusterSize }

// Encode returns plain itself.
func (e *encoder) Encode(_, plain []byte, ci int64) ([]byte, error) {
	if len(plain) != clusterSize || !e.onDisk(ci) {
		return nil, fmt.Errorf("vhdx: %d bytes for cluster %d: clusters are %d bytes and the disk has %d", len(plain), ci, clusterSize, e.size)
	}
	return plain, nil
}

func (e *encoder) onDisk(ci int64) bool { return ci >= 0 && ci <= (e.size-1)/clusterSize }

// Place leaves holes in blocks for the clusters that are never placed.
func (e *encoder) Place(ci int64, n int) (int64, error) {
	if ci <= e.last || !e.onDisk(ci) || n != clusterSize {
		return 0, fmt.Errorf("vhdx: %d bytes for cluster %d after cluster %d: clusters are %d bytes, placed in ascending order, and the disk has %d", n, ci, e.last, clusterSize, e.size)
	}
	e.last = ci
	block, in := ci*clusterSize/e.blockSize, ci*clusterSize%e.blockSize
	if !e.placed.has(block) {
		e.placed.set(block)
		e.count++
	}
	return e.blockAt(e.count-1) + in, nil
}

// blockAt is where the n-th block in the file lies.
func (e *encoder) blockAt(n int64) int64 { return writtenBAT + e.batSize() + n*e.blockSize }

func (e *encoder) batSize() int64 { return roundUp(e.entries()*8, mib) }

// derived is a GUID of the file, of version 8 (RFC 9562): one of its own for each purpose and each
// id.
func (e *encoder) derived(purpose string) guid {
	sum := sha256.Sum256(fmt.Appendf(nil, "imsfs vhdx %s\x00%s", purpose, e.id))
	u := guid(sum[:16])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u.swapped()
}
