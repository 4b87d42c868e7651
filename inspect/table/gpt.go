package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unicode/utf16"
)

const (
	gptMagic     = "EFI PART"
	gptHeader    = 92 // bytes of a header that are defined
	maxTableSize = 1 << 20
	tailSize     = 20 << 10 // holds the second copy of a usual GPT
)

// gpt is the header of one copy of a GPT.
type gpt struct {
	sector        int64
	own, other    int64 // sectors of this header and of the other copy
	guid          [16]byte
	entries       int64 // sector
	count, size   int64 // of entries
	entriesCRC    uint32
	entriesLength int64
}

// parseGPT checks a header that was read at sector number at.
func parseGPT(p []byte, sector, at int64) (gpt, error) {
	if len(p) < gptHeader || string(p[:8]) != gptMagic {
		return gpt{}, fmt.Errorf("has no magic")
	}
	length := le32(p, 12)
	if length < gptHeader || length > int64(len(p)) {
		return gpt{}, fmt.Errorf("its size is %d, at least %d and at most %d", length, gptHeader, len(p))
	}
	sum := bytes.Clone(p[:length])
	clear(sum[16:20])
	if got, want := crc32.ChecksumIEEE(sum), uint32(le32(p, 16)); got != want {
		return gpt{}, fmt.Errorf("its CRC is %08x, %08x is recorded", got, want)
	}
	g := gpt{
		sector: sector, own: lba(p, 24), other: lba(p, 32), entries: lba(p, 72),
		count: le32(p, 80), size: le32(p, 84), entriesCRC: uint32(le32(p, 88)),
	}
	copy(g.guid[:], p[56:])
	g.entriesLength = g.count * g.size
	switch {
	case g.own != at:
		return gpt{}, fmt.Errorf("it is at sector %d and claims to be at %d", at, g.own)
	case g.size < 128 || g.size%8 != 0 || g.entriesLength > maxTableSize:
		return gpt{}, fmt.Errorf("%d entries of %d bytes, at least 128 each and at most %d", g.count, g.size, maxTableSize)
	}
	return g, nil
}

// lba returns a sector number; one that no disk has is the largest.
func lba(p []byte, off int) int64 {
	return int64(min(binary.LittleEndian.Uint64(p[off:]), 1<<50))
}

// primaryMagic reports whether there is a first copy, sound or not.
func (r *reader) primaryMagic() bool {
	return r.primarySector() > 0
}

func (r *reader) primarySector() int64 {
	for _, sector := range []int64{512, 4096} {
		if int64(len(r.head)) >= sector+gptHeader && string(r.head[sector:][:8]) == gptMagic {
			return sector
		}
	}
	return 0
}

// readGPT reads both copies. The first decides if it is sound; if it is not, the second does, which
// is in the disk's last sector, or where the first says if the disk has grown.
func (r *reader) readGPT() (t Table, found bool, err error) {
	primary, entries, err := r.firstCopy(&t)
	if err != nil {
		return t, false, err
	}
	if entries == nil && !r.mbr.protective() && !r.primaryMagic() {
		return t, false, nil
	}
	second, secondEntries, err := r.secondCopy(&t, primary, entries != nil)
	if err != nil {
		return t, false, err
	}
	switch {
	case entries == nil && secondEntries == nil:
		return t, false, nil
	case entries == nil:
		primary, entries = second, secondEntries
		t.note("GPT: the second copy is used")
	case secondEntries != nil && (second.guid != primary.guid || !bytes.Equal(entries, secondEntries)):
		t.note("GPT: the two copies differ; the first is used")
	}
	r.fill(&t, primary, entries)
	return t, true, nil
}

// firstCopy returns nil entries unless the copy is sound.
func (r *reader) firstCopy(t *Table) (gpt, []byte, error) {
	sector := r.primarySector()
	if sector == 0 {
		if r.mbr.protective() {
			t.note("GPT: the first copy has no magic")
		}
		return gpt{}, nil, nil
	}
	g, err := parseGPT(r.head[sector:min(2*sector, int64(len(r.head)))], sector, 1)
	if err != nil {
		t.note("GPT: the first copy is damaged: %v", err)
		return gpt{}, nil, nil
	}
	entries, err := r.entries(t, "first", g)
	return g, entries, err
}

// secondCopy looks in the disk's last sector, and then where the first copy says.
func (r *reader) secondCopy(t *Table, primary gpt, sound bool) (gpt, []byte, error) {
	size := r.src.Size()
	tail := make([]byte, min(tailSize, size))
	if err := r.src.ReadMeta(r.ctx, tail, size-int64(len(tail))); err != nil {
		return gpt{}, nil, err
	}
	sectors := []int64{512, 4096}
	if sound {
		sectors = []int64{primary.sector}
	}
	var last error
	for _, sector := range sectors {
		if int64(len(tail)) < sector+size%sector {
			continue
		}
		from := int64(len(tail)) - size%sector - sector
		g, err := parseGPT(tail[from:][:sector], sector, size/sector-1)
		if err == nil {
			entries, err := r.entries(t, "second", g)
			return g, entries, err
		}
		if string(tail[from:][:8]) == gptMagic {
			last = err
		}
	}
	if last != nil {
		t.note("GPT: the second copy is damaged: %v", last)
	}
	if !sound || primary.other <= primary.own {
		return gpt{}, nil, nil
	}
	return r.movedCopy(t, primary)
}

// movedCopy reads the second copy of a disk that has grown or shrunk.
func (r *reader) movedCopy(t *Table, primary gpt) (gpt, []byte, error) {
	p, ok, err := r.readAt(primary.other*primary.sector, primary.sector)
	if err != nil {
		return gpt{}, nil, err
	}
	if !ok {
		t.note("GPT: the second copy is at sector %d, past the disk's end", primary.other)
		return gpt{}, nil, nil
	}
	g, err := parseGPT(p, primary.sector, primary.other)
	if err != nil {
		t.note("GPT: there is no sound second copy at sector %d: %v", primary.other, err)
		return gpt{}, nil, nil
	}
	if last := r.src.Size()/primary.sector - 1; primary.other != last {
		t.note("GPT: the second copy is at sector %d and not in the last one, %d: the disk has grown", primary.other, last)
	}
	entries, err := r.entries(t, "second", g)
	return g, entries, err
}

// entries returns a copy's entries if their CRC is right.
func (r *reader) entries(t *Table, which string, g gpt) ([]byte, error) {
	p, ok, err := r.readAt(g.entries*g.sector, g.entriesLength)
	if err != nil {
		return nil, err
	}
	if !ok {
		t.note("GPT: the entries of the %s copy at sector %d are past the disk's end", which, g.entries)
		return nil, nil
	}
	if got := crc32.ChecksumIEEE(p); got != g.entriesCRC {
		t.note("GPT: the entries of the %s copy are damaged: their CRC is %08x, %08x is recorded", which, got, g.entriesCRC)
		return nil, nil
	}
	return p, nil
}

// fill makes partitions of entries.
func (r *reader) fill(t *Table, g gpt, entries []byte) {
	t.Kind, t.SectorSize, t.UUID, t.BootCode = GPT, g.sector, guid(g.guid[:]), r.mbr.code
	if !r.mbr.valid || !r.mbr.protective() {
		t.note("GPT: the MBR is not protective")
	}
	if r.mbr.valid && r.mbr.protective() && r.mbr.used() > 1 {
		t.Hybrid = true
		t.note("hybrid: the MBR has %d partitions besides the protective one; the GPT is used", r.mbr.used()-1)
	}
	for i := int64(0); i < g.count; i++ {
		e := entries[i*g.size:][:g.size]
		if [16]byte(e) == [16]byte{} {
			continue
		}
		kind := guid(e)
		t.add(Partition{
			ID:       fmt.Sprintf("p%d", i+1),
			Type:     kind,
			TypeName: gptTypeName(kind),
			Name:     utf16Name(e[56:128]),
			UUID:     guid(e[16:]),
			Bootable: e[48]&4 != 0,
		}, lba(e, 32), lba(e, 40)-lba(e, 32)+1, r.src.Size())
	}
}

// guid returns the text of a GUID, whose first three fields are little-endian.
func guid(p []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le32(p, 0), le16(p, 4), le16(p, 6), p[8:10], p[10:16])
}

func utf16Name(p []byte) string {
	var units []uint16
	for ; len(p) >= 2; p = p[2:] {
		u := binary.LittleEndian.Uint16(p)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
