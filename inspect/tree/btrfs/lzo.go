package btrfs

import (
	"errors"

	"github.com/imsfs/imsfs/formats/codec"
)

var errLZO = errors.New("lzo: a segment ends after the extent")

// lzo decodes an extent: its length, then segments of a sector each after their length, which never
// crosses the end of a sector.
func lzo(plain, packed []byte, sector int64) (n int, err error) {
	if len(packed) < 4 || int64(le.Uint32(packed)) > int64(len(packed)) {
		return 0, errLZO
	}
	total := int64(le.Uint32(packed))
	for at := int64(4); n < len(plain); {
		if rest := sector - at%sector; rest < 4 {
			at += rest
		}
		if at >= total {
			break
		}
		if at+4 > total || int64(le.Uint32(packed[at:])) > total-at-4 {
			return n, errLZO
		}
		segment := packed[at+4 : at+4+int64(le.Uint32(packed[at:]))]
		decoded, err := (codec.LZO{}).DecodeUpTo(plain[n:min(int64(len(plain)), int64(n)+sector)], segment)
		if err != nil {
			return n, err
		}
		n, at = n+decoded, at+4+int64(len(segment))
	}
	return n, nil
}
