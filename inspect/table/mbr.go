package table

import "fmt"

const (
	typeProtective = 0xee
	maxLogical     = 128
)

// mbr is the first sector of a disk, or of an extended partition (an EBR).
type mbr struct {
	valid   bool // the magic is there and each entry has a possible status
	code    bool // boot code
	id      uint32
	entries [4]mbrEntry
}

type mbrEntry struct {
	active       bool
	kind         byte
	first, count int64 // sectors
}

func (e mbrEntry) used() bool     { return e.kind != 0 && e.count > 0 }
func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

// parseMBR reads the first sector of p. The boot sector of a file system has the same magic, but
// code where the entries are, so no table has a status other than 0 and 0x80.
func parseMBR(p []byte) mbr {
	m := mbr{valid: p[510] == 0x55 && p[511] == 0xaa, id: uint32(le32(p, 440))}
	for _, b := range p[:440] {
		m.code = m.code || b != 0
	}
	for i := range m.entries {
		e := p[446+16*i:]
		m.valid = m.valid && (e[0] == 0 || e[0] == 0x80)
		m.entries[i] = mbrEntry{active: e[0] == 0x80, kind: e[4], first: le32(e, 8), count: le32(e, 12)}
	}
	return m
}

// used counts the partitions.
func (m mbr) used() int {
	n := 0
	for _, e := range m.entries {
		if e.used() {
			n++
		}
	}
	return n
}

// protective reports whether an entry claims the disk for a GPT.
func (m mbr) protective() bool {
	for _, e := range m.entries {
		if e.kind == typeProtective {
			return true
		}
	}
	return false
}

// readMBR returns the four entries. It leaves out the protective one, which only stands for a GPT.
func (r *reader) readMBR() Table {
	t := Table{Kind: MBR, SectorSize: sectorSize, UUID: fmt.Sprintf("%08x", r.mbr.id), BootCode: r.mbr.code}
	for i, e := range r.mbr.entries {
		if e.used() && e.kind != typeProtective {
			t.add(r.mbr.partition(i+1, e), e.first, e.count, r.src.Size())
		}
	}
	return t
}

func (m mbr) partition(number int, e mbrEntry) Partition {
	return Partition{
		ID:       fmt.Sprintf("p%d", number),
		Type:     fmt.Sprintf("0x%02x", e.kind),
		TypeName: mbrTypeName(e.kind),
		UUID:     fmt.Sprintf("%08x-%02x", m.id, number),
		Bootable: e.active,
	}
}

// logical follows the chain of EBRs in each extended partition. Numbers begin at 5. A chain that
// comes back to an EBR, or leaves its extended partition, ends there with a note.
func (r *reader) logical(t *Table) error {
	number := 5
	for i, e := range r.mbr.entries {
		if !e.used() || !e.extended() {
			continue
		}
		if err := r.chain(t, fmt.Sprintf("p%d", i+1), e, &number); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) chain(t *Table, id string, extended mbrEntry, number *int) error {
	seen := map[int64]bool{}
	for at := extended.first; ; {
		if seen[at] || len(seen) == maxLogical {
			t.note("%s: the chain of logical partitions comes back to sector %d or is longer than %d", id, at, maxLogical)
			return nil
		}
		seen[at] = true
		sector, ok, err := r.readAt(at*sectorSize, sectorSize)
		if err != nil {
			return err
		}
		if !ok {
			t.note("%s: the chain of logical partitions goes on at sector %d, which is not on the disk", id, at)
			return nil
		}
		ebr := parseMBR(sector)
		if !ebr.valid {
			t.note("%s: sector %d is not a table of logical partitions", id, at)
			return nil
		}
		next := int64(-1)
		for _, e := range ebr.entries {
			switch {
			case !e.used():
			case e.extended() && next < 0:
				next = e.first
			case !e.extended():
				t.add(r.mbr.partition(*number, e), at+e.first, e.count, r.src.Size())
				*number++
			}
		}
		if next < 0 {
			return nil
		}
		if next >= extended.count {
			t.note("%s: the chain of logical partitions leaves it, to sector %d", id, extended.first+next)
			return nil
		}
		at = extended.first + next
	}
}
