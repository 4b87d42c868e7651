package vdi

import (
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// rule is a condition that a field must fulfil. Rules are tried in order; a later one may depend on
// the earlier ones.
type rule struct {
	off   int64
	field string
	got   uint64
	ok    bool
	must  string
}

func (r rule) String() string { return fmt.Sprintf("%s is %#x, must be %s", r.field, r.got, r.must) }

// identity has the rules that make a file VDI at all.
func (h *header) identity() []rule {
	return []rule{
		{0, "the file's size", uint64(h.fileSize), h.fileSize >= headerEnd, fmt.Sprintf("at least %#x, the header's", headerEnd)},
		{atSignature, "signature", uint64(h.signature), h.signature == signature, fmt.Sprintf("%#x", uint32(signature))},
	}
}

// supported refuses by name the kinds of VDI that are not read.
func (h *header) supported() error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("vdi: %s: %w", fmt.Sprintf(format, args...), errors.ErrUnsupported)
	}
	var none uuid
	switch {
	case h.version != version:
		return refuse("version %d.%d is not read, only 1.1", h.version>>16, h.version&0xffff)
	case h.imageType == typeUndo:
		return refuse("an undo image (image_type 3) is not read")
	case h.imageType == typeDifferencing:
		return refuse("a differencing image (image_type 4), based on the image %v, is not read", h.uuidLink)
	case h.imageType != typeDynamic && h.imageType != typeFixed:
		return refuse("image_type %d is not read, only 1 (dynamic) and 2 (fixed)", h.imageType)
	case h.uuidLink != none:
		return refuse("uuid_link %v: an image that is based on another is not read", h.uuidLink)
	case h.uuidParent != none:
		return refuse("uuid_parent %v: an image that is based on another is not read", h.uuidParent)
	case h.blockExtra != 0:
		return refuse("block_extra %d: blocks with extra data are not read", h.blockExtra)
	case h.sectorSize != formats.SectorSize:
		return refuse("sector_size %d is not read, only 512", h.sectorSize)
	case h.blocksInImage > maxBlocks:
		return refuse("blocks_in_image %d: at most %d are read, as by qemu", h.blocksInImage, maxBlocks)
	}
	return nil
}

// layout has the rules that make it safe to follow offsets after the header.
func (h *header) layout() []rule {
	end := int64(h.offsetBmap) + h.mapSize()
	size := uint64(h.blocksInImage) * uint64(h.blockSize)
	return []rule{
		{atHeaderSize, "header_size", uint64(h.headerSize), h.headerSize >= headerSize, fmt.Sprintf("at least %#x", headerSize)},
		{atOffsetBmap, "offset_bmap", uint64(h.offsetBmap), int64(h.offsetBmap) >= atHeaderSize+int64(h.headerSize), "after the header"},
		{atOffsetData, "offset_data", uint64(h.offsetData), int64(h.offsetData) >= end, fmt.Sprintf("after the block map, which ends at %#x", end)},
		{atBlockSize, "block_size", uint64(h.blockSize), validBlockSize(h.blockSize), fmt.Sprintf("a power of two from %d to %d", formats.SectorSize, formats.MaxClusterSize)},
		{atDiskSize, "disk_size", h.diskSize, h.diskSize <= formats.MaxDiskSize, fmt.Sprintf("at most %d", int64(formats.MaxDiskSize))},
		{atBlocksInImage, "blocks_in_image", uint64(h.blocksInImage), size >= h.diskSize, fmt.Sprintf("enough for a disk of %d bytes in blocks of %d", h.diskSize, h.blockSize)},
		{atOffsetBmap, "offset_bmap", uint64(h.offsetBmap), end <= h.fileSize, fmt.Sprintf("such that the block map of %d bytes lies within the file of %d", h.mapSize(), h.fileSize)},
	}
}

func validBlockSize(n uint32) bool {
	return n >= formats.SectorSize && n <= formats.MaxClusterSize && n&(n-1) == 0
}

// broken returns an error for the first broken rule.
func broken(rules []rule) error {
	for _, r := range rules {
		if !r.ok {
			return formats.Corrupt(name, r.off, "%v", r)
		}
	}
	return nil
}
