package qed

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

// identity says why the file is not QED at all, or "".
func (h *header) identity() string {
	switch {
	case h.fileSize < headerSize:
		return fmt.Sprintf("a file of %d bytes: the header takes %d", h.fileSize, headerSize)
	case h.magic != magic:
		return fmt.Sprintf("magic is %q, must be %q", h.magic, magic)
	}
	return ""
}

// supported refuses an image with features that may mean anything.
func (h *header) supported() error {
	if unknown := h.features &^ knownFeatures; unknown != 0 {
		return fmt.Errorf("qed: features %#x are not known: %w", unknown, errors.ErrUnsupported)
	}
	return nil
}

// units are the rules for the sizes in which everything else is counted.
func (h *header) units() []rule {
	return []rule{
		{atClusterSize, "cluster_size", uint64(h.clusterSize), powerOfTwo(h.clusterSize, minClusterSize, maxClusterSize), fmt.Sprintf("a power of two from %d to %d", minClusterSize, maxClusterSize)},
		{atTableSize, "table_size", uint64(h.tableSize), powerOfTwo(h.tableSize, 1, maxTableSize), fmt.Sprintf("a power of two from 1 to %d", maxTableSize)},
		{atHeaderSize, "header_size", uint64(h.headerSize), h.headerSize > 0, "at least 1"},
	}
}

// layout has the rules, besides units, that make it safe to follow offsets after the header.
func (h *header) layout() []rule {
	misplaced := h.misplaced(h.l1TableOffset, h.tableBytes())
	nameEnd := uint64(h.backingNameOffset) + uint64(h.backingNameSize)
	rules := []rule{
		{atL1TableOffset, "l1_table_offset", h.l1TableOffset, misplaced == "", "that of a table: " + misplaced},
		{atImageSize, "image_size", h.imageSize, h.imageSize%formats.SectorSize == 0, "a multiple of 512"},
		{atImageSize, "image_size", h.imageSize, h.imageSize <= h.maxImageSize(), fmt.Sprintf("at most %d, for which there are tables", h.maxImageSize())},
	}
	if h.features&featureBackingFile == 0 {
		return rules
	}
	return append(rules,
		rule{atBackingSize, "backing_filename_size", uint64(h.backingNameSize), h.backingNameSize > 0 && h.backingNameSize <= maxBackingName, fmt.Sprintf("1 to %d", maxBackingName)},
		rule{atBackingOffset, "backing_filename_offset", uint64(h.backingNameOffset), nameEnd <= uint64(min(h.headerEnd(), h.fileSize)), fmt.Sprintf("such that the name lies within the header of %d bytes", h.headerEnd())})
}

func powerOfTwo(n, least, most uint32) bool { return n >= least && n <= most && n&(n-1) == 0 }
