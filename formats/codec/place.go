package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// DeflateWindow is how far back deflate data may refer.
const DeflateWindow = 32 << 10

// Place is a border between two blocks of raw deflate data. With the plain bytes before it,
// decoding can start there.
type Place struct {
	Bit    int64  // of the data
	Plain  int64  // the number of bytes that the data before it decode to
	Window []byte // the last of those bytes, all that can be referred to: at most DeflateWindow
}

// PlaceDecoder decodes raw deflate data from a place within. The zero value is ready.
type PlaceDecoder struct{ readers sync.Pool }

// placeReader is one pooled decoder with the reader it takes its input from.
type placeReader struct {
	in    bytes.Reader
	out   io.Reader // also a placeResetter; nil until the first use
	at    int64     // the plain bytes so far, counted from the start of the data
	extra [4096]byte
}

// placeResetter is the part of the library's decoder that io.Reader does not have.
type placeResetter interface {
	ResetCP(r io.Reader, from flate.InflateCheckpoint) error
}

// NewPlaceDecoder makes a decoder.
func NewPlaceDecoder() *PlaceDecoder { return &PlaceDecoder{} }

// Decode fills dst with the plain bytes from offset off on, which must not be before the place. src
// begins with the byte of the place. It ends a few bytes after the data of dst, because the decoder
// looks ahead, or with the data.
func (d *PlaceDecoder) Decode(dst []byte, off int64, src []byte, from Place) error {
	r, _ := d.readers.Get().(*placeReader)
	if r == nil {
		r = new(placeReader)
	}
	defer d.readers.Put(r)
	defer r.in.Reset(nil) // a pooled reader must not keep the caller's bytes alive
	if err := r.reset(src, from); err != nil {
		return err
	}
	return r.fill(dst, off)
}

func (r *placeReader) reset(src []byte, from Place) error {
	r.in.Reset(src)
	r.at = from.Plain
	if r.out == nil {
		r.out = flate.NewReader(&r.in)
	}
	if err := r.out.(placeResetter).ResetCP(&r.in, checkpoint(from)); err != nil {
		return fmt.Errorf("deflate: at bit %d: %w", from.Bit, err)
	}
	return nil
}

func checkpoint(p Place) flate.InflateCheckpoint {
	return flate.InflateCheckpoint{UncompressedOffset: p.Plain, CompressedOffset: p.Bit / 8, BitOffset: uint8(p.Bit % 8), Window: p.Window}
}

// fill decodes up to the plain offset off, discards that, and then fills dst.
func (r *placeReader) fill(dst []byte, off int64) error {
	for end := off + int64(len(dst)); r.at < end; {
		p := dst
		if r.at < off {
			p = r.extra[:min(off-r.at, int64(len(r.extra)))]
		}
		n, err := io.ReadFull(r.out, p)
		r.at += int64(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return lengthError("deflate", uint64(r.at), int(end))
		case err != nil:
			return fmt.Errorf("deflate: after %d bytes: %w", r.at, err)
		}
	}
	return nil
}

// atEnd returns an error if anything follows the bytes already read. io.ErrUnexpectedEOF is the end
// of input after a sync flush, io.EOF that after a final block.
func (r *placeReader) atEnd() error {
	for range 100 { // a reader may return nothing and no error, but not for ever
		n, err := r.out.Read(r.extra[:1])
		switch {
		case n > 0:
			return tooLong("deflate", int(r.at))
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return fmt.Errorf("deflate: after %d bytes: %w", r.at, err)
		}
	}
	return errors.New("deflate: the data do not end")
}
