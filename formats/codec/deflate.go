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

// Deflate decodes raw deflate data, from its start or from a place within. The zero value is ready.
type Deflate struct{ readers sync.Pool }

// Place is between two deflate blocks: with the plain bytes before it, decoding can start there.
type Place struct {
	Bit    int64  // of the data
	Plain  int64  // the number of bytes that the data before it decode to
	Window []byte // the last of those bytes, all that can be referred to: at most DeflateWindow
}

// inflater is one pooled decoder with the reader it takes its input from.
type inflater struct {
	in    bytes.Reader
	out   io.Reader // also a resetter; nil until the first use
	at    int64     // the plain bytes so far, counted from the start of the data
	extra [4096]byte
}

// resetter is what the library's decoder is, beside a reader.
type resetter interface {
	ResetCP(r io.Reader, from flate.InflateCheckpoint) error
}

// NewDeflate makes a decoder.
func NewDeflate() *Deflate { return &Deflate{} }

// Decode fills dst from the stream with which src begins; what follows the stream in src is not looked at. The
// stream must come to its end, a final block, where dst does.
func (d *Deflate) Decode(dst, src []byte) error {
	r := d.get()
	defer d.put(r)
	if err := r.reset(src, Place{}); err != nil {
		return err
	}
	if err := r.fill(dst, 0); err != nil {
		return err
	}
	return r.atEnd(false)
}

// DecodeAt fills dst with the plain bytes from offset off on, which is not in front of the place. src begins with the byte that the
// place lies in and goes at least as far as the data of dst.
func (d *Deflate) DecodeAt(dst []byte, off int64, src []byte, from Place) error {
	r := d.get()
	defer d.put(r)
	if err := r.reset(src, from); err != nil {
		return err
	}
	return r.fill(dst, off)
}

func (d *Deflate) get() *inflater {
	if r, _ := d.readers.Get().(*inflater); r != nil {
		return r
	}
	return new(inflater)
}

func (d *Deflate) put(r *inflater) {
	r.in.Reset(nil) // a pooled reader must not keep the caller's bytes alive
	d.readers.Put(r)
}

func (r *inflater) reset(src []byte, from Place) error {
	r.in.Reset(src)
	r.at = from.Plain
	if r.out == nil {
		r.out = flate.NewReader(&r.in)
	}
	if err := r.out.(resetter).ResetCP(&r.in, checkpoint(from)); err != nil {
		return fmt.Errorf("deflate: at bit %d: %w", from.Bit, err)
	}
	return nil
}

func checkpoint(p Place) flate.InflateCheckpoint {
	return flate.InflateCheckpoint{UncompressedOffset: p.Plain, CompressedOffset: p.Bit / 8, BitOffset: uint8(p.Bit % 8), Window: p.Window}
}

// fill decodes up to the plain offset off, throws that away, and then fills dst.
func (r *inflater) fill(dst []byte, off int64) error {
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

// atEnd makes sure that nothing follows the bytes already read. io.EOF is the end of input behind a final block,
// io.ErrUnexpectedEOF that behind a sync flush, which is an end only where it is said to be one.
func (r *inflater) atEnd(flushed bool) error {
	for range 100 { // a reader may return nothing and no error, but not for ever
		n, err := r.out.Read(r.extra[:1])
		switch {
		case n > 0:
			return tooLong("deflate", int(r.at))
		case err == io.EOF || flushed && err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return fmt.Errorf("deflate: after %d bytes: %w", r.at, err)
		}
	}
	return errors.New("deflate: the data do not end")
}
