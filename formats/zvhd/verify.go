package zvhd

import (
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// checkSeal says what keeps the bytes from being a header at all, "" if they are one: cookie and checksum.
func checkSeal(b []byte) string {
	h := decodeHeader(b)
	if string(h.cookie[:]) != cookie {
		return fmt.Sprintf("cookie is %q, must be %q", h.cookie[:], cookie)
	}
	sum := headerSum(b)
	// Old versions of the vendor's tool summed before they set hidden.
	old := h.hidden != 0 && string(h.creatorApp[:3]) == "tap" && (h.creatorVersion == 0x0000_0001 || h.creatorVersion == 0x0001_0001)
	if h.checksum == sum || old && h.checksum == sum+uint32(h.hidden) {
		return ""
	}
	return fmt.Sprintf("checksum is %#08x, must be %#08x", h.checksum, sum)
}

// supported refuses by name the variants that the header announces and this package does not read.
func (h *header) supported() error {
	if h.version != fileVersion {
		return fmt.Errorf("zvhd: version %s is not read, only %s: %w", formatVersion(h.version), formatVersion(fileVersion), errors.ErrUnsupported)
	}
	return nil
}

// rule is what a field must say. Rules are tried in order; a later one may rest on the earlier ones.
type rule struct {
	field string
	got   uint64
	ok    bool
	must  string
}

// verify reports every field of the header at offset at that breaks a rule.
func (h *header) verify(at int64, report func(off int64, format string, args ...any)) {
	current := roundUp(h.originalSize, currentSizeUnit)
	for _, r := range []rule{
		{"features", uint64(h.features), h.features == featuresReserved, "2"},
		{"data_offset", h.dataOffset, h.dataOffset == noDataOffset, "all ones"},
		{"type", uint64(h.diskType), h.diskType == diskType, "4"},
		{"original_size", h.originalSize, h.originalSize > 0 && h.originalSize%512 == 0 && h.originalSize <= formats.MaxDiskSize,
			fmt.Sprintf("a multiple of 512 up to %d", int64(formats.MaxDiskSize))},
		{"current_size", h.currentSize, h.currentSize == current, fmt.Sprintf("original_size rounded up to a whole GiB, %d", current)},
	} {
		if !r.ok {
			report(at+fieldOffset(r.field), "header: %s is %d, must be %s", r.field, r.got, r.must)
		}
	}
}
