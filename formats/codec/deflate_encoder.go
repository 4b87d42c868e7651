package codec

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

// deflateWindow is how far back the streams refer. A decoder that is set up as QEMU's has memory
// for no more.
const deflateWindow = 4 << 10

// DeflateEncoder makes raw deflate streams. The zero value is ready.
type DeflateEncoder struct{ writers sync.Pool }

// deflateWriter is one pooled encoder with the bytes it appends to.
type deflateWriter struct {
	z   *flate.Writer
	out []byte
}

func (w *deflateWriter) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

// NewDeflateEncoder makes an encoder.
func NewDeflateEncoder() *DeflateEncoder { return &DeflateEncoder{} }

// Encode appends one finished stream holding src to dst. It refers at most 4 KiB back.
func (e *DeflateEncoder) Encode(dst, src []byte) ([]byte, error) {
	w, _ := e.writers.Get().(*deflateWriter)
	if w == nil {
		w = new(deflateWriter)
		var err error
		if w.z, err = flate.NewWriterWindow(w, deflateWindow); err != nil {
			return nil, err
		}
	}
	defer e.writers.Put(w)
	w.out = dst
	w.z.Reset(w)
	if _, err := w.z.Write(src); err != nil {
		return nil, err
	}
	if err := w.z.Close(); err != nil {
		return nil, err
	}
	out := w.out
	w.out = nil // a pooled writer must not keep the caller's bytes alive
	return out, nil
}
