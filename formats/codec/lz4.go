package codec

import (
	"encoding/binary"
	"errors"
)

var (
	errLZ4End      = errors.New("lz4: the data ends in a sequence")
	errLZ4Distance = errors.New("lz4: a match begins before the data")
)

// LZ4 decodes bare LZ4 blocks. The zero value is ready.
type LZ4 struct{}

// DecodeUpTo decodes all of src, at most len(dst) bytes, and returns how many there are.
func (LZ4) DecodeUpTo(dst, src []byte) (int, error) {
	n, full, err := lz4(dst, src)
	if err == nil && full {
		err = tooLong("lz4", len(dst))
	}
	return n, err
}

// DecodePrefix fills dst from the beginning of src. The bytes of src that follow are not read.
func (LZ4) DecodePrefix(dst, src []byte) error {
	n, _, err := lz4(dst, src)
	if err == nil && n < len(dst) {
		err = lengthError("lz4", uint64(n), len(dst))
	}
	return err
}

// lz4 decodes until src or dst ends. full reports that src has more bytes than dst takes.
func lz4(dst, src []byte) (out int, full bool, err error) {
	in := 0
	for in < len(src) {
		token := int(src[in])
		in++
		n, next, ok := lz4Length(src, in, token>>4)
		if !ok || n > len(src)-next && out+len(src)-next < len(dst) {
			return out, false, errLZ4End
		}
		in = next
		if n > len(dst)-out {
			return out + copy(dst[out:], src[in:]), true, nil
		}
		out += copy(dst[out:], src[in:in+n])
		if in += n; in == len(src) {
			return out, false, nil // the last sequence has no match
		}
		if out == len(dst) {
			return out, true, nil
		}
		if in+2 > len(src) {
			return out, false, errLZ4End
		}
		distance := int(binary.LittleEndian.Uint16(src[in:]))
		if n, in, ok = lz4Length(src, in+2, token&15); !ok {
			return out, false, errLZ4End
		}
		if distance == 0 || distance > out {
			return out, false, errLZ4Distance
		}
		n += 4
		most := min(n, len(dst)-out)
		repeat(dst, out, distance, most)
		if out += most; most < n {
			return out, true, nil
		}
	}
	return out, false, nil
}

// lz4Length continues a length of 15 in following bytes, until one is not 255.
func lz4Length(src []byte, in, n int) (length, next int, ok bool) {
	if n < 15 {
		return n, in, true
	}
	for in < len(src) {
		b := src[in]
		n, in = n+int(b), in+1
		if b != 255 {
			return n, in, true
		}
	}
	return 0, in, false
}
