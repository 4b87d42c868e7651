package codec

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// DecodePrefix fills dst from as many frames at the start of src as it takes, and ignores the rest
// of src. It is for callers that know only roughly where the compressed bytes end.
func (z *Zstd) DecodePrefix(dst, src []byte) error {
	for done := 0; ; {
		n, err := frameSize(src, len(dst)-done)
		if err != nil {
			return err
		}
		out, err := z.dec.DecodeAll(src[:n], dst[done:done:len(dst)])
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return tooLong("zstd", len(dst))
		case err != nil:
			return fmt.Errorf("zstd: %w", err)
		case len(out) > 0 && (done == len(dst) || &out[0] != &dst[done]):
			return errors.New("zstd: the decoder left the buffer it was given")
		}
		done += len(out)
		src = src[n:]
		switch {
		case done == len(dst):
			return nil
		case len(src) == 0:
			return lengthError("zstd", uint64(done), len(dst))
		}
	}
}

// frameSize returns the length of the frame at the start of src, which must not hold more than room
// plain bytes. It walks the headers of the frame's blocks.
func frameSize(src []byte, room int) (int, error) {
	var head zstd.Header
	if err := head.Decode(src); err != nil {
		return 0, fmt.Errorf("zstd: frame header: %w", err)
	}
	if head.HasFCS && head.FrameContentSize > uint64(room) {
		return 0, tooLong("zstd", room)
	}
	if head.Skippable {
		return within(src, int64(head.HeaderSize)+int64(head.SkippableSize))
	}
	at := int64(head.HeaderSize)
	for last := false; !last; {
		if at+3 > int64(len(src)) {
			return within(src, at+3)
		}
		block := uint32(src[at]) | uint32(src[at+1])<<8 | uint32(src[at+2])<<16
		size := int64(block >> 3)
		if block>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		last = block&1 != 0
		at += 3 + size
	}
	if head.HasCheckSum {
		at += 4
	}
	return within(src, at)
}

func within(src []byte, n int64) (int, error) {
	if n > int64(len(src)) {
		return 0, fmt.Errorf("zstd: a frame does not end within the %d bytes there are", len(src))
	}
	return int(n), nil
}
