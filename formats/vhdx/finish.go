package vhdx

import (
	"context"
	"encoding/binary"
	"fmt"
	"unicode/utf16"

	"github.com/imsfs/imsfs/formats"
)

// Finish writes the headers last, because without them the file is not a VHDX.
func (e *encoder) Finish(ctx context.Context, dst formats.Target) error {
	if err := e.writeBAT(ctx, dst); err != nil {
		return err
	}
	if err := put(ctx, dst, e.encodeMetadata(), writtenMetadata, "metadata"); err != nil {
		return err
	}
	for _, at := range tableAt {
		if err := put(ctx, dst, e.encodeRegionTable(), at, "region table"); err != nil {
			return err
		}
	}
	for i, at := range headerAt {
		if err := put(ctx, dst, e.encodeHeader(uint64(i)+1), at, "header"); err != nil {
			return err
		}
	}
	if err := put(ctx, dst, encodeIdentifier("imsfs"), 0, "file identifier"); err != nil {
		return err
	}
	size := e.blockAt(e.count)
	if err := dst.Truncate(size); err != nil {
		return fmt.Errorf("vhdx: setting the file's size to %d: %w", size, err)
	}
	return nil
}

// writeBAT writes the BAT in pieces of 1 MiB. A block that was left out is zero: one that is not
// present could be anything.
func (e *encoder) writeBAT(ctx context.Context, dst formats.Target) error {
	b := make([]byte, 0, mib)
	at, block, next := int64(writtenBAT), int64(0), int64(0)
	for index := range e.entries() {
		entry := uint64(zero)
		switch {
		case index == e.bitmapIndex(max(block-1, 0)):
			entry = notPresent
		case e.placed.has(block):
			entry = uint64(e.blockAt(next)) | fullyPresent
			next++
			block++
		default:
			block++
		}
		b = binary.LittleEndian.AppendUint64(b, entry)
		if len(b) < mib && index < e.entries()-1 {
			continue
		}
		if err := put(ctx, dst, b, at, "BAT"); err != nil {
			return err
		}
		at, b = at+mib, b[:0]
	}
	return nil
}

func encodeIdentifier(creator string) []byte {
	b := []byte(identifier)
	for _, u := range utf16.Encode([]rune(creator)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return append(b, make([]byte, len(identifier)+creatorSize-len(b))...)
}

func (e *encoder) encodeHeader(sequence uint64) []byte {
	le := binary.LittleEndian
	b := make([]byte, headerSize)
	fileWrite, dataWrite := e.derived("file write"), e.derived("data write")
	copy(b, "head")
	le.PutUint64(b[8:], sequence)
	copy(b[16:], fileWrite[:])
	copy(b[32:], dataWrite[:]) // and no LogGuid: the log is empty
	le.PutUint16(b[66:], 1)
	le.PutUint32(b[68:], mib)
	le.PutUint64(b[72:], writtenLog)
	le.PutUint32(b[4:], checksum(b))
	return b
}

func (e *encoder) encodeRegionTable() []byte {
	le := binary.LittleEndian
	b := make([]byte, tableSize)
	copy(b, "regi")
	le.PutUint32(b[8:], 2)
	for i, r := range []struct {
		id     string
		off, n int64
	}{{batRegion, writtenBAT, e.batSize()}, {metadataRegion, writtenMetadata, mib}} {
		entry := b[16+i*entrySize:]
		putGUID(entry, r.id)
		le.PutUint64(entry[16:], uint64(r.off))
		le.PutUint32(entry[24:], uint32(r.n))
		le.PutUint32(entry[28:], 1)
	}
	le.PutUint32(b[4:], checksum(b))
	return b
}

// encodeMetadata returns the table followed by the items.
func (e *encoder) encodeMetadata() []byte {
	le := binary.LittleEndian
	const required, ofDisk = 4, 2
	items := []struct {
		id    string
		flags uint32
		data  []byte
	}{
		{fileParameters, required, le.AppendUint64(nil, uint64(e.blockSize))},
		{virtualDiskSize, required | ofDisk, le.AppendUint64(nil, uint64(e.size))},
		{virtualDiskID, required | ofDisk, e.id[:]},
		{logicalSectorSize, required | ofDisk, le.AppendUint32(nil, uint32(e.sector))},
		{physicalSectorSize, required | ofDisk, le.AppendUint32(nil, uint32(e.sector))},
	}
	b := make([]byte, tableSize)
	copy(b, "metadata")
	le.PutUint16(b[10:], uint16(len(items)))
	for i, it := range items {
		entry := b[(1+i)*entrySize:]
		putGUID(entry, it.id)
		le.PutUint32(entry[16:], uint32(len(b)))
		le.PutUint32(entry[20:], uint32(len(it.data)))
		le.PutUint32(entry[24:], it.flags)
		b = append(b, it.data...)
	}
	return b
}

// putGUID writes one of the known GUIDs.
func putGUID(b []byte, text string) {
	g, ok := parseGUID(text)
	if !ok {
		panic("vhdx: no GUID: " + text) // bug: layout.go has all that are written
	}
	copy(b, g[:])
}

func put(ctx context.Context, dst formats.Target, b []byte, at int64, what string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := dst.WriteAt(b, at); err != nil {
		return fmt.Errorf("vhdx: writing the %s at %#x: %w", what, at, err)
	}
	return nil
}
