package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// Zlib decodes zlib streams, also those that were flushed but never finished. The zero value is
// ready.
type Zlib struct {
	readers sync.Pool
	deflate Deflate // decodes whole streams, a good third faster
}

// zlibReader is one pooled decoder with the reader it takes its input from.
type zlibReader struct {
	in    bytes.Reader
	out   io.ReadCloser // also a zlib.Resetter; nil until the first use
	extra [1]byte
}

// NewZlib makes a decoder.
func NewZlib() *Zlib { return &Zlib{} }

// DecodeFinished fills dst from the stream at the start of src, which must have a final block and a
// right checksum, and ignores the rest of src. A stream that is longer or shorter than dst is
// ErrLength.
func (z *Zlib) DecodeFinished(dst, src []byte) error {
	if len(src) < 2 || src[0]&15 != 8 || src[0]>>4 > 7 || binary.BigEndian.Uint16(src)%31 != 0 || src[1]&0x20 != 0 {
		return fmt.Errorf("zlib: stream header: %w", zlib.ErrHeader)
	}
	end, err := z.deflate.decode(dst, src[2:])
	if err != nil {
		return fmt.Errorf("zlib: %w", err)
	}
	if sum := src[2+end:]; len(sum) < 4 || binary.BigEndian.Uint32(sum) != adler32.Checksum(dst) {
		return fmt.Errorf("zlib: %w", zlib.ErrChecksum)
	}
	return nil
}

// Decode fills dst from the stream in src, which may end in a sync flush, without a final block and
// a checksum. A checksum is verified if there is one. More bytes than dst has are an error.
func (z *Zlib) Decode(dst, src []byte) error {
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
	return r.atEnd(len(dst))
}

func (r *zlibReader) reset(src []byte) (err error) {
	r.in.Reset(src)
	if r.out == nil {
		r.out, err = zlib.NewReader(&r.in)
		return err
	}
	return r.out.(zlib.Resetter).Reset(&r.in, nil)
}

// atEnd returns an error if anything follows the want bytes already read. io.ErrUnexpectedEOF is
// the end of input after a sync flush, io.EOF that of a finished stream with a good checksum.
func (r *zlibReader) atEnd(want int) error {
	for range 100 { // a reader may return nothing and no error, but not for ever
		n, err := r.out.Read(r.extra[:])
		switch {
		case n > 0:
			return tooLong("zlib", want)
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return fmt.Errorf("zlib: after %d bytes: %w", want, err)
		}
	}
	return errors.New("zlib: the stream does not end")
}
