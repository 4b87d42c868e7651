package codec

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/imsfs/imsfs/formats"
)

// Zstd decodes Zstandard frames, as many at once as there are processors; further callers wait.
type Zstd struct{ dec *zstd.Decoder }

// NewZstd makes a decoder. One is enough for a process: each holds tables for every processor.
func NewZstd() *Zstd {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0),
		zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxMemory(formats.MaxCompressedCluster),
		zstd.WithDecoderMaxWindow(formats.MaxCompressedCluster),
	)
	if err != nil {
		panic(err) // bug: only an impossible option is refused
	}
	return &Zstd{dec}
}

// Decode fills dst from the frames in src. A frame that names another content size than len(dst) is
// refused before it is decoded, and a checksum is verified if there is one.
func (z *Zstd) Decode(dst, src []byte) error { return z.DecodeWithin(dst, len(dst), src) }

// DecodeWithin is Decode into the first n bytes of room. The rest of room has undefined content
// afterwards. If it is 16 bytes or more, the decoder copies in larger steps and takes a quarter
// less time for small frames.
func (z *Zstd) DecodeWithin(room []byte, n int, src []byte) error {
	var head zstd.Header
	if err := head.Decode(src); err != nil {
		return fmt.Errorf("zstd: frame header: %w", err)
	}
	if head.HasFCS && head.FrameContentSize != uint64(n) {
		return lengthError("zstd", head.FrameContentSize, n)
	}
	// The capacity is cut so that nothing after room can be written.
	out, err := z.dec.DecodeAll(src, room[:0:len(room)])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return tooLong("zstd", n)
	case err != nil:
		return fmt.Errorf("zstd: %w", err)
	case len(out) != n:
		return lengthError("zstd", uint64(len(out)), n)
	case n > 0 && &out[0] != &room[0]:
		return errors.New("zstd: the decoder left the buffer it was given")
	}
	return nil
}

// ZstdEncoder makes Zstandard frames. It has an encoder for each processor, whose tables, more than
// a megabyte, stay in that processor's cache.
type ZstdEncoder struct{ encoders sync.Pool }

// MaxZstdLevel is the highest level NewZstdEncoder takes.
const MaxZstdLevel = 22

// NewZstdEncoder makes an encoder of inputs of up to size bytes. The level is in zstd's own
// numbers, 1 to MaxZstdLevel; 0 is zstd's default, 3. The library has four strengths, so
// neighbouring levels may give the same bytes. Knowing the size halves the encoder's memory and
// makes it a tenth faster.
func NewZstdEncoder(level, size int) (*ZstdEncoder, error) {
	// Verifying costs a reader 0.1 ms for 2 MiB and finds the bit rot that still decodes.
	return newZstdEncoder(level, size, zstd.WithEncoderCRC(true))
}

// NewBareZstdEncoder makes an encoder whose frames have no checksum, for callers that add one
// around them.
func NewBareZstdEncoder(level, size int) (*ZstdEncoder, error) {
	return newZstdEncoder(level, size, zstd.WithEncoderCRC(false))
}

func newZstdEncoder(level, size int, opts ...zstd.EOption) (*ZstdEncoder, error) {
	if level < 0 || level > MaxZstdLevel {
		return nil, fmt.Errorf("zstd: level %d: it must be 1 to %d, or 0 for the default", level, MaxZstdLevel)
	}
	if level == 0 {
		level = 3
	}
	if size <= 0 || size > formats.MaxCompressedCluster {
		return nil, fmt.Errorf("zstd: inputs of %d bytes: the size must be 1 to %d", size, formats.MaxCompressedCluster)
	}
	window := 1 << bits.Len(uint(max(size, zstd.MinWindowSize)-1))
	opts = append(opts, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	enc, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	e := &ZstdEncoder{sync.Pool{New: func() any {
		enc, err := zstd.NewWriter(nil, opts...)
		if err != nil {
			panic(err) // bug: the same options were good
		}
		return enc
	}}}
	e.encoders.Put(enc)
	return e, nil
}

// Encode appends one frame holding src to dst. The frame carries its content size, and a reader
// needs no more memory for it than src takes.
func (e *ZstdEncoder) Encode(dst, src []byte) []byte {
	enc := e.encoders.Get().(*zstd.Encoder)
	defer e.encoders.Put(enc)
	return enc.EncodeAll(src, dst)
}
