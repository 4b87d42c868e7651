package vhd

import (
	"fmt"
	"math"

	"github.com/imsfs/imsfs/formats"
)

const (
	subformatOption = "subformat"
	alignOption     = "align"
)

func (Driver) Options() []formats.Option {
	return []formats.Option{
		{Key: subformatOption, Help: "dynamic (the usual one) or fixed"},
		{Key: alignOption, Help: "pad the disk with zeros to a multiple of this size, as in 1MiB, which Azure asks for"},
		formats.UUIDOption(),
		formats.TimestampOption(),
	}
}

// choices are the options of a writer.
type choices struct {
	size     int64 // of the disk, padded
	diskType uint32
}

// choose checks what Create is given.
func choose(size int64, opts formats.CreateOptions) (choices, error) {
	c := choices{size: size, diskType: typeDynamic}
	if size <= 0 || size%sectorSize != 0 {
		return c, fmt.Errorf("vhd: a disk of %d bytes: the size must be a positive multiple of 512", size)
	}
	if err := formats.CheckSector(name, opts); err != nil {
		return c, err
	}
	if opts.Level != 0 {
		return c, fmt.Errorf("vhd: compression level %d: the format has no compression", opts.Level)
	}
	if err := formats.CheckSet(name, Driver{}.Options(), opts.Set); err != nil {
		return c, err
	}
	switch text, ok := opts.Set[subformatOption]; {
	case !ok || text == "dynamic":
	case text == "fixed":
		c.diskType = typeFixed
	default:
		return c, fmt.Errorf("vhd: %s=%q: must be dynamic or fixed", subformatOption, text)
	}
	if text, ok := opts.Set[alignOption]; ok {
		align, ok := formats.ParseSize(text)
		if !ok || align == 0 || align%sectorSize != 0 || align > maxSize {
			return c, fmt.Errorf("vhd: %s=%q: must be a multiple of 512 bytes up to 2040GiB, as in 1MiB", alignOption, text)
		}
		c.size = (min(size, maxSize+sectorSize) + align - 1) / align * align
	}
	if size > maxSize || c.size > maxSize {
		return c, formats.TooLarge("vhd: a disk of %d bytes: the format holds at most %d (2040 GiB)", max(size, c.size), int64(maxSize))
	}
	return c, nil
}

// footer returns that of a new disk. All readers take the size of this creator's disks from
// current_size. qemu marks its own such disks as "qem2", which others do not know.
func (c *choices) footer(opts formats.CreateOptions) footer {
	f := footer{
		features:       featuresFixed,
		version:        fileVersion,
		dataOffset:     footerSize,
		timestamp:      uint32(min(max(opts.Timestamp, epoch)-epoch, math.MaxUint32)),
		creatorApp:     [4]byte([]byte("win ")),
		creatorVersion: 0x000A_0000,
		creatorOS:      [4]byte([]byte("Wi2k")),
		originalSize:   uint64(c.size),
		currentSize:    uint64(c.size),
		geometry:       geometryOf(c.size),
		diskType:       c.diskType,
		uuid:           opts.UUID,
	}
	if c.diskType == typeFixed {
		f.dataOffset = noOffset
	}
	return f
}
