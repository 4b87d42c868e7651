package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz"
)

// errXZ is the error of headers that are not those of a stream with LZMA2 alone.
var errXZ = errors.New("xz: the stream has other filters than LZMA2, or a larger dictionary than allowed")

// MaxXZDictionary is the largest dictionary that XZ gives memory to.
const MaxXZDictionary = 8 << 20

// XZ decodes xz streams. The zero value is ready.
type XZ struct{}

// DecodeUpTo decodes the stream in src, at most len(dst) bytes, and returns how many there are.
func (XZ) DecodeUpTo(dst, src []byte) (int, error) {
	if err := checkXZ(src); err != nil {
		return 0, err
	}
	r, err := xz.ReaderConfig{DictCap: 4096, SingleStream: true}.NewReader(bytes.NewReader(src))
	if err != nil {
		return 0, fmt.Errorf("xz: %w", err)
	}
	n, err := io.ReadFull(r, dst)
	if err == nil {
		var extra [1]byte
		if _, err = io.ReadFull(r, extra[:]); err == nil {
			return 0, tooLong("xz", len(dst))
		}
	}
	if err != io.EOF && err != io.ErrUnexpectedEOF || n == 0 {
		return 0, fmt.Errorf("xz: after %d bytes: %w", n, err)
	}
	return n, nil
}

// checkXZ looks at the header of the first block, before its dictionary is allocated: 12 bytes of stream
// header, size and flags, up to two lengths, and one filter with its properties.
func checkXZ(src []byte) error {
	if len(src) < 32 || string(src[:6]) != "\xfd7zXZ\x00" || src[12] == 0 {
		return errXZ
	}
	flags, at := src[13], 14
	for lengths := int(flags>>6&1 + flags>>7); lengths > 0; lengths-- {
		for at < len(src)-4 && src[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if flags&3 != 0 || at+3 > len(src) || src[at] != 0x21 || src[at+1] != 1 {
		return errXZ
	}
	bits := src[at+2]
	if bits > 40 || (2|int64(bits&1))<<(bits/2+11) > MaxXZDictionary {
		return errXZ
	}
	return nil
}
