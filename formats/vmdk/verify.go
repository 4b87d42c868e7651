package vmdk

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/imsfs/imsfs/formats"
)

const (
	maxSectors        = formats.MaxDiskSize / sector
	minGrain          = 8 // sectors
	maxGrain          = formats.MaxClusterSize / sector
	maxCompressed     = formats.MaxCompressedCluster / sector
	maxDescriptorSize = 1 << 20
	// maxDirectories bounds the grain directories of one image, which are kept in memory.
	maxDirectories = formats.MaxTables / 2
)

// readHeader reads the header of a sparse extent and, if it refers to one, the footer, which then
// replaces it. at is the offset of the result. Nothing but the presence of both is verified.
func readHeader(ctx context.Context, f file) (h header, at int64, err error) {
	if f.Size() < headerSize {
		return h, 0, f.corrupt(0, "header: the file has %d bytes, a header takes %d", f.Size(), headerSize)
	}
	b := make([]byte, headerSize)
	if err := f.read(ctx, b, 0, "header"); err != nil {
		return h, 0, err
	}
	h = decodeHeader(b)
	if h.gdOffset != gdAtEnd {
		return h, 0, nil
	}
	at = f.Size() - 2*sector
	if at < 2*sector {
		return h, 0, f.corrupt(fieldOffset("gdOffset"), "header: gdOffset says that there is a footer, and the file has %d bytes: it is truncated", f.Size())
	}
	if err := f.read(ctx, b, at, "footer"); err != nil {
		return h, 0, err
	}
	if string(b[:len(magic)]) != magic {
		return h, 0, f.corrupt(at, "footer: magicNumber is %q, must be %q: the file is truncated or its end is damaged", b[:len(magic)], magic)
	}
	return decodeHeader(b), at, nil
}

// supported refuses by name the variants that are not read.
func (h *header) supported(f file) error {
	switch {
	case h.version < 1 || h.version > 3:
		return f.unsupported("version %d is not read, only 1 to 3", h.version)
	case h.flags&^flagsKnown != 0:
		return f.unsupported("flags %#x are not known", h.flags&^flagsKnown)
	case h.compressAlgorithm > algorithmDeflate:
		return f.unsupported("compressAlgorithm %d is not read, only 0 (none) and 1 (deflate)", h.compressAlgorithm)
	case h.compressed() && h.flags&flagMarkers == 0:
		return f.unsupported("compressed grains without markers are not read")
	}
	return nil
}

// rule is a condition that a field must fulfil. Rules are tried in order; a later one may depend on
// the earlier ones.
type rule struct {
	field string
	got   uint64
	ok    bool
	must  string
}

// verify returns a fault for every field that breaks a rule. The header was found at offset at of
// the file. Of a header without capacity only the descriptor counts.
func (h *header) verify(f file, at int64) []error {
	rules := h.rules(uint64(f.Size()))
	if h.onlyDescriptor() {
		rules = h.descriptorRules(uint64(f.Size() / sector))
	}
	what := "header"
	if at > 0 {
		what = "footer"
	}
	var faults []error
	for _, r := range rules {
		if !r.ok {
			faults = append(faults, f.corrupt(at+fieldOffset(r.field), "%s: %s is %d, must be %s", what, r.field, r.got, r.must))
		}
	}
	return faults
}

// onlyDescriptor reports whether the file is not an extent itself, but a descriptor wrapped in a
// header.
func (h *header) onlyDescriptor() bool { return h.capacity == 0 && h.descriptorOffset != 0 }

// rules are about a file of size bytes.
func (h *header) rules(size uint64) []rule {
	sectors := size / sector
	most := uint64(maxGrain)
	if h.compressed() {
		most = maxCompressed
	}
	grainOK := powerOfTwo(h.grainSize) && h.grainSize >= minGrain && h.grainSize <= most
	gtesOK := h.numGTEsPerGT > 0 && h.numGTEsPerGT <= maxGTEsPerGT
	capacityOK := h.capacity > 0 && h.capacity <= maxSectors
	rules := []rule{
		{"flags", uint64(h.flags), h.compressed() == (h.compressAlgorithm == algorithmDeflate), fmt.Sprintf("in agreement with compressAlgorithm %d", h.compressAlgorithm)},
		{"capacity", h.capacity, capacityOK, fmt.Sprintf("1 to %d sectors", int64(maxSectors))},
		{"grainSize", h.grainSize, grainOK, fmt.Sprintf("a power of two from %d to %d sectors", minGrain, most)},
		{"numGTEsPerGT", uint64(h.numGTEsPerGT), gtesOK, fmt.Sprintf("1 to %d", maxGTEsPerGT)},
		{"overHead", h.overHead, h.overHead <= sectors, fmt.Sprintf("at most the %d sectors of the file", sectors)},
		{"newlines", uint64(h.newlines[0]), h.flags&flagNewline == 0 || string(h.newlines[:]) == newlines, "10, 32, 13, 10: the file was changed by a transfer as text"},
	}
	if h.descriptorOffset != 0 {
		rules = append(rules, h.descriptorRules(sectors)...)
	}
	if !grainOK || !gtesOK || !capacityOK {
		return rules
	}
	directory := h.tables() * gteSize
	return append(rules,
		rule{"capacity", h.capacity, directory <= maxDirectories, fmt.Sprintf("such that the grain directory, %d bytes, takes at most %d", directory, maxDirectories)},
		rule{"gdOffset", h.gdOffset, inside(h.gdOffset, ceilDiv(directory, sector), sectors), fmt.Sprintf("such that a grain directory of %d bytes lies between the header and the end of the file", directory)})
}

func (h *header) descriptorRules(sectors uint64) []rule {
	return []rule{
		{"descriptorSize", h.descriptorSize, h.descriptorSize > 0 && h.descriptorSize <= maxDescriptorSize/sector, fmt.Sprintf("1 to %d sectors", maxDescriptorSize/sector)},
		{"descriptorOffset", h.descriptorOffset, inside(h.descriptorOffset, h.descriptorSize, sectors),
			fmt.Sprintf("such that %d sectors lie between the header and the end of the file", h.descriptorSize)},
	}
}

func powerOfTwo(n uint64) bool { return bits.OnesCount64(n) == 1 }

// inside reports whether n sectors from off on lie after the header and in a file of so many
// sectors, without overflowing.
func inside(off, n, sectors uint64) bool { return off >= 1 && off <= sectors && n <= sectors-off }

// grains is the number of grains of the extent; verified fields keep it and tables from
// overflowing.
func (h *header) grains() uint64 { return ceilDiv(h.capacity, h.grainSize) }

// tables is the number of entries of the grain directory.
func (h *header) tables() uint64 { return ceilDiv(h.grains(), uint64(h.numGTEsPerGT)) }
