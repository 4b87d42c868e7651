package codec

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// ZlibEncoder makes finished zlib streams, with their checksum. It is safe for concurrent use.
type ZlibEncoder struct {
	level   int
	writers sync.Pool
}

const (
	// DefaultZlibLevel is what level 0 stands for, zlib's own default.
	DefaultZlibLevel = 6
	// MaxZlibLevel is the highest level.
	MaxZlibLevel = 9
)

// zlibWriter is one pooled encoder with the slice it appends to.
type zlibWriter struct {
	out []byte
	enc *zlib.Writer
}

// Write appends.
func (w *zlibWriter) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

// NewZlibEncoder makes an encoder. The level is in zlib's own numbers, 1 to MaxZlibLevel; 0 is
// DefaultZlibLevel.
func NewZlibEncoder(level int) (*ZlibEncoder, error) {
	if level < 0 || level > MaxZlibLevel {
		return nil, fmt.Errorf("zlib: level %d: it must be 1 to %d, or 0 for the default, %d", level, MaxZlibLevel, DefaultZlibLevel)
	}
	if level == 0 {
		level = DefaultZlibLevel
	}
	return &ZlibEncoder{level: level}, nil
}

// Encode appends one stream holding src to dst. The same src gives the same bytes.
func (e *ZlibEncoder) Encode(dst, src []byte) ([]byte, error) {
	w, _ := e.writers.Get().(*zlibWriter)
	if w == nil {
		w = new(zlibWriter)
		var err error
		if w.enc, err = zlib.NewWriterLevel(w, e.level); err != nil {
			return nil, fmt.Errorf("zlib: %w", err)
		}
	}
	defer func() {
		w.out = nil // a pooled writer must not keep the caller's bytes alive
		e.writers.Put(w)
	}()
	w.out = dst
	w.enc.Reset(w)
	if _, err := w.enc.Write(src); err != nil {
		return nil, fmt.Errorf("zlib: %w", err)
	}
	if err := w.enc.Close(); err != nil {
		return nil, fmt.Errorf("zlib: %w", err)
	}
	return w.out, nil
}
