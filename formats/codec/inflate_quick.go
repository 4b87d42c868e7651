package codec

import "encoding/binary"

// With this much input and room left, the quick loop need not check either.
const (
	quickInput = 16
	quickRoom  = 2 + 258 + 8
)

// quickly decodes a block up to its end, or until input or room run short. It does the same as the
// loop in block, but keeps the bits in local variables, which the compiler holds in registers, and
// copies eight bytes at a time.
func (f *inflater) quickly(dst []byte, out int) (int, error) {
	src, in, b, n := f.src, f.in, f.bits, f.n
	literals, distances := &f.literals, &f.distances
	literalMask, distanceMask := uint64(1)<<literals.first-1, uint64(1)<<distances.first-1
	for in <= len(src)-quickInput && out <= len(dst)-quickRoom {
		b |= binary.LittleEndian.Uint64(src[in:]) << (n & 63)
		in += int(63-n) >> 3
		n |= 56 // bits, enough for two literals and a length
		e := literals.entries[b&literalMask&(tableSize-1)]
		for range 2 {
			if e&entryLiteral == 0 {
				break
			}
			b >>= e & 63
			n -= uint(e & 63)
			dst[out] = byte(e >> entryValue)
			out++
			e = literals.entries[b&literalMask&(tableSize-1)]
		}
		if e&entryLink != 0 {
			e = literals.linked(e, b)
		}
		if e&entrySpecial != 0 {
			break // it is found once more by block
		}
		b >>= e & 63
		n -= uint(e & 63)
		if e&entryLiteral != 0 {
			dst[out] = byte(e >> entryValue)
			out++
			continue
		}
		extra := e >> entryExtra & 15
		length := int(e>>entryValue) + int(b&(1<<extra-1))
		b >>= extra
		n -= uint(extra)

		b |= binary.LittleEndian.Uint64(src[in:]) << (n & 63)
		in += int(63-n) >> 3
		n |= 56
		e = distances.entries[b&distanceMask&(tableSize-1)]
		if e&entryLink != 0 {
			e = distances.linked(e, b)
		}
		if e&entrySpecial != 0 {
			return out, errDeflateSymbol
		}
		b >>= e & 63
		n -= uint(e & 63)
		extra = e >> entryExtra & 15
		distance := int(e>>entryValue) + int(b&(1<<extra-1))
		b >>= extra
		n -= uint(extra)
		if distance > out {
			return out, errDeflateFar
		}
		if distance >= 8 {
			from, to := dst[out-distance:], dst[out:]
			for i := 0; i < length; i += 8 { // and up to seven bytes more, which what follows overwrites
				binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(from[i:]))
			}
		} else {
			from, to := dst[out-distance:out+length], dst[out:out+length]
			for i := range to {
				to[i] = from[i]
			}
		}
		out += length
	}
	f.in, f.bits, f.n = in, b, n
	return out, nil
}
