package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// Deflate decodes raw deflate streams, without a header or a checksum. The zero value is ready.
type Deflate struct{ readers sync.Pool }

// deflateReader is one pooled decoder with the reader it takes its input from.
type deflateReader struct {
	in    bytes.Reader
	out   io.ReadCloser // also a flate.Resetter
	extra [1]byte
}

// NewDeflate makes a decoder.
func NewDeflate() *Deflate { return &Deflate{} }

// Decode fills dst from the stream with which src begins; what follows the stream in src is not looked at. The
// stream must come to its end where dst does.
func (d *Deflate) Decode(dst, src []byte) error {
	r, _ := d.readers.Get().(*deflateReader)
	if r == nil {
		r = new(deflateReader)
		r.out = flate.NewReader(&r.in)
	}
	defer d.readers.Put(r)
	defer r.in.Reset(nil) // a pooled reader must not keep the caller's bytes alive
	r.in.Reset(src)
	if err := r.out.(flate.Resetter).Reset(&r.in, nil); err != nil {
		return fmt.Errorf("deflate: %w", err)
	}
	n, err := io.ReadFull(r.out, dst)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return lengthError("deflate", uint64(n), len(dst))
	case err != nil:
		return fmt.Errorf("deflate: after %d bytes: %w", n, err)
	}
	return r.atEnd(len(dst))
}

// atEnd makes sure that the stream ends behind the want bytes already read.
func (r *deflateReader) atEnd(want int) error {
	for range 100 { // a reader may return nothing and no error, but not for ever
		n, err := r.out.Read(r.extra[:])
		switch {
		case n > 0:
			return tooLong("deflate", want)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("deflate: after %d bytes: %w", want, err)
		}
	}
	return errors.New("deflate: the stream does not end")
}
