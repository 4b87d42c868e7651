package packs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/blockstore"
)

// encoder and decoder are the parts of formats/codec that records use.
type (
	encoder interface{ Encode(dst, src []byte) []byte }
	decoder interface {
		DecodeWithin(room []byte, n int, src []byte) error
	}
)

// appendRecord appends a record of plain, at most BlockSize bytes, and returns the lengths of its
// slices. Without an encoder the slices are stored as they are, and their lengths give the length
// of plain.
func appendRecord(b []byte, enc encoder, k kind, id name, plain []byte) ([]byte, location) {
	start := len(b)
	b = append(b, make([]byte, recordHead)...)
	var loc location
	for len(plain) > 0 {
		i := loc.count
		n := min(len(plain), sliceStart(blockSlices, i+1)-sliceStart(blockSlices, i))
		begin := len(b)
		b = appendSlice(b, enc, id, i, plain[:n])
		loc.lens[i] = uint16(len(b) - begin - sliceHead)
		loc.count++
		plain = plain[n:]
	}
	b = append(b, make([]byte, loc.size()-int64(len(b)-start))...)

	head := b[start : start+recordHead]
	binary.LittleEndian.PutUint32(head, recordMagic)
	binary.LittleEndian.PutUint32(head[4:], uint32(loc.size()))
	head[8], head[9], head[10] = byte(k), blockstore.SHA256, byte(loc.count)
	copy(head[12:], id[:])
	binary.LittleEndian.PutUint32(head[44:], checksum(head[:44]))
	return b, loc
}

func appendSlice(b []byte, enc encoder, id name, i int, plain []byte) []byte {
	begin := len(b)
	b = append(b, make([]byte, sliceHead)...)
	codec := zstdCodec
	switch {
	case enc == nil:
		codec = plainCodec
	case blockstore.IsZero(plain):
		codec = zeroCodec
	default:
		b = enc.Encode(b, plain)
		if len(b)-begin-sliceHead > len(plain)-len(plain)/64 { // a smaller saving is not worth decoding
			b = b[:begin+sliceHead]
			codec = plainCodec
		}
	}
	if codec == plainCodec {
		b = append(b, plain...)
	}
	head, stored := b[begin:begin+sliceHead], b[begin+sliceHead:]
	binary.LittleEndian.PutUint32(head, uint32(len(stored))|uint32(codec)<<24)
	binary.LittleEndian.PutUint32(head[4:], sliceSum(id, i, head[:4], stored))
	return b
}

// decodeSlice decodes the stored bytes of slice i, head included, into the first n bytes of room.
// The decoder may overwrite the rest of room.
func decodeSlice(room []byte, n int, dec decoder, id name, i int, b []byte) error {
	dst := room[:n]
	head, stored := b[:sliceHead], b[sliceHead:]
	lengthAndCodec := binary.LittleEndian.Uint32(head)
	if sum := binary.LittleEndian.Uint32(head[4:]); sum != sliceSum(id, i, head[:4], stored) {
		return fmt.Errorf("slice %d: its checksum does not fit", i)
	}
	if int(lengthAndCodec&0xffffff) != len(stored) {
		return fmt.Errorf("slice %d: it has another length than the index says", i)
	}
	switch codec := codecID(lengthAndCodec >> 24); codec {
	case zeroCodec:
		clear(dst)
	case plainCodec:
		if len(stored) != len(dst) {
			return fmt.Errorf("slice %d: %d plain bytes where %d are due", i, len(stored), len(dst))
		}
		copy(dst, stored)
	case zstdCodec:
		if err := dec.DecodeWithin(room, n, stored); err != nil {
			return fmt.Errorf("slice %d: %w", i, err)
		}
	default:
		return fmt.Errorf("slice %d: codec %d is not known", i, codec)
	}
	return nil
}

// head is the decoded header of a record.
type head struct {
	kind   kind
	id     name
	length int64
	count  int
}

var errNoRecord = errors.New("no record begins here")

func parseHead(b []byte) (head, error) {
	if len(b) < recordHead || binary.LittleEndian.Uint32(b) != recordMagic {
		return head{}, errNoRecord
	}
	if binary.LittleEndian.Uint32(b[44:]) != checksum(b[:44]) {
		return head{}, errors.New("the record's header: its checksum does not fit")
	}
	h := head{kind(b[8]), name(b[12:44]), int64(binary.LittleEndian.Uint32(b[4:])), int(b[10])}
	if b[9] != blockstore.SHA256 || b[11] != 0 || h.count > maxSlices ||
		h.length < recordHead || h.length > maxRecord || h.length%align != 0 {
		return head{}, errors.New("the record's header holds what no record has")
	}
	return h, nil
}

// locate reads the slices' lengths from the record itself, as a rebuild must. The caller sets pack
// and offset.
func locate(b []byte) (head, location, error) {
	h, err := parseHead(b)
	if err != nil {
		return h, location{}, err
	}
	if int64(len(b)) < h.length {
		return h, location{}, errors.New("the record is cut off")
	}
	loc := location{count: h.count}
	for i := range loc.count {
		at := loc.slice(i)
		if at+sliceHead > h.length {
			return h, loc, errors.New("the record's slices are longer than it is")
		}
		n := binary.LittleEndian.Uint32(b[at:]) & 0xffffff
		if n > maxSlice {
			return h, loc, fmt.Errorf("slice %d: a stored length of %d bytes", i, n)
		}
		loc.lens[i] = uint16(n)
	}
	if loc.size() != h.length {
		return h, loc, errors.New("the record's slices are not as long as it is")
	}
	if !blockstore.IsZero(b[loc.slice(loc.count):h.length]) {
		return h, loc, errors.New("the record's padding is not zeros")
	}
	return h, loc, nil
}

// decodeRecord returns the plain bytes of a whole record, which must have the given kind and name.
// They are in dst if it is large enough.
func decodeRecord(dst []byte, dec decoder, k kind, id name, b []byte) ([]byte, error) {
	h, loc, err := locate(b)
	if err != nil {
		return nil, err
	}
	if h.kind != k || h.id != id {
		return nil, fmt.Errorf("the record is another one: kind %d, %x", h.kind, h.id)
	}
	n := loc.plain(k, loc.count)
	dst = slices.Grow(dst[:0], n)[:n]
	for i := range loc.count {
		at := loc.slice(i)
		begin, end := loc.plain(k, i), loc.plain(k, i+1)
		if err := decodeSlice(dst[begin:], end-begin, dec, id, i, b[at:at+sliceHead+int64(loc.lens[i])]); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// plain returns the offset of slice i in the plain bytes of a record of kind k. Only blocks are
// compressed, and all blocks have one size.
func (l location) plain(k kind, i int) int {
	if k == blockKind {
		return sliceStart(l.count, i)
	}
	n := 0
	for _, stored := range l.lens[:i] {
		n += int(stored)
	}
	return n
}
