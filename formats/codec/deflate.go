package codec

import (
	"errors"
	"sync"
)

// Deflate decodes raw deflate streams, without a header or a checksum. The zero value is ready.
type Deflate struct{ decoders sync.Pool }

// NewDeflate makes a decoder.
func NewDeflate() *Deflate { return &Deflate{} }

// Decode fills dst from the stream with which src begins; what follows the stream in src is not looked at. The
// stream must come to its end where dst does.
func (d *Deflate) Decode(dst, src []byte) error {
	f, _ := d.decoders.Get().(*inflater)
	if f == nil {
		f = new(inflater)
	}
	defer d.decoders.Put(f)
	n, err := f.inflate(dst, src)
	switch {
	case errors.Is(err, errDeflateRoom):
		return tooLong("deflate", len(dst))
	case err != nil:
		return err
	case n != len(dst):
		return lengthError("deflate", uint64(n), len(dst))
	}
	return nil
}
