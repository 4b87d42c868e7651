package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// Zlib decodes zlib streams, also those that were flushed but never finished. The zero value is ready.
type Zlib struct{ readers sync.Pool }

// zlibReader is one pooled decoder with the reader it takes its input from.
type zlibReader struct {
	in    bytes.Reader
	out   io.ReadCloser // also a zlib.Resetter; nil until the first use
	extra [1]byte
}

// NewZlib makes a decoder.
func NewZlib() *Zlib { return &Zlib{} }

// Decode fills dst from the stream in src, which may end in a sync flush: it is not asked for its final block or
// its checksum. If it has them the checksum is verified; if it holds more bytes that is an error.
func (z *Zlib) Decode(dst, src []byte) error { return z.decode(dst, src, false) }

// DecodeFinished fills dst from the stream in src, which must have its final block and a checksum that is right.
func (z *Zlib) DecodeFinished(dst, src []byte) error { return z.decode(dst, src, true) }

func (z *Zlib) decode(dst, src []byte, finished bool) error {
	r, _ := z.readers.Get().(*zlibReader)
	if r == nil {
		r = new(zlibReader)
	}
	defer z.readers.Put(r)
	defer r.in.Reset(nil) // a pooled reader must not keep the caller's bytes alive
	if err := r.reset(src); err != nil {
		return fmt.Errorf("zlib: stream header: %w", err)
	}
	n, err := io.ReadFull(r.out, dst)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return lengthError("zlib", uint64(n), len(dst))
	case err != nil:
		return fmt.Errorf("zlib: after %d bytes: %w", n, err)
	}
	return r.atEnd(len(dst), finished)
}

func (r *zlibReader) reset(src []byte) (err error) {
	r.in.Reset(src)
	if r.out == nil {
		r.out, err = zlib.NewReader(&r.in)
		return err
	}
	return r.out.(zlib.Resetter).Reset(&r.in, nil)
}

// atEnd makes sure that nothing follows the want bytes already read. io.ErrUnexpectedEOF is the end of input
// behind a sync flush, io.EOF that of a finished stream with a good checksum.
func (r *zlibReader) atEnd(want int, finished bool) error {
	for range 100 { // a reader may return nothing and no error, but not for ever
		n, err := r.out.Read(r.extra[:])
		switch {
		case n > 0:
			return tooLong("zlib", want)
		case err == io.EOF || err == io.ErrUnexpectedEOF && !finished:
			return nil
		case err != nil:
			return fmt.Errorf("zlib: after %d bytes: %w", want, err)
		}
	}
	return errors.New("zlib: the stream does not end")
}
