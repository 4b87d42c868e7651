package codec

import (
	"errors"
	"sync"
)

// Deflate decodes raw deflate streams, without a header or a checksum. The zero value is ready.
type Deflate struct{ decoders sync.Pool }

// NewDeflate makes a decoder.
func NewDeflate() *Deflate { return &Deflate{} }

// Decode fills dst from the stream at the start of src and ignores the rest of src. The stream must
// end where dst does.
func (d *Deflate) Decode(dst, src []byte) error {
	_, err := d.decode(dst, src)
	return err
}

// decode is Decode, and returns the length of the stream, too.
func (d *Deflate) decode(dst, src []byte) (end int, err error) {
	n, end, err := d.upTo(dst, src)
	if err == nil && n != len(dst) {
		err = lengthError("deflate", uint64(n), len(dst))
	}
	return end, err
}

// upTo is decode for a stream of at most len(dst) bytes, and returns how many it has.
func (d *Deflate) upTo(dst, src []byte) (n, end int, err error) {
	f, _ := d.decoders.Get().(*inflater)
	if f == nil {
		f = new(inflater)
	}
	defer d.decoders.Put(f)
	n, err = f.inflate(dst, src)
	switch {
	case errors.Is(err, errDeflateRoom):
		return 0, 0, tooLong("deflate", len(dst))
	case err != nil:
		return 0, 0, err
	}
	return n, f.end(), nil
}
