package table

import (
	"encoding/binary"
	"fmt"
)

const (
	labelMagic   = 0x82564557
	labelSize    = 148 // before the partitions
	maxLabelPart = 26  // letters
	rawPart      = 2   // "c" is the whole slice, and the base of all offsets
)

// label is a BSD disklabel.
type label struct {
	sector int64
	parts  []labelPart
}

type labelPart struct {
	first, count int64 // sectors
	kind         byte
}

// parseLabel looks for a disklabel in the second sector of a slice, or at byte 64 of the first.
func parseLabel(p []byte) (label, bool) {
	for _, at := range []int{512, 64, 0} {
		if len(p) < at+labelSize {
			continue
		}
		if l, ok := parseLabelAt(p[at:]); ok {
			return l, true
		}
	}
	return label{}, false
}

func parseLabelAt(p []byte) (label, bool) {
	if le32(p, 0) != labelMagic || le32(p, 132) != labelMagic {
		return label{}, false
	}
	sector, count := le32(p, 40), int(le16(p, 138))
	if sector != 512 && sector != 4096 || count > maxLabelPart || len(p) < labelSize+16*count {
		return label{}, false
	}
	sum := uint16(0)
	for i := 0; i < labelSize+16*count; i += 2 {
		sum ^= binary.LittleEndian.Uint16(p[i:])
	}
	if sum != 0 {
		return label{}, false
	}
	l := label{sector: sector}
	for i := range count {
		e := p[labelSize+16*i:]
		l.parts = append(l.parts, labelPart{first: le32(e, 4), count: le32(e, 0), kind: e[12]})
	}
	return l, true
}

// labels adds the disklabels inside MBR partitions of the BSD types.
func (r *reader) labels(t *Table) error {
	for _, p := range t.Partitions {
		if p.Type != "0xa5" && p.Type != "0xa6" && p.Type != "0xa9" {
			continue
		}
		head, ok, err := r.readAt(p.Off, min(p.Size, 2*sectorSize))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if l, found := parseLabel(head); found {
			t.addLabel(l, p.ID, p.Off, r.src.Size())
		}
	}
	return nil
}

// addLabel adds the parts of a disklabel in the slice at base. Offsets count from the disk's
// beginning, or from the slice's if the raw part begins at 0.
func (t *Table) addLabel(l label, id string, base, size int64) {
	if l.sector != t.SectorSize {
		t.note("%s: the disklabel has sectors of %d bytes and is left out", id, l.sector)
		return
	}
	shift := int64(0)
	if len(l.parts) > rawPart && l.parts[rawPart].first == 0 {
		shift = base / l.sector
	}
	for i, part := range l.parts {
		if i == rawPart || part.count == 0 || (part.first+shift)*l.sector < base {
			continue // the raw part, an unused one, or one for the whole disk
		}
		t.add(Partition{
			ID:       fmt.Sprintf("%s%c", id, 'a'+i),
			Type:     fmt.Sprintf("bsd-%d", part.kind),
			TypeName: bsdTypeName(part.kind),
		}, part.first+shift, part.count, size)
	}
}
