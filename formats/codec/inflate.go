package codec

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// Errors of inflate. Callers compare lengths.
var (
	errDeflateEnd     = errors.New("deflate: the input ends within the stream")
	errDeflateRoom    = errors.New("deflate: no room")
	errDeflateBlock   = errors.New("deflate: a block of the reserved type")
	errDeflateStored  = errors.New("deflate: the length of a stored block and its complement differ")
	errDeflateCode    = errors.New("deflate: a Huffman code that is not complete or has too many words")
	errDeflateLengths = errors.New("deflate: impossible code lengths")
	errDeflateSymbol  = errors.New("deflate: a word outside the code")
	errDeflateFar     = errors.New("deflate: a reference to bytes before the start of the output")
)

// inflater decodes raw deflate (RFC 1951) from one slice into another. Libraries decode streams,
// through a window. With all of the input and the output in memory, a decoder needs no window and
// can work on eight bytes at a time.
type inflater struct {
	src  []byte
	in   int    // of src, up to which bits holds bytes
	bits uint64 // the least significant come first
	n    uint   // how many of them are valid; above that are zeros or bytes that come again

	literals  table // and lengths of references
	distances table
	lengths   [maxLiterals + maxDistances]uint8
}

const (
	maxLiterals  = 288
	maxDistances = 32
	endOfBlock   = 256
)

// inflate decodes the stream at the start of src into dst and returns the number of bytes. A stream
// that does not fit gives errDeflateRoom.
func (f *inflater) inflate(dst, src []byte) (out int, err error) {
	f.src, f.in, f.bits, f.n = src, 0, 0, 0
	defer func() { f.src = nil }()
	for last := false; !last && err == nil; {
		f.refill()
		last = f.take(1) != 0
		switch f.take(2) {
		case 0:
			out, err = f.stored(dst, out)
		case 1:
			f.fixed()
			out, err = f.block(dst, out)
		case 2:
			if err = f.dynamic(); err == nil {
				out, err = f.block(dst, out)
			}
		default:
			err = errDeflateBlock
		}
	}
	if err == nil && f.beyond() {
		err = errDeflateEnd
	}
	return out, err
}

// refill makes at least 56 bits valid. After the end of the input it supplies zeros, which beyond
// notices.
func (f *inflater) refill() {
	if f.in+8 <= len(f.src) {
		f.bits |= binary.LittleEndian.Uint64(f.src[f.in:]) << f.n
		f.in += int(63-f.n) >> 3
		f.n |= 56
		return
	}
	for ; f.n < 56; f.n += 8 {
		if f.in < len(f.src) {
			f.bits |= uint64(f.src[f.in]) << f.n
		}
		f.in++
	}
}

// beyond reports whether more bits were taken than the input has.
func (f *inflater) beyond() bool { return f.in-int(f.n>>3) > len(f.src) }

// end returns the offset in the input where the stream ends. A byte of which bits were taken
// belongs to it.
func (f *inflater) end() int { return f.in - int(f.n>>3) }

// take takes up to 16 bits that are valid.
func (f *inflater) take(n uint32) uint32 {
	v := uint32(f.bits) & (1<<n - 1)
	f.bits >>= n
	f.n -= uint(n)
	return v
}

// drop takes the bits of an entry's word.
func (f *inflater) drop(e uint32) {
	f.bits >>= e & entryBits
	f.n -= uint(e & entryBits)
}

// stored copies a block that is not compressed.
func (f *inflater) stored(dst []byte, out int) (int, error) {
	f.in -= int(f.n >> 3) // the rest of the current byte is skipped
	f.bits, f.n = 0, 0
	if f.in+4 > len(f.src) {
		return out, errDeflateEnd
	}
	n := binary.LittleEndian.Uint16(f.src[f.in:])
	if n != ^binary.LittleEndian.Uint16(f.src[f.in+2:]) {
		return out, errDeflateStored
	}
	f.in += 4
	body := f.src[f.in:min(f.in+int(n), len(f.src))]
	copied := copy(dst[out:], body)
	f.in, out = f.in+len(body), out+copied
	switch {
	case copied < len(body):
		return out, errDeflateRoom
	case len(body) < int(n):
		return out, errDeflateEnd
	}
	return out, nil
}

// block decodes up to the end of a block by the codes that are set.
func (f *inflater) block(dst []byte, out int) (int, error) {
	out, err := f.quickly(dst, out)
	for err == nil {
		f.refill()
		e := f.literals.find(f.bits)
		f.drop(e)
		switch {
		case e&entryLiteral != 0:
			if out == len(dst) {
				return out, errDeflateRoom
			}
			dst[out] = byte(e >> entryValue)
			out++
			continue
		case e&entrySpecial != 0 && (e>>entryValue != endOfBlock || f.beyond()):
			return out, f.wrong()
		case e&entrySpecial != 0:
			return out, nil
		}
		length := int(e>>entryValue) + int(f.take(e>>entryExtra&15))
		f.refill()
		e = f.distances.find(f.bits)
		if e&entrySpecial != 0 {
			return out, f.wrong()
		}
		f.drop(e)
		distance := int(e>>entryValue) + int(f.take(e>>entryExtra&15))
		if distance > out {
			return out, errDeflateFar
		}
		fits := min(length, len(dst)-out)
		for i := range fits {
			dst[out+i] = dst[out+i-distance]
		}
		out += fits
		if fits < length {
			return out, errDeflateRoom
		}
	}
	return out, err
}

// wrong is the error about a word outside the code. The zeros after the input's end can look like
// such a word.
func (f *inflater) wrong() error {
	if f.beyond() {
		return errDeflateEnd
	}
	return errDeflateSymbol
}

// fixed sets the codes that need no description.
func (f *inflater) fixed() {
	l := &f.lengths
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		case i < maxLiterals:
			l[i] = 8
		default:
			l[i] = 5
		}
	}
	f.literals.build(l[:maxLiterals], literalEntry, literalBits)
	f.distances.build(l[maxLiterals:], distanceEntry, distanceBits)
}

// dynamic reads the description of a block's codes.
func (f *inflater) dynamic() error {
	f.refill()
	literals, distances, n := int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
	if literals > 286 || distances > 30 {
		return errDeflateLengths
	}
	var words [19]uint8
	for i := range n {
		f.refill()
		words[codeOrder[i]] = uint8(f.take(3))
	}
	if !f.distances.build(words[:], plainEntry, distanceBits) { // for the time being
		return errDeflateCode
	}
	all := f.lengths[:literals+distances]
	for i := 0; i < len(all); {
		f.refill()
		e := f.distances.find(f.bits)
		if e&entrySpecial != 0 || f.beyond() {
			return f.wrong()
		}
		f.drop(e)
		var again int
		var value uint8
		switch symbol := e >> entryValue; symbol {
		case 16:
			if i == 0 {
				return errDeflateLengths
			}
			again, value = 3+int(f.take(2)), all[i-1]
		case 17:
			again = 3 + int(f.take(3))
		case 18:
			again = 11 + int(f.take(7))
		default:
			again, value = 1, uint8(symbol)
		}
		if again > len(all)-i {
			return errDeflateLengths
		}
		for range again {
			all[i] = value
			i++
		}
	}
	if all[endOfBlock] == 0 {
		return errDeflateLengths
	}
	if !f.literals.build(all[:literals], literalEntry, literalBits) || !f.distances.build(all[literals:], distanceEntry, distanceBits) {
		return errDeflateCode
	}
	return nil
}

var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// reversed turns the order of the n last bits around: codes are written most significant bit first.
func reversed(code uint32, n uint) uint32 { return bits.Reverse32(code) >> (32 - n) }
