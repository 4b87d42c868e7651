package vhdx

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	logSector      = 4 * kib
	logHeaderSize  = 64
	descriptorSize = 32
	// maxLog bounds the memory for a log that must be replayed. Hyper-V's and qemu's logs have 1
	// MiB.
	maxLog = 16 * mib
	// maxDescriptors bounds what each later read has to look through. A full log of 16 MiB has 4095
	// sectors of data.
	maxDescriptors = 1 << 15
)

// ring is the log: sectors that go round in a circle.
type ring []byte

// sector returns the one at a position, which may be one round too far.
func (r ring) sector(pos int) []byte {
	pos %= len(r)
	return r[pos : pos+logSector]
}

// logEntry is one update: descriptors, of which the first sector has two fewer for the header's
// sake, and the sectors of data that belong to them. Positions are bytes from the log's start.
type logEntry struct {
	pos, length   int
	tail          int // position of the oldest entry that was still needed
	sequence      uint64
	descriptors   int
	flushed, last uint64 // sizes of the file: that it had, and that all of it needs
}

// descriptor is a change of a part of the file.
type descriptor struct {
	off, n uint64
	lead   []byte // what belongs into the first 8 bytes of the data sector; nil if the part becomes zeros
	trail  []byte // and into the last 4
}

// dataSectors is where an entry's data begins, in sectors.
func dataSectors(descriptors int) int { return (descriptors + 2 + 127) / 128 }

// decode reads the entry at pos, or says why it is not one. budget bounds the bytes that are summed
// for checksums, because entries may overlap.
func (r ring) decode(pos int, budget *int) (e logEntry, fault string) {
	le := binary.LittleEndian
	b := r.sector(pos)
	e = logEntry{pos: pos, sequence: le.Uint64(b[16:]), flushed: le.Uint64(b[48:]), last: le.Uint64(b[56:])}
	length, tail, count := le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[24:])
	switch {
	case length == 0 || length%logSector != 0 || int64(length) > int64(len(r)):
		return e, fmt.Sprintf("entry_length is %d, must be a multiple of 4096 within the log of %d bytes", length, len(r))
	case tail%logSector != 0 || int64(tail) >= int64(len(r)):
		return e, fmt.Sprintf("tail is %d, must be a multiple of 4096 within the log of %d bytes", tail, len(r))
	case e.sequence == 0:
		return e, "sequence_number is 0"
	case int64(count) > int64(length)/descriptorSize:
		return e, fmt.Sprintf("descriptor_count is %d, more than its %d bytes can hold", count, length)
	}
	e.length, e.tail, e.descriptors = int(length), int(tail), int(count)
	if fault := r.verify(e); fault != "" {
		return e, fault
	}
	if *budget -= e.length; *budget < 0 {
		return e, "entries overlap"
	}
	if got, want := le.Uint32(b[4:]), r.checksum(e); got != want {
		return e, fmt.Sprintf("checksum is %#08x, must be %#08x", got, want)
	}
	return e, ""
}

// verify looks at an entry's descriptors and data sectors. It ends at the first that is wrong, and
// so never goes far into an entry that lies in this one.
func (r ring) verify(e logEntry) (fault string) {
	at := dataSectors(e.descriptors)
	for i := range e.descriptors {
		d, sequence, fault := r.descriptor(e, i)
		switch {
		case fault != "":
			return fmt.Sprintf("descriptor %d: %s", i, fault)
		case sequence != e.sequence:
			return fmt.Sprintf("descriptor %d: sequence_number is %d, must be %d as in the entry", i, sequence, e.sequence)
		case d.off%logSector != 0 || d.n%logSector != 0:
			return fmt.Sprintf("descriptor %d: offset %#x and length %d must be multiples of 4096", i, d.off, d.n)
		}
		if d.lead != nil {
			at++
		}
	}
	if at*logSector > e.length {
		return fmt.Sprintf("its %d descriptors need %d sectors, it has %d", e.descriptors, at, e.length/logSector)
	}
	for i := dataSectors(e.descriptors); i < at; i++ {
		if b := r.sector(e.pos + i*logSector); string(b[:4]) != "data" || dataSequence(b) != e.sequence {
			return fmt.Sprintf("sector %d: signature %q and sequence_number %d, must be \"data\" and %d", i, b[:4], dataSequence(b), e.sequence)
		}
	}
	return ""
}

// descriptor reads the i-th of an entry.
func (r ring) descriptor(e logEntry, i int) (d descriptor, sequence uint64, fault string) {
	le := binary.LittleEndian
	at := logHeaderSize + i*descriptorSize
	b := r.sector(e.pos + at&^(logSector-1))[at%logSector:][:descriptorSize]
	d = descriptor{off: le.Uint64(b[16:])}
	switch string(b[:4]) {
	case "zero":
		d.n = le.Uint64(b[8:])
	case "desc":
		d.n, d.lead, d.trail = logSector, b[8:16], b[4:8]
	default:
		return d, 0, fmt.Sprintf("signature is %q, must be \"zero\" or \"desc\"", b[:4])
	}
	return d, le.Uint64(b[24:]), ""
}

func dataSequence(b []byte) uint64 {
	le := binary.LittleEndian
	return uint64(le.Uint32(b[4:]))<<32 | uint64(le.Uint32(b[logSector-4:]))
}

// checksum is that of a whole entry, which may go round the log's end.
func (r ring) checksum(e logEntry) uint32 {
	b := r.sector(e.pos)
	sum := crc32.Update(0, castagnoli, b[:4])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	sum = crc32.Update(sum, castagnoli, b[8:])
	for at := logSector; at < e.length; at += logSector {
		sum = crc32.Update(sum, castagnoli, r.sector(e.pos+at))
	}
	return sum
}
