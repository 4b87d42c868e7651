package vhdx

import "hash/crc32"

// update is one descriptor: data of one sector, or zeros for zeros bytes.
type update struct {
	off   uint64
	data  []byte
	zeros uint64
}

// built is a log entry to be built. Sizes of the file are in bytes.
type built struct {
	sequence      uint64
	tail          uint32
	flushed, last uint64
	updates       []update
	pad           int // sectors of nothing behind the data
}

var logGUID = guid{0xa, 0xb, 0xc}

func (e built) bytes() []byte {
	b := make([]byte, dataSectors(len(e.updates))*logSector)
	copy(b, "loge")
	le.PutUint32(b[12:], e.tail)
	le.PutUint64(b[16:], e.sequence)
	le.PutUint32(b[24:], uint32(len(e.updates)))
	copy(b[32:], logGUID[:])
	le.PutUint64(b[48:], e.flushed)
	le.PutUint64(b[56:], e.last)
	for i, u := range e.updates {
		d := b[64+32*i:]
		le.PutUint64(d[16:], u.off)
		le.PutUint64(d[24:], e.sequence)
		if u.data == nil {
			copy(d, "zero")
			le.PutUint64(d[8:], u.zeros)
			continue
		}
		copy(d, "desc")
		copy(d[4:8], u.data[4092:])
		copy(d[8:16], u.data)
		s := make([]byte, logSector)
		copy(s, u.data)
		copy(s, "data")
		le.PutUint32(s[4:], uint32(e.sequence>>32))
		le.PutUint32(s[4092:], uint32(e.sequence))
		b = append(b, s...)
	}
	b = append(b, make([]byte, e.pad*logSector)...)
	le.PutUint32(b[8:], uint32(len(b)))
	sealEntry(b)
	return b
}

func sealEntry(b []byte) {
	le.PutUint32(b[4:], 0)
	le.PutUint32(b[4:], crc32.Checksum(b, castagnoli))
}

// log writes entries one behind the other, from a position of the log on and round its end, and names the log in the
// headers. It returns where the entries begin.
func (f *file) log(pos int, entries ...[]byte) (at []int) {
	ring := f.b[builtLog:][:mib]
	for _, e := range entries {
		at = append(at, pos)
		for ; len(e) > 0; e = e[logSector:] {
			copy(ring[pos:], e[:logSector])
			pos = (pos + logSector) % len(ring)
		}
	}
	f.header(func(h []byte) { copy(h[48:], logGUID[:]) })
	return at
}

// batSector is the first sector of the BAT as it would be with one entry changed.
func (f *file) batSector(index int64, e uint64) []byte {
	s := append([]byte{}, f.b[builtBAT:][:logSector]...)
	le.PutUint64(s[index*8:], e)
	return s
}
