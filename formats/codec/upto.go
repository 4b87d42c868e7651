package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// DecodeUpTo decodes the stream with which src begins, at most len(dst) bytes, and returns how many
// there are. The stream must be finished, and its checksum right.
func (z *Zlib) DecodeUpTo(dst, src []byte) (int, error) {
	if len(src) < 2 || src[0]&15 != 8 || src[0]>>4 > 7 || binary.BigEndian.Uint16(src)%31 != 0 || src[1]&0x20 != 0 {
		return 0, fmt.Errorf("zlib: stream header: %w", zlib.ErrHeader)
	}
	n, end, err := z.deflate.upTo(dst, src[2:])
	if err != nil {
		return 0, fmt.Errorf("zlib: %w", err)
	}
	if sum := src[2+end:]; len(sum) < 4 || binary.BigEndian.Uint32(sum) != adler32.Checksum(dst[:n]) {
		return 0, fmt.Errorf("zlib: %w", zlib.ErrChecksum)
	}
	return n, nil
}

// DecodePrefix fills dst from the stream with which src begins. The stream may go on.
func (d *Deflate) DecodePrefix(dst, src []byte) error {
	f, _ := d.decoders.Get().(*inflater)
	if f == nil {
		f = new(inflater)
	}
	defer d.decoders.Put(f)
	n, err := f.inflate(dst, src)
	if err == nil && n < len(dst) || errors.Is(err, errDeflateRoom) && n < len(dst) {
		return lengthError("deflate", uint64(n), len(dst))
	}
	if errors.Is(err, errDeflateRoom) {
		return nil
	}
	return err
}

// DecodeUpTo decodes the frames in src, at most len(dst) bytes, and returns how many there are.
func (z *Zstd) DecodeUpTo(dst, src []byte) (int, error) {
	out, err := z.dec.DecodeAll(src, dst[:0:len(dst)])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return 0, tooLong("zstd", len(dst))
	case err != nil:
		return 0, fmt.Errorf("zstd: %w", err)
	case len(out) > 0 && &out[0] != &dst[0]:
		return 0, errors.New("zstd: the decoder left the buffer it was given")
	}
	return len(out), nil
}

// DecodeFrame decodes the first frame in src, at most len(dst) bytes, and returns how many there are. The
// bytes of src that follow the frame are not read.
func (z *Zstd) DecodeFrame(dst, src []byte) (int, error) {
	n, err := frameSize(src, len(dst))
	if err != nil {
		return 0, err
	}
	return z.DecodeUpTo(dst, src[:n])
}
